"""HTML that cannot be broken by the text in it: whatever is not HTML already is escaped where it is put in."""

from __future__ import annotations

from collections.abc import Iterable

from ...escape import clean, xml

LONGEST = 600  # characters of one piece of text: more than any sentence of ours, and less than a page
EMPTY = frozenset({"br", "col", "hr", "input", "meta"})
SHAPES = frozenset({"circle", "line", "path", "polyline", "rect", "use"})  # of SVG: written as <path … />


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: str) -> Html:
    """Return text as HTML; what is HTML already stays as it is.

    Examples
    --------
    >>> text("a < b"), text(Html("<b>a</b>"))
    ('a &lt; b', '<b>a</b>')
    """
    return value if isinstance(value, Html) else Html(xml(clean(value, LONGEST)))


def join(parts: Iterable[str], between: str = "") -> Html:
    """Return several pieces as one."""
    return Html(text(between).join(text(part) for part in parts))


def element(tag: str, *children: str, **attributes: str | float | bool | None) -> Html:
    """Return an element.

    Parameters
    ----------
    tag : str
    *children : str
        Escaped, unless they are `Html`.
    **attributes : str, number, bool or None
        An underscore stands for a hyphen, and one at the end for nothing. True writes the name alone; False and None
        leave it out.

    Examples
    --------
    >>> element("p", "1 < 2, ", element("b", "2 > 1"), class_="found", hidden=True)
    '<p class="found" hidden>1 &lt; 2, <b>2 &gt; 1</b></p>'
    >>> element("path", d="M0 0h1", stroke_width=2)
    '<path d="M0 0h1" stroke-width="2"/>'
    """
    opening = tag
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        opening += " " + name.rstrip("_").replace("_", "-")
        if value is not True:
            opening += f'="{xml(str(value))}"'
    if tag in EMPTY:
        return Html(f"<{opening}>")
    if tag in SHAPES and not any(children):
        return Html(f"<{opening}/>")
    return Html(f"<{opening}>{join(children)}</{tag}>")
