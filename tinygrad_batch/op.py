"""An operation: one entry in the table, defined in one place.

`op` takes the NumPy function that computes the value and one derivative rule for each input, and
returns the Python function that users call. A rule's first parameter is ``g``, the incoming gradient;
the names of its other parameters say what it needs, and what no rule needs is not kept:

- an input by its name (``a``), or only its shape (``a_shape``) or dtype (``a_dtype``);
- ``y``, the output;
- an option of the operation, such as ``axis``;
- for an operation on a list of arrays, ``i``, which of them, and ``shapes``, of all of them.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Protocol

import numpy as np

from . import shapes
from .calling import caller, getter
from .errors import ArgumentError, ShapeError
from .formula import Name
from .shapes import Shape

Rule = Callable[..., Any]
Code = str | Callable[..., str]


@dataclass(frozen=True)
class Case:
    """One call of an operation that the registry tests and the gradient check try.

    Attributes
    ----------
    shapes : tuple of shapes
        One for each input.
    options : dict
    domain : tuple of float
        The inputs are drawn uniformly from this interval.
    """

    shapes: tuple[Shape, ...]
    options: dict[str, Any] = field(default_factory=dict)
    domain: tuple[float, float] = (-2.0, 2.0)

    def inputs(self, rng: np.random.Generator, dtype: Any = np.float64) -> list[np.ndarray]:
        """Return random inputs: one array for each shape."""
        return [rng.uniform(*self.domain, shape).astype(dtype) for shape in self.shapes]


def case(*shapes: Shape, domain: tuple[float, float] = (-2.0, 2.0), **options: Any) -> Case:
    """Return a `Case` from shapes and options."""
    return Case(shapes, options, domain)


def free(*shapes: Any, **options: Any) -> int:
    """Return the floating-point operations of moving elements without computing: none."""
    return 0


@dataclass(frozen=True, slots=True)
class Need:
    """A derivative rule, read: which input it is for and what it asks for."""

    rule: Rule
    input: str
    names: tuple[str, ...]


class Plan:
    """What the backward step of an operation does when some given inputs need a gradient.

    Attributes
    ----------
    op : Op
    inputs : tuple of int
        Positions of the inputs that need a gradient.
    rules : tuple of callables
        One for each of them.
    needs : tuple of tuples of str
        What each rule asks for besides ``g``.
    single : bool
        One rule only: then ``Node.kept`` is its arguments, not a tuple of them.
    blocks : bool
        The rule works element by element on arrays of one shape, so that a large gradient may be
        computed block by block, in place.
    """

    __slots__ = ("_getters", "blocks", "inputs", "needs", "op", "rules", "single")

    def __init__(self, op: Op, inputs: tuple[int, ...], fits: tuple[bool, ...]) -> None:
        needs = [(op.need(i), bool(fits) and fits[i]) for i in inputs]
        self.op = op
        self.inputs = inputs
        self.rules = tuple(_fitted(n.rule) if fit else n.rule for n, fit in needs)
        self.needs = tuple((f"{n.input}_shape", f"{n.input}_dtype", *n.names) if fit else n.names for n, fit in needs)
        self.single = len(inputs) == 1
        self._getters = [[getter(op, name, i) for name in names] for i, names in zip(inputs, self.needs, strict=True)]
        self.blocks = (
            op.elementwise and not any(fits) and self.single
            and bool(self.needs[0]) and set(self.needs[0]) <= {"y", *op.inputs}
        )  # fmt: skip

    def keep(self, arrays: Sequence[Any], options: dict[str, Any], y: Any) -> tuple[Any, ...]:
        """Return what the rules ask for, as `Node.kept` holds it."""
        kept = tuple([tuple([get(arrays, options, y) for get in getters]) for getters in self._getters])
        return kept[0] if self.single else kept

    def arguments(self, kept: tuple[Any, ...]) -> tuple[tuple[Any, ...], ...]:
        """Return ``kept`` as one tuple of arguments for each rule."""
        return (kept,) if self.single else kept


def _fitted(rule: Rule) -> Rule:
    """Return ``rule`` followed by the un-broadcast to the shape and dtype of its input."""
    unbroadcast = TABLE["unbroadcast"]

    def fitted(g: Any, shape: Shape, dtype: Any, *arguments: Any) -> Any:
        grad = rule(g, *arguments)
        return (unbroadcast.compute if type(grad) is np.ndarray else unbroadcast.call)(grad, shape, dtype)

    return fitted


class Op:
    """An entry of the table; see `op` for the parameters."""

    def __init__(
        self,
        name: str,
        compute: Callable[..., Any],
        rules: dict[str, Rule],
        *,
        shape: Callable[..., Shape] | None,
        flops: Callable[..., int] | None,
        scratch: Callable[..., int] | None,
        dtype: Any,
        label: str | None,
        symbol: str,
        formula: Callable[..., Name] | None,
        variadic: bool,
        aligned: Callable[..., bool] | None,
        expand: Callable[..., Any] | None,
        random: bool,
        code: Code | None,
        cases: Sequence[Case],
        domain: tuple[float, float],
        doc: str,
    ) -> None:
        self.name = name
        self.compute = compute
        self.shape_rule = shape
        self.flops_rule = flops
        self.scratch = scratch
        self.dtype = dtype
        self.label = label or name
        self.symbol = symbol
        self.formula = formula
        self.variadic = variadic
        self.elementwise = shape is None
        self.aligned: Callable[..., bool] = aligned or _same_shape
        self.expand = expand
        self.random = random
        self.code = code
        self.doc = doc
        self.inputs, self.defaults = _signature(name, compute, rules)
        reserved = sorted({"g", "y", "i", "shapes"} & {*self.inputs, *self.defaults})
        if reserved:
            raise ArgumentError(
                f"{name}: an input or option cannot be called {reserved[0]!r}",
                "Rules use g for the incoming gradient, y for the output, i and shapes in a list of arrays",
            )
        self._needs = {key[1:]: _read_rule(self, key[1:], rule) for key, rule in rules.items()}
        # positions of the inputs that have a derivative rule
        self.differentiable = tuple(i for i, name in enumerate(self.inputs) if name in self._needs)
        self._plans: dict[tuple[tuple[int, ...], tuple[bool, ...]], Plan] = {}
        self.cases = tuple(cases) or _elementwise_cases(len(self.inputs), domain)
        self.call: Callable[..., Any] = caller(self)

    def need(self, position: int) -> Need:
        """Return the rule for the input at ``position``."""
        return self._needs[self.inputs[0 if self.variadic else position]]

    def plan(self, inputs: tuple[int, ...], fits: tuple[bool, ...] = ()) -> Plan:
        """Return the plan for the inputs that need a gradient and those to fit; made once, then reused."""
        key = (inputs, fits)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = Plan(self, inputs, fits)
        return plan

    def shape(self, *operands: Any, **options: Any) -> Shape:
        """Return the shape of the result from the shapes of the operands; raise ShapeError if none fits."""
        try:
            return (self.shape_rule or shapes.broadcast)(*operands, **options)
        except ShapeError as error:
            raise ShapeError(f"{self.name}: {error}") from None

    def flops(self, out: Shape, *operands: Any, **options: Any) -> int:
        """Return the floating-point operations of one call, from shapes; a multiply-add counts as two."""
        return prod(out) if self.flops_rule is None else self.flops_rule(out, *operands, **options)

    def run(self, *arrays: Any, out: np.ndarray | None = None, **options: Any) -> Any:
        """Compute on raw arrays, into ``out`` if it is given.

        Raises
        ------
        ShapeError
            If ``out`` does not have the shape of the result.
        """
        if out is None:
            return self.compute(*arrays, **options)
        operands = [[np.shape(a) for a in arrays[0]]] if self.variadic else [np.shape(a) for a in arrays]
        shape = self.shape(*operands, **options)
        if out.shape != shape:
            raise ShapeError(f"{self.name}: out has shape {out.shape}, the result has {shape}")
        if isinstance(self.compute, np.ufunc) and not options:
            return self.compute(*arrays, out=out)
        np.copyto(out, self.compute(*arrays, **options), casting="same_kind")
        return out

    def __repr__(self) -> str:
        return f"<op {self.name}>"


class OpFunction(Protocol):
    """The function that `op` returns: call it; its entry in the table is ``.op``."""

    __name__: str
    op: Op

    def __call__(self, *operands: Any, **options: Any) -> Any:
        """Run the operation on Tensors, raw arrays or names."""


TABLE: dict[str, Op] = {}
NUMPY: dict[Callable[..., Any], Callable[..., Any]] = {}


def op(
    name: str,
    compute: Callable[..., Any],
    *,
    doc: str,
    shape: Callable[..., Shape] | None = None,
    flops: Callable[..., int] | None = None,
    scratch: Callable[..., int] | None = None,
    dtype: Any = None,
    label: str | None = None,
    symbol: str = "",
    formula: Callable[..., Name] | None = None,
    variadic: bool = False,
    aligned: Callable[..., bool] | None = None,
    expand: Callable[..., Any] | None = None,
    random: bool = False,
    code: Code | None = None,
    numpy: Callable[..., Any] | None = None,
    cases: Sequence[Case] = (),
    domain: tuple[float, float] = (-2.0, 2.0),
    **rules: Rule,
) -> OpFunction:
    """Define a differentiable operation and return the function that runs it.

    Parameters
    ----------
    name : str
        What it is called; unique in the table.
    compute : callable
        The value, on raw NumPy arrays; its parameters without a default are the inputs, the others
        the options. A ufunc also becomes what NumPy's own function does on Tensors.
    doc : str
        One line for the reader.
    shape : callable, optional
        Shape of the result from the shapes of the inputs and the options. Left out, the operation is
        elementwise: the inputs broadcast, and the engine undoes that in the gradients.
    flops : callable, optional
        Floating-point operations from the shape of the result, of the inputs and the options; left
        out, one for each element of the result.
    scratch : callable, optional
        Bytes of the temporary arrays that stand beside the result while it is computed, from the result, the inputs
        (arrays of the right shape and dtype, but without elements) and the options; left out, none.
    dtype : callable or dtype, optional
        dtype of the result from the dtypes of the inputs, where NumPy's promotion is not it.
    label : str, optional
        Sign for the pictures, such as ``+``.
    symbol : str, optional
        Letter that results are named with in a trace: ``h`` gives h1, h2, ...
    formula : callable, optional
        How the operation is written, from the `Name` of each input and the options.
    variadic : bool
        The one input is a list of arrays.
    aligned : callable, optional
        Whether no input of this call was broadcast or cast, so that gradients fit as they are.
    expand : callable, optional
        The same thing in plain operations, for an operation merged from others: what a capture records.
    random : bool
        Each call draws fresh numbers, so no two calls are the same and none can be computed ahead.
    code : str or callable, optional
        How it is written in plain NumPy, with the inputs and options in braces: ``np.maximum({x}, 0)``.
        Where that depends on shapes or options, a function of the inputs and options that returns it; where
        NumPy has no word for it, the text of a Python function. An option ``rng`` stands for a generator.
        Left out, a ufunc is called by its name, and any other operation by its own function.
    numpy : callable, optional
        The NumPy function that this operation implements on Tensors.
    cases : sequence of Case
        Calls for the tests to try; an elementwise operation has its own.
    domain : pair of float
        Where an elementwise operation is defined and smooth.
    **rules : callables
        ``dx=lambda g, y: ...`` is the gradient with respect to input ``x``.

    Returns
    -------
    function
        Gives a Tensor if any input is a Tensor, else a NumPy array.

    Raises
    ------
    ArgumentError
        If the name is taken, or a rule asks for something that there is not.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_batch as tb
    >>> from tinygrad_batch.op import TABLE, op
    >>> cube = op("cube", lambda x: x**3, doc="x cubed", dx=lambda g, x: 3 * x**2 * g)
    >>> x = tb.tensor([1.0, 2.0], requires_grad=True)
    >>> cube(x).sum().backward()
    >>> x.grad
    tensor([ 3., 12.])
    >>> del TABLE["cube"]
    """
    if name in TABLE:
        raise ArgumentError(f"there is already an operation called {name!r}")
    entry = Op(
        name, compute, rules, shape=shape, flops=flops, scratch=scratch, dtype=dtype, label=label, symbol=symbol,
        formula=formula, variadic=variadic, aligned=aligned, expand=expand, random=random, code=code,
        cases=cases, domain=domain, doc=doc,
    )  # fmt: skip
    TABLE[name] = entry
    function: Any = entry.call
    function.op = entry
    function.__name__ = function.__qualname__ = name
    function.__module__ = sys._getframe(1).f_globals.get("__name__", __name__)
    function.__doc__ = _docstring(entry)
    function.__signature__ = _public_signature(entry)
    for target in (numpy, compute if isinstance(compute, np.ufunc) else None):
        if target is not None:
            NUMPY[target] = function
    return function


def _same_shape(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.dtype is b.dtype


def _signature(
    name: str, compute: Callable[..., Any], rules: dict[str, Rule]
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return the names of the inputs, and the options with their defaults."""
    if isinstance(compute, np.ufunc):
        inputs = tuple(key[1:] for key in rules)
        return (inputs if len(inputs) == compute.nin else ("x",) if compute.nin == 1 else ("a", "b")), {}
    parameters = inspect.signature(compute).parameters.values()
    keyword_only = inspect.Parameter.KEYWORD_ONLY
    inputs = tuple(p.name for p in parameters if p.default is p.empty and p.kind is not keyword_only)
    options = {p.name: p.default for p in parameters if p.name not in inputs}
    for key in rules:
        if key[:1] != "d" or key[1:] not in inputs:
            raise ArgumentError(f"{name}: {key!r} is no rule for one of the inputs {inputs}", "Call it d<input>")
    return inputs, options


