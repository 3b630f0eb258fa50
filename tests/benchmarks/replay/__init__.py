"""Eager and compiled steps against NumPy by hand and six other packages: time, memory, cost of compiling."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from rounds import Times

from . import first_calls, memory
from .names import BY_HAND
from .page import page
from .processes import run
from .targets import verdicts
from .works import DTYPES, WORKS

__all__ = ["TITLE", "lines", "measure", "publish"]

TITLE = "Eager and compiled, as multiples of NumPy written by hand"
PACKAGES = ("tinygrad-batch", "torch", "jax", "jaxlib", "mygrad", "autograd", "tinygrad", "llvmlite")


def measure(rounds: int) -> dict[str, Any]:
    """Return all figures; each work is measured in a process of its own."""
    works: dict[str, dict[str, Any]] = {name: {} for name in WORKS}
    for name in WORKS:
        for dtype in DTYPES:
            _tell(f"{name}, {dtype}")
            works[name][dtype] = run("turns", name, dtype, rounds)
    _tell("memory")
    peaks = memory.measure()
    _tell("compiling")
    return {
        "versions": dict(_versions()),
        "works": works,
        "memory": peaks,
        "compiling": first_calls.measure(rounds),
    }


def lines(figures: dict[str, Any]) -> list[str]:
    """Return the medians, and the targets that are missed."""
    table = []
    for name, dtypes in figures["works"].items():
        for dtype, measured in dtypes.items():
            times = Times(measured["seconds"])
            table.append(f"{name}, {dtype}: by hand {1e6 * times.median(BY_HAND):,.1f} µs")
            table += [f"    {each:<45}{times.ratio(each, BY_HAND):>9.3f}" for each in times.seconds]
            table += [f"    {each:<45}{'–':>9} {why}" for each, why in measured["absent"].items()]
    found = list(verdicts(figures))
    missed = [verdict for verdict in found if verdict.met is False]
    table.append(f"{len(found)} targets: {len(missed)} missed, {sum(v.met is None for v in found)} not measured")
    return table + [f"missed: {v.work}, {v.text}: {v.found:.3f}{v.unit}, target {v.most}{v.unit}" for v in missed]


def publish(document: dict[str, Any], path: Path) -> None:
    """Write the page with all figures."""
    path.write_text(page(document), encoding="utf-8")


def _versions() -> Any:
    for package in PACKAGES:
        try:
            yield package, metadata.version(package)
        except metadata.PackageNotFoundError:
            yield package, "not installed"


def _tell(what: str) -> None:
    print(f"  … {what}", file=sys.stderr, flush=True)
