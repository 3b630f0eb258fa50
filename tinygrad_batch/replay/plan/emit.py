"""The Python function of a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...program import NUMBER, Instruction, Operand, Variable
from .blocks import Run
from .buffers import Buffers
from .facts import Facts
from .kernels import copy_part, write
from .numbers import write_number
from .writer import Loop, Writer


def emit(
    facts: Facts, runs: dict[int, Run], buffers: Buffers, arrays: Mapping[Variable, np.ndarray]
) -> tuple[Writer, str]:
    """Return what the function keeps, and its text."""
    program = facts.program

    def together(a: Variable, b: Variable) -> bool:
        return a in buffers.slot and buffers.slot[a] is buffers.slot.get(b)

    writer = Writer(arrays, together)
    arguments = [writer.local(v) for v in (*program.inputs, *program.numbers)]
    _Emission(facts, runs, buffers, writer).run()
    outputs = _results(facts, buffers, writer)
    body = "\n".join(f"        {text}" for text in (*writer.lines, f"return {outputs}"))
    names = ", ".join(writer.kept)
    source = f"def make({names}):\n    def step({', '.join(arguments)}):\n{body}\n    return step\n"
    return writer, source


def compiled(writer: Writer, source: str) -> Callable[..., tuple[Any, ...]]:
    """Return the function of a text that consists of our own names only."""
    space: dict[str, Any] = {}
    exec(compile(source, "<plan>", "exec"), space)
    return space["make"](**writer.kept)


class _Emission:
    """Writes the instructions."""

    def __init__(self, facts: Facts, runs: dict[int, Run], buffers: Buffers, writer: Writer) -> None:
        self.facts = facts
        self.runs = runs
        self.slot = buffers.slot
        self.writer = writer
        self.made: set[int] = set()

    def run(self) -> None:
        """Write all of them."""
        writer = self.writer
        for i, instruction in enumerate(self.facts.instructions):
            run = self.runs.get(i)
            if run is not None and writer.loop is None:
                writer.loop = Loop(writer, run)
            self._write(i, instruction)
            if run is not None and i + 1 == run.stop and writer.loop is not None:
                lines = writer.loop.finish()
                writer.loop = None
                writer.lines += lines

    def _write(self, i: int, instruction: Instruction) -> None:
        writer, out, role = self.writer, instruction.output, self.facts.role[i]
        if role == "number":
            write_number(writer, instruction)
        elif role == "kernel":
            slot = self.slot[out]
            if slot.home == "fresh" and id(slot) not in self.made:
                self.made.add(id(slot))
                like = f"{writer.keep(out.shape)}, {writer.keep(np.dtype(out.dtype), 'd')}"
                self._before(f"{writer.local(out)} = {writer.keep(np.empty, 'f')}({like})")
            write(writer, instruction)
        elif role == "join":
            self._join(instruction)
        elif out in self.facts.dynamic:
            self._before(f"{writer.local(out)} = {self._expression(role, instruction)}")

    def _before(self, text: str) -> None:
        loop = self.writer.loop
        (self.writer.lines if loop is None else loop.before).append(text)

    def _join(self, instruction: Instruction) -> None:
        """Write the copies of those parts that are not computed in their places."""
        facts, out = self.facts, instruction.output
        axis, start = instruction.options.get("axis", 0) % len(out.shape), 0
        for v in instruction.reads:
            placed = facts.piece.get(facts.base.get(v, v)) == (out, start)
            if not placed and not (v.kind == "constant" and v in facts.parts[out]):
                copy_part(self.writer, v, out, axis, start)
            start += v.shape[axis]

    def _expression(self, role: str, instruction: Instruction) -> str:
        """Return the call of an operation that gives an array of its own, or a view."""
        loop, self.writer.loop = self.writer.loop, None
        try:
            return self._call(role, instruction)
        finally:
            self.writer.loop = loop

    def _call(self, role: str, instruction: Instruction) -> str:
        writer, out = self.writer, instruction.output
        given = [self._given(v) for v in instruction.inputs]
        if role == "view":
            if instruction.op == "matrix_transpose" and len(out.shape) == 2:
                return f"{given[0]}.T"
            if instruction.op == "reshape":
                return f"{given[0]}.reshape({writer.keep(out.shape)})"
            if instruction.op == "getitem":
                return f"{given[0]}[{writer.keep(view_index(instruction))}]"
        function = writer.keep(instruction.entry.compute, "f")
        options = f", **{writer.keep(dict(instruction.options), 'o')}" if instruction.options else ""
        listed = f"[{', '.join(given)}]" if instruction.entry.variadic else ", ".join(given)
        return f"{writer.keep(np.asarray, 'f')}({function}({listed}{options}))"

    def _given(self, v: Operand) -> str:
        if type(v) is not Variable:
            return self.writer.keep(v, "c")
        return self.writer.local(v) if v.dtype == NUMBER else self.writer.array(v)


def view_index(instruction: Instruction) -> tuple[Any, ...]:
    """Return an index that gives a view also where it selects one element."""
    index = instruction.options.get("index", ())
    parts = index if isinstance(index, tuple) else (index,)
    return parts if any(part is Ellipsis for part in parts) else (*parts, ...)


def _results(facts: Facts, buffers: Buffers, writer: Writer) -> str:
    """Write what happens in the end, all at once: copies for the caller, then what lives on."""
    program = facts.program
    outputs: list[str] = []
    seen: set[Variable] = set()
    for v in program.outputs:
        name = writer._new("v")
        if type(v) is not Variable or v.dtype == NUMBER:
            value = writer.local(v) if type(v) is Variable else writer.keep(v, "c")
            writer.line(f"{name} = {writer.keep(np.asarray, 'f')}({value})")
        elif v in facts.fresh and v not in seen:
            name = writer.local(v)
        else:
            writer.line(f"{name} = {writer.array(v)}.copy()")
        if type(v) is Variable:
            seen.add(v)
        outputs.append(name)
    copies = [(state, v) for state, v in program.writes.items() if not _there(facts, buffers, state, v)]
    overwritten = {state for state, _ in copies}
    lines: list[str] = []
    for state, v in copies:
        if type(v) is not Variable or v.dtype == NUMBER:
            value = writer.local(v) if type(v) is Variable else writer.keep(v, "c")
        else:
            value = writer.array(v)
            source = facts.base.get(v, v)
            # what another copy overwrites is put aside first
            if len(copies) > 1 and (source in overwritten or v in facts.dynamic):
                name = writer._new("v")
                writer.line(f"{name} = {value}.copy()")
                value = name
        lines.append(f"{writer.array(state)}[...] = {value}")
    for text in lines:
        writer.line(text)
    return f"({', '.join(outputs)},)" if outputs else "()"


def _there(facts: Facts, buffers: Buffers, state: Variable, v: Operand) -> bool:
    if type(v) is not Variable:
        return False
    slot = buffers.slot.get(v)
    return v is state or (slot is not None and slot.home == "live" and slot.state is state)
