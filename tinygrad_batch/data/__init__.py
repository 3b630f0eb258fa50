"""Data on their way into training."""

from typing import TYPE_CHECKING, Any

from .epoch import Epoch
from .iterator import DataIterator
from .samplers import Blocks, Bucketed, Sequential, Shuffled, Stratified, Weighted
from .splits import Standardized, standardize, train_test_split
from .stream import Stream

if TYPE_CHECKING:
    from .datasets import Dataset, load_diabetes, load_digits, load_file
    from .parquet import Parquet
    from .synthetic import make_moons, make_regression, make_spirals, make_xor

__all__ = [
    "Blocks",
    "Bucketed",
    "DataIterator",
    "Dataset",
    "Epoch",
    "Parquet",
    "Sequential",
    "Shuffled",
    "Standardized",
    "Stratified",
    "Stream",
    "Weighted",
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
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name.startswith("make_"):
        from . import synthetic

        return getattr(synthetic, name)
    if name == "Parquet":
        from .parquet import Parquet

        return Parquet
    from . import datasets

    return getattr(datasets, name)
