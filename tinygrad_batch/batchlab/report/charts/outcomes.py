"""Charts of what came of many walks and trainings: who left a saddle, who was stuck, who found what, who scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ... import words
from ..html import Html
from ..looks import Look, Looks
from .plot import LETTER, Plot, chart

Z = 1.96  # standard errors on either side of a mean that hold 95 %


def escapes(found: Sequence[Mapping[str, Any]], looks: Looks, by: str) -> Html:
    """Draw how long each batch size took to leave the saddle, in epochs or in updates; an arrow where it never did."""
    rows = max(one["batch_size"] for one in found)
    unit = {one["batch_size"]: 1.0 if by == "epochs" else rows / one["batch_size"] for one in found}
    left = [one for one in found if one["epochs"] is not None]
    if not left:
        return Html("")
    ends = [one[end] * unit[one["batch_size"]] for one in left for end in ("low", "high")]
    never = [one["most_epochs"] * unit[one["batch_size"]] for one in found if one["epochs"] is None]

    def paint(plot: Plot) -> None:
        each = [looks.of(one["batch_size"], rows) for one in found]
        _across_sizes(plot, found, rows, looks)
        low, high = min(ends), max([*ends, *never])
        plot.up(f"{by} until the walk had left", low / 2, high * (4 if never else 2))
        for place, (one, look) in enumerate(zip(found, each, strict=True)):
            factor = unit[one["batch_size"]]
            if one["epochs"] is None:
                plot.beyond(place, one["most_epochs"] * factor, look.colour)
                plot.label(place, one["most_epochs"] * factor, "never", look)
            else:
                middle = one["epochs"] * factor
                plot.interval(place, middle, one["low"] * factor, one["high"] * factor, look)
                plot.label(place, middle, words.number(middle), look)

    took = [None if one["epochs"] is None else one["epochs"] * unit[one["batch_size"]] for one in found]
    said = words.by_size(
        [
            (one["batch_size"], "never" if time is None else words.number(time))
            for one, time in zip(found, took, strict=True)
        ],
        rows,
    )
    return chart(f"saddle-{by}", f"{words.capital(by)} until a walk had left the saddle", said, paint)


def stuck(groups: Sequence[tuple[str, Sequence[Mapping[str, Any]]]], looks: Looks) -> Html:
    """Draw the share of random starts that were stuck, for a few nets and batch sizes."""
    groups = [(name, found) for name, found in groups if found]
    if not groups:
        return Html("")

    def paint(plot: Plot) -> None:
        names = {float(len(groups) - 1 - place): name for place, (name, _) in enumerate(groups)}
        plot.across("share of starts that were stuck", -0.02, 1.0, log=False, ticks=words.percent)
        plot.up("", -0.5, len(groups) - 0.5, log=False, ticks=names)
        for place, (_, found) in enumerate(groups):
            rows = max(one["batch_size"] for one in found)
            for i, one in enumerate(found):
                look = looks.of(one["batch_size"], rows)
                share = one["stuck"] / one["starts"]
                y = len(groups) - 1 - place + 0.22 * ((len(found) - 1) / 2 - i)
                plot.line([0, share], [y, y], Look(look.colour, look.mark, ()), width=1.2)
                plot.dot(share, y, look)
                name = words.count(one["batch_size"]) if one["batch_size"] < rows else "all"
                plot.note(share + 0.03, y, f"{name}: {one['stuck']} of {one['starts']}", look.colour, fontsize=10.5)

    said = "; ".join(
        f"{name}: "
        + ", ".join(f"{one['stuck']} of {one['starts']} with {words.plural(one['batch_size'], 'row')}" for one in found)
        for name, found in groups
    )
    return chart("stuck", "Who was stuck from random starts", said + ".", paint, 240)


NOISY = Look("backward", "D", (4.0, 1.5))


def shares(found: Sequence[Mapping[str, Any]], looks: Looks) -> Html:
    """Draw the share of starts that found the lowest minimum, against the rate, by batch size."""
    rows = max(one["batch_size"] for one in found)
    rates = sorted({one["rate"] for one in found})
    kinds = list(dict.fromkeys((one["batch_size"], one["noise"]) for one in found))

    def paint(plot: Plot) -> None:
        wide = (rates[-1] / rates[0]) ** 0.5 if len(rates) > 1 else 3.0
        plot.across(
            "learning rate",
            rates[0] / wide**0.35,
            rates[-1] * wide**1.15,
            ticks={rate: words.number(rate) for rate in rates},
        )
        plot.up("found the lowest minimum", 0, 1, log=False, ticks=words.percent)
        for place, (size, noise) in enumerate(kinds):
            look = NOISY if noise else looks.of(size, rows)
            cells = sorted(
                (one["rate"], one["share"], one["error"])
                for one in found
                if (one["batch_size"], one["noise"]) == (size, noise)
            )
            shift = wide ** (0.05 * (place - (len(kinds) - 1) / 2))
            plot.line([rate * shift for rate, _, _ in cells], [share for _, share, _ in cells], look)
            for rate, share, error in cells:
                plot.interval(rate * shift, share, max(share - Z * error, 0), min(share + Z * error, 1), look)
            name = "all + noise" if noise else words.batch(size, rows)
            plot.label(cells[-1][0] * shift, cells[-1][1], name, look)

    said = [
        f"rate {words.number(one['rate'])}, "
        f"{words.batch(one['batch_size'], rows)}{' with noise added' if one['noise'] else ''}: "
        f"{words.percent(one['share'])}"
        for one in found
    ]
    return chart("minima-shares", "Who found the lowest minimum", words.capital("; ".join(said)) + ".", paint)


def scores(
    name: str,
    title: str,
    score: str,
    found: Sequence[Mapping[str, Any]],
    ends: tuple[float, float],
    rows: int,
    looks: Looks,
) -> Html:
    """Draw the scores on rows held out by batch size, with 95 % intervals; `ends` are those of the axis."""

    def paint(plot: Plot) -> None:
        _across_sizes(plot, found, rows, looks)
        plot.up(score, *ends, log=False)
        for place, one in enumerate(found):
            if one["score"] is not None:
                look, error = looks.of(one["batch_size"], rows), one["error"] or 0.0
                plot.interval(place, one["score"], one["score"] - error, one["score"] + error, look)
                plot.label(place + 0.02, one["score"], words.fixed(one["score"]), look)

    said = words.by_size([(one["batch_size"], words.spread(one["score"], one["error"])) for one in found], rows)
    return chart(name, title, said, paint, 240)


def sharpness(slow: Sequence[Mapping[str, Any]], fast: Sequence[Mapping[str, Any]], rows: int, looks: Looks) -> Html:
    """Draw the largest curvature where the trainings came to, at slow rates (full) and at the best ones (open)."""
    known = [one["sharpness"] for one in (*slow, *fast) if one["sharpness"] is not None]
    if not known:
        return Html("")

    def paint(plot: Plot) -> None:
        _across_sizes(plot, slow, rows, looks)
        plot.up("largest curvature of the loss", 0, 1.25 * max(known), log=False)
        for place, (one, other) in enumerate(zip(slow, fast, strict=True)):
            look = looks.of(one["batch_size"], rows)
            for cell, shift, open_ in ((one, -0.12, False), (other, 0.12, True)):
                if cell["sharpness"] is not None:
                    plot.dot(place + shift, cell["sharpness"], look, open_=open_)

    both = [
        (one["batch_size"], f"{words.number(one['sharpness'])} and {words.number(other['sharpness'])}")
        for one, other in zip(slow, fast, strict=True)
    ]
    return chart("sharpness", "Sharpness at slow and at the best rates", words.by_size(both, rows), paint, 240)


def _across_sizes(plot: Plot, found: Sequence[Mapping[str, Any]], rows: int, looks: Looks) -> None:
    room = 330 / len(found) / LETTER
    names = [words.count(one["batch_size"]) for one in found]
    plot.slots(
        [
            f"all {name}" if one["batch_size"] >= rows and len(name) + 4 < room else name
            for one, name in zip(found, names, strict=True)
        ],
        [looks.of(one["batch_size"], rows) for one in found],
    )
