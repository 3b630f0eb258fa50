"""The slope of a batch: how wrong it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ... import words
from ..charts.noise import error_by_size, scales
from ..html import join
from ..looks import Looks
from ..parts import Section, charts, figure, paragraph, table
from ..reading import noise_scale, off_by

AGREES = 1.25  # measured by predicted variance, up to which the law is said to hold


def noise(data: Mapping[str, Any], looks: Looks) -> Section:
    """Return the section on the noise of the gradient."""
    found, rows, compared = data["noise"], data["rows"], data["batch_sizes"]
    variances = found["variances"]
    draws = min((v["draws"] for v in variances if v["predicted"]), default=0)
    return Section(
        name="noise",
        short="Noise",
        question="How wrong is the slope of a batch?",
        asked="The slope of a batch is the mean of the slopes of its rows. So it is a guess at the slope of all rows. "
        f"How far is it off? At the start of training, at least {draws:,} batches of each size were drawn, and the "
        "distance of their slopes from the exact one was taken. The dashed line is the law of averages.",
        guess=_guess(variances),
        body=join(
            [
                charts(
                    figure(
                        "How far the slope of a batch is off",
                        "100% means: off by as much as the slope is long. The law is √(tr Σ / B · (1 − B/N)).",
                        error_by_size(variances, rows, compared, looks),
                    ),
                    figure(
                        "When are there enough rows?",
                        "Squares: the noise scale, from pairs of batches, with 95% intervals for many more rows. "
                        "Circles: from all these rows. An open arrow: it could not be measured, and lies above.",
                        scales(found["scales"], rows, compared, looks),
                    ),
                ),
                paragraph(_scales(found["scales"], rows)),
            ]
        ),
        found=_found(variances, [size for size in compared if size < rows]),
        limits="One net, one start, rows drawn without putting them back. The noise of other data is another.",
        tables=(
            table(
                "The slope of a batch at the start: variance by the law, variance found, and the error",
                ["batch", "by the law", "measured", "measured / law", "off by", "batches drawn"],
                [
                    [
                        looks.chip(v["batch_size"], rows),
                        words.number(v["predicted"]),
                        words.number(v["measured"]),
                        words.fixed(v["measured"] / v["predicted"]) if v["predicted"] else words.NOTHING,
                        off_by(v),
                        words.count(v["draws"]),
                    ]
                    for v in variances
                ],
            ),
            table(
                "The noise scale tr Σ / |G|², in rows, on the way through a training",
                ["epochs", "loss", "noise scale", "95% interval", "from all rows"],
                [
                    [
                        words.number(scale["epochs"]),
                        words.number(scale["loss"]),
                        words.number(scale["value"]) if scale["measurable"] else "not measurable",
                        f"{words.number(scale['low'])} to {words.number(scale['high'])}"
                        if scale["measurable"]
                        else noise_scale(scale),
                        words.number(scale["rows_value"]),
                    ]
                    for scale in found["scales"]
                ],
            ),
        ),
    )


def _guess(variances: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """Return the question of four times the rows, answered by the pair of sizes that comes nearest to it."""
    noisy = [v for v in variances if v["predicted"]]
    pairs = [(a, b) for a in noisy for b in noisy if b["batch_size"] > a["batch_size"]]
    if not pairs:
        return None
    a, b = min(pairs, key=lambda pair: abs(pair[1]["batch_size"] / pair[0]["batch_size"] - 4))
    factor, gain = b["batch_size"] / a["batch_size"], a["relative_error"] / b["relative_error"]
    return (
        "One batch has four times the rows of another. How much closer is its slope?",
        f"About twice: an error of a mean falls with the square root. Measured: {words.number(factor)} times the "
        f"rows, from {words.plural(a['batch_size'], 'row')} to {b['batch_size']:,}, and the error falls from "
        f"{off_by(a)} to {off_by(b)}, {words.times(gain)} smaller.",
    )


def _found(variances: Sequence[Mapping[str, Any]], compared: Sequence[int]) -> str:
    noisy = [v for v in variances if v["predicted"] and v["batch_size"] in compared]
    if not noisy:
        return ""
    few, many = noisy[0], noisy[-1]
    said = f"A batch of {words.plural(few['batch_size'], 'row')} is off by {off_by(few)} of the slope’s length"
    if few is not many:
        said += f", one of {many['batch_size']:,} by {off_by(many)}"
    ratios = [v["measured"] / v["predicted"] for v in variances if v["predicted"]]
    worst = max(max(ratios), 1 / min(ratios))
    if worst <= AGREES:
        return said + ": the error falls with the square root of the rows, as the law of averages says."
    return said + f"; the law of averages is off by a factor of up to {words.number(worst, 2)} here."


def _scales(found: Sequence[Mapping[str, Any]], rows: int) -> str:
    if not found:
        return ""
    first, last = found[0], found[-1]
    said = "Where noise equals signal, more rows begin to pay less. "
    if first["measurable"]:
        said += f"At the start that is at about {noise_scale(first)} rows. "
    if last is first:
        return said
    where = f"after {words.number(last['epochs'])} epochs"
    if not last["measurable"]:
        said += f"Near the bottom the slope is short and the noise is not: {where} it cannot be measured any more"
        if not last["low"]:
            return said + "."
        beyond = f", and there are {rows:,} rows" if last["low"] > rows else ""
        return said + f", and lies {noise_scale(last)}{beyond}."
    if first["measurable"] and last["low"] > first["high"]:
        said += "The slope gets shorter on the way, the noise less so: "
    else:
        said += "It does not grow here: "
    return said + f"{where} it is at {noise_scale(last)}."
