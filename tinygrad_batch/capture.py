"""Capture: run one batch with recording on, and get its Trace.

While a capture is on, every operation tells the recorder what it read and made, the backward walk
tells it each gradient, layers say when they start and end, and the optimiser what it updated. Names
and formulas are worked out at the end, when it is known how many values there are of each kind: the
derivative rules are run once more, on names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from .calling import general, getter
from .describe import describe
from .formula import Name
from .graph import Leaf, Node
from .op import Op, Plan
from .state import state
from .tensor import Tensor
from .trace import Layer, Phase, Result, Role, Statistics, Step, Trace, Value

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@contextmanager
def capture(statistics: bool = True) -> Iterator[Trace]:
    """Record what is computed inside the ``with`` block of this thread.

    Recording changes no result. What was computed before the block is read as data. Of captures one
    inside the other, the inner one records alone. ``backward(create_graph=True)`` computes gradients
    with operations that can be differentiated in turn, and they are recorded as what they are:
    forward steps.

    Parameters
    ----------
    statistics : bool
        Whether to summarise every value (mean, spread, a small table of it).

    Yields
    ------
    Trace
        Filled in when the block ends without an error; after an error it stays empty.

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
    try:
        with state.switch(recorder=recorder):
            yield trace
        recorder.fill(trace)
    finally:
        recorder.forget()  # so that arrays are free at once, not when the garbage collector comes by


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
    item: float | None = None
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
    call: int = 0  # which call of a model it ran in, 0 for none


