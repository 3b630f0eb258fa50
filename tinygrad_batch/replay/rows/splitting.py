"""Splitting a step in three, so that its rows can be computed a block at a time.

`before` computes what no row changes. The block program computes the rows of one block, and adds what is
summed over the rows to totals that live on from block to block. `after` goes on from the totals.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import shapes
from ...errors import CompileError
from ...op import TABLE
from ...program import NUMBER, Instruction, Operand, Program, Variable
from ..passes.dead import dead
from ..passes.lower import lower
from .rowwise import along, refusal

_VIEWS = {"matrix_transpose", "transpose", "reshape", "spread", "broadcast_to"}
# option shape: of the result
_SHAPED = {"reshape", "spread", "broadcast_to", "place", "scatter_add", "add_windows", "correlate_back"}
# In a block, a value is known by its variable in the whole program; a part of what no row changes, but
# that has entries for each row, by its variable and where they are.
Place = tuple[int, int]  # the axis of the rows, and how many entries each row has along it
Key = Variable | tuple[Variable, Place]


@dataclass(frozen=True, slots=True)
class Piece:
    """What the block program is given: a variable, whole, or cut where the rows are."""

    variable: Variable
    place: Place | None


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction of the block program: what it reads there, and where the rows are in what it computes."""

    instruction: Instruction
    reads: tuple[Key | Operand, ...]
    place: Place | None


@dataclass(frozen=True, eq=False)
class Streamed:
    """A program, split for running block by block.

    Attributes
    ----------
    program : Program
        For the whole batch.
    before, after : Program
    handed : dict of Variable to Variable
        For each output of ``before``, in order, the input of the others that takes it.
    pieces : dict of key to Piece
        The inputs of the block program, in order.
    steps : dict of key to Step
    totals : dict of Variable to Variable
        For what is summed over the rows, the state that it is added up in.
    by_row : tuple of int
        For each output of the program, how many entries it has for each row; 0 if it does not come from
        the blocks.
    """

    program: Program
    before: Program
    after: Program
    handed: dict[Variable, Variable]
    pieces: dict[Key, Piece]
    steps: dict[Key, Step]
    totals: dict[Variable, Variable]
    by_row: tuple[int, ...]

    def block(self, rows: int) -> Program:
        """Return the program for a block of so many rows."""
        here: dict[Any, Variable] = {}
        for key, piece in self.pieces.items():
            v = piece.variable
            here[key] = v if piece.place is None else _resized(v, piece.place, rows, _name(key, v), "input")
        inputs = tuple(here.values())
        instructions = []
        writes: dict[Variable, Operand] = {}
        for key, step in self.steps.items():
            i, out, options = step.instruction, step.instruction.output, step.instruction.options
            read = tuple([here.get(v, v) for v in step.reads])
            if step.place is not None:
                out = _resized(out, step.place, rows, _name(key, out), "computed")
                if i.op in _SHAPED:
                    options = {**options, "shape": out.shape}
            here[key] = out
            instructions.append(Instruction(i.op, read, options, out, i.step, i.part))  # type: ignore[arg-type]
            if key in self.totals:
                total = self.totals[i.output]
                writes[total] = new = Variable(f"{total.name}.new", total.shape, total.dtype)
                instructions.append(Instruction("add", (total, out), {}, new, i.step, i.part))
        returned = [here[v] for v, by_row in zip(self.program.outputs, self.by_row, strict=True) if by_row]
        return _program(inputs, instructions, returned, writes, self.program.constants)


def split(program: Program, row_inputs: Iterable[Variable], rows: int) -> Streamed:
    """Return a program split for running block by block.

    Parameters
    ----------
    program : Program
        Captured with batches of so many rows.
    row_inputs : iterable of Variable
        Those of its inputs that have one entry for each row of the batch, along their first axis.
    rows : int

    Raises
    ------
    CompileError
        If rows depend on other rows, but for what only totals go into.
    """
    places: dict[Variable, Place] = {}
    for variable in row_inputs:
        if variable.shape[:1] != (rows,):
            raise CompileError(f"input {variable.name!r} has shape {variable.shape}, which is not one of {rows} rows")
        places[variable] = 0, 1
    return _Splitting(dead(lower(program)), places, rows).result()


