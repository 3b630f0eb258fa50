"""Sums, products, quotients and powers."""

import math
from typing import Any

import numpy as np

from ..op import case, op
from .choosing import where
from .elementary import floor, log

add = op(
    "add", np.add, label="+", symbol="z", doc="a + b", formula=lambda a, b: a + b, code="{a} + {b}",
    da=lambda g: g,
    db=lambda g: g,
)  # fmt: skip
subtract = op(
    "subtract", np.subtract, label="−", symbol="e", doc="a - b", formula=lambda a, b: a - b, code="{a} - {b}",
    da=lambda g: g,
    db=lambda g: -g,
)  # fmt: skip
multiply = op(
    "multiply", np.multiply, label="×", symbol="p", doc="a * b", formula=lambda a, b: a * b, code="{a} * {b}",
    da=lambda g, b: g * b,
    db=lambda g, a: g * a,
)  # fmt: skip
divide = op(
    "divide", np.divide, label="÷", doc="a / b", formula=lambda a, b: a / b, code="{a} / {b}",
    domain=(0.5, 2.0),
    da=lambda g, b: g / b,
    db=lambda g, b, y: -g * y / b,
)  # fmt: skip


def _power_base(g: Any, a: Any, b: Any) -> Any:
    if isinstance(b, (int, float)):  # a Python number stays one: made an array, it would widen the gradient
        return _power_of(g, a, b)
    return where(b == 0, 0.0, g * b * a ** where(b == 0, 1.0, b - 1))


def _power_exponent(g: Any, a: Any, b: Any, y: Any) -> Any:
    if isinstance(a, (int, float)):
        return g * y * (math.log(a) if a > 0 else 0.0 if a == 0 else math.nan)
    constant = (a == 0) & (b >= 0)
    return where(constant, 0.0, g * y * log(where(constant, 1.0, a)))


power = op(
    "power", np.power, doc="a ** b, where the exponent may be an array", formula=lambda a, b: a**b,
    domain=(0.5, 2.0), code="{a} ** {b}",
    da=_power_base,
    db=_power_exponent,
)  # fmt: skip
remainder = op(
    "remainder", np.remainder, label="mod", doc="the remainder of a / b, with the sign of b", domain=(0.6, 0.9),
    code="{a} % {b}",
    da=lambda g: g,
    db=lambda g, a, b: -g * floor(a / b),
)  # fmt: skip
floor_divide = op("floor_divide", np.floor_divide, doc="a / b rounded down; no gradient", domain=(0.5, 2.0),
                  code="{a} // {b}")  # fmt: skip


def _power_of(g: Any, x: Any, exponent: float) -> Any:
    # the constant x**0 has gradient 0 even where x is 0 and x**-1 is infinite
    return exponent * x ** (exponent - 1) * g if exponent else 0.0 * g


power_of = op(
    "power_of", lambda x, exponent=2: x**exponent, doc="x to the power of a number", shape=lambda x, exponent=2: x,
    formula=lambda x, exponent: x**exponent, code="{x} ** {exponent}",
    dtype=lambda x, exponent=2: (np.ones(1, np.result_type(x)) ** exponent).dtype,
    cases=[case((2, 3), exponent=3), case((3,), exponent=0), case((), exponent=-1.5, domain=(0.5, 2.0)), case((0, 2))],
    dx=_power_of,
)  # fmt: skip
