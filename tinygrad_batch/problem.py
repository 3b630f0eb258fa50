"""A problem to train on: rows to learn from, rows held out, and how a net for them is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from . import nn
from .data import standardize, train_test_split
from .data.datasets import Dataset, load_diabetes, load_digits, load_file
from .data.synthetic import make_regression
from .errors import ArgumentError, DataError

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "sigmoid": nn.Sigmoid}
BUNDLED = ("diabetes", "digits", "synthetic")


@dataclass(frozen=True, eq=False)
class Problem:
    """Rows to train on, rows held out, a recipe for a net, and its loss.

    Attributes
    ----------
    name : str
    x, y : ndarray, shape (rows, features) and (rows, targets), or (rows,) for classes
        To train on.
    x_test, y_test : ndarray
        Held out.
    build : callable
        Returns a new net; takes the seed of its initial weights.
    loss_fn : Loss
        With ``reduction="mean"``.
    goal : float or None
        The loss over all rows at which a training has arrived; None where nobody has said one.
    dataset : Dataset or None
        Where the rows come from.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    build: Callable[[int], nn.Module]
    loss_fn: nn.Loss
    goal: float | None = None
    dataset: Dataset | None = None

    @property
    def rows(self) -> int:
        """How many there are to train on."""
        return len(self.x)

    @property
    def classifies(self) -> bool:
        """Whether the targets are classes."""
        return self.y.ndim == 1

    @property
    def score_name(self) -> str:
        """What `score` is called."""
        return "accuracy" if self.classifies else "R²"

    def score(self, predictions: np.ndarray, targets: np.ndarray) -> float:
        """Return the share of rows put into the right class, or the share of the variance that is explained (R²).

        Examples
        --------
        >>> problem = load_problem("digits")
        >>> problem.score(np.eye(10)[[3, 4]], np.array([3, 7]))
        0.5
        """
        if self.classifies:
            return float((predictions.argmax(-1) == targets).mean())
        residual = ((targets - predictions) ** 2).sum()
        return float(1 - residual / ((targets - targets.mean(0)) ** 2).sum())

    def __repr__(self) -> str:
        return (
            f"Problem({self.name}: {self.rows} rows to train on, {len(self.x_test)} held out, {self.build(0).label()})"
        )


def load(data: str, target: str | None = None, features: tuple[str, ...] | None = None, seed: int = 0) -> Dataset:
    """Load the data set that a user named.

    Parameters
    ----------
    data : str
        ``diabetes``, ``digits``, ``synthetic``, or the path of a file; see `tinygrad_batch.data.load_file`.
    target : str, optional
        Column or array to predict, for a file.
    features : tuple of str, optional
        Columns to predict it from, or the array.
    seed : int
        Of synthetic data.

    Raises
    ------
    ArgumentError, DataError
        If there is no such data set, or its file cannot be read.

    Examples
    --------
    >>> load("diabetes").x.shape
    (442, 10)
    """
    if data in BUNDLED:
        for name, given in (("target", target), ("features", features)):
            if given is not None:
                raise ArgumentError(f"{name} can be chosen of a file, not of {data}", f"Leave --{name} away")
        if data == "synthetic":
            return make_regression(seed=seed)
        return load_diabetes(standardize=False) if data == "diabetes" else load_digits()
    kind = Path(data).suffix.lower()
    if not kind:
        raise ArgumentError(f"there is no data set {data!r}", f"Take {', '.join(BUNDLED)}, or a .csv or .npz file")
    if kind == ".npz":
        return load_file(data, target, features=None if features is None else ",".join(features))
    try:
        return load_file(data, target, features=features)
    except DataError:
        if target is None or not target.lstrip("-").isdecimal():
            raise
        return load_file(data, int(target), features=features)  # no such name: a position


def split(dataset: Dataset, test_size: float | int, seed: int, classify: bool = False) -> tuple[np.ndarray, ...]:
    """Return ``x, x_test, y, y_test``, on the scale of the rows to train on.

    Features, and targets that are numbers, are standardised with the statistics of those rows, so that nothing of the
    rows held out leaks into training.

    Parameters
    ----------
    dataset : Dataset
    test_size : float or int
        Share or number of rows to hold out.
    seed : int
    classify : bool
        Leave integer targets of shape (rows,) alone: they are classes. Pixels, which have a scale of their own, are
        left alone too.

    Raises
    ------
    DataError
        If rows are no lists of real numbers, or there are too few of them.
    """
    if dataset.x.ndim != 2:
        raise DataError(
            f"{dataset.name} has rows of shape {dataset.x.shape[1:]}; rows of features are taken",
            "Save x.reshape(len(x), -1)",
        )
    if isinstance(test_size, float) and not 0 < round(test_size * dataset.rows) < dataset.rows:
        raise DataError(f"{dataset.name} has {dataset.rows} rows, too few to hold {test_size:.0%} of them out")
    classes = classify and dataset.y.ndim == 1 and dataset.y.dtype.kind in "iu"
    targets = dataset.y if classes else _numbers(dataset.y, "target")
    x, x_test, y, y_test = train_test_split(_numbers(dataset.x, "features"), targets, test_size=test_size, seed=seed)
    if dataset.name != "digits":
        x, mean, std = standardize(x)
        x_test = standardize(x_test, mean=mean, std=std).values
    if not classes:
        y, y_mean, y_std = standardize(y)
        y_test = standardize(y_test, mean=y_mean, std=y_std).values
    return x, x_test, y, y_test


