"""One signature of a compiled step: its program, the conditions under which it is right, and what runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..calling import wrap
from ..errors import CompileError
from ..graph import latest_change
from ..optim.optimizer import Optimizer, side_by_side
from ..program import Program, Variable
from ..symbolic import Living
from ..tensor import Tensor
from ..trace import Trace
from .backends import BACKENDS, Executable
from .gate import MISS, Gate, entrance
from .guards import Guard, alike
from .passes import optimise
from .record import StrictRecorder, parts
from .structure import rebuild
from .threads import on_one_thread
from .weigh import StepMemory, weigh


@dataclass(frozen=True)
class Settings:
    """What `compile` was asked for."""

    backend: str
    row_block: int | None
    keep_grads: bool
    passes: Any


class Gradients:
    """The arrays of the gradients that a compiled step leaves behind, shared by its signatures."""

    def __init__(self) -> None:
        self._arrays: dict[int, tuple[Tensor, np.ndarray]] = {}

    def array(self, tensor: Tensor) -> np.ndarray:
        """Return the array of the gradient of a leaf."""
        owner, array = self._arrays.get(id(tensor), (None, None))
        if owner is not tensor or array is None or array.shape != tensor.shape or array.dtype != tensor.dtype:
            array = np.zeros(tensor.shape, tensor.dtype)
            self._arrays[id(tensor)] = tensor, array
        return array

    def pack(self, tensors: Sequence[Tensor]) -> None:
        """Lay the gradients of some leaves side by side in memory, those of one dtype together."""
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            group = [tensor for tensor in tensors if tensor.dtype == dtype]
            for tensor, view in zip(group, side_by_side([self.array(t) for t in group]), strict=True):
                self._arrays[id(tensor)] = tensor, view


class Entry:
    """A captured signature.

    Attributes
    ----------
    captured : Program
        As it was written down.
    program : Program
        After the passes.
    executable : Executable
    enter : callable
        The way in: takes the tensors, returns the result, or `MISS`.
    flat : bool
        Whether the arguments are tensors and nothing else, given by position.
    count : int
        How many tensors the arguments hold.
    """

    executable: Executable
    _bound: int  # the latest change when the arrays were last looked at
    enter: Callable[..., Any]

    def __init__(
        self,
        settings: Settings,
        gradients: Gradients,
        guards: list[Guard],
        recorder: StrictRecorder,
        program: Program,
        signature: tuple[Any, ...],
        given: Sequence[Tensor],
        result: Any,
        flat: bool,
    ) -> None:
        self.captured = program
        self.flat = flat
        self.count = len(given)
        self.result = result
        self.rows = next((tensor.shape[0] for tensor in given if tensor.ndim), None)
        self.shapes = [(tensor.shape, tensor.dtype) for tensor in given]
        self.living: dict[Variable, Living] = dict(recorder.scribe.living)
        self.facts = dict(recorder.scribe.facts)
        self.modules = list(recorder.modules.values())
        self.roots = recorder.roots
        self.updates = recorder.updates
        self.guards = guards
        self._steering = [(module, _numbers(module)) for module, _ in self.modules]
        self.fresh = list(recorder.fresh.values())
        self.without = list({id(tensor): tensor for tensor in recorder.without}.values())
        self.cleared = recorder.forgotten
        self._learning = {
            variable: living.owner.requires_grad
            for variable, living in self.living.items()
            if isinstance(living.owner, Tensor)
        }
        self._signature = signature
        self._settings = settings
        self._gradients = gradients
        if not settings.keep_grads:
            self.cleared += [self.living[v].owner for v in program.writes if v.kind == "gradient"]
            program = _without_gradients(program)
        self.program = _improved(program, settings.passes)
        recorder.let_go()
        self._recorder = recorder
        self._trace: Trace | None = None
        self.reads = {v for instruction in self.program.instructions for v in instruction.reads}
        self._added_to = [v for v in self.living if v.kind == "gradient" and v in self.reads]
        self._checked = -1  # the latest change when the conditions were last looked at
        self.bind()

    @property
    def trace(self) -> Trace:
        """What was captured; its formulas are written when somebody asks."""
        if self._trace is None:
            trace = Trace(program=self.captured)
            self._recorder.fill(trace)
            self._trace = trace
        return self._trace

    @property
    def optimizers(self) -> list[Optimizer]:
        """The optimisers that take a step, each once."""
        return list({id(optimizer): optimizer for optimizer, _ in self.updates}.values())

    # --- conditions ------------------------------------------------------------------------------
    def fits(self, signature: tuple[Any, ...], given: Sequence[Any]) -> bool:
        """Return whether the program is right for these arguments, as everything stands now."""
        return (
            [(value.shape, value.dtype) for value in given] == self.shapes
            and len(signature) == len(self._signature)
            and all(alike(a, b) for a, b in zip(signature, self._signature, strict=True))
            and self.holds()
        )

    def holds(self) -> bool:
        """Return whether the program is right as everything but the arguments stands now."""
        if latest_change[0] != self._checked:
            if not (self._modules_stand() and all(self._stands(variable) for variable in self.living)):
                return False
            self._checked = latest_change[0]
        return (
            all(guard.holds() for guard in self.guards)
            and all(bool(self.number(variable)) == truth for variable, truth in self.facts.items())
            and all(_gradient(self.living[variable].owner) is not None for variable in self._added_to)
            and all(_gradient(tensor) is None for tensor in (*self.fresh, *self.without))
        )

    def _modules_stand(self) -> bool:
        """Return whether the modules are in the same mode, with the same numbers, and made of the same tensors."""
        return (
            all(module.training == training for module, training in self.modules)
            and all(_numbers(module) == before for module, before in self._steering)
            and all(
                len(now := parts(root)) == len(before) and all(a is b for a, b in zip(now, before, strict=True))
                for root, before in self.roots
            )
        )

    def is_bound(self) -> bool:
        """Return whether the executable runs on the very arrays that tensors and optimisers have now."""
        if latest_change[0] != self._bound:
            if not (
                self._modules_stand()
                and all(optimizer.learned is learned for optimizer, learned in self._learned)
                and all(tensor._data is array and tensor._node is node for tensor, array, node in self._tensors)
            ):
                return False
            self._bound = latest_change[0]
        return True

    def _stands(self, variable: Variable) -> bool:
        """Return whether what a variable belongs to is as it was when the program was captured."""
        owner = self.living[variable].owner
        if not isinstance(owner, Tensor):
            return True
        same = owner.shape == variable.shape and str(owner.dtype) == variable.dtype
        return same and owner.requires_grad == self._learning[variable]

    def number(self, variable: Variable) -> Any:
        """Return what a hyperparameter is now."""
        living = self.living[variable]
        if living.key == "steps":
            return living.owner.learned[living.place].steps + living.ahead
        value = getattr(living.owner, living.key)
        return value if living.place is None else value[living.place]

    # --- running ---------------------------------------------------------------------------------
    def bind(self) -> None:
        """Find the arrays that live on, lay them side by side, and make what runs on them."""
        for optimizer, places in self.updates:
            optimizer.pack()
            self._gradients.pack([optimizer.learned[place].parameter for place in places])
        arrays = {v: self.array(v) for v in self.program.living}
        build = BACKENDS[self._settings.backend]()
        block, rows = self._settings.row_block, self.rows
        if block is not None and rows is not None and rows > block:
            from .rows import StreamedStep

            self.executable = StreamedStep(self.program, rows, block, build, arrays)
        else:
            self.executable = build(self.program, arrays)
        self.executable = on_one_thread(self.executable, self.program)
        self._learned = [(optimizer, optimizer.learned) for optimizer in self.optimizers]
        owners = {id(living.owner): living.owner for living in self.living.values()}
        self._tensors = [(t, t._data, t._node) for t in owners.values() if isinstance(t, Tensor)]
        self._bound = -1
        self._left = [(self.living[v].owner._node, arrays[v]) for v in self.program.writes if v.kind == "gradient"]
        self.enter = Gate(self, arrays).way_in()

    def array(self, variable: Variable) -> np.ndarray:
        """Return the array of a variable that lives on."""
        living = self.living[variable]
        if variable.kind == "gradient":
            return self._gradients.array(living.owner)
        if isinstance(living.owner, Tensor):
            return living.owner._data
        return living.owner if living.place is None else living.owner.learned[living.place].kept[living.key]

    def replay(self, given: Sequence[Any]) -> Any:
        """Run on arguments that fit, after whatever moved has been found again."""
        arrays = [value._data if isinstance(value, Tensor) else value for value in given]
        # the way in wants the very dtype, and there can be several that are equal
        arrays = [a if a.dtype is dtype else a.view(dtype) for a, (_, dtype) in zip(arrays, self.shapes, strict=True)]
        result = self.enter(*arrays)
        if result is MISS:
            self.bind()
            result = self.enter(*arrays)
        if result is MISS:
            raise CompileError("a compiled step could not be replayed though nothing has changed", "Please report this")
        return result

    @property
    def repeats(self) -> bool:
        """Whether the program stays right from batch to batch, with nothing looked at in between."""
        left = {id(node) for node, _ in self._left}
        return self.flat and not (self.fresh or self._added_to or any(id(t._node) in left for t in self.without))

    def epoch(self, arrays: Sequence[np.ndarray], order: np.ndarray, batches: int) -> tuple[np.ndarray, ...]:
        """Run full batches, cut from ``arrays`` by the numbers of their rows, and return the stacked outputs.

        The arguments must fit.
        """
        if not self.is_bound():
            self.bind()
        numbers = self.program.numbers
        counting = [i for i, variable in enumerate(numbers) if self.living[variable].key == "steps"]
        first = [self.number(variable) for variable in numbers]
        if getattr(self.executable, "is_whole", False):
            outputs: tuple[np.ndarray, ...] = self.executable.epoch(arrays, order, first, counting)  # type: ignore[attr-defined]
            self._leave(batches)
            return outputs
        run, found = entrance(self.executable), []
        try:
            for rows in np.split(order, batches):
                found.append(run(*[array.take(rows, axis=0) for array in arrays], *first))
                for place in counting:
                    first[place] += 1
        finally:  # also after an error in the middle, such as a label that is no class
            self._leave(len(found))
        return tuple([np.stack(column) for column in zip(*found, strict=True)])

    def _leave(self, batches: int) -> None:
        """Leave gradients and counts where the user expects them, after so many batches."""
        for node, array in self._left:
            node.grad = array
        for tensor in self.cleared:
            tensor.grad = None
        for optimizer, places in self.updates:
            for place in places:
                optimizer.learned[place].steps += batches
            optimizer.mark()

    def returned(self, arrays: Sequence[np.ndarray]) -> Any:
        """Return what the step returns, from the outputs of its program."""
        return rebuild(self.result, [wrap(array) for array in arrays])

    def memory(self) -> StepMemory:
        """Return what the buffers take, beside the peak of the eager step."""
        return weigh(self.captured, self.rows, self.executable.nbytes)


def _numbers(module: Any) -> dict[str, Any]:
    """Return the numbers that a module is steered by, such as the probability of a dropout."""
    return {k: v for k, v in vars(module).items() if k != "training" and isinstance(v, (int, float, complex, str))}


def _gradient(tensor: Tensor) -> Any:
    return getattr(tensor._node, "grad", None)


def _without_gradients(program: Program) -> Program:
    kept = {state: value for state, value in program.writes.items() if state.kind != "gradient"}
    return Program(program.inputs, program.instructions, program.outputs, kept, program.constants)


def _improved(program: Program, passes: Any) -> Program:
    if passes is None or passes is False:
        return optimise(program)
    names = None if passes is True else [passes] if isinstance(passes, str) else list(passes)

    def show(name: str, text: str) -> None:
        print(f"--- {name}\n{text}\n")

    return optimise(program, names, show)
