"""The main job: train a small net on real data, epoch by epoch, and capture one batch of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from . import nn, optim
from .capture import capture
from .creation import asarray
from .data import DataIterator, standardize, train_test_split
from .data.datasets import Dataset, load_diabetes, load_file
from .data.synthetic import make_regression
from .errors import ArgumentError, DataError
from .memory import Memory, memory
from .state import no_grad
from .trace import Trace

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "sigmoid": nn.Sigmoid}


@dataclass(frozen=True)
class Options:
    """What to train on what.

    Attributes
    ----------
    data : str
        ``diabetes``, ``synthetic``, or the path of a ``.csv`` or ``.npz`` file.
    target : str, optional
        Column or array to predict, for a file.
    features : tuple of str, optional
        Columns to predict it from, or the array; by default all the other columns, or ``x``.
    layers : tuple of int, optional
        Widths from inputs to outputs; by default inputs, 15, 10, outputs.
    activation : {"tanh", "relu", "sigmoid"}
    epochs : int
    batch_size : int, optional
        Rows of a batch; None for all of them.
    lr : float
    seed : int
        For the split, the initial weights and the order of the rows.
    test_size : float
        Share of the rows held out.
    """

    data: str = "diabetes"
    target: str | None = None
    features: tuple[str, ...] | None = None
    layers: tuple[int, ...] | None = None
    activation: str = "tanh"
    epochs: int = 30
    batch_size: int | None = 20
    lr: float = 0.02
    seed: int = 0
    test_size: float = 0.2


@dataclass
class Run:
    """A training run: its parts, and what came of it so far.

    Attributes
    ----------
    train_losses, test_losses : list of float
        After each epoch: the mean over the rows as the epoch met them, and over the rows held out.
    batch_losses : list of list of float
        The loss of each batch of each epoch.
    trace : Trace
        The first batch of the last epoch.
    """

    dataset: Dataset
    model: nn.Sequential
    optimizer: optim.SGD
    batches: DataIterator[Any]
    held_out: tuple[np.ndarray, np.ndarray]
    epochs: int
    loss_fn: nn.MSELoss = field(default_factory=nn.MSELoss)
    train_losses: list[float] = field(default_factory=list)
    test_losses: list[float] = field(default_factory=list)
    batch_losses: list[list[float]] = field(default_factory=list)
    trace: Trace = field(default_factory=Trace)

    @property
    def memory(self) -> Memory:
        """What the captured batch kept."""
        return memory(self.trace)

    def step(self, xb: Any, yb: Any) -> float:
        """Train on one batch and return its loss."""
        with np.errstate(over="ignore", invalid="ignore"):  # a loss that runs away is reported once, by train
            self.optimizer.zero_grad()
            loss = self.loss_fn(self.model(xb), yb)
            loss.backward()
            self.optimizer.step()
        return float(loss.item())

    def test(self) -> float:
        """Return the loss on the rows held out."""
        x, y = self.held_out
        with no_grad(), np.errstate(over="ignore", invalid="ignore"):
            return float(self.loss_fn(self.model(asarray(x)), asarray(y)).item())

    def train(self) -> Iterator[int]:
        """Train, yielding after each batch the number of the epoch; the last epoch's first batch is captured.

        Raises
        ------
        ArgumentError
            When a loss is no longer finite, naming the epoch and the batch.
        """
        for epoch in self.batches.epochs(self.epochs):
            losses: list[float] = []
            rows: list[int] = []
            self.batch_losses.append(losses)
            for xb, yb in epoch:
                rows.append(len(xb))
                if epoch.number == self.epochs - 1 and not losses:
                    with capture() as self.trace:
                        losses.append(self.step(xb, yb))
                else:
                    losses.append(self.step(xb, yb))
                where = f"in epoch {epoch.number + 1}, batch {len(losses)}"
                self._check(losses[-1], f"the loss became {losses[-1]} {where}")
                yield epoch.number
            held_out = self.test()
            self._check(held_out, f"the loss of the rows held out became {held_out} after epoch {epoch.number + 1}")
            self.train_losses.append(float(np.average(losses, weights=rows)))
            self.test_losses.append(held_out)

    def _check(self, loss: float, message: str) -> None:
        if not np.isfinite(loss):
            raise ArgumentError(message, f"Take a smaller learning rate than {self.optimizer.lr:g}")


def load(data: str, target: str | None = None, features: tuple[str, ...] | None = None, seed: int = 0) -> Dataset:
    """Load the data set that a user named.

    Examples
    --------
    >>> load("diabetes").x.shape
    (442, 10)
    """
    if data in ("diabetes", "synthetic"):
        for name, given in (("target", target), ("features", features)):
            if given is not None:
                raise ArgumentError(f"{name} can be chosen of a file, not of {data}", f"Leave --{name} away")
        return load_diabetes(standardize=False) if data == "diabetes" else make_regression(seed=seed)
    kind = Path(data).suffix.lower()
    if not kind:
        raise ArgumentError(f"there is no data set {data!r}", "Take diabetes, synthetic, or a .csv or .npz file")
    if kind == ".npz":
        return load_file(data, target, features=None if features is None else ",".join(features))
    try:
        return load_file(data, target, features=features)
    except DataError:
        if target is None or not target.lstrip("-").isdecimal():
            raise
        return load_file(data, int(target), features=features)  # no such name: a position


def prepare(options: Options) -> Run:
    """Load and split the data, and build the model, the loss and the optimiser.

    The features and the target are standardised with the statistics of the training rows, so that
    nothing of the rows held out leaks into training.

    Raises
    ------
    ArgumentError, DataError
        If the options or the data do not fit.

    Examples
    --------
    >>> run = prepare(Options(epochs=1, batch_size=100))
    >>> for epoch in run.train():
    ...     pass
    >>> len(run.batch_losses[0]), run.trace.steps[-1].number
    (4, 23)
    """
    if options.epochs < 1:
        raise ArgumentError(f"there is 1 epoch or more, not {options.epochs}")
    if options.activation not in ACTIVATIONS:
        raise ArgumentError(f"the activation is one of {', '.join(ACTIVATIONS)}, not {options.activation!r}")
    dataset = load(options.data, options.target, options.features, options.seed)
    if dataset.x.ndim != 2:
        raise DataError(
            f"{dataset.name} has rows of shape {dataset.x.shape[1:]}; the demo takes rows of features",
            "Save x.reshape(len(x), -1)",
        )
    if not 0 < round(options.test_size * dataset.rows) < dataset.rows:
        raise DataError(f"{dataset.name} has {dataset.rows} rows, too few to hold {options.test_size:.0%} of them out")
    x, x_test, y, y_test = train_test_split(
        _numbers(dataset.x, "features"), _numbers(dataset.y, "target"), test_size=options.test_size, seed=options.seed
    )
    x, mean, std = standardize(x)
    y, y_mean, y_std = standardize(y)
    held_out = (standardize(x_test, mean=mean, std=std).values, standardize(y_test, mean=y_mean, std=y_std).values)
    widths = options.layers or (x.shape[1], 15, 10, y.shape[1])
    if len(widths) < 2 or widths[0] != x.shape[1] or widths[-1] != y.shape[1]:
        raise ArgumentError(
            f"layers {','.join(map(str, widths))} do not fit {dataset.name}: "
            f"it has {x.shape[1]} features and {y.shape[1]} target{'s' if y.shape[1] > 1 else ''}",
            f"Begin with {x.shape[1]} and end with {y.shape[1]}",
        )
    model = build(widths, options.activation, options.seed)
    optimizer = optim.SGD(model.parameters(), lr=options.lr)
    batches = DataIterator(x, y, batch_size=options.batch_size, shuffle=True, seed=options.seed)
    return Run(dataset, model, optimizer, batches, held_out, options.epochs)


def build(widths: tuple[int, ...], activation: str, seed: int) -> nn.Sequential:
    """Return fully connected layers of the given widths with activations in between.

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
    rng = np.random.default_rng(seed)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        if layers:
            layers.append(ACTIVATIONS[activation]())
        layers.append(nn.Linear(inputs, outputs, rng=rng))
    return nn.Sequential(*layers)


def one_batch(options: Options) -> Trace:
    """Return the trace of the first batch of training.

    Examples
    --------
    >>> one_batch(Options(batch_size=20)).rows
    20
    """
    run = prepare(options)
    with capture() as trace:
        run.step(*next(iter(run.batches)))
    return trace


def _numbers(array: np.ndarray, what: str) -> np.ndarray:
    """Return the features or the target as columns of numbers."""
    if array.dtype.kind not in "iuf":
        raise DataError(f"the {what} have dtype {array.dtype}; the demo takes real numbers", "Save them as floats")
    return array.astype(float).reshape(len(array), -1)
