"""Shape arithmetic on tuples: no arrays, no Tensors."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

import numpy as np

from .errors import ArgumentError, ShapeError

Shape = tuple[int, ...]
Axis = int | Sequence[int] | None


def broadcast(*shapes: Shape) -> Shape:
    """Return the shape that the given shapes broadcast to.

    Examples
    --------
    >>> broadcast((100, 15), (15,))
    (100, 15)
    """
    different = {tuple(shape) for shape in shapes if shape}  # numbers fit any shape
    if len(different) < 2:
        return different.pop() if different else ()
    try:
        return tuple(np.broadcast_shapes(*shapes))
    except ValueError:
        listed = " and ".join(map(str, shapes))
        raise ShapeError(
            f"shapes {listed} do not broadcast",
            "Counted from the right, each pair of axes must be equal, or one of them 1",
        ) from None


def normal_axis(axis: int, ndim: int) -> int:
    """Return ``axis`` counted from the front, checked against ``ndim``."""
    try:
        number = operator.index(axis)
    except TypeError:
        raise ArgumentError(f"an axis is an integer, not {axis!r}") from None
    if not -ndim <= number < ndim:
        raise ShapeError(f"axis {number} is out of range for an array of {ndim} dimensions")
    return number % ndim


def normal_axes(axis: Axis, ndim: int) -> Shape:
    """Return the axes that ``axis`` names (None: all of them), each once, sorted."""
    if axis is None:
        return tuple(range(ndim))
    axes = [normal_axis(a, ndim) for a in (axis if isinstance(axis, Sequence) else [axis])]
    if len(set(axes)) < len(axes):
        raise ShapeError(f"axis {axis} names an axis twice")
    return tuple(sorted(axes))


def reduced(shape: Shape, axis: Axis = None, keepdims: bool = False) -> Shape:
    """Return the shape after reducing over ``axis``.

    Examples
    --------
    >>> reduced((100, 15), axis=0), reduced((100, 15), axis=1, keepdims=True)
    ((15,), (100, 1))
    """
    axes = normal_axes(axis, len(shape))
    if keepdims:
        return tuple(1 if i in axes else n for i, n in enumerate(shape))
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def kept_dims(shape: Shape, axis: Axis) -> Shape:
    """Return ``shape`` with the reduced axes as ones, the shape a gradient needs to broadcast back."""
    return reduced(shape, axis, keepdims=True)


def count(shape: Shape, axis: Axis = None) -> int:
    """Return how many elements each entry of a reduction over ``axis`` brings together."""
    return prod(shape) if axis is None else prod([shape[i] for i in normal_axes(axis, len(shape))])


def matmul(a: Shape, b: Shape) -> Shape:
    """Return the shape of ``a @ b`` for stacks of matrices.

    Examples
    --------
    >>> matmul((100, 10), (10, 15))
    (100, 15)
    """
    if len(a) < 2 or len(b) < 2:
        raise ShapeError(f"matmul takes matrices here, not shapes {a} and {b}")
    if a[-1] != b[-2]:
        raise ShapeError(f"{a} @ {b}: the first has {a[-1]} columns, the second {b[-2]} rows; they must be equal")
    return (*broadcast(a[:-2], b[:-2]), a[-2], b[-1])


def as_shape(value: int | Sequence[int]) -> Shape:
    """Return a shape given as a tuple, or as its only length.

    Examples
    --------
    >>> as_shape(3), as_shape([2, 3])
    ((3,), (2, 3))
    """
    try:
        return tuple(operator.index(n) for n in ([value] if not isinstance(value, Iterable) else value))
    except TypeError:
        raise ShapeError(f"a shape is made of integers, not {value!r}") from None


def reshaped(shape: Shape, new: int | Sequence[int]) -> Shape:
    """Return ``new`` with a -1 worked out, checked to hold as many elements as ``shape``."""
    new = as_shape(new)
    size = prod(shape)
    if new.count(-1) == 1:
        known = prod(n for n in new if n != -1)
        if known and size % known == 0:
            return tuple(size // known if n == -1 else n for n in new)
    elif all(n >= 0 for n in new) and prod(new) == size:
        return new
    raise ShapeError(f"an array of shape {shape} ({size} elements) cannot be reshaped to {new}")


def transposed(shape: Shape, axes: Sequence[int] | None = None) -> Shape:
    """Return ``shape`` with its axes reversed, or in the order of ``axes``."""
    return tuple(shape[i] for i in normal_permutation(axes, len(shape)))


def normal_permutation(axes: Sequence[int] | None, ndim: int) -> Shape:
    """Return ``axes`` as a checked permutation of ``range(ndim)``; None reverses."""
    if axes is None:
        return tuple(range(ndim))[::-1]
    order = tuple(normal_axis(a, ndim) for a in axes)
    if sorted(order) != list(range(ndim)):
        raise ShapeError(f"axes {tuple(axes)} are not a permutation of the {ndim} axes of the array")
    return order


def concatenated(shapes: Sequence[Shape], axis: int = 0) -> Shape:
    """Return the shape of arrays joined along an existing ``axis``."""
    if not shapes:
        raise ShapeError("nothing to concatenate: the list of arrays is empty")
    axis = normal_axis(axis, len(shapes[0]))
    first = shapes[0]
    for other in shapes[1:]:
        if (*other[:axis], *other[axis + 1 :]) != (*first[:axis], *first[axis + 1 :]) or len(other) != len(first):
            raise ShapeError(f"arrays of shapes {first} and {other} cannot be joined along axis {axis}")
    return (*first[:axis], sum(s[axis] for s in shapes), *first[axis + 1 :])


def indexed(shape: Shape, index: Any) -> Shape:
    """Return the shape of ``array[index]`` for any index that NumPy takes."""
    # A zero-stride view of one byte has the shape without the memory.
    ghost = np.broadcast_to(np.zeros((), np.bool_), shape)
    try:
        return tuple(ghost[index].shape)
    except (IndexError, ValueError) as error:
        raise ShapeError(f"index {index!r} does not fit an array of shape {shape}: {error}") from None


def unbroadcast_axes(shape: Shape, target: Shape) -> tuple[Shape, bool]:
    """Return the axes of ``shape`` to sum over to get back to ``target``, and whether any leads it."""
    extra = len(shape) - len(target)
    axes = [*range(extra), *(i + extra for i, n in enumerate(target) if n == 1 and shape[i + extra] != 1)]
    return tuple(axes), extra > 0


def broadcast_to(shape: Shape, target: int | Sequence[int]) -> Shape:
    """Return ``target``, checked to be a shape that ``shape`` broadcasts to."""
    target = as_shape(target)
    if broadcast(shape, target) != target:
        raise ShapeError(f"shape {shape} does not broadcast to {target}")
    return target


def matrix(shape: Shape) -> Shape:
    """Return the last two lengths of ``shape``, checked to be there."""
    if len(shape) < 2:
        raise ShapeError(f"a matrix has two dimensions or more, not the shape {shape}")
    return shape[-2:]
