"""Functions made of operations: no derivative is written here, each follows from its parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import ops, shapes
from .errors import ShapeError
from .op import NUMPY
from .shapes import Axis

Function = Callable[..., Any]


def implements(target: Function) -> Callable[[Function], Function]:
    """Declare that the decorated function is what NumPy's ``target`` does on Tensors."""

    def declare(function: Function) -> Function:
        NUMPY[target] = function
        return function

    return declare


def _ndim(x: Any) -> int:
    return x.ndim if hasattr(x, "ndim") else np.ndim(x)


@implements(np.matmul)
def matmul(a: Any, b: Any) -> Any:
    """Return the matrix product ``a @ b``, for vectors, matrices and stacks of matrices.

    Parameters
    ----------
    a : Tensor or array_like, shape (k,) or (..., n, k)
    b : Tensor or array_like, shape (k,) or (..., k, m)

    Returns
    -------
    Tensor or numpy.ndarray, shape (..., n, m); a vector's axis is left out

    Raises
    ------
    ShapeError
        If the inner lengths differ, or either is a single number.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> (tb.ones((100, 10)) @ tb.ones((10, 15))).shape
    (100, 15)
    >>> tb.matmul(tb.tensor([1.0, 2.0]), tb.tensor([3.0, 4.0]))
    tensor(11.)
    """
    m, n = _ndim(a), _ndim(b)
    if m >= 2 <= n:
        return ops.matmul(a, b)
    if not (m and n):
        raise ShapeError("matmul takes arrays of one dimension or more", "Multiply by a single number with *")
    out = ops.matmul(expand_dims(a, 0) if m == 1 else a, expand_dims(b, 1) if n == 1 else b)
    gone = ((-2,) if m == 1 else ()) + ((-1,) if n == 1 else ())
    return squeeze(out, gone)


@implements(np.dot)
def dot(a: Any, b: Any) -> Any:
    """Return the dot product of two vectors, or the matrix product of matrices.

    Parameters
    ----------
    a, b : Tensor or array_like
        Of two dimensions at most; a single number multiplies.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> tb.dot(tb.tensor([1.0, 2.0]), tb.tensor([3.0, 4.0]))
    tensor(11.)
    """
    if _ndim(a) == 0 or _ndim(b) == 0:
        return ops.multiply(a, b)
    if _ndim(a) > 2 or _ndim(b) > 2:
        raise ShapeError("dot takes arrays of two dimensions at most", "Use matmul for stacks of matrices")
    return matmul(a, b)


@implements(np.outer)
def outer(a: Any, b: Any) -> Any:
    """Return the outer product of two vectors: every product ``a[i] * b[j]``.

    Parameters
    ----------
    a : Tensor or array_like, shape (n,)
    b : Tensor or array_like, shape (m,)

    Returns
    -------
    Tensor or numpy.ndarray, shape (n, m)

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> tb.outer(tb.tensor([1.0, 2.0]), tb.tensor([3.0, 4.0]))
    tensor([[3., 4.],
            [6., 8.]])
    """
    return ops.multiply(ops.reshape(a, (-1, 1)), ops.reshape(b, (1, -1)))


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """Return ``x @ weight + bias``, a fully connected layer.

    Parameters
    ----------
    x : Tensor, shape (..., in)
    weight : Tensor, shape (in, out)
    bias : Tensor, shape (out,), optional

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> tb.linear(tb.ones((100, 10)), tb.ones((10, 15)), tb.zeros(15)).shape
    (100, 15)
    """
    out = matmul(x, weight)
    return out if bias is None else ops.add(out, bias)


@implements(np.squeeze)
def squeeze(x: Any, axis: Axis = None) -> Any:
    """Return ``x`` without its axes of length 1, or without those that ``axis`` names.

    Raises
    ------
    ShapeError
        If a named axis is longer than 1.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> tb.squeeze(tb.ones((20, 1))).shape
    (20,)
    """
    shape = np.shape(x) if not hasattr(x, "shape") else x.shape
    axes = tuple(i for i, n in enumerate(shape) if n == 1) if axis is None else shapes.normal_axes(axis, len(shape))
    long = [i for i in axes if shape[i] != 1]
    if long:
        raise ShapeError(f"squeeze: axis {long[0]} of shape {shape} has length {shape[long[0]]}, not 1")
    return ops.reshape(x, tuple(n for i, n in enumerate(shape) if i not in axes))


@implements(np.expand_dims)
def expand_dims(x: Any, axis: int | Sequence[int]) -> Any:
    """Return ``x`` with new axes of length 1 at the given places of the result.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> tb.expand_dims(tb.ones(20), 1).shape
    (20, 1)
    """
    shape = list(np.shape(x) if not hasattr(x, "shape") else x.shape)
    places = list(axis) if isinstance(axis, Sequence) else [axis]
    for place in shapes.normal_axes(places, len(shape) + len(places)):
        shape.insert(place, 1)
    return ops.reshape(x, tuple(shape))


def permute(x: Any, axes: Sequence[int]) -> Any:
    """Return ``x`` with its axes in the order of ``axes``.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> tb.permute(tb.ones((2, 3, 4)), (2, 0, 1)).shape
    (4, 2, 3)
    """
    return ops.transpose(x, tuple(axes))


