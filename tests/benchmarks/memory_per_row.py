"""Bytes that each row of the batch adds to the peak of one training step: allocated, and resident."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tracemalloc
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from contestants import ALL, ARRAYS, BY_HAND, PYTORCH, Problem, Step, steps

TITLE = "Peak memory of one training step, bytes a row (10-15-10-1, float64)"
WIDTHS = (10, 15, 10, 1)
FEW, MANY = 20_000, 120_000
FEW_RESIDENT, MANY_RESIDENT = 500_000, 2_500_000  # so that what is loaded on the way hardly counts


def measure(rounds: int) -> dict[str, Any]:
    """Return the bytes a row; they do not vary, so one round is enough."""
    few, missing = steps(Problem.random(WIDTHS, FEW, "float64"))
    many, _ = steps(Problem.random(WIDTHS, MANY, "float64"))
    allocated = {
        name: (_peak(many[name]) - _peak(few[name])) / (MANY - FEW) for name in few if name != PYTORCH
    }  # PyTorch allocates where tracemalloc does not look
    resident = {
        name: (_in_a_process(name, MANY_RESIDENT) - _in_a_process(name, FEW_RESIDENT)) / (MANY_RESIDENT - FEW_RESIDENT)
        for name in few
    }
    return {"bytes a row": allocated, "resident bytes a row": resident, "not installed": list(missing)}


def lines(figures: dict[str, Any]) -> list[str]:
    """Return the figures as a table."""
    allocated, resident = figures["bytes a row"], figures["resident bytes a row"]
    table = [f"{'':<16}{'allocated':>10}{'resident':>10}"]
    for name, count in resident.items():
        traced = f"{allocated[name]:.0f}" if name in allocated else "unseen"
        table.append(f"{name:<16}{traced:>10}{count:>10.0f}   {count / resident[BY_HAND]:.2f} of by hand")
    return [*table, *(f"{name}: not installed" for name in figures["not installed"])]


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


def _in_a_process(name: str, rows: int) -> int:
    """Return by how much the resident memory of a fresh process peaks above what it has before; the median of 3."""
    command = [sys.executable, __file__, name, str(rows)]
    peaks = [subprocess.run(command, capture_output=True, check=True, text=True).stdout for _ in range(3)]
    return int(median(json.loads(peak) for peak in peaks))


def _resident_peak(name: str, rows: int) -> int:
    for _ in range(3):
        _step(name, 100)()  # threads, caches and everything else that has nothing to do with the rows
    step = _step(name, rows)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    before = _kilobytes("VmRSS")
    for _ in range(3):
        step()
    return (_kilobytes("VmHWM") - before) * 1024


def _step(name: str, rows: int) -> Step:
    problem = Problem.random(WIDTHS, rows, "float64")
    array = ARRAYS.get(name, np.asarray)
    return partial(ALL[name](problem), array(problem.x), array(problem.y))


def _kilobytes(field: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field))


if __name__ == "__main__":
    print(json.dumps(_resident_peak(sys.argv[1], int(sys.argv[2]))))
