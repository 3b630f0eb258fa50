"""Row streaming: one batch, computed a block of rows at a time, in memory that does not grow with the batch.

A mean over the rows is the sum of the blocks divided by the number of all rows, so what comes out is what
the whole batch gives, to rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...errors import ArgumentError
from ...program import Program, Variable
from ..backends import Build, Executable
from .splitting import Place, Streamed, split


class StreamedStep:
    """A step that runs block by block; called like the executable of the whole step.

    Parameters
    ----------
    program : Program
        Captured with batches of so many rows.
    rows, block : int
        Of the batch, and of a block; the last block may be shorter.
    build : callable
        The backend.
    live : mapping of Variable to numpy.ndarray
        The arrays that live on.
    row_inputs : iterable of Variable, optional
        The inputs that have an entry for each row; left out, those whose first length is theirs.

    Attributes
    ----------
    parts : Streamed
    nbytes : int
        Of the buffers of its parts, and the totals.
    source : str
        The code of its parts.

    Raises
    ------
    CompileError
        If rows depend on other rows, but for what only totals go into.
    """

    def __init__(
        self,
        program: Program,
        rows: int,
        block: int,
        build: Build,
        live: Mapping[Variable, np.ndarray],
        row_inputs: Iterable[Variable] | None = None,
    ) -> None:
        if block < 1:
            raise ArgumentError(f"a block has one row or more, not {block}")
        if row_inputs is None:
            row_inputs = [v for v in program.inputs if v.shape[:1] == (rows,)]
        self.parts = parts = split(program, row_inputs, rows)
        kept = _kept_gradients(parts)
        totals = {total: np.zeros(total.shape, total.dtype) for total in parts.totals.values() if total not in kept}
        self._own = sum(total.nbytes for total in totals.values())
        totals.update({total: live[slot] for total, slot in kept.items()})
        self._totals = list(totals.values())
        self._live = {**live, **totals}
        self._given = (*program.inputs, *program.numbers)
        self._cuts = [(start, min(start + block, rows)) for start in range(0, rows, block)]
        self._build = build
        self._made: list[tuple[str, Executable]] = []
        self._before = self._part("before the blocks", parts.before)
        self._blocks = {
            n: self._part(f"a block of {n} rows", parts.block(n))
            for n in dict.fromkeys(stop - start for start, stop in self._cuts)
        }
        left = {slot: total for slot, total in parts.after.writes.items() if slot not in kept.values()}
        self._after = self._part("after the blocks", replace(parts.after, writes=left))
        outputs = zip(parts.program.outputs, parts.by_row, strict=True)
        self._row_outputs = [(v, each) for v, each in outputs if each and isinstance(v, Variable)]

    @property
    def nbytes(self) -> int:
        """Bytes of the buffers of its parts, and of the totals that are no gradients to be kept."""
        return sum(made.nbytes for _, made in self._made) + self._own

    @property
    def source(self) -> str:
        """The code of its parts, one after the other."""
        return "\n\n".join(f"# --- {name}\n{made.source}" for name, made in self._made)

    def _part(self, name: str, program: Program) -> tuple[Executable | None, list[Variable]]:
        """Return what runs a part, if there is anything to do, and the hyperparameters that it reads."""
        if not (program.instructions or program.outputs or program.writes):
            return None, []
        live = {v: self._live[v] for v in program.living}
        made = self._build(program, live)
        self._made.append((name, made))
        return made, list(program.numbers)

    def __call__(self, *given: Any) -> tuple[Any, ...]:
        """Run the step on inputs and hyperparameters in the order of the program; return its outputs."""
        parts = self.parts
        known: dict[Variable, Any] = {**parts.program.constants, **self._live}
        known.update(zip(self._given, given, strict=True))
        before, numbers = self._before
        if before is not None:
            outs = before(*[known[v] for v in (*parts.before.inputs, *numbers)])
            known.update(zip(parts.handed.values(), outs, strict=True))
        for total in self._totals:
            total.fill(0)
        whole = [np.empty(v.shape, v.dtype) for v, _ in self._row_outputs]
        for start, stop in self._cuts:
            block, numbers = self._blocks[stop - start]
            if block is None:
                continue
            pieces = [_cut(known[piece.variable], piece.place, start, stop) for piece in parts.pieces.values()]
            outs = block(*pieces, *[known[v] for v in numbers])
            for array, (_, each), rows in zip(whole, self._row_outputs, outs, strict=True):
                array[start * each : stop * each] = rows
        after, numbers = self._after
        outs = () if after is None else after(*[known[v] for v in (*parts.after.inputs, *numbers)])
        by_row, others = iter(whole), iter(outs)
        return tuple([next(by_row if each else others) for each in parts.by_row])


def _kept_gradients(parts: Streamed) -> dict[Variable, Variable]:
    """Return the totals that are gradients to be left behind, each with the gradient: it is added up there."""
    read = {v for instruction in parts.program.instructions for v in instruction.reads}
    found: dict[Variable, Variable] = {}
    for slot, total in parts.after.writes.items():
        if not isinstance(total, Variable) or total not in parts.totals.values():
            continue
        if slot.kind == "gradient" and slot not in read and total.dtype == slot.dtype:
            found.setdefault(total, slot)
    return found


def _cut(array: Any, place: Place | None, start: int, stop: int) -> Any:
    if place is None:
        return array
    axis, each = place
    part = array[(slice(None),) * axis + (slice(start * each, stop * each),)]
    return np.ascontiguousarray(part) if axis else part
