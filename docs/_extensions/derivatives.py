"""Read the table of derivatives: run every rule on names, and write down what comes out.

Nothing here knows an operation by its name. What a page of the documentation says about one is what
the engine would compute.
"""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass
from textwrap import dedent
from typing import Any

from tinygrad_batch.calling import general
from tinygrad_batch.formula import Name, number
from tinygrad_batch.op import TABLE, Case, Need, Op

MANY = 1_000_003  # stands for "any number of elements", and is written n
LONGEST = 90  # a formula longer than this is shown as the code of its rule


@dataclass(frozen=True)
class Derivative:
    """The derivative with respect to one input.

    Attributes
    ----------
    input : str
    formula : str or None
        None where the rule is too long for a formula.
    code : str
        The rule as it is written.
    needs : tuple of str
        What the rule asks for.
    """

    input: str
    formula: str | None
    code: str
    needs: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """One operation, as the page shows it."""

    name: str
    module: str
    doc: str
    formula: str
    derivatives: tuple[Derivative, ...]

    @property
    def keeps(self) -> tuple[str, ...]:
        """Arrays kept for the backward step if every input needs a gradient."""
        inputs = TABLE[self.name].inputs
        asked = {need for derivative in self.derivatives for need in derivative.needs}
        return tuple(name for name in (*inputs, "y") if name in asked)


def entries() -> list[Entry]:
    """Return every operation of the table, in the order of definition."""
    return [_entry(op) for op in TABLE.values() if op.call.__module__.startswith("tinygrad_batch.ops.")]


def groups() -> dict[str, list[Entry]]:
    """Return the operations by the module that defines them."""
    found: dict[str, list[Entry]] = {}
    for entry in entries():
        found.setdefault(entry.module, []).append(entry)
    return found


def summary(module: str) -> str:
    """Return the first sentence of a module's docstring."""
    return (inspect.getdoc(sys.modules[module]) or "").split("\n\n")[0].replace("\n", " ")


def _entry(op: Op) -> Entry:
    case = _case(op)
    operands = _operands(op, case)
    options = {**op.defaults, **case.options}
    made = general(op, operands, options) if op.defaults else general(op, operands, {})
    derivatives = tuple(_derivative(op, op.need(i), case, operands, options, made) for i in op.differentiable)
    return Entry(op.name, op.call.__module__, op.doc, f"y = {_readable(made.text)}", derivatives)


def _case(op: Op) -> Case:
    """Return the call that is shown: scalars for an elementwise operation, else the first case."""
    if op.elementwise:
        return Case(((),) * len(op.inputs))
    case = next((c for c in op.cases if any(c.shapes)), op.cases[0])
    counts = ("axis" in op.defaults and "shape" not in op.defaults) or len(op.inputs) == 2
    return Case(((MANY,),) * len(case.shapes), case.options) if counts and set(case.shapes) == {(3,)} else case


def _operands(op: Op, case: Case) -> list[Any]:
    if op.variadic:
        return [Name(f"a{i}", shape) for i, shape in enumerate(case.shapes, 1)]
    return [Name(name, shape) for name, shape in zip(op.inputs, case.shapes, strict=True)]


def _derivative(op: Op, need: Need, case: Case, operands: list[Any], options: dict[str, Any], made: Name) -> Derivative:
    given: dict[str, Any] = {**options, "y": Name("y", made.shape), "i": 0, "shapes": case.shapes}
    for name, value, shape in zip(op.inputs, operands, case.shapes, strict=False):
        given |= {name: value, f"{name}_shape": shape, f"{name}_dtype": float}
    code = dedent(inspect.getsource(need.rule)).rstrip(", \n")
    label = "a1" if op.variadic else need.input
    try:
        found = need.rule(Name("g", made.shape), *[given[name] for name in need.names])
    except (TypeError, AttributeError, ValueError, IndexError):
        return Derivative(label, None, code, need.names)
    text = _readable(found.text)
    if {"axis", f"{need.input}_shape"} <= set(need.names) and text.startswith("g"):
        text = f"spread(g){text[1:]}"  # a reduction: g goes back to every element that was brought together
    return Derivative(label, text if len(text) <= LONGEST else None, code, need.names)


def _readable(text: str) -> str:
    for noise in (", keepdims=True", ", keepdims=False"):
        text = text.replace(noise, "")
    for value, meant in ((number(2 / MANY), "(2 / n)"), (f"{MANY}", "n")):
        text = text.replace(value, meant)
    return text
