"""Operations that move elements without computing: reshaping, transposing, broadcasting, joining.

They cost no floating-point operations, and most of them give a view of the same memory.
"""

from typing import Any

import numpy as np

from .. import shapes
from ..calling import cast_gradient
from ..formula import ATOM, SUM, Name
from ..op import case, free, op

# --- the sum over the rows of a batch, the gradient of every bias -----------------------------------
_ONES = {char: np.ones(2048, char) for char in "fd"}


def _sum_rows(x: Any) -> Any:
    ones = _ONES.get(x.dtype.char)
    if ones is None or x.ndim != 2 or len(x) > len(ones):
        return np.add.reduce(x, 0)
    return ones[: len(x)].dot(x)  # for a small batch one call of BLAS, at half the overhead of a reduction


sum_rows = op(
    "sum_rows", _sum_rows, label="Σ→", doc="the sum over the first axis", code="np.sum({x}, axis=0)",
    shape=lambda x: shapes.reduced(x, 0),
    flops=lambda out, x: int(np.prod(x)),
    formula=lambda x: Name(f"sum over rows of {x.within(ATOM)}", x.shape[1:], SUM, x.flops),
    cases=[case((2, 3)), case((4,)), case((2, 3, 2)), case((0, 2))],
    dx=lambda g, x_shape: broadcast_to(g, x_shape),
)  # fmt: skip


# --- undoing a broadcast ---------------------------------------------------------------------------
def _unbroadcast(x: Any, shape: Any = (), dtype: Any = None) -> Any:
    x = np.asarray(x)
    if x.shape[1:] == shape and x.ndim == len(shape) + 1:  # a bias: the sum over the rows of the batch
        x = _sum_rows(x)
    elif x.shape != shape:
        axes, leads = shapes.unbroadcast_axes(x.shape, shape)
        if axes:
            x = np.add.reduce(x, axis=axes, keepdims=not leads)
        x = np.asarray(x).reshape(shape)
    return x if dtype is None or x.dtype == dtype else cast_gradient(x, dtype)


def _unbroadcast_name(x: Name, shape: Any = (), dtype: Any = None) -> Name:
    if x.shape == shape:
        return x
    axes, _ = shapes.unbroadcast_axes(x.shape, shape)
    if axes == (0,) and x.ndim == 2:
        over = "rows"
    else:
        over = "all" if len(axes) == x.ndim else f"axes {', '.join(map(str, axes))}"
    return Name(f"sum over {over} of {x.within(ATOM)}", shape, SUM, x.flops)


def _unbroadcast_code(x: Any, shape: Any, dtype: Any) -> str:
    text = "{x}"
    if x.shape != shape:
        axes, leads = shapes.unbroadcast_axes(x.shape, shape)
        over = f"axis={axes[0] if len(axes) == 1 else axes}"
        text = f"np.sum({{x}}, {over})" if leads else f"np.sum({{x}}, {over}, keepdims=True)"
        if leads and len(axes) > x.ndim - len(shape):
            text = f"{text}.reshape({shape})"
    return text if dtype is None or x.dtype == dtype else f"{text}.astype({{dtype}})"


unbroadcast = op(
    "unbroadcast", _unbroadcast, shape=lambda x, shape=(), dtype=None: tuple(shape), label="Σ→",
    flops=lambda out, x, **o: 0 if x == out else int(np.prod(x)), formula=_unbroadcast_name,
    code=_unbroadcast_code,
    doc="x summed over the axes that broadcasting added to shape, and cast to dtype: the way back from a broadcast",
    cases=[case((2, 3), shape=(3,)), case((2, 3), shape=(2, 1)), case((2, 3), shape=()), case((0, 2), shape=(2,))],
    dtype=lambda x, shape=(), dtype=None: np.result_type(x) if dtype is None else dtype,
    # the sum, before it is cast
    scratch=lambda out, x, **o: 0 if x.shape == out.shape or x.dtype == out.dtype else out.size * x.itemsize,
    dx=lambda g, x_shape, x_dtype: astype(broadcast_to(g, x_shape), x_dtype),
)  # fmt: skip
broadcast_to = op(
    "broadcast_to", lambda x, shape=(): np.broadcast_to(x, shape),
    doc="x repeated along new or length-1 axes up to shape", code="np.broadcast_to({x}, {shape})",
    shape=lambda x, shape: shapes.broadcast_to(x, shape), numpy=np.broadcast_to,
    cases=[case((3,), shape=(2, 3)), case((2, 1), shape=(2, 3)), case((), shape=(2,)), case((1,), shape=(0,))],
    dx=lambda g, x_shape, x_dtype: unbroadcast(g, x_shape, x_dtype), flops=free,
)  # fmt: skip
astype = op(
    "astype", lambda x, dtype=float: np.asarray(x).astype(dtype, copy=False), doc="x with another dtype",
    code="{x}.astype({dtype})",
    shape=lambda x, dtype=float: x, dtype=lambda x, dtype=float: np.dtype(dtype), formula=lambda x, dtype: x,
    cases=[case((2, 3), dtype=np.float64), case((), dtype=np.float64)],
    dx=lambda g, x_dtype: astype(g, dtype=x_dtype), flops=free,
)  # fmt: skip

# --- one array --------------------------------------------------------------------------------------
reshape = op(
    "reshape", lambda x, shape=(-1,): np.reshape(x, shape),
    doc="x with the same elements in another shape; one length may be -1", code="{x}.reshape({shape})",
    shape=lambda x, shape: shapes.reshaped(x, shape), numpy=np.reshape,
    cases=[case((2, 3), shape=(3, 2)), case((2, 3), shape=(-1,)), case((), shape=(1, 1)), case((0, 2), shape=(2, 0))],
    dx=lambda g, x_shape: reshape(g, x_shape), flops=free,
)  # fmt: skip
transpose = op(
    "transpose", lambda x, axes=None: np.transpose(x, axes),
    doc="x with its axes in the order of axes, by default reversed",
    code=lambda x, axes: "{x}.T" if axes is None else "{x}.transpose({axes})",
    shape=lambda x, axes=None: shapes.transposed(x, axes), numpy=np.transpose,
    cases=[case((2, 3)), case((2, 3, 4), axes=(1, 2, 0)), case(()), case((0, 2))],
    dx=lambda g, axes: transpose(g, None if axes is None else _inverse(axes)), flops=free,
)  # fmt: skip
matrix_transpose = op(
    "matrix_transpose", lambda x: x.T if x.ndim == 2 else np.swapaxes(x, -1, -2), label="ᵀ",
    doc="x with its last two axes exchanged", shape=lambda x: (*x[:-2], *shapes.matrix(x)[::-1]),
    formula=lambda x: x.suffix("ᵀ"), code=lambda x: "{x}.T" if x.ndim == 2 else "np.swapaxes({x}, -1, -2)",
    cases=[case((2, 3)), case((2, 3, 4)), case((0, 2))],
    dx=lambda g: matrix_transpose(g), flops=free,
)  # fmt: skip


def _inverse(axes: Any) -> tuple[int, ...]:
    order = [a % len(axes) for a in axes]
    return tuple(order.index(i) for i in range(len(order)))
