"""The pictures of the report, each as a file of its own: for a slide, a paper or a page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Literal

from ...draw.palette import DARK, LIGHT, VARIABLES, Palette, colours
from . import render

PICTURE = re.compile(r'<svg viewBox="([^"]+)" role="img" aria-labelledby="([\w-]+)-title .*?</svg>', re.DOTALL)
MARGIN = 8
FONT = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif"


def pictures(data: Mapping[str, Any], theme: Literal["light", "dark"] = "light") -> dict[str, str]:
    """Return every picture of the report as an SVG that stands alone.

    Parameters
    ----------
    data : mapping
        See `tinygrad_batch.batchlab.report.render`.
    theme : {"light", "dark"}

    Returns
    -------
    dict of str to str
        By name. Without Matplotlib only the walks.

    Examples
    --------
    >>> pictures({"name": "toy", "rows": 100, "held_out_rows": 20, "net": "Linear(2 → 1)", "batch_sizes": [1, 100]})
    {}
    """
    palette = DARK if theme == "dark" else LIGHT
    style = f"text{{font-family:{FONT}}}\n" + (files(__package__) / "surfaces.css").read_text("utf-8")
    return {
        found[2]: _alone(found[0], [float(number) for number in found[1].split()], style, palette)
        for found in PICTURE.finditer(render(data))
    }


def _alone(picture: str, box: list[float], style: str, palette: Palette) -> str:
    """Return a picture of the page with its own style, ground and margin, and with colours in place of variables."""
    x, y, width, height = box[0] - MARGIN, box[1] - MARGIN, box[2] + 2 * MARGIN, box[3] + 2 * MARGIN
    inside = picture.partition(">")[2]
    drawing = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="{x:g} {y:g} {width:g} {height:g}" stroke-linejoin="round">'
        f'<style>{style}</style><rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" '
        f'fill="{VARIABLES.background}"/>{inside}\n'
    )
    for variable, colour in zip(colours(VARIABLES), colours(palette), strict=True):
        drawing = drawing.replace(variable, colour)
    return drawing
