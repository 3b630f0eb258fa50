"""How wide text will be, without a font: advance widths of DejaVu Sans, the widest of the fonts asked for."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

__all__ = ["fit", "width", "wrap"]

# Hundredths of an em for the printable ASCII characters, from the space on.
# fmt: off
_REGULAR = (
    32, 40, 46, 84, 64, 95, 78, 28, 39, 39, 50, 84, 32, 36, 32, 34, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 34, 34, 84,
    84, 84, 53, 100, 68, 69, 70, 77, 63, 58, 78, 75, 30, 30, 66, 56, 86, 75, 79, 60, 79, 70, 64, 61, 73, 68, 99, 68,
    61, 68, 39, 34, 39, 84, 50, 50, 61, 64, 55, 64, 62, 35, 64, 63, 28, 28, 58, 28, 97, 63, 61, 64, 64, 41, 52, 39, 63,
    59, 82, 59, 59, 52, 64, 34, 64, 84,
)
_BOLD = (
    35, 46, 52, 84, 70, 100, 87, 31, 46, 46, 52, 84, 38, 42, 38, 36, 70, 70, 70, 70, 70, 70, 70, 70, 70, 70, 40, 40, 84,
    84, 84, 58, 100, 77, 76, 73, 83, 68, 68, 82, 84, 37, 37, 78, 64, 100, 84, 85, 73, 85, 77, 72, 68, 81, 77, 110, 77,
    72, 72, 46, 36, 46, 84, 50, 50, 68, 72, 59, 72, 68, 44, 72, 71, 34, 34, 66, 34, 104, 71, 69, 72, 72, 49, 60, 48,
    71, 65, 92, 64, 65, 58, 71, 36, 71, 84,
)
# fmt: on
_SPARE = 1.03  # the fonts differ a little


@lru_cache(maxsize=4096)
def _other(character: str) -> int:
    """Width of a character outside ASCII, in hundredths of an em; rather too much than too little."""
    code = ord(character)
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    if unicodedata.east_asian_width(character) in "WF":
        return 105
    if character in "²³¹·ᵀ":
        return 44
    if 0x2070 <= code < 0x20A0 or 0x1D2C <= code < 0x1D6B:  # superscripts and subscripts
        return 60
    if character == "×" or 0x2190 <= code < 0x2300:  # arrows and mathematics
        return 86
    if code < 0x400:
        return 80
    return 110


@lru_cache(maxsize=16384)
def width(text: str, size: float, bold: bool = False) -> float:
    """Return an estimate, in pixels, of the width of `text` at `size` pixels.

    Examples
    --------
    >>> width("iii", 10) < width("WWW", 10) < width("WWW", 10, bold=True)
    True
    """
    table = _BOLD if bold else _REGULAR
    if text.isascii():
        total = sum([table[code - 32] if 32 <= code < 127 else 0 for code in text.encode("ascii")])
    else:
        total = sum([table[ord(c) - 32] if " " <= c <= "~" else _other(c) for c in text])
    return total * size / 100 * _SPARE


def fit(text: str, room: float, size: float, bold: bool = False) -> str:
    """Return `text`, cut with an ellipsis where it is wider than `room` pixels.

    Examples
    --------
    >>> fit("h1 = tanh(z1)", 200, 11), fit("h1 = tanh(z1)", 50, 11)
    ('h1 = tanh(z1)', 'h1 = t…')
    """
    if width(text, size, bold) <= room:
        return text
    table = _BOLD if bold else _REGULAR
    room = room * 100 / size / _SPARE - 100
    kept = 0
    for character in text:
        room -= table[ord(character) - 32] if " " <= character <= "~" else _other(character)
        if room < 0:
            break
        kept += 1
    cut = text[:kept]
    if cut.count("\u2068") > cut.count("\u2069"):  # an isolate that is cut must be closed
        cut += "\u2069"
    return cut + "…" if kept else ""


def wrap(words: list[str], room: float, size: float) -> list[str]:
    """Return `words` joined into lines no wider than `room` pixels; a word wider than that is cut."""
    lines: list[str] = []
    line = ""
    for whole in words:
        word = fit(whole, room, size)
        longer = f"{line} {word}" if line else word
        if line and width(longer, size) > room:
            lines.append(line)
            line = word
        else:
            line = longer
    return [*lines, line] if line else lines
