"""PyTorch: eager, and the whole step compiled by Inductor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from contestants import Problem, Train, pytorch
from torch import nn

from .contestant import Contestant, twenty
from .pictures import Pictures

torch.set_num_threads(1)
ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu}


class Eager(Contestant):
    """Operation after operation."""

    traced = False

    def array(self, array: np.ndarray) -> Any:
        return torch.from_numpy(array)

    def net(self, problem: Problem) -> Train:
        return pytorch(problem)

    def chain(self, activation: str) -> Train:
        function = ACTIVATIONS[activation]
        return lambda x, other: twenty(x, other, function)

    def convnet(self, pictures: Pictures) -> Train:
        model, loss_fn = _convnet(pictures), nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=pictures.lr)

        def train(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            return loss.detach()

        return train


class Inductor(Eager):
    """Forward, backward and update as one graph; compiled apart they are slower than eager for small nets."""

    def net(self, problem: Problem) -> Train:
        layers: list[nn.Module] = []
        for weight, bias in zip(problem.weights, problem.biases, strict=True):
            layers += [_filled(nn.Linear(*weight.shape, dtype=_dtype(weight)), weight.T, bias), nn.Tanh()]
        return _whole(nn.Sequential(*layers[:-1]), nn.MSELoss(), problem.lr)

    def chain(self, activation: str) -> Train:
        return torch.compile(super().chain(activation), fullgraph=True, dynamic=False)

    def convnet(self, pictures: Pictures) -> Train:
        return _whole(_convnet(pictures), nn.CrossEntropyLoss(), pictures.lr)


def _whole(model: nn.Module, loss_fn: nn.Module, lr: float) -> Train:
    names = [name for name, _ in model.named_parameters()]
    parameters = [parameter.detach().clone() for parameter in model.parameters()]

    def loss_of(parameters: list[Any], x: Any, y: Any) -> Any:
        return loss_fn(torch.func.functional_call(model, dict(zip(names, parameters, strict=True)), (x,)), y)

    gradients_and_loss: Callable[..., Any] = torch.func.grad_and_value(loss_of)

    def train(x: Any, y: Any) -> Any:
        gradients, loss = gradients_and_loss(parameters, x, y)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.sub_(gradient, alpha=lr)
        return loss

    return torch.no_grad()(torch.compile(train, fullgraph=True, dynamic=False))


def _convnet(pictures: Pictures) -> nn.Module:
    first, second, third = pictures.weights
    dtype = _dtype(first)
    return nn.Sequential(
        _filled(nn.Conv2d(1, 8, 3, dtype=dtype), first, pictures.biases[0]),
        nn.ReLU(),
        _filled(nn.Conv2d(8, 16, 3, dtype=dtype), second, pictures.biases[1]),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        _filled(nn.Linear(64, 10, dtype=dtype), third.T, pictures.biases[2]),
    )


def _filled(layer: Any, weight: np.ndarray, bias: np.ndarray) -> Any:
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight.copy()))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer


def _dtype(array: np.ndarray) -> torch.dtype:
    return torch.from_numpy(array).dtype
