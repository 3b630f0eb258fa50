"""Data on their way into training: where rows come from, which comes when, and how they become batches.

>>> import numpy as np
>>> from tinygrad_batch.data import DataIterator, Stratified, load_diabetes
>>> x, y = load_diabetes()
>>> for epoch in DataIterator(x, y, batch_size=20, shuffle=True).epochs(2):  # an epoch: every row once
...     losses = [(yb**2).mean() for xb, yb in epoch]  # a batch: 20 of the rows
...     print(epoch.number, len(losses), f"{epoch.mean(losses):.3f}")  # the mean over the rows
0 23 1.000
1 23 1.000

**A batch is a function of its position.** The order of an epoch is drawn from the seed and the number of the epoch, and
of nothing else: no earlier loop and no thread changes it. So ``(seed, epoch, step)`` is all there is to save, and a
training that stopped anywhere goes on as if it had not.

>>> whole, stopped, resumed = (DataIterator(np.arange(6), batch_size=2, shuffle=True, seed=7) for _ in range(3))
>>> [rows.numpy().tolist() for (rows,) in whole]
[[5, 1], [2, 4], [0, 3]]
>>> for batch in stopped:
...     break
>>> resumed.load_state_dict(stopped.state_dict())
>>> resumed.cursor, [rows.numpy().tolist() for (rows,) in resumed]
(Cursor(seed=7, epoch=0, step=1), [[2, 4], [0, 3]])

**Sources.** Arrays in memory are not copied. What lies on a disk is read when its rows have their turn: the path of an
``.npy`` file or any `numpy.memmap`, which does not fill the memory however large it is, `Parquet`, and whatever has a
shape, a dtype and slicing, as the data sets of h5py and the arrays of Zarr.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...     np.save(f"{folder}/x.npy", x)
...     xb, yb = next(iter(DataIterator(f"{folder}/x.npy", y, batch_size=20)))
>>> bool((xb.numpy() == x[:20]).all())
True

**Samplers** say which row comes when: `Sequential`, `Shuffled`, `Weighted`, `Stratified`, `Bucketed` for rows of
unequal lengths, and `Blocks` for disks.

>>> labels = np.array([0, 0, 0, 0, 0, 0, 1, 1])
>>> [labels[rows.numpy()].tolist() for (rows,) in DataIterator(np.arange(8), batch_size=4, sampler=Stratified(labels))]
[[0, 0, 0, 1], [0, 0, 0, 1]]

**Ranks.** Each of several processes takes its part of every batch. Nothing is padded, dropped or seen twice, and the
sums over all parts are those of one process, however many there are. See `DataIterator.global_rows`.

>>> for rank in range(3):
...     print([rows.numpy().tolist() for (rows,) in DataIterator(np.arange(5), batch_size=4, rank=rank, world_size=3)])
[[0, 3], [4]]
[[1], []]
[[2], []]

**Transforms** of a row or of a batch get a random generator of its own, and so give the same in any process and any
thread, and after resuming.

>>> def noisy(x, y, rng):
...     return x + 0.1 * rng.standard_normal(x.shape), y
>>> small, large = (next(iter(DataIterator(x, y, batch_size=size, transform=noisy))) for size in (20, 30))
>>> bool((small[0].numpy() == large[0].numpy()[:20]).all())
True

**Streams** are rows that come one after the other, maybe without end, and are shuffled in windows: `Stream`.

**Prefetching.** Threads prepare the next batches while one is in use. An error arrives where its batch would, and
the threads end with the loop, however it ends, as soon as the batches that they are at are done.

>>> sum(len(xb) for xb, yb in DataIterator(x, y, batch_size=20, transform=noisy, prefetch=4, workers=2))
442

One idea a file: `orders`, `samplers`, `plan` (a position, saved and loaded), `sources`, `parquet`, `stream`, `table`
(sources side by side), `form` (tuples and dicts), `pipeline` (from positions to batches), `prefetch`, `epoch`,
`iterator` (the loop); `splits` (rows held out, columns on one scale), `datasets`, `synthetic`, `files`.
"""

from typing import TYPE_CHECKING, Any

from .epoch import Epoch
from .iterator import DataIterator
from .samplers import Blocks, Bucketed, Sequential, Shuffled, Stratified, Weighted
from .splits import Standardized, standardize, train_test_split
from .stream import Stream

if TYPE_CHECKING:
    from .datasets import Dataset, load_diabetes, load_digits, load_file
    from .parquet import Parquet
    from .synthetic import make_moons, make_regression, make_spirals, make_xor

__all__ = [
    "Blocks",
    "Bucketed",
    "DataIterator",
    "Dataset",
    "Epoch",
    "Parquet",
    "Sequential",
    "Shuffled",
    "Standardized",
    "Stratified",
    "Stream",
    "Weighted",
    "load_diabetes",
    "load_digits",
    "load_file",
    "make_moons",
    "make_regression",
    "make_spirals",
    "make_xor",
    "standardize",
    "train_test_split",
]


def __getattr__(name: str) -> Any:  # reading files needs half the standard library; load it when a file is read
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name.startswith("make_"):
        from . import synthetic

        return getattr(synthetic, name)
    if name == "Parquet":
        from .parquet import Parquet

        return Parquet
    from . import datasets

    return getattr(datasets, name)
