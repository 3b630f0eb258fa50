"""A compiled program: a table of addresses, the code that reads it, and the ways in."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from ...errors import CompileError
from ...program import NUMBER, Instruction, Program, Variable, run_instruction
from . import engine, entry, epochs
from .cache import key, load, save
from .module import Module, lower

# multiplications of a product that is not left to BLAS; where BLAS has several threads, it is worth more
_OWN, _OWN_BESIDE_THREADS = 2**29, 2**22


def build(program: Program, live: dict[Variable, np.ndarray]) -> Executable:
    """Return a program as machine code.

    Parameters
    ----------
    program : Program
    live : dict of Variable to numpy.ndarray
        Where every living variable lies: read at each call, and written at its end.

    Returns
    -------
    Executable

    Raises
    ------
    CompileError
        If llvmlite is missing, or an array is not what the program says.
    """
    return Executable(program, live)


@cache
def _own_products() -> int:
    """Return how many multiplications a product of our own may have."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return _OWN
    threads = [pool["num_threads"] for pool in threadpool_info() if pool.get("user_api") == "blas"]
    return _OWN_BESIDE_THREADS if max(threads, default=1) > 1 else _OWN


def _is_for_blas(product: Instruction) -> bool:
    rows, inner = product.reads[0].shape
    size = rows * inner * product.reads[-1].shape[1]
    return size > _OWN_BESIDE_THREADS and size > _own_products() and engine.blas() is not None


def compiled(module: Module) -> engine.Loaded:
    """Return a module as machine code, from the cache where it is there."""
    name = key(module.text, *engine.versions())
    code = load(name)
    if code is None:
        code = engine.object_code(module.text)
        save(name, code)
    return engine.Loaded(code)


class _Owner(np.ndarray):
    """The table of addresses, as the object that the built-in belongs to; it keeps alive what the table names."""

    keep: Any


