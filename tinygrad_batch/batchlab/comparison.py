"""Everything about batch sizes for one problem: measured in one go, told as a table, as JSON and as a page."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import ArgumentError
from ..files import write_whole
from ..memory import format_bytes
from ..problem import Problem, load_problem
from .advice import Advice, advice
from .claims import Claim, judge
from .descent import Floors, Scaled, Summed, linear_scaling, noise_floor, summed_loss
from .ensemble import Ensemble, batch_norms
from .generalisation import Baseline, Generalisation, generalisation, linear_baseline
from .landscapes import Scene, scenes
from .memory import MemoryReport, memory_report
from .minima import Share, frequency_fit
from .noise import NoiseReport, gradient_noise
from .saddles import (
    DoubledUnit,
    EscapeTime,
    Stuck,
    Symmetric,
    doubled_unit,
    escape_times,
    narrow_nets,
    random_starts,
    symmetric_starts,
)
from .scaling import BETWEEN, FRESH, Scaling, checked_sizes, scaling

SCHEMA = 1
PARTS = ("memory", "noise", "descent", "saddles", "minima", "generalisation")
DEFAULT_SIZES = (1, 10, 32, None)
FINE = tuple(2.0 ** (power / 4) for power in range(-6, 7))  # rates to try around the best one, thoroughly


@dataclass(frozen=True, eq=False)
class Descent:
    """Updates, epochs, rows and seconds to a goal, and what rates do."""

    scaling: Scaling
    floors: Floors
    linear_scaling: tuple[Scaled, ...]
    summed: tuple[Summed, ...]


@dataclass(frozen=True, eq=False)
class Saddles:
    """Who leaves a saddle, how long it takes, and who is stuck from where."""

    doubled_unit: DoubledUnit
    escape_times: tuple[EscapeTime, ...]
    random_starts: tuple[Stuck, ...]
    narrow_nets: dict[int, tuple[Stuck, ...]]
    symmetric_starts: tuple[Symmetric, ...]


@dataclass(frozen=True, eq=False)
class HeldOutReport:
    """Rows held out, by batch size; and a linear model beside the net, where the data are diabetes."""

    comparison: Generalisation
    baseline: Baseline | None


@dataclass(eq=False)
class Comparison:
    """What batch sizes do to one problem.

    Attributes
    ----------
    name : str
    rows, held_out_rows : int
    net : str
    batch_sizes : tuple of int
    thorough : bool
    memory, noise, descent, saddles, minima, generalisation
        The parts; None where one was not asked for.
    scenes : tuple of Scene
        Walks to be drawn; part of ``saddles`` and ``minima``.
    advice : Advice or None
    claims : tuple of Claim
        What is said about batches, and what the measurements say to it.
    seconds : dict of str to float
        How long each part took.
    left_out : dict of str to str
        Parts that were asked for and make no sense for this net, and why.
    """

    name: str
    rows: int
    held_out_rows: int
    net: str
    batch_sizes: tuple[int, ...]
    thorough: bool
    memory: MemoryReport | None = None
    noise: NoiseReport | None = None
    descent: Descent | None = None
    saddles: Saddles | None = None
    minima: tuple[Share, ...] | None = None
    scenes: tuple[Scene, ...] = ()
    generalisation: HeldOutReport | None = None
    advice: Advice | None = None
    claims: tuple[Claim, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as dicts, lists, numbers and strings, ready for JSON.

        Numbers that are not finite are None.
        """
        found: dict[str, Any] = plain(self)
        return {"schema": SCHEMA, **found}

    def save(self, path: str | Path) -> Path:
        """Write the report, whole or not at all.

        Parameters
        ----------
        path : path
            Ends in ``.html`` (one page that needs no network) or ``.json``.

        Raises
        ------
        ArgumentError
            For another ending.

        Returns
        -------
        Path
        """
        path = Path(path)
        check_ending(path)
        if path.suffix == ".json":
            text = json.dumps(self.to_dict(), ensure_ascii=False)
        else:
            from .report import render

            text = render(self.to_dict())
        write_whole(path, text.encode())
        return path

    def save_pictures(self, folder: str | Path, theme: Literal["light", "dark"] = "light") -> list[Path]:
        """Write each picture of the report as an SVG of its own, for a slide or a page.

        Parameters
        ----------
        folder : path
            Made if it is not there.
        theme : {"light", "dark"}

        Returns
        -------
        list of Path
            The charts need Matplotlib (extra ``[plot]``); without it there are only the walks.
        """
        from .report.pictures import pictures

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for name, drawing in pictures(self.to_dict(), theme).items():
            paths.append(folder / f"{name}.svg")
            write_whole(paths[-1], drawing.encode())
        return paths

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.rows} rows to train on, {self.held_out_rows} held out; {self.net}"]
        head, rows = self.table()
        widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
        lines += [
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows)
        ]
        if self.advice is not None:
            lines += ["", f"take {self.advice.batch_size}:", *self.advice.reasons]
        if self.left_out:
            lines += ["", *[f"left out: {part}, for {why}" for part, why in self.left_out.items()]]
        return "\n".join(lines)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return the summary as a head and one row for each batch size, as text."""
        columns: dict[str, dict[int, str]] = {}
        if self.memory is not None:
            columns["kept"] = {one.rows: format_bytes(one.kept) for one in self.memory.by_batch}
        if self.noise is not None:
            columns["gradient off by"] = {v.batch_size: f"{v.relative_error:.0%}" for v in self.noise.variances}
        if self.descent is not None:
            found = self.descent.scaling
            goal = f"to loss {found.goal:.2g}: "
            columns[f"{goal}updates"] = {t.batch_size: _count(t.mean_updates) for t in found.tuned}
            columns["epochs"] = {t.batch_size: _short(t.mean_updates * t.batch_size / self.rows) for t in found.tuned}
            columns["ms"] = {
                t.batch_size: _short(t.mean_updates * found.seconds[t.batch_size] * 1e3) for t in found.tuned
            }
            columns["rate"] = {t.batch_size: f"{t.rate:.3g}" for t in found.tuned}
        if self.generalisation is not None:
            compared = self.generalisation.comparison
            columns[f"{compared.score_name} at equal loss"] = {
                one.batch_size: f"{one.score:.3f} ± {one.error:.3f}" for one in compared.matched
            }
        sizes = self.batch_sizes
        return ["batch size", *columns], [
            [str(size), *[cells.get(size, "–") for cells in columns.values()]] for size in sizes
        ]


def _count(value: float) -> str:
    return f"{value:,.0f}" if np.isfinite(value) else "never"


def _short(value: float) -> str:
    return f"{value:.3g}" if np.isfinite(value) else "never"


def check_ending(path: Path) -> None:
    """Raise ArgumentError unless a report can be saved under this name."""
    if path.suffix not in (".html", ".json"):
        raise ArgumentError(f"{str(path)!r} ends in {path.suffix!r}; a report is saved as .html or .json")


def compare(
    problem: Problem | str = "diabetes",
    batch_sizes: Sequence[int | None] = DEFAULT_SIZES,
    *,
    parts: Sequence[str] = PARTS,
    thorough: bool = False,
    memory: int | str = "512 MiB",
    say: Callable[[str], object] | None = None,
) -> Comparison:
    """Measure what the batch size does to memory, to the gradient, to the descent, to time and to rows held out.

    Parameters
    ----------
    problem : Problem or str
        Or the name of one; see `tinygrad_batch.batchlab.load_problem`.
    batch_sizes : sequence of int or None
        None for all rows. For the law of updates against rows, some are added in between.
    parts : sequence of str
        Some of ``memory``, ``noise``, ``descent``, ``saddles``, ``minima`` and ``generalisation``; the last needs
        ``descent``.
    thorough : bool
        More seeds, rates and starts: minutes instead of seconds.
    memory : int or str
        For the largest batch.
    say : callable, optional
        Gets a line before each part.

    Returns
    -------
    Comparison

    Raises
    ------
    ArgumentError
        For a part that does not exist, or batch sizes that make no sense.

    Examples
    --------
    >>> found = compare("diabetes", [1, 32, None], parts=["memory", "noise"])
    >>> found.batch_sizes, found.memory.price.kept.per_row
    ((1, 32, 353), 208.0)
    """
    chosen = load_problem(problem) if isinstance(problem, str) else problem
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise ArgumentError(f"there is no part {unknown[0]!r}", f"There are {', '.join(PARTS)}")
    if "generalisation" in parts and "descent" not in parts:
        raise ArgumentError("generalisation needs the rates that descent finds", "Ask for descent, too")
    sample = chosen.build(0)
    sizes = checked_sizes(batch_sizes, chosen.rows, sample)
    net = " → ".join(layer.label() for _, layer in sample.named_modules() if not list(layer.named_children()))
    result = Comparison(chosen.name, chosen.rows, len(chosen.x_test), net, sizes, thorough)
    work: dict[str, Callable[[], Any]] = {
        "memory": lambda: memory_report(chosen, sizes, memory=memory, confirm=thorough),
        "noise": lambda: _noise(chosen, sizes, thorough),
        "descent": lambda: _descent(chosen, sizes, thorough),
        "saddles": lambda: _saddles(thorough),
        "minima": lambda: _minima(thorough),
        "generalisation": lambda: _held_out(chosen, result, thorough),
    }
    for label in batch_norms(sample):
        work.pop("noise", None)
        if "noise" in parts:
            result.left_out["noise"] = f"{label} makes every row depend on the others: none has a gradient of its own"
    for part in PARTS:
        if part in parts and part in work:
            if say is not None:
                say(part)
            start = time.perf_counter()
            setattr(result, part, work[part]())
            result.seconds[part] = time.perf_counter() - start
    if "saddles" in parts or "minima" in parts:
        result.scenes = tuple(scenes())
    if result.descent is not None:
        result.advice = advice(chosen, result.descent.scaling, memory)
    result.claims = judge(result)
    return result


def _noise(problem: Problem, sizes: Sequence[int], thorough: bool) -> NoiseReport:
    between = sorted({*sizes, *(4**power for power in range(8) if 4**power < problem.rows)})
    epochs = (0, 1, 3, 10, 30, 100) if thorough else (0, 1, 10)
    draws, pairs = (4000, 1000) if thorough else (1000, 300)
    return gradient_noise(problem, between, epochs=epochs, draws=draws, pairs=pairs)


def _descent(problem: Problem, sizes: Sequence[int], thorough: bool) -> Descent:
    step = 2 if thorough else 4
    least = 2 if batch_norms(problem.build(0)) else 1
    between = [step**power for power in range(20) if least <= step**power < problem.rows]
    tried = sorted({*sizes, *between})
    seeds, rates = (range(12), FINE) if thorough else (range(4), BETWEEN)
    factors = (1, 2, 4, 8, 16, 42, 84, 168, 336) if thorough else (1, 4, 16, 42, 84)
    return Descent(
        scaling=scaling(problem, tried, seeds=seeds, between=rates),
        floors=noise_floor(epochs=60 if thorough else 40, seeds=range(20 if thorough else 6)),
        linear_scaling=tuple(linear_scaling(problem, factors=factors, seeds=range(10 if thorough else 3))),
        summed=tuple(summed_loss(problem, seeds=range(10 if thorough else 3))),
    )


def _saddles(thorough: bool) -> Saddles:
    walks = 20 if thorough else 8
    return Saddles(
        doubled_unit=doubled_unit(walks=walks),
        escape_times=tuple(escape_times(walks=300)),
        random_starts=tuple(random_starts(60 if thorough else 20)),
        narrow_nets={k: tuple(v) for k, v in narrow_nets(starts=200 if thorough else 60).items()},
        symmetric_starts=tuple(symmetric_starts()),
    )


def _minima(thorough: bool) -> tuple[Share, ...]:
    if thorough:
        return tuple(frequency_fit(400, (0.002, 0.01, 0.03, 0.08, 0.15)))
    return tuple(frequency_fit(100, (0.002, 0.03), (1, 10, None)))


def _held_out(problem: Problem, so_far: Comparison, thorough: bool) -> HeldOutReport:
    if so_far.descent is None:
        raise ArgumentError("generalisation needs the rates that descent finds", "Ask for descent, too")
    found = so_far.descent.scaling
    rates = {one.batch_size: one.rate for one in found.tuned if one.batch_size in so_far.batch_sizes}
    most = found.tuned[-1].mean_updates
    compared = generalisation(
        problem,
        rates,
        found.goal,
        same_rate=min(rates.values()),
        updates=round(2 * most) if np.isfinite(most) else 100,
        seeds=range(FRESH, FRESH + (20 if thorough else 6)),  # not those that chose the rates
    )
    baseline = linear_baseline(10 if thorough else 2) if problem.name == "diabetes" else None
    return HeldOutReport(compared, baseline)


def plain(value: Any) -> Any:
    """Return dataclasses, arrays and dicts as what JSON knows, with 8 digits; numbers that are not finite become None.

    Examples
    --------
    >>> plain({1: np.array([1.0, np.inf])})
    {'1': [1.0, None]}
    """
    if isinstance(value, Ensemble):
        return None
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value) if f.repr}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return float(f"{value:.8g}") if np.isfinite(value) else None
    return value
