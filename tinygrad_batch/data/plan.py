"""A position in a whole training, and what it is a position in: plain numbers, no data.

Which batch comes next is a function of a `Cursor` and of a `Plan`, so the cursor is all that has to
be saved. `save` puts both into plain numbers; `restore` gives the cursor back if the plan is the same.
How many processes share the work is no part of either: they divide each batch among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple

from ..errors import ArgumentError, DtypeError, StateError
from .checks import check_flag, check_integer


class Cursor(NamedTuple):
    """The next batch to hand out: batch ``step`` of this epoch, counted from 0."""

    seed: int
    epoch: int
    step: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What stays the same over a whole training.

    Attributes
    ----------
    rows : int or None
        Rows that an epoch visits; None for a stream that does not know.
    batch_size : int
        Rows of a full batch, of all processes together.
    drop_last : bool
        Whether a last batch with fewer rows is left out.
    seed : int
        At least 0.
    sampler : str
        All else that the order depends on, in words.
    """

    rows: int | None
    batch_size: int
    drop_last: bool
    seed: int
    sampler: str

    @property
    def batches(self) -> int:
        """How many batches an epoch has."""
        rows = known(self.rows)
        return rows // self.batch_size if self.drop_last else -(-rows // self.batch_size)

    def rows_in(self, step: int) -> int:
        """Return how many rows a batch has; in a stream without length, how many it should have.

        Examples
        --------
        >>> plan = make_plan(10, 4, drop_last=False, seed=0, sampler="Sequential()")
        >>> [plan.rows_in(step) for step in range(plan.batches)]
        [4, 4, 2]
        """
        return self.batch_size if self.rows is None else min(self.batch_size, self.rows - step * self.batch_size)

    def is_over(self, step: int) -> bool:
        """Return whether an epoch has no batch `step`, as far as that is known."""
        return self.rows is not None and step >= self.batches


def known(rows: int | None) -> int:
    """Return a number of rows, if it is known.

    Raises
    ------
    DtypeError
        If it is not. This is a TypeError too, so `list` and progress bars, which ask for a length just in
        case, go on without.
    """
    if rows is None:
        raise DtypeError("this stream has no length", "Give Stream(..., length=...) if an epoch of it should have one")
    return rows


def make_plan(rows: int | None, batch_size: int | None, drop_last: bool, seed: int, sampler: str) -> Plan:
    """Return the plan of these options; a `batch_size` of None is the full batch.

    Raises
    ------
    ArgumentError
        For an option outside what `Plan` says, or one that leaves no batch.

    Examples
    --------
    >>> make_plan(10, None, drop_last=False, seed=0, sampler="Sequential()").batch_size
    10
    >>> make_plan(10, 20, drop_last=True, seed=0, sampler="Sequential()")
    Traceback (most recent call last):
        ...
    tinygrad_batch.errors.ArgumentError: batch_size=20 with drop_last=True leaves no batch: there are 10 rows. \
Choose a batch_size of at most 10, or drop_last=False
    """
    if batch_size is None:
        if rows is None:
            raise ArgumentError("a stream without length has no full batch", "Give batch_size=32, say")
        batch_size = rows
    plan = Plan(
        rows=rows,
        batch_size=check_integer(batch_size, "batch_size", 1),
        drop_last=check_flag(drop_last, "drop_last"),
        seed=check_integer(seed, "seed", 0),
        sampler=sampler,
    )
    if rows is not None and not plan.batches:
        raise ArgumentError(
            f"batch_size={batch_size} with drop_last=True leaves no batch: there are {rows} rows",
            f"Choose a batch_size of at most {rows}, or drop_last=False",
        )
    return plan


def save(plan: Plan, cursor: Cursor) -> dict[str, int | bool | str | None]:
    """Return a cursor, and the plan it belongs to, as plain values.

    Examples
    --------
    >>> plan = make_plan(5, 2, drop_last=False, seed=7, sampler="Shuffled()")
    >>> save(plan, Cursor(seed=7, epoch=0, step=2))
    {'seed': 7, 'epoch': 0, 'step': 2, 'rows': 5, 'batch_size': 2, 'drop_last': False, 'sampler': 'Shuffled()'}

    A cursor at the end of an epoch is at the beginning of the next:

    >>> save(plan, Cursor(seed=7, epoch=0, step=3))["epoch"]
    1
    """
    at = Cursor(cursor.seed, cursor.epoch + 1, 0) if plan.is_over(cursor.step) else cursor
    return {**at._asdict(), **asdict(plan)}


def restore(plan: Plan, saved: Mapping[str, int | bool | str | None]) -> Cursor:
    """Return the cursor that `save` was given.

    Raises
    ------
    StateError
        If a key is missing or unknown, the cursor was saved under another plan, or names no batch.
    """
    own = asdict(plan)
    expected = {*Cursor._fields, *own}
    if not isinstance(saved, Mapping) or set(saved) != expected:
        given = sorted(map(str, saved)) if isinstance(saved, Mapping) else type(saved).__name__
        raise StateError(f"the state has {given}; expected the keys {sorted(expected)}", "Use what state_dict() gave")
    for key, here in own.items():
        if saved[key] != here:
            raise StateError(
                f"the state was taken with {key}={saved[key]!r}; this iterator has {key}={here!r}",
                "Its batches would be other ones: make the iterator with the same data and options",
            )
    try:
        cursor = Cursor(*(check_integer(saved[key], key, 0) for key in Cursor._fields))
    except ArgumentError as error:
        raise StateError(f"the state is damaged: {error}", "Use what state_dict() gave") from error
    if plan.is_over(cursor.step):
        raise StateError(f"the state names batch {cursor.step}; an epoch has {plan.batches}, counted from 0")
    return cursor
