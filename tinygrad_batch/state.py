"""What is switched on right now, for each thread: gradients, recording, abstract shapes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .graph import Node
    from .op import Op, Plan


class Recorder(Protocol):
    """What a capture gets told; see `tinygrad_batch.capture`."""

    replays: bool  # whether what is recorded is to be run again
    walks: bool  # whether there may be a backward pass where there are shapes only
    expands: bool  # whether operations merged from others are recorded as those others

    def forward(self, op: Op, operands: Sequence[Any], options: dict[str, Any], out: Any, plan: Plan | None) -> None:
        """Take note of a forward operation."""

    def backward(self, node: Node, grad: Any, results: Sequence[tuple[Node, Any]]) -> None:
        """Take note of a backward step and the gradient it sent to each parent."""

    def ghosts(self, node: Node, grad: Any, shared: bool) -> Iterable[Any]:
        """Return stand-ins for the gradients that a node sends to its parents, where there are shapes only."""

    def total(self, one: Any | None, other: Any) -> Any:
        """Return a stand-in for the sum of two gradients, or for a copy of one, where there are shapes only."""

    def recomputes(self, nodes: Sequence[Node], inputs: Sequence[Any]) -> None:
        """Take note that these nodes keep nothing for now: they are computed anew from the inputs."""

    def update(self, optimizer: Any, now: Any, learned: Sequence[Any]) -> None:
        """Take note of an optimiser step: the optimiser, a copy that stays as it is, and what it updated."""

    def clear(self, tensors: Sequence[Any]) -> None:
        """Take note that the gradients of these leaves were forgotten."""

    def assign(self, tensor: Any, index: Any, value: Any) -> None:
        """Take note that elements of a tensor were overwritten."""

    def looked(self, tensor: Any, grad: Any) -> None:
        """Take note that somebody looks at the gradient of a tensor."""

    def missed(self, tensor: Any) -> None:
        """Take note that somebody looks for the gradient of a leaf, and there is none."""

    def set_grad(self, tensor: Any, value: Any) -> None:
        """Take note that a leaf was given a gradient."""

    def copied(self, tensor: Any, array: Any) -> None:
        """Take note that a new tensor has the same elements as an array that was made before."""

    def read(self, tensor: Any, how: str) -> None:
        """Take note that elements of a tensor are read by Python code, in the way that ``how`` says."""

    def hooked(self, node: Node) -> None:
        """Take note that a hook or `retain_grad` waits for the gradient of a node."""

    def enter(self, module: Any) -> None:
        """Take note that a layer starts."""

    def leave(self, module: Any, out: Any) -> None:
        """Take note that a layer is done."""


class State(threading.local):
    """The switches of one thread.

    ``plain`` is true when nothing special is on, so that the fast path of every operation reads one
    attribute instead of three. ``again`` is true while part of the forward pass is computed a second time, and
    ``draws``, unless it is None, notes every generator that random numbers come from, with its state before.
    """

    def __init__(self) -> None:
        self.grad = True
        self.abstract = False
        self.recorder: Recorder | None = None
        self.again = False
        self.draws: list[tuple[Any, Any]] | None = None
        self.plain = True

    @property
    def planning(self) -> bool:
        """Whether a step is written down to be run later: there are shapes only, and nothing changes."""
        return self.abstract and self.recorder is not None and self.recorder.replays

    @property
    def walkable(self) -> bool:
        """Whether there may be a backward pass."""
        return not self.abstract or (self.recorder is not None and self.recorder.walks)

    @contextmanager
    def switch(self, **switches: Any) -> Iterator[None]:
        """Set some switches for the length of a ``with`` block."""
        before = {name: getattr(self, name) for name in switches}
        self._set(switches)
        try:
            yield
        finally:
            self._set(before)

    def _set(self, switches: dict[str, Any]) -> None:
        for name, value in switches.items():
            setattr(self, name, value)
        self.plain = self.grad and not self.abstract and self.recorder is None


state = State()


@contextmanager
def no_grad() -> Iterator[None]:
    """Compute without building a graph, in this thread, inside a ``with`` block or a decorated function.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> w = tb.tensor([1.0, 2.0], requires_grad=True)
    >>> with tb.no_grad():
    ...     print((w * 2).requires_grad)
    False
    """
    with state.switch(grad=False):
        yield


@contextmanager
def enable_grad() -> Iterator[None]:
    """Build graphs again inside a `no_grad` block.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> w = tb.tensor([1.0, 2.0], requires_grad=True)
    >>> with tb.no_grad(), tb.enable_grad():
    ...     print((w * 2).requires_grad)
    True
    """
    with state.switch(grad=True):
        yield


def is_grad_enabled() -> bool:
    """Return whether operations build a graph in this thread right now.

    Examples
    --------
    >>> is_grad_enabled()
    True
    """
    return state.grad


@contextmanager
def abstract() -> Iterator[None]:
    """Run shape rules only: results have a shape and a dtype but hold no memory.

    A batch of ten million rows passes through a model in milliseconds without being allocated.
    The values of the results are meaningless zeros, and a backward pass is refused.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> with tb.abstract():
    ...     x = tb.zeros((10_000_000, 10)) @ tb.zeros((10, 15))
    >>> x.shape
    (10000000, 15)
    """
    with state.switch(abstract=True):
        yield
