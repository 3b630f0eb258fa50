"""Which value of the trace each variable of its program is: what lines are called and commented after."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...program import Program, Variable
from ...trace import Step, Trace, Value
from .names import Names


class Values:
    """Knows the values of a trace by the variables of its program.

    A gradient that is added to is one value and several variables; a gradient that is handed on is several
    values and one variable.

    Parameters
    ----------
    trace : Trace
    program : Program
        Of the trace.
    names : Names
    """

    def __init__(self, trace: Trace, program: Program, names: Names) -> None:
        self.trace = trace
        self._names = names
        self._called: dict[int, str] = {}
        self._producer = {i.output: i for i in program.instructions}
        self._of: dict[Variable, int] = {}
        self._made: dict[tuple[int, int], Variable] = {}  # number of a step and a value: what it is after the step
        self.holds: dict[int, Variable] = {}  # a value: the variable that it is, as far as steps were reached
        self._aliased: set[int] = set()  # values that are another name for the variable of another value
        self._fixed: dict[Variable, str] = {}
        self._reached = 0
        known = {v.name: v for v in program.variables()}
        for instruction in program.instructions:
            step = self.step(instruction.step)
            if step is not None and step.phase == "forward" and step.op == instruction.op:
                self._be(instruction.output, step.results[0].value)
        for value in trace.values:
            variable = known.get(value.name)
            if variable is None or variable in self._of:
                continue
            if variable.kind != "computed":
                self._of[variable] = value.id
                self.holds[value.id] = variable
            elif value.role == "gradient":
                self._stages(variable, value)

    def _be(self, variable: Variable, value: int) -> None:
        self._of[variable] = value
        self._made[self._producer[variable].step, value] = variable

    def _stages(self, variable: Variable, value: Value) -> None:
        """Note the variables that a gradient is on its way, before more is added to it."""
        while True:
            self._be(variable, value.id)
            made = self._producer[variable]
            if made.op == "astype" and made.reads and made.reads[0] in self._producer:
                made = self._producer[made.reads[0]]
            step = self.step(made.step)
            adds = step is not None and any(
                r.value == value.id and r.formula.startswith(f"{value.name} += ") for r in step.results
            )
            earlier = made.inputs[0] if made.op == "add" and adds else None
            if not isinstance(earlier, Variable) or earlier not in self._producer or earlier in self._of:
                return
            variable = earlier

    # --- what there is -----------------------------------------------------------------------------
    def step(self, number: int | None) -> Step | None:
        """Return a step of the trace by its number, or None for 0."""
        return self.trace.steps[number - 1] if number and number <= len(self.trace.steps) else None

    def named(self, variable: Variable) -> int | None:
        """Return the id of the value that a variable is, or None if it is only on the way to one."""
        return self._of.get(variable)

    def value(self, variable: Variable) -> Value | None:
        """Return the value that a variable is."""
        id = self._of.get(variable)
        return None if id is None else self.trace.values[id]

    def called(self, value: int) -> str:
        """Return the identifier of a value."""
        if value not in self._called:
            self._called[value] = self._names.take(self.trace.values[value].name)
        return self._called[value]

    def ones_like(self, variable: Variable, array: np.ndarray) -> Variable | None:
        """Return what a gradient of ones belongs to: what a backward pass begins at."""
        value = self.value(variable)
        of = None if value is None else value.gradient_of
        like = None if of is None else self.holds.get(of)
        same = like is not None and (like.shape, like.dtype) == (variable.shape, variable.dtype)
        return like if same and (array == 1).all() else None

    # --- gradients that are handed on --------------------------------------------------------------
    def reach(self, number: int | None, hand_on: Callable[[int, int, Variable], None]) -> None:
        """Go on to the step with this number, or to the end.

        ``hand_on`` is told of each gradient that a step passes on as it is: the number of the step, the
        value and the variable.
        """
        end = len(self.trace.steps) if number is None else number
        for step in self.trace.steps[self._reached : end]:
            self._fixed = {}
            for value in step.inputs:
                self._fix(value)
            incoming = self.trace.values[step.inputs[0]] if step.phase == "backward" else None
            for result in step.results:
                id, made = result.value, self._made.get((step.number, result.value))
                if made is not None:
                    self._fix(id)  # what was there before is read once more, to be added to
                    self._aliased.discard(id)
                    self.holds[id] = made
                elif incoming is not None and incoming.id in self.holds:
                    name = self.trace.values[id].name
                    if result.formula == f"{name} = {incoming.name}":
                        self._aliased.add(id)
                        self.holds[id] = self.holds[incoming.id]
                        hand_on(step.number, id, self.holds[id])
        self._reached = max(self._reached, end)

    def _fix(self, value: int) -> None:
        if value in self._aliased:
            self._fixed.setdefault(self.holds[value], self.called(value))

    def handed_on(self, leaf: Variable, gradient: object) -> int | None:
        """Return the value that is the gradient of a leaf, if it is another name for a variable."""
        of = self._of.get(leaf)
        found = [v for v in self._aliased if self.trace.values[v].gradient_of == of and self.holds[v] is gradient]
        return found[0] if found else None

    def alias(self, variable: Variable) -> str:
        """Return what a variable is called in the step that was reached, if that is not its own name."""
        return self._fixed.get(variable, "")
