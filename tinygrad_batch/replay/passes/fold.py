"""Constant folding: what depends on constants alone is computed once."""

from __future__ import annotations

import numpy as np

from ...op import TABLE
from ...program import Program, Variable, run_instruction
from .rewriting import Rewriting


def fold(program: Program) -> Program:
    """Return the program with what it computes from constants and plain numbers alone as constants.

    Arithmetic on plain numbers becomes a plain number. What is larger than the constants it is computed
    from stays an instruction (a number repeated over a million rows is a view that takes no memory, as a
    constant it would), and so does everything that draws random numbers.
    """
    writing = Rewriting(program)
    constants = writing.constants
    for instruction in program.instructions:
        inputs = writing.inputs(instruction)
        for v in inputs:
            if type(v) is Variable and v not in constants:
                break
        else:
            read = [v for v in inputs if type(v) is Variable]
            out = instruction.output
            if not TABLE[instruction.op].random and out.size <= max([v.size for v in read], default=1):
                with np.errstate(all="ignore"):  # the batch itself has warned already
                    value = run_instruction(instruction.renamed(writing.to), constants)
                if isinstance(value, float):
                    writing.stand_in(out, value)
                else:
                    writing.constant(out, value)
                continue
        writing.keep(instruction, inputs)
    return writing.finished()