class _Splitting:
    """The work of `split`, on a program without composite operations and dead code."""

    def __init__(self, program: Program, places: dict[Variable, Place], rows: int) -> None:
        self.program = program
        self.places = places  # where the rows are in what depends on them
        self.rows = rows
        self.made = {i.output: i for i in program.instructions}
        self.names = {v.name for v in (*program.variables(), *program.constants)}
        self.totals: dict[Variable, Variable] = {}
        self.late: set[Variable] = set()  # the totals, and what is computed from them
        self.steps: dict[Key, Step] = {}
        self.pieces: dict[Key, Piece] = {v: Piece(v, place) for v, place in places.items()}
        self.early: set[Variable] = set()  # what is computed before
        self.handed: dict[Variable, Variable] = {}

    def result(self) -> Streamed:
        """Return the parts."""
        program = self.program
        self._check_random()
        for instruction in program.instructions:
            self._sort_in(instruction)
        for state, value in program.writes.items():
            if value in self.places:
                raise self._refused(value, f"has a row for each row of the batch, and is kept in {state.name}")
        returned = [self.places.get(v, (0, 0)) if isinstance(v, Variable) else (0, 0) for v in program.outputs]
        for v, (axis, _) in zip(program.outputs, returned, strict=True):
            if axis:
                raise self._refused(v, "has the rows of the batch along another axis than the first, and is returned")
        by_row = tuple([each for _, each in returned])
        after = self._after([v for v, row in zip(program.outputs, by_row, strict=True) if not row])
        inputs = [v for v in program.inputs if v not in self.places]
        early = [i for i in program.instructions if i.output in self.early]
        before = _program(inputs, early, list(self.handed), {}, program.constants)
        order = {v: n for n, v in enumerate(self.made)}
        steps = dict(sorted(self.steps.items(), key=lambda item: order[item[1].instruction.output]))
        read: set[Any] = {v for step in steps.values() for v in step.reads} | set(program.outputs)
        pieces = {key: piece for key, piece in self.pieces.items() if key in read}
        return Streamed(program, before, after, self.handed, pieces, steps, self.totals, by_row)

    def _refused(self, value: Any, reason: str) -> CompileError:
        if value in self.made:
            return refusal(self.made[value], reason)
        return CompileError(f"this step cannot run block by block: {value.name} {reason}")

    def _check_random(self) -> None:
        random = [i for i in self.program.instructions if TABLE[i.op].random]
        if len(random) > 1:
            raise refusal(
                random[1], "is the second that draws random numbers, which blocks would draw in another order"
            )
        if random and not isinstance(random[0].options.get("rng"), np.random.Generator):
            raise refusal(random[0], "draws from a seed, and would draw the same numbers for each block")

    # --- the rows ------------------------------------------------------------------------------------
    def _sort_in(self, instruction: Instruction) -> None:
        """Find out where the rows are in what an instruction computes, if it depends on them."""
        places = [self.places.get(v) if isinstance(v, Variable) else None for v in instruction.inputs]
        total = next((v for v in instruction.reads if v in self.late), None)
        by_row = any(place is not None for place in places)
        if total is not None and by_row:
            raise refusal(instruction, f"computes rows from {total.name}, a total over all of them")
        if total is not None:
            self.late.add(instruction.output)
        elif by_row:
            self._add_step(instruction, places)

    def _add_step(self, instruction: Instruction, places: Sequence[Place | None]) -> None:
        out = instruction.output
        found = along(instruction, [place and place[0] for place in places], self.rows)
        each = found.each or max(place[1] for place in places if place)
        if found.axis != 0 and TABLE[instruction.op].random:
            raise refusal(instruction, "draws random numbers, but not row after row")
        reads: list[Any] = list(instruction.inputs)
        for i, axis in found.cut.items():
            reads[i] = self._cut(reads[i], (axis, each))
        for v in reads:
            if isinstance(v, Variable) and v not in self.places:
                self._read_in_block(v)
        self.steps[out] = Step(instruction, tuple(reads), None if found.axis is None else (found.axis, each))
        if found.axis is None:
            self.late.add(out)
            self.totals[out] = Variable(self._unique(f"{out.name}.total"), out.shape, out.dtype, "state")
        else:
            self.places[out] = found.axis, each

    def _cut(self, value: Variable, place: Place) -> Key:
        """Let the block have its part of what no row changes, but that has entries for each."""
        key = value, place
        maker = self.made.get(value)
        if maker is not None and _repeats(maker, place[0]):
            self._read_in_block(maker.reads[0])
            self.steps[key] = Step(maker, maker.inputs, place)
        else:
            self.pieces[key] = Piece(value if maker is None else self._hand(value), place)
        return key

    # --- what no row changes ---------------------------------------------------------------------------
    def _read_in_block(self, value: Variable) -> None:
        """See to it that the block program can read a variable that no row changes."""
        waiting = [value]
        while waiting:
            v = waiting.pop()
            maker = self.made.get(v)
            if maker is None:
                if v.kind == "input":
                    self.pieces[v] = Piece(v, None)
            elif not _cheap(maker):
                self.pieces[v] = Piece(self._hand(v), None)
            elif v not in self.steps:
                self.steps[v] = Step(maker, maker.inputs, None)
                waiting += maker.reads

    def _hand(self, value: Variable) -> Variable:
        """Compute a variable before the blocks, and return the input of the other parts that takes it."""
        waiting = [value]
        while waiting:
            v = waiting.pop()
            if v in self.made and v not in self.early:
                self.early.add(v)
                waiting += self.made[v].reads
        return self.handed.setdefault(value, Variable(value.name, value.shape, value.dtype, "input"))

    def _after(self, outputs: list[Operand]) -> Program:
        program, made = self.program, self.made
        inner = self.late - self.totals.keys()
        waiting = [v for v in (*outputs, *program.writes.values()) if isinstance(v, Variable)]
        waiting += [v for out in inner for v in made[out].reads]
        drawn = [v for v, i in made.items() if TABLE[i.op].random]
        waiting += [v for v in drawn if v not in self.places and v not in self.early]
        while waiting:
            v = waiting.pop()
            if v not in made or v in self.totals or v in inner:
                continue
            if v in self.early and not _cheap(made[v]):
                self._hand(v)
            else:
                inner.add(v)
                waiting += made[v].reads
        to = {v: stand_in for v, stand_in in (*self.totals.items(), *self.handed.items()) if v not in inner}
        instructions = [i.renamed(to) for i in program.instructions if i.output in inner]
        inputs = [v for v in program.inputs if v not in self.places] + list(self.handed.values())
        writes = {state: to.get(v, v) if isinstance(v, Variable) else v for state, v in program.writes.items()}
        returned = [to.get(v, v) if isinstance(v, Variable) else v for v in outputs]
        return _program(inputs, instructions, returned, writes, program.constants)

    def _unique(self, name: str) -> str:
        while name in self.names:
            name += "s"
        self.names.add(name)
        return name


