"""A whole epoch at once: its conditions are looked at once, and machine code runs it in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..calling import wrap
from ..data import DataIterator
from .entry import Entry
from .structure import flatten, rebuild


class Collected:
    """What a step returned for each batch of an epoch, to be put together."""

    def __init__(self) -> None:
        self._structure: Any = None
        self._columns: list[list[np.ndarray]] = []

    def add(self, result: Any) -> None:
        """Add what the step returned for one batch."""
        structure, tensors = flatten(result)
        self.extend(structure, [tensor._data[None] for tensor in tensors])

    def extend(self, structure: Any, columns: Iterable[np.ndarray]) -> None:
        """Add the results of several batches, along the first axis of each array."""
        self._structure = structure
        columns = list(columns)
        self._columns = self._columns or [[] for _ in columns]
        for known, more in zip(self._columns, columns, strict=True):
            known.append(more)

    def together(self) -> Any:
        """Return one structure, with each tensor's results along a new first axis, or listed if shapes differ."""
        values: list[Any] = []
        for parts in self._columns:
            if all(part.shape[1:] == parts[0].shape[1:] for part in parts):
                values.append(wrap(np.concatenate(parts)))
            else:
                values.append([wrap(row) for part in parts for row in part])
        return rebuild(self._structure, values)


def run_epoch(
    batches: DataIterator[Any], step: Callable[..., Any], entry_for: Callable[[list[Any], int], Entry | None]
) -> Any:
    """Run a step on every batch of the current epoch of an iterator, the full batches many at a time.

    Parameters
    ----------
    batches : DataIterator
        Where its batches are more than rows of arrays in memory, it is gone through batch by batch.
    step : callable
        The compiled step, for the batches that cannot be run together: the first one, where it has to be
        captured, and a short last one.
    entry_for : callable
        Gets shapes and dtypes of a batch, and how many batches there are; returns the entry to run them, or None.
    """
    collected = Collected()
    arrays, size = batches.arrays, batches.batch_size
    if arrays is None:
        for batch in batches:
            collected.add(step(**batch) if isinstance(batch, dict) else step(*batch))
        return collected.together()
    like = [((size, *array.shape[1:]), array.dtype) for array in arrays.values()]
    for order in batches.row_numbers():
        done = 0
        while done < len(order):
            full = (len(order) - done) // size
            entry = entry_for(like, full) if full else None
            rows = order[done : done + (size if entry is None else full * size)]
            if entry is None:
                collected.add(step(*[wrap(array.take(rows, axis=0), None, name) for name, array in arrays.items()]))
            else:
                collected.extend(entry.result, entry.epoch(list(arrays.values()), rows, full))
            done += len(rows)
    return collected.together()