def _read_rule(entry: Op, name: str, rule: Rule) -> Need:
    """Read what a rule asks for; a misspelt name fails here, at import."""
    known = {"y", *entry.inputs, *entry.defaults, *(f"{n}_{what}" for n in entry.inputs for what in ("shape", "dtype"))}
    if entry.variadic:
        known |= {"i", "shapes"}
    first, *needs = inspect.signature(rule).parameters
    unknown = [n for n in needs if n not in known]
    if first != "g" or unknown:
        raise ArgumentError(
            f"{entry.name}: the rule for {name!r} takes ({', '.join([first, *needs])})",
            f"The first is g, the others are among {', '.join(sorted(known))}",
        )
    return Need(rule, name, tuple(needs))


def _elementwise_cases(inputs: int, domain: tuple[float, float]) -> tuple[Case, ...]:
    if inputs == 1:
        sets: list[tuple[Shape, ...]] = [((),), ((3,),), ((2, 3),), ((0, 2),)]
    else:
        same, row, outer = ((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1), (1, 3))
        pairs: list[tuple[Shape, Shape]] = [((), ()), same, row, outer, ((), (2,)), ((0, 2), (2,))]
        sets = [(*pair, *[()] * (inputs - 2)) for pair in pairs]
    return tuple(Case(s, {}, domain) for s in sets)


