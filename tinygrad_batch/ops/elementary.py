"""Elementary functions of one variable: exponentials, logarithms, trigonometry and activations."""

import math
from typing import Any

import numpy as np

from ..formula import ATOM
from ..op import op
from .choosing import where

_SQRT_HALF = math.sqrt(0.5)
_SQRT_TAU = math.sqrt(2 * math.pi)
_activation: dict[str, Any] = {"symbol": "h"}


def _not_zero(x: Any) -> Any:
    return where(x == 0, 1.0, x)


# --- signs, squares and roots ------------------------------------------------------------------
negative = op("negative", np.negative, label="−", doc="-x", formula=lambda x: -x, code="-{x}", dx=lambda g: -g)
positive = op("positive", np.positive, label="+", doc="+x", code="+{x}", dx=lambda g: g)
sign = op("sign", np.sign, doc="the sign of x: -1, 0 or 1", dx=lambda g: 0.0 * g)
abs = op("abs", np.absolute, label="|x|", doc="the absolute value", formula=lambda x: x.like(f"|{x}|"),
         code="np.abs({x})", dx=lambda g, x: g * sign(x))  # fmt: skip
square = op("square", np.square, label="x²", symbol="q", doc="x * x", formula=lambda x: x.suffix("²"), code="{x} ** 2",
            dx=lambda g, x: 2 * x * g)  # fmt: skip
sqrt = op("sqrt", np.sqrt, label="√", doc="the square root", domain=(0.2, 3.0),
          formula=lambda x: x.like(f"√{x.within(ATOM)}"), dx=lambda g, y: g / (2 * y))  # fmt: skip
reciprocal = op("reciprocal", np.reciprocal, label="1/x", doc="1 / x", domain=(0.5, 2.0), formula=lambda x: 1 / x,
                dx=lambda g, y: -g * y * y)  # fmt: skip

# --- exponentials and logarithms ---------------------------------------------------------------
exp = op("exp", np.exp, doc="e to the power of x", dx=lambda g, y: g * y)
exp2 = op("exp2", np.exp2, doc="2 to the power of x", dx=lambda g, y: g * y * math.log(2))
expm1 = op("expm1", np.expm1, doc="exp(x) - 1, exact for small x", dx=lambda g, y: g * (y + 1))
log = op("log", np.log, doc="the natural logarithm", domain=(0.2, 3.0), dx=lambda g, x: g / x)
log2 = op("log2", np.log2, doc="the logarithm to base 2", domain=(0.2, 3.0), dx=lambda g, x: g / (x * math.log(2)))
log10 = op("log10", np.log10, doc="the logarithm to base 10", domain=(0.2, 3.0), dx=lambda g, x: g / (x * math.log(10)))
log1p = op("log1p", np.log1p, doc="log(1 + x), exact for small x", domain=(-0.5, 2.0), dx=lambda g, x: g / (1 + x))
logaddexp = op("logaddexp", np.logaddexp, doc="log(exp(a) + exp(b)), without overflow",
               da=lambda g, a, b: g * sigmoid(a - b),
               db=lambda g, a, b: g * sigmoid(b - a))  # fmt: skip

# --- trigonometric and hyperbolic --------------------------------------------------------------
sin = op("sin", np.sin, doc="the sine of x radians", dx=lambda g, x: g * cos(x))
cos = op("cos", np.cos, doc="the cosine of x radians", dx=lambda g, x: -g * sin(x))
tan = op("tan", np.tan, doc="the tangent of x radians", domain=(-1.2, 1.2), dx=lambda g, y: g * (1 + y * y))
arcsin = op("arcsin", np.arcsin, doc="the inverse sine", domain=(-0.9, 0.9), dx=lambda g, x: g / sqrt(1 - x * x))
arccos = op("arccos", np.arccos, doc="the inverse cosine", domain=(-0.9, 0.9), dx=lambda g, x: -g / sqrt(1 - x * x))
arctan = op("arctan", np.arctan, doc="the inverse tangent", dx=lambda g, x: g / (1 + x * x))
arctan2 = op("arctan2", np.arctan2, doc="the angle of the point (b, a)", domain=(0.5, 2.0),
             da=lambda g, a, b: g * b / _not_zero(a * a + b * b),
             db=lambda g, a, b: -g * a / _not_zero(a * a + b * b))  # fmt: skip
