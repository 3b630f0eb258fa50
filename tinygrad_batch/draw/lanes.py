"""Lanes: vertical tracks beside a column of boxes, in which lines run that skip rows."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Mapping
from typing import TypeVar

__all__ = ["assign"]

Key = TypeVar("Key", bound=Hashable)


def assign(spans: Mapping[Key, tuple[float, float]], most: int) -> dict[Key, int]:
    """Give each span a lane in which it overlaps no other; the shortest run nearest to the boxes.

    A span that finds all lanes taken gets none: it is drawn as a stub instead.

    Examples
    --------
    >>> assign({"a": (0, 9), "b": (1, 3), "c": (3, 5)}, most=2)
    {'b': 0, 'c': 0, 'a': 1}
    >>> assign({"a": (0, 9), "b": (1, 3)}, most=1)
    {'b': 0}
    """
    lanes: list[list[tuple[float, float]]] = []
    found: dict[Key, int] = {}
    for key, (start, end) in sorted(spans.items(), key=lambda item: (item[1][1] - item[1][0], item[1][0])):
        for lane, taken in enumerate(lanes):
            at = bisect_left(taken, (start, end))
            if (at == 0 or taken[at - 1][1] <= start) and (at == len(taken) or end <= taken[at][0]):
                taken.insert(at, (start, end))
                found[key] = lane
                break
        else:
            if len(lanes) < most:
                lanes.append([(start, end)])
                found[key] = len(lanes) - 1
    return found
