"""Algebra: the same value by fewer or cheaper operations.

Exact but for two things, which differ by rounding, and where a value on the way leaves the range of its
dtype: multiplying and dividing by numbers one after the other becomes one multiplication by their
product, and the exponential of a log_softmax becomes the softmax, from what the log_softmax computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import shapes
from ...op import TABLE
from ...program import Instruction, Number, Operand, Program, Variable
from .rewriting import Rewriting, alike, floating

Inputs = tuple[Any, ...]
Form = tuple[str, Inputs, dict[str, Any]]  # an operation, what it reads, its options
Made = dict[Variable, Instruction]
Rule = Callable[[Variable, Inputs, dict[str, Any], Made], Form | Operand | None]

_REPEATS = ("spread", "broadcast_to")
# the smallest and the largest number that each dtype holds to full precision
_RANGE = {name: (float(np.finfo(name).tiny), float(np.finfo(name).max)) for name in ("float16", "float32", "float64")}


def simplify(program: Program) -> Program:
    """Return the program with its algebra simplified."""
    writing = Rewriting(program)
    made: Made = {}
    scalars = {v: value for v, value in program.constants.items() if not v.shape}
    small: set[Variable] = set(scalars)  # constants of no dimensions, and arrays that repeat a smaller one
    for instruction in program.instructions:
        op, inputs, options = instruction.op, writing.inputs(instruction), instruction.options
        out = instruction.output
        if small and not small.isdisjoint(inputs) and TABLE[op].elementwise:
            scalar = _of_scalars(writing, instruction, inputs, made)
            if scalar is not None:
                op, inputs, options = "spread", (scalar,), {"shape": out.shape, "axis": None}
            elif len(inputs) > 1:
                inputs = _lean(op, inputs, out, made, scalars)
        while (rule := RULES.get(op)) is not None:
            found = rule(out, inputs, options, made)
            if not isinstance(found, tuple):
                break
            op, inputs, options = found
        else:
            found = None
        if found is not None:
            writing.stand_in(out, found)
            continue
        if op is instruction.op and options is instruction.options:
            made[out] = writing.keep(instruction, inputs)
        else:
            made[out] = writing.write(instruction, op, inputs, options, out)
        if op in _REPEATS and _by_itself(made[out]):
            small.add(out)
    return writing.finished()


# --- what repeats a smaller array ----------------------------------------------------------------
def _by_itself(instruction: Instruction) -> bool:
    """Return whether an elementwise operation repeats what is repeated here just so by itself."""
    source, out = instruction.inputs[0], instruction.output
    if type(source) is not Variable or source.dtype != out.dtype:
        return False
    if instruction.op == "broadcast_to":
        return True
    kept = shapes.kept_dims(out.shape, instruction.options.get("axis"))
    extra = len(kept) - len(source.shape)
    return kept[extra:] == source.shape and kept[:extra] == (1,) * extra


def _source(value: Operand, made: Made) -> Operand:
    """Return the array that ``value`` repeats, or itself."""
    if type(value) is Variable and value in made and made[value].op in _REPEATS and _by_itself(made[value]):
        return made[value].inputs[0]
    return value


def _of_scalars(writing: Rewriting, instruction: Instruction, inputs: Inputs, made: Made) -> Variable | None:
    """Compute once, and return, what an elementwise operation computes from the same few numbers everywhere."""
    out = instruction.output
    if not out.shape or TABLE[instruction.op].random:
        return None
    sources = tuple([_source(v, made) for v in inputs])
    if any(type(v) is Variable and v.shape for v in sources):
        return None
    once = writing.variable(f"{out.name}.once", (), out.dtype)
    made[once] = writing.write(instruction, instruction.op, sources, instruction.options, once)
    return once


def _lean(op: str, inputs: Inputs, out: Variable, made: Made, scalars: dict[Variable, np.ndarray]) -> Inputs:
    """Return the inputs of an elementwise operation with small arrays and plain numbers where they do as well."""
    lean = list(inputs)
    for i, v in enumerate(inputs):
        source = _source(v, made)
        full = [u for j, u in enumerate(lean) if j != i and type(u) is Variable and u.shape == out.shape]
        if source is not v and full:
            lean[i] = v = source
        if v in scalars and _as_number(op, i, v, lean):
            lean[i] = scalars[v].item()
    return tuple(lean) if any(a is not b for a, b in zip(lean, inputs, strict=True)) else inputs


def _as_number(op: str, position: int, scalar: Variable, inputs: list[Any]) -> bool:
    """Return whether a constant may be a plain number, which takes the dtype of the array beside it."""
    if op == "where":
        if position == 0:
            return True
        partner = inputs[3 - position]
    elif len(inputs) == 2 and isinstance(TABLE[op].compute, np.ufunc):
        partner = inputs[1 - position]
    else:
        return False
    if not floating(partner) or scalar.dtype not in _RANGE:
        return False
    return bool(np.promote_types(scalar.dtype, partner.dtype) == partner.dtype)


# --- arithmetic --------------------------------------------------------------------------------
def _is_zero(value: Operand, sign: float) -> bool:
    return isinstance(value, (int, float)) and value == 0 and math.copysign(1, value) == sign


def _negated(value: Operand, made: Made) -> Variable | None:
    """Return x where ``value`` is -x, of floating-point numbers."""
    negative = _maker(value, "negative", made)
    return negative.reads[0] if negative is not None and floating(value) else None


def _scaled(value: Variable, made: Made) -> tuple[Variable, float] | None:
    """Return x and c where ``value`` is x times the plain number c, of the dtype of x."""
    made_by = made.get(value)
    if made_by is None or made_by.op not in ("multiply", "divide"):
        return None
    x, c = made_by.inputs
    if made_by.op == "multiply" and type(x) is not Variable:
        x, c = c, x
    if not (alike(x, value) and isinstance(c, (int, float))):
        return None
    if made_by.op == "divide":
        return (x, 1 / c) if c else None
    return x, c


def _times(x: Variable, c: Number, out: Variable) -> Form | Variable | None:
    """Return x times c, if c is a number that the dtype holds."""
    low, high = _RANGE.get(out.dtype, (math.inf, 0.0))
    if not isinstance(c, (int, float)) or not low <= abs(c) <= high:
        return None
    if c == 1:
        return x
    return ("negative", (x,), {}) if c == -1 else ("multiply", (x, c), {})


def _add(out: Variable, inputs: Inputs, options: dict[str, Any], made: Made) -> Form | Operand | None:
    a, b = inputs
    for x, zero in ((a, b), (b, a)):
        if _is_zero(zero, -1.0) and alike(x, out):  # x + 0.0 would turn -0.0 into 0.0
            return x
    if (x := _negated(b, made)) is not None:
        return "subtract", (a, x), {}
    if (x := _negated(a, made)) is not None:
        return "subtract", (b, x), {}
    return None


def _subtract(out: Variable, inputs: Inputs, options: dict[str, Any], made: Made) -> Form | Operand | None:
    a, b = inputs
    if _is_zero(b, 1.0) and alike(a, out):
        return a
    x = _negated(b, made)
    return None if x is None else ("add", (a, x), {})


def _multiply(out: Variable, inputs: Inputs, options: dict[str, Any], made: Made) -> Form | Operand | None:
    a, b = inputs if type(inputs[0]) is Variable else inputs[::-1]
    if type(b) is Variable:
        return ("square", (a,), {}) if a is b and floating(a) else None
    if not alike(a, out):
        return None
    if b == 1:
        return a
    if not floating(a) or not isinstance(b, (int, float)):
        return None
    if b == -1:
        return "negative", (a,), {}
    if (x := _negated(a, made)) is not None:
        return "multiply", (x, -b), {}
    scaled = _scaled(a, made)
    return None if scaled is None else _times(scaled[0], scaled[1] * b, out)


def _divide(out: Variable, inputs: Inputs, options: dict[str, Any], made: Made) -> Form | Operand | None:
    a, b = inputs
    if not (alike(a, out) and floating(a) and isinstance(b, (int, float)) and b):
        return None
    scaled = _scaled(a, made)
    if scaled is not None:
        return _times(scaled[0], scaled[1] / b, out)
    if abs(math.frexp(b)[0]) == 0.5:  # the reciprocal of a power of two is exact
        return _times(a, 1 / b, out)
    return None


def _negative(out: Variable, inputs: Inputs, options: dict[str, Any], made: Made) -> Form | Operand | None:
    if (x := _negated(inputs[0], made)) is not None:
        return x
    if not floating(inputs[0]):
        return None
    scaled = _scaled(inputs[0], made) if _maker(inputs[0], "multiply", made) else None
    return None if scaled is None else ("multiply", (scaled[0], -scaled[1]), {})


def _where(out: Variable, inputs: Inputs, options: dict[str, Any], made: Made) -> Form | Operand | None:
    condition, a, b = inputs
    if a is b and alike(a, out):
        return a
    if type(condition) is Variable:
        return None
    chosen = a if condition else b
    return chosen if alike(chosen, out) else None


# --- the gradient of a cross-entropy --------------------------------------------------------------
def _exp(out: Variable, inputs: Inputs, options: dict[str, Any], made: Made) -> Form | Operand | None:
    """Spell exp(a - log(sum(exp(a)))) as exp(a) / sum(exp(a))."""
    difference = _maker(inputs[0], "subtract", made)
    log = _maker(difference.inputs[1], "log", made) if difference else None
    total = _maker(log.inputs[0], "sum", made) if log else None
    e = _maker(total.inputs[0], "exp", made) if total else None
    if difference and total and e and e.inputs[0] is difference.inputs[0] and alike(e.output, out):
        return "divide", (e.output, total.output), {}
    return None


def _sum(out: Variable, inputs: Inputs, options: dict[str, Any], made: Made) -> Form | Operand | None:
    """Return what `place` put in each row, where the rest of the row is zeros and the row is summed."""
    place = _maker(inputs[0], "place", made)
    if place is None or options.get("axis") not in (1, -1, (1,), (-1,)):
        return None
    placed = place.inputs[0]
    if not floating(placed) or placed.shape != place.output.shape[:1]:  # else it is one number for all rows
        return None
    return placed if alike(placed, out) else ("reshape", (placed,), {"shape": out.shape})


def _maker(value: Any, op: str, made: Made) -> Instruction | None:
    """Return the instruction that computes ``value``, if it is this operation."""
    found = made.get(value) if type(value) is Variable else None
    return found if found is not None and found.op == op else None


# --- shapes and dtypes ---------------------------------------------------------------------------
def _same(out: Variable, inputs: Inputs, options: dict[str, Any], made: Made) -> Form | Operand | None:
    return inputs[0] if alike(inputs[0], out) else None


def _reshape(out: Variable, inputs: Inputs, options: dict[str, Any], made: Made) -> Form | Operand | None:
    x = inputs[0]
    if alike(x, out):
        return x
    made_by = made.get(x)
    if made_by is None or made_by.output.dtype != out.dtype:
        return None
    if made_by.op == "reshape":
        return "reshape", made_by.inputs, {"shape": out.shape}
    source = _source(x, made)
    if source is not x and type(source) is Variable and not source.shape:
        return "spread", (source,), {"shape": out.shape, "axis": None}
    return None


def _matrix_transpose(out: Variable, inputs: Inputs, options: dict[str, Any], made: Made) -> Form | Operand | None:
    before = _maker(inputs[0], "matrix_transpose", made)
    return before.inputs[0] if before is not None else None


def _transpose(out: Variable, inputs: Inputs, options: dict[str, Any], made: Made) -> Form | Operand | None:
    x, count = inputs[0], len(out.shape)
    order = shapes.normal_permutation(options.get("axes"), count)
    if order == tuple(range(count)):
        return x
    if count == 2:
        return "matrix_transpose", (x,), {}
    made_by = _maker(x, "transpose", made)
    if made_by is None:
        return None
    before = shapes.normal_permutation(made_by.options.get("axes"), count)
    return "transpose", made_by.inputs, {"axes": tuple([before[i] for i in order])}


RULES: dict[str, Rule] = {
    "add": _add,
    "subtract": _subtract,
    "multiply": _multiply,
    "divide": _divide,
    "negative": _negative,
    "where": _where,
    "exp": _exp,
    "sum": _sum,
    "positive": _same,
    "astype": _same,
    "spread": _same,
    "broadcast_to": _same,
    "reshape": _reshape,
    "matrix_transpose": _matrix_transpose,
    "transpose": _transpose,
}
