"""The NumPy backend: a program becomes one straight-line Python function with buffers of its own."""

from .executable import Executable, build

__all__ = ["Executable", "build"]
