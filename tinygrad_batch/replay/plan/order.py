"""The order in which the instructions of a program run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ...program import Instruction, Program, Variable
from .ops import VIEWS, pointwise


def ordered(instructions: Iterable[Instruction]) -> tuple[Instruction, ...]:
    """Return the instructions in an order in which they can run, as near to the given one as possible."""
    given = list(instructions)
    makes = {instruction.output: instruction for instruction in given}
    before: dict[Variable, Variable] = {}  # random numbers are drawn in the order of the program
    latest: Variable | None = None
    for instruction in given:
        if instruction.entry.random:
            if latest is not None:
                before[instruction.output] = latest
            latest = instruction.output
    done: set[Variable] = set()
    result: list[Instruction] = []
    for wanted in given:
        stack = [wanted]
        while stack:
            instruction = stack[-1]
            out = instruction.output
            if out in done:
                stack.pop()
                continue
            needs = [makes[v] for v in instruction.inputs if type(v) is Variable and v in makes and v not in done]
            if out in before and before[out] not in done:
                needs.append(makes[before[out]])
            if needs:
                stack += needs[::-1]
            else:
                done.add(out)
                result.append(instruction)
                stack.pop()
    return tuple(result)


def readers(program: Program) -> dict[Variable, int]:
    """Return how often each variable is read, where a result of the program counts as one that never ends."""
    count: dict[Variable, int] = dict.fromkeys(program.results, 1000)
    for instruction in program.instructions:
        for v in instruction.inputs:
            if type(v) is Variable:
                count[v] = count.get(v, 0) + 1
    return count


def sunk(program: Program) -> Program:
    """Return the program with products and elementwise operations right before their only reader.

    A product that is read by one elementwise operation can then be run with it, block by block, and what
    else reads the inputs of that operation is done before, so that the result may take their place.
    """
    count = readers(program)
    late: dict[Variable, Instruction] = {}
    for instruction in program.instructions:
        if count.get(instruction.output) == 1 and (instruction.op == "matmul" or pointwise(instruction)):
            late[instruction.output] = instruction
    for instruction in program.instructions:
        if not pointwise(instruction):
            for v in instruction.reads:
                late.pop(v, None)
    if not late:
        return program
    result: list[Instruction] = []
    for instruction in program.instructions:
        if instruction.output not in late:
            _pull(instruction, late, result)
    return replace(program, instructions=tuple(result))


def _pull(instruction: Instruction, late: dict[Variable, Instruction], result: list[Instruction]) -> None:
    """Append an instruction, and before it what was put off for it."""
    stack = [(instruction, False)]
    while stack:
        current, ready = stack.pop()
        waiting = [] if ready else [late[v] for v in dict.fromkeys(current.reads) if v in late]
        if waiting:
            # a product first, so that what is computed block by block with it follows in one run
            waiting.sort(key=lambda other: other.op == "matmul")
            stack.append((current, True))
            stack += [(other, False) for other in waiting]
        else:
            result.append(current)


def alive(program: Program) -> Program:
    """Return the program without what nobody reads; random numbers are drawn all the same."""
    needed = set(program.results)
    kept: list[Instruction] = []
    for instruction in reversed(program.instructions):
        if instruction.output in needed or instruction.entry.random:
            kept.append(instruction)
            needed.update(instruction.reads)
    if len(kept) == len(program.instructions):
        return program
    return replace(program, instructions=tuple(kept[::-1]))


__all__ = ["VIEWS", "alive", "ordered", "readers", "sunk"]
