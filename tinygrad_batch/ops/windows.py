"""Padding, and the windows that a convolution or a pooling looks through.

A window is a small box that slides over the last axes of an array; all windows together are a view of
the same memory. The way back adds every window to where it was read.
"""

from typing import Any

import numpy as np

from .. import shapes
from ..errors import ArgumentError, ShapeError
from ..op import case, free, op
from .indexing import getitem


# --- a border of zeros ------------------------------------------------------------------------------
def _pad_shape(x: shapes.Shape, widths: Any = ()) -> shapes.Shape:
    if len(widths) != len(x) or any(len(pair) != 2 for pair in widths):
        raise ShapeError(
            f"widths {widths} do not fit an array of shape {x}",
            "Give one pair (before, after) for each axis",
        )
    if any(n < 0 for pair in widths for n in pair):
        raise ArgumentError(f"a border has 0 elements or more, not {min(n for pair in widths for n in pair)}")
    return tuple(n + before + after for n, (before, after) in zip(x, widths, strict=True))


def _inside(shape: shapes.Shape, widths: Any) -> tuple[slice, ...]:
    """Return the index of what was there before the border of ``widths`` was put around it."""
    return tuple(slice(before, before + n) for n, (before, _) in zip(shape, widths, strict=True))


def _pad(x: Any, widths: Any = ()) -> Any:
    x = np.asarray(x)
    out = np.zeros_like(x, shape=_pad_shape(x.shape, widths))  # in the order in which x lies in memory
    out[_inside(x.shape, widths)] = x
    return out


pad = op(
    "pad", _pad, doc="x with a border of zeros; widths holds the pair (before, after) for each axis",
    shape=_pad_shape, flops=free, formula=lambda x, widths: x.like(f"pad({x})"), code="np.pad({x}, {widths})",
    cases=[case((2, 3), widths=((1, 2), (0, 1))), case((3,), widths=((0, 0),)),
           case((0, 2), widths=((1, 0), (0, 0)))],
    dx=lambda g, x_shape, widths: getitem(g, index=_inside(x_shape, widths)),
)  # fmt: skip


# --- windows, and the sum of windows -----------------------------------------------------------------
def _windows_shape(x: shapes.Shape, size: Any = (), stride: Any = ()) -> shapes.Shape:
    stride = _steps(x, size, stride)
    front = len(x) - len(size)
    places = [(n - window) // step + 1 for n, window, step in zip(x[front:], size, stride, strict=True)]
    return (*x[:front], *places, *size)


def _steps(x: shapes.Shape, size: Any, stride: Any) -> tuple[int, ...]:
    """Return the steps between windows, 1 where none are given, checked to fit an array of shape ``x``."""
    stride = tuple(stride) or (1,) * len(size)
    if len(size) != len(stride):
        raise ArgumentError(f"windows of size {size} slide over {len(size)} axes, but the stride is {stride}")
    if len(size) > len(x):
        raise ShapeError(f"windows of size {size} do not slide over an array of shape {x}, which has fewer axes")
    if any(n < 1 for n in (*size, *stride)):
        raise ArgumentError(f"a window and its stride are 1 or more, not {tuple(size)} and {tuple(stride)}")
    sides = x[len(x) - len(size) :]
    if any(window > n for window, n in zip(size, sides, strict=True)):
        raise ShapeError(
            f"windows of size {tuple(size)} are larger than the last axes of an array of shape {x}",
            "Make the windows smaller, or pad the array",
        )
    return stride


def _sliding_windows(x: Any, size: Any = (), stride: Any = ()) -> Any:
    x = np.asarray(x)
    stride = _steps(x.shape, size, stride)
    front = x.ndim - len(size)
    view = np.lib.stride_tricks.sliding_window_view(x, size, tuple(range(front, x.ndim)))
    return view[(slice(None),) * front + tuple(slice(None, None, step) for step in stride)]


def _sliding_windows_code(x: Any, size: Any, stride: Any) -> str:
    axes = tuple(range(x.ndim - len(size), x.ndim))
    text = f"np.lib.stride_tricks.sliding_window_view({{x}}, {{size}}, {axes})"
    steps = [":" if step == 1 else f"::{step}" for step in _steps(x.shape, size, stride)]
    return text if set(steps) == {":"} else f"{text}[{', '.join([':'] * axes[0] + steps)}]"


_ADD_WINDOWS = """
def add_windows(x, shape, stride):
    size = x.shape[len(shape):]
    places = x.shape[len(shape) - len(size):len(shape)]
    out = np.zeros(shape, x.dtype)
    for offset in np.ndindex(*size):  # each element of the windows, in all windows at once
        spots = zip(offset, places, stride or (1,) * len(size))
        index = (..., *(slice(start, start + count * step, step) for start, count, step in spots))
        out[index] += x[(..., *offset)]
    return out
"""


def _windows_of(shape: shapes.Shape, windows: shapes.Shape) -> tuple[int, ...]:
    """Return the size of the windows that ``windows`` holds of an array of ``shape``."""
    return windows[len(shape) :]


def _add_windows(x: Any, shape: Any = (), stride: Any = ()) -> Any:
    x = np.asarray(x)
    size = _windows_of(shape, x.shape)
    if x.shape != _windows_shape(shape, size, stride):
        raise ShapeError(
            f"windows of shape {x.shape} were not read from an array of shape {shape} with stride {tuple(stride)}"
        )
    stride = _steps(shape, size, stride)
    out = np.zeros(shape, x.dtype)
    places = x.shape[len(shape) - len(size) : len(shape)]
    for offset in np.ndindex(*size):  # few: the elements of one window
        spots = zip(offset, places, stride, strict=True)
        index: Any = (..., *(slice(start, start + count * step, step) for start, count, step in spots))
        out[index] += x[(..., *offset)]
    return out


sliding_windows = op(
    "sliding_windows", _sliding_windows, label="windows",
    doc="every window of the given size over the last axes of x, stride elements apart, as a view: (..., places, size)",
    shape=_windows_shape, flops=free, formula=lambda x, size, stride: x.like(f"windows({x}, {_times(size)})"),
    code=_sliding_windows_code,
    cases=[case((2, 4, 5), size=(2, 3), stride=(1, 1)), case((5, 6), size=(2, 2), stride=(2, 3)),
           case((7,), size=(3,), stride=(2,)), case((4,), size=(3,)),
           case((0, 2, 2), size=(2, 1), stride=(1, 1))],
    dx=lambda g, x_shape, stride: add_windows(g, shape=x_shape, stride=stride),
)  # fmt: skip
add_windows = op(
    "add_windows", _add_windows, label="Σ windows",
    doc="zeros of the given shape with each window of x added where it was read: the way back of sliding_windows",
    shape=lambda x, shape=(), stride=(): tuple(shape), flops=lambda out, x, **o: int(np.prod(x)),
    formula=lambda x, shape, stride: x.like(f"windows added back({x})"), code=_ADD_WINDOWS,
    cases=[case((2, 3, 3, 2, 3), shape=(2, 4, 5), stride=(1, 1)), case((2, 2, 2, 2), shape=(5, 6), stride=(2, 3)),
           case((0, 1, 2, 2, 1), shape=(0, 2, 2), stride=(1, 1))],
    dx=lambda g, x_shape, shape, stride: sliding_windows(g, size=_windows_of(shape, x_shape), stride=stride),
)  # fmt: skip


def _times(size: Any) -> str:
    return "×".join(map(str, size))
