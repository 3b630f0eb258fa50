"""Layers that normalise: they take the mean away and divide by the spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops, shapes
from ..creation import asarray
from ..errors import ArgumentError, ShapeError
from ..state import no_grad, state
from ..tensor import Tensor, get_default_dtype
from .module import Module, Parameter


class BatchNorm1d(Module):
    """Each feature normalised over the rows of the batch (Ioffe and Szegedy 2015): as PyTorch's.

    In training, ``y = (x - mean) / sqrt(variance + eps) * weight + bias`` with the mean and the variance
    of this batch, and running ones are kept, the variance divided by n - 1. In evaluation the running
    ones are used, so that a row no longer depends on the others beside it.

    Parameters
    ----------
    features : int
    eps : float
        Keeps the division from 0.
    momentum : float
        The weight of a new batch in the running mean and variance, from 0 to 1.
    affine : bool
        Whether to scale and shift by a weight and a bias that are learned.
    dtype : dtype, optional
        By default the default dtype.

    Attributes
    ----------
    weight, bias : Tensor, shape (features,), or None
        At first ones and zeros.
    running_mean, running_var : Tensor, shape (features,)
        At first zeros and ones; buffers, not learned.

    Raises
    ------
    ArgumentError
        If there are no features, or eps or momentum is out of range; when called in training, for a
        batch of one row, which has no spread.
    ShapeError
        When called, if x is not of shape (rows, features) or (rows, features, length).

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> layer = tb.nn.BatchNorm1d(1)
    >>> layer(tb.tensor([[1.0], [3.0]])).detach().data.round(3)
    array([[-1.],
           [ 1.]])
    >>> layer.running_mean, layer.running_var
    (tensor([0.2]), tensor([1.1]))
    """

    weight: Tensor | None
    bias: Tensor | None

    def __init__(
        self, features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True, *, dtype: Any = None
    ) -> None:
        if features < 1:
            raise ArgumentError(f"a layer needs 1 feature or more, not {features}")
        if not 0 <= momentum <= 1:
            raise ArgumentError(f"momentum is the weight of a new batch, from 0 to 1, not {momentum}")
        self.features, self.eps, self.momentum = features, _positive(eps), float(momentum)
        dtype = np.dtype(dtype or get_default_dtype())
        self.weight, self.bias = _scale_and_shift((features,), dtype) if affine else (None, None)
        self.running_mean = Tensor(np.zeros(features, dtype), name="running_mean")
        self.running_var = Tensor(np.ones(features, dtype), name="running_var")

    def forward(self, x: Any) -> Any:
        """Return ``x`` normalised."""
        x = asarray(x)
        if x.ndim not in (2, 3) or x.shape[1] != self.features:
            raise ShapeError(
                f"BatchNorm1d({self.features}) got x of shape {x.shape}",
                f"Give (rows, {self.features}) or (rows, {self.features}, length)",
            )
        if self.training:
            over = 0 if x.ndim == 2 else (0, 2)
            mean = ops.mean(x, axis=over, keepdims=x.ndim == 3)
            centred = x - mean
            variance = ops.mean(ops.square(centred), axis=over, keepdims=x.ndim == 3)
            # shapes alone leave nothing to follow, but a plan of it; and a second time must not count twice
            if (not state.abstract or state.planning) and not state.again:
                self._follow(mean.detach(), variance.detach(), x.size // self.features)
        else:
            centred = x - self._along(self.running_mean, x)
            variance = self._along(self.running_var, x)
        out = centred / ops.sqrt(variance + self.eps)
        if self.weight is None or self.bias is None:
            return out
        return out * self._along(self.weight, x) + self._along(self.bias, x)

    def _along(self, each: Tensor, x: Tensor) -> Tensor:
        """Return one number for each feature in the shape that stands beside ``x``."""
        return each if x.ndim == 2 else ops.reshape(each, (self.features, 1))

    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the running mean and variance towards those of this batch."""
        if count < 2:
            raise ArgumentError(
                f"BatchNorm1d({self.features}) got {count} value{'s' * (count != 1)} of each feature to train on",
                "Give 2 rows or more, or switch to model.eval()",
            )
        with no_grad():
            old, new = 1 - self.momentum, self.momentum
            unbiased = variance * (count / (count - 1))
            for running, now in ((self.running_mean, mean), (self.running_var, unbiased)):
                now = now if now.ndim == 1 else ops.reshape(now, (self.features,))
                running.assign(old * running + new * now)

    def label(self) -> str:
        """Return ``BatchNorm1d(features)``."""
        return f"BatchNorm1d({self.features})"


class LayerNorm(Module):
    """Each row normalised over its own numbers (Ba, Kiros and Hinton 2016): as PyTorch's.

    ``y = (x - mean) / sqrt(variance + eps) * weight + bias``; nothing depends on the other rows, and
    training and evaluation are the same.

    Parameters
    ----------
    shape : int or tuple of int
        Lengths of the last axes of x, over which it is normalised.
    eps : float
        Keeps the division from 0.
    affine : bool
        Whether to scale and shift by a weight and a bias that are learned.
    dtype : dtype, optional
        By default the default dtype.

    Attributes
    ----------
    weight, bias : Tensor of the given shape, or None
        At first ones and zeros.

    Raises
    ------
    ArgumentError
        If the shape has no axis, or a length below 1.
    ShapeError
        When called, if x does not end in the given shape.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> tb.nn.LayerNorm(2)(tb.tensor([[1.0, 3.0], [10.0, 30.0]])).detach().data.round(3)
    array([[-1.,  1.],
           [-1.,  1.]])
    """

    weight: Tensor | None
    bias: Tensor | None

    def __init__(
        self, shape: int | Sequence[int], eps: float = 1e-5, affine: bool = True, *, dtype: Any = None
    ) -> None:
        self.shape, self.eps = shapes.as_shape(shape), _positive(eps)
        if not self.shape or min(self.shape) < 1:
            raise ArgumentError(f"LayerNorm goes over one axis or more, each of length 1 or more, not {self.shape}")
        dtype = np.dtype(dtype or get_default_dtype())
        self.weight, self.bias = _scale_and_shift(self.shape, dtype) if affine else (None, None)

    def forward(self, x: Any) -> Any:
        """Return ``x`` normalised."""
        x = asarray(x)
        if x.shape[-len(self.shape) :] != self.shape:
            raise ShapeError(
                f"LayerNorm({_text(self.shape)}) got x of shape {x.shape}",
                f"The last {'axis' if len(self.shape) == 1 else 'axes'} must be {_text(self.shape)}",
            )
        over: Any = -1 if len(self.shape) == 1 else tuple(range(-len(self.shape), 0))
        centred = x - ops.mean(x, axis=over, keepdims=True)
        variance = ops.mean(ops.square(centred), axis=over, keepdims=True)
        out = centred / ops.sqrt(variance + self.eps)
        return out if self.weight is None or self.bias is None else out * self.weight + self.bias

    def label(self) -> str:
        """Return ``LayerNorm(shape)``."""
        return f"LayerNorm({_text(self.shape)})"


def _scale_and_shift(shape: shapes.Shape, dtype: Any) -> tuple[Tensor, Tensor]:
    """Return a weight of ones and a bias of zeros."""
    return Parameter(np.ones(shape, dtype), "γ"), Parameter(np.zeros(shape, dtype), "β")


def _positive(eps: float) -> float:
    if not eps > 0:
        raise ArgumentError(f"eps is above 0, so that nothing is divided by 0, not {eps}")
    return float(eps)


def _text(shape: shapes.Shape) -> str:
    return "×".join(map(str, shape))
