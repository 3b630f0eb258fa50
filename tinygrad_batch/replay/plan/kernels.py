"""How each operation is written: into an array that is there already, with as few calls as can be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import shapes
from ...program import NUMBER, Instruction, Variable
from .ops import basic, kept_or_zero, ufunc_of
from .writer import Writer

Kernel = Callable[[Writer, Instruction], None]

_FLOATS = ("float32", "float64")
_FEW_ROWS = 4096  # up to here a product with ones is faster than a sum over the rows


def write(writer: Writer, instruction: Instruction) -> None:
    """Write an instruction whose result has its place."""
    ufunc = ufunc_of(instruction)
    if ufunc is not None:
        writer.ufunc(ufunc, instruction)
    else:
        KERNELS[instruction.op](writer, instruction)


def fits(instruction: Instruction) -> bool:
    """Return whether there is a kernel for an instruction, besides those of elementwise operations."""
    given, out = instruction.inputs, instruction.output
    if instruction.op not in KERNELS or instruction.op in ELEMENTWISE:
        return False
    if not all(type(v) is Variable and v.dtype != NUMBER for v in given):
        return False
    first: Any = given[0] if given else None
    if instruction.op in ("mean", "sum_rows", "sum"):
        return first.size > 0 and first.dtype == out.dtype and out.dtype in _FLOATS
    if instruction.op == "unbroadcast":
        return first.size > 0 and first.dtype == out.dtype and out.dtype in _FLOATS and first.shape != out.shape
    if instruction.op == "scatter_add":
        return basic(instruction.options.get("index", ()))
    if instruction.op == "add_windows":
        return first.dtype == out.dtype and int(np.prod(first.shape[len(out.shape) :])) <= 64
    if instruction.op == "concatenate":
        return all(v.dtype == out.dtype for v in given if type(v) is Variable)
    return True


# --- products -------------------------------------------------------------------------------------
def _matmul(writer: Writer, instruction: Instruction) -> None:
    a, b, out = *instruction.reads, instruction.output
    place = writer.static(out)
    left, right = writer.static(a, 0, "matmul"), writer.static(b, 1, "matmul")
    names = [writer.array(a, 0, "matmul"), writer.array(b, 1, "matmul"), writer.array(out)]
    if len(a.shape) != 2 or len(b.shape) != 2:
        writer.line(f"{writer.keep(np.matmul, 'f')}({', '.join(names)})")
    elif _by_rows(place):
        product = f"{names[0]}.dot" if left is None or writer.loop is not None else writer.dot(left)
        writer.line(f"{product}({names[1]}, {names[2]})")
    elif place is not None and place.T.flags.c_contiguous:
        turned = [
            f"{name}.T" if array is None else writer.keep(array.T, "a")
            for name, array in ((names[0], left), (names[1], right))
        ]
        writer.line(f"{turned[1]}.dot({turned[0]}, {writer.keep(place.T, 'a')})")
    else:
        writer.line(f"{writer.keep(np.matmul, 'f')}({', '.join(names)})")


def _by_rows(place: np.ndarray | None) -> bool:
    return place is None or place.flags.c_contiguous


# --- reductions -----------------------------------------------------------------------------------
def _sum_rows(writer: Writer, instruction: Instruction) -> None:
    x, out = instruction.reads[0], instruction.output
    if len(x.shape) == 2 and x.shape[0] <= _FEW_ROWS and _by_rows(writer.static(out)):
        ones = writer.full(1.0, x.dtype, x.shape[:1])
        writer.line(f"{writer.dot(ones)}({writer.array(x)}, {writer.array(out)})")
    else:
        _reduce(writer, x, out, 0, False)


def _reduce(writer: Writer, x: Variable, out: Variable, axis: Any, keepdims: bool, ufunc: np.ufunc = np.add) -> None:
    axes = shapes.normal_axes(axis, len(x.shape))
    array, place = writer.static(x), writer.static(out)
    count = shapes.count(x.shape, axes)
    if array is not None and place is not None and _few(axes, x, out, count):
        _reduce_few(writer, array, place.reshape(shapes.kept_dims(x.shape, axes)), axes, ufunc)
        return
    reduce = writer.keep(ufunc.reduce, "f")
    writer.line(f"{reduce}({writer.array(x)}, {writer.keep(axis)}, None, {writer.array(out)}, {keepdims})")


def _few(axes: tuple[int, ...], x: Variable, out: Variable, count: int) -> bool:
    """Return whether so few elements are brought together, so often, that taking them one by one is faster."""
    return len(x.shape) - 1 in axes and 1 < count <= 16 and 40 * out.size > count * (500 + 2 * out.size)


def _reduce_few(writer: Writer, array: np.ndarray, place: np.ndarray, axes: tuple[int, ...], ufunc: np.ufunc) -> None:
    sizes = [array.shape[axis] if axis in axes else 1 for axis in range(array.ndim)]
    parts = []
    for offset in np.ndindex(*sizes):
        index = tuple([slice(k, k + 1) if axis in axes else slice(None) for axis, k in enumerate(offset)])
        parts.append(writer.keep(array[index], "a"))
    name, total = writer.keep(ufunc, "f"), writer.keep(place, "a")
    writer.line(f"{name}({parts[0]}, {parts[1]}, out={total})")
    for part in parts[2:]:
        writer.line(f"{name}({total}, {part}, out={total})")


def _axis(instruction: Instruction) -> Any:
    axis = instruction.options.get("axis")
    return tuple(axis) if isinstance(axis, list) else axis


def _sum(writer: Writer, instruction: Instruction) -> None:
    x, keepdims = instruction.reads[0], bool(instruction.options.get("keepdims", False))
    axis = _axis(instruction)
    if axis in (0, (0,)) and len(x.shape) == 2 and not keepdims:
        _sum_rows(writer, instruction)
    elif len(x.shape) == 2 and axis in (1, -1, (1,), (-1,)) and _by_rows(place := writer.static(instruction.output)):
        ones = writer.keep(writer.full(1.0, x.dtype, x.shape[1:]), "c")
        out = writer.array(instruction.output) if place is None else writer.keep(place.reshape(-1), "a")
        flat = ".reshape(-1)" if place is None else ""
        writer.line(f"{writer.array(x)}.dot({ones}, {out}{flat})")
    else:
        _reduce(writer, x, instruction.output, axis, keepdims)


def _mean(writer: Writer, instruction: Instruction) -> None:
    x, out = instruction.reads[0], instruction.output
    _sum(writer, instruction)
    count = writer.operand(shapes.count(x.shape, _axis(instruction)), out.dtype)
    name = writer.array(out)
    writer.line(f"{writer.keep(np.divide, 'f')}({name}, {count}, {name})")


def _unbroadcast(writer: Writer, instruction: Instruction) -> None:
    x, out = instruction.reads[0], instruction.output
    if x.shape[1:] == out.shape:
        _sum_rows(writer, instruction)
        return
    axes, leads = shapes.unbroadcast_axes(x.shape, out.shape)
    kept = shapes.reduced(x.shape, axes, not leads)
    place = writer.static(out)
    if kept == out.shape:
        _reduce(writer, x, out, axes, not leads)
        return
    reduce, axis = writer.keep(np.add.reduce, "f"), writer.keep(axes)
    if place is not None and place.flags.c_contiguous:
        writer.line(f"{reduce}({writer.array(x)}, {axis}, None, {writer.keep(place.reshape(kept), 'a')}, {not leads})")
    else:
        total = f"{reduce}({writer.array(x)}, {axis}, None, None, {not leads})"
        writer.line(f"{writer.array(out)}[...] = {total}.reshape({writer.keep(out.shape)})")


def _extreme(ufunc: np.ufunc) -> Kernel:
    def kernel(writer: Writer, instruction: Instruction) -> None:
        keepdims = bool(instruction.options.get("keepdims", False))
        _reduce(writer, instruction.reads[0], instruction.output, _axis(instruction), keepdims, ufunc)

    return kernel


# --- elementwise ----------------------------------------------------------------------------------
def _relu(writer: Writer, instruction: Instruction) -> None:
    zero = Instruction("maximum", (instruction.inputs[0], 0), {}, instruction.output)
    writer.ufunc(np.maximum, zero)


def _softplus(writer: Writer, instruction: Instruction) -> None:
    writer.ufunc(np.logaddexp, Instruction("logaddexp", (instruction.inputs[0], 0), {}, instruction.output))


def _where(writer: Writer, instruction: Instruction) -> None:
    condition, a, b = instruction.inputs
    out = instruction.output
    if kept_or_zero(instruction) and type(a) is Variable and type(condition) is Variable:
        # 0 or 1 times the bits of a number, read as an integer, is 0 or that number
        bits = "int32" if out.dtype == "float32" else "int64"
        names = [writer.seen_as(a, bits, 1), writer.seen_as(condition, "int8"), writer.seen_as(out, bits)]
        writer.line(f"{writer.keep(np.multiply, 'f')}({', '.join(names)})")
        return
    place, copy = writer.array(out), writer.keep(np.copyto, "f")
    if not (type(b) is Variable and writer.together(b, out)):
        writer.line(f"{copy}({place}, {writer.operand(b, out.dtype, 2)})")
    chosen = writer.operand(a, out.dtype, 1)
    writer.line(f"{copy}({place}, {chosen}, where={writer.operand(condition, None)})")


def _astype(writer: Writer, instruction: Instruction) -> None:
    x = writer.array(instruction.reads[0])
    writer.line(f"{writer.keep(np.copyto, 'f')}({writer.array(instruction.output)}, {x}, {writer.keep('unsafe')})")


# --- moving elements ------------------------------------------------------------------------------
def _reshape(writer: Writer, instruction: Instruction) -> None:
    x, out = instruction.reads[0], instruction.output
    place = writer.static(out)
    if place is not None and place.flags.c_contiguous:
        writer.line(f"{writer.keep(place.reshape(x.shape), 'a')}[...] = {writer.array(x)}")
    else:
        writer.line(f"{writer.array(out)}[...] = {writer.array(x)}.reshape({writer.keep(out.shape)})")


def _concatenate(writer: Writer, instruction: Instruction) -> None:
    axis, start = instruction.options.get("axis", 0), 0
    axis %= len(instruction.output.shape)
    for v in instruction.reads:
        copy_part(writer, v, instruction.output, axis, start)
        start += v.shape[axis]


def copy_part(writer: Writer, v: Variable, out: Variable, axis: int, start: int) -> None:
    """Write the copy of a value into its place in a larger one."""
    index = (*[slice(None)] * axis, slice(start, start + v.shape[axis]))
    place = writer.static(out)
    if place is None:
        writer.line(f"{writer.array(out)}[{writer.keep(index)}] = {writer.array(v)}")
    else:
        writer.line(f"{writer.keep(place[index], 'a')}[...] = {writer.array(v)}")


def _scatter_add(writer: Writer, instruction: Instruction) -> None:
    out, index = instruction.output, instruction.options.get("index", ())
    writer.line(f"{writer.array(out)}.fill(0)")
    writer.line(f"{writer.array(out)}[{writer.keep(index)}] = {writer.array(instruction.reads[0])}")


def _pad(writer: Writer, instruction: Instruction) -> None:
    x, out = instruction.reads[0], instruction.output
    widths = instruction.options["widths"]
    index = tuple([slice(before, before + n) for n, (before, _) in zip(x.shape, widths, strict=True)])
    writer.line(f"{writer.array(out)}.fill(0)")
    writer.line(f"{writer.array(out)}[{writer.keep(index)}] = {writer.array(x)}")


def _add_windows(writer: Writer, instruction: Instruction) -> None:
    x, out = instruction.reads[0], instruction.output
    array, place = writer.static(x), writer.static(out)
    if array is None or place is None:
        options = writer.keep(dict(instruction.options), "o")
        function = writer.keep(instruction.entry.compute, "f")
        writer.line(f"{writer.array(out)}[...] = {function}({writer.array(x)}, **{options})")
        return
    size, places = x.shape[len(out.shape) :], _places(instruction)
    stride = tuple(instruction.options.get("stride", ())) or (1,) * len(size)
    apart = all(step >= window for step, window in zip(stride, size, strict=True))
    if not apart or out.size != x.size:
        writer.line(f"{writer.array(out)}.fill(0)")
    add = writer.keep(np.add, "f")
    for offset in np.ndindex(*size):
        spots = zip(offset, places, stride, strict=True)
        index: Any = (..., *[slice(start, start + count * step, step) for start, count, step in spots])
        name, part = writer.keep(place[index], "a"), writer.keep(array[(..., *offset)], "a")
        writer.line(f"{name}[...] = {part}" if apart else f"{add}({name}, {part}, {name})")


def _places(instruction: Instruction) -> tuple[int, ...]:
    """Return how many windows there are along each axis."""
    x, out = instruction.reads[0].shape, instruction.output.shape
    return x[2 * len(out) - len(x) : len(out)]


ELEMENTWISE: dict[str, Kernel] = {"relu": _relu, "softplus": _softplus, "where": _where, "astype": _astype}
KERNELS: dict[str, Kernel] = {
    **ELEMENTWISE,
    "matmul": _matmul,
    "sum_rows": _sum_rows,
    "sum": _sum,
    "mean": _mean,
    "unbroadcast": _unbroadcast,
    "max": _extreme(np.maximum),
    "min": _extreme(np.minimum),
    "reshape": _reshape,
    "concatenate": _concatenate,
    "scatter_add": _scatter_add,
    "pad": _pad,
    "add_windows": _add_windows,
}
