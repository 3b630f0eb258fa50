"""Gradient checks: derivatives compared with central differences, element by element.

A backward pass is right if it agrees with what happens when an input is moved a little. `gradcheck`
compares the two for a function or a model, `gradgradcheck` does so for the derivative of the
derivative, and `check_table` for every operation of the package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .creation import generator
from .errors import ArgumentError, DtypeError, GradcheckError
from .op import TABLE, Case, Op
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


def gradcheck(
    function: Any,
    inputs: Any,
    *,
    eps: float | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    rng: np.random.Generator | int | None = 0,
    raise_exception: bool = True,
) -> GradcheckReport:
    """Compare the backward pass of ``function`` with central finite differences.

    Each element of each input is moved up and down a little; the change of the outputs, weighted at
    random, must be what the backward pass says, and for small functions so must every entry of the
    Jacobian. An input of more than 512 elements is moved along a random direction and at random
    elements; where the direction disagrees, the element that is wrong is searched for.

    Parameters
    ----------
    function : callable
        Takes the inputs, returns a Tensor or several. A model (anything with ``named_parameters()``)
        is checked for its parameters as well.
    inputs : Tensor or sequence
        Tensors with ``requires_grad=True`` are checked, and never changed; anything else is passed on.
    eps : float, optional
        How far an element is moved, times its size where that is above 1; by default the cube root
        of the precision, 6e-6 in float64, where rounding and curvature disturb least.
    rtol, atol : float, optional
        A difference up to ``atol + rtol * max(abs(analytic), abs(numeric))`` is allowed; 1e-5 and 1e-7.
    rng : numpy.random.Generator or int, optional
        For the random weights.
    raise_exception : bool
        Raise on a disagreement; otherwise look at ``report.ok``.

    Returns
    -------
    GradcheckReport

    Raises
    ------
    GradcheckError
        If a derivative disagrees, saying which element of which input and by how much, or if the
        function is not deterministic.
    ArgumentError
        If there is nothing to check: no input or parameter requires grad.
    DtypeError
        For outputs that are integers, and for a precision below float64 unless tolerances are given.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> from tinygrad_batch.checks import gradcheck
    >>> x = tb.tensor([0.5, -1.5], requires_grad=True)
    >>> gradcheck(lambda x: (x * x).sum(), x).ok
    True
    >>> report = gradcheck(lambda x: x * x.detach(), x, raise_exception=False)
    >>> report.ok, report.mismatches[0].name, report.mismatches[0].element
    (False, 'input 0', (1,))
    """
    problem = _Problem(function, _as_list(inputs), _parameters(function), Tolerances(eps, rtol, atol), rng)
    return problem.check(1, raise_exception)


def gradgradcheck(
    function: Any,
    inputs: Any,
    *,
    eps: float | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    rng: np.random.Generator | int | None = 0,
    raise_exception: bool = True,
) -> GradcheckReport:
    """Compare the second derivatives of ``function`` with finite differences of its gradients.

    The gradients with respect to the inputs, for random weights of the outputs, are themselves a
    function of the inputs and of those weights; this function goes through `gradcheck`. Whether the
    gradients themselves are right is not looked at: run `gradcheck` first.

    Parameters
    ----------
    function, inputs, eps, rtol, atol, rng, raise_exception
        As for `gradcheck`.

    Returns
    -------
    GradcheckReport

    Raises
    ------
    GradcheckError, ArgumentError, DtypeError
        As for `gradcheck`.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> from tinygrad_batch.checks import gradgradcheck
    >>> x = tb.tensor([0.5, -1.5], requires_grad=True)
    >>> gradgradcheck(lambda x: x.tanh().sum(), x).ok
    True
    """
    arguments, parameters = _as_list(inputs), _parameters(function)
    first = _Problem(function, arguments, parameters, Tolerances(eps, rtol, atol), rng)
    weights = [Tensor(first.rng.standard_normal(out.shape).astype(out.dtype), True) for out in first.outputs]
    gradients = _gradients(function, len(arguments), [tensor for _, tensor in parameters])
    labels = [f"the weight of {what}" for what in first.output_names]
    tolerances = Tolerances(eps, rtol, atol)
    second = _Problem(gradients, [*arguments, *weights], parameters, tolerances, first.rng, labels, function)
    second.output_names = [f"d outputs / d {name}" for name, _ in first.moved]
    return second.check(2, raise_exception)


def gradcheck_model(
    model: Any,
    loss_fn: Function | None,
    batch: Any,
    *,
    order: int = 1,
    eps: float | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    rng: np.random.Generator | int | None = 0,
    raise_exception: bool = True,
) -> GradcheckReport:
    """Compare the gradients of a model's loss on one batch with finite differences.

    Every parameter that requires grad is checked. Parameters, buffers and the package's random
    generator are afterwards what they were before; dropout drops the same elements at every evaluation.

    Parameters
    ----------
    model : Module
        Anything callable that has ``named_parameters()``.
    loss_fn : callable, or None
        Called as ``loss_fn(model(x), y)``, or ``loss_fn(model(x))`` for a batch without targets; None
        takes what the model returns.
    batch : tuple or Tensor
        ``(x, y)``, or x alone.
    order : {1, 2}
        2 checks the second derivatives instead.
    eps, rtol, atol, rng, raise_exception
        As for `gradcheck`.

    Returns
    -------
    GradcheckReport

    Raises
    ------
    GradcheckError, ArgumentError, DtypeError
        As for `gradcheck`.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> from tinygrad_batch import nn
    >>> from tinygrad_batch.checks import gradcheck_model
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    >>> batch = tb.randn(5, 3, rng=0), tb.zeros(5, 1)
    >>> gradcheck_model(model, nn.MSELoss(), batch).ok
    True
    """
    if not hasattr(model, "named_parameters"):
        raise ArgumentError(f"a {type(model).__name__} is no model: it has no named_parameters()", "Use gradcheck")
    if order not in (1, 2):
        raise ArgumentError(f"the order of a gradient check is 1 or 2, not {order!r}")
    x, *targets = batch if isinstance(batch, (tuple, list)) else (batch,)
    check = gradcheck if order == 1 else gradgradcheck
    loss = _Loss(model, loss_fn, targets)
    return check(loss, x, eps=eps, rtol=rtol, atol=atol, rng=rng, raise_exception=raise_exception)


# --- how a check is done ---------------------------------------------------------------------------
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


class _Loss:
    """A model with its loss as one function of the inputs, known by the parameters of the model."""

    def __init__(self, model: Any, loss_fn: Function | None, targets: Sequence[Any]) -> None:
        self.model = model
        self.loss_fn = loss_fn
        self.targets = targets

    def __call__(self, x: Any) -> Any:
        out = self.model(x)
        return out if self.loss_fn is None else self.loss_fn(out, *self.targets)

    def named_parameters(self) -> Any:
        return self.model.named_parameters()

    def state_dict(self) -> Any:
        return self.model.state_dict() if hasattr(self.model, "state_dict") else {}

    def load_state_dict(self, values: Any, strict: bool = True) -> None:
        self.model.load_state_dict(values, strict=strict)


def _gradients(function: Function, count: int, parameters: list[Tensor]) -> Function:
    """Return the gradients of ``function`` as a function of its inputs and the weights of its outputs."""

    def gradients(*given: Any) -> list[Tensor]:
        arguments, weights = given[:count], given[count:]
        pairs = [
            (out, weight)
            for out, weight in zip(_outputs(function(*arguments)), weights, strict=True)
            if out.requires_grad
        ]
        moved = [a for a in arguments if isinstance(a, Tensor) and a.requires_grad] + parameters
        found: Sequence[Tensor | None] = [None] * len(moved)
        if pairs:
            found = grad([out for out, _ in pairs], moved, [w for _, w in pairs], create_graph=True, allow_unused=True)
        return [Tensor(np.zeros(t.shape, t.dtype)) if g is None else g for g, t in zip(found, moved, strict=True)]

    return gradients


class _Problem:
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
        self.arguments = [_copied(value) for value in inputs]
        plain = len(inputs) - len(labels)
        names = [_input_name(i, value) if i < plain else labels[i - plain] for i, value in enumerate(inputs)]
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
            return _outputs(self.function(*self.arguments))

    def values(self) -> np.ndarray:
        """Return all elements of all outputs, one after the other, in float64."""
        return np.concatenate([np.ravel(out._data).astype(np.float64) for out in self.call()])

    def check(self, order: int, raise_exception: bool) -> GradcheckReport:
        """Compare everything, and say what was found."""
        with self.undisturbed():
            self._prepare()
            notes = [_Notes(name, tensor.shape, self.tolerances) for name, tensor in self.moved]
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

    def _check_input(self, place: int, note: _Notes) -> None:
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

    def _check_element(self, place: int, element: tuple[int, ...], note: _Notes) -> None:
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

    def _search(self, place: int, chosen: np.ndarray, note: _Notes) -> None:
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


class _Notes:
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


def _as_list(inputs: Any) -> list[Any]:
    return list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]


def _parameters(function: Any) -> list[tuple[str, Tensor]]:
    """Return the parameters that require grad of a model; none for a plain function."""
    if not callable(function):
        raise ArgumentError(f"a gradient check takes a function or a model, not {type(function).__name__}")
    if not hasattr(function, "named_parameters"):
        return []
    return [(name, tensor) for name, tensor in function.named_parameters() if tensor.requires_grad]


def _copied(value: Any) -> Any:
    """Return a leaf with a copy of a Tensor that requires grad, so that the caller's is never changed."""
    if isinstance(value, Tensor) and value.requires_grad:
        return Tensor(value._data.copy(), requires_grad=True, name=value.name)
    return value