def _numbers(array: np.ndarray, what: str) -> np.ndarray:
    """Return the features or the target as columns of numbers."""
    if array.dtype.kind not in "iuf":
        raise DataError(f"the {what} have dtype {array.dtype}; real numbers are taken", "Save them as floats")
    return array.astype(float).reshape(len(array), -1)


def check_widths(widths: tuple[int, ...], name: str, features: int, outputs: int, classes: bool = False) -> None:
    """Raise ArgumentError unless layers of these widths take the features and give the outputs."""
    if len(widths) < 2 or widths[0] != features or widths[-1] != outputs:
        what = ("class", "classes") if classes else ("target", "targets")
        raise ArgumentError(
            f"layers {','.join(map(str, widths))} do not fit {name}: "
            f"it has {features} features and {outputs} {what[outputs != 1]}",
            f"Begin with {features} and end with {outputs}",
        )


def build(widths: tuple[int, ...], activation: str, seed: int) -> nn.Sequential:
    """Return fully connected layers of the given widths with activations in between.

    Parameters
    ----------
    widths : tuple of int
        From inputs to outputs, two or more.
    activation : {"tanh", "relu", "sigmoid", "none"}
        With ``"none"`` the layers are one linear map, however many there are.
    seed : int
        Of the initial weights.

    Examples
    --------
    >>> build((10, 15, 10, 1), "tanh", seed=0)
    Sequential(
      (0): Linear(10 → 15)
      (1): Tanh
      (2): Linear(15 → 10)
      (3): Tanh
      (4): Linear(10 → 1)
    )
    """
    if activation not in (*ACTIVATIONS, "none"):
        raise ArgumentError(f"the activation is one of {', '.join(ACTIVATIONS)}, not {activation!r}")
    rng = np.random.default_rng(seed)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        if layers and activation != "none":
            layers.append(ACTIVATIONS[activation]())
        layers.append(nn.Linear(inputs, outputs, rng=rng))
    return nn.Sequential(*layers)


def load_problem(
    data: str = "diabetes",
    target: str | None = None,
    features: tuple[str, ...] | None = None,
    *,
    layers: tuple[int, ...] | None = None,
    activation: str = "tanh",
    seed: int = 0,
) -> Problem:
    """Return a data set as a problem: rows to train on, rows held out, and a small net.

    A fifth of the rows is held out (a quarter of the digits). The synthetic data are 100 rows to train on, 1000 held
    out, and noise of half a unit.

    Parameters
    ----------
    data, target, features
        See `load`. Integer targets of shape (rows,) are classes.
    layers : tuple of int, optional
        Widths of the net; by default features → 15 → 10 → targets, and features → 32 → classes.
    activation : {"tanh", "relu", "sigmoid", "none"}
    seed : int
        For the split, and for synthetic data.

    Raises
    ------
    ArgumentError, DataError
        See `load` and `split`.

    Examples
    --------
    >>> load_problem("diabetes")
    Problem(diabetes: 353 rows to train on, 89 held out, Sequential)
    >>> load_problem("digits").x_test.shape
    (450, 64)
    """
    if data == "synthetic":
        dataset = make_regression(rows=1100, noise=0.5, seed=seed)
    else:
        dataset = load(data, target, features, seed)
    held_out: float | int = {"diabetes": 89, "digits": 450, "synthetic": 1000}.get(data, 0.2)
    x, x_test, y, y_test = split(dataset, held_out, seed, classify=True)
    classes = y.ndim == 1
    if classes and dataset.y.min() < 0:
        raise DataError(
            f"{dataset.name} has integers to predict, which are classes, and the least of them is {dataset.y.min()}",
            "Number classes from 0; save numbers to be predicted as floats",
        )
    outputs = int(max(y.max(), y_test.max())) + 1 if classes else y.shape[1]
    widths = layers or ((x.shape[1], 32, outputs) if classes else (x.shape[1], 15, 10, outputs))
    check_widths(widths, dataset.name, x.shape[1], outputs, classes)
    return Problem(
        name=data if data in BUNDLED else dataset.name,
        x=x,
        y=y,
        x_test=x_test,
        y_test=y_test,
        build=lambda seed: build(widths, activation, seed),
        loss_fn=nn.CrossEntropyLoss() if classes else nn.MSELoss(),
        goal={"diabetes": 0.45, "digits": 0.2}.get(data),
        dataset=dataset,
    )
