"""In one look: the advice, and one row for each batch size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ....memory import format_bytes
from ... import words
from ..html import Html, element
from ..looks import Looks
from ..parts import table
from ..reading import Arrival, arrivals, off_by

Column = tuple[str, dict[int, str]]


def look(data: Mapping[str, Any], looks: Looks) -> Html:
    """Return the advice and the summary."""
    head, rows = summary(data, looks)
    parts = [_advice(data["advice"])] if data.get("advice") else []
    if len(head) > 1:
        caption = "One row for each batch size"
        if data.get("descent"):
            goal = words.number(data["descent"]["scaling"]["goal"])
            caption += (
                f". Updates, epochs and time are those to a loss of {goal}, at the rate that suits; the fewest are bold"
            )
        parts.append(table(caption + ".", head, rows))
    if not parts:
        return Html("")
    return element(
        "section", element("h2", "In one look", id="look-title"), *parts, id="look", aria_labelledby="look-title"
    )


def _advice(advice: Mapping[str, Any]) -> Html:
    reasons = []
    for reason in advice["reasons"]:
        lead, colon, rest = reason.partition(":")
        reasons.append(element("li", element("b", lead + colon), rest) if colon else element("li", reason))
    size = advice["batch_size"]
    return element(
        "div",
        element(
            "p",
            element("span", "Take", class_="small"),
            element("span", f"{size:,}", class_="big"),
            element(
                "span",
                f"{'row' if size == 1 else 'rows'} in a batch, rate {words.number(advice['rate'])}",
                class_="small",
            ),
            class_="take",
        ),
        element("ul", *reasons),
        class_="advice",
    )


def summary(data: Mapping[str, Any], looks: Looks) -> tuple[list[str], list[list[str]]]:
    """Return the head of the summary, and a row for each batch size."""
    columns = [*_memory(data), *_noise(data), *_descent(data), *_held_out(data)]
    return ["rows in a batch", *[name for name, _ in columns]], [
        [looks.chip(size, data["rows"]), *[cells.get(size, words.NOTHING) for _, cells in columns]]
        for size in data["batch_sizes"]
    ]


def _memory(data: Mapping[str, Any]) -> list[Column]:
    if not data.get("memory"):
        return []
    return [("kept for the way back", {one["rows"]: format_bytes(one["kept"]) for one in data["memory"]["by_batch"]})]


def _noise(data: Mapping[str, Any]) -> list[Column]:
    if not data.get("noise"):
        return []
    return [("gradient off by", {v["batch_size"]: off_by(v) for v in data["noise"]["variances"]})]


def _descent(data: Mapping[str, Any]) -> list[Column]:
    found = [one for one in arrivals(data) if one.compared]
    if not found:
        return []

    def column(what: str, write: Callable[[float], str]) -> dict[int, str]:
        cost: Callable[[Arrival], float] = lambda one: getattr(one, what)
        fewest = min(map(cost, found))
        return {
            one.size: "never"
            if not one.arrived
            else element("strong", write(cost(one)))
            if cost(one) == fewest
            else write(cost(one))
            for one in found
        }

    return [
        ("updates", column("updates", words.count)),
        ("epochs", column("epochs", words.number)),
        ("time", column("seconds", words.seconds)),
        ("rate", {one.size: words.number(one.rate) for one in found}),
    ]


def _held_out(data: Mapping[str, Any]) -> list[Column]:
    if not data.get("generalisation"):
        return []
    compared = data["generalisation"]["comparison"]
    cells = {one["batch_size"]: words.spread(one["score"], one["error"]) for one in compared["matched"]}
    return [(f"{compared['score_name']} on new rows, at equal loss", cells)]


def legend(data: Mapping[str, Any], looks: Looks) -> Html:
    """Return how each batch size looks."""
    chips = [element("li", looks.chip(size, data["rows"])) for size in data["batch_sizes"]]
    return element("ul", *chips, class_="legend", aria_label="Batch sizes compared")
