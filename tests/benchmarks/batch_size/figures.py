"""The figures: three problems, compared thoroughly."""

from __future__ import annotations

from typing import Any

PROBLEMS = ("diabetes", "digits", "synthetic")


def measure(rounds: int) -> dict[str, Any]:
    """Return one comparison for each problem; they count updates and repeat their timings themselves."""
    from tinygrad_batch.batchlab import compare, load_problem

    return {
        name: compare(
            load_problem(name),
            [1, 10, 32, None],
            thorough=True,
            say=lambda part, name=name: print(f"  {name}: {part}", flush=True),
        ).to_dict()
        for name in PROBLEMS
    }


def without_curves(figures: dict[str, Any]) -> dict[str, Any]:
    """Return the figures that the page gives as numbers, without the curves and walks of its pictures."""
    found = {}
    for name, one in figures.items():
        scaling = one["descent"]["scaling"]
        tuned = [{key: value for key, value in size.items() if key != "curves"} for size in scaling["tuned"]]
        found[name] = {
            **{key: value for key, value in one.items() if key != "scenes"},
            "descent": {**one["descent"], "scaling": {**scaling, "tuned": tuned}},
        }
    return found
