"""How NumPy's own functions meet Tensors: they become operations, or fall through where no gradient is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from . import calling
from .calling import wrap
from .errors import ArgumentError, DtypeError, GraphError
from .op import NUMPY
from .state import state

if TYPE_CHECKING:
    from .graph import Node


class NumPyProtocols:
    """What NumPy looks for on a `Tensor`."""

    __slots__ = ()

    if TYPE_CHECKING:
        _data: np.ndarray
        _node: Node | None

        @property
        def data(self) -> np.ndarray:
            """The array, as a read-only view."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self._node is not None:
            raise GraphError(
                "this tensor requires grad, and as a NumPy array it would silently lose it", "Use .detach() or .data"
            )
        array = self.data if dtype is None else self.data.astype(dtype, copy=False)
        return array.copy() if copy else array

    @property
    def _mask(self) -> Any:
        # numpy.ma looks for this when a masked array stands left of an operator, and would drop our gradient
        raise DtypeError("a masked array was given, and its mask would be lost", "Fill it first: array.filled(0)")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        function = NUMPY.get(ufunc)
        if method == "__call__" and function is not None and not kwargs:
            return function(*inputs)
        what = f"numpy.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
        if kwargs.get("out") is not None:
            raise ArgumentError(f"{what} with out= cannot write into or from a Tensor", "Leave out= away")
        return _fall_through(what, lambda *a, **k: getattr(ufunc, method)(*a, **k), inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        function = NUMPY.get(func)
        if function is not None:
            return function(*args, **kwargs)
        return _fall_through(f"numpy.{func.__name__}", func, args, kwargs)

    def __dlpack__(self, **kwargs: Any) -> Any:
        return np.asarray(self).copy().__dlpack__(**kwargs)

    def __dlpack_device__(self) -> Any:
        return self._data.__dlpack_device__()


_CONSTANT = (np.zeros_like, np.ones_like, np.empty_like)


def _fall_through(what: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Let NumPy compute where no gradient would be lost."""
    tensors: list[Any] = []

    def bare(value: Any) -> Any:
        if type(value) is calling.Tensor:
            tensors.append(value)
            return value.data  # read-only: a function that writes is refused, not followed behind our back
        if isinstance(value, (list, tuple)):
            return type(value)([bare(v) for v in value]) if not hasattr(value, "_fields") else value
        return value

    plain_args, plain_kwargs = [bare(a) for a in args], {k: bare(v) for k, v in kwargs.items()}
    out = function(*plain_args, **plain_kwargs)
    if state.grad and any(t._node is not None for t in tensors) and function not in _CONSTANT and _has_gradient(out):
        raise GraphError(
            f"{what} has no derivative here, so the gradient would be lost", "Use .detach() where none is wanted"
        )
    return wrap(np.asarray(out)) if isinstance(out, (np.ndarray, np.generic)) and out.dtype.kind in "biufc" else out


def _has_gradient(out: Any) -> bool:
    """Return whether a result depends smoothly on its inputs: a shape, an index or a truth does not."""
    if isinstance(out, (list, tuple)):
        return any(_has_gradient(value) for value in out)
    return isinstance(out, (float, complex, np.ndarray, np.generic)) and np.result_type(out).kind in "fcO"
