"""The nodes that run one after the other: loops, products, calls of BLAS, and operations left to NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ...program import NUMBER, Instruction, Operand, Variable
from .choice import Choice, Layout, layout
from .indices import Index, extents, identity
from .lowering import LEAF, MAP, NUMPY, PRODUCT, REDUCE, VIEW, Graph, loops_of, reduction
from .operations import HEAVY

BODY, AFTER, WHOLE = "body", "after", "whole"  # where in a node something is read: each step, at the end, all over
_WINDOW, _ROOTS = 24, 12


class Access(NamedTuple):
    """A read of what lies in memory."""

    level: str
    variable: Variable
    place: Index | None


@dataclass(eq=False)
class Node:
    """A piece of work.

    Attributes
    ----------
    what : str
        ``loops``, ``product``, ``blas`` or ``numpy``.
    shape : tuple of int
        Lengths of the loops.
    over : tuple of int
        The loops of a reduction.
    body, reductions, after : lists of Variable
        What is computed in every step, over the loops ``over``, and after these.
    instruction : Instruction, optional
        The product, or the operation of NumPy.
    factors : tuple of Layout
        Of a product.
    accesses : list of Access
        What is read from memory.
    """

    what: str
    shape: tuple[int, ...] = ()
    over: tuple[int, ...] = ()
    body: list[Variable] = field(default_factory=list)
    reductions: list[Variable] = field(default_factory=list)
    after: list[Variable] = field(default_factory=list)
    instruction: Instruction | None = None
    factors: tuple[Layout, ...] = ()
    accesses: list[Access] = field(default_factory=list)

    @property
    def kept(self) -> tuple[int, ...]:
        """The loops that are not reduced."""
        return tuple([i for i in range(len(self.shape)) if i not in self.over])

    @property
    def roots(self) -> list[Variable]:
        """Everything that the node computes."""
        return [*self.body, *self.reductions, *self.after]

    def level(self, v: Variable) -> str:
        """Return where in the node a variable is computed."""
        if self.what in ("blas", "numpy"):
            return WHOLE
        return BODY if v in self.body else AFTER

    def loops(self, v: Variable) -> tuple[int, ...]:
        """Return the loops over the elements of something that the node computes."""
        return self.kept if self.level(v) == AFTER else tuple(range(len(self.shape)))


class Schedule:
    """Nodes in an order in which they can run.

    Parameters
    ----------
    graph : Graph
    library : callable
        Whether a product is left to BLAS.
    """

    def __init__(self, graph: Graph, library: Callable[[Instruction], bool]) -> None:
        self.graph = graph
        self.stored = Choice(graph, library).stored
        self.nodes: list[Node] = []
        self.place: dict[Variable, int] = {}  # the node that computes a variable
        for instruction in graph.instructions:
            if instruction.output in self.stored:
                self._add(instruction, library)

    # --- reading -------------------------------------------------------------------------------
    def reads(self, v: Variable, index: Index, level: str) -> Iterator[Access]:
        """Yield what is read from memory to compute an element of ``v``."""
        seen: set[tuple[Variable, Index | None]] = set()
        todo = [(operand, place) for operand, place in self._sources(v, index)]
        while todo:
            operand, place = todo.pop()
            if not isinstance(operand, Variable) or (operand, place) in seen:
                continue
            seen.add((operand, place))
            if operand in self.stored or self.graph.role_of(operand) == LEAF or place is None:
                yield Access(level, operand, place)
            else:
                todo += self.graph.inputs_at(operand, place)

    def _sources(self, v: Variable, index: Index) -> Iterable[tuple[Operand, Index | None]]:
        instruction = self.graph.maker[v]
        if self.graph.role[v] != REDUCE:
            return self.graph.inputs_at(v, index)
        described = reduction(instruction)
        places = loops_of(described)[2]
        if instruction.op == "matmul":
            return self.graph.factors(instruction, places[:2], places[2])
        return [(instruction.inputs[0], places)]

    # --- placing -------------------------------------------------------------------------------
    def _add(self, instruction: Instruction, library: Callable[[Instruction], bool]) -> None:
        graph, out = self.graph, instruction.output
        role = graph.role[out]
        if role == NUMPY:
            reads = [Access(WHOLE, v, None) for v in instruction.reads]
            self._append(Node("numpy", body=[out], instruction=instruction, accesses=reads))
        elif role == PRODUCT:
            factors = [layout(graph, self.stored, v) for v in instruction.reads]
            if len(factors) == 1:
                factors *= 2
            found = tuple([f for f in factors if f is not None])
            assert len(found) == 2
            reads = [Access(WHOLE, f.base, None) for f in found]
            what = "blas" if library(instruction) else "product"
            self._append(Node(what, out.shape, (), [out], [], [], instruction, found, reads))
        elif role == REDUCE:
            self._add_reduction(out)
        else:
            self._add_map(out)

    def _append(self, node: Node) -> None:
        for v in node.roots:
            self.place[v] = len(self.nodes)
        self.nodes.append(node)

    def _add_reduction(self, out: Variable) -> None:
        shape, over, _ = loops_of(reduction(self.graph.maker[out]))
        reads = list(self.reads(out, (), BODY))
        for number in self._candidates(reads):
            node = self.nodes[number]
            if node.what != "loops" or node.shape != shape or not over or (node.over and node.over != over):
                continue
            if (not node.over and node.after) or not self._fits(number, reads, BODY):
                continue
            node.over = over
            return self._join(number, node.reductions, out, reads)
        return self._append(Node("loops", shape, over, reductions=[out], accesses=reads))

    def _add_map(self, out: Variable) -> None:
        shape = extents(out.shape)
        cost = self._cost(out)
        reads = list(self.reads(out, identity(out.shape), BODY))
        for number in self._candidates(reads):
            node = self.nodes[number]
            if len(node.roots) >= _ROOTS:
                continue
            same = node.shape == shape and (node.what == "loops" or (node.what == "product" and cost < HEAVY))
            if same and self._fits(number, reads, BODY):
                return self._join(number, node.body, out, reads)
            if node.what == "loops" and node.reductions and tuple([node.shape[i] for i in node.kept]) == shape:
                later = list(self.reads(out, identity(out.shape, node.kept), AFTER))
                if self._fits(number, later, AFTER):
                    return self._join(number, node.after, out, later)
        return self._append(Node("loops", shape, body=[out], accesses=reads))

    def _join(self, number: int, roots: list[Variable], out: Variable, reads: list[Access]) -> None:
        """Let a node compute one thing more."""
        roots.append(out)
        self.nodes[number].accesses += reads
        self.place[out] = number

    def _cost(self, out: Variable) -> int:
        """Return the work of an element, with what is worked out along with it."""
        seen: set[Variable] = set()
        todo = [out]
        while todo:
            v = todo.pop()
            if v in seen or (v is not out and (v in self.stored or self.graph.role_of(v) not in (MAP, VIEW))):
                continue
            seen.add(v)
            todo += self.graph.maker[v].reads
        return sum(self.graph.cost(v) for v in seen)

    def _candidates(self, reads: list[Access]) -> Iterator[int]:
        """Yield nodes that could compute something along with what they do: the latest that it needs, and sharers."""
        latest = max([self.place.get(a.variable, -1) for a in reads], default=-1)
        if latest >= 0:
            yield latest
        read = {a.variable for a in reads if a.variable.dtype != NUMBER and a.variable.size > 1}
        for number in range(max(latest + 1, len(self.nodes) - _WINDOW), len(self.nodes)):
            node = self.nodes[number]
            if not read or any(a.variable in read and a.level != WHOLE for a in node.accesses):
                yield number

    def _fits(self, number: int, reads: list[Access], level: str) -> bool:
        node = self.nodes[number]
        for access in reads:
            made = self.place.get(access.variable, -1)
            if made > number:
                return False
            if made == number:
                v = access.variable
                if level == BODY and v not in node.body:
                    return False
                if level == AFTER and v not in node.after and v not in node.reductions:
                    return False
                if access.place != identity(v.shape, node.loops(v)):
                    return False
        return True
