"""The built-in layout: rows are in execution order, so the picture is a grid, placed in linear time.

Consecutive rows are joined by straight arrows. A line that skips rows runs in a lane beside its
column; where all lanes are taken it becomes a stub that names the step it comes from.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field

from tinygrad_batch.draw.lanes import assign
from tinygrad_batch.draw.measure import fit, width, wrap
from tinygrad_batch.draw.scene import BACKWARD, FORWARD, LEFT, RIGHT, STYLES, Box, Edge, Line, Run, Scene

__all__ = ["Placed", "PlacedBox", "PlacedEdge", "PlacedFrame", "place"]

MARGIN, PAD = 14, 12  # around the picture; inside a column's frame
LINE, BOX_PAD = 17, 11  # height of a line of text; space left of the text in a box
ROW_GAP, GROUP_GAP, GROUP_HEAD, GROUP_FOOT = 18, 14, 23, 9
LANE, LANES = 10, 7
GAP = 46  # between two columns; between FORWARD and BACKWARD as wide as the longest "keeps ..."
ROOM = {LEFT: (104, 190), FORWARD: (190, 310), BACKWARD: (190, 310), RIGHT: (190, 350)}  # least and most width of a box
GAP_KEPT = (96, 190)
RUN_SPACE = 8


@dataclass(slots=True)
class PlacedBox:
    """A box with its rectangle and its text cut to fit."""

    box: Box
    x: float
    y: float
    w: float
    h: float
    cell: float  # width of the cell that holds the number; 0 without a number
    lines: tuple[Line, ...]

    @property
    def middle(self) -> float:
        """Height of its middle."""
        return self.y + self.h / 2


@dataclass(frozen=True, slots=True)
class PlacedFrame:
    """The frame of a column or of a layer, with its heading."""

    x: float
    y: float
    w: float
    h: float
    kind: str
    bold: str
    plain: str


@dataclass(slots=True)
class PlacedEdge:
    """A line through points, and its label if it has one."""

    edge: Edge
    points: tuple[tuple[float, float], ...]
    label: str = ""
    label_at: tuple[float, float] = (0, 0)
    arrow: bool = True


@dataclass(slots=True)
class Placed:
    """A scene with everything in its place."""

    scene: Scene
    width: float = 0
    height: float = 0
    title: str = ""
    subtitle: list[str] = field(default_factory=list)
    columns: list[PlacedFrame] = field(default_factory=list)
    groups: list[PlacedFrame] = field(default_factory=list)
    boxes: dict[str, PlacedBox] = field(default_factory=dict)
    edges: list[PlacedEdge] = field(default_factory=list)
    footer: list[tuple[float, str, str, str]] = field(default_factory=list)  # y, colour, bold, plain


def line_width(line: Iterable[Run]) -> float:
    """Return the width of a line of runs, with the spaces between them."""
    runs = [run for run in line if run.text]
    return sum(width(run.text, *STYLES[run.style][:2]) for run in runs) + RUN_SPACE * max(0, len(runs) - 1)


def fit_line(line: Line, room: float) -> Line:
    """Cut a line to `room` pixels: the last run keeps its place if it is short, the middle ones give way."""
    runs = [run for run in line if run.text]
    if line_width(runs) <= room:
        return tuple(runs)
    tail = width(runs[-1].text, *STYLES[runs[-1].style][:2]) if len(runs) > 2 else 0
    reserve = tail + RUN_SPACE if 0 < tail < room / 3 else 0
    kept: list[Run] = []
    left = room
    for i, run in enumerate(runs):
        size, bold, _ = STYLES[run.style]
        keep = 0.0 if i == len(runs) - 1 or not reserve else reserve
        if i == 0 and len(runs) > 1:
            keep = max(keep, min(room * 0.35, line_width(runs[1:])))  # a long name leaves some room for its formula
        text = fit(run.text, left - keep, size, bold)
        if not text:
            continue
        kept.append(Run(text, run.style))
        left -= width(text, size, bold) + RUN_SPACE
    return tuple(kept)


def place(scene: Scene) -> Placed:
    """Give every part of a scene its place.

    Examples
    --------
    >>> from tinygrad_batch.draw.compose import compose
    >>> from tinygrad_batch.trace import Trace
    >>> placed = place(compose(Trace()))
    >>> placed.width > placed.height > 0
    True
    """
    return _Layout(scene).run()


class _Layout:
    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.out = Placed(scene)
        self.columns = [scene.column(column) for column in range(4)]
        self.order = {box.id: i for boxes in self.columns for i, box in enumerate(boxes)}
        self.home = {box.id: box for box in scene.boxes}
        digits = max((len(box.number) for box in scene.boxes), default=0)
        self.cell = max(34.0, width("8" * digits, 15, True) + 14) if digits else 0.0
        self.inset = 7 * scene.levels
        self.beside = self.inset + (7 if scene.levels else 14)  # from the boxes to the first lane
        self.backward_rows = sorted({box.row for box in self.columns[BACKWARD] if box.kind != "note"})
        kept = {(edge.tail, edge.head) for edge in scene.edges if edge.kind == "kept"}
        self.both = {(edge.tail, edge.head) for edge in scene.edges if edge.kind == "start"} & kept
        self.tracks = self._tracks()
        self.x: dict[int, float] = {}
        self.w: dict[int, float] = {}
        self.frame: dict[int, tuple[float, float]] = {}
        self.longest: dict[str, float] = {}  # box -> width of its longest line

    def run(self) -> Placed:
        self._horizontal()
        bottom = self._vertical(self._heading())
        self._frames(bottom)
        for edge in self.scene.edges:
            self._edge(edge)
        self._footer(bottom)
        return self.out

    # -- lanes -------------------------------------------------------------------------------------

    def _skips(self, edge: Edge) -> int | None:
        """Return the column beside which an edge needs a lane, or None where it is straight."""
        if edge.head is None or edge.kind in ("kept", "start"):
            return None
        tail, head = self.home[edge.tail], self.home[edge.head]
        if tail.column == head.column:
            return tail.column if abs(self.order[edge.tail] - self.order[edge.head]) > 1 else None
        if tail.row == head.row:
            return None
        return LEFT if tail.column == LEFT else RIGHT

    def _tracks(self) -> dict[int, dict[int, int]]:
        """Assign lanes: left of FORWARD, right of BACKWARD, and in the gaps beside the outer columns."""
        spans: dict[int, dict[int, tuple[float, float]]] = {column: {} for column in range(4)}
        for edge in self.scene.edges:
            column = self._skips(edge)
            if column is None or edge.head is None:
                continue
            if column in (FORWARD, BACKWARD):
                ends = sorted((self.order[edge.tail], self.order[edge.head]))
                span = (ends[0] + 0.8, ends[1] + 0.2)
            else:
                ends = sorted((self.home[edge.tail].row, self.home[edge.head].row))
                span = (ends[0], ends[1] + 0.9)
            old = spans[column].get(edge.value, span)
            spans[column][edge.value] = (min(old[0], span[0]), max(old[1], span[1]))
        return {column: assign(found, LANES) for column, found in spans.items()}

    def _lanes(self, column: int) -> int:
        return max(self.tracks[column].values(), default=-1) + 1

    # -- across ------------------------------------------------------------------------------------

    def _horizontal(self) -> None:
        x = float(MARGIN)
        for column in range(4):
            boxes = self.columns[column]
            if not boxes:
                continue
            least, most = ROOM[column]
            numbered = any(box.number for box in boxes)
            needed = 0.0
            for box in boxes:
                self.longest[box.id] = longest = max(map(line_width, box.lines), default=0.0)
                needed = max(needed, longest + (self.cell if box.number else 0))
            self.w[column] = round(min(max(needed + 2 * BOX_PAD, least), most + (self.cell - 34 if numbered else 0)))
            before = PAD + (self.inset if column in (FORWARD, BACKWARD) else 0)
            after = before
            if column == FORWARD and self._lanes(FORWARD):
                before += LANE * self._lanes(FORWARD) + self.beside - self.inset - 3
            if column == BACKWARD and self._lanes(BACKWARD):
                after += LANE * self._lanes(BACKWARD) + self.beside - self.inset - 3
            self.frame[column] = (x, before + self.w[column] + after)
            self.x[column] = x + before
            x += before + self.w[column] + after
            if any(self.columns[column + 1 :]):
                x += self._gap(column)
        self.out.width = x + MARGIN
        least_width = min(760, max(440, width(self.scene.title, 22, True) + 60, width(self.scene.subtitle, 12) + 60))
        if self.out.width < least_width:
            shift = round((least_width - self.out.width) / 2)
            self.out.width = least_width
            self.x = {column: value + shift for column, value in self.x.items()}
            self.frame = {column: (value + shift, w) for column, (value, w) in self.frame.items()}

    def _gap(self, column: int) -> float:
        if column == FORWARD:
            labels = [width(edge.label, 10.5) for edge in self.scene.edges if edge.kind in ("kept", "start")]
            least, most = GAP_KEPT
            return round(min(max(max(labels, default=0) + 30 - 2 * PAD, least - 2 * PAD), most))
        lanes = self._lanes(LEFT) if column == LEFT else self._lanes(RIGHT)
        return GAP + LANE * max(0, lanes - 2)

    # -- down --------------------------------------------------------------------------------------

    def _heading(self) -> float:
        self.out.title = fit(self.scene.title, self.out.width - 40, 22, True)
        words = self.scene.subtitle.split(" ")
        self.out.subtitle = wrap(words, self.out.width - 40, 12)[:3]
        return 54 + 17 * len(self.out.subtitle) + 6

    def _vertical(self, top: float) -> float:
        self.top = top
        cells: dict[tuple[int, int], list[Box]] = {}
        for box in self.scene.boxes:
            cells.setdefault((box.row, box.column), []).append(box)
        opens: dict[int, list[int]] = {}
        closes: dict[int, list[int]] = {}
        for i, group in enumerate(self.scene.groups):
            opens.setdefault(group.first, []).append(i)
            closes.setdefault(group.last, []).append(i)
        started: dict[int, float] = {}
        self.spans: dict[int, tuple[float, float]] = {}
        y = top + 34
        for row in range(self.scene.rows):
            for i in sorted(opens.get(row, ()), key=lambda i: self.scene.groups[i].level):
                started[i] = y
                y += GROUP_HEAD
            stacks = {column: cells.get((row, column), []) for column in range(4)}
            heights = {column: self._stack_height(boxes) for column, boxes in stacks.items()}
            tall = max(heights.values())
            for column, boxes in stacks.items():
                at = y + (tall - heights[column]) / 2
                for box in boxes:
                    self._box(box, at)
                    at += self._height(box) + 8
            y += tall
            ended = closes.get(row, ())
            for i in sorted(ended, key=lambda i: -self.scene.groups[i].level):
                y += GROUP_FOOT
                self.spans[i] = (started[i], y)
            outside = all(self.scene.groups[i].level for i in ended)
            y += ROW_GAP if outside else GROUP_GAP
            if not ended and row + 1 in opens:
                y -= 4
        return y + (0 if self.scene.rows else 20)

    def _height(self, box: Box) -> float:
        return LINE * len(box.lines) + 10

    def _stack_height(self, boxes: list[Box]) -> float:
        return sum(map(self._height, boxes)) + 8 * max(0, len(boxes) - 1)

    def _box(self, box: Box, y: float) -> None:
        cell = self.cell if box.number else 0.0
        w = self.w[box.column]
        room = w - cell - 2 * BOX_PAD + 2
        fits = self.longest[box.id] <= room
        lines = tuple(tuple(r for r in line if r.text) if fits else fit_line(line, room) for line in box.lines)
        self.out.boxes[box.id] = PlacedBox(box, self.x[box.column], round(y, 1), w, self._height(box), cell, lines)

    def _frames(self, bottom: float) -> None:
        for column, heading in self.scene.headings.items():
            x, w = self.frame[column]
            bold = fit(heading.bold, w - 20, 13, True)
            plain = fit(heading.plain, w - 28 - width(bold, 13, True), 12)
            kind = ("parameter", "forward", "backward", "parameter")[column]
            self.out.columns.append(PlacedFrame(x, self.top, w, bottom - self.top, kind, bold, plain))
        levels = self.scene.levels
        for i, group in enumerate(self.scene.groups):
            nested = 7 * (levels - group.level)
            for column in (FORWARD, BACKWARD):
                if column not in self.x or (column == BACKWARD and not self._has_backward(group.first, group.last)):
                    continue
                start, end = self.spans[i]
                kind = "forward_group" if column == FORWARD else "backward_group"
                x, w = self.x[column] - nested, self.w[column] + 2 * nested
                label = fit(group.label, w / 2 - 26, 11)
                self.out.groups.append(PlacedFrame(x, start, w, end - start, kind, "", label))

    def _has_backward(self, first: int, last: int) -> bool:
        at = bisect_left(self.backward_rows, first)
        return at < len(self.backward_rows) and self.backward_rows[at] <= last

    # -- lines -------------------------------------------------------------------------------------

    def _edge(self, edge: Edge) -> None:
        tail = self.out.boxes[edge.tail]
        if edge.head is None:
            self._waiting(edge, tail)
            return
        head = self.out.boxes[edge.head]
        column = self._skips(edge)
        if edge.kind in ("kept", "start"):
            self._across(edge, tail, head)
        elif column is not None:
            self._lane(edge, tail, head, column)
        elif tail.box.column == head.box.column:
            x = tail.x + tail.w / 2
            down = tail.y < head.y
            start, end = (tail.y + tail.h, head.y) if down else (tail.y, head.y + head.h)
            self._add(edge, [(x, start), (x, end)])
        else:
            self._add(edge, _elbow(tail.x + tail.w, tail.middle, head.x, _entry(tail, head), head.x - 20))

    def _across(self, edge: Edge, tail: PlacedBox, head: PlacedBox) -> None:
        """Draw a dotted line to the backward step, or the start of the backward pass; both fit in one row."""
        both = (edge.tail, edge.head) in self.both
        y, x0, x1 = tail.middle + ((-6 if edge.kind == "start" else 9) if both else 0), tail.x + tail.w, head.x
        points = _elbow(x0, y, x1, min(max(y, head.y + 6), head.y + head.h - 6), x1 - 24)
        self._add(edge, points, ((x0 + x1) / 2, y + 14 if both and edge.kind == "kept" else y - 6))

    def _waiting(self, edge: Edge, tail: PlacedBox) -> None:
        """Draw a dotted line that no backward step has used yet."""
        x0 = tail.x + tail.w
        x1 = self.x.get(BACKWARD, x0 + 110) - PAD - self.inset - 6
        self._add(edge, [(x0, tail.middle), (x1, tail.middle)], ((x0 + x1) / 2, tail.middle - 6), arrow=False)

    def _lane(self, edge: Edge, tail: PlacedBox, head: PlacedBox, column: int) -> None:
        lane = self.tracks[column].get(edge.value)
        right = column in (LEFT, BACKWARD)  # the lane is right of the tail
        x0 = tail.x + tail.w if right or column == RIGHT else tail.x
        x1 = head.x + head.w if column == BACKWARD else head.x
        if lane is None:
            self._stub(edge, tail, head, column)
            return
        if column == FORWARD:
            x = self.x[FORWARD] - self.beside - LANE * lane
            points = [(x0, tail.y + 0.8 * tail.h), (x, 0), (x, 0), (x1, head.y + 0.22 * head.h)]
        elif column == BACKWARD:
            x = self.x[BACKWARD] + self.w[BACKWARD] + self.beside + LANE * lane
            points = [(x0, tail.y + 0.22 * tail.h), (x, 0), (x, 0), (x1, head.y + 0.8 * head.h)]
        elif column == LEFT:
            x = sum(self.frame[LEFT]) + 10 + LANE * lane
            points = [(x0, tail.middle), (x, 0), (x, 0), (x1, head.middle + 7)]
        else:
            x = self.frame[RIGHT][0] - 10 - LANE * lane
            points = [(x0, tail.middle), (x, 0), (x, 0), (x1, head.middle)]
        points[1], points[2] = (x, points[0][1]), (x, points[3][1])
        self._add(edge, points)

    def _stub(self, edge: Edge, tail: PlacedBox, head: PlacedBox, column: int) -> None:
        """Draw the last bit of a line only, with the number of the step (or the name) it comes from."""
        label = tail.box.number or (tail.lines[0][0].text if tail.lines and tail.lines[0] else "")
        if column == BACKWARD:
            x, y = head.x + head.w, head.y + 0.8 * head.h
            points, at = [(x + 16, y), (x, y)], (x + 22, y + 4)
        elif column == RIGHT:
            x, y = tail.x + tail.w, tail.middle
            label = head.lines[0][0].text if head.lines and head.lines[0] else ""
            points, at = [(x, y), (x + 16, y)], (x + 22, y + 4)
        else:
            x, y = head.x, head.y + (0.22 if column == FORWARD else 0.65) * head.h
            points, at = [(x - 16, y), (x, y)], (x - 22, y + 4)
        self.out.edges.append(PlacedEdge(edge, tuple(points), fit(label, 34, 10), at))

    def _add(
        self, edge: Edge, points: list[tuple[float, float]], label_at: tuple[float, float] = (0, 0), arrow: bool = True
    ) -> None:
        label = edge.label
        if label:
            label = fit(label, abs(points[-1][0] - points[0][0]) - 8, 10.5)
        self.out.edges.append(PlacedEdge(edge, tuple(points), label, label_at, arrow))

    # -- under the picture -------------------------------------------------------------------------

    def _footer(self, bottom: float) -> None:
        y = bottom + 24
        room = self.out.width - 2 * MARGIN - 4
        for colour, bold, plain in self.scene.footer:
            bold_width = width(bold, 11, True) + 6
            first, *rest = wrap(["\x00", *plain.split(" ")], room - bold_width, 11)  # the mark keeps the first line
            first = first.lstrip("\x00").strip()
            self.out.footer.append((y, colour, bold, first))
            y += 18
            for line in wrap(" ".join(rest).split(" "), room, 11) if rest else []:
                self.out.footer.append((y, colour, "", line))
                y += 18
        self.out.height = round(y + 2)
        self.out.width = round(self.out.width)


def _elbow(x0: float, y0: float, x1: float, y1: float, turn: float) -> list[tuple[float, float]]:
    if abs(y0 - y1) < 0.5:
        return [(x0, y0), (x1, y0)]
    return [(x0, y0), (turn, y0), (turn, y1), (x1, y1)]


def _entry(tail: PlacedBox, head: PlacedBox) -> float:
    """Return the height at which a line from beside enters a box: straight where it can."""
    return min(max(tail.middle, head.y + 8), head.y + head.h - 8)
