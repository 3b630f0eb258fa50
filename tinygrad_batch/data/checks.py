"""Checks of options: what was given, what was expected."""

from __future__ import annotations

import numpy as np

from ..errors import ArgumentError


def check_integer(value: object, name: str, least: int) -> int:
    """Return `value` as an int that is at least `least`; a bool, a float or a string is refused.

    Examples
    --------
    >>> check_integer(np.int64(20), "batch_size", 1)
    20
    >>> check_integer(2.5, "batch_size", 1)
    Traceback (most recent call last):
        ...
    tinygrad_batch.errors.ArgumentError: batch_size is 2.5 (float); expected an integer of at least 1
    """
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= least:
        return int(value)
    raise ArgumentError(f"{name} is {value!r} ({type(value).__name__}); expected an integer of at least {least}")


def check_flag(value: object, name: str) -> bool:
    """Return `value` as a bool; nothing but True and False is taken for one."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise ArgumentError(f"{name} is {value!r} ({type(value).__name__}); expected True or False")
