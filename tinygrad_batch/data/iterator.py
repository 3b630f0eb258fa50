"""Batches and epochs: the loop around training.

One batch of all 442 rows gives the exact gradient, once. Batches of 20 rows give a rougher one, but 23
times in a pass over the same rows. Such a pass, which sees every row exactly once, is an *epoch*.
`samplers` says which row comes when, and `pipeline` makes the batches; this file knows how far they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, Unpack, cast, overload

from ..calling import wrap
from ..tensor import Tensor
from .arrays import Array
from .checks import check_integer
from .epoch import Batch, Epoch, counted
from .options import Options, Transform
from .orders import Rows, as_numbers
from .pipeline import Pipeline, recut
from .plan import Cursor, Plan, known, make_plan, restore, save
from .samplers import Sampler
from .table import Table, table_or_stream

MANY = 2**16  # rows whose numbers are worked out at a time for a compiled epoch


class DataIterator(Generic[Batch]):
    """Hand out the rows of aligned arrays in batches, epoch after epoch.

    Every epoch visits every row exactly once (less the remainder, with `drop_last`), unless its sampler says
    otherwise, and no batch holds rows of two epochs. What is in a batch is a function of the data, the
    options, and its position ``(seed, epoch, step)``: NumPy's global random state, an earlier loop that
    was broken off, and threads do not change it.

    Parameters
    ----------
    *arrays : array_like, Tensor, path, Parquet, Stream, or anything with shape, dtype and slicing; or one dict of them
        The data; row ``i`` of each belongs to the same example. Arrays are not copied, and files are read when their
        rows have their turn. A path is that of an ``.npy`` file or, alone, of a table: ``.npz``, ``.csv`` or
        ``.parquet``, whose last column is y. A stream stands alone.
    batch_size : int, optional
        Rows of a batch, of all processes together; None is the full batch. More than there are rows is one
        batch of them all.
    shuffle : bool
        Whether each epoch visits the rows in an order of its own: short for ``sampler=Shuffled()``.
    sampler : Sampler, optional
        Which row comes when: `Sequential`, `Shuffled`, `Weighted`, `Stratified`, `Bucketed` or `Blocks`.
    drop_last : bool
        Whether a last batch with fewer rows is left out.
    seed : int
        Chooses the orders and all else that is random, at least 0.
    rank, world_size : int
        Which of how many processes this is. It gets the rows ``[rank::world_size]`` of each batch, which may
        be none of a short last one.
    transform : callable, optional
        ``transform(x, y, rng)`` gets the arrays of one row, and returns new ones; of a dict,
        ``transform(row, rng)``. The generator is the row's own in this epoch, each time if it comes again.
    batch_transform : callable, optional
        The same for the arrays of a batch, whose rows it keeps. Of several processes, each transforms the whole
        batch and keeps its part.
    prefetch : int
        How many batches are prepared ahead by threads; with 0 there are none. Handing a batch over takes 0.1 ms and
        more, so it pays where preparing one takes longer: reading files, and transforms.
    workers : int
        How many threads, at most `prefetch`. Several help where time is spent outside of Python, and read a source at
        the same time.

    Raises
    ------
    DataError
        For no arrays, an empty array, a single number, entries that are not numbers, arrays of
        unequal lengths, or a file that cannot be read.
    ArgumentError
        For options outside what is described, or where `drop_last` would leave no batch at all.

    Notes
    -----
    **A batch** is a tuple of Tensors (of one, if there is one array), or a dict with the keys given.
    Dtypes are kept. In order, a batch is a view of your array: nothing is copied, and what
    you write into your array shows in the batches. Otherwise it is a copy of its rows.

    **Breaking off.** Each ``for`` loop over the iterator or over an `Epoch` is a pass of its own,
    from the first batch. Breaking off leaves `epoch` as it is, so the next loop over the iterator
    begins the same epoch again; looking at one batch with ``next(iter(batches))`` costs nothing.
    The next round of `epochs` goes on to the next epoch in any case.

    **Resuming.** `state_dict` names the first batch that has not been handed out. After
    `load_state_dict` that epoch consists of that batch and those after it; all others are whole.

    **Loops inside loops.** Every pass has its own position, so loops over one iterator, nested or
    side by side, do not take batches from each other: each sees the whole epoch that was current
    when it began. `cursor`, `is_last`, `global_rows` and `state_dict` describe the batch handed out
    last, by whichever loop. Use two iterators where two loops should count for themselves.

    **Errors** in a source or a transform keep their type, and get notes with the row, the batch and the epoch.

    Examples
    --------
    >>> import numpy as np
    >>> x, y = np.zeros((442, 10)), np.zeros((442, 1))
    >>> batches = DataIterator(x, y, batch_size=20, shuffle=True)
    >>> batches
    DataIterator(442 rows, batch size 20: 23 batches an epoch, the last of 2 rows, shuffled with seed 0)
    >>> for epoch in batches.epochs(2):
    ...     for xb, yb in epoch:
    ...         pass
    ...     print(epoch.number, batches.epoch, xb.shape, yb.shape)
    0 1 (2, 10) (2, 1)
    1 2 (2, 10) (2, 1)

    The names are keys when the arrays are given as a dict:

    >>> batch = next(iter(DataIterator({"image": x, "label": y}, batch_size=32)))
    >>> batch["image"].shape, batch["label"].name
    ((32, 10), 'label')
    """

    @overload
    def __init__(
        self: DataIterator[dict[str, Tensor]], arrays: Mapping[str, Any], /, **options: Unpack[Options]
    ) -> None: ...

    @overload
    def __init__(self: DataIterator[tuple[Tensor, ...]], *arrays: Any, **options: Unpack[Options]) -> None: ...

    def __init__(
        self,
        *arrays: Any,
        batch_size: int | None = None,
        shuffle: bool = False,
        sampler: Sampler | None = None,
        drop_last: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        transform: Transform | None = None,
        batch_transform: Transform | None = None,
        prefetch: int = 0,
        workers: int = 1,
    ) -> None:
        data = table_or_stream(arrays, shuffle, sampler)
        self._plan = make_plan(data.per_epoch, batch_size, drop_last, seed, repr(data))
        self._pipeline = Pipeline(data, self._plan, rank, world_size, transform, batch_transform, prefetch, workers)
        self._at = (0, 0)  # the next batch, as epoch and step; the step is len(self) while the last one is in use
        self._loaded = (0, 0)  # where the epoch that a loaded state lies in begins
        self._global_rows = 0
        self._pass = self._epoch(0)  # the one that began last

    @property
    def plan(self) -> Plan:
        """What batches depend on, apart from the data and their position; it cannot be changed."""
        return self._plan

    @property
    def cursor(self) -> Cursor:
        """The next batch, ``(seed, epoch, step)``; its step is ``len(self)`` while an epoch's last one is in use."""
        return Cursor(self._plan.seed, *self._at)

    @property
    def rows(self) -> int:
        """Rows of the data. A stream without length does not know, and raises DtypeError, as ``len(batches)`` does."""
        return known(self._pipeline.data.rows)

    @property
    def batch_size(self) -> int:
        """Rows of a full batch, of all processes together."""
        return self._plan.batch_size

    @property
    def as_dict(self) -> bool:
        """Whether batches are dicts rather than tuples."""
        return self._pipeline.data.form.as_dict

    @property
    def names(self) -> tuple[str, ...]:
        """What the tensors of a batch are called: ``x, y, z, a3, ...``, or keys; of a stream, once a row was read."""
        return self._pipeline.data.form.names

    @property
    def epoch(self) -> int:
        """The current epoch, from 0. It goes up when a pass reaches its end: then it is how many epochs are done."""
        return self._at[0]

    @property
    def batch_index(self) -> int:
        """The batch handed out last in the current epoch, from 0; -1 before the first."""
        return self._at[1] - 1

    @property
    def is_last(self) -> bool:
        """Whether that batch is the last one of the epoch; in a stream without length, it never is."""
        return self._plan.is_over(self._at[1])

    @property
    def global_rows(self) -> int:
        """Rows of the batch handed out last, in all processes: each divides the sum over its own rows by them.

        Examples
        --------
        Two processes and a batch of three rows: their shares of the mean add up to it.

        >>> for rank in range(2):
        ...     batches = DataIterator([1.0, 2.0, 6.0], rank=rank, world_size=2)
        ...     for (xb,) in batches:
        ...         print(xb.numpy(), round(xb.sum().item() / batches.global_rows, 3))
        [1. 6.] 2.333
        [2.] 0.667
        """
        return self._global_rows

    @property
    def arrays(self) -> dict[str, Array] | None:
        """All rows by name, not to be written to, where a batch is nothing but rows of arrays in memory; else None."""
        return cast(dict[str, Array], cast(Table, self._pipeline.data).sources) if self._pipeline.is_plain else None

    def __len__(self) -> int:
        return self._plan.batches

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Batch]:
        """Return a pass over the current epoch; at its end `epoch` goes up by one."""
        return iter(self._epoch(self.epoch))

    def epochs(self, count: int) -> Iterator[Epoch[Batch]]:
        """Return the current epoch and those after it, `count` in all.

        Parameters
        ----------
        count : int
            At least 0. To finish a training of 30 epochs after `load_state_dict`:
            ``batches.epochs(30 - batches.epoch)``.

        Raises
        ------
        ArgumentError
            If `count` is not an integer of at least 0.
        """
        return self._epochs(check_integer(count, "count", 0))

    def _epochs(self, count: int) -> Iterator[Epoch[Batch]]:
        first = self.epoch
        for number in range(first, first + count):
            epoch = self._pass = self._epoch(number)
            self._at = (number, epoch.start)
            yield epoch
            self._at = (number + 1, 0)

    def row_numbers(self) -> Iterator[Rows]:
        """Go through the current epoch as numbers of rows, those of many batches at a time.

        For whoever takes the rows out of `arrays` without this iterator, such as a compiled step. All but the last are
        full batches; the position counts all batches of what was handed out last.

        Examples
        --------
        >>> batches = DataIterator([[1.0], [2.0], [3.0]], batch_size=2, shuffle=True)
        >>> [rows.tolist() for rows in batches.row_numbers()], batches.epoch
        ([[1, 0, 2]], 1)
        """
        epoch = self._pass = self._epoch(self.epoch)
        step, size, end = epoch.start, self.batch_size, len(self)
        pieces = self._pipeline.data.pieces(self._plan, epoch.number, step)
        for rows, *_ in recut(pieces, size * max(1, MANY // size)):
            if len(found := as_numbers(rows)[: (end - step) * size]):
                step += -(-len(found) // size)
                self._at = (epoch.number, step)
                self._global_rows = self._plan.rows_in(step - 1)
                yield found
        self._at = (epoch.number + 1, 0)

    def mean(self, values: Iterable[Any]) -> float:
        """Return the mean over the rows of what each batch gave, in the pass that began last; see `Epoch.mean`.

        Examples
        --------
        >>> batches = DataIterator([1.0, 2.0, 6.0], batch_size=2)
        >>> batches.mean([xb.mean() for (xb,) in batches])
        3.0
        """
        values = values if isinstance(values, Tensor) else list(values)  # which may begin a pass
        return self._pass.mean(values)

    def _epoch(self, number: int) -> Epoch[Batch]:
        return Epoch(self, number, self._loaded[1] if number == self._loaded[0] else 0)

    def _walk(self, epoch: Epoch[Batch]) -> Iterator[Batch]:
        self._pass = epoch
        number, step, size, data = epoch.number, epoch.start, self.batch_size, self._pipeline.data
        for rows, arrays in self._pipeline.batches(number, step):
            step += 1
            self._at = (number, step)
            self._global_rows = rows
            if rows < size:
                epoch._short = (step - 1, rows)
            names, as_dict = data.form
            tensors = tuple([wrap(array, None, name) for name, array in zip(names, arrays, strict=True)])
            batch: Any = dict(zip(names, tensors, strict=True)) if as_dict else tensors
            yield batch
        self._at = (number + 1, 0)

    def state_dict(self) -> dict[str, int | bool | str | None]:
        """Return the cursor, and what it is one of, as plain values, which JSON can keep.

        It names the first batch not handed out, whatever threads have prepared. Inside a loop that is the one
        after the batch in use; in an epoch's last batch, it is batch 0 of the next epoch. A stream without length does
        not know its last batch: the epoch that goes on after it has no batches left. To stop in the middle of an
        epoch, ask inside the loop: ``epochs`` goes on to the next epoch where only the inner loop is broken off.

        Examples
        --------
        >>> batches = DataIterator([[1.0], [2.0], [3.0]], batch_size=1)
        >>> for (xb,) in batches:
        ...     break
        >>> batches.state_dict()["epoch"], batches.state_dict()["step"]
        (0, 1)
        >>> batches.load_state_dict(batches.state_dict())
        >>> [float(xb.numpy()[0, 0]) for (xb,) in batches]  # the rest of the epoch
        [2.0, 3.0]
        """
        return save(self._plan, self.cursor)

    def load_state_dict(self, state: Mapping[str, int | bool | str | None]) -> None:
        """Go to where `state` was taken; call it before the loop, not inside one.

        Parameters
        ----------
        state : dict
            From `state_dict` of an iterator with the same data and options; only rank, world size, transforms and
            threads may be others.

        Raises
        ------
        StateError
            If a key is missing or unknown, the rows or options differ, or there is no such batch;
            the iterator stays as it was.
        """
        cursor = restore(self._plan, state)
        self._loaded = self._at = (cursor.epoch, cursor.step)
        self._pass = self._epoch(cursor.epoch)

    def __repr__(self) -> str:
        plan, data = self._plan, self._pipeline.data
        if plan.rows is None:
            return f"DataIterator({data!r}, batch size {plan.batch_size})"
        rest = plan.rows % plan.batch_size
        batches = counted(len(self), "batch", "batches") + " an epoch"
        if rest and plan.drop_last:
            batches += f", {counted(rest, 'row')} dropped"
        elif rest and len(self) > 1:
            batches += f", the last of {counted(rest, 'row')}"
        manner = {"Sequential()": "in order", "Shuffled(keyed=None)": "shuffled"}.get(plan.sampler, plan.sampler)
        seed = "" if manner == "in order" else f" with seed {plan.seed}"
        return f"DataIterator({counted(plan.rows, 'row')}, batch size {plan.batch_size}: {batches}, {manner}{seed})"
