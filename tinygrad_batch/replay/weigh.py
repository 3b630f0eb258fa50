"""What a compiled step takes in memory, beside the same step run eagerly."""

from __future__ import annotations

from dataclasses import dataclass

from ..memory import format_bytes
from ..program import VIEWS, Program, Variable


@dataclass(frozen=True, slots=True)
class StepMemory:
    """The memory of a compiled step.

    Attributes
    ----------
    buffer_bytes : int
        Of the buffers that it keeps between calls, all that a replay needs beside its results.
    eager_bytes : int
        The most that the results of its operations take at one time if each gets an array of its own
        that is free as soon as nothing needs it.
    parameter_bytes, gradient_bytes : int
        Of the parameters and of the gradients that stay behind; they do not depend on the batch.
    rows : int or None
        Of the batch.
    """

    buffer_bytes: int
    eager_bytes: int
    parameter_bytes: int
    gradient_bytes: int
    rows: int | None

    def __str__(self) -> str:
        rows = "" if self.rows is None else f", for {self.rows:,} rows"
        return (
            f"buffers of the compiled step  {format_bytes(self.buffer_bytes)}{rows}\n"
            f"the same, one array each      {format_bytes(self.eager_bytes)} at most at one time\n"
            f"parameters and gradients      {format_bytes(self.parameter_bytes + self.gradient_bytes)}"
        )


def weigh(program: Program, rows: int | None, buffer_bytes: int) -> StepMemory:
    """Return the memory of a compiled step with buffers of so many bytes."""
    living = program.living
    return StepMemory(
        buffer_bytes=buffer_bytes,
        eager_bytes=peak(program),
        parameter_bytes=sum(v.nbytes for v in living if v.kind == "parameter"),
        gradient_bytes=sum(v.nbytes for v in program.writes if v.kind == "gradient"),
        rows=rows,
    )


def peak(program: Program) -> int:
    """Return the most that computed variables take at one time, each freed after its last use.

    Gradients and new values of what lives on are not counted: they stay, or replace what is there.
    """
    base: dict[Variable, Variable] = {}  # a view takes no memory, and keeps what it is a view of
    for instruction in program.instructions:
        if instruction.op in VIEWS and instruction.reads:
            base[instruction.output] = base.get(instruction.reads[0], instruction.reads[0])
    last: dict[Variable, int] = {}
    for number, instruction in enumerate(program.instructions):
        for variable in (*instruction.reads, instruction.output):
            last[base.get(variable, variable)] = number
    staying = {base.get(v, v) for v in program.writes.values() if isinstance(v, Variable)}
    held = most = 0
    ending: dict[int, int] = {}
    for number, instruction in enumerate(program.instructions):
        out = instruction.output
        if out not in base and out not in staying:
            held += out.nbytes
            ending[last[out]] = ending.get(last[out], 0) + out.nbytes
        most = max(most, held)
        held -= ending.get(number, 0)
    return most
