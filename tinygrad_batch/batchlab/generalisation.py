"""Rows never seen: whether small batches do better on them, at the same loss, after the same epochs and updates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data.datasets import load_diabetes
from ..data.splits import standardize
from ..nn import MSELoss
from ..problem import Problem, build
from .sharpness import sharpness
from .training import train


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What a batch size does on the rows held out.

    Attributes
    ----------
    batch_size : int
    rate : float
    updates : float
        Mean, after which it was looked at.
    train_loss : float
        Mean, there.
    score : float
        Mean accuracy or R².
    error : float
        Half the width of the 95 % interval of the mean score, over the seeds.
    difference, difference_error : float
        To the score of the largest batch with the same seed, and half the width of its interval.
    sharpness : float or None
        The largest curvature of the loss there, mean over some seeds.
    left_out : int
        Seeds that are in none of the means, because they ran away (see `Curves.ran_away`) or did not reach the level.
    """

    batch_size: int
    rate: float
    updates: float
    train_loss: float
    score: float
    error: float
    difference: float
    difference_error: float
    sharpness: float | None = None
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Generalisation:
    """Held-out results by batch size, compared in three ways.

    Attributes
    ----------
    score_name : str
    matched : tuple of HeldOut
        Where the loss on the rows to train on first was ``level``, each size with a part of the rate that suits it, so
        that the noise of large steps is not taken for an effect of the batch size.
    matched_fast : tuple of HeldOut
        The same with the whole rate.
    slower : float
        By what the rates were divided.
    level : float
    equal_epochs : tuple of HeldOut
        After the same epochs at the same rate: the naive comparison.
    epochs : float
    equal_updates : tuple of HeldOut
        After the same updates, each size with its own rate.
    updates : int
    seeds : int
    """

    score_name: str
    matched: tuple[HeldOut, ...]
    matched_fast: tuple[HeldOut, ...]
    slower: float
    level: float
    equal_epochs: tuple[HeldOut, ...]
    epochs: float
    equal_updates: tuple[HeldOut, ...]
    updates: int
    seeds: int


def generalisation(
    problem: Problem,
    rates: dict[int, float],
    level: float,
    *,
    same_rate: float,
    slower: float = 8.0,
    epochs: float = 20.0,
    updates: int = 100,
    seeds: Sequence[int] = range(8),
    most_epochs: float = 200.0,
    with_sharpness: int = 2,
) -> Generalisation:
    """Compare batch sizes on the rows held out.

    Parameters
    ----------
    problem : Problem
    rates : dict of int to float
        Batch sizes, and the rate that suits each; see `tinygrad_batch.batchlab.tune`.
    level : float
        The loss on the rows to train on at which they are matched.
    same_rate : float
        For the comparison after equal epochs.
    slower : float
        By what to divide the rates for the matched comparison.
    epochs : float
    updates : int
    seeds : sequence of int
        Of weights and orders; all batch sizes have the same ones, so differences are taken within a seed.
    most_epochs : float
        When to give up reaching the level.
    with_sharpness : int
        For how many seeds the sharpness is found, after the matched training.
    """
    gentle = {size: rate / slower for size, rate in rates.items()}
    matched, fast = (_matched(problem, some, level, seeds, most_epochs, with_sharpness) for some in (gentle, rates))
    naive = _after(problem, dict.fromkeys(rates, same_rate), seeds, epochs=epochs)
    equal = _after(problem, rates, seeds, updates=updates)
    return Generalisation(problem.score_name, matched, fast, slower, level, naive, epochs, equal, updates, len(seeds))


def _matched(
    problem: Problem,
    rates: dict[int, float],
    level: float,
    seeds: Sequence[int],
    most_epochs: float,
    with_sharpness: int,
) -> tuple[HeldOut, ...]:
    found, last = [], None
    for size in sorted(rates, reverse=True):  # the largest first: the others are compared with it
        most = max(1000, round(most_epochs * problem.rows / size))
        curves = train(problem, size, [rates[size]], seeds, updates=most, goal=level, held_out=True, look_every=1.05)
        stop = curves.reached(level)[:, 0]
        values = np.stack([curves.where(level, what)[:, 0] for what in ("loss", "score")])
        last = values if last is None else last
        # the runs went on until the last of the seeds had arrived: the curvature is taken in nets that just have
        curvature = _curvatures(problem, size, rates[size], stop, seeds[:with_sharpness])
        found.append(_held_out(size, rates[size], stop, values, last, curvature))
    return tuple(reversed(found))


def _curvatures(problem: Problem, size: int, rate: float, stop: np.ndarray, seeds: Sequence[int]) -> float | None:
    found = []
    for seed, updates in zip(seeds, stop, strict=False):
        if np.isfinite(updates):
            curves = train(problem, size, [rate], [seed], updates=max(1, round(updates)), look_every=None)
            if curves.ensemble is not None:
                found.append(abs(sharpness(curves.ensemble.model(0), problem.loss_fn, problem.x, problem.y)))
    return float(np.mean(found)) if found else None


