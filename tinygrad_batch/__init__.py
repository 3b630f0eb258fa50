"""tinygrad_batch: what happens in one batch of training, and why there are batches and epochs."""


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
from .ops import *
from .state import abstract, enable_grad, is_grad_enabled, no_grad
from .tensor import Tensor, get_default_dtype, set_default_dtype

__version__ = "0.1.0"
