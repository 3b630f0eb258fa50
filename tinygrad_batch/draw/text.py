"""A scene as plain text, for a terminal, a log or a doctest."""

from __future__ import annotations

import unicodedata

from tinygrad_batch.draw.scene import BACKWARD, FORWARD, LEFT, RIGHT, Box, Scene

__all__ = ["render"]

_MOST = {LEFT: 22, FORWARD: 38, BACKWARD: 38, RIGHT: 44}  # widest a column may become, in cells of the terminal


def render(scene: Scene) -> str:
    """Return the picture as lines of text: the same columns, a row for each operation.

    Examples
    --------
    >>> from tinygrad_batch.draw.compose import compose
    >>> from tinygrad_batch.trace import Trace
    >>> print(render(compose(Trace())))
    One batch
    <BLANKLINE>
    """
    columns = [column for column in range(4) if scene.column(column)]
    cells: dict[tuple[int, int], list[Box]] = {}
    for box in scene.boxes:
        cells.setdefault((box.row, box.column), []).append(box)
    texts = {key: _cell(boxes) for key, boxes in cells.items()}
    kept = {edge.tail: f"···{edge.label.partition(' ')[2]}···> " for edge in scene.edges if edge.kind == "kept"}
    for edge in scene.edges:
        if edge.kind == "start":
            kept[edge.tail] = f"───{edge.label}───> "
    gap = min(max((_width(text) for text in kept.values()), default=0), 30)
    widths = {}
    for column in columns:
        heading = scene.headings[column]
        longest = max(
            [_width(line) for (_, at), lines in texts.items() if at == column for line in lines]
            + [_width(f"{heading.bold} {heading.plain}")]
        )
        widths[column] = min(longest, max(_MOST[column], _width(f"{heading.bold} {heading.plain}")))
    labels = {group.first: group.label for group in reversed(scene.groups)}
    out = [scene.title, scene.subtitle] if scene.subtitle else [scene.title]
    heads = {column: f"{scene.headings[column].bold} {scene.headings[column].plain}".rstrip() for column in columns}
    if columns:
        rules = {column: "─" * widths[column] for column in columns}
        out += ["", _row(columns, widths, gap, heads, {}, ""), _row(columns, widths, gap, rules, {}, "")]
    for row in range(scene.rows):
        if row in labels:
            out.append(_row(columns, widths, gap, dict.fromkeys((FORWARD,), f"[{labels[row]}]"), {}, ""))
        here = {column: texts.get((row, column), []) for column in columns}
        forward = cells.get((row, FORWARD), [])
        for i in range(max(map(len, here.values()), default=0)):
            line = {column: lines[i] for column, lines in here.items() if i < len(lines)}
            first = i == 0
            arrows = {
                LEFT: "─>" if first and here.get(LEFT) else "",
                BACKWARD: "-->" if first and here.get(RIGHT) else "",
            }
            waits = kept.get(forward[0].id, "") if first and forward else ""
            out.append(_row(columns, widths, gap, line, arrows, waits))
    out.append("")
    out += [f"{head} {words}" for _, head, words in scene.footer]
    return "\n".join(line.rstrip() for line in out).rstrip("\n") + "\n"


def _cell(boxes: list[Box]) -> list[str]:
    lines = []
    for box in boxes:
        mark = f"{box.number:>3} " if box.number else ""
        for i, runs in enumerate(box.lines):
            words = "  ".join(run.text.replace("   ", "  ") for run in runs if run.text)
            lines.append((mark if i == 0 else " " * len(mark)) + words)
    return lines


def _row(
    columns: list[int], widths: dict[int, int], gap: int, line: dict[int, str], arrows: dict[int, str], kept: str
) -> str:
    text = ""
    for column in columns:
        text += _pad(line.get(column, ""), widths[column])
        if column == FORWARD and column != columns[-1]:
            text += " " + _pad(kept, gap)
        elif column != columns[-1]:
            text += f" {arrows.get(column, ''):<3} "
    return text


def _width(text: str) -> int:
    total = 0
    for character in text:
        if character.isascii():
            total += 1
        elif not unicodedata.combining(character) and unicodedata.category(character) != "Cf":
            total += 2 if unicodedata.east_asian_width(character) in "WF" else 1
    return total


def _pad(text: str, cells: int) -> str:
    if _width(text) > cells:
        while text and _width(text) > cells - 1:
            text = text[:-1]
        text += "…"
    return text + " " * (cells - _width(text))
