"""Where the values of a program lie, and how long they are needed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...program import LIVING, NUMBER, Instruction, Program, Variable
from .ops import VIEWS, basic, on_numbers, pointwise

_SHORT = 32  # elements of a row, up to which a matrix is copied faster column by column
FRESH = 1 << 14  # bytes from which on an output gets an array of its own instead of a copy in the end


class Facts:
    """What can be said of the variables of a program before they get their places.

    Attributes
    ----------
    base : dict of Variable to Variable
        Whose memory a variable lies in: its own, or that of what it is a view of.
    role : list of str
        Of each instruction: ``number``, ``view``, ``join`` (whose parts are computed in their places),
        ``kernel`` (computes into any array) or ``foreign`` (gives an array of its own).
    dynamic : set of Variable
        Whose arrays are not known before the call.
    fresh : set of Variable
        Outputs that are computed into a new array at every call.
    last : dict of Variable to int
        The instruction that reads the memory of a variable last.
    columns : set of Variable
        Matrices whose columns, not rows, lie one behind the other.
    piece : dict of Variable to (Variable, int)
        For a value that is computed as part of another: which one, and where along its axis it starts.
    """

    def __init__(self, program: Program, live: dict[Variable, np.ndarray], fits: Callable[[Instruction], bool]) -> None:
        self.program = program
        self.live = live
        self.instructions = program.instructions
        self.end = len(program.instructions)
        self.defined = {instruction.output: i for i, instruction in enumerate(program.instructions)}
        self.base: dict[Variable, Variable] = {}
        self.dynamic: set[Variable] = set(program.inputs)
        self.columns: set[Variable] = set()
        self.piece: dict[Variable, tuple[Variable, int]] = {}
        self.parts: dict[Variable, list[Variable]] = {}
        self._fits_kernel = fits
        self._contiguous: dict[Variable, bool] = {}
        written = set(program.writes.values())
        self.fresh = {
            v
            for v in program.outputs
            if type(v) is Variable and v.kind == "computed" and v.nbytes >= FRESH and v not in written
        }
        self.role = [self._role(i) for i in program.instructions]
        self.fresh = {v for v in self.fresh if self.role[self.defined[v]] == "kernel"}
        self._join()
        self.last = self._lasts()

    def owner(self, v: Variable) -> bool:
        """Return whether a variable is computed into memory of its own."""
        i = self.defined.get(v)
        return i is not None and self.role[i] in ("kernel", "join")

    # --- roles -----------------------------------------------------------------------------------
    def _role(self, instruction: Instruction) -> str:
        out = instruction.output
        if on_numbers(instruction):
            return "number"
        role = "foreign"
        if instruction.op in VIEWS and self._is_view(instruction):
            source = instruction.reads[0]
            self.base[out] = self.base.get(source, source)
            if source in self.dynamic or source in self.fresh:
                self.dynamic.add(out)
            role = "view"
        elif pointwise(instruction) or self._fits_kernel(instruction):
            role = "kernel"
            if out in self.fresh:
                self.dynamic.add(out)
        else:
            self.dynamic.add(out)
        self._contiguous[out] = role != "view" or self._view_is_contiguous(instruction)
        return role

    def _is_view(self, instruction: Instruction) -> bool:
        source = instruction.inputs[0]
        if type(source) is not Variable or source.dtype == NUMBER:
            return False
        if instruction.op == "getitem":
            return basic(instruction.options.get("index", ()))
        if instruction.op == "reshape":
            return source in self.dynamic or self.contiguous(source)
        return True

    def contiguous(self, v: Variable) -> bool:
        """Return whether the rows of a variable lie one behind the other, unless it is put into columns."""
        if v.kind in LIVING:
            return self.live[v].flags.c_contiguous
        if v.kind == "constant":
            return self.program.constants[v].flags.c_contiguous
        return self._contiguous.get(v, False)

    def _view_is_contiguous(self, instruction: Instruction) -> bool:
        source = instruction.reads[0]
        if instruction.output in self.dynamic or not self.contiguous(source):
            return False
        if instruction.op == "reshape":
            return True
        if instruction.op != "getitem":
            return False
        index = instruction.options.get("index", ())
        first, *others = index if isinstance(index, tuple) and index else (index,)
        if others or not isinstance(first, (int, slice)):
            return False
        return isinstance(first, int) or first.step in (None, 1)

    # --- joins -----------------------------------------------------------------------------------
    def _join(self) -> None:
        """Find the values that can be computed as parts of others, and the matrices that lie in columns."""
        wide = [
            i
            for i, instruction in enumerate(self.instructions)
            if instruction.op == "concatenate" and self.role[i] == "kernel" and instruction.output not in self.fresh
        ]
        self._put_into_columns([self.instructions[i] for i in wide])
        for i in wide:
            instruction = self.instructions[i]
            out = instruction.output
            axis = instruction.options.get("axis", 0) % len(out.shape)
            start, parts = 0, []
            for v in instruction.reads:
                if self._fits(v, out, axis):
                    self.piece[self.base.get(v, v)] = (out, start)
                    parts.append(self.base.get(v, v))
                elif v.kind == "constant":
                    parts.append(v)
                start += v.shape[axis]
            if parts:
                self.parts[out] = parts
                self.role[i] = "join"

    def _fits(self, v: Variable, out: Variable, axis: int) -> bool:
        """Return whether a part of a join can be computed in its place."""
        source = self.base.get(v, v)
        i = self.defined.get(source)
        if i is None or self.role[i] != "kernel" or source in self.piece or source in self.dynamic:
            return False
        if v.dtype != out.dtype or source in self.parts:
            return False
        if axis:
            return source is v and out in self.columns and v in self.columns
        if source is v:
            return out not in self.columns and v not in self.columns
        # part of a vector, and the memory of what it is a view of throughout
        same = source.size == v.size and self.contiguous(v) and len(out.shape) == 1
        return same and source not in self.columns

    def _put_into_columns(self, joins: list[Instruction]) -> None:
        """Let matrices with further columns joined to them lie in columns, and what is computed with them."""
        wanted = [j for j in joins if len(j.output.shape) == 2 and j.options.get("axis", 0) in (1, -1)]
        if not wanted:
            return
        group: dict[Variable, Variable] = {}

        def find(v: Variable) -> Variable:
            while (up := group.get(v, v)) is not v:
                group[v] = group.get(up, up)
                v = up
            return v

        reshaped: set[Variable] = set()
        for i, instruction in enumerate(self.instructions):
            out = instruction.output
            if self.role[i] == "view" and instruction.op == "reshape":
                reshaped.add(self.base[out])
            elif self.role[i] == "kernel" and len(out.shape) == 2 and pointwise(instruction):
                for v in instruction.reads:
                    if v.shape == out.shape and v in self.defined and self.base.get(v, v) is v:
                        group[find(v)] = find(out)
        for instruction in wanted:
            first = instruction.reads[0]
            if first in self.defined:
                group[find(first)] = find(instruction.output)
        # what has long rows is copied into its place faster row by row
        good = {find(j.output) for j in wanted if self._computed(j.reads[0]) or j.output.shape[1] <= _SHORT}
        good -= {find(v) for v in reshaped | self.fresh}
        for i, instruction in enumerate(self.instructions):
            if self.role[i] == "kernel" and len(instruction.output.shape) == 2 and find(instruction.output) in good:
                self.columns.add(instruction.output)

    def _computed(self, v: Variable) -> bool:
        return v in self.defined and self.role[self.defined[v]] == "kernel" and v not in self.dynamic

    # --- lifetimes -------------------------------------------------------------------------------
    def _lasts(self) -> dict[Variable, int]:
        last: dict[Variable, int] = dict.fromkeys(self.program.results, self.end)
        for i in range(self.end - 1, -1, -1):
            instruction, role = self.instructions[i], self.role[i]
            out = instruction.output
            until = max(i, last.get(out, i)) if role in ("view", "foreign") else i
            for v in instruction.reads:
                last[v] = max(last.get(v, -1), until)
            if role == "join":
                for v in self.parts[out]:
                    last[v] = max(last.get(v, -1), last.get(out, i))
        return last
