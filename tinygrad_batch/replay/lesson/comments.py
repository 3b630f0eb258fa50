"""What stands beside the lines of a printed program: shapes, what is undone and by which rule, formulas."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from ...calling import general, getter
from ...formula import Name
from ...op import TABLE
from ...program import Instruction, Program, Variable
from ...trace import Step, Trace
from .lines import Line
from .names import comment
from .values import Values

LONGEST = 44  # of a rule or of what it undoes


class Comments:
    """Writes comments from a trace.

    Parameters
    ----------
    trace : Trace
    program : Program
        Of the trace.
    values : Values
    """

    def __init__(self, trace: Trace, program: Program, values: Values) -> None:
        self._trace = trace
        self._values = values
        self._labels = {layer.path: layer.label for layer in trace.layers}
        self._forward: dict[int, Instruction] = {}  # number of a forward step: its instruction
        for instruction in program.instructions:
            step = values.step(instruction.step)
            if step is not None and step.phase == "forward" and step.op == instruction.op:
                self._forward[step.number] = instruction
        self._seen: Counter[tuple[int, int]] = Counter()  # how often a step has written a value
        self._undone = 0  # the backward step of the last line

    def layer(self, step: Step) -> str:
        """Return the layer that a step ran in, or nothing."""
        label = self._labels.get(step.module, "")
        if not step.module or label == step.module:
            return comment(label if step.module else "", 80)
        return comment(f"layer {step.module}: {label}" if label else f"layer {step.module}", 80)

    def beside(self, line: Line) -> tuple[str, str]:
        """Return what stands beside a line, in two columns."""
        step = self._values.step(line.step)
        if step is None or line.value is None:
            return "", ""
        if step.phase == "forward":
            return self._shapes(step, line), ""
        return self._rule(step, line) if step.phase == "backward" else ("", "")

    def update(self, step: Step, part: int) -> str:
        """Return the formula of the update of one parameter."""
        return comment(step.results[part].formula, 200) if part < len(step.results) else ""

    # --- forward -----------------------------------------------------------------------------------
    def _shapes(self, step: Step, line: Line) -> str:
        instruction = self._forward.get(step.number)
        out = line.variable.shape
        if instruction is None or instruction.output is not line.variable:
            return ""
        read = instruction.reads
        text = str(out) if out else "a single number"
        if instruction.entry.formula is not None and len({v.shape for v in read}) > 1 and out:
            try:
                text = f"{self._written(instruction, [str(v.shape) for v in read])} = {out}"
            except Exception:  # a formula that wants other than names
                text = "["
            text = str(out) if "[" in text else text  # an index means the elements, not their shapes
        if instruction.entry.elementwise and len(out) > 1 and len(read) == len(instruction.inputs):
            each = [self._trace.values[v].name for v, r in zip(step.inputs, read, strict=False) if r.shape == out[1:]]
            text += f", {' and '.join(each)} for every row" if each else ""
        return comment(text, LONGEST + 20)

    def _written(self, instruction: Instruction, names: list[str]) -> str:
        given = iter(names)
        operands = [Name(next(given), v.shape) if isinstance(v, Variable) else v for v in instruction.inputs]
        options = {**instruction.entry.defaults, **instruction.options}
        written: Name = general(instruction.entry, operands, options)
        return written.text

    # --- backward ----------------------------------------------------------------------------------
    def _rule(self, step: Step, line: Line) -> tuple[str, str]:
        if line.variable.kind == "constant" and not line.alias:
            return "the backward pass begins", ""
        value = self._trace.values[line.value or 0]
        forward = self._values.step(step.forward)
        instruction = self._forward.get(step.forward or 0)
        if forward is None or instruction is None:
            return "", ""
        undone = "" if self._undone == step.number else comment(forward.results[0].formula, LONGEST)
        self._undone = step.number
        # a step that reads a value twice sends it two gradients
        time = self._seen[step.number, value.id]
        self._seen[step.number, value.id] += 1
        positions = [i for i, v in enumerate(instruction.inputs) if isinstance(v, Variable)]
        places = [i for i, v in zip(positions, forward.inputs, strict=False) if v == value.gradient_of]
        rule = _rule(instruction, places[time]) if time < len(places) else ""
        formulas = [r.formula for r in step.results if r.value == value.id]
        if formulas[time : time + 1] and formulas[time].startswith(f"{value.name} += "):
            rule = f"{rule}, added up" if rule else "gradients add up"
        return undone, rule


def _rule(instruction: Instruction, place: int) -> str:
    """Return the derivative rule for one input, as it is written in the table."""
    entry = instruction.entry
    letters = [f"{entry.inputs[0]}{i}" for i in range(len(instruction.inputs))] if entry.variadic else entry.inputs
    pairs = list(zip(letters, instruction.inputs, strict=True))
    names = [Name(name, v.shape) if isinstance(v, Variable) else v for name, v in pairs]
    operand, shape = instruction.inputs[place], instruction.output.shape
    if not isinstance(operand, Variable) or (not entry.variadic and place not in entry.differentiable):
        return ""
    options = {**entry.defaults, **instruction.options}

    def given(need: str) -> Any:
        if need not in entry.inputs and need not in entry.defaults and need.endswith("_dtype"):
            return np.dtype(operand.dtype)
        return getter(entry, need, place)(names, options, Name("y", shape))

    rule = entry.need(place)
    try:
        found = rule.rule(Name("g", shape), *[given(need) for need in rule.names])
        if found.shape != operand.shape:
            found = general(TABLE["unbroadcast"], [found], {"shape": operand.shape, "dtype": None})
    except Exception:  # a rule written straight in NumPy computes, but cannot write itself down
        return ""
    text = f"d{letters[place]} = {found}"
    return comment(text) if len(text) <= LONGEST else ""
