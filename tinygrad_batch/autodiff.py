"""The backward pass: one walk from the loss to the leaves.

Nodes are visited from the youngest to the oldest, so every gradient is complete when its node is
reached. At each node the derivative rules turn the gradient of the output into gradients of the
inputs; contributions to the same node are added up. There is no recursion: a chain of a million
operations is walked like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush
from typing import Any

import numpy as np

from .calling import NOTHING, cast_gradient, checked_array, wrap
from .errors import GraphError, ShapeError
from .graph import Node, check_kept, latest_write
from .op import TABLE, Rule
from .state import state

_ndarray = np.ndarray
# A gradient of more bytes than this is computed in blocks of so many, which stay in the cache, and
# written over the gradient it came from, so that the two never stand side by side.
BLOCK_BYTES = 1 << 17


def backward(
    root: Node,
    seed: Any,
    retain_graph: bool = False,
    create_graph: bool = False,
    wanted: Sequence[Node] | None = None,
) -> list[Any]:
    """Walk back from ``root``, whose gradient is ``seed``, and leave the gradients at the leaves.

    Parameters
    ----------
    root : Node
    seed : numpy.ndarray or Tensor
        The gradient of the root; a Tensor if ``create_graph``.
    retain_graph : bool
        Keep what the nodes hold, so that the walk can be done again.
    create_graph : bool
        Run the rules on Tensors, so that the gradients have a graph of their own.
    wanted : sequence of Node, optional
        Return the gradients of these nodes, and leave the leaves alone.

    Returns
    -------
    list
        The gradient of each wanted node, None where the walk did not come by.

    Raises
    ------
    GraphError
        If the graph was freed by an earlier walk.
    InPlaceError
        If an array that a rule needs was changed in place since it was kept.
    """
    if create_graph and not state.grad:  # the switch asks for a graph of the backward pass, even under no_grad
        with state.switch(grad=True):
            return backward(root, seed, retain_graph, create_graph, wanted)
    found: dict[int, Any] | None = None if wanted is None else {node.number: None for node in wanted}
    needed = None if wanted is None else _leading_to(root, {node.number for node in wanted})
    retain = retain_graph or create_graph
    special = create_graph or state.recorder is not None
    # Where a graph is a chain, the next node is just the parent at hand; only where it branches do
    # nodes wait in a heap, the youngest on top, with what has reached them so far in `waiting`.
    heap: list[tuple[int, Node]] = []
    waiting: dict[int, tuple[Any, bool]] = {}
    node, g, shared = root, seed, True  # shared: somebody else may hold the array of this gradient
    while True:
        if node.watch is not None:
            if state.recorder is not None:
                state.recorder.hooked(node)
            g, shared = _watched(node, g, found is None), True
        if found is not None and node.number in found:
            found[node.number], shared = g, True
        plan, kept = node.plan, node.kept
        following: Node | None = None
        if type(kept) is not tuple:
            kept = _restored(node)
        if plan is None:
            if found is None:
                _accumulate(node, g, shared)
        else:
            if node.number < latest_write[0]:
                check_kept(node)
            above: Any = node.above
            if special:
                computed = iter(_on_tensors(node, g, needed) if create_graph else _recorded(node, g, shared))
            if not retain:
                node.kept = None
                node.above = ()
            each = zip(plan.rules, (kept,), (above,)) if plan.single else zip(plan.rules, kept, above)  # noqa: B905 (hot)
            for rule, arguments, parent in each:
                if special:
                    grad = next(computed)
                    if grad is None:
                        continue
                elif needed is not None and parent.number not in needed:
                    continue
                elif plan.blocks and g.nbytes > BLOCK_BYTES:
                    grad = _in_blocks(rule, g, arguments, not shared)
                else:
                    grad = rule(g, *arguments)
                # g itself may only be handed on where this is the one rule, so that nobody else gets it too
                aliased = (
                    create_graph
                    or (grad.base is not None and grad.base is not NOTHING)  # a view; all stand-ins lie on NOTHING
                    or (grad is g and (shared or not plan.single))
                )
                if parent.plan is None and parent.watch is None and found is None:
                    if (
                        not aliased
                        and parent.grad is None
                        and grad.shape == parent.shape
                        and grad.dtype is parent.dtype
                        and type(grad) is _ndarray
                    ):
                        parent.grad = grad
                    else:
                        _accumulate(parent, grad, aliased)
                elif following is None and not heap:
                    following, following_g, following_shared = parent, grad, aliased
                elif following is parent:
                    following_g, following_shared = _sum(following_g, grad), False
                elif parent.number in waiting:
                    waiting[parent.number] = _sum(waiting[parent.number][0], grad), False
                else:
                    if following is not None:
                        waiting[following.number] = following_g, following_shared
                        heappush(heap, (-following.number, following))
                        following = None
                    waiting[parent.number] = grad, aliased
                    heappush(heap, (-parent.number, parent))
        if following is not None:
            node, g, shared = following, following_g, following_shared
        elif heap:
            node = heappop(heap)[1]
            g, shared = waiting.pop(node.number)
        else:
            return [] if found is None or wanted is None else [found[n.number] for n in wanted]


def _restored(node: Node) -> tuple[Any, ...]:
    """Return what a node keeps, computed once more if that was postponed."""
    kept = node.kept
    while not isinstance(kept, tuple):
        if kept is None:
            raise GraphError(
                f"the graph behind this value was freed by an earlier backward pass (at {_name(node)!r})",
                "Run the forward pass again, or call the first backward with retain_graph=True",
            )
        kept = node.kept = kept.restore()
    return kept


def _name(node: Node) -> str:
    return node.plan.op.name if node.plan is not None else "a leaf"


def _sum(a: Any, b: Any) -> Any:
    """Return the sum of two gradients of one shape, or what stands for it where there are shapes only."""
    if state.abstract and state.recorder is not None and type(b) is _ndarray:
        return state.recorder.total(a, b)
    return a + b


def _recorded(node: Node, g: Any, shared: bool) -> Iterable[Any]:
    """Run the rules of ``node`` and tell the recorder what came out."""
    plan, kept = node.plan, node.kept
    if plan is None or not isinstance(kept, tuple) or state.recorder is None:
        return []
    if state.abstract:
        return state.recorder.ghosts(node, g, shared)
    grads = [rule(g, *arguments) for rule, arguments in zip(plan.rules, plan.arguments(kept), strict=True)]
    state.recorder.backward(node, g, list(zip(node.parents, grads, strict=True)))
    return grads


def _accumulate(leaf: Any, grad: Any, is_shared: bool) -> None:
    """Add ``grad`` to the gradient of a leaf, which never shares its array with another tensor."""
    if grad.shape != leaf.shape:
        raise ShapeError(
            f"a derivative rule returned a gradient of shape {grad.shape} for a leaf of shape {leaf.shape}",
            "A rule must return the exact shape of its input",
        )
    leaf.grad = _added(leaf.grad, grad, is_shared)
    if leaf.grad.dtype != leaf.dtype:
        leaf.grad = cast_gradient(leaf.grad, leaf.dtype)


def _added(total: Any, grad: Any, is_shared: bool) -> Any:
    """Return ``total + grad``, or ``grad`` alone if there is no total yet, on memory that nobody else holds."""
    if state.abstract and state.recorder is not None and type(grad) is _ndarray:
        return state.recorder.total(total, grad) if total is not None or is_shared else grad
    if total is not None:
        total = total + grad
        return np.asarray(total) if isinstance(total, np.generic) else total  # NumPy adds 0-d arrays to a scalar
    if type(grad) is _ndarray:
        return grad.copy() if is_shared else grad
    # a scalar, or a Tensor of create_graph
    return np.asarray(grad) if isinstance(grad, np.generic) else TABLE["positive"].call(grad)


def _in_blocks(rule: Rule, g: np.ndarray, kept: tuple[Any, ...], overwrite: bool) -> np.ndarray:
    """Run an elementwise rule block by block, into ``g`` itself where nobody else holds it."""
    arrays = [a for a in kept if type(a) is _ndarray]
    if not g.flags.c_contiguous or any(a.shape != g.shape or not a.flags.c_contiguous for a in arrays):
        return rule(g, *kept)
    out = g if overwrite and g.flags.writeable else np.empty_like(g)
    flat_out, flat_g = out.reshape(-1), g.reshape(-1)
    flat = [a.reshape(-1) if type(a) is _ndarray else a for a in kept]
    block = BLOCK_BYTES // g.itemsize
    for start in range(0, g.size, block):
        part = slice(start, start + block)
        flat_out[part] = rule(flat_g[part], *[a[part] if type(a) is _ndarray else a for a in flat])
    return out


def _leading_to(root: Node, targets: set[int]) -> set[int]:
    """Return the numbers of the nodes on the paths from ``root`` to ``targets``: only they need a gradient."""
    below = {root.number: root}
    waiting = [root]
    while waiting:
        for parent in waiting.pop().parents:
            if parent.number not in below:
                below[parent.number] = parent
                waiting.append(parent)
    needed = set(targets)
    for number in sorted(below):  # parents come before their children
        if any(parent.number in needed for parent in below[number].parents):
            needed.add(number)
    return needed


def _on_tensors(node: Node, g: Any, needed: set[int] | None) -> Iterator[Any]:
    """Run the rules of ``node`` on Tensors that are connected to the graph they came from; None where not needed."""
    plan, kept, parents = node.plan, node.kept, node.parents
    if plan is None or not isinstance(kept, tuple):
        return
    positions = {name: i for i, name in enumerate(plan.op.inputs)}

    def connected(name: str, value: Any) -> Any:
        if type(value) is not _ndarray or not (name == "y" or name in positions):
            return value
        if name == "y":
            return wrap(value, node)
        position = positions[name]
        return wrap(value, parents[plan.inputs.index(position)] if position in plan.inputs else None)

    for rule, names, arguments, parent in zip(plan.rules, plan.needs, plan.arguments(kept), parents, strict=True):
        if needed is None or parent.number in needed:
            yield rule(g, *[connected(name, value) for name, value in zip(names, arguments, strict=True)])
        else:
            yield None


def _watched(node: Node, g: Any, retain: bool) -> Any:
    """Run the hooks of a node on its complete gradient, and retain it if asked to and ``retain``."""
    watch = node.watch
    if watch is None:
        return g
    for hook in list(watch.hooks):
        shown = wrap(_read_only(g)) if isinstance(g, (_ndarray, np.generic)) else g
        answer = hook(shown)
        if answer is not None:
            answer = answer if type(answer) is type(shown) else wrap(checked_array(answer))
            if answer.shape != g.shape:
                raise ShapeError(f"a hook returned a gradient of shape {answer.shape}, not {g.shape}")
            if answer.dtype != g.dtype:
                answer = TABLE["astype"].call(answer, dtype=g.dtype)
            g = answer if type(g) is type(shown) else answer._data
    if retain and watch.retain:
        watch.grad = _added(watch.grad, g, True)
    return g


def _read_only(g: Any) -> np.ndarray:
    """Return a view that a hook cannot write on: others may get the same array, and the user may have passed it."""
    view = np.asarray(g).view()
    view.flags.writeable = False
    return view
