"""Where every value lies, and the order of the nodes: in place where nobody needs what was there."""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np

from ...program import NUMBER, Variable
from .indices import identity
from .lowering import Graph
from .schedule import WHOLE, Node, Schedule

ALIGN = 64


class Place(NamedTuple):
    """Memory: of a kind (``input``, ``output``, ``living``, ``constant``, ``work``), by number or by offset."""

    kind: str
    number: int


def nbytes(v: Variable) -> int:
    """Return the bytes of a variable; a computed number is a float64."""
    return 8 if v.dtype == NUMBER else max(1, v.size) * np.dtype(v.dtype).itemsize


def rounded(size: int) -> int:
    """Return a size rounded up to whole cache lines."""
    return -(-size // ALIGN) * ALIGN


class Storage:
    """The places of all values of a schedule.

    Attributes
    ----------
    places : dict of Variable to Place
    nodes : list of Node
        In the order in which they run.
    copies : list of pair of Variable
        What is copied to living variables at the end.
    size : int
        Bytes of the workspace.
    """

    def __init__(self, graph: Graph, schedule: Schedule) -> None:
        self.graph, self.schedule = graph, schedule
        self.places: dict[Variable, Place] = {}
        program = graph.program
        for kind, variables in (
            ("input", program.inputs), ("living", program.living), ("constant", tuple(program.constants)),
        ):  # fmt: skip
            self.places.update({v: Place(kind, i) for i, v in enumerate(variables)})
        for i, v in enumerate(program.outputs):
            assert isinstance(v, Variable)
            self.places[v] = Place("output", i)
        self._connect()
        self.copies = self._write_in_place()
        self.nodes = self._sorted()
        self._drop_registers()
        self.size = self._extra = 0
        self._free: list[tuple[int, int]] = []  # offset and size, sorted
        self._allocate()

    # --- order ---------------------------------------------------------------------------------
    def _connect(self) -> None:
        self.before: dict[Node, set[Node]] = {node: set() for node in self.schedule.nodes}
        self.readers: dict[Variable, list[Node]] = {}
        for node in self.schedule.nodes:
            for v in dict.fromkeys(a.variable for a in node.accesses):
                self.readers.setdefault(v, []).append(node)
                made = self.schedule.place.get(v)
                if made is not None and self.schedule.nodes[made] is not node:
                    self.before[node].add(self.schedule.nodes[made])

    def _write_in_place(self) -> list[tuple[Variable, Variable]]:
        """Let results be computed where living variables are, and return those that have to be copied there."""
        copies = []
        for living, result in self.graph.program.writes.items():
            assert isinstance(result, Variable)
            node = self.schedule.nodes[self.schedule.place[result]]
            others = [n for n in self.readers.get(living, ()) if n is not node]
            if self.alike(node, living, result) and not self._reaches(node, others):
                self.before[node].update(others)
                self.places[result] = self.places[living]
            else:
                copies.append((living, result))
        return copies

    def alike(self, node: Node, old: Variable, new: Variable) -> bool:
        """Return whether a node reads each element of ``old`` only just before it writes that of ``new``."""
        level = node.level(new)
        if level == WHOLE:  # NumPy has computed everything when it is written; BLAS reads while it writes
            return node.what == "numpy" or all(a.variable is not old for a in node.accesses)
        index = identity(old.shape, node.loops(new))
        return all(a.variable is not old or (a.level == level and a.place == index) for a in node.accesses)

    def _reaches(self, start: Node, targets: list[Node]) -> bool:
        """Return whether ``start`` runs before one of the targets for another reason."""
        todo, seen = list(targets), set(targets)
        while todo:
            node = todo.pop()
            if node is start:
                return True
            fresh = self.before[node] - seen
            seen |= fresh
            todo += fresh
        return False

    def _sorted(self) -> list[Node]:
        number = {node: i for i, node in enumerate(self.schedule.nodes)}
        after: dict[Node, list[Node]] = {node: [] for node in self.schedule.nodes}
        waiting = {}
        for node, earlier in self.before.items():
            waiting[node] = len(earlier)
            for other in earlier:
                after[other].append(node)
        ready = [number[node] for node, count in waiting.items() if not count]
        heapq.heapify(ready)
        order = []
        while ready:
            node = self.schedule.nodes[heapq.heappop(ready)]
            order.append(node)
            for later in after[node]:
                waiting[later] -= 1
                if not waiting[later]:
                    heapq.heappush(ready, number[later])
        assert len(order) == len(self.schedule.nodes)
        return order

    # --- memory --------------------------------------------------------------------------------
    def _drop_registers(self) -> None:
        """Find what never has to be written, because only the node that computes it reads it."""
        results = set(self.graph.program.results)
        self.registers: set[Variable] = set()
        for node in self.nodes:
            if node.what in ("blas", "numpy"):
                continue
            for v in node.roots:
                if v not in results and all(reader is node for reader in self.readers.get(v, ())):
                    self.registers.add(v)

    def _allocate(self) -> None:
        last: dict[Variable, int] = {}
        for number, node in enumerate(self.nodes):
            for access in node.accesses:
                last[access.variable] = number
        for _, result in self.copies:
            last[result] = len(self.nodes)
        for number, node in enumerate(self.nodes):
            dying = [
                v for v in dict.fromkeys(a.variable for a in node.accesses)
                if last.get(v) == number and self.places.get(v, Place("", 0)).kind == "work"
            ]  # fmt: skip
            for v in node.roots:
                if v in self.places or v in self.registers:
                    continue
                place = next((d for d in dying if self._can_take_over(node, d, v)), None)
                if place is not None:
                    dying.remove(place)
                    self.places[v] = self.places[place]
                else:
                    self.places[v] = Place("work", self._take(rounded(nbytes(v))))
            for v in dying:
                self._give(self.places[v].number, rounded(nbytes(v)))
            unread = [v for v in node.roots if v not in last and self.places.get(v, Place("", 0)).kind == "work"]
            for v in unread:
                self._give(self.places[v].number, rounded(nbytes(v)))

    def _can_take_over(self, node: Node, old: Variable, new: Variable) -> bool:
        if node.what in ("blas", "numpy") or node.over or nbytes(old) != nbytes(new) or old.dtype != new.dtype:
            return False
        return old.shape == new.shape and self.alike(node, old, new)

    def scratch(self, size: int) -> int:
        """Return an offset behind everything, for what one node needs while it runs."""
        self._extra = max(self._extra, rounded(size))
        return self.size

    @property
    def total(self) -> int:
        """Bytes of the workspace, with what nodes need while they run."""
        return self.size + self._extra

    def _take(self, size: int) -> int:
        fitting = [(s, o) for o, s in self._free if s >= size]
        if not fitting:
            if self._free and sum(self._free[-1]) == self.size:  # the last free piece reaches the end: stretch it
                offset, _ = self._free.pop()
            else:
                offset = self.size
            self.size = offset + size
            return offset
        found, offset = min(fitting)
        self._free.remove((offset, found))
        if found > size:
            self._free.append((offset + size, found - size))
            self._free.sort()
        return offset

    def _give(self, offset: int, size: int) -> None:
        merged: list[tuple[int, int]] = []
        for o, s in sorted([*self._free, (offset, size)]):
            if merged and sum(merged[-1]) == o:
                merged[-1] = (merged[-1][0], merged[-1][1] + s)
            else:
                merged.append((o, s))
        self._free = merged
