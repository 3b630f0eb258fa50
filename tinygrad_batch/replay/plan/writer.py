"""Writing the function: names for arrays and operations, and lines of code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...program import NUMBER, Instruction, Operand, Variable
from .blocks import Run, cut, spans
from .ops import loop_dtypes


class Writer:
    """The code of a function, line by line.

    Every name in it is one of ours: ``v`` and a number for what is known only at the call, other letters
    and a number for what the function keeps. No text of a user is in it.

    Attributes
    ----------
    lines : list of str
    kept : dict of str to object
        What the function keeps, by name.
    arrays : mapping of Variable to array
        Where the values lie that lie somewhere known.
    nbytes : int
        Of arrays that were made for the kernels.
    """

    def __init__(self, arrays: Mapping[Variable, np.ndarray], together: Callable[[Variable, Variable], bool]) -> None:
        self.lines: list[str] = []
        self.kept: dict[str, Any] = {}
        self.arrays = arrays
        self.together = together
        self.nbytes = 0
        self._names: dict[Any, str] = {}
        self._local: dict[Variable, str] = {}
        self._counts: dict[str, int] = {}
        self._numbers: dict[tuple[Variable, str], str] = {}
        self._fulls: dict[tuple[float, str], np.ndarray] = {}
        self.loop: Loop | None = None

    # --- names -----------------------------------------------------------------------------------
    def keep(self, value: Any, letter: str = "k") -> str:
        """Return the name of something that the function keeps."""
        key: Any = id(value)
        if isinstance(value, np.ndarray):  # views are made anew all the time
            key = (value.__array_interface__["data"][0], value.shape, value.strides, value.dtype.str)
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = self._new(letter)
            self.kept[name] = value
        return name

    def _new(self, letter: str) -> str:
        self._counts[letter] = self._counts.get(letter, 0) + 1
        return f"{letter}{self._counts[letter]}"

    def local(self, v: Variable) -> str:
        """Return the name of a value that is known only at the call."""
        name = self._local.get(v)
        if name is None:
            name = self._local[v] = self._new("v")
        return name

    # --- operands --------------------------------------------------------------------------------
    def static(self, v: Operand, position: int = 0, op: str = "") -> np.ndarray | None:
        """Return the array of a value, or of its first block; None if it is known only at the call."""
        array = self.arrays.get(v) if type(v) is Variable else None
        if array is None or self.loop is None or type(v) is not Variable:
            return array
        return self.loop.block(v, array, position, op)

    def array(self, v: Variable, position: int = 0, op: str = "") -> str:
        """Return the name of an array."""
        array = self.arrays.get(v)
        if self.loop is not None:
            return self.loop.name(v, array, position, op)
        return self.local(v) if array is None else self.keep(array, "a")

    def operand(self, value: Operand, dtype: Any, position: int = 0, op: str = "") -> str:
        """Return the name of an operand; a number becomes an array of no dimensions, which NumPy reads faster."""
        if type(value) is Variable:
            return self._number(value, dtype) if value.dtype == NUMBER else self.array(value, position, op)
        if dtype is None:
            return self.keep(value, "c")
        array = self.scalar(value, dtype)
        return self.keep(value, "c") if array is None else self.keep(array, "c")

    def scalar(self, value: Any, dtype: Any) -> np.ndarray | None:
        """Return a number as an array of no dimensions, or None where it does not fit the dtype."""
        key = (type(value), repr(value), str(dtype))
        found = self._names.get(key)
        if found is None:
            try:
                array = np.array(value, dtype)
            except OverflowError:
                return None
            found = self._names[key] = self.keep(array, "c")
        return self.kept[found]

    def _number(self, v: Variable, dtype: Any) -> str:
        if dtype is None:
            return self.local(v)
        key = (v, str(dtype))
        name = self._numbers.get(key)
        if name is None:
            name = self._numbers[key] = self.keep(np.empty((), dtype), "n")
            lines = self.lines if self.loop is None else self.loop.before
            lines.append(f"{name}[()] = {self.local(v)}")
        return name

    def full(self, value: float, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
        """Return an array of one number throughout, shared between the kernels."""
        size = int(np.prod(shape))
        key = (value, dtype)
        if key not in self._fulls or self._fulls[key].size < size:
            self._fulls[key] = np.full(size, value, dtype)
            self.nbytes += self._fulls[key].nbytes
        return self._fulls[key][:size].reshape(shape)

    def dot(self, array: np.ndarray) -> str:
        """Return the name of the product with an array from the left."""
        key = ("dot", self.keep(array, "a"))
        if key not in self._names:
            self._names[key] = self._new("f")
            self.kept[self._names[key]] = array.dot
        return self._names[key]

    def seen_as(self, v: Variable, dtype: str, position: int = 0) -> str:
        """Return the name of an array whose bits are read as another dtype."""
        array = self.arrays.get(v)
        if array is None:
            return f"{self.array(v, position)}.view({self.keep(np.dtype(dtype), 'd')})"
        if self.loop is None:
            return self.keep(array.view(dtype), "a")
        return self.loop.seen_as(v, array, dtype, position)

    def filled(self, value: float, out: Variable) -> str:
        """Return the name of an array of one number throughout, in the shape of ``out`` or of its blocks."""
        if self.loop is None:
            return self.keep(self.full(value, out.dtype, out.shape), "c")
        return self.loop.filled(value, out)

    # --- lines -----------------------------------------------------------------------------------
    def line(self, text: str) -> None:
        """Append a line."""
        (self.lines if self.loop is None else self.loop.body).append(text)

    def ufunc(self, ufunc: np.ufunc, instruction: Instruction) -> None:
        """Append the call of a ufunc."""
        out = instruction.output
        dtypes = self._dtypes(ufunc, instruction)
        given = [self.operand(v, d, k) for k, (v, d) in enumerate(zip(instruction.inputs, dtypes, strict=True))]
        if len(given) == 2 and ufunc in (np.maximum, np.minimum):
            given[1] = self._bound(instruction, given[1])
        word = "out=" if ufunc in (np.maximum, np.minimum) else ""
        self.line(f"{self.keep(ufunc, 'f')}({', '.join(given)}, {word}{self.array(out)})")

    def _bound(self, instruction: Instruction, name: str) -> str:
        """Return an array for the number that a maximum is taken with: in float32 that is twice as fast."""
        value, out = instruction.inputs[1], instruction.output
        if type(value) not in (int, float) or out.dtype != "float32":
            return name
        size = out.size if self.loop is None else out.size // out.shape[0] * self.loop.run.rows
        return self.filled(float(value), out) if 256 <= size <= 1 << 17 else name  # type: ignore[arg-type]

    def _dtypes(self, ufunc: np.ufunc, instruction: Instruction) -> list[Any]:
        """Return the dtype that each number among the operands has to have."""
        if all(type(v) is Variable and v.dtype != NUMBER for v in instruction.inputs):
            return [None] * len(instruction.inputs)
        given: list[Any] = []
        for v in instruction.inputs:
            if type(v) is Variable:
                given.append(float if v.dtype == NUMBER else np.dtype(v.dtype))
            else:
                given.append(np.dtype(bool) if type(v) is bool else type(v))
        found = loop_dtypes(ufunc, tuple(given))
        return [None] * len(given) if found is None else list(found[: len(given)])


class Loop:
    """A loop over blocks of rows."""

    def __init__(self, writer: Writer, run: Run) -> None:
        self.writer = writer
        self.run = run
        self.spans = spans(run)
        self.before: list[str] = []
        self.top: list[str] = []
        self.body: list[str] = []
        self._blocks: dict[Any, list[Any]] = {}
        self._names: dict[Any, str] = {}

    def _add(self, key: Any, blocks: list[Any], letter: str) -> str:
        self._blocks[key] = blocks
        self._names[key] = self.writer._new(letter)
        return self._names[key]

    def _is_cut(self, v: Variable, position: int, op: str) -> bool:
        return v not in self.run.inside and cut(v, self.run, position, op)

    def block(self, v: Variable, array: np.ndarray, position: int, op: str) -> np.ndarray:
        """Return the first block of an array, or all of it if each block reads that."""
        return array[self.spans[0]] if self._is_cut(v, position, op) else array

    def name(self, v: Variable, array: np.ndarray | None, position: int, op: str) -> str:
        """Return the name of a block of a value."""
        writer = self.writer
        if v in self.run.inside and array is not None:
            sizes = [span.stop - span.start for span in self.spans]
            if sizes[-1] == sizes[0]:
                return writer.keep(array, "a")
            return self._names.get(v) or self._add(v, [array[:n] for n in sizes], "b")
        if not self._is_cut(v, position, op):
            return writer.local(v) if array is None else writer.keep(array, "a")
        if v in self._names:
            return self._names[v]
        if array is not None:
            return self._add(v, [array[span] for span in self.spans], "b")
        span = self._names.get("span") or self._add("span", self.spans, "s")
        self._names[v] = writer._new("b")
        self.top.append(f"{self._names[v]} = {writer.local(v)}[{span}]")
        return self._names[v]

    def seen_as(self, v: Variable, array: np.ndarray, dtype: str, position: int) -> str:
        """Return the name of a block whose bits are read as another dtype."""
        key = (v, dtype)
        if key in self._names:
            return self._names[key]
        if v not in self.run.inside and not self._is_cut(v, position, ""):
            return self.writer.keep(array.view(dtype), "a")
        inside = v in self.run.inside
        return self._add(
            key, [(array[: s.stop - s.start] if inside else array[s]).view(dtype) for s in self.spans], "b"
        )

    def filled(self, value: float, out: Variable) -> str:
        """Return the name of a block of one number throughout."""
        key = (value, out.dtype)
        if key in self._names:
            return self._names[key]
        block = self.writer.full(value, out.dtype, (self.run.rows, *out.shape[1:]))
        return self._add(key, [block[: span.stop - span.start] for span in self.spans], "b")

    def finish(self) -> list[str]:
        """Return the loop."""
        keys = list(self._blocks)
        names = ", ".join(self._names[key] for key in keys)
        columns = [self._blocks[key] for key in keys]
        if len(columns) == 1:
            rows: Any = tuple(columns[0])
        else:
            rows = tuple(zip(*columns, strict=True)) if columns else range(len(self.spans))
        head = f"for {names or 'k'} in {self.writer.keep(rows, 'r')}:"
        return [*self.before, head, *[f"    {text}" for text in (*self.top, *self.body)]]
