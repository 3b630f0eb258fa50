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

from ..capture import Recorder
from ..errors import CompileError
from ..graph import Node
from ..program import Kind, Operand
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

    def let_go(self) -> None:
        """Let go of all elements; what is left is enough to fill a trace later."""
        for value in self._values:
            value.array = np.broadcast_to(np.zeros((), value.array.dtype), value.array.shape)
            value.tensor = None
        for held in (self._by_tensor, self._by_node, self._by_array, self._done, self._held, self.fresh, self.cleared):
            held.clear()

    def forgotten(self) -> list[Tensor]:
        """Return the leaves that end the step without a gradient because the step cleared it."""
        return [t for t in self.cleared.values() if t._node is not None and getattr(t._node, "grad", None) is None]

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
) -> tuple[StrictRecorder, Any, list[Tensor]]:
    """Run a step once, as it is, and take note of everything; the given tensors have names to read.

    Returns
    -------
    StrictRecorder
    structure
        Of what the step returned; see `flatten`.
    list of Tensor
        The tensors in it.

    Raises
    ------
    CompileError
        If the step does something that cannot be replayed.
    """
    recorder = StrictRecorder()
    recorder.give(given, names)
    with state.switch(recorder=recorder):
        result = function(*arguments, **options)
    structure, tensors = flatten(result)
    return recorder, structure, tensors
