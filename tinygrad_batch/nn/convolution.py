"""Layers for pictures: convolution and pooling."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..creation import asarray, generator
from ..errors import ArgumentError, ShapeError
from ..tensor import Tensor, get_default_dtype
from . import functional as F
from .init import Initialiser, Rng, lecun_uniform
from .module import Module, Parameter


class Conv2d(Module):
    """A convolution: small kernels slide over pictures, each looking for one pattern.

    Parameters
    ----------
    inputs, outputs : int
        Channels of the pictures that come in, and how many kernels there are.
    size : int or pair of int
        Height and width of the kernels.
    stride : int or pair of int
        How far a kernel moves, down and across.
    padding : int or pair of int
        Rows and columns of zeros on either side of a picture.
    bias : bool
        Whether to add a bias.
    init : callable, optional
        Makes the kernels from the shape (inputs * height * width, outputs) and ``rng``, as for
        `Linear`: to a kernel, a window is one row of numbers.
    rng : numpy.random.Generator or int, optional
        Where to draw from; by default the package's own generator.
    dtype : dtype, optional
        By default the default dtype.

    Attributes
    ----------
    weight : Tensor, shape (outputs, inputs, height, width)
    bias : Tensor, shape (outputs,), or None

    Raises
    ------
    ArgumentError
        If a number of channels, a size or a stride is below 1, or a padding below 0.
    ShapeError
        When called, if x is not of shape (rows, inputs, height, width), or smaller than a kernel;
        or if ``init`` makes another shape.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> layer = tb.nn.Conv2d(1, 8, 3, padding=1)
    >>> layer(tb.ones(20, 1, 28, 28)).shape
    (20, 8, 28, 28)
    """

    bias: Tensor | None

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: F.Pair,
        stride: F.Pair = 1,
        padding: F.Pair = 0,
        bias: bool = True,
        *,
        init: Initialiser = lecun_uniform,
        rng: Rng = None,
        dtype: Any = None,
    ) -> None:
        if inputs < 1 or outputs < 1:
            raise ArgumentError(f"a layer needs 1 channel or more on either side, not {inputs} and {outputs}")
        height, width = F.pair("size", size, 1)
        self.stride, self.padding = F.pair("stride", stride, 1), F.pair("padding", padding, 0)
        rng = generator(rng)
        dtype = np.dtype(dtype or get_default_dtype())
        entries = inputs * height * width
        columns = np.asarray(init((entries, outputs), rng=rng), dtype)
        if columns.shape != (entries, outputs):
            raise ShapeError(f"init made a weight of shape {columns.shape}, not {(entries, outputs)}")
        self.weight = Parameter(np.ascontiguousarray(columns.T).reshape(outputs, inputs, height, width), "W")
        bound = 1 / np.sqrt(entries)
        self.bias = Parameter(rng.uniform(-bound, bound, outputs).astype(dtype), "b") if bias else None

    def forward(self, x: Any) -> Any:
        """Return what each kernel finds in each window."""
        return F.conv2d(asarray(x), self.weight, self.bias, self.stride, self.padding)

    def label(self) -> str:
        """Return ``Conv2d(inputs → outputs, height×width)``, and the stride and padding that are not the usual ones."""
        outputs, inputs, height, width = self.weight.shape
        text = f"{inputs} → {outputs}, {height}×{width}"
        text += f", stride {_text(self.stride)}" if self.stride != (1, 1) else ""
        text += f", padding {_text(self.padding)}" if self.padding != (0, 0) else ""
        return f"Conv2d({text})"


class MaxPool2d(Module):
    """The largest element of each window; see `tinygrad_batch.nn.functional.max_pool2d`.

    Parameters
    ----------
    size : int or pair of int
        Height and width of the windows.
    stride : int or pair of int, optional
        How far the window moves; by default its size.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> tb.nn.MaxPool2d(2)(tb.ones(20, 8, 28, 28)).shape
    (20, 8, 14, 14)
    """

    def __init__(self, size: F.Pair, stride: F.Pair | None = None) -> None:
        self.size = F.pair("size", size, 1)
        self.stride = self.size if stride is None else F.pair("stride", stride, 1)

    def forward(self, x: Any) -> Any:
        """Return the largest element of each window."""
        return F.max_pool2d(asarray(x), self.size, self.stride)

    def label(self) -> str:
        """Return ``MaxPool2d(height×width)``, and the stride where it is not the size."""
        stride = f", stride {_text(self.stride)}" if self.stride != self.size else ""
        return f"MaxPool2d({self.size[0]}×{self.size[1]}{stride})"


def _text(numbers: tuple[int, int]) -> str:
    return str(numbers[0]) if numbers[0] == numbers[1] else f"{numbers[0]}×{numbers[1]}"
