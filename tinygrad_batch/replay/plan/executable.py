"""From a program to a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...program import Program, Variable
from .arena import packed
from .blocks import runs
from .buffers import ALIGNED, Buffers, Slot
from .dots import dots, looked_through, masked
from .emit import compiled, emit, view_index
from .facts import Facts
from .kernels import fits
from .ones import with_ones
from .order import alive, sunk


@dataclass(frozen=True)
class Buffer:
    """Where a value lies, and when.

    Attributes
    ----------
    name : str
        Of the variable.
    where : str
        ``pool``, ``live`` (in the array of a living variable), ``piece`` (in another buffer), ``block``
        (one block of rows) or ``fresh`` (new at every call).
    offset, nbytes : int
        In the pool.
    first, last : int
        The instructions that need it.
    """

    name: str
    where: str
    offset: int
    nbytes: int
    first: int
    last: int


class Executable:
    """A program that can be run: call it with the inputs and the numbers.

    The arrays of living variables are read when it is called and overwritten in the end. The inputs must
    not lie in their memory.

    Attributes
    ----------
    run : callable
        The function itself.
    nbytes : int
        Of its buffers, without the arrays of living variables.
    source : str
        The text of the function.
    program : Program
        What it runs, after the merging of updates.
    buffers : tuple of Buffer
    """

    __slots__ = ("buffers", "nbytes", "program", "run", "source")

    def __init__(
        self,
        run: Callable[..., tuple[Any, ...]],
        source: str,
        nbytes: int,
        program: Program,
        buffers: tuple[Buffer, ...],
    ) -> None:
        self.run = run
        self.source = source
        self.nbytes = nbytes
        self.program = program
        self.buffers = buffers

    def __call__(self, *given: Any) -> tuple[Any, ...]:
        """Run the program on inputs and numbers, and return the outputs in arrays of their own."""
        return self.run(*given)


def build(program: Program, live: dict[Variable, np.ndarray]) -> Executable:
    """Return a function that runs a program.

    Parameters
    ----------
    program : Program
    live : dict of Variable to numpy.ndarray
        The arrays of the living variables. Where those of parameters, of their gradients and of what an
        optimiser keeps lie side by side, in one order, an update is one call for each of its operations.

    Returns
    -------
    Executable
    """
    merged = with_ones(packed(replace(program, instructions=program.instructions), live))
    arranged = sunk(alive(looked_through(masked(dots(merged.program)))))
    # the arguments of the function are those of the program as it came
    arranged = _Arguments.of(arranged, program)
    facts = Facts(arranged, merged.live, fits)
    loops = runs(facts)
    buffers = Buffers(facts, loops)
    arrays = _arrays(facts, buffers)
    writer, source = emit(facts, loops, buffers, arrays)
    constants = sum(array.nbytes for array in arranged.constants.values())
    nbytes = buffers.nbytes + writer.nbytes + constants
    return Executable(compiled(writer, source), source, nbytes, arranged, _listed(buffers.slots))


@dataclass(frozen=True, eq=False)
class _Arguments(Program):
    """A program whose numbers are those of another, whether it still reads them or not."""

    read: tuple[Variable, ...] = ()

    @classmethod
    def of(cls, program: Program, given: Program) -> _Arguments:
        """Return a program with the numbers of the given one."""
        return cls(
            program.inputs, program.instructions, program.outputs, program.writes, program.constants, given.numbers
        )

    @property
    def numbers(self) -> tuple[Variable, ...]:
        """The hyperparameters, in the order of the arguments."""
        return self.read


def _listed(slots: list[Slot]) -> tuple[Buffer, ...]:
    found = []
    for slot in slots:
        where = "block" if slot.run is not None else slot.home
        for v in slot.members:
            nbytes = slot.nbytes or v.nbytes
            found.append(Buffer(v.name, where, slot.offset, nbytes, slot.start, slot.stop))
    return tuple(found)


def _arrays(facts: Facts, buffers: Buffers) -> dict[Variable, np.ndarray]:
    """Return the arrays of all values that lie somewhere known."""
    memory = np.empty(buffers.nbytes + ALIGNED, np.uint8)
    skip = -memory.__array_interface__["data"][0] % ALIGNED
    arrays: dict[Variable, np.ndarray] = {v: facts.live[v] for v in facts.program.living if v in facts.live}
    arrays.update(facts.program.constants)
    places: dict[int, np.ndarray] = {}

    def place(slot: Slot) -> np.ndarray:
        found = places.get(id(slot))
        if found is not None:
            return found
        like = slot.like
        shape = like.shape if slot.run is None else (slot.run.rows, *like.shape[1:])
        if slot.home == "live" and slot.state is not None:
            found = facts.live[slot.state]
        elif slot.home == "piece":
            whole, start = facts.piece[next(v for v in slot.members if v in facts.piece)]
            found = _part(place(buffers.slot[whole]), like, start, like in facts.columns)
        else:
            cut = memory[skip + slot.offset : skip + slot.offset + slot.nbytes].view(like.dtype)
            found = cut.reshape(shape[::-1]).T if like in facts.columns else cut.reshape(shape)
        places[id(slot)] = found
        return found

    for v, slot in buffers.slot.items():
        if slot.home != "fresh":
            arrays[v] = place(slot)
    for whole, parts in facts.parts.items():
        _write_constants(facts, whole, parts, arrays)
    for instruction, role in zip(facts.instructions, facts.role, strict=True):
        out = instruction.output
        if role == "view" and out not in facts.dynamic:
            source = arrays[instruction.reads[0]]
            if instruction.op == "getitem":
                arrays[out] = source[view_index(instruction)]
            elif instruction.op == "reshape":
                arrays[out] = source.reshape(out.shape)
            else:
                arrays[out] = instruction.entry.compute(source, **instruction.options)
    return arrays


def _part(whole: np.ndarray, like: Variable, start: int, columns: bool) -> np.ndarray:
    if columns:
        return whole[:, start : start + like.shape[1]]
    if whole.ndim == 1:
        return whole[start : start + like.size].reshape(like.shape)
    return whole[start : start + like.shape[0]]


def _write_constants(facts: Facts, whole: Variable, parts: list[Variable], arrays: dict[Variable, np.ndarray]) -> None:
    instruction = facts.instructions[facts.defined[whole]]
    axis, start = instruction.options.get("axis", 0) % len(whole.shape), 0
    for v in instruction.reads:
        if v.kind == "constant" and v in parts:
            index = (*[slice(None)] * axis, slice(start, start + v.shape[axis]))
            arrays[whole][index] = facts.program.constants[v]
        start += v.shape[axis]
