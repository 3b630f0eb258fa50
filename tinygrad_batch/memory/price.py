"""The price of a training step: the memory that it will take with any number of rows, before it has run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..calling import stand_in, wrap
from ..errors import ArgumentError, ShapeError
from ..state import state
from ..tensor import Tensor
from .kept import format_bytes
from .meter import PHASES, Meter


@dataclass(frozen=True, slots=True)
class Line:
    """Bytes as a constant plus so many for each row.

    Examples
    --------
    >>> line = Line(2688.0, 320.0)
    >>> line.at(1000), str(line)
    (322688, '2.7 kB + 320 B × rows')
    """

    constant: float
    per_row: float

    @classmethod
    def through(cls, rows: int, nbytes: int, other_rows: int, other_nbytes: int) -> Line:
        """Return the line through two points."""
        per_row = (other_nbytes - nbytes) / (other_rows - rows)
        return cls(nbytes - per_row * rows, per_row)

    def at(self, rows: int) -> int:
        """Return the bytes for so many rows."""
        return round(self.constant + self.per_row * rows)

    def __str__(self) -> str:
        per_row = f"{self.per_row:,.6g} B × rows" if self.per_row else ""
        constant = format_bytes(round(self.constant)) if round(self.constant) or not per_row else ""
        return " + ".join(part for part in (constant, per_row) if part)


@dataclass(frozen=True, slots=True)
class LayerPrice:
    """What one layer keeps for the backward pass.

    Attributes
    ----------
    path, label : str
        Such as ``1`` and ``Tanh``; both empty for what is computed outside any layer.
    kept : Line
    """

    path: str
    label: str
    kept: Line

    @property
    def name(self) -> str:
        """Path and label, where they differ."""
        return self.label if self.path in ("", self.label) else f"{self.path} {self.label}"


@dataclass(frozen=True, slots=True)
class Price:
    """The memory of a training step, in bytes.

    The lines hold for as many rows as were asked for, and for more: below some thousands of rows, blocks that fit
    into the processor's cache are a larger part of it.

    Attributes
    ----------
    rows : int
        The rows that it was asked for.
    data : Line
        The batch itself.
    kept : Line
        What the forward pass keeps for the backward pass, less the batch itself.
    layers : tuple of LayerPrice
        The same by layers, in the order in which they ran.
    forward, backward, update : Line
        The most that stands in memory at one time during each of them: what is kept, results on their way, gradients.
        The batch, the parameters and the arrays of the optimiser are not in it.
    parameter_bytes, gradient_bytes, state_bytes : int
        Parameters, the gradients that stay after a step, and what the optimiser keeps.
    """

    rows: int
    data: Line
    kept: Line
    layers: tuple[LayerPrice, ...]
    forward: Line
    backward: Line
    update: Line
    parameter_bytes: int
    gradient_bytes: int
    state_bytes: int

    @property
    def peak(self) -> Line:
        """The most of forward, backward and update, with the rows that were asked for."""
        return max((self.forward, self.backward, self.update), key=lambda line: line.at(self.rows))

    @property
    def total(self) -> Line:
        """Everything: the batch, the parameters, the optimiser's arrays and the peak."""
        peak = self.peak
        fixed = self.parameter_bytes + self.state_bytes
        return Line(peak.constant + self.data.constant + fixed, peak.per_row + self.data.per_row)

    def __str__(self) -> str:
        entries = [
            ("the batch itself", self.data),
            ("kept for the backward pass", self.kept),
            *[(f"  {layer.name}", layer.kept) for layer in self.layers if layer.kept.at(self.rows)],
            ("most at one time, forward", self.forward),
            ("most at one time, backward", self.backward),
            ("most at one time, update", self.update),
            ("parameters and optimiser", Line(self.parameter_bytes + self.state_bytes, 0.0)),
            ("in all", self.total),
        ]
        width = max(len(name) for name, _ in entries)
        wide = max(len(str(line)) for _, line in entries)
        head = f"{'':<{width}}  {'':<{wide}}  {self.rows:>12,} rows"
        lines = [f"{name:<{width}}  {line!s:<{wide}}  {format_bytes(line.at(self.rows)):>17}" for name, line in entries]
        return "\n".join([head, *lines])


