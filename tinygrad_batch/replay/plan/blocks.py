"""Runs of elementwise operations on large arrays, computed block of rows by block of rows.

A block and what is computed on the way stay in the cache, so that twenty operations walk through memory
once. A product whose rows are read by the run alone joins it: its result never exists as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ...program import NUMBER, Instruction, Variable
from .facts import Facts
from .ops import pointwise

LARGE = 1 << 19  # bytes of a result from which on a run is worth its loop
BLOCK = 1 << 18  # bytes of a block
PRODUCT, FEWEST = (
    1 << 19,
    4,
)  # the same where a product writes them, and how many there have to be: BLAS likes them large


@dataclass(eq=False)
class Run:
    """Instructions that are run together, block by block.

    Attributes
    ----------
    start, stop : int
        The first instruction, and the one behind the last.
    shape : tuple of int
        Of the arrays.
    rows : int
        Rows of a block.
    body : list of int
        The instructions in the loop; the others, views and numbers, come before it.
    inside : set of Variable
        What is needed only inside: of these there is one block.
    crossed : set of Variable
        Whose memory is read otherwise than row by row, and so cannot be overwritten here.
    """

    start: int
    stop: int
    shape: tuple[int, ...]
    rows: int
    body: list[int]
    inside: set[Variable] = field(default_factory=set)
    crossed: set[Variable] = field(default_factory=set)


def runs(facts: Facts) -> dict[int, Run]:
    """Return the run of each instruction that is in one."""
    found: dict[int, Run] = {}
    i = 0
    while i < facts.end:
        run = _run(facts, i)
        if run is None:
            i += 1
            continue
        found.update(dict.fromkeys(range(run.start, run.stop), run))
        i = run.stop
    return found


def _large(instruction: Instruction) -> bool:
    out = instruction.output
    return max(out.nbytes, 4 * out.size) >= LARGE and len(out.shape) > 0 and out.shape[0] > 1


def _run(facts: Facts, start: int) -> Run | None:
    """Return the longest run that starts here, if it is worth it."""
    first = facts.instructions[start]
    if not _large(first) or not (pointwise(first) or first.op == "matmul"):
        return None
    shape, inside, body = first.output.shape, set[Variable](), []
    stop = start
    for i in range(start, facts.end):
        instruction = facts.instructions[i]
        if not _joins(facts, i, shape, inside):
            break
        if facts.role[i] == "kernel":
            body.append(i)
            inside.add(instruction.output)
            stop = i + 1
    # a product is worth computing in blocks if no more than blocks of it are needed
    products = [i for i in body if facts.instructions[i].op == "matmul"]
    if any(facts.last.get(facts.instructions[i].output, i) >= stop for i in products):
        return None
    if len(body) < 2 or len(body) == len(products):
        return None
    row = max(facts.instructions[i].output.nbytes for i in body) // shape[0]
    rows = max(1, (PRODUCT if products else BLOCK) // row)
    if (FEWEST if products else 2) * rows > shape[0]:
        return None
    run = Run(start, stop, shape, rows, body)
    run.inside = {v for v in inside if facts.last.get(v, start) < stop and v not in facts.piece}
    run.crossed = _crossed(facts, run)
    return run


def _joins(facts: Facts, i: int, shape: tuple[int, ...], inside: set[Variable]) -> bool:
    """Return whether an instruction can be in a run on arrays of a shape, after those inside."""
    instruction, role = facts.instructions[i], facts.role[i]
    if role == "number":
        return True
    if role == "view":
        return facts.base[instruction.output] not in inside
    if role != "kernel" or instruction.output.shape != shape or not _large(instruction):
        return False
    if any(v in facts.columns for v in (instruction.output, *instruction.reads)):
        return False
    if instruction.op == "matmul":
        return len(shape) == 2 and not any(facts.base.get(v, v) in inside for v in instruction.reads)
    return pointwise(instruction) and not any(v in facts.base and facts.base[v] in inside for v in instruction.reads)


def _crossed(facts: Facts, run: Run) -> set[Variable]:
    crossed: set[Variable] = set()
    for i in run.body:
        instruction = facts.instructions[i]
        for position, v in enumerate(instruction.inputs):
            if type(v) is not Variable or v.dtype == NUMBER:
                continue
            source = facts.base.get(v, v)
            rowwise = position == 0 if instruction.op == "matmul" else v.shape == run.shape
            if source is not v or not rowwise:
                crossed.add(source)
            # the memory of a part is that of the whole
            if source in facts.piece:
                crossed.add(facts.piece[source][0])
            crossed.update(facts.parts.get(source, ()))
    return crossed


def cut(v: Variable, run: Run, position: int, op: str) -> bool:
    """Return whether an operand is cut into rows along with the blocks; else every block reads all of it."""
    if op == "matmul":
        return position == 0
    return len(v.shape) == len(run.shape) and v.shape[0] == run.shape[0] and run.shape[0] > 1


def spans(run: Run) -> list[slice]:
    """Return the rows of each block."""
    return [slice(k, min(k + run.rows, run.shape[0])) for k in range(0, run.shape[0], run.rows)]


def block_bytes(v: Variable, run: Run) -> int:
    """Return the bytes of one block of a value."""
    return v.nbytes // run.shape[0] * run.rows