class _Recorder:
    """Takes note of everything while a capture is on; see `tinygrad_batch.state.Recorder`."""

    def __init__(self, statistics: bool) -> None:
        self._statistics = statistics
        self._values: list[_Value] = []
        self._steps: list[_Step] = []
        self._by_tensor: dict[int, int] = {}  # id of a tensor that a value holds: id of the value
        self._by_node: dict[int, int] = {}  # number of a node: id of the value it stands for
        self._by_array: dict[int, int] = {}
        self._forwards: dict[int, _Forward] = {}  # number of a node: the operation that made it
        self._rows: int | None = None
        # layers; what is known by its id is held, so that no other object gets the same id
        self._layers: dict[str, Layer] = {}
        self._paths: dict[int, str] = {}  # id of a module: its path
        self._parameters: dict[int, str] = {}  # id of an array: path of the parameter
        self._held: list[Any] = []
        self._models: list[str] = []  # paths of the modules with parameters that were called from outside
        self._stack: list[str] = []
        self._call = self._calls = 0  # of modules with parameters, from outside any module
        self._predictions: set[int] = set()  # what such calls returned
        # gradients
        self._gradients: dict[int, int] = {}  # id of a value: id of its gradient
        self._of: dict[int, int] = {}  # id of a gradient: id of its value
        self._reached: set[int] = set()  # the values that this backward pass has sent a gradient to
        self._last = 0  # number of the node this backward pass visited last
        self._roots: list[int] = []

    def forget(self) -> None:
        """Let go of every array, node and closure."""
        for step in self._steps:
            step.results.clear()
        self.__dict__.clear()

    # --- layers --------------------------------------------------------------------------------
    def enter(self, module: Any) -> None:
        if not self._stack:
            if id(module) not in self._paths:
                self._register(module)
            if self._paths[id(module)] in self._models:
                self._calls += 1
                self._call = self._calls
        fallback = ".".join([*self._stack[-1:], type(module).__name__])  # it hides from named_modules
        path = self._paths.get(id(module), fallback)
        self._layers.setdefault(path, Layer(path, type(module).__name__, module.label()))
        self._stack.append(path)

    def _register(self, module: Any) -> None:
        kind = type(module).__name__
        taken = {path.partition(".")[0] for path in self._layers}
        prefix = next(p for p in (f"{kind}{n if n > 1 else ''}" for n in count(1)) if p not in taken)
        for path, part in module.named_modules(prefix):
            self._paths[id(part)] = path
            self._held.append(part)
        for path, tensor in module.named_parameters():
            self._parameters.setdefault(id(tensor._data), f"{prefix}.{path}")
            self._held.append(tensor._data)
            if prefix not in self._models:
                self._models.append(prefix)

    def leave(self, module: Any, out: Any) -> None:
        self._stack.pop()
        if not self._stack:
            if self._call and isinstance(out, Tensor):
                self._predictions.add(self._value_of(out))
            self._call = 0

    # --- values --------------------------------------------------------------------------------
    def _add(self, role: Role, base: str, array: np.ndarray, **more: Any) -> _Value:
        value = _Value(len(self._values), role, base, array, **more)
        self._values.append(value)
        if role != "gradient" and not state.abstract:
            if self._statistics:
                value.statistics, value.thumbnail = describe(array)
            if role in ("activation", "constant") and array.size == 1 and array.dtype.kind in "biuf":
                value.item = float(array.item())
        return value

    def _value_of(self, given: Any) -> int:
        """Return the id of the value of an operand, noting it if it is new."""
        tensor = given if isinstance(given, Tensor) else None
        array = tensor._data if tensor is not None else np.asarray(given)
        node = None if tensor is None else tensor._node
        known = self._by_tensor.get(id(tensor))
        if known is None and node is not None:
            known = self._by_node.get(node.number)
        if known is None:
            known = self._by_array.get(id(array))
            if known is None or (node is not None and node.plan is not None):
                known = self._new_value(array, tensor, node)
            elif self._values[known].role in ("data", "constant") and self._is_parameter(array, node):
                self._values[known].tensor = tensor  # it was met detached before
                self._make_parameter(self._values[known])
        if node is not None:
            self._by_node.setdefault(node.number, known)
        return known

    def _new_value(self, array: np.ndarray, tensor: Tensor | None, node: Node | None) -> int:
        for target, gradient in self._gradients.items():
            of = self._values[target].tensor
            if of is not None and getattr(of._node, "grad", None) is array:
                return gradient  # somebody looks at .grad
        is_target = bool(self._stack) and _is_loss(self._layers[self._stack[-1]])
        if self._is_parameter(array, node):
            value = self._add("parameter", "", array, tensor=tensor)
            self._make_parameter(value)
        elif array.ndim == 0:
            value = self._add("constant", "c", array, tensor=tensor)
        else:
            if self._rows is None:
                self._rows = array.shape[0]
            note = "target values" if is_target else "input rows"
            grows = array.shape[0] == self._rows
            value = self._add("data", "y" if is_target else "x", array, tensor=tensor, note=note, per_row=grows)
        self._by_array.setdefault(id(array), value.id)
        if tensor is not None:
            self._by_tensor[id(tensor)] = value.id
        return value.id

    def _is_parameter(self, array: np.ndarray, node: Node | None) -> bool:
        # inside a model, a leaf that is none of its parameters is an input whose gradient somebody wants
        inside = bool(self._stack) and not _is_loss(self._layers[self._stack[-1]])
        return id(array) in self._parameters or (isinstance(node, Leaf) and not inside)

    def _make_parameter(self, value: _Value) -> None:
        value.path = self._parameters.get(id(value.array), "")
        tail = value.path.rpartition(".")[2]
        value.role, value.per_row, value.item = "parameter", False, None
        value.base = {"weight": "W", "bias": "b"}.get(tail, tail) or "w"
        value.note = "weights" if tail == "weight" else tail

    # --- steps ---------------------------------------------------------------------------------
    def forward(self, op: Op, operands: Sequence[Any], options: dict[str, Any], out: Tensor, plan: Plan | None) -> None:
        numbers = {i for i, v in enumerate(operands) if isinstance(v, (int, float, complex, np.generic))}
        ids = [v if i in numbers else self._value_of(v) for i, v in enumerate(operands)]
        read = [self._values[v] for i, v in enumerate(ids) if i not in numbers]
        shape = out._data.shape
        grows = bool(shape) and shape[0] == self._rows and any(v.per_row for v in read)
        made = self._add("activation", op.symbol or "u", out._data, tensor=out, per_row=grows)
        self._by_tensor[id(out)] = made.id
        self._by_array.setdefault(id(out._data), made.id)  # an operation may return the very array it was given
        keeps: list[int] = []
        if plan is not None and out._node is not None:
            needed = {name for names in plan.needs for name in names}
            inputs = () if op.variadic else op.inputs
            pairs = enumerate(zip(ids, inputs, strict=False))
            kept = [int(v) for i, (v, name) in pairs if name in needed and i not in numbers]
            keeps = list(dict.fromkeys([*kept, *([made.id] if "y" in needed else [])]))
            self._by_node[out._node.number] = made.id
        step = _Step("forward", op.name, self._stack[-1] if self._stack else "", tuple(v.id for v in read))
        step.keeps, step.call = tuple(keeps), self._call
        self._steps.append(step)
        record = _Forward(op, ids, numbers, options, made.id, plan, len(self._steps))
        step.results.append((made.id, lambda: self._forward_formula(record, step)))
        if out._node is not None:
            self._forwards[out._node.number] = record

    def backward(self, node: Node, grad: Any, results: Sequence[tuple[Node, Any]]) -> None:
        record = self._forwards.get(node.number)
        # a walk goes from the youngest node to the oldest: where the numbers rise, another walk has begun
        begins = node.number >= self._last or not self._last
        self._last = node.number
        if begins:
            self._reached = set()
        if record is None or record.plan is None:
            return  # made before the capture began
        if begins:
            self._roots.append(record.out)
        if record.out not in self._reached:
            self._new_gradient(record.out, grad)
        incoming = self._gradients[record.out]
        self._values[incoming].array = np.asarray(grad)  # complete by now, and changed if there was a hook
        forward = self._steps[record.step - 1]
        step = _Step("backward", record.op.name, forward.module, (incoming,), forward=record.step)
        self._steps.append(step)
        for position, (parent, array) in enumerate(results):
            target = self._by_node.get(parent.number)
            if target is None:
                continue
            # the gradient of a leaf goes on growing over backward passes, until it is forgotten
            before = getattr(parent, "grad", None)
            added = target in self._reached or before is not None
            if target in self._reached or (before is not None and target in self._gradients):
                value = self._values[self._gradients[target]]
                value.array = value.array + array
            else:
                whole = array if before is None else getattr(before, "_data", before) + array
                value = self._new_gradient(target, whole)
            step.results.append((value.id, self._backward_formula(record, step, position, value, added)))

    def _new_gradient(self, target: int, array: Any) -> _Value:
        gradient = self._add("gradient", "", np.asarray(array), per_row=self._values[target].per_row)
        self._gradients[target] = gradient.id
        self._of[gradient.id] = target
        self._reached.add(target)
        return gradient

    def update(self, optimizer: str, updates: Sequence[tuple[Tensor, Callable[[str, str], str]]]) -> None:
        step = _Step("update", optimizer, "")
        read = []
        for parameter, formula in updates:
            target = self._value_of(parameter)
            gradient = self._gradients.get(target)
            if gradient is not None:
                read.append(gradient)
            step.results.append((target, self._update_formula(target, gradient, formula)))
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
        try:
            text = general(record.op, operands, record.options).text
        except Exception:  # as for a rule below
            text = f"{record.op.name}({', '.join(map(str, operands))})"
        step.flops = tally[0]
        return f"{self._values[record.out].name} = {text}"

    def _update_formula(
        self, target: int, gradient: int | None, formula: Callable[[str, str], str]
    ) -> Callable[[], str]:
        def write() -> str:
            name = self._values[target].name
            return formula(name, f"d{name}" if gradient is None else self._values[gradient].name)

        return write

    def _backward_formula(
        self, record: _Forward, step: _Step, position: int, value: _Value, added: bool
    ) -> Callable[[], str]:
        plan, incoming = record.plan, self._values[step.inputs[0]]

        def write() -> str:
            tally = [0]
            text = "" if plan is None else self._rule_text(record, plan, position, incoming.name, tally)
            step.flops += tally[0]
            return f"{value.name} {'+=' if added else '='} {text}"

        return write

    def _rule_text(self, record: _Forward, plan: Plan, position: int, incoming: str, tally: list[int]) -> str:
        out = self._name(record.out, tally)
        grad = Name(incoming, out.shape, flops=tally)
        inputs = [v if i in record.numbers else self._name(int(v), tally) for i, v in enumerate(record.operands)]
        arrays = [v if i in record.numbers else self._values[int(v)].array for i, v in enumerate(record.operands)]
        op, which = record.op, plan.inputs[position]

        def value(need: str) -> Any:
            if need == "y":
                return out
            if need in op.inputs:
                return inputs[op.inputs.index(need)]
            return getter(op, need, which)(arrays, record.options, None)  # a shape, a dtype, an option: as it is

        try:
            return str(plan.rules[position](grad, *[value(need) for need in plan.needs[position]]))
        except Exception:
            # a rule written straight in NumPy computes, but cannot write itself down
            return f"{grad} · ∂{record.op.name}/∂{inputs[which]}"

    # --- the end -------------------------------------------------------------------------------
    def fill(self, trace: Trace) -> None:
        """Name everything, write the formulas, and leave plain data in ``trace``."""
        self._give_names()
        # the one model of a batch has no name of its own: its layers are called as in its state dict
        only = self._models[0] if len(self._models) == 1 else None
        steps = []
        for number, step in enumerate(self._steps, 1):
            results = tuple(Result(value, formula()) for value, formula in step.results)
            module = _below(only, step.module)
            steps.append(
                Step(number, step.phase, step.op, step.inputs, results, step.keeps, module, step.forward, step.flops)
            )
        trace.values = tuple(self._finished(value, _below(only, value.path)) for value in self._values)
        trace.steps = tuple(steps)
        trace.layers = tuple(Layer(_below(only, path), layer.kind, layer.label) for path, layer in self._layers.items())
        trace.rows = self._rows

    def _give_names(self) -> None:
        for root in self._roots:
            if self._values[root].array.size == 1:
                self._values[root].base = "loss"
        for value in self._final_predictions():
            value.base = "pred"
        named: list[_Value] = []
        others: list[_Value] = []
        for value in self._values:
            if value.role != "gradient":
                given = None if value.tensor is None else value.tensor._name
                value.base = str(given) if given else value.base
                (named if given else others).append(value)
        taken: set[str] = set()
        for group in (named, others):  # what the user calls x stays x
            _number(group, taken)
        for passes, gradient in self._gradient_passes():
            name = f"d{self._values[self._of[gradient.id]].name}"
            gradient.name = name = name if passes == 1 else f"{name}{str(passes).translate(_SUBSCRIPTS)}"
            while gradient.name in taken:
                gradient.name += "′"
            taken.add(gradient.name)

    def _gradient_passes(self) -> Iterator[tuple[int, _Value]]:
        """Yield every gradient with how many its value has had up to then: over two batches, 1 and 2."""
        seen: Counter[int] = Counter()
        for gradient, target in self._of.items():
            seen[target] += 1
            yield seen[target], self._values[gradient]

    def _final_predictions(self) -> Iterator[_Value]:
        """Yield what models returned, unless another call of a model makes something else of it."""
        forward = [(step, step.results[0][0]) for step in self._steps if step.phase == "forward"]
        call = {out: step.call for step, out in forward}
        feeds: set[int] = set()  # what other calls are made of
        for step, out in reversed(forward):
            if out in self._predictions and out not in feeds and self._values[out].base != "loss":
                yield self._values[out]
            feeds.update(v for v in step.inputs if out in feeds or (step.call and call.get(v, step.call) != step.call))

    def _finished(self, value: _Value, path: str) -> Value:
        array = value.array
        if self._statistics and value.role == "gradient":
            value.statistics, value.thumbnail = describe(array)
        return Value(
            value.id, value.name, value.role, value.note, path, array.shape, str(array.dtype), array.nbytes,
            value.per_row, value.item, value.statistics, value.thumbnail, self._of.get(value.id),
        )  # fmt: skip


def _number(values: Sequence[_Value], taken: set[str]) -> None:
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


def _below(prefix: str | None, path: str) -> str:
    """Return ``path`` as seen from the module at ``prefix``."""
    if prefix is None or path.partition(".")[0] != prefix:
        return path
    return path[len(prefix) + 1 :]


def _is_loss(layer: Layer) -> bool:
    return layer.kind.endswith("Loss")
