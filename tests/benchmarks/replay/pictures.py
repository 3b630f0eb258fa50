"""The problem of the convolutional net: digits, and the parameters to begin with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

LAYERS = ((8, 1, 3, 3), (16, 8, 3, 3), (64, 10))  # two convolutions and, after a max-pool of 2 x 2, a linear layer


@dataclass(frozen=True)
class Pictures:
    """Pictures (rows, 1, 8, 8), digits (rows,), and W1, b1, W2, b2, W3, b3.

    The net is: convolution 3 x 3 from 1 to 8 channels, relu, convolution 3 x 3 from 8 to 16, relu,
    max-pool 2 x 2, linear from 64 to 10, cross-entropy; no padding, so 8 x 8 becomes 6 x 6, 4 x 4, 2 x 2.
    """

    x: np.ndarray
    y: np.ndarray
    weights: list[np.ndarray]
    biases: list[np.ndarray]
    lr: float = 0.05

    @classmethod
    def digits(cls, rows: int, dtype: str) -> Pictures:
        """Return the first digits of the data set that comes with the package."""
        from tinygrad_batch.data import load_digits

        data = load_digits()
        x, y = np.asarray(data.x)[:rows], np.asarray(data.y)[:rows]
        rng = np.random.default_rng(0)
        weights = [rng.normal(size=shape) / _entries(shape) ** 0.5 for shape in LAYERS]
        biases = [0.1 * rng.normal(size=shape[-1] if len(shape) == 2 else shape[0]) for shape in LAYERS]
        return cls(
            np.ascontiguousarray(x.reshape(rows, 1, 8, 8), dtype=dtype),
            y.copy(),
            [weight.astype(dtype) for weight in weights],
            [bias.astype(dtype) for bias in biases],
        )

    def parameters(self) -> list[np.ndarray]:
        """Return copies of ``W1, b1, W2, b2, W3, b3`` for pictures with their channels first."""
        return [array.copy() for pair in zip(self.weights, self.biases, strict=True) for array in pair]

    def channels_last(self) -> list[Any]:
        """Return the parameters for pictures with their channels last, each convolution as a matrix.

        Row ``(i, j, channel)`` of a matrix is multiplied with that place of a window.
        """
        first, second, linear = self.weights
        rows = linear.reshape(16, 2, 2, 10).transpose(1, 2, 0, 3).reshape(64, 10)
        matrices = [kernel.transpose(2, 3, 1, 0).reshape(-1, kernel.shape[0]) for kernel in (first, second)]
        pairs = zip([*matrices, rows], self.biases, strict=True)
        return [np.array(array, order="C") for pair in pairs for array in pair]


def _entries(shape: tuple[int, ...]) -> int:
    """Return how many products make up one sum."""
    return shape[0] if len(shape) == 2 else shape[1] * shape[2] * shape[3]
