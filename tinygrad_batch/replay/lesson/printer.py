"""The lesson: one captured batch as plain NumPy, as a textbook would print it."""

from __future__ import annotations

import ast
import re
from collections import Counter
from textwrap import wrap

from ...errors import ArgumentError, CompileError
from ...program import Operand, Program, Variable
from ...trace import Phase, Trace
from .arguments import Arguments
from .comments import Comments
from .helpers import Helpers
from .lines import Line, Lines
from .names import Names, comment
from .page import PAGE, Page
from .spelling import Speller, number_of
from .values import Values

_SIGNS = {ast.Add: "+=", ast.Sub: "-=", ast.Mult: "*=", ast.Div: "/="}


def to_numpy(trace: Trace) -> str:
    """Return one captured batch as a program in plain NumPy, complete and with comments.

    The text is a module with a function ``step``, which runs on its own: it takes the rows of the batch,
    the parameters and the hyperparameters, goes forward, backward and through the update, and returns what
    the batch is for and the gradients. Parameters and what an optimiser keeps are changed in place, as a
    textbook does it; the docstring of ``step`` says which arrays those are. Sizes stand in it as numbers, so
    it is for batches like the captured one.

    Parameters
    ----------
    trace : Trace
        Of a capture, not yet gone through JSON.

    Returns
    -------
    str

    Raises
    ------
    CompileError
        If the batch cannot be told as a program, or one of its operations not in NumPy.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> w = tb.tensor([1.0, 2.0], requires_grad=True, name="w")
    >>> with tb.capture() as trace:
    ...     (w**2).sum().backward()
    >>> text = to_numpy(trace)
    >>> print(text[text.index("    # --- forward"):].rstrip())
        # --- forward ---------------------------------------------------------------------------------
        q = w**2          # (2,)
        loss = np.sum(q)  # a single number
    <BLANKLINE>
        # --- backward --------------------------------------------------------------------------------
        # beside each line: what it undoes, and the derivative rule of that operation
        dloss = np.ones_like(loss)  # the backward pass begins
        dq = np.full((2,), dloss)   # loss = sum(q)   dx = g
        dw = 2 * w * dq             # q = w²          dx = 2 * x * g
    <BLANKLINE>
        gradients = {"w": dw}
        return loss, gradients
    """
    if not isinstance(trace, Trace):
        raise ArgumentError(f"to_numpy prints a Trace, not a {type(trace).__name__}", "Pass what tb.capture() recorded")
    if trace.program is None:
        raise CompileError(
            "this trace has no program to print: it went through JSON, or what the batch computed cannot be told "
            "without its elements (a gradient with a hook, a graph made before the capture, part of a tensor "
            "overwritten, an update that branches on an array)",
            "Capture one whole step inside the with block, without these, and print that trace",
        )
    return _Lesson(trace, trace.program).text()


