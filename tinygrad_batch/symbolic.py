"""Derivative rules and optimisers, run on symbols: how a capture writes its program.

A rule runs on arrays, on Tensors and on names; here it runs on stand-ins, Tensors that have a shape and
a dtype but no memory, while every operation it is made of is written down. An optimiser's `update`, which
changes arrays in place, runs on a `Symbol`, which changes in place as well: it remembers which variable
it stands for now.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .calling import dtype_name, operand, stand_in, wrap
from .errors import CompileError, TinygradBatchError
from .op import NUMPY, Op, Plan
from .program import NUMBER, Builder, Kind, Operand, Program, Variable
from .state import state
from .tensor import Tensor


@dataclass(frozen=True, slots=True)
class Living:
    """Where the array of a variable, or its number, is found from one batch to the next.

    Attributes
    ----------
    owner : Tensor, numpy.ndarray or Optimizer
        A parameter or buffer is the Tensor's own array, a gradient that of the Tensor.
    key : str
        What is read of an optimiser: a hyperparameter, ``steps``, or the name of a slot.
    place : int or None
        For a hyperparameter that is a tuple, which of its numbers; for steps and slots, which parameter.
    ahead : int
        How many updates of this batch the count of steps is ahead.
    """

    owner: Any
    key: str = ""
    place: int | None = None
    ahead: int = 0


class Symbol:
    """A variable with arithmetic, also in place; writes down what is done with it."""

    __slots__ = ("__weakref__", "_facts", "_truth", "builder", "variable")

    def __init__(self, builder: Builder, variable: Variable, facts: dict[Variable, bool], truth: bool = True) -> None:
        self.builder = builder
        self.variable = variable
        self._facts = facts
        self._truth = truth

    @property
    def dtype(self) -> str:
        """Name of the dtype."""
        return self.variable.dtype

    def _made(self, op: str, *inputs: Any, **options: Any) -> Symbol:
        read = [v.variable if isinstance(v, Symbol) else operand(v) for v in inputs]
        return type(self)(self.builder, self.builder.add(op, *read, **options), self._facts)

    def _become(self, other: Symbol) -> Symbol:
        self.variable = other.variable
        return self

    def __bool__(self) -> bool:
        # "if self.weight_decay:" decides which program this is, so the answer becomes a condition of it
        if self.variable.dtype != NUMBER or self.variable.kind != "number":
            raise CompileError("an update cannot branch on the elements of an array", "Use numpy.where or tb.where")
        self._facts[self.variable] = self._truth
        return self._truth

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Symbol:
        known = NUMPY.get(ufunc)
        if method != "__call__" or options or known is None:
            raise CompileError(f"an update uses numpy.{ufunc.__name__}.{method}, which cannot be compiled")
        return self._made(known.op.name, *inputs)  # type: ignore[attr-defined]

    def __add__(self, other: Any) -> Symbol:
        return self._made("add", self, other)

    def __radd__(self, other: Any) -> Symbol:
        return self._made("add", other, self)

    def __sub__(self, other: Any) -> Symbol:
        return self._made("subtract", self, other)

    def __rsub__(self, other: Any) -> Symbol:
        return self._made("subtract", other, self)

    def __mul__(self, other: Any) -> Symbol:
        return self._made("multiply", self, other)

    def __rmul__(self, other: Any) -> Symbol:
        return self._made("multiply", other, self)

    def __truediv__(self, other: Any) -> Symbol:
        return self._made("divide", self, other)

    def __rtruediv__(self, other: Any) -> Symbol:
        return self._made("divide", other, self)

    def __pow__(self, other: Any) -> Symbol:
        return self._made("power", self, other)

    def __rpow__(self, other: Any) -> Symbol:
        return self._made("power", other, self)

    def __neg__(self) -> Symbol:
        return self._made("negative", self)

    def __iadd__(self, other: Any) -> Symbol:
        return self._become(self + other)

    def __isub__(self, other: Any) -> Symbol:
        return self._become(self - other)

    def __imul__(self, other: Any) -> Symbol:
        return self._become(self * other)

    def __itruediv__(self, other: Any) -> Symbol:
        return self._become(self / other)


class Scribe:
    """Writes the program of a capture.

    Values go by their ids in the trace. ``variables`` tells which variable a value is at the moment: a
    parameter that was updated, or a gradient that was added to, becomes another variable.

    Attributes
    ----------
    variables : dict of int to Variable or number
    inputs : list of Variable
    living : dict of Variable to Living
        Where the arrays and numbers come from that are not given by the caller.
    writes : dict of Variable to Variable or number
    facts : dict of Variable to bool
        Hyperparameters that a decision was made on, and whether they were other than 0.
    entered : dict of int to Variable
        For a value that no operation of this batch computed, its variable at the beginning.
    """

    replays = walks = False
    expands = True

    def __init__(self) -> None:
        self.builder = Builder()
        self.variables: dict[int, Operand] = {}
        self.inputs: list[Variable] = []
        self.living: dict[Variable, Living] = {}
        self.writes: dict[Variable, Operand] = {}
        self.facts: dict[Variable, bool] = {}
        self.entered: dict[int, Variable] = {}
        self._slots: dict[int, tuple[Variable, Variable]] = {}  # id of an array an optimiser keeps: at entry, now
        self._gradients: dict[int, Variable] = {}  # id of a tensor: the variable of the gradient it came with
        self._updates: Counter[int] = Counter()  # how often a parameter was updated in this batch
        self._stand_ins: dict[int, Variable] = {}  # id of a Tensor without memory
        self._tensors: dict[Variable, Tensor] = {}

    # --- values ----------------------------------------------------------------------------------
    def enter(self, value: int, array: np.ndarray, kind: Kind, owner: Any, name: str = "v1") -> None:
        """Note a value that no operation of this batch computed."""
        variable = self.builder.variable(name, array.shape, array.dtype, kind)
        self.variables[value] = self.entered[value] = variable
        if kind == "input":
            self.inputs.append(variable)
        else:
            self.living[variable] = Living(owner)

    def write(self, value: int, variable: Operand) -> None:
        """Note that a value that lives on holds another variable from now on."""
        self.variables[value] = variable
        self.writes[self.entered[value]] = variable

    def overwrite(self, value: int, source: Operand, step: int) -> None:
        """Write that all elements of a value that lives on become those of ``source``."""
        self.builder.step = step
        target = self.entered[value]
        new = self._variable(source, target.dtype)
        if new.dtype != target.dtype:
            new = self.builder.add("astype", new, dtype=target.dtype)
        if new.shape != target.shape:
            new = self.builder.add("broadcast_to", new, shape=target.shape)
        self.write(value, new)

    # --- operations ------------------------------------------------------------------------------
    def operation(
        self, op: Op, operands: Sequence[Operand], options: dict[str, Any], value: int, out: np.ndarray, step: int
    ) -> Variable:
        """Write a forward operation, and return what it computes."""
        self.builder.step = step
        made = self.builder.append(op.name, operands, options, out.shape, dtype_name(out.dtype))
        self.variables[value] = made
        return made

    def rule(self, rule: Callable[..., Any], grad: Operand, needs: Sequence[Any], step: int) -> Operand:
        """Write what a derivative rule computes, and return it."""
        self.builder.step = step
        given = [self._stand_in(v) if isinstance(v, Variable) else v for v in (grad, *needs)]
        with state.switch(abstract=True, grad=False, recorder=self):
            return self._read(rule(*given))

    def forward(self, op: Op, operands: Sequence[Any], options: dict[str, Any], out: Tensor, plan: Plan | None) -> None:
        """Write an operation inside a rule: while a rule runs on stand-ins, the scribe is the recorder."""
        made = self.builder.append(
            op.name, [self._read(v) for v in operands], options, out.shape, dtype_name(out.dtype)
        )
        self._tensors[made] = out
        self._stand_ins[id(out)] = made

    def _stand_in(self, variable: Variable) -> Tensor:
        if variable not in self._tensors:
            tensor = wrap(stand_in(variable.shape, variable.dtype))
            self._tensors[variable] = tensor
            self._stand_ins[id(tensor)] = variable
        return self._tensors[variable]

    def _read(self, given: Any) -> Operand:
        if type(given) is Tensor:
            if id(given) not in self._stand_ins:
                raise CompileError("a derivative rule uses a tensor that it made itself", "Use operations of the table")
            return self._stand_ins[id(given)]
        value = operand(given)
        return self.builder.constant(value) if isinstance(value, np.ndarray) else value

    # --- gradients -------------------------------------------------------------------------------
    def gradient(self, value: int, contribution: Operand, before: Operand | None, dtype: str | None) -> None:
        """Note what the gradient with id ``value`` is now: a contribution, added to what was there before.

        The gradient of a leaf has the leaf's dtype.
        """
        total = self._variable(contribution if before is None else self.builder.add("add", before, contribution), dtype)
        self.variables[value] = (
            self.builder.add("astype", total, dtype=dtype) if dtype not in (None, total.dtype) else total
        )

    def arrived(self, tensor: Tensor) -> Variable:
        """Return the variable of the gradient that a leaf came with."""
        known = self._gradients.get(id(tensor._node))
        if known is None:
            known = self.builder.variable("grad", tensor.shape, tensor.dtype, "gradient")
            self._gradients[id(tensor._node)] = known
            self.living[known] = Living(tensor)
        return known

    # --- updates ---------------------------------------------------------------------------------
    def update(self, optimizer: Any, learned: Sequence[tuple[Any, int, Operand]], step: int) -> str:
        """Write an optimiser's step on parameters, given with the ids of their values and their gradients.

        Returns
        -------
        str
            Why that cannot be done, or nothing.
        """
        builder, numbers = self.builder, {}
        builder.step = step

        def number(name: str, value: float, place: int | None = None) -> Symbol:
            variable = builder.variable(name if place is None else f"{name}{place + 1}", (), NUMBER, "number")
            self.living[variable] = Living(optimizer, name, place)
            return Symbol(builder, variable, self.facts, bool(value))

        stepping = optimizer.steered_by(number)
        update = self._updates.total()
        for part, (one, value, grad) in enumerate(learned):
            builder.part = update, part
            self._updates[id(one)] += 1
            again = self._updates[id(one)]
            if (one.steps, again) not in numbers:  # parameters that were updated equally often count together
                numbers[one.steps, again] = builder.variable("t", (), NUMBER, "number")
                self.living[numbers[one.steps, again]] = Living(optimizer, "steps", optimizer.place(one), again)
            kept = [self._slot(optimizer, one, name) for name in one.kept]
            given = [self._variable(self.variables[value]), self._variable(grad), *[now for _, now in kept]]
            symbols = [Symbol(builder, v, self.facts) for v in given]
            try:
                stepping.update(Symbol(builder, numbers[one.steps, again], self.facts), *symbols)
            except (TinygradBatchError, TypeError, AttributeError) as error:
                return f"the update of {type(optimizer).__name__} cannot be written down ({error})"
            self.write(value, symbols[0].variable)
            for name, (entered, _), symbol in zip(one.kept, kept, symbols[2:], strict=True):
                self.writes[entered] = symbol.variable
                self._slots[id(one.kept[name])] = entered, symbol.variable
        builder.part = None
        return ""

    def _slot(self, optimizer: Any, one: Any, name: str) -> tuple[Variable, Variable]:
        array = one.kept[name]
        if id(array) not in self._slots:
            entered = self.builder.variable(name, array.shape, array.dtype, "state")
            self.living[entered] = Living(optimizer, name, optimizer.place(one))
            self._slots[id(array)] = entered, entered
        return self._slots[id(array)]

    def _variable(self, value: Operand, dtype: str | None = None) -> Variable:
        return value if isinstance(value, Variable) else self.builder.constant(np.asarray(value, dtype))

    # --- the end ---------------------------------------------------------------------------------
    def keep_gradient(self, tensor: Tensor, value: int) -> None:
        """Note that the gradient of a leaf stays behind."""
        self.writes[self.arrived(tensor)] = self.variables[value]

    def program(self, outputs: Sequence[Operand], names: Mapping[int, str]) -> Program:
        """Return the program, its variables named as the values of the trace."""
        program = self.builder.program(self.inputs, outputs, self.writes)
        final: dict[Variable, str] = {v: names[i] for i, v in self.entered.items() if i in names}
        for value, variable in self.variables.items():
            if isinstance(variable, Variable) and value in names:
                final.setdefault(variable, names[value] if value not in self.entered else f"{names[value]}_new")
        leaves = {id(self.living[v].owner): name for v, name in final.items() if v.kind == "parameter"}
        for variable in self._gradients.values():
            final.setdefault(variable, f"{leaves.get(id(self.living[variable].owner), 'v')}_grad")
        naming = Builder()
        for variable, name in final.items():
            variable.name = naming.unique(name)
        for variable in dict.fromkeys(program.variables()):
            if variable not in final:
                variable.name = naming.unique(variable.name)
        return program


class Tally(Builder):
    """Adds up the bytes of the temporary arrays that symbols stand for, as long as each symbol is there."""

    def __init__(self) -> None:
        super().__init__()
        self.held = self.most = 0
        self.latest = 0  # what was held when the latest symbol was made: it may still turn out to be in place
        self._watching: dict[int, Any] = {}

    def count(self, symbol: Symbol) -> None:
        """Count a symbol from now on, until nobody holds it."""
        self.settle()
        key, nbytes = id(symbol), symbol.variable.nbytes

        def gone(_: Any) -> None:
            self.held -= nbytes
            del self._watching[key]

        self._watching[key] = weakref.ref(symbol, gone)
        self.held += nbytes
        self.latest = self.held

    def settle(self) -> None:
        """Take note of what was there with the latest symbol."""
        self.most = max(self.most, self.latest)


class Weighed(Symbol):
    """A symbol whose temporaries are counted; what is computed in place takes no memory of its own."""

    __slots__ = ()

    builder: Tally

    def _made(self, op: str, *inputs: Any, **options: Any) -> Symbol:
        made = super()._made(op, *inputs, **options)
        self.builder.count(made)
        return made

    def _become(self, other: Symbol) -> Symbol:
        self.builder.latest = 0
        return super()._become(other)


def workspace(optimizer: Any, size: int, dtype: Any, slots: Sequence[str]) -> int:
    """Return the bytes of the temporary arrays that stand in an optimiser's update of ``size`` numbers at one time.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> sgd = tb.optim.SGD(tb.nn.Linear(10, 15).parameters(), lr=0.1)
    >>> workspace(sgd, 150, "float64", ())  # the product of the rate and the gradient
    1200
    """
    tally = Tally()

    def number(name: str, value: float = 1.0, place: int | None = None) -> Weighed:
        return Weighed(tally, tally.variable(name, (), NUMBER, "number"), {}, bool(value))

    arrays = [Weighed(tally, tally.variable(name, (size,), dtype, "state"), {}) for name in ("w", "dw", *slots)]
    optimizer.steered_by(number).update(number("t"), *arrays)
    tally.settle()
    return tally.most
