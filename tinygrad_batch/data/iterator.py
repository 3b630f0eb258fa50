"""Batches and epochs: the loop around training.

One batch of all 442 rows gives the exact gradient, once. Batches of 20 rows give a rougher one, but 23
times in a pass over the same rows. Such a pass, which sees every row exactly once, is an *epoch*.
`sampler` says which rows make up which batch; this file fetches them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar, cast, overload

import numpy as np
from numpy.typing import ArrayLike

from ..creation import asarray
from ..tensor import Tensor
from .arrays import as_named_rows, check_aligned, read_only
from .checks import check_integer
from .sampler import Plan, Rows, State, make_plan, order, restore, save, step

Batch = TypeVar("Batch", bound=tuple[Tensor, ...] | dict[str, Tensor])


class Epoch(Generic[Batch]):
    """One pass over the data; every loop over it hands out the same batches.

    Attributes
    ----------
    number : int
        Which epoch this is, counted from 0.
    start : int
        The first batch it hands out: 0, or a later one in the epoch that a loaded state lies in.
        ``len(epoch)`` counts the batches from there on.
    """

    def __init__(self, source: DataIterator[Batch], number: int, start: int) -> None:
        self._source = source
        self.number = number
        self.start = start

    def __len__(self) -> int:
        return len(self._source) - self.start

    def __iter__(self) -> Iterator[Batch]:
        return self._source._walk(State(self.number, self.start))

    def __repr__(self) -> str:
        resumed = f", from batch {self.start} on" if self.start else ""
        return f"Epoch({self.number}: {_count(len(self), 'batch', 'batches')}{resumed})"


class DataIterator(Generic[Batch]):
    """Hand out the rows of aligned arrays in batches, epoch after epoch.

    Every epoch visits every row exactly once (less the remainder, with `drop_last`), and no batch
    holds rows of two epochs. The order is a function of `seed` and the number of the epoch alone:
    neither NumPy's global random state nor an earlier loop that was broken off changes it.

    Parameters
    ----------
    *arrays : array_like or Tensor, or one dict of them
        The data; row ``i`` of each belongs to the same example. NumPy arrays are not copied.
    batch_size : int, optional
        Rows of a batch; None is the full batch. More than there are rows is one batch of them all.
    shuffle : bool
        Whether each epoch visits the rows in an order of its own.
    drop_last : bool
        Whether a last batch with fewer rows is left out.
    seed : int
        Chooses the orders, at least 0.

    Attributes
    ----------
    rows, batch_size : int
        Of the data, and of a full batch.
    plan : Plan
        These and the other options; it cannot be changed.
    names : tuple of str
        What the batches' tensors are called: ``x, y, z, a3, ...`` or the keys of the dict.
    epoch : int
        The current epoch. It goes up when a pass reaches its end, so after a pass it is the number
        of epochs done.
    batch_index : int
        The batch handed out last in the current epoch, from 0; -1 before the first.
    is_last : bool
        Whether that batch is the last one of the epoch.

    Raises
    ------
    DataError
        For no arrays, an empty array, a single number, entries that are not numbers, or arrays of
        unequal lengths.
    ArgumentError
        For options outside what is described, or where `drop_last` would leave no batch at all.

    Notes
    -----
    **A batch** is a tuple of Tensors (of one, if there is one array), or a dict with the keys given.
    Dtypes are kept. Without `shuffle` a batch is a view of your array: nothing is copied, and what
    you write into your array shows in the batches. With `shuffle` it is a copy of its rows.

    **Breaking off.** Each ``for`` loop over the iterator or over an `Epoch` is a pass of its own,
    from the first batch. Breaking off leaves `epoch` as it is, so the next loop over the iterator
    begins the same epoch again; looking at one batch with ``next(iter(batches))`` costs nothing.
    The next round of `epochs` goes on to the next epoch in any case.

    **Resuming.** `state_dict` names the first batch that has not been handed out. After
    `load_state_dict` that epoch consists of that batch and those after it; all others are whole.

    **Loops inside loops.** Every pass has its own position, so loops over one iterator, nested or
    side by side, do not take batches from each other: each sees the whole epoch that was current
    when it began. `epoch`, `batch_index`, `is_last` and `state_dict` describe the batch handed out
    last, by whichever loop. Use two iterators where two loops should count for themselves.

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
        self: DataIterator[dict[str, Tensor]],
        arrays: Mapping[str, ArrayLike | Tensor],
        /,
        *,
        batch_size: int | None = None,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int = 0,
    ) -> None: ...

    @overload
    def __init__(
        self: DataIterator[tuple[Tensor, ...]],
        *arrays: ArrayLike | Tensor,
        batch_size: int | None = None,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int = 0,
    ) -> None: ...

    def __init__(
        self, *arrays: Any, batch_size: int | None = None, shuffle: bool = False, drop_last: bool = False, seed: int = 0
    ) -> None:
        self._as_dict = any(isinstance(array, Mapping) for array in arrays)
        named = as_named_rows(arrays)
        self._arrays = {name: read_only(array) for name, array in named.items()}
        self._plan = make_plan(check_aligned(named), batch_size, shuffle, drop_last, seed)
        self._loaded = State(0, 0)  # where the epoch that a loaded state lies in begins
        self._state = State(0, 0)  # the next batch; its number is len(self) while the last one is in use

    @property
    def plan(self) -> Plan:
        """What stays the same over a whole training."""
        return self._plan

    @property
    def rows(self) -> int:
        """Rows of the data."""
        return self._plan.rows

    @property
    def batch_size(self) -> int:
        """Rows of a full batch."""
        return self._plan.batch_size

    @property
    def as_dict(self) -> bool:
        """Whether batches are dicts rather than tuples."""
        return self._as_dict

    @property
    def names(self) -> tuple[str, ...]:
        """What the tensors of a batch are called."""
        return tuple(self._arrays)

    @property
    def epoch(self) -> int:
        """The current epoch, counted from 0."""
        return self._state.epoch

    @property
    def batch_index(self) -> int:
        """The batch handed out last, or -1."""
        return self._state.batch - 1

    @property
    def is_last(self) -> bool:
        """Whether that is the epoch's last."""
        return self._state.batch == len(self)

    def __len__(self) -> int:
        return self._plan.batches

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
            epoch = self._epoch(number)
            self._state = State(number, epoch.start)
            yield epoch
            self._state = State(number + 1, 0)

    def skip_epoch(self) -> tuple[dict[str, Any], Any]:
        """Go to the end of the current epoch, and return what a pass over it would have gone through.

        For whoever cuts the batches without this iterator, such as a compiled step.

        Returns
        -------
        arrays : dict of str to numpy.ndarray
            All rows, by the names of the tensors of a batch; not to be written to.
        order : numpy.ndarray of int, or None
            The rows of the epoch in their order; None if that is simply all of them as they lie.

        Examples
        --------
        >>> batches = DataIterator([[1.0], [2.0], [3.0]], batch_size=2, shuffle=True)
        >>> arrays, order = batches.skip_epoch()
        >>> arrays["x"].shape, sorted(order.tolist()), batches.epoch
        ((3, 1), [0, 1, 2], 1)
        """
        epoch = self._epoch(self.epoch)
        rows = order(self.rows, epoch.number, self._plan.seed, self._plan.shuffle)
        end = min(len(self) * self.batch_size, self.rows)  # fewer than there are rows, where the rest is dropped
        if rows is not None or epoch.start or end < self.rows:
            rows = (np.arange(self.rows) if rows is None else rows)[epoch.start * self.batch_size : end]
        self._state = State(epoch.number + 1, 0)
        return dict(self._arrays), rows

    def _epoch(self, number: int) -> Epoch[Batch]:
        return Epoch(self, number, self._loaded.batch if number == self._loaded.epoch else 0)

    def _walk(self, state: State) -> Iterator[Batch]:
        permutation = order(self.rows, state.epoch, self._plan.seed, self._plan.shuffle)
        batches = len(self)
        while state.batch < batches:
            state, rows = step(self._plan, state, permutation)
            self._state = state
            yield self._fetch(rows)
        self._state = State(state.epoch + 1, 0)

    def _fetch(self, rows: slice | Rows) -> Batch:
        tensors = {}
        for name, array in self._arrays.items():  # a slice of an array is a view
            tensors[name] = asarray(array[rows] if isinstance(rows, slice) else array.take(rows, axis=0), name=name)
        return cast(Batch, tensors if self._as_dict else tuple(tensors.values()))

    def state_dict(self) -> dict[str, int | bool]:
        """Return the position and the setup as plain numbers, which JSON can keep.

        ``epoch`` and ``batch`` name the first batch not handed out. Inside a loop it comes after the
        batch in use; in an epoch's last batch, it is batch 0 of the next epoch.

        Examples
        --------
        >>> batches = DataIterator([[1.0], [2.0], [3.0]], batch_size=1)
        >>> for (xb,) in batches:
        ...     break
        >>> batches.state_dict()["epoch"], batches.state_dict()["batch"]
        (0, 1)
        >>> batches.load_state_dict(batches.state_dict())
        >>> [float(xb.numpy()[0, 0]) for (xb,) in batches]  # the rest of the epoch
        [2.0, 3.0]
        """
        return save(self._plan, self._state)

    def load_state_dict(self, state: Mapping[str, int | bool]) -> None:
        """Go to where `state` was taken; call it before the loop, not inside one.

        Parameters
        ----------
        state : dict
            From `state_dict` of an iterator with the same number of rows and the same options.

        Raises
        ------
        StateError
            If a key is missing or unknown, the rows or options differ, or there is no such batch;
            the iterator stays as it was.
        """
        self._loaded = self._state = restore(self._plan, state)

    def __repr__(self) -> str:
        rest = self.rows % self.batch_size
        batches = _count(len(self), "batch", "batches") + " an epoch"
        if rest and self._plan.drop_last:
            batches += f", {_count(rest, 'row')} dropped"
        elif rest and len(self) > 1:
            batches += f", the last of {_count(rest, 'row')}"
        manner = f"shuffled with seed {self._plan.seed}" if self._plan.shuffle else "in order"
        return f"DataIterator({_count(self.rows, 'row')}, batch size {self.batch_size}: {batches}, {manner})"


def _count(number: int, one: str, many: str = "rows") -> str:
    return f"{number} {one if number == 1 else many}"
