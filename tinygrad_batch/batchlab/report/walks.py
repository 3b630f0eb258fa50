"""The walks on surfaces: a still picture of contours and ways, and what the script of the page needs to move them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import words
from .html import Html, element, join
from .looks import PATHS, Looks
from .parts import figure
from .surfaces import below, path, thin

WIDTH, HEIGHT = 480, 340
SHARES = (0.02, 0.05, 0.1, 0.17, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.94)  # of the ground below each contour
MOST = 600  # points of a way that are shown
Array = np.ndarray

TITLES = {
    "bowl": (
        "A bowl, three batch sizes",
        "A straight line through 100 points has two weights, so its loss can be drawn: the stronger the tint, the "
        "higher. Choose the clock, press Play, and see who leads.",
    ),
    "saddle": (
        "A saddle, three batch sizes",
        "All begin at the same place, where two units do the same. The dashed line is as high as that place: the low "
        "ground on both sides touches there.",
    ),
    "minima": (
        "Hills and valleys, three batch sizes",
        "A sine looks for the frequency and the phase of another. There are many valleys, and few of them are deep.",
    ),
}


@dataclass(frozen=True, slots=True)
class Way:
    """One walk as it is drawn.

    Attributes
    ----------
    size : int
    points : ndarray, shape (looks, 2)
        In units of the picture.
    updates, losses : list
        When the looks were, and what the loss was.
    """

    size: int
    points: Array
    updates: list[int]
    losses: list[float | None]


def scene(data: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """Return the scene of that name, if there is one with walks."""
    return next((one for one in data.get("scenes") or () if one["name"] == name and one["walks"]), None)


def ways(found: Mapping[str, Any]) -> list[Way]:
    """Return the walks of a scene, thinned for the page."""
    left, right, low, high = found["across"][0], found["across"][-1], found["up"][0], found["up"][-1]
    result = []
    for walk, losses in zip(found["walks"], found["losses"], strict=True):
        every = -(-len(losses) // MOST)
        keep = sorted({*range(0, len(losses), every), len(losses) - 1})
        at = np.array([walk["points"][i][0] for i in keep], float)
        across, up = (at[:, 0] - left) / (right - left), (at[:, 1] - low) / (high - low)
        points = np.stack([across * WIDTH, (1 - up) * HEIGHT], axis=1).round(1)
        result.append(Way(walk["batch_size"], points, [walk["updates"][i] for i in keep], [losses[i] for i in keep]))
    return result


def walk(data: Mapping[str, Any], name: str, looks: Looks) -> Html:
    """Return a scene as a figure with controls, which the script shows; nothing where there is no such scene."""
    found = scene(data, name)
    if found is None:
        return Html("")
    each = ways(found)
    rows = max(way.size for way in each)
    ends = [
        f"{words.batch(way.size, rows)}: loss {words.number(way.losses[-1])} after "
        f"{words.plural(way.updates[-1], 'update')}"
        for way in each
    ]
    title, says = TITLES[name]
    picture = element(
        "svg",
        element("title", title, id=f"walk-{name}-title"),
        element(
            "desc", f"Contours of the loss, and three ways down. At the end {'; '.join(ends)}.", id=f"walk-{name}-desc"
        ),
        _ground(found),
        *[_way(way, rows, looks) for way in each],
        _axes(found["names"]),
        viewBox=f"-1 -1 {WIDTH + 2} {HEIGHT + 2}",
        role="img",
        aria_labelledby=f"walk-{name}-title walk-{name}-desc",
    )
    inside = element(
        "div",
        element("div", picture, _controls(), class_="stage"),
        element("div", _clock(name), _readout(each, rows, looks), element("div", class_="race"), class_="panel"),
        class_="walk",
        data_walk=name,
    )
    return figure(title, says, inside)


def _ground(found: Mapping[str, Any]) -> Html:
    """Return the surface: high ground tinted, and lower ground lighter and lighter, with contours between."""
    heights = np.array([[np.inf if h is None else h for h in row] for row in found["heights"]], float)
    heights = np.minimum(heights, 1e9)[::-1]  # the first row is the lowest in the picture
    rows, columns = heights.shape
    scale = np.array([WIDTH / (columns - 1), HEIGHT / (rows - 1)])

    def outlines(level: float) -> str:
        return "".join(path(thin(outline * scale, 0.35)) for outline in below(heights, level) if len(outline) > 3)

    levels = np.quantile(heights, SHARES)[::-1]
    start = found["losses"][0][0]
    lines = [element("path", d=outlines(float(level))) for level in levels]
    return join(
        [
            element("rect", width=WIDTH, height=HEIGHT, class_="high"),
            element("g", *lines, class_="ground", fill_rule="evenodd"),
            element("path", d=outlines(start), class_="level") if start is not None else Html(""),
            element("rect", width=WIDTH, height=HEIGHT, class_="border"),
        ]
    )


def _way(way: Way, rows: int, looks: Looks) -> Html:
    look = looks.of(way.size, rows)
    start, (x, y) = way.points[0], way.points[-1]
    return element(
        "g",
        element("circle", cx=start[0], cy=start[1], r=5, class_="start"),
        element("path", d=path(way.points, closed=False), stroke=look.variable, class_="trail"),
        element(
            "path",
            d=PATHS[look.mark],
            fill=look.variable,
            transform=f"translate({x:g} {y:g}) scale(1.2)",
            class_="walker",
        ),
        data_size=way.size,
    )


def _axes(names: list[str]) -> Html:
    across, up = names
    return join(
        [
            element("text", f"{across} →", x=WIDTH - 10, y=HEIGHT - 10, text_anchor="end", class_="name"),
            element("text", f"↑ {up}", x=10, y=20, class_="name"),
        ]
    )


def _controls() -> Html:
    return element(
        "div",
        element("button", "Play", type="button", class_="play"),
        element("input", type="range", min=0, max=1, value=1, step=1, class_="time", aria_label="Time"),
        element("output", class_="now"),
        class_="controls",
        hidden=True,
    )


def _clock(name: str) -> Html:
    choices = [
        element(
            "label",
            element("input", type="radio", name=f"clock-{name}", value=value, checked=value == "epochs"),
            f" same {value}",
        )
        for value in ("epochs", "updates")
    ]
    return element("fieldset", element("legend", "Clock"), *choices, class_="clock", hidden=True)


def _readout(each: list[Way], rows: int, looks: Looks) -> Html:
    head = element("tr", *[element("th", cell, scope="col") for cell in ("batch", "updates", "epochs", "loss")])
    lines = [
        element(
            "tr",
            element(
                "th",
                element(
                    "label",
                    element(
                        "input",
                        type="checkbox",
                        checked=True,
                        hidden=True,
                        aria_label=f"Show {words.batch(way.size, rows)}",
                    ),
                    looks.chip(way.size, rows),
                ),
                scope="row",
            ),
            element("td", words.count(way.updates[-1])),
            element("td", words.number(way.updates[-1] * way.size / rows)),
            element("td", words.loss(way.losses[-1])),
        )
        for way in each
    ]
    caption = element("caption", "Where the walks are")
    return element("table", caption, element("thead", head), element("tbody", *lines), class_="readout")


def script(data: Mapping[str, Any], looks: Looks) -> dict[str, Any]:
    """Return what the script needs to know about the walks, ready for JSON; their ways it reads from the picture."""
    result = {}
    for name in TITLES:
        found = scene(data, name)
        if found is not None:
            each = ways(found)
            rows = max(way.size for way in each)
            result[name] = {
                "rows": rows,
                "ways": [
                    {
                        "size": way.size,
                        "colour": looks.of(way.size, rows).variable,
                        "dash": list(looks.of(way.size, rows).dash),
                        "updates": way.updates,
                        "losses": [None if loss is None else float(f"{loss:.4g}") for loss in way.losses],
                    }
                    for way in each
                ],
            }
    return result
