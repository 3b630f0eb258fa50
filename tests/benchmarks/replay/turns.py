"""Time one work: ``python -m replay.turns WORK DTYPE ROUNDS [NAME ...]``, a process of its own.

Everybody who is there takes part, in turns, after a check that all compute the same numbers. What comes
out, as JSON, is the seconds of every round, and why somebody did not take part.
"""

from __future__ import annotations

import gc
import json
import sys
from time import perf_counter, process_time
from typing import Any

import numpy as np
from rounds import alternate

from .contestant import Call, Contestant, find, reason
from .names import BY_HAND
from .works import DTYPES, WORKS, Work


def measure(work: Work, dtype: str, rounds: int, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the seconds of each contestant, how many processors it kept busy, and who is absent and why."""
    np.empty(2**24, dtype=np.uint8)  # freed at once; see the README on what that does to the allocator
    expected = _results(work, find(BY_HAND), dtype)
    calls: dict[str, Call] = {}
    absent: dict[str, str] = {}
    for name in names:
        try:
            contestant = find(name)
            _check(_results(work, contestant, dtype), expected, DTYPES[dtype])
            calls[name] = work.start(contestant, dtype)
            calls[name]()
        except Exception as error:  # whatever it is, it is told, and the others go on
            absent[name] = reason(error)
    gc.collect()
    gc.freeze()  # what the packages loaded is not searched again and again
    times = alternate(calls, rounds)
    return {
        "seconds": {name: [each / work.per_call for each in seconds] for name, seconds in times.seconds.items()},
        "processors": {name: _processors(call) for name, call in calls.items()},
        "absent": absent,
    }


def _results(work: Work, contestant: Contestant, dtype: str) -> np.ndarray:
    call = work.start(contestant, dtype)
    return np.array([contestant.numbers(call()) for _ in range(work.calls)])


def _check(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Raise an error unless two results are equal; arrays, to the tolerance times their largest element."""
    if found.shape != expected.shape:
        raise ValueError(f"its results have the shape {found.shape}, by hand it is {expected.shape}")
    error = np.abs(found - expected)
    allowed = tolerance * (np.abs(expected).max() if expected.ndim > 2 else np.abs(expected))
    if not np.all(error <= allowed):
        raise ValueError(f"it computes other numbers: off by {error.max():.3g}, of {np.abs(expected).max():.3g}")


def _processors(call: Call) -> float:
    """Return how many processors a call keeps busy: 1 for one thread."""
    start, busy = perf_counter(), process_time()
    while perf_counter() - start < 0.1:
        call()
    return (process_time() - busy) / (perf_counter() - start)


def main() -> None:
    """Measure what the command line says."""
    name, dtype, rounds, *names = sys.argv[1:]
    print(json.dumps(measure(WORKS[name], dtype, int(rounds), tuple(names) or WORKS[name].names)))


if __name__ == "__main__":
    main()
