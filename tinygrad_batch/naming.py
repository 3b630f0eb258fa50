"""Names and formulas: how a batch reads once it is recorded.

They are worked out at the end of a capture, when it is known how many values there are of each kind:
three weights are W1, W2, W3, one is W. A formula is the operation, or its derivative rule, run on names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .calling import general, getter
from .formula import Name
from .op import Op, Plan
from .program import Operand
from .tensor import Tensor
from .trace import Phase, Role, Statistics

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclass
class Noted:
    """A value while the capture is on."""

    id: int
    role: Role
    base: str
    array: np.ndarray
    tensor: Tensor | None = None
    path: str = ""
    note: str = ""
    per_row: bool = False
    name: str = ""
    item: float | None = None
    statistics: Statistics | None = None
    thumbnail: tuple[tuple[float, ...], ...] | None = None


@dataclass
class Done:
    """A forward operation while the capture is on."""

    op: Op
    operands: list[Any]  # the id of a value, or a plain number
    numbers: set[int]  # positions of the plain numbers
    options: dict[str, Any]
    out: int
    plan: Plan | None
    step: int
    reads: list[Operand]  # the operands as the program has them
    made: Operand

    def needed(self, need: str, position: int, operands: Sequence[Any], y: Any, arrays: Sequence[Any]) -> Any:
        """Return what a rule calls ``need``: one of ``operands``, ``y``, or what is known without elements."""
        if need == "y":
            return y
        if need in self.op.inputs:
            return operands[position if self.op.variadic else self.op.inputs.index(need)]
        return getter(self.op, need, position)(arrays, self.options, None)  # a shape, a dtype, an option


@dataclass
class Noting:
    """A step while the capture is on."""

    phase: Phase
    op: str
    module: str
    inputs: tuple[int, ...] = ()
    results: list[tuple[int, Callable[[], str]]] = field(default_factory=list)
    keeps: tuple[int, ...] = ()
    forward: int | None = None
    flops: int = 0
    call: int = 0  # which call of a model it ran in, 0 for none


class Formulas:
    """Writes formulas about some values; each comes as a function, to be called when the values have names."""

    def __init__(self, values: list[Noted]) -> None:
        self._values = values

    def _name(self, id: int, tally: list[int]) -> Name:
        value = self._values[id]
        return Name(value.name, value.array.shape, flops=tally)

    def forward(self, done: Done, step: Noting) -> Callable[[], str]:
        """Return what writes the formula of a forward step."""

        def write() -> str:
            tally = [0]
            operands = [v if i in done.numbers else self._name(v, tally) for i, v in enumerate(done.operands)]
            try:
                text = general(done.op, operands, done.options).text
            except Exception:  # as for a rule below
                text = f"{done.op.name}({', '.join(map(str, operands))})"
            step.flops = tally[0]
            return f"{self._values[done.out].name} = {text}"

        return write

    def backward(self, done: Done, step: Noting, position: int, value: Noted, added: bool) -> Callable[[], str]:
        """Return what writes the formula of a gradient."""
        plan, incoming = done.plan, self._values[step.inputs[0]]

        def write() -> str:
            tally = [0]
            text = "" if plan is None else self._rule(done, plan, position, incoming.name, tally)
            step.flops += tally[0]
            return f"{value.name} {'+=' if added else '='} {text}"

        return write

    def _rule(self, done: Done, plan: Plan, position: int, incoming: str, tally: list[int]) -> str:
        out = self._name(done.out, tally)
        grad = Name(incoming, out.shape, flops=tally)
        inputs = [v if i in done.numbers else self._name(v, tally) for i, v in enumerate(done.operands)]
        arrays = [v if i in done.numbers else self._values[v].array for i, v in enumerate(done.operands)]
        which = plan.inputs[position]
        try:
            needs = [done.needed(need, which, inputs, out, arrays) for need in plan.needs[position]]
            return str(plan.rules[position](grad, *needs))
        except Exception:
            # a rule written straight in NumPy computes, but cannot write itself down
            return f"{grad} · ∂{done.op.name}/∂{inputs[which]}"

    def update(self, target: int, gradient: int | None, formula: Callable[[str, str], str]) -> Callable[[], str]:
        """Return what writes the formula of an update."""

        def write() -> str:
            name = self._values[target].name
            return formula(name, f"d{name}" if gradient is None else self._values[gradient].name)

        return write

    def assign(self, target: int, source: str | int) -> Callable[[], str]:
        """Return what writes that elements were overwritten."""
        return lambda: (
            f"{self._values[target].name} ← {self._values[source].name if isinstance(source, int) else source}"
        )


def give_names(
    values: Sequence[Noted], steps: Sequence[Noting], roots: Sequence[int], predictions: set[int], of: Mapping[int, int]
) -> None:
    """Give every value its name.

    Parameters
    ----------
    values, steps
        All of them.
    roots : sequence of int
        Where backward passes began.
    predictions : set of int
        What models returned.
    of : mapping of int to int
        For each gradient, the value it belongs to.
    """
    for root in roots:
        if values[root].array.size == 1:
            values[root].base = "loss"
    for value in _final_predictions(values, steps, predictions):
        value.base = "pred"
    named: list[Noted] = []
    others: list[Noted] = []
    for value in values:
        if value.role != "gradient":
            given = None if value.tensor is None else value.tensor._name
            value.base = str(given) if given else value.base
            (named if given else others).append(value)
    taken: set[str] = set()
    for group in (named, others):  # what the user calls x stays x
        _number(group, taken)
    passes: Counter[int] = Counter()  # over two batches a value has two gradients
    for gradient, target in of.items():
        passes[target] += 1
        name = f"d{values[target].name}"
        name = name if passes[target] == 1 else f"{name}{str(passes[target]).translate(_SUBSCRIPTS)}"
        while name in taken:
            name += "′"
        taken.add(name)
        values[gradient].name = name


def _final_predictions(values: Sequence[Noted], steps: Sequence[Noting], predictions: set[int]) -> Iterator[Noted]:
    """Yield what models returned, unless another call of a model makes something else of it."""
    forward = [(step, step.results[0][0]) for step in steps if step.phase == "forward"]
    call = {out: step.call for step, out in forward}
    feeds: set[int] = set()  # what other calls are made of
    for step, out in reversed(forward):
        if out in predictions and out not in feeds and values[out].base != "loss":
            yield values[out]
        feeds.update(v for v in step.inputs if out in feeds or (step.call and call.get(v, step.call) != step.call))


def _number(values: Sequence[Noted], taken: set[str]) -> None:
    """Name values after their base, with numbers where several share it, and none as in ``taken``."""
    shared = Counter(value.base for value in values)
    numbers: Counter[str] = Counter()
    alone = {base for base, n in shared.items() if n == 1 and base not in taken}
    taken |= alone
    for value in values:
        value.name = value.base
        while value.base not in alone and (value.name == value.base or value.name in taken):
            numbers[value.base] += 1
            value.name = f"{value.base}{numbers[value.base]}"
        taken.add(value.name)
