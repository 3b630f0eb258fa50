"""The backends: what makes something that runs of a program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from ..program import Program, Variable
from .passes.arrange import arrange


class Executable(Protocol):
    """What a backend makes of a program.

    Call it with the inputs in order, then the hyperparameters as Python floats; it returns the outputs
    as fresh arrays, and overwrites the arrays of the living variables.

    """

    @property
    def nbytes(self) -> int:
        """Bytes of its buffers."""

    @property
    def source(self) -> str:
        """The code that runs."""

    def __call__(self, *given: Any) -> tuple[np.ndarray, ...]:
        """Run once."""


Build = Callable[[Program, dict[Variable, np.ndarray]], Executable]


def _numpy() -> Build:
    from .plan import build

    return _arranged(build)


def _native() -> Build:
    from .native import build

    return _arranged(build)


def _arranged(build: Build) -> Build:
    return lambda program, live: build(arrange(program), live)


BACKENDS: dict[str, Callable[[], Build]] = {"numpy": _numpy, "native": _native}