def _input_name(position: int, value: Any) -> str:
    name = value.name if isinstance(value, Tensor) else None
    return f"input {position} ({name})" if name else f"input {position}"


def _outputs(result: Any) -> list[Tensor]:
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


# --- every operation of the table --------------------------------------------------------------------
@dataclass(frozen=True)
class OpReport:
    """The check of one operation, over all its cases.

    Attributes
    ----------
    name : str
    cases : int
    compared : int
        How many derivatives of first and second order.
    differentiable : bool
        Whether it has a derivative rule at all.
    first, second : float or None
        The largest error in the first and second derivatives; None where it has no rule.
    ok : bool
    problem : str
        What is wrong, or nothing.
    """

    name: str
    cases: int
    compared: int
    differentiable: bool
    first: float | None
    second: float | None
    ok: bool
    problem: str = ""

    def __bool__(self) -> bool:
        return self.ok

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a dict of plain values."""
        return asdict(self)


def check_op(
    entry: Any,
    *,
    eps: float | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    rng: np.random.Generator | int | None = 0,
) -> OpReport:
    """Check the first and second derivatives of one operation on all its cases.

    Parameters
    ----------
    entry : Op, str or function
        An entry of the table, its name, or the function made by `tinygrad_batch.op`.
    eps, rtol, atol, rng
        As for `gradcheck`.

    Returns
    -------
    OpReport

    Raises
    ------
    ArgumentError
        If there is no such operation.

    Examples
    --------
    >>> from tinygrad_batch.checks import check_op
    >>> report = check_op("tanh")
    >>> report.ok, report.cases, report.first < 1e-8
    (True, 4, True)
    """
    found = TABLE.get(entry) if isinstance(entry, str) else getattr(entry, "op", entry)
    if not isinstance(found, Op):
        raise ArgumentError(f"there is no operation {entry!r}", f"There are {', '.join(sorted(TABLE))}")
    draw, compared, problem = generator(rng), 0, ""
    errors: list[float | None] = [None, None]
    for number, case in enumerate(found.cases):
        function, inputs = _case_function(found, case), case_inputs(found, case, draw)
        try:
            if not found.differentiable:
                if any(out.requires_grad for out in _outputs(function(*inputs))):
                    problem = problem or f"case {number}: has no rule, but its result requires grad"
                continue
            for order, check in enumerate((gradcheck, gradgradcheck)):
                report = check(function, inputs, eps=eps, rtol=rtol, atol=atol, rng=draw, raise_exception=False)
                errors[order] = max(errors[order] or 0.0, report.max_error)
                compared += report.compared
                problem = problem or ("" if report.ok else f"case {number}: {report}")
        except Exception as error:
            problem = problem or f"case {number}: {type(error).__name__}: {error}"
    differentiable = bool(found.differentiable)
    if differentiable and not problem and not compared:
        problem = "none of its cases has anything to compare"
    return OpReport(found.name, len(found.cases), compared, differentiable, errors[0], errors[1], not problem, problem)


def check_table(
    names: Sequence[str] | None = None,
    *,
    eps: float | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    rng: np.random.Generator | int | None = 0,
) -> list[OpReport]:
    """Check every operation of the table, or those that are named; see `check_op`.

    Returns
    -------
    list of OpReport
        In the order of the table.

    Examples
    --------
    >>> from tinygrad_batch.checks import check_table
    >>> [(report.name, report.ok) for report in check_table(["tanh", "matmul"])]
    [('tanh', True), ('matmul', True)]
    """
    draw = generator(rng)
    return [check_op(name, eps=eps, rtol=rtol, atol=atol, rng=draw) for name in (TABLE if names is None else names)]


def case_inputs(entry: Op, case: Case, rng: np.random.Generator, dtype: Any = np.float64) -> list[Tensor]:
    """Return random inputs for one case: those with a rule require grad, the others choose, true or false."""
    inputs = []
    for position, array in enumerate(case.inputs(rng, dtype)):
        ruled = entry.variadic or position in entry.differentiable
        inputs.append(Tensor(array if ruled or not entry.differentiable else array > np.mean(case.domain), ruled))
    return inputs


def _case_function(entry: Op, case: Case) -> Function:
    if entry.variadic:
        return lambda *arrays: entry.call(list(arrays), **case.options)
    return lambda *arrays: entry.call(*arrays, **case.options)
