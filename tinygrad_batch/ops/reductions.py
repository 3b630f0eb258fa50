"""Operations that bring many elements together: sums, means, products, extremes, spreads.

``axis`` is None (all axes), an axis, or a tuple of axes; ``keepdims`` leaves the reduced axes as
ones. `spread` is the way back: it is the derivative of `sum`, as `sum` is the derivative of it.
"""

import builtins
from itertools import product
from typing import Any

import numpy as np

from .. import shapes
from ..op import case, free, op
from .choosing import where
from .elementary import exp
from .shaping import astype, reshape, transpose

_AXES = (case((3,)), case(()), case((2, 3), axis=0), case((2, 3, 2), axis=(0, -1), keepdims=True))
_SIZED = (*_AXES, case((0, 2), axis=0))
_count = shapes.count


def _each(out: shapes.Shape, x: shapes.Shape, **options: Any) -> int:
    return int(np.prod(x))


def _total(x: Any, **options: Any) -> Any:
    """Return the dtype of a sum or product: small integers and booleans are added up in a large one."""
    return np.add.reduce(np.ones(1, np.result_type(x))).dtype


def _floating(x: Any, **options: Any) -> Any:
    """Return the dtype of what is divided or exponentiated on the way: integers become floating."""
    return np.result_type(x, np.float64) if np.result_type(x).kind in "iub" else np.result_type(x)


_reduction: dict[str, Any] = {"shape": shapes.reduced, "flops": _each}
_average: dict[str, Any] = {**_reduction, "dtype": _floating}


def _axes(axis: Any) -> Any:
    return tuple(axis) if isinstance(axis, list) else axis


def _sum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return np.add.reduce(x, _axes(axis), None, None, keepdims)


def _mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    if np.result_type(x).char not in "fdgFDG" or np.size(x) == 0:  # NumPy takes care with integers and halves
        return np.mean(x, axis=_axes(axis), keepdims=keepdims)
    return np.add.reduce(x, _axes(axis), None, None, keepdims) / _count(np.shape(x), axis)


def _spread(x: Any, shape: Any = (), axis: Any = None) -> Any:
    x = np.asarray(x)
    if axis is None:  # one number: a view that never steps on, at a fifth of broadcast_to's overhead
        return np.ndarray(shape, x.dtype, x, 0, (0,) * len(shape))
    return np.broadcast_to(np.reshape(x, shapes.kept_dims(shape, axis)), shape)


def _spread_code(x: Any, shape: Any, axis: Any) -> str:
    if x.ndim == 0:
        return "np.full({shape}, {x})"
    if x.ndim == len(shape):
        return "np.broadcast_to({x}, {shape})"
    return "np.broadcast_to(np.expand_dims({x}, {axis}), {shape})"


def _kept(y: Any, x_shape: Any, axis: Any) -> Any:
    """Return a reduced array with its reduced axes as ones, whether they were kept or not."""
    return spread(y, shapes.kept_dims(x_shape, axis), axis)


spread = op(
    "spread", _spread, shape=lambda x, shape, axis=None: tuple(shape), flops=free,
    doc="x repeated along the axes of shape that a reduction over axis took away", formula=lambda x, **o: x,
    code=_spread_code,
    cases=[case((3,), shape=(2, 3), axis=0), case((), shape=(2,)), case((1, 2), shape=(0, 2), axis=0)],
    dx=lambda g, x_shape, axis: reshape(sum(g, axis), x_shape),
)  # fmt: skip
sum = op(
    "sum", _sum, label="Σ", symbol="s", doc="the sum over axis", numpy=np.sum, cases=_SIZED, dtype=_total, **_reduction,
    code="np.sum({x}, axis={axis}, keepdims={keepdims})",
    dx=lambda g, x_shape, axis: spread(g, x_shape, axis),
)  # fmt: skip
mean = op(
    "mean", _mean, doc="the arithmetic mean over axis", numpy=np.mean, cases=_AXES, **_average,
    code="np.mean({x}, axis={axis}, keepdims={keepdims})",
    dx=lambda g, x_shape, axis: spread(g / _count(x_shape, axis), x_shape, axis),
)  # fmt: skip


