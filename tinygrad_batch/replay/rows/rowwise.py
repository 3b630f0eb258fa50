"""Where the rows of a batch are in each value of a program: followed by the flow of the data, not by lengths.

A value either does not depend on the rows, or has one axis along which each row has its entry (or, reshaped,
so many entries next to each other), or is a total over them. `along` says, for one operation, where the
axis of the rows goes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ... import shapes
from ...errors import CompileError
from ...op import TABLE
from ...program import Instruction, Variable

At = Sequence[int | None]  # for each input, the axis of the rows, or None where it does not depend on them


@dataclass(frozen=True, slots=True)
class Along:
    """What an operation does with the rows.

    Attributes
    ----------
    axis : int or None
        Where they are in the result; None if they were summed.
    cut : dict of int to int
        The inputs that do not depend on the rows but have entries for each of them all the same, and
        along which axis.
    each : int
        How many entries each row has along the axis; 0 for as many as in the inputs.
    """

    axis: int | None
    cut: dict[int, int] = field(default_factory=dict)
    each: int = 0


TOTAL = Along(None)
_NO_SUM = "goes over the rows, and is not a sum"
Rule = Callable[[Instruction, At], "Along | str"]  # a string says why not


def along(instruction: Instruction, at: At, rows: int) -> Along:
    """Return what an operation does with the rows of its inputs.

    Raises
    ------
    CompileError
        If it does not treat every row for itself, or sum over them.
    """
    rule = RULES.get(instruction.op)
    if instruction.op == "reshape":
        found = _reshape(instruction, at, rows)
    elif rule is not None:
        found = rule(instruction, at)
    elif TABLE[instruction.op].elementwise:
        found = _elementwise(instruction, at)
    else:
        found = "treats rows in a way that is not known"
    if isinstance(found, str):
        raise refusal(instruction, found)
    return found


def refusal(instruction: Instruction, reason: str) -> CompileError:
    """Return the error that says why a step cannot run block by block."""
    return CompileError(
        f"this step cannot run block by block: {instruction.op}, which computes {instruction.output.name}, {reason}",
        "Leave row_block out, and the whole batch is computed at once",
    )


def _arrays(instruction: Instruction) -> list[tuple[int, Variable]]:
    return [(i, v) for i, v in enumerate(instruction.inputs) if isinstance(v, Variable)]


def _elementwise(instruction: Instruction, at: At) -> Along | str:
    arrays, out = _arrays(instruction), instruction.output
    ends = {axis - len(v.shape) for i, v in arrays if (axis := at[i]) is not None}  # broadcasting counts from the end
    if len(ends) > 1:
        return "compares every row with every other"
    end = ends.pop()
    rows = next(v.shape[end] for i, v in arrays if at[i] is not None)
    if out.shape[end] != rows:
        return "repeats the only row"
    cut = {i: len(v.shape) + end for i, v in arrays if at[i] is None and -end <= len(v.shape) and v.shape[end] != 1}
    return Along(len(out.shape) + end, cut)


def _reduction(instruction: Instruction, at: At) -> Along | str:
    ((_, x),), axis = _arrays(instruction), at[0] or 0
    axes = shapes.normal_axes(instruction.options.get("axis"), len(x.shape))
    if axis in axes:
        return TOTAL if instruction.op == "sum" else _NO_SUM
    return Along(axis if instruction.options.get("keepdims", False) else axis - sum(a < axis for a in axes))


def _sum_rows(instruction: Instruction, at: At) -> Along | str:
    return Along(at[0] - 1) if at[0] else TOTAL


def _within_rows(instruction: Instruction, at: At) -> Along | str:
    """Follow the rows through what keeps the shape and works along one axis, by default the last."""
    x = instruction.output
    axis = shapes.normal_axis(instruction.options.get("axis", -1), len(x.shape))
    return _NO_SUM if axis == at[0] else Along(at[0])


def _matmul(instruction: Instruction, at: At) -> Along | str:
    (_, a), (_, b) = _arrays(instruction)
    ends = [None if axis is None else axis - len(v.shape) for v, axis in ((a, at[0]), (b, at[1]))]
    count = len(instruction.output.shape)
    left, right = ends
    if left in (None, -1) and right in (None, -2):  # the products of the rows are added up
        return Along(None, {0: len(a.shape) - 1} if left is None else {1: len(b.shape) - 2} if right is None else {})
    if (left == -2 and right is None) or (right == -1 and left is None):
        return Along(count + (left if left is not None else -1))
    stacks = {end for end in ends if end is not None}
    if len(stacks) == 1 and (end := stacks.pop()) < -2:
        free = [(i, v) for i, v in ((0, a), (1, b)) if at[i] is None]
        return Along(
            count + end, {i: len(v.shape) + end for i, v in free if -end <= len(v.shape) and v.shape[end] != 1}
        )
    return "multiplies every row with every other"


def _transpose(instruction: Instruction, at: At) -> Along | str:
    ((_, x),) = _arrays(instruction)
    return Along(shapes.normal_permutation(instruction.options.get("axes"), len(x.shape)).index(at[0] or 0))


def _matrix_transpose(instruction: Instruction, at: At) -> Along | str:
    count, axis = len(instruction.output.shape), at[0] or 0
    return Along({count - 1: count - 2, count - 2: count - 1}.get(axis, axis))


def _reshape(instruction: Instruction, at: At, rows: int) -> Along | str:
    ((_, x),), axis, new = _arrays(instruction), at[0] or 0, instruction.output.shape
    before = shapes.count(x.shape[:axis])
    for place, n in enumerate(new):
        if n % rows == 0 and shapes.count(new[:place]) == before:
            return Along(place, each=n // rows)
    return "does not keep the rows apart"


def _spread(instruction: Instruction, at: At) -> Along | str:
    ((_, x),), axis, new = _arrays(instruction), at[0] or 0, instruction.output.shape
    axes = shapes.normal_axes(instruction.options.get("axis"), len(new))
    left = range(len(new)) if len(x.shape) == len(new) else [a for a in range(len(new)) if a not in axes]
    place = left[axis]
    return "repeats the only row" if new[place] != x.shape[axis] or place in axes else Along(place)


def _broadcast_to(instruction: Instruction, at: At) -> Along | str:
    ((_, x),), axis, new = _arrays(instruction), at[0] or 0, instruction.output.shape
    place = axis + len(new) - len(x.shape)
    return Along(place) if new[place] == x.shape[axis] else "repeats the only row"


def indexed_axis(count: int, index: object, axis: int) -> int | None:
    """Return where an axis of an array of ``count`` axes is after indexing; None if it is not left whole."""
    parts = list(index) if isinstance(index, tuple) else [index]
    if not all(p is None or p is Ellipsis or isinstance(p, slice | int | np.integer) for p in parts):
        return None  # arrays of positions may put their axes anywhere
    if any(isinstance(p, bool) for p in parts):
        return None
    taken = sum(p is not None and p is not Ellipsis for p in parts)
    rest = [slice(None)] * (count - taken)
    if Ellipsis in parts:
        at = parts.index(Ellipsis)
        parts[at : at + 1] = rest
    else:
        parts += rest
    old = new = 0
    for part in parts:
        if part is None:
            new += 1
            continue
        if old == axis:
            return new if part == slice(None) else None
        old += 1
        new += isinstance(part, slice)
    return None


def _getitem(instruction: Instruction, at: At) -> Along | str:
    ((_, x),) = _arrays(instruction)
    place = indexed_axis(len(x.shape), instruction.options.get("index", ()), at[0] or 0)
    return "picks some of the rows" if place is None else Along(place)


def _scatter_add(instruction: Instruction, at: At) -> Along | str:
    count, index = len(instruction.output.shape), instruction.options.get("index", ())
    places = [axis for axis in range(count) if indexed_axis(count, index, axis) == at[0]]
    return Along(places[0]) if places else "adds the rows where an index says"


def _at_labels(instruction: Instruction, at: At) -> Along | str:
    if any(axis not in (None, 0) for axis in at):
        return "takes its rows from another axis"
    return Along(0, {i: 0 for i, v in _arrays(instruction) if at[i] is None and v.shape})


def _concatenate(instruction: Instruction, at: At) -> Along | str:
    arrays, out = _arrays(instruction), instruction.output
    axes = {axis for axis in at if axis is not None}
    if len(axes) > 1:
        return "joins rows along different axes"
    (axis,) = axes
    if shapes.normal_axis(instruction.options.get("axis", 0), len(out.shape)) == axis:
        return "adds rows to the rows"
    return Along(axis, {i: axis for i, _ in arrays if at[i] is None})


def _pad(instruction: Instruction, at: At) -> Along | str:
    axis = at[0] or 0
    return "adds rows to the rows" if any(instruction.options["widths"][axis]) else Along(axis)


def _windows(instruction: Instruction, at: At) -> Along | str:
    """Follow the rows through windows over the last axes, there and back."""
    ((_, x),), axis = _arrays(instruction), at[0] or 0
    short, long = sorted((len(x.shape), len(instruction.output.shape)))
    front = short - (long - short)
    return Along(axis) if axis < front else "looks at several rows through one window"


def _correlated(instruction: Instruction, at: At) -> Along | str:
    return Along(0) if at[0] == 0 and at[1] is None else "takes its rows otherwise than as pictures"


def _kernels(instruction: Instruction, at: At) -> Along | str:
    if any(axis not in (None, 0) for axis in at):
        return "takes its rows otherwise than as pictures"
    return Along(None, {i: 0 for i, _ in _arrays(instruction) if at[i] is None})


RULES: dict[str, Rule] = {
    **dict.fromkeys(("sum", "mean", "max", "min", "prod", "var", "std", "logsumexp"), _reduction),
    **dict.fromkeys(("softmax", "log_softmax", "prod_others"), _within_rows),
    **dict.fromkeys(("relu", "power_of", "clip", "astype"), _elementwise),
    **dict.fromkeys(("random_mask", "random_uniform", "random_normal"), _elementwise),
    **dict.fromkeys(("pick", "place"), _at_labels),
    **dict.fromkeys(("sliding_windows", "add_windows"), _windows),
    **dict.fromkeys(("correlate", "correlate_back"), _correlated),
    "correlate_kernels": _kernels,
    "sum_rows": _sum_rows,
    "matmul": _matmul,
    "transpose": _transpose,
    "matrix_transpose": _matrix_transpose,
    "spread": _spread,
    "broadcast_to": _broadcast_to,
    "getitem": _getitem,
    "scatter_add": _scatter_add,
    "concatenate": _concatenate,
    "pad": _pad,
}