class _Lesson:
    def __init__(self, trace: Trace, program: Program) -> None:
        self._trace = trace
        self._program = program
        self._names = Names(["gradients"])
        self._values = Values(trace, program, self._names)
        self._arguments = Arguments(program, self._values, self._names)
        self._helpers = Helpers(self._names)
        speller = Speller(self._helpers, self._arguments.constant, self._arguments.generator)
        self._lines = Lines(program, self._values, speller)
        self._comments = Comments(trace, program, self._values)
        self._page = Page()
        self._known = dict(self._arguments.names)
        self._name_lines()

    def _name_lines(self) -> None:
        """Name what the lines compute."""
        lines = self._lines.lines
        last: dict[Variable, int] = {}
        runs: list[int] = []  # lines of one step, or of one parameter in an update, that follow each other
        readers: dict[Variable, set[int]] = {}
        for number, line in enumerate(lines):
            same = number > 0 and (lines[number - 1].step, lines[number - 1].part) == (line.step, line.part)
            runs.append(runs[-1] + (not same) if runs else 0)
            for reading in self._lines.readings(line.expression):
                if not reading.name:
                    last[reading.variable] = number
                    readers.setdefault(reading.variable, set()).add(runs[number])
        last.update(dict.fromkeys(self._program.results, len(lines)))
        following: dict[int, int] = {}  # a value: the next line that is called like it
        called: set[Line] = set()
        for number, line in reversed([*enumerate(lines)]):
            if line.value is not None:
                if line.alias or last.get(line.variable, -1) <= following.get(line.value, len(lines)):
                    called.add(line)
                following[line.value] = number
        local: Counter[int] = Counter()
        parts: list[str] = []
        for line, run in zip(lines, runs, strict=True):
            if line.home is not None:
                self._known[line.variable] = self._known[line.home]
            elif line.alias:
                continue
            elif line in called and line.value is not None:
                self._known[line.variable] = self._values.called(line.value)
            elif readers.get(line.variable) == {run} and line.variable not in self._program.results:
                if local[run] == len(parts):
                    parts.append(self._names.take(f"part{len(parts) + 1}"))
                self._known[line.variable] = parts[local[run]]
                local[run] += 1
            else:
                plain = not re.fullmatch(r"t\d+", line.variable.name)
                self._known[line.variable] = self._names.take(line.variable.name if plain else "kept")

    # --- the text ----------------------------------------------------------------------------------
    def text(self) -> str:
        """Return the whole module."""
        self._body()
        self._late()
        gradients = self._gradients()
        ends = self._returned(gradients)
        self._page.close()
        body = [*self._page.lines, "", *ends] if self._page.lines else ends
        modules = [f"import {name}" for name in sorted(self._helpers.modules)]
        modules += ["", "import numpy as np"] if modules else ["import numpy as np"]
        helpers = [part for text in self._helpers.texts for part in ("", "", *text.strip().splitlines())]
        parts = ['"""One batch of training as plain NumPy, printed by tinygrad_batch."""', "", *modules, *helpers]
        parts += ["", "", *self._arguments.signature(), *self._docstring(bool(gradients)), *body]
        return "\n".join(line.rstrip() for line in parts) + "\n"

    def _body(self) -> None:
        phases: dict[str, int] = {}
        phase = layer = ""
        part: tuple[int, int] | None = None
        for number, line in enumerate(self._lines.lines):
            step = self._values.step(line.step)
            if step is not None and step.phase != phase:
                phase, layer = step.phase, ""
                phases[phase] = phases.get(phase, 0) + 1
                again = f" {phases[phase]}" if phases[phase] > 1 else ""
                self._page.section(f"{phase}{again}" + (f", {comment(step.op, 40)}" if phase == "update" else ""))
                if phase == "backward":
                    self._page.head("beside each line: what it undoes, and the derivative rule of that operation")
            if step is not None and phase != "update" and self._comments.layer(step) != layer:
                layer = self._comments.layer(step)
                if layer:
                    self._page.head(layer)
            first, second = self._comments.beside(line)
            if step is not None and line.part is not None and line.part != part:
                formula = self._comments.update(step, line.part[1])
                if self._alone(number):
                    first = formula
                else:
                    self._page.head(formula, "; ")
            part = line.part
            self._page.code(self._statement(line), first, second)

    def _alone(self, number: int) -> bool:
        lines = self._lines.lines
        return number + 1 == len(lines) or lines[number + 1].part != lines[number].part

    def _statement(self, line: Line) -> str:
        tree = line.expression
        if line.alias:
            return f"{self._values.called(line.value or 0)} = {self._written(tree)}"
        name = self._known[line.variable]
        if line.home is None:
            return f"{name} = {self._written(tree)}"
        if isinstance(tree, ast.BinOp) and type(tree.op) in _SIGNS and isinstance(tree.left, ast.Name):
            return f"{name} {_SIGNS[type(tree.op)]} {self._written(tree.right)}"
        return f"{name}[...] = {self._written(tree)}"

    def _written(self, tree: ast.expr) -> str:
        return self._lines.text(tree, self._known)

    def _operand(self, operand: Operand) -> str:
        return self._known[operand] if isinstance(operand, Variable) else ast.unparse(number_of(operand))

    def _late(self) -> None:
        """Write what living variables hold in the end, where it was not written in place."""
        late = self._lines.late
        if not late:
            return
        self._page.section("what is kept for the next batch")
        living = {v: self._known[v] for v in late}
        results = [v for v in self._results() if isinstance(v, Variable)]
        for v in dict.fromkeys([*late.values(), *results]):
            if isinstance(v, Variable) and self._lines.arrays(v) & living.keys():
                name = self._names.take(f"{self._known[v]}_before")
                self._page.code(f"{name} = {self._known[v]}.copy()")
                self._known[v] = name
        for v, name in living.items():
            self._page.code(f"{name}[...] = {self._operand(late[v])}")

    def _results(self) -> list[Operand]:
        gradients = [to for v, to in self._program.writes.items() if v.kind == "gradient"]
        return [*self._program.outputs, *gradients]

    def _returned(self, gradients: dict[str, str]) -> list[str]:
        """Return the last lines: what the batch is for, and the gradients."""
        outputs = [self._operand(v) for v in self._program.outputs]
        if not gradients:
            return [f"    return {', '.join(outputs)}".rstrip()]
        pairs = ", ".join(f'"{name}": {what}' for name, what in gradients.items())
        short = f"    gradients = {{{pairs}}}"
        inside = wrap(pairs, PAGE - 8, break_long_words=False, break_on_hyphens=False)
        lines = (
            [short] if len(short) <= PAGE else ["    gradients = {", *[f"        {line}" for line in inside], "    }"]
        )
        return [*lines, f"    return {', '.join([*outputs, 'gradients'])}"]

    def _gradients(self) -> dict[str, str]:
        """Return what the gradients are called after, and what they are in the end."""
        found = {}
        late = {
            to
            for to in self._results()
            if isinstance(to, Variable) and self._lines.arrays(to) & self._lines.late.keys()
        }
        leaves = {v.name: v for v in self._known if v.kind == "parameter"}
        for v, to in self._program.writes.items():
            if v.kind == "gradient":
                leaf = leaves.get(v.name.removesuffix("_grad"))
                name = self._known.get(v) or self._names.take(v.name) if leaf is None else self._known[leaf]
                handed_on = None if leaf is None or to in late else self._values.handed_on(leaf, to)
                found[name] = self._operand(to) if handed_on is None else self._values.called(handed_on)
        return found

    def _docstring(self, gradients: bool) -> list[str]:
        counts = [(len(self._trace.phase(phase)), phase) for phase in _PHASES]
        each = [f"{count} {phase}" for count, phase in counts if count]
        steps = f"steps: {', '.join(each)}" if each else "the operations in order"
        dtypes = sorted({v.dtype for v in (*self._program.inputs, *self._program.living)})
        kind = f"The arrays are {' and '.join(dtypes) or 'none'}"
        changed = any(argument.changed for argument in self._arguments.all)
        arrays = f"{kind}; those marked with a star are changed in place." if changed else f"{kind}."
        outputs = ", ".join(self._operand(v) for v in self._program.outputs)
        returns = " and ".join(filter(None, (outputs, "a dict of the gradients" if gradients else "")))
        lines = [f'"""Run one batch, {steps}.', "", arrays, "", *self._arguments.table(), ""]
        return [f"    {line}" for line in (*lines, f"Returns {returns or 'nothing'}.", '"""')]


_PHASES: tuple[Phase, ...] = ("forward", "backward", "update")
