"""Which batch size to take, and why, in three sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np

from .. import nn
from ..creation import asarray
from ..errors import ArgumentError
from ..problem import Problem
from ..state import no_grad
from . import words
from .ensemble import batch_norms
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
        If the goal is not reached with any batch size, or is reached already; if the smallest batch does not fit into
        the memory; if the data are no two arrays of as many rows, numbers all of them; or if batch sizes or seeds make
        no sense.
    ShapeError
        If the model does not take the rows, or the loss not what it makes of them.

    Examples
    --------
    >>> from tinygrad_batch.data import make_regression
    >>> net = nn.Sequential(nn.Linear(10, 15, rng=0), nn.Tanh(), nn.Linear(15, 1, rng=1))
    >>> found = advise(net, make_regression(rows=200), batch_sizes=[8, 64], seeds=[0])
    >>> found.batch_size in (8, 64), found.largest > 1_000_000, len(found.reasons)
    (True, True, 3)
    """
    x, y = _two_arrays(data)
    if loss_fn is None:
        loss_fn = nn.CrossEntropyLoss() if y.ndim == 1 and y.dtype.kind in "iu" else nn.MSELoss()
    with no_grad():
        loss_fn(deepcopy(model)(asarray(x[:2])), asarray(y[:2]))  # what does not fit together is told here, plainly
    problem = Problem("your data", x, y, x, y, lambda seed: deepcopy(model), loss_fn, goal)
    least = 1 if batch_norms(model) else 0
    sizes = [*(4**power for power in range(least, 10) if 4**power < len(x)), None]
    found = scaling(problem, sizes if batch_sizes is None else batch_sizes, seeds=seeds, held_out=False)
    return advice(problem, found, memory)


def _two_arrays(data: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and targets, or raise ArgumentError."""
    arrays = [np.asarray(array) for array in data]
    if len(arrays) != 2:
        raise ArgumentError(f"the data are {len(arrays)} arrays", "Give two: rows and their targets")
    for name, array in zip(("x", "y"), arrays, strict=True):
        if array.ndim == 0 or array.dtype.kind not in "biuf":
            raise ArgumentError(f"{name} has dtype {array.dtype} and shape {array.shape}; rows of numbers are taken")
        strange = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1) if array.size else np.zeros(1, bool)
        if strange.any():
            raise ArgumentError(
                f"{name} has numbers that are NaN or infinite in {strange.sum()} of {len(array)} rows, "
                f"first in row {strange.argmax()}",
                "Leave these rows out, or fill them in",
            )
    x, y = arrays
    if len(x) != len(y) or len(x) < 2:
        raise ArgumentError(f"x has {len(x)} rows, and y {len(y)}", "Give as many targets as rows, two or more")
    return x, y


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
