"""A bias as one more row of the weight.

``h @ W + b`` is ``[h 1] @ [W; b]``. Where a bias lies right behind its weight in memory, the sum needs no
operation of its own, and neither does the gradient of the bias: it is the last row of ``[h 1]ᵀ @ dz``.
NumPy adds a row to a small matrix in more time than BLAS needs for the product.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from ...program import Instruction, Program, Variable
from .arena import Packed
from .order import alive, ordered, readers

# Bytes of an activation, and of an input, which has to be copied; with larger ones the time goes elsewhere.
LARGEST, LARGEST_INPUT = 1 << 16, 1 << 16
# Multiplications of a product up to which one row more is cheaper than a sum over the rows for the bias.
LARGEST_PRODUCT = 1 << 18


def with_ones(given: Packed) -> Packed:
    """Return the program with each bias that can be as the last row of its weight."""
    if not given.spots:
        return given
    program = given.program
    makes = {i.output: i for i in program.instructions}
    count = readers(program)
    layers = []
    for instruction in program.instructions:
        layer = _layer(instruction, makes, count, given)
        if layer is not None:
            layers.append(layer)
    writing = _Writing(given, makes)
    for layer in layers:
        writing.forward(*layer)
    if not writing.replaced:
        return given
    return replace(given, program=alive(writing.program()))


def _layer(
    instruction: Instruction, makes: dict[Variable, Instruction], count: dict[Variable, int], given: Packed
) -> tuple[Instruction, Variable, Variable, Variable] | None:
    """Return (sum, activation, weight, bias) if an instruction is the sum of a product and a bias that fit."""
    product, bias = instruction.inputs if instruction.op == "add" else (None, None)
    if type(product) is not Variable or type(bias) is not Variable or product not in makes or count[product] > 1:
        return None
    made = makes[product]
    if made.op != "matmul":
        return None
    x, weight = made.inputs
    if type(x) is not Variable or type(weight) is not Variable or x.shape == () or len(x.shape) != 2:
        return None
    spots = given.spots
    if weight not in spots or bias not in spots or len(weight.shape) != 2 or bias.shape != weight.shape[1:]:
        return None
    (stretch, start), (other, behind) = spots[weight], spots[bias]
    fits = stretch is other and behind == start + weight.size and x.dtype == weight.dtype
    small = max(x.nbytes, instruction.output.nbytes) <= LARGEST and (x in makes or x.nbytes <= LARGEST_INPUT)
    return (instruction, x, weight, bias) if fits and small and x.size else None


class _Writing:
    """Writes the program anew, layer by layer."""

    def __init__(self, given: Packed, makes: dict[Variable, Instruction]) -> None:
        self.given = given
        self.makes = makes
        self.constants = dict(given.program.constants)
        self.replaced: dict[Variable, list[Instruction]] = {}
        self.widened: dict[Variable, Variable] = {}
        self.grads: dict[Variable, tuple[Variable, Variable]] = {}  # of a weight: that of both, that of the bias

    def forward(self, instruction: Instruction, x: Variable, weight: Variable, bias: Variable) -> None:
        """Merge bias and weight, and in small products the gradients of both."""
        grads = self._gradients(x, weight, bias) if x.size * bias.size <= LARGEST_PRODUCT else None
        rows, out = x.shape[0], instruction.output
        added: list[Instruction] = []
        wide = self.widened.get(x)
        if wide is None:
            ones = Variable(f"{x.name}.1", (rows, 1), x.dtype, "constant")
            self.constants[ones] = np.ones((rows, 1), x.dtype)
            wide = self.widened[x] = Variable(f"{x.name}.wide", (rows, x.shape[1] + 1), x.dtype)
            added.append(Instruction("concatenate", (x, ones), {"axis": 1}, wide, instruction.step))
        stretch, start = self.given.spots[weight]
        shape = (weight.shape[0] + 1, weight.shape[1])
        part = Variable(f"{weight.name}.part", (shape[0] * shape[1],), weight.dtype)
        both = Variable(f"{weight.name}.wide", shape, weight.dtype)
        cut = slice(start, start + part.size)
        added.append(Instruction("getitem", (stretch,), {"index": (cut,)}, part))
        added.append(Instruction("reshape", (part,), {"shape": shape}, both))
        added.append(Instruction("matmul", (wide, both), {}, out, instruction.step))
        self.replaced[out] = added
        if grads is not None:
            self._backward(x, wide, both, *grads)

    def _gradients(self, x: Variable, weight: Variable, bias: Variable) -> tuple[Instruction, Instruction] | None:
        """Return the instructions that compute the gradients of weight and bias, if they are what is expected."""
        for joined in self.given.program.instructions:
            if joined.op != "concatenate" or len(joined.output.shape) != 1:
                continue
            parts = [self._source(v) for v in joined.reads]
            for first, second in pairwise(parts):
                if self._is_pair(first, second, x, weight, bias):
                    return self.makes[first], self.makes[second]
        return None

    def _source(self, v: Variable) -> Variable:
        made = self.makes.get(v)
        return made.reads[0] if made is not None and made.op == "reshape" else v

    def _is_pair(self, first: Variable, second: Variable, x: Variable, weight: Variable, bias: Variable) -> bool:
        if first.shape != weight.shape or second.shape != bias.shape:
            return False
        product, rows = self.makes.get(first), self.makes.get(second)
        if product is None or rows is None or product.op != "matmul" or rows.op not in ("sum_rows", "unbroadcast"):
            return False
        left, dz = product.reads
        turned = self.makes.get(left)
        is_x = turned is not None and turned.op == "matrix_transpose" and turned.reads[0] is x
        return is_x and rows.reads[0] is dz and len(dz.shape) == 2 and dz.dtype == x.dtype

    def _backward(self, x: Variable, wide: Variable, both: Variable, product: Instruction, rows: Instruction) -> None:
        """Compute the gradients of weight and bias as one product; what they were are views of it."""
        step = product.step
        turned = Variable(f"{wide.name}.T", wide.shape[::-1], wide.dtype)
        grad = Variable(f"{product.output.name}.wide", both.shape, both.dtype)
        self.replaced[product.output] = [
            Instruction("matrix_transpose", (wide,), {}, turned, step),
            Instruction("matmul", (turned, product.reads[1]), {}, grad, step),
            Instruction("getitem", (grad,), {"index": (slice(0, x.shape[1]),)}, product.output, step),
        ]
        last = (x.shape[1],)
        self.replaced[rows.output] = [Instruction("getitem", (grad,), {"index": last}, rows.output, step)]
        self.grads[product.output] = (grad, rows.output)

    def program(self) -> Program:
        """Return the program."""
        result: list[Instruction] = []
        for instruction in self.given.program.instructions:
            if instruction.op == "concatenate" and len(instruction.output.shape) == 1:
                result += self._rejoined(instruction)
            else:
                result += self.replaced.get(instruction.output, [instruction])
        return replace(self.given.program, instructions=ordered(result), constants=self.constants)

    def _rejoined(self, joined: Instruction) -> list[Instruction]:
        """Return the join of all gradients, with those of weight and bias as one."""
        pieces: list[Variable] = []
        added: list[Instruction] = []
        skip: Variable | None = None
        for v in joined.reads:
            source = self._source(v)
            if source is skip:
                skip = None
            elif source in self.grads:
                grad, skip = self.grads[source]
                pieces.append(Variable(f"{grad.name}.flat", (grad.size,), grad.dtype))
                added.append(Instruction("reshape", (grad,), {"shape": (grad.size,)}, pieces[-1]))
            else:
                pieces.append(v)
        return [*added, replace(joined, inputs=tuple(pieces))]
