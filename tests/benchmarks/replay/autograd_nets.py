"""HIPS autograd; its convolution is im2col, as by hand."""

from __future__ import annotations

from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd import value_and_grad
from contestants import Problem, Train, hips_autograd

from .contestant import Contestant, twenty
from .pictures import Pictures


def relu(x: Any) -> Any:
    """Return the elements with the negative ones replaced by 0."""
    return anp.maximum(x, 0)


ACTIVATIONS = {"tanh": anp.tanh, "relu": relu}


class Autograd(Contestant):
    """HIPS autograd, eager."""

    def net(self, problem: Problem) -> Train:
        return hips_autograd(problem)

    def chain(self, activation: str) -> Train:
        function = ACTIVATIONS[activation]
        return lambda x, other: twenty(x, other, function)

    def convnet(self, pictures: Pictures) -> Train:
        lr, parameters = pictures.lr, pictures.channels_last()
        loss_and_gradients = value_and_grad(_loss)

        def train(x: Any, y: Any) -> Any:
            loss, gradients = loss_and_gradients(parameters, x, y)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter -= lr * gradient
            return loss

        return train


def _loss(parameters: list[Any], x: Any, y: Any) -> Any:
    W1, b1, W2, b2, W3, b3 = parameters
    x = x.transpose(0, 2, 3, 1)
    for matrix, bias in ((W1, b1), (W2, b2)):
        height, width = x.shape[1] - 2, x.shape[2] - 2
        columns = anp.concatenate([x[:, i : i + height, j : j + width] for i in range(3) for j in range(3)], axis=3)
        x = relu(columns @ matrix + bias)
    pooled = anp.max(x.reshape(-1, 2, 2, 2, 2, 16), axis=(2, 4))
    z = pooled.reshape(len(y), -1) @ W3 + b3
    z = z - anp.max(z, axis=1, keepdims=True)
    return anp.mean(anp.log(anp.sum(anp.exp(z), axis=1)) - z[np.arange(len(y)), y])
