"""What a picture shows, before anything is placed: boxes in rows and columns, the edges between them, the words.

Every layout (the built-in one, Graphviz, plain text, the page) draws the same scene.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from tinygrad_batch.escape import clean
from tinygrad_batch.trace import Phase

__all__ = ["BACKWARD", "FORWARD", "LEFT", "RIGHT", "STYLES", "Beat", "Box", "Edge", "Group", "Heading", "Run", "Scene"]

LEFT, FORWARD, BACKWARD, RIGHT = range(4)

Kind = Literal["data", "parameter", "forward", "loss", "backward", "gradient", "note", "hidden"]
EdgeKind = Literal["data", "parameter", "forward", "backward", "kept", "start"]

# Style of a run of text: size in pixels, bold, colour (None: the colour of its box).
STYLES: dict[str, tuple[float, bool, str | None]] = {
    "name": (13, True, "ink"),
    "formula": (11, False, "muted"),
    "small": (10.5, False, None),
    "strong": (11, True, None),
    "value": (12, True, None),
    "shape": (10.5, False, "backward"),
    "note": (10.5, False, "muted"),
}


class Run(NamedTuple):
    """A piece of text in one style."""

    text: str
    style: str

    @classmethod
    def of(cls, text: str, style: str) -> Run:
        """Return a run of untrusted text."""
        return cls(clean(text), style)


Line = tuple[Run, ...]


@dataclass(slots=True)  # not frozen: there may be ten thousand, and a frozen one is slow to make
class Box:
    """One box: its place in the grid and its lines of text."""

    id: str
    kind: Kind
    column: int
    row: int
    lines: tuple[Line, ...]
    number: str = ""
    step: int | None = None  # the number shown, also for a box that a step fills from beside it
    value: int | None = None
    phase: str = ""


@dataclass(slots=True)
class Edge:
    """A line from box to box; without a head it is a value that waits."""

    tail: str
    head: str | None
    kind: EdgeKind
    label: str = ""
    value: int = -1  # edges that carry the same value share a lane


@dataclass(frozen=True, slots=True)
class Group:
    """A frame around consecutive rows of one layer, in the FORWARD and BACKWARD columns."""

    label: str
    first: int
    last: int
    level: int  # 0 outermost


@dataclass(frozen=True, slots=True)
class Heading:
    """The words over a column."""

    bold: str
    plain: str
    kind: str


@dataclass(frozen=True, slots=True)
class Beat:
    """One numbered moment of the picture: the steps of the trace it stands for, and the boxes it fills."""

    number: int
    phase: Phase
    steps: tuple[int, ...]
    boxes: tuple[str, ...]


@dataclass(slots=True)
class Scene:
    """Everything to draw."""

    title: str
    subtitle: str
    description: str
    headings: dict[int, Heading] = field(default_factory=dict)
    boxes: list[Box] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    footer: list[tuple[str, str, str]] = field(default_factory=list)  # colour, bold heading, words
    beats: list[Beat] = field(default_factory=list)
    rows: int = 0
    folded: bool = False

    @property
    def levels(self) -> int:
        """How deep the groups are nested."""
        return max((group.level for group in self.groups), default=-1) + 1

    def column(self, column: int) -> list[Box]:
        """Return the boxes of a column, top to bottom."""
        return [box for box in self.boxes if box.column == column]
