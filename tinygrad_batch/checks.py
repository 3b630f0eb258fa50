"""Gradient checks: derivatives compared with central differences, element by element.

A backward pass is right if it agrees with what happens when an input is moved a little. `gradcheck`
compares the two for a function or a model, `gradgradcheck` does so for the derivative of the
derivative, and `check_table` for every operation of the package.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .creation import generator
from .differences import GradcheckReport, InputReport, Mismatch, Problem, Tolerances, outputs_of
from .errors import ArgumentError
from .op import TABLE, Case, Op
from .tensor import Tensor
from .transforms import grad

__all__ = [
    "GradcheckReport",
    "InputReport",
    "Mismatch",
    "OpReport",
    "check_op",
    "check_table",
    "gradcheck",
    "gradcheck_model",
    "gradgradcheck",
]

Function = Callable[..., Any]


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
    problem = Problem(function, _as_list(inputs), _parameters(function), Tolerances(eps, rtol, atol), rng)
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
    first = Problem(function, arguments, parameters, Tolerances(eps, rtol, atol), rng)
    weights = [Tensor(first.rng.standard_normal(out.shape).astype(out.dtype), True) for out in first.outputs]
    gradients = _gradients(function, len(arguments), [tensor for _, tensor in parameters])
    labels = [f"the weight of {what}" for what in first.output_names]
    tolerances = Tolerances(eps, rtol, atol)
    second = Problem(gradients, [*arguments, *weights], parameters, tolerances, first.rng, labels, function)
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


# --- what is checked --------------------------------------------------------------------------------
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
            for out, weight in zip(outputs_of(function(*arguments)), weights, strict=True)
            if out.requires_grad
        ]
        moved = [a for a in arguments if isinstance(a, Tensor) and a.requires_grad] + parameters
        found: Sequence[Tensor | None] = [None] * len(moved)
        if pairs:
            found = grad([out for out, _ in pairs], moved, [w for _, w in pairs], create_graph=True, allow_unused=True)
        return [Tensor(np.zeros(t.shape, t.dtype)) if g is None else g for g, t in zip(found, moved, strict=True)]

    return gradients


def _as_list(inputs: Any) -> list[Any]:
    return list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]


def _parameters(function: Any) -> list[tuple[str, Tensor]]:
    """Return the parameters that require grad of a model; none for a plain function."""
    if not callable(function):
        raise ArgumentError(f"a gradient check takes a function or a model, not {type(function).__name__}")
    if not hasattr(function, "named_parameters"):
        return []
    return [(name, tensor) for name, tensor in function.named_parameters() if tensor.requires_grad]


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
                if any(out.requires_grad for out in outputs_of(function(*inputs))):
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
