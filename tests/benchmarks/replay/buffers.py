"""NumPy with out= and arrays made beforehand: as far as a step by hand goes without tricks."""

from __future__ import annotations

from typing import Any

import numpy as np
from contestants import Problem, Train
from numpy.lib.stride_tricks import as_strided

from .contestant import Contestant
from .pictures import Pictures


class Buffers(Contestant):
    """NumPy that allocates nothing large while it runs."""

    def net(self, problem: Problem) -> Train:
        return net(problem)

    def chain(self, activation: str) -> Train:
        return chain(activation)

    def convnet(self, pictures: Pictures) -> Train:
        return convnet(pictures)


def net(problem: Problem) -> Train:
    """Return the training of the net."""
    lr, rows = problem.lr, len(problem.x)
    parameters = W1, b1, W2, b2, W3, b3 = problem.parameters()
    gradients = dW1, db1, dW2, db2, dW3, db3 = [np.empty_like(array) for array in parameters]
    h1, h2, e = (np.empty((rows, W.shape[1]), W.dtype) for W in (W1, W2, W3))
    dz1, dz2 = np.empty_like(h1), np.empty_like(h2)

    def train(x: Any, y: Any) -> Any:
        np.matmul(x, W1, out=h1)
        np.add(h1, b1, out=h1)
        np.tanh(h1, out=h1)
        np.matmul(h1, W2, out=h2)
        np.add(h2, b2, out=h2)
        np.tanh(h2, out=h2)
        np.matmul(h2, W3, out=e)
        np.add(e, b3, out=e)
        np.subtract(e, y, out=e)
        loss = np.vdot(e, e) / e.size

        np.multiply(e, 2 / e.size, out=e)
        np.matmul(h2.T, e, out=dW3)
        np.add.reduce(e, axis=0, out=db3)
        np.matmul(e, W3.T, out=dz2)
        _times_slope(dz2, h2)
        np.matmul(h1.T, dz2, out=dW2)
        np.add.reduce(dz2, axis=0, out=db2)
        np.matmul(dz2, W2.T, out=dz1)
        _times_slope(dz1, h1)
        np.matmul(x.T, dz1, out=dW1)
        np.add.reduce(dz1, axis=0, out=db1)
        _update(parameters, gradients, lr)
        return loss

    return train


def _times_slope(gradient: np.ndarray, h: np.ndarray) -> None:
    """Multiply with the slope of tanh, and write over its output, which is not needed any more after it."""
    np.multiply(h, h, out=h)
    np.subtract(1, h, out=h)
    np.multiply(gradient, h, out=gradient)


def _update(parameters: list[np.ndarray], gradients: list[np.ndarray], lr: float) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        np.multiply(gradient, lr, out=gradient)
        np.subtract(parameter, gradient, out=parameter)


def chain(activation: str) -> Train:
    """Return the elementwise operations, all written into one array."""
    buffers: list[np.ndarray] = []

    def run(x: Any, other: Any) -> Any:
        if not buffers:
            buffers.append(np.empty_like(x))
        (y,) = buffers
        source = x
        for _ in range(4):
            np.multiply(source, 0.75, out=y)
            np.add(y, other, out=y)
            np.subtract(y, 0.5, out=y)
            np.multiply(y, x, out=y)
            if activation == "tanh":
                np.tanh(y, out=y)
            else:
                np.maximum(y, 0, out=y)
            source = y
        return y

    return run


def _windows(x: np.ndarray) -> np.ndarray:
    """Return a view of every window of 3 x 3: (rows, height, width, 3, 3, channels)."""
    rows, height, width, channels = x.shape
    n, i, j, c = x.strides
    return as_strided(x, (rows, height - 2, width - 2, 3, 3, channels), (n, i, j, i, j, c))


def convnet(pictures: Pictures) -> Train:
    """Return the training of the convolutional net."""
    lr, rows, dtype = pictures.lr, len(pictures.x), pictures.x.dtype
    parameters = W1, b1, W2, b2, W3, b3 = pictures.channels_last()
    gradients = dW1, db1, dW2, db2, dW3, db3 = [np.empty_like(array) for array in parameters]
    c1, a1 = np.empty((rows * 36, 9), dtype), np.empty((rows * 36, 8), dtype)
    c2, a2 = np.empty((rows * 16, 72), dtype), np.empty((rows * 16, 16), dtype)
    da1, da2, dc2 = np.empty_like(a1), np.empty_like(a2), np.empty_like(c2)
    z, total = np.empty((rows, 10), dtype), np.empty((rows, 1), dtype)
    flat, dflat, numbers = np.empty((rows, 64), dtype), np.empty((rows, 64), dtype), np.arange(rows)
    open1, open2 = np.empty(a1.shape, bool), np.empty(a2.shape, bool)
    pictures1, pictures2 = a1.reshape(rows, 6, 6, 8), a2.reshape(rows, 2, 2, 2, 2, 16)
    spread1, spread2 = da1.reshape(rows, 6, 6, 8), da2.reshape(rows, 2, 2, 2, 2, 16)
    windows1, windows2 = c1.reshape(rows, 6, 6, 3, 3, 1), c2.reshape(rows, 4, 4, 3, 3, 8)
    dwindows = dc2.reshape(rows, 4, 4, 3, 3, 8)
    largest, dlargest = (array.reshape(rows, 2, 1, 2, 1, 16) for array in (flat, dflat))
    seen = _windows(pictures1)

    def train(x: Any, y: Any) -> Any:
        np.copyto(windows1, _windows(x.transpose(0, 2, 3, 1)))
        np.matmul(c1, W1, out=a1)
        np.add(a1, b1, out=a1)
        np.maximum(a1, 0, out=a1)
        np.copyto(windows2, seen)
        np.matmul(c2, W2, out=a2)
        np.add(a2, b2, out=a2)
        np.maximum(a2, 0, out=a2)
        np.maximum.reduce(pictures2, axis=(2, 4), keepdims=True, out=largest)
        np.matmul(flat, W3, out=z)
        np.add(z, b3, out=z)
        np.maximum.reduce(z, axis=1, keepdims=True, out=total)
        np.subtract(z, total, out=z)
        hit = z[numbers, y]
        np.exp(z, out=z)
        np.add.reduce(z, axis=1, keepdims=True, out=total)
        loss = (np.log(total[:, 0]) - hit).mean()

        np.divide(z, total, out=z)
        z[numbers, y] -= 1
        np.divide(z, rows, out=z)
        np.matmul(flat.T, z, out=dW3)
        np.add.reduce(z, axis=0, out=db3)
        np.matmul(z, W3.T, out=dflat)
        np.equal(pictures2, largest, out=open2.reshape(pictures2.shape))
        np.multiply(open2.reshape(pictures2.shape), dlargest, out=spread2)
        np.greater(a2, 0, out=open2)
        np.multiply(da2, open2, out=da2)
        np.matmul(c2.T, da2, out=dW2)
        np.add.reduce(da2, axis=0, out=db2)
        np.matmul(da2, W2.T, out=dc2)
        spread1.fill(0)
        for i in range(3):
            for j in range(3):
                spread1[:, i : i + 4, j : j + 4] += dwindows[:, :, :, i, j]
        np.greater(a1, 0, out=open1)
        np.multiply(da1, open1, out=da1)
        np.matmul(c1.T, da1, out=dW1)
        np.add.reduce(da1, axis=0, out=db1)
        _update(parameters, gradients, lr)
        return loss

    return train
