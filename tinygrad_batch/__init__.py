"""tinygrad_batch: what happens in one batch of training, and why there are batches and epochs.

A reverse-mode automatic-differentiation engine on NumPy, a small deep-learning framework on the
engine, and the picture of one batch: forward, backward and update.

>>> import tinygrad_batch as tb
>>> x = tb.tensor([1.0, 2.0, 3.0], requires_grad=True)
>>> (x ** 2).sum().backward()
>>> x.grad
tensor([2., 4., 6.])
"""

from typing import TYPE_CHECKING, Any

from . import data, nn, optim
from .accumulate import accumulate
from .capture import capture
from .creation import (
    arange,
    asarray,
    eye,
    full,
    generator,
    linspace,
    ones,
    ones_like,
    rand,
    randn,
    seed,
    tensor,
    zeros,
    zeros_like,
)
from .data import DataIterator
from .draw import draw
from .errors import TinygradBatchError
from .explain import explain
from .memory import memory, price
from .op import op
from .ops import *
from .ops import __all__ as _operations
from .functional import (
    dot,
    expand_dims,
    flatten,
    gelu_tanh,
    linear,
    matmul,
    outer,
    permute,
    power,
    split,
    squeeze,
    stack,
    swapaxes,
)
from .recompute import checkpoint, checkpoint_sequential
from .state import abstract, enable_grad, is_grad_enabled, no_grad
from .tensor import Tensor, get_default_dtype, set_default_dtype
from .trace import Trace
from .transforms import grad, hvp

if TYPE_CHECKING:
    from .saving import load_checkpoint, save_checkpoint
    from .checks import gradcheck, gradcheck_model, gradgradcheck
    from .replay import compile, to_numpy

__version__ = "0.1.0"
__all__ = [
    "DataIterator",
    "Tensor",
    "TinygradBatchError",
    "Trace",
    "abstract",
    "accumulate",
    "arange",
    "asarray",
    "capture",
    "checkpoint",
    "checkpoint_sequential",
    "compile",
    "data",
    "dot",
    "draw",
    "enable_grad",
    "expand_dims",
    "explain",
    "eye",
    "flatten",
    "full",
    "gelu_tanh",
    "generator",
    "get_default_dtype",
    "grad",
    "gradcheck",
    "gradcheck_model",
    "gradgradcheck",
    "hvp",
    "is_grad_enabled",
    "linear",
    "linspace",
    "load_checkpoint",
    "matmul",
    "memory",
    "nn",
    "no_grad",
    "ones",
    "ones_like",
    "op",
    "optim",
    "outer",
    "permute",
    "power",
    "price",
    "rand",
    "randn",
    "save_checkpoint",
    "seed",
    "set_default_dtype",
    "split",
    "squeeze",
    "stack",
    "swapaxes",
    "tensor",
    "to_numpy",
    "zeros",
    "zeros_like",
]
__all__ += _operations


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})  # also what is loaded only when it is used


def __getattr__(name: str) -> Any:
    if name in ("gradcheck", "gradgradcheck", "gradcheck_model"):  # not needed to train, so not loaded to train
        from . import checks

        return getattr(checks, name)
    if name in ("load_checkpoint", "save_checkpoint"):
        from . import saving

        return getattr(saving, name)
    if name in ("compile", "to_numpy"):
        from . import replay

        return getattr(replay, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
