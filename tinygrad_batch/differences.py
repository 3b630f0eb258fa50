"""Finite differences against the backward pass: how a gradient check is done, and what it reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .creation import generator
from .errors import ArgumentError, DtypeError, GradcheckError
from .state import enable_grad
from .tensor import Tensor
from .transforms import grad

Function = Callable[..., Any]

# Inputs up to ELEMENTS elements are moved one element at a time, larger ones at SAMPLES random
# elements and along a random direction; the Jacobian is compared entry by entry up to ENTRIES.
ELEMENTS = 512
SAMPLES = 48
ENTRIES = 4096
LISTED = 5
RTOL, ATOL = 1e-5, 1e-7


@dataclass(frozen=True)
class Mismatch:
    """One derivative on which the backward pass and the finite difference disagree.

    Attributes
    ----------
    name : str
        The input or parameter.
    element : tuple of int, or None
        Which of its elements; None along a random direction through all of them.
    output : str
        Which element of the output, or a random weighting of all outputs.
    analytic, numeric : float
        What the backward pass gives, and the finite difference.
    error : float
        How far the two are apart.
    allowed : float
        How far they may be apart.
    """

    name: str
    element: tuple[int, ...] | None
    output: str
    analytic: float
    numeric: float
    error: float
    allowed: float

    def __str__(self) -> str:
        if self.element is None:
            place = f"{self.name}, along a random direction"
        else:
            place = f"{self.name}{list(self.element)}" if self.element else self.name
        return (
            f"d {self.output} / d {place}: the backward pass gives {self.analytic:.8g}, finite differences "
            f"{self.numeric:.8g}; they differ by {self.error:.3g}, allowed are {self.allowed:.3g}"
        )


@dataclass(frozen=True)
class InputReport:
    """What was compared for one input or parameter.

    Attributes
    ----------
    name : str
    shape : tuple of int
    compared : int
        How many derivatives.
    wrong : int
        How many of them disagree.
    max_error : float
        The largest difference, relative to the derivative where that is above 1.
    reached : bool
        Whether the backward pass came by at all.
    """

    name: str
    shape: tuple[int, ...]
    compared: int
    wrong: int
    max_error: float
    reached: bool


@dataclass(frozen=True)
class GradcheckReport:
    """The result of a gradient check; true if everything agrees.

    Attributes
    ----------
    order : int
        1 for `gradcheck`, 2 for `gradgradcheck`.
    inputs : tuple of InputReport
        One for each input and parameter that requires grad.
    mismatches : tuple of Mismatch
        The worst first.
    """

    order: int
    inputs: tuple[InputReport, ...]
    mismatches: tuple[Mismatch, ...]

    @property
    def ok(self) -> bool:
        """Whether no derivative disagrees."""
        return not self.mismatches

    @property
    def compared(self) -> int:
        """How many derivatives were compared."""
        return sum(report.compared for report in self.inputs)

    @property
    def max_error(self) -> float:
        """The largest difference, relative to the derivative where that is above 1."""
        return max((report.max_error for report in self.inputs), default=0.0)

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        order = {1: "gradients", 2: "second derivatives"}[self.order]
        if self.ok:
            return f"{self.compared} {order} agree with finite differences; the largest error is {self.max_error:.2g}"
        lines = [f"{len(self.mismatches)} of {self.compared} {order} disagree with finite differences"]
        for report in self.inputs:
            if report.wrong:
                note = (
                    "" if report.reached else "; no gradient reached it: was something detached, or made a NumPy array?"
                )
                lines.append(f"  {report.name}: {report.wrong} of {report.compared}{note}")
        lines += [f"  {mismatch}" for mismatch in self.mismatches[:LISTED]]
        if len(self.mismatches) > LISTED:
            lines.append(f"  ... and {len(self.mismatches) - LISTED} more")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain dicts, lists and numbers."""
        return {"ok": self.ok, "compared": self.compared, "max_error": self.max_error, **asdict(self)}


@dataclass(frozen=True)
class Tolerances:
    """How far an element is moved, and how far the two derivatives may be apart."""

    eps: float | None = None
    rtol: float | None = None
    atol: float | None = None

    def __post_init__(self) -> None:
        for name in ("eps", "rtol", "atol"):
            value = getattr(self, name)
            if value is not None and not (0 <= value < np.inf and (value > 0 or name != "eps")):
                raise ArgumentError(f"{name} is {value!r}; expected a positive number")

    def allowed(self, analytic: float, numeric: float) -> float:
        """Return how far two values may be apart."""
        rtol, atol = RTOL if self.rtol is None else self.rtol, ATOL if self.atol is None else self.atol
        return atol + rtol * max(abs(analytic), abs(numeric))


