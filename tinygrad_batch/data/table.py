"""Data any row of which can be read, and the sampler that says which comes when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..errors import ArgumentError
from .arrays import Array, check_aligned
from .checks import check_flag
from .form import Form
from .orders import Rows
from .plan import Plan
from .samplers import Sampler, Sequential, Shuffled
from .sources import as_named_sources
from .stream import Stream


class Table:
    """Sources side by side: row ``i`` of each belongs to the same example.

    Attributes
    ----------
    sources : dict of str to source
    sampler : Sampler
    form : Form
        Of a batch.
    rows, per_epoch : int
        How many there are, and how many an epoch visits.
    in_memory : bool
        Whether all are arrays in memory.
    """

    def __init__(self, arrays: tuple[Any, ...], sampler: Sampler) -> None:
        self.sources = as_named_sources(arrays)
        self.sampler = sampler
        self.form = Form(tuple(self.sources), isinstance(arrays[0], Mapping))
        self.rows = check_aligned(self.sources)
        self.in_memory = all(isinstance(source, np.ndarray) for source in self.sources.values())
        sampler.check(self.rows)
        self.per_epoch = sampler.count(self.rows)

    def pieces(self, plan: Plan, epoch: int, step: int) -> Iterator[list[Any]]:
        """Yield, from a batch on, the numbers of the next rows; with the rows, where they are read in windows."""
        order = self.sampler.pieces(self.rows, plan.batch_size, plan.seed, epoch, step * plan.batch_size)
        if self.in_memory or not self.sampler.windowed:
            return ([rows] for rows in order)
        return ([rows, *self.read(rows)] for rows in order)

    def read(self, rows: range | Rows) -> list[Array]:
        """Return these rows of every source: views where they lie in line, else copies."""
        if isinstance(rows, range):
            return [source[rows.start : rows.stop : rows.step] for source in self.sources.values()]
        return [source.take(rows, axis=0) for source in self.sources.values()]

    def __repr__(self) -> str:
        return repr(self.sampler)


def table_or_stream(arrays: tuple[Any, ...], shuffle: bool, sampler: Sampler | None) -> Table | Stream:
    """Return the data that a `DataIterator` was given.

    Raises
    ------
    ArgumentError
        For a stream beside other data or with a sampler, a sampler that is none, or `shuffle` beside a sampler.
    """
    shuffle = check_flag(shuffle, "shuffle")
    if sampler is not None and not isinstance(sampler, Sampler):
        raise ArgumentError(f"sampler is a {type(sampler).__name__}; expected a sampler", "Such as Shuffled()")
    if sampler is not None and shuffle:
        raise ArgumentError("both shuffle=True and a sampler were given", "A sampler says all about the order")
    if not any(isinstance(array, Stream) for array in arrays):
        return Table(arrays, sampler or (Shuffled() if shuffle else Sequential()))
    if len(arrays) > 1:
        raise ArgumentError("a stream was given among other data", "Let it give tuples, of all that belongs to a row")
    if sampler is not None or shuffle:
        raise ArgumentError("a stream has no sampler", "To shuffle it in windows: Stream(rows, window=1024)")
    stream: Stream = arrays[0]
    return stream
