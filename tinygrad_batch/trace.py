"""The Trace: one batch, recorded as plain data.

A `Trace` is what `tinygrad_batch.capture` leaves behind: every value and every step of one batch,
forward, backward and update, in the order they were computed. It holds no live buffer and needs no
Tensor; every picture, price and explanation is read from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Phase = Literal["forward", "backward", "update"]
Role = Literal["data", "parameter", "constant", "activation", "gradient"]

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Statistics:
    """Summary of a value at capture time, over its finite entries."""

    mean: float
    std: float
    min: float
    max: float
    norm: float
    nonfinite: int


@dataclass(frozen=True, slots=True)
class Value:
    """One array that the batch read or computed.

    Attributes
    ----------
    id : int
        Index of this value in ``trace.values``.
    name : str
        Display name, such as ``W1``, ``h1`` or ``dz1``; unique in the trace.
    role : {"data", "parameter", "constant", "activation", "gradient"}
    note : str
        What it is, in two words at most: ``weights``, ``bias``, ``input rows``, ``target values``.
    path : str
        Key in the model's state dict, for a parameter (``0.weight``); else empty.
    shape, dtype, nbytes
        Of the array.
    per_row : bool
        Whether its size grows with the rows of the batch.
    item : float or None
        The number itself, for a scalar activation (the loss).
    statistics : Statistics or None
    thumbnail : tuple of tuples of float, or None
        The value as a small table of at most 20 x 20 numbers, averaged down where it is larger.
    gradient_of : int or None
        For a gradient, the id of the value that it belongs to.
    """

    id: int
    name: str
    role: Role
    note: str
    path: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    per_row: bool = False
    item: float | None = None
    statistics: Statistics | None = None
    thumbnail: tuple[tuple[float, ...], ...] | None = None
    gradient_of: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What a step writes: a value and the formula that made it.

    ``formula`` is complete: ``h1 = tanh(z1)``, ``dz1 = dh1 * (1 - h1²)``, ``dh0 += dm1 @ W1ᵀ`` where
    it adds to a gradient that is already there, ``W1 ← W1 − 0.05 dW1`` for an update.
    """

    value: int
    formula: str


@dataclass(frozen=True, slots=True)
class Step:
    """One numbered step of the batch.

    Attributes
    ----------
    number : int
        1, 2, 3, ... in execution order over all phases.
    phase : {"forward", "backward", "update"}
    op : str
        Name of the operation in the table; for an update, of the optimiser.
    inputs : tuple of int
        Ids of the values it reads: the operands (forward), the incoming gradient (backward), the
        gradients (update).
    results : tuple of Result
        One for a forward step; for a backward step one for each operand that needs a gradient; for
        an update one for each parameter.
    keeps : tuple of int
        Ids of the values a forward step keeps for its backward step. Empty otherwise.
    module : str
        Path of the layer it ran in (``0``, ``encoder.3``), empty outside any layer.
    forward : int or None
        For a backward step, the number of the forward step it mirrors.
    flops : int
        Floating-point operations, a multiply-add counted as two.
    """

    number: int
    phase: Phase
    op: str
    inputs: tuple[int, ...]
    results: tuple[Result, ...]
    keeps: tuple[int, ...] = ()
    module: str = ""
    forward: int | None = None
    flops: int = 0


@dataclass(frozen=True, slots=True)
class Layer:
    """A module that ran during the batch."""

    path: str
    kind: str  # class name: "Linear"
    label: str  # "Linear(10 → 15)"


_shown: list[Callable[[Trace], dict[str, str]]] = []


def shown_by(show: Callable[[Trace], dict[str, str]]) -> Callable[[Trace], dict[str, str]]:
    """Declare the function that makes what a notebook shows of a Trace; a Trace itself cannot draw."""
    _shown[:] = [show]
    return show


@dataclass(slots=True)
class Trace:
    """One batch of training as plain data: values, steps and the layers they ran in.

    Attributes
    ----------
    values : tuple of Value
        ``values[i].id == i``.
    steps : tuple of Step
        ``steps[i].number == i + 1``.
    layers : tuple of Layer
        Every module that ran, outermost first.
    rows : int or None
        Rows of the batch: the length of the first data value; None where there is none.
    """

    values: tuple[Value, ...] = ()
    steps: tuple[Step, ...] = ()
    layers: tuple[Layer, ...] = ()
    rows: int | None = None

    def phase(self, phase: Phase) -> tuple[Step, ...]:
        """Return the steps of one phase, in order."""
        return tuple(step for step in self.steps if step.phase == phase)

    @property
    def loss(self) -> Value | None:
        """The scalar that the backward pass started from, or None before a backward pass."""
        for step in self.steps:
            if step.phase == "backward" and step.forward is not None:
                return self.values[self.steps[step.forward - 1].results[0].value]
        return None

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return _shown[0](self) if _shown else {"text/plain": f"<Trace: {len(self.steps)} steps>"}

    def to_dict(self) -> dict[str, Any]:
        """Return the trace as JSON-ready dicts, lists, numbers and strings."""
        return {"schema": SCHEMA, **asdict(self)}
