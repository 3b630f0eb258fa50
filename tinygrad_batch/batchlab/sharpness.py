"""Sharpness: the largest curvature of the loss where a training has come to, by power iteration."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import nn
from ..creation import asarray
from ..data.orders import generator
from ..errors import CompileError
from ..replay import compile
from ..tensor import Tensor
from ..transforms import hvp
from .ensemble import evaluating, learned


def sharpness(
    model: nn.Module,
    loss_fn: nn.Module,
    x: np.ndarray,
    y: np.ndarray,
    *,
    most: int = 100,
    accuracy: float = 1e-3,
    seed: int = 0,
) -> float:
    """Return the largest eigenvalue, in magnitude, of the Hessian of the loss by the parameters.

    A random direction is multiplied by the Hessian again and again, which never exists as a matrix
    (`tinygrad_batch.hvp`). It turns towards the direction of the largest curvature, and what a product stretches it by
    is that curvature. Layers are set to evaluation for this, so that a batch norm or a dropout is a fixed function,
    and its statistics stay as they are.

    Parameters
    ----------
    model, loss_fn : Module
        Frozen parameters count as constants.
    x, y : ndarray
        The rows over which the loss is taken.
    most : int
        Products at most.
    accuracy : float
        Stop when the value changes by no more than this part of itself.
    seed : int
        Of the first direction.

    Returns
    -------
    float
        Gradient descent with a rate above 2 by this number runs away from a minimum.

    Examples
    --------
    >>> model = nn.Linear(2, 1, rng=0)
    >>> x = np.array([[1.0, 0.0], [0.0, 2.0], [0.0, -2.0], [-1.0, 0.0]])
    >>> round(sharpness(model, nn.MSELoss(), x, np.zeros((4, 1))), 3)  # the Hessian is 2 xᵀx / 4
    4.0
    """
    parameters = learned(model)
    inputs, targets = asarray(x), asarray(y)

    def product(*direction: Tensor) -> tuple[Tensor, ...]:
        return hvp(loss_fn(model(inputs), targets), parameters, direction)

    with evaluating(model):
        return _largest(product, [parameter.shape for parameter in parameters], most, accuracy, seed)


def _largest(
    product: Callable[..., tuple[Tensor, ...]], shapes: list[tuple[int, ...]], most: int, accuracy: float, seed: int
) -> float:
    """Return the largest eigenvalue, in magnitude, of the symmetric matrix whose products are given."""
    fast = compile(product)
    rng = generator(seed, 4)
    direction = [rng.standard_normal(shape) for shape in shapes]
    found = 0.0
    for _ in range(most):
        length = np.sqrt(sum(float((part**2).sum()) for part in direction))
        if not length > 0:
            return 0.0
        direction = [part / length for part in direction]
        try:
            products = fast(*direction)
        except CompileError:
            fast = product
            products = product(*[asarray(part) for part in direction])
        stretched = [part.data.copy() for part in products]
        before = found
        found = sum(float((a * b).sum()) for a, b in zip(direction, stretched, strict=True))
        direction = stretched
        if abs(found - before) <= accuracy * abs(found):
            break
    return found
