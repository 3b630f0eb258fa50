"""Pictures of one batch: SVG, HTML, PNG, PDF, DOT and text, all from a Trace.

Only `draw` itself is here; what it needs is imported when something is first drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinygrad_batch.errors import ArgumentError
from tinygrad_batch.trace import Trace, shown_by

if TYPE_CHECKING:
    from tinygrad_batch.draw.drawing import Drawing, History, Theme
    from tinygrad_batch.draw.engine import Engine, EngineName
    from tinygrad_batch.draw.fold import Depth
    from tinygrad_batch.languages import LanguageName

__all__ = ["Drawing", "Engine", "draw", "engines", "mimebundle"]


def draw(
    trace: Trace,
    *,
    depth: Depth = "auto",
    theme: Theme = "light",
    engine: EngineName = "auto",
    title: str | None = None,
    history: History | None = None,
    lang: LanguageName = "en",
) -> Drawing:
    """Draw one batch: what goes forward, what comes back, what the update changes.

    Parameters
    ----------
    trace : Trace
        From ``capture``.
    depth : {"auto", "ops", "modules"}
        One row for each operation, or one for each layer. "auto" draws up to 40 operations one by one.
    theme : {"light", "dark"}
        Colours. A page follows the reader's system unless "dark" is asked for, and has a switch.
    engine : {"auto", "dot", "pygraphviz", "builtin"}
        What places the boxes. "auto" is the built-in layout: SVG and HTML have the same bytes on every
        machine, PNG and PDF are painted by Graphviz, whichever of its engines is found. "dot" and
        "pygraphviz" have Graphviz lay it out as well. A page always has the built-in layout.
    title : str, optional
        Over the picture, instead of "One batch: forward, backward, update".
    history : sequence of float, or of sequences of float, optional
        The loss after each batch, or a list of them for each epoch; drawn in the page.
    lang : {"en", "zh"}
        English or Chinese. Names and formulas stay what they are.

    Returns
    -------
    Drawing

    Raises
    ------
    ArgumentError
        If ``trace`` is no Trace, or an option is unknown.

    Examples
    --------
    >>> from tinygrad_batch.trace import Result, Step, Trace, Value
    >>> x = Value(0, "x", "data", "input rows", "", (4, 2), "float64", 64, per_row=True)
    >>> y = Value(1, "y", "activation", "", "", (4, 2), "float64", 64, per_row=True)
    >>> step = Step(1, "forward", "square", (0,), (Result(1, "y = x²"),), keeps=(0,))
    >>> drawing = draw(Trace((x, y), (step,), rows=4))
    >>> drawing
    <Drawing: One batch: forward, 2 rows>
    >>> drawing.svg().startswith("<svg")
    True
    """
    if not isinstance(trace, Trace):
        raise ArgumentError(
            f"draw needs a trace, not a {type(trace).__name__}",
            "Record one: with tb.capture() as trace: followed by one step of training",
        )
    from tinygrad_batch.draw.drawing import drawing_of

    return drawing_of(trace, depth, theme, engine, title, history, lang)


def engines() -> list[Engine]:
    """Return the engines that can draw, with what was found of each.

    Examples
    --------
    >>> [engine.name for engine in engines()]
    ['dot', 'pygraphviz', 'builtin']
    """
    from tinygrad_batch.draw.engine import engines as found

    return found()


@shown_by
def mimebundle(trace: Trace) -> dict[str, str]:
    """Return a trace as a notebook shows it; never raises.

    Examples
    --------
    >>> sorted(mimebundle(Trace()))
    ['image/svg+xml', 'text/plain']
    """
    from tinygrad_batch.draw.drawing import mimebundle as bundle

    return bundle(trace)


def __getattr__(name: str) -> Any:
    if name == "Drawing":
        from tinygrad_batch.draw.drawing import Drawing

        return Drawing
    if name == "Engine":
        from tinygrad_batch.draw.engine import Engine

        return Engine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
