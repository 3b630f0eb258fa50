"""What a plan needs to know about the operations of the table."""

from __future__ import annotations

from functools import lru_cache
from math import copysign
from typing import Any

import numpy as np

from ...program import NUMBER, Instruction, Operand, Variable
from ...program import VIEWS as PROGRAM_VIEWS

# The result lies in the memory of the input.
VIEWS = PROGRAM_VIEWS | {"sliding_windows"}
_POWERS = {2: "square", 1: "positive", 0.5: "sqrt", -1: "reciprocal"}


def basic(index: Any) -> bool:
    """Return whether an index selects a view."""
    parts = index if isinstance(index, tuple) else (index,)
    kinds = (int, np.integer, slice, type(None), type(...))
    return all(isinstance(part, kinds) and not isinstance(part, bool) for part in parts)


def on_numbers(instruction: Instruction) -> bool:
    """Return whether an instruction computes a Python number."""
    return instruction.output.dtype == NUMBER


def ufunc_of(instruction: Instruction) -> np.ufunc | None:
    """Return the ufunc that an instruction is one call of."""
    compute = instruction.entry.compute
    if type(compute) is np.ufunc and not instruction.options and compute.nin == len(instruction.inputs):
        return compute
    if instruction.op == "power_of":
        name = _POWERS.get(instruction.options.get("exponent", 2))
        floating = instruction.output.dtype in ("float32", "float64")
        return getattr(np, name) if name and floating and _same_dtypes(instruction) else None
    return None


def _same_dtypes(instruction: Instruction) -> bool:
    return all(type(v) is Variable and v.dtype == instruction.output.dtype for v in instruction.inputs)


def pointwise(instruction: Instruction) -> bool:
    """Return whether there is a kernel that computes each element from those in the same place, into any array."""
    if on_numbers(instruction):
        return False
    if ufunc_of(instruction) is not None:
        return True
    op = instruction.op
    if op in ("relu", "softplus"):
        return instruction.output.dtype in ("float32", "float64")
    if op == "astype":
        return True
    if op == "where":
        condition = instruction.inputs[0]
        return type(condition) is Variable and condition.dtype == "bool"
    return False


def overwritable(instruction: Instruction) -> tuple[int, ...]:
    """Return the inputs of a pointwise instruction whose memory its result may take."""
    if instruction.op == "where":
        return (1,) if kept_or_zero(instruction) else (2,)
    return () if instruction.op == "astype" else tuple(range(len(instruction.inputs)))


def zero(value: Operand) -> bool:
    """Return whether an operand is the number 0, and not -0."""
    return type(value) in (int, float) and value == 0 and copysign(1, value) > 0  # type: ignore[arg-type]


def kept_or_zero(instruction: Instruction) -> bool:
    """Return whether a choice is one between the elements of an array of the same shape and 0."""
    condition, kept, other = instruction.inputs
    out = instruction.output
    if type(condition) is not Variable or type(kept) is not Variable or not zero(other):
        return False
    same = condition.shape == kept.shape == out.shape and condition.dtype == "bool"
    return same and kept.dtype == out.dtype and out.dtype in ("float32", "float64")


@lru_cache(maxsize=4096)
def loop_dtypes(ufunc: np.ufunc, given: tuple[Any, ...]) -> tuple[np.dtype, ...] | None:
    """Return the dtypes that a ufunc computes in; a Python number is given as its type."""
    try:
        return ufunc.resolve_dtypes((*given, None))
    except TypeError:
        return None
