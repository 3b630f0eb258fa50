"""Which batch size to take, and why, in three sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np

from .. import nn
from ..errors import ArgumentError
from ..problem import Problem
from . import words
from .memory import as_bytes, in_words, largest_batch
from .scaling import TIE, Scaling, scaling

FLAT = 1.3  # rows to the goal, by the fewest, that still count as the same


@dataclass(frozen=True, slots=True)
class Advice:
    """What was found, and one batch size.

    Attributes
    ----------
    batch_size : int
        The recommended one.
    rate : float
        The learning rate that suited it.
    reasons : tuple of str
        Three sentences.
    largest : int
        The most rows whose step fits into the memory.
    flat : tuple of int
        The least and the largest of the batch sizes that see about the fewest rows on the way to the goal.
    fastest : int
        The one that reached the goal in the least time on this machine.
    seconds : dict of int to float
        Time to the goal, by batch size.
    """

    batch_size: int
    rate: float
    reasons: tuple[str, str, str]
    largest: int
    flat: tuple[int, int]
    fastest: int
    seconds: dict[int, float]

    def __str__(self) -> str:
        return f"batch size {self.batch_size}, learning rate {self.rate:.3g}\n" + "\n".join(self.reasons)


def advise(
    model: nn.Module,
    data: Iterable[np.ndarray],
    memory: int | str = "512 MiB",
    *,
    loss_fn: nn.Loss | None = None,
    goal: float | None = None,
    batch_sizes: Sequence[int | None] | None = None,
    seeds: Sequence[int] = range(3),
) -> Advice:
    """Find a batch size for a model and its data, by training it a little with several.

    Parameters
    ----------
    model : Module
        Every training starts from its weights; it is not changed.
    data : pair of ndarray, or Dataset
        Rows to train on, on a sensible scale, and their targets: numbers of shape (rows, outputs), or classes (rows,).
    memory : int or str
        What a step may take.
    loss_fn : Loss, optional
        By default the mean squared error, or cross-entropy for classes.
    goal : float, optional
        The loss to be reached; see `tinygrad_batch.batchlab.scaling`.
    batch_sizes : sequence of int or None, optional
        To try; by default powers of 4, and all rows.
    seeds : sequence of int
        Of the orders of the rows.

    Returns
    -------
    Advice
        Print it.

    Raises
    ------
    ArgumentError
        If the goal is not reached with any batch size, or not even one row fits into the memory.

    Examples
    --------
    >>> from tinygrad_batch.data import make_regression
    >>> net = nn.Sequential(nn.Linear(10, 15, rng=0), nn.Tanh(), nn.Linear(15, 1, rng=1))
    >>> found = advise(net, make_regression(rows=200), batch_sizes=[8, 64], seeds=[0])
    >>> found.batch_size in (8, 64), found.largest > 1_000_000, len(found.reasons)
    (True, True, 3)
    """
    x, y = (np.asarray(array) for array in data)
    if loss_fn is None:
        loss_fn = nn.CrossEntropyLoss() if y.ndim == 1 and y.dtype.kind in "iu" else nn.MSELoss()
    problem = Problem("your data", x, y, x, y, lambda seed: deepcopy(model), loss_fn, goal)
    sizes = batch_sizes or [*(4**power for power in range(10) if 4**power < len(x)), None]
    return advice(problem, scaling(problem, sizes, seeds=seeds, held_out=False), memory)


def advice(problem: Problem, found: Scaling, memory: int | str = "512 MiB") -> Advice:
    """Return advice from what is known about the updates to a goal; see `advise`."""
    like = (problem.x[:1], problem.y[:1])
    largest = largest_batch(problem.build(0), problem.loss_fn, memory, like=like).rows
    arrived = [one for one in found.tuned if np.isfinite(one.mean_updates)]
    if not arrived:
        raise ArgumentError(f"no batch size reached a loss of {found.goal:g}", "Give a goal that is easier to reach")
    rows_seen = {one.batch_size: one.mean_updates * one.batch_size for one in arrived}
    fewest = min(rows_seen.values())
    flat = [size for size, rows in rows_seen.items() if rows <= FLAT * fewest]
    seconds = {one.batch_size: one.mean_updates * found.seconds[one.batch_size] for one in arrived}
    fastest = min(seconds, key=seconds.__getitem__)
    fitting = [size for size in seconds if size <= largest]
    if not fitting:
        room = in_words(as_bytes(memory))
        raise ArgumentError(
            f"{largest} rows fit into {room}, and the smallest batch that was tried has {min(seconds)}",
            "Try smaller batches, or accumulate gradients over micro-batches",
        )
    quickest = min(seconds[size] for size in fitting)
    best = min(size for size in fitting if seconds[size] <= TIE * quickest)
    return Advice(
        batch_size=best,
        rate=next(one.rate for one in arrived if one.batch_size == best),
        reasons=_reasons(problem, found, memory, largest, flat, best, seconds),
        largest=largest,
        flat=(min(flat), max(flat)),
        fastest=fastest,
        seconds=seconds,
    )


def _reasons(
    problem: Problem,
    found: Scaling,
    memory: int | str,
    largest: int,
    flat: Sequence[int],
    best: int,
    seconds: dict[int, float],
) -> tuple[str, str, str]:
    room = in_words(as_bytes(memory))
    everything = " (all rows at once would fit)" if largest >= problem.rows else ""
    fits = f"Memory: up to {largest:,} rows fit into {room}{everything}."
    span = f"{min(flat)}" if min(flat) == max(flat) else f"{min(flat)} to {max(flat)}"
    critical = f", and the critical size is about {found.law.critical:.0f}" if found.law is not None else ""
    rows = f"Rows: batches of {span} see about equally few rows on the way to a loss of {found.goal:.3g}{critical}."
    slowest, fastest = (pick(seconds, key=seconds.__getitem__) for pick in (max, min))
    duration = words.seconds(seconds[best])
    time = (
        f"Time: {words.batch(best, problem.rows)} at a time get there in {duration} on this machine, "
        f"{words.times(seconds[slowest] / seconds[best])} as fast as {words.batch(slowest, problem.rows)}"
    )
    if fastest > largest:
        time += f"; {fastest:,} would be faster, and do not fit"
    elif fastest != best:
        time += f"; {fastest:,} are as fast, as far as can be told"
    return fits, rows, f"{time}."
