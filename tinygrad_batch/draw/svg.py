"""A placed scene as SVG: literal colours, every id prefixed, the same bytes for the same scene."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

from tinygrad_batch.draw.layout import BOX_PAD, LINE, RUN_SPACE, Placed, PlacedBox, PlacedEdge, PlacedFrame
from tinygrad_batch.draw.palette import BOX_COLOURS, Palette
from tinygrad_batch.draw.scene import STYLES, Line, Run
from tinygrad_batch.escape import xml

__all__ = ["FONT", "render"]

FONT = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif"
_LINES = {  # width, dashes, colour of an edge
    "data": (1.5, "", "data"),
    "parameter": (1.5, "", "parameter"),
    "forward": (1.6, "", "forward"),
    "backward": (1.6, "6 4", "backward"),
    "kept": (2.0, "1.5 4.5", "kept"),
    "start": (2.2, "", "loss"),
}
_WIDTHS = {"data": 1.2, "note": 1.2, "parameter": 2, "gradient": 2, "loss": 2.2}  # of a box's line, else 1.3


def render(placed: Placed, palette: Palette, prefix: str | None = None) -> str:
    """Return the SVG document of a placed scene.

    Parameters
    ----------
    placed : Placed
        What to draw.
    palette : Palette
        Its colours.
    prefix : str, optional
        Begins every id; from a hash of the content where none is given, so that several drawings can
        share one page.
    """
    mark = "\x00"  # stands for the prefix until it is known; no label can hold it
    parts = [_open(placed, mark), _markers(palette, mark)]
    parts.append(f'<rect width="{_n(placed.width)}" height="{_n(placed.height)}" fill="{palette.background}"/>')
    parts += _words(placed, palette)
    parts += [_column(frame, palette) for frame in placed.columns]
    parts += [_group(frame, palette) for frame in placed.groups]
    parts.append(f'<g id="{mark}-edges" fill="none">')
    parts += [_edge(edge, palette, mark) for edge in placed.edges]
    parts.append("</g>")
    parts += [_box(box, palette, mark) for box in placed.boxes.values()]
    parts += _footer(placed, palette)
    parts.append("</svg>\n")
    text = "\n".join(parts)
    if prefix is None:
        prefix = "tb" + hashlib.sha256(text.encode()).hexdigest()[:8]
    return text.replace(mark, prefix)


@lru_cache(maxsize=1 << 14)  # the same widths and columns come thousands of times
def _n(number: float) -> str:
    return str(int(number)) if number == int(number) else f"{number:.1f}".removesuffix(".0")


def _open(placed: Placed, mark: str) -> str:
    w, h = _n(placed.width), _n(placed.height)
    title, description = xml(placed.scene.title), xml(placed.scene.description)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="img" '
        f'aria-labelledby="{mark}-title {mark}-desc" font-family="{FONT}">\n'
        f'<title id="{mark}-title">{title}</title>\n<desc id="{mark}-desc">{description}</desc>'
    )


def _markers(palette: Palette, mark: str) -> str:
    heads = []
    for kind, (_, _, colour) in _LINES.items():
        heads.append(
            f'<marker id="{mark}-to-{kind}" viewBox="0 0 10 8" refX="9" refY="4" markerWidth="10" markerHeight="8" '
            'markerUnits="userSpaceOnUse" orient="auto">'
            f'<path d="M0 0L10 4L0 8Z" fill="{getattr(palette, colour)}"/></marker>'
        )
    return "<defs>" + "".join(heads) + "</defs>"


def _text(x: float, y: float, text: str, size: float, colour: str, bold: bool = False, anchor: str = "") -> str:
    weight = ' font-weight="bold"' if bold else ""
    where = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{_n(x)}" y="{_n(y)}" font-size="{_n(size)}" fill="{colour}"{weight}{where}>{xml(text)}</text>'


def _words(placed: Placed, palette: Palette) -> list[str]:
    centre = placed.width / 2
    parts = [_text(centre, 36, placed.title, 22, palette.ink, True, "middle")]
    for i, line in enumerate(placed.subtitle):
        parts.append(_text(centre, 58 + 17 * i, line, 12, palette.muted, anchor="middle"))
    return parts


def _column(frame: PlacedFrame, palette: Palette) -> str:
    fill, colour = getattr(palette, f"{frame.kind}_frame"), getattr(palette, frame.kind)
    plain = ""
    if frame.plain:
        plain = f'<tspan dx="{RUN_SPACE}" font-size="12" font-weight="normal">{xml(frame.plain)}</tspan>'
    return (
        f'<rect x="{_n(frame.x)}" y="{_n(frame.y)}" width="{_n(frame.w)}" height="{_n(frame.h)}" rx="10" '
        f'fill="{fill}" stroke="{palette.rule}" stroke-width="1.2"/>\n'
        f'<text x="{_n(frame.x + 10)}" y="{_n(frame.y + 22)}" font-size="13" font-weight="bold" fill="{colour}">'
        f"{xml(frame.bold)}{plain}</text>"
    )


def _group(frame: PlacedFrame, palette: Palette) -> str:
    fill, rule = getattr(palette, frame.kind), getattr(palette, f"{frame.kind}_rule")
    return (
        f'<rect x="{_n(frame.x)}" y="{_n(frame.y)}" width="{_n(frame.w)}" height="{_n(frame.h)}" rx="8" '
        f'fill="{fill}" stroke="{rule}"/>\n' + _text(frame.x + 9, frame.y + 16, frame.plain, 11, palette.muted)
    )


def _path(points: Sequence[tuple[float, float]]) -> str:
    """Return a path with rounded corners; the lines run along the axes."""
    text = f"M{_n(points[0][0])} {_n(points[0][1])}"
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        for other, command in ((before, "L"), (after, "Q")):
            dx, dy = other[0] - here[0], other[1] - here[1]
            length = max(abs(dx), abs(dy))
            r = min(7.0, length / 2)
            x, y = (here[0] + r * dx / length, here[1] + r * dy / length) if length else here
            text += f"{command}" + (f"{_n(here[0])} {_n(here[1])} " if command == "Q" else "") + f"{_n(x)} {_n(y)}"
    return text + f"L{_n(points[-1][0])} {_n(points[-1][1])}"


def _edge(placed: PlacedEdge, palette: Palette, mark: str) -> str:
    edge = placed.edge
    line, dashes, key = _LINES[edge.kind]
    colour = getattr(palette, key)
    dash = f' stroke-dasharray="{dashes}"' if dashes else ""
    cap = ' stroke-linecap="round"' if edge.kind == "kept" else ""
    arrow = f' marker-end="url(#{mark}-to-{edge.kind})"' if placed.arrow else ""
    head = f' data-to="{edge.head}"' if edge.head else ""
    text = f'<g data-kind="{edge.kind}" data-from="{edge.tail}"{head}><path d="{_path(placed.points)}" '
    text += f'stroke="{colour}" stroke-width="{line}"{dash}{cap}{arrow}/>'
    if placed.label:
        text += _text(*placed.label_at, placed.label, 10.5, colour, anchor="middle")
    return text + "</g>"


def _runs(line: Line, x: float, y: float, colour: str, palette: Palette) -> str:
    if not line:
        return ""
    spans = []
    for i, run in enumerate(line):
        size, bold, key = STYLES[run.style]
        fill = getattr(palette, key) if key else colour
        gap = f' dx="{RUN_SPACE}"' if i else ""
        weight = ' font-weight="bold"' if bold else ""
        spans.append(f'<tspan{gap} font-size="{_n(size)}"{weight} fill="{fill}">{xml(_spaced(run))}</tspan>')
    return f'<text x="{_n(x)}" y="{_n(y)}">{"".join(spans)}</text>'


def _spaced(run: Run) -> str:
    # XML folds several spaces into one; between shape and bytes they are meant.
    return run.text.replace("   ", "\u2002\u2002")


def _box(placed: PlacedBox, palette: Palette, mark: str) -> str:
    box = placed.box
    line_key, fill_key = BOX_COLOURS[box.kind]
    line = _WIDTHS.get(box.kind, 1.3)
    colour, fill = getattr(palette, line_key), getattr(palette, fill_key)
    step = "" if box.step is None else f' data-step="{box.step}"'
    value = "" if box.value is None else f' data-value="{box.value}"'
    phase = f' data-phase="{box.phase}"' if box.phase else ""
    dash = ' stroke-dasharray="4 3"' if box.kind in ("note", "hidden") else ""
    parts = [f'<g id="{mark}-{box.id}" data-kind="{box.kind}"{step}{value}{phase}>']
    parts.append(
        f'<rect x="{_n(placed.x)}" y="{_n(placed.y)}" width="{_n(placed.w)}" height="{_n(placed.h)}" rx="7" '
        f'fill="{fill}" stroke="{colour}" stroke-width="{line}"{dash}/>'
    )
    if placed.cell:
        x = placed.x + placed.cell
        parts.append(f'<path d="M{_n(x)} {_n(placed.y)}v{_n(placed.h)}" stroke="{colour}"/>')
        parts.append(_text(placed.x + placed.cell / 2, placed.middle + 5.5, box.number, 15, colour, True, "middle"))
    for i, text in enumerate(placed.lines):
        y = placed.y + 18 + LINE * i
        parts.append(_runs(text, placed.x + placed.cell + BOX_PAD - 1, y, colour, palette))
    return "".join(parts) + "</g>"


def _footer(placed: Placed, palette: Palette) -> list[str]:
    parts = []
    for y, colour, bold, plain in placed.footer:
        head = f'<tspan font-weight="bold" fill="{getattr(palette, colour)}">{xml(bold)}</tspan>' if bold else ""
        gap = ' dx="6"' if bold else ""
        words = f'<tspan{gap} fill="{palette.muted}">{xml(plain)}</tspan>'
        parts.append(f'<text x="16" y="{_n(y)}" font-size="11">{head}{words}</text>')
    return parts
