"""What a printed program is given: rows, parameters, what an optimiser keeps, numbers, generators."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from textwrap import wrap

import numpy as np

from ...program import Instruction, Program, Variable
from .names import Names, comment
from .page import PAGE
from .values import Values

_COUNT = re.compile(r"t\d*")  # what a program calls the count of updates
_RANK = {"input": 0, "parameter": 1, "gradient": 2, "state": 3, "number": 4}
_NOTES = {
    "input": "given with each batch", "parameter": "parameter", "gradient": "gradient from before",
    "state": "kept by the optimiser",
}  # fmt: skip


@dataclass
class Argument:
    """An argument of the printed function; its size and a note are for the docstring."""

    name: str
    group: str
    size: str
    note: str
    changed: bool = False


class Arguments:
    """Names what a program reads from outside, in an order to be called in.

    Attributes
    ----------
    names : dict of Variable to str
    all : list of Argument

    Parameters
    ----------
    program : Program
    values : Values
    names : Names
    """

    def __init__(self, program: Program, values: Values, names: Names) -> None:
        self.names: dict[Variable, str] = {}
        self.all: list[Argument] = []
        self._values = values
        self._give = names
        self._generators: dict[int, str] = {}
        self._first: dict[Variable, Instruction] = {}  # the instruction that reads a variable first
        self._counted: dict[Variable, list[str]] = {}  # a count of updates: the parameters it is for
        for instruction in program.instructions:
            for v in instruction.reads:
                self._first.setdefault(v, instruction)
                if v.kind == "number" and _COUNT.fullmatch(v.name):
                    self._counted.setdefault(v, []).append(self._updated(instruction))
        results = set(program.results)
        for v in sorted((*program.inputs, *program.living, *program.numbers), key=lambda v: _RANK[v.kind]):
            if v.kind != "gradient" or v in self._first or v in results:
                self._enter(v, v.kind in ("parameter", "state") and v in program.writes)

    def _enter(self, variable: Variable, changed: bool) -> None:
        value = self._values.value(variable)
        number = variable.kind == "number"
        if value is not None:
            name = self._values.called(value.id)
            note = ", ".join(filter(None, (value.note, value.path))) or self._note(variable)
        else:
            called = "t" if number and _COUNT.fullmatch(variable.name) else self._slot(variable) or variable.name
            name, note = self._give.take(called), self._note(variable)
        self.names[variable] = name
        size = "number" if number else str(variable.shape)
        self.all.append(Argument(name, variable.kind, size, comment(note, 50), changed))

    def _note(self, variable: Variable) -> str:
        if variable.kind != "number":
            return _NOTES[variable.kind]
        if _COUNT.fullmatch(variable.name):
            return f"the number of this update{self._of(variable)}: 1, 2, 3, ..."
        first = self._first.get(variable)
        step = None if first is None else self._values.step(first.step)
        return "hyperparameter" if step is None else f"hyperparameter of {step.op}"

    def _of(self, count: Variable) -> str:
        """Return which parameters a count of updates is for, if there are several counts."""
        if len(self._counted) == 1:
            return ""
        return f" of {', '.join(dict.fromkeys(self._counted[count]))}"

    def _slot(self, variable: Variable) -> str:
        """Return the name of what an optimiser keeps for a parameter, or nothing."""
        first = self._first.get(variable)
        if variable.kind != "state" or first is None or first.part is None:
            return ""
        return f"{variable.name.rstrip('0123456789')}_{self._updated(first)}"

    def _updated(self, instruction: Instruction) -> str:
        """Return the parameter that an instruction helps to update."""
        step = self._values.step(instruction.step)
        if step is None or instruction.part is None:
            return "all"
        return self._values.called(step.results[instruction.part[1]].value)

    def constant(self, array: np.ndarray, name: str) -> ast.expr:
        """Return the expression of an array too large to be printed."""
        taken = self._give.take(name)
        note = f"constant of the captured batch, {array.dtype}"
        self.all.append(Argument(taken, "constant", str(array.shape), note))
        return ast.Name(taken, ast.Load())

    def generator(self, generator: np.random.Generator) -> ast.expr:
        """Return the expression of a random generator."""
        if id(generator) not in self._generators:
            name = self._generators[id(generator)] = self._give.take("rng")
            self.all.append(Argument(name, "generator", "", "draws random numbers: np.random.default_rng()"))
        return ast.Name(self._generators[id(generator)], ast.Load())

    def signature(self) -> list[str]:
        """Return the line that defines the function, or the lines if it is long."""
        short = f"def step({', '.join(argument.name for argument in self.all)}):"
        if len(short) <= PAGE:
            return [short]
        lines = []
        for group in dict.fromkeys(argument.group for argument in self.all):
            text = ", ".join(a.name for a in self.all if a.group == group)
            lines += [f"    {line}" for line in wrap(f"{text},", PAGE - 4)]
        return ["def step(", *lines, "):"]

    def table(self) -> list[str]:
        """Return what the docstring says of each argument; those that are changed have a star."""
        rows = [("*" if a.changed else "", a.name, a.size, a.note) for a in self.all]
        wide = [max(len(row[i]) for row in rows) for i in range(3)] if rows else [0] * 3
        return [f"{star:1} {name:{wide[1]}}  {size:{wide[2]}}  {note}".rstrip() for star, name, size, note in rows]
