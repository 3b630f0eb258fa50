"""The main job: train a small net on real data, epoch by epoch, and capture one batch of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import nn, optim
from .capture import capture
from .creation import asarray
from .data import DataIterator
from .data.datasets import Dataset
from .errors import ArgumentError
from .memory import Memory, memory
from .problem import build, check_widths, load, split
from .state import no_grad
from .trace import Trace


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
            self.batch_losses.append(losses)
            for xb, yb in epoch:
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
            self.train_losses.append(epoch.mean(losses))
            self.test_losses.append(held_out)

    def _check(self, loss: float, message: str) -> None:
        if not np.isfinite(loss):
            raise ArgumentError(message, f"Take a smaller learning rate than {self.optimizer.lr:g}")


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
    if options.data == "digits":
        raise ArgumentError("the demo predicts numbers, and the digits are classes", "Take tinygrad-batch compare")
    dataset = load(options.data, options.target, options.features, options.seed)
    x, x_test, y, y_test = split(dataset, options.test_size, options.seed)
    widths = options.layers or (x.shape[1], 15, 10, y.shape[1])
    check_widths(widths, dataset.name, x.shape[1], y.shape[1])
    model = build(widths, options.activation, options.seed)
    optimizer = optim.SGD(model.parameters(), lr=options.lr)
    batches = DataIterator(x, y, batch_size=options.batch_size, shuffle=True, seed=options.seed)
    return Run(dataset, model, optimizer, batches, (x_test, y_test), options.epochs)


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
