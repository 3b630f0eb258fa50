"""The built-in layout as DOT with every position given, so that Graphviz only paints it: for PNG and PDF.

To be rendered with ``dot -Knop2``, which takes the positions as they are, in linear time.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from tinygrad_batch.draw.dot import EDGES, FONT, HEAVY
from tinygrad_batch.draw.layout import BOX_PAD, LINE, Placed, PlacedBox, PlacedEdge, PlacedFrame
from tinygrad_batch.draw.measure import width
from tinygrad_batch.draw.palette import BOX_COLOURS, Palette
from tinygrad_batch.draw.scene import STYLES, Run
from tinygrad_batch.escape import dot as escaped

__all__ = ["source"]


def source(placed: Placed, palette: Palette) -> str:
    """Return DOT source in which everything has its place.

    Examples
    --------
    >>> from tinygrad_batch.draw.compose import compose
    >>> from tinygrad_batch.draw.layout import place
    >>> from tinygrad_batch.draw.palette import LIGHT
    >>> from tinygrad_batch.trace import Trace
    >>> "pos=" in source(place(compose(Trace())), LIGHT)
    True
    """
    return _Writer(placed, palette).write()


class _Writer:
    def __init__(self, placed: Placed, palette: Palette) -> None:
        self.placed = placed
        self.palette = palette
        self.count = 0

    def write(self) -> str:
        placed, p = self.placed, self.palette
        lines = [
            "digraph batch {",
            # Nodes first: no line crosses a box, and the frames lie under the lines.
            f'graph [outputorder=nodesfirst pad=0 margin=0 bgcolor="{p.background}" fontname="{FONT}"];',
            f'node [shape=box fixedsize=true label="" margin=0 fontname="{FONT}" fontsize=11];',
            "edge [arrowsize=0.75];",
            # An empty box as large as the picture, so that the margins stay.
            self._node(
                0, 0, placed.width, placed.height, f'style=filled color="{p.background}" fillcolor="{p.background}"'
            ),
        ]
        lines.append(self._words(placed.width / 2, 36, [(placed.title, 22, True, p.ink)], "CENTER"))
        for i, line in enumerate(placed.subtitle):
            lines.append(self._words(placed.width / 2, 58 + 17 * i, [(line, 12, False, p.muted)], "CENTER"))
        for frame in placed.columns:
            lines += self._frame(frame, getattr(p, f"{frame.kind}_frame"), p.rule, getattr(p, frame.kind), 22)
        for frame in placed.groups:
            lines += self._frame(frame, getattr(p, frame.kind), getattr(p, f"{frame.kind}_rule"), p.muted, 16)
        for box in placed.boxes.values():
            lines += self._box(box)
        for edge in placed.edges:
            lines += self._edge(edge)
        for y, colour, bold, plain in placed.footer:
            parts = [(bold, 11.0, True, getattr(p, colour)), (plain, 11.0, False, p.muted)]
            lines.append(self._words(16, y, [part for part in parts if part[0]]))
        return "\n".join([*lines, "}"]) + "\n"

    def _name(self) -> str:
        self.count += 1
        return f"n{self.count}"

    def _node(self, x: float, y: float, w: float, h: float, rest: str, name: str = "") -> str:
        at = f"{x + w / 2:.1f},{self.placed.height - y - h / 2:.1f}"  # Graphviz counts from below
        return f'{name or self._name()} [pos="{at}" width={w / 72:.4f} height={h / 72:.4f} {rest}];'

    def _words(self, x: float, y: float, parts: Sequence[tuple[str, float, bool, str]], align: str = "LEFT") -> str:
        """Return a node of text whose base line is at `y`."""
        room = sum(width(text, size, bold) for text, size, bold, _ in parts) * 1.04 + 8 * len(parts)
        tall = max((size for _, size, _, _ in parts), default=11) * 1.3
        cells = "  ".join(self._font(*part) for part in parts if part[0])
        size = f'FIXEDSIZE="TRUE" WIDTH="{room:.0f}" HEIGHT="{tall:.0f}"'
        table = (
            f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0" {size}>'
            f'<TR><TD {size} ALIGN="{align}">{cells or " "}</TD></TR></TABLE>>'
        )
        left = x if align == "LEFT" else x - room / 2
        # A little larger than the table in it, or Graphviz warns.
        return self._node(left - 3, y - tall * 0.77 - 3, room + 6, tall + 6, f"shape=none label={table}")

    def _font(self, text: str, size: float, bold: bool, colour: str) -> str:
        words = escaped(text)
        return f'<FONT COLOR="{colour}" POINT-SIZE="{size:g}">{f"<B>{words}</B>" if bold else words}</FONT>'

    def _frame(self, frame: PlacedFrame, fill: str, rule: str, colour: str, base: float) -> list[str]:
        style = f'style="rounded,filled" color="{rule}" fillcolor="{fill}"'
        parts = [(frame.bold, 13.0, True, colour), (frame.plain, 12.0 if frame.bold else 11.0, False, colour)]
        parts = [part for part in parts if part[0]]
        words = [self._words(frame.x + 10, frame.y + base, parts)] if parts else []
        return [self._node(frame.x, frame.y, frame.w, frame.h, style), *words]

    def _box(self, placed: PlacedBox) -> list[str]:
        line, fill = BOX_COLOURS[placed.box.kind]
        border = HEAVY.get(placed.box.kind, 1)
        p = self.palette
        colour = getattr(p, line)
        dashed = ",dashed" if placed.box.kind in ("note", "hidden") else ""
        style = f'style="rounded,filled{dashed}" color="{colour}" fillcolor="{getattr(p, fill)}" penwidth={border}'
        parts = [self._node(placed.x, placed.y, placed.w, placed.h, style, placed.box.id)]
        if placed.cell:
            rule = f'style=filled color="{colour}" fillcolor="{colour}" penwidth=0'
            parts.append(self._node(placed.x + placed.cell - 0.5, placed.y, 1, placed.h, rule))
            number = [(placed.box.number, 15.0, True, colour)]
            parts.append(self._words(placed.x + placed.cell / 2, placed.middle + 5.5, number, "CENTER"))
        for i, runs in enumerate(placed.lines):
            styled = [self._run(run, colour) for run in runs]
            if styled:
                x = placed.x + placed.cell + BOX_PAD - 1
                parts.append(self._words(x, placed.y + 18 + LINE * i, styled))
        return parts

    def _run(self, run: Run, colour: str) -> tuple[str, float, bool, str]:
        size, bold, key = STYLES[run.style]
        return run.text, size, bold, getattr(self.palette, key) if key else colour

    def _edge(self, placed: PlacedEdge) -> list[str]:
        key, style = EDGES[placed.edge.kind]
        colour = getattr(self.palette, key)
        points = [(x, self.placed.height - y) for x, y in placed.points]
        spline, tip = _spline(points, 8 if placed.arrow else 0)
        arrow = f"e,{tip[0]:.1f},{tip[1]:.1f} " if placed.arrow else ""
        pos = arrow + " ".join(f"{x:.1f},{y:.1f}" for x, y in spline)
        ends = f"{placed.edge.tail} -> {placed.edge.head or placed.edge.tail}"
        width_ = "" if "penwidth" in style else " penwidth=1.6"
        end = "" if placed.arrow else " dir=none"
        parts = [f'{ends} [pos="{pos}" color="{colour}"{style}{width_}{end}];']
        if placed.label:
            x, y = placed.label_at
            parts.append(self._words(x, y, [(placed.label, 10.5, False, colour)], "CENTER"))
        return parts


Point = tuple[float, float]


def _spline(points: Sequence[Point], arrow: float) -> tuple[list[Point], Point]:
    """Return a Bézier curve along the points with rounded corners, ending `arrow` before the tip."""
    tip = points[-1]
    end = _toward(tip, points[-2], arrow)
    corners = [*points[:-1], end]
    pieces: list[Point] = [corners[0]]

    def straight(to: Point) -> None:
        start = pieces[-1]
        for part in (1 / 3, 2 / 3):
            pieces.append((start[0] + part * (to[0] - start[0]), start[1] + part * (to[1] - start[1])))
        pieces.append(to)

    lengths = [max(abs(a[0] - b[0]), abs(a[1] - b[1])) for a, b in pairwise(corners)]
    for i in range(1, len(corners) - 1):
        here = corners[i]
        r = min(7.0, lengths[i - 1] / 2, lengths[i] / 2)
        before, after = _toward(here, corners[i - 1], r), _toward(here, corners[i + 1], r)
        straight(before)
        pieces += [_toward(before, here, r * 2 / 3), _toward(after, here, r * 2 / 3), after]
    straight(end)
    return pieces, tip


def _toward(start: Point, goal: Point, distance: float) -> Point:
    length = max(abs(goal[0] - start[0]), abs(goal[1] - start[1]))
    part = min(1.0, distance / length) if length else 0.0
    return start[0] + part * (goal[0] - start[0]), start[1] + part * (goal[1] - start[1])
