"""The passes: each is a small pure function from a program to a program that means the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ...errors import ArgumentError
from ...program import Program
from .common import common
from .dead import dead
from .fold import fold
from .lower import lower
from .simplify import simplify

Pass = Callable[[Program], Program]

PASSES: dict[str, Pass] = {"lower": lower, "fold": fold, "simplify": simplify, "common": common, "dead": dead}
_ROUNDS = 3  # what one pass leaves may be work for another; after three rounds it never was


def optimise(
    program: Program, names: Iterable[str] | None = None, show: Callable[[str, str], None] | None = None
) -> Program:
    """Return a program that means the same and does less.

    Parameters
    ----------
    program : Program
        It is not changed.
    names : iterable of str, optional
        Which of the `PASSES` to run; all of them if left out. Their order is always the same.
    show : callable, optional
        Called with the name of a pass and the text of the program after each.

    Raises
    ------
    ArgumentError
        For a pass that there is not.
    """
    chosen = set(PASSES) if names is None else set(names)
    unknown = sorted(chosen - set(PASSES))
    if unknown:
        raise ArgumentError(f"there is no pass called {unknown[0]!r}", f"There are {', '.join(PASSES)}")
    passes = {name: each for name, each in PASSES.items() if name in chosen}
    for _ in range(_ROUNDS):
        before = program
        for name, each in passes.items():
            program = each(program)
            if show is not None:
                show(name, str(program))
        if program is before:
            break
        passes.pop("lower", None)  # nothing that the others write is composite
    return program
