"""Read tables of numbers from CSV and NumPy files, and say where they are wrong.

Nothing in a file is ever run: cells are numbers or errors, and pickled arrays are refused.
"""

from __future__ import annotations

import csv
import io
import math
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .arrays import as_rows, check_aligned

MISSING = frozenset({"", "-", "--", ".", "?", "na", "n/a", "#n/a", "nan", "nil", "none", "null"})
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
TOO_BROKEN = (
    *(ValueError, TypeError, OSError, EOFError, KeyError, NotImplementedError, RuntimeError),
    *(MemoryError, OverflowError, zipfile.BadZipFile, zlib.error),
)


@dataclass(frozen=True, slots=True)
class Table:
    """Named columns of numbers, shape (rows, columns)."""

    names: tuple[str, ...]
    values: NDArray[np.float64]


def read_bytes(path: str | Path) -> bytes:
    """Return the contents of a file.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise DataError(f"{str(path)!r} cannot be read: {reason}", "Check the path") from error


def read_csv(content: bytes, source: str, columns: Sequence[str | int] | None = None) -> Table:
    r"""Read a table with a header.

    Parameters
    ----------
    content : bytes
        UTF-8 text, with or without a byte order mark; cells separated by comma, semicolon or tab,
        whichever fits the header and the line below it; quotes as in CSV. Blank lines are skipped.
    source : str
        What the messages call the file.
    columns : sequence of str or int, optional
        Read only these columns, by name or position; the others may hold anything.

    Returns
    -------
    Table
        With the columns in the order asked for.

    Raises
    ------
    DataError
        Naming the line and the column, wherever the text is not such a table of finite numbers.

    Examples
    --------
    >>> table = read_csv(b"age;bmi\n59;32.1\n48;21.6\n", "a.csv")
    >>> table.names, table.values.shape
    (('age', 'bmi'), (2, 2))
    >>> read_csv(b"age;bmi\n59;32.1\n48;\n", "a.csv")
    Traceback (most recent call last):
        ...
    tinygrad_batch.errors.DataError: a.csv, line 3, column 'bmi': the value is missing. Fill it in or delete the line
    """
    lines = _records(_text(content, source), source)
    if not lines:
        raise DataError(f"{source} is empty", "A header with column names is expected, then a line a row")
    names = _header(lines[0][1], source)
    chosen = range(len(names)) if columns is None else [column_index(names, column, source) for column in columns]
    if len(lines) == 1:
        raise DataError(f"{source} has a header and no rows", "A line of numbers a row is expected below the header")
    values = np.empty((len(lines) - 1, len(chosen)))
    for row, (line, cells) in enumerate(lines[1:]):
        if len(cells) != len(names):
            hint = "Quote cells that contain the delimiter" if len(cells) > len(names) else "Fill in what is missing"
            raise DataError(f"{source}, line {line}: {len(cells)} cells; the header has {len(names)}", hint)
        for position, index in enumerate(chosen):
            values[row, position] = _number(cells[index], f"{source}, line {line}, column {names[index]!r}")
    return Table(tuple(names[index] for index in chosen), values)


def column_index(names: Sequence[str], column: str | int, source: str) -> int:
    """Return the position of a column given by its name or its position (from the end if negative).

    Examples
    --------
    >>> column_index(["age", "bmi"], "bmi", "people.csv"), column_index(["age", "bmi"], -1, "people.csv")
    (1, 1)
    """
    if isinstance(column, str):
        if column in names:
            return list(names).index(column)
    elif isinstance(column, int | np.integer) and not isinstance(column, bool):
        if -len(names) <= column < len(names):
            return int(column) % len(names)
    else:
        raise DataError(f"the column {column!r} is a {type(column).__name__}", "Give a name, or a position as an int")
    raise DataError(f"{source} has no column {column!r}", f"It has {_listed(names)}")


def read_npz(content: bytes, source: str, names: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
    """Read arrays of numbers, with equally many rows, from a NumPy ``.npz`` archive.

    Parameters
    ----------
    content : bytes
        All of the file.
    source : str
        What the messages call the file.
    names : sequence of str, optional
        The arrays to read; by default all.

    Returns
    -------
    dict of str to ndarray
        In the order of `names`, or of the file.

    Raises
    ------
    DataError
        If it is no such archive, lacks an array, or an array is pickled, empty, not of finite
        numbers, or differs from the others in rows.
    """
    try:
        archive = np.load(io.BytesIO(content), allow_pickle=False)
    except TOO_BROKEN as error:
        raise DataError(f"{source} is no .npz archive: {error}", "Write it with np.savez(path, x=x, y=y)") from error
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise DataError(f"{source} holds a single array", "Write it with np.savez(path, x=x, y=y)")
    arrays = {}
    with archive:
        for name in archive.files if names is None else names:
            if name not in archive.files:
                raise DataError(f"{source} has no array {name!r}", f"It has {_listed(archive.files)}")
            try:
                array = archive[name]
            except TOO_BROKEN as error:
                hint = "Arrays of Python objects are not read; write it with np.savez(path, x=x, y=y)"
                raise DataError(f"{source}: the array {name!r} cannot be read: {error}", hint) from error
            arrays[name] = check_finite(as_rows(array, f"{source}: {name!r}"), f"{source}: {name!r}")
    if not arrays:
        raise DataError(f"{source} holds no arrays", "Write it with np.savez(path, x=x, y=y)")
    check_aligned({f"{source}: {name!r}": array for name, array in arrays.items()})
    return arrays


def check_finite(array: NDArray[Any], what: str) -> NDArray[Any]:
    """Return `array`, or raise DataError naming the first row that is not of finite numbers."""
    bad = np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))
    if len(bad):
        raise DataError(
            f"{what} holds a value that is not finite in row {bad[0]}", "Fill or drop what is missing first"
        )
    return array


def _text(content: bytes, source: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{source} is not UTF-8 text (byte {error.start})", "Save it as CSV in UTF-8") from error


def _records(text: str, source: str) -> list[tuple[int, list[str]]]:
    """Return (line, cells) for every line that is not blank.

    The delimiter is the one that cuts the header into most cells, and the line below it into as many: what the others
    cut may be quoted names.
    """

    def fit(delimiter: str) -> tuple[bool, int]:
        counts = [len(cells) for _, cells in _split(text, delimiter, source, most=2)] or [0]
        return counts[0] > 1 and len(set(counts)) == 1, counts[0]

    return _split(text, max(DELIMITERS, key=fit), source)


def _split(text: str, delimiter: str, source: str, most: int | None = None) -> list[tuple[int, list[str]]]:
    """Return lines cut into cells, with quotes that do not match forgiven where only a few lines are looked at."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=most is None)
    records: list[tuple[int, list[str]]] = []
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells) or len(cells) > 1:
                records.append((line, [cell.strip() for cell in cells]))
                if len(records) == most:
                    break
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{source}, line {line}: {error}", "Check the quotes on this line") from error
    return records


