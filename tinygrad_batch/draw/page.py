"""A picture as one self-contained page in which the steps of the batch can be walked through.

The page asks nothing from any network and says so to the browser. Without JavaScript it is the still picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

from tinygrad_batch.draw import svg
from tinygrad_batch.draw.document import filled, themes
from tinygrad_batch.draw.layout import Placed
from tinygrad_batch.draw.palette import VARIABLES
from tinygrad_batch.draw.scene import Beat
from tinygrad_batch.errors import ArgumentError
from tinygrad_batch.escape import clean, script_json, xml
from tinygrad_batch.languages import Language
from tinygrad_batch.languages.english import ENGLISH
from tinygrad_batch.memory import memory
from tinygrad_batch.trace import Trace, Value

__all__ = ["data", "epochs", "render"]

PREFIX = "tb"
SHOWN = 6  # values, and formulas, of one step in the panel
THUMBNAILS = 500  # beats up to which the page carries the heat maps


def epochs(history: Sequence[float] | Sequence[Sequence[float]] | None) -> list[list[float]]:
    """Return losses as one list for each epoch.

    Examples
    --------
    >>> epochs([3, 2, 1]), epochs([[3, 2], [1]]), epochs(None)
    ([[3.0, 2.0, 1.0]], [[3.0, 2.0], [1.0]], [])
    """
    if history is None or len(history) == 0:
        return []
    parts: list[list[float]] = []
    flat: list[float] = []
    try:
        for item in history:
            if isinstance(item, Iterable):
                parts.append([float(loss) for loss in item])
            else:
                flat.append(float(item))
    except (TypeError, ValueError):
        parts, flat = [[]], [0.0]
    if parts and flat:
        hint = "Give numbers, or a list of numbers for each epoch"
        raise ArgumentError("history is no list of losses", hint)
    return [flat] if flat else [part for part in parts if part]


def render(
    trace: Trace, placed: Placed, theme: str, history: Sequence[Sequence[float]] = (), words: Language = ENGLISH
) -> str:
    """Return the page as HTML."""
    folder = files("tinygrad_batch.draw")
    script = (folder / "page.js").read_text("utf-8")
    style = themes() + (folder / "page.css").read_text("utf-8")
    content = {
        "LANG": words.code,
        "THEME": ' data-theme="dark"' if theme == "dark" else "",
        "TITLE": xml(placed.scene.title),
        "SVG": svg.render(placed, VARIABLES, PREFIX),
        "DATA": script_json(data(trace, placed, history, words)),
        **{key: xml(said) for key, said in words.picture.page.items()},
    }
    return filled((folder / "page.html").read_text("utf-8"), style, script, content)


def data(
    trace: Trace, placed: Placed, history: Sequence[Sequence[float]] = (), words: Language = ENGLISH
) -> dict[str, Any]:
    """Return what the script of the page needs to know, ready for JSON."""
    scene = placed.scene
    held, more = memory(trace), words.picture.more
    beats = []
    used: dict[int, None] = {}
    for beat in scene.beats:
        steps = [trace.steps[number - 1] for number in beat.steps]
        results = [result for step in steps for result in step.results]
        made = list(dict.fromkeys(result.value for result in results))
        shown = made[:SHOWN] if beat.phase == "update" else made[-SHOWN:]  # an update: those in its formulas
        used.update(dict.fromkeys(shown))
        formulas = [clean(result.formula) for result in results]
        hidden = len(formulas) - SHOWN
        beats.append(
            {
                "number": beat.number,
                "phase": beat.phase,
                "op": clean(steps[0].op, 40),
                "boxes": list(beat.boxes),
                "formulas": [*formulas[:SHOWN], *([more.format(count=hidden)] if hidden > 0 else [])],
                "shapes": _shapes(trace, beat, words) if beat.phase != "update" else "",
                "sentence": words.sentence(steps[0].op, beat.phase, len(steps) if beat.phase != "update" else 1),
                "values": shown,
                "last": beat.steps[-1],
                "held": held.timeline[beat.steps[-1] - 1],
                "flops": sum(step.flops for step in steps),
            }
        )
    used.update((box.value, None) for box in scene.boxes if box.value is not None)
    thumbnails = len(beats) <= THUMBNAILS
    return {
        "beats": beats,
        "values": {str(i): _value(trace.values[i], thumbnails, words) for i in used},
        "kept": [[clean(item.name, 40), item.nbytes, item.first, item.last] for item in held.kept],
        "history": [list(part) for part in history],
        "words": dict(words.picture.page),
    }


def _shapes(trace: Trace, beat: Beat, words: Language) -> str:
    steps = [trace.steps[number - 1] for number in beat.steps]
    made = {result.value for step in steps for result in step.results}
    reads = dict.fromkeys(i for step in steps for i in step.inputs if i not in made)
    writes = dict.fromkeys(result.value for result in steps[-1].results)

    def names(ids: dict[int, None]) -> str:
        each = [f"{clean(trace.values[i].name, 40)} {words.shape(trace.values[i].shape)}" for i in ids]
        return ", ".join(each[:4]) + (", …" if len(each) > 4 else "")

    return f"{names(reads)} → {names(writes)}"


def _value(value: Value, thumbnails: bool, words: Language) -> dict[str, Any]:
    s = value.statistics
    table = [[_short(number) for number in row] for row in value.thumbnail or ()] if thumbnails else []
    return {
        "name": clean(value.name, 60),
        "role": value.role,
        "note": clean(words.picture.notes.get(value.note, value.note), 40),
        "shape": words.shape(value.shape),
        "scalar": value.shape == (),
        "stats": [s.mean, s.std, s.min, s.max] if s is not None else None,
        "nonfinite": s.nonfinite if s is not None else 0,
        "table": table,
    }


def _short(number: float) -> float:
    return float(f"{number:.3g}")
