"""The computation graph: nodes that point only at their parents.

A node is made when an operation runs on something that needs a gradient. It keeps raw arrays, never
Tensors, so a graph contains no reference cycle: dropping the loss drops the graph at once, without
the garbage collector. Nodes are numbered as they are made; since a parent always exists before its
child, counting down is a topological order and the backward pass needs no separate sort.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .errors import InPlaceError

if TYPE_CHECKING:
    from .op import Plan

_numbers = count(1)


class Watch:
    """What a user asked of one node: hooks on its gradient, and whether to retain it."""

    __slots__ = ("grad", "hooks", "retain")

    def __init__(self) -> None:
        self.hooks: list[Callable[[Any], Any]] = []
        self.retain = False
        self.grad: Any = None


class Postponed(Protocol):
    """Stands in a node for what it is to keep, until that is computed once more."""

    def restore(self) -> Any:
        """Return what the node is to keep: a tuple, or something that is postponed in turn."""


class Node:
    """One operation in the graph.

    Attributes
    ----------
    plan : Plan or None
        The operation and the rules that its backward step will run; None for a leaf.
    kept : tuple, or Postponed, or None
        For each rule, the tuple of what it asked for besides ``g``; for a single rule that tuple
        itself. None once freed.
    number : int
        Creation number: a parent's is always smaller.
    watch : Watch or None
        Hooks and retained gradient; None for almost every node.
    """

    __slots__ = ("above", "kept", "number", "plan", "watch")

    plan: Plan | None
    above: Node | tuple[Node, ...]  # with a single rule the one parent itself: a tuple less for each node
    kept: tuple[Any, ...] | Postponed | None
    number: int
    watch: Watch | None

    def __init__(self, plan: Plan | None, above: Node | tuple[Node, ...], kept: tuple[Any, ...]) -> None:
        self.plan = plan
        self.above = above
        self.kept = kept
        self.number = next(_numbers)
        self.watch = None

    @property
    def parents(self) -> tuple[Node, ...]:
        """The inputs that need a gradient, in the order of ``plan.rules``."""
        return self.above if isinstance(self.above, tuple) else (self.above,)


class Leaf(Node):
    """Where a gradient ends: a parameter, or any tensor made with ``requires_grad=True``.

    Attributes
    ----------
    grad : numpy.ndarray, Tensor or None
        The accumulated gradient: a raw array, or a Tensor after ``backward(create_graph=True)``.
    shape, dtype
        Of the leaf, and so of its gradient.
    """

    __slots__ = ("__weakref__", "dtype", "grad", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        super().__init__(None, (), ())
        self.grad: Any = None
        self.shape = shape
        self.dtype = dtype


# In-place safety. A write takes a number from the same counter as the nodes, so "this array was
# written after that node kept it" is one comparison of integers, and a backward pass on a graph that
# is younger than the last write, which is every ordinary training step, checks nothing at all.
latest_write = [0]


def _owner(array: np.ndarray) -> np.ndarray:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


class Writer:
    """Arrays that are written together, such as the parameters of an optimiser.

    Parameters
    ----------
    arrays : sequence of numpy.ndarray
    """

    __slots__ = ("__weakref__", "_owners", "number")

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        self._owners = {id(owner): owner for owner in map(_owner, arrays)}
        self.number = 0
        _writers.add(self)

    def mark(self) -> None:
        """Note that the arrays were just changed in place."""
        self.number = latest_write[0] = next(_numbers)

    def wrote(self, owner: np.ndarray, since: int) -> bool:
        """Return whether the memory of ``owner`` was written after number ``since``."""
        return self.number > since and self._owners.get(id(owner)) is owner


_writers: weakref.WeakSet[Writer] = weakref.WeakSet()
_written: dict[int, tuple[int, weakref.ref[np.ndarray]]] = {}


def mark_written(array: np.ndarray) -> None:
    """Note that the memory of ``array`` was just changed in place."""
    owner = _owner(array)
    key = id(owner)
    latest_write[0] = number = next(_numbers)
    _written[key] = number, weakref.ref(owner, lambda _: _written.pop(key, None))


# What a compiled step relies on besides numbers: which arrays and leaves its tensors have, what modules are
# made of and which are training. A change takes a number too, so "all is as before" is one comparison.
latest_change = [0]


def mark_changed() -> None:
    """Note that a tensor, a module or an optimiser now holds other arrays or parts, or is in another mode."""
    latest_change[0] = next(_numbers)


def _was_written(owner: np.ndarray, since: int) -> bool:
    entry = _written.get(id(owner))
    if entry is not None and entry[0] > since and entry[1]() is owner:
        return True
    return any(writer.wrote(owner, since) for writer in list(_writers))


def check_kept(node: Node) -> None:
    """Raise InPlaceError if an array that ``node`` kept was written after it was kept."""
    if node.plan is None or not isinstance(node.kept, tuple):
        return
    for names, arguments in zip(node.plan.needs, node.plan.arguments(node.kept), strict=True):
        for name, argument in zip(names, arguments, strict=True):
            # an index may be a tuple with arrays in it
            for value in argument if isinstance(argument, tuple) else (argument,):
                if not isinstance(value, np.ndarray) or not _was_written(_owner(value), node.number):
                    continue
                what = "its output" if name == "y" else f"its input {name!r}"
                raise InPlaceError(
                    f"the backward pass of {node.plan.op.name!r} needs {what}, of shape {value.shape}, "
                    "but that array was changed in place after the forward pass",
                    "Call backward() before the change, or change a copy",
                )
