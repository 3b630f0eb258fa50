"""What a batch keeps in memory for its backward pass, read from a Trace.

A forward step names the values its derivative will need; each stays in memory until the last
backward step that needs it is done. Parameters are not counted: they are in memory anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from ..trace import Trace

__all__ = ["Kept", "Memory", "format_bytes", "memory"]


@dataclass(frozen=True, slots=True)
class Kept:
    """One value that is kept for the backward pass, and for how long.

    Attributes
    ----------
    value : int
        Its id in the trace.
    name : str
    nbytes : int
    per_row : bool
        Whether its size grows with the rows of the batch.
    first : int
        Number of the forward step from which on it is kept.
    last : int or None
        Number of the backward step after which it is free; None where none has used it yet.
    """

    value: int
    name: str
    nbytes: int
    per_row: bool
    first: int
    last: int | None


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of one batch.

    Attributes
    ----------
    kept_bytes : int
        Bytes of all the values kept for the backward pass, each counted once.
    batch_bytes : int
        Those of them that are the batch itself, which is there anyway.
    kept_names : tuple of str
        Their names, in the order they were kept.
    parameter_bytes, parameter_count : int
        Bytes and numbers in the parameters; they do not depend on the batch.
    per_row_bytes : float
        Kept bytes that each row of the batch adds.
    constant_bytes : int
        Kept bytes that do not depend on the rows.
    rows : int or None
        Rows of the batch.
    timeline : tuple of int
        Bytes kept after each step; ``timeline[i]`` belongs to step ``i + 1``.
    kept : tuple of Kept
        Each kept value with the steps between which it is held.
    """

    kept_bytes: int
    batch_bytes: int
    kept_names: tuple[str, ...]
    parameter_bytes: int
    parameter_count: int
    per_row_bytes: float
    constant_bytes: int
    rows: int | None
    timeline: tuple[int, ...]
    kept: tuple[Kept, ...]

    @property
    def peak_bytes(self) -> int:
        """The most that is kept at any one step."""
        return max(self.timeline, default=0)

    def at_rows(self, rows: int) -> int:
        """Return the bytes that the same batch with `rows` rows would keep.

        Examples
        --------
        >>> from tinygrad_batch.trace import Result, Step, Trace, Value
        >>> x = Value(0, "x", "data", "", "", (4, 2), "float64", 64, per_row=True)
        >>> y = Value(1, "y", "activation", "", "", (4, 2), "float64", 64, per_row=True)
        >>> step = Step(1, "forward", "square", (0,), (Result(1, "y = x²"),), keeps=(0,))
        >>> memory(Trace((x, y), (step,), rows=4)).at_rows(1000)
        16000
        """
        return self.constant_bytes + round(self.per_row_bytes * rows)

    def __str__(self) -> str:
        names = ", ".join(self.kept_names[:12]) + (", …" if len(self.kept_names) > 12 else "")
        lines = [
            f"kept for the backward pass   {format_bytes(self.kept_bytes)}" + (f"   ({names})" if names else ""),
        ]
        if self.batch_bytes:
            lines.append(f"  of it the batch itself     {format_bytes(self.batch_bytes)}")
        if self.per_row_bytes:
            at = ", ".join(f"{n:,} rows: {format_bytes(self.at_rows(n))}" for n in (10, 1_000, 10_000))
            lines.append(f"grows with the batch         {at}")
        numbers = f"({self.parameter_count:,} numbers)"
        lines.append(f"parameters                   {format_bytes(self.parameter_bytes)}   {numbers}")
        if self.timeline:
            step = self.timeline.index(self.peak_bytes) + 1
            lines.append(f"most at one time             {format_bytes(self.peak_bytes)}   (after step {step})")
        return "\n".join(lines)


def memory(trace: Trace) -> Memory:
    """Weigh what a batch keeps for its backward pass.

    Parameters
    ----------
    trace : Trace
        Of one batch; without a backward pass everything counts as still kept.

    Returns
    -------
    Memory
        Printing it gives a short table.

    Examples
    --------
    >>> from tinygrad_batch.trace import Result, Step, Trace, Value
    >>> x = Value(0, "x", "data", "", "", (4, 2), "float64", 64, per_row=True)
    >>> y = Value(1, "y", "activation", "", "", (4, 2), "float64", 64, per_row=True)
    >>> step = Step(1, "forward", "square", (0,), (Result(1, "y = x²"),), keeps=(0,))
    >>> held = memory(Trace((x, y), (step,), rows=4))
    >>> held.kept_bytes, held.kept_names, held.timeline
    (64, ('x',), (64,))
    """
    parameters = [value for value in trace.values if value.role == "parameter"]
    kept = _kept(trace)
    per_row = sum(item.nbytes for item in kept if item.per_row) if trace.rows else 0
    total = sum(item.nbytes for item in kept)
    change = [0] * (len(trace.steps) + 1)
    for item in kept:
        change[item.first - 1] += item.nbytes
        if item.last is not None:
            change[item.last - 1] -= item.nbytes
    timeline, held = [], 0
    for i in range(len(trace.steps)):
        held += change[i]
        timeline.append(held)
    return Memory(
        kept_bytes=total,
        batch_bytes=sum(item.nbytes for item in kept if trace.values[item.value].role == "data"),
        kept_names=tuple(item.name for item in kept),
        parameter_bytes=sum(value.nbytes for value in parameters),
        parameter_count=sum(prod(value.shape) for value in parameters),
        per_row_bytes=per_row / trace.rows if trace.rows else 0.0,
        constant_bytes=total - per_row,
        rows=trace.rows,
        timeline=tuple(timeline),
        kept=kept,
    )


def _kept(trace: Trace) -> tuple[Kept, ...]:
    first: dict[int, int] = {}
    users: dict[int, list[int]] = {}  # value -> the forward steps that keep it
    done: dict[int, int] = {}  # forward step -> its last backward step
    for step in trace.steps:
        if step.phase == "backward" and step.forward is not None:
            done[step.forward] = step.number
        for value in step.keeps:
            if trace.values[value].role != "parameter":
                first.setdefault(value, step.number)
                users.setdefault(value, []).append(step.number)
    kept = []
    for value, number in first.items():
        ends = [done.get(user) for user in users[value]]
        finished = [end for end in ends if end is not None]
        last = max(finished) if len(finished) == len(ends) else None
        item = trace.values[value]
        kept.append(Kept(value, item.name, item.nbytes, item.per_row, number, last))
    return tuple(kept)


def format_bytes(count: int) -> str:
    """Return a number of bytes as a reader says it, in steps of a thousand.

    Examples
    --------
    >>> [format_bytes(n) for n in (8, 800, 28_800, 288_000, 2_880_000)]
    ['8 B', '800 B', '28.8 kB', '288 kB', '2.9 MB']
    """
    if count < 1000:
        return f"{count} B"
    size = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        size /= 1000
        if size < 99.95:
            return f"{size:.1f} {unit}"
        if size < 999.5 or unit == "TB":
            break
    return f"{size:,.0f} {unit}"
