"""One update for all parameters that lie side by side, instead of one for each.

The updates of an optimiser are the same few elementwise operations, parameter by parameter. Where the
parameters lie one behind the other in memory, and what is kept beside them does too, they are run once on
the whole stretch. The parameters become views of it, and the gradients are computed as parts of one array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...program import LIVING, NUMBER, Instruction, Operand, Program, Variable
from .order import ordered

Live = dict[Variable, np.ndarray]
Spot = tuple[Variable, int]


@dataclass
class Packed:
    """A program whose updates run on whole stretches.

    Attributes
    ----------
    program : Program
    live : dict of Variable to array
        Of the living variables of the program, stretches in place of what lies in them.
    spots : dict of Variable to (Variable, int)
        For what is now a view of a stretch, which one, and where it starts.
    """

    program: Program
    live: Live
    spots: dict[Variable, Spot] = field(default_factory=dict)


@dataclass
class _Chain:
    """The update of one parameter: its form, the same for all that are alike, and what it reads."""

    form: list[Any]
    leaves: list[Variable]
    instructions: list[Instruction]


def packed(program: Program, live: Live) -> Packed:
    """Return the program with the updates of adjacent parameters merged."""
    updates: dict[int, dict[int, list[Instruction]]] = {}
    for instruction in program.instructions:
        if instruction.part is not None and instruction.output.dtype != NUMBER:
            update, parameter = instruction.part
            updates.setdefault(update, {}).setdefault(parameter, []).append(instruction)
    result = Packed(program, dict(live))
    for parts in updates.values():
        chains = [_chain(instructions) for instructions in parts.values()]
        if len(chains) > 1 and all(chain is not None for chain in chains):
            _Merge(result, [chain for chain in chains if chain is not None]).run()
    return result


def _chain(instructions: list[Instruction]) -> _Chain | None:
    """Return the update of a parameter in its form, or None if it is not elementwise throughout."""
    shape, dtype = instructions[-1].output.shape, instructions[-1].output.dtype
    places: dict[Variable, Any] = {}
    leaves: list[Variable] = []
    form: list[Any] = []
    for number, instruction in enumerate(instructions):
        out = instruction.output
        if not instruction.entry.elementwise or instruction.options or out.shape != shape or out.dtype != dtype:
            return None
        given: list[Any] = []
        for v in instruction.inputs:
            if type(v) is not Variable:
                given.append((type(v), repr(v)))
            elif v.dtype == NUMBER or (v.shape == () and shape != ()):
                given.append(v)
            elif v.shape != shape or v.dtype != dtype:
                return None
            else:
                if v not in places:
                    places[v] = ("leaf", len(leaves))
                    leaves.append(v)
                given.append(places[v])
        places[out] = ("computed", number)
        form.append((instruction.op, given, dtype))
    return _Chain(form, leaves, instructions)


def _start(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


class _Merge:
    """Merges chains of one form into one."""

    def __init__(self, result: Packed, chains: list[_Chain]) -> None:
        self.result = result
        self.chains = chains
        self.writes: dict[Variable, Operand] = dict(result.program.writes)
        self.flat: dict[Variable, Spot] = {}  # what becomes a view
        self.live: Live = {}
        self.before: list[Instruction] = []
        self.after: list[Instruction] = []
        self.merged: list[Instruction] = []

    def run(self) -> None:
        """Merge what can be merged, run by run of adjacent parameters."""
        live = self.result.live
        first = [next((v for v in chain.leaves if v.kind == "parameter" and v in live), None) for chain in self.chains]
        pairs = [(v, chain) for v, chain in zip(first, self.chains, strict=True) if v is not None and live[v].size]
        pairs.sort(key=lambda pair: _start(live[pair[0]]))
        stretch: list[tuple[Variable, _Chain]] = []
        stretches = [stretch]
        for pair in pairs:
            if stretch and not (
                pair[1].form == stretch[-1][1].form and adjacent([live[stretch[-1][0]], live[pair[0]]])
            ):
                stretch = []
                stretches.append(stretch)
            stretch.append(pair)
        for stretch in stretches:
            if len(stretch) > 1:
                merge = _Merge(self.result, [chain for _, chain in stretch])
                if merge.independent() and merge.plan():
                    merge.finish()

    def independent(self) -> bool:
        """Return whether no update reads what comes of another, so that they can run at the same time."""
        own = {i.output: number for number, chain in enumerate(self.chains) for i in chain.instructions}
        after: set[Variable] = set()
        for instruction in self.result.program.instructions:
            number = own.get(instruction.output)
            for v in instruction.reads:
                if number is None and (v in own or v in after):
                    after.add(instruction.output)
                elif number is not None and (v in after or own.get(v, number) != number):
                    return False
        return True

    def plan(self) -> bool:
        """Work out the merged chain; False if something of it does not lie side by side."""
        chains = self.chains
        self.sizes = [chain.instructions[0].output.size for chain in chains]
        self.starts = [sum(self.sizes[:i]) for i in range(len(chains))]
        leaves: list[Variable] = []
        for column in zip(*[chain.leaves for chain in chains], strict=True):
            if any(v.kind in LIVING for v in column):
                if not all(v in self.result.live for v in column) or not self._stretch(column):
                    return False
                leaves.append(self.flat[column[0]][0])
            else:
                leaves.append(self._joined(column))
        outs: list[Variable] = []
        for number, (op, given, _) in enumerate(chains[0].form):
            like = chains[0].instructions[number]
            inputs: list[Any] = []
            for place, v in zip(given, like.inputs, strict=True):
                if isinstance(place, tuple) and place[0] == "leaf":
                    inputs.append(leaves[place[1]])
                elif isinstance(place, tuple) and place[0] == "computed":
                    inputs.append(outs[place[1]])
                else:
                    inputs.append(v)
            outs.append(Variable(f"{like.output.name}.all", (sum(self.sizes),), like.output.dtype))
            self.merged.append(Instruction(op, tuple(inputs), {}, outs[-1], like.step))
            self._became([chain.instructions[number].output for chain in chains], outs[-1])
        return all(self._write(column, leaf) for column, leaf in self._columns(leaves, outs))

    def _columns(self, leaves: list[Variable], outs: list[Variable]) -> list[tuple[list[Variable], Variable]]:
        chains = self.chains
        columns = [([chain.leaves[i] for chain in chains], leaf) for i, leaf in enumerate(leaves)]
        columns += [([chain.instructions[i].output for chain in chains], out) for i, out in enumerate(outs)]
        return columns

    def _became(self, column: Sequence[Variable], flat: Variable) -> None:
        for v, start in zip(column, self.starts, strict=True):
            self.flat[v] = (flat, start)

    def _stretch(self, column: Sequence[Variable]) -> bool:
        """Replace living variables by one on the memory of all of them, if they lie side by side."""
        if column[0] in self.flat:
            return all(v in self.flat for v in column) and self.flat[column[0]][0] in self.live
        arrays = [self.result.live[v] for v in column]
        if len(set(column)) < len(column) or len({v.kind for v in column}) > 1 or not adjacent(arrays):
            return False
        flat = Variable(f"{column[0].name}.all", (sum(self.sizes),), column[0].dtype, column[0].kind)
        self.live[flat] = np.lib.stride_tricks.as_strided(
            arrays[0].reshape(-1), flat.shape, (arrays[0].itemsize,), writeable=True
        )
        self._became(column, flat)
        return True

    def _joined(self, column: Sequence[Variable]) -> Variable:
        """Return what is computed outside, one behind the other."""
        pieces: list[Variable] = []
        for v in column:
            if len(v.shape) == 1:
                pieces.append(v)
            else:
                pieces.append(Variable(f"{v.name}.flat", (v.size,), v.dtype))
                self.merged.append(Instruction("reshape", (v,), {"shape": (v.size,)}, pieces[-1]))
        joined = Variable(f"{column[0].name}.all", (sum(self.sizes),), column[0].dtype)
        self.merged.append(Instruction("concatenate", tuple(pieces), {"axis": 0}, joined))
        return joined

    def _write(self, column: Sequence[Variable], flat: Variable) -> bool:
        """Write the whole where each of a column is written to a living variable; False if some cannot be."""
        targets = [[s for s, v in self.result.program.writes.items() if v is part] for part in column]
        if not any(targets):
            return True
        if len({len(each) for each in targets}) > 1:
            return not any(s in self.flat for each in targets for s in each)
        for states in zip(*targets, strict=True):
            known = any(s in self.flat for s in states)
            fits = all(s.shape == v.shape and s.dtype == v.dtype for s, v in zip(states, column, strict=True))
            if fits and all(s in self.result.live for s in states) and self._stretch(states):
                target = self.flat[states[0]][0]
                if any(self.flat[s] != (target, start) for s, start in zip(states, self.starts, strict=True)):
                    return False
                for s in states:
                    del self.writes[s]
                self.writes[target] = flat
            elif known:
                return False
        return True

    def finish(self) -> None:
        """Put the merged chain in the place of the chains."""
        if any(v in self.flat for v in self.writes):
            return  # part of a stretch is written by something else
        result, program = self.result, self.result.program
        dropped = {i.output for chain in self.chains for i in chain.instructions}
        views: dict[Variable, Operand] = {}
        for v, (flat, start) in self.flat.items():
            part = Variable(f"{v.name}.part", (v.size,), v.dtype)
            cut = slice(start, start + v.size)
            where = self.before if flat in self.live else self.after
            where.append(Instruction("getitem", (flat,), {"index": (cut,)}, part))
            new = v if v.kind == "computed" else Variable(f"{v.name}.view", v.shape, v.dtype)
            where.append(Instruction("reshape", (part,), {"shape": v.shape}, new))
            if new is not v:
                views[v] = new
            result.spots[new] = (flat, start)
        rest = [i.renamed(views) for i in program.instructions if i.output not in dropped]
        merged = [i.renamed(views) for i in self.merged]
        result.program = replace(
            program,
            instructions=ordered([*self.before, *rest, *merged, *self.after]),
            outputs=tuple([views.get(v, v) if type(v) is Variable else v for v in program.outputs]),
            writes={s: views.get(v, v) if type(v) is Variable else v for s, v in self.writes.items()},
        )
        result.live = {v: a for v, a in result.live.items() if v not in self.flat} | self.live


def adjacent(arrays: Sequence[np.ndarray]) -> bool:
    """Return whether arrays lie one right behind the other, each as its elements are counted."""
    if not all(a.flags.c_contiguous and a.flags.writeable and a.dtype == arrays[0].dtype for a in arrays):
        return False
    end = _start(arrays[0])
    for array in arrays:
        if _start(array) != end:
            return False
        end += array.nbytes
    return True
