"""The order of pictures in memory: from one convolution to the next, the rows of the batch stay innermost.

To the outside, pictures are (rows, channels, height, width). A convolution finds its windows by long copies where the
rows come last, and so it is spelled here as a product of matrices on pictures in that order, between
two transposings. What follows, element by element, over axes or over windows, is computed in that order too:
then the transposings of neighbours meet, and nothing is copied to and fro.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ... import shapes
from ...op import TABLE
from ...program import NUMBER, Instruction, Operand, Program, Variable
from ...shapes import Shape
from .common import common
from .dead import dead
from .rewriting import Rewriting
from .simplify import simplify

ROWS_INSIDE = (3, 0, 1, 2)  # which axis of (channels, height, width, rows) each axis of pictures is
_PER_ELEMENT = {"astype", "clip", "power_of"}  # these, and what the table says of itself


def arrange(program: Program) -> Program:
    """Return the program with its convolutions spelled out, and what is between them in their order.

    Examples
    --------
    >>> from tinygrad_batch.replay.passes.arrange import arrange
    >>> from tinygrad_batch.program import Instruction, Program, Variable
    >>> x, w = Variable("x", (5, 1, 4, 4), "float64", "input"), Variable("w", (2, 1, 3, 3), "float64", "input")
    >>> c, y = Variable("c", (5, 2, 2, 2), "float64"), Variable("y", (5, 2, 2, 2), "float64")
    >>> steps = Instruction("correlate", (x, w), {}, c), Instruction("tanh", (c,), {}, y)
    >>> [step.op for step in arrange(Program((x, w), steps, (y,))).instructions]
    ['transpose', 'columns', 'reshape', 'matmul', 'reshape', 'tanh', 'transpose']
    """
    if not any(instruction.op in _CORRELATIONS for instruction in program.instructions):
        return program
    return dead(common(simplify(_Arranging(program).finished())))


class _Arranging(Rewriting):
    """A program being written anew.

    Attributes
    ----------
    held : dict of Variable to (Variable, tuple of int)
        For a value that lies in memory in another order: the array that holds it, and for each axis of the
        value, which axis of that array it is.
    """

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self.held: dict[Variable, tuple[Variable, Shape]] = {}
        for instruction in program.instructions:
            rule = _rule(instruction)
            if rule is None or not rule(self, instruction):
                self.keep(instruction, instruction.inputs)

    def step(
        self, place: Instruction, op: str, inputs: tuple[Operand, ...], shape: Shape, options: dict[str, Any]
    ) -> Variable:
        """Write a step on the way, and return what it computes: floating numbers, or what it moves."""
        dtype = inputs[0].dtype if op in _MOVES and type(inputs[0]) is Variable else place.output.dtype
        out = self.variable(f"{place.output.name}.{op}", shape, dtype)
        self.write(place, op, inputs, options, out)
        return out

    def end(
        self, place: Instruction, op: str, inputs: tuple[Operand, ...], axes: Shape, options: dict[str, Any]
    ) -> bool:
        """Write the last step, the result of which holds that of the instruction in another order."""
        out = place.output
        held = self.variable(f"{out.name}.held", turned(out.shape, axes), out.dtype)
        self.write(place, op, inputs, options, held)
        self.write(place, "transpose", (held,), {"axes": axes}, out)
        self.held[out] = held, axes
        return True

    def inside(self, place: Instruction, v: Variable, axes: Shape) -> Variable:
        """Return the array that holds a value in the given order: its own, or a view."""
        if v in self.held and self.held[v][1] == axes:
            return self.held[v][0]
        return self.step(place, "transpose", (v,), turned(v.shape, axes), {"axes": turned(range(len(axes)), axes)})

    def matrix(self, place: Instruction, x: Variable) -> Variable:
        """Return an array with all its axes but the first as one."""
        shape = x.shape[0], shapes.count(x.shape[1:])
        return self.step(place, "reshape", (x,), shape, {"shape": shape})

    def transposed(self, place: Instruction, x: Variable) -> Variable:
        """Return a matrix transposed."""
        return self.step(place, "matrix_transpose", (x,), x.shape[::-1], {})

    def columns(self, place: Instruction, x: Variable, size: Shape, stride: Shape) -> Variable:
        """Return the windows of pictures, one in each column."""
        options = {"size": size, "stride": stride}
        held = self.inside(place, x, ROWS_INSIDE)
        return self.step(place, "columns", (held,), TABLE["columns"].shape(held.shape, **options), options)


def turned(values: Sequence[Any], axes: Shape) -> tuple[Any, ...]:
    """Return, for the array that holds a value, what is given for each axis of the value."""
    return tuple([values[axes.index(axis)] for axis in range(len(axes))])


_MOVES = {"transpose", "matrix_transpose", "reshape"}
Rule = Callable[[_Arranging, Instruction], bool]  # writes the instruction and returns True, or returns False


# --- convolutions ---------------------------------------------------------------------------------------
def _alike(place: Instruction) -> bool:
    return all(type(v) is Variable and v.dtype == place.output.dtype for v in place.inputs)


def _stride(place: Instruction) -> Shape:
    return tuple(place.options.get("stride", (1, 1)))


def _correlate(w: _Arranging, place: Instruction) -> bool:
    if not _alike(place):
        return False
    (x, kernels), out = place.reads, place.output
    columns = w.columns(place, x, kernels.shape[2:], _stride(place))
    product = w.step(place, "matmul", (w.matrix(place, kernels), columns), (kernels.shape[0], columns.shape[1]), {})
    return w.end(place, "reshape", (product,), ROWS_INSIDE, {"shape": turned(out.shape, ROWS_INSIDE)})


def _correlate_back(w: _Arranging, place: Instruction) -> bool:
    if not _alike(place):
        return False
    (z, kernels), out = place.reads, place.output
    given = w.matrix(place, w.inside(place, z, ROWS_INSIDE))
    turn = w.transposed(place, w.matrix(place, kernels))
    columns = w.step(place, "matmul", (turn, given), (turn.shape[0], given.shape[1]), {})
    options = {"shape": turned(out.shape, ROWS_INSIDE), "size": kernels.shape[2:], "stride": _stride(place)}
    return w.end(place, "add_columns", (columns,), ROWS_INSIDE, options)


def _correlate_kernels(w: _Arranging, place: Instruction) -> bool:
    if not _alike(place):
        return False
    (x, z), out = place.reads, place.output
    columns = w.columns(place, x, tuple(place.options["size"]), _stride(place))
    given = w.matrix(place, w.inside(place, z, ROWS_INSIDE))
    turn = w.transposed(place, columns)
    product = w.step(place, "matmul", (given, turn), (given.shape[0], turn.shape[1]), {})
    w.write(place, "reshape", (product,), {"shape": out.shape}, out)
    return True


# --- what goes with the order -----------------------------------------------------------------------------
def _elementwise(w: _Arranging, place: Instruction) -> bool:
    shape = place.output.shape
    axes = next((w.held[v][1] for v in place.reads if v in w.held and v.shape == shape), None)
    if axes is None:
        return False
    inputs = tuple([_spread_out(w, place, v, axes) for v in place.inputs])
    return w.end(place, place.op, inputs, axes, place.options)


def _spread_out(w: _Arranging, place: Instruction, v: Operand, axes: Shape) -> Operand:
    """Return an operand of an elementwise operation in the order of its result."""
    if type(v) is not Variable or v.dtype == NUMBER or not v.shape:
        return v
    if len(v.shape) < len(axes):
        shape = (1,) * (len(axes) - len(v.shape)) + v.shape
        v = w.step(place, "reshape", (v,), shape, {"shape": shape})
    return w.inside(place, v, axes)


def _reduction(w: _Arranging, place: Instruction) -> bool:
    x = place.inputs[0]
    if type(x) is not Variable or x not in w.held:
        return False
    held, axes = w.held[x]
    keepdims = bool(place.options.get("keepdims", False))
    over = shapes.normal_axes(place.options.get("axis"), len(axes))
    left = [axis for i, axis in enumerate(axes) if keepdims or i not in over]
    options = {**place.options, "axis": tuple(sorted([axes[i] for i in over]))}
    return w.end(place, place.op, (held,), tuple([sorted(left).index(axis) for axis in left]), options)


def _reshape(w: _Arranging, place: Instruction) -> bool:
    x, out = place.inputs[0], place.output
    if type(x) is not Variable or x not in w.held:
        return False
    held, axes = w.held[x]
    found = _groups(x.shape, out.shape)
    # axes become one, or one becomes several: in the array that holds them, they have to be neighbours too
    if any([axes[i] for i in old] != list(range(axes[old[0]], axes[old[0]] + len(old))) for old, _ in found):
        return False
    order = [i for old, new in sorted(found, key=lambda group: axes[group[0][0]]) for i in new]
    if len(order) != len(out.shape):
        return False
    shape = tuple([out.shape[i] for i in order])
    return w.end(place, "reshape", (held,), tuple([order.index(i) for i in range(len(order))]), {"shape": shape})


def _groups(old: Shape, new: Shape) -> list[tuple[list[int], list[int]]]:
    """Return which axes of one shape become which of another, each group as small as can be."""
    found: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(old) and j < len(new):
        group = [i], [j]
        while (a := shapes.count(tuple([old[k] for k in group[0]]))) != (
            b := shapes.count(tuple([new[k] for k in group[1]]))
        ):
            side = 0 if a < b else 1
            if group[side][-1] + 1 == len((old, new)[side]):
                return []
            group[side].append(group[side][-1] + 1)
        found.append(group)
        i, j = group[0][-1] + 1, group[1][-1] + 1
    return found if i == len(old) and j == len(new) else []


def _transpose(w: _Arranging, place: Instruction) -> bool:
    x = place.inputs[0]
    if type(x) is not Variable or x not in w.held:
        return False
    held, axes = w.held[x]
    order = shapes.normal_permutation(place.options.get("axes"), len(axes))
    w.held[place.output] = held, tuple([axes[i] for i in order])
    return False


def _pad(w: _Arranging, place: Instruction) -> bool:
    x = place.inputs[0]
    if type(x) is not Variable or x not in w.held:
        return False
    held, axes = w.held[x]
    return w.end(place, "pad", (held,), axes, {"widths": turned(place.options["widths"], axes)})


def _getitem(w: _Arranging, place: Instruction) -> bool:
    x, index = place.inputs[0], place.options.get("index", ())
    parts = list(index) if isinstance(index, tuple) else [index]
    if type(x) is not Variable or x not in w.held or not all(isinstance(p, slice) or p is ... for p in parts):
        return False
    held, axes = w.held[x]
    at = parts.index(...) if ... in parts else len(parts)
    parts[at : at + 1] = [slice(None)] * (len(axes) - len(parts) + (... in parts))
    return w.end(place, "getitem", (held,), axes, {"index": turned(parts, axes)})


_CORRELATIONS: dict[str, Rule] = {
    "correlate": _correlate,
    "correlate_back": _correlate_back,
    "correlate_kernels": _correlate_kernels,
}
_RULES: dict[str, Rule] = {
    **_CORRELATIONS,
    **dict.fromkeys(("sum", "mean", "max", "min", "prod"), _reduction),
    **dict.fromkeys(_PER_ELEMENT, _elementwise),
    "reshape": _reshape,
    "transpose": _transpose,
    "pad": _pad,
    "getitem": _getitem,
}


def _rule(instruction: Instruction) -> Rule | None:
    entry = instruction.entry
    if entry.random:  # numbers are drawn in the order of the value
        return None
    return _RULES.get(instruction.op, _elementwise if entry.elementwise else None)
