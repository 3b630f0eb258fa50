"""The second reason for batches: how the loss goes down, and on which axis.

One update, one epoch, one row and one second are four ways to count the same training, and they do not agree on who
is first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .. import nn
from ..data import make_regression
from ..errors import ArgumentError
from ..problem import Problem, build
from .training import Curves, train

REST = 3  # rows that make a short last batch


@dataclass(frozen=True, slots=True)
class Floor:
    """How far above the least loss a constant rate stays.

    Attributes
    ----------
    rate : float
    batch_size : int
    replacement : bool
        Whether every batch is drawn from all rows, or epochs are shuffled.
    excess : float
        Mean over the second half of the training of the loss above the least.
    predicted : float or None
        ``rate / B · tr C / 4``, where batches are drawn from all rows; see `noise_floor`.
    rises : float
        The share of looks at which the loss had risen.
    """

    rate: float
    batch_size: int
    replacement: bool
    excess: float
    predicted: float | None
    rises: float


@dataclass(frozen=True, slots=True)
class Floors:
    """What a constant rate costs, and what a falling one does.

    Attributes
    ----------
    least : float
        The loss of the best linear model.
    floors : tuple of Floor
    power : float
        The power of ``rate / B`` that the floors follow, drawn from all rows: theory says 1.
    power_shuffled : float
        The same for shuffled epochs: theory says 2.
    rate : float
        Of the single rows that are compared now:
    constant, decaying : float
        Their excess at the end at a constant rate, and at one that falls to 0 along a line.
    """

    least: float
    floors: tuple[Floor, ...]
    power: float
    power_shuffled: float
    rate: float
    constant: float
    decaying: float


def noise_floor(
    cells: Sequence[tuple[float, int]] = ((0.02, 1), (0.01, 1), (0.005, 1), (0.02, 4), (0.02, 10)),
    epochs: int = 40,
    seeds: Sequence[int] = range(10),
) -> Floors:
    """Measure the floor of the loss at a constant rate, and how a falling rate ends it.

    A linear model on 100 rows that it cannot fit exactly, so rows go on to contradict each other at the best place.
    For small rates, and batches drawn from all rows each time, the weights end up with a covariance ``S`` such that
    ``H S + S H = rate C / B``; so the excess is ``tr(H S) / 2 = rate / B · tr C / 4``, with ``C`` the covariance of the
    rows' gradients and ``H`` the Hessian. Within a shuffled epoch the noise adds up to 0, and the floor is lower,
    with the square of ``rate / B``.

    Parameters
    ----------
    cells : sequence of (rate, batch size)
    epochs : int
    seeds : sequence of int
    """
    problem, least, trace = _linear()
    floors = []
    for replacement in (True, False):
        for rate, size in cells:
            curves = train(problem, size, [rate], seeds, epochs=epochs, replacement=replacement, look_every=1.02)
            late = curves.loss[curves.updates >= curves.updates[-1] // 2, :, 0] - least
            predicted = rate / size * trace / 4 if replacement else None
            rises = float((np.diff(late, axis=0) > 0).mean())
            floors.append(Floor(rate, size, replacement, float(late.mean()), predicted, rises))
    powers = []
    for replacement in (True, False):
        some = [floor for floor in floors if floor.replacement == replacement]
        ratios = np.log([floor.rate / floor.batch_size for floor in some])
        powers.append(float(np.polyfit(ratios, np.log([floor.excess for floor in some]), 1)[0]))
    rate = 0.0125
    ends = [
        float(
            np.mean(train(problem, 1, [rate], seeds, epochs=100, linear_decay=decay, look_every=4.0).loss[-1] - least)
        )
        for decay in (False, True)
    ]
    return Floors(least, tuple(floors), powers[0], powers[1], rate, ends[0], ends[1])


def _linear() -> tuple[Problem, float, float]:
    """Return 100 rows with a linear model, its least loss, and the trace of the rows' gradients' covariance there."""
    x, y = make_regression(rows=100, features=10, seed=0)
    problem = Problem("regression", x, y, x, y, lambda seed: build((10, 1), "none", seed), nn.MSELoss())
    columns = np.column_stack([x, np.ones(len(x))])
    best = np.linalg.lstsq(columns, y, rcond=None)[0]
    error = columns @ best - y
    slopes = 2 * error * columns
    return problem, float((error**2).mean()), float((slopes**2).sum() / len(x))


@dataclass(frozen=True, slots=True)
class Scaled:
    """The loss after equal epochs with batch size and rate multiplied by the same number.

    Attributes
    ----------
    factor : int
    batch_size : int
    rate : float
    rows : int
        That were trained on: full batches of every size take each of them once in an epoch.
    rest : int
        Rows that were over in the other trainings, and made a short last batch at the full rate in every epoch.
    seeds : int
    loss : float
    change : float
        Mean over the seeds of how far the loss is from that without the factor, as a part of it.
    diverged : int
        Seeds that ran away; see `Curves.ran_away`.
    change_with_rest, diverged_with_rest
        The same with the short last batch.
    """

    factor: int
    batch_size: int
    rate: float
    rows: int
    rest: int
    seeds: int
    loss: float
    change: float
    diverged: int
    change_with_rest: float
    diverged_with_rest: int


def linear_scaling(
    problem: Problem,
    base: int = 4,
    rate: float = 0.01,
    factors: Sequence[int] = (1, 4, 16, 42, 84, 336),
    epochs: int = 10,
    seeds: Sequence[int] = range(3),
) -> list[Scaled]:
    """Multiply batch size and learning rate by the same number, and see how long that changes nothing.

    The rule (Goyal et al. 2017): ``k`` small steps of one rate are about one step of ``k`` times the rate, as long as
    the slope is the same all along them. The rows are cut to a number that all batch sizes divide. With three rows
    more, each epoch ends with a batch of three at ``k`` times the rate, and that alone changes far more: it looks as if
    the rule broke down long before it does, which is where ``rate`` times the largest curvature is 2.

    Parameters
    ----------
    problem : Problem
    base : int
        Batch size for a factor of 1; 4 or more, so that three rows are no full batch.
    rate : float
        For a factor of 1.
    factors : sequence of int
        The first is 1. Where the rows are too few for all of them, those that are left and their nearest neighbours
        that fit are taken; see `fitting`.
    epochs : int
    seeds : sequence of int

    Returns
    -------
    list of Scaled
        Empty where the rows are too few for any factor above 1.

    Raises
    ------
    ArgumentError
        If the base is below 4.
    """
    if base <= REST:
        raise ArgumentError(
            f"the base is a batch of {base}; {REST} rows over would be no short batch", "Take 4 or more"
        )
    most = (problem.rows - REST) // base
    factors = fitting(factors, most)
    if len(factors) < 2:
        return []
    together = int(np.lcm.reduce(factors))
    rows = base * (most - most % together)

    def trained(count: int) -> list[Curves]:
        some = replace(problem, x=problem.x[:count], y=problem.y[:count])
        return [
            train(some, base * k, [rate * k], seeds, epochs=epochs, drop_last=count == rows, look_every=10.0)
            for k in factors
        ]

    even, uneven = trained(rows), trained(rows + REST)
    found = []
    for k, one, other in zip(factors, even, uneven, strict=True):
        found.append(
            Scaled(
                factor=k,
                batch_size=base * k,
                rate=rate * k,
                rows=rows,
                rest=REST,
                seeds=len(seeds),
                loss=float(one.loss[-1].mean()),
                change=_moved(one, even[0]),
                diverged=int(one.ran_away.sum()),
                change_with_rest=_moved(other, uneven[0]),
                diverged_with_rest=int(other.ran_away.sum()),
            )
        )
    return found


def _moved(one: Curves, other: Curves) -> float:
    """Return how far the losses at the end are from other ones, as a part of these: the mean over the seeds."""
    return float(abs(one.loss[-1] / other.loss[-1] - 1).mean())


def fitting(factors: Sequence[int], most: int) -> list[int]:
    """Return the factors that are not above ``most``, moved as little as possible until some number divides by all.

    Parameters
    ----------
    factors : sequence of int
    most : int
        The number is not above it.

    Examples
    --------
    >>> fitting([1, 4, 16, 42, 84, 336], 336), fitting([1, 4, 16, 42, 84, 336], 87), fitting([1, 4, 16], 3)
    ([1, 4, 16, 42, 84, 336], [1, 4, 16, 40, 80], [1])
    """
    wished = [factor for factor in factors if factor <= most]
    if np.lcm.reduce(wished, initial=1) <= most:
        return wished
    best: tuple[float, list[int]] = (np.inf, [])
    for number in range(1, most + 1):
        divisors = np.array([k for k in range(1, number + 1) if number % k == 0])
        off = abs(np.log(divisors / np.array(wished)[:, None]))
        moved = float(off.min(axis=1).sum())
        if moved < best[0] - 1e-12:
            best = moved, sorted(set(divisors[off.argmin(axis=1)].tolist()))
    return best[1]


@dataclass(frozen=True, slots=True)
class Summed:
    """Training with the squared errors of a batch added up, beside their mean, at one rate.

    Attributes
    ----------
    batch_size : int
    rate : float
    mean_loss, sum_loss : float
        Mean loss of all rows after the training, over the seeds that came through; ``inf`` where none did.
    mean_diverged, sum_diverged : int
        Seeds that ran away; see `Curves.ran_away`.
    seeds : int
    """

    batch_size: int
    rate: float
    mean_loss: float
    sum_loss: float
    mean_diverged: int
    sum_diverged: int
    seeds: int


def summed_loss(
    problem: Problem,
    rate: float = 0.03,
    batch_sizes: Sequence[int | None] = (4, 16, 20, 32, 64, None),
    epochs: int = 10,
    seeds: Sequence[int] = range(5),
) -> list[Summed]:
    """Train with the sum of the rows' losses instead of their mean: its gradient grows with the batch.

    A step with the sum at a rate is one with the mean at the rate times B. So the rate has to be chosen anew for
    every batch size, and descent is stable while ``rate · B`` is below 2 by the largest curvature.

    Parameters
    ----------
    problem : Problem
    rate : float
    batch_sizes : sequence of int or None
    epochs : int
    seeds : sequence of int
    """
    added_up = replace(problem, loss_fn=type(problem.loss_fn)(reduction="sum"))
    found = []
    for size in batch_sizes:
        rows = problem.rows if size is None else min(size, problem.rows)
        ends, away = [], []
        for one in (problem, added_up):
            curves = train(one, rows, [rate], seeds, epochs=epochs, look_every=10.0)
            fine = ~curves.ran_away
            loss = curves.loss[-1][fine] / (problem.y.size if one is added_up else 1)
            ends.append(float(loss.mean()) if fine.any() else float("inf"))
            away.append(int((~fine).sum()))
        found.append(Summed(rows, rate, ends[0], ends[1], away[0], away[1], len(seeds)))
    return found
