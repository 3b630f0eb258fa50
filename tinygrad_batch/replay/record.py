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
from typing import Any

import numpy as np

from ..calling import stand_in
from ..capture import Recorder
from ..errors import CompileError
from ..graph import Leaf, Node
from ..program import Kind, Operand, Program
from ..state import state
from ..tensor import Tensor
from .structure import flatten

_PACKAGE = str(Path(__file__).resolve().parents[1])
_INSTEAD = "Choose with tb.where, return the tensor and look at it outside, or leave the step eager"


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
    roots : list of (Module, list of Tensor)
        Those that were called from outside any module, and the tensors that they are made of.
    """

    data_kind: Kind = "state"  # what is neither given nor a parameter lives on outside, and is read at every call
    replays = True

    def __init__(self) -> None:
        self._broken = ""
        super().__init__(statistics=False)
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
        super().update(optimizer, now, learned)

    def ghosts(self, node: Node) -> list[Any]:
        """Return stand-ins for the gradients that a node sends to its parents: each has its parent's shape."""
        found = []
        for parent in node.parents:
            if parent.number not in self._by_node:
                refuse("part of the graph was made before", "Leave this step eager")
            array = self._values[self._by_node[parent.number]].array
            found.append(stand_in(array.shape, array.dtype))
        return found

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

    def set_grad(self, tensor: Tensor, value: Any) -> None:
        """Take note that a leaf is about to be given a gradient."""
        self._remember(tensor._node)
        super().set_grad(tensor, value)

    def _remember(self, node: Node | None) -> None:
        if isinstance(node, Leaf):
            self._gradients_before.setdefault(id(node), (node, node.grad))

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


def refuse(reason: str, instead: str) -> None:
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
    recorder = StrictRecorder()
    recorder.give(given, names)
    try:
        with state.switch(recorder=recorder, abstract=True):
            result = function(*arguments, **options)
            structure, tensors = flatten(result)
            program = recorder.finish([recorder.value_of(tensor) for tensor in tensors])
    finally:
        recorder.restore_gradients()
    if program is None:  # every reason for that was an error already
        raise CompileError("this step left no program")
    return recorder, program, structure
