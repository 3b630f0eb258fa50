"""Data on their way into training: batches, epochs, splits, and small data sets to learn with.

One idea a file: `sampler` (which rows make up which batch), `iterator` (the loop), `splits` (rows held
out, columns on one scale), `datasets` and `synthetic` (something to train on), `files` (your own).
"""

from typing import TYPE_CHECKING, Any

from .iterator import DataIterator, Epoch
from .splits import Standardized, standardize, train_test_split

if TYPE_CHECKING:
    from .datasets import Dataset, load_diabetes, load_digits, load_file
    from .synthetic import make_moons, make_regression, make_spirals, make_xor

__all__ = [
    "DataIterator",
    "Dataset",
    "Epoch",
    "Standardized",
    "load_diabetes",
    "load_digits",
    "load_file",
    "make_moons",
    "make_regression",
    "make_spirals",
    "make_xor",
    "standardize",
    "train_test_split",
]


def __getattr__(name: str) -> Any:  # reading files needs half the standard library; load it when a file is read
    if name.startswith("make_") and name in __all__:
        from . import synthetic

        return getattr(synthetic, name)
    if name == "Dataset" or (name.startswith("load_") and name in __all__):
        from . import datasets

        return getattr(datasets, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
