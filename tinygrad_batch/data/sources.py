"""Where rows come from: arrays in memory, mapped files, and anything that can be sliced.

A source has a shape and a dtype as a NumPy array has, gives neighbouring rows by slicing, and any rows by
``take(rows, axis=0)``. An array in memory is one as it is; `Mapped` and `Sliced` make one of the others.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError, DataError
from ..tensor import Tensor
from .arrays import Array, as_rows, check_names, positional_names, read_only
from .files import TOO_BROKEN, read_bytes, read_npz

GAP = 2**16  # bytes that are read rather than skipped
FOLIO = 2**21  # bytes that Linux may map where one is read
RESIDENT = 2**25  # bytes that are read at once, or of a mapped file before its pages are let go
REREADABLE = ("r", "r+", "w+")  # numpy.memmap's modes whose pages can be read from the file again
IN_MEMORY = ("__array_interface__", "__dlpack__", "to_numpy")  # what arrays of other packages have, but not files


class Source(Protocol):
    """What rows can be read from."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths, rows first."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the numbers."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Array: ...

    def take(self, rows: Any, /, axis: int) -> Array:
        """Return a copy of these rows; `axis` is 0."""


class Sliced:
    """Anything with shape, dtype and slicing, as h5py's data sets, Zarr's arrays or `Parquet`.

    Rows that were asked for are sorted, each run of near neighbours is read as one slice, and what comes is put
    into the order asked for: HDF5 takes no rows in any order, and none twice.
    """

    def __init__(self, data: Any, name: str) -> None:
        self._data = data
        self.name = name
        self.shape = tuple(int(length) for length in data.shape)
        self.dtype = np.dtype(data.dtype)
        like = as_rows(np.broadcast_to(np.zeros((), self.dtype), self.shape), name)
        self._near, self._most = (max(1, nbytes // max(1, like[:1].nbytes)) for nbytes in (GAP, RESIDENT))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Array:
        first, stop, step = rows.indices(len(self))
        return self._run(first, stop)[::step] if first < stop else np.empty((0, *self.shape[1:]), self.dtype)

    def take(self, rows: NDArray[np.integer], axis: int = 0) -> Array:
        """Return a copy of these rows."""
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        order = rows.argsort(kind="stable")
        ascending = rows[order]
        ends = (np.diff(ascending) > self._near) | (np.diff(ascending // self._most) > 0)
        for places in np.split(order, np.flatnonzero(ends) + 1) if len(order) else ():
            wanted = rows[places]
            found[places] = self._run(int(wanted[0]), int(wanted[-1]) + 1)[wanted - wanted[0]]
        return found

    def _run(self, first: int, stop: int) -> Array:
        """Return neighbouring rows."""
        try:
            found = np.asarray(self._data[first:stop], self.dtype)
            if found.shape != (stop - first, *self.shape[1:]):
                raise DataError(f"{self.name} gave an array of shape {found.shape} for {stop - first} rows")
        except Exception as error:
            error.add_note(f"while reading rows {first} to {stop - 1} of {self.name}")
            raise
        return read_only(found)  # it may be a view of what the source holds


class Mapped(Sliced):
    """A mapped file that does not fill the memory while it is read.

    What was read of a mapped file stays in the memory of the process as long as there is room. So its pages are
    let go again and again. Whoever still looks at them, in a batch that is a view, gets them back from the
    file, or from the system's cache of it.
    """

    def __init__(self, array: Array, name: str, mapping: mmap.mmap) -> None:
        super().__init__(read_only(array), name)
        self._mapping = mapping
        self._read = 0
        scattered = 1 if array[:1].flags.c_contiguous else array[0].size
        self._around = scattered * FOLIO

    def _run(self, first: int, stop: int) -> Array:
        found: Array = self._data[first:stop]
        self._read += found.nbytes + self._around
        if self._read > RESIDENT:
            self._mapping.madvise(mmap.MADV_DONTNEED)
            self._read = 0
        return found


def as_source(value: Any, name: str) -> Source:
    """Return what rows of `value` can be read from; nothing is read or copied yet, if it is an array or like one.

    Parameters
    ----------
    value : array_like, Tensor, str or Path, or an object with shape, dtype and slicing
        A path is that of an ``.npy`` file, which is mapped.
    name : str
        What the messages call it.

    Raises
    ------
    DataError
        If it has no rows of numbers, or the file cannot be read.

    Examples
    --------
    >>> as_source([[1.0], [2.0]], "x").shape
    (2, 1)
    """
    if isinstance(value, str | Path):
        value = map_npy(value)
    if hasattr(value, "toarray"):
        raise DataError(f"{name} is a sparse {type(value).__name__}", "Pass a dense array: .toarray()")
    if isinstance(value, np.ndarray) and not isinstance(value, np.ma.MaskedArray):
        mapping = _mapping(value)
        array = as_rows(value, name)
        return read_only(array) if mapping is None else Mapped(array, name, mapping)
    if _is_sliced(value):
        return Sliced(value, name)
    return read_only(as_rows(value, name))


def map_npy(path: str | Path) -> Array:
    """Return the array of an ``.npy`` file, mapped and not yet read.

    Raises
    ------
    DataError
        If it is no such file, cut short, or holds Python objects.
    """
    if Path(path).suffix.lower() != ".npy":
        hint = "A table (.npz, .csv, .parquet) holds all arrays: give it alone"
        raise DataError(f"{str(path)!r} is not an .npy file, which holds one array", hint)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"{str(path)!r} cannot be read: {error.strerror}", "Check the path") from error
    except TOO_BROKEN as error:
        hint = "Write it with np.save(path, array), of an array of numbers"
        raise DataError(f"{str(path)!r} cannot be read: {error}", hint) from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{str(path)!r} holds several arrays, as an .npz archive does", "Name it .npz")
    return array


def open_table(path: str | Path) -> dict[str, Any]:
    """Return the arrays of a file that holds several: of an ``.npz`` archive, or x and y of a table.

    In a table, ``.csv`` or ``.parquet``, y is the last column. Parquet is not read yet, the others are.

    Raises
    ------
    DataError
        If the file cannot be read, naming the place that is at fault.

    Examples
    --------
    >>> from tinygrad_batch.data.datasets import FILES
    >>> {name: array.shape for name, array in open_table(FILES / "digits.npz").items()}
    {'x': (1797, 64), 'y': (1797,)}
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind == ".npz":
        return dict(read_npz(read_bytes(path), path.name))
    if kind == ".parquet":
        from .parquet import Parquet, column_names

        names = column_names(path)
        if len(names) == 1:
            raise DataError(f"{path.name} has one column, {names[0]!r}", "One to predict and one to predict it from")
        return {"x": Parquet(path, names[:-1]), "y": Parquet(path, names[-1:])}
    from .datasets import load_file

    data = load_file(path)
    return {"x": data.x, "y": data.y}


def as_named_sources(arrays: tuple[Any, ...]) -> dict[str, Source]:
    """Return arrays given by position, as one dict, or as the path of a table, under their names.

    Raises
    ------
    DataError
        If there are none, or one of them has no rows of numbers.
    ArgumentError
        For a dict beside other arrays, or keys that are not names.

    Examples
    --------
    >>> list(as_named_sources(([[1.0], [2.0]], [0, 1])))
    ['x', 'y']
    """
    dicts = [array for array in arrays if isinstance(array, Mapping)]
    if not arrays or dicts == [{}]:
        raise DataError("no arrays were given", "Give at least one, such as x, y")
    if len(arrays) == 1 and isinstance(arrays[0], str | Path) and Path(arrays[0]).suffix.lower() != ".npy":
        named = open_table(arrays[0])
    elif not dicts:
        named = dict(zip(positional_names(len(arrays)), arrays, strict=True))
    elif len(arrays) == 1:
        named = dict(dicts[0])
    else:
        raise ArgumentError("a dict was given among other arrays", "Put all of them into one dict, or give no dict")
    check_names(named)
    return {name: as_source(array, name) for name, array in named.items()}


def _mapping(array: Array) -> mmap.mmap | None:
    """Return the mapped file that an array is a view of, if its pages can be let go and are worth it."""
    owner: Any = array
    mode = ""
    while isinstance(owner, np.ndarray):
        mode = getattr(owner, "mode", mode)
        owner = owner.base
    if not isinstance(owner, mmap.mmap) or mode not in REREADABLE or not hasattr(mmap, "MADV_DONTNEED"):
        return None
    return owner if array.nbytes > RESIDENT else None


def _is_sliced(value: Any) -> bool:
    """Return whether rows should be read from an object by slicing it: it is like an array, but not in memory."""
    if isinstance(value, np.ndarray | np.generic | Tensor) or any(hasattr(value, name) for name in IN_MEMORY):
        return False
    return all(hasattr(value, name) for name in ("shape", "dtype", "__getitem__"))