@implements(np.swapaxes)
def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Return ``x`` with two axes exchanged.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> tb.swapaxes(tb.ones((2, 3, 4)), 0, -1).shape
    (4, 3, 2)
    """
    ndim = _ndim(x)
    i, j = shapes.normal_axis(axis1, ndim), shapes.normal_axis(axis2, ndim)
    order = list(range(ndim))
    order[i], order[j] = j, i
    return ops.transpose(x, tuple(order))


def flatten(x: Any, start: int = 0) -> Any:
    """Return ``x`` with all axes from ``start`` on joined into one.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> tb.flatten(tb.ones((20, 8, 8)), start=1).shape
    (20, 64)
    """
    shape = x.shape
    if len(shape) == 0:
        return ops.reshape(x, (1,))
    start = shapes.normal_axis(start, len(shape))
    return ops.reshape(x, (*shape[:start], int(np.prod(shape[start:]))))


@implements(np.stack)
def stack(arrays: Sequence[Any], axis: int = 0) -> Any:
    """Return arrays of one shape joined along a new axis.

    Raises
    ------
    ShapeError
        If the list is empty or the shapes differ.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> tb.stack([tb.ones(3), tb.zeros(3)], axis=1).shape
    (3, 2)
    """
    found = [np.shape(a) if not hasattr(a, "shape") else a.shape for a in arrays]
    if len(set(found)) > 1:
        raise ShapeError(f"stack: the arrays have shapes {', '.join(map(str, found))}; they must be the same")
    return ops.concatenate([expand_dims(a, axis) for a in arrays], axis=axis)


@implements(np.split)
def split(x: Any, parts: int | Sequence[int], axis: int = 0) -> list[Any]:
    """Return ``x`` cut along ``axis`` into equal parts, or before the given positions.

    Parameters
    ----------
    x : Tensor or array_like
    parts : int or sequence of int
        How many equal parts, or the positions of the cuts.
    axis : int

    Raises
    ------
    ShapeError
        If the axis does not divide into that many equal parts.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> [part.shape for part in tb.split(tb.ones((6, 2)), 3)]
    [(2, 2), (2, 2), (2, 2)]
    """
    axis = shapes.normal_axis(axis, _ndim(x))
    length = np.shape(x)[axis] if not hasattr(x, "shape") else x.shape[axis]
    if isinstance(parts, (int, np.integer)):
        parts = int(parts)
        if parts < 1 or length % parts:
            raise ShapeError(f"split: an axis of length {length} does not divide into {parts} equal parts")
        cuts = list(range(length // parts, length, length // parts))[: parts - 1] if length else [0] * (parts - 1)
    else:
        cuts = list(parts)
    front = (slice(None),) * axis
    return [ops.getitem(x, index=(*front, slice(a, b))) for a, b in zip([0, *cuts], [*cuts, length], strict=True)]


@implements(np.shape)
def _numpy_shape(x: Any) -> Any:
    return x.shape


@implements(np.ndim)
def _numpy_ndim(x: Any) -> Any:
    return x.ndim


@implements(np.size)
def _numpy_size(x: Any, axis: int | None = None) -> Any:
    return x.size if axis is None else x.shape[axis]


@implements(np.where)
def _numpy_where(c: Any, *choices: Any) -> Any:
    return ops.where(c, *choices) if choices else np.nonzero(c)


@implements(np.ravel)
def _numpy_ravel(x: Any) -> Any:
    return flatten(x)


@implements(np.amax)
def _numpy_amax(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    return ops.max(x, axis=axis, keepdims=keepdims)


@implements(np.amin)
def _numpy_amin(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    return ops.min(x, axis=axis, keepdims=keepdims)


@implements(np.var)
def _numpy_var(x: Any, axis: Axis = None, ddof: float = 0, keepdims: bool = False) -> Any:
    return ops.var(x, axis=axis, keepdims=keepdims, correction=ddof)


@implements(np.std)
def _numpy_std(x: Any, axis: Axis = None, ddof: float = 0, keepdims: bool = False) -> Any:
    return ops.std(x, axis=axis, keepdims=keepdims, correction=ddof)


@implements(np.power)
def power(a: Any, b: Any) -> Any:
    """Return ``a ** b``; a plain number as exponent gives the simpler derivative.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> tb.power(tb.tensor([1.0, 2.0]), 3)
    tensor([1., 8.])
    """
    if isinstance(b, np.generic):
        b = b.item()  # a NumPy number widens an array, a Python number does not
    if isinstance(b, (int, float)) and not isinstance(b, bool):
        return ops.square(a) if b == 2 else ops.power_of(a, exponent=b)
    return ops.power(a, b)


def gelu_tanh(x: Any) -> Any:
    """Return the tanh approximation of GELU (Hendrycks and Gimpel 2016, section 2).

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> tb.gelu_tanh(tb.tensor([0.0, 1.0]))
    tensor([0.        , 0.84119199])
    """
    return 0.5 * x * (1.0 + ops.tanh(0.7978845608028654 * (x + 0.044715 * power(x, 3))))
