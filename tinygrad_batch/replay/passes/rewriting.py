"""Writing a program anew, instruction by instruction: what the passes share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np

from ...program import Instruction, Operand, Program, Variable


def floating(value: Operand) -> TypeGuard[Variable]:
    """Return whether an operand is an array of real floating-point numbers."""
    return type(value) is Variable and value.dtype[0] == "f"


def alike(value: Operand, out: Variable) -> TypeGuard[Variable]:
    """Return whether an operand may stand for ``out``: an array of the same shape and dtype."""
    return type(value) is Variable and value.shape == out.shape and value.dtype == out.dtype


def generic(name: str) -> bool:
    """Return whether a name was only counted, as in ``t12``, and says nothing."""
    return name[0] == "t" and name[1:].isdigit()


class Rewriting:
    """The instructions of a program, being written anew.

    Attributes
    ----------
    instructions : list of Instruction
        Those written so far.
    constants : dict of Variable to numpy.ndarray
    to : dict of Variable to Variable or number
        What stands for each variable that is no longer computed.
    changed : bool
        Whether anything differs from the program.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.instructions: list[Instruction] = []
        self.constants = dict(program.constants)
        self.to: dict[Variable, Operand] = {}
        self.changed = False
        self._names: set[str] | None = None

    def inputs(self, instruction: Instruction) -> tuple[Operand, ...]:
        """Return what an instruction reads now."""
        to = self.to
        if not to or to.keys().isdisjoint(instruction.inputs):
            return instruction.inputs
        return tuple([to.get(v, v) if type(v) is Variable else v for v in instruction.inputs])

    def keep(self, instruction: Instruction, inputs: tuple[Operand, ...]) -> Instruction:
        """Write an instruction of the program, reading ``inputs``."""
        if inputs is not instruction.inputs:
            return self.write(instruction, instruction.op, inputs, instruction.options, instruction.output)
        self.instructions.append(instruction)
        return instruction

    def write(
        self, place: Instruction, op: str, inputs: tuple[Operand, ...], options: dict[str, Any], out: Variable
    ) -> Instruction:
        """Write an instruction in the place of another, with its step and part."""
        self.changed = True
        written = Instruction(op, inputs, options, out, place.step, place.part)
        self.instructions.append(written)
        return written

    def stand_in(self, out: Variable, value: Operand) -> None:
        """Let ``value`` stand for ``out`` from here on."""
        self.changed = True
        self.to[out] = value

    def constant(self, out: Variable, value: Any) -> None:
        """Let a constant stand for ``out``."""
        array = np.array(value, out.dtype)
        found = Variable(out.name, array.shape, out.dtype, "constant")
        self.constants[found] = array
        self.stand_in(out, found)

    def variable(self, stem: str, shape: tuple[int, ...], dtype: str) -> Variable:
        """Return a new variable with a name that nothing else has."""
        if self._names is None:
            self._names = {v.name for v in self.program.variables()}
            self._names.update(v.name for v in self.program.constants)
        name, number = stem, 1
        while name in self._names:
            number += 1
            name = f"{stem}{number}"
        self._names.add(name)
        return Variable(name, shape, dtype)

    def finished(self) -> Program:
        """Return the new program, or the old one where nothing changed."""
        if not self.changed:
            return self.program
        program, to, instructions = self.program, self.to, self.instructions
        better = self._better_names()
        if better:
            to = {v: _read(value, better) for v, value in to.items()}
            for out in better.values():
                del to[out]
            to |= better
            instructions = [_renamed(instruction, better) for instruction in instructions]
        outputs = tuple([_read(v, to) for v in program.outputs])
        writes = {state: _read(v, to) for state, v in program.writes.items()}
        return Program(program.inputs, tuple(instructions), outputs, writes, self.constants)

    def _better_names(self) -> dict[Variable, Variable]:
        """Return, for variables with a generic name, one that they stand for and that has a name of its own."""
        better: dict[Variable, Variable] = {}
        for out, value in self.to.items():
            if type(value) is Variable and value.kind == "computed" and generic(value.name) and not generic(out.name):
                better.setdefault(value, out)
        return better


def _read(value: Operand, to: Mapping[Variable, Operand]) -> Operand:
    return to.get(value, value) if type(value) is Variable else value


def _renamed(instruction: Instruction, better: dict[Variable, Variable]) -> Instruction:
    out = instruction.output
    if out not in better and better.keys().isdisjoint(instruction.inputs):
        return instruction
    inputs = tuple([_read(v, better) for v in instruction.inputs])
    return Instruction(
        instruction.op, inputs, instruction.options, better.get(out, out), instruction.step, instruction.part
    )
