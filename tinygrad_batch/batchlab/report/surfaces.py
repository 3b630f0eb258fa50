"""Contours of a surface given on a grid, as closed outlines; with NumPy alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Array = np.ndarray
Edge = tuple[
    int, int, int
]  # a row and a column of the grid, and 0 for the edge to the right of it or 1 for the one below

TOP, RIGHT, BOTTOM, LEFT = range(4)
# For a cell whose corners below the level are numbered 1 (upper left), 2 (upper right), 4 (lower right) and 8 (lower
# left), added up: from which side to which side the outline goes, with the low ground always on the same hand.
SIDES: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((LEFT, TOP),), 2: ((TOP, RIGHT),), 3: ((LEFT, RIGHT),), 4: ((RIGHT, BOTTOM),), 6: ((TOP, BOTTOM),),
    7: ((LEFT, BOTTOM),), 8: ((BOTTOM, LEFT),), 9: ((BOTTOM, TOP),), 11: ((BOTTOM, RIGHT),), 12: ((RIGHT, LEFT),),
    13: ((RIGHT, TOP),), 14: ((TOP, LEFT),),
    5: ((LEFT, TOP), (RIGHT, BOTTOM)), 10: ((TOP, RIGHT), (BOTTOM, LEFT)),
}  # fmt: skip
# The same for two opposite corners that belong together, because the middle of the cell is low as well.
JOINED = {5: SIDES[7] + SIDES[13], 10: SIDES[14] + SIDES[11]}


def below(heights: Array, level: float) -> list[Array]:
    """Return the outlines of everything that lies below a level, by marching squares.

    Parameters
    ----------
    heights : ndarray, shape (rows, columns)
    level : float

    Returns
    -------
    list of ndarray, shape (points, 2)
        Column and row of each point, in units of the grid; the last point is joined to the first. Outlines of holes
        are among them, so fill them by the even-odd rule.

    Examples
    --------
    >>> across = np.linspace(-2, 2, 41)
    >>> (outline,) = below(across**2 + across[:, None] ** 2, 1.0)
    >>> radius = np.hypot(*(outline / 10 - 2).T)
    >>> bool(abs(radius - 1).max() < 0.01)
    True
    """
    rows, columns = heights.shape
    wall = np.full((rows + 2, columns + 2), max(float(heights.max()), level) + 1e9)
    wall[1:-1, 1:-1] = heights  # a wall around, so that every outline closes along the border
    low = wall < level
    kinds = low[:-1, :-1] + 2 * low[:-1, 1:] + 4 * low[1:, 1:] + 8 * low[1:, :-1]
    onward: dict[Edge, Edge] = {}
    for row, column in zip(*np.nonzero((kinds > 0) & (kinds < 15)), strict=True):
        i, j, kind = int(row), int(column), int(kinds[row, column])
        sides = SIDES[kind]
        if kind in JOINED and wall[i : i + 2, j : j + 2].mean() < level:
            sides = JOINED[kind]
        edges = ((i, j, 0), (i, j + 1, 1), (i + 1, j, 0), (i, j, 1))
        onward.update((edges[start], edges[stop]) for start, stop in sides)
    outlines = []
    while onward:
        edge, after = onward.popitem()
        chain = [edge]
        while after in onward:
            chain.append(after)
            after = onward.pop(after)
        outlines.append(_points(chain, wall, level))
    return outlines


def _points(chain: Sequence[Edge], wall: Array, level: float) -> Array:
    """Return where the level is crossed along some edges."""
    i, j, down = np.array(chain).T
    start, stop = wall[i, j], wall[i + down, j + 1 - down]
    part = (level - start) / (stop - start)
    points = np.stack([j + part * (1 - down), i + part * down], axis=1) - 1
    return np.clip(points, 0, np.array(wall.shape[::-1]) - 3)


def thin(points: Array, error: float) -> Array:
    """Return an outline without the points that lie within an error of the line between their neighbours.

    Examples
    --------
    >>> thin(np.array([[0.0, 0], [1, 0.01], [2, 0], [2, 2], [0, 2]]), 0.1).tolist()
    [[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]]
    """
    for first in (1, 0, 1):
        before, after = np.roll(points, 1, axis=0), np.roll(points, -1, axis=0)
        along = after - before
        length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-12)
        off = abs(along[:, 0] * (points - before)[:, 1] - along[:, 1] * (points - before)[:, 0]) / length
        dropped = off < error
        dropped[1 - first :: 2] = False  # never two beside each other
        points = points[~dropped]
    return points


def path(points: Array, closed: bool = True) -> str:
    """Return points as a path of SVG, to a tenth.

    Examples
    --------
    >>> path(np.array([[0.0, 1], [2.04, 3]]), closed=False)
    'M0 1L2 3'
    """
    if len(points) == 0:
        return ""
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points.round(1) + 0.0) + ("z" if closed else "")
