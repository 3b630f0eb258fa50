"""Gradient accumulation: a batch that does not fit into memory, in parts that do."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from .creation import asarray
from .data.checks import check_integer
from .errors import ArgumentError, ShapeError
from .nn.module import Module
from .nn.normalise import BatchNorm1d
from .tensor import Tensor


def accumulate(
    model: Callable[..., Any], loss_fn: Callable[..., Any], x: Any, *targets: Any, micro_batches: int
) -> Tensor:
    """Leave the gradients of a whole batch, going through it in parts, and return the loss of the whole.

    The gradient of a mean over all rows is the mean of the gradients of the parts, **weighted by their rows**: the
    parts of 10 rows in 3 are of 4, 3 and 3. The plain mean of the parts' means, as it is often written, gives rows of
    small parts more weight than others. What a step keeps for its backward pass is that of one part.

    Parameters
    ----------
    model : callable
        Gets the rows of a part.
    loss_fn : callable
        Gets what the model returns, and the rows of the targets. A loss with ``reduction="sum"`` is added up; any
        other has to be a mean over rows, each with the same weight.
    x : Tensor or array_like, shape (rows, ...)
    *targets : Tensor or array_like, shape (rows, ...)
    micro_batches : int
        How many parts, from 1 to the number of rows, as equal as can be.

    Returns
    -------
    Tensor
        The loss of the whole batch, as a number without a graph. Gradients have been added to ``.grad``: forget those
        of the last batch beforehand, and update afterwards.

    Raises
    ------
    ArgumentError
        If there are more parts than rows, or the loss has ``reduction="none"``.
    ShapeError
        If the arrays differ in rows.

    Warns
    -----
    UserWarning
        If the model has a batch normalisation in training: it looks at all the rows of a part, so that parts are
        never equivalent to the whole.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> model, loss_fn = tb.nn.Linear(10, 1, rng=0), tb.nn.MSELoss()
    >>> x, y = tb.randn(10, 10, rng=1), tb.randn(10, 1, rng=2)
    >>> loss = tb.accumulate(model, loss_fn, x, y, micro_batches=3)
    >>> abs(loss.item() - loss_fn(model(x), y).item()) < 1e-15
    True
    """
    batch = [asarray(array) for array in (x, *targets)]
    rows = len(batch[0])
    if any(len(array) != rows for array in batch):
        raise ShapeError(f"the arrays of a batch differ in rows: {', '.join(str(len(array)) for array in batch)}")
    parts = check_integer(micro_batches, "micro_batches", 1)
    if parts > rows:
        raise ArgumentError(f"{rows} rows do not make {parts} micro-batches", f"Ask for {rows} at most")
    reduction = getattr(loss_fn, "reduction", "mean")
    if reduction == "none":
        raise ArgumentError("a loss with reduction='none' is no number to go back from", "Use 'mean' or 'sum'")
    _warn_of_batch_norm(model)
    total = None
    for part in range(parts):
        cut = slice(rows * part // parts, rows * (part + 1) // parts)
        loss = loss_fn(model(batch[0][cut]), *[array[cut] for array in batch[1:]])
        share = 1.0 if reduction == "sum" else (cut.stop - cut.start) / rows
        loss.backward(gradient=share)
        weighted = loss.detach() * share
        total = weighted if total is None else total + weighted
        del loss  # the part's graph is gone before the next one grows
    return total  # type: ignore[return-value]  # there is 1 part or more


def _warn_of_batch_norm(model: Any) -> None:
    if not isinstance(model, Module):
        return
    for path, layer in model.named_modules():
        if isinstance(layer, BatchNorm1d) and layer.training:
            where = f"layer {path}, " if path else ""
            warnings.warn(
                f"{where}{layer}: each micro-batch is normalised by its own mean and variance, so accumulating is not "
                "the same as one large batch. Use LayerNorm, or model.eval()",
                stacklevel=3,
            )
            return
