"""Products of matrices."""

from typing import Any

import numpy as np

from .. import shapes
from ..op import case, op
from .shaping import matrix_transpose


def _matmul(a: Any, b: Any) -> Any:
    # for two plain matrices ndarray.dot is the same BLAS call with half of matmul's overhead
    return a.dot(b) if a.ndim == 2 == b.ndim else np.matmul(a, b)


def cast_copy(dtype: Any, operand: Any, size: int | None = None) -> int:
    """Return the bytes of the copy that a product in ``dtype`` makes of an operand of another dtype, whole or in part.

    An elementwise function casts in a small buffer; a product of matrices casts all of its factors first.
    """
    return 0 if operand.dtype == dtype else (operand.size if size is None else size) * dtype.itemsize


matmul = op(
    "matmul", _matmul, label="@", symbol="m", doc="the matrix product of two matrices, or of stacks of them",
    shape=shapes.matmul, flops=lambda out, a, b: 2 * int(np.prod(out)) * a[-1], formula=lambda a, b: a @ b,
    code="{a} @ {b}", scratch=lambda out, a, b: cast_copy(out.dtype, a) + cast_copy(out.dtype, b),
    aligned=lambda a, b: a.ndim == 2 == b.ndim and a.dtype is b.dtype,
    cases=[
        case((2, 3), (3, 4)), case((0, 3), (3, 2)),
        case((5, 2, 3), (3, 4)), case((2, 3), (5, 3, 1)), case((2, 1, 2, 3), (3, 3, 2)),
    ],
    da=lambda g, b: matmul(g, matrix_transpose(b)),
    db=lambda g, a: matmul(matrix_transpose(a), g),
)  # fmt: skip
