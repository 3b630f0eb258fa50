"""This package: eager, and compiled by `tinygrad_batch.compile`."""

from __future__ import annotations

from typing import Any

import numpy as np
from contestants import Problem, Train, ours

import tinygrad_batch as tb
from tinygrad_batch import nn, optim
from tinygrad_batch.data import DataIterator

from .contestant import Call, Contestant, one_batch, twenty
from .pictures import Pictures

ACTIVATIONS = {"tanh": tb.tanh, "relu": tb.relu}


class Ours(Contestant):
    """Operation after operation, as written."""

    def array(self, array: np.ndarray) -> Any:
        return tb.tensor(array)

    def numbers(self, result: Any) -> np.ndarray:
        return super().numbers(result.data if isinstance(result, tb.Tensor) else result)

    def net(self, problem: Problem) -> Train:
        return self.prepared(ours(problem))

    def chain(self, activation: str) -> Train:
        function = ACTIVATIONS[activation]
        return self.prepared(lambda x, other: twenty(x, other, function))

    def convnet(self, pictures: Pictures) -> Train:
        return self.prepared(convnet(pictures))

    def epoch(self, problem: Problem, rows: int) -> Call:
        batches = DataIterator(problem.x, problem.y, batch_size=rows)
        train = self.net(one_batch(problem, rows))
        return lambda: [train(x, y) for x, y in batches]

    def prepared(self, train: Train) -> Train:
        """Return the function as it will be called."""
        return train


class Compiled(Ours):
    """One captured batch, replayed."""

    def __init__(self, **options: Any) -> None:
        if not hasattr(tb, "compile"):
            raise ImportError("this version of tinygrad_batch has no tb.compile")
        self.options = options

    def prepared(self, train: Train) -> Train:
        return tb.compile(train, **self.options)

    def epoch(self, problem: Problem, rows: int) -> Call:
        batches = DataIterator(problem.x, problem.y, batch_size=rows)
        step = self.net(one_batch(problem, rows))
        return lambda: step.epoch(batches)


def convnet(pictures: Pictures) -> Train:
    """Return the training of the convolutional net, eager."""
    first, second, third = pictures.weights
    dtype = first.dtype
    layers = nn.Conv2d(1, 8, 3, dtype=dtype), nn.Conv2d(8, 16, 3, dtype=dtype), nn.Linear(64, 10, dtype=dtype)
    with tb.no_grad():
        for layer, weight, bias in zip(layers, (first, second, third), pictures.biases, strict=True):
            layer.weight.assign(weight)
            layer.bias.assign(bias)
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), layers[2])
    loss_fn, optimizer = nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=pictures.lr)

    def train(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return train
