"""Elementary functions as straight lines of vector instructions: no branches, so every lane is the same work.

The reductions of the argument and the polynomials of the logarithms are those of fdlibm (Sun Microsystems,
1993); the other polynomials are Chebyshev fits. Within 4 units in the last place of NumPy everywhere,
also at infinities, NaN, denormal numbers and signed zeros; `tests/replay` sweep all exponents.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from .text import Function, Value, literal


@dataclass(frozen=True)
class Format:
    """A floating-point format, and the numbers that the functions need in it."""

    integer: str
    mantissa: int
    bias: int
    half_root: int  # the bits of the square root of one half
    exp_low: float
    exp_high: float
    expm1_low: float
    tiny: float
    least: float  # the least normal number
    ln2: tuple[float, float]  # its leading bits, and the rest
    exp: tuple[float, ...]  # (exp(r) - 1 - r) / r²
    tanh: tuple[float, ...]  # the same, shorter
    log: tuple[float, ...]

    @property
    def magic(self) -> float:
        """Added to a number, it leaves the nearest integer in the last bits."""
        return 1.5 * 2.0**self.mantissa

    @property
    def magic_bits(self) -> int:
        """The bits of `magic`."""
        return (self.bias + self.mantissa << self.mantissa) + (1 << self.mantissa - 1)


FORMATS = {
    "float": Format(
        "i32", 23, 127, 0x3F3504F3, -104.0, 89.0, -18.0, 1e-30, 2.0**-126,
        (6.9313812256e-01, 9.0580006145e-06),
        (0.5, 0.166666666816591791, 0.0416664646020265416, 0.00833331088958207719, 0.00139336858626171736,
         0.000198910306543703277),
        (0.5, 0.166665768459939763, 0.0416665544376859389, 0.00836320297157585495, 0.0013926213466332443),
        (0.66666662693, 0.40000972152, 0.28498786688, 0.24279078841),
    ),
    "double": Format(
        "i64", 52, 1023, 0x3FE6A09E667F3BCD, -746.0, 710.0, -40.0, 1e-300, 2.0**-1022,
        (6.93147180369123816490e-01, 1.90821492927058770002e-10),
        (0.5, 0.16666666666666671, 0.0416666666666666698, 0.00833333333332611205, 0.00138888888888837318,
         0.000198412698749012592, 0.0000248015873256053228, 2.75572552979696444e-6, 2.75572735701021397e-7,
         2.51052595384484934e-8, 2.0914717341716376e-9),
        (0.5, 0.166666666666666675, 0.0416666666666239915, 0.00833333333333005135, 0.00138888889172817933,
         0.000198412698631059687, 0.0000248015211902177277, 2.75572683786841929e-6, 2.76201387197339956e-7,
         2.51004241570050668e-8),
        (6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01,
         1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01),
    ),
}  # fmt: skip


def polynomial(f: Function, x: Value, coefficients: tuple[float, ...]) -> Value:
    """Return the polynomial of x whose coefficients are given from the constant on."""
    out = f.constant(coefficients[-1], x)
    for c in coefficients[-2::-1]:
        out = f.fused(out, x, f.constant(c, x))
    return out


def _least(f: Function, x: Value, bound: float) -> Value:
    """Return x, but no less than a bound; NaN stays."""
    low = f.constant(bound, x)
    return f.select(f.compare("olt", x, low), low, x)


def _most(f: Function, x: Value, bound: float) -> Value:
    high = f.constant(bound, x)
    return f.select(f.compare("ogt", x, high), high, x)


def _integers(f: Function, name: str, a: Value, b: int) -> Value:
    return f.binary(name, a, literal(b, a.kind))


def _power_of_two(f: Function, n: Value, form: Format, kind: str) -> Value:
    """Return 2 to the power of integers, built from bits."""
    shifted = _integers(f, "shl", _integers(f, "add", n, form.bias), form.mantissa)
    return f.cast("bitcast", shifted, kind)


def _reduced(f: Function, x: Value, form: Format) -> tuple[Value, Value]:
    """Return the nearest integer n to x / ln 2, and exp(r) - 1 of the rest r."""
    magic = f.constant(form.magic, x)
    t = f.fused(x, f.constant(1 / math.log(2), x), magic)
    n = _integers(f, "sub", f.cast("bitcast", t, form.integer), form.magic_bits)
    whole = f.subtract(t, magic)
    r = f.fused(whole, f.constant(-form.ln2[0], x), x)
    r = f.fused(whole, f.constant(-form.ln2[1], x), r)
    return n, f.fused(f.multiply(r, r), polynomial(f, r, form.exp), r)


def exp(f: Function, x: Value) -> Value:
    """Return e to the power of x."""
    form = FORMATS[x.kind]
    n, p = _reduced(f, _least(f, _most(f, x, form.exp_high), form.exp_low), form)
    half = _integers(f, "ashr", n, 1)  # in two steps, for 2**n itself may be too large or too small a number
    rest = f.binary("sub", n, half)
    y = f.add(p, f.constant(1.0, x))
    return f.multiply(f.multiply(y, _power_of_two(f, half, form, x.kind)), _power_of_two(f, rest, form, x.kind))


def expm1(f: Function, x: Value) -> Value:
    """Return exp(x) - 1."""
    form = FORMATS[x.kind]
    n, p = _reduced(f, _least(f, _most(f, x, form.exp_high), form.expm1_low), form)
    scale = _power_of_two(f, _integers(f, "sub", n, 1), form, x.kind)  # half of 2**n, which may overflow
    half = f.fused(scale, p, f.subtract(scale, f.constant(0.5, x)))
    y = f.add(half, half)
    return f.select(f.compare("olt", f.intrinsic("fabs", x), f.constant(form.tiny, x)), x, y)


def tanh(f: Function, x: Value) -> Value:
    """Return the hyperbolic tangent: u / (1 - u), where u = (1 - exp(-2 |x|)) / 2 cannot overflow."""
    form = FORMATS[x.kind]
    size = _most(f, f.intrinsic("fabs", x), -form.expm1_low / 2)
    magic = f.constant(form.magic, x)
    t = f.fused(size, f.constant(-2 / math.log(2), x), magic)
    n = _integers(f, "sub", f.cast("bitcast", t, form.integer), form.magic_bits)
    r = f.fused(f.subtract(t, magic), f.constant(math.log(2) / 2, x), size)  # where n is large, r need not be exact
    p = f.fused(f.multiply(r, r), polynomial(f, r, tuple([c * (-2.0) ** (k + 1) for k, c in enumerate(form.tanh)])), r)
    scale = _power_of_two(f, n, form, x.kind)
    half = f.constant(0.5, x)
    u = f.fused(scale, p, f.fused(scale, f.negative(half), half))
    return f.intrinsic("copysign", f.divide(u, f.subtract(f.constant(1.0, x), u)), x)


def _split(f: Function, x: Value, form: Format) -> tuple[Value, Value]:
    """Return k and m with x = 2**k * m, m between the square roots of 1/2 and 2; x is normal."""
    one = form.bias << form.mantissa
    bits = _integers(f, "add", f.cast("bitcast", x, form.integer), one - form.half_root)
    k = _integers(f, "sub", _integers(f, "lshr", bits, form.mantissa), form.bias)
    fraction = _integers(f, "and", bits, (1 << form.mantissa) - 1)
    return k, f.cast("bitcast", _integers(f, "add", fraction, form.half_root), x.kind)


def _floating(f: Function, n: Value, form: Format, like: Value) -> Value:
    """Return small integers as floating numbers."""
    shifted = f.cast("bitcast", _integers(f, "add", n, form.magic_bits), like.kind)
    return f.subtract(shifted, f.constant(form.magic, like))


def _logarithm(f: Function, x: Value, k: Value, m: Value, rest: Value | None, form: Format) -> Value:
    """Return k ln 2 + log(1 + m) + rest."""
    s = f.divide(m, f.add(m, f.constant(2.0, x)))
    z = f.multiply(s, s)
    r = f.multiply(z, polynomial(f, z, form.log))
    half = f.multiply(f.multiply(m, f.constant(0.5, x)), m)
    low = f.multiply(k, f.constant(form.ln2[1], x))
    if rest is not None:
        low = f.add(low, rest)
    inner = f.fused(s, f.add(half, r), low)
    return f.fused(k, f.constant(form.ln2[0], x), f.negative(f.subtract(f.subtract(half, inner), m)))


def _at_the_ends(f: Function, x: Value, y: Value, zero: float) -> Value:
    """Return y, with -inf where x is ``zero``, NaN below, and x itself where that is inf or NaN."""
    infinite = f.constant(math.inf, x)
    special = f.select(f.compare("olt", x, f.constant(zero, x)), f.constant(math.nan, x), x)
    special = f.select(f.compare("oeq", x, f.constant(zero, x)), f.constant(-math.inf, x), special)
    inside = f.compare("ogt", x, f.constant(zero, x))
    inside = f.binary("and", inside, f.compare("olt", x, infinite))
    return f.select(inside, y, special)


def log(f: Function, x: Value) -> Value:
    """Return the natural logarithm."""
    form = FORMATS[x.kind]
    lift = form.mantissa + 2
    small = f.compare("olt", x, f.constant(form.least, x))
    k, m = _split(f, f.select(small, f.multiply(x, f.constant(2.0**lift, x)), x), form)
    k = f.select(small, _integers(f, "sub", k, lift), k)
    m = f.subtract(m, f.constant(1.0, x))
    return _at_the_ends(f, x, _logarithm(f, x, _floating(f, k, form, x), m, None, form), 0.0)


def log1p(f: Function, x: Value) -> Value:
    """Return log(1 + x)."""
    form = FORMATS[x.kind]
    one = f.constant(1.0, x)
    u = f.add(x, one)
    k, m = _split(f, u, form)
    lost = f.select(
        f.compare("sgt", k, literal(0, k.kind)), f.subtract(one, f.subtract(u, x)), f.subtract(x, f.subtract(u, one))
    )
    near = f.compare("eq", k, literal(0, k.kind))
    zero = f.constant(0.0, x)
    rest = f.select(near, zero, f.divide(lost, u))
    m = f.select(near, x, f.subtract(m, one))
    y = _at_the_ends(f, x, _logarithm(f, x, _floating(f, k, form, x), m, rest, form), -1.0)
    return f.select(f.compare("olt", f.intrinsic("fabs", x), f.constant(form.tiny, x)), x, y)


VECTOR: dict[str, Callable[[Function, Value], Value]] = {
    "exp": exp, "expm1": expm1, "tanh": tanh, "log": log, "log1p": log1p,
}  # fmt: skip
# functions of the C library, lane by lane: by their names for double; with an f at the end they take float
LIBRARY = {
    "exp2": "exp2", "log2": "log2", "log10": "log10", "sin": "sin", "cos": "cos", "tan": "tan",
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arctan2": "atan2", "sinh": "sinh", "cosh": "cosh",
    "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh", "erf": "erf", "power": "pow",
}  # fmt: skip


def library(f: Function, name: str, *values: Value) -> Value:
    """Call a function of the C library by the name of the table."""
    return f.outside(f"tb_{LIBRARY[name]}{'f' if values[0].kind == 'float' else ''}", *values)
