"""Which element of its input an operation reads for which element of its output, as sums of loop counters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ... import shapes
from ...program import Instruction, Variable


class Affine(NamedTuple):
    """constant + the sum of factor * counter of a loop, over the terms (loop, factor)."""

    constant: int = 0
    terms: tuple[tuple[int, int], ...] = ()

    def scaled(self, factor: int, more: int = 0) -> Affine:
        """Return factor * self + more."""
        terms = tuple([(loop, c * factor) for loop, c in self.terms]) if factor else ()
        return Affine(self.constant * factor + more, terms)


class Flat(NamedTuple):
    """The place of an element in an array that is read row by row."""

    place: Affine


Index = tuple[Affine, ...] | Flat
ZERO = Affine()


def counter(loop: int) -> Affine:
    """Return the counter of a loop."""
    return Affine(0, ((loop, 1),))


def total(parts: Sequence[Affine]) -> Affine:
    """Return the sum."""
    factors: dict[int, int] = {}
    for part in parts:
        for loop, factor in part.terms:
            factors[loop] = factors.get(loop, 0) + factor
    return Affine(sum(p.constant for p in parts), tuple(sorted((k, v) for k, v in factors.items() if v)))


def strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Return how many elements apart the neighbours along each axis are, row by row."""
    out = []
    step = 1
    for n in reversed(shape):
        out.append(step)
        step *= n
    return tuple(reversed(out))


def offset(shape: Sequence[int], index: Index) -> Affine:
    """Return the place of an element of an array of ``shape``."""
    if isinstance(index, Flat):
        return index.place
    return total([part.scaled(step) for part, step in zip(index, strides(shape), strict=True)])


def identity(shape: Sequence[int], loops: Sequence[int] | None = None) -> tuple[Affine, ...]:
    """Return the index of a loop over each axis; no loop over an axis of one element."""
    numbers = iter(range(len(shape)) if loops is None else loops)
    return tuple([counter(next(numbers)) if n != 1 else ZERO for n in shape])


def extents(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the lengths of the loops over an array."""
    return tuple([n for n in shape if n != 1])


def broadcast(source: Sequence[int], shape: Sequence[int], index: Index) -> Index | None:
    """Return the index into an array of shape ``source`` that is broadcast to ``shape``; None if there is none."""
    if tuple(source) == tuple(shape):
        return index
    if all(n == 1 for n in source):
        return (ZERO,) * len(source)
    if isinstance(index, Flat):
        return index if extents(source) == extents(shape) else None
    last = index[len(index) - len(source) :]
    return tuple([ZERO if n == 1 else part for n, part in zip(source, last, strict=True)])


def through_view(instruction: Instruction, index: Index) -> Index | None:
    """Return the index into the input of an operation that only moves elements; None if it has none.

    Of a reshape, the index is flat: then the input has to lie in memory.
    """
    source, shape, options = instruction.inputs[0], instruction.output.shape, instruction.options
    assert isinstance(source, Variable)
    if all(n == 1 for n in source.shape):
        return (ZERO,) * len(source.shape)
    name = instruction.op
    if name not in ("transpose", "matrix_transpose", "broadcast_to", "spread", "getitem"):  # a reshape, or the like
        if extents(source.shape) == extents(shape):
            return _without_ones(source.shape, shape, index)
        return Flat(offset(shape, index))
    if name in ("transpose", "matrix_transpose"):
        if isinstance(index, Flat):
            return None
        return tuple([index[axis] for axis in _inverse(_order(instruction))])
    if name == "broadcast_to":
        return broadcast(source.shape, shape, index)
    if name == "spread":
        kept = shapes.kept_dims(shape, options.get("axis"))
        inner = broadcast(kept, shape, index)
        return None if inner is None else _without_ones(source.shape, kept, inner)
    if isinstance(index, Flat):
        return None
    return _sliced(source.shape, options["index"], index)


def _without_ones(source: Sequence[int], shape: Sequence[int], index: Index) -> Index:
    """Return the index where only axes of one element came or went."""
    if isinstance(index, Flat):
        return index
    parts = iter([part for n, part in zip(shape, index, strict=True) if n != 1])
    return tuple([next(parts) if n != 1 else ZERO for n in source])


def _order(instruction: Instruction) -> tuple[int, ...]:
    ndim = len(instruction.output.shape)
    if instruction.op == "matrix_transpose":
        return (*range(ndim - 2), ndim - 1, ndim - 2)
    return shapes.normal_permutation(instruction.options.get("axes"), ndim)


def _inverse(order: Sequence[int]) -> tuple[int, ...]:
    return tuple([order.index(i) for i in range(len(order))])


def is_basic(index: Any) -> bool:
    """Return whether an index is made of integers, slices, ``...`` and None."""
    parts = index if isinstance(index, tuple) else (index,)
    basic = (int, np.integer, slice, type(None), type(...))
    return all(isinstance(p, basic) and not isinstance(p, bool) for p in parts)


def _sliced(source: Sequence[int], index: Any, out: tuple[Affine, ...]) -> tuple[Affine, ...]:
    """Return the index into an array from that into a basic part of it."""
    parts = list(index if isinstance(index, tuple) else (index,))
    named = sum(p is not None and p is not Ellipsis for p in parts)
    if Ellipsis not in parts:
        parts.append(Ellipsis)
    place = parts.index(Ellipsis)
    parts[place : place + 1] = [slice(None)] * (len(source) - named)
    taken = iter(out)
    found: list[Affine] = []
    for part in parts:
        if part is None:
            next(taken)
            continue
        length = source[len(found)]
        if isinstance(part, slice):
            start, _, step = part.indices(length)
            found.append(next(taken).scaled(step, start))
        else:
            found.append(Affine(int(part) % length))
    return tuple(found)
