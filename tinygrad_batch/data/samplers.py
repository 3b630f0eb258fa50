"""Samplers: which row comes when. Each is a pure function of the rows, the batch size, the seed and the epoch.

An order is a list of row numbers that is cut into batches as it stands. `Sampler.order` gives all of it;
`Sampler.pieces` gives it bit by bit, for who does not want to hold it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ArgumentError, DataError
from .arrays import Array, as_rows
from .checks import check_flag, check_integer
from .orders import LARGE, MORE, ORDER, Rows, draws, keyed_pieces, shuffled, sorting, within_window


@dataclass(frozen=True, repr=False)
class Sampler:
    """What all samplers have in common.

    For one of your own, derive a frozen dataclass from it and write `order`. Its fields tell a saved state of it from
    others.

    Examples
    --------
    >>> class Backwards(Sampler):
    ...     def order(self, rows, batch_size, seed, epoch):
    ...         return np.arange(rows)[::-1]
    >>> Backwards(), Backwards().order(rows=3, batch_size=2, seed=0, epoch=0)
    (Backwards(), array([2, 1, 0]))
    """

    windowed: ClassVar[bool] = False
    """Whether the pieces are windows of neighbouring rows, to be read from a disk in one go."""

    @property
    def repeats(self) -> bool:
        """Whether a row may come again in an epoch: each time, its transform then draws numbers of its own."""
        return False

    def order(self, rows: int, batch_size: int, seed: int, epoch: int) -> range | Rows:
        """Return the rows of an epoch in their order."""
        raise NotImplementedError

    def pieces(self, rows: int, batch_size: int, seed: int, epoch: int, start: int) -> Iterator[range | Rows]:
        """Yield the order from position `start` on, in pieces of any lengths."""
        yield self.order(rows, batch_size, seed, epoch)[start:]

    def count(self, rows: int) -> int:
        """Return how many rows an epoch visits."""
        return rows

    def check(self, rows: int) -> None:
        """Raise DataError if a field is an array that does not have a value for each row."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray) and len(value) != rows:
                raise DataError(f"there are {len(value)} {field.name} for {rows} rows", "Give one a row")

    def __repr__(self) -> str:
        """Return all that the order depends on, in words; arrays by their checksum."""
        values = ", ".join(f"{field.name}={_shown(getattr(self, field.name))}" for field in fields(self))
        return f"{type(self).__name__}({values})"


@dataclass(frozen=True, repr=False)
class Sequential(Sampler):
    """The rows as they lie.

    Examples
    --------
    >>> Sequential().order(rows=5, batch_size=2, seed=0, epoch=0)
    range(0, 5)
    """

    def order(self, rows: int, batch_size: int, seed: int, epoch: int) -> range:
        """Return all rows as a range: batches of it are views, nothing is copied."""
        return range(rows)


@dataclass(frozen=True, repr=False)
class Shuffled(Sampler):
    """Each row once, in an order of each epoch's own: what ``shuffle=True`` means.

    Parameters
    ----------
    keyed : bool, optional
        Whether rows are worked out where they are asked for, so that no order is held in memory, however many
        rows there are (see `tinygrad_batch.data.orders.keyed`). The default is to do so above 2**22 = 4,194,304 rows.

    Examples
    --------
    >>> Shuffled().order(rows=5, batch_size=2, seed=0, epoch=1)
    array([2, 1, 4, 0, 3])
    >>> first, *_ = next(Shuffled().pieces(rows=10**12, batch_size=2, seed=0, epoch=1, start=10**11))
    >>> int(first)
    759883732249
    """

    keyed: bool | None = None

    def __post_init__(self) -> None:
        if self.keyed is not None:
            check_flag(self.keyed, "keyed")

    def order(self, rows: int, batch_size: int, seed: int, epoch: int) -> Rows:
        """Return a permutation of the rows, in memory either way."""
        if self._is_keyed(rows):
            return np.concatenate(list(keyed_pieces(rows, seed, epoch, 0)))
        return shuffled(rows, seed, epoch)

    def pieces(self, rows: int, batch_size: int, seed: int, epoch: int, start: int) -> Iterator[range | Rows]:
        """Yield the same, a few thousand rows at a time where it is keyed."""
        if self._is_keyed(rows):
            return keyed_pieces(rows, seed, epoch, start)
        return super().pieces(rows, batch_size, seed, epoch, start)

    def _is_keyed(self, rows: int) -> bool:
        return rows > LARGE if self.keyed is None else self.keyed


