"""Capture: run one batch with recording on, and get its Trace.

While a capture is on, every operation tells the recorder what it read and made, the backward walk
tells it each gradient, layers say when they start and end, and the optimiser what it updated. The
recorder notes steps and values for the reader (`naming` finds their names and formulas at the end) and
lets a `Scribe` write the program.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

import numpy as np

from .calling import dtype_name, operand
from .describe import describe
from .errors import CompileError
from .graph import Leaf, Node
from .naming import Done, Formulas, Noted, Noting, give_names
from .op import Op, Plan
from .program import Kind, Operand, Program
from .state import state
from .symbolic import Scribe
from .tensor import Tensor
from .trace import Layer, Result, Role, Step, Trace, Value


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

    Raises
    ------
    CompileError
        Inside a step that is being compiled.

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
    if state.planning:
        raise CompileError("a compiled step cannot be captured from the inside", "Put the capture around its call")
    trace = Trace()
    recorder = Recorder(statistics)
    try:
        with state.switch(recorder=recorder):
            yield trace
        trace.program = recorder.finish()
        recorder.fill(trace)
    finally:
        recorder.forget()  # so that arrays are free at once, not when the garbage collector comes by


class Recorder:
    """Takes note of everything while a capture is on; see `tinygrad_batch.state.Recorder`.

    Parameters
    ----------
    statistics : bool
        Whether to summarise every value.
    """

    data_kind: Kind = "input"  # of what comes from outside
    replays = walks = False
    expands = True

    def __init__(self, statistics: bool) -> None:
        self._statistics = statistics
        self._values: list[Noted] = []
        self._steps: list[Noting] = []
        self._formulas = Formulas(self._values)
        self.scribe = Scribe()
        self._by_tensor: dict[int, int] = {}  # id of a tensor that a value holds: id of the value
        self._by_node: dict[int, int] = {}  # number of a node: id of the value it stands for
        self._by_array: dict[int, int] = {}
        self._done: dict[int, Done] = {}  # number of a node: the operation that made it
        self._rows: int | None = None
        # layers; what is known by its id is held, so that no other object gets the same id
        self._layers: dict[str, Layer] = {}
        self._paths: dict[int, str] = {}  # id of a module: its path
        self._parameters: dict[int, str] = {}  # id of an array: path of the parameter
        self._buffers: dict[int, str] = {}  # id of an array: path of another tensor that a module holds
        self._owners: dict[int, Tensor] = {}  # id of an array: the tensor of a module that it belongs to
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
        self.fresh: dict[int, Tensor] = {}  # leaves that came without a gradient and got one, by their values
        self.cleared: dict[int, Tensor] = {}  # leaves whose gradients were forgotten, by their nodes
        self.broken = ""  # why there is no program, if there is none

    def forget(self) -> None:
        """Let go of every array, node and closure."""
        for step in self._steps:
            step.results.clear()
        self.__dict__.clear()

    # --- layers --------------------------------------------------------------------------------
    def enter(self, module: Any) -> None:
        """Take note that a layer starts."""
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
        for path, tensor, learned in module._named_tensors():
            (self._parameters if learned else self._buffers).setdefault(id(tensor._data), f"{prefix}.{path}")
            self._owners[id(tensor._data)] = tensor
            self._held.append(tensor._data)
            if learned and prefix not in self._models:
                self._models.append(prefix)

    def leave(self, module: Any, out: Any) -> None:
        """Take note that a layer is done."""
        self._stack.pop()
        if not self._stack:
            if self._call and isinstance(out, Tensor):
                self._predictions.add(self.value_of(out))
            self._call = 0

    # --- values --------------------------------------------------------------------------------
    def _add(self, role: Role, base: str, array: np.ndarray, **more: Any) -> Noted:
        value = Noted(len(self._values), role, base, array, **more)
        self._values.append(value)
        if role != "gradient" and not state.abstract:
            if self._statistics:
                value.statistics, value.thumbnail = describe(array)
            if role in ("activation", "constant") and array.size == 1 and array.dtype.kind in "biuf":
                value.item = float(array.item())
        return value

    def value_of(self, given: Any) -> int:
        """Return the id of the value of a tensor or array, noting it if it is new."""
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
        kind: Kind = "state"
        if self._is_parameter(array, node):
            value = self._add("parameter", "", array, tensor=tensor)
            self._make_parameter(value)
            kind = "parameter"
        elif id(array) in self._buffers:
            path = self._buffers[id(array)]
            name = path.rpartition(".")[2]
            value = self._add("data", name, array, tensor=tensor, path=path, note="kept by the layer")
        elif array.ndim == 0:
            value = self._add("constant", "c", array, tensor=tensor)
        else:
            value, kind = self._new_data(array, tensor), self.data_kind
        self.scribe.enter(value.id, array, kind, self._owners.get(id(array), array if tensor is None else tensor))
        self._by_array.setdefault(id(array), value.id)
        if tensor is not None:
            self._by_tensor[id(tensor)] = value.id
        return value.id

    def _new_data(self, array: np.ndarray, tensor: Tensor | None) -> Noted:
        if self._rows is None:
            self._rows = array.shape[0]
        grows = array.shape[0] == self._rows
        if self._stack and _is_loss(self._layers[self._stack[-1]]):
            return self._add("data", "y", array, tensor=tensor, note="target values", per_row=grows)
        return self._add("data", "x", array, tensor=tensor, note="input rows", per_row=grows)

    def _is_parameter(self, array: np.ndarray, node: Node | None) -> bool:
        # inside a model, a leaf that is none of its parameters is an input whose gradient somebody wants
        inside = bool(self._stack) and not _is_loss(self._layers[self._stack[-1]])
        return id(array) in self._parameters or (isinstance(node, Leaf) and not inside)

    def _make_parameter(self, value: Noted) -> None:
        value.path = self._parameters.get(id(value.array), "")
        tail = value.path.rpartition(".")[2]
        value.role, value.per_row, value.item = "parameter", False, None
        value.base = {"weight": "W", "bias": "b"}.get(tail, tail) or "w"
        value.note = "weights" if tail == "weight" else tail

    def _known_as(self, tensor: Tensor, value: int) -> None:
        self._by_tensor[id(tensor)] = value
        self._held.append(tensor)

    def copied(self, tensor: Tensor, array: Any) -> None:
        """Take note that a new tensor has the same elements as an array that was made before."""
        known = self._by_array.get(id(array))
        if known is None:
            known = next((gradient for gradient in self._of if self._values[gradient].array is array), None)
        if known is not None:
            self._known_as(tensor, known)

    def read(self, tensor: Tensor, how: str) -> None:
        """A capture only watches: elements may be read."""

    def recomputes(self, nodes: Sequence[Node], inputs: Sequence[Tensor]) -> None:
        """Take note that these nodes keep nothing for now: the first of their steps keeps the inputs."""
        steps = [self._steps[self._done[node.number].step - 1] for node in nodes]
        for step in steps:
            step.keeps = ()
        steps[0].keeps = tuple(dict.fromkeys(self.value_of(tensor) for tensor in inputs))

    def hooked(self, node: Node) -> None:
        """Take note that Python code may change a gradient."""
        self.broken = self.broken or "a gradient has a hook, or is retained"

    # --- steps ---------------------------------------------------------------------------------
    def _variable(self, value: int) -> Operand:
        return self.scribe.variables[value]

    def forward(self, op: Op, operands: Sequence[Any], options: dict[str, Any], out: Tensor, plan: Plan | None) -> None:
        """Take note of a forward operation."""
        numbers = {i for i, v in enumerate(operands) if isinstance(v, (int, float, complex, np.generic))}
        ids = [operand(v) if i in numbers else self.value_of(v) for i, v in enumerate(operands)]
        read = [self._values[v] for i, v in enumerate(ids) if i not in numbers]
        shape = out._data.shape
        grows = bool(shape) and shape[0] == self._rows and any(v.per_row for v in read)
        reads = [v if i in numbers else self._variable(v) for i, v in enumerate(ids)]
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
        step = Noting("forward", op.name, self._stack[-1] if self._stack else "", tuple(v.id for v in read))
        step.keeps, step.call = tuple(keeps), self._call
        self._steps.append(step)
        variable = self.scribe.operation(op, reads, options, made.id, out._data, len(self._steps))
        done = Done(op, ids, numbers, options, made.id, plan, len(self._steps), reads, variable)
        step.results.append((made.id, self._formulas.forward(done, step)))
        if out._node is not None:
            self._done[out._node.number] = done

    def assign(self, tensor: Tensor, index: Any, value: Any) -> None:
        """Take note that elements of a tensor were overwritten."""
        target = self.value_of(tensor)
        source = self.value_of(value) if isinstance(value, (Tensor, np.ndarray)) else None
        step = Noting("forward", "assign", self._stack[-1] if self._stack else "", () if source is None else (source,))
        step.results.append((target, self._formulas.assign(target, str(value) if source is None else source)))
        self._steps.append(step)
        if target not in self.scribe.entered:
            return  # it was made in this batch, and somebody else may hold what it was made of
        if self.scribe.entered[target].kind == "input":
            self.broken = self.broken or "an input is overwritten (compute another tensor, as in x = tb.where(...))"
            return
        if not (index is Ellipsis or index == slice(None)):
            self.broken = self.broken or "part of a tensor is overwritten"
            return
        self.scribe.overwrite(target, value if source is None else self._variable(source), len(self._steps))

    # --- gradients -----------------------------------------------------------------------------
    def backward(self, node: Node, grad: Any, results: Sequence[tuple[Node, Any]]) -> None:
        """Take note of a backward step and the gradient it sent to each parent."""
        done = self._done.get(node.number)
        # a walk goes from the youngest node to the oldest: where the numbers rise, another walk has begun
        begins = node.number >= self._last or not self._last
        self._last = node.number
        if begins:
            self._reached = set()
        if done is None or done.plan is None:
            self.broken = self.broken or "part of the graph was made before"
            return
        if begins:
            self._roots.append(done.out)
        if done.out not in self._reached:
            seed = self._new_gradient(done.out, grad)
            known = self._by_array.get(id(grad))
            self.scribe.variables[seed.id] = self.seed(np.asarray(grad)) if known is None else self._variable(known)
        incoming = self._gradients[done.out]
        self._values[incoming].array = np.asarray(grad)  # complete by now, and changed if there was a hook
        forward = self._steps[done.step - 1]
        step = Noting("backward", done.op.name, forward.module, (incoming,), forward=done.step)
        self._steps.append(step)
        for position, (parent, array) in enumerate(results):
            target = self._by_node.get(parent.number)
            if target is None:
                continue
            # the gradient of a leaf goes on growing over backward passes, until it is forgotten
            before = getattr(parent, "grad", None)
            added = target in self._reached or before is not None
            earlier: Operand | None = None
            if target in self._reached or (before is not None and target in self._gradients):
                value = self._values[self._gradients[target]]
                value.array = array if state.abstract else value.array + array
                earlier = self._variable(value.id)
            else:
                whole = array if before is None or state.abstract else getattr(before, "_data", before) + array
                value = self._new_gradient(target, whole)
                earlier = self._arrived(target, parent, before)
            self._write_rule(done, position, incoming, value.id, earlier, parent)
            step.results.append((value.id, self._formulas.backward(done, step, position, value, added)))

    def _arrived(self, target: int, parent: Node, before: Any) -> Operand | None:
        """Return the variable of the gradient that a leaf came with, or None, and note which it was."""
        tensor = self._values[target].tensor
        if not isinstance(parent, Leaf) or tensor is None:
            return None
        if before is not None:
            return self.scribe.arrived(tensor)
        if id(parent) not in self.cleared:
            self.fresh[target] = tensor
        return None

    def _write_rule(
        self, done: Done, position: int, incoming: int, value: int, earlier: Operand | None, parent: Node
    ) -> None:
        if done.plan is None or self.broken:
            return
        which = done.plan.inputs[position]
        arrays = [v if i in done.numbers else self._values[v].array for i, v in enumerate(done.operands)]
        needs = [done.needed(n, which, done.reads, done.made, arrays) for n in done.plan.needs[position]]
        try:
            gradient = self.scribe.rule(done.plan.rules[position], self._variable(incoming), needs, len(self._steps))
        except Exception as error:  # a rule written straight in NumPy computes, but cannot be written down
            self.broken = f"the derivative of {done.op.name!r} does not consist of operations of the table ({error})"
            return
        self.scribe.gradient(value, gradient, earlier, dtype_name(parent.dtype) if isinstance(parent, Leaf) else None)

    def seed(self, grad: np.ndarray) -> Operand:
        """Return the gradient that a backward pass starts from."""
        return self.scribe.builder.constant(grad, "seed")

    def _new_gradient(self, target: int, array: Any) -> Noted:
        gradient = self._add("gradient", "", np.asarray(array), per_row=self._values[target].per_row)
        self._gradients[target] = gradient.id
        self._of[gradient.id] = target
        self._reached.add(target)
        return gradient

    def clear(self, tensors: Sequence[Tensor]) -> None:
        """Take note that the gradients of these leaves were forgotten."""
        for tensor in tensors:
            if isinstance(tensor._node, Leaf):
                self.cleared[id(tensor._node)] = tensor

    def looked(self, tensor: Tensor, grad: Tensor) -> None:
        """Take note that somebody looks at the gradient of a tensor."""
        if id(grad) not in self._by_tensor:
            self._known_as(grad, self._gradient_of(tensor))

    def missed(self, tensor: Tensor) -> None:
        """A capture only watches: there may be no gradient."""

    def set_grad(self, tensor: Tensor, value: Any) -> None:
        """Take note that a leaf was given a gradient."""
        self._gradients[self.value_of(tensor)] = self.value_of(value)

    def _gradient_of(self, tensor: Tensor) -> int:
        """Return the id of the gradient that a tensor has now."""
        target, grad = self.value_of(tensor), getattr(tensor._node, "grad", None)
        if isinstance(grad, Tensor):  # of create_graph
            return self.value_of(grad)
        if target not in self._gradients:
            gradient = self._new_gradient(target, grad)
            self.scribe.variables[gradient.id] = self.scribe.arrived(tensor)
        return self._gradients[target]

    def update(self, optimizer: Any, now: Any, learned: Sequence[Any]) -> None:
        """Take note of an optimiser step."""
        step = Noting("update", type(optimizer).__name__, "")
        updated = []
        for one in learned:
            target, gradient = self.value_of(one.parameter), self._gradient_of(one.parameter)
            updated.append((one, target, self.scribe.variables.get(gradient, 0.0)))
            step.inputs = (*step.inputs, gradient)
            step.results.append((target, self._formulas.update(target, gradient, now.formula)))
        step.flops = sum(2 * self._values[v].array.size for v, _ in step.results)
        self._steps.append(step)
        if not self.broken:
            self.broken = self.scribe.update(optimizer, updated, len(self._steps))

    # --- the end -------------------------------------------------------------------------------
    def finish(self, outputs: Sequence[int] | None = None) -> Program | None:
        """Give everything its name, and return the program, or None if there is none.

        ``outputs`` are the ids of the values that it computes; left out, what a batch is for.
        """
        give_names(self._values, self._steps, self._roots, self._predictions, self._of)
        if self.broken:
            return None
        leaves = {id(t._node): t for v in self._values if (t := v.tensor) is not None and self._keeps_grad(t)}
        for tensor in leaves.values():
            self.scribe.keep_gradient(tensor, self._gradient_of(tensor))
        computed = [self._variable(v) for v in (self._outputs() if outputs is None else outputs)]
        return self.scribe.program(computed, {value.id: value.name for value in self._values})

    def _keeps_grad(self, tensor: Tensor) -> bool:
        return isinstance(tensor._node, Leaf) and tensor._node.grad is not None

    def fill(self, trace: Trace) -> None:
        """Write the formulas of what has its names by now, and leave plain data in ``trace``."""
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

    def _outputs(self) -> list[int]:
        """Return what a batch is for: its loss, else what its model returned, else what nothing else reads."""
        if self._roots:
            return list(dict.fromkeys(self._roots))
        read = {v for step in self._steps for v in step.inputs}
        made = [step.results[0][0] for step in self._steps]
        return [v for v in made if v in self._predictions] or [v for v in made if v not in read]

    def _finished(self, value: Noted, path: str) -> Value:
        array = value.array
        if self._statistics and value.role == "gradient":
            value.statistics, value.thumbnail = describe(array)
        return Value(
            value.id, value.name, value.role, value.note, path, array.shape, str(array.dtype), array.nbytes,
            value.per_row, value.item, value.statistics, value.thumbnail, self._of.get(value.id),
        )  # fmt: skip


def _below(prefix: str | None, path: str) -> str:
    """Return ``path`` as seen from the module at ``prefix``."""
    if prefix is None or path.partition(".")[0] != prefix:
        return path
    return path[len(prefix) + 1 :]


def _is_loss(layer: Layer) -> bool:
    return layer.kind.endswith("Loss")
