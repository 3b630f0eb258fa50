"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..tensor import Tensor
from .optimizer import Optimizer, decayed, not_negative


class Adam(Optimizer):
    """Adam: each parameter has its own step size, from running means of gradient and square (Kingma, Ba 2015).

    ``m ← β₁ m + (1 − β₁) dw``, ``s ← β₂ s + (1 − β₂) dw²`` and ``w ← w − lr m̂ / (√ŝ + eps)``, where
    m̂ and ŝ are corrected for having started at 0.

    Parameters
    ----------
    parameters : iterable of Tensor
    lr : float
    betas : pair of float
        β₁ and β₂, from 0 to below 1.
    eps : float
    weight_decay : float
        Adds ``weight_decay * w`` to the gradient.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> w = tb.tensor([1.0], requires_grad=True)
    >>> optimizer = tb.optim.Adam([w], lr=0.1)
    >>> (w ** 2).sum().backward()
    >>> optimizer.step()
    >>> w.data.round(6)
    array([0.9])
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr)
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ArgumentError(f"betas are two numbers from 0 to below 1, not {betas}")
        self.betas = tuple(float(beta) for beta in betas)
        self.eps = not_negative("eps", eps)
        self.weight_decay = not_negative("weight_decay", weight_decay)

    @property
    def slots(self) -> tuple[str, ...]:
        """Running means of the gradient and of its square."""
        return "mean", "square"

    def update(self, step: int, value: np.ndarray, grad: np.ndarray, *kept: np.ndarray) -> None:
        """Take a step against the running mean of the gradient."""
        if self.weight_decay:
            grad = grad + self.weight_decay * value
        self._adapt(step, value, grad, *kept)

    def _adapt(self, step: int, value: np.ndarray, grad: np.ndarray, mean: np.ndarray, square: np.ndarray) -> None:
        first, second = self.betas
        mean *= first
        mean += (1 - first) * grad
        square *= second
        square += (1 - second) * (grad * grad)
        root = np.sqrt(square) / (1 - second**step) ** 0.5
        value -= (self.lr / (1 - first**step)) * mean / (root + self.eps)

    def formula(self, name: str, grad: str) -> str:
        """Return the step as a formula."""
        first, second = self.betas
        grad = decayed(grad, name, self.weight_decay)
        return (
            f"m ← {first:g} m + {1 - first:g} {grad}; s ← {second:g} s + {1 - second:g} {grad}²; "
            f"{name} ← {name} − {self.lr:g} m̂ / (√ŝ + {self.eps:g})"
        )

    def hyperparameters(self) -> dict[str, Any]:
        """Return lr, betas, eps and weight_decay."""
        own = {"betas": self.betas, "eps": self.eps, "weight_decay": self.weight_decay}
        return {**super().hyperparameters(), **own}


class AdamW(Adam):
    """Adam with decoupled weight decay: ``w`` shrinks by ``lr * weight_decay`` itself (Loshchilov, Hutter 2019).

    Parameters
    ----------
    parameters : iterable of Tensor
    lr : float
    betas : pair of float
    eps : float
    weight_decay : float
        By default 0.01.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay)

    def update(self, step: int, value: np.ndarray, grad: np.ndarray, *kept: np.ndarray) -> None:
        """Shrink the parameter, then take the step of Adam."""
        value *= 1 - self.lr * self.weight_decay
        self._adapt(step, value, grad, *kept)

    def formula(self, name: str, grad: str) -> str:
        """Return the step as a formula."""
        first, second = self.betas
        return (
            f"m ← {first:g} m + {1 - first:g} {grad}; s ← {second:g} s + {1 - second:g} {grad}²; "
            f"{name} ← {1 - self.lr * self.weight_decay:g} {name} − {self.lr:g} m̂ / (√ŝ + {self.eps:g})"
        )
