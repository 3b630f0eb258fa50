"""Adagrad."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..tensor import Tensor
from .optimizer import Optimizer, decayed, not_negative


class Adagrad(Optimizer):
    """Adagrad: the gradient divided by the root of the sum of all its squares (Duchi, Hazan, Singer 2011).

    ``s ← s + dw²`` and ``w ← w − lr dw / (√s + eps)``: what has moved much moves less and less. As PyTorch's.

    Parameters
    ----------
    parameters : iterable of Tensor
    lr : float
    lr_decay : float
        At step t the learning rate is ``lr / (1 + (t − 1) lr_decay)``.
    weight_decay : float
        Adds ``weight_decay * w`` to the gradient.
    eps : float

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> w = tb.tensor([1.0], requires_grad=True)
    >>> optimizer = tb.optim.Adagrad([w], lr=0.1)
    >>> (w ** 2).sum().backward()
    >>> optimizer.step()
    >>> w.data.round(6)
    array([0.9])
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 0.01,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        super().__init__(parameters, lr)
        self.lr_decay = not_negative("lr_decay", lr_decay)
        self.weight_decay = not_negative("weight_decay", weight_decay)
        self.eps = not_negative("eps", eps)

    @property
    def slots(self) -> tuple[str, ...]:
        """The sum of the squared gradients."""
        return ("square",)

    def update(self, step: int, value: np.ndarray, grad: np.ndarray, *kept: np.ndarray) -> None:
        """Take a step against the gradient, divided by the root of the sum of its squares."""
        (square,) = kept
        if self.weight_decay:
            grad = grad + self.weight_decay * value
        square += grad * grad
        value -= (self._lr / (1 + (step - 1) * self.lr_decay)) * grad / (np.sqrt(square) + self.eps)

    def formula(self, name: str, grad: str) -> str:
        """Return the step as a formula."""
        grad = decayed(grad, name, self.weight_decay)
        rate = f"{self.lr:g} / (1 + {self.lr_decay:g} (t − 1))" if self.lr_decay else f"{self.lr:g}"
        return f"s ← s + {grad}²; {name} ← {name} − {rate} {grad} / (√s + {self.eps:g})"

    def hyperparameters(self) -> dict[str, Any]:
        """Return lr, lr_decay, weight_decay and eps."""
        own = {"lr_decay": self.lr_decay, "weight_decay": self.weight_decay, "eps": self.eps}
        return {**super().hyperparameters(), **own}
