"""Charts of the same trainings by four clocks: updates, epochs, rows seen, seconds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ... import words
from ..html import Html
from ..looks import Looks
from ..reading import Arrival, arrivals
from .labels import BELOW
from .plot import Plot, chart

CLOCKS = (
    ("updates", "updates", "per update"),
    ("epochs", "epochs (passes over all rows)", "per epoch"),
    ("rows", "rows seen", "per row"),
    ("seconds", "seconds on this machine", "per second"),
)


def curves(data: Mapping[str, Any], looks: Looks) -> dict[str, Html]:
    """Return a chart for each clock: the loss of the compared batch sizes, with bands over the seeds."""
    found = data["descent"]["scaling"]
    compared = [one for one in arrivals(data) if one.compared]
    raw = {one["batch_size"]: one for one in found["tuned"]}
    runs = [_Run(one, raw[one.size], found["seconds"][str(one.size)], data["rows"]) for one in compared]
    runs = [run for run in runs if len(run.updates) > 1]
    if not runs:
        return {}
    return {clock: _by(clock, axis, runs, data["rows"], found["goal"], looks) for clock, axis, _ in CLOCKS}


class _Run:
    """The curves of one batch size: mean, least and most over the seeds at each look after the first update."""

    def __init__(self, arrival: Arrival, tuned: Mapping[str, Any], seconds: float, rows: int) -> None:
        last = max(tuned["updates"]) if arrival.arrived else math.inf  # what comes after the goal is not shown
        curves = tuned["curves"]
        self.arrival = arrival
        self.unit = {"updates": 1.0, "epochs": arrival.size / rows, "rows": float(arrival.size), "seconds": seconds}
        self.updates: list[int] = []
        self.mean: list[float] = []
        self.low: list[float] = []
        self.high: list[float] = []
        for updates, seeds in zip(curves["updates"], curves["loss"], strict=True):
            if self.updates and self.updates[-1] > last:
                break
            losses = [loss for seed in seeds for loss in seed]
            if None in losses:
                break
            if updates:
                self.updates.append(updates)
                self.mean.append(sum(losses) / len(losses))
                self.low.append(min(losses))
                self.high.append(max(losses))

    def when(self, clock: str) -> list[float]:
        """Return the times of the looks by a clock."""
        return [updates * self.unit[clock] for updates in self.updates]


def _by(clock: str, axis: str, runs: Sequence[_Run], rows: int, goal: float, looks: Looks) -> Html:
    ends = {run.arrival.size: getattr(run.arrival, clock) for run in runs}

    def paint(plot: Plot) -> None:
        times = [time for run in runs for time in run.when(clock)]
        left, right = min(times), max(times)
        plot.across(axis, left, right * (right / left) ** 0.06, ticks=words.seconds if clock == "seconds" else None)
        low, high = min(min(run.low) for run in runs), max(max(run.high) for run in runs)
        low = min(low, goal)
        plot.up("loss over all rows to train on", low * (low / high) ** 0.22, high * 1.03)
        plot.guide([left, right * 2], [goal, goal])
        plot.note(left * (right / left) ** 0.012, goal * 0.985, f"goal: {words.number(goal)}", va="top", fontsize=10.5)
        for run in runs:
            look, when = looks.of(run.arrival.size, rows), run.when(clock)
            plot.band(when, run.low, run.high, look)
            plot.line(when, run.mean, look)
        for run in sorted(runs, key=lambda run: -ends[run.arrival.size]):
            look, end = looks.of(run.arrival.size, rows), ends[run.arrival.size]
            if run.arrival.arrived and end > 0:
                plot.dot(end, goal, look, size=8)
                plot.label(end, goal, words.count(run.arrival.size), look, BELOW)
            elif not run.arrival.arrived:
                plot.label(run.when(clock)[-1], run.mean[-1], f"{words.count(run.arrival.size)} (never)", look)

    write = words.seconds if clock == "seconds" else words.number
    said = [
        f"{words.batch(run.arrival.size, rows)} at a time: {write(ends[run.arrival.size])}"
        if run.arrival.arrived
        else f"{words.batch(run.arrival.size, rows)} at a time: never"
        for run in runs
    ]
    what = "" if clock == "seconds" else f" {clock}"
    return chart(f"descent-{clock}", f"Loss by {clock}", f"To the goal: {'; '.join(said)}{what}.", paint)
