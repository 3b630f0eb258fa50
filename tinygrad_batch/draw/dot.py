"""A scene as DOT source for Graphviz.

Node names are ours; text of the user stands in HTML-like labels only, escaped. A cell of the grid
with several boxes is one node with a port for each.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

from tinygrad_batch.draw.layout import Placed, PlacedBox
from tinygrad_batch.draw.measure import fit
from tinygrad_batch.draw.palette import BOX_COLOURS, Palette
from tinygrad_batch.draw.scene import BACKWARD, FORWARD, STYLES, Edge, Scene
from tinygrad_batch.escape import dot as escaped

if TYPE_CHECKING:
    import graphviz

__all__ = ["EDGES", "FONT", "HEAVY", "digraph", "prefixed", "source"]

NAME = "batch"
FONT = "DejaVu Sans,Verdana,Helvetica,Arial,sans-serif"
HEAVY = {"parameter": 2, "loss": 2, "gradient": 2}  # width of the line, else 1
EDGES = {
    "data": ("data", ""),
    "parameter": ("parameter", ""),
    "forward": ("forward", ""),
    "backward": ("backward", " style=dashed"),
    "kept": ("kept", " style=dotted penwidth=2"),
    "start": ("loss", " penwidth=2.2"),
}


def source(placed: Placed, palette: Palette) -> str:
    """Return the DOT source of a scene.

    Examples
    --------
    >>> from tinygrad_batch.draw.compose import compose
    >>> from tinygrad_batch.draw.layout import place
    >>> from tinygrad_batch.draw.palette import LIGHT
    >>> from tinygrad_batch.trace import Trace
    >>> source(place(compose(Trace())), LIGHT).startswith("digraph batch {")
    True
    """
    return _Writer(placed, palette).write()


def digraph(placed: Placed, palette: Palette) -> graphviz.Digraph:
    """Return a scene as an object of the ``graphviz`` package, with its styles as attributes that can be changed."""
    import graphviz

    writer = _Writer(placed, palette)
    styles = {f"{kind}_attr": style for kind, style in writer.styles().items()}
    return graphviz.Digraph(NAME, body=[f"{line}\n" for line in writer.body()], **styles)


def _value(text: str) -> str:
    """Return the value of an attribute, in quotes unless it is a word, a number or markup."""
    return text if text[:1] == "<" or text.replace(".", "").isalnum() else f'"{text}"'


class _Writer:
    def __init__(self, placed: Placed, palette: Palette) -> None:
        self.placed = placed
        self.scene: Scene = placed.scene
        self.palette = palette
        self.cells: dict[tuple[int, int], list[PlacedBox]] = {}
        for box in placed.boxes.values():
            self.cells.setdefault((box.box.column, box.box.row), []).append(box)
        self.port: dict[str, str] = {}
        for boxes in self.cells.values():
            for box in boxes:
                node = boxes[0].box.id
                self.port[box.box.id] = node if len(boxes) == 1 else f"{node}:{box.box.id}"

    def write(self) -> str:
        heads = [
            f"{kind} [{' '.join(f'{name}={_value(value)}' for name, value in style.items())}];"
            for kind, style in self.styles().items()
        ]
        return "\n".join([f"digraph {NAME} {{", *heads, *self.body(), "}"]) + "\n"

    def styles(self) -> dict[str, dict[str, str]]:
        """Return the attributes of the graph, and those that all its nodes and edges have."""
        graph = {
            "newrank": "true", "rankdir": "TB", "nodesep": "0.32", "ranksep": "0.34", "splines": "true", "pad": "0.25",
            "outputorder": "edgesfirst", "fontname": FONT, "fontsize": "13", "labelloc": "t",
            "bgcolor": self.palette.background, "label": self._title(),
        }  # fmt: skip
        return {
            "graph": graph,
            "node": {"shape": "plain", "fontname": FONT, "fontsize": "12"},
            "edge": {"fontname": FONT, "fontsize": "10", "arrowsize": "0.75", "penwidth": "1.6"},
        }

    def body(self) -> list[str]:
        """Return the nodes and edges, a statement each."""
        lines: list[str] = []
        for column in range(4):
            lines += self._column(column)
        lines += [self._edge(edge) for edge in self.scene.edges if edge.head is not None]
        lines += self._grid()
        lines.append(f"foot [label={self._footer()}];")
        last = [cell[-1].box.id for (_, row), cell in self.cells.items() if row == self.scene.rows - 1]
        lines += [f"{node} -> foot [style=invis weight=5];" for node in self._names(last)]
        return lines

    def _names(self, boxes: list[str]) -> list[str]:
        return [self.port[box].partition(":")[0] for box in boxes]

    def _font(self, text: str, size: float, colour: str, bold: bool = False) -> str:
        words = escaped(text)
        return f'<FONT COLOR="{colour}" POINT-SIZE="{size:g}">{f"<B>{words}</B>" if bold else words}</FONT>'

    def _title(self) -> str:
        title = self._font(self.placed.title or " ", 22, self.palette.ink, True)
        words = "".join(
            f"<TR><TD>{self._font(line, 12, self.palette.muted)}</TD></TR>" for line in self.placed.subtitle if line
        )
        rows = f"<TR><TD>{title}</TD></TR>{words}<TR><TD> </TD></TR>"
        return f'<<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="2">{rows}</TABLE>>'

    def _column(self, column: int) -> list[str]:
        heading = self.scene.headings.get(column)
        rows = sorted(row for at, row in self.cells if at == column)
        if heading is None or not rows:
            return []
        p = self.palette
        colour = getattr(p, heading.kind)
        frame = f"{('parameter', 'forward', 'backward', 'parameter')[column]}_frame"
        words = f"<B>{escaped(heading.bold)}</B>  {escaped(heading.plain)}"
        lines = [
            f'subgraph cluster_{column} {{ label=<{words}>; labeljust=l; fontsize=13; fontcolor="{colour}"; '
            f'color="{p.rule}"; style="rounded,filled"; fillcolor="{getattr(p, frame)}"; penwidth=1.2; margin=12;'
        ]
        grouped = column in (FORWARD, BACKWARD)
        opens: dict[int, list[int]] = {}
        closes: dict[int, int] = {}
        for i, group in enumerate(self.scene.groups if grouped else ()):
            inside = [row for row in rows if group.first <= row <= group.last]
            if inside:
                opens.setdefault(inside[0], []).append(i)
                closes[inside[-1]] = closes.get(inside[-1], 0) + 1
        kind = "forward" if column == FORWARD else "backward"
        for row in rows:
            for i in opens.get(row, ()):
                label = escaped(fit(self.scene.groups[i].label, 160, 11)) or " "
                lines.append(
                    f"subgraph cluster_{column}_{i} {{ label=<{label}>; fontsize=11; labeljust=l; "
                    f'fontcolor="{p.muted}"; style="rounded,filled"; color="{getattr(p, kind + "_group_rule")}"; '
                    f'fillcolor="{getattr(p, kind + "_group")}"; margin=8;'
                )
            lines.append(self._node(self.cells[column, row]))
            lines += ["}"] * closes.get(row, 0)
        return [*lines, "}"]

    def _node(self, boxes: list[PlacedBox]) -> str:
        if len(boxes) == 1:
            return f"{boxes[0].box.id} [label=<{self._table(boxes[0])}>];"
        cells = "".join(f'<TR><TD PORT="{box.box.id}" CELLPADDING="3">{self._table(box)}</TD></TR>' for box in boxes)
        return f'{boxes[0].box.id} [label=<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0">{cells}</TABLE>>];'

    def _table(self, placed: PlacedBox) -> str:
        line, fill = BOX_COLOURS[placed.box.kind]
        border = HEAVY.get(placed.box.kind, 1)
        colour = getattr(self.palette, line)
        size = f'WIDTH="{placed.w - placed.cell - 8:.0f}"'
        rows = []
        for i, runs in enumerate(placed.lines):
            number = ""
            if i == 0 and placed.cell:
                number = (
                    f'<TD ROWSPAN="{len(placed.lines)}" WIDTH="30" BORDER="1" SIDES="R" COLOR="{colour}">'
                    f"{self._font(placed.box.number, 15, colour, True)}</TD>"
                )
            words = "  ".join(
                self._font(run.text, size_, colour if key is None else getattr(self.palette, key), bold)
                for run in runs
                for size_, bold, key in (STYLES[run.style],)
            )
            rows.append(f'<TR>{number}<TD ALIGN="LEFT" {size} BALIGN="LEFT">{words or " "}</TD></TR>')
        return (
            f'<TABLE BORDER="{border}" COLOR="{colour}" CELLBORDER="0" CELLSPACING="0" CELLPADDING="4" '
            f'BGCOLOR="{getattr(self.palette, fill)}" STYLE="ROUNDED">{"".join(rows)}</TABLE>'
        )

    def _edge(self, edge: Edge) -> str:
        if edge.head is None:
            return ""
        tail, head = self.placed.boxes[edge.tail].box, self.placed.boxes[edge.head].box
        key, style = EDGES[edge.kind]
        colour = getattr(self.palette, key)
        text = f'color="{colour}"{style}'
        if edge.label:
            text += f' fontcolor="{colour}" label=<   {escaped(fit(edge.label, 170, 10.5))}   >'
        ends = f"{self.port[tail.id]} -> {self.port[head.id]}"
        if tail.column == head.column:
            text += " weight=50" if abs(tail.row - head.row) == 1 else " weight=1"
            if tail.row > head.row:  # ranks run down, so an arrow up is a reversed arrow down
                ends = f"{self.port[head.id]} -> {self.port[tail.id]}"
                text += " dir=back"
        elif tail.row != head.row:
            text += " constraint=false"
        else:
            text += " weight=0"
        return f"{ends} [{text}];"

    def _grid(self) -> list[str]:
        """Hold the rows level and in order, also where no value runs from one to the next."""
        lines = []
        rows: dict[int, list[tuple[int, str]]] = {}
        for (column, row), boxes in self.cells.items():
            rows.setdefault(row, []).append((column, boxes[0].box.id))
        # Nodes that an edge joins already; a second, invisible edge would bend the first.
        drawn = {tuple(self._names([edge.tail, edge.head])) for edge in self.scene.edges if edge.head is not None}
        before: str | None = None
        for row in sorted(rows):
            cells = sorted(rows[row])
            lines.append("{rank=same; " + " ".join(f"{node};" for _, node in cells) + "}")
            for (_, one), (_, two) in itertools.pairwise(cells):
                if (one, two) not in drawn:
                    lines.append(f"{one} -> {two} [style=invis];")
            node = next((node for column, node in cells if column == FORWARD), cells[0][1])
            if before is not None and (before, node) not in drawn:
                lines.append(f"{before} -> {node} [style=invis weight=10];")
            before = node
        return lines

    def _footer(self) -> str:
        rows = []
        for _, colour, bold, plain in self.placed.footer:
            head = self._font(bold, 11, getattr(self.palette, colour), True) + "  " if bold else ""
            words = self._font(plain, 11, self.palette.muted) if plain else ""
            rows.append(f'<TR><TD ALIGN="LEFT">{head}{words or " "}</TD></TR>')
        return f'<<TABLE BORDER="0" CELLBORDER="0" CELLPADDING="3">{"".join(rows) or "<TR><TD> </TD></TR>"}</TABLE>>'


def prefixed(svg: str, prefix: str, title: str, description: str) -> str:
    """Return an SVG that Graphviz wrote, fit to stand in a page: own ids, a role, a title, no prologue.

    Both texts must be escaped already.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r'\bid="(?:a_)?([A-Za-z_0-9]+)"', rf'id="{prefix}-\1"', body)
    labels = f' role="img" aria-labelledby="{prefix}-title {prefix}-desc"'
    head, close, rest = body.partition(">")
    words = f'\n<title id="{prefix}-title">{title}</title>\n<desc id="{prefix}-desc">{description}</desc>'
    return head + labels + close + words + rest
