"""Products of matrices."""

from typing import Any

import numpy as np

from .. import shapes
from ..op import case, op
from .shaping import matrix_transpose


def _matmul(a: Any, b: Any) -> Any:
    # for two plain matrices ndarray.dot is the same BLAS call with half of matmul's overhead
    return a.dot(b) if a.ndim == 2 == b.ndim else np.matmul(a, b)


matmul = op(
    "matmul", _matmul, label="@", symbol="m", doc="the matrix product of two matrices, or of stacks of them",
    shape=shapes.matmul, flops=lambda out, a, b: 2 * int(np.prod(out)) * a[-1], formula=lambda a, b: a @ b,
    code="{a} @ {b}",
    aligned=lambda a, b: a.ndim == 2 == b.ndim and a.dtype is b.dtype,
    cases=[
        case((2, 3), (3, 4)), case((0, 3), (3, 2)),
        case((5, 2, 3), (3, 4)), case((2, 3), (5, 3, 1)), case((2, 1, 2, 3), (3, 3, 2)),
    ],
    da=lambda g, b: matmul(g, matrix_transpose(b)),
    db=lambda g, a: matmul(matrix_transpose(a), g),
)  # fmt: skip
