"""Layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import functional as F
from .. import ops
from ..creation import asarray, generator
from ..errors import ArgumentError, ShapeError, TinygradBatchError
from ..graph import mark_changed
from ..ops.merged import affine
from ..state import state
from ..tensor import Tensor, get_default_dtype
from .functional import dropout, probability
from .init import Initialiser, Rng, lecun_uniform
from .module import Module, Parameter


class Linear(Module):
    """A fully connected layer: ``y = x @ weight + bias``.

    Parameters
    ----------
    inputs, outputs : int
        Numbers of features.
    bias : bool
        Whether to add a bias.
    init : callable, optional
        Makes the weight from its shape and ``rng``; see `tinygrad_batch.nn.init`. By default uniform
        within 1 / sqrt(inputs).
    rng : numpy.random.Generator or int, optional
        Where to draw from; by default the package's own generator.
    dtype : dtype, optional
        By default the default dtype.

    Attributes
    ----------
    weight : Tensor, shape (inputs, outputs)
    bias : Tensor, shape (outputs,), or None

    Raises
    ------
    ArgumentError
        If a number of features is not positive.
    ShapeError
        When called, if x is not of shape (..., inputs); or if ``init`` makes another shape.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> tb.nn.Linear(10, 15)(tb.ones(100, 10)).shape
    (100, 15)
    """

    bias: Tensor | None

    def __init__(
        self,
        inputs: int,
        outputs: int,
        bias: bool = True,
        *,
        init: Initialiser = lecun_uniform,
        rng: Rng = None,
        dtype: Any = None,
    ) -> None:
        if inputs < 1 or outputs < 1:
            raise ArgumentError(f"a layer needs 1 feature or more on either side, not {inputs} and {outputs}")
        rng = generator(rng)
        dtype = np.dtype(dtype or get_default_dtype())
        weight = np.asarray(init((inputs, outputs), rng=rng), dtype)
        if weight.shape != (inputs, outputs):
            raise ShapeError(f"init made a weight of shape {weight.shape}, not {(inputs, outputs)}")
        self.weight = Parameter(weight, "W")
        bound = 1 / np.sqrt(inputs)
        self.bias = Parameter(rng.uniform(-bound, bound, outputs).astype(dtype), "b") if bias else None

    def forward(self, x: Any) -> Any:
        """Return ``x @ weight + bias``."""
        if type(x) is not Tensor:
            x = asarray(x)
        if x._data.ndim == 2 and self.bias is not None:
            return affine(x, self.weight, self.bias)
        return F.linear(x, self.weight, self.bias)

    def label(self) -> str:
        """Return ``Linear(inputs → outputs)``."""
        return f"Linear({self.weight.shape[0]} → {self.weight.shape[1]})"


class Sequential(Module):
    """Layers one after the other.

    Parameters
    ----------
    *layers : Module

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> model = tb.nn.Sequential(tb.nn.Linear(10, 15), tb.nn.Tanh(), tb.nn.Linear(15, 1))
    >>> model(tb.ones(100, 10)).shape
    (100, 1)
    >>> [name for name, _ in model.named_parameters()]
    ['0.weight', '0.bias', '2.weight', '2.bias']
    """

    def __init__(self, *layers: Module) -> None:
        for i, layer in enumerate(layers):
            if not isinstance(layer, Module):
                raise ArgumentError(
                    f"layer {i} of a Sequential is a Module, not {layer!r}",
                    "Pass the layers one by one, as objects: Sequential(nn.Linear(10, 15), nn.Tanh())",
                )
        self._layers = list(layers)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the layers by number, then what a subclass has set."""
        yield from ((str(i), layer) for i, layer in enumerate(self._layers))
        for name, child in super().named_children():  # a subclass may have set more
            if not name.startswith("_layers."):
                yield name, child

    def forward(self, x: Any) -> Any:
        """Return what comes out of the last layer."""
        if state.recorder is not None:
            for layer in self._layers:
                x = layer(x)
            return x
        i = -1
        try:
            for i, layer in enumerate(self._layers):  # noqa: B007 (the number is for the error)
                x = layer.forward(x)
        except TinygradBatchError as error:
            error.add_note(f"in layer {i}, {self._layers[i]}")
            raise
        return x

    def append(self, layer: Module) -> Sequential:
        """Add a layer at the end; return the module."""
        self._layers.append(layer)
        mark_changed()
        return self

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._layers)

    def __getitem__(self, index: int) -> Module:
        return self._layers[index]


class Tanh(Module):
    """The hyperbolic tangent of each element."""

    def forward(self, x: Any) -> Any:
        """Return the hyperbolic tangents."""
        return ops.tanh(x)


class ReLU(Module):
    """Each element, with the negative ones replaced by 0."""

    def forward(self, x: Any) -> Any:
        """Return ``max(x, 0)``."""
        return ops.relu(x)


class Sigmoid(Module):
    """``1 / (1 + exp(-x))`` of each element."""

    def forward(self, x: Any) -> Any:
        """Return ``1 / (1 + exp(-x))``."""
        return ops.sigmoid(x)


class SiLU(Module):
    """``x * sigmoid(x)`` of each element."""

    def forward(self, x: Any) -> Any:
        """Return ``x * sigmoid(x)``."""
        return ops.silu(x)


class Softplus(Module):
    """``log(1 + exp(x))`` of each element."""

    def forward(self, x: Any) -> Any:
        """Return ``log(1 + exp(x))``."""
        return ops.softplus(x)


class GELU(Module):
    """Each element times the normal distribution function of it.

    Parameters
    ----------
    approximate : {"none", "tanh"}
        The exact function, or its tanh approximation.
    """

    def __init__(self, approximate: str = "none") -> None:
        if approximate not in ("none", "tanh"):
            raise ArgumentError(f"approximate is 'none' or 'tanh', not {approximate!r}")
        self.approximate = approximate

    def forward(self, x: Any) -> Any:
        """Return each element times the normal distribution function of it."""
        return ops.gelu(x) if self.approximate == "none" else F.gelu_tanh(x)


class Dropout(Module):
    """Each element replaced by 0 with probability ``p`` in training (Srivastava et al. 2014).

    What stays is divided by ``1 - p``, so that the mean stays what it was, and in evaluation nothing
    happens at all. A ``p`` of 1 gives zeros, as PyTorch's does.

    Parameters
    ----------
    p : float
        From 0 to 1.
    rng : numpy.random.Generator or int, optional
        Where to draw from; by default the package's own generator, which `tinygrad_batch.seed` starts
        afresh.

    Raises
    ------
    ArgumentError
        If ``p`` is no probability.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> layer = tb.nn.Dropout(0.5, rng=1)
    >>> layer(tb.ones(8))
    tensor([0., 0., 2., 0., 2., 2., 0., 2.])
    >>> layer.eval()(tb.ones(3))
    tensor([1., 1., 1.])
    """

    def __init__(self, p: float = 0.5, rng: Rng = None) -> None:
        self.p = probability(p)
        self.rng = None if rng is None else generator(rng)

    def forward(self, x: Any) -> Any:
        """Return ``x`` with some elements dropped, or as it is."""
        return dropout(x, self.p, self.training, self.rng)

    def label(self) -> str:
        """Return ``Dropout(p)``."""
        return f"Dropout({self.p:g})"


class Flatten(Module):
    """All axes but the first joined into one: a batch of images becomes a batch of rows."""

    def forward(self, x: Any) -> Any:
        """Return one row of numbers for each row of ``x``."""
        return F.flatten(x, start=1)


class Identity(Module):
    """What comes in goes out."""

    def forward(self, x: Any) -> Any:
        """Return ``x``."""
        return x
