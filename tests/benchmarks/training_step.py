"""One eager training step: forward, mean squared error, backward, SGD; as multiples of NumPy by hand."""

from __future__ import annotations

from typing import Any

from contestants import ALL, BY_HAND, OURS, Problem, steps
from rounds import alternate

TITLE = "One training step, as a multiple of NumPy written by hand"
SIZES = (  # widths, rows of the batch, what ours may take at most
    ((10, 15, 10, 1), 10, 1.4),
    ((64, 128, 128, 10), 256, 1.15),
    ((784, 512, 512, 10), 512, 1.05),
)


def measure(rounds: int) -> dict[str, Any]:
    """Return for each net and dtype the ratios and the microseconds."""
    figures: dict[str, Any] = {}
    for widths, rows, target in SIZES:
        for dtype in ("float32", "float64"):
            found, missing = steps(Problem.random(widths, rows, dtype))
            times = alternate(found, rounds)
            figures[f"{'-'.join(map(str, widths))}, {rows} rows, {dtype}"] = {
                "ratio": {name: times.ratio(name, BY_HAND) for name in found},
                "microseconds": {name: 1e6 * times.median(name) for name in found},
                "not installed": missing,
                "target": target,
            }
    return figures


def lines(figures: dict[str, Any]) -> list[str]:
    """Return the figures as a table."""
    others = [name for name in ALL if name not in (OURS, BY_HAND)]
    header = f"{'net, batch, dtype':<38}{'by hand':>11}{'ours':>7}{'target':>8}" + "".join(f"{n:>10}" for n in others)
    table = [header]
    missing: list[str] = []
    for what, figure in figures.items():
        ratio, missing = figure["ratio"], figure["not installed"]
        hand = f"{figure['microseconds'][BY_HAND]:,.0f} µs"
        peers = "".join(f"{ratio[n]:>10.2f}" if n in ratio else f"{'–':>10}" for n in others)
        table.append(f"{what:<38}{hand:>11}{ratio[OURS]:>7.2f}{figure['target']:>8.2f}{peers}")
    return table + [f"{name}: not installed" for name in missing]
