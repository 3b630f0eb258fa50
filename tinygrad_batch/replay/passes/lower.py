"""Lowering: composite operations spelled in the primitive ones that plans have fast kernels for.

Values are those of the operations in the table, with the same NaN, infinities and dtypes. By rounding
only differ `softplus`, `mean_square`, and cubes and fourth powers (products here). Operations without
an entry here, those of users among them, stay as they are, and so do dtypes with rules of their own:
integers, complex numbers, and half precision where NumPy adds up in single.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import shapes
from ...program import Instruction, Operand, Program, Variable
from .rewriting import Rewriting, floating

_SUMMED = ("float32", "float64")  # NumPy adds up half precision in single


class Spelling:
    """One composite operation, being spelled out.

    Attributes
    ----------
    instruction : Instruction
        The composite.
    options : dict
        Its options.
    """

    def __init__(self, writing: Rewriting, instruction: Instruction) -> None:
        self.writing = writing
        self.instruction = instruction
        self.options = instruction.options

    def option(self, name: str) -> Any:
        """Return an option of the composite, or its default."""
        options = self.options
        return options[name] if name in options else self.instruction.entry.defaults[name]

    def add(
        self,
        op: str,
        *inputs: Operand,
        shape: tuple[int, ...] | None = None,
        dtype: str | None = None,
        options: dict[str, Any] | None = None,
    ) -> Variable:
        """Write a step on the way; shape and dtype are those of the composite, unless they are given."""
        out = self.instruction.output
        step = self.writing.variable(
            f"{out.name}.{op}", out.shape if shape is None else shape, out.dtype if dtype is None else dtype
        )
        self.writing.write(self.instruction, op, inputs, options or {}, step)
        return step

    def reduce(self, op: str, x: Variable, axis: Any, keepdims: bool = True) -> Variable:
        """Write a reduction on the way."""
        shape = shapes.reduced(x.shape, axis, keepdims)
        return self.add(op, x, shape=shape, dtype=x.dtype, options={"axis": axis, "keepdims": keepdims})

    def end(self, op: str, *inputs: Operand, options: dict[str, Any] | None = None) -> None:
        """Write the last step, which gives what the composite gave."""
        self.writing.write(self.instruction, op, inputs, options or {}, self.instruction.output)


# Each rule writes the steps and returns True, or writes nothing and returns False.
Rule = Callable[..., bool]
LOWERED: dict[str, Rule] = {}


def _rule(function: Rule) -> Rule:
    LOWERED[function.__name__.strip("_")] = function
    return function


def lower(program: Program) -> Program:
    """Return the program with composite operations spelled in primitive ones."""
    writing = Rewriting(program)
    for instruction in program.instructions:
        inputs = writing.inputs(instruction)
        rule = LOWERED.get(instruction.op)
        if (
            rule is None
            or not floating(inputs[0])
            or instruction.output.dtype[0] != "f"
            or not rule(Spelling(writing, instruction), *inputs)
        ):
            writing.keep(instruction, inputs)
    return writing.finished()


# --- activations and powers --------------------------------------------------------------------
@_rule
def _relu(w: Spelling, x: Variable) -> bool:
    w.end("maximum", x, 0)
    return True


def _sigmoid_parts(w: Spelling, x: Variable) -> tuple[Variable, Variable]:
    """Return numerator and denominator of the sigmoid: both tails are exact, and nothing overflows."""
    e = w.add("exp", w.add("negative", w.add("abs", x)))
    return w.add("where", w.add("greater_equal", x, 0, dtype="bool"), 1, e), w.add("add", 1, e)


@_rule
def _sigmoid(w: Spelling, x: Variable) -> bool:
    w.end("divide", *_sigmoid_parts(w, x))
    return True


@_rule
def _silu(w: Spelling, x: Variable) -> bool:
    w.end("multiply", x, w.add("divide", *_sigmoid_parts(w, x)))
    return True


@_rule
def _softplus(w: Spelling, x: Variable) -> bool:
    w.end("add", w.add("maximum", x, 0), w.add("log1p", w.add("exp", w.add("negative", w.add("abs", x)))))
    return True


@_rule
def _gelu(w: Spelling, x: Variable) -> bool:
    erf = w.add("erf", w.add("multiply", x, math.sqrt(0.5)))
    w.end("multiply", x, w.add("multiply", 0.5, w.add("add", 1, erf)))
    return True


@_rule
def _clip(w: Spelling, x: Variable) -> bool:
    # a NumPy scalar would widen what it bounds
    low, high = [v.item() if isinstance(v, np.generic) else v for v in (w.option("low"), w.option("high"))]
    if low is None and high is None:
        w.end("positive", x)
    elif high is None:
        w.end("maximum", x, low)
    else:
        w.end("minimum", x if low is None else w.add("maximum", x, low), high)
    return True


@_rule
def _power_of(w: Spelling, x: Variable) -> bool:
    return _raised(w, x, w.option("exponent"))


@_rule
def _power(w: Spelling, x: Variable, exponent: Operand) -> bool:
    return not isinstance(exponent, Variable) and exponent != 0.5 and _raised(w, x, exponent)


def _raised(w: Spelling, x: Variable, exponent: Any) -> bool:
    one_step = {1: "positive", 2: "square", 0.5: "sqrt", -1: "reciprocal"}.get(exponent)
    if x.dtype != w.instruction.output.dtype or not (one_step or exponent in (3, 4)):
        return False
    if one_step:
        w.end(one_step, x)
    elif exponent == 3:
        w.end("multiply", w.add("square", x), x)
    else:
        w.end("square", w.add("square", x))
    return True


# --- reductions --------------------------------------------------------------------------------
@_rule
def _mean(w: Spelling, x: Variable) -> bool:
    axis, keepdims = w.option("axis"), w.option("keepdims")
    if x.dtype not in _SUMMED or not x.size:
        return False
    w.end("divide", w.reduce("sum", x, axis, keepdims), shapes.count(x.shape, axis))
    return True


def _variance_parts(w: Spelling, x: Variable) -> tuple[Variable, float] | None:
    """Return the sum of the squared differences from the mean, and what to divide it by."""
    axis, keepdims = w.option("axis"), w.option("keepdims")
    count = shapes.count(x.shape, axis)
    freedom = count - w.option("correction")
    if x.dtype not in _SUMMED or freedom <= 0 or not x.size:  # NumPy warns of too few elements
        return None
    total = w.reduce("sum", x, axis)
    mean = w.add("divide", total, count, shape=total.shape)
    squares = w.add("square", w.add("subtract", x, mean, shape=x.shape), shape=x.shape)
    return w.reduce("sum", squares, axis, keepdims), freedom


@_rule
def _var(w: Spelling, x: Variable) -> bool:
    parts = _variance_parts(w, x)
    if parts:
        w.end("divide", *parts)
    return parts is not None


@_rule
def _std(w: Spelling, x: Variable) -> bool:
    parts = _variance_parts(w, x)
    if parts:
        w.end("sqrt", w.add("divide", *parts))
    return parts is not None


@_rule
def _softmax(w: Spelling, x: Variable) -> bool:
    axis = w.option("axis")
    e = w.add("exp", w.add("subtract", x, w.reduce("max", x, axis)))
    w.end("divide", e, w.reduce("sum", e, axis))
    return True


@_rule
def _log_softmax(w: Spelling, x: Variable) -> bool:
    axis = w.option("axis")
    shifted = w.add("subtract", x, w.reduce("max", x, axis))
    total = w.reduce("sum", w.add("exp", shifted), axis)
    w.end("subtract", shifted, w.add("log", total, shape=total.shape))
    return True


@_rule
def _logsumexp(w: Spelling, x: Variable) -> bool:
    axis, out = w.option("axis"), w.instruction.output
    largest = w.reduce("max", x, axis)
    finite = w.add("isfinite", largest, shape=largest.shape, dtype="bool")
    top = w.add("where", finite, largest, 0, shape=largest.shape)
    total = w.reduce("sum", w.add("exp", w.add("subtract", x, top, shape=x.shape), shape=x.shape), axis)
    log = w.add("log", total, shape=total.shape)
    if top.shape == out.shape:
        w.end("add", log, top)
    else:
        w.end("reshape", w.add("add", log, top, shape=top.shape), options={"shape": out.shape})
    return True


@_rule
def _unbroadcast(w: Spelling, x: Variable) -> bool:
    out, shape = w.instruction.output, w.instruction.output.shape
    steps: list[tuple[str, dict[str, Any], tuple[int, ...]]] = []
    if x.shape[1:] == shape and len(x.shape) == len(shape) + 1:
        steps.append(("sum_rows", {}, shape))
    elif x.shape != shape:
        axes, leads = shapes.unbroadcast_axes(x.shape, shape)
        total = shapes.reduced(x.shape, axes, not leads)
        steps.append(("sum", {"axis": axes, "keepdims": not leads}, total))
        if total != shape:
            steps.append(("reshape", {"shape": shape}, shape))
    if x.dtype != out.dtype:
        steps.append(("astype", {"dtype": out.dtype}, shape))
    for op, options, reached in steps[:-1]:
        x = w.add(op, x, shape=reached, dtype=x.dtype, options=options)
    if steps:
        w.end(steps[-1][0], x, options=steps[-1][1])
    else:
        w.writing.stand_in(out, x)
    return True


# --- merged operations -------------------------------------------------------------------------
@_rule
def _affine(w: Spelling, x: Variable, weight: Variable, bias: Variable) -> bool:
    if not x.dtype == weight.dtype == bias.dtype:
        return False
    w.end("add", w.add("matmul", x, weight), bias)
    return True


@_rule
def _mean_square(w: Spelling, a: Variable, b: Operand) -> bool:
    out = w.instruction.output
    if out.dtype not in _SUMMED or not a.size or not floating(b):
        return False
    squares = w.add("square", w.add("subtract", a, b, shape=a.shape), shape=a.shape)
    w.end("divide", w.reduce("sum", squares, None, keepdims=False), a.size)
    return True
