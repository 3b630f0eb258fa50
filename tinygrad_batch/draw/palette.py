"""The colours, light and dark. After Okabe and Ito, darkened or lightened until text on them has a contrast of 4.5.

Colour is never alone: values are solid lines, gradients dashed, kept values dotted.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ["DARK", "LIGHT", "VARIABLES", "Palette", "contrast"]


@dataclass(frozen=True, slots=True)
class Palette:
    """One colour for each part of the picture; ``_fill`` is the ground that text of that part stands on."""

    background: str
    ink: str
    muted: str
    rule: str
    frame: str
    focus: str
    data: str
    data_fill: str
    parameter: str
    parameter_fill: str
    forward: str
    forward_fill: str
    backward: str
    backward_fill: str
    loss: str
    loss_fill: str
    kept: str
    parameter_frame: str
    forward_frame: str
    backward_frame: str
    forward_group: str
    forward_group_rule: str
    backward_group: str
    backward_group_rule: str


LIGHT = Palette(
    background="#FFFFFF",
    ink="#1A1A1A",
    muted="#4A4A4A",
    rule="#D5DBDE",
    frame="#FBFDFD",
    focus="#E3A600",
    data="#4D4D4D",
    data_fill="#F3F3F3",
    parameter="#00735A",
    parameter_fill="#E0F4EC",
    forward="#0068A3",
    forward_fill="#E6F2FA",
    backward="#B34700",
    backward_fill="#FDEEE3",
    loss="#97316F",
    loss_fill="#FAE8F2",
    kept="#7A5C00",
    parameter_frame="#FBFEFD",
    forward_frame="#FBFDFF",
    backward_frame="#FFFDFB",
    forward_group="#F1F7FC",
    forward_group_rule="#C5DDED",
    backward_group="#FEF6F0",
    backward_group_rule="#F3D3BC",
)

DARK = Palette(
    background="#121619",
    ink="#F1F4F6",
    muted="#B9C0C5",
    rule="#343C42",
    frame="#161B1E",
    focus="#FFD84D",
    data="#B9C0C5",
    data_fill="#24292D",
    parameter="#5FD6B2",
    parameter_fill="#0E2E25",
    forward="#6DBBF2",
    forward_fill="#0F2A3E",
    backward="#FFA06A",
    backward_fill="#3A2112",
    loss="#F49CCB",
    loss_fill="#3B1730",
    kept="#E2BF4F",
    parameter_frame="#161D1B",
    forward_frame="#141C22",
    backward_frame="#1E1814",
    forward_group="#18232B",
    forward_group_rule="#2C4152",
    backward_group="#271D17",
    backward_group_rule="#503A2B",
)

# The colours of the line and the ground of each kind of box.
BOX_COLOURS = {
    "data": ("data", "data_fill"),
    "parameter": ("parameter", "parameter_fill"),
    "forward": ("forward", "forward_fill"),
    "hidden": ("data", "data_fill"),
    "loss": ("loss", "loss_fill"),
    "backward": ("backward", "backward_fill"),
    "gradient": ("parameter", "parameter_fill"),
    "note": ("muted", "background"),
}

# In the page each colour is a CSS variable, so that one picture serves both themes.
VARIABLES = Palette(**{field.name: f"var(--tb-{field.name.replace('_', '-')})" for field in fields(Palette)})


def colours(palette: Palette) -> list[str]:
    """Return all colours, in the same order for every palette."""
    return [getattr(palette, field.name) for field in fields(Palette)]


def css(palette: Palette) -> str:
    """Return the palette as CSS custom properties."""
    return "".join(f"--tb-{f.name.replace('_', '-')}:{getattr(palette, f.name)};" for f in fields(Palette))


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours as WCAG 2 defines it, from 1 to 21.

    Examples
    --------
    >>> round(contrast("#000000", "#FFFFFF"), 1)
    21.0
    """
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
