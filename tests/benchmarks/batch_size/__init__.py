"""What is said about batch size, measured on three problems; written into ``docs/batch_size.md``.

The page is written by hand, but for the blocks between ``<!-- measured: NAME -->`` and ``<!-- end -->``: those are
made from the figures by `blocks`, and the pictures by the report of the laboratory.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .blocks import filled, refreshed
from .figures import PROBLEMS, measure

__all__ = ["PROBLEMS", "TITLE", "filled", "lines", "measure", "publish", "refreshed"]

TITLE = "What is said about batch size (diabetes, digits, synthetic data; thoroughly: a quarter of an hour)"


def lines(figures: Mapping[str, Any]) -> list[str]:
    """Return the verdicts."""
    return [
        f"{name:<10}{claim['number']:>3}. {claim['verdict']:<19}{claim['key']}"
        for name in PROBLEMS
        for claim in figures[name]["claims"]
    ]


def publish(document: Mapping[str, Any], page: Path) -> None:
    """Write the measured blocks of the page, and its pictures beside it."""
    from .pictures import pictures

    page.write_text(refreshed(page.read_text(encoding="utf-8"), document), encoding="utf-8")
    folder = page.parent / "images" / page.stem
    folder.mkdir(parents=True, exist_ok=True)
    for name, drawing in pictures(document["figures"]["batch_size"]).items():
        (folder / f"{name}.svg").write_text(drawing, encoding="utf-8")
