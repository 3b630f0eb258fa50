"""Local minima: whether the noise of small batches carries a training out of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data.orders import generator
from .landscapes import Wave, walk


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of the starts ended in the lowest minimum.

    Attributes
    ----------
    rate : float
    batch_size : int
    noise : bool
        Whether it was the full batch with noise added as strong as that of single rows.
    share : float
        From 0 to 1.
    error : float
        Standard error of the share.
    """

    rate: float
    batch_size: int
    noise: bool
    share: float
    error: float


def frequency_fit(
    starts: int = 200,
    rates: Sequence[float] = (0.002, 0.03, 0.15),
    batch_sizes: Sequence[int | None] = (1, 10, None),
    updates: int = 2000,
) -> list[Share]:
    """Look for the frequency of a sine from many starts; the loss has a local minimum for every few tenths.

    One parameter ``w``, one hundred rows of ``sin(3x)``, squared error of ``sin(wx)``; starts uniform from 1 to 5.
    Found is a frequency within 0.15 of 3. All walks have as many updates.

    Parameters
    ----------
    starts : int
    rates : sequence of float
    batch_sizes : sequence of int or None
    updates : int
    """
    surface = Wave()
    begin = generator(5, 0).uniform(1.0, 5.0, (starts, 1))
    found = []
    for rate in rates:
        plans = [(size, False) for size in batch_sizes] + [(None, True)]
        for size, noise in plans:
            last = walk(surface, begin, rate, size, updates, every=updates, noise=noise).points[-1, :, 0]
            share = float((abs(last - 3.0) < 0.15).mean())
            error = float(np.sqrt(share * (1 - share) / starts))
            found.append(Share(rate, surface.rows if size is None else size, noise, share, error))
    return found
