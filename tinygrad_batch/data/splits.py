"""Rows held out for a test, and columns brought to one scale."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ArgumentError, DataError
from ..tensor import Tensor
from .arrays import Array, as_rows, check_aligned, positional_names
from .checks import check_flag, check_integer
from .orders import SPLIT, draws, sorting


def train_test_split(
    *arrays: ArrayLike | Tensor, test_size: float | int = 0.2, seed: int = 0, shuffle: bool = True
) -> tuple[Array, ...]:
    """Divide aligned arrays into rows to train on and rows to test on.

    Parameters
    ----------
    *arrays : array_like or Tensor
        With the same number of rows, at least 2.
    test_size : float or int
        A float between 0 and 1 is the share of the rows to test on, rounded to whole rows; an int
        is their number.
    seed : int
        Chooses the rows, at least 0.
    shuffle : bool
        Without it the rows to test on are the last ones, and the results are views.

    Returns
    -------
    tuple of ndarray
        ``x_train, x_test, y_train, y_test, ...``: two for every array, each with its dtype.

    Raises
    ------
    DataError
        For no arrays, unequal lengths, or a split that would leave one side without rows.
    ArgumentError
        For a `test_size`, `seed` or `shuffle` outside what is described.

    Examples
    --------
    >>> x, y = np.zeros((442, 10)), np.zeros((442, 1))
    >>> x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.25)
    >>> x_train.shape, x_test.shape, y_train.shape, y_test.shape
    ((332, 10), (110, 10), (332, 1), (110, 1))
    >>> train_test_split([1, 2, 3], test_size=1, shuffle=False)
    (array([1, 2]), array([3]))
    """
    if not arrays:
        raise DataError("no arrays were given", "Give at least one: train_test_split(x, y, test_size=0.2)")
    names = positional_names(len(arrays))
    named = {name: as_rows(array, name) for name, array in zip(names, arrays, strict=True)}
    rows = check_aligned(named)
    test = _test_rows(test_size, rows)
    seed = check_integer(seed, "seed", 0)
    if not check_flag(shuffle, "shuffle"):
        return tuple(part for array in named.values() for part in (array[: rows - test], array[rows - test :]))
    permutation = sorting(draws(rows, seed, 0, SPLIT))
    return tuple(part for array in named.values() for part in (array[permutation[test:]], array[permutation[:test]]))


def _test_rows(test_size: object, rows: int) -> int:
    if isinstance(test_size, float | np.floating):
        if not 0 < test_size < 1:
            raise ArgumentError(f"test_size is {test_size}; expected a share between 0 and 1, or a number of rows")
        test = round(float(test_size) * rows)
    else:
        test = check_integer(test_size, "test_size", 1)
    if not 0 < test < rows:
        raise DataError(
            f"test_size={test_size} of {rows} rows leaves {max(rows - test, 0)} to train on and {test} to test on",
            "Both need at least one row",
        )
    return test


class Standardized(NamedTuple):
    """Values on the scale "how many standard deviations from the mean", and that scale."""

    values: NDArray[np.floating[Any]]
    mean: NDArray[np.floating[Any]]
    std: NDArray[np.floating[Any]]


def standardize(x: ArrayLike | Tensor, *, mean: ArrayLike | None = None, std: ArrayLike | None = None) -> Standardized:
    """Shift and scale every column to mean 0 and standard deviation 1.

    Parameters
    ----------
    x : array_like or Tensor, shape (rows, ...)
        Finite numbers. A float dtype is kept, anything else becomes float64.
    mean, std : array_like, optional
        Use these instead of those of `x`; both or neither. Rows that are held out must be brought
        to the scale of the training rows: their own mean is not known when the model is used.

    Returns
    -------
    Standardized
        ``values, mean, std`` with ``values = (x - mean) / std``. A constant column has `std` 1, and
        so becomes 0.

    Raises
    ------
    DataError
        If `x` is not an array of finite real numbers.
    ArgumentError
        If only one of `mean` and `std` is given, they do not fit the columns, or `std` is not
        positive.

    Examples
    --------
    >>> train, mean, std = standardize([[1.0, 5.0], [3.0, 5.0]])
    >>> train
    array([[-1.,  0.],
           [ 1.,  0.]])
    >>> standardize([[4.0, 5.0]], mean=mean, std=std).values
    array([[2., 0.]])
    """
    array = as_rows(x, "x")
    if array.dtype.kind in "bc":
        raise DataError(f"x has dtype {array.dtype}; real numbers are expected")
    dtype = array.dtype if array.dtype.kind == "f" else np.dtype(np.float64)
    wide = array.astype(np.promote_types(dtype, np.float64), copy=False)
    finite = np.isfinite(wide)
    if not finite.all():
        where = tuple(int(axis[0]) for axis in np.nonzero(~finite))
        raise DataError(f"x[{', '.join(map(str, where))}] is {wide[where]}", "Fill or drop what is missing first")
    if (mean is None) != (std is None):
        raise ArgumentError("only one of mean and std was given", "Give both, or neither to work them out from x")
    if mean is None:
        center, scale = _statistics(wide, dtype)
    else:
        center, scale = (_like_columns(given, name, wide) for given, name in ((mean, "mean"), (std, "std")))
        if not (scale > 0).all():
            raise ArgumentError("std has an entry that is not positive", "A constant column has std 1 here, not 0")
    with np.errstate(over="ignore"):
        values = ((wide - center) / scale).astype(dtype)
    if not np.isfinite(values).all():
        raise DataError("the standardised values are too large for their dtype", "Scale x to a smaller range first")
    return Standardized(values, center.astype(dtype), scale.astype(dtype))


def _statistics(x: Array, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Return mean and std as `dtype` holds them, so that values made with them later come out the same."""
    constant = x.max(axis=0) == x.min(axis=0)  # its mean and std are rounded, so std == 0 would not tell
    with np.errstate(over="ignore", invalid="ignore"):
        mean = np.where(constant, x[0], x.mean(axis=0)).astype(dtype)
        std = np.where(constant, 1.0, x.std(axis=0)).astype(dtype)
    if not (np.isfinite(mean).all() and np.isfinite(std).all()):
        raise DataError("x is too large: its mean or standard deviation overflows", "Scale x to a smaller range first")
    return mean, np.where(std == 0, dtype.type(1), std)  # differences too small to square


def _like_columns(given: ArrayLike | None, name: str, x: Array) -> NDArray[np.floating[Any]]:
    try:
        array = np.asarray(given, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise ArgumentError(f"{name} is no array of numbers: {error}") from error
    if array.ndim and array.shape != x.shape[1:]:
        raise ArgumentError(f"{name} has shape {array.shape}; x has columns of shape {x.shape[1:]}")
    if not np.isfinite(array).all():
        raise ArgumentError(f"{name} has an entry that is not finite")
    return np.broadcast_to(array, x.shape[1:])
