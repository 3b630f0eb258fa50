"""Dead code: what nothing needs is not computed."""

from __future__ import annotations

from ...op import TABLE
from ...program import Program, Variable


def dead(program: Program) -> Program:
    """Return the program without the instructions and constants that no result depends on.

    Instructions that draw random numbers stay, needed or not: without them the generator would fall out
    of step with the same batch run operation by operation.
    """
    needed = set(program.results)
    kept = []
    for instruction in reversed(program.instructions):
        if instruction.output in needed or TABLE[instruction.op].random:
            kept.append(instruction)
            needed.update([v for v in instruction.inputs if type(v) is Variable])
    constants = {v: value for v, value in program.constants.items() if v in needed}
    if len(kept) == len(program.instructions) and len(constants) == len(program.constants):
        return program
    return Program(program.inputs, tuple(kept[::-1]), program.outputs, program.writes, constants)
