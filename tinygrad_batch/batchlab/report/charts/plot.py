"""A small sheet to draw a chart on, and the few things that charts of the report are made of.

The same size, the same letters and the same margins everywhere; words at the ends of lines instead of legends; the
name of the upper axis above it, to be read without turning one's head. Colours are those of the light palette, which
`svg.inline` turns into variables.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ....draw.palette import LIGHT
from ... import words
from ..html import Html
from ..looks import Look
from ..svg import inline
from .labels import ASIDE, place

WIDTH, HEIGHT = 400, 270  # in units of the picture, which are about pixels
SIZE = 12.0  # of letters
LETTER = 0.61 * SIZE  # about how wide one is
TOP, BOTTOM, RIGHT = 25, 40, 18
SETTINGS: Any = {
    "font.family": "DejaVu Sans",
    "font.size": SIZE,
    "path.simplify_threshold": 0.3,
    "svg.fonttype": "none",
    "svg.hashsalt": "tinygrad-batch",
}

Painter = Callable[["Plot"], None]


def available() -> bool:
    """Return whether Matplotlib can be imported."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def chart(name: str, title: str, description: str, paint: Painter, height: int = HEIGHT) -> Html:
    """Return a chart as SVG, or nothing where Matplotlib is missing.

    Parameters
    ----------
    name : str
        Of the chart, once in the page.
    title, description : str
        For those who do not see it.
    paint : callable
        Gets the `Plot` and draws.
    height : int
    """
    if not available():
        return Html("")
    from matplotlib import rc_context

    with rc_context(SETTINGS):
        plot = Plot(height)
        paint(plot)
        return inline(plot.svg(), name, title, description)


@dataclass(frozen=True, slots=True)
class _Label:
    x: float
    y: float
    what: str
    colour: str
    prefer: tuple[int, ...]


