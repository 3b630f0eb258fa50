"""What layers compute, as functions: for a model that holds its own weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..creation import generator
from ..errors import ArgumentError, ShapeError
from ..ops.correlation import correlate
from ..ops.random import random_mask
from .init import Rng

Pair = int | tuple[int, int]


def dropout(x: Any, p: float = 0.5, training: bool = True, rng: Rng = None) -> Any:
    """Return ``x`` with each element replaced by 0 with probability ``p``, the others divided by ``1 - p``.

    The mean stays what it was (Srivastava et al. 2014). Where ``training`` is false or ``p`` is 0, it
    is ``x`` itself; where ``p`` is 1, all zeros.

    Parameters
    ----------
    x : Tensor
    p : float
        From 0 to 1.
    training : bool
    rng : numpy.random.Generator or int, optional
        Where to draw from; by default the package's own generator.

    Raises
    ------
    ArgumentError
        If ``p`` is no probability.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> tb.nn.functional.dropout(tb.ones(8), p=0.5, rng=1)
    tensor([0., 0., 2., 0., 2., 2., 0., 2.])
    """
    probability(p)
    if not training or p == 0:
        return x
    return ops.multiply(x, random_mask(x, keep=1 - p, rng=generator(rng)))


def probability(p: float) -> float:
    """Return ``p``, checked to be from 0 to 1."""
    if not 0 <= p <= 1:
        raise ArgumentError(f"p is the probability that an element is dropped, from 0 to 1, not {p}")
    return p


def conv2d(x: Any, weight: Any, bias: Any = None, stride: Pair = 1, padding: Pair = 0) -> Any:
    """Return the cross-correlation of pictures with kernels, which deep learning calls convolution.

    Each window of each picture becomes one column of a matrix, and the whole layer one product of
    matrices with the kernels as rows. The result has the rows of the batch innermost in memory, where the
    next layer reads it fastest: `numpy.ascontiguousarray` orders it otherwise.

    Parameters
    ----------
    x : Tensor, shape (rows, inputs, height, width)
    weight : Tensor, shape (outputs, inputs, kernel height, kernel width)
    bias : Tensor, shape (outputs,), optional
    stride : int or pair of int
        How far the window moves, down and across.
    padding : int or pair of int
        Rows and columns of zeros on either side.

    Returns
    -------
    Tensor, shape (rows, outputs, new height, new width)

    Raises
    ------
    ShapeError
        If ``x`` or ``weight`` does not have 4 axes, their inputs differ, or the kernel is larger
        than the padded picture.
    ArgumentError
        If a stride is below 1 or a padding below 0.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> pictures, kernels = tb.ones(20, 1, 8, 8), tb.ones(4, 1, 3, 3)
    >>> tb.nn.functional.conv2d(pictures, kernels, padding=1).shape
    (20, 4, 8, 8)
    """
    across, border = pair("stride", stride, 1), pair("padding", padding, 0)
    shape, kernel = np.shape(x), np.shape(weight)
    if len(shape) != 4 or len(kernel) != 4 or shape[1] != kernel[1]:
        raise ShapeError(
            f"conv2d got x of shape {shape} and a weight of shape {kernel}",
            "x is (rows, inputs, height, width) and the weight (outputs, inputs, kernel height, kernel width)",
        )
    if bias is not None and np.shape(bias) != kernel[:1]:
        raise ShapeError(f"conv2d got a bias of shape {np.shape(bias)}, and has {kernel[0]} outputs")
    if any(border):
        x = ops.pad(x, widths=((0, 0), (0, 0), *((n, n) for n in border)))
    out = correlate(x, weight, across)
    return out if bias is None else ops.add(out, ops.reshape(bias, (kernel[0], 1, 1)))


def max_pool2d(x: Any, size: Pair, stride: Pair | None = None) -> Any:
    """Return the largest element of each window over the last two axes.

    Equal largest elements share the gradient, as in `tinygrad_batch.max`; PyTorch gives it to the first.

    Parameters
    ----------
    x : Tensor, shape (..., height, width)
    size : int or pair of int
        Of the windows.
    stride : int or pair of int, optional
        How far the window moves; by default its size, so that windows stand side by side.

    Returns
    -------
    Tensor, shape (..., new height, new width)

    Raises
    ------
    ShapeError
        If the windows are larger than the picture.
    ArgumentError
        If a size or a stride is below 1.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> tb.nn.functional.max_pool2d(tb.tensor([[1.0, 2.0, 0.0, 5.0], [3.0, 4.0, 6.0, 0.0]]), 2)
    tensor([[4., 6.]])
    """
    window = pair("size", size, 1)
    step = window if stride is None else pair("stride", stride, 1)
    front, sides = np.shape(x)[:-2], np.shape(x)[-2:]
    down, across = (n // k for n, k in zip(sides, window, strict=True)) if len(sides) == 2 else (0, 0)
    if step != window or not (down and across):
        return ops.max(ops.sliding_windows(x, size=window, stride=step), axis=(-2, -1))
    if (down * window[0], across * window[1]) != sides:
        x = ops.getitem(x, index=(..., slice(down * window[0]), slice(across * window[1])))
    # side by side, the windows are the same elements with each axis cut in two
    cut = ops.reshape(x, (*front, down, window[0], across, window[1]))
    return ops.max(cut, (-3, -1))


def pair(name: str, value: Pair, least: int) -> tuple[int, int]:
    """Return one number for both axes, or a number for each, as a checked pair."""
    numbers = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(numbers) == 2 and type(numbers[0]) is type(numbers[1]) is int and min(numbers) >= least:
        return numbers
    whole = all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in numbers)
    if len(numbers) != 2 or not whole or min(numbers) < least:
        raise ArgumentError(f"{name} is an integer of {least} or more, or a pair of them, not {value!r}")
    return int(numbers[0]), int(numbers[1])
