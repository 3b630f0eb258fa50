"""What each operation of a program is to the machine: a map, a view, a reduction, a product, or NumPy's."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ... import shapes
from ...program import NUMBER, VIEWS, Instruction, Number, Operand, Program, Variable
from . import operations
from .indices import ZERO, Affine, Flat, Index, broadcast, counter, extents, is_basic, through_view

KINDS = {"float32": "float", "float64": "double", "bool": "i1", "int32": "i32", "int64": "i64", NUMBER: "double"}
_FLOATING = ("float32", "float64", NUMBER)
REDUCTIONS = {"sum", "mean", "max", "min", "prod", "sum_rows", "unbroadcast"}
MAP, VIEW, REDUCE, PRODUCT, NUMPY, LEAF = "map", "view", "reduce", "product", "numpy", "leaf"


class Reduction(NamedTuple):
    """A sum, product or extreme: over which axes of which loops, and what each step brings in."""

    shape: tuple[int, ...]  # of all loops, those of one step included
    axes: tuple[int, ...]
    how: str
    divisor: int  # of a mean


def role(instruction: Instruction) -> str:
    """Return what an instruction is to the machine."""
    name, out = instruction.op, instruction.output
    if out.dtype not in KINDS or any(v.dtype not in KINDS for v in instruction.reads):
        return NUMPY
    if not all(_plain(v) for v in instruction.inputs):
        return NUMPY
    if name in VIEWS:
        movable = isinstance(instruction.inputs[0], Variable) and out.dtype != NUMBER
        return VIEW if movable and is_basic(instruction.options.get("index", ())) else NUMPY
    if name == "matmul":
        return _role_of_product(instruction)
    if name == "unbroadcast" and instruction.reads and instruction.reads[0].shape == out.shape:
        return MAP if out.dtype in (*_FLOATING, "bool") else NUMPY
    if name in REDUCTIONS:
        return _role_of_reduction(instruction)
    if name in operations.FLOATING:
        return MAP if out.dtype in _FLOATING else NUMPY
    if name in operations.TESTS:
        return MAP if out.dtype == "bool" and tested(instruction) else NUMPY
    if name in operations.LOGIC:
        return MAP if out.dtype == "bool" else NUMPY
    if name in ("where", "astype"):
        return MAP if out.dtype in (*_FLOATING, "bool") else NUMPY
    return NUMPY


def _plain(operand: Operand) -> bool:
    """Return whether an operand is a variable, or a real number that is one."""
    return isinstance(operand, Variable) or (not isinstance(operand, complex) and operand == operand)


def tested(instruction: Instruction) -> str:
    """Return the kind in which numbers are compared; nothing for what only NumPy compares."""
    given: list[Any] = []
    for v in instruction.inputs:
        number = isinstance(v, Variable) and v.dtype == NUMBER
        given.append(1.0 if number else np.dtype(v.dtype) if isinstance(v, Variable) else v)
    dtype = str(np.result_type(*given))
    if dtype in ("bool", "int32", "int64"):
        return "i64" if len(given) == 2 else "double"
    return KINDS.get(dtype, "")


def _role_of_product(instruction: Instruction) -> str:
    a, b = instruction.inputs
    dtype = instruction.output.dtype
    if not (isinstance(a, Variable) and isinstance(b, Variable)) or dtype not in ("float32", "float64"):
        return NUMPY
    if len(a.shape) != 2 or len(b.shape) != 2 or a.dtype != dtype or b.dtype != dtype:
        return NUMPY
    rows, inner, columns = a.shape[0], a.shape[1], b.shape[1]
    if inner == 1:
        return MAP
    return REDUCE if 1 in (rows, columns) or 0 in (rows, inner, columns) else PRODUCT


def _role_of_reduction(instruction: Instruction) -> str:
    source, out = instruction.inputs[0], instruction.output
    if not isinstance(source, Variable) or out.dtype not in ("float32", "float64") or source.dtype == NUMBER:
        return NUMPY
    if instruction.op not in ("mean", "unbroadcast") and source.dtype != out.dtype:
        return NUMPY
    if source.size == 0 and instruction.op in ("mean", "max", "min"):
        return NUMPY  # which warns, or says what is wrong
    if source.dtype not in ("float32", "float64") and instruction.op != "mean":
        return NUMPY
    described = reduction(instruction)
    return REDUCE if any(described.shape[a] != 1 for a in described.axes) else VIEW  # of one term each


def reduction(instruction: Instruction) -> Reduction:
    """Describe an instruction that is a reduction."""
    source = instruction.inputs[0]
    assert isinstance(source, Variable)
    name, shape = instruction.op, source.shape
    if name == "matmul":
        other = instruction.inputs[1]
        assert isinstance(other, Variable)
        return Reduction((shape[0], other.shape[1], shape[1]), (2,), "sum", 1)
    if name == "sum_rows":
        axes: tuple[int, ...] = (0,)
    elif name == "unbroadcast":
        axes, _ = shapes.unbroadcast_axes(shape, instruction.output.shape)
    else:
        axis = instruction.options.get("axis")
        axes = shapes.normal_axes(tuple(axis) if isinstance(axis, list) else axis, len(shape))
    how = name if name in ("max", "min", "prod") else "sum"
    return Reduction(shape, axes, how, prod([shape[a] for a in axes]) if name == "mean" else 1)


class Graph:
    """A program read for the machine.

    Attributes
    ----------
    program : Program
    maker : dict of Variable to Instruction
    role : dict of Variable to str
    users : dict of Variable to list of Instruction
    """

    def __init__(self, program: Program, force_numpy: bool = False) -> None:
        self.program = program
        needed: set[Variable] = set(program.results)
        kept: list[Instruction] = []
        for instruction in reversed(program.instructions):
            if instruction.output in needed:
                needed.update(instruction.reads)
                kept.append(instruction)
        self.instructions = kept[::-1]
        self.maker = {i.output: i for i in self.instructions}
        self.role = {i.output: NUMPY if force_numpy else role(i) for i in self.instructions}
        self.users: dict[Variable, list[Instruction]] = {}
        for instruction in self.instructions:
            for v in dict.fromkeys(instruction.reads):
                self.users.setdefault(v, []).append(instruction)

    def role_of(self, v: Variable) -> str:
        """Return the role of the instruction that makes a variable; LEAF for none."""
        return self.role.get(v, LEAF)

    def inputs_at(self, v: Variable, index: Index) -> Iterator[tuple[Operand, Index | None]]:
        """Yield what a map or view reads, and where, for one element of its result."""
        instruction = self.maker[v]
        if self.role[v] == VIEW:
            yield instruction.inputs[0], through_view(instruction, index)
        elif instruction.op == "matmul":
            yield from self.factors(instruction, index, ZERO)
        else:
            for operand in instruction.inputs:
                source = operand.shape if isinstance(operand, Variable) else ()
                yield operand, broadcast(source, v.shape, index)

    def factors(self, product: Instruction, index: Index, inner: Affine) -> Iterator[tuple[Operand, Index | None]]:
        """Yield the two factors of a term of a matrix product."""
        a, b = product.inputs
        if isinstance(index, Flat):
            yield a, None
            yield b, None
        else:
            yield a, (index[0], inner)
            yield b, (inner, index[1])

    def cost(self, v: Variable) -> int:
        """Return the work of one element of a map."""
        return 0 if self.role[v] == VIEW else operations.COST.get(self.maker[v].op, 1)


def loops_of(reduced: Reduction) -> tuple[tuple[int, ...], tuple[int, ...], tuple[Affine, ...]]:
    """Return the lengths of the loops of a reduction, which of them are reduced, and the index of each axis."""
    index: list[Affine] = []
    over = []
    for axis, n in enumerate(reduced.shape):
        if n == 1:
            index.append(ZERO)
            continue
        loop = sum(m != 1 for m in reduced.shape[:axis])
        index.append(counter(loop))
        if axis in reduced.axes:
            over.append(loop)
    return extents(reduced.shape), tuple(over), tuple(index)


def number_of(operand: Number) -> float:
    """Return a literal of a program as a floating number."""
    return float(operand.real)
