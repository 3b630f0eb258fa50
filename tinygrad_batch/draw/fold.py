"""Operations to rows: one row per operation, or one per layer where that would be too many."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from tinygrad_batch.draw.reading import ACTIVATIONS, Reading, ancestors
from tinygrad_batch.trace import Step

__all__ = ["OPS_LIMIT", "ROWS_LIMIT", "Depth", "Unit", "calls", "units"]

Depth = Literal["auto", "ops", "modules"]

OPS_LIMIT = 40  # forward operations up to which "auto" draws each of them
ROWS_LIMIT = 80  # rows a reader can still take in


@dataclass(frozen=True, slots=True)
class Unit:
    """What one row stands for.

    Attributes
    ----------
    forward, backward : tuple of Step
        The forward steps, and the backward steps that mirror them, in execution order.
    path : str
        The layer they ran in, or the layer around it where the unit is a whole layer.
    label : str
        The heading of a unit of several steps; empty for a single operation.
    hidden : bool
        Whether the unit stands for rows left out of the picture.
    """

    forward: tuple[Step, ...]
    backward: tuple[Step, ...]
    path: str = ""
    label: str = ""
    hidden: bool = False

    @property
    def single(self) -> bool:
        """Whether it is one operation, shown with its own formula."""
        return not self.label


def units(reading: Reading, depth: Depth = "auto") -> tuple[list[Unit], bool]:
    """Return the rows of the picture, top to bottom, and whether they are folded layers.

    Examples
    --------
    >>> from tinygrad_batch.trace import Trace
    >>> units(Reading(Trace()))
    ([], False)
    """
    forward = reading.trace.phase("forward")
    strays = [
        Unit((), (step,)) for step in reading.trace.phase("backward") if step.forward is None or _lost(reading, step)
    ]
    if depth == "ops" or (depth == "auto" and len(forward) <= OPS_LIMIT):
        return _plain(reading, forward) + strays, False
    rows = _layers(reading, forward) + strays
    folded = any(not row.single for row in rows)
    return (_capped(rows) if len(rows) > ROWS_LIMIT else rows), folded or len(rows) > ROWS_LIMIT


def _lost(reading: Reading, step: Step) -> bool:
    number = step.forward or 0
    return not 1 <= number <= len(reading.trace.steps) or reading.step(number).phase != "forward"


def calls(reading: Reading, steps: Iterable[Step], level: int) -> list[tuple[str, list[Step]]]:
    """Group consecutive steps of one call of one layer, with paths cut to `level` parts.

    A layer that is called again at once (a recurrent cell) starts a new group: the second call reads
    the same parameter in the same operation.
    """
    groups: list[tuple[str, list[Step]]] = []
    for path, run in groupby(steps, key=lambda step: ".".join(step.module.split(".")[:level])):
        if not path:
            groups.extend(("", [step]) for step in run)
            continue
        current: list[Step] = []
        read: set[tuple[str, int]] = set()
        for step in run:
            uses = {(step.op, i) for i in step.inputs if reading.values[i].role == "parameter"}
            if uses & read:
                groups.append((path, current))
                current, read = [], set()
            read |= uses
            current.append(step)
        groups.append((path, current))
    return groups


def _layers(reading: Reading, forward: tuple[Step, ...]) -> list[Unit]:
    deepest = max((len(ancestors(step.module)) for step in forward), default=1)
    rows: list[Unit] = []
    for level in range(deepest, 0, -1):
        groups = calls(reading, forward, level)
        # A layer with layers inside is a frame; what it computes itself stays one row per operation.
        around = {outer for path in {path for path, _ in groups} for outer in ancestors(path)[:-1]}
        rows = []
        for path, run in groups:
            rows += _plain(reading, run) if path in around else [_unit(reading, path, run)]
        rows = _merge_activations(reading, rows)
        if len(rows) <= ROWS_LIMIT:
            break
    return rows


def _plain(reading: Reading, steps: Iterable[Step]) -> list[Unit]:
    return [Unit((step,), tuple(reading.mirrors.get(step.number, ())), step.module) for step in steps]


def _unit(reading: Reading, path: str, steps: list[Step]) -> Unit:
    backward = sorted((b for step in steps for b in reading.mirrors.get(step.number, ())), key=lambda b: b.number)
    layer = reading.layers.get(path)
    label = layer.label if layer is not None else path.rpartition(".")[2]
    return Unit(tuple(steps), tuple(backward), path.rpartition(".")[0], label)


def _merge_activations(reading: Reading, rows: list[Unit]) -> list[Unit]:
    """Write ``Linear(10 → 15), tanh`` in one row: an activation joins the layer with parameters before it."""
    merged: list[Unit] = []
    for row in rows:
        before = merged[-1] if merged else None
        if before is not None and _joins(reading, before, row):
            merged[-1] = Unit(
                before.forward + row.forward,
                row.backward + before.backward,
                before.path,
                f"{before.label}, {row.forward[0].op}",
            )
        else:
            merged.append(row)
    return merged


def _joins(reading: Reading, before: Unit, row: Unit) -> bool:
    if not before.label or "," in before.label.rpartition(")")[2]:  # one activation for each layer
        return False
    if len(row.forward) != 1 or not (row.label or row.forward[0].op in ACTIVATIONS):
        return False
    step = row.forward[0]
    made = {result.value for result in before.forward[-1].results}
    reads = {i for i in step.inputs if reading.values[i].role != "constant"}
    out = reading.values[step.results[0].value] if step.results else None
    parameters = any(reading.values[i].role == "parameter" for s in before.forward for i in s.inputs)
    return parameters and reads <= made and bool(reads) and out is not None and out.shape != ()


def _capped(rows: list[Unit]) -> list[Unit]:
    """Keep the beginning and the end, which holds the loss; the middle becomes one row."""
    head, tail = ROWS_LIMIT * 5 // 8, ROWS_LIMIT * 3 // 8 - 1
    middle = rows[head : len(rows) - tail]
    forward = tuple(step for row in middle for step in row.forward)
    backward = tuple(sorted((step for row in middle for step in row.backward), key=lambda step: step.number))
    gap = Unit(forward, backward, "", f"… {len(middle):,} more rows", hidden=True)
    return [*rows[:head], gap, *rows[len(rows) - tail :]]