def _after(
    problem: Problem,
    rates: dict[int, float],
    seeds: Sequence[int],
    updates: int | None = None,
    epochs: float | None = None,
) -> tuple[HeldOut, ...]:
    ends, steps = {}, {}
    for size, rate in rates.items():
        curves = train(problem, size, [rate], seeds, updates=updates, epochs=epochs, held_out=True, look_every=None)
        values = np.stack([curves.at(curves.updates[-1], what)[:, 0] for what in ("loss", "score")])
        ends[size] = np.where(curves.ran_away[:, 0], np.nan, values)
        steps[size] = np.full(len(seeds), float(curves.updates[-1]))
    last = max(rates)
    return tuple(_held_out(size, rates[size], steps[size], ends[size], ends[last], None) for size in sorted(rates))


def _held_out(
    size: int, rate: float, updates: np.ndarray, values: np.ndarray, others: np.ndarray, curvature: float | None
) -> HeldOut:
    losses, scores = values
    use = np.isfinite(losses) & np.isfinite(scores)
    both = use & np.isfinite(others[1])
    score, error = mean_and_error(scores[use])
    difference, difference_error = mean_and_error((scores - others[1])[both])
    loss = float(losses[use].mean()) if use.any() else float("inf")
    steps = float(updates[use].mean()) if use.any() else float("inf")
    left_out = int((~use).sum())
    return HeldOut(size, rate, steps, loss, score, error, difference, difference_error, curvature, left_out)


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Return a mean, and half the width of its 95 % interval (Student's t).

    Examples
    --------
    >>> mean, error = mean_and_error(np.array([1.0, 2.0, 3.0]))
    >>> mean, round(error, 2)
    (2.0, 2.48)
    """
    count = len(values)
    if count == 0:
        return float("nan"), float("nan")
    if count == 1:
        return float(values[0]), float("nan")
    return float(values.mean()), float(student_t(count - 1) * values.std(ddof=1) / np.sqrt(count))


def student_t(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t, by its expansion in 1 / freedom where there are 5 or more.

    Examples
    --------
    >>> [round(student_t(n), 2) for n in (1, 2, 4, 9, 29)]
    [12.71, 4.3, 2.78, 2.26, 2.05]
    """
    known = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776}
    if freedom in known:
        return known[freedom]
    z, n = 1.959964, freedom
    return (
        z + (z**3 + z) / (4 * n) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Baseline:
    """A linear model beside the net, on rows held out in cross-validation.

    Attributes
    ----------
    linear, net : float
        Mean R² over the folds.
    difference, error : float
        Net less linear, and half the width of its 95 % interval, corrected for folds that share rows to train on.
    folds : int
    epochs : int
        Of the net.
    collapsed : float
        The largest difference between a net of three layers without activations and the one layer it multiplies out to.
    """

    linear: float
    net: float
    difference: float
    error: float
    folds: int
    epochs: int
    collapsed: float


def linear_baseline(repeats: int = 2, folds: int = 10, epochs: int = 20, rate: float = 0.05) -> Baseline:
    """Hold the net 10 → 15 → 10 → 1 against least squares on diabetes, in repeated cross-validation.

    The interval is widened as Nadeau and Bengio (2003) say, for the folds' training sets overlap.

    Parameters
    ----------
    repeats, folds : int
    epochs : int
        With batches of 16.
    rate : float
    """
    data = load_diabetes(standardize=False)
    linear, net = [], []
    for repeat in range(repeats):
        order = np.random.default_rng(repeat).permutation(data.rows)
        for fold, test in enumerate(np.array_split(order, folds)):
            train_rows = np.setdiff1d(order, test, assume_unique=True)
            x, x_mean, x_std = standardize(data.x[train_rows])
            y, y_mean, y_std = standardize(data.y[train_rows])
            x_test = standardize(data.x[test], mean=x_mean, std=x_std).values
            y_test = standardize(data.y[test], mean=y_mean, std=y_std).values
            problem = _fold(x, y, x_test, y_test)
            weights = np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), y, rcond=None)[0]
            linear.append(problem.score(np.column_stack([x_test, np.ones(len(test))]) @ weights, y_test))
            seed = repeat * folds + fold
            curves = train(problem, 16, [rate], [seed], epochs=epochs, held_out=True, look_every=None)
            net.append(float(curves.at(curves.updates[-1], "score")[0, 0]))
    count = repeats * folds
    gap = np.array(net) - np.array(linear)
    share = 1 / (folds - 1)  # rows held out by rows trained on
    error = student_t(count - 1) * float(np.sqrt(gap.var(ddof=1) * (1 / count + share)))
    collapsed = _multiplied_out(data.x / np.abs(data.x).max(0))
    return Baseline(float(np.mean(linear)), float(np.mean(net)), float(gap.mean()), error, count, epochs, collapsed)


def _multiplied_out(x: np.ndarray) -> float:
    net = build((10, 15, 10, 1), "none", 0)
    weight, bias = np.eye(10), np.zeros(10)
    for path, array in net.state_dict().items():
        if path.endswith("weight"):
            weight, bias = weight @ array, bias @ array
        else:
            bias = bias + array
    return float(abs(net(x).data - (x @ weight + bias)).max())


def _fold(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> Problem:
    return Problem("diabetes", x, y, x_test, y_test, lambda seed: build((10, 15, 10, 1), "tanh", seed), MSELoss())
