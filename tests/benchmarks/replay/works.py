"""The works that are measured, each with its problem; targets are in `targets`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from contestants import Problem

from .contestant import Call, Contestant
from .names import EVERYBODY, JAX_SCAN
from .pictures import Pictures

DTYPES = {"float32": 1e-4, "float64": 1e-9}  # relative tolerance of the losses
LOSSES = 5  # that are compared before anything is timed


@dataclass(frozen=True)
class Work:
    """Something to compute, once a call.

    Attributes
    ----------
    name : str
    per_call : int
        How many training steps a call does; times are given for one.
    calls : int
        How many calls are compared with NumPy by hand.
    """

    name: str
    per_call: int = 1
    calls: int = LOSSES

    @property
    def names(self) -> tuple[str, ...]:
        """Who takes part."""
        return tuple(name for name in EVERYBODY if name != JAX_SCAN)

    def start(self, contestant: Contestant, dtype: str) -> Call:
        """Return the call that a contestant does, from the parameters that everybody begins with."""
        raise NotImplementedError


@dataclass(frozen=True)
class NetStep(Work):
    """One training step of a net of three layers: forward, mean squared error, backward, SGD."""

    widths: tuple[int, int, int, int] = (10, 15, 10, 1)
    rows: int = 10

    def start(self, contestant: Contestant, dtype: str) -> Call:
        problem = Problem.random(self.widths, self.rows, dtype)
        return partial(contestant.net(problem), contestant.array(problem.x), contestant.array(problem.y))


@dataclass(frozen=True)
class Chain(Work):
    """Twenty elementwise operations on (1000, 1000), forward only."""

    calls: int = 1
    activation: str = "tanh"

    def start(self, contestant: Contestant, dtype: str) -> Call:
        rng = np.random.default_rng(0)
        x, other = (contestant.array(rng.normal(size=(1000, 1000)).astype(dtype)) for _ in range(2))
        return partial(contestant.chain(self.activation), x, other)


@dataclass(frozen=True)
class ConvnetStep(Work):
    """One training step of a small convolutional net."""

    rows: int = 64

    def start(self, contestant: Contestant, dtype: str) -> Call:
        pictures = Pictures.digits(self.rows, dtype)
        return partial(contestant.convnet(pictures), contestant.array(pictures.x), contestant.array(pictures.y))


@dataclass(frozen=True)
class Epoch(Work):
    """One epoch of 100 rows in batches of 10."""

    per_call: int = 10
    calls: int = 1
    rows: int = 100

    @property
    def names(self) -> tuple[str, ...]:
        return EVERYBODY

    def start(self, contestant: Contestant, dtype: str) -> Call:
        return contestant.epoch(Problem.random((10, 15, 10, 1), self.rows, dtype), self.rows // self.per_call)


def _nets() -> Iterator[Work]:
    for widths, batches in (
        ((10, 15, 10, 1), (10, 100)),
        ((64, 128, 128, 10), (32, 256)),
        ((784, 512, 512, 10), (64, 512)),
    ):
        for rows in batches:
            yield NetStep(f"{'-'.join(map(str, widths))}, batch {rows}", widths=widths, rows=rows)


WORKS: dict[str, Work] = {
    work.name: work
    for work in (
        *_nets(),
        Chain("20 elementwise operations, tanh", activation="tanh"),
        Chain("20 elementwise operations, relu", activation="relu"),
        ConvnetStep("convnet on digits, batch 64"),
        Epoch("epoch of 10 batches, 10-15-10-1"),
    )
}
