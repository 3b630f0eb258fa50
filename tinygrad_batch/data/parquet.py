"""Columns of a Parquet file, read a row group at a time."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArgumentError, DataError
from .arrays import Array
from .files import column_index


class Parquet:
    """Columns of numbers in a Parquet file, as an array of shape (rows, columns) that is read where it is sliced.

    A Parquet file consists of row groups, which are read as a whole. The one read last is kept, so batches in
    order read each once, but a row here and a row there cost a row group each: shuffle with
    ``Blocks(parquet.group_rows, window=...)``. It needs pyarrow: ``pip install "tinygrad-batch[parquet]"``.

    Parameters
    ----------
    path : str or Path
    columns : sequence of str or int, optional
        By name or position; by default all.

    Attributes
    ----------
    shape : tuple of int
        (rows, columns), whatever the number of columns.
    dtype : dtype
        The one that holds the numbers of all these columns.
    columns : tuple of str
        Their names.
    group_rows : int
        Rows of the first row group, and commonly of all but the last.

    Raises
    ------
    DataError
        Without pyarrow, if this is not a Parquet file, or where a column is not of numbers or misses one.

    Examples
    --------
    >>> Parquet("people.txt")
    Traceback (most recent call last):
        ...
    tinygrad_batch.errors.DataError: 'people.txt' cannot be read as Parquet: No such file or directory. Check the path
    """

    def __init__(self, path: str | Path, columns: Sequence[str | int] | None = None) -> None:
        self.path = Path(path)
        self._file = _opened(self.path)
        schema, metadata = self._file.schema_arrow, self._file.metadata
        names = _names(self._file, self.path.name)
        if columns is not None and not len(columns):
            raise ArgumentError("columns is empty", "Name at least one column")
        chosen = names if columns is None else [names[column_index(names, c, self.path.name)] for c in columns]
        if len(set(chosen)) < len(chosen):
            raise ArgumentError(f"a column was asked for twice: {', '.join(chosen)}")
        self.columns = tuple(chosen)
        self.dtype = np.result_type(*[_dtype(schema.field(name), self.path.name) for name in chosen])
        sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        if not sum(sizes):
            raise DataError(f"{self.path.name} has no rows")
        self.shape = (sum(sizes), len(chosen))
        self.group_rows = int(sizes[0])
        self._starts = np.cumsum([0, *sizes])
        self._lock = threading.Lock()  # pyarrow's files are not for two threads
        self._latest: tuple[int, Array] = (-1, np.empty(0))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Array:
        """Return neighbouring rows, read anew or taken from the row group read last."""
        if not isinstance(rows, slice):
            raise ArgumentError(f"rows {rows!r} were asked for; expected a slice", "One row is parquet[row : row + 1]")
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise ArgumentError(f"a Parquet file is read in steps of 1, not {step}")
        first, last = np.searchsorted(self._starts, [start, stop - 1], side="right") - 1
        parts = [np.empty((0, len(self.columns)), self.dtype)]
        with self._lock:
            for group in range(first, last + 1) if start < stop else ():
                offset = self._starts[group]
                parts.append(self._group(group)[max(0, start - offset) : stop - offset])
        return parts[1] if len(parts) == 2 else np.concatenate(parts)

    def _group(self, group: int) -> Array:
        """Return the rows of a row group."""
        if self._latest[0] != group:
            try:
                table = self._file.read_row_group(group, columns=list(self.columns), use_threads=False)
            except (OSError, import_module("pyarrow").ArrowException) as error:
                raise DataError(f"row group {group} of {self.path.name} cannot be read: {error}") from error
            values = np.empty((table.num_rows, len(self.columns)), self.dtype)
            for place, name in enumerate(self.columns):
                column = table.column(name)
                if column.null_count:
                    row = self._starts[group] + np.flatnonzero(column.is_null().to_numpy())[0]
                    where = f"{self.path.name}, row {row}, column {name!r}"
                    raise DataError(f"{where}: the value is missing", "Fill it in or drop the row")
                values[:, place] = column.to_numpy()
            values.flags.writeable = False  # it is kept, so nobody may change it
            self._latest = group, values
        return self._latest[1]

    def __repr__(self) -> str:
        return f"Parquet({self.path.name!r}: {self.shape[0]} rows of {', '.join(self.columns)})"


def column_names(path: str | Path) -> tuple[str, ...]:
    """Return what the columns of a Parquet file are called, whatever they hold."""
    path = Path(path)
    return tuple(_names(_opened(path), path.name))


def _names(file: Any, source: str) -> list[str]:
    names: list[str] = file.schema_arrow.names
    for position, name in enumerate(names):
        if name in names[:position]:
            raise DataError(f"{source}: two columns are named {name!r}", "Give each its own name")
    return names


def _opened(path: Path) -> Any:
    """Return pyarrow's file, of which only the description was read."""
    try:
        parquet, pyarrow = import_module("pyarrow.parquet"), import_module("pyarrow")
    except ImportError as error:
        hint = 'Install it with pip install "tinygrad-batch[parquet]"'
        raise DataError("reading Parquet needs pyarrow", hint) from error
    try:
        path.open("rb").close()
        return parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise DataError(f"{str(path)!r} cannot be read as Parquet: {reason}", "Check the path") from error


def _dtype(field: Any, source: str) -> np.dtype[Any]:
    """Return the dtype of a column, of numbers or of truth values."""
    types = import_module("pyarrow").types
    if not (types.is_integer(field.type) or types.is_floating(field.type) or types.is_boolean(field.type)):
        hint = "Leave it out with columns=[...], or features=[...]"
        raise DataError(f"{source}: the column {field.name!r} is of type {field.type}, not of numbers", hint)
    return np.dtype(field.type.to_pandas_dtype())
