"""tinygrad_batch: what happens in one batch of training, and why there are batches and epochs.

A reverse-mode automatic-differentiation engine on NumPy, a small deep-learning framework on the
engine, and the picture of one batch: forward, backward and update.

>>> import tinygrad_batch as tb
>>> x = tb.tensor([1.0, 2.0, 3.0], requires_grad=True)
>>> (x ** 2).sum().backward()
>>> x.grad
tensor([2., 4., 6.])
"""

from . import data, nn, optim
from .capture import capture
from .checks import GradcheckReport, gradcheck, gradcheck_model, gradgradcheck
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
from .draw import Drawing, draw
from .errors import TinygradBatchError
from .memory import memory
from .op import op
from .ops import *  # isort: split
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
from .state import abstract, enable_grad, is_grad_enabled, no_grad
from .tensor import Tensor, get_default_dtype, set_default_dtype
from .trace import Trace
from .transforms import grad

__version__ = "0.1.0"
