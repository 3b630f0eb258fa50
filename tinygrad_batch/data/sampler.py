"""Which rows make up which batch: pure functions, no data.

A batch is a cut out of an *order* of the rows. The order depends on the seed and on the number of
the epoch, and on nothing else; where to cut depends on the number of rows and the batch size. So a
position in a whole training is two integers, a `State`, and `step` takes one state to the next:

    (plan, state, order) -> (state, rows of the batch)

Nothing here remembers anything: the same arguments give the same batch, today or after a restart.
`save` and `restore` turn a state into plain numbers and back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError, StateError
from .checks import check_flag, check_integer

Rows = NDArray[np.intp]


class State(NamedTuple):
    """A position: the next batch to hand out, of this epoch."""

    epoch: int
    batch: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What stays the same over a whole training.

    Attributes
    ----------
    rows : int
        Rows of the data, at least 1.
    batch_size : int
        Rows of a full batch, at least 1.
    shuffle, drop_last : bool
    seed : int
        At least 0.
    """

    rows: int
    batch_size: int
    shuffle: bool
    drop_last: bool
    seed: int

    @property
    def batches(self) -> int:
        """How many batches an epoch has."""
        return len(starts(self.rows, self.batch_size, self.drop_last))


def make_plan(rows: int, batch_size: int | None, shuffle: bool, drop_last: bool, seed: int) -> Plan:
    """Return the plan of these options; a `batch_size` of None is the full batch.

    Raises
    ------
    ArgumentError
        For an option outside what `Plan` says, or one that leaves no batch.

    Examples
    --------
    >>> make_plan(10, None, shuffle=False, drop_last=False, seed=0).batch_size
    10
    >>> make_plan(10, 20, shuffle=False, drop_last=True, seed=0)
    Traceback (most recent call last):
        ...
    tinygrad_batch.errors.ArgumentError: batch_size=20 with drop_last=True leaves no batch: there are 10 rows. \
Choose a batch_size of at most 10, or drop_last=False
    """
    plan = Plan(
        rows=rows,
        batch_size=rows if batch_size is None else check_integer(batch_size, "batch_size", 1),
        shuffle=check_flag(shuffle, "shuffle"),
        drop_last=check_flag(drop_last, "drop_last"),
        seed=check_integer(seed, "seed", 0),
    )
    if not plan.batches:
        raise ArgumentError(
            f"batch_size={batch_size} with drop_last=True leaves no batch: there are {rows} rows",
            f"Choose a batch_size of at most {rows}, or drop_last=False",
        )
    return plan


def order(rows: int, epoch: int, seed: int, shuffle: bool) -> Rows | None:
    """Return the order in which an epoch visits the rows.

    Parameters
    ----------
    rows : int
        How many there are.
    epoch, seed : int
        At least 0.
    shuffle : bool
        Whether the order is a random one.

    Returns
    -------
    ndarray of int, shape (rows,), or None
        A permutation of ``0 .. rows - 1``, a function of `seed` and `epoch` alone; None is the
        order in which the rows lie, which needs no list.

    Examples
    --------
    >>> order(5, epoch=0, seed=7, shuffle=True)
    array([2, 0, 4, 1, 3])
    >>> order(5, epoch=1, seed=7, shuffle=True)
    array([3, 0, 2, 1, 4])
    >>> order(5, epoch=1, seed=7, shuffle=False) is None
    True
    """
    if not shuffle:
        return None
    return np.random.default_rng([seed, epoch]).permutation(rows)


def starts(rows: int, batch_size: int, drop_last: bool) -> range:
    """Return the position in the order at which each batch of an epoch starts.

    Examples
    --------
    >>> list(starts(10, 4, drop_last=False)), list(starts(10, 4, drop_last=True))
    ([0, 4, 8], [0, 4])
    """
    return range(0, rows - rows % batch_size if drop_last else rows, batch_size)


def step(plan: Plan, state: State, permutation: Rows | None) -> tuple[State, slice | Rows]:
    """Take one step: from a position to the next one, and the rows handed out on the way.

    Parameters
    ----------
    plan : Plan
        What stays the same.
    state : State
        With ``state.batch < plan.batches``.
    permutation : ndarray of int or None
        ``order(plan.rows, state.epoch, plan.seed, plan.shuffle)``, handed in because it is worked
        out once an epoch, not once a batch.

    Returns
    -------
    state : State
        In the same epoch: a batch never holds rows of two. The epoch is over when
        ``state.batch == plan.batches``.
    rows : slice or ndarray of int
        A slice where the rows are taken as they lie (so that taking them copies nothing).

    Examples
    --------
    >>> plan = Plan(rows=5, batch_size=2, shuffle=True, drop_last=False, seed=7)
    >>> step(plan, State(epoch=0, batch=2), order(5, 0, 7, True))
    (State(epoch=0, batch=3), array([3]))
    """
    start = starts(plan.rows, plan.batch_size, plan.drop_last)[state.batch]
    cut = slice(start, min(start + plan.batch_size, plan.rows))
    return State(state.epoch, state.batch + 1), cut if permutation is None else permutation[cut]


def save(plan: Plan, state: State) -> dict[str, int | bool]:
    """Return a state, and the plan it belongs to, as plain numbers.

    Examples
    --------
    >>> save(Plan(rows=5, batch_size=2, shuffle=True, drop_last=False, seed=7), State(epoch=0, batch=2))
    {'epoch': 0, 'batch': 2, 'rows': 5, 'batch_size': 2, 'shuffle': True, 'drop_last': False, 'seed': 7}

    A state at the end of an epoch is the beginning of the next:

    >>> save(Plan(rows=5, batch_size=2, shuffle=True, drop_last=False, seed=7), State(epoch=0, batch=3))
    {'epoch': 1, 'batch': 0, 'rows': 5, 'batch_size': 2, 'shuffle': True, 'drop_last': False, 'seed': 7}
    """
    at = State(state.epoch + 1, 0) if state.batch == plan.batches else state
    return {**at._asdict(), **asdict(plan)}


def restore(plan: Plan, saved: Mapping[str, int | bool]) -> State:
    """Return the state that `save` was given.

    Raises
    ------
    StateError
        If a key is missing or unknown, the state was saved under another plan, or names no batch.
    """
    own = asdict(plan)
    expected = {*State._fields, *own}
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
        state = State(*(check_integer(saved[key], key, 0) for key in State._fields))
    except ArgumentError as error:
        raise StateError(f"the state is damaged: {error}", "Use what state_dict() gave") from error
    if state.batch >= plan.batches:
        raise StateError(f"the state names batch {state.batch}; an epoch has {plan.batches}, counted from 0")
    return state
