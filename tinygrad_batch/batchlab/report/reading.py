"""What several parts of the report read out of the same numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..scaling import Law, Scaling
from ..words import number, percent


@dataclass(frozen=True, slots=True)
class Arrival:
    """How one batch size came to the goal, at the rate that suited it; ``inf`` where not every seed did.

    Attributes
    ----------
    size : int
    rate : float
    updates, epochs, seconds : float
        Means over the seeds.
    compared : bool
        Whether it is one of the sizes that the report compares; the others fill in the law.
    """

    size: int
    rate: float
    updates: float
    epochs: float
    seconds: float
    compared: bool

    @property
    def rows(self) -> float:
        """How many rows it saw, with those that it saw again."""
        return self.updates * self.size

    @property
    def arrived(self) -> bool:
        """Whether every seed did."""
        return math.isfinite(self.updates)


def arrivals(data: Mapping[str, Any]) -> list[Arrival]:
    """Return how each batch size came to the goal, in ascending order; nothing where nobody looked.

    Examples
    --------
    >>> tuned = [{"batch_size": 10, "rate": 0.1, "updates": [40.0, 60.0]}]
    >>> scaling = {"tuned": tuned, "seconds": {"10": 0.001}}
    >>> arrivals({"rows": 100, "batch_sizes": [10], "descent": {"scaling": scaling}})
    [Arrival(size=10, rate=0.1, updates=50.0, epochs=5.0, seconds=0.05, compared=True)]
    """
    if not data.get("descent"):
        return []
    found = data["descent"]["scaling"]
    result = []
    for one in found["tuned"]:
        size = one["batch_size"]
        updates = mean(one["updates"])
        spent = updates * found["seconds"][str(size)]
        compared = size in data["batch_sizes"]
        result.append(Arrival(size, one["rate"], updates, updates * size / data["rows"], spent, compared))
    return result


def off_by(variance: Mapping[str, Any]) -> str:
    """Return how far the gradient of a batch is off; that of all rows is exact, whatever rounding says."""
    return percent(variance["relative_error"] if variance["predicted"] else 0.0)


def noise_scale(scale: Mapping[str, Any]) -> str:
    """Return a noise scale, or what can be said where it could not be measured.

    Examples
    --------
    >>> noise_scale({"measurable": True, "value": 8.5}), noise_scale({"measurable": False, "low": 559.7})
    ('8.5', 'above 560')
    >>> noise_scale({"measurable": False, "low": 0.0})
    'not measurable'
    """
    if scale["measurable"]:
        return number(scale["value"], 2)
    return f"above {number(scale['low'], 2)}" if scale["low"] else "not measurable"


def mean(values: Iterable[float | None]) -> float:
    """Return the mean; ``inf`` where one of the values is None, which stands for a number beyond all bounds.

    Examples
    --------
    >>> mean([1.0, 2.0]), mean([1.0, None])
    (1.5, inf)
    """
    numbers = [math.inf if value is None else value for value in values]
    return sum(numbers) / len(numbers) if numbers else math.inf


def law(data: Mapping[str, Any]) -> Law | None:
    """Return the fitted law of updates against rows, if there is one."""
    found = data["descent"]["scaling"]["law"]
    return None if found is None else Law(**{field.name: found[field.name] for field in fields(Law)})


def regimes(found: Law) -> tuple[float, float]:
    """Return up to which batch size twice the rows halve the updates, and from which on they hardly help."""
    return Scaling(0.0, (), found, {}).regimes()
