"""Local minima: who gets caught."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ... import words
from ..charts.outcomes import Z, shares
from ..html import join
from ..looks import Looks
from ..parts import Section, beside, figure, table
from ..walks import walk

Shares = Sequence[Mapping[str, Any]]


def minima(data: Mapping[str, Any], looks: Looks) -> Section:
    """Return the section on local minima."""
    found = data["minima"]
    rows = max(one["batch_size"] for one in found)
    return Section(
        name="minima",
        short="Minima",
        question="Who gets caught in a local minimum?",
        asked="A sine looks for the frequency of another. Its loss has a local minimum every few tenths, and one that "
        "is the lowest. From many starts, walks were made with several batch sizes and rates, and those that ended at "
        "the right frequency were counted.",
        guess=("Does the noise of a small batch carry a walk out of the wrong valley?", _guess(found)),
        body=join(
            [
                walk(data, "minima", looks),
                beside(
                    figure(
                        "Who found the lowest minimum",
                        "Shares of the starts with 95% intervals. “All + noise” is the full batch with noise added, "
                        "as strong as that of single rows.",
                        shares(found, looks),
                    ),
                    _noise(found),
                ),
            ]
        ),
        found=_found(found),
        limits="One parameter and one kind of valley. It shows that noise can do this, not that it does so in a large "
        "net.",
        tables=(
            table(
                "Share of the starts that found the lowest minimum",
                ["rate", "batch", "share", "standard error"],
                [
                    [
                        words.number(one["rate"]),
                        looks.chip(one["batch_size"], rows, "all + noise" if one["noise"] else None),
                        words.percent(one["share"]),
                        words.percent(one["error"]),
                    ]
                    for one in found
                ],
            ),
        ),
    )


def _pairs(found: Shares) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Return, for each rate, the smallest and the largest batch without noise."""
    pairs = []
    for rate in sorted({one["rate"] for one in found}):
        cells = sorted(
            (one for one in found if one["rate"] == rate and not one["noise"]), key=lambda one: one["batch_size"]
        )
        if len(cells) > 1:
            pairs.append((cells[0], cells[-1]))
    return pairs


def _apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> int:
    """Return 1 if the first share is above the other beyond chance, -1 if below, and 0 if nobody can tell."""
    gap = one["share"] - other["share"]
    if abs(gap) <= Z * (one["error"] ** 2 + other["error"] ** 2) ** 0.5:
        return 0
    return 1 if gap > 0 else -1


def _found(found: Shares) -> str:
    pairs = _pairs(found)
    if not pairs:
        return ""
    better = [pair for pair in pairs if _apart(*pair) > 0]
    worse = [pair for pair in pairs if _apart(*pair) < 0]
    same = [pair for pair in pairs if _apart(*pair) == 0]
    if not better and not worse:
        return "At no rate did the batch size make a difference that goes beyond chance."
    parts = [
        _said(max(some, key=lambda pair: abs(pair[0]["share"] - pair[1]["share"]))) for some in (better, worse) if some
    ]
    if same:
        rates = words.listed([words.number(small["rate"]) for small, _ in same])
        parts.append(f"at a rate of {rates} the batch size made no difference that goes beyond chance")
    return words.capital("; ".join(parts)) + "."


def _said(pair: tuple[Mapping[str, Any], Mapping[str, Any]]) -> str:
    small, large = pair
    return (
        f"at a rate of {words.number(small['rate'])}, batches of {words.plural(small['batch_size'], 'row')} found the "
        f"lowest minimum from {words.percent(small['share'])} of the starts, and all rows at once from "
        f"{words.percent(large['share'])}"
    )


def _guess(found: Shares) -> str:
    pairs = _pairs(found)
    better = [pair for pair in pairs if _apart(*pair) > 0]
    if not better:
        return "Not here, at none of the rates that were tried."
    if len(better) == len(pairs):
        return "Here it does, at every rate that was tried."
    return (
        "It depends on the rate. Here it does at "
        f"{words.listed([words.number(pair[0]['rate']) for pair in better], 'or')}, and not at "
        f"{words.listed([words.number(pair[0]['rate']) for pair in pairs if pair not in better], 'or')}: noise works "
        "through the rate."
    )


def _noise(found: Shares) -> str:
    noisy = {one["rate"]: one for one in found if one["noise"]}
    cells = [
        (small, noisy[small["rate"]])
        for small, large in _pairs(found)
        if _apart(small, large) > 0 and small["rate"] in noisy
    ]
    if not cells:
        return ""
    small, other = cells[-1]
    said = (
        f"Is it the batch or the noise? At a rate of {words.number(small['rate'])}, all rows with noise added found it "
        f"from {words.percent(other['share'])} of the starts, and {words.plural(small['batch_size'], 'row')} at a time "
        f"from {words.percent(small['share'])}. "
    )
    if _apart(small, other) == 0:
        return said + "So it is the noise, and a small batch is one way to have some."
    return said + "So the noise of a small batch is not the same as any noise."