class _State:
    """What a program runs on: the table, the workspace, the living arrays."""

    def __init__(self, program: Program, module: Module, live: dict[Variable, np.ndarray]) -> None:
        self.program, self.module = module.graph.program, module
        self.lock = threading.RLock()  # NumPy lets other threads run while the table is in use
        self.loaded = compiled(module)
        frame, storage = module.frame, module.storage
        self.table = np.zeros(frame.size, np.int64)
        self.numbers = self.table.view(np.float64)
        memory = np.zeros(storage.total + 64, np.uint8)
        start = -memory.ctypes.data % 64
        self.work = memory[start : start + storage.total]
        self.given = [live[v] for v in self.program.living]
        for v, array in zip(self.program.living, self.given, strict=True):
            if array.shape != v.shape or str(array.dtype) != v.dtype:
                raise CompileError(f"{v.name} is {array.dtype}{list(array.shape)}, not {v.dtype}{list(v.shape)}")
            if v in self.program.writes and not array.flags.writeable:
                raise CompileError(f"{v.name} cannot be written to")
        # what does not lie plainly, or where another one lies, is copied in and out
        self.plain = _plain(self.given)
        self.living = [a if ok else np.array(a, order="C") for a, ok in zip(self.given, self.plain, strict=True)]
        self.constants = [np.ascontiguousarray(a).reshape(a.shape) for a in self.program.constants.values()]
        self._point("work", [self.work])
        self._point("living", self.living)
        self._point("constant", self.constants)
        self.blas = engine.blas() if any(n.what == "blas" for n in storage.nodes) else None
        if self.blas is not None:
            self.table[frame.starts["blas"] : frame.starts["blas"] + 2] = self.blas
        prototype = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
        self.steps = [s if isinstance(s, Instruction) else prototype(self.loaded.address(s)) for s in module.steps]
        self.whole = len(self.steps) == 1 and not isinstance(module.steps[0], Instruction)
        self.views = self._views()
        if self.whole:
            call = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)
            self._epoch = call(self.loaded.address("epoch"))

    def _point(self, kind: str, arrays: Sequence[np.ndarray]) -> None:
        start = self.module.frame.starts[kind]
        self.table[start : start + len(arrays)] = [a.ctypes.data for a in arrays]

    def _views(self) -> dict[Variable, np.ndarray]:
        """Return the arrays that operations of NumPy read and write, but for inputs and outputs."""
        views = {}
        for v, place in self.module.storage.places.items():
            if place.kind == "work":
                dtype = np.dtype("float64" if v.dtype == NUMBER else v.dtype)
                part = self.work[place.number : place.number + v.size * dtype.itemsize]
                views[v] = part.view(dtype).reshape(v.shape)
            elif place.kind in ("living", "constant"):
                views[v] = (self.living if place.kind == "living" else self.constants)[place.number]
        return views

    def arguments(self, given: Sequence[Any]) -> tuple[list[np.ndarray], list[float]]:
        """Return inputs and numbers as the code takes them, checked."""
        program = self.program
        count = len(program.inputs)
        if len(given) != count + len(program.numbers):
            raise CompileError(f"the program takes {count} arrays and {len(program.numbers)} numbers")
        inputs = []
        for v, value in zip(program.inputs, given[:count], strict=True):
            array = np.asarray(value)
            if array.shape != v.shape or array.dtype != np.dtype(v.dtype):
                raise CompileError(f"{v.name} is {array.dtype}{list(array.shape)}, not {v.dtype}{list(v.shape)}")
            inputs.append(self.apart(array))
        return inputs, [float(number) for number in given[count:]]

    def apart(self, array: np.ndarray) -> np.ndarray:
        """Return an array that lies plainly, and not where something living lies; a copy if need be."""
        plain = type(array) is np.ndarray and array.dtype is np.dtype(array.dtype.str)
        flags = array.flags
        if (
            plain
            and flags.c_contiguous
            and flags.aligned
            and not any(np.may_share_memory(array, a) for a in self.living)
        ):
            return array
        copy = np.empty(array.shape, np.dtype(array.dtype.str))
        copy[...] = array
        return copy

    def run(self, *given: Any) -> tuple[np.ndarray, ...]:
        """Run one batch, whatever the arrays look like."""
        inputs, numbers = self.arguments(given)
        with self.lock:
            outputs = [np.empty(v.shape, v.dtype) for v in self.program.outputs if isinstance(v, Variable)]
            self.copy_in()
            if self.whole:  # one call writes the table and runs: no other thread comes between
                self.batches(1, None, [(a, a) for a in inputs], outputs, [(n, 0.0) for n in numbers])
                self.copy_out()
                return tuple(outputs)
            self._point("input", inputs)
            self._point("output", outputs)
            for v, number in zip(self.program.numbers, numbers, strict=True):
                self.numbers[self.module.frame.numbers[v]] = number
            for step in self.steps:
                if isinstance(step, Instruction):
                    self._run_numpy(step, inputs, outputs)
                else:
                    step(self.table.ctypes.data)
            self.copy_out()
            return tuple(outputs)

    def batches(
        self,
        count: int,
        order: np.ndarray | None,
        inputs: Sequence[tuple[np.ndarray, np.ndarray]],
        outputs: Sequence[np.ndarray],
        numbers: Sequence[tuple[float, float]],
    ) -> None:
        """Run a whole program a few times; inputs come with room for a batch, numbers with what is added to them."""
        table = np.zeros(epochs.table_size(self.program), np.int64)
        addresses = [count, 0 if order is None else order.ctypes.data]
        addresses += [a.ctypes.data for pair in inputs for a in pair] + [a.ctypes.data for a in outputs]
        table[: len(addresses)] = addresses
        table.view(np.float64)[len(addresses) :] = [n for pair in numbers for n in pair]
        if count:
            self._epoch(self.table.ctypes.data, table.ctypes.data)

    def copy_in(self) -> None:
        """Read the living arrays that do not lie plainly."""
        for array, own, ok in zip(self.given, self.living, self.plain, strict=True):
            if not ok:
                own[...] = array

    def copy_out(self) -> None:
        """Write the living arrays that do not lie plainly."""
        for v, array, own, ok in zip(self.program.living, self.given, self.living, self.plain, strict=True):
            if not ok and v in self.program.writes:
                array[...] = own

    def _run_numpy(self, instruction: Instruction, inputs: list[np.ndarray], outputs: list[np.ndarray]) -> None:
        """Run what is left to NumPy on views of the workspace."""
        values = {v: self._value(v, inputs, outputs) for v in instruction.reads}
        result = run_instruction(instruction, values)
        np.copyto(self._array(instruction.output, inputs, outputs), result, casting="unsafe")

    def _array(self, v: Variable, inputs: list[np.ndarray], outputs: list[np.ndarray]) -> np.ndarray:
        place = self.module.storage.places[v]
        if place.kind == "input":
            return inputs[place.number]
        return outputs[place.number] if place.kind == "output" else self.views[v]

    def _value(self, v: Variable, inputs: list[np.ndarray], outputs: list[np.ndarray]) -> Any:
        if v in self.module.frame.numbers:
            return float(self.numbers[self.module.frame.numbers[v]])
        array = self._array(v, inputs, outputs)
        return float(array) if v.dtype == NUMBER else array


def _plain(arrays: Sequence[np.ndarray]) -> list[bool]:
    """Return which arrays lie row by row, aligned, and apart from the others."""
    spans = [np.lib.array_utils.byte_bounds(a) for a in arrays]
    order = sorted((i for i, a in enumerate(arrays) if a.size), key=lambda i: spans[i])
    shared = set()
    end, last = 0, -1
    for i in order:
        if spans[i][0] < end:
            shared |= {i, last}
        if spans[i][1] > end:
            end, last = spans[i][1], i
    return [a.flags.c_contiguous and a.flags.aligned and i not in shared for i, a in enumerate(arrays)]


