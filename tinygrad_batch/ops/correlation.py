"""Correlation of pictures with kernels, which deep learning calls convolution, and its two ways back.

The three are one sum, of x times w times z over all places of all windows, with one of the three left
out; so the derivatives of each are the other two.

Pictures are (rows, channels, height, width) to the outside. In memory, results have the rows innermost:
then every window of every picture is found by long copies, the product of matrices has the channels
first and needs no transposing, and what works element by element keeps the order. A few rows of the
result at a time are computed, so that the windows, which repeat each element as often as a kernel has
elements, never stand in memory all together.
"""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import numpy as np

from .. import shapes
from ..errors import ArgumentError, ShapeError
from ..formula import SUM, Name
from ..op import case, op
from .linear_algebra import cast_copy

# Up to so many multiplications OpenBLAS computes a product without copying its factors beforehand
# (kernel/x86_64/sgemm_small_kernel_permit_skylakex.c); two such halves take half the time of the whole.
SMALL = 1_000_000
# Where one row of places makes a larger product, as many are taken as have windows of so many elements.
COLUMNS = 1 << 19


# --- shapes -----------------------------------------------------------------------------------------
def _places(sides: tuple[int, ...], size: Any, stride: Any) -> tuple[int, int]:
    """Return how many windows fit, down and across."""
    if len(size) != 2 or len(stride) != 2 or min(*size, *stride) < 1:
        raise ArgumentError(f"a kernel and its stride are 1 or more, down and across, not {size} and {stride}")
    if size[0] > sides[0] or size[1] > sides[1]:
        raise ShapeError(
            f"kernels of size {tuple(size)} are larger than the last axes of pictures of size {tuple(sides)}",
            "Make the kernels smaller, or pad the pictures",
        )
    return (sides[0] - size[0]) // stride[0] + 1, (sides[1] - size[1]) // stride[1] + 1


def _correlate_shape(x: shapes.Shape, w: shapes.Shape, stride: Any = (1, 1)) -> shapes.Shape:
    if len(x) != 4 or len(w) != 4 or x[1] != w[1]:
        raise ShapeError(
            f"pictures of shape {x} do not go with kernels of shape {w}",
            "They are (rows, inputs, height, width) and (outputs, inputs, kernel height, kernel width)",
        )
    return (x[0], w[0], *_places(x[2:], w[2:], stride))


def _back_shape(z: shapes.Shape, w: shapes.Shape, shape: Any = (), stride: Any = (1, 1)) -> shapes.Shape:
    if z != _correlate_shape(tuple(shape), w, stride):
        raise ShapeError(f"kernels of shape {w} do not make {z} of pictures of shape {shape} with stride {stride}")
    return tuple(shape)


def _kernels_shape(x: shapes.Shape, z: shapes.Shape, size: Any = (), stride: Any = (1, 1)) -> shapes.Shape:
    if len(x) != 4 or len(z) != 4 or (x[0], *_places(x[2:], size, stride)) != (z[0], *z[2:]):
        raise ShapeError(f"kernels of size {size} do not make {z} of pictures of shape {x} with stride {stride}")
    return (z[1], x[1], *size)


def _columns_shape(x: shapes.Shape, size: Any = (), stride: Any = (1, 1)) -> shapes.Shape:
    if len(x) != 4:
        raise ShapeError(f"pictures with the rows innermost have 4 axes, not the shape {x}")
    height, width = _places(x[1:3], size, stride)
    return x[0] * size[0] * size[1], height * width * x[3]


def _add_columns_shape(x: shapes.Shape, shape: Any = (), size: Any = (), stride: Any = (1, 1)) -> shapes.Shape:
    if x != _columns_shape(tuple(shape), size, stride):
        raise ShapeError(f"columns of shape {x} were not read from pictures of shape {shape} with stride {stride}")
    return tuple(shape)


def _count(out: shapes.Shape, w: shapes.Shape) -> int:
    """Return the floating-point operations of a correlation, or of a way back of it."""
    return 2 * int(np.prod(out)) * int(np.prod(w[1:]))


def _band(z: np.ndarray, kernels: np.ndarray) -> tuple[int, int]:
    """Return the elements of the windows that are computed together, at most, and of what comes out of them."""
    rows, outputs, height, width = z.shape
    entries = kernels.size // (outputs or 1)
    bands = _bands(height, kernels.size * width * rows, entries * width * rows)
    places = max((stop - start for start, stop in bands), default=0) * width * rows
    return entries * places, outputs * places


