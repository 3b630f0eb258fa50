"""Small products on one BLAS thread.

A matrix product of some hundred thousand multiplications is split over all threads of the BLAS library,
though it takes microseconds: where another process keeps a core busy, the threads wait for each other
many times longer than they compute. So a step that is small as a whole runs on one thread. This needs
the package threadpoolctl, which finds the libraries; without it the setting stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ..op import TABLE
from ..program import Instruction, Program, Variable
from .backends import Executable

THREADED = 1 << 18  # OpenBLAS runs a product of fewer multiply-adds on one thread anyway (its interface/gemm.c)
SMALL = 100_000_000  # floating-point operations of a step that one thread does in a few milliseconds


class OneThread:
    """An executable that sets BLAS to one thread while it runs, and back again."""

    def __init__(self, executable: Executable, libraries: Sequence[Any]) -> None:
        self.executable = executable
        self._libraries = libraries
        self.nbytes = executable.nbytes
        self.source = executable.source
        self.is_whole = getattr(executable, "is_whole", False)
        if self.is_whole:
            self.epoch = partial(self._limited, executable.epoch)  # type: ignore[attr-defined]

    def __call__(self, *given: Any) -> Any:
        """Run once."""
        return self._limited(self.executable, *given)

    def _limited(self, function: Callable[..., Any], *given: Any) -> Any:
        before = [library.num_threads for library in self._libraries]
        for library in self._libraries:
            library.set_num_threads(1)
        try:
            return function(*given)
        finally:
            for library, count in zip(self._libraries, before, strict=True):
                library.set_num_threads(count)


def on_one_thread(executable: Executable, program: Program) -> Executable:
    """Return what runs a program on one BLAS thread, if it is small but its products would be split."""
    products = [_multiplications(i) for i in program.instructions if i.op in _PRODUCTS]
    if not products or max(products) < THREADED or flops(program) > SMALL:
        return executable
    libraries = [library for library in blas_libraries() if (library.num_threads or 1) > 1]
    return OneThread(executable, libraries) if libraries else executable


def flops(program: Program) -> int:
    """Return the floating-point operations of a program."""
    total = 0
    for instruction in program.instructions:
        if instruction.op in TABLE:
            entry = instruction.entry
            shapes = [getattr(v, "shape", ()) for v in instruction.inputs]
            options = {**entry.defaults, **instruction.options}
            total += entry.flops(instruction.output.shape, *([shapes] if entry.variadic else shapes), **options)
    return total


_PRODUCTS = {"matmul", "affine", "correlate", "correlate_back", "correlate_kernels"}


def _multiplications(instruction: Instruction) -> int:
    """Return the multiply-adds of a product of matrices, or of pictures and kernels."""
    a, b = instruction.inputs[:2]
    if not (isinstance(a, Variable) and isinstance(b, Variable) and len(a.shape) > 1 and len(b.shape) > 1):
        return 0
    if instruction.op.startswith("correlate"):
        return instruction.entry.flops(instruction.output.shape, a.shape, b.shape) // 2
    return a.shape[-2] * a.shape[-1] * b.shape[-1]


def blas_libraries() -> list[Any]:
    """Return the BLAS libraries that are loaded, to be told their number of threads; none without threadpoolctl."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return []
    return list(ThreadpoolController().select(user_api="blas").lib_controllers)
