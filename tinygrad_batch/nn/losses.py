"""Losses: how far predictions are from their targets.

``reduction`` is ``"mean"`` over all elements, ``"sum"``, or ``"none"``, which gives each element its
own loss. Predictions and targets must have the same shape: (20, 1) against (20,) is an error, because
broadcasting would compare every row with every other.
"""

from __future__ import annotations

from typing import Any

from .. import ops
from ..creation import asarray
from ..errors import ArgumentError, DtypeError, ShapeError
from ..ops.indexing import pick
from ..ops.merged import mean_square
from ..tensor import Tensor
from .module import Module


class Loss(Module):
    """Base of the losses.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    ArgumentError
        For another reduction.
    ShapeError
        When called, if predictions and targets differ in shape.
    """

    def __init__(self, reduction: str = "mean") -> None:
        if reduction not in ("mean", "sum", "none"):
            raise ArgumentError(f"reduction is 'mean', 'sum' or 'none', not {reduction!r}")
        self.reduction = reduction

    def forward(self, prediction: Any, target: Any) -> Any:
        """Return the loss of each element, reduced."""
        prediction, target = _pair(type(self).__name__, prediction, target)
        return self.reduce(self.each(prediction, target))

    def each(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each element; a subclass writes this."""
        raise NotImplementedError(f"{type(self).__name__} has no each method")

    def reduce(self, losses: Tensor) -> Tensor:
        """Return the losses brought together as ``reduction`` says."""
        if self.reduction == "none":
            return losses
        return ops.mean(losses) if self.reduction == "mean" else ops.sum(losses)


def _pair(name: str, prediction: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Return predictions and targets as Tensors of one shape, the targets floating."""
    if type(prediction) is not Tensor:
        prediction = asarray(prediction)
    if type(target) is not Tensor:
        target = asarray(target)
    if prediction._data.shape != target._data.shape:
        raise ShapeError(
            f"{name} got predictions of shape {prediction.shape} and targets of shape {target.shape}",
            "Give them the same shape, for example target.reshape(-1, 1)",
        )
    if prediction._data.dtype is not target._data.dtype:
        target = _floating(target, prediction)
    return prediction, target


def _floating(target: Tensor, prediction: Tensor) -> Tensor:
    """Return a target of integers as floats like the predictions: int64 would make float32 losses float64."""
    if target.dtype.kind in "biu" and prediction.dtype.kind == "f":
        return ops.astype(target, dtype=prediction.dtype)
    return target


class MSELoss(Loss):
    """The mean squared error: the mean of ``(prediction - target)²``.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> tb.nn.MSELoss()(tb.tensor([[1.0], [3.0]]), tb.tensor([[1.0], [1.0]]))
    tensor(2.)
    """

    def forward(self, prediction: Any, target: Any) -> Any:
        """Return the squared errors, reduced."""
        prediction, target = _pair("MSELoss", prediction, target)
        if self.reduction == "mean":
            return mean_square(prediction, target)
        return self.reduce(ops.square(prediction - target))


class L1Loss(Loss):
    """The mean absolute error.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> tb.nn.L1Loss()(tb.tensor([1.0, 3.0]), tb.tensor([1.0, 1.0]))
    tensor(1.)
    """

    def each(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the absolute errors."""
        return ops.abs(prediction - target)


class HuberLoss(Loss):
    """Half the squared error near the target, linear beyond ``delta`` (Huber 1964).

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
    delta : float
        Where the square turns into a line; positive.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> tb.nn.HuberLoss()(tb.tensor([0.5, 3.0]), tb.tensor([0.0, 0.0]))
    tensor(1.3125)
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        if not delta > 0:
            raise ArgumentError(f"delta is positive, not {delta}")
        self.delta = delta

    def each(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return half the squared error up to ``delta``, a line beyond."""
        size = ops.abs(prediction - target)
        near = ops.minimum(size, self.delta)  # the size itself, up to delta; no square that overflows beyond
        return near * (size - 0.5 * near)


class BCEWithLogitsLoss(Loss):
    """Binary cross-entropy of the sigmoid of the predictions, computed without overflow.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> tb.nn.BCEWithLogitsLoss()(tb.tensor([0.0]), tb.tensor([1.0]))
    tensor(0.69314718)
    """

    def each(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return ``-(t log σ(p) + (1 - t) log(1 - σ(p)))``, rearranged."""
        return ops.softplus(prediction) - prediction * target


class CrossEntropyLoss(Loss):
    """Cross-entropy of the softmax of the predictions.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        Over the rows.
    label_smoothing : float
        Share of the target that is spread evenly over all classes, from 0 to 1.

    Raises
    ------
    ShapeError, DtypeError, ArgumentError
        When called, unless predictions are (rows, classes) and targets are integer classes (rows,)
        from 0 to classes - 1, or probabilities (rows, classes).

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> loss = tb.nn.CrossEntropyLoss()(tb.tensor([[2.0, 0.0], [0.0, 0.0]]), tb.tensor([0, 1]))
    >>> round(loss.item(), 6)
    0.410038
    """

    def __init__(self, reduction: str = "mean", label_smoothing: float = 0.0) -> None:
        super().__init__(reduction)
        if not 0 <= label_smoothing <= 1:
            raise ArgumentError(f"label_smoothing is from 0 to 1, not {label_smoothing}")
        self.label_smoothing = label_smoothing

    def forward(self, prediction: Any, target: Any) -> Any:
        """Return the cross-entropy of each row, reduced."""
        prediction, target = asarray(prediction), asarray(target)
        if prediction.ndim != 2:
            raise ShapeError(f"CrossEntropyLoss takes predictions (rows, classes), not of shape {prediction.shape}")
        logp = ops.log_softmax(prediction, axis=1)
        if target.shape == prediction.shape:
            losses = -ops.sum(logp * _floating(target, prediction), axis=1)
        else:
            self._check_classes(prediction, target)
            losses = -pick(logp, target)
        if self.label_smoothing:
            losses = (1 - self.label_smoothing) * losses - self.label_smoothing * ops.mean(logp, axis=1)
        return self.reduce(losses)

    def _check_classes(self, prediction: Tensor, target: Tensor) -> None:
        rows = prediction.shape[0]
        if target.shape != (rows,):
            raise ShapeError(
                f"CrossEntropyLoss got predictions of shape {prediction.shape} and targets of shape {target.shape}",
                f"Give one class for each row, shape ({rows},)",
            )
        if target.dtype.kind not in "iu":
            raise DtypeError(f"classes are integers, not {target.dtype}", "Convert them: target.astype(int)")
