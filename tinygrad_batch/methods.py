"""Functions that are methods of a Tensor as well: ``x.sum()`` is ``tb.sum(x)``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import functional as F
from . import ops
from .shapes import Axis

if TYPE_CHECKING:
    from .tensor import Tensor


class Methods:
    """The methods of `Tensor` that compute."""

    __slots__ = ()

    # --- elementary functions --------------------------------------------------------------------
    def abs(self) -> Tensor:
        """Return the absolute values."""
        return ops.abs(self)

    def square(self) -> Tensor:
        """Return the squares."""
        return ops.square(self)

    def sqrt(self) -> Tensor:
        """Return the square roots."""
        return ops.sqrt(self)

    def reciprocal(self) -> Tensor:
        """Return one over each element."""
        return ops.reciprocal(self)

    def exp(self) -> Tensor:
        """Return e to the power of each element."""
        return ops.exp(self)

    def log(self) -> Tensor:
        """Return the natural logarithms."""
        return ops.log(self)

    def sin(self) -> Tensor:
        """Return the sines."""
        return ops.sin(self)

    def cos(self) -> Tensor:
        """Return the cosines."""
        return ops.cos(self)

    def tanh(self) -> Tensor:
        """Return the hyperbolic tangents."""
        return ops.tanh(self)

    def sigmoid(self) -> Tensor:
        """Return ``1 / (1 + exp(-x))`` of each element."""
        return ops.sigmoid(self)

    def relu(self) -> Tensor:
        """Return the elements with the negative ones replaced by 0."""
        return ops.relu(self)

    def clip(self, low: Any = None, high: Any = None) -> Tensor:
        """Return the elements limited to ``low`` and ``high``."""
        return ops.clip(self, low=low, high=high)

    def pow(self, exponent: Any) -> Tensor:
        """Return each element to the power of ``exponent``."""
        return F.power(self, exponent)

    def softmax(self, axis: int = -1) -> Tensor:
        """Return ``exp(x) / sum(exp(x))`` along ``axis``."""
        return ops.softmax(self, axis)

    def log_softmax(self, axis: int = -1) -> Tensor:
        """Return the logarithm of the softmax along ``axis``."""
        return ops.log_softmax(self, axis)

    # --- reductions ------------------------------------------------------------------------------
    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the sum over ``axis``."""
        return ops.sum(self, axis, keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the mean over ``axis``."""
        return ops.mean(self, axis, keepdims)

    def prod(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the product over ``axis``."""
        return ops.prod(self, axis, keepdims)

    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the largest elements over ``axis``."""
        return ops.max(self, axis, keepdims)

    def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the smallest elements over ``axis``."""
        return ops.min(self, axis, keepdims)

    def var(self, axis: Axis = None, keepdims: bool = False, correction: float = 0) -> Tensor:
        """Return the variance over ``axis``, divided by n - correction."""
        return ops.var(self, axis, keepdims, correction)

    def std(self, axis: Axis = None, keepdims: bool = False, correction: float = 0) -> Tensor:
        """Return the standard deviation over ``axis``, divided by n - correction."""
        return ops.std(self, axis, keepdims, correction)

    # --- shape -------------------------------------------------------------------------------------
    @property
    def T(self) -> Tensor:
        """The tensor with its axes reversed."""
        return ops.transpose(self)

    @property
    def mT(self) -> Tensor:
        """The tensor with its last two axes exchanged."""
        return ops.matrix_transpose(self)

    def reshape(self, *shape: Any) -> Tensor:
        """Return the elements in another shape; one length may be -1."""
        return ops.reshape(self, _one_tuple(shape))

    def transpose(self, *axes: Any) -> Tensor:
        """Return the tensor with its axes in the given order, by default reversed."""
        return ops.transpose(self, _one_tuple(axes) or None)

    def permute(self, *axes: Any) -> Tensor:
        """Return the tensor with its axes in the given order."""
        return ops.transpose(self, _one_tuple(axes))

    def swapaxes(self, axis1: int, axis2: int) -> Tensor:
        """Return the tensor with two axes exchanged."""
        return F.swapaxes(self, axis1, axis2)

    def squeeze(self, axis: Axis = None) -> Tensor:
        """Return the tensor without axes of length 1."""
        return F.squeeze(self, axis)

    def flatten(self, start: int = 0) -> Tensor:
        """Return the tensor with all axes from ``start`` on joined into one."""
        return F.flatten(self, start)

    def astype(self, dtype: Any) -> Tensor:
        """Return the tensor with another dtype; its gradient is cast back."""
        return ops.astype(self, dtype=np.dtype(dtype))

    def dot(self, other: Any) -> Tensor:
        """Return the dot product of vectors, or the matrix product."""
        return F.dot(self, other)


def _one_tuple(values: Sequence[Any]) -> tuple[Any, ...]:
    """Return ``f(2, 3)`` and ``f((2, 3))`` alike as (2, 3)."""
    return tuple(values[0]) if len(values) == 1 and isinstance(values[0], (tuple, list)) else tuple(values)
