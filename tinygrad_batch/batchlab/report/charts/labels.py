"""Where the labels of a chart stand: beside their ends, and covering as little as can be."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

Point = tuple[float, float]
Box = tuple[float, float, float, float]  # left, bottom, right, top

# Beside the end: how far to the right and up, and which part of the label's width lies to the left of that.
PLACES = (
    (9, 0, 0.0), (0, 14, 0.5), (0, -15, 0.5), (-9, 0, 1.0), (8, 12, 0.0), (8, -13, 0.0), (-8, 12, 1.0), (-8, -13, 1.0),
    (0, 27, 0.5), (0, -29, 0.5), (10, 24, 0.0), (10, -26, 0.0), (-10, 24, 1.0), (-10, -26, 1.0), (0, -43, 0.5),
)  # fmt: skip
ASIDE, ABOVE, BELOW, BEFORE = (0, 1, 2), (1, 6, 4), (2, 5, 7), (3, 6, 7)
HALF = 7.0  # of the height of a label
MARK, LINE = 6.0, 2.0  # half the width of a mark, and of a line with a little room
RIGHT, END = 2.0, 14.0  # at the right, and at the top and bottom, that stay free
GAP = 4.0  # between two labels beside each other
STRANGE, OUTSIDE = 40.0, 50.0  # what it costs to stand nearer to another mark than to one's own, or over the edge


def place(
    labels: Sequence[tuple[float, float, float, Sequence[int]]],
    marks: Sequence[Point],
    lines: Sequence[Sequence[Point]],
    size: tuple[float, float],
    left: float = 2.0,
    bottom: float = END,
) -> list[Box]:
    """Return a place for each label, one after the other, where it covers the least.

    Another label weighs more than a mark, and a mark more than a line.

    Parameters
    ----------
    labels : sequence of (x, y, width, prefer)
        Where a label belongs, how wide it is, and which of `PLACES` are tried first.
    marks : sequence of (x, y)
    lines : sequence of sequences of (x, y)
    size : tuple of float
        Width and height of the picture.
    left : float
        Where the room for labels begins: what stands left of it are the numbers of the axis.
    bottom : float
        The same from below.

    Examples
    --------
    >>> place([(50, 50, 20, ASIDE)], [(50, 50)], [], (100, 100))
    [(59.0, 43.0, 79.0, 57.0)]
    >>> place([(50, 50, 20, ASIDE)], [(50, 50), (64, 50)], [], (100, 100))
    [(40.0, 57.0, 60.0, 71.0)]
    """
    covered = [(_around(mark, MARK), 0.5) for mark in marks]
    covered += [(_around(point, LINE), 0.25) for line in lines for point in _along(line)]
    taken: list[Box] = []
    for x, y, width, prefer in labels:
        marked = any(math.dist((x, y), mark) < 1 for mark in marks)
        order = [*prefer, *(i for i in range(len(PLACES)) if i not in prefer)]
        costs = []
        for rank, box in enumerate(_box(x, y, width, *PLACES[i]) for i in order):
            middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
            own = math.dist(middle, (x, y))
            cost = rank + OUTSIDE * _outside(box, size, left, bottom)
            cost += STRANGE * (marked and any(math.dist(middle, mark) < own - 0.5 for mark in marks))
            cost += sum(_overlap(box, (other[0] - GAP, other[1], other[2] + GAP, other[3])) for other in taken)
            cost += sum(weight * _overlap(box, other) for other, weight in covered)
            costs.append((cost, box))
        taken.append(min(costs)[1])
    return taken


def _along(line: Sequence[Point]) -> Iterable[Point]:
    """Yield points along a line, a few units apart."""
    for (x, y), (to_x, to_y) in pairwise(line):
        steps = max(1, min(200, round(math.hypot(to_x - x, to_y - y) / 4)))
        yield from ((x + (to_x - x) * i / steps, y + (to_y - y) * i / steps) for i in range(steps))


def _around(point: Point, half: float) -> Box:
    return point[0] - half, point[1] - half, point[0] + half, point[1] + half


def _box(x: float, y: float, width: float, right: float, up: float, part: float) -> Box:
    left = float(x + right - part * width)
    return left, y + up - HALF, left + width, y + up + HALF


def _outside(box: Box, size: tuple[float, float], left: float, bottom: float) -> float:
    """Return how far a box reaches over the edges."""
    return max(left - box[0], box[2] - size[0] + RIGHT, bottom - box[1], box[3] - size[1] + END, 0.0)


def _overlap(one: Box, other: Box) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    tall = min(one[3], other[3]) - max(one[1], other[1])
    return wide * tall if wide > 0 and tall > 0 else 0.0
