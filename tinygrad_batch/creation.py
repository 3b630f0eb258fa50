"""Making tensors, and the one random generator of the package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import ops
from .calling import checked_array, wrap
from .shapes import Shape
from .state import state
from .tensor import Tensor, get_default_dtype

_random: dict[str, np.random.Generator] = {}  # made when first drawn from: numpy.random is slow to load


def tensor(data: Any, *, dtype: Any = None, requires_grad: bool = False, name: str | None = None) -> Tensor:
    """Return a Tensor with a copy of ``data``.

    Parameters
    ----------
    data : array_like
    dtype : dtype, optional
        Of the copy; by default an array keeps its own and Python floats take the default dtype.
    requires_grad : bool
    name : str, optional

    Examples
    --------
    >>> tensor([[1.0, 2.0], [3.0, 4.0]]).shape
    (2, 2)
    """
    return Tensor(data if dtype is None else checked_array(data, dtype), requires_grad, name)


def asarray(data: Any, *, name: str | None = None) -> Tensor:
    """Return a Tensor on the memory of ``data`` itself, where it is an array: nothing is copied.

    A later change of the array changes the Tensor; `tensor` makes a copy instead.

    Examples
    --------
    >>> import numpy as np
    >>> batch = np.zeros((100, 10))
    >>> np.shares_memory(asarray(batch).data, batch)
    True
    """
    if isinstance(data, Tensor):
        return data
    return wrap(checked_array(data), None, name)


def full(shape: int | Shape, value: float, *, dtype: Any = None) -> Tensor:
    """Return a tensor of ``shape`` with every element equal to ``value``.

    Examples
    --------
    >>> full((2,), 7.0)
    tensor([7., 7.])
    """
    dtype = get_default_dtype() if dtype is None else dtype
    if state.abstract and not state.planning:
        return wrap(np.broadcast_to(np.zeros((), dtype), shape))
    return wrap(np.full(shape, value, dtype))


def zeros(*shape: Any, dtype: Any = None) -> Tensor:
    """Return a tensor of zeros: ``zeros(2, 3)`` or ``zeros((2, 3))``.

    Examples
    --------
    >>> zeros(2, 3).shape
    (2, 3)
    """
    return full(shape[0] if len(shape) == 1 else shape, 0.0, dtype=dtype)


def ones(*shape: Any, dtype: Any = None) -> Tensor:
    """Return a tensor of ones: ``ones(2, 3)`` or ``ones((2, 3))``.

    Examples
    --------
    >>> ones(2)
    tensor([1., 1.])
    """
    return full(shape[0] if len(shape) == 1 else shape, 1.0, dtype=dtype)


def zeros_like(x: Any) -> Tensor:
    """Return zeros of the shape and dtype of ``x``.

    Examples
    --------
    >>> zeros_like(ones(2))
    tensor([0., 0.])
    """
    return full(x.shape, 0.0, dtype=x.dtype)


def ones_like(x: Any) -> Tensor:
    """Return ones of the shape and dtype of ``x``.

    Examples
    --------
    >>> ones_like(zeros(2))
    tensor([1., 1.])
    """
    return full(x.shape, 1.0, dtype=x.dtype)


def arange(*bounds: float, dtype: Any = None) -> Tensor:
    """Return evenly spaced numbers, as `numpy.arange` does.

    Examples
    --------
    >>> arange(3)
    tensor([0, 1, 2])
    """
    return wrap(np.arange(*bounds, dtype=dtype))


def linspace(start: float, stop: float, num: int = 50) -> Tensor:
    """Return ``num`` evenly spaced numbers from ``start`` to ``stop``, both included.

    Examples
    --------
    >>> linspace(0.0, 1.0, 3)
    tensor([0. , 0.5, 1. ])
    """
    return wrap(np.linspace(start, stop, num, dtype=get_default_dtype()))


def eye(n: int) -> Tensor:
    """Return the identity matrix.

    Examples
    --------
    >>> eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    return wrap(np.eye(n, dtype=get_default_dtype()))


def seed(number: int) -> None:
    """Start the package's random generator afresh, for everything that is not given its own ``rng``.

    Examples
    --------
    >>> seed(0); a = randn(3); seed(0); bool((a == randn(3)).data.all())
    True
    """
    fresh = np.random.default_rng(number)
    if _random:  # whoever holds the generator goes on with it
        _random["generator"].bit_generator.state = fresh.bit_generator.state
    else:
        _random["generator"] = fresh


def generator(rng: np.random.Generator | int | None = None) -> np.random.Generator:
    """Return the generator to draw from: ``rng``, one seeded with it, or the package's own.

    Examples
    --------
    >>> float(generator(0).random()) == float(generator(0).random())
    True
    """
    if rng is None:
        if not _random:
            seed(0)
        return _random["generator"]
    return rng if isinstance(rng, np.random.Generator) else np.random.default_rng(rng)


def rand(*shape: int, rng: np.random.Generator | int | None = None) -> Tensor:
    """Return numbers drawn uniformly from [0, 1).

    Examples
    --------
    >>> rand(2, 3, rng=0).shape
    (2, 3)
    """
    return _drawn(ops.random_uniform, shape, generator(rng))


def randn(*shape: int, rng: np.random.Generator | int | None = None) -> Tensor:
    """Return numbers drawn from the standard normal distribution.

    Examples
    --------
    >>> randn(2, 3, rng=0).shape
    (2, 3)
    """
    return _drawn(ops.random_normal, shape, generator(rng))


def _drawn(draw: Callable[..., Any], shape: Any, rng: np.random.Generator) -> Tensor:
    like = np.broadcast_to(np.zeros((), get_default_dtype()), shape)
    if state.recorder is not None and state.recorder.replays:  # drawn afresh whenever the step runs again
        drawn: Tensor = draw(wrap(like), rng=rng)
        return drawn
    return wrap(draw(like, rng=rng))
