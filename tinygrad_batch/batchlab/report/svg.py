"""Matplotlib's SVG as a part of a page: themed by variables, with names of its own, and nothing else.

The page allows no style attributes, so every style becomes an attribute of its own. Every colour becomes a variable of
the palette; one that is not in the palette is an error of ours.
"""

from __future__ import annotations

import re
from dataclasses import fields
from xml.etree import ElementTree

from ...draw.palette import LIGHT, VARIABLES, Palette
from .html import Html, element, text

VARIABLE = {getattr(LIGHT, field.name).lower(): str(getattr(VARIABLES, field.name)) for field in fields(Palette)}
DROPPED = frozenset({"metadata", "style"})
KEPT_ATTRIBUTES = frozenset({"d", "x", "y", "width", "height", "transform"})
INHERITED = frozenset({"font-family", "stroke-dashoffset", "stroke-linejoin", "stroke-miterlimit"})  # from the page
NUMBER = re.compile(r"-?\d+\.\d+")
LINK = re.compile(r"#([\w.-]+)")


def inline(drawing: str, name: str, title: str, description: str) -> Html:
    """Return a drawing by Matplotlib as an SVG element for the page.

    Parameters
    ----------
    drawing : str
        Written with ``svg.fonttype: none``, in the colours of the light palette.
    name : str
        Of the chart; all ids begin with it.
    title, description : str
        For those who do not see it.

    Raises
    ------
    ValueError
        For a colour that is not in the palette.
    """
    root = ElementTree.fromstring(drawing)
    used = {match for node in root.iter() for value in node.attrib.values() for match in LINK.findall(value)}
    renamed = {node.attrib["id"]: f"{name}-{i}" for i, node in enumerate(root.iter()) if node.get("id") in used}
    parts = [_written(child, renamed) for child in root]
    return element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", description, id=f"{name}-desc"),
        *parts,
        viewBox=root.attrib["viewBox"],
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
    )


def _written(node: ElementTree.Element, renamed: dict[str, str]) -> Html:
    tag = _local(node.tag)
    if tag in DROPPED:
        return Html("")
    children = [_written(child, renamed) for child in node]
    attributes = _attributes(node, renamed)
    words = (node.text or "").strip()
    if tag in ("g", "defs"):
        if not any(children):
            return Html("")
        if not attributes:
            return Html("".join(children)) if tag == "g" else element(tag, *children)
    return element(tag, text(words) if words else Html(""), *children, **attributes)


def _attributes(node: ElementTree.Element, renamed: dict[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in node.attrib.items():
        name = _local(key)
        if name == "style":
            for declaration in value.split(";"):
                what, _, how = (part.strip() for part in declaration.partition(":"))
                if what and what not in INHERITED:
                    found[what] = _themed(what, how)
        elif name == "id":
            if value in renamed:
                found["id"] = renamed[value]
        elif name in ("href", "clip-path"):
            found[name] = LINK.sub(lambda match: f"#{renamed[match[1]]}", value)
        elif name == "transform" and value.startswith("rotate(-0 "):
            continue
        elif name in KEPT_ATTRIBUTES:
            found[name] = _short(value)
    return found


def _themed(what: str, how: str) -> str:
    if what not in ("fill", "stroke") or how == "none":
        return how
    if how not in VARIABLE:
        raise ValueError(f"the colour {how} is not in the palette")
    return VARIABLE[how]


def _short(value: str) -> str:
    """Return coordinates to a tenth, and a path without the spaces that it does not need.

    Examples
    --------
    >>> _short("M 53.672727 136.0 L 158.4 -0.04")
    'M53.7 136L158.4 0'
    """
    value = NUMBER.sub(lambda match: f"{round(float(match[0]), 1) + 0.0:g}", value)
    return re.sub(r"\s*([A-Za-z])\s*", r"\1", " ".join(value.split())) if value.startswith("M ") else value


def _local(name: str) -> str:
    return name.rpartition("}")[2]
