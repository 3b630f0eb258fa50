"""What it costs to compile: ``python -m replay.first_calls NAME alone|prepared``, a process of its own.

The cost is the time of the first three calls of a small net, less three times that of a later one; some
packages compile in their second call. In a process that is prepared, everything has been imported, and
another net has been compiled.
"""

from __future__ import annotations

import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from contestants import Problem

from .contestant import find, reason
from .names import INDUCTOR, JAX, NATIVE, NUMPY, TINYGRAD
from .processes import run

NAMES = (NUMPY, NATIVE, INDUCTOR, JAX, TINYGRAD)
PREPARED_BY = {NATIVE: NUMPY}  # so that nothing native is in any cache
MOST = 3  # processes of each kind: some compile for half a minute


def measure(rounds: int) -> dict[str, Any]:
    """Return the medians in seconds, or why there are none."""
    return {name: _measured(name, min(rounds, MOST)) for name in NAMES}


def _measured(name: str, rounds: int) -> dict[str, Any]:
    found: dict[str, list[float]] = {"cold": [], "warm": [], "alone": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
            for kind, folder in (("cold", first), ("warm", first), ("alone", second)):
                seconds = run("first_calls", name, "alone" if kind == "alone" else "prepared", **_caches(folder))
                if isinstance(seconds, str):
                    return {"absent": seconds}
                found[kind].append(seconds)
    return {kind: median(seconds) for kind, seconds in found.items()}


def _caches(folder: str) -> dict[str, str]:
    """Return the environment in which everybody keeps what it compiled in a folder."""
    place = Path(folder)
    return {
        "TINYGRAD_BATCH_CACHE": str(place / "ours"),
        "TORCHINDUCTOR_CACHE_DIR": str(place / "inductor"),
        "CACHEDB": str(place / "tinygrad.db"),
    }


def seconds(name: str, kind: str) -> float | str:
    """Return what compiling costs in this process, or why it cannot be said."""
    try:
        if kind == "prepared":
            _cost(PREPARED_BY.get(name, name), (3, 5, 4, 2), 6)
        return _cost(name, (10, 15, 10, 1), 10)
    except Exception as error:  # whatever it is, it is told, and the others go on
        return reason(error)


def _cost(name: str, widths: tuple[int, int, int, int], rows: int) -> float:
    contestant = find(name)
    problem = Problem.random(widths, rows, "float32")
    x, y = contestant.array(problem.x), contestant.array(problem.y)
    start = perf_counter()
    step = partial(contestant.net(problem), x, y)
    for _ in range(3):
        step()
    first = perf_counter() - start
    later = []
    for _ in range(21):
        start = perf_counter()
        step()
        later.append(perf_counter() - start)
    return first - 3 * median(later)


if __name__ == "__main__":
    print(json.dumps(seconds(sys.argv[1], sys.argv[2])))
