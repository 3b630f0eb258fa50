"""Computing part of the forward pass twice, so that less of it has to be kept.

The forward pass keeps what the backward pass will need. `checkpoint` keeps only what goes *into* a part of
the network; when the backward pass comes to that part, it runs the part once more, and takes from there
what should have been kept. Time for memory: a forward pass more, and of ``n`` layers cut into ``√n`` parts
only about ``2 √n`` results stand in memory at one time (Chen et al. 2016, "Training Deep Nets with Sublinear
Memory Cost").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any
from zlib import crc32

import numpy as np

from .calling import wrap
from .errors import ArgumentError, GraphError
from .graph import Leaf, Node
from .op import Plan
from .state import enable_grad, state
from .tensor import Tensor


def checkpoint(function: Callable[..., Any], *inputs: Any) -> Any:
    """Return ``function(*inputs)``, keeping its inputs for the backward pass and nothing else.

    What the derivatives need is computed once more when the backward pass comes by. Results and gradients
    are the same, to the bit.

    Parameters
    ----------
    function : callable
        A layer, or any function of tensors. It is called a second time with the same tensors, and must do the
        same again: random numbers are drawn anew from where their generators stood the first time, and the
        running statistics of batch normalisation move once.
    *inputs : Tensor, or anything else that the function takes

    Returns
    -------
    Tensor, or tuple or list of Tensor
        What the function returned.

    Raises
    ------
    GraphError
        In the backward pass, if the function does not compute the same the second time.

    Notes
    -----
    A step that `compile` captures decides by its own plan what is kept, and runs the function as it is.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> layer = tb.nn.Sequential(tb.nn.Linear(10, 15, rng=0), tb.nn.Tanh())
    >>> x = tb.ones(100, 10)
    >>> tb.checkpoint(layer, x).sum().backward()
    >>> layer[0].bias.grad.shape
    (15,)
    """
    if not state.grad or state.planning:
        return function(*inputs)
    return Segment(function, inputs).begin()


def checkpoint_sequential(layers: Sequence[Callable[[Any], Any]], segments: int, x: Any) -> Any:
    """Run layers one after the other in ``segments`` parts, each but the last a `checkpoint`.

    The backward pass begins with the last part and needs what it keeps at once, so that one is left alone.

    Parameters
    ----------
    layers : sequence of callables, such as nn.Sequential
    segments : int
        From 1 (nothing is computed twice) to the number of layers. About the square root of that number
        takes the least memory.
    x : Tensor

    Raises
    ------
    ArgumentError
        If there are more segments than layers, or none.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> net = tb.nn.Sequential(*[tb.nn.Linear(8, 8, rng=i) for i in range(9)])
    >>> tb.checkpoint_sequential(net, 3, tb.ones(5, 8)).shape
    (5, 8)
    """
    layers = list(layers)
    if not 1 <= segments <= len(layers):
        raise ArgumentError(f"{len(layers)} layers are cut into 1 to {len(layers)} segments, not {segments}")
    cuts = [len(layers) * i // segments for i in range(segments + 1)]
    for start, stop in pairwise(cuts[:-1]):
        x = checkpoint(_Chain(layers[start:stop]), x)
    return _Chain(layers[cuts[-2] :])(x)


class _Chain:
    def __init__(self, layers: Sequence[Callable[[Any], Any]]) -> None:
        self.layers = layers

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x


class Segment:
    """A part of the forward pass whose nodes keep nothing until the backward pass comes to one of them.

    It holds what goes in, and never a node: a node holds its `Piece`, and that the segment, so nothing points in
    a circle.

    Parameters
    ----------
    function : callable
    inputs : sequence
        What it is called with.
    """

    def __init__(self, function: Callable[..., Any], inputs: Sequence[Any]) -> None:
        self._function = function
        self._given = inputs
        self._plans: list[Plan | None] = []
        self._draws: list[tuple[np.random.Generator, Any]] = []
        self._digest: list[Any] = []
        self._kept: list[Any] = []  # for each node what it is to keep, from the second run until it is taken

    def begin(self) -> Any:
        """Run the function for the first time, and let its nodes forget what they keep."""
        outside = state.draws
        with state.switch(draws=[]):
            result, nodes, self._digest = self._run(self._given)
            drawn = state.draws or []
        if outside is not None:  # another checkpoint around this one has to draw the same, too
            outside.extend(drawn)
        self._draws = _first_of_each(drawn)
        self._plans = [node.plan for node in nodes]
        for place, node in enumerate(nodes):
            node.kept = Piece(self, place)
        if state.recorder is not None and nodes:
            state.recorder.recomputes(nodes, [given for given in self._given if isinstance(given, Tensor)])
        # from here on only the arrays are held, not the tensors with their names and nodes
        self._given = [_bare(given) for given in self._given]
        return result

    def take(self, place: int) -> Any:
        """Return what the node at ``place`` is to keep, after the second run of the function.

        Raises
        ------
        GraphError
            If other operations were run than the first time, or gave other numbers.
        """
        if not self._kept:
            self._kept = self._computed_again()
        kept, self._kept[place] = self._kept[place], None
        return kept

    def _computed_again(self) -> list[Any]:
        before = [(generator, generator.bit_generator.state) for generator, _ in self._draws]
        for generator, drawn_from in self._draws:
            generator.bit_generator.state = drawn_from
        recorder: Any = state.recorder
        if recorder is not None and not state.abstract:  # a picture shows the forward pass once
            recorder = Unheard(recorder.expands)
        try:
            with enable_grad(), state.switch(draws=None, again=True, recorder=recorder):
                nodes, digest = self._run([_fresh(given) for given in self._given])[1:]
        finally:
            for generator, now in before:
                generator.bit_generator.state = now
        if [node.plan for node in nodes] != self._plans or digest != self._digest:
            raise GraphError(
                f"the checkpoint of {_name(self._function)} did not compute the same the second time",
                "Give it everything that may change as an input, and change no parameter before backward()",
            )
        self._given = ()
        return [node.kept for node in nodes]

    def _run(self, inputs: Sequence[Any]) -> tuple[Any, list[Node], list[Any]]:
        """Return what the function gives, the nodes it made, and numbers that tell whether it did the same."""
        since = Leaf((), np.dtype(float)).number
        result = self._function(*inputs)
        outputs = [result] if isinstance(result, Tensor) else list(result)
        for output in outputs:
            if not isinstance(output, Tensor):
                raise ArgumentError(
                    f"{_name(self._function)} returned a {type(output).__name__} under checkpoint()",
                    "Return a Tensor, or a tuple or list of Tensors",
                )
        return result, _made_since(since, outputs), [_digest(output) for output in outputs]


class Piece:
    """Stands in one node of a segment for what it is to keep."""

    __slots__ = ("_place", "_segment")

    def __init__(self, segment: Segment, place: int) -> None:
        self._segment = segment
        self._place = place

    def restore(self) -> Any:
        """Return what the node is to keep; of a checkpoint inside this one, that is another piece."""
        return self._segment.take(self._place)


class Unheard:
    """A recorder that takes note of nothing, so that the same operations run as while another one was on."""

    replays = walks = False

    def __init__(self, expands: bool) -> None:
        self.expands = expands

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: None


def _made_since(number: int, outputs: Sequence[Tensor]) -> list[Node]:
    """Return the nodes with higher numbers that outputs depend on, parents first."""
    found: dict[int, Node] = {}
    waiting = [output._node for output in outputs if output._node is not None]
    while waiting:
        node = waiting.pop()
        if node.number > number and node.plan is not None and node.number not in found:
            found[node.number] = node
            waiting.extend(node.parents)
    return [found[number] for number in sorted(found)]


def _digest(output: Tensor) -> Any:
    """Return what tells a result from any other: how its elements lie and a checksum of their bits; NaN equals NaN."""
    array = output._data
    return array.shape, array.dtype, () if state.abstract else (array.strides, _checksum(array))


_IN_PARTS: dict[str, Any] = {
    "flags": ["external_loop", "buffered", "growinner", "zerosize_ok"],
    "op_flags": [["readonly", "contig"]],
    "order": "K",  # as they lie in memory, which is the fastest
    "buffersize": 1 << 12,
}


def _checksum(array: np.ndarray) -> int:
    """Return the CRC-32 of the bits of all elements; of an array with gaps, a few thousand are copied at a time."""
    found = 0
    parts: Any = np.nditer(array, **_IN_PARTS)
    for part in parts:
        found = crc32(part, found)
    return found


def _first_of_each(draws: list[tuple[np.random.Generator, Any]]) -> list[tuple[np.random.Generator, Any]]:
    return list({id(generator): (generator, drawn_from) for generator, drawn_from in reversed(draws)}.values())


def _bare(given: Any) -> Any:
    return _Array(given._data, given._node is not None) if isinstance(given, Tensor) else given


class _Array:
    """The array of an input, and whether a gradient goes back to it."""

    __slots__ = ("array", "learns")

    def __init__(self, array: np.ndarray, learns: bool) -> None:
        self.array = array
        self.learns = learns


def _fresh(given: Any) -> Any:
    """Return an input as a tensor of its own, so that what is computed from it is no part of the graph."""
    if not isinstance(given, _Array):
        return given
    return wrap(given.array, Leaf(given.array.shape, given.array.dtype) if given.learns else None)


def _name(function: Any) -> str:
    return getattr(function, "__name__", str(function) if hasattr(function, "label") else type(function).__name__)
