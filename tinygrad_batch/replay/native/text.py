"""Writing LLVM's textual intermediate language: values, loops, loads and stores.

Vectors are explicit: a value has a kind (``float``, ``double``, ``i1``, ``i64``) and a number of lanes,
and an operation on a vector and a scalar repeats the scalar.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

BYTES = {"float": 4, "double": 8, "i1": 1, "i32": 4, "i64": 8}
_SUFFIX = {"float": "f32", "double": "f64", "i1": "i1", "i32": "i32", "i64": "i64"}


class Value(NamedTuple):
    """A register or a literal."""

    text: str
    kind: str
    lanes: int = 1

    @property
    def type(self) -> str:
        """The type as LLVM writes it."""
        return vector(self.kind, self.lanes)


def vector(kind: str, lanes: int) -> str:
    """Return the type of ``lanes`` elements as LLVM writes it."""
    return kind if lanes == 1 else f"<{lanes} x {kind}>"


def literal(value: float, kind: str, lanes: int = 1) -> Value:
    """Return a number; floating ones bit for bit."""
    if kind == "float":
        try:
            value = struct.unpack("f", struct.pack("f", value))[0]
        except OverflowError:  # as NumPy rounds it
            value = float("inf") if value > 0 else float("-inf")
    if kind in ("float", "double"):
        text = f"0x{struct.unpack('>Q', struct.pack('>d', value))[0]:016X}"
    elif kind == "i1":
        text = "true" if value else "false"
    else:
        text = str(int(value))
    return Value(text if lanes == 1 else f"splat ({kind} {text})", kind, lanes)


@dataclass
class Mask:
    """Which lanes of a vector count: the first few, or those that a register tells."""

    text: str
    lanes: int


def first_lanes(count: int, lanes: int) -> Mask:
    """Return the mask of the first ``count`` lanes."""
    return Mask("<" + ", ".join(f"i1 {'true' if i < count else 'false'}" for i in range(lanes)) + ">", lanes)


class Function:
    """The body of one function, written line by line."""

    def __init__(self, declarations: set[str]) -> None:
        self.lines: list[str] = []
        self.slots: list[str] = []  # stack slots, which LLVM turns into registers
        self.declarations = declarations
        self._count = 0
        self._block = "entry"

    def fresh(self, stem: str = "v") -> str:
        """Return a new register name."""
        self._count += 1
        return f"%{stem}{self._count}"

    def emit(self, text: str, kind: str, lanes: int = 1) -> Value:
        """Write an instruction that gives a value."""
        name = self.fresh()
        self.lines.append(f"  {name} = {text}")
        return Value(name, kind, lanes)

    def do(self, text: str) -> None:
        """Write an instruction that gives nothing."""
        self.lines.append(f"  {text}")

    # --- arithmetic ----------------------------------------------------------------------------
    def spread(self, value: Value, lanes: int) -> Value:
        """Return the scalar in every lane."""
        if value.lanes == lanes:
            return value
        if not value.text.startswith("%"):
            return Value(f"splat ({value.kind} {value.text})", value.kind, lanes)
        wide = vector(value.kind, lanes)
        first = self.emit(f"insertelement {wide} poison, {value.kind} {value.text}, i64 0", value.kind, lanes)
        return self.emit(
            f"shufflevector {wide} {first.text}, {wide} poison, <{lanes} x i32> zeroinitializer", value.kind, lanes
        )

    def together(self, *values: Value) -> list[Value]:
        """Return the values with the same number of lanes."""
        lanes = max(v.lanes for v in values)
        return [self.spread(v, lanes) for v in values]

    def binary(self, name: str, a: Value, b: Value) -> Value:
        """Write an instruction of two operands of the same kind, such as ``fadd``."""
        a, b = self.together(a, b)
        return self.emit(f"{name} {a.type} {a.text}, {b.text}", a.kind, a.lanes)

    def add(self, a: Value, b: Value) -> Value:
        """Return a + b of floating numbers."""
        return self.binary("fadd", a, b)

    def subtract(self, a: Value, b: Value) -> Value:
        """Return a - b of floating numbers."""
        return self.binary("fsub", a, b)

    def multiply(self, a: Value, b: Value) -> Value:
        """Return a * b of floating numbers."""
        return self.binary("fmul", a, b)

    def divide(self, a: Value, b: Value) -> Value:
        """Return a / b of floating numbers."""
        return self.binary("fdiv", a, b)

    def negative(self, a: Value) -> Value:
        """Return -a of floating numbers."""
        return self.emit(f"fneg {a.type} {a.text}", a.kind, a.lanes)

    def constant(self, value: float, like: Value) -> Value:
        """Return a number of the kind of ``like``."""
        return literal(value, like.kind)

    def compare(self, how: str, a: Value, b: Value) -> Value:
        """Compare numbers: ``oeq``, ``olt``, ... of floating ones, ``eq``, ``slt``, ... of integers."""
        a, b = self.together(a, b)
        name = "fcmp" if a.kind in ("float", "double") else "icmp"
        return self.emit(f"{name} {how} {a.type} {a.text}, {b.text}", "i1", a.lanes)

    def select(self, test: Value, a: Value, b: Value) -> Value:
        """Return a where the test holds, else b."""
        test, a, b = self.together(test, a, b)
        return self.emit(f"select {test.type} {test.text}, {a.type} {a.text}, {b.type} {b.text}", a.kind, a.lanes)

    def cast(self, name: str, a: Value, kind: str) -> Value:
        """Convert or reinterpret, by the name of an instruction such as ``fptosi`` or ``bitcast``."""
        return self.emit(f"{name} {a.type} {a.text} to {vector(kind, a.lanes)}", kind, a.lanes)

    def intrinsic(self, name: str, *values: Value, kind: str = "") -> Value:
        """Call an intrinsic whose arguments all have the type of the result."""
        values = tuple(self.together(*values))
        first = values[0]
        suffix = (f"v{first.lanes}" if first.lanes > 1 else "") + _SUFFIX[first.kind]
        types = ", ".join(v.type for v in values)
        self.declarations.add(f"declare {first.type} @llvm.{name}.{suffix}({types})")
        given = ", ".join(f"{v.type} {v.text}" for v in values)
        return self.emit(f"call {first.type} @llvm.{name}.{suffix}({given})", kind or first.kind, first.lanes)

    def fused(self, a: Value, b: Value, c: Value) -> Value:
        """Return a * b + c, rounded once where the machine can."""
        return self.intrinsic("fmuladd", a, b, c)

    def outside(self, name: str, *values: Value) -> Value:
        """Call a function of the C library on each lane."""
        values = tuple(self.together(*values))
        first = values[0]
        self.declarations.add(f"declare {first.kind} @{name}({', '.join(v.kind for v in values)})")
        if first.lanes == 1:
            return self.emit(
                f"call {first.kind} @{name}({', '.join(f'{v.kind} {v.text}' for v in values)})", first.kind
            )
        out = Value("poison", first.kind, first.lanes)
        for lane in range(first.lanes):
            parts = [self.emit(f"extractelement {v.type} {v.text}, i64 {lane}", v.kind) for v in values]
            got = self.outside(name, *parts)
            out = self.emit(
                f"insertelement {out.type} {out.text}, {got.kind} {got.text}, i64 {lane}", out.kind, out.lanes
            )
        return out

    def across(self, how: str, value: Value) -> Value:
        """Bring the lanes together: ``fadd``, ``fmul``, ``fmaximum`` or ``fminimum``."""
        if value.lanes == 1:
            return value
        suffix = f"v{value.lanes}{_SUFFIX[value.kind]}"
        if how in ("fadd", "fmul"):
            start = literal(0.0 if how == "fadd" else 1.0, value.kind)
            self.declarations.add(
                f"declare {value.kind} @llvm.vector.reduce.{how}.{suffix}({value.kind}, {value.type})"
            )
            return self.emit(
                f"call reassoc {value.kind} @llvm.vector.reduce.{how}.{suffix}"
                f"({value.kind} {start.text}, {value.type} {value.text})",
                value.kind,
            )
        self.declarations.add(f"declare {value.kind} @llvm.vector.reduce.{how}.{suffix}({value.type})")
        return self.emit(f"call {value.kind} @llvm.vector.reduce.{how}.{suffix}({value.type} {value.text})", value.kind)

    def shuffled(self, a: Value, b: Value, lanes: Sequence[int]) -> Value:
        """Return a vector of lanes of a, and of b counted on from them."""
        mask = ", ".join(f"i32 {lane}" for lane in lanes)
        text = f"shufflevector {a.type} {a.text}, {b.type} {b.text}, <{len(lanes)} x i32> <{mask}>"
        return self.emit(text, a.kind, len(lanes))

    # --- integers ------------------------------------------------------------------------------
    def integer_sum(self, constant: int, terms: Sequence[tuple[Value | int, int]]) -> Value:
        """Return constant + the sum of the products of each pair, as i64."""
        constant += sum(v * c for v, c in terms if isinstance(v, int))
        total: Value | None = None
        for value, factor in terms:
            if isinstance(value, int):
                continue
            scaled = value if factor == 1 else self.emit(f"mul nsw i64 {value.text}, {factor}", "i64")
            total = scaled if total is None else self.emit(f"add nsw i64 {total.text}, {scaled.text}", "i64")
        if total is None:
            return literal(constant, "i64")
        return total if not constant else self.emit(f"add nsw i64 {total.text}, {constant}", "i64")

    # --- memory --------------------------------------------------------------------------------
    def at(self, pointer: str, kind: str, offset: Value) -> str:
        """Return the address of an element."""
        element = "i8" if kind == "i1" else kind
        name = self.fresh("p")
        self.lines.append(f"  {name} = getelementptr inbounds {element}, ptr {pointer}, i64 {offset.text}")
        return name

    def load(self, pointer: str, kind: str, lanes: int = 1, mask: Mask | None = None) -> Value:
        """Read elements that lie side by side; booleans are bytes."""
        element = "i8" if kind == "i1" else kind
        wide = vector(element, lanes)
        align = BYTES[kind]
        if mask is None or lanes == 1:
            out = self.emit(f"load {wide}, ptr {pointer}, align {align}", element, lanes)
        else:
            name = f"llvm.masked.load.v{lanes}{'i8' if kind == 'i1' else _SUFFIX[kind]}.p0"
            self.declarations.add(f"declare {wide} @{name}(ptr, i32, <{lanes} x i1>, {wide})")
            out = self.emit(
                f"call {wide} @{name}(ptr {pointer}, i32 {align}, <{lanes} x i1> {mask.text}, {wide} zeroinitializer)",
                element, lanes,
            )  # fmt: skip
        if kind == "i1":
            return self.compare("ne", out, literal(0, "i8", lanes))
        return out

    def gather(self, pointer: str, kind: str, offset: Value, stride: int, lanes: int, mask: Mask | None) -> Value:
        """Read elements that lie ``stride`` apart."""
        element = "i8" if kind == "i1" else kind
        steps = "<" + ", ".join(f"i64 {i * stride}" for i in range(lanes)) + ">"
        offsets = self.binary("add nsw", self.spread(offset, lanes), Value(steps, "i64", lanes))
        places = self.emit(
            f"getelementptr inbounds {element}, ptr {pointer}, <{lanes} x i64> {offsets.text}", "ptr", lanes
        )
        suffix = "i8" if kind == "i1" else _SUFFIX[kind]
        wide, name = vector(element, lanes), f"llvm.masked.gather.v{lanes}{suffix}.v{lanes}p0"
        test = mask.text if mask else "splat (i1 true)"
        self.declarations.add(f"declare {wide} @{name}(<{lanes} x ptr>, i32, <{lanes} x i1>, {wide})")
        out = self.emit(
            f"call {wide} @{name}(<{lanes} x ptr> {places.text}, i32 {BYTES[kind]}, <{lanes} x i1> {test}, "
            f"{wide} zeroinitializer)", element, lanes,
        )  # fmt: skip
        return self.compare("ne", out, literal(0, "i8", lanes)) if kind == "i1" else out

    def store(self, value: Value, pointer: str, mask: Mask | None = None) -> None:
        """Write elements side by side; booleans as bytes."""
        align = BYTES[value.kind]
        if value.kind == "i1":
            value = self.cast("zext", value, "i8")
        if mask is None or value.lanes == 1:
            self.do(f"store {value.type} {value.text}, ptr {pointer}, align {align}")
            return
        suffix = "i8" if value.kind == "i8" else _SUFFIX[value.kind]
        name = f"llvm.masked.store.v{value.lanes}{suffix}.p0"
        self.declarations.add(f"declare void @{name}({value.type}, ptr, i32, <{value.lanes} x i1>)")
        self.do(
            f"call void @{name}({value.type} {value.text}, ptr {pointer}, i32 {align}, "
            f"<{value.lanes} x i1> {mask.text})"
        )

    def slot(self, start: Value) -> str:
        """Return the address of a variable on the stack, which holds ``start`` from here on."""
        name = self.fresh("slot")
        self.slots.append(f"  {name} = alloca {start.type}")
        self.do(f"store {start.type} {start.text}, ptr {name}")
        return name

    # --- loops ---------------------------------------------------------------------------------
    @contextmanager
    def loop(self, stop: int, step: int = 1, start: int = 0, carry: list[Value] | None = None) -> Iterator[Value | int]:
        """Write a loop; one that runs once is none.

        ``carry`` holds the values that go from one turn to the next: the body replaces them.
        """
        if stop - start <= step:
            yield start
            return
        name = self.fresh("i")
        head, done = f"loop{name[1:]}", f"done{name[1:]}"
        self.do(f"br label %{head}")
        self.lines.append(f"{head}:")
        place = len(self.lines)
        before, self._block = self._block, head
        carry = [] if carry is None else carry
        given = list(carry)
        carry[:] = [Value(self.fresh("c"), v.kind, v.lanes) for v in given]
        turning = list(carry)
        yield Value(name, "i64")
        phis = [f"  {name} = phi i64 [{start}, %{before}], [{name}.next, %{self._block}]"]
        for now, first, last in zip(turning, given, carry, strict=True):
            phis.append(f"  {now.text} = phi {now.type} [{first.text}, %{before}], [{last.text}, %{self._block}]")
        self.lines[place:place] = phis
        self.do(f"{name}.next = add nuw nsw i64 {name}, {step}")
        self.do(f"{name}.more = icmp slt i64 {name}.next, {stop}")
        self.do(f"br i1 {name}.more, label %{head}, label %{done}")
        self.lines.append(f"{done}:")
        self._block = done

    def text(self, header: str) -> str:
        """Return the whole function."""
        return "\n".join([f"{header} {{", "entry:", *self.slots, *self.lines, "  ret void", "}"])
