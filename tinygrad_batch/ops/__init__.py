"""The table of derivatives.

Open `elementary`, `arithmetic` or `linear_algebra` and read: an operation is one entry, a derivative
is one line.
"""

from ..op import OpFunction
from .arithmetic import *
from .choosing import *
from .correlation import *
from .elementary import *
from .indexing import *
from .linear_algebra import *
from .merged import *
from .random import *
from .reductions import *
from .shaping import *
from .windows import *

# Parts that users meet inside another function of the same purpose, in `tinygrad_batch.functional`.
_PARTS = {
    *("affine", "mean_square", "sum_rows", "pick", "place", "random_mask", "add_windows"),
    *("correlate", "correlate_back", "correlate_kernels", "columns", "add_columns"),
    *("matmul", "power", "power_of", "prod_others", "spread", "unbroadcast"),
}

__all__ = sorted(name for name, value in list(globals().items()) if hasattr(value, "op") and name not in _PARTS)
