"""The meter: a training step goes by on shapes alone, and every array is counted while it is there.

The step really runs, forward, backward and update, in the engine that will train it. Only its arrays are
stand-ins, which have a shape but no memory, and nothing is computed. So an array is let go at the very moment at
which training would let it go, and what is there at any time is a sum, not an estimate. What an operation
needs beside its result while it computes stands in the table (``scratch``).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import mul
from typing import Any

import numpy as np

from .. import shapes
from ..autodiff import BLOCK_BYTES
from ..calling import NOTHING, stand_in, wrap
from ..graph import Leaf, Node
from ..op import Op, Plan
from ..optim.optimizer import BLOCK
from ..program import VIEWS
from ..state import state
from ..symbolic import workspace
from ..tensor import Tensor

# Python's operators let NumPy write a large result over an operand that nobody else holds
# (numpy/_core/src/multiarray/temp_elide.c).
ELIDING = frozenset({"add", "subtract", "multiply", "divide", "negative"})
ELIDED_BYTES = 256 * 1024
UNCHANGED = frozenset({"astype", "unbroadcast"})  # these return an array that fits already
PICTURES = {"correlate": (0,), "correlate_back": (0,), "correlate_kernels": (0, 1)}
PHASES = ("forward", "backward", "update")


@dataclass(slots=True)
class Entry:
    """An array that is kept for the backward pass: by which layer, and whether it is part of the batch itself."""

    layer: str
    nbytes: int
    given: bool


class Meter:
    """Counts bytes while a step runs under `tinygrad_batch.abstract`; see `tinygrad_batch.state.Recorder`.

    Parameters
    ----------
    given : sequence of numpy.ndarray
        The stand-ins of the batch, which are not counted.

    Attributes
    ----------
    held : int
        Bytes of the arrays that the step has made and that are there now.
    peaks : dict of str to int
        The most that was held in each phase.
    kept : dict of str to int
        For each layer, the bytes kept for the backward pass when it began, less those of the batch itself.
    labels : dict of str to str
        What the layers are.
    kept_given : int
        Bytes of the batch that were kept.
    parameter_bytes, gradient_bytes, state_bytes : int
        Of what learns, of the gradients that stay, and of the arrays of the optimisers.
    """

    replays = expands = False
    walks = True

    def __init__(self, given: Sequence[np.ndarray]) -> None:
        self._given = {id(array) for array in given}
        self._watching: dict[int, weakref.ref[np.ndarray]] = {}
        self._keeps: dict[int, Entry] = {}
        self._paths: dict[int, tuple[weakref.ref[Any], str]] = {}
        self._stack: list[str] = []
        # what a step makes and lets go, such as a layer, is let go here, too
        self._before: dict[int, tuple[weakref.ref[Leaf], Any]] = {}
        self._learning: dict[int, tuple[weakref.ref[Leaf], int]] = {}
        self._optimizers: dict[int, tuple[weakref.ref[Any], int]] = {}
        self._within = False  # a derivative rule
        self._fresh: set[int] = set()  # the arrays that this rule has made
        # the arrays whose elements do not lie one after the other
        self._uneven: dict[int, weakref.ref[np.ndarray]] = {}
        self._deferred: tuple[list[int], int] | None = None
        self.held = self.gradient_bytes = 0
        self.labels: dict[str, str] = {}
        self.restart()

    def restart(self) -> None:
        """Begin to look for peaks anew: what was made before is still held."""
        self.peaks = dict.fromkeys(PHASES, 0)
        self.kept: dict[str, int] = {}
        self.kept_given = 0
        self._walking = False
        self._learning = {key: one for key, one in self._learning.items() if one[0]() is not None}
        self._optimizers = {key: one for key, one in self._optimizers.items() if one[0]() is not None}

    @property
    def parameter_bytes(self) -> int:
        """Bytes of the parameters that got a gradient."""
        return sum(nbytes for _, nbytes in self._learning.values())

    @property
    def state_bytes(self) -> int:
        """Bytes of what optimisers keep."""
        return sum(nbytes for _, nbytes in self._optimizers.values())

    # --- arrays ----------------------------------------------------------------------------------
    def _count(self, array: np.ndarray) -> np.ndarray:
        """Count an array from now on, until nobody holds it."""
        key, nbytes = id(array), array.nbytes

        def gone(_: Any) -> None:
            self.held -= nbytes
            for about in (self._watching, self._keeps):
                about.pop(key, None)

        self._watching[key] = weakref.ref(array, gone)
        self.held += nbytes
        return array

    def _reach(self, phase: str, scratch: int = 0) -> None:
        self.peaks[phase] = max(self.peaks[phase], self.held + scratch)

    def _settle(self) -> None:
        """Decide about the last result: it took no room of its own if it was written over an operand."""
        if self._deferred is not None:
            operands, held = self._deferred
            self._deferred = None
            if all(key in self._watching for key in operands):
                self.peaks["backward"] = max(self.peaks["backward"], held)

    def _owner(self, array: np.ndarray) -> np.ndarray:
        while isinstance(array.base, np.ndarray):
            array = array.base
        return array

    # --- forward ---------------------------------------------------------------------------------
    def forward(self, op: Op, operands: Sequence[Any], options: dict[str, Any], out: Tensor, plan: Plan | None) -> None:
        """Count the result of an operation, and note what is kept for the backward pass."""
        self._settle()
        arrays = [v._data if isinstance(v, Tensor) else v for v in operands]
        source = self._seen(op, arrays, out._data, options)
        if source is None:
            self._count(out._data)
        elif op.name in UNCHANGED:
            out._data = source
        elif source is not out._data:
            out._data = _view(source, out._data)
        if self._is_uneven(op, arrays, source is not None):
            self._mark_uneven(out._data)
        phase = "backward" if self._within else "forward"
        consumed = self._consumed(op, arrays, out._data) if self._within else []
        if consumed:
            self._deferred = consumed, self.held
        else:
            self._reach(phase, _scratch(op, arrays, options, out._data) + self._copied(op, arrays))
        if self._within and source is None:
            self._fresh.add(id(out._data))
        if plan is not None and not self._within:
            self._keep(op, arrays, plan, out._data)

    def _consumed(self, op: Op, arrays: Sequence[Any], out: np.ndarray) -> list[int]:
        """Return the operands that the result may be written over: temporaries of this rule, as large as it is."""
        if op.name not in ELIDING or out.nbytes < ELIDED_BYTES:
            return []
        if any(np.shape(a) not in ((), out.shape) for a in arrays):
            return []
        fits = [a for a in arrays if isinstance(a, np.ndarray) and a.shape == out.shape and a.dtype == out.dtype]
        return [id(a) for a in fits if id(a) in self._fresh and a.base is NOTHING]

    def _keep(self, op: Op, arrays: Sequence[Any], plan: Plan, out: np.ndarray) -> None:
        names = {name for names in plan.needs for name in names}
        kept = [a for a, name in zip(arrays, () if op.variadic else op.inputs, strict=False) if name in names]
        if "y" in names:
            kept.append(out)
        for array in kept:
            if not isinstance(array, np.ndarray):
                continue
            owner = self._owner(array)
            given = id(owner) in self._given
            if given or id(owner) in self._watching:
                self._keeps.setdefault(id(owner), Entry(self._layer(), owner.nbytes, given))

    # --- views -----------------------------------------------------------------------------------
    def _seen(self, op: Op, arrays: Sequence[Any], out: np.ndarray, options: dict[str, Any]) -> np.ndarray | None:
        """Return the array that the result is a view of, or is itself; None if it is new."""
        source = arrays[0] if arrays and isinstance(arrays[0], np.ndarray) else None
        if source is None:
            return None
        if op.name == "reshape":
            return None if id(source) in self._uneven and not _splits(source.shape, out.shape) else source
        if op.name in UNCHANGED:
            return source if (source.shape, source.dtype) == (out.shape, out.dtype) else None
        if op.name == "getitem":
            return source if _is_basic(options.get("index", ())) else None
        return source if op.name in VIEWS or op.name == "sliding_windows" else None

    def _is_uneven(self, op: Op, arrays: Sequence[Any], view: bool) -> bool:
        """Return whether the elements of a result do not lie in memory one after the other."""
        if view and op.name != "reshape" and op.name not in UNCHANGED:
            return True
        if op.name in ("correlate", "correlate_back"):  # these have the rows of the batch innermost
            return True
        follows = view or op.elementwise  # NumPy keeps the order of their inputs
        return follows and any(isinstance(a, np.ndarray) and id(a) in self._uneven for a in arrays)

    def _mark_uneven(self, array: np.ndarray) -> None:
        key = id(array)  # another array may have it as soon as this one is gone
        self._uneven[key] = weakref.ref(array, lambda _: self._uneven.pop(key, None))

    def _copied(self, op: Op, arrays: Sequence[Any]) -> int:
        """Return the bytes of the pictures that a correlation copies first, for their rows are not innermost."""
        return sum(arrays[i].nbytes for i in PICTURES.get(op.name, ()) if id(arrays[i]) not in self._uneven)

    # --- backward --------------------------------------------------------------------------------
    def ghosts(self, node: Node, grad: Any, shared: bool) -> Iterator[Any]:
        """Return the gradients that a node sends to its parents, made one after the other as they are asked for."""
        if not self._walking:
            self._walking = True
            for entry in self._keeps.values():
                if entry.given:
                    self.kept_given += entry.nbytes
                else:
                    self.kept[entry.layer] = self.kept.get(entry.layer, 0) + entry.nbytes
        plan = node.plan
        if plan is None or not isinstance(node.kept, tuple):
            return iter(())
        for parent in node.parents:
            if isinstance(parent, Leaf):
                self._remember(parent)
                nbytes = int(np.prod(parent.shape)) * parent.dtype.itemsize
                self._learning[parent.number] = weakref.ref(parent), nbytes
        pairs = zip(plan.rules, plan.arguments(node.kept), strict=True)
        return (self._sent(plan, rule, grad, arguments, shared) for rule, arguments in pairs)

    def _sent(self, plan: Plan, rule: Any, grad: np.ndarray, arguments: tuple[Any, ...], shared: bool) -> np.ndarray:
        arrays = [grad, *[a for a in arguments if isinstance(a, np.ndarray)]]
        in_line = all(a.shape == grad.shape and id(a) not in self._uneven for a in arrays)
        if plan.blocks and grad.nbytes > BLOCK_BYTES and in_line:
            block = (BLOCK_BYTES // grad.itemsize,)
            with _counting_apart(self):
                self._ruled(
                    rule,
                    stand_in(block, grad.dtype),
                    [stand_in(block, a.dtype) if isinstance(a, np.ndarray) else a for a in arguments],
                )
                extra = self.peaks["backward"]
            out = grad if not shared and grad.base is NOTHING else self._count(stand_in(grad.shape, grad.dtype))
            self._reach("backward", extra)
            return out
        return self._ruled(rule, grad, arguments)

    def _ruled(self, rule: Callable[..., Any], grad: Any, arguments: Sequence[Any]) -> Any:
        """Run a rule on stand-ins, and return its result as an array."""
        before = self._within, self._fresh
        self._within, self._fresh = True, set()
        with state.switch(grad=False):
            result = rule(*[wrap(v) if isinstance(v, np.ndarray) else v for v in (grad, *arguments)])
            self._settle()
        self._within, self._fresh = before
        return result._data if isinstance(result, Tensor) else result

    def total(self, one: Any | None, other: Any) -> Any:
        """Return a stand-in for the sum of two gradients, or for a copy of one."""
        out = self._count(stand_in(other.shape, other.dtype))
        self._reach("backward")
        return out

    def backward(self, node: Node, grad: Any, results: Sequence[tuple[Node, Any]]) -> None:
        """`ghosts` has counted it."""

    # --- update ----------------------------------------------------------------------------------
    def update(self, optimizer: Any, now: Any, learned: Sequence[Any]) -> None:
        """Count what an optimiser needs while it updates one parameter after the other."""
        self._walking = False
        nbytes = sum(array.nbytes for one in learned for array in one.kept.values())
        self._optimizers[id(optimizer)] = weakref.ref(optimizer), nbytes
        sizes = {(min(one.array.size, BLOCK), one.array.dtype, tuple(one.kept)) for one in learned}
        self._reach("update", max((workspace(optimizer, *size) for size in sizes), default=0))

    # --- the model, and what is put back ---------------------------------------------------------
    def enter(self, module: Any) -> None:
        """Take note that a layer starts."""
        if not self._stack and self._path(module) is None:
            for path, part in module.named_modules():
                if self._path(part) is None:
                    self._paths[id(part)] = weakref.ref(part), path or type(part).__name__
        path = self._path(module) or type(module).__name__
        self.labels.setdefault(path, module.label())
        self._stack.append(path)

    def _path(self, module: Any) -> str | None:
        """Return the path of a layer that was seen before; one that is gone may have left its id to this one."""
        seen, path = self._paths.get(id(module), (None, None))
        return path if seen is not None and seen() is module else None

    def leave(self, module: Any, out: Any) -> None:
        """Take note that a layer is done."""
        self._stack.pop()

    def _layer(self) -> str:
        return self._stack[-1] if self._stack else ""

    def _remember(self, leaf: Any) -> None:
        if isinstance(leaf, Leaf):
            self._before.setdefault(leaf.number, (weakref.ref(leaf), leaf.grad))

    def clear(self, tensors: Sequence[Tensor]) -> None:
        """Remember gradients that are about to be forgotten."""
        for tensor in tensors:
            self._remember(tensor._node)

    def set_grad(self, tensor: Tensor, value: Any) -> None:
        """Remember a gradient that is about to be replaced."""
        self._remember(tensor._node)

    def put_back(self) -> None:
        """Give every leaf the gradient that it had before, after a look at what the step left."""
        learning = [leaf() for leaf, _ in self._learning.values()]
        self.gradient_bytes = sum(leaf.grad.nbytes for leaf in learning if leaf is not None and leaf.grad is not None)
        for seen, grad in self._before.values():
            leaf = seen()
            if leaf is not None:
                leaf.grad = grad

    # --- what takes no memory --------------------------------------------------------------------
    def assign(self, tensor: Tensor, index: Any, value: Any) -> None:
        """Nothing is written."""

    def looked(self, tensor: Tensor, grad: Tensor) -> None:
        """Looking takes nothing."""

    def missed(self, tensor: Tensor) -> None:
        """Looking takes nothing."""

    def copied(self, tensor: Tensor, array: Any) -> None:
        """A copy of what comes from outside."""

    def read(self, tensor: Tensor, how: str) -> None:
        """There are no elements to read."""

    def hooked(self, node: Node) -> None:
        """A hook may look at the stand-in of a gradient."""

    def recomputes(self, nodes: Sequence[Node], inputs: Sequence[Any]) -> None:
        """Note that the inputs of a checkpoint are kept."""
        for tensor in inputs:
            owner = self._owner(tensor._data)
            given = id(owner) in self._given
            if given or id(owner) in self._watching:
                self._keeps.setdefault(id(owner), Entry(self._layer(), owner.nbytes, given))


class _counting_apart:
    """Count what a rule takes for one block, from nothing."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def __enter__(self) -> None:
        self._before = self._meter.held, self._meter.peaks
        self._meter.held, self._meter.peaks = 0, dict.fromkeys(PHASES, 0)

    def __exit__(self, *error: Any) -> None:
        self._meter.held, self._meter.peaks = self._before


def _is_basic(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        isinstance(p, (int, np.integer, slice, type(None), type(...))) and not isinstance(p, bool) for p in parts
    )


def _splits(shape: shapes.Shape, new: shapes.Shape) -> bool:
    """Return whether a new shape cuts axes in several and joins none, which is a view of any array."""
    ends = set(accumulate(new, mul))
    return all(end in ends for end in accumulate(shape, mul))


def _view(source: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Return a stand-in on the memory of ``source``, which stays as long as the view does."""
    return np.lib.stride_tricks.as_strided(source, like.shape, (0,) * like.ndim, writeable=False)


def _scratch(op: Op, arrays: Sequence[Any], options: dict[str, Any], out: np.ndarray) -> int:
    return op.scratch(out, *([arrays] if op.variadic else arrays), **options) if op.scratch is not None else 0
