"""Time contestants fairly: in turns, many rounds, medians.

A machine speeds up, slows down and does other things. So the contestants take turns, each round starts
with another one, and what is compared is their times of the same round.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter

LEAST = 0.02  # seconds that a contestant runs in a round: far above what the clock resolves


@dataclass(frozen=True)
class Times:
    """What was measured: for each contestant its seconds a call, round by round."""

    seconds: dict[str, list[float]]

    def median(self, name: str) -> float:
        """Return the median seconds of a call."""
        return median(self.seconds[name])

    def ratio(self, name: str, reference: str) -> float:
        """Return how many times as long as the reference it took: the median over the rounds."""
        return median(self._ratios(name, reference))

    def spread(self, name: str, reference: str) -> tuple[float, float]:
        """Return the 10th and the 90th percentile of that ratio over the rounds."""
        ratios = sorted(self._ratios(name, reference))
        if len(ratios) == 1:
            return ratios[0], ratios[0]
        *_, last = tenths = quantiles(ratios, n=10, method="inclusive")
        return tenths[0], last

    def _ratios(self, name: str, reference: str) -> list[float]:
        return [a / b for a, b in zip(self.seconds[name], self.seconds[reference], strict=True)]


def alternate(contestants: Mapping[str, Callable[[], object]], rounds: int) -> Times:
    """Let the contestants run in turns, and return their times."""
    names = list(contestants)
    calls = {name: _calls(contestants[name]) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        gc.collect()
        first = number % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(_time(contestants[name], calls[name]))
    return Times(seconds)


def _calls(call: Callable[[], object]) -> int:
    """Return how many calls fill a round; this also warms up."""
    calls = 1
    while (taken := _time(call, calls) * calls) < LEAST:
        calls = max(2 * calls, int(1.1 * calls * LEAST / max(taken, 1e-9))) if taken > LEAST / 100 else 10 * calls
    return calls


def _time(call: Callable[[], object], calls: int) -> float:
    start = perf_counter()
    for _ in range(calls):
        call()
    return (perf_counter() - start) / calls