def _header(cells: list[str], source: str) -> list[str]:
    if all(_is_number(cell) for cell in cells):
        raise DataError(f"{source} begins with numbers", "Put a first line with the names of the columns above them")
    for position, cell in enumerate(cells):
        if not cell:
            raise DataError(f"{source}: column {position + 1} of {len(cells)} has no name", "Name every column")
        if cell in cells[:position]:
            raise DataError(f"{source}: two columns are named {cell!r}", "Give each its own name")
    return cells


def _number(cell: str, where: str) -> float:
    if cell.lower() in MISSING:
        raise DataError(f"{where}: the value is missing", "Fill it in or delete the line")
    if not _is_number(cell):
        hint = "Write it as a number, or leave the column out with features=[...]"
        if _is_number(cell.replace(",", ".", 1)):
            hint = "Write decimals with a point"
        shown = cell if len(cell) <= 40 else cell[:39] + "…"
        raise DataError(f"{where}: {shown!r} is not a number", hint)
    number = float(cell)
    if not math.isfinite(number):
        raise DataError(f"{where}: {cell!r} is not a finite number", "Fill it in or delete the line")
    return number


def _is_number(cell: str) -> bool:
    if not cell.isascii() or "_" in cell:  # float() takes 1_000 and digits of every script
        return False
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown
