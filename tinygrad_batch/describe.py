"""An array in a few numbers: its statistics, and a small table of it for the pictures."""

from __future__ import annotations

import numpy as np

from .trace import Statistics

THUMBNAIL = 20


def describe(array: np.ndarray) -> tuple[Statistics | None, tuple[tuple[float, ...], ...] | None]:
    """Return the statistics of an array and a table of at most 20 x 20 means of its parts.

    Examples
    --------
    >>> statistics, table = describe(np.eye(2))
    >>> statistics.mean, table
    (0.5, ((1.0, 0.0), (0.0, 1.0)))
    """
    if array.size == 0 or array.dtype.kind not in "biuf":
        return None, None
    numbers = array.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    shown = finite if finite.size else np.zeros(1)
    with np.errstate(over="ignore", invalid="ignore"):
        statistics = Statistics(
            float(shown.mean()), float(shown.std()), float(shown.min()), float(shown.max()),
            float(np.linalg.norm(shown)), int(numbers.size - finite.size),
        )  # fmt: skip
        table = np.nan_to_num(numbers.reshape(numbers.shape[0] if numbers.ndim > 1 else 1, -1))
        for axis in (0, 1):
            table = _averaged(table, axis)
    return statistics, tuple(tuple(float(f"{v:.4g}") for v in row) for row in table)


def _averaged(table: np.ndarray, axis: int) -> np.ndarray:
    length = table.shape[axis]
    if length <= THUMBNAIL:
        return table
    cuts = np.linspace(0, length, THUMBNAIL + 1).astype(int)
    sums = np.add.reduceat(table, cuts[:-1], axis=axis)
    return sums / np.expand_dims(np.diff(cuts), 1 - axis)
