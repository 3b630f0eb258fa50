"""What an operation needs beside its result while it computes is what the table says."""

import gc
import tracemalloc

import numpy as np
import pytest

from tinygrad_batch.op import TABLE

ROWS, COLUMNS = 20_000, 16
X = (ROWS, COLUMNS)
PICTURES = (500, 4, 12, 12)
# Shapes and options of one large call for each operation that is more than a ufunc.
CALLS = {
    "affine": ((X, (16, 8), (8,)), {}),
    "add_columns": (((36, 50_000),), {"shape": (4, 12, 12, 500), "size": (3, 3)}),
    "add_windows": (((500, 11, 11, 2, 2),), {"shape": (500, 12, 12)}),
    "astype": ((X,), {"dtype": np.float32}),
    "broadcast_to": (((16,),), {"shape": X}),
    "clip": ((X,), {"low": 0.2, "high": 0.8}),
    "columns": (((4, 12, 12, 500),), {"size": (3, 3)}),
    "concatenate": ((X, X), {"axis": 1}),
    "correlate": ((PICTURES, (8, 4, 3, 3)), {}),
    "correlate_back": (((500, 8, 10, 10), (8, 4, 3, 3)), {"shape": PICTURES}),
    "correlate_kernels": ((PICTURES, (500, 8, 10, 10)), {"size": (3, 3)}),
    "getitem": ((X,), {"index": slice(0, 100)}),
    "logsumexp": ((X,), {"axis": 1}),
    "matmul": ((X, (16, 8)), {}),
    "mean_square": ((X, X), {}),
    "pad": ((PICTURES,), {"widths": ((0, 0), (0, 0), (1, 1), (1, 1))}),
    "pick": ((X, (ROWS,)), {}),
    "place": (((ROWS,), (ROWS,)), {"shape": X}),
    "power_of": ((X,), {"exponent": 3.0}),
    "random_mask": ((X,), {"keep": 0.5, "rng": 0}),
    "random_normal": ((X,), {"rng": 0}),
    "random_uniform": ((X,), {"rng": 0}),
    "reshape": ((X,), {"shape": (-1,)}),
    "scatter_add": (((ROWS,),), {"shape": X, "index": (slice(None), 3)}),
    "sliding_windows": (((500, 12, 12),), {"size": (2, 2)}),
    "spread": (((ROWS, 1),), {"shape": X, "axis": 1}),
    "transpose": ((X,), {}),
    "unbroadcast": ((X,), {"shape": (16,)}),
    "where": ((X, X, X), {}),
    **{name: ((X,), {"axis": 1}) for name in ("max", "mean", "min", "prod", "std", "sum", "var")},
    **{name: ((X,), {}) for name in ("erf", "gelu", "log_softmax", "matrix_transpose", "prod_others", "relu")},
    **{name: ((X,), {}) for name in ("sigmoid", "silu", "softmax", "softplus", "sum_rows")},
}
BUFFER = 200_000  # NumPy's own, where it casts or broadcasts; and a column of numbers, where one is made in passing


def given(name, dtype):
    rng = np.random.default_rng(0)
    shapes, options = CALLS[name]
    arrays = [rng.uniform(0.1, 1.0, shape).astype(dtype) for shape in shapes]
    if name in ("pick", "place"):
        arrays[1] = rng.integers(0, COLUMNS, ROWS)
    if name == "where":
        arrays[0] = arrays[0] > 0.5
    if name.startswith("correlate"):  # the rows innermost, as one convolution gives them to the next
        arrays = [np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 0, -1)), -1, 0) for a in arrays]
        arrays = [np.ascontiguousarray(a) if a.shape[0] == 8 else a for a in arrays]
    return arrays, options


def test_every_operation_that_is_more_than_a_ufunc_is_tried():
    assert set(CALLS) == {name for name, op in TABLE.items() if not isinstance(op.compute, np.ufunc)}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CALLS)
def test_an_operation_needs_what_the_table_says(name, dtype):
    op = TABLE[name]
    arrays, options = given(name, dtype)
    arguments = [arrays] if op.variadic else arrays

    def compute():
        return op.compute(*arguments, **options)

    compute()
    gc.collect()
    tracemalloc.start()
    try:
        out = compute()
        held, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    defaults = {**op.defaults, **options}
    declared = op.scratch(np.asarray(out), *arguments, **defaults) if op.scratch is not None else 0
    assert most - held == pytest.approx(declared, rel=0.01, abs=BUFFER)