@dataclass(frozen=True, repr=False, eq=False)
class Weighted(Sampler):
    """Rows drawn in proportion to weights.

    Parameters
    ----------
    weights : array_like, shape (rows,)
        At least 0, and not all of them 0.
    replacement : bool
        Whether a row may come again. If not, rows are drawn one after the other, each in proportion to the
        weights of those that are left [1]_.
    rows_per_epoch : int, optional
        How many are drawn. By default as many as there are; without replacement, as have a weight.

    References
    ----------
    .. [1] P. Efraimidis, P. Spirakis: Weighted random sampling with a reservoir. Information Processing
       Letters 97, 2006

    Examples
    --------
    Nine rows of one class and one of another, and both classes come equally often:

    >>> order = Weighted([1 / 9] * 9 + [1], rows_per_epoch=1000).order(rows=10, batch_size=10, seed=0, epoch=0)
    >>> int((order == 9).sum())
    530
    """

    weights: Any
    replacement: bool = True
    rows_per_epoch: int | None = None

    def __post_init__(self) -> None:
        weights = _one_a_row(as_rows(self.weights, "weights"), "weights").astype(np.float64)
        for row in np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))[:1]:
            raise ArgumentError(f"weights[{row}] is {weights[row]}; expected a finite number of at least 0")
        if not weights.any():
            raise ArgumentError("all weights are 0; no row could be drawn", "Give at least one row a weight above 0")
        weights /= weights.max()  # sums of them cannot overflow, and what is too small for full precision is 0
        weights[weights < np.finfo(np.float64).tiny] = 0.0
        _keep(self, weights=weights, replacement=check_flag(self.replacement, "replacement"))
        if self.rows_per_epoch is not None:
            _keep(self, rows_per_epoch=check_integer(self.rows_per_epoch, "rows_per_epoch", 1))
            if self.rows_per_epoch > (most := int(np.count_nonzero(weights))) and not self.replacement:
                given = f"rows_per_epoch is {self.rows_per_epoch}"
                raise ArgumentError(f"{given}; without replacement at most {most} can be drawn")

    @property
    def repeats(self) -> bool:
        """Whether a row may come again."""
        return self.replacement

    def count(self, rows: int) -> int:
        """Return how many rows are drawn."""
        if self.rows_per_epoch is not None:
            return self.rows_per_epoch
        return rows if self.replacement else int(np.count_nonzero(self.weights))

    def order(self, rows: int, batch_size: int, seed: int, epoch: int) -> Rows:
        """Return the rows as they were drawn."""
        count = self.count(rows)
        if self.replacement:
            shares, drawn = np.cumsum(self.weights), _fractions(draws(count, seed, epoch, ORDER))
            ascending, found = drawn.argsort(), np.empty(count, np.intp)  # neighbours are found near each other
            found[ascending] = shares[:-1].searchsorted(drawn[ascending] * shares[-1], side="right")
            return found
        waiting = np.full(rows, np.inf)  # until a row is met, if each is met at the rate of its weight
        times = -np.log1p(-_fractions(draws(rows, seed, epoch, ORDER)))
        np.divide(times, self.weights, out=waiting, where=self.weights > 0)
        return waiting.argsort(kind="stable")[:count]


@dataclass(frozen=True, repr=False, eq=False)
class Stratified(Sampler):
    """Each row once, and in every batch each class as often as in the data.

    How often a class comes in a batch is its share of the data times the rows of the batch, rounded up or
    down. The classes lie side by side in a batch, so that the part ``[rank::world_size]`` of one process has each in
    proportion as well.

    Parameters
    ----------
    labels : array_like, shape (rows,)
        The class of each row.

    Notes
    -----
    Rows sorted by class and shuffled within it are dealt to the batches in turn, like cards: a class, a run of
    neighbours, then comes equally often to all, give or take one. Before that, the rows of a short last batch
    are taken out at even steps.

    Examples
    --------
    30 rows of one class and 10 of another, in batches of 8:

    >>> labels = np.array([0] * 30 + [1] * 10)
    >>> order = Stratified(labels).order(rows=40, batch_size=8, seed=0, epoch=0)
    >>> [np.bincount(labels[batch]).tolist() for batch in order.reshape(5, 8)]
    [[6, 2], [6, 2], [6, 2], [6, 2], [6, 2]]
    """

    labels: Any

    def __post_init__(self) -> None:
        try:
            labels = np.unique(_one_a_row(self.labels, "labels"), return_inverse=True)[1]
        except TypeError as error:
            raise DataError(f"labels cannot be told apart: {error}", "Give all of them one type") from error
        _keep(self, labels=labels)

    def order(self, rows: int, batch_size: int, seed: int, epoch: int) -> Rows:
        """Return a permutation of the rows."""
        by_class = np.lexsort((draws(rows, seed, epoch, ORDER), self.labels))
        full, rest = divmod(rows, batch_size)
        offset, turns = _offset_and_turns(full, seed, epoch)
        short = (np.arange(rest) * rows + offset % rows) // max(rest, 1)
        batches = np.delete(by_class, short).reshape(batch_size, full).T
        return np.concatenate([batches[turns].ravel(), by_class[short]])


