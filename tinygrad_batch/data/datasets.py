"""Data sets: two small real ones that come with the package, and your own files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ArgumentError, DataError
from .arrays import Array
from .checks import check_flag
from .files import check_finite, column_index, read_bytes, read_csv, read_npz
from .splits import standardize as to_one_scale

FILES = Path(__file__).parent / "files"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs and what is to be predicted from them; ``x, y = dataset`` unpacks it.

    Attributes
    ----------
    name : str
    x : ndarray, shape (rows, features)
    y : ndarray, shape (rows, 1) of numbers to predict, or shape (rows,) of class labels (int)
    feature_names : tuple of str
    target_name : str
    citation : str
        Where the data come from; empty if they are your own or made up.
    x_mean, x_std, y_mean, y_std : array_like
        The scale that was taken out: ``x * x_std + x_mean`` is in the units of the source.
    """

    name: str
    x: Array
    y: Array
    feature_names: tuple[str, ...]
    target_name: str
    citation: str = ""
    x_mean: ArrayLike = 0.0
    x_std: ArrayLike = 1.0
    y_mean: ArrayLike = 0.0
    y_std: ArrayLike = 1.0

    @property
    def rows(self) -> int:
        """How many examples there are."""
        return len(self.x)

    def __iter__(self) -> Iterator[Array]:
        """Return ``x`` and ``y``, as in ``DataIterator(*dataset, batch_size=20)``."""
        return iter((self.x, self.y))

    def __repr__(self) -> str:
        return f"Dataset({self.name}: x {self.x.shape}, y {self.y.shape}, target {self.target_name!r})"


def load_diabetes(*, standardize: bool = True) -> Dataset:
    """Load 442 patients: ten measurements, and how far their diabetes progressed in the year after.

    Parameters
    ----------
    standardize : bool
        Whether features and target have mean 0 and standard deviation 1. To judge a model on rows
        held out, load the raw values, split, and standardise with the training rows' statistics.

    Returns
    -------
    Dataset
        ``x`` (442, 10) and ``y`` (442, 1), float64. A prediction times ``y_std`` plus ``y_mean`` is
        in the units of the source.

    Examples
    --------
    >>> diabetes = load_diabetes()
    >>> diabetes
    Dataset(diabetes: x (442, 10), y (442, 1), target 'progression')
    >>> load_diabetes(standardize=False).y[:3, 0]
    array([151.,  75., 141.])
    """
    citation = "B. Efron, T. Hastie, I. Johnstone, R. Tibshirani: Least Angle Regression. Annals of Statistics 32, 2004"
    table = read_csv(read_bytes(FILES / "diabetes.csv"), "diabetes.csv")
    data = Dataset(
        "diabetes",
        table.values[:, :-1].copy(),
        table.values[:, -1:].copy(),
        table.names[:-1],
        table.names[-1],
        citation,
    )
    if not check_flag(standardize, "standardize"):
        return data
    x, x_mean, x_std = to_one_scale(data.x)
    y, y_mean, y_std = to_one_scale(data.y)
    return replace(data, x=x, y=y, x_mean=x_mean, x_std=x_std, y_mean=y_mean, y_std=y_std)


def load_digits() -> Dataset:
    """Load 1797 handwritten digits, each a grey picture of 8 x 8.

    Returns
    -------
    Dataset
        ``x`` (1797, 64) float64 from 0 (paper) to 1 (ink), a picture row by row, so that
        ``x[i].reshape(8, 8)`` is the picture; ``y`` (1797,) int64, the digit.

    Examples
    --------
    >>> digits = load_digits()
    >>> digits.x.shape, digits.y[:5]
    ((1797, 64), array([0, 1, 2, 3, 4]))
    """
    x, y = read_npz(read_bytes(FILES / "digits.npz"), "digits.npz", ["x", "y"]).values()
    citation = "E. Alpaydin, C. Kaynak: Cascading Classifiers. Kybernetika 34(4), 1998; UCI Machine Learning Repository"
    names = tuple(f"pixel_{row}_{column}" for row in range(8) for column in range(8))
    return Dataset("digits", x / 16.0, y.astype(np.int64), names, "digit", citation, x_std=1 / 16)


