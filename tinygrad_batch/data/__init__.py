"""Data on their way into training: batches, epochs, splits, and small data sets to learn with.

One idea a file: `sampler` (which rows make up which batch), `iterator` (the loop), `splits` (rows held
out, columns on one scale), `datasets` and `synthetic` (something to train on), `files` (your own).
"""

from .datasets import Dataset, load_diabetes, load_digits, load_file
from .iterator import DataIterator, Epoch
from .splits import Standardized, standardize, train_test_split
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
