"""Data sets that are made up, from a formula and a seed."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError
from .checks import check_integer
from .datasets import Dataset


def make_regression(rows: int = 100, features: int = 10, noise: float = 0.1, seed: int = 0) -> Dataset:
    """Make a smooth function of many variables that a linear model fits badly.

    With ``x`` normally distributed and two random directions ``a`` and ``b`` of length 1,

        y = sin(x·a) + (x·b)² / 2 - 1/2 + noise · e

    with ``e`` normally distributed. The wave has a slope that a linear model finds; the bowl is as
    high on either side, so to a linear model it is noise. The wave and the bowl have mean 0 and
    variances of 0.43 and 0.5, and of their sum a linear model explains about 0.4, however many rows
    it sees. What is learned beyond that was learned by hidden layers.

    Parameters
    ----------
    rows, features : int
        At least 1.
    noise : float
        Standard deviation of what cannot be learned, at least 0.
    seed : int
        At least 0.

    Returns
    -------
    Dataset
        ``x`` (rows, features) and ``y`` (rows, 1), float64.

    Examples
    --------
    >>> x, y = make_regression()
    >>> x.shape, y.shape
    ((100, 10), (100, 1))
    """
    rng = _generator(rows, noise, seed)
    a, b = rng.standard_normal((2, check_integer(features, "features", 1), 1))
    x = rng.standard_normal((rows, features))
    wave = np.sin((x @ a) / np.linalg.norm(a))
    bowl = ((x @ b) / np.linalg.norm(b)) ** 2 / 2 - 0.5
    y = wave + bowl + noise * rng.standard_normal((rows, 1))
    return Dataset("regression", x, y, tuple(f"x{column}" for column in range(features)), "y")


def make_spirals(rows: int = 300, classes: int = 3, noise: float = 0.02, seed: int = 0) -> Dataset:
    """Make spiral arms, one a class, that no straight line separates.

    At the distance ``t`` from the origin, from 0.05 to 1, arm ``k`` of ``K`` is at the angle
    ``2π (k / K + 0.75 t)``; each point is moved by ``noise`` times a normally distributed step.

    Parameters
    ----------
    rows, classes : int
        At least 1. The classes come in turn, so they are as equal in number as can be.
    noise : float
        At least 0.
    seed : int
        At least 0.

    Returns
    -------
    Dataset
        ``x`` (rows, 2) float64 and ``y`` (rows,) int64 from 0 to ``classes - 1``.

    Examples
    --------
    >>> make_spirals(rows=4, noise=0.0).y
    array([0, 1, 2, 0])
    """
    rng = _generator(rows, noise, seed)
    label = np.arange(rows) % check_integer(classes, "classes", 1)
    distance = rng.uniform(0.05, 1.0, rows)
    angle = 2 * np.pi * (label / classes + 0.75 * distance)
    return _in_the_plane("spirals", distance * np.cos(angle), distance * np.sin(angle), label, noise, rng)


def make_moons(rows: int = 200, noise: float = 0.1, seed: int = 0) -> Dataset:
    """Make two half circles that reach into each other.

    With ``t`` from 0 to π, class 0 lies at ``(cos t, sin t)`` and class 1 at
    ``(1 - cos t, 1/2 - sin t)``; each point is moved by ``noise`` times a normally distributed step.

    Parameters
    ----------
    rows : int
        At least 1; the classes come in turn.
    noise : float
        At least 0.
    seed : int
        At least 0.

    Returns
    -------
    Dataset
        ``x`` (rows, 2) float64 and ``y`` (rows,) int64, 0 or 1.

    Examples
    --------
    >>> make_moons().x.shape
    (200, 2)
    """
    rng = _generator(rows, noise, seed)
    label = np.arange(rows) % 2
    angle = rng.uniform(0.0, np.pi, rows)
    across = np.where(label == 0, np.cos(angle), 1 - np.cos(angle))
    upward = np.where(label == 0, np.sin(angle), 0.5 - np.sin(angle))
    return _in_the_plane("moons", across, upward, label, noise, rng)


def make_xor(rows: int = 4, noise: float = 0.0, seed: int = 0) -> Dataset:
    """Make the smallest problem that one layer cannot solve: whether exactly one of two inputs is on.

    The corners (0, 0), (0, 1), (1, 0), (1, 1) come in turn, each point moved by ``noise`` times a
    normally distributed step.

    Parameters
    ----------
    rows : int
        At least 1; 4 is each corner once.
    noise : float
        At least 0.
    seed : int
        At least 0.

    Returns
    -------
    Dataset
        ``x`` (rows, 2) float64 and ``y`` (rows,) int64, 0 or 1. For one output unit take
        ``y[:, None].astype(float)``.

    Examples
    --------
    >>> x, y = make_xor()
    >>> np.column_stack([x, y])
    array([[0., 0., 0.],
           [0., 1., 1.],
           [1., 0., 1.],
           [1., 1., 0.]])
    """
    rng = _generator(rows, noise, seed)
    corner = np.arange(rows) % 4
    return _in_the_plane("xor", corner // 2, corner % 2, (corner // 2) ^ (corner % 2), noise, rng)


def _generator(rows: int, noise: float, seed: int) -> np.random.Generator:
    check_integer(rows, "rows", 1)
    numeric = isinstance(noise, int | float | np.integer | np.floating) and not isinstance(noise, bool)
    if not numeric or not 0 <= noise < math.inf:
        raise ArgumentError(f"noise is {noise!r}; expected a number of at least 0")
    return np.random.default_rng(check_integer(seed, "seed", 0))


def _in_the_plane(
    name: str,
    across: NDArray[np.number],
    upward: NDArray[np.number],
    label: NDArray[np.integer],
    noise: float,
    rng: np.random.Generator,
) -> Dataset:
    x = np.column_stack([across, upward]).astype(np.float64)
    x += noise * rng.standard_normal(x.shape)
    return Dataset(name, x, label.astype(np.int64), ("x0", "x1"), "class")
