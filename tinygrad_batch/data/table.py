"""Data any row of which can be read, and the sampler that says which comes when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..errors import ArgumentError, DataError
from .arrays import Array, check_aligned
from .checks import check_flag
from .form import Form
from .orders import Rows, as_numbers
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
    repeats : bool
        Whether a row may come again in an epoch.
    """

    def __init__(self, arrays: tuple[Any, ...], sampler: Sampler) -> None:
        self.sources = as_named_sources(arrays)
        self.sampler = sampler
        self.form = Form(tuple(self.sources), isinstance(arrays[0], Mapping))
        self.rows = check_aligned(self.sources)
        self.in_memory = all(isinstance(source, np.ndarray) for source in self.sources.values())
        sampler.check(self.rows)
        self.per_epoch = sampler.count(self.rows)
        self.repeats = sampler.repeats

    def pieces(self, plan: Plan, epoch: int, step: int) -> Iterator[list[Any]]:
        """Yield, from a batch on, the numbers of the next rows; with the rows, where they are read in windows."""
        start = step * plan.batch_size
        order = self._checked(self.sampler.pieces(self.rows, plan.batch_size, plan.seed, epoch, start), epoch, start)
        if self.in_memory or not self.sampler.windowed:
            return ([rows] for rows in order)
        return ([rows, *self.read(rows)] for rows in order)

    def _checked(self, pieces: Iterable[range | Rows], epoch: int, start: int) -> Iterator[range | Rows]:
        """Yield an order from a position on, if it names rows that there are, and as many as the sampler said."""
        where, given = f"{self.sampler!r} in epoch {epoch}", start
        for rows in pieces:
            if not isinstance(rows, range) or rows.step < 0:  # no slice goes down to row 0
                rows = as_numbers(rows)
                if rows.ndim != 1 or (len(rows) and rows.dtype.kind not in "iu"):
                    raise DataError(f"{where} gave {rows.dtype} of shape {rows.shape}; expected the numbers of rows")
                rows = rows.astype(np.intp, copy=False)
            for row in _ends(rows) if len(rows) else ():
                if not 0 <= row < self.rows:
                    raise DataError(f"{where} gave the row {row}; there are {self.rows} rows, from 0")
            given += len(rows)
            yield rows
        if given != self.per_epoch:
            raise DataError(f"{where} gave {given} rows; its count says {self.per_epoch}", "Let the two agree")

    def read(self, rows: range | Rows) -> list[Array]:
        """Return these rows of every source: views where they lie in line, else copies."""
        if isinstance(rows, range):
            return [source[rows.start : rows.stop : rows.step] for source in self.sources.values()]
        return [source.take(rows, axis=0) for source in self.sources.values()]

    def __repr__(self) -> str:
        return repr(self.sampler)


def _ends(rows: range | Rows) -> tuple[int, int]:
    """Return the least and the greatest of some rows, in either order."""
    return (rows[0], rows[-1]) if isinstance(rows, range) else (int(rows.min()), int(rows.max()))


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
