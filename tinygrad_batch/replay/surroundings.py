"""What a step does to the objects around it, seen by looking at them before and after.

The source of a step shows what it changes itself (`purity`), not what the functions and layers that it calls
change. So the objects it can reach are looked at before it is captured, and compared afterwards: a list
that has grown, an attribute that was set, numbers that were drawn. Each would happen only once.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from functools import cached_property
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from ..creation import generator
from ..data import DataIterator
from ..graph import mark_changed
from ..nn import Module
from ..optim.optimizer import Optimizer
from ..optim.schedules import Schedule
from ..tensor import Tensor
from .guards import ELSEWHERE

_DEEPEST = 5
_MOST = 10_000  # objects, so that a step with a whole data set in reach is not searched forever
_OPAQUE = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType, str, bytes, int, float, complex, type(None))


class _Numbers(tuple[Any, ...]):
    """Numbers and texts, hundreds of them, that are compared all at once."""

    __slots__ = ()


class Surroundings:
    """The objects that a step can reach, and how they were.

    Parameters
    ----------
    roots : iterable of (str, object)
        With what the step calls them.
    """

    def __init__(self, roots: Iterable[tuple[str, Any]]) -> None:
        self._seen: dict[int, Any] = {}
        self._looked: list[tuple[str, Callable[[], Any], Any, Callable[[Any], Any]]] = []
        self.arrays: set[int] = set()  # ids of the arrays of tensors
        for name, root in (*roots, ("tb.generator()", generator())):
            self._walk(name, root, 0)
        self._look("the random numbers of Python", lambda: _Numbers(random.getstate()), random.setstate)
        legacy = np.random.get_state, np.random.set_state
        self._look("the random numbers of numpy.random", lambda: _Numbers(_plain(legacy[0]())), legacy[1])

    def holds(self, thing: Any) -> bool:
        """Return whether an object was there before."""
        return id(thing) in self._seen

    def changed(self) -> str:
        """Return what is not as it was, or nothing; whatever is not is set back."""
        found = ""
        for name, now, before, restore in self._looked:
            after = now()
            if not _same(after, before):
                found = found or f"{name}{_which(after, before)}"
                restore(before)
                mark_changed()
        return found

    def _look(self, name: str, now: Callable[[], Any], restore: Callable[[Any], Any]) -> None:
        self._looked.append((name, now, now(), restore))

    def _walk(self, name: str, thing: Any, depth: int) -> None:
        if isinstance(thing, _OPAQUE) or depth > _DEEPEST or id(thing) in self._seen or len(self._seen) > _MOST:
            return
        self._seen[id(thing)] = thing
        below: Iterable[tuple[str, Any]] = ()
        if isinstance(thing, Tensor):
            self.arrays.add(id(thing._data))
            self._look(name, lambda: (thing._data, thing._node), lambda both: _put_back(thing, *both))
        elif isinstance(thing, np.ndarray):
            self.arrays.add(id(thing))
        elif isinstance(thing, np.random.Generator):
            bits = thing.bit_generator
            self._look(name, lambda: _plain(bits.state), lambda state: setattr(bits, "state", state))
        elif isinstance(thing, Optimizer):
            self._look(name, thing.hyperparameters, lambda numbers: _set_all(thing, numbers))
            below = [(name, parameter) for parameter in thing.parameters]
        elif type(thing) is dict:
            self._look(name, lambda: dict(thing), lambda items: _refill(thing, items))
            below = [(f"{name}[{key!r}]", value) for key, value in thing.items()]
        elif isinstance(thing, (list, deque)):
            self._look(name, lambda: list(thing), lambda items: _refill(thing, items))
            below = [(f"{name}[{i}]", value) for i, value in enumerate(thing)]
        elif isinstance(thing, set):
            self._look(name, lambda: set(thing), lambda items: _refill(thing, items))
        elif isinstance(thing, tuple):
            below = [(f"{name}[{i}]", value) for i, value in enumerate(thing)]
        elif _is_shown(thing):
            self._look(name, lambda: _attributes(thing), lambda values: _set_back(thing, values))
            below = [(f"{name}.{key}", value) for key, value in _attributes(thing).items()]
        for path, value in below:
            self._walk(path, value, depth + 1)


def _is_shown(thing: Any) -> bool:
    """Return whether what an object holds is the user's business: not a lock, or the counts of a compiled step."""
    kind = type(thing)
    is_own = (kind.__module__ or "").partition(".")[0] not in ELSEWHERE or isinstance(
        thing, (Module, Schedule, DataIterator)
    )
    return is_own and hasattr(thing, "__dict__")


def _which(after: Any, before: Any) -> str:
    """Return which item of a dict, or attribute of an object, differs."""
    if not (isinstance(after, dict) and isinstance(before, dict)):
        return ""
    missing = object()
    different = [k for k in {**before, **after} if not _same_item(after.get(k, missing), before.get(k, missing))]
    return f" ({different[0]})" if different else ""


def _attributes(thing: Any) -> dict[str, Any]:
    """Return the attributes of an object, but for what it finds out once and for all."""
    if isinstance(thing, Module):
        thing._learned  # noqa: B018 - it is made when it is first asked for
    kind = type(thing)
    return {k: v for k, v in vars(thing).items() if not isinstance(getattr(kind, k, None), cached_property)}


def _same(a: Any, b: Any) -> bool:
    """Return whether two copies of a container hold the very same things, numbers and texts by value."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return len(a) == len(b) and all(key in b and _same_item(value, b[key]) for key, value in a.items())
    if isinstance(a, (list, tuple)) and type(a) is not _Numbers:
        return len(a) == len(b) and all(map(_same_item, a, b))
    return bool(a == b)


def _same_item(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if isinstance(a, (dict, tuple)):  # a copy of what a generator or an optimiser says about itself
        return _same(a, b)
    return type(a) is type(b) and isinstance(a, (int, float, complex, str, bytes)) and a == b


def _plain(state: Any) -> Any:
    """Return the state of a generator without arrays, which do not compare as one."""
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    if isinstance(state, tuple):
        return tuple(_plain(part) for part in state)
    return tuple(state.tolist()) if isinstance(state, np.ndarray) else state


def _refill(thing: Any, items: Any) -> None:
    thing.clear()
    thing.update(items) if isinstance(thing, (dict, set)) else thing.extend(items)


def _set_all(thing: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(thing, name, value)


def _put_back(tensor: Tensor, array: np.ndarray, node: Any) -> None:
    tensor._data, tensor._node = array, node


def _set_back(thing: Any, values: dict[str, Any]) -> None:
    for name in _attributes(thing).keys() - values.keys():
        del vars(thing)[name]
    vars(thing).update(values)
