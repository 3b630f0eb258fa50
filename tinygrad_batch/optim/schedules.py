"""Schedules: how the learning rate changes from step to step.

A schedule is a formula: `factor` says what the first learning rate is multiplied by at step 0, 1, 2,
... Call ``schedule.step()`` after the optimiser's, once a batch or once an epoch, whichever is meant.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import ArgumentError, StateError
from .optimizer import Optimizer, not_negative


class Schedule:
    """Base of the schedules: counts steps and sets the learning rate of an optimiser.

    The learning rate at any step follows from the formula alone; one that was set by hand in between
    is overwritten by the next step.

    Parameters
    ----------
    optimizer : Optimizer
        Its learning rate now is the one that `factor` multiplies.

    Attributes
    ----------
    base_lr : float
        The learning rate that the optimiser had.
    steps : int
        How often `step` was called.

    Raises
    ------
    ArgumentError
        If it is given no optimiser.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> class Halving(tb.optim.Schedule):
    ...     def factor(self, step):
    ...         return 0.5**step
    >>> optimizer = tb.optim.SGD([tb.tensor([1.0], requires_grad=True)], lr=0.4)
    >>> schedule = Halving(optimizer)
    >>> schedule.step(); optimizer.lr
    0.2
    """

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise ArgumentError(
                f"a schedule sets the learning rate of an optimiser, not of a {type(optimizer).__name__}",
                "Pass the optimiser: StepLR(optimizer, step_size=10)",
            )
        self.optimizer = optimizer
        self.base_lr = optimizer.lr
        self.steps = 0
        self._set()

    def factor(self, step: int) -> float:
        """Return what the first learning rate is multiplied by at ``step``. A subclass writes this."""
        raise NotImplementedError(f"{type(self).__name__} has no factor method")

    def lr(self, step: int) -> float:
        """Return the learning rate at ``step``, 0 for the first."""
        return self.base_lr * self.factor(step)

    def step(self) -> None:
        """Go on by one step, and set the learning rate of the optimiser."""
        self.steps += 1
        self._set()

    def _set(self) -> None:
        self.optimizer.lr = self.lr(self.steps)

    def hyperparameters(self) -> dict[str, Any]:
        """Return the numbers of the formula. A subclass that has any adds them."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return everything needed to go on later."""
        return {
            "schedule": type(self).__name__,
            "base_lr": self.base_lr,
            "steps": self.steps,
            "hyperparameters": self.hyperparameters(),
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned, and set the learning rate; nothing changes unless it fits.

        Raises
        ------
        StateError
            If it is no state of a schedule, or of another one.
        """
        missing = [key for key in ("schedule", "base_lr", "steps", "hyperparameters") if key not in saved]
        if missing:
            raise StateError(f"this is no schedule state: it lacks {', '.join(missing)}")
        if saved["schedule"] != type(self).__name__:
            raise StateError(f"this state is of {saved['schedule']}, not of {type(self).__name__}")
        unknown = set(saved["hyperparameters"]) ^ set(self.hyperparameters())
        if unknown:
            raise StateError(f"hyperparameters that do not match: {', '.join(sorted(unknown))}")
        self.base_lr, self.steps = float(saved["base_lr"]), int(saved["steps"])
        vars(self).update(saved["hyperparameters"])
        self._set()

    def __repr__(self) -> str:
        numbers = "".join(f", {name}={value:g}" for name, value in self.hyperparameters().items())
        return f"{type(self).__name__}(base_lr={self.base_lr:g}{numbers}, steps={self.steps})"


class StepLR(Schedule):
    """Times ``gamma`` once every ``step_size`` steps: a staircase.

    Parameters
    ----------
    optimizer : Optimizer
    step_size : int
    gamma : float

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> optimizer = tb.optim.SGD([tb.tensor([1.0], requires_grad=True)], lr=1.0)
    >>> schedule = tb.optim.StepLR(optimizer, step_size=2, gamma=0.5)
    >>> [schedule.lr(step) for step in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        self.step_size, self.gamma = _count("step_size", step_size), not_negative("gamma", gamma)
        super().__init__(optimizer)

    def factor(self, step: int) -> float:
        return self.gamma ** (step // self.step_size)

    def hyperparameters(self) -> dict[str, Any]:
        """Return step_size and gamma."""
        return {"step_size": self.step_size, "gamma": self.gamma}


class ExponentialLR(Schedule):
    """Times ``gamma`` at every step.

    Parameters
    ----------
    optimizer : Optimizer
    gamma : float

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> optimizer = tb.optim.SGD([tb.tensor([1.0], requires_grad=True)], lr=1.0)
    >>> schedule = tb.optim.ExponentialLR(optimizer, gamma=0.5)
    >>> [schedule.lr(step) for step in range(4)]
    [1.0, 0.5, 0.25, 0.125]
    """

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        self.gamma = not_negative("gamma", gamma)
        super().__init__(optimizer)

    def factor(self, step: int) -> float:
        return self.gamma**step

    def hyperparameters(self) -> dict[str, Any]:
        """Return gamma."""
        return {"gamma": self.gamma}


class CosineAnnealingLR(Schedule):
    """Down to ``eta_min`` along half a cosine in ``T_max`` steps (Loshchilov and Hutter 2017).

    ``eta_min + (base_lr - eta_min) * (1 + cos(π step / T_max)) / 2``; after ``T_max`` steps it goes up again.

    Parameters
    ----------
    optimizer : Optimizer
    T_max : int
        Steps from the top to the bottom.
    eta_min : float
        The lowest learning rate.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> optimizer = tb.optim.SGD([tb.tensor([1.0], requires_grad=True)], lr=1.0)
    >>> schedule = tb.optim.CosineAnnealingLR(optimizer, T_max=4)
    >>> [round(schedule.lr(step), 3) for step in range(5)]
    [1.0, 0.854, 0.5, 0.146, 0.0]
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        self.T_max, self.eta_min = _count("T_max", T_max), not_negative("eta_min", eta_min)
        super().__init__(optimizer)

    def factor(self, step: int) -> float:
        lowest = self.eta_min / self.base_lr if self.base_lr else 0.0
        return lowest + (1 - lowest) * (1 + math.cos(math.pi * step / self.T_max)) / 2

    def hyperparameters(self) -> dict[str, Any]:
        """Return T_max and eta_min."""
        return {"T_max": self.T_max, "eta_min": self.eta_min}


class LinearLR(Schedule):
    """From ``start_factor`` to ``end_factor`` along a line in ``total_iters`` steps, then level: a warm-up.

    Parameters
    ----------
    optimizer : Optimizer
    start_factor, end_factor : float
    total_iters : int

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> optimizer = tb.optim.SGD([tb.tensor([1.0], requires_grad=True)], lr=1.0)
    >>> schedule = tb.optim.LinearLR(optimizer, start_factor=0.25, total_iters=3)
    >>> [schedule.lr(step) for step in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """

    def __init__(
        self, optimizer: Optimizer, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5
    ) -> None:
        self.start_factor = not_negative("start_factor", start_factor)
        self.end_factor = not_negative("end_factor", end_factor)
        self.total_iters = _count("total_iters", total_iters)
        super().__init__(optimizer)

    def factor(self, step: int) -> float:
        way = min(step / self.total_iters, 1.0)
        return self.start_factor + (self.end_factor - self.start_factor) * way

    def hyperparameters(self) -> dict[str, Any]:
        """Return start_factor, end_factor and total_iters."""
        return {"start_factor": self.start_factor, "end_factor": self.end_factor, "total_iters": self.total_iters}


class LambdaLR(Schedule):
    """Any formula: a function from the step to the factor. The function is not part of the state.

    Parameters
    ----------
    optimizer : Optimizer
    lr_lambda : callable
        Gets the step, 0 for the first, and returns what the learning rate is multiplied by.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> optimizer = tb.optim.SGD([tb.tensor([1.0], requires_grad=True)], lr=1.0)
    >>> schedule = tb.optim.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    >>> [schedule.lr(step) for step in range(4)]
    [1.0, 0.5, 0.3333333333333333, 0.25]
    """

    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[int], float]) -> None:
        if not callable(lr_lambda):
            raise ArgumentError(
                f"lr_lambda is a function of the step, not {lr_lambda!r}", "For example lambda step: 0.95**step"
            )
        self.lr_lambda = lr_lambda
        super().__init__(optimizer)

    def factor(self, step: int) -> float:
        return self.lr_lambda(step)


def _count(name: str, value: int) -> int:
    """Return ``value``, checked to be a whole number of steps."""
    if value != int(value) or value < 1:
        raise ArgumentError(f"{name} is a whole number of steps, 1 or more, not {value}")
    return int(value)
