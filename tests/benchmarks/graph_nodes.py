"""What a node of the graph costs: time and memory of a long chain of operations on one number."""

from __future__ import annotations

import gc
import tracemalloc
from statistics import median
from time import perf_counter
from typing import Any

import tinygrad_batch as tb

TITLE = "A chain of operations: cost of a node"
NODES = 1_000_000
WEIGHED = 100_000  # tracemalloc itself keeps more for each allocation than a node does


def measure(rounds: int) -> dict[str, Any]:
    """Return microseconds of forward and backward, and bytes; three rounds at most, for they are long."""
    forward, backward = [], []
    for _ in range(min(rounds, 3)):
        gc.collect()
        start = perf_counter()
        x, y = _chain(NODES)
        middle = perf_counter()
        y.backward()
        backward.append(perf_counter() - middle)
        forward.append(middle - start)
        if x.grad is None or not 0 < x.grad.item() < 1:
            raise RuntimeError(f"the gradient at the beginning of the chain is {x.grad}")
        del x, y
    return {
        "nodes": NODES,
        "forward µs": 1e6 * median(forward) / NODES,
        "backward µs": 1e6 * median(backward) / NODES,
        "forward + backward µs": 1e6 * median(map(sum, zip(forward, backward, strict=True))) / NODES,
        "bytes a node": _bytes(),
    }


def lines(figures: dict[str, Any]) -> list[str]:
    """Return the figures as a table."""
    units = {name: f"{value:,.2f}" if "µs" in name else f"{value:,.0f}" for name, value in figures.items()}
    return [f"{name:<24}{value:>12}" for name, value in units.items()]


def _chain(nodes: int) -> tuple[tb.Tensor, tb.Tensor]:
    x = y = tb.tensor(0.5, requires_grad=True)
    sine = tb.sin
    for _ in range(nodes):
        y = sine(y)
    return x, y


def _bytes() -> float:
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = _chain(WEIGHED)
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    del kept
    return (after - before) / WEIGHED
