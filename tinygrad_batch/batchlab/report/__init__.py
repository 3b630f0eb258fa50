"""The report: one self-contained page about what the batch size does, made of nothing but the numbers of a comparison.

It asks nothing from any network and says so to the browser. Without JavaScript the walks are still pictures; without
Matplotlib the charts are left out, and the tables stand open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from ...draw.document import filled, themes
from ...escape import script_json
from .. import words
from .charts.plot import available
from .html import Html, element, join, text
from .looks import Looks
from .parts import Section
from .sections.claims import claims
from .sections.descent import descent
from .sections.generalisation import generalisation
from .sections.look import legend, look
from .sections.memory import memory
from .sections.minima import minima
from .sections.noise import noise
from .sections.saddles import saddles
from .walks import script

__all__ = ["render"]

LEAD = "What the batch size does to memory, to the slope, to the descent and to rows never seen. Measured, not told."
SECTIONS: dict[str, Callable[[Mapping[str, Any], Looks], Section]] = {
    "memory": memory,
    "noise": noise,
    "descent": descent,
    "saddles": saddles,
    "minima": minima,
    "generalisation": generalisation,
    "claims": lambda data, looks: claims(data["claims"]),
}


def render(data: Mapping[str, Any]) -> str:
    """Return a comparison as one HTML page.

    Parameters
    ----------
    data : mapping
        What `Comparison.to_dict` returns. A part that is None or missing is left out, and keys that are not known are
        passed over.

    Returns
    -------
    str
        The same for the same numbers and the same Matplotlib.

    Examples
    --------
    >>> empty = {"name": "toy", "rows": 100, "held_out_rows": 20, "net": "Linear(2 → 1)", "batch_sizes": [1, 100]}
    >>> page = render(empty)
    >>> page.startswith("<!doctype html>"), "Does everything fit?" in page
    (True, False)
    """
    looks = Looks(data)
    sections = [section(data, looks) for name, section in SECTIONS.items() if data.get(name)]
    folder = files(__name__)
    style = themes() + "".join((folder / name).read_text("utf-8") for name in ("report.css", "surfaces.css"))
    code = (folder / "report.js").read_text("utf-8")
    drawn = available()
    content = {
        "TITLE": text(f"Why batches? {data['name']}"),
        "NAVIGATION": _navigation(sections),
        "CONTENT": join(
            [
                _opening(data, looks, drawn),
                look(data, looks),
                *[section.html(place, not drawn) for place, section in enumerate(sections, 1)],
            ],
            Html("\n"),
        ),
        "FOOTER": _footer(data),
        "DATA": script_json(script(data, looks)),
    }
    return filled((folder / "page.html").read_text("utf-8"), style, code, content)


def _navigation(sections: Sequence[Section]) -> Html:
    return element(
        "ol",
        *[
            element("li", element("a", element("b", str(i)), " ", one.short, href=f"#{one.name}"))
            for i, one in enumerate(sections, 1)
        ],
    )


def _opening(data: Mapping[str, Any], looks: Looks, drawn: bool) -> Html:
    rows = words.plural(data["rows"], "row")
    return element(
        "header",
        element("h1", "Why batches?"),
        element("p", LEAD, class_="lead"),
        element(
            "dl",
            *_fact("Data", element("b", data["name"]), f", {rows} to train on and {data['held_out_rows']:,} held out"),
            *_fact("Net", data["net"]),
            *_fact("At a time", legend(data, looks)),
            class_="measured",
        ),
        Html("")
        if drawn
        else element(
            "p", "The charts are left out, because Matplotlib is not installed. To see them: ",
            element("code", 'pip install "tinygrad-batch[plot]"'), class_="note",
        ),
    )  # fmt: skip


def _fact(name: str, *what: str) -> tuple[Html, Html]:
    return element("dt", name), element("dd", *what)


def _footer(data: Mapping[str, Any]) -> Html:
    spent = sum(data.get("seconds", {}).values())
    how = "thoroughly" if data.get("thorough") else "quickly; a thorough comparison takes more starts"
    left_out = [f"Left out is {part}: {why}. " for part, why in data.get("left_out", {}).items()]
    return element(
        "p",
        *left_out,
        f"Measured in {words.seconds(spent)}, {how}. " if spent else "",
        "What came out is worked out from the measurements. The page loads nothing from anywhere.",
    )
