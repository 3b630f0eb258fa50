"""What a node of the graph costs: time and memory of long chains of operations on one number."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import tinygrad_batch as tb

TITLE = "A chain of 1,000,000 operations: cost of a node"
NODES = 1_000_000
WEIGHED = 100_000  # tracemalloc itself keeps more for each allocation than a node does
# The sum costs NumPy next to nothing and keeps nothing, so it shows the engine; the sine keeps its input.
CHAINS: dict[str, Callable[[Any], Any]] = {"y + 1": lambda y: y + 1.0, "sin(y)": tb.sin}


def measure(rounds: int) -> dict[str, Any]:
    """Return microseconds of forward and backward, and bytes; five rounds at most, for they are long."""
    return {name: _measured(operation, min(rounds, 5)) for name, operation in CHAINS.items()}


def _measured(operation: Callable[[Any], Any], rounds: int) -> dict[str, float]:
    forward, backward = [], []
    for _ in range(rounds):
        gc.collect()
        start = perf_counter()
        x, y = _chain(operation, NODES)
        middle = perf_counter()
        y.backward()
        backward.append(1e6 * (perf_counter() - middle) / NODES)
        forward.append(1e6 * (middle - start) / NODES)
        if x.grad is None or not 0 < x.grad.item() <= 1:
            raise RuntimeError(f"the gradient at the beginning of the chain is {x.grad}")
        del x, y
    both = median(a + b for a, b in zip(forward, backward, strict=True))
    return {"forward": median(forward), "backward": median(backward), "both": both, "bytes": _bytes(operation)}


def lines(figures: dict[str, Any]) -> list[str]:
    """Return the figures as a table."""
    head = f"{'operation':<12}{'forward µs':>12}{'backward µs':>13}{'both µs':>10}{'bytes':>8}   target 3 µs, 350 bytes"
    return [head] + [
        f"{name:<12}{f['forward']:>12.2f}{f['backward']:>13.2f}{f['both']:>10.2f}{f['bytes']:>8.0f}"
        for name, f in figures.items()
    ]


def _chain(operation: Callable[[Any], Any], nodes: int) -> tuple[tb.Tensor, tb.Tensor]:
    x = y = tb.tensor(0.5, requires_grad=True)
    for _ in range(nodes):
        y = operation(y)
    return x, y


def _bytes(operation: Callable[[Any], Any]) -> float:
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = _chain(operation, WEIGHED)
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    del kept
    return (after - before) / WEIGHED
