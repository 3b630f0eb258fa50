"""Sums that are one product of BLAS, and choices that are one multiplication."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...program import Instruction, Operand, Program, Variable
from .ops import VIEWS, zero
from .order import readers

_DTYPES = ("float32", "float64")


def dots(program: Program) -> Program:
    """Return the program with the sum of all elements of a product, or of a square, as the product of two vectors.

    The products are not stored, and one pass over the factors does it all.
    """
    count = readers(program)
    makes = {i.output: i for i in program.instructions}
    result: list[Instruction] = []
    for instruction in program.instructions:
        factors = _factors(instruction, makes, count)
        if factors is None:
            result.append(instruction)
            continue
        out, size = instruction.output, factors[0].size
        total = out if instruction.op == "sum" else Variable(f"{out.name}.sum", (), out.dtype)
        rows: list[Variable] = []
        for factor, shape in zip(factors, ((1, size), (size, 1)), strict=True):
            rows.append(Variable(f"{out.name}.factor", shape, out.dtype))
            result.append(Instruction("reshape", (factor,), {"shape": shape}, rows[-1], instruction.step))
        one = Variable(f"{out.name}.dot", (1, 1), out.dtype)
        result.append(Instruction("matmul", tuple(rows), {}, one, instruction.step))
        result.append(Instruction("reshape", (one,), {"shape": ()}, total, instruction.step))
        if total is not out:
            result.append(Instruction("divide", (total, size), {}, out, instruction.step))
    return replace(program, instructions=tuple(result))


def _factors(
    instruction: Instruction, makes: dict[Variable, Instruction], count: dict[Variable, int]
) -> tuple[Variable, Variable] | None:
    source = instruction.inputs[0] if instruction.op in ("sum", "mean") else None
    if type(source) is not Variable or instruction.output.shape != () or instruction.output.dtype not in _DTYPES:
        return None
    made = makes.get(source)
    if made is None or count[source] > 1 or made.op not in ("square", "multiply") or not source.size:
        return None
    factors = made.inputs * 2 if made.op == "square" else made.inputs
    for v in factors:
        if type(v) is not Variable or v.shape != source.shape or v.dtype != instruction.output.dtype:
            return None
        if v in makes and makes[v].op in VIEWS and makes[v].op != "reshape":
            return None
    return factors[0], factors[1]  # type: ignore[return-value]


def looked_through(program: Program) -> Program:
    """Return the program with a copy of each input that windows slide over.

    Of an array that is known beforehand the windows are known as well; finding them takes longer than a copy.
    """
    copies: dict[Variable, Operand] = {}
    for instruction in program.instructions:
        x = instruction.inputs[0] if instruction.op == "sliding_windows" else None
        if type(x) is Variable and x.kind == "input":
            copies[x] = Variable(f"{x.name}.copy", x.shape, x.dtype)
    if not copies:
        return program
    made = [
        Instruction("astype", (x,), {"dtype": np.dtype(x.dtype)}, v) for x, v in copies.items() if type(v) is Variable
    ]
    return replace(program, instructions=(*made, *[i.renamed(copies) for i in program.instructions]))


def masked(program: Program) -> Program:
    """Return the program with choices between an array and 0 written so that the array comes first.

    Choosing 0 is then a multiplication of the bits of the array, read as an integer, by 0 or 1: the same
    for NaN and infinity, at a fraction of the time of a choice.
    """
    result: list[Instruction] = []
    for instruction in program.instructions:
        if instruction.op == "where" and zero(instruction.inputs[1]):
            condition, nothing, other = instruction.inputs
            if type(condition) is Variable and condition.dtype == "bool" and type(other) is Variable:
                opposite = Variable(f"{condition.name}.not", condition.shape, "bool")
                result.append(Instruction("logical_not", (condition,), {}, opposite, instruction.step))
                instruction = replace(instruction, inputs=(opposite, other, nothing))
        result.append(instruction)
    return replace(program, instructions=tuple(result))
