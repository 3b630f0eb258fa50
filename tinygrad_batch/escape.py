"""Untrusted text: names of values, layers and files must neither break a picture nor inject into it."""

from __future__ import annotations

import html
import json
import math
import re
import unicodedata
from typing import Any

__all__ = ["clean", "dot", "script_json", "xml"]

LIMIT = 160  # no label needs more; a 10 kB name must not make a 10 kB picture

_SUSPECT = re.compile("[^ -~¡-\u017f‐-‧‰-⁞←-⇿∀-⋿×ᵀΣΑ-Ωα-ω]")
_SPACE = re.compile("[\t\n\v\f\r\x85\u2028\u2029]+")
_DROP = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters: NUL ends a string in Graphviz, XML 1.0 forbids most of the rest
    "\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"  # invisible, or reverse the text around them
    "\ufdd0-\ufdef\ufff0-\uffff"  # not characters, replacement and annotation marks
    "\ud800-\udfff"  # halves of surrogate pairs: cannot be encoded
    "\U000e0000-\U000e0fff]"  # invisible tags
)
_MARKS = re.compile(
    "([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{2})"
    "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+"
)
_RTL = "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\U00010800-\U00010fff\U0001e800-\U0001efff]+"
_RIGHT_TO_LEFT = re.compile(f"{_RTL}(?: +{_RTL})*")


def clean(text: str, limit: int = LIMIT) -> str:
    r"""Return `text` as one short line of printable characters.

    Examples
    --------
    >>> clean("a\x00b\nc"), clean("w" * 9, limit=4)
    ('ab c', 'www…')
    """
    if len(text) <= limit and _SUSPECT.search(text) is None:
        return text
    text = _SPACE.sub(" ", text[: 4 * limit])
    text = _DROP.sub("", text)
    text = _MARKS.sub(r"\1", unicodedata.normalize("NFC", text))
    # The last two code points of each plane are no characters either.
    text = "".join(c for c in text if ord(c) & 0xFFFE != 0xFFFE)
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    # Each isolated, so that it cannot reorder the words beside it.
    return _RIGHT_TO_LEFT.sub("\u2068\\g<0>\u2069", text)


def xml(text: str) -> str:
    """Return `text` for an XML or HTML text node or a quoted attribute."""
    return html.escape(text, quote=True)


def dot(text: str) -> str:
    r"""Return `text` for a Graphviz HTML-like label.

    Graphviz decodes entities first and expands escapes such as ``\N`` after that, so a backslash is doubled.
    """
    return html.escape(text, quote=True).replace("\\", "&#92;&#92;")


def script_json(data: Any) -> str:
    r"""Return JSON that can stand inside ``<script>``: pure ASCII, without ``<``, ``>`` and ``&``.

    Examples
    --------
    >>> script_json({"name": "</script>", "mean": float("nan")})
    '{"name":"\\u003c/script\\u003e","mean":null}'
    """
    text = json.dumps(_finite(data), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _finite(data: Any) -> Any:
    # The nesting is that of our own page data, four levels, whatever the depth of the graph.
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {key: _finite(item) for key, item in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(item) for item in data]
    return data
