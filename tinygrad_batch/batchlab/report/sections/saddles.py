"""Saddles: who gets stuck."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ... import words
from ..charts.outcomes import escapes, stuck
from ..html import Html, join
from ..looks import Looks
from ..parts import Section, beside, charts, figure, step, table
from ..walks import walk


def saddles(data: Mapping[str, Any], looks: Looks) -> Section:
    """Return the section on saddles."""
    found = data["saddles"]
    double = found["doubled_unit"]
    left = double["escapes"]
    groups = _groups(found)
    return Section(
        name="saddles",
        short="Saddles",
        question="Who gets stuck at a saddle?",
        asked="At a saddle the slope is zero, and yet there is a way down. Two hidden units that do the same are as "
        "good as one, and the best net of one unit, doubled, stands on such a place. Walks with several batch sizes "
        "were put exactly there. A walk has left when its loss is half way down to the best that was found.",
        guess=(
            "A walk begins exactly on a saddle, where the slope of all rows is zero. Which batch sizes leave?",
            _found(left),
        ),
        body=join(
            [
                walk(data, "saddle", looks),
                step("Off the saddle", _updates(left), _push(double), _theory(found["escape_times"])),
                charts(
                    figure("Counted in epochs", "Medians, and the least and the most.", escapes(left, looks, "epochs")),
                    figure("Counted in updates", "The same walks.", escapes(left, looks, "updates")),
                ),
                step("From where everybody begins"),
                beside(
                    figure(
                        "Stuck from random starts",
                        "A net with units to spare, and nets of few.",
                        stuck(groups, looks),
                    ),
                    _random(groups),
                    _symmetric(found["symmetric_starts"]),
                ),
            ]
        ),
        found=_found(left),
        limits="Nobody begins exactly on a saddle by chance. The net is tiny, and the saddle was made by hand.",
        tables=tuple(_tables(found, groups, looks)),
    )


def _groups(found: Mapping[str, Any]) -> list[tuple[str, Sequence[Mapping[str, Any]]]]:
    narrow = sorted(found["narrow_nets"].items(), key=lambda item: -int(item[0]))
    return [("15 + 10 units", found["random_starts"]), *[(f"{units} units", some) for units, some in narrow]]


def _found(left: Sequence[Mapping[str, Any]]) -> str:
    rows = max(one["batch_size"] for one in left)
    gone = [one for one in left if one["epochs"] is not None]
    stay = [one for one in left if one["epochs"] is None]
    if not gone:
        return "No batch size left the saddle in the time it had."
    first, *others = [(words.batch(one["batch_size"], rows), words.number(one["epochs"])) for one in gone]
    said = f"{words.capital(first[0])} at a time left the saddle after {first[1]} epochs"
    said += "".join(f", {size} after {epochs}" for size, epochs in others)
    if not stay:
        return f"{said}; so every batch size left."
    never = [f"{words.batch(one['batch_size'], rows)} never did, in {one['most_epochs']:,} epochs" for one in stay]
    return f"{said}; {words.listed(never)}."


def _updates(left: Sequence[Mapping[str, Any]]) -> str:
    rows = max(one["batch_size"] for one in left)
    taken = [one["epochs"] * rows / one["batch_size"] for one in left if one["epochs"] is not None]
    if len(taken) < 2:
        return ""
    epochs = [one["epochs"] for one in left if one["epochs"] is not None]
    said = f"In updates that is {words.listed([words.count(updates) for updates in taken])}. "
    if max(taken) / min(taken) < max(epochs) / min(epochs) / 3:
        return said + (
            "So most of the lead of small batches is that they make more updates in an epoch. What counts is that "
            "there is noise at all."
        )
    return said + "So the batch size makes a difference by that clock as well."


def _push(double: Mapping[str, Any]) -> str:
    full = next((one for one in double["escapes"] if one["epochs"] is None), None)
    if full is None:
        return ""
    said = f"The full batch stands where its slope is {words.number(double['full_gradient'], 2)} long. "
    pushed = [(push, updates) for push, updates in double["rounding"] if updates is not None]
    if not pushed:
        return said + "No push that was tried set it off."
    ways = words.listed([f"{words.number(push)} takes {words.count(updates)}" for push, updates in pushed])
    return said + f"It needs only a push: one of {ways} updates."


def _theory(times: Sequence[Mapping[str, Any]]) -> str:
    off = [abs(one["measured"] / one["predicted"] - 1) for one in times if one["measured"] is not None]
    if not off:
        return ""
    return (
        "The time can be told beforehand. On a mountain pass with noise of known strength, medians of many walks were "
        f"within {words.percent(max(off))} of what linear theory says."
    )


def _random(groups: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]) -> str:
    parts = []
    for name, found in groups:
        if found:
            share = [one["stuck"] / one["starts"] for one in found]
            least, most = words.percent(min(share)), words.percent(max(share))
            parts.append(f"with {name} {least if least == most else f'{least} to {most}'}")
    if not parts:
        return ""
    shares = [[one["stuck"] / one["starts"] for one in found] for _, found in groups if found]
    by_size = max(max(share) - min(share) for share in shares)
    by_net = max(map(max, shares)) - min(map(min, shares))
    said = f"From random starts, by batch size, this share was stuck: {words.listed(parts)}. "
    if by_net > 3 * by_size:
        return said + "It is the width of the net that decides, not the batch."
    return said + "The batch size makes as much of a difference here as the width of the net."


def _symmetric(starts: Sequence[Mapping[str, Any]]) -> str:
    alike = [one for one in starts if one["start"] != "random"]
    if not alike:
        return ""
    if all(one["units"] == 1 for one in alike):
        return (
            "Noise does not help everywhere. Where all units of a layer begin alike, every row pulls them in the same "
            "direction, and they stay alike with every batch size. So weights begin at random."
        )
    return "Where all units of a layer begin alike, some batch sizes made them differ here."


def _times(one: Mapping[str, Any], rows: int) -> tuple[str, str, str]:
    """Return epochs, their range, and updates until walks of one batch size had left."""
    if one["epochs"] is None:
        return f"never in {one['most_epochs']:,}", words.NOTHING, words.NOTHING
    between = f"{words.number(one['low'])} to {words.number(one['high'])}"
    return words.number(one["epochs"]), between, words.count(one["epochs"] * rows / one["batch_size"])


def _tables(
    found: Mapping[str, Any], groups: Sequence[tuple[str, Sequence[Mapping[str, Any]]]], looks: Looks
) -> list[Html]:
    left = found["doubled_unit"]["escapes"]
    rows = max(one["batch_size"] for one in left)
    return [
        table(
            f"Leaving the saddle of a doubled unit, at a rate of {words.number(found['doubled_unit']['rate'])}",
            ["batch", "left", "median epochs", "least to most", "median updates"],
            [
                [
                    looks.chip(one["batch_size"], rows),
                    f"{one['left']} of {one['walks']}",
                    *_times(one, rows),
                ]
                for one in left
            ],
        ),
        table(
            "The full batch, pushed off the saddle",
            ["push", "updates to leave"],
            [[words.number(push), words.count(updates)] for push, updates in found["doubled_unit"]["rounding"]],
        ),
        table(
            "Updates off a mountain pass: theory, and medians of many walks",
            ["rate", "rows in a batch", "by theory", "median", "middle half"],
            [
                [
                    words.number(one["rate"]), f"{one['batch_size']:,}", words.count(one["predicted"]),
                    words.count(one["measured"]), f"{words.count(one['low'])} to {words.count(one['high'])}",
                ]
                for one in found["escape_times"]
            ],
        ),
        table(
            "Stuck from random starts",
            ["net", "rows in a batch", "stuck", "median loss at the end"],
            [
                [name, f"{one['batch_size']:,}", f"{one['stuck']} of {one['starts']}", words.number(one["loss"])]
                for name, some in groups
                for one in some
            ],
        ),
        table(
            "From weights that are alike",
            ["start", "rows in a batch", "loss at the end", "units that differ"],
            [
                [one["start"], f"{one['batch_size']:,}", words.number(one["loss"]), f"{one['units']} of 15"]
                for one in found["symmetric_starts"]
            ],
        ),
    ]  # fmt: skip
