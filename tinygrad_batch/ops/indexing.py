"""Reading part of an array, its derivative, adding into part of an array, and joining arrays.

``index`` is anything that NumPy takes: integers, slices, ``...``, None, boolean and integer arrays.
Where an element is read more than once, its gradients add up.
"""

from typing import Any

import numpy as np

from .. import shapes
from ..op import case, op


def _scatter_add(x: Any, shape: Any = (), index: Any = ()) -> Any:
    out = np.zeros(shape, np.result_type(x))
    if _is_basic(index):
        out[index] = x
    else:
        np.add.at(out, index, x)
    return out


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
    "getitem", lambda x, index=(): x[index], doc="part of x, as x[index]", label="[ ]", flops=lambda *a, **o: 0,
    shape=lambda x, index: shapes.indexed(x, index), formula=_index_name,
    cases=[
        case((3, 4), index=1), case((3, 4), index=(slice(None, None, -2), None, 0)), case((3, 4), index=(..., 2)),
        case((4,), index=np.array([0, 2, 2, -1])), case((3, 4), index=(np.array([0, 1, 0]), np.array([1, 1, 1]))),
        case((2, 2), index=np.array([[True, False], [True, True]])), case((), index=()), case((0, 2), index=slice(0)),
    ],
    dx=lambda g, x_shape, index: scatter_add(g, x_shape, index),
)  # fmt: skip
scatter_add = op(
    "scatter_add", _scatter_add, doc="zeros of the given shape with x added at index",
    shape=lambda x, shape=(), index=(): tuple(shape), flops=lambda out, x, **o: int(np.prod(x)),
    formula=lambda x, shape, index: x.like(f"zeros{_index_name(x.like(''), index)} += {x}"),
    cases=[case((4,), shape=(3, 4), index=1), case((4,), shape=(3,), index=np.array([0, 2, 2, 1]))],
    dx=lambda g, index: getitem(g, index=index),
)  # fmt: skip


def _piece(g: Any, i: int, shapes: Any, axis: int) -> Any:
    """Return the part of a gradient that belongs to the i-th of the arrays that were joined."""
    axis = axis % len(shapes[0])
    start = sum(s[axis] for s in shapes[:i])
    return getitem(g, index=(slice(None),) * axis + (slice(start, start + shapes[i][axis]),))


concatenate = op(
    "concatenate", lambda arrays, axis=0: np.concatenate(arrays, axis), variadic=True, numpy=np.concatenate,
    doc="the arrays joined along an axis that they have", shape=shapes.concatenated,
    formula=lambda arrays, axis=0: arrays[0].like(f"[{', '.join(map(str, arrays))}]"),
    cases=[case((2, 3), (1, 3)), case((2, 3), (2, 1), (2, 2), axis=-1), case((0,), (2,))],
    darrays=_piece, flops=lambda *a, **o: 0,
)  # fmt: skip
