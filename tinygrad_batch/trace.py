"""The Trace: one batch, recorded as plain data.

A `Trace` is what `tinygrad_batch.capture` leaves behind: every value and every step of one batch,
forward, backward and update, in the order they were computed. It holds no live buffer and needs no
Tensor; every picture, price and explanation is read from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from .errors import DataError
from .program import Program

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
        Display name, such as ``W1``, ``h1`` or ``dz1``; unique in the trace. Gradients of a second
        backward pass are ``dz1₂``.
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
        The number itself, for an activation (the loss) or a constant of one element.
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


@dataclass(slots=True, repr=False)  # the numbers in it would fill a screen
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
    program : Program or None
        The same batch as something that can run; None where it cannot be told without its elements (a
        hook, a graph made before the capture), and after a way through JSON.
    """

    values: tuple[Value, ...] = ()
    steps: tuple[Step, ...] = ()
    layers: tuple[Layer, ...] = ()
    rows: int | None = None
    program: Program | None = field(default=None, compare=False)

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

    def __repr__(self) -> str:
        phases: tuple[Phase, ...] = ("forward", "backward", "update")
        counts = [f"{len(self.phase(phase))} {phase}" for phase in phases]
        rows = f", {self.rows} row{'' if self.rows == 1 else 's'}" if self.rows is not None else ""
        return f"<Trace: steps {', '.join(counts)}{rows}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return _shown[0](self) if _shown else {"text/plain": repr(self)}

    def to_dict(self) -> dict[str, Any]:
        """Return the trace as dicts, lists, numbers and strings, ready for JSON.

        JSON knows only finite numbers, so the others are the strings ``"nan"``, ``"inf"`` and ``"-inf"``.
        """
        return {"schema": SCHEMA, **_plain(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Trace:
        """Return the trace that `to_dict` was called on, also after a way through JSON.

        Parameters
        ----------
        data : mapping
            What `to_dict` returned.

        Returns
        -------
        Trace
            Equal to the original.

        Raises
        ------
        DataError
            If ``data`` is not a trace, is of another schema, or does not hold together.

        Examples
        --------
        >>> import json
        >>> trace = Trace(rows=100)
        >>> Trace.from_dict(json.loads(json.dumps(trace.to_dict()))) == trace
        True
        """
        schema = data.get("schema") if isinstance(data, Mapping) else None
        if schema is None:
            raise DataError("this is no trace: it has no schema number", "Give what Trace.to_dict() returned")
        if schema != SCHEMA:
            raise DataError(f"this trace has schema {schema!r}, and this version reads schema {SCHEMA}")
        trace: Trace = _read(cls, {key: value for key, value in data.items() if key != "schema"}, "trace")
        _check(trace)
        return trace


def _plain(value: Any) -> Any:
    """Return dataclasses as dicts, tuples as lists, and numbers that are not finite as strings."""
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value) if f.compare}
    if isinstance(value, tuple):
        finite = all(type(item) is float and math.isfinite(item) for item in value)  # most are rows of a thumbnail
        return list(value) if finite else [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _read(kind: Any, data: Any, where: str) -> Any:
    """Return ``data`` as what the annotation ``kind`` says; ``where`` is for the error."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        if data in parts:
            return data
    elif origin in (Union, UnionType):  # something or None
        return None if data is None else _read(parts[0], data, where)
    elif origin is tuple:
        if isinstance(data, (list, tuple)):
            if parts[0] is float and all(type(item) is float for item in data):
                return tuple(data)
            return tuple([_read(parts[0], item, f"{where}[{i}]") for i, item in enumerate(data)])
    elif is_dataclass(kind) and isinstance(kind, type):
        if isinstance(data, Mapping):
            hints = _hints(kind)
            needed = {f.name for f in fields(kind) if f.default is MISSING}
            missing, unknown = needed - data.keys(), data.keys() - hints.keys()
            if missing or unknown:
                what = [f"lacks {name}" for name in sorted(missing)] + [f"has an unknown {name!r}" for name in unknown]
                raise DataError(f"this is no trace: {where} {', '.join(what)}")
            return kind(**{key: _read(hints[key], value, f"{where}.{key}") for key, value in data.items()})
    elif kind is float:
        if (isinstance(data, (int, float)) and not isinstance(data, bool)) or data in ("nan", "inf", "-inf"):
            return float(data)
    elif type(data) is kind:
        return data
    raise DataError(f"this is no trace: {where} is {data!r:.60}, not {getattr(kind, '__name__', kind)}")


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _check(trace: Trace) -> None:
    """Raise DataError unless every number in a trace refers to something that is there."""
    values, steps = len(trace.values), len(trace.steps)
    for i, value in enumerate(trace.values):
        if value.id != i:
            raise DataError(f"this is no trace: value {i} has id {value.id}")
        if value.gradient_of is not None and not 0 <= value.gradient_of < values:
            raise DataError(f"this is no trace: value {i} is the gradient of a value that there is not")
    for number, step in enumerate(trace.steps, 1):
        if step.number != number:
            raise DataError(f"this is no trace: step {number} has number {step.number}")
        ids = (*step.inputs, *step.keeps, *(result.value for result in step.results))
        if not all(0 <= id < values for id in ids):
            raise DataError(f"this is no trace: step {number} refers to a value that there is not")
        if step.forward is not None and not 1 <= step.forward <= steps:
            raise DataError(f"this is no trace: step {number} mirrors step {step.forward}, of {steps}")
