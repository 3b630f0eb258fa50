"""Tensors within tuples, lists and dicts: taken out, and put back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import CompileError
from ..tensor import Tensor


class Place:
    """Where in a structure a tensor belongs."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Place) and other.number == self.number

    def __hash__(self) -> int:
        return hash(self.number)


def flatten(value: Any, arrays_too: bool = False) -> tuple[Any, list[Any]]:
    """Return a structure with a `Place` for every tensor, and the tensors.

    Parameters
    ----------
    value : object
        A Tensor, a tuple, list or dict of such, or something else, which stays as it is.
    arrays_too : bool
        Whether NumPy arrays are taken out as well, rather than refused.

    Raises
    ------
    CompileError
        For a NumPy array, unless ``arrays_too``: what a step computed would look like a constant.
    """
    found: list[Any] = []
    return _emptied(value, found, arrays_too), found


def _emptied(part: Any, found: list[Any], arrays_too: bool) -> Any:
    if type(part) is Tensor or (arrays_too and isinstance(part, np.ndarray)):
        found.append(part)
        return Place(len(found) - 1)
    if isinstance(part, np.ndarray):
        raise CompileError("a compiled step returns Tensors, and this one returns a NumPy array")
    if type(part) in (tuple, list):
        return type(part)([_emptied(item, found, arrays_too) for item in part])
    if type(part) is dict:
        return {key: _emptied(item, found, arrays_too) for key, item in part.items()}
    if isinstance(part, tuple) and hasattr(part, "_fields"):
        return type(part)(*[_emptied(item, found, arrays_too) for item in part])
    return part


def named(structure: Any, name: str = "x") -> Iterator[str]:
    """Yield a name for every place in a structure: the key of the dict it is in, or ``name``."""
    if type(structure) is Place:
        yield name
    elif type(structure) is dict:
        for key, item in structure.items():
            yield from named(item, str(key))
    elif isinstance(structure, (tuple, list)):
        for item in structure:
            yield from named(item, name)


def rebuild(structure: Any, values: Sequence[Any]) -> Any:
    """Return a structure with ``values`` in the places where tensors were."""
    if type(structure) is Place:
        return values[structure.number]
    if type(structure) in (tuple, list):
        return type(structure)([rebuild(item, values) for item in structure])
    if type(structure) is dict:
        return {key: rebuild(item, values) for key, item in structure.items()}
    if isinstance(structure, tuple):
        return type(structure)(*[rebuild(item, values) for item in structure])
    return structure


def fixed(structure: Any) -> Iterator[Any]:
    """Yield what makes a structure the same as another: its form, and what in it is no tensor."""
    if type(structure) is dict:
        yield from (dict, len(structure))
        for key, item in structure.items():
            yield key
            yield from fixed(item)
    elif type(structure) in (tuple, list) or (isinstance(structure, tuple) and hasattr(structure, "_fields")):
        yield from (type(structure), len(structure))
        for item in structure:
            yield from fixed(item)
    else:
        yield structure