def _correlate_scratch(out: Any, x: Any, w: Any, **options: Any) -> int:
    windows, _ = _band(out, w)
    return windows * x.itemsize + cast_copy(out.dtype, x, windows) + cast_copy(out.dtype, w)


def _back_scratch(out: Any, z: Any, w: Any, **options: Any) -> int:
    windows, given = _band(z, w)
    return windows * out.itemsize + cast_copy(out.dtype, z, given) + cast_copy(out.dtype, w)


def _kernels_scratch(out: Any, x: Any, z: Any, **options: Any) -> int:
    windows, given = _band(z, out)
    return windows * x.itemsize + cast_copy(out.dtype, x, windows) + cast_copy(out.dtype, z, given)


# --- windows, with the rows innermost ---------------------------------------------------------------
def _rows_inside(x: np.ndarray) -> np.ndarray:
    """Return pictures as (channels, height, width, rows), in this order in memory."""
    return np.ascontiguousarray(x.transpose(1, 2, 3, 0))


def _windows(x: np.ndarray, places: tuple[int, int], size: Any, stride: Any, start: int, stop: int) -> np.ndarray:
    """Return a view of the windows of rows ``start`` to ``stop``: (channels, size, places, rows)."""
    channels, down, across, row = x.strides
    return np.ndarray(
        (x.shape[0], *size, stop - start, places[1], x.shape[3]),
        x.dtype,
        x,
        start * stride[0] * down,
        (channels, down, across, stride[0] * down, stride[1] * across, row),
    )


def _add_windows(out: np.ndarray, windows: np.ndarray, stride: Any, start: int, stop: int) -> None:
    """Add the windows of rows ``start`` to ``stop`` to where they were read."""
    across = windows.shape[4]
    for i, j in product(range(windows.shape[1]), range(windows.shape[2])):
        down = slice(i + start * stride[0], i + stop * stride[0], stride[0])
        place = out[:, down, j : j + across * stride[1] : stride[1]]
        np.add(place, windows[:, i, j], out=place)


