"""Capture: run one batch with recording on, and get its Trace.

While a capture is on, every operation tells the recorder what it read and made, the backward walk
tells it each gradient, layers say when they start and end, and the optimiser what it updated. Names
and formulas are worked out at the end, when it is known how many values there are of each kind: the
derivative rules are run once more, on names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .calling import general, getter
from .errors import TinygradBatchError
from .formula import Name
from .graph import Node
from .op import Op, Plan
from .state import state
from .tensor import Tensor
from .trace import Layer, Phase, Result, Role, Statistics, Step, Trace, Value

THUMBNAIL = 20


@contextmanager
def capture(statistics: bool = True) -> Iterator[Trace]:
    """Record what is computed inside the ``with`` block of this thread.

    Parameters
    ----------
    statistics : bool
        Whether to summarise every value (mean, spread, a small table of it).

    Yields
    ------
    Trace
        Filled in when the block ends without an error.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> model, loss_fn = tb.nn.Linear(3, 1, rng=0), tb.nn.MSELoss()
    >>> with tb.capture() as trace:
    ...     loss = loss_fn(model(tb.ones(5, 3)), tb.zeros(5, 1))
    ...     loss.backward()
    >>> [step.results[0].formula for step in trace.steps][:3]
    ['m = x @ W', 'pred = m + b', 'e = pred - y']
    >>> trace.steps[-1].results[0].formula
    'dW = xᵀ @ dm'
    """
    trace = Trace()
    recorder = _Recorder(statistics)
    with state.switch(recorder=recorder):
        yield trace
    recorder.fill(trace)


@dataclass
class _Value:
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
    statistics: Statistics | None = None
    thumbnail: tuple[tuple[float, ...], ...] | None = None


@dataclass
class _Forward:
    """A forward operation while the capture is on."""

    op: Op
    operands: list[int | float]  # the id of a value, or a plain number
    numbers: set[int]  # positions of the plain numbers
    options: dict[str, Any]
    out: int
    plan: Plan | None
    step: int


@dataclass
class _Step:
    phase: Phase
    op: str
    module: str
    inputs: tuple[int, ...] = ()
    results: list[tuple[int, Callable[[], str]]] = field(default_factory=list)
    keeps: tuple[int, ...] = ()
    forward: int | None = None
    flops: int = 0


class _Recorder:
    """Takes note of everything while a capture is on; see `tinygrad_batch.state.Recorder`."""

    def __init__(self, statistics: bool) -> None:
        self._statistics = statistics and not state.abstract
        self._values: list[_Value] = []
        self._steps: list[_Step] = []
        self._layers: dict[str, Layer] = {}
        self._by_array: dict[int, int] = {}
        self._by_node: dict[int, int] = {}  # number of a node: id of the value it stands for
        self._forwards: dict[int, _Forward] = {}  # number of a node: the operation that made it
        self._gradients: dict[int, int] = {}  # id of a value: id of its gradient
        self._paths: dict[int, str] = {}  # id of a module: its path
        self._parameters: dict[int, str] = {}  # id of an array: path of the parameter
        self._stack: list[str] = []
        self._root: int | None = None
        self._rows: int | None = None

    # --- layers --------------------------------------------------------------------------------
    def enter(self, module: Any) -> None:
        if not self._stack:
            kind = type(module).__name__
            prefix = "" if any(True for _ in module.parameters()) else kind
            if prefix in self._layers and self._paths.get(id(module)) != prefix:
                prefix = next(p for p in (f"{kind}{n}" for n in range(2, 10**6)) if p not in self._layers)
            for path, part in module.named_modules(prefix):
                self._paths[id(part)] = path
            for path, tensor in module.named_parameters():
                self._parameters.setdefault(id(tensor._data), f"{prefix}.{path}" if prefix else path)
        path = self._paths.get(id(module), type(module).__name__)
        self._layers.setdefault(path, Layer(path, type(module).__name__, module.label()))
        self._stack.append(path)

    def leave(self, module: Any, out: Any) -> None:
        path = self._stack.pop()
        if not self._stack and isinstance(out, Tensor) and self._parameters and not _is_loss(self._layers[path]):
            value = self._values[self._value_of(out)]
            if value.role == "activation":
                value.base = "pred"

    # --- values --------------------------------------------------------------------------------
    def _add(self, role: Role, base: str, array: np.ndarray, **more: Any) -> _Value:
        value = _Value(len(self._values), role, base, array, **more)
        self._values.append(value)
        if self._statistics and role != "gradient":
            value.statistics, value.thumbnail = summary(array)
        return value

    def _value_of(self, given: Any) -> int:
        """Return the id of the value of an operand, noting it if it is new."""
        tensor = given if isinstance(given, Tensor) else None
        array = tensor._data if tensor is not None else np.asarray(given)
        known = self._by_array.get(id(array))
        if known is None:
            path = self._parameters.get(id(array), "")
            name = tensor._name if tensor is not None else None
            if path or (tensor is not None and tensor.requires_grad):
                tail = path.rpartition(".")[2]
                base = name or {"weight": "W", "bias": "b"}.get(tail, tail) or "w"
                note = {"weight": "weights"}.get(tail, tail)
                value = self._add("parameter", base, array, tensor=tensor, path=path, note=note)
            elif array.ndim == 0:
                value = self._add("constant", name or "c", array, tensor=tensor)
            else:
                is_target = bool(self._stack) and _is_loss(self._layers[self._stack[-1]])
                if self._rows is None:
                    self._rows = array.shape[0]
                base = name or ("y" if is_target else "x")
                note = "target values" if is_target else "input rows"
                value = self._add("data", base, array, tensor=tensor, note=note, per_row=array.shape[0] == self._rows)
            known = self._by_array[id(array)] = value.id
        if tensor is not None and tensor._node is not None:
            self._by_node.setdefault(tensor._node.number, known)
        return known

    # --- steps ---------------------------------------------------------------------------------
    def forward(self, op: Op, operands: Sequence[Any], options: dict[str, Any], out: Tensor, plan: Plan | None) -> None:
        numbers = {i for i, v in enumerate(operands) if isinstance(v, (int, float, complex, np.generic))}
        ids = [v if i in numbers else self._value_of(v) for i, v in enumerate(operands)]
        read = [self._values[v] for i, v in enumerate(ids) if i not in numbers]
        shape = out._data.shape
        grows = bool(shape) and shape[0] == self._rows and any(v.per_row for v in read)
        made = self._add("activation", op.symbol or op.name, out._data, tensor=out, per_row=grows)
        self._by_array[id(out._data)] = made.id
        keeps: list[int] = []
        if plan is not None and out._node is not None:
            needed = {name for names in plan.needs for name in names}
            kept = [int(v) for i, v in enumerate(ids) if i not in numbers and not op.variadic and op.inputs[i] in needed]
            keeps = list(dict.fromkeys([*kept, *([made.id] if "y" in needed else [])]))
            self._by_node[out._node.number] = made.id
        step = _Step("forward", op.name, self._stack[-1] if self._stack else "", tuple(v.id for v in read))
        step.keeps = tuple(keeps)
        self._steps.append(step)
        record = _Forward(op, ids, numbers, options, made.id, plan, len(self._steps))
        step.results.append((made.id, lambda: self._forward_formula(record, step)))
        if out._node is not None:
            self._forwards[out._node.number] = record

    def backward(self, node: Node, grad: Any, results: Sequence[tuple[Node, Any]]) -> None:
        record = self._forwards.get(node.number)
        if record is None or record.plan is None:
            return  # made before the capture began
        if self._root is None:
            self._root = record.out
        incoming = self._gradient_of(record.out, grad, add=False)
        forward = self._steps[record.step - 1]
        step = _Step("backward", record.op.name, forward.module, (incoming,), forward=record.step)
        self._steps.append(step)
        for position, (parent, array) in enumerate(results):
            target = self._by_node.get(parent.number)
            if target is None:
                continue
            added = target in self._gradients
            value = self._gradient_of(target, array, add=added)
            step.results.append((value, self._backward_formula(record, step, position, value, added)))

    def _gradient_of(self, target: int, array: Any, add: bool) -> int:
        """Return the id of the gradient of a value, with a contribution added to it."""
        known = self._gradients.get(target)
        if known is None:
            of = self._values[target]
            known = self._gradients[target] = self._add("gradient", "", np.asarray(array), per_row=of.per_row).id
        elif add:
            self._values[known].array = self._values[known].array + array
        return known

    def update(self, optimizer: str, updates: Sequence[tuple[Tensor, Callable[[str], str]]]) -> None:
        step = _Step("update", optimizer, "")
        read = []
        for parameter, formula in updates:
            target = self._value_of(parameter)
            if target in self._gradients:
                read.append(self._gradients[target])
            step.results.append((target, lambda target=target, formula=formula: formula(self._values[target].name)))
        step.inputs = tuple(read)
        step.flops = sum(2 * self._values[v].array.size for v, _ in step.results)
        self._steps.append(step)

    # --- formulas ------------------------------------------------------------------------------
    def _name(self, id: int, tally: list[int]) -> Name:
        value = self._values[id]
        return Name(value.name, value.array.shape, flops=tally)

    def _forward_formula(self, record: _Forward, step: _Step) -> str:
        tally = [0]
        operands = [v if i in record.numbers else self._name(int(v), tally) for i, v in enumerate(record.operands)]
        out = general(record.op, operands, record.options)
        step.flops = tally[0]
        return f"{self._values[record.out].name} = {out.text}"

    def _backward_formula(
        self, record: _Forward, step: _Step, position: int, value: int, added: bool
    ) -> Callable[[], str]:
        plan = record.plan

        def write() -> str:
            tally = [0]
            text = "" if plan is None else self._rule_text(record, plan, position, tally)
            step.flops += tally[0]
            return f"{self._values[value].name} {'+=' if added else '='} {text}"

        return write

    def _rule_text(self, record: _Forward, plan: Plan, position: int, tally: list[int]) -> str:
        out = self._name(record.out, tally)
        grad = Name(f"d{out.text}", out.shape, flops=tally)
        inputs = [v if i in record.numbers else self._name(int(v), tally) for i, v in enumerate(record.operands)]
        arrays = [v if i in record.numbers else self._values[int(v)].array for i, v in enumerate(record.operands)]
        op, which = record.op, plan.inputs[position]

        def value(need: str) -> Any:
            if need == "y":
                return out
            if need in op.inputs:
                return inputs[op.inputs.index(need)]
            return getter(op, need, which)(arrays, record.options, None)  # a shape, a dtype, an option: as it is

        given = [value(need) for need in plan.needs[position]]
        try:
            return str(plan.rules[position](grad, *given))
        except (TypeError, AttributeError, ValueError, IndexError, TinygradBatchError):
            # a rule written straight in NumPy computes, but cannot write itself down
            return f"{grad} · ∂{record.op.name}/∂{inputs[which]}"

    # --- the end -------------------------------------------------------------------------------
    def fill(self, trace: Trace) -> None:
        """Name everything, write the formulas, and leave plain data in ``trace``."""
        self._give_names()
        steps = []
        for number, step in enumerate(self._steps, 1):
            results = tuple(Result(value, formula()) for value, formula in step.results)
            steps.append(
                Step(number, step.phase, step.op, step.inputs, results, step.keeps, step.module, step.forward, step.flops)
            )
        trace.values = tuple(self._finished(value) for value in self._values)
        trace.steps = tuple(steps)
        trace.layers = tuple(self._layers.values())
        trace.rows = self._rows

    def _give_names(self) -> None:
        if self._root is not None and self._values[self._root].tensor is not None:
            self._values[self._root].base = "loss"
        named = [v for v in self._values if v.role != "gradient"]
        for value in named:
            if value.role == "activation" and value.tensor is not None and value.tensor._name:
                value.base = value.tensor._name
        alone = {base for base in {v.base for v in named} if sum(v.base == base for v in named) == 1}
        taken = set(alone)
        counts: dict[str, int] = {}
        for value in named:
            value.name = value.base
            while value.base not in alone and (value.name == value.base or value.name in taken):
                counts[value.base] = counts.get(value.base, 0) + 1
                value.name = f"{value.base}{counts[value.base]}"
            taken.add(value.name)
        for target, gradient in self._gradients.items():
            self._values[gradient].name = f"d{self._values[target].name}"

    def _finished(self, value: _Value) -> Value:
        array = value.array
        if self._statistics and value.role == "gradient":
            value.statistics, value.thumbnail = summary(array)
        item = float(array.item()) if array.size == 1 and array.dtype.kind in "biuf" and not state.abstract else None
        return Value(
            value.id, value.name, value.role, value.note, value.path, array.shape, str(array.dtype), array.nbytes,
            value.per_row, item, value.statistics, value.thumbnail,
        )  # fmt: skip


def _is_loss(layer: Layer) -> bool:
    return layer.kind.endswith("Loss")


def summary(array: np.ndarray) -> tuple[Statistics | None, tuple[tuple[float, ...], ...] | None]:
    """Return the statistics of an array and a table of at most 20 x 20 means of its parts."""
    if array.size == 0 or array.dtype.kind not in "biuf":
        return None, None
    numbers = array.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    shown = finite if finite.size else np.zeros(1)
    with np.errstate(over="ignore", invalid="ignore"):
        statistics = Statistics(
            float(shown.mean()), float(shown.std()), float(shown.min()), float(shown.max()),
            float(np.linalg.norm(shown)), int(numbers.size - finite.size),
        )  # fmt: skip
        table = np.nan_to_num(numbers.reshape(numbers.shape[0] if numbers.ndim > 1 else 1, -1))
        for axis in (0, 1):
            table = _averaged(table, axis)
    return statistics, tuple(tuple(float(f"{v:.4g}") for v in row) for row in table)


def _averaged(table: np.ndarray, axis: int) -> np.ndarray:
    length = table.shape[axis]
    if length <= THUMBNAIL:
        return table
    cuts = np.linspace(0, length, THUMBNAIL + 1).astype(int)
    sums = np.add.reduceat(table, cuts[:-1], axis=axis)
    return sums / np.expand_dims(np.diff(cuts), 1 - axis)
