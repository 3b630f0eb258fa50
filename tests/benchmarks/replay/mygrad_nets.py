"""MyGrad."""

from __future__ import annotations

from typing import Any

import mygrad as mg
from contestants import Problem, Train, mygrad
from mygrad.nnet.activations import relu
from mygrad.nnet.layers import conv_nd, max_pool
from mygrad.nnet.losses import softmax_crossentropy

from .contestant import Contestant, twenty
from .pictures import Pictures

ACTIVATIONS = {"tanh": mg.tanh, "relu": relu}


class MyGrad(Contestant):
    """MyGrad, eager."""

    def net(self, problem: Problem) -> Train:
        return mygrad(problem)

    def chain(self, activation: str) -> Train:
        function = ACTIVATIONS[activation]

        def run(x: Any, other: Any) -> Any:
            with mg.no_autodiff:
                return twenty(mg.tensor(x, copy=False), mg.tensor(other, copy=False), function)

        return run

    def convnet(self, pictures: Pictures) -> Train:
        lr = pictures.lr
        parameters = [mg.tensor(array) for array in pictures.parameters()]

        def train(x: Any, y: Any) -> Any:
            W1, b1, W2, b2, W3, b3 = parameters
            for kernels, bias in ((W1, b1), (W2, b2)):
                x = relu(conv_nd(x, kernels, stride=1) + bias.reshape(-1, 1, 1))
            pooled = max_pool(x, (2, 2), 2)
            loss = softmax_crossentropy(pooled.reshape(len(y), -1) @ W3 + b3, y)
            loss.backward()
            for parameter in parameters:
                parameter.data -= lr * parameter.grad
            return loss

        return train
