"""Which values of a program lie in memory; the others are worked out where they are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from ...program import NUMBER, Instruction, Operand, Program, Variable
from .indices import Flat, Index, identity, offset, through_view
from .lowering import LEAF, MAP, NUMPY, PRODUCT, REDUCE, VIEW, Graph
from .operations import HEAVY

_MOST = 48  # operations worked out in one place


class Layout(NamedTuple):
    """Where the elements of a matrix lie: base[start + row * rows + column * columns]."""

    base: Variable
    start: int
    rows: int
    columns: int


def copied(program: Program) -> Program:
    """Return the program with every result computed by an instruction of its own."""
    instructions = list(program.instructions)
    computed = {i.output for i in instructions}
    taken: set[Variable] = set()
    fresh = 0

    def own(operand: Operand, like: Variable | None) -> Operand:
        nonlocal fresh
        if isinstance(operand, Variable) and operand in computed and operand not in taken and operand.dtype != NUMBER:
            taken.add(operand)
            return operand
        known = operand if isinstance(operand, Variable) else None
        dtype = like.dtype if like else "float64" if known is None or known.dtype == NUMBER else known.dtype
        shape = like.shape if like else () if known is None else known.shape
        fresh += 1
        out = Variable(f"copy {fresh}", shape, dtype)
        instructions.append(_copy(operand, out))
        return out

    writes = {living: own(value, living) for living, value in program.writes.items()}
    outputs = tuple([own(value, None) for value in program.outputs])
    return replace(program, instructions=tuple(instructions), outputs=outputs, writes=writes)


def _copy(operand: Operand, out: Variable) -> Instruction:
    if isinstance(operand, Variable) and operand.shape == out.shape:
        return Instruction("astype", (operand,), {"dtype": out.dtype}, out)
    return Instruction("add", (operand, 0.0), {}, out)


def layout(graph: Graph, stored: set[Variable], v: Variable) -> Layout | None:
    """Return where a matrix lies that is read through views alone; None if it does not lie anywhere."""
    index: Index | None = identity(v.shape)
    while v not in stored and graph.role_of(v) == VIEW:
        assert index is not None
        instruction = graph.maker[v]
        index = through_view(instruction, index)
        source = instruction.inputs[0]
        assert isinstance(source, Variable)
        v = source
        if index is None:
            return None
    if v not in stored and graph.role_of(v) != LEAF:
        return None
    assert index is not None
    place = offset(v.shape, index)
    factors = dict(place.terms)
    return Layout(v, place.constant, factors.get(0, 0), factors.get(1, 0))


class Choice:
    """What lies in memory.

    Parameters
    ----------
    graph : Graph
    library : callable
        Whether a product is left to a library, which wants matrices whose rows or columns lie side by side.
    """

    def __init__(self, graph: Graph, library: Callable[[Instruction], bool]) -> None:
        self.graph = graph
        self.stored: set[Variable] = set(graph.program.results)
        self._inside: dict[Variable, set[Variable]] = {}  # what is worked out along with a variable
        for instruction in graph.instructions:
            self._visit(instruction, library)

    def _visit(self, instruction: Instruction, library: Callable[[Instruction], bool]) -> None:
        graph, out = self.graph, instruction.output
        role = graph.role[out]
        if role == NUMPY:
            self._store(*instruction.reads, out)
        elif role in (PRODUCT, REDUCE):
            self._store(out)
            if instruction.op == "matmul":
                for factor in instruction.reads:
                    self._store_matrix(factor, strict=role == PRODUCT and library(instruction))
        elif role == VIEW:
            source = instruction.reads[0]
            moved = through_view(instruction, identity(out.shape))
            if moved is None or (isinstance(moved, Flat) and not self._is_reshape(source)):
                self._store(source)
        if role in (MAP, VIEW):
            self._visit_inline(instruction, role)

    def _visit_inline(self, instruction: Instruction, role: str) -> None:
        graph, out = self.graph, instruction.output
        if role == MAP and graph.cost(out) >= HEAVY:
            for v in instruction.reads:  # what is heavy is not done in the registers of a product
                if any(graph.role_of(w) == PRODUCT for w in self._parts(v)):
                    self._store(v)
        inside = {out}
        for v in instruction.reads:
            inside |= self._parts(v)
        self._inside[out] = inside
        if role == MAP and out not in self.stored:
            cost = sum(graph.cost(w) for w in inside if graph.role_of(w) in (MAP, VIEW))
            users = graph.users.get(out, [])
            wider = any(user.output.size > out.size for user in users)
            if (
                (cost > 1 and len(users) > 1)
                or (wider and cost > (1 if out.size > 1 else 3))
                or len(inside) > _MOST
            ):  # fmt: skip
                self._store(out)

    def _is_reshape(self, v: Variable) -> bool:
        return self.graph.role_of(v) == VIEW and self.graph.maker[v].op == "reshape" and v not in self.stored

    def _parts(self, v: Variable) -> set[Variable]:
        """Return what is worked out where ``v`` is read: itself where it lies in memory."""
        return {v} if v in self.stored or v not in self._inside else self._inside[v]

    def _store(self, *variables: Variable) -> None:
        self.stored.update(v for v in variables if self.graph.role_of(v) != LEAF)

    def _store_matrix(self, v: Variable, strict: bool) -> None:
        """Store what a factor is a view of, so that it can be read in place; else the factor."""
        base, index = v, identity(v.shape)
        while self.graph.role_of(base) == VIEW and base not in self.stored:
            source = self.graph.maker[base].inputs[0]
            moved = through_view(self.graph.maker[base], index)
            if not isinstance(source, Variable) or moved is None or isinstance(moved, Flat):
                break
            base, index = source, moved
        known = self.stored | {base}
        found = layout(self.graph, known, v)
        if found is None or (strict and not straight(found)):
            base = v
        self._store(base)


def straight(found: Layout) -> bool:
    """Return whether a library can read a matrix: its rows or its columns lie side by side."""
    return (found.columns == 1 and found.rows > 0) or (found.rows == 1 and found.columns > 0)
