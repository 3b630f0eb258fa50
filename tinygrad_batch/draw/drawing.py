"""A Trace to a picture, and a picture to a file or a notebook."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from tinygrad_batch.draw import dot as dot_source
from tinygrad_batch.draw import engine as graphviz_engine
from tinygrad_batch.draw import fixed, page, svg, text
from tinygrad_batch.draw.compose import compose
from tinygrad_batch.draw.engine import EngineName
from tinygrad_batch.draw.fold import Depth
from tinygrad_batch.draw.layout import Placed, place
from tinygrad_batch.draw.palette import DARK, LIGHT, Palette
from tinygrad_batch.errors import ArgumentError, DrawError
from tinygrad_batch.escape import xml
from tinygrad_batch.files import write_whole
from tinygrad_batch.languages import LanguageName, language
from tinygrad_batch.trace import Trace

if TYPE_CHECKING:
    import graphviz

__all__ = ["Drawing", "History", "Theme", "drawing_of", "mimebundle"]

Theme = Literal["light", "dark"]
History = Sequence[float] | Sequence[Sequence[float]]

PAINTED_ROWS = 400  # beyond, a picture in pixels is too tall for most viewers
DOT_ROWS = 150  # Graphviz needs minutes for more rows; the built-in layout milliseconds


def drawing_of(
    trace: Trace,
    depth: Depth,
    theme: Theme,
    engine: EngineName,
    title: str | None,
    history: History | None,
    lang: LanguageName,
) -> Drawing:
    """Return the drawing that ``draw`` was asked for, once its options are known to be good."""
    for name, given, known in (
        ("depth", depth, get_args(Depth)),
        ("theme", theme, get_args(Theme)),
        ("engine", engine, get_args(EngineName)),
    ):
        if given not in known:
            raise ArgumentError(f"{name}={given!r}", f"Expected one of {', '.join(map(repr, known))}")
    return Drawing(trace, depth, theme, engine, title, page.epochs(history), lang)


class Drawing:
    """A picture of one batch; shows itself in a notebook.

    Made by `draw`. Everything is worked out when it is first asked for.
    """

    def __init__(
        self,
        trace: Trace,
        depth: Depth = "auto",
        theme: Theme = "light",
        engine: EngineName = "auto",
        title: str | None = None,
        history: Sequence[Sequence[float]] = (),
        lang: LanguageName = "en",
    ) -> None:
        self._trace = trace
        self._theme = theme
        self._engine: EngineName = engine
        self._history = history
        self._words = language(lang)
        self._scene = compose(trace, depth, title, self._words)

    def __repr__(self) -> str:
        rows = self._scene.rows
        return f"<Drawing: {self._scene.title}, {rows} row{'' if rows == 1 else 's'}>"

    @property
    def _palette(self) -> Palette:
        return DARK if self._theme == "dark" else LIGHT

    @cached_property
    def _placed(self) -> Placed:
        return place(self._scene)

    @property
    def _large(self) -> bool:
        return self._scene.rows > DOT_ROWS

    @cached_property
    def source(self) -> str:
        """The picture as DOT text."""
        return dot_source.source(self._placed, self._palette)

    def svg(self) -> str:
        """Return the picture as an SVG document."""
        if self._engine in ("auto", "builtin") or self._large:
            return svg.render(self._placed, self._palette)
        drawn = graphviz_engine.render(self.source, "svg", self._engine).decode("utf-8")
        prefix = "tb" + sha256(self.source.encode()).hexdigest()[:8]
        return dot_source.prefixed(drawn, prefix, xml(self._scene.title), xml(self._scene.description))

    def html(self) -> str:
        """Return the picture as one self-contained page in which the steps can be walked through."""
        return page.render(self._trace, self._placed, self._theme, self._history, self._words)

    def text(self) -> str:
        """Return the picture as plain text."""
        return text.render(self._scene)

    def to_graphviz(self) -> graphviz.Digraph:
        """Return the picture as a graph of the ``graphviz`` package, to be styled anew.

        Its ``graph_attr``, ``node_attr`` and ``edge_attr`` hold the style, ``body`` the nodes and edges.
        """
        return dot_source.digraph(self._placed, self._palette)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture to a file; the suffix says how: .svg .html .png .pdf .dot .txt.

        The file is written beside its place and then moved there, so that none is ever half written.

        Raises
        ------
        DrawError
            For an unknown suffix, a missing directory, or a .png or .pdf without a Graphviz engine.
        """
        target = Path(path)
        writers: dict[str, Callable[[], str | bytes]] = {
            ".svg": self.svg,
            ".html": self.html,
            ".png": lambda: self._rendered("png"),
            ".pdf": lambda: self._rendered("pdf"),
            ".dot": lambda: self.source,
            ".txt": self.text,
        }
        writer = writers.get(target.suffix.lower())
        if writer is None:
            given = f"the suffix {target.suffix!r}" if target.suffix else "no suffix"
            raise DrawError(f"cannot save {target.name!r}: {given}", f"Use one of {' '.join(writers)}")
        if not os.path.isdir(target.parent):  # unlike Path.is_dir, false for a name that no directory can have
            raise DrawError(
                f"cannot save {target.name!r}: there is no directory {str(target.parent)!r}", "Create it first"
            )
        if os.path.isdir(target):
            raise DrawError(f"cannot save {target.name!r}: it is a directory")
        made = writer()
        try:
            write_whole(target, made.encode("utf-8") if isinstance(made, str) else made)
        except OSError as error:
            raise DrawError(f"cannot save {str(target)!r}: {error.strerror or error}") from error
        return target

    def _rendered(self, form: Literal["png", "pdf"]) -> bytes:
        if self._engine == "builtin":
            raise DrawError(f"the built-in layout cannot write .{form}", "Use engine='auto', or save as .svg")
        if self._engine == "auto":  # the built-in layout, painted by Graphviz
            if self._scene.rows > PAINTED_ROWS:
                hint = "Use depth='modules', or save as .svg or .html"
                raise DrawError(f"{self._scene.rows:,} rows are too many for a .{form}", hint)
            return graphviz_engine.render(fixed.source(self._placed, self._palette), form, placed=True)
        if self._large:
            hint = "Use engine='auto', or save as .svg"
            raise DrawError(f"{self._scene.rows:,} rows are too many for the layout of Graphviz", hint)
        return graphviz_engine.render(self.source, form, self._engine)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        bundle = {"text/plain": repr(self)}
        try:
            bundle["image/svg+xml"] = self.svg()
        except DrawError as error:
            bundle["text/plain"] += f"\n{error}"
        return bundle


def mimebundle(trace: Trace) -> dict[str, str]:
    """Return a trace as a notebook shows it; never raises.

    Examples
    --------
    >>> sorted(mimebundle(Trace()))
    ['image/svg+xml', 'text/plain']
    """
    try:
        return Drawing(trace)._repr_mimebundle_()
    except Exception as error:  # a notebook must show a broken trace, not a traceback of the display
        return {"text/plain": f"<Trace: {len(trace.steps)} steps; no picture: {error}>"}