def price(step: Callable[..., Any], *batch: Any, rows: int | None = None) -> Price:
    """Price a training step: what it takes in memory with so many rows, from shapes alone.

    The step runs as ever, but on arrays that have a shape and no memory, so that a batch of any size takes no
    memory and next to no time; parameters, gradients and random numbers stay as they are. What it counts is what
    the eager step will allocate, to the byte for dense layers, and to a few per cent for convolutions.

    Parameters
    ----------
    step : callable
        Takes the batch, does forward, backward and, if it does, an update: what is run for each batch.
    *batch : array_like or Tensor
        One batch of any size, for the shape of a row and the dtypes; not read.
    rows : int, optional
        Of the batch to price; by default as many as were given.

    Returns
    -------
    Price
        Printing it gives a table.

    Raises
    ------
    ArgumentError
        If no batch is given, or fewer than 1 row is asked for.
    ShapeError
        If an array has no rows.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> nn = tb.nn
    >>> net = nn.Sequential(nn.Linear(10, 15), nn.Tanh(), nn.Linear(15, 10), nn.Tanh(), nn.Linear(10, 1))
    >>> loss_fn, optimizer = nn.MSELoss(), tb.optim.SGD(net.parameters(), lr=0.05)
    >>> def step(xb, yb):
    ...     optimizer.zero_grad()
    ...     loss_fn(net(xb), yb).backward()
    ...     optimizer.step()
    >>> cost = tb.price(step, tb.ones(5, 10), tb.ones(5, 1), rows=10_000_000)
    >>> print(cost)  # doctest: +NORMALIZE_WHITESPACE
                                                         10,000,000 rows
    the batch itself            88 B × rows                       880 MB
    kept for the backward pass  208 B × rows                      2.1 GB
      1 Tanh                    120 B × rows                      1.2 GB
      3 Tanh                    80 B × rows                       800 MB
      MSELoss                   8 B × rows                       80.0 MB
    most at one time, forward   280 B × rows                      2.8 GB
    most at one time, backward  1.4 kB + 320 B × rows             3.2 GB
    most at one time, update    3.9 kB                            3.9 kB
    parameters and optimiser    2.7 kB                            2.7 kB
    in all                      4.1 kB + 408 B × rows             4.1 GB
    """
    if not batch:
        raise ArgumentError("price() was given no batch", "Give arrays as the step takes them: price(step, x, y)")
    arrays = [given._data if isinstance(given, Tensor) else np.asarray(given) for given in batch]
    for place, array in enumerate(arrays):
        if array.ndim == 0:
            raise ShapeError(f"array {place} of the batch is a single number; its first axis counts the rows")
    rows = len(arrays[0]) if rows is None else rows
    if rows < 1:
        raise ArgumentError(f"a batch has 1 row or more, not {rows}")
    once, twice = (_metered(step, arrays, count) for count in (rows, 2 * rows))

    def line(nbytes: Callable[[Meter], int]) -> Line:
        return Line.through(rows, nbytes(once), 2 * rows, nbytes(twice))

    def peak(phase: str) -> Line:
        return line(lambda meter: meter.peaks[phase])

    labels = twice.labels | once.labels
    return Price(
        rows=rows,
        data=Line(0.0, float(sum(array.nbytes for array in arrays) / len(arrays[0]) if len(arrays[0]) else 0.0)),
        kept=line(lambda meter: sum(meter.kept.values())),
        layers=tuple(
            # a step may do something else with more rows, and run other layers
            LayerPrice(path, labels.get(path, ""), line(lambda meter, path=path: meter.kept.get(path, 0)))  # type: ignore[misc]
            for path in once.kept | twice.kept
        ),
        forward=peak(PHASES[0]),
        backward=peak(PHASES[1]),
        update=peak(PHASES[2]),
        parameter_bytes=once.parameter_bytes,
        gradient_bytes=once.gradient_bytes,
        state_bytes=once.state_bytes,
    )


def _metered(step: Callable[..., Any], arrays: list[np.ndarray], rows: int) -> Meter:
    """Run a step twice on stand-ins: the first time leaves the gradients that a step in training finds."""
    given = [stand_in((rows, *array.shape[1:]), array.dtype) for array in arrays]
    meter = Meter(given)
    try:
        with state.switch(recorder=meter, abstract=True):
            for _ in range(2):
                meter.restart()
                step(*[wrap(array) for array in given])
    finally:
        meter.put_back()
    return meter
