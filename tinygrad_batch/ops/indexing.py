"""Reading part of an array, its derivative, adding into part of an array, and joining arrays.

``index`` is anything that NumPy takes: integers, slices, ``...``, None, boolean and integer arrays.
Where an element is read more than once, its gradients add up.
"""

from typing import Any

import numpy as np

from .. import shapes
from ..errors import ArgumentError
from ..formula import SUM
from ..op import case, free, op


def _scatter_add(x: Any, shape: Any = (), index: Any = ()) -> Any:
    out = np.zeros(shape, np.result_type(x))
    if _is_basic(index):
        out[index] = x
    else:
        np.add.at(out, index, x)
    return out


_SCATTER_ADD = """
def scatter_add(x, shape, index):
    out = np.zeros(shape, x.dtype)
    np.add.at(out, index, x)  # adds up where an index occurs more than once, as out[index] += x would not
    return out
"""


def _at(labels: Any) -> Any:
    """Return the index of the labelled element of each row."""
    return np.arange(len(labels)), np.asarray(labels).astype(np.intp)


def _pick(x: Any, labels: Any) -> Any:
    at = _at(labels)
    # read as unsigned, a negative label is a very large one, so that one maximum finds both faults
    if at[1].size and at[1].view(np.uintp).max() >= x.shape[1]:
        low, high = at[1].min(), at[1].max()
        raise ArgumentError(f"classes are from 0 to {x.shape[1] - 1}; the targets go from {low} to {high}")
    return x[at]


def _place(x: Any, labels: Any, shape: Any = ()) -> Any:
    out = np.zeros(shape, np.result_type(x))
    out[_at(labels)] = x  # labels that pick has looked at
    return out


def _integer(labels: Any) -> str:
    return "{labels}" if labels.dtype.kind in "iu" else "{labels}.astype(int)"


def _is_basic(index: Any) -> bool:
    """Return whether an index selects each element at most once without looking at arrays."""
    parts = index if isinstance(index, tuple) else (index,)
    basic = (int, np.integer, slice, type(None), type(...))
    return all(isinstance(p, basic) and not isinstance(p, bool) for p in parts)


def _index_name(x: Any, index: Any) -> Any:
    parts = index if isinstance(index, tuple) else (index,)
    return x.suffix(f"[{', '.join(map(_index_text, parts))}]")


def _index_text(part: Any) -> str:
    if isinstance(part, slice):
        text = ":".join("" if v is None else str(v) for v in (part.start, part.stop, part.step))
        return (text[:-1] if part.step is None else text) or ":"
    if part is Ellipsis:
        return "..."
    return "…" if isinstance(part, (list, np.ndarray)) and np.size(part) > 1 else str(part)


getitem = op(
    "getitem", lambda x, index=(): x[index], doc="part of x, as x[index]", label="[ ]", flops=free,
    code="{x}[{index}]",
    shape=lambda x, index: shapes.indexed(x, index), formula=_index_name,
    cases=[
        case((3, 4), index=1), case((3, 4), index=(slice(None, None, -2), None, 0)), case((3, 4), index=(..., 2)),
        case((4,), index=np.array([0, 2, 2, -1])), case((3, 4), index=(np.array([0, 1, 0]), np.array([1, 1, 1]))),
        case((2, 2), index=np.array([[True, False], [True, True]])), case((), index=()), case((0, 2), index=slice(0)),
    ],
    dx=lambda g, x_shape, index: scatter_add(g, x_shape, index),
)  # fmt: skip
scatter_add = op(
    "scatter_add", _scatter_add, doc="zeros of the given shape with x added at index", code=_SCATTER_ADD,
    shape=lambda x, shape=(), index=(): tuple(shape), flops=lambda out, x, **o: int(np.prod(x)),
    formula=lambda x, shape, index: x.like(f"zeros with {x} added at {_index_name(x.like(''), index)}", SUM),
    cases=[case((4,), shape=(3, 4), index=1), case((4,), shape=(3,), index=np.array([0, 2, 2, 1]))],
    dx=lambda g, index: getitem(g, index=index),
)  # fmt: skip


# --- one element of each row: what a classifier gave the right class --------------------------------
pick = op(
    "pick", _pick, doc="from each row of x, the element at its label",
    shape=lambda x, labels: x[:1], dtype=lambda x, labels: np.result_type(x), flops=free,
    scratch=lambda out, x, labels: 16 * len(x),
    code=lambda x, labels: f"{{x}}[np.arange({len(x)}), {_integer(labels)}]",
    formula=lambda x, labels: x.suffix(f"[row, {labels}]"), aligned=lambda x, labels: True,
    cases=[case((3, 4), (3,), domain=(0.0, 3.0))],
    dx=lambda g, labels, x_shape: place(g, labels, x_shape),
)  # fmt: skip
place = op(
    "place", _place, doc="zeros of the given shape with each element of x in its row at its label",
    shape=lambda x, labels, shape=(): tuple(shape), dtype=lambda x, labels, shape=(): np.result_type(x),
    scratch=lambda out, x, labels, shape: 16 * len(x),
    flops=free, formula=lambda x, labels, shape: x.like(f"zeros with {x} at [row, {labels}]", SUM),
    code=lambda x, labels, shape: (
        f"np.where(np.arange({shape[1]}) == {_integer(labels)}[:, None], {{x}}[:, None], 0.0)"
    ),
    aligned=lambda x, labels: True,
    cases=[case((3,), (3,), shape=(3, 4), domain=(0.0, 3.0))],
    dx=lambda g, labels: pick(g, labels),
)  # fmt: skip


# --- joining ----------------------------------------------------------------------------------------
def _piece(g: Any, i: int, shapes: Any, axis: int) -> Any:
    """Return the part of a gradient that belongs to the i-th of the arrays that were joined."""
    axis = axis % len(shapes[0])
    start = sum(s[axis] for s in shapes[:i])
    return getitem(g, index=(slice(None),) * axis + (slice(start, start + shapes[i][axis]),))


concatenate = op(
    "concatenate", lambda arrays, axis=0: np.concatenate(arrays, axis), variadic=True, numpy=np.concatenate,
    doc="the arrays joined along an axis that they have", shape=shapes.concatenated,
    code="np.concatenate({arrays}, axis={axis})",
    formula=lambda arrays, axis=0: arrays[0].like(f"[{', '.join(map(str, arrays))}]"),
    cases=[case((2, 3), (1, 3)), case((2, 3), (2, 1), (2, 2), axis=-1), case((0,), (2,))],
    darrays=_piece, flops=free,
)  # fmt: skip
