"""Charts of the noise of the gradient: how far a batch is off, and the noise scale on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ... import words
from ..html import Html
from ..looks import PLAIN, Look, Looks
from ..reading import noise_scale
from .labels import ABOVE, BELOW
from .plot import Plot, chart


def error_by_size(variances: Sequence[Mapping[str, Any]], rows: int, compared: Sequence[int], looks: Looks) -> Html:
    """Draw the error of a batch's gradient against its rows: the law as a line, what was found as marks."""
    seen = [v for v in variances if v["predicted"] and v["relative_error"]]
    if len(seen) < 2:
        return Html("")
    first = seen[0]
    length = first["measured"] ** 0.5 / first["relative_error"]  # of the gradient of all rows
    trace = first["predicted"] * first["batch_size"] / (1 - first["batch_size"] / rows)
    sizes = [first["batch_size"] * (rows / first["batch_size"]) ** (i / 60) for i in range(60)]
    law = [(trace / size * (1 - size / rows)) ** 0.5 / length for size in sizes]
    errors = [v["relative_error"] for v in seen]

    def paint(plot: Plot) -> None:
        marked = {size: looks.of(size, rows) for size in compared}
        plot.sizes([*(v["batch_size"] for v in seen), rows], marked)
        low = min(errors) / 2.5
        plot.up("off by, as a part of the gradient’s length", low, max(errors) * 2, ticks=words.percent)
        plot.guide(sizes, law)
        for one in sorted(seen, key=lambda v: v["batch_size"] in compared):
            look = looks.of(one["batch_size"], rows) if one["batch_size"] in compared else PLAIN
            plot.dot(one["batch_size"], one["relative_error"], look, size=7.5 if look != PLAIN else 5.5)
            if look != PLAIN:
                plot.label(one["batch_size"], one["relative_error"], words.percent(one["relative_error"]), look)
        if rows in compared:
            plot.note(rows, low * 1.15, "all rows: exact", looks.of(rows, rows).colour, ha="right", va="bottom")
        middle = len(sizes) // 2
        plot.label(sizes[middle], law[middle], "the law", "muted", BELOW)

    said = words.by_size([(v["batch_size"], words.percent(v["relative_error"])) for v in seen], rows)
    return chart("noise-error", "How far the gradient of a batch is off", said, paint)


def scales(scales: Sequence[Mapping[str, Any]], rows: int, compared: Sequence[int], looks: Looks) -> Html:
    """Draw the noise scale on the way through a training, with what could not be measured as an open arrow."""
    bounds = [scale[end] for scale in scales for end in ("low", "high", "rows_value") if scale[end]]
    if not bounds:
        return Html("")
    low, high = min([*bounds, *compared]) / 1.6, max([*bounds, *compared]) * 3
    look = Look("forward", "s", ())

    def paint(plot: Plot) -> None:
        names = [words.number(scale["epochs"]) for scale in scales]
        end = 1.22 * len(scales) - 0.5  # with room for the names of the lines, beside the last of the marks
        plot.across("epochs trained", -0.5, end, log=False, ticks=dict(enumerate(names)))
        plot.up("rows at which noise equals signal", low, high, ticks=words.count)
        for size in compared:
            one = looks.of(size, rows)
            plot.guide([-0.5, end], [size, size], one.colour)
            plot.note(end, size, words.batch(size, rows), one.colour, ha="right", va="bottom", fontsize=10.5)
        for place, scale in enumerate(scales):
            if scale["measurable"]:
                plot.interval(place, scale["value"], scale["low"], scale["high"], look)
                plot.label(place, scale["value"], noise_scale(scale), look, ABOVE)
            else:
                foot = max(scale["low"] or 0.0, low * 1.1)
                plot.beyond(place, foot, look.colour, min(foot * 4, high))
                plot.label(place, foot, noise_scale(scale), look)
            if scale["rows_value"]:
                plot.dot(place + 0.13, scale["rows_value"], PLAIN, open_=True, size=6)

    said = [f"{words.number(scale['epochs'])} epochs: {noise_scale(scale)}" for scale in scales]
    return chart("noise-scale", "The noise scale on the way", "After " + "; ".join(said) + ".", paint)
