"""Ways into machine code: a built-in function of Python for one batch, and a whole epoch in one call.

The built-in reads arrays by NumPy's published layout of an array object and Python's C API; what it does
not know at a glance (other types, other layouts, memory shared with a parameter) it hands to a Python
function that does. `fast_entry_fits` looks whether this Python and this NumPy are laid out like that.
"""

from __future__ import annotations

import ctypes
import sys
import sysconfig
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from ...program import Program, Variable
from .values import Frame

# offsets in an array object (numpy/ndarraytypes.h, PyArrayObject_fields) of a 64-bit CPython
_TYPE, _DATA, _NDIM, _SHAPE, _DESCR, _FLAGS = 8, 16, 24, 32, 56, 64
_PLAIN = 0x0001 | 0x0100  # NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED
_NEW_FROM_DESCR = 94  # its place in NumPy's table of functions (numpy/__multiarray_api.h)
_FASTCALL = 0x0080
API = {
    "PyTuple_New": "ptr (i64)", "PyTuple_SetItem": "i32 (ptr, i64, ptr)", "Py_IncRef": "void (ptr)",
    "Py_DecRef": "void (ptr)", "PyFloat_AsDouble": "double (ptr)", "PyErr_CheckSignals": "i32 ()",
    "PyObject_Vectorcall": "ptr (ptr, ptr, i64, ptr)",
}  # fmt: skip
OBJECTS = ("array type", "float type", "slow", "new array")  # entries of the frame, before those of the dtypes


def results(program: Program) -> list[Variable]:
    """Return the outputs, all of them variables."""
    return [v for v in program.outputs if isinstance(v, Variable)]


def dtypes(program: Program) -> list[str]:
    """Return the dtypes of what goes in and comes out."""
    return sorted({v.dtype for v in (*program.inputs, *results(program))})


@cache
def fast_entry_fits() -> bool:
    """Return whether objects are laid out as the built-in reads them."""
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return False
    if ctypes.sizeof(ctypes.c_void_p) != 8 or hasattr(sys, "getobjects"):
        return False
    array = np.zeros((3, 5), np.float32)[:2]
    start = id(array)

    def word(offset: int, of: Any = ctypes.c_void_p) -> int:
        return of.from_address(start + offset).value

    lengths = (ctypes.c_ssize_t * 2).from_address(word(_SHAPE))
    found = (word(_TYPE), word(_DATA), word(_NDIM, ctypes.c_int), *lengths, word(_DESCR), word(_FLAGS, ctypes.c_int))
    return found == (id(np.ndarray), array.ctypes.data, 2, 2, 5, id(array.dtype), array.flags.num) and new_array() != 0


@cache
def new_array() -> int:
    """Return the address of NumPy's PyArray_NewFromDescr."""
    umath: Any = import_module("numpy._core._multiarray_umath")  # where import_array() of NumPy's headers looks
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = get(umath._ARRAY_API, None) if hasattr(umath, "_ARRAY_API") else None
    return 0 if not table else int(ctypes.c_void_p.from_address(table + 8 * _NEW_FROM_DESCR).value or 0)


def fill(frame: Frame, table: np.ndarray, program: Program, slow: Callable[..., Any]) -> None:
    """Write into the frame what the built-in compares with and calls; all of it lives on elsewhere."""
    start = frame.starts["object"]
    given = [id(np.ndarray), id(float), id(slow), new_array()]
    table[start : start + len(given)] = given
    for i, name in enumerate(dtypes(program), start + len(given)):
        table[i] = id(np.dtype(name))


def builtin(address: int, owner: Any, name: str) -> tuple[Callable[..., Any], Any]:
    """Return a built-in function, and what has to live as long as it does."""

    class MethodDef(ctypes.Structure):
        _fields_ = (
            ("name", ctypes.c_char_p), ("method", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p),
        )  # fmt: skip

    definition = MethodDef(name.encode(), address, _FASTCALL, None)
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
    return make(ctypes.byref(definition), owner, None), definition


# --- the text ----------------------------------------------------------------------------------------
class _Text:
    """Lines of the built-in, with names that do not repeat."""

    def __init__(self, frame: Frame) -> None:
        self.lines: list[str] = []
        self.frame = frame
        self._count = 0

    def let(self, text: str) -> str:
        self._count += 1
        self.lines.append(f"  %e{self._count} = {text}")
        return f"%e{self._count}"

    def read(self, pointer: str, offset: int, kind: str = "ptr") -> str:
        place = self.let(f"getelementptr i8, ptr {pointer}, i64 {offset}")
        return self.let(f"load {kind}, ptr {place}")

    def entry(self, number: int, kind: str = "ptr") -> str:
        return self.read("%frame", 8 * number, kind)

    def put(self, number: int, value: str, kind: str = "ptr") -> None:
        place = self.let(f"getelementptr i8, ptr %frame, i64 {8 * number}")
        self.lines.append(f"  store {kind} {value}, ptr {place}")

    def unless(self, test: str, target: str) -> None:
        """Go to a block unless a test holds."""
        self._count += 1
        self.lines.append(f"  br i1 {test}, label %next{self._count}, label %{target}")
        self.lines.append(f"next{self._count}:")

    def equal(self, kind: str, a: str, b: object, target: str) -> None:
        self.unless(self.let(f"icmp eq {kind} {a}, {b}"), target)


