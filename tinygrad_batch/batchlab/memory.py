"""The first reason for batches: what a training step takes grows with its rows.

Everything here is priced on shapes alone (`tinygrad_batch.price`), and what is priced can be measured: with
tracemalloc, which counts what NumPy allocates, and by what a process of its own has resident.
"""

from __future__ import annotations

import gc
import math
import re
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .. import nn
from ..accumulate import accumulate
from ..calling import stand_in, wrap
from ..capture import capture
from ..data.orders import generator
from ..errors import ArgumentError
from ..memory import Price, format_bytes, price
from ..optim import SGD
from ..optim.optimizer import Optimizer
from ..problem import Problem
from ..recompute import checkpoint_sequential
from ..state import abstract, no_grad
from . import child
from .ensemble import batch_norms
from .noise import row_gradients
from .training import in_rows, train

UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
FEW = 8_192  # rows from which on all the blocks of a step have their full size
PAGES = 1 << 16  # bytes that are lost where arrays begin on pages of their own, and for Python's objects


def as_bytes(memory: int | str) -> int:
    """Return an amount of memory in bytes.

    Examples
    --------
    >>> as_bytes("512 MiB"), as_bytes("1.5 GB"), as_bytes("1000"), as_bytes(1000)
    (536870912, 1500000000, 1000, 1000)
    """
    if isinstance(memory, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?i?B|)\s*", memory, re.IGNORECASE)
        amount: Any = round(float(found[1]) * UNITS[found[2].upper() or "B"]) if found else None
    else:
        amount = memory
    if isinstance(amount, bool) or not isinstance(amount, int | np.integer) or amount < 1:
        raise ArgumentError(f"memory is {memory!r}", "Write it as '512 MiB', '2 GB' or a number of bytes")
    return int(amount)


def in_words(memory: int) -> str:
    """Return an amount of memory as it was asked for.

    Examples
    --------
    >>> in_words(as_bytes("512 MiB")), in_words(as_bytes("2 GB")), in_words(4 << 30)
    ('512 MiB', '2.0 GB', '4 GiB')
    """
    for unit in ("TIB", "GIB", "MIB"):
        if memory and memory % UNITS[unit] == 0:
            return f"{memory // UNITS[unit]:,} {unit.replace('I', 'i')}"
    return format_bytes(memory)


def training_step(model: nn.Module, loss_fn: nn.Module, optimizer: Optimizer | None = None) -> Callable[..., Any]:
    """Return the step ``(xb, *targets)``: forget the gradients, forward, backward and, with an optimiser, update."""

    def step(x: Any, *targets: Any) -> Any:
        model.zero_grad()
        loss = loss_fn(model(x), *targets)
        loss.backward()
        if optimizer is not None:
            optimizer.step()
        return loss

    return step


def batch_like(model: nn.Module, loss_fn: nn.Module, like: Sequence[Any] | None = None) -> list[np.ndarray]:
    """Return stand-ins for a batch of one row, without elements.

    Parameters
    ----------
    model, loss_fn : Module
    like : sequence of array_like, optional
        A batch, for its shapes. Left out, they are those that the model's first layer, if it is a `Linear`, takes, and
        that the loss compares with what comes out.

    Raises
    ------
    ArgumentError
        If the model does not begin with a linear layer.
    """
    if like is not None:
        return [stand_in((1, *np.shape(array)[1:]), getattr(array, "dtype", np.float64)) for array in like]
    layers = [layer for _, layer in model.named_modules() if not list(layer.named_children())]
    if not layers or not isinstance(layers[0], nn.Linear):
        raise ArgumentError(
            f"the shape of a row cannot be told from {model.label()}", "Give a batch: like=(x[:1], y[:1])"
        )
    x = stand_in((1, layers[0].weight.shape[0]), layers[0].weight.dtype)
    with abstract(), no_grad():
        out = model(wrap(x))
    if isinstance(loss_fn, nn.CrossEntropyLoss):
        return [x, stand_in((1,), np.int64)]
    return [x, stand_in(out.shape, out.dtype)]


