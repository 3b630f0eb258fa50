"""Capture for replay: a capture that refuses whatever could not be run again.

An ordinary capture only watches. A step that is going to run again and again from its program must not
depend on anything that the program does not show, so here the same recorder says no: where Python code
looks at elements, where a gradient passes through a hook, where part of an array is overwritten.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import numpy as np

from ..calling import stand_in
from ..capture import Recorder
from ..errors import CompileError
from ..graph import Leaf, Node
from ..op import Op, Plan
from ..program import Kind, Operand, Program
from ..state import state
from ..tensor import Tensor
from .structure import Place, fixed, flatten
from .surroundings import Surroundings

_PACKAGE = str(Path(__file__).resolve().parents[1])
_RETURNED = (Place, int, float, complex, str, bytes, np.generic, np.dtype, type, type(None))
_INSTEAD = "Return the tensor and look at it outside; choose between values with tb.where; or leave the step eager"


class StrictRecorder(Recorder):
    """Takes note of a step that is to be replayed.

    Attributes
    ----------
    updates : list of (Optimizer, list of int)
        The steps of optimisers, each with the places of the parameters that were updated.
    forgotten : list of Tensor
        The leaves that end the step without a gradient because the step cleared it.
    modules : dict of int to (Module, bool)
        By their ids, those that ran, and whether they were training.
    without : list of Tensor
        The leaves whose gradients were looked for when they had none yet, as an optimiser does.
    roots : list of (Module, list of Tensor)
        Those that were called from outside any module, and the tensors that they are made of.
    """

    data_kind: Kind = "state"  # what is neither given nor a parameter lives on outside, and is read at every call
    replays = walks = True

    def __init__(self, surroundings: Surroundings) -> None:
        self._broken = ""
        super().__init__(statistics=False)
        self._surroundings = surroundings
        self._begin = Leaf((), np.dtype(float)).number  # nodes of higher numbers are made in the step
        self._leaves: dict[int, Leaf] = {}  # by the ids of their values
        self.without: list[Tensor] = []
        self._arrivals: dict[int, Leaf] = {}  # id of a gradient that a leaf came with
        self._gradients_before: dict[int, tuple[Leaf, Any]] = {}
        self.forgotten: list[Tensor] = []
        self.updates: list[tuple[Any, list[int]]] = []
        self.modules: dict[int, tuple[Any, bool]] = {}
        self.roots: list[tuple[Any, list[Tensor]]] = []

    @property
    def broken(self) -> str:
        """Why there is no program; here that is an error at once."""
        return self._broken

    @broken.setter
    def broken(self, reason: str) -> None:
        if reason:
            refuse(reason, "Leave this step eager")

    def give(self, tensors: Sequence[Tensor], names: Sequence[str]) -> None:
        """Take note of what the caller gives, and what the function calls it."""
        for tensor, name in zip(tensors, names, strict=True):
            array = tensor._data
            self._rows = array.shape[0] if self._rows is None and array.ndim else self._rows
            value = self._add("data", tensor._name or name, array, tensor=tensor, per_row=array.ndim > 0)
            self.scribe.enter(value.id, array, "input", tensor)
            self._known_as(tensor, value.id)
            self._by_array[id(array)] = value.id
            if tensor._node is not None:
                self._by_node[tensor._node.number] = value.id

    def enter(self, module: Any) -> None:
        """Take note that a layer starts."""
        self.modules.setdefault(id(module), (module, module.training))
        if not self._stack and not any(module is root for root, _ in self.roots):
            self.roots.append((module, parts(module)))
        super().enter(module)

    def update(self, optimizer: Any, now: Any, learned: Sequence[Any]) -> None:
        """Take note of an optimiser step."""
        self.updates.append((optimizer, [optimizer.place(one) for one in learned]))
        for parameter in optimizer.parameters:
            if isinstance(parameter._node, Leaf) and parameter._node.grad is None:
                self.missed(parameter)
        super().update(optimizer, now, learned)

    def ghosts(self, node: Node, grad: Any, shared: bool) -> list[Any]:
        """Return stand-ins for the gradients that a node sends to its parents: each has its parent's shape."""
        found: list[Any] = []
        for parent in node.parents:
            if parent.number not in self._by_node:
                refuse("part of the graph was made before", "Leave this step eager")
            array = self._values[self._by_node[parent.number]].array
            found.append(stand_in(array.shape, array.dtype))
        self.backward(node, grad, list(zip(node.parents, found, strict=True)))
        return found

    def total(self, one: Any | None, other: Any) -> Any:
        """Return a stand-in for the sum of two gradients, or for a copy of one."""
        return stand_in(other.shape, other.dtype) if one is None else other

    def backward(self, node: Node, grad: Any, results: Sequence[tuple[Node, Any]]) -> None:
        """Take note of a backward step."""
        for parent, _ in results:
            self._remember(parent)
        super().backward(node, grad, results)

    def clear(self, tensors: Sequence[Tensor]) -> None:
        """Take note that gradients are about to be forgotten."""
        for tensor in tensors:
            self._remember(tensor._node)
        super().clear(tensors)

    def forward(self, op: Op, operands: Sequence[Any], options: dict[str, Any], out: Tensor, plan: Plan | None) -> None:
        """Take note of a forward operation."""
        if op.random and not self._is_known(options["rng"]):
            refuse(
                "random numbers are drawn from a generator that the step makes itself, and would be the same each time",
                "Make it once, outside the step, or leave rng out",
            )
        super().forward(op, operands, options, out, plan)

    def missed(self, tensor: Tensor) -> None:
        """Take note that a tensor had no gradient where somebody looked for it."""
        if isinstance(tensor._node, Leaf) and self._came_without(tensor._node):
            self.without.append(tensor)

    def copied(self, tensor: Tensor, array: Any) -> None:
        """Take note that a new tensor has the same elements as an array; one from outside may have others next time."""
        super().copied(tensor, array)
        if id(tensor) not in self._by_tensor and id(array) in self._surroundings.arrays:
            self._known_as(tensor, self.value_of(array))

    def _came_without(self, leaf: Leaf) -> bool:
        before = self._gradients_before.get(id(leaf), (leaf, None))[1]
        return before is None and id(leaf) not in self.cleared and leaf.number < self._begin

    def _tensor_of(self, target: int) -> Tensor:
        tensor = self._values[target].tensor
        return tensor if tensor is not None else refuse("a gradient is of a tensor that is out of sight", _INSTEAD)

    def _keeps_grad(self, tensor: Tensor) -> bool:
        return super()._keeps_grad(tensor) and getattr(tensor._node, "number", 0) < self._begin

    def _arrived(self, target: int, parent: Node, before: Any) -> Operand | None:
        return super()._arrived(target, parent, before) if parent.number < self._begin else None

    def value_of(self, given: Any) -> int:
        """Return the id of the value of a tensor or array, noting it if it is new."""
        found = super().value_of(given)
        leaf = given._node if isinstance(given, Tensor) else None
        if isinstance(leaf, Leaf) and self._leaves.setdefault(found, leaf) is not leaf:
            refuse("two tensors on the same memory require grad, each with a gradient of its own", "Clone one of them")
        return found

    def _new_value(self, array: np.ndarray, tensor: Tensor | None, node: Node | None) -> int:
        self._remember(node)
        leaf = self._arrivals.get(id(array if tensor is None else tensor))
        if leaf is None:
            return super()._new_value(array, tensor, node)
        # backward(create_graph=True) adds to the gradient that a leaf came with
        target = self._by_node[leaf.number]
        gradient = self._new_gradient(target, array)
        self.scribe.variables[gradient.id] = self.scribe.arrived(self._tensor_of(target))
        return gradient.id

    def finish(self, outputs: Sequence[int] | None = None) -> Program | None:
        """Return the program."""
        for value in self._values:
            tensor = value.tensor
            if tensor is None or not isinstance(tensor._node, Leaf) or not isinstance(tensor._node.grad, Tensor):
                continue
            if self._came_without(tensor._node):
                self.fresh.setdefault(value.id, tensor)
        return super().finish(outputs)

    def _is_known(self, rng: Any) -> bool:
        return self._surroundings.holds(rng) or any(
            rng is value for module, _ in self.modules.values() for value in vars(module).values()
        )

    def assign(self, tensor: Tensor, index: Any, value: Any) -> None:
        """Take note that elements of a tensor were overwritten."""
        array = tensor._data
        target = self.value_of(tensor)
        is_input = target in self.scribe.entered and self.scribe.entered[target].kind == "input"
        if not (is_input or id(array) in self._owners or id(array) in self._surroundings.arrays):
            refuse("a tensor is overwritten that the step made itself", "Compute another tensor, as in h = h + x")
        super().assign(tensor, index, value)

    def set_grad(self, tensor: Tensor, value: Any) -> None:
        """Take note that a leaf is about to be given a gradient."""
        self._remember(tensor._node)
        super().set_grad(tensor, value)

    def _remember(self, node: Node | None) -> None:
        if isinstance(node, Leaf) and id(node) not in self._gradients_before:
            self._gradients_before[id(node)] = node, node.grad
            if node.grad is not None:
                self._arrivals.setdefault(id(node.grad), node)

    def restore_gradients(self) -> None:
        """Give every leaf the gradient that it came with."""
        self.forgotten = [
            t for t in self.cleared.values() if t._node is not None and getattr(t._node, "grad", 0) is None
        ]
        for leaf, grad in self._gradients_before.values():
            leaf.grad = grad

    def let_go(self) -> None:
        """Let go of all elements; what is left is enough to fill a trace later."""
        for value in self._values:
            value.array = stand_in(value.array.shape, value.array.dtype)
            value.tensor = None
        for held in (self._by_tensor, self._by_node, self._by_array, self._done, self._held, self.fresh, self.cleared):
            held.clear()
        self._gradients_before.clear()
        del self._surroundings

    # --- what cannot be replayed -----------------------------------------------------------------
    def read(self, tensor: Tensor, how: str) -> None:
        """Refuse that Python code looks at elements."""
        refuse(f"{how}, and that would be done only once, when the step is captured", _INSTEAD)

    def hooked(self, node: Node) -> None:
        """Refuse hooks."""
        refuse("a gradient has a hook, or is retained", "Remove the hook, or leave the step eager")

    def seed(self, grad: np.ndarray) -> Operand:
        """Return the gradient that a backward pass starts from, which only ones are known to be the same always."""
        if not (grad == 1).all():
            refuse("backward() is given a gradient that the step has not computed as a tensor of this dtype", _INSTEAD)
        return super().seed(grad)


