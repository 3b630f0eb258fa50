"""The other tinygrad (tinygrad.org), its step captured by TinyJit. Its CPU needs Clang, to compile kernels."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
from contestants import Problem, Train

from .contestant import Call, Contestant, one_batch, twenty
from .pictures import Pictures

CLANG = [shutil.which(name) for name in ("clang", *(f"clang-{version}" for version in range(25, 13, -1)))]
if not any(CLANG) and "CC" not in os.environ:
    raise ImportError("tinygrad compiles for the CPU with Clang, and there is none on this machine")
os.environ.setdefault("CC", next(filter(None, CLANG), ""))
os.environ.update(DEV="CPU", NUM_CPU_THREADS="1", PARALLEL="0")

import tinygrad  # noqa: E402  (it reads the environment when it is imported)
from tinygrad import Tensor  # noqa: E402
from tinygrad.device import Device  # noqa: E402


class TinyJit(Contestant):
    """Kernels captured once, then launched again."""

    traced = False

    def array(self, array: np.ndarray) -> Any:
        return Tensor(array).realize()

    def numbers(self, result: Any) -> np.ndarray:
        return super().numbers(result.numpy() if isinstance(result, Tensor) else result)

    def net(self, problem: Problem) -> Train:
        return _training(_net_loss, problem.parameters(), problem.lr)

    def chain(self, activation: str) -> Train:
        function = {"tanh": Tensor.tanh, "relu": Tensor.relu}[activation]
        return _waited(tinygrad.TinyJit(lambda x, other: twenty(x, other, function).realize()))

    def convnet(self, pictures: Pictures) -> Train:
        return _training(_convnet_loss, pictures.parameters(), pictures.lr)

    def epoch(self, problem: Problem, rows: int) -> Call:
        batches = list(self.batches(problem, rows))
        train = self.net(one_batch(problem, rows))
        return lambda: [train(x, y).item() for x, y in batches]  # the next step writes over the loss of this one


def _training(loss_of: Callable[..., Any], arrays: list[np.ndarray], lr: float) -> Train:
    parameters = [Tensor(array).realize() for array in arrays]
    for parameter in parameters:
        parameter.requires_grad = True

    def train(x: Any, y: Any) -> Any:
        for parameter in parameters:
            parameter.grad = None
        loss = loss_of(parameters, x, y)
        loss.backward()
        for parameter in parameters:
            parameter.assign(parameter - lr * parameter.grad)
        return loss.realize(*parameters)

    return _waited(tinygrad.TinyJit(train))


def _waited(call: Train) -> Train:
    device = Device["CPU"]

    def run(x: Any, y: Any) -> Any:
        result = call(x, y)
        device.synchronize()
        return result

    return run


def _net_loss(parameters: list[Any], x: Any, y: Any) -> Any:
    W1, b1, W2, b2, W3, b3 = parameters
    h1 = (x @ W1 + b1).tanh()
    h2 = (h1 @ W2 + b2).tanh()
    e = h2 @ W3 + b3 - y
    return (e * e).mean()


def _convnet_loss(parameters: list[Any], x: Any, y: Any) -> Any:
    W1, b1, W2, b2, W3, b3 = parameters
    a1 = x.conv2d(W1, b1).relu()
    a2 = a1.conv2d(W2, b2).relu()
    return (a2.max_pool2d((2, 2)).flatten(1) @ W3 + b3).sparse_categorical_crossentropy(y)
