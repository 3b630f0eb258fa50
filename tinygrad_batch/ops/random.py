"""Operations that draw fresh numbers each time they run.

They get the generator to draw from as an option, so that whoever runs them again, later or in another
order, decides what is drawn.
"""

from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..formula import number
from ..op import case, op
from ..state import state


def _generator(rng: Any) -> np.random.Generator:
    """Return the generator to draw from, noting where it stands for whoever wants to draw the same again."""
    drawn_from = np.random.default_rng(rng)
    if state.draws is not None:
        state.draws.append((drawn_from, drawn_from.bit_generator.state))
    return drawn_from


def _dtype(x: Any, keep: float = 1.0, rng: Any = None) -> Any:
    """Return the floating dtype of x; a mask for integers is of the default one, for 1/keep is no integer."""
    dtype = np.result_type(x)
    return dtype if dtype.kind == "f" else np.dtype(np.float64)


def _random_mask(x: Any, keep: float = 1.0, rng: Any = None) -> Any:
    if not 0 <= keep <= 1:
        raise ArgumentError(f"keep is a probability from 0 to 1, not {keep}")
    if rng is None:
        raise ArgumentError(
            "random_mask was given no generator to draw from",
            "Pass rng=tb.generator() for the package's own, or a seed; nn.Dropout does so by itself",
        )
    kept = _generator(rng).random(np.shape(x)) < keep
    dtype = _dtype(x)
    return np.multiply(kept, dtype.type(1 / keep if keep else 0), dtype=dtype)


def _cast_code(x: Any) -> str:
    return "" if _dtype(x) == np.float64 else f".astype(np.{_dtype(x)})"


def _mask_code(x: Any, keep: float, rng: Any) -> str:
    return "({rng}.random({x}.shape) < {keep})" + _cast_code(x) + (" / {keep}" if keep else " / 1.0")


random_mask = op(
    "random_mask", _random_mask, label="mask", symbol="mask", random=True, dtype=_dtype,
    doc="1 / keep where an element of x is kept, which happens with probability keep, else 0; no gradient",
    shape=lambda x, keep=1.0, rng=None: x, scratch=lambda out, x, **o: max(9 * out.size - out.nbytes, out.size),
    formula=lambda x, keep, rng: x.like(f"mask(keep={number(keep)})"),
    code=_mask_code,
    cases=[case((3, 4), keep=0.8, rng=0), case((), keep=0.5, rng=1), case((5,), keep=0.0, rng=2),
           case((2, 3, 4), keep=1.0, rng=3), case((0, 2), keep=0.5, rng=4)],
)  # fmt: skip


def _drawn_wide(out: Any, x: Any, rng: Any) -> int:
    """Return the bytes of the float64 numbers that are drawn where others are wanted."""
    return 0 if out.dtype == np.float64 else 8 * out.size


def _random_uniform(x: Any, rng: Any = None) -> Any:
    return _generator(rng).random(np.shape(x)).astype(_dtype(x), copy=False)


def _random_normal(x: Any, rng: Any = None) -> Any:
    return np.asarray(_generator(rng).standard_normal(np.shape(x))).astype(_dtype(x), copy=False)


random_uniform = op(
    "random_uniform", _random_uniform, label="random", symbol="r", random=True, dtype=_dtype, scratch=_drawn_wide,
    doc="numbers drawn uniformly from [0, 1), as many as x has elements; no gradient",
    shape=lambda x, rng=None: x, formula=lambda x, rng: x.like("uniform numbers"),
    code=lambda x, rng: "{rng}.random({x}.shape)" + _cast_code(x),
    cases=[case((3, 4), rng=0), case((), rng=1), case((0, 2), rng=2)],
)  # fmt: skip
random_normal = op(
    "random_normal", _random_normal, label="random", symbol="r", random=True, dtype=_dtype, scratch=_drawn_wide,
    doc="numbers drawn from the standard normal distribution, as many as x has elements; no gradient",
    shape=lambda x, rng=None: x, formula=lambda x, rng: x.like("normal numbers"),
    code=lambda x, rng: "{rng}.standard_normal({x}.shape)" + _cast_code(x),
    cases=[case((3, 4), rng=0), case((), rng=1), case((0, 2), rng=2)],
)  # fmt: skip
