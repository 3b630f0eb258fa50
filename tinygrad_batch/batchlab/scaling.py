"""How many updates a goal takes at each batch size, each with the rate that suits it, and the law behind it.

Fewer updates and fewer rows pull in opposite directions. With ``S`` updates of ``B`` rows, ``E = S · B`` rows are seen;
the fewest updates ``S_min`` are those of very large batches, the fewest rows ``E_min`` those of very small ones, and
between them (McCandlish et al. 2018, equation 2.11)::

    (S / S_min - 1) (E / E_min - 1) = 1,      that is      S = S_min (1 + B_crit / B),      B_crit = E_min / S_min
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .. import nn
from ..errors import ArgumentError
from ..problem import Problem
from .ensemble import Ensemble, batch_norms
from .training import Curves, in_rows, seconds_of_a_step, train

COARSE = tuple(4.0**power for power in range(-5, 2))
BETWEEN = (0.5, 2**-0.5, 1.0, 2**0.5, 2.0)
LEAST_UPDATES = 300
TIE = 1.1  # times to the goal, by the least, of which one cannot say which is shorter
FRESH = 1000  # what is added to seeds that choose a rate, to make those that count


@dataclass(frozen=True, eq=False)
class Tuned:
    """One batch size with the learning rate that reaches the goal in the fewest updates.

    Attributes
    ----------
    batch_size : int
    rate : float
        The best one.
    updates : ndarray, shape (seeds,)
        How many it took, with seeds that had no part in choosing it; ``inf`` where the goal was not reached.
    tried : dict of float to float
        Every rate that was tried, with its mean updates.
    curves : Curves
        Of the best rate, with those seeds.
    """

    batch_size: int
    rate: float
    updates: np.ndarray
    tried: dict[float, float]
    curves: Curves

    @property
    def mean_updates(self) -> float:
        """The mean over the seeds."""
        return float(self.updates.mean())

    @property
    def rows_seen(self) -> np.ndarray:
        """The updates times the rows of a batch, shape (seeds,)."""
        return self.updates * self.batch_size


def tune(
    problem: Problem,
    batch_size: int | None,
    goal: float,
    seeds: Sequence[int],
    *,
    most_epochs: float = 60.0,
    between: Sequence[float] = BETWEEN,
    held_out: bool = False,
) -> Tuned:
    """Find the learning rate with which a batch size reaches a goal in the fewest updates.

    Rates a factor of 4 apart are tried first with two seeds, then some around the best of them with all seeds. The
    best of these is counted again with fresh seeds: the winner of a contest was lucky, too.

    Parameters
    ----------
    problem : Problem
    batch_size : int, optional
    goal : float
        The loss over all rows to be reached.
    seeds : sequence of int
    most_epochs : float
        When to give up; but never below 300 updates.
    between : sequence of float
        Multiples of the best of the first rates to be tried.
    held_out : bool
        Whether the curves show the rows held out, too.
    """
    size = problem.rows if batch_size is None else min(batch_size, problem.rows)
    most = max(LEAST_UPDATES, round(most_epochs * problem.rows / size))
    coarse = train(problem, size, COARSE, seeds[:2], updates=most, goal=goal, patience=2.0)
    best = COARSE[_fewest(coarse, goal)]
    rates = [best * factor for factor in between]
    fine = train(problem, size, rates, seeds, updates=most, goal=goal, patience=2.0)
    rate = rates[_fewest(fine, goal)]
    fresh = [seed + FRESH for seed in seeds]
    curves = train(problem, size, [rate], fresh, updates=most, goal=goal, held_out=held_out)
    tried = dict(zip(COARSE, coarse.reached(goal).mean(0).tolist(), strict=True))
    tried |= dict(zip(rates, fine.reached(goal).mean(0).tolist(), strict=True))
    return Tuned(size, rate, curves.reached(goal)[:, 0], dict(sorted(tried.items())), replace(curves, ensemble=None))


def _fewest(curves: Curves, goal: float) -> int:
    """Return which rate reaches the goal first; where none does for every seed, which comes nearest."""
    updates = curves.reached(goal).mean(0)
    if np.isfinite(updates).any():
        return int(updates.argmin())
    return int(np.minimum.accumulate(curves.loss)[-1].mean(0).argmin())


@dataclass(frozen=True, slots=True)
class Law:
    """The law of updates against rows, fitted.

    Attributes
    ----------
    least_updates, least_rows : float
        ``S_min`` and ``E_min``.
    misfit : float
        The root mean square of the relative errors.
    low, high : float
        The critical batch size with one of the batch sizes left out at a time: the least and the most.
    """

    least_updates: float
    least_rows: float
    misfit: float
    low: float
    high: float

    @property
    def critical(self) -> float:
        """The critical batch size: twice the fewest updates, and twice the fewest rows."""
        return self.least_rows / self.least_updates

    def updates(self, batch_size: float) -> float:
        """Return how many updates the law says."""
        return self.least_updates * (1 + self.critical / batch_size)


def fit_law(batch_sizes: Sequence[float], updates: Sequence[float]) -> Law | None:
    """Fit the law to the updates that batch sizes took; in logarithms, so that each counts alike.

    Returns
    -------
    Law or None
        None where fewer than 3 batch sizes reached the goal.

    Examples
    --------
    >>> law = fit_law([1, 4, 16, 64, 256], [40 * (1 + 25 / B) for B in (1, 4, 16, 64, 256)])
    >>> round(law.critical, 3), round(law.least_updates, 3)
    (25.0, 40.0)
    """
    sizes, steps = np.asarray(batch_sizes, float), np.asarray(updates, float)
    use = np.isfinite(steps) & (steps > 0)
    sizes, steps = sizes[use], steps[use]
    if len(sizes) < 3:
        return None
    least, critical = _least_squares(sizes, steps)
    others = [_least_squares(np.delete(sizes, i), np.delete(steps, i))[1] for i in range(len(sizes))]
    misfit = float(np.sqrt(np.mean((steps / (least * (1 + critical / sizes)) - 1) ** 2)))
    return Law(least, least * critical, misfit, min(others), max(others))


def _least_squares(sizes: np.ndarray, steps: np.ndarray) -> tuple[float, float]:
    """Return ``S_min`` and ``B_crit``: for each ``B_crit`` the best ``S_min`` is a mean, so one search is left."""

    def residual(log_critical: np.ndarray) -> np.ndarray:
        curve = np.log(steps)[:, None] - np.log1p(np.exp(log_critical) / sizes[:, None])
        spread: np.ndarray = ((curve - curve.mean(0)) ** 2).sum(0)
        return spread

    low, high = np.log(sizes.min() / 100), np.log(sizes.max() * 100)
    for _ in range(6):  # a finer grid around the best point each time
        grid = np.linspace(low, high, 201)
        best = int(residual(grid).argmin())
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, 200)]
    critical = float(np.exp(grid[best]))
    return float(np.exp(np.mean(np.log(steps) - np.log1p(critical / sizes)))), critical


@dataclass(frozen=True, eq=False)
class Scaling:
    """Updates to a goal by batch size.

    Attributes
    ----------
    goal : float
    tuned : tuple of Tuned
        By batch size, in ascending order.
    law : Law or None
    seconds : dict of int to float
        How long an update takes, by batch size.
    """

    goal: float
    tuned: tuple[Tuned, ...]
    law: Law | None
    seconds: dict[int, float]

    def regimes(self) -> tuple[float, float]:
        """Return up to which batch size the updates fall as the batch grows, and from which on they hardly do.

        The three regimes of Shallue et al. 2019: perfect scaling (twice the rows, half the updates), diminishing
        returns, and none. By the law the slope ``d log S / d log B`` is ``-1 / (1 + B / B_crit)``; the borders are
        where it is -0.85 and -0.15.
        """
        if self.law is None:
            return float("nan"), float("nan")
        return self.law.critical * (1 / 0.85 - 1), self.law.critical * (1 / 0.15 - 1)


def scaling(
    problem: Problem,
    batch_sizes: Sequence[int | None],
    *,
    seeds: Sequence[int] = range(4),
    goal: float | None = None,
    between: Sequence[float] = BETWEEN,
    most_epochs: float = 60.0,
    held_out: bool = True,
) -> Scaling:
    """Tune the rate of every batch size, and count updates, rows and seconds to one goal.

    Parameters
    ----------
    problem : Problem
    batch_sizes : sequence of int or None
    seeds : sequence of int
    goal : float, optional
        The loss over all rows to be reached; by default the problem's own, or else what `reachable` says.
    between, most_epochs, held_out
        See `tune`.

    Raises
    ------
    ArgumentError
        See `checked_sizes`; also if there are no seeds, or the goal is not below the loss at the start.
    """
    sizes = checked_sizes(batch_sizes, problem.rows, problem.build(0))
    if not len(seeds):
        raise ArgumentError("there are no seeds to train with", "Give one or more")
    goal = problem.goal if goal is None else goal
    if goal is None:
        goal = reachable(problem)
    start = Ensemble([problem.build(seeds[0])], problem.loss_fn).losses(problem.x, problem.y)[0]
    if not goal < start:
        raise ArgumentError(
            f"the goal is a loss of {goal:g}, and the net has one of {start:.3g} before it learns", "Give a lower goal"
        )
    tuned = [
        tune(problem, size, goal, seeds, between=between, most_epochs=most_epochs, held_out=held_out) for size in sizes
    ]
    law = fit_law(sizes, [one.mean_updates for one in tuned])
    return Scaling(goal, tuple(tuned), law, seconds_of_a_step(problem, sizes))


def checked_sizes(batch_sizes: Sequence[int | None], rows: int, model: nn.Module) -> tuple[int, ...]:
    """Return batch sizes as `in_rows` does, once they are known to make sense.

    Raises
    ------
    ArgumentError
        If there are none, one is no number of rows, or one is 1 and the model has batch normalisation.

    Examples
    --------
    >>> checked_sizes([32, None, 1, 1000], 100, nn.Linear(2, 1))
    (1, 32, 100)
    """
    for size in batch_sizes:
        if size is not None and (isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1):
            raise ArgumentError(f"a batch size is a number of rows, 1 or more, or None for all, not {size!r}")
    sizes = in_rows(batch_sizes, rows)
    if not sizes:
        raise ArgumentError("there are no batch sizes to compare")
    for label in batch_norms(model):
        if sizes[0] < 2:
            raise ArgumentError(f"{label} cannot train on batches of 1 row", "Compare batch sizes of 2 and more")
    return tuple(sizes)


def reachable(problem: Problem, epochs: int = 20) -> float:
    """Return a loss that a middle batch size reaches: nine tenths of the way to the best that it comes to."""
    size = max(1, min(32, problem.rows // 4))
    curves = train(problem, size, COARSE, [0], epochs=epochs)
    start, best = float(curves.loss[0].min()), float(curves.loss.min())
    return best + 0.1 * (start - best)
