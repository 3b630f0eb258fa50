"""The way down: who is there first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Any

from ... import words
from ..charts.curves import curves
from ..charts.descent import SMALL, floors, linear_rule, rates, summed, time_to_the_goal, work_to_the_goal
from ..html import Html, element, join, text
from ..looks import Looks
from ..parts import Section, beside, charts, figure, step, table
from ..reading import Arrival, arrivals, law, regimes
from ..walks import walk

CLOCKS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("updates", "updates", words.count),
    ("epochs", "epochs", words.number),
    ("seconds", "seconds on this machine", words.seconds),
)


def descent(data: Mapping[str, Any], looks: Looks) -> Section:
    """Return the section on the way down."""
    found, rows = data["descent"], data["rows"]
    there = arrivals(data)
    compared = [one for one in there if one.compared]
    ends = compared if len(compared) > 1 else there
    seeds = len(found["scaling"]["tuned"][0]["updates"])
    goal = words.number(found["scaling"]["goal"])
    return Section(
        name="descent",
        short="Descent",
        question="Who is there first?",
        asked=f"Every batch size was trained to a loss of {goal} over all rows to train on, each with the rate that "
        "brought it there in the fewest updates: several were tried. So nobody wins by a rate that happens to suit. "
        f"Each was run from {words.plural(seeds, 'start')} that had no part in choosing its rate.",
        guess=(
            f"{words.capital(words.batch(ends[0].size, rows))} or {words.batch(ends[-1].size, rows)} at a time: who "
            "is at the goal first?",
            _firsts(there, rows),
        ),
        body=join(
            [
                walk(data, "bowl", looks),
                _clocks(data, there, looks),
                _costs(data, there, looks),
                _rates(data, looks),
                _floors(found),
            ]
        ),
        found=_firsts(there, rows),
        limits="Seconds are those of this machine and of a small net. A machine that does many rows at once moves the "
        "fastest size up; a net that keeps it busy moves it down.",
        tables=tuple(_tables(data, there, looks)),
    )


def _firsts(found: Sequence[Arrival], rows: int) -> str:
    """Return who is first by each clock, in one sentence."""
    there = [one for one in found if one.arrived]
    if not there:
        return "No batch size reached the goal with every seed, so nobody is first."
    firsts = [(min(there, key=lambda one: getattr(one, clock)), clock, name, write) for clock, name, write in CLOCKS]
    costs = [(words.batch(one.size, rows), name, write(getattr(one, clock))) for one, clock, name, write in firsts]
    late = [words.batch(one.size, rows) for one in found if not one.arrived]
    never = f"; {words.listed(late)} at a time did not always arrive" if late else ""
    if len({size for size, *_ in costs}) == 1 and len(there) > 1:
        by = words.listed([f"{name} ({cost})" for _, name, cost in costs])
        return f"{words.capital(costs[0][0])} at a time are first by every clock here: in {by}{never}."
    said = [f"{size} at a time by {name} ({cost})" for size, name, cost in costs]
    return f"Who is first depends on the clock: {words.listed(said)}{never}."


def _clocks(data: Mapping[str, Any], there: Sequence[Arrival], looks: Looks) -> Html:
    drawn = curves(data, looks)
    found = [one for one in there if one.compared]
    if not found:
        return Html("")
    few, many = found[0].size, found[-1].size
    said = (
        "Every line is one batch size, whose rows stand at its end: the mean over the starts, with bands from the "
        f"least to the most. An epoch is {data['rows']:,} rows for everybody, so the second clock and the third are "
        "one clock in two units."
    )
    why = "Every update has a price of its own, whatever its rows: the way through the layers, call by call."
    if many > few:
        steps = data["descent"]["scaling"]["seconds"]
        why += (
            f" An update with {many:,} rows takes {words.times(steps[str(many)] / steps[str(few)])} as long as one "
            f"with {few:,} here, though it does {words.times(many / few)} the work."
        )
    return join(
        [
            step("The same trainings by four clocks", said),
            charts(
                figure("By updates", "How often were the weights changed?", drawn.get("updates", Html(""))),
                figure("By epochs", "How often was every row looked at?", drawn.get("epochs", Html(""))),
                figure("By rows", "How many rows were looked at?", drawn.get("rows", Html(""))),
                figure("By seconds", "How long did it take?", drawn.get("seconds", Html(""))),
            ),
            beside(
                figure(
                    "What time it takes to the goal",
                    "The ring is the fastest. Grey: sizes in between.",
                    time_to_the_goal(data, there, looks),
                ),
                why,
            ),
        ]
    )


def _costs(data: Mapping[str, Any], there: Sequence[Arrival], looks: Looks) -> Html:
    updates, epochs = work_to_the_goal(data, there, looks)
    rule = law(data)
    if rule is None:
        said = text("Too few batch sizes reached the goal to fit a law.")
    else:
        low, high = regimes(rule)
        formula = join(["S = S", element("sub", "min"), " (1 + B", element("sub", "crit"), " / B)"])
        said = join(
            [
                "The dashed line is the law ",
                formula,
                f", which fits to {words.percent(rule.misfit)}. However large the batch, it takes "
                f"{words.count(rule.least_updates)} updates; however small, {words.count(rule.least_rows)} rows. The "
                f"critical batch is {words.number(rule.critical, 2)} rows ({words.number(rule.low, 2)} to "
                f"{words.number(rule.high, 2)}). Up to about {words.number(low, 2)} rows, twice the rows nearly halve "
                f"the updates; from about {words.number(high, 2)} on they hardly help.",
            ]
        )
    return join(
        [
            step("Fewer updates or fewer rows", said),
            charts(
                figure(
                    "Updates to the goal",
                    "Dashed: the law. Tinted: where it says that returns diminish. Grey: sizes in between.",
                    updates,
                ),
                figure(
                    "Epochs to the goal",
                    "The same, as passes over all rows.",
                    epochs,
                ),
            ),
        ]
    )


def _rates(data: Mapping[str, Any], looks: Looks) -> Html:
    found = data["descent"]
    tuned = found["scaling"]["tuned"]
    first, last = tuned[0], tuned[-1]
    grown, larger = last["rate"] / first["rate"], last["batch_size"] / first["batch_size"]
    said = (
        f"The best rate goes from {words.number(first['rate'])} with {words.plural(first['batch_size'], 'row')} to "
        f"{words.number(last['rate'])} with {last['batch_size']:,}: {words.times(grown)} the rate for "
        f"{words.times(larger)} the rows."
    )
    if grown < larger / 2:
        said += " So it does not keep in step with the rows."
    return join(
        [
            step("Each batch size likes a rate of its own", said, _rule(found["linear_scaling"])),
            charts(
                figure(
                    "The best rate by batch size",
                    "Bars reach over the tried rates that needed at most 1.3 times the updates.",
                    rates(data, looks),
                ),
                figure(
                    "Rows and rate times the same number",
                    "After equal epochs, how far is the loss from that without the factor? With even batches, and "
                    "with a short one at the end of each epoch.",
                    linear_rule(found["linear_scaling"]),
                ),
            ),
        ]
    )


def _rule(found: Sequence[Mapping[str, Any]]) -> str:
    if len(found) < 2:
        return ""
    small = list(takewhile(lambda one: not one["diverged"] and one["change"] <= SMALL, found))
    said = "A rule says: take twice the rows and twice the rate, and nothing changes. "
    if len(small) == len(found):
        said += f"Here it holds as far as it was tried, to {found[-1]['factor']} times"
    elif len(small) < 2:
        said += "Here it does not hold"
    else:
        said += f"Here it holds up to {small[-1]['factor']} times"
    said += f" (within {words.percent(SMALL)})"
    if len(small) < len(found):
        broken = found[len(small)]
        how = "training runs away" if broken["diverged"] else f"the loss moves by {words.percent(broken['change'])}"
        said += f"; with {broken['factor']} times {how}"
    return f"{said}. {_rest(found)}"


def _rest(found: Sequence[Mapping[str, Any]]) -> str:
    """Return what a short last batch does to the rule."""
    spoiled = next((one for one in found if one["diverged_with_rest"] or one["change_with_rest"] > SMALL), None)
    if spoiled is None:
        return ""
    change = words.percent(spoiled["change_with_rest"])
    return (
        f"All of this is for {spoiled['rows']:,} rows, which make full batches only. With {spoiled['rest']} more, "
        "every epoch ends with a short batch at the full rate; then "
        + ("training runs away" if spoiled["diverged_with_rest"] else f"the loss moves by {change}")
        + f" at {spoiled['factor']} times already."
    )


def _floors(found: Mapping[str, Any]) -> Html:
    ends, sums = found["floors"], found["summed"]
    rows = max((one["batch_size"] for one in sums), default=0)
    gain = ends["constant"] / ends["decaying"] if ends["decaying"] > 0 else 0
    said = (
        "Rows contradict each other at the best place, so with a constant rate a training goes on trembling above it: "
        f"with the power {words.number(ends['power'], 2)} of rate / B where each batch is drawn afresh (theory: 1, "
        f"dashed), and {words.number(ends['power_shuffled'], 2)} in shuffled epochs (theory: 2). Single rows at a rate "
        f"of {words.number(ends['rate'])} end {words.number(ends['constant'], 2)} above the least loss"
    )
    said += (
        f"; let the rate fall to 0, and it is {words.number(ends['decaying'], 2)}."
        if gain > 1
        else f", and a falling rate does not help: {words.number(ends['decaying'], 2)}."
    )
    away = [one for one in sums if one["sum_diverged"]]
    return join(
        [
            step("What a constant rate costs, and what a sum does", said, _sums(away, sums)),
            charts(
                figure("Where a constant rate ends", "A linear model on 100 made-up rows.", floors(ends)),
                figure(
                    "The sum of the losses, or their mean",
                    f"One rate for all, {words.number(sums[0]['rate'])}. Open arrows: at least one start ran away."
                    if sums
                    else "",
                    summed(sums, rows),
                ),
            ),
        ]
    )


def _sums(away: Sequence[Mapping[str, Any]], sums: Sequence[Mapping[str, Any]]) -> str:
    if not sums:
        return ""
    said = "With the sum of a batch’s losses instead of their mean, a step is B times as long. "
    if not away:
        return said + "At this rate nothing ran away."
    calm = not any(one["mean_diverged"] for one in sums)
    return said + (
        f"At one rate for all, {words.number(away[0]['rate'])}, trainings with the sum run away from "
        f"{away[0]['batch_size']:,} rows on{'; with the mean none does' if calm else ''}."
    )


def _tables(data: Mapping[str, Any], there: Sequence[Arrival], looks: Looks) -> list[Html]:
    found, rows = data["descent"], data["rows"]
    rule, steps = law(data), found["scaling"]["seconds"]
    return [
        table(
            f"To a loss of {words.number(found['scaling']['goal'])}, by batch size; means over the starts",
            ["batch", "best rate", "updates", "by the law", "epochs", "one update", "time to the goal"],
            [
                [
                    looks.chip(one.size, rows),
                    words.number(one.rate),
                    words.count(one.updates) if one.arrived else "not always",
                    words.count(rule.updates(one.size)) if rule else words.NOTHING,
                    words.number(one.epochs),
                    words.seconds(steps[str(one.size)]),
                    words.seconds(one.seconds),
                ]
                for one in there
            ],
        ),
        table(
            "Rows and rate times the same number, after equal epochs",
            ["times", "rows in a batch", "rate", "loss", "it moved by", "with a short last batch"],
            [
                [
                    f"{one['factor']:,}", f"{one['batch_size']:,}", words.number(one["rate"]),
                    words.number(one["loss"]), words.moved(one, "change", "diverged"),
                    words.moved(one, "change_with_rest", "diverged_with_rest"),
                ]
                for one in found["linear_scaling"]
            ],
        ),
        table(
            "Loss above the least at a constant rate",
            ["rate", "rows in a batch", "batches", "above the least", "by theory"],
            [
                [
                    words.number(one["rate"]), f"{one['batch_size']:,}",
                    "drawn afresh" if one["replacement"] else "shuffled epochs",
                    words.number(one["excess"]), words.number(one["predicted"]),
                ]
                for one in found["floors"]["floors"]
            ],
        ),
        table(
            "The mean of a batch’s losses, and their sum, at one rate",
            ["rows in a batch", "rate", "loss with the mean", "ran away", "loss with the sum", "ran away"],
            [
                [
                    f"{one['batch_size']:,}", words.number(one["rate"]), words.number(one["mean_loss"]),
                    f"{one['mean_diverged']} of {one['seeds']}", words.number(one["sum_loss"]),
                    f"{one['sum_diverged']} of {one['seeds']}",
                ]
                for one in found["summed"]
            ],
        ),
    ]  # fmt: skip
