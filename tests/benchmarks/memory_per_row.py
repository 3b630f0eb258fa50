"""Bytes that each row of the batch adds to the peak of one training step, as tracemalloc sees it."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

from contestants import BY_HAND, PYTORCH, Problem, steps

TITLE = "Peak memory of one training step, bytes a row (10-15-10-1, float64)"
FEW, MANY = 2_000, 12_000


def measure(rounds: int) -> dict[str, Any]:
    """Return the bytes a row; they do not vary, so one round is enough."""
    few, missing = steps(Problem.random((10, 15, 10, 1), FEW, "float64"))
    many, _ = steps(Problem.random((10, 15, 10, 1), MANY, "float64"))
    names = [name for name in few if name != PYTORCH]
    figures = {name: (_peak(many[name]) - _peak(few[name])) / (MANY - FEW) for name in names}
    return {"bytes a row": figures, "not installed": [name for name in missing if name != PYTORCH]}


def lines(figures: dict[str, Any]) -> list[str]:
    """Return the figures as a table."""
    per_row = figures["bytes a row"]
    table = [f"{name:<16}{count:>8.0f}   {count / per_row[BY_HAND]:.2f} of by hand" for name, count in per_row.items()]
    table += [f"{name}: not installed" for name in figures["not installed"]]
    return [*table, f"{PYTORCH}: skipped, it allocates outside of what tracemalloc sees"]


def _peak(step: Any) -> int:
    """Return the most that a step had allocated at one time, beyond what there was before it."""
    gc.collect()
    tracemalloc.start()
    try:
        step()  # whatever is made once and then kept
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        step()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
