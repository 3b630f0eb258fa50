"""Many trainings side by side, as one.

To say something about a batch size takes many runs: several seeds, several learning rates. Runs of one net differ in
their numbers only, so they are stacked: every weight gets one more axis in front, the run, and a step of all runs is
a step of one net with a few larger arrays. The loss is the sum over the runs of rate × loss, and SGD with a rate of 1
gives each run its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy, deepcopy
from typing import Any

import numpy as np

from .. import nn, ops
from ..creation import asarray
from ..errors import CompileError
from ..optim import SGD
from ..replay import compile
from ..state import no_grad
from ..tensor import Tensor

ROWS_AT_ONCE = 200_000  # rows of all runs together that are looked at in one forward pass


class Ensemble:
    """Runs of one net, each with its own parameters, rows and learning rate.

    Parameters
    ----------
    models : sequence of Module
        One for each run, of the same layers; they are not changed. Nets of `Linear` layers and functions of single
        elements are stacked; others train one after the other.
    loss_fn : Loss
        With ``reduction="mean"`` or ``"sum"``.

    Attributes
    ----------
    runs : int
    """

    def __init__(self, models: Sequence[nn.Module], loss_fn: nn.Loss) -> None:
        self.runs = len(models)
        stacked = stack(models)
        self._is_stacked = stacked is not None
        if stacked is not None:
            self._groups = [_Group(stacked, loss_fn, self.runs)]
        else:
            self._groups = [_Group(deepcopy(model), loss_fn) for model in models]

    def step(self, x: np.ndarray, y: np.ndarray, rates: np.ndarray) -> np.ndarray:
        """Train every run on its own batch, and return the losses.

        Parameters
        ----------
        x, y : ndarray, shape (runs, batch rows, ...)
        rates : ndarray, shape (runs,)

        Returns
        -------
        ndarray, shape (runs,)
            Of the batches, before the update.
        """
        if self._is_stacked:
            return self._groups[0].step(x, y, rates)
        return np.array([g.step(x[i], y[i], rates[i]) for i, g in enumerate(self._groups)])

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return what every run predicts for the same rows, shape (runs, rows, ...)."""
        if self._is_stacked:
            return self._groups[0].predict(x)
        return np.stack([group.predict(x) for group in self._groups])

    def losses(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the loss of every run over the same rows, shape (runs,)."""
        return np.concatenate([group.losses(x, y) for group in self._groups])

    def model(self, run: int) -> nn.Module:
        """Return the net of one run, on its own."""
        return self._groups[0].taken(run) if self._is_stacked else self._groups[run].net

    @property
    def parameters(self) -> list[Tensor]:
        """The stacked parameters, or those of all runs one after the other."""
        return [parameter for group in self._groups for parameter in group.net.parameters()]


class _Group:
    """The runs that train as one: all of them, with an axis for the run in front, or a single one without."""

    def __init__(self, net: nn.Module, loss_fn: nn.Loss, runs: int | None = None) -> None:
        self.net = net
        self.runs = runs
        self._loss_fn = loss_fn
        optimizer = SGD(net.parameters(), lr=1.0)

        def train(x: Tensor, y: Tensor, rates: Tensor) -> Tensor:
            optimizer.zero_grad()
            losses = self._losses(net(x), y)
            ops.sum(losses * rates).backward()
            optimizer.step()
            return losses

        self._train = _compiled(train)

    def _losses(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return (
            self._loss_fn(predictions, targets)
            if self.runs is None
            else losses_of_runs(self._loss_fn, predictions, targets)
        )

    def step(self, x: np.ndarray, y: np.ndarray, rates: Any) -> np.ndarray:
        return self._train(asarray(x), asarray(y), asarray(rates)).data

    def predict(self, x: np.ndarray) -> np.ndarray:
        with no_grad(), evaluating(self.net):
            out: np.ndarray = self.net(asarray(x if self.runs is None else x[None])).numpy()
        return out

    def losses(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        total: Any = 0.0
        size = max(1, ROWS_AT_ONCE // (self.runs or 1))
        with no_grad():
            for start in range(0, len(x), size):
                part, rows = asarray(self.predict(x[start : start + size])), y[start : start + size]
                targets = rows if self.runs is None else np.broadcast_to(rows, (self.runs, *rows.shape))
                losses = self._losses(part, asarray(targets)).numpy().reshape(-1)
                total = total + losses * (1.0 if self._loss_fn.reduction == "sum" else len(rows) / len(x))
        return np.asarray(total)

    def taken(self, run: int) -> nn.Module:
        """Return the net of one run."""
        return _each_linear(self.net, lambda w: w[run], lambda b: b[run, 0])


def losses_of_runs(loss_fn: nn.Loss, predictions: Tensor, targets: Tensor) -> Tensor:
    """Return one loss for each run, of predictions (runs, rows, ...) and targets (runs, rows, ...).

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> losses_of_runs(nn.MSELoss(), tb.ones(3, 20, 1), tb.zeros(3, 20, 1))
    tensor([1., 1., 1.])
    """
    runs, rows = predictions.shape[:2]
    each = copy(loss_fn)
    each.reduction = "none"
    joined = [
        ops.reshape(t, (runs * rows, *t.shape[2:])) for t in (predictions, targets)
    ]  # losses know one axis of rows
    losses = ops.reshape(each(*joined), (runs, -1))
    return ops.sum(losses, axis=1) if loss_fn.reduction == "sum" else ops.mean(losses, axis=1)


def stack(models: Sequence[nn.Module]) -> nn.Module | None:
    """Return one net with the parameters of several stacked along a new first axis; None if it cannot be done.

    It cannot where there are other layers than those that `Ensemble` names, a layer or a parameter is used twice, or
    a parameter is frozen.

    Parameters
    ----------
    models : sequence of Module
        Of the same layers.

    Examples
    --------
    >>> net = stack([nn.Linear(10, 15, rng=seed) for seed in range(4)])
    >>> net.weight.shape, net.bias.shape, net(np.zeros((4, 20, 10))).shape
    ((4, 10, 15), (4, 1, 15), (4, 20, 15))
    """
    first = models[0]
    held = [tensor for layer in _linears(first) for tensor in (layer.weight, layer.bias) if tensor is not None]
    if (
        not all(type(layer) in (nn.Linear, *_ELEMENTWISE) for _, layer in first.named_modules())
        or len(held) > len({id(tensor) for tensor in held})
        or len(held) < len(first.state_dict())
        or any(not parameter.requires_grad for model in models for parameter in model.parameters())
    ):
        return None
    states = [model.state_dict() for model in models]
    paths = {id(tensor): path for path, tensor in first.named_parameters()}
    return _each_linear(
        first,
        lambda w: np.stack([state[paths[id(w)]] for state in states]),
        lambda b: np.stack([state[paths[id(b)]] for state in states])[:, None, :],
    )


_ELEMENTWISE = (nn.Sequential, nn.Tanh, nn.ReLU, nn.Sigmoid, nn.SiLU, nn.Softplus, nn.GELU, nn.Identity)


def _linears(net: nn.Module) -> Iterator[nn.Linear]:
    """Yield the linear layers in the order in which they are used: one that is used twice comes twice."""
    if isinstance(net, nn.Linear):
        yield net
    elif isinstance(net, nn.Sequential):
        for layer in net:
            yield from _linears(layer)


def _each_linear(net: nn.Module, weight: Callable[[Tensor], Any], bias: Callable[[Tensor], Any]) -> nn.Module:
    """Return a net of the same layers with other weights and biases."""
    if isinstance(net, nn.Linear):
        layer = copy(net)
        layer.__dict__ = dict(net.__dict__)
        layer.weight = nn.Parameter(np.asarray(_plain(weight(net.weight))), "W")
        layer.bias = None if net.bias is None else nn.Parameter(np.asarray(_plain(bias(net.bias))), "b")
        return layer
    if isinstance(net, nn.Sequential):
        return nn.Sequential(*[_each_linear(layer, weight, bias) for layer in net])
    return copy(net)


def learned(model: nn.Module) -> list[Tensor]:
    """Return the parameters that are not frozen."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def batch_norms(model: nn.Module) -> list[str]:
    """Return the labels of the layers that make every row depend on the others of its batch, and need two of them."""
    return [layer.label() for _, layer in model.named_modules() if isinstance(layer, nn.BatchNorm1d)]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Set a model to evaluation, and each of its layers back to what it was."""
    before = [(layer, layer.training) for _, layer in model.named_modules()]
    model.eval()
    try:
        yield
    finally:
        for layer, training in before:
            layer.training = training


def _plain(value: Any) -> Any:
    return value.numpy() if isinstance(value, Tensor) else value


def _compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return a function compiled, or as it is if it turns out not to compile."""
    fast = compile(function)

    def run(*arguments: Any) -> Tensor:
        nonlocal fast
        try:
            return fast(*arguments)
        except CompileError:
            if fast is function:
                raise
            fast = function
            return function(*arguments)

    return run
