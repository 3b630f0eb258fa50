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


# The dtypes of the inputs of one large call, where they differ from each other or from the result's.
MIXED = [
    *[(name, dtypes) for name in ("matmul", "affine", "mean_square", "correlate", "correlate_back", "correlate_kernels")
      for dtypes in ("fd", "df", "if", "?d")],
    *[(name, dtypes) for name in ("affine", "where") for dtypes in ("ffd", "ddf", "?fd")],
    *[(name, dtypes) for name in ("add", "divide", "power", "less", "concatenate") for dtypes in ("fd", "id")],
    *[(name, dtypes) for name in ("var", "std", "mean", "sum", "prod") for dtypes in "i?"],
    *[(name, dtypes) for name in ("softmax", "log_softmax", "logsumexp") for dtypes in "i"],
    *[(name, dtypes) for name in ("erf", "gelu") for dtypes in "e"],
]  # fmt: skip


def given(name, dtype):
    rng = np.random.default_rng(0)
    shapes, options = CALLS.get(name, ((X, X), {}))
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
    compare(TABLE[name], *given(name, dtype))


@pytest.mark.parametrize(("name", "dtypes"), MIXED)
def test_an_operation_on_other_dtypes_needs_what_the_table_says(name, dtypes):
    arrays, options = given(name, "float64")
    # the first dtype for the first input, the last for all after the others
    dtypes = dtypes[: len(arrays)].ljust(len(arrays), dtypes[-1])
    compare(TABLE[name], [a.astype(dtype) for a, dtype in zip(arrays, dtypes, strict=True)], options)


def test_a_stack_of_matrices_is_cast_as_it_is_and_not_as_often_as_it_is_used():
    rng = np.random.default_rng(0)
    for a, b in (((5_000, 4, 16), (16, 8)), ((4, 16), (5_000, 16, 8)), ((50, 1, 40, 16), (100, 16, 8))):
        for dtypes in ("fd", "df", "if"):
            compare(TABLE["matmul"], [rng.uniform(size=s).astype(d) for s, d in zip((a, b), dtypes, strict=True)], {})


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_sum_is_cast_after_it_is_made(dtype):
    arrays = [np.ones((30, 4 * ROWS), np.float64)]
    compare(TABLE["unbroadcast"], arrays, {"shape": (4 * ROWS,), "dtype": np.dtype(dtype)})


def compare(op, arrays, options):
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
