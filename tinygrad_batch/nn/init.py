"""Initial weights: random arrays whose spread keeps signals alive through the layers.

Each function takes the shape (in, out) of a weight and an ``rng``: a NumPy generator, a seed, or None
for the package's own generator, which `tinygrad_batch.seed` starts afresh.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from ..creation import generator
from ..errors import ShapeError
from ..shapes import Shape

Rng: TypeAlias = "np.random.Generator | int | None"
Initialiser = Callable[..., np.ndarray]


def _fans(shape: Shape) -> tuple[int, int]:
    if len(shape) != 2:
        raise ShapeError(f"a weight has the shape (in, out), not {shape}")
    return shape[0], shape[1]


def uniform(shape: Shape, low: float = -1.0, high: float = 1.0, rng: Rng = None) -> np.ndarray:
    """Draw uniformly from [low, high).

    Examples
    --------
    >>> uniform((2, 3), rng=0).shape
    (2, 3)
    """
    return generator(rng).uniform(low, high, shape)


def lecun_uniform(shape: Shape, rng: Rng = None) -> np.ndarray:
    """Draw uniformly within 1 / sqrt(in), the default of `Linear` and of PyTorch.

    Examples
    --------
    >>> bool(abs(lecun_uniform((4, 3), rng=0)).max() <= 0.5)
    True
    """
    bound = 1 / math.sqrt(max(_fans(shape)[0], 1))
    return uniform(shape, -bound, bound, rng)


def xavier_uniform(shape: Shape, gain: float = 1.0, rng: Rng = None) -> np.ndarray:
    """Draw uniformly within ``gain * sqrt(6 / (in + out))`` (Glorot and Bengio 2010), for tanh.

    Examples
    --------
    >>> bool(abs(xavier_uniform((4, 2), rng=0)).max() <= 1.0)
    True
    """
    bound = gain * math.sqrt(6 / max(sum(_fans(shape)), 1))
    return uniform(shape, -bound, bound, rng)


def xavier_normal(shape: Shape, gain: float = 1.0, rng: Rng = None) -> np.ndarray:
    """Draw from a normal distribution of standard deviation ``gain * sqrt(2 / (in + out))``.

    Examples
    --------
    >>> xavier_normal((4, 2), rng=0).shape
    (4, 2)
    """
    return generator(rng).normal(0.0, gain * math.sqrt(2 / max(sum(_fans(shape)), 1)), shape)


def he_uniform(shape: Shape, rng: Rng = None) -> np.ndarray:
    """Draw uniformly within ``sqrt(6 / in)`` (He, Zhang, Ren and Sun 2015), for ReLU.

    Examples
    --------
    >>> bool(abs(he_uniform((6, 2), rng=0)).max() <= 1.0)
    True
    """
    bound = math.sqrt(6 / max(_fans(shape)[0], 1))
    return uniform(shape, -bound, bound, rng)


def he_normal(shape: Shape, rng: Rng = None) -> np.ndarray:
    """Draw from a normal distribution of standard deviation ``sqrt(2 / in)``, for ReLU.

    Examples
    --------
    >>> he_normal((4, 2), rng=0).shape
    (4, 2)
    """
    return generator(rng).normal(0.0, math.sqrt(2 / max(_fans(shape)[0], 1)), shape)


def zeros(shape: Shape, rng: Any = None) -> np.ndarray:
    """Return zeros; weights that are all equal never become different.

    Examples
    --------
    >>> zeros((1, 2))
    array([[0., 0.]])
    """
    return np.zeros(shape)