def _public_signature(entry: Op) -> inspect.Signature:
    kind = inspect.Parameter
    given = [kind(n, kind.POSITIONAL_ONLY) for n in entry.inputs]
    options = [kind(n, kind.POSITIONAL_OR_KEYWORD, default=d) for n, d in entry.defaults.items()]
    return inspect.Signature([*given, *options])


_OPTIONS = {
    "axis": "Axis, or tuple of axes, to go over; None is all of them.",
    "keepdims": "Whether the reduced axes stay, with length 1.",
    "correction": "What is subtracted from the number of elements before dividing by it.",
    "shape": "Shape of the result.",
    "axes": "Order of the axes of the result; None reverses them.",
    "dtype": "dtype of the result.",
    "index": "What NumPy takes between brackets: integers, slices, ..., None, boolean and integer arrays.",
    "low": "Lower bound; None for none.",
    "high": "Upper bound; None for none.",
    "exponent": "A number.",
}


def _docstring(entry: Op) -> str:
    what = "sequence of Tensor or array_like" if entry.variadic else "Tensor or array_like"
    first = entry.doc.partition(" ")[0]
    capital = len(first) > 1 and first.isalpha()  # a formula stays as it is
    lines = [f"{entry.doc[0].upper() if capital else entry.doc[0]}{entry.doc[1:]}.", "", "Parameters", "----------"]
    lines += [f"{', '.join(entry.inputs)} : {what}"]
    if entry.elementwise:
        lines += ["    Elementwise: the shapes broadcast, and the dtypes promote as NumPy's do."]
    for name, default in entry.defaults.items():
        lines += [f"{name} : default {default!r}", f"    {_OPTIONS.get(name, 'See the description above.')}"]
    lines += ["", "Returns", "-------", "Tensor or numpy.ndarray", "    A Tensor if any input is one."]
    lines += ["", "Raises", "------", "ShapeError", "    If the shapes do not fit together."]
    return "\n".join(lines)
