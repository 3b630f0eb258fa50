"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..tensor import Tensor
from .optimizer import Optimizer, decayed, not_negative


class RMSprop(Optimizer):
    """RMSprop: the gradient divided by the root of a running mean of its square (Hinton 2012).

    ``s ← alpha s + (1 − alpha) dw²`` and ``w ← w − lr dw / (√s + eps)``. Centred (Graves 2013), the
    running mean of dw, squared, is taken off s; with momentum, the quotient goes into a velocity. As
    PyTorch's.

    Parameters
    ----------
    parameters : iterable of Tensor
    lr : float
    alpha : float
        How much of the running mean stays at each step, from 0 to 1.
    eps : float
    weight_decay : float
        Adds ``weight_decay * w`` to the gradient.
    momentum : float
    centered : bool

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> w = tb.tensor([1.0], requires_grad=True)
    >>> optimizer = tb.optim.RMSprop([w], lr=0.01)
    >>> (w ** 2).sum().backward()
    >>> optimizer.step()
    >>> w.data.round(6)
    array([0.9])
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 0.01,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        super().__init__(parameters, lr)
        if not 0 <= alpha <= 1:
            raise ArgumentError(f"alpha is from 0 to 1, not {alpha}")
        self.alpha = float(alpha)
        self.eps = not_negative("eps", eps)
        self.weight_decay = not_negative("weight_decay", weight_decay)
        self.momentum = not_negative("momentum", momentum)
        self.centered = bool(centered)

    @property
    def slots(self) -> tuple[str, ...]:
        """A running mean of the squared gradient; of the gradient too if centred; the velocity with momentum."""
        return ("square", *(("mean",) if self.centered else ()), *(("velocity",) if self.momentum else ()))

    def update(self, step: int, value: np.ndarray, grad: np.ndarray, *kept: np.ndarray) -> None:
        """Take a step against the gradient, divided by the root of its running square."""
        square, *more = kept
        if self.weight_decay:
            grad = grad + self.weight_decay * value
        square *= self.alpha
        square += (1 - self.alpha) * (grad * grad)
        spread = square
        if self.centered:
            mean, *more = more
            mean *= self.alpha
            mean += (1 - self.alpha) * grad
            spread = square - mean * mean
        grad = grad / (np.sqrt(spread) + self.eps)
        if more:
            (velocity,) = more
            velocity *= self.momentum
            velocity += grad
            grad = velocity
        value -= self._lr * grad

    def formula(self, name: str, grad: str) -> str:
        """Return the step as a formula."""
        grad = decayed(grad, name, self.weight_decay)
        a, b = f"{self.alpha:g}", f"{1 - self.alpha:g}"
        lines, under = [f"s ← {a} s + {b} {grad}²"], "√s"
        if self.centered:
            lines, under = [*lines, f"m ← {a} m + {b} {grad}"], "√(s − m²)"
        step = f"{grad} / ({under} + {self.eps:g})"
        if self.momentum:
            lines, step = [*lines, f"v ← {self.momentum:g} v + {step}"], "v"
        return "; ".join([*lines, f"{name} ← {name} − {self.lr:g} {step}"])

    def hyperparameters(self) -> dict[str, Any]:
        """Return lr, alpha, eps, weight_decay, momentum and centered."""
        own = {"alpha": self.alpha, "eps": self.eps, "weight_decay": self.weight_decay}
        return {**super().hyperparameters(), **own, "momentum": self.momentum, "centered": self.centered}
