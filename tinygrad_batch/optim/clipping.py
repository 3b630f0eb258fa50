"""Clipping: gradients made smaller before a step, where they would throw the parameters far away."""

from __future__ import annotations

from collections.abc import Iterable

from .. import ops
from ..creation import zeros
from ..errors import ArgumentError
from ..state import no_grad
from ..tensor import Tensor
from .optimizer import not_negative


def clip_grad_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float, eps: float = 1e-6) -> Tensor:
    """Scale all gradients together so that their norm is at most ``max_norm``, in place; return what it was.

    The norm is that of all gradients as one long vector, ``sqrt(Σ dw²)``; their directions stay (Pascanu,
    Mikolov and Bengio 2013). Call it between ``backward`` and the optimiser's ``step``.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are passed over.
    max_norm : float
    eps : float
        Added to the norm, so that nothing is divided by 0.

    Returns
    -------
    Tensor, shape ()
        The norm before.

    Raises
    ------
    ArgumentError
        If ``max_norm`` is negative, or something given is not a Tensor.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> w = tb.tensor([3.0, 4.0], requires_grad=True)
    >>> (w * w / 2).sum().backward()
    >>> tb.optim.clip_grad_norm_([w], max_norm=1.0)
    tensor(5.)
    >>> w.grad.data.round(3)
    array([0.6, 0.8])
    """
    max_norm, eps = not_negative("max_norm", max_norm), not_negative("eps", eps)
    with no_grad():
        graded = _graded(parameters)
        if not graded:
            return zeros(())
        squares = [ops.sum(ops.square(grad)) for _, grad in graded]
        total = squares[0]
        for square in squares[1:]:
            total = total + square
        norm = ops.sqrt(total)
        scale = ops.minimum(max_norm / (norm + eps), 1.0)
        for parameter, grad in graded:
            parameter.grad = grad * (scale if scale.dtype == grad.dtype else ops.astype(scale, dtype=grad.dtype))
    return norm


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], limit: float) -> None:
    """Limit every element of every gradient to the interval from ``-limit`` to ``limit``, in place.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are passed over.
    limit : float

    Raises
    ------
    ArgumentError
        If ``limit`` is negative, or something given is not a Tensor.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> w = tb.tensor([3.0, 0.2], requires_grad=True)
    >>> (w * w / 2).sum().backward()
    >>> tb.optim.clip_grad_value_([w], limit=0.5)
    >>> w.grad
    tensor([0.5, 0.2])
    """
    limit = not_negative("limit", limit)
    with no_grad():
        for parameter, grad in _graded(parameters):
            parameter.grad = ops.clip(grad, low=-limit, high=limit)


def _graded(parameters: Tensor | Iterable[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Return the parameters that have a gradient, each with it."""
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    for i, parameter in enumerate(given):
        if not isinstance(parameter, Tensor):
            raise ArgumentError(
                f"parameter {i} is a {type(parameter).__name__}, not a Tensor", "Pass model.parameters()"
            )
    pairs = [(parameter, parameter.grad) for parameter in given]
    return [(parameter, grad) for parameter, grad in pairs if grad is not None]
