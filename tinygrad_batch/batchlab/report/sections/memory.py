"""Memory: whether everything fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ....draw.palette import VARIABLES
from ....memory import format_bytes
from ... import words
from ...memory import in_words
from ..charts.memory import bytes_against_rows, checkpoints
from ..html import Html, join
from ..looks import Looks
from ..parts import Section, bar, charts, figure, paragraph, table

ROUNDING = 1e-6  # an error of a gradient, as a part of its length, from which on it is more than rounding


def memory(data: Mapping[str, Any], looks: Looks) -> Section:
    """Return the section on memory."""
    found, rows = data["memory"], data["rows"]
    price = found["price"]
    kept, per_row = price["kept"]["per_row"], price["backward"]["per_row"] + price["data"]["per_row"]
    fixed = (
        f"The parameters ({format_bytes(price['parameter_bytes'])}) and their gradients "
        f"({format_bytes(price['gradient_bytes'])}) stay as they are"
    )
    return Section(
        name="memory",
        short="Memory",
        question="Does everything fit?",
        asked="A step has to remember what each layer made of every row, until the way back has used it. How much is "
        "that, and how many rows fit? The step was priced on shapes alone, without running it. Then it was run, and "
        "what it took was measured in two ways.",
        guess=(
            "A batch has twice the rows. Does its step take twice the memory?",
            f"Nearly, once there are many rows. Each row brings {words.number(per_row)} bytes, and "
            f"{words.number(kept)} of them wait for the way back. {fixed}.",
        ),
        body=join(
            [
                charts(
                    figure(
                        "Bytes of one step",
                        "Lines are priced. Squares are what NumPy allocated (tracemalloc), diamonds what a process "
                        "had resident. The triangle is the largest batch; its limit counts the batch and the "
                        "parameters, too.",
                        bytes_against_rows(found),
                    ),
                    figure(
                        "Paying with time instead",
                        "A deep net cut into segments. Only the borders are kept, and the inside is computed a second "
                        "time on the way back.",
                        checkpoints(found["checkpoints"]) if found["checkpoints"] else Html(""),
                    ),
                ),
                paragraph(_parts(found["accumulated"])),
            ]
        ),
        found=_found(found["largest"], rows),
        limits=_limits(found["largest"], price["data"]["per_row"]),
        tables=tuple(_tables(found, rows, looks)),
    )


def _found(largest: Mapping[str, Any], rows: int) -> str:
    room, most = in_words(largest["memory"]), largest["rows"]
    if most >= rows:
        return (
            f"All {rows:,} rows fit at once, {words.times(most / rows)} over: {room} hold a step with {most:,} rows, "
            "so with these data memory is no reason for batches."
        )
    return (
        f"The {rows:,} rows do not fit at once: {room} hold a step with {most:,} of them, so memory asks for batches."
    )


def _limits(largest: Mapping[str, Any], row: float) -> str:
    said = (
        f"A row of these data has {words.number(row)} bytes, targets and all. With pictures and deep nets it takes "
        "megabytes, and memory decides."
    )
    if largest["fits"] is None:
        return said
    ran = "did the step" if largest["fits"] else "did not do the step"
    more = "did it, too" if largest["one_per_cent_more_fits"] else "did not"
    return f"Under that limit a process {ran} with {largest['rows']:,} rows, and with 1% more it {more}. {said}"


def _parts(accumulated: Sequence[Mapping[str, Any]]) -> str:
    if not accumulated:
        return ""
    exact, worst, later = (
        max(one.get(key, 0.0) for one in accumulated) for key in ("by_rows", "mean_of_means", "mean_of_means_later")
    )
    said = (
        "There is another way: cut a batch into parts, and add up their gradients. Weighted by their rows the sum is "
        f"that of the whole batch, to {words.number(exact, 2)} of its length. "
    )
    if worst < ROUNDING:
        return said + "Here all parts are equally large, and a plain mean does as well."
    after = f", and by {words.percent(later)} after some training" if later > ROUNDING else ""
    return said + (
        f"A plain mean of the parts is off by up to {words.percent(worst)}{after}, for rows in a smaller part count "
        "more."
    )


def _tables(found: Mapping[str, Any], rows: int, looks: Looks) -> list[Html]:
    cells = [
        [
            looks.chip(one["rows"], rows) if one["rows"] <= rows else f"{one['rows']:,} rows",
            *[format_bytes(one[key]) for key in ("kept", "peak", "traced")],
            words.NOTHING if one["resident"] is None else format_bytes(one["resident"]),
        ]
        for one in (*found["by_batch"], *found["measured"])
    ]
    layers = found["price"]["layers"]
    most = max((layer["kept"]["per_row"] for layer in layers), default=0) or 1
    return [
        table("Bytes of one step", ["batch", "kept, priced", "peak, priced", "tracemalloc", "resident"], cells),
        table(
            "Bytes kept for each row, by layer",
            ["layer", "bytes for each row", ""],
            [
                [
                    layer["label"] if layer["path"] == layer["label"] else f"{layer['path']} {layer['label']}".strip(),
                    words.number(layer["kept"]["per_row"]),
                    bar(layer["kept"]["per_row"] / most, VARIABLES.kept),
                ]
                for layer in layers
            ],
        ),
        table(
            "A batch of all rows in parts: how far the gradient is off, as a part of its length",
            ["rows of the parts", "weighted by their rows", "plain mean of the parts", "the same after training"],
            [
                [
                    _sizes(one["parts"]),
                    words.number(one["by_rows"], 2),
                    words.percent(one["mean_of_means"]),
                    words.percent(one.get("mean_of_means_later")),
                ]
                for one in found["accumulated"]
            ],
        ),
        table(
            "Peak of a step through equal layers, in outputs of one layer",
            ["segments", "peak"],
            [[count, words.number(peak)] for count, peak in found["checkpoints"].items()],
        ),
    ]


def _sizes(parts: Sequence[int]) -> str:
    """Return the sizes of parts in words, equal ones counted.

    Examples
    --------
    >>> _sizes([100, 100, 100, 53]), _sizes([177, 176])
    ('3 × 100, 53', '177, 176')
    """
    counted = [(size, parts.count(size)) for size in dict.fromkeys(parts)]
    return ", ".join(f"{size:,}" if count == 1 else f"{count} × {size:,}" for size, count in counted)
