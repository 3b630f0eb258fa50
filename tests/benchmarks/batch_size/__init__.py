"""What is said about batch size, measured on three problems; written into ``docs/batch_size.md``.

The page is written by hand, but for the blocks between ``<!-- measured: NAME -->`` and ``<!-- end -->``: those are made
from the figures, by `blocks`. Its pictures are those of the laboratory's report.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .blocks import refreshed

__all__ = ["PROBLEMS", "TITLE", "lines", "measure", "publish", "refreshed"]

TITLE = "What is said about batch size (a quarter of an hour)"
PROBLEMS = ("diabetes", "digits", "synthetic")
PICTURE = re.compile(r"\(images/batch_size/(\w+?)-([\w-]+)\.svg\)")


def measure(rounds: int) -> dict[str, Any]:
    """Return one comparison for each problem; they count updates, and time in turns of their own."""
    from tinygrad_batch.batchlab import compare

    def say(part: str) -> None:
        print(f"  measuring {part}", flush=True)

    return {name: compare(name, [1, 10, 32, None], thorough=True, say=say).to_dict() for name in PROBLEMS}


def lines(figures: Mapping[str, Any]) -> list[str]:
    """Return the verdicts."""
    return [
        f"{name:<10}{claim['number']:>3}. {claim['verdict']:<19}{claim['key']}"
        for name in PROBLEMS
        for claim in figures[name]["claims"]
    ]


def publish(document: Mapping[str, Any], page: Path) -> None:
    """Write the measured blocks of the page, its pictures, and the figures that the blocks are made from."""
    from tinygrad_batch.batchlab.report.pictures import pictures

    figures = document["figures"]["batch_size"]
    kept = {"machine": document["machine"], "figures": {"batch_size": _without_curves(figures)}}
    page.with_suffix(".json").write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    text = refreshed(page.read_text(encoding="utf-8"), kept)
    page.write_text(text, encoding="utf-8")
    folder = page.parent / "images" / "batch_size"
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {name: pictures(figures[name]) for name in PROBLEMS}
    for problem, name in PICTURE.findall(text):
        (folder / f"{problem}-{name}.svg").write_text(drawn[problem][name], encoding="utf-8")


def _without_curves(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures without the curves and walks, which only pictures are made of."""
    found = {}
    for name, one in figures.items():
        scaling = one["descent"]["scaling"]
        tuned = [{key: value for key, value in size.items() if key != "curves"} for size in scaling["tuned"]]
        found[name] = {key: value for key, value in one.items() if key != "scenes"} | {
            "descent": {**one["descent"], "scaling": {**scaling, "tuned": tuned}}
        }
    return found
