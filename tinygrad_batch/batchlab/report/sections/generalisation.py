"""Rows never seen: who does better on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ... import words
from ..charts.outcomes import scores, sharpness
from ..html import Html, join
from ..looks import Looks
from ..parts import Section, beside, charts, figure, paragraph, step, table

ALIKE = 1.25  # sharpest by flattest, up to which they count as the same

Results = Sequence[Mapping[str, Any]]


def generalisation(data: Mapping[str, Any], looks: Looks) -> Section:
    """Return the section on rows held out."""
    found, rows = data["generalisation"]["comparison"], data["rows"]
    level, slower = words.number(found["level"]), words.number(found["slower"])
    return Section(
        name="generalisation",
        short="New rows",
        question="Who does better on rows never seen?",
        asked=f"{data['held_out_rows']:,} rows were held out. To compare fairly, every net is looked at where its "
        f"loss on the other rows first was {level}, with a rate {slower} times slower than the best, so that the "
        "noise of large steps is not taken for an effect of the batch. Then the same in three other ways. Each has "
        f"{found['seeds']} starts.",
        guess=(
            "Two nets have the same loss on the rows they learned from. One saw "
            f"{words.batch(found['matched'][0]['batch_size'], rows)} at a time, the other "
            f"{words.batch(found['matched'][-1]['batch_size'], rows)}. Which does better on new rows?",
            _found(found, rows),
        ),
        body=join(
            [
                charts(*_scores(found, rows, looks)),
                paragraph(_naive(found, rows)),
                step("Flat valleys"),
                beside(
                    figure(
                        "Sharpness where the loss was equal",
                        "Full marks: slow rates. Open marks: the best rates.",
                        sharpness(found["matched"], found["matched_fast"], rows, looks),
                    ),
                    _sharp(found, rows),
                    _baseline(data["generalisation"]["baseline"]),
                ),
            ]
        ),
        found=_found(found, rows),
        limits="One data set and a small net. Where several sizes are compared, one interval in twenty misses by "
        "chance. What small batches do for the generalisation of large nets is a question that these numbers do not "
        "answer.",
        tables=tuple(
            _table(caption, found["score_name"], found[key], rows, looks)
            for key, caption in (
                ("matched", f"At equal loss ({level}), rates {slower} times slower than the best"),
                ("matched_fast", f"At equal loss ({level}), best rates"),
                ("equal_epochs", f"After {words.number(found['epochs'])} epochs at one rate"),
                ("equal_updates", f"After {words.plural(found['updates'], 'update')}, best rates"),
            )
        ),
    )


def _found(found: Mapping[str, Any], rows: int) -> str:
    """Return who does better at the same loss, by the differences within a seed and their intervals."""
    others = [one for one in found["matched"] if one["batch_size"] != found["matched"][-1]["batch_size"]]
    known = [one for one in others if one["difference"] is not None and one["difference_error"] is not None]
    most = words.batch(found["matched"][-1]["batch_size"], rows)
    if not known:
        return ""
    better = [one for one in known if one["difference"] > one["difference_error"]]
    worse = [one for one in known if one["difference"] < -one["difference_error"]]
    where = "At the same loss on the rows to train on, "
    if not better and not worse:
        told = f"as far as {found['seeds']} starts can tell"
        return where + f"no batch size does better or worse on new rows than {most} at once, {told}."
    parts = []
    for some, word in ((better, "better"), (worse, "worse")):
        if some:
            gaps = [
                f"{words.batch(one['batch_size'], rows)} ({words.fixed(abs(one['difference']))} ± "
                f"{words.fixed(one['difference_error'])})"
                for one in some
            ]
            parts.append(f"batches of {words.listed(gaps)} do {word} on new rows than {most} at once")
    if not better:
        return where + f"{parts[0]}, and none does better."
    return where + f"{', and '.join(parts)}."


def _scores(found: Mapping[str, Any], rows: int, looks: Looks) -> list[Html]:
    score = found["score_name"] if found["score_name"] in ("R²", "accuracy") else "score"
    axis = f"{score} on rows held out"
    fair, naive = (
        _ends([*found[a], *found[b]]) for a, b in (("matched", "matched_fast"), ("equal_epochs", "equal_updates"))
    )
    views = (
        ("matched", "At equal loss, slow rates", "The fair comparison.", fair),
        ("matched_fast", "At equal loss, best rates", "The noise of large steps comes on top.", fair),
        (
            "equal_epochs",
            f"After {words.number(found['epochs'])} epochs",
            "One rate for all. Who has come furthest?",
            naive,
        ),
        (
            "equal_updates",
            f"After {words.plural(found['updates'], 'update')}",
            "Best rates. Who has seen the most rows?",
            naive,
        ),
    )
    return [
        figure(
            title,
            f"{says} Means with 95% intervals.",
            scores(f"scores-{key}", title, axis, found[key], ends, rows, looks),
        )
        for key, title, says, ends in views
        if ends is not None
    ]


def _ends(cells: Results) -> tuple[float, float] | None:
    """Return the ends of an axis that holds all the intervals."""
    known = [(one["score"], one["error"] or 0.0) for one in cells if one["score"] is not None]
    if not known:
        return None
    low, high = min(score - error for score, error in known), max(score + error for score, error in known)
    room = 0.12 * (high - low) or 0.01
    return low - room, high + room


def _naive(found: Mapping[str, Any], rows: int) -> str:
    cells = [one for one in found["equal_epochs"] if one["score"] is not None and one["train_loss"] is not None]
    if len(cells) < 2:
        return ""
    best, worst = max(cells, key=lambda one: one["score"]), min(cells, key=lambda one: one["score"])
    return (
        f"After {words.number(found['epochs'])} epochs at one rate, {words.batch(best['batch_size'], rows)} at a time "
        f"do best ({words.fixed(best['score'])}) and {words.batch(worst['batch_size'], rows)} worst "
        f"({words.fixed(worst['score'])}). But their losses on the rows to train on are "
        f"{words.number(best['train_loss'])} and {words.number(worst['train_loss'])}: this compares how far they have "
        "come, not what they have found."
    )


def _sharp(found: Mapping[str, Any], rows: int) -> str:
    cells = [one for one in found["matched"] if one["sharpness"] is not None and one["score"] is not None]
    if len(cells) < 2:
        return ""
    flat, sharp = min(cells, key=lambda one: one["sharpness"]), max(cells, key=lambda one: one["sharpness"])
    best = max(cells, key=lambda one: one["score"])
    said = (
        "It is said that small batches end in flat valleys, and that flat valleys do better on new rows. At slow rates "
        f"the flattest place is that of {words.batch(flat['batch_size'], rows)} ({words.number(flat['sharpness'])}), "
        f"the sharpest that of {words.batch(sharp['batch_size'], rows)} ({words.number(sharp['sharpness'])}), and the "
        f"best on new rows that of {words.batch(best['batch_size'], rows)}. "
    )
    if sharp["sharpness"] < ALIKE * flat["sharpness"]:
        return said + "The places are about as sharp as one another, so sharpness explains nothing here."
    if best is flat:
        return said + "Here flat and good go together."
    return said + "Here flat and good do not go together."


def _baseline(found: Mapping[str, Any] | None) -> str:
    if not found:
        return ""
    told = (
        "no difference that can be told" if abs(found["difference"]) <= found["error"] else "a difference that is there"
    )
    return (
        f"A line of comparison: a linear model has an R² of {words.fixed(found['linear'])} on rows held out, the net "
        f"{words.fixed(found['net'])} ({found['folds']} folds). The net less the line is "
        f"{words.fixed(found['difference'])} ± {words.fixed(found['error'])}, {told}."
    )


def _table(caption: str, score: str, found: Results, rows: int, looks: Looks) -> Html:
    return table(
        caption,
        ["batch", "rate", "updates", "loss, training", f"{score}, new rows", "to the largest", "sharpness"],
        [
            [
                looks.chip(one["batch_size"], rows),
                words.number(one["rate"]),
                words.count(one["updates"]),
                words.number(one["train_loss"]),
                words.without(words.spread(one["score"], one["error"]), one.get("left_out", 0)),
                words.spread(one["difference"], one["difference_error"]) if one is not found[-1] else words.NOTHING,
                words.number(one["sharpness"]),
            ]
            for one in found
        ],
    )
