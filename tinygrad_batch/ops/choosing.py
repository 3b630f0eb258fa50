"""Operations that choose: extremes, comparisons and `where`.

At a tie the gradient is shared: `maximum` and `minimum` give half to each side. `clip` passes it on
its bounds. These are PyTorch's conventions.
"""

from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..op import case, op


def _where(c: Any, a: Any, b: Any) -> Any:
    # a Python number takes the dtype of the array beside it, on every NumPy version
    if isinstance(a, (int, float)) and not isinstance(b, (int, float)):
        a = np.asarray(a, np.result_type(b)) if np.result_type(b).kind in "fc" else a
    elif isinstance(b, (int, float)) and not isinstance(a, (int, float)):
        b = np.asarray(b, np.result_type(a)) if np.result_type(a).kind in "fc" else b
    if type(c) is np.ndarray and c.size >= _MANY and c.dtype == bool:
        if _zeros(b, a, c):
            return _kept(a, c)
        if _zeros(a, b, c):
            return _kept(b, ~c)
    return np.where(c, a, b)


_MANY = 1024  # elements from which on a shorter way saves more than looking for it costs
_BITS = {np.dtype(np.float32): np.int32, np.dtype(np.float64): np.int64}


def _zeros(value: Any, other: Any, c: np.ndarray) -> bool:
    """Return whether ``value`` is the one number 0.0, not -0.0, and ``other`` an array that is kept or not."""
    return (
        type(value) is type(other) is np.ndarray and value.ndim == 0 and other.shape == c.shape
        and value.dtype == other.dtype in _BITS and value == 0 and not np.signbit(value)
    )  # fmt: skip


def _kept(x: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return the elements of ``x`` where ``c`` is true, else 0.0.

    It is 1 or 0 times the bits of each number, read as an integer: right for NaN and infinity too, and a
    fraction of the time of a choice that no processor foresees.
    """
    return np.multiply(x.view(_BITS[x.dtype]), c.view(np.int8)).view(x.dtype)


where = op(
    "where", _where, doc="a where c is true, else b; NaN in the branch not taken stays there", numpy=np.where,
    code="np.where({c}, {a}, {b})",
    dtype=lambda c, a, b: np.result_type(a, b), scratch=lambda out, c, a, b: 0 if np.shape(a) else c.nbytes,
    cases=[case((2, 3), (2, 3), (2, 3)), case((3,), (2, 1), ()), case((), (), ()), case((0, 2), (2,), ())],
    da=lambda g, c: where(c, g, 0.0),
    db=lambda g, c: where(c, 0.0, g),
)  # fmt: skip
maximum = op(
    "maximum", np.maximum, label="max", doc="the larger of a and b; NaN if either is",
    da=lambda g, a, b: where(a == b, g / 2, where(a < b, 0.0, g)),
    db=lambda g, a, b: where(a == b, g / 2, where(b < a, 0.0, g)),
)  # fmt: skip
minimum = op(
    "minimum", np.minimum, label="min", doc="the smaller of a and b; NaN if either is",
    da=lambda g, a, b: where(a == b, g / 2, where(a > b, 0.0, g)),
    db=lambda g, a, b: where(a == b, g / 2, where(b > a, 0.0, g)),
)  # fmt: skip


def _bound(value: Any) -> Any:
    """Return a bound as a Python number, which never widens what it bounds."""
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, np.generic)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    raise ArgumentError(
        f"the bounds of clip are numbers, not a {type(value).__name__}",
        "Use maximum(x, low) and minimum(x, high) for bounds that are arrays or Tensors",
    )


def _clip(x: Any, low: Any = None, high: Any = None) -> Any:
    low, high = _bound(low), _bound(high)
    if low is None and high is None:
        return np.positive(x)
    return np.clip(x, low, high)


def _clip_rule(g: Any, x: Any, low: Any, high: Any) -> Any:
    if low is not None:
        g = where(x >= low, g, 0.0)
    return g if high is None else where(x <= high, g, 0.0)


clip = op(
    "clip", _clip, shape=lambda x, low=None, high=None: x, numpy=np.clip,
    dtype=lambda x, low=None, high=None: np.result_type(_clip(np.ones((1,), np.result_type(x)), low, high)),
    doc="x limited to the numbers low and high; the gradient passes on the bounds and between them",
    code=lambda x, low, high: "+{x}" if low is None and high is None else "np.clip({x}, {low}, {high})",
    cases=[case((2, 3), low=-1.0, high=0.5), case((3,), low=0.0), case((), high=0.0), case((0,), low=0.0, high=1.0)],
    dx=_clip_rule,
)  # fmt: skip

greater = op("greater", np.greater, label=">", doc="a > b", formula=lambda a, b: a > b, code="{a} > {b}")
greater_equal = op("greater_equal", np.greater_equal, label="≥", doc="a ≥ b", formula=lambda a, b: a >= b,
                   code="{a} >= {b}")  # fmt: skip
less = op("less", np.less, label="<", doc="a < b", formula=lambda a, b: a < b, code="{a} < {b}")
less_equal = op("less_equal", np.less_equal, label="≤", doc="a ≤ b", formula=lambda a, b: a <= b, code="{a} <= {b}")
equal = op("equal", np.equal, label="=", doc="a = b", formula=lambda a, b: a == b, code="{a} == {b}")
not_equal = op("not_equal", np.not_equal, label="≠", doc="a ≠ b", formula=lambda a, b: a != b, code="{a} != {b}")
logical_and = op("logical_and", np.logical_and, label="and", doc="whether both are true", formula=lambda a, b: a & b)
logical_or = op("logical_or", np.logical_or, label="or", doc="whether one is true", formula=lambda a, b: a | b)
logical_not = op("logical_not", np.logical_not, label="not", doc="whether x is false")