@dataclass(frozen=True, repr=False, eq=False)
class Bucketed(Sampler):
    """Each row once, and rows of similar length in the same batch, so that little is padded.

    Shuffled rows are sorted by length within pools of several batches; then the batches are shuffled. A short
    batch comes last, and its length is as random as that of the others.

    Parameters
    ----------
    lengths : array_like, shape (rows,)
        How long each row is.
    pool : int
        Batches of a pool. The larger, the less is padded, and the more often the same rows meet.

    Examples
    --------
    What has to be added to bring the rows of each batch to one length, as a share of all:

    >>> lengths = np.random.default_rng(0).geometric(1 / 50, 32_000)  # 50 words on average
    >>> def padding(sampler):
    ...     batches = lengths[sampler.order(32_000, 32, seed=0, epoch=0)].reshape(1000, 32)
    ...     return 1 - lengths.sum() / (batches.max(axis=1) * 32).sum()
    >>> print(f"{padding(Shuffled()):.0%}, {padding(Bucketed(lengths, pool=10)):.0%}, {padding(Bucketed(lengths)):.0%}")
    75%, 30%, 5%
    """

    lengths: Any
    pool: int = 100

    def __post_init__(self) -> None:
        lengths = _one_a_row(as_rows(self.lengths, "lengths"), "lengths").astype(np.float64)
        _keep(self, lengths=lengths, pool=check_integer(self.pool, "pool", 1))

    def order(self, rows: int, batch_size: int, seed: int, epoch: int) -> Rows:
        """Return a permutation of the rows."""
        order = shuffled(rows, seed, epoch)
        pools = np.arange(rows) // (batch_size * self.pool)
        order = order[np.lexsort((self.lengths[order], pools))]
        full, rest = divmod(rows, batch_size)
        offset, turns = _offset_and_turns(full, seed, epoch)
        before = int(pools[-1]) * self.pool  # batches before the last pool, which the short one is cut out of
        cut = batch_size * (before + offset % (full - before + 1))
        batches = np.delete(order, slice(cut, cut + rest)).reshape(full, batch_size)
        return np.concatenate([batches[turns].ravel(), order[cut : cut + rest]])


@dataclass(frozen=True, repr=False)
class Blocks(Sampler):
    """Each row once, shuffled so that a disk reads long runs: first whole blocks, then the rows of a few blocks.

    The rows are cut into blocks of neighbours. The blocks are shuffled; so many at a time make a window, whose
    rows are shuffled among each other. What is not an array in memory is read a window at a time, each
    block in one go, and two windows are in memory at once.

    Parameters
    ----------
    block_rows : int
        Rows of a block: so many that reading them takes longer than finding them, 1 MiB say.
    window : int
        Blocks of a window: so many that a window is like the data in small.

    Notes
    -----
    How good it is depends on how the rows lie. At random, it is as good as a full shuffle. The worst is that they
    are sorted: then the rows of a window come from `window` places only, and the variance of the means of
    batches is ``1 + (batch_size - 1) / window`` times that of a full shuffle (where blocks are many and batches much
    smaller than windows). Batches of 32 from windows of 31 blocks are twice as rough as fully shuffled ones, from
    windows of 310 blocks 1.1 times. Only rows of one window meet in a batch, or of two where it begins in the first.

    Examples
    --------
    >>> Blocks(block_rows=2, window=2).order(rows=9, batch_size=3, seed=0, epoch=0)
    array([6, 7, 8, 3, 0, 2, 1, 4, 5])
    """

    block_rows: int
    window: int
    windowed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        block_rows, window = check_integer(self.block_rows, "block_rows", 1), check_integer(self.window, "window", 1)
        _keep(self, block_rows=block_rows, window=window)

    def order(self, rows: int, batch_size: int, seed: int, epoch: int) -> Rows:
        """Return a permutation of the rows."""
        return np.concatenate(list(self.pieces(rows, batch_size, seed, epoch, 0)))

    def pieces(self, rows: int, batch_size: int, seed: int, epoch: int, start: int) -> Iterator[Rows]:
        """Yield it a window at a time."""
        within = np.arange(min(self.block_rows, rows))
        firsts = self.block_rows * shuffled(-(-rows // self.block_rows), seed, epoch)
        position = 0
        for number in range(-(-len(firsts) // self.window)):
            first = firsts[number * self.window : (number + 1) * self.window, None]
            members = (first + within).ravel()
            members = members[members < rows]  # the block at the end of the data may be a short one
            if position + len(members) > start:
                order = within_window(len(members), seed, epoch, number)
                yield members[order][max(start - position, 0) :]
            position += len(members)


def _keep(sampler: Sampler, **values: Any) -> None:
    """Keep what was checked, of one type whatever was given: a saved state compares it."""
    for name, value in values.items():
        object.__setattr__(sampler, name, value)


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"<{len(value)} values, crc32 {zlib.crc32(np.ascontiguousarray(value).tobytes()):08x}>"
    return repr(value)


def _offset_and_turns(batches: int, seed: int, epoch: int) -> tuple[int, Rows]:
    """Return a random number, to be taken modulo whatever there is to choose from, and an order of the batches."""
    drawn = draws(1 + batches, seed, epoch, MORE)
    return int(drawn[0]), sorting(drawn[1:])


def _fractions(raw: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return numbers from 0 to below 1, made of the upper 53 bits of raw draws."""
    return np.multiply(raw >> np.uint64(11), 2.0**-53)


def _one_a_row(values: ArrayLike, name: str) -> Array:
    array = np.asarray(values)
    if array.ndim != 1 or not len(array):
        raise DataError(f"{name} has shape {array.shape}; expected one value a row, (rows,)")
    return array
