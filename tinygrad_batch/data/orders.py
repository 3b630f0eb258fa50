"""The order of the rows in an epoch: pure functions of the seed and the number of the epoch.

Every random number of an iterator is drawn here, by `draws`, or by a generator from `generator`; nothing
remembers anything between two calls. They start from the words ``seed, epoch`` and what follows:

=============================  ==============================================================================
``seed, epoch, 1``             the order of an epoch
``seed, epoch, 2``             the keys of an order that is worked out where it is asked for
``seed, epoch, 3``             whatever else a sampler draws
``seed, epoch, window, 4``     the order inside one window of a stream or of blocks
``seed, epoch, row, 5``        the transform of one row; by its position in the order, where rows come again
``seed, epoch, step, 6``       the transform of one batch
``seed, 0, 7``                 which rows `train_test_split` puts aside
=============================  ==============================================================================

So seed 0 in epoch 1 and seed 1 in epoch 0 have nothing in common, as they would if the two were added. The last word is
never 0, because NumPy fills up with zeros: ``SeedSequence([seed, 0])`` is that of ``numpy.random.default_rng(seed)``,
and a column ``default_rng(0).random(rows)``, which grows with its raw draws, would be *sorted* by an order made of the
same draws.

Orders are made from raw draws and a sort. NumPy promises that the raw stream of PCG64 and of
SeedSequence never changes; how `Generator.permutation` uses it may change with any version, and a training that
is resumed after an upgrade would go on in another order.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.intp]

ORDER, KEYS, MORE, WINDOW, ROW, BATCH, SPLIT = 1, 2, 3, 4, 5, 6, 7
LARGE = 2**22  # rows above which an order is worked out piece by piece; as a list they would take 32 MiB
PIECE = 2**13  # rows of a piece: few enough to stay in the cache, enough to forget what a NumPy call costs
ROUNDS = 8  # after 4, some rows prefer some places in orders of up to 10 rows; after 6, no test sees it


def draws(count: int, *key: int) -> NDArray[np.uint64]:
    """Return raw 64-bit draws, a function of the key alone.

    Examples
    --------
    >>> draws(2, 0, 1)
    array([16412783775159424549, 10277383025879800780], dtype=uint64)
    """
    return np.random.PCG64(_seed_sequence(key)).random_raw(count)


def generator(*key: int) -> np.random.Generator:
    """Return a generator of its own for whoever has this key, which takes about 30 µs to make.

    Examples
    --------
    >>> generator(0, 1, 2, ROW).random() == generator(0, 1, 2, ROW).random()
    True
    """
    return np.random.Generator(np.random.PCG64(_seed_sequence(key)))


def _seed_sequence(key: tuple[int, ...]) -> np.random.SeedSequence:
    """Return the seeds of a key.

    NumPy cuts the numbers into words of 32 bits, joins them, and adds zeros: to it (5, 3) and (5 + 3·2³², 0) are the
    same. Where a number is that large, the counts of words follow, which tells them apart.
    """
    words = [max(1, -(-number.bit_length() // 32)) for number in key]
    return np.random.SeedSequence([*key, *words] if max(words) > 1 else key)


def shuffled(rows: int, seed: int, epoch: int) -> Rows:
    """Return the rows in the order of their draws: a permutation of ``0 .. rows - 1``.

    Every order is equally likely, as far as PCG64 is random: two draws are equal with probability
    ``rows² / 2⁶⁵``, and then the earlier row comes first.

    Parameters
    ----------
    rows, seed, epoch : int
        At least 0.

    Examples
    --------
    >>> shuffled(5, seed=0, epoch=1), shuffled(5, seed=1, epoch=0)
    (array([2, 1, 4, 0, 3]), array([3, 1, 4, 0, 2]))
    """
    return sorting(draws(rows, seed, epoch, ORDER))


def sorting(raw: NDArray[np.uint64]) -> Rows:
    """Return the order that sorts draws, equal ones as they come.

    NumPy's stable sort takes three times as long as its other one, and they differ only where draws are equal.

    Examples
    --------
    >>> sorting(np.array([7, 5, 7, 5], np.uint64))
    array([1, 3, 0, 2])
    """
    order = raw.argsort()
    ascending = raw[order]
    return order if (ascending[1:] > ascending[:-1]).all() else raw.argsort(kind="stable")


def as_numbers(rows: range | Rows) -> Rows:
    """Return rows as an array; `numpy.asarray` would go through a range number by number."""
    return np.arange(rows.start, rows.stop, rows.step) if isinstance(rows, range) else np.asarray(rows)


def keyed(positions: NDArray[np.integer], rows: int, seed: int, epoch: int) -> Rows:
    """Return the rows that stand at some positions of an order that nobody ever writes down.

    The position, in an even number of bits, goes through a Feistel network [1]_: of its two halves, each in
    turn is changed by a hash of the other and of a key, `ROUNDS` times. Each round can be undone, so
    no two positions meet. Results of `rows` or more go through again until they are below (cycle
    walking [2]_), which keeps that, at every number of rows.

    Parameters
    ----------
    positions : ndarray of int
        From 0 to ``rows - 1``.
    rows : int
        From 1 to 2**62.
    seed, epoch : int
        At least 0.

    Returns
    -------
    ndarray of int
        As long as `positions`. Over all positions: a permutation of ``0 .. rows - 1``.

    Notes
    -----
    A sort gives any of the ``rows!`` orders; this gives one of at most 2**512, and of a domain of 16 or more only even
    permutations. Where a row lands and which rows are neighbours is, by the tests here, as random as after a
    sort. It shuffles data; it keeps no secrets. The domain has up to four times as many numbers as there are rows, so
    just above a power of 4 a position goes around four times on average.

    References
    ----------
    .. [1] M. Luby, C. Rackoff: How to construct pseudorandom permutations from pseudorandom functions.
       SIAM Journal on Computing 17, 1988
    .. [2] J. Black, P. Rogaway: Ciphers with arbitrary finite domains. CT-RSA 2002

    Examples
    --------
    >>> sorted(keyed(np.arange(5), 5, seed=0, epoch=0).tolist())
    [0, 1, 2, 3, 4]
    >>> keyed(np.array([0, 1, 10**12 - 1]), 10**12, seed=0, epoch=0)
    array([625873777649, 255375476563,  45952270370])
    """
    half = max(1, -(-(rows - 1).bit_length() // 2))
    keys = draws(ROUNDS, seed, epoch, KEYS)
    found = _network(positions.astype(np.uint64), keys, half)
    while len(outside := np.flatnonzero(found >= rows)):
        found[outside] = _network(found[outside], keys, half)
    return found.astype(np.intp)


def _network(values: NDArray[np.uint64], keys: NDArray[np.uint64], half: int) -> NDArray[np.uint64]:
    """Take values of ``2 * half`` bits through all rounds; the hash is the finaliser of SplitMix64 (Steele 2014)."""
    width, spare = np.uint64(half), np.uint64(64 - half)
    left, right = values >> width, values & np.uint64((1 << half) - 1)
    for key in keys:
        mixed = right + key
        mixed ^= mixed >> np.uint64(30)
        mixed *= np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= mixed >> np.uint64(27)
        mixed *= np.uint64(0x94D049BB133111EB)
        mixed >>= spare  # its upper bits are mixed best
        mixed ^= left
        left, right = right, mixed
    return left << width | right


def keyed_pieces(rows: int, seed: int, epoch: int, start: int) -> Iterator[Rows]:
    """Yield the keyed order from a position on, a few thousand rows at a time."""
    for first in range(start, rows, PIECE):
        yield keyed(np.arange(first, min(first + PIECE, rows)), rows, seed, epoch)


def within_window(count: int, seed: int, epoch: int, window: int) -> Rows:
    """Return the order of the rows inside one window.

    Examples
    --------
    >>> within_window(4, seed=0, epoch=0, window=7)
    array([3, 1, 0, 2])
    """
    return sorting(draws(count, seed, epoch, window, WINDOW))
