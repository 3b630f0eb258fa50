"""What a node computes for one element, or for one vector of elements, as instructions."""

from __future__ import annotations

from typing import NamedTuple

from ...program import Operand, Variable
from . import operations
from .indices import Affine, Index, offset
from .lowering import KINDS, LEAF, VIEW, Graph, number_of, tested
from .storage import Place, Storage
from .text import Function, Mask, Value, literal


class Position(NamedTuple):
    """Where a loop is: its counter, and what is added to it."""

    counter: Value | int
    more: int = 0


class Frame(NamedTuple):
    """The table of addresses and numbers that machine code is given: which entry is what.

    Attributes
    ----------
    starts : dict of str to int
        First entry of each kind of place.
    numbers : dict of Variable to int
        Entry of each hyperparameter.
    size : int
    """

    starts: dict[str, int]
    numbers: dict[Variable, int]
    size: int

    @classmethod
    def of(cls, storage: Storage, objects: int) -> Frame:
        """Lay out the table for a program, with room for the addresses of a few objects."""
        program = storage.graph.program
        starts, size = {}, 0
        for kind, count in (
            ("work", 1), ("blas", 2), ("input", len(program.inputs)), ("output", len(program.outputs)),
            ("living", len(program.living)), ("constant", len(program.constants)), ("object", objects),
        ):  # fmt: skip
            starts[kind] = size
            size += count
        numbers = {v: size + i for i, v in enumerate(program.numbers)}
        return cls(starts, numbers, size + len(numbers))

    def entry(self, place: Place) -> int:
        """Return the entry that holds an address."""
        return self.starts[place.kind] + (0 if place.kind == "work" else place.number)


def pointer(place: Place) -> str:
    """Return the name of the register with the address of a place."""
    return f"%{place.kind}.{place.number}"


class Values:
    """Writes what variables hold at an index into a function."""

    def __init__(self, f: Function, graph: Graph, storage: Storage, frame: Frame) -> None:
        self.f, self.graph, self.storage, self.frame = f, graph, storage, frame
        self.positions: dict[int, Position] = {}
        self.lane: int | None = None  # the loop that runs along the lanes of a vector
        self.lanes = 1
        self.mask: Mask | None = None
        self.memo: dict[tuple[Variable, Index], Value] = {}
        self.computed: set[Variable] = set()  # what this node itself computes here
        self.used: dict[Place, None] = {}

    def value(self, v: Variable, index: Index) -> Value:
        """Return what a variable holds at an index."""
        key = (v, index)
        if key not in self.memo:
            here = v in self.computed or (v not in self.storage.schedule.stored and self.graph.role_of(v) != LEAF)
            self.memo[key] = self._compute(v, index) if here else self.load(v, index)
        return self.memo[key]

    def as_kind(self, operand: Operand, index: Index | None, kind: str) -> Value:
        """Return an operand as a kind."""
        if not isinstance(operand, Variable):
            return literal(number_of(operand), kind)
        assert index is not None
        constant = self.graph.program.constants.get(operand)
        if constant is not None and constant.ndim == 0:
            return literal(float(constant), kind)
        return operations.converted(self.f, self.value(operand, index), kind)

    def _compute(self, v: Variable, index: Index) -> Value:
        instruction, f = self.graph.maker[v], self.f
        given = list(self.graph.inputs_at(v, index))
        kind = KINDS[v.dtype]
        if self.graph.role[v] == VIEW or instruction.op in ("astype", "unbroadcast"):
            return self.as_kind(*given[0], kind)
        if instruction.op == "where":
            test = self.as_kind(*given[0], "i1")
            return f.select(test, self.as_kind(*given[1], kind), self.as_kind(*given[2], kind))
        name = "multiply" if instruction.op == "matmul" else instruction.op
        if name in operations.TESTS:
            emit, kind = operations.TESTS[name], tested(instruction)
        else:
            emit = operations.LOGIC[name] if name in operations.LOGIC else operations.FLOATING[name]
        exponent = instruction.inputs[-1]
        if name == "power" and not isinstance(exponent, Variable):
            return operations.FLOATING["power_of"](f, self.as_kind(*given[0], kind), exponent=number_of(exponent))
        options = instruction.options if name in ("clip", "power_of") else {}
        return emit(f, *[self.as_kind(operand, at, kind) for operand, at in given], **options)

    # --- memory --------------------------------------------------------------------------------
    def address(self, v: Variable, place: Affine) -> str:
        """Return the address of an element."""
        where = self.storage.places[v]
        self.used[where] = None
        return self.f.at(pointer(where), KINDS[v.dtype], self.element(place))

    def element(self, place: Affine) -> Value:
        """Return a place as a number."""
        terms, constant = [], place.constant
        for loop, factor in place.terms:
            position = self.positions[loop]
            terms.append((position.counter, factor))
            constant += position.more * factor
        return self.f.integer_sum(constant, terms)

    def load(self, v: Variable, index: Index) -> Value:
        """Read what lies in memory."""
        f = self.f
        if v in self.frame.numbers:
            return f.load(f.at("%frame", "double", literal(self.frame.numbers[v], "i64")), "double")
        kind = KINDS[v.dtype]
        place = offset(v.shape, index)
        step = dict(place.terms).get(self.lane, 0) if self.lane is not None else 0
        if step in (0, 1) or self.lanes == 1:
            return f.load(self.address(v, place), kind, self.lanes if step else 1, self.mask if step else None)
        where = self.storage.places[v]
        self.used[where] = None
        return f.gather(pointer(where), kind, self.element(place), step, self.lanes, self.mask)

    def store(self, v: Variable, index: Index, value: Value) -> None:
        """Write into memory what is needed later."""
        if v in self.storage.registers:
            return
        wide = self.f.spread(operations.converted(self.f, value, KINDS[v.dtype]), self.lanes)
        self.f.store(wide, self.address(v, offset(v.shape, index)), self.mask)