sinh = op("sinh", np.sinh, doc="the hyperbolic sine", dx=lambda g, x: g * cosh(x))
cosh = op("cosh", np.cosh, doc="the hyperbolic cosine", dx=lambda g, x: g * sinh(x))
tanh = op("tanh", np.tanh, doc="the hyperbolic tangent", dx=lambda g, y: g * (1 - y * y), **_activation)
arcsinh = op("arcsinh", np.arcsinh, doc="the inverse hyperbolic sine", dx=lambda g, x: g / sqrt(x * x + 1))
arccosh = op("arccosh", np.arccosh, doc="the inverse hyperbolic cosine", domain=(1.3, 3.0),
             dx=lambda g, x: g / sqrt(x * x - 1))  # fmt: skip
arctanh = op("arctanh", np.arctanh, doc="the inverse hyperbolic tangent", domain=(-0.8, 0.8),
             dx=lambda g, x: g / (1 - x * x))  # fmt: skip

# --- rounding: steps, whose slope is 0 everywhere it exists --------------------------------------
floor = op("floor", np.floor, doc="x rounded down", domain=(0.1, 0.9), dx=lambda g: 0.0 * g)
ceil = op("ceil", np.ceil, doc="x rounded up", domain=(0.1, 0.9), dx=lambda g: 0.0 * g)
trunc = op("trunc", np.trunc, doc="x rounded towards zero", domain=(0.1, 0.9), dx=lambda g: 0.0 * g)
rint = op("rint", np.rint, doc="x rounded to the nearest integer, halves to even", domain=(0.6, 0.9),
          dx=lambda g: 0.0 * g)  # fmt: skip


# --- activations -------------------------------------------------------------------------------
def _relu(x: Any) -> Any:
    return np.maximum(x, 0)


def _sigmoid(x: Any) -> Any:
    e = np.exp(-np.abs(x))  # never overflows, and exact in both tails
    return np.where(np.asarray(x) >= 0, 1, e) / (1 + e)


def _softplus(x: Any) -> Any:
    return np.logaddexp(x, 0)


def _silu(x: Any) -> Any:
    return x * _sigmoid(x)


def _erf(x: Any) -> Any:
    """Return SciPy's error function, or the standard library's where there is no SciPy: same values, slower."""
    values = np.asarray(x)
    dtype = values.dtype if values.dtype.kind == "f" else np.float64
    try:
        from scipy.special import erf as compute
    except ImportError:
        return np.array([math.erf(v) for v in values.ravel().tolist()], dtype).reshape(values.shape)
    out = compute(values)
    return out if out.dtype == dtype else out.astype(dtype)  # SciPy has no half precision


def _erf_scratch(out: Any, x: Any) -> int:
    return 8 * out.size if out.dtype == np.float16 else 0  # SciPy gives halves as float64


def _gelu(x: Any) -> Any:
    return x * (0.5 * (1 + _erf(x * _SQRT_HALF)))


relu = op("relu", _relu, doc="max(x, 0); its slope at 0 is 0", code="np.maximum({x}, 0)",
          dx=lambda g, y: where(y <= 0, 0.0, g), **_activation)  # fmt: skip
sigmoid = op("sigmoid", _sigmoid, label="σ", doc="1 / (1 + exp(-x))", scratch=lambda out, x: 2 * out.nbytes,
             dx=lambda g, y: g * (y * (1 - y)), **_activation)  # fmt: skip
softplus = op("softplus", _softplus, doc="log(1 + exp(x))", code="np.logaddexp({x}, 0)", dx=lambda g, x: g * sigmoid(x),
              **_activation)  # fmt: skip
silu = op("silu", _silu, doc="x * sigmoid(x), also called swish (Elfwing, Uchibe, Doya 2018)",
          scratch=lambda out, x: 2 * out.nbytes,
          dx=lambda g, x: g * (sigmoid(x) * (1 + x * (1 - sigmoid(x)))), **_activation)  # fmt: skip
erf = op("erf", _erf, doc="the error function", scratch=_erf_scratch,
         dx=lambda g, x: g * (2 / math.sqrt(math.pi)) * exp(-x * x))  # fmt: skip
gelu = op("gelu", _gelu, doc="x times the normal distribution function of x (Hendrycks, Gimpel 2016)",
          scratch=lambda out, x: out.nbytes + _erf_scratch(out, x),
          dx=lambda g, x: g * (0.5 * (1 + erf(x * _SQRT_HALF)) + x * (exp(-0.5 * (x * x)) / _SQRT_TAU)),
          **_activation)  # fmt: skip

# --- tests that give booleans ------------------------------------------------------------------
isnan = op("isnan", np.isnan, doc="whether x is not a number")
isinf = op("isinf", np.isinf, doc="whether x is infinite")
isfinite = op("isfinite", np.isfinite, doc="whether x is a finite number")