def _bytes(v: Variable) -> int:
    return v.size * np.dtype(v.dtype).itemsize


def enter_text(program: Program, frame: Frame, step: str) -> str:
    """Return the text of the built-in that runs one batch: ``(self, arguments, count) -> tuple``."""
    t = _Text(frame)
    first = frame.starts["object"]
    kinds = {name: first + len(OBJECTS) + i for i, name in enumerate(dtypes(program))}
    count = len(program.inputs) + len(program.numbers)
    t.equal("i64", "%count", count, "slow")
    array_type = t.entry(first)
    data = []
    for i, v in enumerate(program.inputs):
        given = t.read("%given", 8 * i)
        t.equal("ptr", t.read(given, _TYPE), array_type, "slow")
        t.equal("ptr", t.read(given, _DESCR), t.entry(kinds[v.dtype]), "slow")
        t.equal("i32", t.read(given, _NDIM, "i32"), len(v.shape), "slow")
        lengths = t.read(given, _SHAPE)
        for axis, n in enumerate(v.shape):
            t.equal("i64", t.read(lengths, 8 * axis, "i64"), n, "slow")
        t.equal("i32", t.let(f"and i32 {t.read(given, _FLAGS, 'i32')}, {_PLAIN}"), _PLAIN, "slow")
        data.append(t.read(given, _DATA, "i64"))
        for j, living in enumerate(program.living):
            if _bytes(living) and _bytes(v):  # memory shared with what is written would change on the way
                apart = t.let(f"sub i64 {data[-1]}, {t.entry(frame.starts['living'] + j, 'i64')}")
                moved = t.let(f"add i64 {apart}, {_bytes(v) - 1}")
                t.unless(t.let(f"icmp uge i64 {moved}, {_bytes(living) + _bytes(v) - 1}"), "slow")
    numbers = []
    for i in range(len(program.numbers)):
        given = t.read("%given", 8 * (len(program.inputs) + i))
        t.equal("ptr", t.read(given, _TYPE), t.entry(first + 1), "slow")
        numbers.append(t.let(f"call double @tb_PyFloat_AsDouble(ptr {given})"))
    result = t.let(f"call ptr @tb_PyTuple_New(i64 {len(program.outputs)})")
    t.unless(t.let(f"icmp ne ptr {result}, null"), "none")
    for i, v in enumerate(results(program)):
        descr = t.entry(kinds[v.dtype])
        t.lines.append(f"  call void @tb_Py_IncRef(ptr {descr})")
        new = t.let(
            f"call ptr {t.entry(first + 3)}(ptr {array_type}, ptr {descr}, i32 {len(v.shape)}, "
            f"ptr @shape{i}, ptr null, ptr null, i32 0, ptr null)"
        )
        t.unless(t.let(f"icmp ne ptr {new}, null"), "drop")
        t.let(f"call i32 @tb_PyTuple_SetItem(ptr {result}, i64 {i}, ptr {new})")
        t.put(frame.starts["output"] + i, t.read(new, _DATA))
    for i, pointer in enumerate(data):  # not before: making the results may run other Python code
        t.put(frame.starts["input"] + i, pointer, "i64")
    for v, number in zip(program.numbers, numbers, strict=True):
        t.put(frame.numbers[v], number, "double")
    shapes = []
    for i, v in enumerate(results(program)):
        lengths = ", ".join(f"i64 {n}" for n in v.shape or (0,))
        shapes.append(f"@shape{i} = internal constant [{max(1, len(v.shape))} x i64] [{lengths}]")
    return "\n".join([
        *shapes,
        "define ptr @enter(ptr %self, ptr %given, i64 %count) nounwind {",
        f"  %place = getelementptr i8, ptr %self, i64 {_DATA}",
        "  %frame = load ptr, ptr %place",
        *t.lines,
        f"  call void @{step}(ptr %frame)",
        f"  ret ptr {result}",
        "drop:",
        f"  call void @tb_Py_DecRef(ptr {result})" if program.outputs else "",
        "  br label %none",
        "none:",
        "  ret ptr null",
        "slow:",
        f"  %there = getelementptr i8, ptr %frame, i64 {8 * (first + 2)}",
        "  %function = load ptr, ptr %there",
        "  %answer = call ptr @tb_PyObject_Vectorcall(ptr %function, ptr %given, i64 %count, ptr null)",
        "  ret ptr %answer",
        "}",
    ])  # fmt: skip