class Executable:
    """A program as machine code; `build` makes one.

    Call it, or rather `enter`, with the arrays of `Program.inputs` and the numbers of `Program.numbers`;
    it returns a tuple of fresh arrays, and the living arrays have changed.

    Attributes
    ----------
    enter : callable
        The same as a call, with less overhead: a built-in function that checks and reads its arguments in
        machine code, where this Python and NumPy allow that.
    source : str
        The program in LLVM's language.
    nbytes : int
        Of the workspace.
    """

    enter: Callable[..., tuple[np.ndarray, ...]]

    def __init__(self, program: Program, live: dict[Variable, np.ndarray]) -> None:
        module = lower(program, engine.machine(), _is_for_blas)
        self._state = state = _State(program, module, live)
        self.source = module.text
        self.nbytes = int(module.storage.total)
        self.enter = state.run
        self._batches: Callable[..., tuple[np.ndarray, ...] | None] | None = None
        if state.whole and all(state.plain) and entry.fast_entry_fits():
            slow = state.run
            entry.fill(module.frame, state.table, state.program, slow)
            owner = state.table.view(_Owner)
            self.enter, definition = entry.builtin(state.loaded.address("enter"), owner, "enter")
            owner.keep = (state, slow, definition)
            if epochs.can_run(state.program):
                owner = state.table.view(_Owner)
                self._batches, definition = entry.builtin(state.loaded.address("batches"), owner, "batches")
                owner.keep = (state, slow, definition)

    def __call__(self, *given: Any) -> tuple[np.ndarray, ...]:
        """Run one batch."""
        return self.enter(*given)

    def epoch(
        self,
        arrays: Sequence[np.ndarray],
        order: np.ndarray | None = None,
        numbers: Sequence[float] = (),
        counting: Sequence[int] = (),
    ) -> tuple[np.ndarray, ...]:
        """Run all full batches of an epoch, in one call of machine code where the whole program is.

        Parameters
        ----------
        arrays : sequence of numpy.ndarray
            For each input all its rows; a batch is as many of them as the input of the program has.
        order : numpy.ndarray of integers, optional
            The rows in the order in which they are used; left out, they are used as they lie. What is left
            after the last full batch is not used.
        numbers : sequence of float
            The numbers of the first batch.
        counting : sequence of int
            Positions of the numbers that are one more in each further batch, such as the step of Adam.

        Returns
        -------
        tuple of numpy.ndarray
            The outputs of all batches, each with a first axis for the batches.

        Raises
        ------
        CompileError
            If an array does not fit, or the order names a row that there is not.
        """
        state = self._state
        program = state.program
        steps = [1.0 if i in counting else 0.0 for i in range(len(numbers))]
        if self._batches is not None:
            done = self._batches(*arrays, order, *numbers, *steps)
            if done is not None:
                return done
        rows, batch = self._rows(arrays)
        if order is not None:
            order = np.ascontiguousarray(order, np.intp)
            if order.size and not 0 <= int(order.min()) <= int(order.max()) < rows:
                raise CompileError(f"the order names rows from {order.min()} to {order.max()}, but there are {rows}")
        batches = (rows if order is None else len(order)) // batch
        if len(numbers) != len(program.numbers):
            raise CompileError(f"the program takes {len(program.numbers)} numbers, not {len(numbers)}")
        outputs = [np.empty((batches, *v.shape), v.dtype) for v in program.outputs if isinstance(v, Variable)]
        if not state.whole or not all(state.plain):
            for b in range(batches):
                rows_of = slice(b * batch, (b + 1) * batch) if order is None else order[b * batch : (b + 1) * batch]
                now = [number + b * step for number, step in zip(numbers, steps, strict=True)]
                for all_of, one in zip(outputs, state.run(*[a[rows_of] for a in arrays], *now), strict=True):
                    all_of[b] = one
            return tuple(outputs)
        rooms = [np.empty(v.shape if order is not None else 0, v.dtype) for v in program.inputs]
        inputs = [(state.apart(array), room) for array, room in zip(arrays, rooms, strict=True)]
        state.batches(batches, order, inputs, outputs, list(zip(map(float, numbers), steps, strict=True)))
        return tuple(outputs)

    @property
    def is_whole(self) -> bool:
        """Whether a whole epoch is one call of machine code."""
        return self._state.whole and all(self._state.plain)

    def _rows(self, arrays: Sequence[np.ndarray]) -> tuple[int, int]:
        """Return how many rows there are, and how many of them a batch has."""
        inputs = self._state.program.inputs
        if len(arrays) != len(inputs) or not inputs or not all(v.shape and v.shape[0] for v in inputs):
            raise CompileError(f"an epoch takes all rows of {len(inputs)} inputs, not {len(arrays)} arrays")
        for v, array in zip(inputs, arrays, strict=True):
            fits = array.ndim and array.shape[1:] == v.shape[1:] and array.dtype == np.dtype(v.dtype)
            if not fits or len(array) != len(arrays[0]) or v.shape[0] != inputs[0].shape[0]:
                raise CompileError(
                    f"the rows of {v.name} are {array.dtype}{list(array.shape)}, of {list(v.shape)} each"
                )
        return len(arrays[0]), inputs[0].shape[0]
