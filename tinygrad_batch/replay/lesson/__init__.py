"""The lesson: a captured batch, printed as plain NumPy."""

from .printer import to_numpy

__all__ = ["to_numpy"]