def epoch_text(program: Program, frame: Frame, step: str) -> str:
    """Return the text of the function that runs many batches: ``(frame, table) -> batches that ran``.

    The table holds the number of batches; the address of the order, or 0; for each input the addresses
    of all rows and of room for a batch; for each output the address of its results; for each number its
    value, and what is added to it after each batch. All entries of the frame are written in every batch, for
    a signal that is handled between two may run the same program.
    """
    lines = [
        "define i64 @epoch(ptr %frame, ptr %table) nounwind {", "entry:",
        "  %batches = load i64, ptr %table",
        "  %p.order = getelementptr i64, ptr %table, i64 1", "  %order = load ptr, ptr %p.order",
        "  %ordered = icmp ne ptr %order, null",
    ]  # fmt: skip
    body: list[str] = []
    place = 2
    for i, v in enumerate(program.inputs):
        batch, row = (v.shape[0], _bytes(v) // max(1, v.shape[0])) if v.shape else (1, _bytes(v))
        for name in ("all", "room"):
            lines += [f"  %p.{name}{i} = getelementptr i64, ptr %table, i64 {place}",
                      f"  %{name}{i} = load ptr, ptr %p.{name}{i}"]  # fmt: skip
            place += 1
        slot = frame.starts["input"] + i
        body += [
            f"  %slot{i} = getelementptr i64, ptr %frame, i64 {slot}",
            f"  br i1 %ordered, label %gather{i}, label %direct{i}",
            f"direct{i}:",
            f"  %from{i} = mul i64 %b, {batch * row}",
            f"  %rows{i} = getelementptr i8, ptr %all{i}, i64 %from{i}",
            f"  store ptr %rows{i}, ptr %slot{i}",
            f"  br label %have{i}",
            f"gather{i}:",
            f"  store ptr %room{i}, ptr %slot{i}",
            f"  %base{i} = mul i64 %b, {batch}",
            f"  br label %row{i}",
            f"row{i}:",
            f"  %r{i} = phi i64 [0, %gather{i}], [%r{i}.next, %row{i}]",
            f"  %n{i} = add i64 %base{i}, %r{i}",
            f"  %w{i} = getelementptr i64, ptr %order, i64 %n{i}",
            f"  %which{i} = load i64, ptr %w{i}",
            f"  %s{i} = mul i64 %which{i}, {row}",
            f"  %source{i} = getelementptr i8, ptr %all{i}, i64 %s{i}",
            f"  %t{i} = mul i64 %r{i}, {row}",
            f"  %target{i} = getelementptr i8, ptr %room{i}, i64 %t{i}",
            f"  call void @llvm.memcpy.p0.p0.i64(ptr %target{i}, ptr %source{i}, i64 {row}, i1 false)",
            f"  %r{i}.next = add i64 %r{i}, 1",
            f"  %r{i}.more = icmp slt i64 %r{i}.next, {batch}",
            f"  br i1 %r{i}.more, label %row{i}, label %have{i}",
            f"have{i}:",
        ]
    for i, v in enumerate(results(program)):
        lines += [f"  %p.out{i} = getelementptr i64, ptr %table, i64 {place}", f"  %out{i} = load ptr, ptr %p.out{i}"]
        place += 1
        body += [f"  %o{i} = mul i64 %b, {_bytes(v)}", f"  %result{i} = getelementptr i8, ptr %out{i}, i64 %o{i}",
                 f"  %there{i} = getelementptr i64, ptr %frame, i64 {frame.starts['output'] + i}",
                 f"  store ptr %result{i}, ptr %there{i}"]  # fmt: skip
    for i, v in enumerate(program.numbers):
        body += [f"  %p.now{i} = getelementptr double, ptr %table, i64 {place}",
                 f"  %now{i} = load double, ptr %p.now{i}",
                 f"  %p.number{i} = getelementptr double, ptr %frame, i64 {frame.numbers[v]}",
                 f"  store double %now{i}, ptr %p.number{i}",
                 f"  %p.up{i} = getelementptr double, ptr %table, i64 {place + 1}",
                 f"  %up{i} = load double, ptr %p.up{i}", f"  %then{i} = fadd double %now{i}, %up{i}",
                 f"  store double %then{i}, ptr %p.now{i}"]  # fmt: skip
        place += 2
    body.append(f"  call void @{step}(ptr %frame)")
    return "\n".join([
        *lines,
        "  br label %turn",
        "turn:",
        "  %b = phi i64 [0, %entry], [%b.next, %go]",
        *body,
        "  %b.next = add i64 %b, 1",
        "  %stop = call i32 @tb_PyErr_CheckSignals()",
        "  %stopped = icmp ne i32 %stop, 0",
        "  br i1 %stopped, label %done, label %go",
        "go:",
        "  %more = icmp slt i64 %b.next, %batches",
        "  br i1 %more, label %turn, label %done",
        "done:",
        "  ret i64 %b.next",
        "}",
    ])  # fmt: skip


def declarations() -> set[str]:
    """Return the declarations of the functions of Python that are called."""
    out = set()
    for name, signature in API.items():
        result, _, arguments = signature.partition(" ")
        out.add(f"declare {result} @tb_{name}{arguments}")
    return out


def sizes(program: Program) -> int:
    """Return how many entries of the frame the built-in needs."""
    return len(OBJECTS) + len(dtypes(program))


def table_size(program: Program) -> int:
    """Return how many entries the table of an epoch has."""
    return 2 + 2 * len(program.inputs) + len(program.outputs) + 2 * len(program.numbers)