# --- products: exact where there are zeros among the factors ------------------------------------
def _prod(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return np.multiply.reduce(x, axis=_axes(axis), keepdims=keepdims)


def _prod_others(x: Any) -> Any:
    """Return, for each element of the last axis, the product of the others, without a division."""
    left, right = np.ones_like(x), np.ones_like(x)
    np.multiply.accumulate(x[..., :-1], axis=-1, out=left[..., 1:])
    np.multiply.accumulate(x[..., :0:-1], axis=-1, out=right[..., -2::-1])
    return left * right


def _prod_rule(g: Any, x: Any, axis: Any) -> Any:
    shape, axes = x.shape, shapes.normal_axes(axis, x.ndim)
    order = (*(i for i in range(x.ndim) if i not in axes), *axes)
    moved = transpose(x, order)
    rows = (*(shape[i] for i in order[: x.ndim - len(axes)]), _count(shape, axis))
    others = transpose(reshape(prod_others(reshape(moved, rows)), moved.shape), tuple(np.argsort(order).tolist()))
    return spread(g, shape, axis) * others


def _prod_others_rule(g: Any, x: Any) -> Any:
    # row i of the square holds x with its own i-th element replaced by 1
    n = x.shape[-1]
    own = np.eye(n, dtype=bool)
    square = where(own, 1.0, reshape(x, (*x.shape[:-1], 1, n)))
    return sum(where(own, 0.0, reshape(g, (*x.shape[:-1], n, 1)) * prod_others(square)), axis=-2)


prod_others = op(
    "prod_others", _prod_others, shape=lambda x: x, doc="for each element of the last axis, the product of the others",
    cases=[case((3,)), case((2, 4)), case((1,)), case((0, 2))], scratch=lambda out, x: 2 * x.nbytes,
    dx=_prod_others_rule,
)  # fmt: skip
prod = op(
    "prod", _prod, label="Π", doc="the product over axis; its gradient is exact with zeros among the factors",
    numpy=np.prod, cases=_SIZED, dx=_prod_rule, dtype=_total, **_reduction,
    code="np.prod({x}, axis={axis}, keepdims={keepdims})",
)  # fmt: skip


# --- extremes: ties share the gradient evenly -----------------------------------------------------
def _max(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return _best(np.maximum, x, _axes(axis), keepdims)


def _min(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return _best(np.minimum, x, _axes(axis), keepdims)


_MANY, _FEW = 1024, 16  # elements in all, and of each extreme, from and up to which taking them in turn is faster


def _best(ufunc: np.ufunc, x: Any, axis: Any, keepdims: bool) -> Any:
    if type(axis) is tuple and type(x) is np.ndarray and x.size >= _MANY and _in_turn(x, axis):
        # a few elements of many windows: all first ones with all second ones, and so on
        axes = shapes.normal_axes(axis, x.ndim)
        whole = slice(None)
        places = [[slice(k, k + 1) for k in range(n)] if i in axes else [whole] for i, n in enumerate(x.shape)]
        first, second, *others = [x[index] for index in product(*places)]
        out = ufunc(first, second)
        for part in others:
            ufunc(out, part, out=out)
        return out if keepdims else out.reshape(shapes.reduced(x.shape, axis))
    return ufunc.reduce(x, axis=axis, keepdims=keepdims)


def _in_turn(x: np.ndarray, axis: tuple[int, ...]) -> bool:
    """Return whether few elements are compared that are neighbours in memory, where a reduction stops at each."""
    steps = [(abs(step), i - x.ndim) for i, (n, step) in enumerate(zip(x.shape, x.strides, strict=True)) if n > 1]
    inner = builtins.min(steps)[1]
    return (inner in axis or inner + x.ndim in axis) and 1 < _count(x.shape, axis) <= _FEW


def _extreme(g: Any, x: Any, y: Any, axis: Any, x_shape: Any, x_dtype: Any) -> Any:
    if type(x) is type(g) is np.ndarray:
        return _shared(g, x, y, axis)
    hit = astype(x == _kept(y, x_shape, axis), x_dtype)
    return spread(g / sum(hit, axis, keepdims=g.ndim == len(x_shape)), x_shape, axis) * hit


def _like(x: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return a copy of ``x`` in the order in which another array of its shape lies in memory."""
    out = np.empty_like(order, x.dtype)
    out[...] = x
    return out


def _shared(g: np.ndarray, x: np.ndarray, y: Any, axis: Any) -> np.ndarray:
    """Return the gradient of an extreme on arrays, in the order in which ``x`` lies in memory."""
    kept = shapes.kept_dims(x.shape, axis)
    best, g = np.reshape(y, kept), np.reshape(g, kept)
    hit = x == best
    out: np.ndarray = hit.astype(x.dtype)
    # without NaN each extreme was hit once or more, so that as many hits as extremes leave no tie
    if np.count_nonzero(hit) != best.size or np.isnan(best).any():
        share = _sum(out, axis, keepdims=True)
        g = np.divide(g, share, out=share)
    elif g.strides != best.strides:
        g = _like(g, best)
    out *= g
    return out


max = op("max", _max, doc="the largest element; ties share the gradient evenly", numpy=np.max, cases=_AXES,
         code="np.max({x}, axis={axis}, keepdims={keepdims})", dx=_extreme, **_reduction)  # fmt: skip
min = op("min", _min, doc="the smallest element; ties share the gradient evenly", numpy=np.min, cases=_AXES,
         code="np.min({x}, axis={axis}, keepdims={keepdims})", dx=_extreme, **_reduction)  # fmt: skip


# --- variance and what is made of exponentials ----------------------------------------------------
def _freedom(x_shape: Any, axis: Any, correction: float) -> float:
    return builtins.max(_count(x_shape, axis) - correction, 0)


def _var(x: Any, axis: Any = None, keepdims: bool = False, correction: float = 0) -> Any:
    return np.var(x, axis=_axes(axis), keepdims=keepdims, ddof=correction)


def _std(x: Any, axis: Any = None, keepdims: bool = False, correction: float = 0) -> Any:
    return np.sqrt(_var(x, axis, keepdims, correction))


def _var_scratch(out: Any, x: Any, **options: Any) -> int:
    squares = x.size * out.itemsize * (2 if x.dtype == bool else 1)  # not in place for booleans
    return squares + out.nbytes


def _std_rule(g: Any, x: Any, y: Any, x_shape: Any, axis: Any, correction: Any) -> Any:
    # where the values are all the same, every difference is 0 and so is the slope
    safe = where(y == 0, 1.0, y)
    slope = (x - mean(x, axis, keepdims=True)) / (_kept(safe, x_shape, axis) * _freedom(x_shape, axis, correction))
    return spread(g, x_shape, axis) * slope


def _logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    top = np.max(x, axis=_axes(axis), keepdims=True)
    top = np.where(np.isfinite(top), top, np.zeros_like(top))
    with np.errstate(divide="ignore"):  # a sum of nothing but exp(-inf) is 0, and its logarithm -inf
        out = np.log(np.sum(np.exp(x - top), axis=_axes(axis), keepdims=True)) + top
    return out if keepdims else np.squeeze(out, _axes(axis))


def _softmax(x: Any, axis: int = -1) -> Any:
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e / np.sum(e, axis=axis, keepdims=True)


def _log_softmax(x: Any, axis: int = -1) -> Any:
    shifted = x - np.max(x, axis=axis, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


def _softmax_scratch(out: Any, x: Any, axis: int) -> int:
    return out.nbytes + out.nbytes // (out.shape[axis] or 1)


def _log_softmax_scratch(out: Any, x: Any, axis: int) -> int:
    return x.nbytes + out.nbytes // (out.shape[axis] or 1)


def _same(x: shapes.Shape, axis: int = -1) -> shapes.Shape:
    shapes.normal_axis(axis, len(x))
    return x


var = op(
    "var", _var, scratch=_var_scratch,
    shape=lambda x, axis=None, keepdims=False, correction=0: shapes.reduced(x, axis, keepdims),
    flops=lambda out, x, **o: 4 * _each(out, x), dtype=_floating,
    doc="the variance over axis, divided by n - correction",
    code="np.var({x}, axis={axis}, keepdims={keepdims}, ddof={correction})",
    cases=[case((3,)), case((2, 3), axis=0), case((2, 3, 2), axis=(0, -1), keepdims=True), case((4,), correction=1)],
    dx=lambda g, x, x_shape, axis, correction: (
        spread(g, x_shape, axis) * (2 * (x - mean(x, axis, keepdims=True)) / _freedom(x_shape, axis, correction))
    ),
)  # fmt: skip
std = op(
    "std", _std, scratch=_var_scratch,
    shape=lambda x, axis=None, keepdims=False, correction=0: shapes.reduced(x, axis, keepdims),
    flops=lambda out, x, **o: 4 * _each(out, x), dtype=_floating, dx=_std_rule,
    doc="the standard deviation over axis, divided by n - correction; its slope at a constant is 0",
    code="np.std({x}, axis={axis}, keepdims={keepdims}, ddof={correction})",
    cases=[case((3,)), case((2, 3), axis=1), case((2, 3, 2), axis=(0, -1), keepdims=True), case((4,), correction=1)],
)  # fmt: skip
logsumexp = op(
    "logsumexp", _logsumexp, doc="log(sum(exp(x))) over axis, without overflow", cases=_AXES, **_average,
    scratch=lambda out, x, **o: x.nbytes + x.size * out.itemsize,
    dx=lambda g, x, y, x_shape, axis: (
        spread(g, x_shape, axis) * exp(x - _kept(where(y == -np.inf, 0.0, y), x_shape, axis))
    ),
)  # fmt: skip
softmax = op(
    "softmax", _softmax, shape=_same, dtype=_floating, flops=lambda out, x, **o: 4 * _each(out, x), symbol="h",
    scratch=_softmax_scratch,
    doc="exp(x) / sum(exp(x)) along axis, without overflow", cases=[case((3,)), case((2, 3), axis=0), case((0, 2))],
    dx=lambda g, y, axis: y * (g - sum(g * y, axis, keepdims=True)),
)  # fmt: skip
log_softmax = op(
    "log_softmax", _log_softmax, symbol="logp",
    scratch=_log_softmax_scratch,
    shape=_same, dtype=_floating, flops=lambda out, x, **o: 4 * _each(out, x),
    doc="the logarithm of softmax along axis, without underflow",
    cases=[case((3,)), case((2, 3), axis=0), case((0, 2))],
    dx=lambda g, y, axis: g - exp(y) * sum(g, axis, keepdims=True),
)  # fmt: skip
