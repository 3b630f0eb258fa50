"""The Graphviz engines on this machine: the `dot` program, then pygraphviz. Neither is needed for SVG or HTML."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import subprocess
from dataclasses import dataclass
from typing import Literal

from tinygrad_batch.errors import DrawError

__all__ = ["Engine", "EngineName", "engines", "render"]

EngineName = Literal["auto", "dot", "pygraphviz", "builtin"]

TIMEOUT = 60  # seconds; a batch of 150 rows needs about two
HINT = 'Run pip install "tinygrad-batch[dot]", or install Graphviz (apt install graphviz), or save as .svg'


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine: its name, whether it is here, its version and where it was found."""

    name: str
    available: bool
    version: str = ""
    where: str = ""

    def __str__(self) -> str:
        if not self.available:
            return f"{self.name}: not found"
        return f"{self.name} {self.version}".strip() + (f" ({self.where})" if self.where else "")


def engines() -> list[Engine]:
    """Return the engines that can draw, with what was found of each.

    Examples
    --------
    >>> [engine.name for engine in engines()]
    ['dot', 'pygraphviz', 'builtin']
    """
    return [_dot(), _pygraphviz(), Engine("builtin", True, "", "SVG and HTML")]


def _dot() -> Engine:
    path = shutil.which("dot")
    if path is None:
        return Engine("dot", False)
    try:
        # `dot -V` prints "dot - graphviz version 12.2.1 (...)" on stderr.
        done = subprocess.run([path, "-V"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return Engine("dot", False)
    words = (done.stderr or done.stdout).decode("utf-8", "replace").split()
    version = words[words.index("version") + 1] if "version" in words[:-1] else ""
    return Engine("dot", done.returncode == 0, version, path)


def _pygraphviz() -> Engine:
    if importlib.util.find_spec("pygraphviz") is None:
        return Engine("pygraphviz", False)
    try:
        return Engine("pygraphviz", True, importlib.metadata.version("pygraphviz"))
    except importlib.metadata.PackageNotFoundError:
        return Engine("pygraphviz", True)


def render(
    source: str, form: Literal["svg", "png", "pdf"], engine: EngineName = "auto", *, placed: bool = False
) -> bytes:
    """Let Graphviz render DOT source; with `placed` it takes the positions in the source as they are.

    Raises
    ------
    DrawError
        Where no engine is found, or the engine fails or takes too long.
    """
    if engine in ("auto", "dot"):
        path = shutil.which("dot")
        if path is not None:
            return _run(path, source, form, placed)
        if engine == "dot":
            raise DrawError("the program `dot` is not on the PATH", HINT)
    if importlib.util.find_spec("pygraphviz") is not None:
        return _call(source, form, placed)
    missing = (
        "pygraphviz is not installed"
        if engine == "pygraphviz"
        else f"a .{form} needs Graphviz, and no engine was found"
    )
    raise DrawError(missing, HINT)


def _run(path: str, source: str, form: str, placed: bool) -> bytes:
    command = [path, f"-T{form}"] + ["-Knop2"] * placed + ["-Gdpi=144"] * (form == "png")
    try:
        done = subprocess.run(command, input=source.encode(), capture_output=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise DrawError(f"dot took more than {TIMEOUT} s", "Use depth='modules', or save as .svg") from None
    except OSError as error:
        raise DrawError(f"dot could not be run: {error}", HINT) from error
    if done.returncode != 0 or not done.stdout:
        message = done.stderr.decode("utf-8", "replace").strip().splitlines()[:1]
        raise DrawError(f"dot failed: {''.join(message) or 'no output'}", "Save as .svg, which needs no engine")
    return done.stdout


def _call(source: str, form: str, placed: bool) -> bytes:
    try:
        import pygraphviz

        graph = pygraphviz.AGraph(string=source)
        if form == "png":
            graph.graph_attr["dpi"] = "144"
        drawn = graph.draw(format=form, prog="nop2" if placed else "dot")
    except Exception as error:  # pygraphviz raises whatever its engine met, also a broken installation
        raise DrawError(f"pygraphviz failed: {str(error).splitlines()[0] if str(error) else error!r}", HINT) from error
    if not isinstance(drawn, bytes) or not drawn:
        raise DrawError("pygraphviz drew nothing", HINT)
    return drawn
