"""Matrix products: small ones as blocks of registers, large ones as calls of BLAS."""

from __future__ import annotations

from ...program import Variable
from .choice import Layout
from .indices import identity
from .lowering import KINDS, Graph
from .schedule import Node
from .storage import Place, Storage
from .text import BYTES, Function, Mask, Value, first_lanes, literal
from .values import Frame, Position, Values, pointer

_UNROLLED = 128  # multiplications that stand in a row in the code


class Product:
    """Writes a small product, a block of registers at a time, and what is computed from each of its elements."""

    def __init__(
        self, f: Function, graph: Graph, storage: Storage, frame: Frame, node: Node, width: int, registers: int
    ) -> None:
        assert node.instruction is not None
        self.f, self.storage, self.node, self.registers = f, storage, node, registers
        self.values = Values(f, graph, storage, frame)
        self.out = node.instruction.output
        self.kind = KINDS[self.out.dtype]
        self.rows, self.columns = self.out.shape
        self.inner = node.instruction.reads[0].shape[1]
        self.left, self.right = node.factors
        self.most = width // BYTES[self.kind]
        self.lanes = min(self.most, 1 << (self.columns - 1).bit_length())

    def write(self) -> None:
        """Write the node into its function."""
        right = self.right
        self.right_base = self._base(right.base)
        self.left_base = self._base(self.left.base)
        if right.columns != 1:
            self._pack()
        vectors = -(-self.columns // self.lanes)
        wide = min(vectors, 4 if vectors % 4 == 0 or vectors > 6 else 3 if vectors % 3 == 0 else 2)
        whole = self.columns // self.lanes // wide * wide
        if whole:
            with self.f.loop(whole * self.lanes, wide * self.lanes) as column:
                self._strip(column, wide, None)
        rest = self.columns - whole * self.lanes
        if rest:
            count = -(-rest // self.lanes)
            left = rest - (count - 1) * self.lanes
            self._strip(whole * self.lanes, count, first_lanes(left, self.lanes) if left < self.lanes else None)

    def _base(self, v: Variable) -> str:
        place = self.storage.places[v]
        self.values.used[place] = None
        return pointer(place)

    def _pack(self) -> None:
        """Copy the right factor so that its rows lie side by side."""
        f, right = self.f, self.right
        size = self.inner * self.columns * BYTES[self.kind]
        place = Place("work", self.storage.scratch(size))
        self.values.used[place] = None
        target = pointer(place)
        source = (self.right_base, right.start, right.columns, right.rows)
        transpose(f, self.kind, (self.columns, self.inner), self.most, source, target)
        self.right_base, self.right = target, Layout(right.base, 0, self.columns, 1)

    def _strip(self, column: Value | int, vectors: int, mask: Mask | None) -> None:
        """Write all rows of a few vectors of columns; the mask is for the last vector."""
        most = max(1, (self.registers - vectors - 2) // vectors)
        blocks = -(-self.rows // min(most, 12))
        height = -(-self.rows // blocks)
        whole = self.rows - self.rows % height
        with self.f.loop(whole, height) as row:
            self._block(row, height, column, vectors, mask)
        if whole < self.rows:
            self._block(whole, self.rows - whole, column, vectors, mask)

    def _block(self, row: Value | int, height: int, column: Value | int, vectors: int, mask: Mask | None) -> None:
        f = self.f
        totals = [literal(0.0, self.kind, self.lanes)] * (height * vectors)
        fits = (n for n in (self.inner, 8, 4, 2) if self.inner % n == 0 and n * height * vectors <= _UNROLLED)
        unroll = next(fits, 1)
        with f.loop(self.inner, unroll, carry=totals) as k:
            for more in range(unroll):
                self._rank_one(row, column, Position(k, more), totals, vectors, mask)
        for number, total in enumerate(totals):
            r, c = divmod(number, vectors)
            last = mask if c == vectors - 1 else None
            self._element(Position(row, r), Position(column, c * self.lanes), total, last)

    def _rank_one(
        self, row: Value | int, column: Value | int, k: Position, totals: list[Value], vectors: int, mask: Mask | None
    ) -> None:
        """Add the product of a column of the left factor and a row of the right one."""
        f, left, right = self.f, self.left, self.right
        across = []
        for c in range(vectors):
            constant = right.start + k.more * right.rows + c * self.lanes
            place = f.integer_sum(constant, [(k.counter, right.rows), (column, 1)])
            last = mask if c == vectors - 1 else None
            across.append(f.load(f.at(self.right_base, self.kind, place), self.kind, self.lanes, last))
        for r in range(len(totals) // vectors):
            constant = left.start + k.more * left.columns + r * left.rows
            place = f.integer_sum(constant, [(k.counter, left.columns), (row, left.rows)])
            factor = f.spread(f.load(f.at(self.left_base, self.kind, place), self.kind), self.lanes)
            for c, vector in enumerate(across):
                number = r * vectors + c
                totals[number] = f.fused(factor, vector, totals[number])

    def _element(self, row: Position, column: Position, total: Value, mask: Mask | None) -> None:
        values = self.values
        values.positions = {0: row, 1: column}
        values.lane, values.lanes, values.mask = 1, self.lanes, mask
        values.memo = {(self.out, identity(self.out.shape)): total}
        values.computed = set(self.node.body)
        found = [(v, values.value(v, identity(v.shape))) for v in self.node.body]
        for v, value in found:
            values.store(v, identity(v.shape), value)


def transpose(
    f: Function, kind: str, shape: tuple[int, int], most: int, source: tuple[str, int, int, int], target: str
) -> None:
    """Write a copy of a matrix with its columns side by side, a square of registers at a time.

    ``source`` is the address, the first element, and how far rows and columns are apart.
    """
    base, start, rows, columns = source
    if columns != 1:
        with f.loop(shape[0]) as i, f.loop(shape[1]) as j:
            value = f.load(f.at(base, kind, f.integer_sum(start, [(i, rows), (j, columns)])), kind)
            f.store(value, f.at(target, kind, f.integer_sum(0, [(j, shape[0]), (i, 1)])))
        return

    def square(i: Value | int, high: int, j: Value | int, wide: int) -> None:
        side = min(most, 1 << (max(high, wide) - 1).bit_length())
        across = first_lanes(wide, side) if wide < side else None
        down = first_lanes(high, side) if high < side else None
        lines = [Value("zeroinitializer", kind, side)] * side
        for r in range(high):
            place = f.integer_sum(start + r * rows, [(i, rows), (j, 1)])
            lines[r] = f.load(f.at(base, kind, place), kind, side, across)
        apart = 1
        while apart < side:
            first = [n if not n & apart else side + n - apart for n in range(side)]
            second = [n + apart if not n & apart else side + n for n in range(side)]
            for r in range(side):
                if not r & apart:
                    pair = lines[r], lines[r + apart]
                    lines[r], lines[r + apart] = f.shuffled(*pair, first), f.shuffled(*pair, second)
            apart *= 2
        for c in range(wide):
            place = f.integer_sum(c * shape[0], [(j, shape[0]), (i, 1)])
            f.store(lines[c], f.at(target, kind, place), down)

    def line(i: Value | int, high: int) -> None:
        whole = shape[1] - shape[1] % most
        if whole:
            with f.loop(whole, most) as j:
                square(i, high, j, most)
        if whole < shape[1]:
            square(i, high, whole, shape[1] - whole)

    whole = shape[0] - shape[0] % most
    if whole:
        with f.loop(whole, most) as i:
            line(i, most)
    if whole < shape[0]:
        line(whole, shape[0] - whole)


def write_blas(f: Function, storage: Storage, frame: Frame, node: Node, used: dict[Place, None]) -> None:
    """Write a call of ``sgemm`` or ``dgemm``; read by columns, our matrices are their transposes."""
    assert node.instruction is not None
    out = node.instruction.output
    kind = KINDS[out.dtype]
    rows, columns = out.shape
    inner = node.instruction.reads[0].shape[1]
    operands = []
    for factor in (node.factors[1], node.factors[0]):
        place = storage.places[factor.base]
        used[place] = None
        turned = factor.columns != 1
        operands.append(
            (ord("T" if turned else "N"), factor.columns if turned else factor.rows,
             f.at(pointer(place), kind, literal(factor.start, "i64")))
        )  # fmt: skip
    used[storage.places[out]] = None
    numbers = [columns, rows, inner, operands[0][1], operands[1][1], columns]
    slots = []
    for value, of in [*[(n, "i32") for n in numbers], (1.0, kind), (0.0, kind)]:
        slots.append(f.slot(literal(value, of)))
    letters = [f.slot(literal(letter, "i8")) for letter, _, _ in operands]
    m, n, k, lda, ldb, ldc, alpha, beta = slots
    target = pointer(storage.places[out])
    entry = frame.starts["blas"] + (kind == "double")
    call = f.emit(f"load ptr, ptr {f.at('%frame', 'i64', literal(entry, 'i64'))}", "ptr").text
    given = [*letters, m, n, k, alpha, operands[0][2], lda, operands[1][2], ldb, beta, target, ldc]
    f.do(f"call void {call}({', '.join(f'ptr {g}' for g in given)})")
