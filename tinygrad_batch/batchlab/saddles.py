"""Saddle points: where the full batch stands still for good and small batches leave, and where nobody is stuck.

A net of two hidden units that do the same is a net of one. At the best net of one unit, doubled, the gradient is zero,
and there is a way down all the same (Fukumizu and Amari 2000, "Local minima and plateaus in hierarchical structures of
multilayer perceptrons").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, log1p
from statistics import NormalDist

import numpy as np

from .. import nn
from ..data import make_regression
from ..problem import Problem, build
from .landscapes import Pass, TanhUnits, walk
from .noise import row_gradients
from .training import train

FLAT = 0.01  # length of a gradient below which a place counts as one without slope


@dataclass(frozen=True, slots=True)
class Escape:
    """How walks with one batch size left a saddle.

    Attributes
    ----------
    batch_size : int
    walks, left : int
        How many there were, and how many left within the time.
    epochs : float or None
        Median epochs of those that left.
    low, high : float or None
        The least and the most.
    most_epochs : int
        The time that they had.
    """

    batch_size: int
    walks: int
    left: int
    epochs: float | None
    low: float | None
    high: float | None
    most_epochs: int


@dataclass(frozen=True, slots=True)
class DoubledUnit:
    """The saddle of a doubled unit, and who left it.

    Attributes
    ----------
    start : tuple of float
        ``v₁, v₂, w₁, w₂``: the best net of one unit, its output weight divided 1 : 3.
    loss, best_loss : float
        There, and of the best net of two units that was found.
    gradient : float
        Length of the gradient there.
    curvatures : tuple of float
        Eigenvalues of the Hessian there, ascending: one below 0 makes it a saddle.
    rate : float
    escapes : tuple of Escape
    full_gradient : float
        Length of the full batch's gradient at its last update.
    rounding : tuple of (float, float)
        For pushes of some sizes along the way down, the updates the full batch took to leave; ``inf`` if it did not.
    """

    start: tuple[float, ...]
    loss: float
    best_loss: float
    gradient: float
    curvatures: tuple[float, ...]
    rate: float
    escapes: tuple[Escape, ...]
    full_gradient: float
    rounding: tuple[tuple[float, float], ...]


def doubled_unit(
    batch_sizes: Sequence[int | None] = (1, 10, 50, None),
    walks: int = 20,
    rate: float = 0.15,
    pushes: Sequence[float] = (1e-3, 1e-6, 1e-9),
    seed: int = 0,
) -> DoubledUnit:
    """Put walks onto the saddle of a doubled unit, and see which batch sizes leave it.

    The rows are 100 points of ``2 tanh(x/2) + tanh(4x)`` with a little noise, the net ``v₁ tanh(w₁x) + v₂ tanh(w₂x)``.
    A walk has left when the loss of all rows is below half way between the saddle and the best that was found.

    Parameters
    ----------
    batch_sizes : sequence of int or None
    walks : int
        Of each batch size, each with an order of its own; the full batch has only one way to go.
    rate : float
    pushes : sequence of float
        How far to push the full batch off the saddle, to see how long it takes to leave then.
    seed : int
    """
    one, two = TanhUnits(units=1), TanhUnits(units=2)
    v, w = walk(one, [[1.0, 1.0]], 0.4, None, 2000, every=2000).points[-1, 0]
    start = np.array([0.25 * v, 0.75 * v, w, w])
    random = np.random.default_rng(1).standard_normal((20, 4))
    best = float(two.loss(walk(two, random, 0.1, None, 1500, every=1500).points[-1]).min())
    loss = float(two.loss(start))
    goal = (loss + best) / 2
    values, vectors = np.linalg.eigh(two.hessian(start))
    escapes, last_gradient = [], 0.0
    for size in batch_sizes:
        full = size is None or size >= two.rows
        each = 1 if full else two.rows // int(size or 1)
        most = 1500 if full else round(16 * int(size or 1) + 24)
        count = 1 if full else walks
        found = walk(
            two, np.tile(start, (count, 1)), rate, size, most * each,
            seed=seed, every=each, until=lambda points: two.loss(points) < goal,
        )  # fmt: skip
        escapes.append(_escape(found.first(two.loss(found.points) < goal) / each, size or two.rows, most))
        if full:
            last_gradient = float(np.linalg.norm(two.gradient(found.points[-1, 0])))
    rounding = []
    for push in pushes:
        found = walk(two, start + push * vectors[:, 0], rate, None, 4000, every=20, until=lambda p: two.loss(p) < goal)
        rounding.append((float(push), float(found.first(two.loss(found.points) < goal)[0])))
    return DoubledUnit(
        tuple(start.tolist()), loss, best, float(np.linalg.norm(two.gradient(start))), tuple(values.tolist()), rate,
        tuple(escapes), last_gradient, tuple(rounding),
    )  # fmt: skip


def _escape(epochs: np.ndarray, size: int, most: int) -> Escape:
    left = epochs[np.isfinite(epochs)]
    if not len(left):
        return Escape(size, len(epochs), 0, None, None, None, most)
    return Escape(size, len(epochs), len(left), float(np.median(left)), float(left.min()), float(left.max()), most)


@dataclass(frozen=True, slots=True)
class EscapeTime:
    """Updates from a saddle to a distance from it: what theory says, and medians of many walks.

    Attributes
    ----------
    rate : float
    batch_size : int
    predicted, measured : float
    low, high : float
        Quartiles of the measured ones.
    """

    rate: float
    batch_size: int
    predicted: float
    measured: float
    low: float
    high: float


def escape_times(
    cells: Sequence[tuple[float, int]] = ((0.01, 10), (0.01, 2), (0.03, 10)),
    walks: int = 300,
    distance: float = 0.7,
    seed: int = 1,
) -> list[EscapeTime]:
    """Let many walks roll off a mountain pass, and hold the time they take against theory.

    See `predicted_escape`; here batches are drawn independently, as the theory has it.

    Parameters
    ----------
    cells : sequence of (rate, batch size)
    walks : int
    distance : float
        From the pass, across it, at which a walk has left.
    seed : int
    """
    surface = Pass()
    variance = float(surface.y.var())
    found = []
    for rate, size in cells:
        said = predicted_escape(rate, size, variance, distance, surface.rows)
        taken = walk(
            surface, np.zeros((walks, 2)), rate, size, round(said * 5), seed=seed, replacement=True,
            until=lambda points: abs(points[:, 1]) >= distance,
        )  # fmt: skip
        first = taken.first(abs(taken.points[:, :, 1]) >= distance)
        low, middle, high = np.quantile(first, (0.25, 0.5, 0.75))
        # the quartic bends the slope: y' = y - y³ instead of y takes this much longer
        bend = log(1 / (1 - distance**2)) / 2 / rate
        found.append(EscapeTime(rate, size, said + bend, float(middle), float(low), float(high)))
    return found


def predicted_escape(
    rate: float, batch_size: int, variance: float, distance: float, rows: int, curvature: float = 1.0
) -> float:
    """Return the median updates in which SGD leaves a saddle, by linear theory.

    Along the way down with curvature ``-λ``, a walk that begins on the saddle is ``y ← (1 + a) y + rate ξ`` with
    ``a = rate λ``: normally distributed, with a variance that grows like ``(1 + a)²ᵗ``. Half the walks are beyond a
    distance ``d`` when it is 0.674 standard deviations::

        t = ln(1 + d² ((1 + a)² - 1) / (0.674² rate² s²)) / (2 ln(1 + a)),    s² = variance / B · (N - B) / (N - 1)

    Parameters
    ----------
    rate : float
    batch_size : int
    variance : float
        Of the gradients of the rows along the way down.
    distance : float
    rows : int
        ``N``; a batch holds none of them twice.
    curvature : float
        ``λ``, positive.

    Examples
    --------
    >>> round(predicted_escape(0.01, 10, 3.36, 0.7, 100))
    330
    """
    grown = rate * curvature
    noise = variance / batch_size * (rows - batch_size) / (rows - 1)
    quantile = NormalDist().inv_cdf(0.75)
    return log1p(distance**2 * ((1 + grown) ** 2 - 1) / (quantile**2 * rate**2 * noise)) / (2 * log1p(grown))


@dataclass(frozen=True, slots=True)
class Stuck:
    """How many of some random starts ended at a place without slope that is no good.

    Attributes
    ----------
    batch_size : int
    starts, stuck : int
    loss : float
        Median at the end.
    """

    batch_size: int
    starts: int
    stuck: int
    loss: float


def random_starts(
    starts: int = 60,
    plans: Sequence[tuple[int | None, float, int]] = ((1, 0.01, 50), (10, 0.05, 100), (None, 0.3, 300)),
) -> list[Stuck]:
    """Train the 10 → 15 → 10 → 1 net on 100 rows from random starts, and count who is stuck.

    Stuck is a run with a loss above a tenth of the variance of the targets, and a gradient of all rows shorter than
    0.01.

    Parameters
    ----------
    starts : int
    plans : sequence of (batch size, rate, epochs)
    """
    problem = hundred_rows()
    found = []
    for size, rate, epochs in plans:
        curves = train(problem, size, [rate], range(starts), epochs=epochs, look_every=10.0)
        if curves.ensemble is None:
            continue
        loss = curves.loss[-1, :, 0]
        slopes = np.array([_slope(problem, curves.ensemble.model(run)) for run in range(starts)])
        stuck = (loss > 0.1 * float(problem.y.var())) & (slopes < FLAT)
        found.append(Stuck(curves.batch_size, starts, int(stuck.sum()), float(np.median(loss))))
    return found


def _slope(problem: Problem, model: nn.Module) -> float:
    return float(np.linalg.norm(row_gradients(model, problem.loss_fn, problem.x, problem.y).mean(0)))


def hundred_rows() -> Problem:
    """Return a hundred rows of ten numbers, made up, and the net 10 → 15 → 10 → 1: what it all began with."""
    x, y = make_regression(rows=100, features=10, seed=0)
    return Problem("regression", x, y, x, y, lambda seed: build((10, 15, 10, 1), "tanh", seed), nn.MSELoss())


def narrow_nets(
    units: Sequence[int] = (2, 4),
    starts: int = 100,
    plans: Sequence[tuple[int | None, float, int]] = ((1, 0.1, 80), (10, 0.1, 250), (None, 0.3, 700)),
) -> dict[int, list[Stuck]]:
    """Train nets of a few tanh units on what two units made, from random starts, and count who is stuck.

    The counterexample to `random_starts`. ``2 tanh(x) - tanh(4x)`` is what two units make; a net of two has none to
    spare, and many starts end where both do the same: with any batch size. A net of four rarely does. Stuck is a run
    whose loss stays nearer to that of one unit than to the noise after 500 more updates with all rows, and whose
    gradient is then shorter than 0.01.

    Parameters
    ----------
    units : sequence of int
    starts : int
    plans : sequence of (batch size, rate, epochs)

    Returns
    -------
    dict of int to list of Stuck
        By units.
    """
    teacher = ((2, -1), (1, 4))
    one = TanhUnits(teacher, units=1)
    alone = float(one.loss(walk(one, [[1.0, 1.0]], 0.4, None, 2000, every=2000).points[-1, 0]))
    found: dict[int, list[Stuck]] = {}
    for count in units:
        surface = TanhUnits(teacher, units=count)
        begin = np.random.default_rng(3).standard_normal((starts, 2 * count))
        for size, rate, epochs in plans:
            each = surface.rows // size if size else 1
            last = walk(surface, begin, rate, size, epochs * each, every=epochs * each).points[-1]
            loss = surface.loss(last)
            calm = walk(surface, last, 0.1, None, 500, every=500).points[-1]  # without the noise of the batches
            slopes = np.linalg.norm(surface.gradient(calm), axis=1)
            stuck = int(((surface.loss(calm) > (alone + 0.05**2) / 2) & (slopes < FLAT)).sum())
            found.setdefault(count, []).append(Stuck(size or surface.rows, starts, stuck, float(np.median(loss))))
    return found


@dataclass(frozen=True, slots=True)
class Symmetric:
    """A training from weights that leave units no way to become different.

    Attributes
    ----------
    start : str
        ``zero`` (every weight 0), ``equal`` (all units of a layer alike), or ``random``.
    batch_size : int
    loss : float
        At the end.
    units : int
        Hidden units of the first layer that differ, out of 15.
    """

    start: str
    batch_size: int
    loss: float
    units: int


def symmetric_starts(
    plans: Sequence[tuple[int | None, float, int]] = ((1, 0.01, 50), (10, 0.05, 100), (None, 0.2, 300)),
) -> list[Symmetric]:
    """Train from zero, from equal and from random weights: whatever the batch size, units that are alike stay alike.

    Two units of a layer with the same weights get the same gradient from every row, so from every batch.

    Parameters
    ----------
    plans : sequence of (batch size, rate, epochs)
    """
    problem = hundred_rows()
    found = []
    for start in ("zero", "equal", "random"):
        for size, rate, epochs in plans:
            model = _started(start)
            curves = train(problem, size, [rate], [0], epochs=epochs, look_every=10.0, starts=[model])
            if curves.ensemble is None:
                continue
            weight = curves.ensemble.model(0).state_dict()["0.weight"]
            different = len(np.unique(weight.round(9), axis=1).T)
            found.append(Symmetric(start, curves.batch_size, float(curves.loss[-1, 0, 0]), different))
    return found


def _started(start: str) -> nn.Module:
    model = build((10, 15, 10, 1), "tanh", 0)
    if start == "random":
        return model
    state = {path: np.zeros_like(array) for path, array in model.state_dict().items()}
    if start == "equal":
        state["0.weight"][:] = np.random.default_rng(0).uniform(-1, 1, (10, 1)) / np.sqrt(10)
        state["2.weight"][:], state["4.weight"][:] = 0.1, 0.3
    model.load_state_dict(state)
    return model
