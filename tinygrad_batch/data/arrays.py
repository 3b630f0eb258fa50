"""What comes in: anything array-like becomes a NumPy array, checked, with errors that name it."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ArgumentError, DataError
from ..tensor import Tensor

Array = NDArray[Any]


def as_rows(value: ArrayLike | Tensor, name: str) -> Array:
    """Return `value` as a NumPy array that has rows, without copying where it is one already.

    Parameters
    ----------
    value : array_like or Tensor
        Of numbers or truth values; its first axis counts the rows.
    name : str
        What the messages call it.

    Returns
    -------
    ndarray
        With at least one axis and at least one row; the dtype is kept.

    Raises
    ------
    DataError
        For a single number, no rows, rows of unequal lengths, entries that are not numbers, or a
        masked array.

    Examples
    --------
    >>> as_rows([[1, 2], [3, 4]], "x").shape
    (2, 2)
    >>> as_rows(20, "z")
    Traceback (most recent call last):
        ...
    tinygrad_batch.errors.DataError: z is a single int, not an array with rows. Arrays are given \
by position and options by keyword, such as batch_size=20
    """
    if isinstance(value, np.ma.MaskedArray):
        raise DataError(f"{name} is a masked array and its mask would be lost", "Fill or drop the masked rows first")
    try:
        array = np.asarray(value.numpy() if isinstance(value, Tensor) else value)
    except (ValueError, TypeError) as error:
        raise DataError(f"{name} is no array: {error}", "All rows need the same length") from error
    if array.ndim == 0:
        hint = "Arrays are given by position and options by keyword, such as batch_size=20"
        if isinstance(value, np.ndarray):
            hint = "An array of shape () has no rows: give it the shape (rows, ...)"
        if hasattr(value, "x") and hasattr(value, "y"):
            hint = "Give its arrays, data.x and data.y, or unpack it with *data"
        raise DataError(f"{name} is a single {type(value).__name__}, not an array with rows", hint)
    if array.dtype.kind not in "biufc":
        raise DataError(f"{name} has dtype {array.dtype}; numbers are expected", "Encode the entries as numbers first")
    if len(array) == 0:
        raise DataError(f"{name} is empty: its shape is {array.shape}", "At least one row is needed")
    return array


def check_aligned(arrays: Mapping[str, Sized]) -> int:
    """Return how many rows the arrays have, which has to be the same number for all.

    Examples
    --------
    >>> check_aligned({"x": np.zeros((4, 2)), "y": np.zeros((3, 1))})
    Traceback (most recent call last):
        ...
    tinygrad_batch.errors.DataError: the arrays differ in rows: x has 4, y has 3. Row i of every \
array has to belong to the same example
    """
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} has {rows}" for name, rows in lengths.items())
        hint = "Row i of every array has to belong to the same example"
        raise DataError(f"the arrays differ in rows: {listed}", hint)
    return next(iter(lengths.values()))


def positional_names(count: int) -> list[str]:
    """Return what arrays given by position are called.

    Examples
    --------
    >>> positional_names(5)
    ['x', 'y', 'z', 'a3', 'a4']
    """
    return ["x", "y", "z"][:count] + [f"a{position}" for position in range(3, count)]


def check_names(named: Mapping[Any, Any]) -> None:
    """Raise ArgumentError for keys that are not names.

    Examples
    --------
    >>> check_names({"image": [[1.0], [2.0]], 3: [0, 1]})
    Traceback (most recent call last):
        ...
    tinygrad_batch.errors.ArgumentError: the dict has the key 3; expected names. Use non-empty strings as keys
    """
    for name in named:
        if not isinstance(name, str) or not name:
            raise ArgumentError(f"the dict has the key {name!r}; expected names", "Use non-empty strings as keys")


def read_only(array: Array) -> Array:
    """Return a view that cannot be written through; `array` itself stays as writeable as it was."""
    view = array.view()
    view.flags.writeable = False
    return view
