"""tinygrad_batch: what happens in one batch of training, and why there are batches and epochs."""


from . import data, nn, optim
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
from .ops import *
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
from .op import op
from .state import abstract, enable_grad, is_grad_enabled, no_grad
from .tensor import Tensor, get_default_dtype, set_default_dtype
from .trace import Trace

__version__ = "0.1.0"
