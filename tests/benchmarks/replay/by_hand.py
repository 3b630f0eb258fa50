"""NumPy as a textbook writes it; this is what everybody is compared with."""

from __future__ import annotations

from typing import Any

import numpy as np
from contestants import Problem, Train, by_hand
from numpy.lib.stride_tricks import sliding_window_view

from .contestant import Contestant, twenty
from .pictures import Pictures


def relu(x: Any) -> Any:
    """Return the elements with the negative ones replaced by 0."""
    return np.maximum(x, 0)


class ByHand(Contestant):
    """Plain NumPy."""

    def net(self, problem: Problem) -> Train:
        return by_hand(problem)

    def chain(self, activation: str) -> Train:
        function = {"tanh": np.tanh, "relu": relu}[activation]
        return lambda x, other: twenty(x, other, function)

    def convnet(self, pictures: Pictures) -> Train:
        return convnet(pictures)


def columns(x: np.ndarray) -> np.ndarray:
    """Return every window of 3 x 3 as a row, for pictures with their channels last."""
    windows = sliding_window_view(x, (3, 3), axis=(1, 2))
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, 9 * x.shape[3])


def convnet(pictures: Pictures) -> Train:
    """Return the training of the convolutional net: im2col, and a matrix product for each convolution."""
    lr, rows = pictures.lr, len(pictures.x)
    W1, b1, W2, b2, W3, b3 = pictures.channels_last()

    def train(x: Any, y: Any) -> Any:
        nonlocal W1, b1, W2, b2, W3, b3
        c1 = columns(x.transpose(0, 2, 3, 1))
        a1 = np.maximum(c1 @ W1 + b1, 0).reshape(rows, 6, 6, 8)
        c2 = columns(a1)
        a2 = np.maximum(c2 @ W2 + b2, 0).reshape(rows, 2, 2, 2, 2, 16)
        pooled = a2.max(axis=(2, 4), keepdims=True)
        flat = pooled.reshape(rows, 64)
        z = flat @ W3 + b3
        z -= z.max(axis=1, keepdims=True)
        p = np.exp(z)
        total = p.sum(axis=1, keepdims=True)
        loss = np.mean(np.log(total[:, 0]) - z[np.arange(rows), y])

        dz = p / total
        dz[np.arange(rows), y] -= 1
        dz /= rows
        dW3 = flat.T @ dz
        db3 = dz.sum(axis=0)
        da2 = (a2 == pooled) * (dz @ W3.T).reshape(pooled.shape)
        dz2 = (da2 * (a2 > 0)).reshape(-1, 16)
        dW2 = c2.T @ dz2
        db2 = dz2.sum(axis=0)
        dc2 = (dz2 @ W2.T).reshape(rows, 4, 4, 3, 3, 8)
        da1 = np.zeros_like(a1)
        for i in range(3):
            for j in range(3):
                da1[:, i : i + 4, j : j + 4] += dc2[:, :, :, i, j]
        dz1 = (da1 * (a1 > 0)).reshape(-1, 8)
        dW1 = c1.T @ dz1
        db1 = dz1.sum(axis=0)

        W1 -= lr * dW1
        b1 -= lr * db1
        W2 -= lr * dW2
        b2 -= lr * db2
        W3 -= lr * dW3
        b3 -= lr * db3
        return loss

    return train
