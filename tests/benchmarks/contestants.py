"""Training of a net with three layers, in our words and in those of others.

Each function takes the problem and returns ``train``: a call that trains once, on a batch of the arrays
of its package, and returns the loss. All of them compute the same numbers. A package that is not
installed raises ImportError.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

Step = Callable[[], Any]
Train = Callable[[Any, Any], Any]

OURS, BY_HAND, PYTORCH, AUTOGRAD, MYGRAD = "tinygrad_batch", "NumPy by hand", "PyTorch", "autograd", "MyGrad"


@dataclass(frozen=True)
class Problem:
    """A batch, and the parameters to begin with."""

    x: np.ndarray
    y: np.ndarray
    weights: list[np.ndarray]
    biases: list[np.ndarray]
    lr: float = 0.001

    @classmethod
    def random(cls, widths: tuple[int, int, int, int], rows: int, dtype: str) -> Problem:
        """Return a problem of the given size; the same one for the same size."""
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(rows, widths[0])), rng.normal(size=(rows, widths[-1]))
        weights = [rng.normal(size=(i, o)) / i**0.5 for i, o in pairwise(widths)]
        biases = [0.1 * rng.normal(size=o) for o in widths[1:]]
        return cls(
            x.astype(dtype), y.astype(dtype), [w.astype(dtype) for w in weights], [b.astype(dtype) for b in biases]
        )

    def parameters(self) -> list[np.ndarray]:
        """Return copies of ``W1, b1, W2, b2, W3, b3``, to be changed in place."""
        return [array.copy() for pair in zip(self.weights, self.biases, strict=True) for array in pair]


def ours(problem: Problem) -> Train:
    """Return the step as the README writes it."""
    import tinygrad_batch as tb
    from tinygrad_batch import nn, optim

    layers: list[nn.Module] = []
    for weight, bias in zip(problem.weights, problem.biases, strict=True):
        linear = nn.Linear(*weight.shape, dtype=weight.dtype)
        with tb.no_grad():
            linear.weight.assign(weight)
            linear.bias.assign(bias)
        layers += [linear, nn.Tanh()]
    model, loss_fn = nn.Sequential(*layers[:-1]), nn.MSELoss()
    optimizer = optim.SGD(model.parameters(), lr=problem.lr)

    def train(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return train


def by_hand(problem: Problem) -> Train:
    """Return the step as a textbook writes it in NumPy."""
    lr = problem.lr
    W1, b1, W2, b2, W3, b3 = problem.parameters()

    def train(x: Any, y: Any) -> Any:
        nonlocal W1, b1, W2, b2, W3, b3
        h1 = np.tanh(x @ W1 + b1)
        h2 = np.tanh(h1 @ W2 + b2)
        e = h2 @ W3 + b3 - y
        loss = np.mean(e**2)

        de = 2 * e / e.size
        dW3 = h2.T @ de
        db3 = de.sum(axis=0)
        dz2 = (de @ W3.T) * (1 - h2**2)
        dW2 = h1.T @ dz2
        db2 = dz2.sum(axis=0)
        dz1 = (dz2 @ W2.T) * (1 - h1**2)
        dW1 = x.T @ dz1
        db1 = dz1.sum(axis=0)

        W1 -= lr * dW1
        b1 -= lr * db1
        W2 -= lr * dW2
        b2 -= lr * db2
        W3 -= lr * dW3
        b3 -= lr * db3
        return loss

    return train


def pytorch(problem: Problem) -> Train:
    """Return the step in PyTorch, eager, with one thread."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    layers: list[nn.Module] = []
    for weight, bias in zip(problem.weights, problem.biases, strict=True):
        linear = nn.Linear(*weight.shape, dtype=torch.from_numpy(weight).dtype)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight.T.copy()))
            linear.bias.copy_(torch.from_numpy(bias))
        layers += [linear, nn.Tanh()]
    model, loss_fn = nn.Sequential(*layers[:-1]), nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=problem.lr)

    def train(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return train


def hips_autograd(problem: Problem) -> Train:
    """Return the step with HIPS autograd."""
    import autograd.numpy as anp
    from autograd import value_and_grad

    lr = problem.lr
    parameters = problem.parameters()

    def loss_of(parameters: list[Any], x: Any, y: Any) -> Any:
        W1, b1, W2, b2, W3, b3 = parameters
        h1 = anp.tanh(x @ W1 + b1)
        h2 = anp.tanh(h1 @ W2 + b2)
        return anp.mean((h2 @ W3 + b3 - y) ** 2)

    loss_and_gradient = value_and_grad(loss_of)

    def train(x: Any, y: Any) -> Any:
        loss, gradients = loss_and_gradient(parameters, x, y)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter -= lr * gradient
        return loss

    return train


def mygrad(problem: Problem) -> Train:
    """Return the step with MyGrad."""
    import mygrad as mg

    lr = problem.lr
    parameters = [mg.tensor(array) for array in problem.parameters()]

    def train(x: Any, y: Any) -> Any:
        W1, b1, W2, b2, W3, b3 = parameters
        h1 = mg.tanh(x @ W1 + b1)
        h2 = mg.tanh(h1 @ W2 + b2)
        loss = mg.mean((h2 @ W3 + b3 - y) ** 2)
        loss.backward()
        for parameter in parameters:
            parameter.data -= lr * parameter.grad
        return loss

    return train


def _tensor(array: np.ndarray) -> Any:
    import tinygrad_batch as tb

    return tb.tensor(array)


def _torch_tensor(array: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(array)


ARRAYS: dict[str, Callable[[np.ndarray], Any]] = {OURS: _tensor, PYTORCH: _torch_tensor}  # the others take NumPy's
ALL: dict[str, Callable[[Problem], Train]] = {
    OURS: ours,
    BY_HAND: by_hand,
    PYTORCH: pytorch,
    AUTOGRAD: hips_autograd,
    MYGRAD: mygrad,
}


def steps(problem: Problem) -> tuple[dict[str, Step], list[str]]:
    """Return the step of everybody who is installed, after a check that all compute the same, and who is missing."""
    found: dict[str, Step] = {}
    missing = []
    for name, make in ALL.items():
        try:
            train = make(problem)
        except ImportError:
            missing.append(name)
        else:
            array = ARRAYS.get(name, np.asarray)
            found[name] = partial(train, array(problem.x), array(problem.y))
    expected = [float(found[BY_HAND]()) for _ in range(5)]
    tolerance = 1e-4 if problem.x.dtype == np.float32 else 1e-10
    for name, step in found.items():
        if name != BY_HAND:
            losses = [float(step()) for _ in range(5)]
            if not np.allclose(losses, expected, rtol=tolerance, atol=0):
                raise RuntimeError(f"{name} computes the losses {losses}, by hand they are {expected}")
    return found, missing
