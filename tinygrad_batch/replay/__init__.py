"""Replay: one captured batch becomes a compiled training step."""

from typing import TYPE_CHECKING, Any

from .compiled import CacheInfo, CompiledStep, compile
from .weigh import StepMemory

if TYPE_CHECKING:
    from .lesson import to_numpy

__all__ = ["CacheInfo", "CompiledStep", "StepMemory", "compile", "to_numpy"]


def __getattr__(name: str) -> Any:
    if name == "to_numpy":  # not needed to run
        from .lesson import to_numpy

        return to_numpy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
