"""Layers, losses and initialisers: modules made of Tensors."""

from . import functional, init
from .convolution import Conv2d, MaxPool2d
from .layers import GELU, Dropout, Flatten, Identity, Linear, ReLU, Sequential, Sigmoid, SiLU, Softplus, Tanh
from .losses import BCEWithLogitsLoss, CrossEntropyLoss, HuberLoss, L1Loss, Loss, MSELoss
from .module import Module, Parameter
from .normalise import BatchNorm1d, LayerNorm
from .summary import Summary, summarize

__all__ = [
    "GELU",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "HuberLoss",
    "Identity",
    "L1Loss",
    "LayerNorm",
    "Linear",
    "Loss",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "Parameter",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Summary",
    "Tanh",
    "functional",
    "init",
    "summarize",
]
