"""A compiled program: tables of addresses, and what fills them and calls the code."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from ...errors import CompileError
from ...program import NUMBER, Instruction, Program, Variable, run_instruction
from . import engine
from .lowering import KINDS
from .module import lower
from .values import Frame

_SMALL = 64**3  # multiplications of a product that is not left to BLAS


def build(program: Program, live: dict[Variable, np.ndarray]) -> Executable:
    """Return a program as machine code.

    Parameters
    ----------
    program : Program
    live : dict of Variable to numpy.ndarray
        Where every living variable lies: read at each call, and written.
    """
    return Executable(program, live)


class Executable:
    """A program as machine code; `build` makes one."""

    def __init__(self, program: Program, live: dict[Variable, np.ndarray]) -> None:
        have_blas = engine.blas() is not None

        def library(product: Instruction) -> bool:
            a, b = product.reads[0], product.reads[-1]
            return have_blas and a.shape[0] * a.shape[1] * b.shape[1] > _SMALL

        module = lower(program, engine.machine(), library)
        self.source = module.text
        self.program, self._module = program, module
        self._loaded = engine.Loaded(engine.object_code(module.text))
        prototype = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
        self._steps = [
            prototype(self._loaded.address(s)) if isinstance(s, str) else s for s in module.steps
        ]  # fmt: skip
        self._set_up(live)

    def _set_up(self, live: dict[Variable, np.ndarray]) -> None:
        storage, frame = self._module.storage, self._module.frame
        program = self._module.graph.program
        self._frame = np.zeros(max(1, frame.size), np.int64)
        self._numbers = self._frame.view(np.float64)
        memory = np.zeros(storage.total + 64, np.uint8)
        start = -memory.ctypes.data % 64
        self._work = memory[start : start + storage.total]
        self.nbytes = int(storage.total)
        self._set(frame, "work", [self._work])
        blas = engine.blas()
        if blas is not None:
            self._frame[frame.starts["blas"] : frame.starts["blas"] + 2] = blas
        self._live = [live[v] for v in program.living]
        for v, array in zip(program.living, self._live, strict=True):
            if array.shape != v.shape or str(array.dtype) != v.dtype:
                raise CompileError(f"{v.name} is {array.dtype}{list(array.shape)}, not {v.dtype}{list(v.shape)}")
        self._set(frame, "living", self._live)
        self._constants = [np.ascontiguousarray(a).reshape(a.shape) for a in program.constants.values()]
        self._set(frame, "constant", self._constants)
        self._views: dict[Variable, np.ndarray] = {}
        for v, place in storage.places.items():
            if place.kind == "work":
                dtype = "float64" if v.dtype == NUMBER else v.dtype
                size = v.size * np.dtype(dtype).itemsize
                self._views[v] = self._work[place.number : place.number + size].view(dtype).reshape(v.shape)
            elif place.kind == "living":
                self._views[v] = self._live[place.number]
            elif place.kind == "constant":
                self._views[v] = self._constants[place.number]
        self._pointer = self._frame.ctypes.data

    def _set(self, frame: Frame, kind: str, arrays: list[np.ndarray]) -> None:
        start = frame.starts[kind]
        for i, array in enumerate(arrays):
            self._frame[start + i] = array.ctypes.data

    def __call__(self, *given: Any) -> tuple[np.ndarray, ...]:
        program, frame = self._module.graph.program, self._module.frame
        count = len(program.inputs)
        inputs = [np.ascontiguousarray(a).reshape(v.shape) for v, a in zip(program.inputs, given[:count], strict=True)]
        outputs = [np.empty(v.shape, v.dtype) for v in program.outputs if isinstance(v, Variable)]
        self._set(frame, "input", inputs)
        self._set(frame, "output", outputs)
        for v, number in zip(program.numbers, given[count:], strict=True):
            self._numbers[frame.numbers[v]] = number
        for step in self._steps:
            if isinstance(step, Instruction):
                self._run_numpy(step, inputs, outputs)
            else:
                step(self._pointer)
        return tuple(outputs)

    def _run_numpy(self, instruction: Instruction, inputs: list[np.ndarray], outputs: list[np.ndarray]) -> None:
        """Run what is left to NumPy on views of the workspace."""
        values = {v: self._value(v, inputs, outputs) for v in instruction.reads}
        result = run_instruction(instruction, values)
        np.copyto(self._array(instruction.output, inputs, outputs), result, casting="unsafe")

    def _array(self, v: Variable, inputs: list[np.ndarray], outputs: list[np.ndarray]) -> np.ndarray:
        place = self._module.storage.places[v]
        if place.kind == "input":
            return inputs[place.number]
        return outputs[place.number] if place.kind == "output" else self._views[v]

    def _value(self, v: Variable, inputs: list[np.ndarray], outputs: list[np.ndarray]) -> Any:
        if v in self._module.frame.numbers:
            return float(self._numbers[self._module.frame.numbers[v]])
        array = self._array(v, inputs, outputs)
        return float(array) if v.dtype == NUMBER else array


__all__ = ["KINDS", "Executable", "build"]