def _bands(height: int, products: int, elements: int) -> list[tuple[int, int]]:
    """Return which rows of places are computed together, from the multiplications and the elements of each."""
    whole = -(-height * products // SMALL) if products <= SMALL else -(-height * elements // COLUMNS)
    count = min(height, whole) or 1
    return list(pairwise([height * i // count for i in range(count + 1)]))


def _correlate(x: Any, w: Any, stride: Any = (1, 1)) -> Any:
    rows, outputs, height, width = _correlate_shape(x.shape, w.shape, stride)
    pictures, kernels = _rows_inside(x), w.reshape(outputs, -1)
    out = np.empty((outputs, height, width * rows), np.result_type(x, w))
    for start, stop in _bands(height, w.size * width * rows, kernels.shape[1] * width * rows):
        windows = _windows(pictures, (height, width), w.shape[2:], stride, start, stop)
        count = (stop - start) * width * rows
        # the columns are named nowhere, so that those of one band are gone when the next ones come
        np.matmul(kernels, windows.reshape(kernels.shape[1], count), out=out[:, start:stop].reshape(outputs, count))
    return out.reshape(outputs, height, width, rows).transpose(3, 0, 1, 2)


def _correlate_back(z: Any, w: Any, shape: Any = (), stride: Any = (1, 1)) -> Any:
    rows, channels, *sides = _back_shape(z.shape, w.shape, shape, stride)
    outputs, height, width = z.shape[1:]
    given, kernels = _rows_inside(z).reshape(outputs, height, width * rows), w.reshape(outputs, -1).T
    out = np.zeros((channels, *sides, rows), np.result_type(z, w))
    for start, stop in _bands(height, w.size * width * rows, kernels.shape[0] * width * rows):
        part = given[:, start:stop].reshape(outputs, (stop - start) * width * rows)
        columns = (*w.shape[1:], stop - start, width, rows)
        _add_windows(out, np.matmul(kernels, part).reshape(columns), stride, start, stop)
    return out.transpose(3, 0, 1, 2)


def _correlate_kernels(x: Any, z: Any, size: Any = (), stride: Any = (1, 1)) -> Any:
    shape = _kernels_shape(x.shape, z.shape, size, stride)
    rows, outputs, height, width = z.shape
    pictures, given = _rows_inside(x), _rows_inside(z).reshape(outputs, height, width * rows)
    entries = shape[1] * shape[2] * shape[3]
    total: Any = np.zeros((outputs, entries), np.result_type(x, z))
    for start, stop in _bands(height, outputs * entries * width * rows, entries * width * rows):
        windows = _windows(pictures, (height, width), size, stride, start, stop)
        count = (stop - start) * width * rows
        total += np.matmul(given[:, start:stop].reshape(outputs, count), windows.reshape(entries, count).T)
    return total.reshape(shape)


def _columns(x: Any, size: Any = (), stride: Any = (1, 1)) -> Any:
    shape = _columns_shape(x.shape, size, stride)
    places = _places(x.shape[1:3], size, stride)
    return _windows(np.ascontiguousarray(x), places, size, stride, 0, places[0]).reshape(shape)


def _add_columns(x: Any, shape: Any = (), size: Any = (), stride: Any = (1, 1)) -> Any:
    channels, height, width, rows = _add_columns_shape(x.shape, shape, size, stride)
    down, across = _places((height, width), size, stride)
    out = np.zeros(shape, x.dtype)
    _add_windows(out, x.reshape(channels, *size, down, across, rows), stride, 0, down)
    return out


# --- how they are written in plain NumPy ------------------------------------------------------------
_CORRELATE = """
def correlate(x, w, stride=(1, 1)):
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(2, 3))
    windows = windows[:, :, :: stride[0], :: stride[1]]  # (rows, inputs, height, width, kernel height and width)
    return np.tensordot(windows, w, axes=((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)
"""
_CORRELATE_BACK = """
def correlate_back(z, w, shape, stride=(1, 1)):
    height, width = z.shape[2:]
    out = np.zeros(shape, z.dtype)
    for i, j in np.ndindex(*w.shape[2:]):  # each element of the kernels, at all places of the windows at once
        down, across = slice(i, i + height * stride[0], stride[0]), slice(j, j + width * stride[1], stride[1])
        out[:, :, down, across] += np.tensordot(z, w[:, :, i, j], axes=(1, 0)).transpose(0, 3, 1, 2)
    return out
"""
_CORRELATE_KERNELS = """
def correlate_kernels(x, z, size, stride=(1, 1)):
    windows = np.lib.stride_tricks.sliding_window_view(x, size, axis=(2, 3))
    windows = windows[:, :, :: stride[0], :: stride[1]]
    return np.tensordot(z, windows, axes=((0, 2, 3), (0, 2, 3)))
"""
_COLUMNS = """
def columns(x, size, stride=(1, 1)):
    windows = np.lib.stride_tricks.sliding_window_view(x, size, axis=(1, 2))
    windows = windows[:, :: stride[0], :: stride[1]].transpose(0, 4, 5, 1, 2, 3)
    return windows.reshape(x.shape[0] * size[0] * size[1], -1)
"""
_ADD_COLUMNS = """
def add_columns(x, shape, size, stride=(1, 1)):
    places = [(n - window) // step + 1 for n, window, step in zip(shape[1:3], size, stride)]
    windows = x.reshape(shape[0], *size, *places, shape[3])
    out = np.zeros(shape, x.dtype)
    for i, j in np.ndindex(*size):  # each element of the windows, in all windows at once
        down, across = slice(i, i + places[0] * stride[0], stride[0]), slice(j, j + places[1] * stride[1], stride[1])
        out[:, down, across] += windows[:, i, j]
    return out
"""


def _apart(stride: Any) -> str:
    return "" if tuple(stride) == (1, 1) else f", stride {stride[0]}×{stride[1]}"


correlate = op(
    "correlate", _correlate, label="conv", symbol="c", shape=_correlate_shape, code=_CORRELATE,
    doc="what each kernel of w, (outputs, inputs, height, width), finds in windows of x, (rows, inputs, height, width)",
    flops=lambda out, x, w, **o: _count(out, w),
    scratch=_correlate_scratch,
    formula=lambda x, w, stride: x.like(f"conv({x}, {w}{_apart(stride)})"),
    aligned=lambda x, w: x.dtype is w.dtype,
    cases=[case((2, 2, 4, 5), (3, 2, 2, 3)), case((2, 1, 5, 6), (2, 1, 2, 2), stride=(2, 3)),
           case((0, 2, 3, 3), (2, 2, 2, 2))],
    dx=lambda g, w, x_shape, stride: correlate_back(g, w, shape=x_shape, stride=stride),
    dw=lambda g, x, w_shape, stride: correlate_kernels(x, g, size=w_shape[2:], stride=stride),
)  # fmt: skip
correlate_back = op(
    "correlate_back", _correlate_back, label="convᵀ", shape=_back_shape, code=_CORRELATE_BACK,
    doc="zeros of the given shape with z times its kernel of w added at each window: the way back of correlate to x",
    flops=lambda out, z, w, **o: _count(z, w),
    scratch=_back_scratch,
    formula=lambda z, w, shape, stride: z.like(f"convᵀ({z}, {w}{_apart(stride)})"),
    aligned=lambda z, w: z.dtype is w.dtype,
    cases=[case((2, 3, 3, 3), (3, 2, 2, 3), shape=(2, 2, 4, 5)),
           case((2, 2, 2, 2), (2, 1, 2, 2), shape=(2, 1, 5, 6), stride=(2, 3)),
           case((0, 2, 2, 2), (2, 2, 2, 2), shape=(0, 2, 3, 3))],
    dz=lambda g, w, stride: correlate(g, w, stride=stride),
    dw=lambda g, z, w_shape, stride: correlate_kernels(g, z, size=w_shape[2:], stride=stride),
)  # fmt: skip
correlate_kernels = op(
    "correlate_kernels", _correlate_kernels, label="Σ conv", shape=_kernels_shape, code=_CORRELATE_KERNELS,
    doc="the sum over all rows and windows of a window of x times its z: the way back of correlate to the kernels",
    flops=lambda out, x, z, **o: _count(z, out),
    scratch=_kernels_scratch,
    formula=lambda x, z, size, stride: Name(
        f"sum over rows of conv({x}, {z}{_apart(stride)})", (z.shape[1], x.shape[1], *size), SUM, x.flops
    ),
    aligned=lambda x, z: x.dtype is z.dtype,
    cases=[case((2, 2, 4, 5), (2, 3, 3, 3), size=(2, 3)), case((2, 1, 5, 6), (2, 2, 2, 2), size=(2, 2), stride=(2, 3)),
           case((0, 2, 3, 3), (0, 2, 2, 2), size=(2, 2))],
    dx=lambda g, z, x_shape, stride: correlate_back(z, g, shape=x_shape, stride=stride),
    dz=lambda g, x, stride: correlate(x, g, stride=stride),
)  # fmt: skip

# What a plan computes these with, in buffers of its own: x is (channels, height, width, rows) here.
columns = op(
    "columns", _columns, shape=_columns_shape, code=_COLUMNS, flops=lambda out, x, **o: 0,
    doc="the windows of pictures x with the rows innermost, one column for each place of each row",
    formula=lambda x, size, stride: x.like(f"columns({x}, {size[0]}×{size[1]}{_apart(stride)})"),
    cases=[case((2, 4, 5, 3), size=(2, 3)), case((1, 5, 6, 2), size=(2, 2), stride=(2, 3)),
           case((2, 3, 3, 0), size=(2, 2))],
    dx=lambda g, x_shape, size, stride: add_columns(g, shape=x_shape, size=size, stride=stride),
)  # fmt: skip
add_columns = op(
    "add_columns", _add_columns, shape=_add_columns_shape, label="Σ columns", code=_ADD_COLUMNS,
    doc="zeros of the given shape with each window of x added where it was read: the way back of columns",
    flops=lambda out, x, **o: int(np.prod(x)),
    formula=lambda x, shape, size, stride: x.like(f"columns added back({x})"),
    cases=[case((12, 27), shape=(2, 4, 5, 3), size=(2, 3)),
           case((4, 8), shape=(1, 5, 6, 2), size=(2, 2), stride=(2, 3)), case((8, 0), shape=(2, 3, 3, 0), size=(2, 2))],
    dx=lambda g, size, stride: columns(g, size=size, stride=stride),
)  # fmt: skip