@dataclass(frozen=True, slots=True)
class LargestBatch:
    """The most rows that fit.

    Attributes
    ----------
    rows : int
    memory : int
        Bytes that were allowed.
    price : Price
        Of a step with so many rows.
    fits, one_per_cent_more_fits : bool or None
        Whether a process with that limit did the step, and whether with 1 % more rows it did; None if not tried.
    """

    rows: int
    memory: int
    price: Price
    fits: bool | None = None
    one_per_cent_more_fits: bool | None = None

    def __str__(self) -> str:
        said = f"{self.rows:,} rows fit into {in_words(self.memory)}: {self.price.total}"
        if self.fits is not None:
            tried = ("ran" if self.fits else "did not run", "ran" if self.one_per_cent_more_fits else "did not")
            said += f"\nunder that limit a process {tried[0]} with them, and {tried[1]} with 1 % more"
        return said


def largest_batch(
    model: nn.Module,
    loss_fn: nn.Module,
    memory: int | str = "512 MiB",
    *,
    like: Sequence[Any] | None = None,
    optimizer: Optimizer | None = None,
    confirm: bool = False,
) -> LargestBatch:
    """Return the largest batch whose training step fits into some memory, without trying any.

    Two prices, which take no memory, lie on a line, and the line says where the memory ends.

    Parameters
    ----------
    model, loss_fn : Module
    memory : int or str
        For the batch, the parameters, their gradients, the arrays of the optimiser and everything on its way:
        bytes, or such as ``"512 MiB"``. Python and its libraries, about 50 MB, come on top.
    like : sequence of array_like, optional
        A batch, for the shapes of a row; see `batch_like`.
    optimizer : Optimizer, optional
        By default plain SGD.
    confirm : bool
        Run the step in a process of its own under a hard limit, with these rows and with 1 % more (Linux).

    Returns
    -------
    LargestBatch

    Raises
    ------
    ArgumentError
        If not even one row fits.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> model = tb.nn.Sequential(tb.nn.Linear(10, 15), tb.nn.Tanh(), tb.nn.Linear(15, 1))
    >>> largest_batch(model, tb.nn.MSELoss(), memory="512 MiB").rows
    1597630
    """
    allowed = as_bytes(memory)
    batch = batch_like(model, loss_fn, like)
    step = training_step(model, loss_fn, optimizer or SGD(model.parameters(), lr=1e-9))

    def priced(rows: int) -> Price:
        return price(step, *[wrap(array) for array in batch], rows=rows)

    rows, found = _most_rows(priced, allowed - min(PAGES, allowed // 64))
    if rows < 1:
        raise ArgumentError(f"not even one row fits into {in_words(allowed)}: a step takes {found.total}")
    if not confirm:
        return LargestBatch(rows, allowed, found)
    left = allowed - found.parameter_bytes - found.state_bytes  # these are there already

    def fits(rows: int) -> bool:
        def run(rows: int) -> str:
            step(*[wrap(array) for array in filled(batch, rows)])
            return "ran"

        def warm_up() -> None:
            run(FEW)
            model.zero_grad()

        return bool(child.run(lambda: run(rows), left, warm_up) != child.OUT_OF_MEMORY)

    return LargestBatch(rows, allowed, found, fits(rows), fits(math.ceil(rows * 1.01)))


def filled(batch: Sequence[np.ndarray], rows: int) -> list[np.ndarray]:
    """Return a real batch of so many rows: small numbers, and class 0."""
    return [np.full((rows, *a.shape[1:]), 0 if a.dtype.kind in "iu" else 0.1, a.dtype) for a in batch]


def _most_rows(priced: Callable[[int], Price], room: int) -> tuple[int, Price]:
    """Return the most rows that fit, and their price: where the line through the last price ends, until that is so."""
    fits, too_many, rows = 0, 0, FEW
    best = priced(rows)
    for _ in range(20):
        found = priced(rows)
        line = found.total
        if line.per_row <= 0:
            raise ArgumentError("a step of this model takes no memory that grows with the rows")
        if line.at(rows) <= room:
            fits, best = max(fits, rows), found
        else:
            too_many = rows
        guess = math.floor((room - line.constant) / line.per_row)
        if guess == rows:
            break
        # the price bends where blocks reach their full size: then the line leads astray, and halving goes on
        if guess <= fits or (too_many and guess >= too_many):
            guess = (fits + too_many) // 2 if too_many else 2 * fits
        if guess <= fits:
            break
        rows = guess
    return fits, best if fits else found


@dataclass(frozen=True, slots=True)
class Measured:
    """What a step with so many rows was priced at, and what it took.

    Attributes
    ----------
    rows : int
    kept, peak : int
        Priced bytes: kept for the backward pass, and most at one time.
    traced : int
        The peak that tracemalloc counted.
    resident : int or None
        The peak of what a process of its own had resident; None where the system does not tell.
    """

    rows: int
    kept: int
    peak: int
    traced: int
    resident: int | None


def measure(step: Callable[..., Any], batch: Sequence[np.ndarray], rows: int, *, in_process: bool = True) -> Measured:
    """Price a step, run it, and return both.

    Parameters
    ----------
    step : callable
    batch : sequence of ndarray
        See `batch_like`.
    rows : int
    in_process : bool
        Whether to run it in a process of its own, too, and see what that has resident.
    """
    priced = price(step, *[wrap(array) for array in batch], rows=rows)

    def resident() -> int:
        arrays = [wrap(array) for array in filled(batch, rows)]
        step(*arrays)  # BLAS takes its buffers
        child.give_back()
        child.forget_peak()
        before = child.status("VmRSS")
        step(*arrays)
        return child.status("VmHWM") - before

    return Measured(
        rows=rows,
        kept=priced.kept.at(rows),
        peak=priced.peak.at(rows),
        traced=_traced(step, batch, rows),
        resident=child.run(resident) if in_process and child.available() else None,
    )


def _traced(step: Callable[..., Any], batch: Sequence[np.ndarray], rows: int) -> int:
    arrays = [wrap(array) for array in filled(batch, rows)]
    step(*arrays)  # what is made once and then kept
    gc.collect()
    already = tracemalloc.is_tracing()
    if not already:
        tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        step(*arrays)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        if not already:
            tracemalloc.stop()


@dataclass(frozen=True, slots=True)
class Accumulated:
    """A batch cut into parts: how far the gradient is from that of the whole, as a part of its length.

    Attributes
    ----------
    rows : int
    parts : tuple of int
        Rows of each.
    by_rows : float
        With the parts weighted by their rows, as `tinygrad_batch.accumulate` does.
    mean_of_means : float
        With the parts' mean gradients averaged: root mean square over orders of the rows.
    mean_of_means_later : float
        The same after some training, when the gradient of all rows is shorter and those of the rows still differ.
    """

    rows: int
    parts: tuple[int, ...]
    by_rows: float
    mean_of_means: float
    mean_of_means_later: float


def accumulation_errors(
    problem: Problem, sizes: Sequence[int] = (177, 100, 64, 32), *, epochs: float = 10, orders: int = 200, seed: int = 0
) -> list[Accumulated]:
    """Add up the gradients of parts of all rows, the last part being what is left, and compare with the whole.

    Parameters
    ----------
    problem : Problem
    sizes : sequence of int
        Rows of a part.
    epochs : float
        Of training, before the second comparison of the mean of means.
    orders : int
        How often the rows are dealt out anew.
    seed : int
        Of the net, and of the orders.

    Returns
    -------
    list of Accumulated
        Empty with batch normalisation, where no weights make parts equal to the whole.
    """
    if batch_norms(problem.build(seed)):
        return []
    start, loss_fn, rows = problem.build(seed), problem.loss_fn, problem.rows
    trained = train(problem, min(16, rows), [0.05], [seed], epochs=epochs).ensemble
    nets = [start] if trained is None else [start, trained.model(0)]
    each = [row_gradients(net, loss_fn, problem.x, problem.y) for net in nets]

    def gradient(parts: int) -> np.ndarray:
        start.zero_grad()
        accumulate(start, loss_fn, problem.x, problem.y, micro_batches=parts)
        return np.concatenate([p.grad.data.ravel() for p in start.parameters() if p.grad is not None])

    rng, found = generator(seed), []
    shuffled = rng.permuted(np.tile(np.arange(rows), (orders, 1)), axis=1)
    for size in sizes:
        if size < rows:
            counts = np.diff([*range(0, rows, size), rows])
            share = np.repeat(1 / (len(counts) * counts), counts) - 1 / rows  # of a row, in its place, beyond its due
            weights = np.empty((orders, rows))
            np.put_along_axis(weights, shuffled, share[None], axis=1)
            off = [_length(weights @ one) / _length(one.mean(0)) for one in each]
            by_rows = _length(gradient(len(counts)) - each[0].mean(0)) / _length(each[0].mean(0))
            found.append(Accumulated(rows, tuple(counts.tolist()), by_rows, off[0], off[-1]))
    return found


def _length(vectors: np.ndarray) -> float:
    """Return the length of a vector, or the root mean square of the lengths of several."""
    return float(np.sqrt((vectors**2).sum(-1).mean()))


def checkpoint_curve(
    layers: int = 64, width: int = 32, segments: Sequence[int] = (1, 2, 4, 8, 16, 32, 64)
) -> dict[int, float]:
    """Return the peak of a step through equal layers cut into segments, each but the last a checkpoint.

    Parameters
    ----------
    layers : int
        Each a linear layer and a tanh.
    width : int
    segments : sequence of int

    Returns
    -------
    dict of int to float
        By segments, in units of the output of one layer.

    Examples
    --------
    >>> checkpoint_curve(16, segments=(1, 4, 16))
    {1: 17.0, 4: 10.0, 16: 19.0}
    """
    net = [nn.Sequential(nn.Linear(width, width, rng=0), nn.Tanh()) for _ in range(layers)]
    loss_fn, found = nn.MSELoss(), {}
    batch = [wrap(stand_in((1, width), np.float64))] * 2
    for count in segments:
        step = partial(_checkpointed, net, loss_fn, count)
        found[count] = price(step, *batch, rows=100_000).peak.per_row / (8 * width)
    return found


def _checkpointed(layers: Sequence[nn.Module], loss_fn: nn.Module, segments: int, x: Any, y: Any) -> None:
    loss_fn(checkpoint_sequential(layers, segments, x), y).backward()


@dataclass(frozen=True, slots=True)
class MemoryReport:
    """What a step of a problem takes by batch size.

    Attributes
    ----------
    price : Price
        Of a step with 1,000,000 rows; its lines hold for any number from some thousands on.
    by_batch : tuple of Measured
        Priced and measured at the batch sizes that were asked for.
    measured : tuple of Measured
        The same with many more rows.
    largest : LargestBatch
    accumulated : tuple of Accumulated
    checkpoints : dict of int to float
        See `checkpoint_curve`.
    forward_flops, backward_flops : int
        Floating-point operations of the passes for each row.
    """

    price: Price
    by_batch: tuple[Measured, ...]
    measured: tuple[Measured, ...]
    largest: LargestBatch
    accumulated: tuple[Accumulated, ...]
    checkpoints: dict[int, float]
    forward_flops: int
    backward_flops: int


def memory_report(
    problem: Problem,
    batch_sizes: Sequence[int | None],
    *,
    memory: int | str = "512 MiB",
    many: Sequence[int] = (1_000, 20_000, 200_000),
    confirm: bool = False,
) -> MemoryReport:
    """Price a problem's training step for any batch size, and measure it for some.

    Parameters
    ----------
    problem : Problem
    batch_sizes : sequence of int or None
    memory : int or str
        For the largest batch.
    many : sequence of int
        More numbers of rows to measure.
    confirm : bool
        See `largest_batch`.
    """
    model, loss_fn = problem.build(0), problem.loss_fn
    like = (problem.x[:1], problem.y[:1])
    batch = batch_like(model, loss_fn, like)
    step = training_step(model, loss_fn, SGD(model.parameters(), lr=1e-9))
    sizes = in_rows(batch_sizes, problem.rows)
    with capture(statistics=False) as trace:
        step(*[wrap(array) for array in filled(batch, 100)])
    flops = [sum(one.flops for one in trace.phase(phase)) // 100 for phase in ("forward", "backward")]
    return MemoryReport(
        price=price(step, *[wrap(array) for array in batch], rows=1_000_000),
        by_batch=tuple(measure(step, batch, size, in_process=False) for size in sizes),
        measured=tuple(measure(step, batch, rows) for rows in many),
        largest=largest_batch(model, loss_fn, memory, like=like, confirm=confirm),
        accumulated=tuple(accumulation_errors(problem)),
        checkpoints=checkpoint_curve(),
        forward_flops=flops[0],
        backward_flops=flops[1],
    )
