"""From positions to batches: rows are read, cut into batches, divided among processes, and transformed.

Nothing here knows how far a training is: `Pipeline.batches` begins anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, cast

import numpy as np

from ..calling import checked_array
from ..errors import ArgumentError, DataError
from .arrays import Array
from .checks import check_integer
from .form import stacked
from .options import Transform
from .orders import BATCH, ROW, Rows, as_numbers, generator
from .plan import Plan
from .prefetch import ahead
from .stream import Stream
from .table import Table

Work = Callable[[], tuple[int, list[Array]]]


class Pipeline:
    """What lies between the data and the batches of one process.

    Parameters
    ----------
    data : Table or Stream
    plan : Plan
    rank, world_size : int
        Which of how many processes this is.
    transform, batch_transform : callable, optional
        What is done to each row, and to each batch.
    prefetch, workers : int
        How many batches are prepared ahead, and by how many threads.

    Raises
    ------
    ArgumentError
        If there is no such process, a transform cannot be called, or threads would have nothing to do.
    """

    def __init__(
        self,
        data: Table | Stream,
        plan: Plan,
        rank: int,
        world_size: int,
        transform: Transform | None,
        batch_transform: Transform | None,
        prefetch: int,
        workers: int,
    ) -> None:
        if check_integer(rank, "rank", 0) >= check_integer(world_size, "world_size", 1):
            raise ArgumentError(f"rank is {rank}; expected less than world_size={world_size}", "Ranks count from 0")
        for name, function in (("transform", transform), ("batch_transform", batch_transform)):
            if function is not None and not callable(function):
                raise ArgumentError(f"{name} is a {type(function).__name__}; expected a callable")
        if check_integer(workers, "workers", 1) > max(check_integer(prefetch, "prefetch", 0), 1):
            hint = "Each worker prepares a batch ahead: prefetch at least as many"
            raise ArgumentError(f"there are workers={workers} for prefetch={prefetch}", hint)
        self.data, self.plan, self.prefetch, self.workers = data, plan, prefetch, workers
        self.mine = slice(rank, None, world_size)
        self._read: Any = getattr(data, "read", None)  # a stream needs none: its rows come with their numbers
        self.transform, self.batch_transform = transform, batch_transform

    @property
    def is_plain(self) -> bool:
        """Whether a batch is nothing but rows of arrays in memory."""
        alone = self.mine.step == 1 and not (self.transform or self.batch_transform or self.prefetch)
        return alone and isinstance(self.data, Table) and self.data.in_memory

    def batches(self, epoch: int, step: int) -> Iterator[tuple[int, list[Array]]]:
        """Yield, for each batch from `step` on, how many rows it has in all processes, and its arrays in this one."""
        if self.is_plain:  # the same as below, with nothing in between
            size, drop = self.plan.batch_size, self.plan.drop_last
            pieces = recut(self.data.pieces(self.plan, epoch, step), size)
            return ((len(rows), self._read(rows)) for (rows,) in pieces if len(rows) == size or not drop)
        if self.prefetch:
            return ahead(self.work(epoch, step), self.prefetch, self.workers)
        return (make() for make in self.work(epoch, step))

    def work(self, epoch: int, step: int) -> Iterator[Work]:
        """Yield, for each batch from `step` on, what makes it, at once or ahead of time and in any thread."""
        try:
            for rows, *columns in recut(self.data.pieces(self.plan, epoch, step), self.plan.batch_size):
                if len(rows) < self.plan.batch_size and self.plan.drop_last:
                    return
                yield partial(self._make, epoch, step, rows, columns)
                step += 1
        except Exception as error:
            error.add_note(f"while preparing batch {step} of epoch {epoch}")
            raise

    def _make(self, epoch: int, step: int, rows: range | Rows, columns: list[Array]) -> tuple[int, list[Array]]:
        try:
            if self.transform or self.batch_transform:
                return len(rows), self._transformed(epoch, step, rows, columns)
            if columns:
                return len(rows), [column[self.mine] for column in columns]
            return len(rows), self._read(rows[self.mine])
        except Exception as error:
            error.add_note(f"while preparing batch {step} of epoch {epoch}")
            raise

    def _transformed(self, epoch: int, step: int, rows: range | Rows, columns: list[Array]) -> list[Array]:
        seen, kept = self.mine, slice(None)
        if self.batch_transform:  # it may mix rows, so it sees those of all processes
            seen, kept = slice(None), self.mine
        elif not len(rows[self.mine]):  # no rows, in the shapes that the transform gives to one
            seen, kept = slice(1), slice(0)
        first = step * self.plan.batch_size
        positions, rows = range(first, first + len(rows))[seen], rows[seen]
        arrays = [column[seen] for column in columns] or self._read(rows)
        if isinstance(rows, range):
            arrays = [array.copy() for array in arrays]  # a transform may write into them
        if self.transform:
            own = positions if self.data.repeats else rows  # what each row's generator is chosen by
            numbers = zip(as_numbers(rows).tolist(), as_numbers(own).tolist(), strict=True)
            made = [self._row(epoch, *pair, [array[at] for array in arrays]) for at, pair in enumerate(numbers)]
            arrays = stacked(made, self.data.form.names)
        if self.batch_transform:
            rng = generator(self.plan.seed, epoch, step, BATCH)
            arrays = self.data.form.call(self.batch_transform, arrays, rng)
        arrays = [checked_array(array) for array in arrays]
        if any(array.shape[:1] != (len(rows),) for array in arrays):
            shapes = ", ".join(str(array.shape) for array in arrays)
            raise DataError(f"batch_transform gave arrays of shapes {shapes} for {len(rows)} rows", "Keep the rows")
        return [array[kept] for array in arrays]

    def _row(self, epoch: int, row: int, own: int, values: list[Any]) -> list[Any]:
        """Return one row after its transform."""
        try:
            rng = generator(self.plan.seed, epoch, own, ROW)
            return self.data.form.call(cast(Transform, self.transform), values, rng)
        except Exception as error:
            error.add_note(f"in the transform of row {row}")
            raise


def recut(pieces: Iterable[list[Any]], size: int) -> Iterator[list[Any]]:
    """Cut columns that come in pieces of any lengths into pieces of `size`; the last may be short.

    Examples
    --------
    >>> [[column.tolist() for column in piece] for piece in recut([[np.arange(3)], [np.arange(3, 10)]], 4)]
    [[[0, 1, 2, 3]], [[4, 5, 6, 7]], [[8, 9]]]
    """
    begun: list[list[Any]] = []
    missing = size
    for piece in pieces:
        at, count = 0, len(piece[0])
        while count - at >= missing:
            part = [column[at : at + missing] for column in piece]
            yield _joined([*begun, part]) if begun else part
            at += missing
            begun, missing = [], size
        if at < count:
            begun.append([column[at:] for column in piece])
            missing -= count - at
    if begun:
        yield _joined(begun)


def _joined(parts: list[list[Any]]) -> list[Any]:
    return parts[0] if len(parts) == 1 else [np.concatenate(columns) for columns in zip(*parts, strict=True)]
