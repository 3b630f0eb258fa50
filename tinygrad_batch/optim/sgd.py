"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..tensor import Tensor
from .optimizer import Optimizer, decayed, not_negative


class SGD(Optimizer):
    """Stochastic gradient descent: a step against the gradient.

    ``w ← w − lr dw``; with momentum, ``v ← momentum v + dw`` and ``w ← w − lr v`` (Polyak 1964), or
    ``w ← w − lr (dw + momentum v)`` with Nesterov's (Sutskever et al. 2013). As PyTorch's.

    Parameters
    ----------
    parameters : iterable of Tensor
    lr : float
        Learning rate.
    momentum : float
        From 0 to 1.
    nesterov : bool
    weight_decay : float
        Adds ``weight_decay * w`` to the gradient.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> w = tb.tensor([1.0], requires_grad=True)
    >>> optimizer = tb.optim.SGD([w], lr=0.1)
    >>> (w ** 2).sum().backward()
    >>> optimizer.step()
    >>> w.data
    array([0.8])
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr)
        self.momentum = not_negative("momentum", momentum)
        self.weight_decay = not_negative("weight_decay", weight_decay)
        if nesterov and not momentum:
            raise ArgumentError("Nesterov's step needs a momentum above 0")
        self.nesterov = nesterov

    @property
    def slots(self) -> tuple[str, ...]:
        """The velocity, if there is momentum."""
        return ("velocity",) if self.momentum else ()

    def update(self, step: int, value: np.ndarray, grad: np.ndarray, *kept: np.ndarray) -> None:
        """Take a step against the gradient, or along the velocity."""
        rate = self._rate
        if rate.dtype is not value.dtype:
            rate = self.rate(value)
        if not kept and not self.weight_decay:
            value -= rate * grad
            return
        if self.weight_decay:
            grad = grad + self.weight_decay * value
        if kept:
            velocity = kept[0]
            velocity *= self.momentum
            velocity += grad
            grad = grad + self.momentum * velocity if self.nesterov else velocity
        value -= rate * grad

    def formula(self, name: str, grad: str) -> str:
        """Return the step as a formula."""
        grad = decayed(grad, name, self.weight_decay)
        if not self.momentum:
            return f"{name} ← {name} − {self.lr:g} {grad}"
        moved = f"({grad} + {self.momentum:g} v)" if self.nesterov else "v"
        return f"v ← {self.momentum:g} v + {grad}; {name} ← {name} − {self.lr:g} {moved}"

    def hyperparameters(self) -> dict[str, Any]:
        """Return lr, momentum, nesterov and weight_decay."""
        own = {"momentum": self.momentum, "nesterov": self.nesterov, "weight_decay": self.weight_decay}
        return {**super().hyperparameters(), **own}
