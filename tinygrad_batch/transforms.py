"""Gradients as values: derivatives of outputs with respect to chosen inputs, returned instead of stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import autodiff, ops
from .calling import cast_gradient, operand, wrap
from .errors import ArgumentError, GraphError, ShapeError
from .state import enable_grad, state
from .tensor import Tensor


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of ``outputs`` with respect to ``inputs``; no ``.grad`` is touched.

    Parameters
    ----------
    outputs : Tensor or sequence of Tensor
        What to differentiate; the gradients of several outputs add up.
    inputs : Tensor or sequence of Tensor
        With respect to what: leaves, or tensors computed on the way to the outputs.
    grad_outputs : array_like or sequence of array_like, optional
        For each output the weight of each of its elements; None stands for 1 where an output has
        one element.
    retain_graph : bool, optional
        Keep the graph, so that it can be walked again; by default only if ``create_graph``.
    create_graph : bool
        Record the backward pass too, so that the gradients can be differentiated in turn.
    allow_unused : bool
        Return None for an input that the outputs do not depend on, instead of raising.

    Returns
    -------
    tuple of Tensor
        One gradient for each input.

    Raises
    ------
    GraphError
        If nothing requires grad, an input is not part of the graph, or the graph was freed.
    ShapeError
        If a weight does not have the shape of its output.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> from tinygrad_batch.transforms import grad
    >>> x = tb.tensor(2.0, requires_grad=True)
    >>> (slope,) = grad(x**4, x, create_graph=True)
    >>> (bend,) = grad(slope, x)
    >>> slope.item(), bend.item()
    (32.0, 48.0)
    """
    tensors, wanted = _listed(outputs, "outputs"), _listed(inputs, "inputs")
    weights = _weights(tensors, grad_outputs)
    for position, tensor in enumerate(wanted):
        if tensor._node is None:
            raise GraphError(
                f"input {position} of grad() does not require grad", "Set requires_grad=True before its use"
            )
    root, seed = _root(tensors, weights, create_graph)
    nodes = [tensor._node for tensor in wanted if tensor._node is not None]
    keep = create_graph if retain_graph is None else retain_graph
    with state.switch(grad=create_graph or state.grad):
        found = autodiff.backward(root, seed, keep, create_graph, nodes)
    missing = [position for position, gradient in enumerate(found) if gradient is None]
    if missing and not allow_unused:
        raise GraphError(
            f"the outputs do not depend on input {missing[0]} of grad()", "allow_unused=True gives None for such inputs"
        )
    return tuple(
        _returned(gradient, tensor) if gradient is not None else None
        for gradient, tensor in zip(found, wanted, strict=True)
    )


def hvp(
    output: Tensor, inputs: Tensor | Sequence[Tensor], vectors: Any, retain_graph: bool = False
) -> tuple[Tensor, ...]:
    """Return the Hessian of ``output``, with respect to ``inputs``, times a vector.

    The Hessian itself, a square of as many numbers as there are inputs, is never made: the product is the gradient of
    the gradient's component along the vector, and costs as much as two backward passes (Pearlmutter 1994).

    Parameters
    ----------
    output : Tensor
        One number, computed from the inputs.
    inputs : Tensor or sequence of Tensor
        Such as the parameters of a model.
    vectors : array_like or sequence of array_like
        One for each input, of its shape.
    retain_graph : bool
        Keep the graph of ``output``, for another product.

    Returns
    -------
    tuple of Tensor
        One part of the product for each input.

    Raises
    ------
    GraphError
        If the output does not require grad.
    ShapeError
        If a vector does not have the shape of its input.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> x = tb.tensor([1.0, 2.0], requires_grad=True)
    >>> tb.hvp((x**3).sum(), x, [1.0, 1.0])  # the Hessian has 6x on its diagonal
    (tensor([ 6., 12.]),)
    """
    wanted = _listed(inputs, "inputs")
    given = [vectors] if isinstance(inputs, Tensor) else list(vectors)
    if len(given) != len(wanted):
        raise ArgumentError(f"hvp() got {len(given)} vectors for {len(wanted)} inputs")
    slopes = grad(output, wanted, retain_graph=True, create_graph=True, allow_unused=True)
    pairs = [(slope, vector) for slope, vector in zip(slopes, given, strict=True) if slope is not None]
    bent = [(slope, vector) for slope, vector in pairs if slope.requires_grad]  # a constant slope has no slope
    found: tuple[Tensor | None, ...] = (None,) * len(wanted)
    if bent:
        along, weights = zip(*bent, strict=True)
        found = grad(along, wanted, weights, retain_graph=retain_graph, allow_unused=True)
    return tuple(
        product if product is not None else wrap(np.zeros(tensor.shape, tensor.dtype))
        for product, tensor in zip(found, wanted, strict=True)
    )


