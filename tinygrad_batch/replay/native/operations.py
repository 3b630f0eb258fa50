"""The elementwise operations of the table as instructions on vectors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from . import elementary
from .text import Function, Value

Emit = Callable[..., Value]


def _binary(name: str) -> Emit:
    return lambda f, a, b: f.binary(name, a, b)


def _library(name: str) -> Emit:
    return lambda f, *values: elementary.library(f, name, *values)


def _compare(floating: str, integer: str) -> Emit:
    return lambda f, a, b: f.compare(floating if a.kind in elementary.FORMATS else integer, a, b)


def _extreme(first: str) -> Emit:
    def emit(f: Function, a: Value, b: Value) -> Value:
        if not b.text.startswith("%"):  # a number: only a may be NaN, and a comparison less keeps it
            return f.select(f.compare("olt" if first == "ogt" else "ogt", a, b), b, a)
        return f.select(f.compare("uno", a, a), a, f.select(f.compare(first, a, b), a, b))

    return emit


def _sign(f: Function, x: Value) -> Value:
    zero = f.constant(0.0, x)
    below = f.select(f.compare("olt", x, zero), f.constant(-1.0, x), f.select(f.compare("oeq", x, zero), zero, x))
    return f.select(f.compare("ogt", x, zero), f.constant(1.0, x), below)


def _logaddexp(f: Function, a: Value, b: Value) -> Value:
    down = f.negative(f.intrinsic("fabs", f.subtract(a, b)))
    top = f.select(f.compare("ogt", a, b), a, b)
    apart = f.add(top, elementary.log1p(f, elementary.exp(f, down)))
    return f.select(f.compare("oeq", a, b), f.add(a, f.constant(math.log(2), a)), apart)


def _sigmoid(f: Function, x: Value) -> Value:
    one = f.constant(1.0, x)
    e = elementary.exp(f, f.negative(f.intrinsic("fabs", x)))
    return f.divide(f.select(f.compare("oge", x, f.constant(0.0, x)), one, e), f.add(one, e))


def _gelu(f: Function, x: Value) -> Value:
    part = elementary.library(f, "erf", f.multiply(x, f.constant(math.sqrt(0.5), x)))
    return f.multiply(x, f.multiply(f.constant(0.5, x), f.add(f.constant(1.0, x), part)))


def _clip(f: Function, x: Value, low: Any = None, high: Any = None) -> Value:
    if low is not None:
        x = _extreme("ogt")(f, x, f.constant(float(low), x))
    return x if high is None else _extreme("olt")(f, x, f.constant(float(high), x))


def _power_of(f: Function, x: Value, exponent: float = 2) -> Value:
    if exponent == 0:
        return f.constant(1.0, x)
    if exponent == 0.5:
        return f.intrinsic("sqrt", x)
    if exponent in (-1, 1, 2, 3):
        y = x
        for _ in range(int(abs(exponent)) - 1):
            y = f.multiply(y, x)
        return y if exponent > 0 else f.divide(f.constant(1.0, x), y)
    return elementary.library(f, "power", x, f.constant(float(exponent), x))


def _power(f: Function, a: Value, b: Value) -> Value:
    return elementary.library(f, "power", a, b)


def _infinite(f: Function, x: Value, how: str) -> Value:
    return f.compare(how, f.intrinsic("fabs", x), f.constant(math.inf, x))


def _not(f: Function, x: Value) -> Value:
    return f.binary("xor", x, f.constant(1, x))


# operations on floating numbers of one dtype, which is also the dtype of the result
FLOATING: dict[str, Emit] = {
    "add": _binary("fadd"),
    "subtract": _binary("fsub"),
    "multiply": _binary("fmul"),
    "divide": _binary("fdiv"),
    "negative": lambda f, x: f.negative(x),
    "positive": lambda f, x: x,
    "sign": _sign,
    "abs": lambda f, x: f.intrinsic("fabs", x),
    "square": lambda f, x: f.multiply(x, x),
    "reciprocal": lambda f, x: f.divide(f.constant(1.0, x), x),
    "maximum": _extreme("ogt"),
    "minimum": _extreme("olt"),
    "logaddexp": _logaddexp,
    "sigmoid": _sigmoid,
    "relu": lambda f, x: _extreme("ogt")(f, x, f.constant(0.0, x)),
    "softplus": lambda f, x: _logaddexp(f, x, f.constant(0.0, x)),
    "silu": lambda f, x: f.multiply(x, _sigmoid(f, x)),
    "gelu": _gelu,
    "clip": _clip,
    "power_of": _power_of,
    "power": _power,
    **{name: (lambda f, x, name=name: f.intrinsic(name, x)) for name in ("sqrt", "floor", "ceil", "trunc", "rint")},
    **elementary.VECTOR,
    **{name: _library(name) for name in elementary.LIBRARY if name != "power"},
}
# operations on numbers that give booleans
TESTS: dict[str, Emit] = {
    "greater": _compare("ogt", "sgt"),
    "greater_equal": _compare("oge", "sge"),
    "less": _compare("olt", "slt"),
    "less_equal": _compare("ole", "sle"),
    "equal": _compare("oeq", "eq"),
    "not_equal": _compare("une", "ne"),
    "isnan": lambda f, x: f.compare("uno", x, x),
    "isinf": lambda f, x: _infinite(f, x, "oeq"),
    "isfinite": lambda f, x: _infinite(f, x, "olt"),
}
# operations on booleans
LOGIC: dict[str, Emit] = {
    "logical_and": _binary("and"),
    "logical_or": _binary("or"),
    "logical_not": _not,
}
# how much work an element is; an addition is 1
HEAVY = 20
_HEAVY = (*elementary.VECTOR, *elementary.LIBRARY, "logaddexp", "sigmoid", "softplus", "silu", "gelu")
COST = {"divide": 4, "sqrt": 4, "reciprocal": 4, "floor": 2, "ceil": 2, "rint": 2, "trunc": 2} | dict.fromkeys(
    _HEAVY, HEAVY
)


def converted(f: Function, value: Value, kind: str) -> Value:
    """Return the value as another kind, as NumPy casts it."""
    if value.kind == kind:
        return value
    if kind == "i1":
        zero = f.constant(0, value)
        return f.compare("une" if value.kind in elementary.FORMATS else "ne", value, zero)
    if value.kind == "i1":
        return f.cast("uitofp" if kind in elementary.FORMATS else "zext", value, kind)
    if value.kind in ("i32", "i64"):
        return f.cast("sitofp" if kind in elementary.FORMATS else "sext", value, kind)
    return f.cast("fpext" if kind == "double" else "fptrunc", value, kind)
