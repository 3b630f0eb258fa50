"""What ``import tinygrad_batch`` adds to ``import numpy``, in fresh processes."""

from __future__ import annotations

import os
import subprocess
import sys
from statistics import median
from typing import Any

TITLE = "Import, on top of NumPy's"
TARGET = 60.0
CODE = "from time import perf_counter; start = perf_counter(); import {}; print(perf_counter() - start)"


def measure(rounds: int) -> dict[str, Any]:
    """Return milliseconds."""
    for name in ("numpy", "tinygrad_batch"):
        _seconds(name)  # so that the compiled files are there, and the disk has been read
    numpy, both = [], []
    for _ in range(rounds):
        numpy.append(_seconds("numpy"))
        both.append(_seconds("tinygrad_batch"))
    extra = median(b - a for a, b in zip(numpy, both, strict=True))
    return {"numpy ms": 1e3 * median(numpy), "tinygrad_batch ms": 1e3 * extra, "target": TARGET}


def lines(figures: dict[str, Any]) -> list[str]:
    """Return the figures as a table."""
    return [
        f"numpy alone            {figures['numpy ms']:>6.0f} ms",
        f"tinygrad_batch adds    {figures['tinygrad_batch ms']:>6.0f} ms   target {figures['target']:.0f} ms",
    ]


def _seconds(module: str) -> float:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", CODE.format(module)]
    return float(subprocess.run(command, env=environment, capture_output=True, check=True, text=True).stdout)
