"""Which memory each value is computed into."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ...program import Instruction, Variable
from .blocks import Run, block_bytes
from .facts import Facts
from .ops import overwritable, pointwise

ALIGNED = 64
Home = Literal["pool", "live", "piece", "fresh"]


@dataclass(eq=False)
class Slot:
    """A piece of memory, and the values that lie in it one after the other.

    Attributes
    ----------
    like : Variable
        A value of the shape and dtype of all of them.
    home : str
        ``pool`` for a buffer, ``live`` for the array of a living variable, ``piece`` for part of another
        slot, ``fresh`` for an array made at every call.
    start, stop : int
        The first and the last instruction for which it holds something.
    state : Variable or None
        The living variable.
    run : Run or None
        For a buffer of one block only, the run that it is for.
    offset, nbytes : int
        Where it lies in the pool, and how large it is.
    """

    like: Variable
    home: Home
    start: int
    stop: int
    state: Variable | None = None
    run: Run | None = None
    offset: int = 0
    nbytes: int = 0
    members: list[Variable] = field(default_factory=list)


class Buffers:
    """The slots of a program.

    Attributes
    ----------
    slot : dict of Variable to Slot
        Of each value that is computed into memory of its own.
    slots : list of Slot
    nbytes : int
        Of all buffers together.
    """

    def __init__(self, facts: Facts, runs: dict[int, Run]) -> None:
        self.facts = facts
        self.runs = runs
        self.slot: dict[Variable, Slot] = {}
        self.slots: list[Slot] = []
        self.target: dict[Variable, Variable] = {}
        for state, v in facts.program.writes.items():
            if type(v) is Variable and v.shape == state.shape and v.dtype == state.dtype:
                self.target.setdefault(v, state)
        for i, instruction in enumerate(facts.instructions):
            if facts.role[i] == "kernel":
                self._place(i, instruction)
        for i, instruction in enumerate(facts.instructions):
            if facts.role[i] == "join":
                self._place_whole(instruction.output)
        self.nbytes = self._allocate()

    # --- one value -------------------------------------------------------------------------------
    def _place(self, i: int, instruction: Instruction) -> None:
        out = instruction.output
        run = self.runs.get(i)
        inside = run is not None and out in run.inside
        slot = self._home(i, instruction, run)
        donors = self._donors(i, instruction, run, inside)
        if slot is None:
            donor = next((d for d in donors if d.home != "fresh"), None)
            slot = donor or self._new(out, "pool", i, run if inside else None)
        elif slot.home != "fresh":
            for donor in donors:
                if donor.home == "pool" and self._free_from(slot, donor.start):
                    self._move(donor, slot)
                    break
        slot.members.append(out)
        slot.stop = max(slot.stop, self._until(out, i, run, inside))
        self.slot[out] = slot

    def _until(self, out: Variable, i: int, run: Run | None, inside: bool) -> int:
        last = self.facts.last.get(out, i)
        reader = self.runs.get(last)
        return last if inside or reader is None else reader.stop - 1

    def _new(self, out: Variable, home: Home, i: int, run: Run | None, state: Variable | None = None) -> Slot:
        around = self.runs.get(i)
        start = i if run is not None or around is None else around.start
        slot = Slot(out, home, start, i, state, run)
        self.slots.append(slot)
        return slot

    def _home(self, i: int, instruction: Instruction, run: Run | None) -> Slot | None:
        """Return the slot that a value has to be in, if it is a result or part of another value."""
        facts, out = self.facts, instruction.output
        if out in facts.piece:
            return self._new(out, "piece", i, None)
        if out in facts.fresh:
            return self._new(out, "fresh", i, None)
        state = self.target.get(out)
        if state is not None and self._overwrites(i, instruction, run, state):
            return self._new(out, "live", i, None, state)
        return None

    def _overwrites(self, i: int, instruction: Instruction, run: Run | None, state: Variable) -> bool:
        """Return whether a result may be computed into the array of its living variable right away."""
        last = self.facts.last.get(state, -1)
        if run is not None and last >= run.start:
            return last <= i and state not in run.crossed and (last < i or self._may_take(instruction, state))
        return last < i or (last == i and self._may_take(instruction, state))

    def _free_from(self, slot: Slot, start: int) -> bool:
        if slot.home == "piece":
            return True  # the whole has memory of its own, or that of a living variable, which is checked there
        return slot.state is not None and self.facts.last.get(slot.state, -1) < start

    def _move(self, donor: Slot, slot: Slot) -> None:
        """Let the values of one slot lie in another."""
        for v in donor.members:
            self.slot[v] = slot
        slot.members[:0] = donor.members
        slot.start = min(slot.start, donor.start)
        self.slots.remove(donor)

    # --- taking over memory ----------------------------------------------------------------------
    def _donors(self, i: int, instruction: Instruction, run: Run | None, inside: bool) -> list[Slot]:
        """Return the slots that hold nothing more that is needed once each element is computed."""
        facts, out = self.facts, instruction.output
        if not pointwise(instruction):
            return []
        found: list[Slot] = []
        places = overwritable(instruction)
        inputs = instruction.inputs
        candidates = [v for position in places if type(v := inputs[position]) is Variable]
        if run is not None and not inside:
            # rows that were read earlier in this run, and for the last time
            for k in run.body:
                if k < i:
                    candidates += [v for v in facts.instructions[k].reads if v.shape == out.shape]
        for v in dict.fromkeys(candidates):
            slot = self.slot.get(v)
            if slot is None or slot in found or slot.like.shape != out.shape or slot.like.dtype != out.dtype:
                continue
            if facts.last[v] > i or slot.members[-1] is not v or (v in facts.columns) != (out in facts.columns):
                continue
            if slot.home == "live" or (slot.run is not None) != inside:
                continue
            if run is not None and slot.run is None and (v in run.crossed or self._inside_of(run, v)):
                continue
            if self._may_take(instruction, v):
                found.append(slot)
        return found

    def _inside_of(self, run: Run, v: Variable) -> bool:
        return any(member in run.crossed for member in self.slot[v].members)

    def _may_take(self, instruction: Instruction, v: Variable) -> bool:
        """Return whether a result may be written over ``v`` while the instruction reads its inputs."""
        facts, related = self.facts, {v, *self.facts.parts.get(v, ())}
        if v in facts.piece:
            related.add(facts.piece[v][0])
        if not pointwise(instruction):
            return False
        if v in facts.parts:
            return False
        places = overwritable(instruction)
        for position, other in enumerate(instruction.inputs):
            if type(other) is Variable and (other is v and position not in places):
                return False
            if type(other) is Variable and other is not v and facts.base.get(other, other) in related:
                return False
            if type(other) is Variable and other is v and other.shape != instruction.output.shape:
                return False
        return True

    # --- wholes and their parts ------------------------------------------------------------------
    def _place_whole(self, out: Variable) -> None:
        """Place a value whose parts are computed in their places."""
        facts = self.facts
        i = facts.defined[out]
        parts = [self.slot[v] for v in facts.parts[out] if v in self.slot]
        start = min([slot.start for slot in parts], default=i)
        stop = max([slot.stop for slot in parts], default=i)
        state = self.target.get(out)
        lasting = any(v.kind == "constant" for v in facts.parts[out])
        if state is not None and not lasting and facts.last.get(state, -1) < start:
            slot = Slot(out, "live", start, facts.end, state)
        else:
            slot = Slot(out, "pool", start, max(stop, facts.last.get(out, i)))
            reader = self.runs.get(slot.stop)
            slot.stop = slot.stop if reader is None else reader.stop - 1
            if lasting:  # what never changes is written once, when the plan is made
                slot.start, slot.stop = -1, facts.end
        slot.members.append(out)
        self.slots.append(slot)
        self.slot[out] = slot

    # --- the pool --------------------------------------------------------------------------------
    def _allocate(self) -> int:
        """Lay the buffers into one pool, each at the lowest place that is free while it is needed."""
        pool = [slot for slot in self.slots if slot.home == "pool"]
        pool.sort(key=lambda slot: slot.start)
        active: list[Slot] = []
        total = 0
        for slot in pool:
            used = slot.like.nbytes if slot.run is None else block_bytes(slot.like, slot.run)
            slot.nbytes = used
            size = -(-used // ALIGNED) * ALIGNED
            active = [other for other in active if other.stop >= slot.start]
            active.sort(key=lambda other: other.offset)
            offset = 0
            for other in active:
                if other.offset - offset >= size:
                    break
                offset = max(offset, other.offset + -(-other.nbytes // ALIGNED) * ALIGNED)
            slot.offset = offset
            active.append(slot)
            total = max(total, offset + size)
        return total