def load_file(
    path: str | Path, target: str | int | None = None, *, features: str | Sequence[str | int] | None = None
) -> Dataset:
    """Load your own data from a ``.csv`` (``.tsv``, ``.txt``) or ``.parquet`` table or a NumPy ``.npz`` archive.

    Parameters
    ----------
    path : str or Path
        Ends in ``.csv``, ``.tsv``, ``.txt``, ``.parquet`` or ``.npz``.
    target : str or int, optional
        In a table, the column to predict, by name or position; default the last. In an archive, the
        array's name; default ``"y"``.
    features : optional
        In a table, the columns to predict it from, names or positions; default all the others. In an
        archive, the array's name; default ``"x"``.

    Returns
    -------
    Dataset
        Nothing is scaled: see `standardize`. From CSV, ``x`` and ``y`` (rows, 1) are float64. From
        Parquet, each has the dtype that holds its columns. From NPZ dtypes are kept; a one-dimensional
        ``y`` of floats becomes (rows, 1), one of integers is taken for labels and stays.

    Raises
    ------
    DataError
        If the file cannot be read, naming the line and column that are at fault, or the array.
        Parquet needs pyarrow: ``pip install "tinygrad-batch[parquet]"``.

    Examples
    --------
    >>> load_file(FILES / "diabetes.csv", target="bmi", features=["age", "bp"])
    Dataset(diabetes: x (442, 2), y (442, 1), target 'bmi')
    >>> load_file("people.xlsx")
    Traceback (most recent call last):
        ...
    tinygrad_batch.errors.DataError: 'people.xlsx' ends in '.xlsx'; .csv, .tsv, .txt and .npz can be read, and \
.parquet with pyarrow. Save it as CSV
    """
    if not isinstance(path, str | Path):
        raise ArgumentError(f"path is a {type(path).__name__}; expected a str or a Path")
    path = Path(path)
    kind = path.suffix.lower()
    if kind == ".npz":
        return _from_npz(path, "y" if target is None else target, "x" if features is None else features)
    if kind in {".csv", ".tsv", ".txt"}:
        return _from_csv(path, -1 if target is None else target, features)
    if kind == ".parquet":
        return _from_parquet(path, -1 if target is None else target, features)
    known = ".csv, .tsv, .txt and .npz can be read, and .parquet with pyarrow"
    raise DataError(f"{str(path)!r} ends in {kind!r}; {known}", "Save it as CSV")


def _from_csv(path: Path, target: str | int, features: str | Sequence[str | int] | None) -> Dataset:
    content = read_bytes(path)
    wanted = None if features is None else [*_listed(features), target]
    table = read_csv(content, path.name, wanted)
    place = _target_place(table.names, target, path.name) if wanted is None else len(wanted) - 1
    others = [index for index in range(len(table.names)) if index != place]
    names = _distinct([table.names[index] for index in others], table.names[place])
    return Dataset(path.stem, table.values[:, others], table.values[:, [place]], names, table.names[place])


def _from_parquet(path: Path, target: str | int, features: str | Sequence[str | int] | None) -> Dataset:
    from .parquet import Parquet, column_names

    known = column_names(path)
    if features is None:
        place = _target_place(known, target, path.name)
        wanted = [*known[:place], *known[place + 1 :]]
    else:
        place = column_index(known, target, path.name)
        wanted = [known[column_index(known, column, path.name)] for column in _listed(features)]
    names = _distinct(wanted, known[place])
    x, y = (check_finite(Parquet(path, chosen)[:], path.name) for chosen in (names, known[place : place + 1]))
    return Dataset(path.stem, x, y, names, known[place])


def _listed(features: str | Sequence[str | int]) -> list[str | int]:
    wanted: list[str | int] = [features] if isinstance(features, str | int) else [*features]
    if not wanted:
        raise ArgumentError("features is empty", "Name at least one column")
    return wanted


def _target_place(names: Sequence[str], target: str | int, source: str) -> int:
    if len(names) == 1:
        hint = "One to predict and at least one to predict it from are expected, separated by , ; or tab"
        raise DataError(f"{source} has one column, {names[0]!r}", hint)
    return column_index(names, target, source)


def _distinct(names: list[str], target: str) -> tuple[str, ...]:
    if len({*names, target}) <= len(names):
        raise ArgumentError(f"a column was asked for twice: {', '.join(names)}, {target} (the last is the target)")
    return tuple(names)


def _from_npz(path: Path, target: str | int, features: str | Sequence[str | int]) -> Dataset:
    if not isinstance(target, str) or not isinstance(features, str):
        raise ArgumentError("an .npz archive holds named arrays", 'Give names: target="y", features="x"')
    arrays = read_npz(read_bytes(path), path.name, [features, target])
    x, y = arrays[features], arrays[target]
    if x.ndim < 2:
        hint = "Its rows are the examples: save x.reshape(-1, 1) for a single feature"
        raise DataError(f"{path.name}: {features!r} has shape {x.shape}; expected (rows, features)", hint)
    if y.ndim > 2:
        raise DataError(f"{path.name}: {target!r} has shape {y.shape}; expected (rows, outputs) or (rows,)")
    if y.ndim == 1 and y.dtype.kind == "f":
        y = y[:, None]
    names = tuple(f"{features}{column}" for column in range(x.shape[1])) if x.ndim == 2 else ()
    return Dataset(path.stem, x, y, names, target)
