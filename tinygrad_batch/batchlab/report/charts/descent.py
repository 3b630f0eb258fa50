"""Charts of what it takes to get to the goal by batch size, and of learning rates."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ....draw.palette import LIGHT
from ... import words
from ..html import Html
from ..looks import PLAIN, Look, Looks
from ..reading import Arrival, law, regimes
from .labels import BEFORE, BELOW
from .plot import Plot, chart

NEAR = 1.3  # updates, by the fewest, with which a rate still counts as good
SMALL = 0.05  # a change of the loss that still counts as none


def time_to_the_goal(data: Mapping[str, Any], found: Sequence[Arrival], looks: Looks) -> Html:
    """Draw the time that each batch size takes, the least with a ring around it."""
    return _cost("seconds", "time to the goal on this machine", found, data["rows"], looks, words.seconds)


def work_to_the_goal(data: Mapping[str, Any], found: Sequence[Arrival], looks: Looks) -> tuple[Html, Html]:
    """Draw the updates that each batch size takes, and the epochs, with the law of them."""
    rule, rows = law(data), data["rows"]
    updates = (lambda size: rule.updates(size)) if rule else None
    epochs = (lambda size: rule.updates(size) * size / rows) if rule else None
    borders = regimes(rule) if rule else None
    return (
        _cost("updates", "updates to the goal", found, rows, looks, words.count, updates, borders),
        _cost("epochs", "epochs to the goal", found, rows, looks, words.number, epochs, borders),
    )


def _cost(
    clock: str,
    title: str,
    found: Sequence[Arrival],
    rows: int,
    looks: Looks,
    write: Callable[[float], str],
    predicted: Callable[[float], float] | None = None,
    borders: tuple[float, float] | None = None,
) -> Html:
    there = [one for one in found if one.arrived and one.updates]
    if len(there) < 2:
        return Html("")
    cost: Callable[[Arrival], float] = lambda one: getattr(one, clock)
    fewest = min(there, key=cost)

    def paint(plot: Plot) -> None:
        low, high = cost(fewest), max(map(cost, there))
        room = (high / low) ** 0.16 * 1.15
        plot.up(title, low / room, high * room * (1.6 if borders else 1.1), ticks=write)
        plot.sizes([one.size for one in found], {one.size: looks.of(one.size, rows) for one in found if one.compared})
        if borders:
            _regimes(plot, borders)
        if predicted:
            left, right = plot.axes.get_xlim()
            sizes = [left * (right / left) ** (i / 60) for i in range(61)]
            plot.guide(sizes, [predicted(size) for size in sizes])
        else:
            plot.guide([one.size for one in there], [cost(one) for one in there], "rule", dashed=False)
        for one in sorted(found, key=lambda one: one.compared):
            look = looks.of(one.size, rows) if one.compared else PLAIN
            if one in there:
                plot.dot(one.size, cost(one), look, size=8 if one.compared else 5.5)
                if one.compared or one is fewest:
                    plot.label(one.size, cost(one), write(cost(one)), look)
            elif not one.arrived:
                plot.beyond(one.size, high * room**0.4, look.colour)
        if clock == "seconds":
            plot.axes.plot(
                [fewest.size], [cost(fewest)], marker="o", markersize=17, markerfacecolor="none",
                markeredgecolor=LIGHT.focus, markeredgewidth=2.5, linestyle="none", clip_on=False,
            )  # fmt: skip

    said = words.by_size([(one.size, write(cost(one))) for one in there], rows)
    return chart(f"goal-{clock}", words.capital(title), said, paint)


def _regimes(plot: Plot, borders: tuple[float, float]) -> None:
    """Shade where the law bends, and say what is to the left and to the right."""
    left, right = plot.axes.get_xlim()
    inside = [min(max(border, left), right) for border in borders]
    plot.axes.axvspan(*inside, color=LIGHT.kept, alpha=0.09, linewidth=0)
    top = plot.axes.get_ylim()[1]
    edges = [left, *inside, right]
    for name, start, stop in zip(("full return", "diminishing", "no return"), edges, edges[1:], strict=False):
        if math.log(stop / start) / math.log(right / left) > 0.18:
            plot.note(math.sqrt(start * stop), top, name, ha="center", va="top", fontsize=10.5)


def rates(data: Mapping[str, Any], looks: Looks) -> Html:
    """Draw the best rate by batch size, with a bar over the tried ones that need hardly more updates."""
    rows, cells = data["rows"], []
    for one in data["descent"]["scaling"]["tuned"]:
        reached = {float(rate): updates for rate, updates in one["tried"].items() if updates is not None}
        if reached:
            fewest = min(reached.values())
            good = [rate for rate, updates in reached.items() if updates <= NEAR * fewest]
            cells.append((one["batch_size"], one["rate"], min([*good, one["rate"]]), max([*good, one["rate"]])))
    if len(cells) < 2:
        return Html("")
    compared = data["batch_sizes"]

    def paint(plot: Plot) -> None:
        low, high = min(cell[2] for cell in cells), max(cell[3] for cell in cells)
        sizes = [cell[0] for cell in cells]
        plot.up("best learning rate", low / 2, high * 2)
        plot.sizes(sizes, {size: looks.of(size, rows) for size in sizes if size in compared})
        first = cells[0]
        plot.guide(sizes, [first[1] * size / first[0] for size in sizes])
        top = min(high * 1.6, first[1] * sizes[-1] / first[0])
        plot.label(first[0] * top / first[1] * 0.7, top * 0.7, "rate ∝ rows", "muted", BEFORE)
        for size, rate, least, most in cells:
            look = looks.of(size, rows) if size in compared else PLAIN
            plot.interval(size, rate, least, most, look)

    said = words.by_size([(size, words.number(rate)) for size, rate, _, _ in cells], rows)
    return chart("rates", "The best learning rate by batch size", said, paint)


EXACT = Look("forward", "o", ())
REST = Look("kept", "v", (2.0, 1.2))


def linear_rule(found: Sequence[Mapping[str, Any]]) -> Html:
    """Draw how far the loss moves when rows and rate are multiplied by the same number, with and without a rest."""
    cells = [one for one in found if one["factor"] > 1]
    groups = [
        ("change", "diverged", EXACT, "even batches"),
        ("change_with_rest", "diverged_with_rest", REST, "and a short one"),
    ]
    fine = [one[key] for one in cells for key, away, *_ in groups if one[key] and not one[away]]
    if not fine:
        return Html("")
    top = 4 * max(1.0, *fine)

    def paint(plot: Plot) -> None:
        factors = {one["factor"]: words.count(one["factor"]) for one in cells}
        ends = min(factors) / 1.5, max(factors) * 1.6
        plot.across("times the rows and times the rate", *ends, ticks=factors)
        plot.up("the loss moves by", min(fine) / 3.5, top, ticks=words.percent)
        plot.guide(ends, [SMALL, SMALL])
        plot.note(ends[0] * 1.06, SMALL * 1.1, words.percent(SMALL), va="bottom")
        for place, (key, away, look, name) in enumerate(groups):
            there = [(one["factor"], one[key]) for one in cells if one[key] and not one[away]]
            plot.line([factor for factor, _ in there], [change for _, change in there], look)
            for factor, change in there:
                plot.dot(factor, change, look)
            if there:
                plot.label(*there[2 * len(there) // 3], name, look, BEFORE if place else BELOW)
            for one in cells:
                if one[away]:
                    plot.beyond(one["factor"] * 1.06 ** (2 * place - 1), 0.2 * top, look.colour)
        if any(one[away] for one in cells for _, away, *_ in groups):
            plot.label(max(factors), 0.2 * top, "ran away", "muted", BELOW)

    moved = [(one["factor"], "ran away" if one["diverged"] else words.percent(one["change"])) for one in cells]
    said = "; ".join(f"{factor} times: {how}" for factor, how in moved) + "."
    return chart("linear-rule", "Rate in step with the batch", said, paint)


DRAWN = Look("forward", "o", ())
SHUFFLED = Look("parameter", "^", ())


def floors(found: Mapping[str, Any]) -> Html:
    """Draw how far above the least loss a constant rate stays, against rate / B."""
    drawn = [one for one in found["floors"] if one["replacement"]]
    shuffled = [one for one in found["floors"] if not one["replacement"]]
    ratio: Callable[[Mapping[str, Any]], float] = lambda one: one["rate"] / one["batch_size"]

    def paint(plot: Plot) -> None:
        every = [ratio(one) for one in found["floors"]]
        excess = [one["excess"] for one in found["floors"]]
        plot.across("rate / rows in a batch", min(every) / 1.6, max(every) * 1.6)
        plot.up("loss above the least", min(excess) / 2, max(excess) * 2.5)
        theory = sorted((ratio(one), one["predicted"]) for one in drawn)
        plot.guide([at for at, _ in theory], [height for _, height in theory])
        for group, look, name in ((drawn, DRAWN, "drawn afresh"), (shuffled, SHUFFLED, "shuffled epochs")):
            for one in group:
                plot.dot(ratio(one), one["excess"], look)
            least = min(group, key=ratio)
            plot.label(ratio(least), least["excess"], name, look)

    said = (
        f"It grows with the power {words.number(found['power'], 2)} of rate / B where batches are drawn afresh from "
        f"all rows; in shuffled epochs with {words.number(found['power_shuffled'], 2)}."
    )
    return chart("floors", "Where a constant rate ends", said, paint)


def summed(found: Sequence[Mapping[str, Any]], rows: int) -> Html:
    """Draw the loss after training with the mean of a batch's losses and with their sum, at one rate."""
    mean, total = Look("forward", "o", ()), Look("backward", "D", ())
    losses = [one[key] for one in found for key in ("mean_loss", "sum_loss") if one[key]]
    if len(losses) < 2:
        return Html("")

    def paint(plot: Plot) -> None:
        wide = max(losses) / min(losses)
        foot = max(losses) * 1.1 * wide**0.1
        low, high = min(losses) / 1.3, foot * 1.2 * wide**0.1
        sizes = [one["batch_size"] for one in found]
        plot.up("loss at the end", low, high)
        plot.across("rows in a batch", min(sizes) / 1.5, max(sizes) * 2.4, ticks=_apart(sizes))
        for key, look, name in (("mean_loss", mean, "mean"), ("sum_loss", total, "sum")):
            there = [(one["batch_size"], one[key]) for one in found if one[key] is not None]
            plot.line([size for size, _ in there], [loss for _, loss in there], look)
            for size, loss in there:
                plot.dot(size, loss, look)
            if there:
                plot.label(*there[-1], name, look)
        for one in found:
            if one["sum_loss"] is None:
                plot.beyond(one["batch_size"], foot, total.colour)
        if found[-1]["sum_loss"] is None:
            plot.label(found[-1]["batch_size"], foot, "all ran away", total, BEFORE)

    ends = [(one["batch_size"], words.number(one["mean_loss"]), one["sum_loss"]) for one in found]
    said = words.by_size(
        [(size, f"mean {a}, sum {'ran away' if b is None else words.number(b)}") for size, a, b in ends], rows
    )
    return chart("summed", "The sum of a batch’s losses, or their mean", said, paint)


def _apart(sizes: Sequence[int]) -> dict[float, str]:
    """Return ticks at the sizes that leave room for their words."""
    ticks: dict[float, str] = {}
    for size in sorted(sizes):
        if all(math.log(size / other) > 0.42 for other in ticks):
            ticks[size] = words.count(size)
    return ticks