class Problem:
    """A function, the arrays that it is differentiated with respect to, and the weights of its outputs."""

    def __init__(
        self,
        function: Function,
        inputs: Sequence[Any],
        parameters: Sequence[tuple[str, Tensor]],
        tolerances: Tolerances,
        rng: np.random.Generator | int | None,
        labels: Sequence[str] = (),
        owner: Any = None,
    ) -> None:
        self.function = function
        self.owner: Any = function if owner is None else owner  # whose buffers a call may change
        self.tolerances = tolerances
        self.rng = generator(rng)
        self.parameters = parameters
        self.arguments = [copied(value) for value in inputs]
        plain = len(inputs) - len(labels)
        names = [input_name(i, value) if i < plain else labels[i - plain] for i, value in enumerate(inputs)]
        self.moved = [
            (name, value)
            for name, value in zip(names, self.arguments, strict=True)
            if isinstance(value, Tensor) and value.requires_grad
        ]
        self.moved += [(f"parameter {name}", tensor) for name, tensor in parameters]
        if not self.moved:
            raise ArgumentError(
                "there is nothing to check: no input or parameter requires grad",
                "Make the inputs with requires_grad=True",
            )
        # dropout and the like draw the same numbers at every evaluation, and none for the caller
        self.random = generator().bit_generator
        self.random_state = self.random.state
        with self.undisturbed():
            self.outputs = self.call()
            again = self.call()
        self.output_names = ["output"] if len(self.outputs) == 1 else [f"output {i}" for i in range(len(self.outputs))]
        self._check_dtypes()
        for name, tensor in self.moved:
            if not np.isfinite(tensor._data).all():
                raise ArgumentError(f"{name} has elements that are not finite, where no difference can be taken")
        for out, repeated in zip(self.outputs, again, strict=True):
            if out.shape != repeated.shape or not np.array_equal(out._data, repeated._data, equal_nan=True):
                raise GradcheckError(
                    "the function gives different outputs for the same inputs, so differences mean nothing",
                    "Seed what it draws, or switch the model to .eval()",
                )

    def _check_dtypes(self) -> None:
        """Refuse what has no derivative, and what is too coarse for the default tolerances."""
        everything = [*self.moved, *zip(self.output_names, self.outputs, strict=True)]
        for name, tensor in everything:
            if tensor.dtype.kind != "f":
                raise DtypeError(f"{name} has dtype {tensor.dtype}, and only floating ones are checked")
        coarse = [(name, t.dtype) for name, t in everything if np.finfo(t.dtype).eps > np.finfo(np.float64).eps]
        if coarse and (self.tolerances.rtol is None or self.tolerances.atol is None):
            name, dtype = coarse[0]
            raise DtypeError(
                f"{name} has dtype {dtype}, in which finite differences are too coarse to prove much",
                "Check in float64, or say with rtol and atol what to expect",
            )
        self.eps = self.tolerances.eps or float(max(np.finfo(t.dtype).eps for _, t in everything) ** (1 / 3))

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Leave parameters, buffers and the random generator as they are found."""
        before = self.owner.state_dict() if hasattr(self.owner, "state_dict") else {}
        arrays = [tensor._data for _, tensor in self.parameters]
        for _, tensor in self.parameters:
            tensor._data = tensor._data.copy()
        try:
            yield
        finally:
            for (_, tensor), array in zip(self.parameters, arrays, strict=True):
                tensor._data = array
            self.random.state = self.random_state
            if before:
                after = self.owner.state_dict()
                changed = {k: v for k, v in before.items() if not np.array_equal(v, after[k], equal_nan=True)}
                if changed:
                    self.owner.load_state_dict(changed, strict=False)

    def call(self) -> list[Tensor]:
        """Return the outputs, as a list."""
        self.random.state = self.random_state
        with enable_grad():
            return outputs_of(self.function(*self.arguments))

    def values(self) -> np.ndarray:
        """Return all elements of all outputs, one after the other, in float64."""
        return np.concatenate([np.ravel(out._data).astype(np.float64) for out in self.call()])

    def check(self, order: int, raise_exception: bool) -> GradcheckReport:
        """Compare everything, and say what was found."""
        with self.undisturbed():
            self._prepare()
            notes = [Notes(name, tensor.shape, self.tolerances) for name, tensor in self.moved]
            for place, note in enumerate(notes):
                note.reached = self.reached[place]
                self._check_input(place, note)
        mismatches = sorted(
            (m for n in notes for m in n.mismatches), key=lambda m: -np.inf if m.error != m.error else -m.error
        )
        report = GradcheckReport(order, tuple(note.report() for note in notes), tuple(mismatches))
        if raise_exception and not report.ok:
            raise GradcheckError(str(report))
        return report

    def _prepare(self) -> None:
        """Compute what the backward pass says: weighted, and if there are few entries, the Jacobian."""
        outputs = self.call()
        self.sizes = [out.size for out in outputs]
        count, elements = sum(self.sizes), sum(tensor.size for _, tensor in self.moved)
        self.weights, self.weighted_name = np.ones(1), self.output_names[0]
        if count != 1:
            self.weights = self.rng.uniform(0.5, 1.5, count) * self.rng.choice([-1.0, 1.0], count)
            self.weighted_name = "the weighted outputs"
        self.reached = [False] * len(self.moved)
        self.weighted = self._backward(outputs, self.weights)
        self.jacobian: list[np.ndarray] | None = None
        if count > 1 and count * elements <= ENTRIES:
            rows = [self._backward(outputs, np.eye(1, count, k)[0]) for k in range(count)]
            self.jacobian = [np.stack([row[i] for row in rows]) for i in range(len(self.moved))]

    def _backward(self, outputs: list[Tensor], weights: np.ndarray) -> list[np.ndarray]:
        """Return the gradient of the weighted outputs for each array that is moved; zeros where none comes."""
        pieces = np.split(weights, np.cumsum(self.sizes)[:-1])
        pairs = [
            (out, piece.reshape(out.shape).astype(out.dtype))
            for out, piece in zip(outputs, pieces, strict=True)
            if out.requires_grad
        ]
        tensors = [tensor for _, tensor in self.moved]
        found: Sequence[Tensor | None] = [None] * len(tensors)
        if pairs:
            found = grad(
                [out for out, _ in pairs], tensors, [w for _, w in pairs], retain_graph=True, allow_unused=True
            )
        for place, (gradient, (name, tensor)) in enumerate(zip(found, self.moved, strict=True)):
            if gradient is None:
                continue
            self.reached[place] = True
            if gradient.shape != tensor.shape or gradient.dtype != tensor.dtype:
                raise GradcheckError(
                    f"the gradient of {name} has shape {gradient.shape} and dtype {gradient.dtype}, "
                    f"not {tensor.shape} and {tensor.dtype}"
                )
        return [
            np.zeros(tensor.shape) if gradient is None else gradient._data.astype(np.float64)
            for gradient, tensor in zip(found, tensors, strict=True)
        ]

    def _check_input(self, place: int, note: Notes) -> None:
        """Compare all derivatives with respect to one array, or enough of them."""
        array, gradient = self.moved[place][1]._data, self.weighted[place]
        if array.size <= ELEMENTS:
            for element in np.ndindex(array.shape):
                self._check_element(place, element, note)
            return
        everything = np.arange(array.size)
        if not note.agree(None, self.weighted_name, *self._along(place, everything)):
            self._search(place, everything, note)
        for flat in self.rng.choice(array.size, SAMPLES, replace=False):
            element = tuple(int(i) for i in np.unravel_index(flat, array.shape))
            note.compare(
                element,
                self.weighted_name,
                float(gradient[element]),
                float(self._moved_by(place, element) @ self.weights),
            )

    def _check_element(self, place: int, element: tuple[int, ...], note: Notes) -> None:
        column = self._moved_by(place, element)
        note.compare(element, self.weighted_name, self.weighted[place][element], float(column @ self.weights))
        if self.jacobian is not None:
            shapes = [out.shape for out in self.outputs]
            names = (
                f"{name}{list(map(int, index)) if index else ''}"
                for name, shape in zip(self.output_names, shapes, strict=True)
                for index in np.ndindex(shape)
            )
            for row, numeric, name in zip(self.jacobian[place], column, names, strict=True):
                note.compare(element, name, row[element], float(numeric))

    def _moved_by(self, place: int, element: tuple[int, ...]) -> np.ndarray:
        """Return the change of all outputs for a change of one element."""
        array = self.moved[place][1]._data
        value = array[element]
        step = self.eps * max(1.0, abs(float(value)))
        try:
            array[element] = value + step
            above, up = float(array[element]), self.values()
            array[element] = value - step
            below, down = float(array[element]), self.values()
        finally:
            array[element] = value
        return (up - down) / (above - below)

    def _along(self, place: int, chosen: np.ndarray) -> tuple[float, float]:
        """Return what both say about the weighted outputs along a random direction through some elements."""
        array, gradient = self.moved[place][1]._data, self.weighted[place]
        flat = np.zeros(array.size)
        flat[chosen] = self.rng.uniform(0.5, 1.5, chosen.size) * self.rng.choice([-1.0, 1.0], chosen.size)
        direction = (flat / np.linalg.norm(flat)).reshape(array.shape)
        before = array.copy()
        step = self.eps * max(1.0, float(np.abs(before).max()))
        try:
            array[...] = before + step * direction
            above, up = array.astype(np.float64), self.values()
            array[...] = before - step * direction
            below, down = array.astype(np.float64), self.values()
        finally:
            array[...] = before
        moved = (above - below) / (2 * step)
        return float(np.vdot(gradient, moved)), float((up - down) @ self.weights / (2 * step))

    def _search(self, place: int, chosen: np.ndarray, note: Notes) -> None:
        """Halve the elements until the one is left whose derivative is most wrong."""
        while chosen.size > 1:
            halves = chosen[: chosen.size // 2], chosen[chosen.size // 2 :]
            apart = [abs(np.subtract(*self._along(place, half))) for half in halves]
            chosen = halves[0] if not apart[0] <= apart[1] else halves[1]
        element = tuple(int(i) for i in np.unravel_index(int(chosen[0]), self.moved[place][1].shape))
        analytic, numeric = self.weighted[place][element], float(self._moved_by(place, element) @ self.weights)
        if not note.compare(element, self.weighted_name, analytic, numeric):
            return
        note.compare(None, self.weighted_name, *self._along(place, np.arange(self.moved[place][1].size)))


class Notes:
    """What is found out about one input while it is compared."""

    def __init__(self, name: str, shape: tuple[int, ...], tolerances: Tolerances) -> None:
        self.name = name
        self.shape = shape
        self.tolerances = tolerances
        self.reached = False
        self.compared = 0
        self.max_error = 0.0
        self.mismatches: list[Mismatch] = []

    def agree(self, element: tuple[int, ...] | None, output: str, analytic: float, numeric: float) -> bool:
        """Note that two values were compared; return whether they agree."""
        error = abs(analytic - numeric)
        relative = error / max(1.0, abs(analytic), abs(numeric))
        self.compared += 1
        self.max_error = max(self.max_error, relative if relative == relative else np.inf)
        return bool(error <= self.tolerances.allowed(analytic, numeric))  # a NaN never agrees

    def compare(self, element: tuple[int, ...] | None, output: str, analytic: float, numeric: float) -> bool:
        """Do that, and note a disagreement."""
        analytic = float(analytic)
        agreed = self.agree(element, output, analytic, numeric)
        if not agreed:
            allowed = self.tolerances.allowed(analytic, numeric)
            self.mismatches.append(
                Mismatch(self.name, element, output, analytic, numeric, abs(analytic - numeric), allowed)
            )
        return agreed

    def report(self) -> InputReport:
        """Return what was found, for good."""
        return InputReport(self.name, self.shape, self.compared, len(self.mismatches), self.max_error, self.reached)


def copied(value: Any) -> Any:
    """Return a leaf with a copy of a Tensor that requires grad, so that the caller's is never changed."""
    if isinstance(value, Tensor) and value.requires_grad:
        return Tensor(value._data.copy(), requires_grad=True, name=value.name)
    return value


def input_name(position: int, value: Any) -> str:
    """Return what an input is called in a report."""
    name = value.name if isinstance(value, Tensor) else None
    return f"input {position} ({name})" if name else f"input {position}"


def outputs_of(result: Any) -> list[Tensor]:
    """Return what a function gave back as a list of Tensors."""
    listed = list(result) if isinstance(result, (list, tuple)) else [result]
    for value in listed:
        if not isinstance(value, Tensor):
            raise ArgumentError(
                f"the function returned {type(value).__name__}, which carries no gradient",
                "Return Tensors and nothing else",
            )
    if not listed:
        raise ArgumentError("the function returned nothing")
    return listed
