"""Loops over elements, and reductions: a node as a function of vector instructions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from ...program import Variable
from .indices import Flat, Index, counter, identity, offset
from .lowering import KINDS, Graph, Reduction, loops_of, reduction
from .operations import HEAVY, converted
from .schedule import BODY, Node
from .storage import Storage
from .text import BYTES, Function, Mask, Value, first_lanes, literal
from .values import Frame, Position, Values

_NEUTRAL = {"sum": 0.0, "prod": 1.0, "max": float("-inf"), "min": float("inf")}
_ACROSS = {"sum": "fadd", "prod": "fmul", "max": "fmaximum", "min": "fminimum"}
_LONG = 2048  # terms of float32 that are added up in float32
_ABREAST = 4
_COPIES = 4  # accumulators side by side, so that one addition need not wait for the one before


class Loops:
    """Writes a node of loops.

    Parameters
    ----------
    f : Function
    node : Node
    width : int
        Bytes of a vector register.
    """

    def __init__(self, f: Function, graph: Graph, storage: Storage, frame: Frame, node: Node, width: int) -> None:
        self.f, self.graph, self.storage, self.node = f, graph, storage, node
        self.values = Values(f, graph, storage, frame)
        self.flat = len(node.shape) > 1 and len(node.over) in (0, len(node.shape)) and self._can_be_flat()
        self.shape = (prod(node.shape),) if self.flat else node.shape
        self.over = ((0,) if node.over else ()) if self.flat else node.over
        self.kept = tuple([i for i in range(len(self.shape)) if i not in self.over])
        self.most = width // self._narrowest()
        self.heavy = sum(self._cost(v) for v in node.body) + sum(self._cost(v) for v in node.reductions)

    # --- what the node looks like --------------------------------------------------------------
    def _narrowest(self) -> int:
        """Return the bytes of the smallest floating numbers that are read or written."""
        found = [a.variable for a in self.node.accesses if a.variable.size > 1] + self.node.roots
        sizes = [BYTES[KINDS[v.dtype]] for v in found if KINDS[v.dtype] in ("float", "double")]
        return min(sizes, default=4)

    def _cost(self, root: Variable) -> int:
        seen: set[Variable] = set()
        todo = list(self.graph.maker[root].reads) if root in self.node.reductions else [root]
        while todo:
            v = todo.pop()
            inline = v is root or (v not in self.storage.schedule.stored and v in self.graph.maker)
            if inline and v not in seen:
                seen.add(v)
                todo += self.graph.maker[v].reads
        return sum(self.graph.cost(v) for v in seen)

    def _can_be_flat(self) -> bool:
        index = Flat(counter(0))
        todo: list[tuple[Variable, Index | None]] = [(v, index) for v in self.node.body]
        for v in self.node.reductions:
            if self.graph.maker[v].op == "matmul":
                return False
            source = self.graph.maker[v].reads[0]
            todo.append((source, index))
        top = set(self.node.body)
        seen = set()
        while todo:
            v, place = todo.pop()
            if place is None:
                return False
            if (v, place) in seen:
                continue
            seen.add((v, place))
            if v in top or (v not in self.storage.schedule.stored and v in self.graph.maker):
                todo += [(w, at) for w, at in self.graph.inputs_at(v, place) if isinstance(w, Variable)]
        return True

    def _index(self, v: Variable) -> Index:
        return Flat(counter(0)) if self.flat else identity(v.shape)

    def _lane(self) -> int | None:
        """Return the loop along the lanes: the one along which most of what is read lies side by side."""
        if not self.shape:
            return None
        last = len(self.shape) - 1
        if not self.over or self.flat or any(v not in self.storage.registers for v in self.node.body):
            return last
        choices = [max(self.over)] + ([max(self.kept)] if self.kept else [])

        def badness(loop: int) -> tuple[int, int, int]:
            steps: list[int] = [
                dict(offset(a.variable.shape, a.place).terms).get(loop, 0)
                for a in dict.fromkeys(self.node.accesses)
                if a.level == BODY and a.place is not None
            ]
            return (
                len([s for s in steps if s not in (0, 1)]),
                -min(self.shape[loop], self.most // 2),
                int(loop in self.over),
            )

        return min(choices, key=badness)

    # --- writing -------------------------------------------------------------------------------
    def write(self) -> None:
        """Write the node into its function."""
        node = self.node
        self.lane = self._lane()
        if 0 in self.shape:
            if node.reductions and 0 not in [self.shape[i] for i in self.kept]:
                self._nest(self.kept, lambda: self._finish([self._empty(v) for v in node.reductions]))
            return
        outer: list[int] = [i for i in self.kept if i != self.lane]
        if not self.over:
            self._nest(outer, self._along(self._map))
        else:
            self._nest(outer, self._reduce_along if self.lane in self.over else self._reduce_beside)

    def _nest(self, loops: Sequence[int], body: Callable[[], None], carry: list[Value] | None = None) -> None:
        if not loops:
            body()
            return
        with self.f.loop(self.shape[loops[0]], carry=carry) as i:
            self.values.positions[loops[0]] = Position(i)
            self._nest(loops[1:], body, carry)

    def _along(self, body: Callable[[], None]) -> Callable[[], None]:
        """Return what runs ``body`` along the lanes: in whole vectors, and one that is not whole."""
        if self.lane is None:
            return body
        lane, extent = self.lane, self.shape[self.lane]

        def write() -> None:
            values, lanes = self.values, self._lanes(extent)
            values.lane, values.lanes = lane, lanes
            whole = extent - extent % lanes
            if extent > lanes and whole < extent and self.heavy >= HEAVY and extent < 64 * lanes:
                with self.f.loop(extent, lanes) as i:  # one body for both saves compilation
                    values.positions[lane] = Position(i)
                    values.mask = self._mask_until(i, extent, lanes)
                    body()
            else:
                values.mask = None
                if whole:
                    with self.f.loop(whole, lanes) as i:
                        values.positions[lane] = Position(i)
                        body()
                if whole < extent:
                    values.positions[lane] = Position(whole)
                    values.mask = first_lanes(extent - whole, lanes)
                    body()
            values.lane, values.lanes, values.mask = None, 1, None

        return write

    def _lanes(self, extent: int) -> int:
        wide = self.most
        if not self.over and self.heavy >= 2 * HEAVY and extent >= 16 * wide:
            wide *= _ABREAST  # several registers at once: none waits for the long chain of another
        return min(wide, 1 << (extent - 1).bit_length())

    def _mask_until(self, i: Value | int, extent: int, lanes: int) -> Mask:
        if isinstance(i, int):
            return first_lanes(extent - i, lanes)
        f = self.f
        left = f.emit(f"sub i64 {extent}, {i.text}", "i64")
        narrow = f.cast("trunc", left, "i32")
        steps = Value("<" + ", ".join(f"i32 {n}" for n in range(lanes)) + ">", "i32", lanes)
        return Mask(f.compare("slt", steps, f.spread(narrow, lanes)).text, lanes)

    def _evaluate(self, variables: Sequence[Variable], index: Callable[[Variable], Index]) -> None:
        """Compute everything, and only then write it: what is read may lie where something is written."""
        self.values.computed = set(variables)
        found = [(v, index(v), self.values.value(v, index(v))) for v in variables]
        for v, at, value in found:
            self.values.store(v, at, value)

    def _map(self) -> None:
        self.values.memo = {}
        self._evaluate(self.node.body, self._index)

    # --- reductions ----------------------------------------------------------------------------
    def _described(self, v: Variable) -> tuple[Reduction, str]:
        """Return what a reduction is, and the kind in which its terms are."""
        instruction = self.graph.maker[v]
        source = KINDS[instruction.reads[0].dtype]
        return reduction(instruction), source if source in ("float", "double") else "double"

    def _accumulator(self, v: Variable) -> str:
        described, kind = self._described(v)
        terms = prod([self.shape[i] for i in self.over])
        return "double" if kind == "float" and terms > _LONG and described.how == "sum" else kind

    def _start(self, lanes: int) -> list[Value]:
        """Return for each reduction what changes nothing."""
        described = [(self._described(v)[0].how, self._accumulator(v)) for v in self.node.reductions]
        return [literal(_NEUTRAL[how], kind, lanes) for how, kind in described]

    def _step(self, totals: list[Value], first: int) -> None:
        """Compute the body, and bring the terms of all reductions into the totals from ``first`` on."""
        f, values = self.f, self.values
        values.memo = {}
        values.computed = set(self.node.body)
        found = [(v, self._index(v), values.value(v, self._index(v))) for v in self.node.body]
        mask = values.mask if values.lane in self.over else None
        for number, v in enumerate(self.node.reductions, first):
            before = totals[number]
            after = self._joined(v, *self._described(v), before)
            totals[number] = f.select(Value(mask.text, "i1", mask.lanes), after, before) if mask else after
        for v, at, value in found:
            values.store(v, at, value)

    def _joined(self, v: Variable, described: Reduction, kind: str, before: Value) -> Value:
        f, values = self.f, self.values
        instruction = self.graph.maker[v]
        _, _, index = loops_of(described)
        if instruction.op == "matmul":
            a, b = [values.as_kind(w, at, kind) for w, at in self.graph.factors(instruction, index[:2], index[2])]
            a, b = [converted(f, x, before.kind) for x in (a, b)]
            return f.fused(f.spread(a, before.lanes), f.spread(b, before.lanes), before)
        place = Flat(counter(0)) if self.flat and instruction.reads[0].size > 1 else index
        term = converted(f, values.as_kind(instruction.reads[0], place, kind), before.kind)
        term = f.spread(term, before.lanes)
        if described.how in ("max", "min"):
            return f.intrinsic(described.how + "imum", before, term)
        return f.binary(_ACROSS[described.how], before, term)

    def _empty(self, v: Variable) -> Value:
        described, kind = self._described(v)
        return self._final(v, literal(_NEUTRAL[described.how], kind))

    def _final(self, v: Variable, value: Value) -> Value:
        """Return the result of a reduction from what was added up."""
        described, kind = self._described(v)
        value = converted(self.f, value, kind)
        if described.divisor != 1:
            value = self.f.divide(value, literal(float(described.divisor), kind))
        return converted(self.f, value, KINDS[v.dtype])

    def _finish(self, results: list[Value]) -> None:
        """Write the results, and what is computed from them."""
        values = self.values
        values.memo = {}
        for v, result in zip(self.node.reductions, results, strict=True):
            values.memo[v, identity(v.shape, self.kept)] = result
        values.computed = set(self.node.after)
        found = [(v, values.value(v, identity(v.shape, self.kept))) for v in self.node.after]
        for v, value in [*zip(self.node.reductions, results, strict=True), *found]:
            values.store(v, identity(v.shape, self.kept), value)

    def _together(self, totals: list[Value]) -> list[Value]:
        """Return what all copies of the totals of each reduction come to."""
        out = []
        count = len(self.node.reductions)
        for number, v in enumerate(self.node.reductions):
            how = self._described(v)[0].how
            parts = totals[number::count]
            while len(parts) > 1:
                parts = [self._pair(how, a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]
            out.append(parts[0])
        return out

    def _pair(self, how: str, a: Value, b: Value) -> Value:
        if how in ("max", "min"):
            return self.f.intrinsic(how + "imum", a, b)
        return self.f.binary(_ACROSS[how], a, b)

    def _reduce_along(self) -> None:
        """Reduce along the lanes, and over the other reduced loops."""
        assert self.lane is not None
        values, extent = self.values, self.shape[self.lane]
        lanes = self._lanes(extent)
        copies = _COPIES if extent >= 2 * _COPIES * lanes and self.heavy < HEAVY else 1
        totals = self._start(lanes) * copies
        count = len(self.node.reductions)

        def along() -> None:
            assert self.lane is not None
            values.lane, values.lanes, values.mask = self.lane, lanes, None
            whole = extent - extent % lanes
            many = whole - whole % (lanes * copies)
            if many:
                with self.f.loop(many, lanes * copies, carry=totals) as i:
                    for n in range(copies):
                        values.positions[self.lane] = Position(i, n * lanes)
                        self._step(totals, n * count)
            if many < whole:
                with self.f.loop(whole, lanes, many, carry=totals) as i:
                    values.positions[self.lane] = Position(i)
                    self._step(totals, 0)
            if whole < extent:
                values.positions[self.lane] = Position(whole)
                values.mask = first_lanes(extent - whole, lanes)
                self._step(totals, 0)

        self._nest([i for i in self.over if i != self.lane], along, totals)
        values.lane, values.lanes, values.mask = None, 1, None
        results = []
        for v, total in zip(self.node.reductions, self._together(totals), strict=True):
            results.append(self._final(v, self.f.across(_ACROSS[self._described(v)[0].how], total)))
        self._finish(results)

    def _reduce_beside(self) -> None:
        """Reduce loops that do not run along the lanes."""
        assert self.lane is not None
        lane, extent = self.lane, self.shape[self.lane]
        lanes = self._lanes(extent)
        whole = extent - extent % lanes
        values = self.values
        values.lane, values.lanes, values.mask = lane, lanes, None
        wide = whole - whole % (lanes * _COPIES) if self.heavy < HEAVY else 0
        if wide:
            with self.f.loop(wide, lanes * _COPIES) as i:
                self._columns([Position(i, n * lanes) for n in range(_COPIES)], lanes)
        if wide < whole:
            with self.f.loop(whole, lanes, wide) as i:
                self._columns([Position(i)], lanes)
        if whole < extent:
            values.mask = first_lanes(extent - whole, lanes)
            self._columns([Position(whole)], lanes)
        values.lane, values.lanes, values.mask = None, 1, None

    def _columns(self, columns: list[Position], lanes: int) -> None:
        """Reduce a few vectors of columns."""
        assert self.lane is not None
        values, inner = self.values, self.over[-1]
        extent = self.shape[inner]
        copies = _COPIES if len(columns) == 1 and extent >= 2 * _COPIES and self.heavy < HEAVY else 1
        count = len(self.node.reductions)
        totals = self._start(lanes) * max(copies, len(columns))
        many = extent - extent % copies
        lane = self.lane

        def rows() -> None:
            with self.f.loop(many, copies, carry=totals) as i:
                for number in range(max(copies, len(columns))):
                    values.positions[inner] = Position(i, number if copies > 1 else 0)
                    values.positions[lane] = columns[number if len(columns) > 1 else 0]
                    self._step(totals, number * count)
            for row in range(many, extent):
                values.positions[inner], values.positions[lane] = Position(row), columns[0]
                self._step(totals, 0)

        self._nest(self.over[:-1], rows, totals)
        groups = [totals[i : i + count] for i in range(0, len(totals), count)] if len(columns) > 1 else [totals]
        for column, group in zip(columns, groups, strict=True):
            values.positions[lane] = column
            results = self._together(group)
            self._finish([self._final(v, t) for v, t in zip(self.node.reductions, results, strict=True)])
