"""Arithmetic on the Python numbers of a program, such as a learning rate: a tenth of the time of NumPy's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...program import Instruction, Variable
from .writer import Writer

_SIGNS = {"add": "+", "subtract": "-", "multiply": "*"}


def _divide(a: float, b: float) -> float:
    return a / b if b else float(np.divide(a, b))


def _power(a: float, b: float) -> float:
    if a > 0:
        try:
            return float(a**b)
        except OverflowError:
            return math.inf
    return float(np.power(a, b))


def _sqrt(x: float) -> float:
    return math.sqrt(x) if x >= 0 else float(np.sqrt(x))


_FUNCTIONS: dict[str, Callable[..., float]] = {"divide": _divide, "power": _power, "sqrt": _sqrt}


def write_number(writer: Writer, instruction: Instruction) -> None:
    """Write an instruction that computes a number."""
    op, out = instruction.op, writer.local(instruction.output)
    given = [writer.local(v) if type(v) is Variable else writer.keep(v, "c") for v in instruction.inputs]
    lines = writer.lines if writer.loop is None else writer.loop.before
    if op in _SIGNS:
        lines.append(f"{out} = {given[0]} {_SIGNS[op]} {given[1]}")
    elif op == "negative":
        lines.append(f"{out} = -{given[0]}")
    elif op in _FUNCTIONS:
        lines.append(f"{out} = {writer.keep(_FUNCTIONS[op], 'f')}({', '.join(given)})")
    else:
        lines.append(f"{out} = {writer.keep(_plain(instruction), 'f')}({', '.join(given)})")


def _plain(instruction: Instruction) -> Callable[..., float]:
    entry, options = instruction.entry, dict(instruction.options)

    def compute(*given: Any) -> float:
        return float(entry.compute(list(given), **options) if entry.variadic else entry.compute(*given, **options))

    return compute