class Plot:
    """One chart.

    Attributes
    ----------
    axes : matplotlib.axes.Axes
    """

    def __init__(self, height: int = HEIGHT) -> None:
        from matplotlib.figure import Figure

        self.height = height
        self.figure = Figure(figsize=(WIDTH / 72, height / 72), facecolor="none")
        self.axes: Any = self.figure.add_axes((0.0, 0.0, 1.0, 1.0), facecolor="none")
        for side in ("top", "right", "left"):
            self.axes.spines[side].set_visible(False)
        self.axes.spines["bottom"].set_color(LIGHT.muted)
        self._labels: list[_Label] = []
        self._top = TOP
        self._marks: list[tuple[float, float]] = []
        self._lines: list[tuple[list[float], list[float]]] = []

    # -- axes ------------------------------------------------------------------------------------------

    def across(self, title: str, low: float, high: float, *, log: bool = True, ticks: Any = None) -> None:
        """Set up the axis from left to right; see `up`."""
        self.axes.set_xlabel(title, color=LIGHT.muted, labelpad=5)
        if log:
            self.axes.set_xscale("log")
        self.axes.set_xlim(low, high)
        self._ticks(self.axes.xaxis, low, high, log, ticks)
        self.axes.tick_params(axis="x", which="both", color=LIGHT.muted, labelcolor=LIGHT.muted, length=3)

    def up(self, title: str, low: float, high: float, *, log: bool = True, ticks: Any = None) -> None:
        """Set up the axis upwards.

        Parameters
        ----------
        title : str
        low, high : float
            Its ends.
        log : bool
            Whether equal ratios are equally far apart.
        ticks : callable, or mapping of float to str, optional
            How to write a number, or where the ticks are and what is written there.
        """
        self._top = TOP if title else 8
        self.axes.text(
            0, 1, title, color=LIGHT.muted, transform=self._corner(6, -12), ha="left", va="baseline", clip_on=False
        )
        if log:
            self.axes.set_yscale("log")
        self.axes.set_ylim(low, high)
        self._ticks(self.axes.yaxis, low, high, log, ticks)
        self.axes.tick_params(axis="y", which="both", length=0, labelcolor=LIGHT.muted)
        self.axes.grid(axis="y", color=LIGHT.rule, linewidth=0.8)
        self.axes.set_axisbelow(True)

    def _corner(self, right: float, up: float) -> Any:
        """Return the transform from the upper left corner of the picture, moved by so many units."""
        from matplotlib.transforms import ScaledTranslation

        return self.figure.transFigure + ScaledTranslation(right / 72, up / 72, self.figure.dpi_scale_trans)

    def _ticks(self, axis: Any, low: float, high: float, log: bool, ticks: Any) -> None:
        if not isinstance(ticks, Mapping):
            write = ticks or words.number
            ticks = {at: write(at) for at in (log_ticks if log else even_ticks)(low, high)}
        axis.set_ticks(list(ticks), labels=list(ticks.values()))
        axis.set_ticks([], minor=True)

    def sizes(self, sizes: Sequence[int], looks: Mapping[int, Look], title: str = "rows in a batch") -> None:
        """Set up the axis from left to right for batch sizes, those that have a look of their own written out."""
        low, high = min(sizes) / 1.5, max(sizes) * 1.5
        room = (WIDTH - 70) / math.log(high / low)
        ticks: dict[float, str] = {}
        for size in sorted(looks, reverse=True):
            wide = LETTER * len(words.count(size)) + 4
            if all(abs(math.log(size / other)) * room > wide for other in ticks):
                ticks[size] = words.count(size)
        self.across(title, low, high, ticks=ticks)
        for at, tick in zip(ticks, self.axes.get_xticklabels(), strict=True):
            tick.set_color(getattr(LIGHT, looks[int(at)].colour))
            tick.set_fontweight("bold")

    def slots(self, names: Sequence[str], looks: Sequence[Look], title: str = "rows in a batch") -> None:
        """Set up the axis from left to right for a few things side by side."""
        self.across(title, -0.6, len(names) - 0.4, log=False, ticks=dict(enumerate(names)))
        for look, tick in zip(looks, self.axes.get_xticklabels(), strict=True):
            tick.set_color(getattr(LIGHT, look.colour))
            tick.set_fontweight("bold")

    # -- what is drawn -----------------------------------------------------------------------------------

    def line(self, xs: Sequence[float], ys: Sequence[float], look: Look, *, width: float = 2.0) -> None:
        """Draw a line in the style of a look."""
        self._lines.append((list(xs), list(ys)))
        style = (0, look.dash) if look.dash else "-"
        self.axes.plot(*self._lines[-1], color=getattr(LIGHT, look.colour), linewidth=width, linestyle=style)

    def guide(self, xs: Sequence[float], ys: Sequence[float], colour: str = "muted", *, dashed: bool = True) -> None:
        """Draw a thin line of what theory says, or of a limit."""
        self._lines.append((list(xs), list(ys)))
        style = (0, (4, 2.5)) if dashed else "-"
        self.axes.plot(*self._lines[-1], color=getattr(LIGHT, colour), linewidth=1.3, linestyle=style)

    def band(self, xs: Sequence[float], low: Sequence[float], high: Sequence[float], look: Look) -> None:
        """Shade what lies between two lines."""
        self.axes.fill_between(xs, low, high, color=getattr(LIGHT, look.colour), alpha=0.14, linewidth=0)

    def dot(self, x: float, y: float, look: Look, *, open_: bool = False, size: float = 7.5) -> None:
        """Draw a mark."""
        colour = getattr(LIGHT, look.colour)
        fill = LIGHT.background if open_ else colour
        self.axes.plot(
            [x], [y], marker=look.mark, markersize=size, color=colour, markerfacecolor=fill, markeredgewidth=1.6,
            linestyle="none", clip_on=False, zorder=4,
        )  # fmt: skip
        self._marks.append((x, y))

    def interval(self, x: float, y: float, low: float, high: float, look: Look) -> None:
        """Draw a mark, and an interval around it."""
        self._lines.append(([x, x], [low, high]))
        self.axes.plot(*self._lines[-1], color=getattr(LIGHT, look.colour), linewidth=2, zorder=3)
        self.dot(x, y, look)

    def beyond(self, x: float, foot: float, colour: str, head: float | None = None) -> None:
        """Draw an open arrow upwards: what is meant lies above, and nobody knows where."""
        top = self.axes.get_ylim()[1] if head is None else head
        self._lines.append(([x, x], [foot, top]))
        self.axes.annotate(
            "", (x, top), (x, foot), annotation_clip=False,
            arrowprops={
                "arrowstyle": "-|>,head_length=0.55,head_width=0.3", "facecolor": LIGHT.background,
                "edgecolor": getattr(LIGHT, colour), "linewidth": 1.6, "shrinkA": 0, "shrinkB": 0,
            },
        )  # fmt: skip

    def note(self, x: float, y: float, what: str, colour: str = "muted", **how: Any) -> None:
        """Write something at a place."""
        self.axes.text(x, y, what, color=getattr(LIGHT, colour), **{"ha": "left", "va": "center", **how})

    def label(self, x: float, y: float, what: str, look: Look | str, prefer: Sequence[int] = ASIDE) -> None:
        """Write what a line or a mark is, near its end, where it covers the least.

        Parameters
        ----------
        x, y : float
            Where the line or mark is.
        what : str
        look : Look or str
            Or the name of a colour.
        prefer : sequence of int
            Some of `labels.PLACES`, to be tried before the others.
        """
        colour = look if isinstance(look, str) else look.colour
        self._labels.append(_Label(x, y, what, colour, tuple(prefer)))

    # -- the end -----------------------------------------------------------------------------------------

    def svg(self) -> str:
        """Return the picture as Matplotlib writes it."""
        widest = max((len(tick.get_text()) for tick in self.axes.get_yticklabels()), default=0)
        left = 12 + LETTER * widest
        bottom = BOTTOM if self.axes.get_xlabel() else BOTTOM - 14
        self.axes.set_position(
            (
                left / WIDTH,
                bottom / self.height,
                (WIDTH - left - RIGHT) / WIDTH,
                (self.height - self._top - bottom) / self.height,
            )
        )
        self._write_labels(left, bottom)
        out = io.StringIO()
        self.figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        return out.getvalue()

    def _write_labels(self, left: float, bottom: float) -> None:
        marks = self._units(*zip(*self._marks, strict=True)) if self._marks else []
        lines = [self._units(*line) for line in self._lines]
        ends = (
            self._units([label.x for label in self._labels], [label.y for label in self._labels])
            if self._labels
            else []
        )
        wide = [1.08 * LETTER * len(label.what) for label in self._labels]
        boxes = place(
            [(*end, width, label.prefer) for end, width, label in zip(ends, wide, self._labels, strict=True)],
            marks, lines, (WIDTH, self.height), left - 4, bottom,
        )  # fmt: skip
        for label, box in zip(self._labels, boxes, strict=True):
            self.axes.text(
                box[0] / WIDTH, (box[1] + 3.2) / self.height, label.what, color=getattr(LIGHT, label.colour),
                fontweight="bold", transform=self.figure.transFigure, ha="left", va="baseline", clip_on=False, zorder=5,
            )  # fmt: skip

    def _units(self, xs: Sequence[float], ys: Sequence[float]) -> list[tuple[float, float]]:
        """Return points of the axes in units of the picture."""
        scale = 72 / self.figure.dpi
        return [(scale * x, scale * y) for x, y in self.axes.transData.transform(list(zip(xs, ys, strict=True)))]


def log_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return a few round numbers, about equally far apart in their logarithms.

    Examples
    --------
    >>> log_ticks(0.8, 5000), log_ticks(0.4, 1.3)
    ([1.0, 10.0, 100.0, 1000.0], [0.5, 0.7, 1.0])
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for leading in ((1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        found = [round(a * 10.0**power, 12) for power in powers for a in leading if low <= a * 10.0**power <= high]
        if len(found) <= most:
            return found
    return found[:: math.ceil(len(found) / most)]


def even_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return a few round numbers, equally far apart.

    Examples
    --------
    >>> even_ticks(0, 1), even_ticks(0.45, 0.51)
    ([0.0, 0.25, 0.5, 0.75, 1.0], [0.46, 0.48, 0.5])
    """
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    for factor in (1, 2, 2.5, 5, 10):
        first, last = math.ceil(low / (step * factor) - 1e-9), math.floor(high / (step * factor) + 1e-9)
        if last - first < most:
            return [round(i * step * factor, 12) for i in range(first, last + 1)]
    return [low, high]
