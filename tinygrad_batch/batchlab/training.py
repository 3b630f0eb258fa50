"""Training at one batch size, for several seeds and rates at once, looked at from time to time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..data import DataIterator
from ..data.orders import generator, shuffled
from ..errors import ArgumentError
from ..optim import SGD
from ..problem import Problem
from .ensemble import Ensemble

Array = np.ndarray
TURNS = 11  # of timing
AWAY = 2.0  # times the loss at the start, from which on a training is said to have run away
HOPELESS = 1e6  # times the loss at the start, from which on nobody waits for it any more


@dataclass(frozen=True, eq=False)
class Curves:
    """What came of training at one batch size, looked at after some of the updates.

    Attributes
    ----------
    batch_size, rows : int
        Of the batches, and of the data.
    seeds : tuple of int
        Each chose initial weights and orders.
    rates : tuple of float
        Learning rates.
    updates : ndarray of int, shape (looks,)
        The first look is at 0.
    loss : ndarray, shape (looks, seeds, rates)
        Over all rows to train on; ``inf`` from a million times what it began with.
    held_out, score : ndarray, shape (looks, seeds, rates), or None
        Loss and score of the rows held out.
    ensemble : Ensemble
        All runs as they are at the end; run ``(seed, rate)`` is number ``seed * len(rates) + rate``.
    """

    batch_size: int
    rows: int
    seeds: tuple[int, ...]
    rates: tuple[float, ...]
    updates: Array
    loss: Array
    held_out: Array | None = None
    score: Array | None = None
    ensemble: Ensemble | None = field(default=None, repr=False)

    @property
    def epochs(self) -> Array:
        """The updates as passes over the data."""
        return self.updates * self.batch_size / self.rows

    @property
    def ran_away(self) -> Array:
        """Which runs ended at twice the loss that they began with or above, or at no number; shape (seeds, rates).

        That is what is meant wherever a training is said to have run away.
        """
        with np.errstate(all="ignore"):
            away: Array = ~(self.loss[-1] < AWAY * self.loss[0])
        return away

    def reached(self, goal: float) -> Array:
        """Return after how many updates each run first had a loss of ``goal``, shape (seeds, rates).

        Between two looks the logarithm of the updates is interpolated. ``inf`` where it never had.
        """
        below = self.loss <= goal
        first = below.argmax(axis=0)
        runs = np.indices(first.shape)
        before, now = (self.loss[np.maximum(first - back, 0), runs[0], runs[1]] for back in (1, 0))
        with np.errstate(all="ignore"):
            part = np.clip((before - goal) / np.maximum(before - now, 1e-300), 0.0, 1.0)
        log = np.log(np.maximum(self.updates, 0.5))
        at = np.exp(log[np.maximum(first - 1, 0)] * (1 - part) + log[first] * part)
        return np.where(below.any(axis=0), np.where(first == 0, 0.0, at), np.inf)

    def where(self, goal: float, what: str = "loss") -> Array:
        """Return ``score`` or ``held_out`` where each run first had a loss of ``goal``, shape (seeds, rates).

        NaN where it never had.
        """
        stops = self.reached(goal)
        found = np.full(stops.shape, np.nan)
        for run, updates in np.ndenumerate(stops):
            if np.isfinite(updates):
                found[run] = self.at(updates, what)[run]
        return found

    def at(self, updates: float, what: str = "loss") -> Array:
        """Return the loss (or ``held_out``, ``score``) after so many updates, shape (seeds, rates), interpolated."""
        values = getattr(self, what)
        after = int(np.clip(np.searchsorted(self.updates, updates), 1, len(self.updates) - 1))
        start, stop = self.updates[after - 1], self.updates[after]
        part = min(1.0, max(0.0, (updates - start) / (stop - start)))
        found: Array = values[after - 1] * (1 - part) + values[after] * part
        return found


def train(
    problem: Problem,
    batch_size: int | None,
    rates: Sequence[float],
    seeds: Sequence[int],
    *,
    updates: int | None = None,
    epochs: float | None = None,
    goal: float | None = None,
    linear_decay: bool = False,
    replacement: bool = False,
    drop_last: bool = True,
    look_every: float | None = 1.12,
    held_out: bool = False,
    patience: float = np.inf,
    starts: Sequence[Any] | None = None,
) -> Curves:
    """Train a problem with SGD at one batch size, every seed with every rate, all side by side.

    Only full batches are used, unless one says otherwise; the rows of the rest are others in every epoch.

    Parameters
    ----------
    problem : Problem
    batch_size : int, optional
        None for all rows.
    rates, seeds : sequence
    updates, epochs : optional
        How long; one of the two.
    goal : float, optional
        Stop when every run has had this loss over all rows, or has a loss of ``inf``.
    linear_decay : bool
        Let the rate fall to 0 along a line.
    replacement : bool
        Draw each batch afresh from all rows, instead of cutting shuffled epochs.
    drop_last : bool
        Whether a last batch with fewer rows is left out of each epoch.
    look_every : float, optional
        By what factor the updates grow from look to look.
    held_out : bool
        Whether to look at the rows held out, too.
    patience : float
        With a goal: give up on what takes so many times the updates of the fastest rate.
    starts : sequence of Module, optional
        The net that each seed starts from; by default ``problem.build(seed)``.

    Returns
    -------
    Curves

    Raises
    ------
    ArgumentError
        Unless one of updates and epochs is given.
    """
    size = problem.rows if batch_size is None else min(batch_size, problem.rows)
    if (updates is None) == (epochs is None):
        raise ArgumentError("train() was told neither or both of updates and epochs", "Give one of them")
    in_an_epoch = problem.rows / size if drop_last else -(-problem.rows // size)
    last = int(updates if updates is not None else max(1, round((epochs or 0) * in_an_epoch)))
    nets = list(starts) if starts is not None else [problem.build(seed) for seed in seeds]
    ensemble = Ensemble([net for net in nets for _ in rates], problem.loss_fn)
    each = np.tile(np.asarray(rates, float), len(seeds))
    shape = (len(seeds), len(rates))
    seen: list[tuple[int, Array, Array | None, Array | None]] = []
    batches = batches_of_seeds(problem.rows, size, seeds, replacement, drop_last)

    lowest, fastest = np.full(shape, np.inf), np.inf

    def look(done: int) -> bool:
        """Look at all runs, and say whether there is anything left to do."""
        nonlocal lowest, fastest
        loss = ensemble.losses(problem.x, problem.y).reshape(shape)
        loss = np.where(loss < HOPELESS * (seen[0][1] if seen else loss), loss, np.inf)
        held = score = None
        if held_out:
            predictions = ensemble.predict(problem.x_test)
            held = ensemble.losses(problem.x_test, problem.y_test).reshape(shape)
            score = np.array([problem.score(p, problem.y_test) for p in predictions]).reshape(shape)
        seen.append((done, loss, held, score))
        if goal is None:
            return bool(np.isfinite(loss).any())
        lowest = np.minimum(lowest, loss)
        if (lowest <= goal).all(axis=0).any():
            fastest = min(fastest, done)
        return not (((lowest <= goal) | np.isinf(loss)).all() or done > patience * fastest)

    with np.errstate(all="ignore"):  # a run that runs away is told by its loss
        going, done = look(0), 0
        for stop in [last] if look_every is None else looks(last, look_every):
            if not going:
                break
            while done < stop:
                rows = np.repeat(next(batches), len(rates), axis=0)
                factor = 1 - done / last if linear_decay else 1.0
                ensemble.step(problem.x[rows], problem.y[rows], each * factor)
                done += 1
            going = look(stop)
    updates_seen, losses, held, scores = zip(*seen, strict=True)
    return Curves(
        batch_size=size,
        rows=problem.rows,
        seeds=tuple(seeds),
        rates=tuple(float(rate) for rate in rates),
        updates=np.array(updates_seen),
        loss=np.stack(losses),
        held_out=np.stack(held) if held_out else None,
        score=np.stack(scores) if held_out else None,
        ensemble=ensemble,
    )


def looks(last: int, factor: float) -> list[int]:
    """Return the updates after which to look, each ``factor`` times the one before, up to the last.

    Examples
    --------
    >>> looks(20, 1.5)
    [1, 2, 3, 4, 7, 10, 15, 20]
    """
    found, at = [], 1.0
    while round(at) < last:
        found.append(round(at))
        at = max(at * factor, round(at) + 1.0)
    return [*found, last]


def batches_of_seeds(
    rows: int, size: int, seeds: Sequence[int], replacement: bool = False, drop_last: bool = True
) -> Iterator[Array]:
    """Yield the rows of the next batch of every seed, shape (seeds, size), for ever.

    Parameters
    ----------
    rows, size : int
    seeds : sequence of int
    replacement : bool
        Draw each batch afresh from all rows, none twice, instead of cutting shuffled epochs into batches.
    drop_last : bool
        Whether a last batch with fewer rows is left out of each epoch.
    """
    rng, epoch = generator(int(seeds[0]), 3), 0
    while replacement:
        yield rng.random((len(seeds), rows)).argpartition(size - 1, axis=1)[:, :size]
    while True:
        orders = np.stack([shuffled(rows, seed, epoch) for seed in seeds])
        for start in range(0, rows - size + 1 if drop_last else rows, size):
            yield orders[:, start : start + size]
        epoch += 1


def in_rows(batch_sizes: Sequence[int | None], rows: int) -> list[int]:
    """Return batch sizes in ascending order, each once; None, and what is above, as all rows.

    Examples
    --------
    >>> in_rows([32, None, 1, 1000], 100)
    [1, 32, 100]
    """
    return sorted({rows if size is None else min(int(size), rows) for size in batch_sizes})


def seconds_of_a_step(problem: Problem, batch_sizes: Sequence[int | None], budget: float = 0.1) -> dict[int, float]:
    """Return how long an ordinary, eager training step takes on this machine, with fetching its batch.

    Parameters
    ----------
    problem : Problem
    batch_sizes : sequence of int or None
        They take turns, so that a machine that slows down slows all of them.
    budget : float
        Seconds to spend on measuring, for each of them.

    Returns
    -------
    dict of int to float
        The median over the turns, by batch size.
    """
    model, loss_fn = problem.build(0), problem.loss_fn
    optimizer = SGD(model.parameters(), lr=1e-6)
    sizes = in_rows(batch_sizes, problem.rows)
    each = {size: DataIterator(problem.x, problem.y, batch_size=size, shuffle=True, drop_last=True) for size in sizes}
    turns: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(TURNS):
        for size, batches in each.items():
            steps, start = 0, time.perf_counter()
            while time.perf_counter() - start < budget / TURNS:
                for xb, yb in batches:
                    optimizer.zero_grad()
                    loss_fn(model(xb), yb).backward()
                    optimizer.step()
                    steps += 1
                    if time.perf_counter() - start > budget / TURNS:
                        break
            turns[size].append((time.perf_counter() - start) / steps)
    return {size: float(np.median(seconds)) for size, seconds in turns.items()}