def parts(module: Any) -> list[Tensor]:
    """Return the tensors that a module is made of."""
    return [tensor for _, tensor, _ in module._named_tensors()]


def refuse(reason: str, instead: str) -> NoReturn:
    """Raise CompileError with the line of the user that it is about."""
    raise CompileError(f"this step cannot be compiled: {where()}{reason}", instead)


def where() -> str:
    """Return the place in the caller's own code that is running, as ``file.py, line 3, in step: ``."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    if frame is None:
        return ""
    return f"{Path(frame.f_code.co_filename).name}, line {frame.f_lineno}, in {frame.f_code.co_name}: "


def record(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    options: dict[str, Any],
    given: Sequence[Tensor],
    names: Sequence[str],
    surroundings: Surroundings,
) -> tuple[StrictRecorder, Program, Any]:
    """Run a step once on shapes alone, and take note of everything.

    Nothing is computed, so nothing changes, and a batch of any size takes no memory.

    Parameters
    ----------
    function : callable
    arguments, options
        What to call it with.
    given : sequence of Tensor
        The tensors among the arguments.
    names : sequence of str
        What to call each of them.
    surroundings : Surroundings
        What the step can reach; it must be as it was in the end.

    Returns
    -------
    StrictRecorder
    Program
    structure
        Of what the step returned; see `flatten`.

    Raises
    ------
    CompileError
        If the step does something that cannot be replayed.
    """
    recorder = StrictRecorder(surroundings)
    recorder.give(given, names)
    try:
        with state.switch(recorder=recorder, abstract=True):
            result = function(*arguments, **options)
            structure, tensors = flatten(result)
            _check_returned(structure)
            program = recorder.finish([recorder.value_of(tensor) for tensor in tensors])
    finally:
        recorder.restore_gradients()
        changed = surroundings.changed()
    if changed:
        raise CompileError(
            f"this step cannot be compiled: it changes {changed}, from outside, and that would be done only once, when "
            "the step is captured",
            "Do it outside the step, with what the step returns, or leave the step eager",
        )
    if program is None:  # every reason for that was an error already
        raise CompileError("this step left no program")
    return recorder, program, structure


def _check_returned(structure: Any) -> None:
    """Raise CompileError for what a step returns that may hold tensors where nobody looks for them."""
    for part in fixed(structure):
        if not isinstance(part, _RETURNED):
            raise CompileError(
                f"a compiled step returns tensors and numbers in tuples, lists and dicts, not a {type(part).__name__}"
            )
