"""Whole layers and losses as one operation each, for speed.

Each has a definition in plain operations, and that is what a capture records: the picture shows the
product and the sum of a linear layer, while ordinary training runs both in one step. The derivatives
follow from the definition; the registry tests check that value and gradient are the same.
"""

from typing import Any

import numpy as np

from .. import shapes
from ..errors import ShapeError
from ..op import case, op
from .arithmetic import add, subtract
from .elementary import square
from .linear_algebra import cast_copy, matmul
from .reductions import mean
from .shaping import sum_rows


def _affine(x: Any, w: Any, b: Any) -> Any:
    out = x.dot(w)
    if out.shape[1:] != b.shape or out.dtype is not b.dtype:
        _affine_shape(x.shape, w.shape, b.shape)
        return out + b
    out += b
    return out


def _affine_shape(x: shapes.Shape, w: shapes.Shape, b: shapes.Shape) -> shapes.Shape:
    if len(x) != 2 or len(w) != 2 or x[1] != w[0] or b != w[1:]:
        raise ShapeError(
            f"x @ weight + bias of shapes {x} @ {w} + {b}",
            "x has as many columns as the weight has rows, and the bias is as long as the weight is wide",
        )
    return x[0], w[1]


def _affine_scratch(out: Any, x: Any, w: Any, b: Any) -> int:
    dtype = np.result_type(x, w)
    copies, product = cast_copy(dtype, x) + cast_copy(dtype, w), out.size * dtype.itemsize
    # a bias of another dtype is not added in place, and the product stands beside the result
    return copies if dtype == b.dtype else max(copies + product - out.nbytes, product)


def _mean_square_shape(a: shapes.Shape, b: shapes.Shape) -> shapes.Shape:
    if a != b:
        raise ShapeError(f"the mean squared error compares equal shapes, not {a} and {b}")
    return ()


def _mean_square(a: Any, b: Any) -> Any:
    if a.shape != b.shape:
        _mean_square_shape(a.shape, b.shape)
    e = a - b
    if e.dtype.char not in "fdg" or e.size == 0:  # the sum of many halves would overflow
        return np.mean(np.square(e))
    return np.array(float(np.vdot(e, e)) / e.size, e.dtype)


def _mean_square_scratch(out: Any, a: Any, b: Any) -> int:
    dtype = np.result_type(a, b)
    return a.size * dtype.itemsize * (1 if dtype.char in "fdg" else 2)  # their difference, and its square


affine = op(
    "affine", _affine, symbol="z", doc="x @ w + b, a fully connected layer on a matrix of rows",
    shape=_affine_shape, flops=lambda out, x, w, b: 2 * out[0] * out[1] * x[1] + out[0] * out[1],
    expand=lambda x, w, b: add(matmul(x, w), b), formula=lambda x, w, b: x @ w + b, code="{x} @ {w} + {b}",
    scratch=_affine_scratch,
    cases=[case((4, 2), (2, 3), (3,)), case((0, 2), (2, 3), (3,))],
    dx=lambda g, w: g.dot(w.T),
    dw=lambda g, x: x.T.dot(g),
    db=lambda g: sum_rows(g),
)  # fmt: skip
mean_square = op(
    "mean_square", _mean_square, symbol="loss", doc="the mean of (a - b)²", shape=_mean_square_shape,
    scratch=_mean_square_scratch,
    flops=lambda out, a, b: 3 * int(np.prod(a)), expand=lambda a, b: mean(square(subtract(a, b))),
    code="np.mean(({a} - {b}) ** 2)",
    aligned=lambda a, b: a.dtype is b.dtype, cases=[case((3,), (3,)), case((4, 1), (4, 1)), case((), ())],
    da=lambda g, a, b: (a - b) * (2 / (a.size or 1)) * g,
    db=lambda g, a, b: (b - a) * (2 / (a.size or 1)) * g,
    dtype=lambda a, b: np.result_type(a, b, np.float64 if np.result_type(a, b).kind in "iub" else np.result_type(a, b)),
)  # fmt: skip
