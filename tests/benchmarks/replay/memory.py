"""Peak memory of one step: ``python -m replay.memory NAME ROWS traced|resident``, a process of its own.

What is counted is everything beyond the data, the parameters and one gradient for each of them, as a
multiple of the activations: the outputs of the three layers.
"""

from __future__ import annotations

import gc
import json
import sys
import tracemalloc
from pathlib import Path
from typing import Any

from contestants import Problem, by_hand

from .contestant import Contestant, find, reason
from .names import EVERYBODY, JAX_SCAN, NUMPY, STREAMED
from .processes import run

WIDTHS, DTYPE, WARM_UP = (784, 512, 512, 10), "float32", 64
ROWS = (512, 2048, 8192)
WAYS = ("traced", "resident")
NAMES = tuple(name for name in (*EVERYBODY[:2], STREAMED, *EVERYBODY[2:]) if name != JAX_SCAN)


class Traced:
    """Bytes that Python and NumPy have allocated, by tracemalloc."""

    def __init__(self) -> None:
        tracemalloc.start()

    def now(self) -> int:
        """Return the bytes held."""
        return tracemalloc.get_traced_memory()[0]

    def forget(self) -> None:
        """Let the peak begin at what is held now."""
        tracemalloc.reset_peak()

    def peak(self) -> int:
        """Return the most since then."""
        return tracemalloc.get_traced_memory()[1]


class Resident:
    """Bytes of the process that are in memory, as Linux counts them."""

    def now(self) -> int:
        """Return the bytes held."""
        return self._status("VmRSS")

    def forget(self) -> None:
        """Let the peak begin at what is held now."""
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")

    def peak(self) -> int:
        """Return the most since then."""
        return self._status("VmHWM")

    def _status(self, key: str) -> int:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key))


def measure() -> dict[str, Any]:
    """Return the peaks of everybody at the most rows, and those of ours at fewer."""
    return {
        "widths": WIDTHS,
        "peaks": {name: {way: _run(name, ROWS[-1], way) for way in WAYS} for name in NAMES},
        "rows": {name: {str(rows): _run(name, rows, "traced") for rows in ROWS} for name in (NUMPY, STREAMED)},
    }


def _run(name: str, rows: int, way: str) -> dict[str, Any]:
    """Return the peaks of one contestant, or why there are none."""
    try:
        # Blocks above 128 KiB go back to the system when they are freed, so that a second peak can be seen.
        return run("memory", name, rows, way, MALLOC_MMAP_THRESHOLD_="131072")
    except RuntimeError as error:
        return {"absent": str(error)}


def peaks(name: str, rows: int, way: str) -> dict[str, Any]:
    """Return the peaks of the first step and of those after it."""
    try:
        contestant = find(name)
        if way == "traced" and not contestant.traced:
            return {"absent": "it allocates where tracemalloc does not look"}
        return _peaks(contestant, rows, way)
    except Exception as error:  # whatever it is, it is told, and the others go on
        return {"absent": reason(error)}


def _peaks(contestant: Contestant, rows: int, way: str) -> dict[str, Any]:
    problem = Problem.random(WIDTHS, rows, DTYPE)
    x, y = contestant.array(problem.x), contestant.array(problem.y)
    by_hand(problem)(problem.x, problem.y)  # NumPy's BLAS keeps some workspace, whoever calls it
    small = Problem.random(WIDTHS, WARM_UP, DTYPE)
    contestant.net(small)(contestant.array(small.x), contestant.array(small.y))  # loads what is loaded once
    parameters = sum(array.nbytes for array in problem.parameters())
    gc.collect()
    meter = Traced() if way == "traced" else Resident()
    before = meter.now() + 2 * parameters
    train = contestant.net(problem)
    meter.forget()
    train(x, y)
    first = meter.peak() - before
    gc.collect()
    meter.forget()
    for _ in range(3):
        train(x, y)
    later = meter.peak() - before
    activations = rows * sum(WIDTHS[1:]) * problem.x.itemsize
    return {"first": first / activations, "later": later / activations, "bytes": later}


if __name__ == "__main__":
    print(json.dumps(peaks(sys.argv[1], int(sys.argv[2]), sys.argv[3])))
