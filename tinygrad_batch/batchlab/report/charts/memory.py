"""Charts of memory: bytes against rows, and what checkpoints save."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ....memory import format_bytes
from ... import words
from ...memory import in_words
from ..html import Html
from ..looks import Look
from .labels import ABOVE, BELOW
from .plot import Plot, chart

KEPT = Look("kept", "o", (1.0, 1.4))
PEAK = Look("forward", "s", ())


def bytes_against_rows(memory: Mapping[str, Any]) -> Html:
    """Draw what a step keeps and what it peaks at, priced and measured, up to the memory that was allowed."""
    largest = memory["largest"]
    priced = sorted((one["rows"], one["kept"], one["peak"]) for one in (*memory["by_batch"], *memory["measured"]))
    per_row = memory["price"]["backward"]["per_row"]
    end = max(largest["rows"], priced[-1][0])
    last_rows, last_kept, last_peak = priced[-1]
    priced.append((end, last_kept * end / last_rows, last_peak + per_row * (end - last_rows)))
    rows, kept, peak = zip(*priced, strict=True)

    def paint(plot: Plot) -> None:
        low, high = min(kept) / 2, largest["memory"] * 6
        plot.across("rows in a batch", rows[0] / 1.4, end * 6)
        plot.up("bytes", low, high, ticks=_bytes_ticks(low, high))
        plot.line(rows, peak, PEAK)
        plot.line(rows, kept, KEPT)
        for one in (*memory["by_batch"], *memory["measured"]):
            plot.dot(one["rows"], one["traced"], PEAK, open_=True, size=6.5)
            if one["resident"]:
                plot.dot(one["rows"], one["resident"], Look("backward", "D", ()), open_=True, size=4.5)
        plot.guide([rows[0] / 1.4, end * 6], [largest["memory"]] * 2, "loss")
        plot.note(rows[0], largest["memory"] * 1.35, f"limit: {in_words(largest['memory'])}", "loss", va="bottom")
        plot.dot(largest["rows"], largest["memory"], Look("loss", "^", ()))
        plot.label(largest["rows"], largest["memory"], words.count(largest["rows"]), "loss", ABOVE)
        plot.label(rows[-3], peak[-3], "peak", PEAK, (6, 1, 3))
        plot.label(rows[-3], kept[-3], "kept", KEPT, BELOW)

    said = (
        f"A step with {words.count(rows[0])} to {words.count(end)} rows: it keeps {format_bytes(round(kept[0]))} to "
        f"{format_bytes(round(kept[-1]))}, and peaks at {format_bytes(round(peak[0]))} to "
        f"{format_bytes(round(peak[-1]))}. Squares and diamonds are measured."
    )
    return chart("memory-bytes", "Bytes against rows", said, paint)


def _bytes_ticks(low: float, high: float) -> dict[float, str]:
    powers = range(math.ceil(math.log10(low) / 3 - 1e-9), math.floor(math.log10(high) / 3 + 1e-9) + 1)
    return {1000.0**power: format_bytes(1000**power).replace(".0", "") for power in powers if power >= 0}


def checkpoints(curve: Mapping[str, float]) -> Html:
    """Draw the peak of a deep net by the number of segments that it is cut into."""
    points = sorted((int(count), peak) for count, peak in curve.items())
    best = min(points, key=lambda point: point[1])
    look = Look("parameter", "o", ())

    def paint(plot: Plot) -> None:
        plot.across("segments", points[0][0] / 1.3, points[-1][0] * 1.3, ticks={n: words.count(n) for n, _ in points})
        plot.up("peak, in outputs of one layer", 0, 1.15 * max(peak for _, peak in points), log=False)
        plot.line([count for count, _ in points], [peak for _, peak in points], look)
        for count, peak in points:
            plot.dot(count, peak, look, open_=count != best[0])
        plot.label(*best, f"{words.number(best[1])} with {best[0]} segments", look)

    said = f"It is {words.number(points[0][1])} uncut, and {words.number(best[1])} with {best[0]} segments, the least."
    return chart("memory-checkpoints", "What checkpoints save", said, paint)
