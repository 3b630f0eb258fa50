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
    "PyObject_Vectorcall": "ptr (ptr, ptr, i64, ptr)", "PyMem_RawMalloc": "ptr (i64)", "PyMem_RawFree": "void (ptr)",
}  # fmt: skip


def results(program: Program) -> list[Variable]:
    """Return the outputs, all of them variables."""
    return [v for v in program.outputs if isinstance(v, Variable)]


def dtypes(program: Program) -> list[str]:
    """Return the dtypes of what goes in and comes out."""
    return sorted({v.dtype for v in (*program.inputs, *results(program))} | {"intp"})


def objects(program: Program) -> list[str]:
    """Return the objects whose addresses stand in the frame: what is compared with, called and returned."""
    return ["array type", "float type", "slow", "none", "new array", *dtypes(program)]


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
    given = [id(np.ndarray), id(float), id(slow), id(None), new_array(), *[id(np.dtype(n)) for n in dtypes(program)]]
    table[start : start + len(given)] = given


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
class Text:
    """Lines of a built-in, with names that do not repeat."""

    def __init__(self, program: Program, frame: Frame) -> None:
        self.lines: list[str] = []
        self.program, self.frame = program, frame
        self._count = 0
        first = frame.starts["object"]
        self.objects = {name: first + i for i, name in enumerate(objects(program))}

    def let(self, text: str) -> str:
        """Write what gives a value."""
        self._count += 1
        self.lines.append(f"  %e{self._count} = {text}")
        return f"%e{self._count}"

    def read(self, pointer: str, offset: int, kind: str = "ptr") -> str:
        """Read a number of bytes behind an address."""
        place = self.let(f"getelementptr i8, ptr {pointer}, i64 {offset}")
        return self.let(f"load {kind}, ptr {place}")

    def entry(self, number: int, kind: str = "ptr") -> str:
        """Read an entry of the frame."""
        return self.read("%frame", 8 * number, kind)

    def put(self, number: int, value: str, kind: str = "ptr") -> None:
        """Write an entry of the frame."""
        place = self.let(f"getelementptr i8, ptr %frame, i64 {8 * number}")
        self.lines.append(f"  store {kind} {value}, ptr {place}")

    def unless(self, test: str, target: str) -> None:
        """Go to a block unless a test holds."""
        self._count += 1
        self.lines.append(f"  br i1 {test}, label %next{self._count}, label %{target}")
        self.lines.append(f"next{self._count}:")

    def equal(self, kind: str, a: str, b: object, target: str) -> None:
        """Go to a block unless two values are equal."""
        self.unless(self.let(f"icmp eq {kind} {a}, {b}"), target)

    def object(self, name: str) -> str:
        """Read the address of an object."""
        return self.entry(self.objects[name])

    def argument(self, number: int) -> str:
        """Read an argument."""
        return self.read("%given", 8 * number)

    def number(self, number: int) -> str:
        """Read an argument that is a float."""
        given = self.argument(number)
        self.equal("ptr", self.read(given, _TYPE), self.object("float type"), "slow")
        return self.let(f"call double @tb_PyFloat_AsDouble(ptr {given})")

    def array(self, given: str, dtype: str, shape: tuple[int | None, ...]) -> str:
        """Check an array, but for the lengths that are None, and read where its elements are."""
        self.equal("ptr", self.read(given, _TYPE), self.object("array type"), "slow")
        self.equal("ptr", self.read(given, _DESCR), self.object(dtype), "slow")
        self.equal("i32", self.read(given, _NDIM, "i32"), len(shape), "slow")
        for axis, n in enumerate(shape):
            if n is not None:
                self.equal("i64", self.length(given, axis), n, "slow")
        self.equal("i32", self.let(f"and i32 {self.read(given, _FLAGS, 'i32')}, {_PLAIN}"), _PLAIN, "slow")
        return self.read(given, _DATA, "i64")

    def length(self, given: str, axis: int) -> str:
        """Read the length of an axis."""
        return self.read(self.read(given, _SHAPE), 8 * axis, "i64")

    def apart(self, data: str, size: str) -> None:
        """Check that memory is not shared with anything living, which changes on the way."""
        for j, living in enumerate(self.program.living):
            if nbytes(living):
                distance = self.let(f"sub i64 {data}, {self.entry(self.frame.starts['living'] + j, 'i64')}")
                end = self.let(f"add i64 {distance}, {size}")
                limit = self.let(f"add i64 {size}, {nbytes(living)}")
                # as unsigned numbers: before the living one by its whole size, or behind it
                overlap = self.let(f"icmp ult i64 {self.let(f'sub i64 {end}, 1')}, {self.let(f'sub i64 {limit}, 1')}")
                self.unless(self.let(f"xor i1 {overlap}, true"), "slow")

    def tuple(self) -> str:
        """Make the tuple of results."""
        result = self.let(f"call ptr @tb_PyTuple_New(i64 {len(self.program.outputs)})")
        self.unless(self.let(f"icmp ne ptr {result}, null"), "none")
        return result

    def result(self, into: str, number: int, v: Variable, ndim: int, shape: str) -> str:
        """Make an array, put it into the tuple of results, and return where its elements are."""
        descr = self.object(v.dtype)
        self.lines.append(f"  call void @tb_Py_IncRef(ptr {descr})")
        new = self.let(
            f"call ptr {self.object('new array')}(ptr {self.object('array type')}, ptr {descr}, i32 {ndim}, "
            f"ptr {shape}, ptr null, ptr null, i32 0, ptr null)"
        )
        self.unless(self.let(f"icmp ne ptr {new}, null"), "drop")
        self.let(f"call i32 @tb_PyTuple_SetItem(ptr {into}, i64 {number}, ptr {new})")
        return self.read(new, _DATA)


def nbytes(v: Variable) -> int:
    """Return the bytes of the elements."""
    return v.size * np.dtype(v.dtype).itemsize


def enter_text(program: Program, frame: Frame, step: str) -> str:
    """Return the text of the built-in that runs one batch: ``(self, arguments, count) -> tuple``."""
    t = Text(program, frame)
    count = len(program.inputs) + len(program.numbers)
    t.equal("i64", "%count", count, "slow")
    data = []
    for i, v in enumerate(program.inputs):
        data.append(t.array(t.argument(i), v.dtype, v.shape))
        if nbytes(v):
            t.apart(data[-1], str(nbytes(v)))
    numbers = [t.number(len(program.inputs) + i) for i in range(len(program.numbers))]
    result = t.tuple()
    for i, v in enumerate(results(program)):
        t.put(frame.starts["output"] + i, t.result(result, i, v, len(v.shape), f"@shape{i}"))
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
        f"  %there = getelementptr i8, ptr %frame, i64 {8 * t.objects['slow']}",
        "  %function = load ptr, ptr %there",
        "  %answer = call ptr @tb_PyObject_Vectorcall(ptr %function, ptr %given, i64 %count, ptr null)",
        "  ret ptr %answer",
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
    return len(objects(program))
