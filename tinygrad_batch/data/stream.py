"""Rows that come one after the other, from a file too large to index, a generator, or without end."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from ..errors import ArgumentError, DataError
from .arrays import Array
from .checks import check_integer
from .form import Form, stacked
from .orders import within_window
from .plan import Plan


class Stream:
    """Rows in the order in which they come, for `DataIterator`.

    Parameters
    ----------
    rows : callable
        Called at the start of every epoch, it returns an iterable of rows, which may have no end; the
        same ones each time. A row is an array, a tuple of arrays, or a dict of them, each of one shape in all
        rows. If it takes an argument, it is called with the number of the first row to give, so that a
        training is resumed at once; if not, it is read up to there again.
    window : int
        Rows that are shuffled among each other: the first so many, then the next, and so on, in an order of
        each epoch's own. 1 leaves all as they come. A few windows are in memory at a time.
    length : int, optional
        How many rows an epoch takes, so that the iterator has a length too. A stream may have more; if it has
        fewer, that is an error. By default an epoch ends where the stream does.

    Examples
    --------
    >>> import itertools
    >>> from tinygrad_batch.data import DataIterator
    >>> def squares(start):
    ...     for number in itertools.count(start):
    ...         yield float(number), float(number**2)
    >>> batches = DataIterator(Stream(squares, window=6), batch_size=3)
    >>> for xb, yb in itertools.islice(batches, 2):
    ...     print(xb.numpy(), yb.numpy())
    [5. 1. 2.] [25.  1.  4.]
    [0. 4. 3.] [ 0. 16.  9.]
    """

    def __init__(self, rows: Callable[..., Iterable[Any]], *, window: int = 1, length: int | None = None) -> None:
        self._from_row = _from_row(rows)
        self.window = check_integer(window, "window", 1)
        self.rows = self.per_epoch = None if length is None else check_integer(length, "length", 1)
        self.repeats = False
        self.form = Form((), False)  # of a row, once one has been read

    def pieces(self, plan: Plan, epoch: int, step: int) -> Iterator[list[Array]]:
        """Yield, from a batch on, the numbers of the next rows and the arrays made of them."""
        position = step * plan.batch_size
        size = self.window if self.window > 1 else plan.batch_size
        window = position // size
        read = self._read(window * size)
        while rows := list(islice(read, size)):
            start = window * size
            columns = [np.arange(start, start + len(rows)), *stacked(rows, self.form.names)]
            if self.window > 1:
                order = within_window(len(rows), plan.seed, epoch, window)
                columns = [column[order] for column in columns]
            yield [column[max(0, position - start) :] for column in columns]
            window += 1

    def _read(self, start: int) -> Iterator[list[Any]]:
        """Yield the arrays of each row from `start` on."""
        number = start
        try:
            rows = self._from_row(start)
            for row in islice(rows, None if self.per_epoch is None else self.per_epoch - start):
                self.form = self.form if self.form.names else Form.of(row)
                yield self.form.split(row, "the stream")
                number += 1
            if not number:
                hint = "Each epoch asks for a new iterable: return one that begins anew, not one used up"
                raise DataError("the stream gave no rows", hint)
            if self.per_epoch is not None and number < self.per_epoch:
                raise DataError(f"the stream ended after {number} rows; its length is {self.per_epoch}")
        except Exception as error:
            error.add_note(f"in row {number} of the stream")
            raise

    def __repr__(self) -> str:
        return f"Stream(window={self.window})"


def _from_row(rows: object) -> Callable[[int], Iterable[Any]]:
    """Return a function of the first row to give, whether `rows` takes one or begins at 0 each time."""
    if not callable(rows):
        hint = "Pass a function that returns it: every epoch begins anew"
        raise ArgumentError(f"rows is a {type(rows).__name__}; expected a callable", hint)
    try:
        parameters = inspect.signature(rows).parameters
    except (TypeError, ValueError) as error:
        raise ArgumentError("rows has no signature to see whether it takes a start", "Wrap it in a function") from error
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if "start" in parameters and parameters["start"].kind is not inspect.Parameter.POSITIONAL_ONLY:
        return lambda start: rows(start=start)
    if any(p.kind in by_position and (p.name == "start" or p.default is p.empty) for p in parameters.values()):
        return rows
    return lambda start: islice(rows(), start, None)
