"""What Python's operators do on Tensors: each is an operation of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import functional as F
from . import ops
from .errors import DtypeError

if TYPE_CHECKING:
    from .tensor import Tensor


def _truth(value: Any) -> Any:
    """Return ``value``, checked to be boolean: on integers NumPy's ``&``, ``|`` and ``~`` work bit by bit."""
    dtype = value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype
    if dtype != np.bool_:
        raise DtypeError(f"the operators &, | and ~ take booleans here, not {dtype}", "Compare first: x > 0")
    return value


class Operators:
    """The arithmetic and comparison operators of `Tensor`."""

    __slots__ = ()

    def __add__(self, other: Any) -> Tensor:
        return ops.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return ops.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return ops.subtract(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return ops.subtract(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return ops.multiply(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return ops.multiply(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return ops.divide(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return ops.divide(other, self)

    def __floordiv__(self, other: Any) -> Tensor:
        return ops.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return ops.floor_divide(other, self)

    def __mod__(self, other: Any) -> Tensor:
        return ops.remainder(self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return ops.remainder(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return F.power(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return ops.power(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return F.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return F.matmul(other, self)

    def __neg__(self) -> Tensor:
        return ops.negative(self)

    def __pos__(self) -> Tensor:
        return ops.positive(self)

    def __abs__(self) -> Tensor:
        return ops.abs(self)

    def __lt__(self, other: Any) -> Tensor:
        return ops.less(self, other)

    def __le__(self, other: Any) -> Tensor:
        return ops.less_equal(self, other)

    def __gt__(self, other: Any) -> Tensor:
        return ops.greater(self, other)

    def __ge__(self, other: Any) -> Tensor:
        return ops.greater_equal(self, other)

    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]
        return ops.equal(self, other)

    def __ne__(self, other: Any) -> Tensor:  # type: ignore[override]
        return ops.not_equal(self, other)

    def __invert__(self) -> Tensor:
        return ops.logical_not(_truth(self))

    def __and__(self, other: Any) -> Tensor:
        return ops.logical_and(_truth(self), _truth(other))

    def __rand__(self, other: Any) -> Tensor:
        return ops.logical_and(_truth(other), _truth(self))

    def __or__(self, other: Any) -> Tensor:
        return ops.logical_or(_truth(self), _truth(other))

    def __ror__(self, other: Any) -> Tensor:
        return ops.logical_or(_truth(other), _truth(self))

    __hash__ = object.__hash__
