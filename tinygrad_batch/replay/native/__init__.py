"""Machine code: a program as one function of vector instructions, made by LLVM."""

from .executable import Executable, build

__all__ = ["Executable", "build"]
