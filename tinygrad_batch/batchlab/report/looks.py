"""How a batch size looks: the same colour, mark and line in every chart, never the colour alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...draw.palette import VARIABLES
from ..words import batch
from .html import Html, element, text


@dataclass(frozen=True, slots=True)
class Look:
    """How one batch size is drawn.

    Attributes
    ----------
    colour : str
        A field of the palette.
    mark : str
        As Matplotlib calls it.
    dash : tuple of float
        Lengths of strokes and gaps, in units of the line's width; empty for a solid line.
    """

    colour: str
    mark: str
    dash: tuple[float, ...]

    @property
    def variable(self) -> str:
        """The colour as a CSS variable."""
        return str(getattr(VARIABLES, self.colour))


ALL = Look("loss", "s", ())
OTHERS = (
    Look("forward", "o", (1.0, 1.4)),
    Look("parameter", "^", (3.5, 1.5)),
    Look("backward", "D", (6.0, 1.5, 1.0, 1.5)),
    Look("kept", "v", (2.0, 1.2)),
    Look("data", "P", (7.0, 2.0)),
)
PLAIN = Look("data", "o", ())

# The marks as paths of SVG, about a middle at 0, as large as a circle of radius 5.
PATHS = {
    "o": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z",
    "s": "M-4.5-4.5h9v9h-9z",
    "^": "M0-6L5.5 4.5h-11z",
    "D": "M0-6L6 0L0 6L-6 0z",
    "v": "M0 6L5.5-4.5h-11z",
    "P": "M-2-6h4v4h4v4h-4v4h-4v-4h-4v-4h4z",
}


class Looks:
    """The looks of all batch sizes of a report.

    Parameters
    ----------
    data : mapping
        What the report is of. The sizes that it compares come first, then those of its smaller experiments.

    Examples
    --------
    >>> looks = Looks({"rows": 353, "batch_sizes": [1, 10, 353]})
    >>> looks.of(353, 353) == looks.of(100, 100) == ALL, looks.of(1, 100).colour, looks.of(64, 353) == PLAIN
    (True, 'forward', True)
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._looks: dict[int, Look] = {}
        for size, rows in _sizes(data):
            if size < rows and size not in self._looks:
                self._looks[size] = OTHERS[len(self._looks) % len(OTHERS)]

    def of(self, size: int, rows: int) -> Look:
        """Return the look of a batch size, out of so many rows."""
        return ALL if size >= rows else self._looks.get(size, PLAIN)

    def chip(self, size: int, rows: int, words: str | None = None) -> Html:
        """Return a batch size in words, with its line and mark before it if it has a look of its own."""
        look, said = self.of(size, rows), batch(size, rows) if words is None else words
        return text(said) if look is PLAIN else element("span", swatch(look), said, class_=f"chip {look.colour}")


def swatch(look: Look) -> Html:
    """Return a piece of line with a mark on it."""
    dash = " ".join(f"{2 * part:g}" for part in look.dash) or None
    return element(
        "svg",
        element("path", d="M-15 0H15", stroke=look.variable, stroke_width=2, stroke_dasharray=dash),
        element("path", d=PATHS[look.mark], fill=look.variable),
        viewBox="-15 -7 30 14",
        aria_hidden="true",
    )


def _sizes(data: Mapping[str, Any]) -> Iterable[tuple[int, int]]:
    """Yield every batch size that gets a look of its own, and the rows that it is taken from."""
    for size in data["batch_sizes"]:
        yield size, data["rows"]
    groups = [[walk["batch_size"] for walk in scene["walks"]] for scene in data.get("scenes") or ()]
    if data.get("saddles"):
        groups.append([escape["batch_size"] for escape in data["saddles"]["doubled_unit"]["escapes"]])
    for group in groups:
        for size in group:
            yield size, max(group)