def _cheap(instruction: Instruction) -> bool:
    """Return whether computing again costs less than handing on: plain numbers, and views."""
    return instruction.output.dtype == NUMBER or instruction.op in _VIEWS


def _repeats(maker: Instruction, axis: int) -> bool:
    """Return whether something is repeated along an axis, and so can be repeated fewer times."""
    source, out = maker.inputs[0], maker.output
    if maker.op not in ("spread", "broadcast_to") or not isinstance(source, Variable):
        return False
    if maker.op == "spread" and len(source.shape) < len(out.shape):
        return axis in shapes.normal_axes(maker.options.get("axis"), len(out.shape))
    place = axis - len(out.shape) + len(source.shape)
    return place < 0 or source.shape[place] == 1


def _name(key: Key, variable: Variable) -> str:
    return variable.name if isinstance(key, Variable) else f"{variable.name}.rows"


def _resized(variable: Variable, place: Place, rows: int, name: str, kind: Any) -> Variable:
    axis, each = place
    return Variable(name, (*variable.shape[:axis], rows * each, *variable.shape[axis + 1 :]), variable.dtype, kind)


def _program(
    inputs: Sequence[Variable],
    instructions: Sequence[Instruction],
    outputs: Sequence[Operand],
    writes: dict[Variable, Operand],
    constants: Mapping[Variable, np.ndarray],
) -> Program:
    """Return a part of a program: with the inputs and constants that it reads."""
    read: set[Any] = {v for i in instructions for v in i.reads} | {*outputs, *writes.values()}
    needed = {v: value for v, value in constants.items() if v in read}
    return Program(tuple([v for v in inputs if v in read]), tuple(instructions), tuple(outputs), writes, needed)
