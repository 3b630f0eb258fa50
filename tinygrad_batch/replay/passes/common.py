"""Common subexpressions: what is computed twice is computed once."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...op import TABLE
from ...program import Instruction, Operand, Program, Variable
from .rewriting import Rewriting

COMMUTATIVE = {"add", "multiply", "equal", "not_equal", "logical_and", "logical_or"}
_COMPARED = 1 << 20  # bytes up to which arrays are compared by what they hold; larger ones by which they are


def common(program: Program) -> Program:
    """Return the program with each value computed once.

    What draws random numbers is never the same twice. A value that several updates of parameters have in
    common belongs to none of them afterwards, so that the updates still look alike.
    """
    writing = Rewriting(program)
    _merge_constants(writing)
    seen: dict[Any, int] = {}
    instructions = writing.instructions
    for instruction in program.instructions:
        inputs = writing.inputs(instruction)
        if not TABLE[instruction.op].random:
            place = seen.setdefault(_key(instruction, inputs), len(instructions))
            if place < len(instructions):
                first = instructions[place]
                writing.stand_in(instruction.output, first.output)
                if first.part != instruction.part:
                    instructions[place] = Instruction(first.op, first.inputs, first.options, first.output, first.step)
                continue
        writing.keep(instruction, inputs)
    return writing.finished()


def _merge_constants(writing: Rewriting) -> None:
    seen: dict[Any, Variable] = {}
    for variable, value in list(writing.constants.items()):
        if value.nbytes <= _COMPARED:
            first = seen.setdefault((variable.dtype, variable.shape, value.tobytes()), variable)
            if first is not variable:
                writing.stand_in(variable, first)
                del writing.constants[variable]


def _key(instruction: Instruction, inputs: tuple[Operand, ...]) -> Any:
    op = instruction.op
    given: list[Any] = [v if type(v) is Variable else _frozen(v) for v in inputs]
    if op in COMMUTATIVE:
        given.sort(key=id if type(inputs[0]) is type(inputs[1]) is Variable else _is_number)
    options = instruction.options
    return (op, *given, *[(name, _frozen(options[name])) for name in options]) if options else (op, *given)


def _is_number(value: Any) -> bool:
    return type(value) is not Variable


def _frozen(value: Any) -> Any:
    """Return something hashable that is equal for values which mean the same, and for no others."""
    kind = type(value)
    if kind is float or kind is complex:
        return kind, repr(value)  # 0.0 is not -0.0, and NaN is NaN
    if kind in (int, bool, str, type(None)) or isinstance(value, (np.dtype, type)):
        return kind, value  # 1 is not True
    if kind in (tuple, list):
        return kind, *[_frozen(v) for v in value]
    if kind is slice:
        return kind, _frozen(value.start), _frozen(value.stop), _frozen(value.step)
    if isinstance(value, np.ndarray) and value.dtype != object and value.nbytes <= _COMPARED:
        return kind, value.dtype.str, value.shape, value.tobytes()
    return kind, id(value)
