"""Seconds to draw a trace as SVG: a small net, shared nodes, and thousands of operations."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from rounds import alternate

import tinygrad_batch as tb
from tinygrad_batch import nn, optim

TITLE = "Drawing a captured batch as SVG"


def measure(rounds: int) -> dict[str, Any]:
    """Return seconds for each drawing, and at most how many there should be."""
    net, doubled, deep = _net(), _captured(60, lambda x: x + x), _captured(5_000, tb.tanh)
    pictures: dict[str, tuple[tb.Trace, str, float | None]] = {
        "10-15-10-1 net": (net, "auto", None),
        "60 doublings of x + x": (doubled, "ops", 0.1),
        "5,000 operations, auto": (deep, "auto", 1.0),
        "5,000 operations, each a row": (deep, "ops", 1.0),
    }
    times = alternate({name: partial(_draw, trace, depth) for name, (trace, depth, _) in pictures.items()}, rounds)
    return {name: {"seconds": times.median(name), "target": target} for name, (_, _, target) in pictures.items()}


def lines(figures: dict[str, Any]) -> list[str]:
    """Return the figures as a table."""
    return [
        f"{name:<32}{figure['seconds']:>8.4f} s" + (f"   target {figure['target']} s" if figure["target"] else "")
        for name, figure in figures.items()
    ]


def _draw(trace: tb.Trace, depth: Any) -> str:
    return tb.draw(trace, depth=depth).svg()


def _net() -> tb.Trace:
    model = nn.Sequential(nn.Linear(10, 15), nn.Tanh(), nn.Linear(15, 10), nn.Tanh(), nn.Linear(10, 1))
    loss_fn, optimizer = nn.MSELoss(), optim.SGD(model.parameters(), lr=0.01)
    with tb.capture() as trace:
        loss_fn(model(tb.ones(100, 10)), tb.zeros(100, 1)).backward()
        optimizer.step()
    return trace


def _captured(times: int, operation: Callable[[Any], Any]) -> tb.Trace:
    """Return the trace of an operation done again and again, and of its backward pass."""
    x = tb.tensor([0.5, 1.0], requires_grad=True, name="x")
    with tb.capture() as trace:
        y = x
        for _ in range(times):
            y = operation(y)
        y.sum().backward()
    return trace