def _listed(values: Tensor | Sequence[Tensor], what: str) -> list[Tensor]:
    """Return one Tensor or several as a list, checked to hold Tensors and nothing else."""
    listed = [values] if isinstance(values, Tensor) else list(values)
    for value in listed:
        if not isinstance(value, Tensor):
            raise ArgumentError(f"the {what} of grad() are Tensors, not {type(value).__name__}")
    if not listed:
        raise ArgumentError(f"grad() was given no {what}")
    return listed


def _weights(outputs: list[Tensor], grad_outputs: Any) -> list[Any]:
    """Return one weight for each output; None becomes ones where there is one element."""
    if grad_outputs is None:
        given: list[Any] = [None] * len(outputs)
    elif isinstance(grad_outputs, (list, tuple)):
        given = list(grad_outputs)
    else:
        given = [grad_outputs]
    if len(given) != len(outputs):
        raise ArgumentError(f"grad() got {len(given)} grad_outputs for {len(outputs)} outputs")
    return [output._seed(weight, create_graph=False) if not isinstance(weight, Tensor) else _same_shape(weight, output)
            for output, weight in zip(outputs, given, strict=True)]  # fmt: skip


def _same_shape(weight: Tensor, output: Tensor) -> Tensor:
    if weight.shape != output.shape:
        raise ShapeError(f"a weight of shape {weight.shape} was given for an output of shape {output.shape}")
    return weight if weight.dtype == output.dtype else ops.astype(weight, dtype=output.dtype)


def _root(outputs: list[Tensor], weights: list[Any], create_graph: bool) -> tuple[Any, Any]:
    """Return the node to start from and its gradient; several outputs are first added up, weighted."""
    pairs = [(output, weight) for output, weight in zip(outputs, weights, strict=True) if output._node is not None]
    if not pairs:
        raise GraphError(
            "grad() needs outputs that were computed from a tensor with requires_grad=True",
            "Nothing was recorded: was it computed under no_grad(), or from a detached tensor?",
        )
    if len(pairs) == 1:
        output, weight = pairs[0]
        if create_graph:
            return output._node, weight if isinstance(weight, Tensor) else wrap(weight)
        return output._node, operand(weight)
    with enable_grad(), np.errstate(all="ignore"):  # the value of the sum is not used, only its graph
        total = ops.sum(pairs[0][0] * pairs[0][1])
        for output, weight in pairs[1:]:
            total = total + ops.sum(output * weight)
    one = np.ones((), total.dtype)
    return total._node, wrap(one) if create_graph else one


def _returned(gradient: Any, tensor: Tensor) -> Tensor:
    """Return a gradient as a Tensor of its own memory and of the dtype of its input."""
    if gradient.dtype != tensor.dtype:
        gradient = cast_gradient(gradient, tensor.dtype)
    if isinstance(gradient, Tensor) and gradient._node is not None:
        return gradient
    # one without a graph may be a weight that the user passed
    array = gradient._data if isinstance(gradient, Tensor) else gradient
    copy = wrap(np.array(array))
    if state.recorder is not None:
        state.recorder.copied(copy, array)
    return copy
