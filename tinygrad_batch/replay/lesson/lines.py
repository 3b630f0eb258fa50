"""The lines of a printed program: which values get a line, in which order, and which arrays are reused.

A program never overwrites anything. A text to be read does: a parameter is updated in its place, and a
gradient that more is added to keeps its name. Both are done only where nobody reads the old value later.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ...program import Instruction, Operand, Program, Variable
from .spelling import Speller, number_of
from .values import Values

WIDTH = 78  # of the code in a line, so that a comment still fits beside it
_TEMPORARY = re.compile(r"t\d+")
_COPIED = {"copy", "astype", "sum"}  # methods that give a new array
_VIEWED = {"reshape", "transpose", "swapaxes", "broadcast_to", "expand_dims", "squeeze", "asarray", "ravel"}


@dataclass(eq=False)
class Line:
    """A line that computes a variable.

    Attributes
    ----------
    expression : ast.expr
        With a name such as ``@12`` for each variable that is read; see `Lines.read`.
    variable : Variable
    step : int
        Number of the step of the trace; 0 for none.
    part : pair of int, or None
    value : int or None
        Id of the value of the trace that it computes, or helps to.
    alias : bool
        It only gives another name to a variable.
    home : Variable or None
        The living variable whose array it writes.
    """

    expression: ast.expr
    variable: Variable
    step: int
    part: tuple[int, int] | None = None
    value: int | None = None
    alias: bool = False
    home: Variable | None = None


@dataclass
class Reading:
    """What a name in an expression stands for: a variable, under another name if it has one there."""

    variable: Variable
    name: str = ""


@dataclass
class Lines:
    """Turns the instructions of a program into lines.

    Attributes
    ----------
    lines : list of Line
    late : dict of Variable to Variable or number
        Living variables that are written at the end, and with what.
    """

    program: Program
    values: Values
    speller: Speller
    lines: list[Line] = field(default_factory=list)
    late: dict[Variable, Operand] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._readings: dict[str, Reading] = {}
        self._inline: dict[Variable, tuple[ast.expr, Instruction]] = {}
        program = self.program
        self._uses = Counter(v for i in program.instructions for v in set(i.reads))
        self._uses.update(program.results)
        self._scopes: dict[Variable, set[tuple[int, tuple[int, int] | None]]] = {}
        for i in program.instructions:
            for v in i.reads:
                self._scopes.setdefault(v, set()).add((i.step, i.part))
        self._declared: set[Variable] = set()
        self._roots: dict[Variable, set[Variable]] = {}
        self._homes: dict[Variable, Variable] = {}
        for instruction in program.instructions:
            self.values.reach(instruction.step, self._alias)
            for variable in instruction.reads:
                self._declare(variable, instruction.step)
            self._write(instruction)
        self.values.reach(None, self._alias)
        self._settle()

    # --- what a name stands for --------------------------------------------------------------------
    def read(self, variable: Variable, name: str = "") -> ast.expr:
        """Return the expression of a variable."""
        key = f"@{len(self._readings)}"
        self._readings[key] = Reading(variable, name)
        return ast.Name(key, ast.Load())

    def reading(self, node: ast.AST) -> Reading | None:
        """Return what a name in an expression stands for, or None if it is a name of Python."""
        return self._readings.get(node.id) if isinstance(node, ast.Name) else None

    def readings(self, tree: ast.AST) -> list[Reading]:
        """Return all that an expression reads."""
        return [found for node in ast.walk(tree) if (found := self.reading(node)) is not None]

    def text(self, tree: ast.expr, names: Mapping[Variable, str]) -> str:
        """Return an expression as text."""
        held = {}
        for node in ast.walk(tree):
            found = self.reading(node)
            if found is not None and isinstance(node, ast.Name):
                held[node] = node.id
                node.id = found.name or names.get(found.variable, "part1")
        try:
            return ast.unparse(tree).replace(" ** ", "**")
        finally:
            for node, key in held.items():
                node.id = key

    # --- from instructions to lines ----------------------------------------------------------------
    def _alias(self, step: int, value: int, variable: Variable) -> None:
        self._declare(variable, step)
        self.lines.append(Line(self._read_now(variable), variable, step, value=value, alias=True))

    def _declare(self, variable: Variable, step: int) -> None:
        """Write the line of a constant before the first line that reads it."""
        if variable.kind == "constant" and variable not in self._declared:
            self._declared.add(variable)
            like = self.values.ones_like(variable, self.program.constants[variable])
            if like is None:
                tree = self.speller.array(self.program.constants[variable], variable.name)
            else:
                call = ast.parse("np.ones_like", mode="eval").body
                tree = ast.Call(call, [self.read(like)], [])
            value = self.values.named(variable)
            self.lines.append(Line(tree, variable, step, value=value))

    def _write(self, instruction: Instruction) -> None:
        spelled = self.speller.spell(instruction)
        out = instruction.output
        operands = list(instruction.inputs)
        for i, v in enumerate(operands):
            if isinstance(v, Variable) and v in self._inline and spelled.places[i] != 1:
                self._give_line(v)
        tree = spelled.filled([self._operand(v) for v in operands])
        while len(self.text(tree, {})) > WIDTH - 16:
            inlined = [v for v in instruction.reads if v in self._inline]
            if not inlined:
                break
            self._give_line(max(inlined, key=lambda v: len(self.text(self._inline[v][0], {}))))
            tree = spelled.filled([self._operand(v) for v in operands])
        for v in instruction.reads:
            self._inline.pop(v, None)
        if self._may_be_inlined(instruction):
            self._inline[out] = tree, instruction
        else:
            self._append(tree, instruction)

    def _operand(self, operand: Operand) -> ast.expr:
        if not isinstance(operand, Variable):
            return number_of(operand)
        if operand in self._inline:
            return self._inline[operand][0]
        return self._read_now(operand)

    def _read_now(self, variable: Variable) -> ast.expr:
        return self.read(variable, self.values.alias(variable))

    def _may_be_inlined(self, instruction: Instruction) -> bool:
        out = instruction.output
        return (
            _TEMPORARY.fullmatch(out.name) is not None
            and self.values.named(out) is None
            and self._uses[out] == 1
            and self._scopes.get(out) == {(instruction.step, instruction.part)}
            and not instruction.entry.random
        )

    def _give_line(self, variable: Variable) -> None:
        self._append(*self._inline.pop(variable))

    def _append(self, tree: ast.expr, instruction: Instruction) -> None:
        out = instruction.output
        self.lines.append(Line(tree, out, instruction.step, instruction.part, self.values.named(out)))

    # --- arrays that are written in place ----------------------------------------------------------
    def _settle(self) -> None:
        """Find the lines that can write the array of a living variable, since nobody reads its old content later."""
        for line in self.lines:
            viewed = [r.variable for tree in _viewed(line.expression) if (r := self.reading(tree)) is not None]
            self._roots[line.variable] = {line.variable}.union(*[self.roots(v) for v in viewed])
        writes = self.program.writes
        written = {v: to for v, to in writes.items() if v.kind != "gradient"}
        content: dict[Variable, Variable] = {v: v for v in written}  # a living variable: what is in its array
        homes = {v: v for v in written}
        last = self._last_reads()
        for number, line in enumerate(self.lines):
            leftmost = None if line.alias else self._leftmost(line.expression)
            living = None if leftmost is None else homes.get(leftmost)
            if living is None or content[living] is not leftmost or last.get(leftmost, -1) > number:
                continue
            targets = [v for v, to in written.items() if to is line.variable]
            own = targets == [living] or (not targets and line.value is None and written[living] is not leftmost)
            if own and (line.variable.shape, line.variable.dtype) == (living.shape, living.dtype):
                line.home = living
                content[living] = line.variable
                homes[line.variable] = living
        self.late = {v: to for v, to in written.items() if content[v] is not to}
        self._homes = {line.variable: line.home for line in self.lines if line.home is not None}

    def _last_reads(self) -> dict[Variable, int]:
        """Return the number of the last line that reads each variable, or something that may be a view of it."""
        last: dict[Variable, int] = {}
        for number, line in enumerate(self.lines):
            for reading in self.readings(line.expression):
                last.update(dict.fromkeys(self.roots(reading.variable), number))
        end = len(self.lines)
        for to, v in [(None, v) for v in self.program.outputs] + list(self.program.writes.items()):
            if isinstance(v, Variable):
                # what a living variable holds in the end may be in its array already
                own = {v} if to is not None and to.kind != "gradient" and v.kind == "computed" else set()
                last.update(dict.fromkeys(self.roots(v) - own, end))
        return last

    def roots(self, variable: Variable) -> set[Variable]:
        """Return the variables whose memory a variable may share."""
        return self._roots.get(variable, {variable})

    def arrays(self, variable: Variable) -> set[Variable]:
        """Return the variables in whose arrays a variable may be."""
        return {self._homes.get(v, v) for v in self.roots(variable)}

    def _leftmost(self, tree: ast.expr) -> Variable | None:
        """Return the variable that an expression begins with: what is changed, if it is a change."""
        while isinstance(tree, ast.BinOp):
            tree = tree.left
        found = self.reading(tree)
        return None if found is None else found.variable


def _viewed(tree: ast.expr) -> Iterator[ast.expr]:
    """Yield the operands whose memory the result of an expression may share."""
    if isinstance(tree, (ast.BinOp, ast.UnaryOp, ast.Compare)):
        return
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Attribute):
        name, owner = tree.func.attr, tree.func.value
        if isinstance(owner, ast.Name) and owner.id == "np":
            parts = tree.args if name in _VIEWED else []
        else:
            parts = [] if name in _COPIED else [owner]
    elif isinstance(tree, ast.Call):
        parts = tree.args  # a function printed above: nobody knows
    elif isinstance(tree, (ast.Attribute, ast.Subscript)):
        parts = [tree.value]
    elif isinstance(tree, (ast.List, ast.Tuple)):
        parts = tree.elts
    else:
        yield tree
        return
    for part in parts:
        yield from _viewed(part)
