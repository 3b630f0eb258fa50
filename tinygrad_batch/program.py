"""A program: what a batch computes, operation by operation, ready to be run again.

The steps of a Trace are for reading; its program is for running. Every instruction is one operation of
the table, also inside the backward steps and the update, and writes one new variable: nothing is ever
overwritten, so an instruction means the same wherever it stands. What lives on from batch to batch
(parameters, gradients, running statistics, what an optimiser keeps) enters as variables of its own
kinds, and `Program.writes` says which variable each of them holds in the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any, Literal

import numpy as np

from .calling import dtype_name, ghost, stand_in
from .errors import CompileError
from .op import TABLE, Op

Kind = Literal["input", "parameter", "state", "gradient", "number", "constant", "computed"]
Number = int | float | bool | complex

LIVING = ("parameter", "state", "gradient")
# Operations whose result may be the memory of their input, seen otherwise: a plan need not compute them.
VIEWS = frozenset({"reshape", "transpose", "matrix_transpose", "broadcast_to", "spread", "getitem"})
NUMBER = "number"  # the dtype of a Python number, which never widens an array


@dataclass(eq=False, slots=True)
class Variable:
    """A value of a program; every variable is written once.

    Attributes
    ----------
    name : str
        Unique in its program; text of the user may be in it.
    shape : tuple of int
    dtype : str
        Such as ``float32``; ``number`` for a Python number.
    kind : str
        ``input`` (given by the caller), ``parameter``, ``gradient`` and ``state`` (they live on from
        call to call), ``number`` (a hyperparameter, read afresh at every call), ``constant``, or
        ``computed`` (by an instruction).
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: Kind = "computed"

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the elements; none for a number."""
        return 0 if self.dtype == NUMBER else self.size * np.dtype(self.dtype).itemsize

    def __repr__(self) -> str:
        return self.name


Operand = Variable | Number


@dataclass(frozen=True, eq=False, slots=True)
class Instruction:
    """One operation: ``output = op(*inputs, **options)``.

    Attributes
    ----------
    op : str
        Name in the table.
    inputs : tuple of Variable or number
        For an operation on a list of arrays, the arrays.
    options : dict
    output : Variable
    step : int
        Number of the step of the trace that it belongs to; 0 for none.
    part : pair of int, or None
        In an update: which update of the batch, and which of its parameters.
    reads : tuple of Variable
        The inputs that are variables.
    """

    op: str
    inputs: tuple[Operand, ...]
    options: dict[str, Any]
    output: Variable
    step: int = 0
    part: tuple[int, int] | None = None
    reads: tuple[Variable, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reads", tuple([v for v in self.inputs if type(v) is Variable]))

    @property
    def entry(self) -> Op:
        """The operation in the table."""
        return TABLE[self.op]

    def renamed(self, to: Mapping[Variable, Operand]) -> Instruction:
        """Return the instruction reading other variables in place of some."""
        if not any(v in to for v in self.reads):
            return self
        return replace(self, inputs=tuple([to.get(v, v) if isinstance(v, Variable) else v for v in self.inputs]))

    def __str__(self) -> str:
        given = [v.name if isinstance(v, Variable) else f"{v:g}" for v in self.inputs]
        given += [f"{key}={_shown(value)}" for key, value in self.options.items()]
        out = self.output
        return f"{out.name} = {self.op}({', '.join(given)})   # {out.dtype}{list(out.shape)}"


@dataclass(frozen=True, eq=False)
class Program:
    """What a batch computes.

    Attributes
    ----------
    inputs : tuple of Variable
        What the caller gives, in order.
    instructions : tuple of Instruction
        In an order in which they can run.
    outputs : tuple of Variable or number
        What the caller gets.
    writes : dict of Variable to Variable or number
        What each living variable that changes holds in the end. All of them change at once.
    constants : dict of Variable to numpy.ndarray
    """

    inputs: tuple[Variable, ...] = ()
    instructions: tuple[Instruction, ...] = ()
    outputs: tuple[Operand, ...] = ()
    writes: dict[Variable, Operand] = field(default_factory=dict)
    constants: dict[Variable, np.ndarray] = field(default_factory=dict)

    @cached_property
    def results(self) -> tuple[Variable, ...]:
        """Every variable that is needed after the last instruction."""
        return tuple([v for v in (*self.outputs, *self.writes.values()) if isinstance(v, Variable)])

    @cached_property
    def living(self) -> tuple[Variable, ...]:
        """The parameters, gradients and states that are read or written, in order of appearance."""
        found = dict.fromkeys(v for v in self.variables() if v.kind in LIVING)
        return tuple(found)

    @cached_property
    def numbers(self) -> tuple[Variable, ...]:
        """The hyperparameters that are read."""
        return tuple(dict.fromkeys(v for v in self.variables() if v.kind == "number"))

    def variables(self) -> Iterator[Variable]:
        """Yield every variable where it appears, some more than once."""
        yield from self.inputs
        for instruction in self.instructions:
            yield from instruction.reads
            yield instruction.output
        yield from self.writes
        yield from self.results

    def __str__(self) -> str:
        lines = [f"inputs {', '.join(v.name for v in self.inputs)}"]
        lines += [str(instruction) for instruction in self.instructions]
        lines += [f"{state.name} <- {value}" for state, value in self.writes.items()]
        lines += [f"return {', '.join(map(str, self.outputs))}"]
        return "\n".join(lines)


class Builder:
    """Writes a program, instruction by instruction, working out shapes and dtypes.

    Examples
    --------
    >>> builder = Builder()
    >>> x = builder.variable("x", (4, 3), "float32", "input")
    >>> w = builder.variable("W", (3, 2), "float32", "parameter")
    >>> m = builder.add("matmul", x, w)
    >>> h = builder.add("tanh", builder.add("multiply", m, 0.5), name="h")
    >>> print(builder.program([x], [h]))
    inputs x
    t1 = matmul(x, W)   # float32[4, 2]
    t2 = multiply(t1, 0.5)   # float32[4, 2]
    h = tanh(t2)   # float32[4, 2]
    return h
    """

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self.constants: dict[Variable, np.ndarray] = {}
        self._taken: dict[str, int] = {}  # name or stem: the number that was tried last
        self.step = 0
        self.part: tuple[int, int] | None = None

    def variable(self, name: str, shape: Sequence[int], dtype: Any, kind: Kind) -> Variable:
        """Return a variable that no instruction computes."""
        return Variable(
            self.unique(name), tuple(shape), dtype if dtype == NUMBER else dtype_name(np.dtype(dtype)), kind
        )

    def constant(self, value: np.ndarray, name: str = "c1") -> Variable:
        """Return a variable with a copy of an array."""
        found = self.variable(name, value.shape, value.dtype, "constant")
        self.constants[found] = np.array(value)
        return found

    def add(self, op: str, *inputs: Operand, name: str = "t1", **options: Any) -> Variable:
        """Append an instruction, and return what it computes."""
        shape, dtype = inferred(TABLE[op], inputs, options)
        return self.append(op, inputs, options, shape, dtype, name)

    def append(
        self, op: str, inputs: Sequence[Operand], options: dict[str, Any], shape: Any, dtype: str, name: str = "t1"
    ) -> Variable:
        """Append an instruction whose shape and dtype are known already."""
        out = Variable(self.unique(name), tuple(shape), dtype)
        plain = {key: _plain(value) for key, value in options.items()}
        self.instructions.append(Instruction(op, tuple(inputs), plain, out, self.step, self.part))
        return out

    def unique(self, name: str) -> str:
        """Return ``name``, or with the next number at its end if it is taken."""
        stem = name.rstrip("0123456789") or name
        while name in self._taken:
            self._taken[stem] = self._taken.get(stem, 0) + 1
            name = f"{stem}{self._taken[stem]}"
        self._taken.setdefault(name, 0)
        return name

    def program(
        self, inputs: Sequence[Variable], outputs: Sequence[Operand], writes: Mapping[Variable, Operand] | None = None
    ) -> Program:
        """Return the program."""
        return Program(tuple(inputs), tuple(self.instructions), tuple(outputs), dict(writes or {}), self.constants)


def inferred(entry: Op, inputs: Sequence[Operand], options: Mapping[str, Any]) -> tuple[tuple[int, ...], str]:
    """Return shape and dtype of what an operation gives; an operation on numbers alone gives a number."""
    if not any(isinstance(v, Variable) and v.dtype != NUMBER for v in inputs):
        return (), NUMBER
    stand_ins = [_in_place_of(v) for v in inputs]
    out = ghost(entry, stand_ins, dict(entry.defaults) | dict(options))
    return out.shape, dtype_name(out.dtype)


def _in_place_of(operand: Operand) -> Any:
    if not isinstance(operand, Variable):
        return operand
    return 1.0 if operand.dtype == NUMBER else stand_in(operand.shape, operand.dtype)


def run_instruction(instruction: Instruction, values: Mapping[Variable, Any]) -> Any:
    """Return what an instruction computes from the values of the variables."""
    given = [values[v] if isinstance(v, Variable) else v for v in instruction.inputs]
    entry = instruction.entry
    out = (
        entry.compute(given, **instruction.options) if entry.variadic else entry.compute(*given, **instruction.options)
    )
    return float(out) if instruction.output.dtype == NUMBER else np.asarray(out)


def evaluate(program: Program, given: Mapping[Variable, Any]) -> dict[Variable, Any]:
    """Run a program one operation after the other, and return the value of every variable.

    This is what a program means: whatever a plan makes of it must give the same results.

    Parameters
    ----------
    program : Program
    given : mapping of Variable to array or number
        The inputs, the living variables and the numbers. Nothing in it is changed.

    Returns
    -------
    dict
        Of every variable, before the writes; `Program.writes` tells what the living ones hold after.

    Raises
    ------
    CompileError
        If a variable that is read was not given.
    """
    values: dict[Variable, Any] = {**program.constants, **given}
    for instruction in program.instructions:
        missing = [v for v in instruction.reads if v not in values]
        if missing:
            raise CompileError(f"the program reads {missing[0].name!r}, of kind {missing[0].kind}, which was not given")
        values[instruction.output] = run_instruction(instruction, values)
    return values


def _plain(option: Any) -> Any:
    """Return an option that nobody else can change."""
    if isinstance(option, (list, tuple)):  # as an index they mean different things
        return type(option)([_plain(part) for part in option])
    if isinstance(option, np.ndarray):
        return option.copy()
    return dtype_name(np.dtype(option)) if isinstance(option, (np.dtype, type)) else option


def _shown(value: Any) -> str:
    return f"array{value.shape}" if isinstance(value, np.ndarray) else str(value)
