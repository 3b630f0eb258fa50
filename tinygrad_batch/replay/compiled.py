"""`compile`: a training step is captured once, and from then on replayed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from functools import update_wrapper
from types import FunctionType, MethodType
from typing import Any, NamedTuple

import numpy as np

from ..creation import asarray
from ..data import DataIterator
from ..errors import ArgumentError, CompileError
from ..state import state
from ..tensor import Tensor
from ..trace import Trace
from .backends import BACKENDS
from .entry import Entry, Gradients, Settings
from .epochs import Collected, run_epoch
from .gate import MISS
from .guards import bound_to, guards_of, python_of
from .purity import check_pure
from .record import StrictRecorder, record
from .structure import Place, fixed, flatten, named, rebuild
from .surroundings import Surroundings
from .weigh import StepMemory


class CacheInfo(NamedTuple):
    """How often a compiled step was replayed, how often captured, and how many signatures are kept.

    Attributes
    ----------
    hits : int
        Calls that were replayed.
    misses : int
        Calls that were captured first.
    maxsize : int
        How many signatures are kept at most.
    currsize : int
        How many are kept now.
    """

    hits: int
    misses: int
    maxsize: int
    currsize: int


def compile(
    function: Callable[..., Any] | None = None,
    *,
    backend: str = "numpy",
    row_block: int | None = None,
    keep_grads: bool = True,
    passes: bool | str | Sequence[str] | None = None,
    cache_size: int = 32,
) -> Any:
    """Compile a training step, or any function of tensors: capture it once, then replay it.

    The first call with new shapes goes through the function with recording on, on shapes alone. What was
    recorded, the program of a `Trace`, is made into straight-line code with buffers of its own, and every
    call runs that. Parameters, their gradients and the state of the optimiser are the user's own, and up to date
    after every call; results equal eager ones to rounding.

    Parameters
    ----------
    function : callable
        Takes and returns Tensors (or tuples, lists, dicts of them), such as ``train_step(xb, yb)`` that
        returns the loss. A module is a function as well. Left out, `compile` returns a decorator.
    backend : {"numpy", "native"}
        ``"native"`` makes machine code of the step; it needs ``pip install "tinygrad-batch[native]"``.
    row_block : int, optional
        Run a batch in blocks of so many rows inside one step, adding up the gradients of the parameters,
        so that the memory of the step does not grow with the batch.
    keep_grads : bool
        Whether ``.grad`` is there after a call. If not, an update may be merged into the product that
        computes the gradient.
    passes : bool, str or sequence of str, optional
        True prints the program after each pass that improves it; names choose passes, and print too.
    cache_size : int
        How many signatures (shapes, dtypes, training or not) are kept; the one used longest ago goes.

    Returns
    -------
    CompiledStep
        Call it as the function.

    Raises
    ------
    CompileError
        When called for the first time, if the function does what cannot be replayed: it branches on the
        value of a tensor, makes it a Python number, prints it, or changes an object from outside. The
        error names the line.
    ArgumentError
        For an option that does not exist.

    Notes
    -----
    What the function reads from outside by name, or as ``self.scale``, is part of the signature, and so is
    whether each module that ran was training. The hyperparameters of an optimiser are read afresh at
    every call, so a schedule takes effect. The arrays of gradients are reused: ``clone()`` one that should
    outlive the next call. Parameters are moved side by side in memory; views of the old arrays that
    somebody holds do not follow. Under `capture`, `no_grad` or `abstract` the function runs as it is.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> model, loss_fn = tb.nn.Linear(3, 1, rng=0), tb.nn.MSELoss()
    >>> optimizer = tb.optim.SGD(model.parameters(), lr=0.1)
    >>> @tb.compile
    ... def step(xb, yb):
    ...     optimizer.zero_grad()
    ...     loss = loss_fn(model(xb), yb)
    ...     loss.backward()
    ...     optimizer.step()
    ...     return loss
    >>> losses = [step(tb.ones(5, 3), tb.zeros(5, 1)).item() for _ in range(3)]
    >>> losses[0] > losses[1] > losses[2]
    True
    >>> step.cache_info()
    CacheInfo(hits=2, misses=1, maxsize=32, currsize=1)
    """
    settings = Settings(backend, row_block, keep_grads, passes)
    if backend not in BACKENDS:
        raise ArgumentError(f"backend is {' or '.join(map(repr, BACKENDS))}, not {backend!r}")
    if row_block is not None and (not isinstance(row_block, int) or row_block < 1):
        raise ArgumentError(f"row_block is a number of rows, 1 or more, not {row_block!r}")
    if cache_size < 1:
        raise ArgumentError(f"cache_size is 1 or more, not {cache_size}")
    if function is None:
        return lambda chosen: CompiledStep(chosen, settings, cache_size)
    if isinstance(function, type):
        raise ArgumentError(
            f"compile takes a function or a module, not the class {function.__name__}",
            f"Pass an object: tb.compile({function.__name__}(...))",
        )
    if not callable(function):
        raise ArgumentError(f"compile takes a function of tensors, not a {type(function).__name__}")
    return CompiledStep(function, settings, cache_size)


class CompiledStep:
    """What `compile` returns: call it as the function that it was made from."""

    def __init__(self, function: Callable[..., Any], settings: Settings, cache_size: int) -> None:
        self.function = function
        self.settings = settings
        self._cache_size = cache_size
        self._entries: list[Entry] = []  # the one used last comes first
        self._gradients = Gradients()
        self._hits = self._misses = 0
        self._checked = False
        lock = threading.Lock()
        self._acquire, self._release = lock.acquire, lock.release
        self._enter = _no_way_in
        if hasattr(function, "__name__"):
            update_wrapper(self, function)
        self.__wrapped__ = function

    def __get__(self, instance: Any, kind: Any = None) -> CompiledStep:
        """Return the step of one object, where it was made from a method in a class; each has its own."""
        if instance is None or not isinstance(self.function, FunctionType):
            return self
        own = CompiledStep(MethodType(self.function, instance), self.settings, self._cache_size)
        vars(instance)[self.function.__name__] = own  # found before this one from now on
        return own

    def __reduce__(self) -> Any:
        return CompiledStep, (self.function, self.settings, self._cache_size)  # a copy captures for itself

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Run the step: replay it, or capture it where the signature is new."""
        if not self._acquire(False):
            raise CompileError(
                f"{self!r} is running already, in another thread or further up in this one",
                "Two threads need two compiled steps: call tb.compile once for each",
            )
        try:
            if not options:
                result = self._enter(*arguments)
                if result is not MISS:
                    self._hits += 1
                    return result
            return self._find(arguments, options)
        finally:
            self._release()

    def _find(self, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if not state.plain:
            return self.function(*arguments, **options)
        structure, given = flatten((arguments, options), arrays_too=True)
        for value in given:
            _check_argument(value)
        signature = tuple(fixed(structure))
        for place, entry in enumerate(self._entries):
            if entry.fits(signature, given):
                result = entry.replay(given)  # it may find a new way in
                self._put_first(self._entries.pop(place))
                self._hits += 1
                return result
        return self._capture(structure, signature, given)

    def _capture(self, structure: Any, signature: tuple[Any, ...], given: list[Any]) -> Any:
        function, owner = python_of(self.function)
        if not self._checked and hasattr(function, "__code__"):
            check_pure(function)
        self._checked = True
        tensors = [_given(value) for value in given]
        others = [part for part in signature if not isinstance(part, Place)]
        guards, met = guards_of([(function, owner)], [*bound_to(self.function), *others])
        arguments, options = rebuild(structure, tensors)
        names = [name for part, item in _called(self.function, *structure) for name in named(item, part)]
        recorder, program, result = record(self.function, arguments, options, tensors, names, Surroundings(met))
        _check_apart(tensors, recorder)
        flat = structure == (tuple([Place(i) for i in range(len(given))]), {})
        entry = Entry(self.settings, self._gradients, guards, recorder, program, signature, tensors, result, flat)
        self._misses += 1
        self._put_first(entry)
        del self._entries[self._cache_size :]
        return entry.replay(given)

    def _put_first(self, entry: Entry) -> None:
        self._entries.insert(0, entry)
        self._enter = entry.enter if entry.flat else _no_way_in

    # --- whole epochs ----------------------------------------------------------------------------
    def epoch(self, batches: Iterable[Any]) -> Any:
        """Run the step on every batch of one epoch, in the order of the iterator.

        Parameters
        ----------
        batches : DataIterator or iterable
            Of tuples of tensors, or of dicts, as the step takes them.

        Returns
        -------
        object
            Of the form that the step returns; each Tensor holds the results of the batches along a new
            first axis, or is a list of Tensors where their shapes differ.

        Examples
        --------
        >>> import tinygrad_batch as tb
        >>> batches = tb.data.DataIterator(tb.ones(10, 2), batch_size=4)
        >>> tb.compile(lambda x: x.sum()).epoch(batches)
        tensor([8., 8., 4.])
        """
        if isinstance(batches, DataIterator) and not batches.as_dict:
            return run_epoch(batches, self, self._repeating)
        collected = Collected()
        for batch in batches:
            collected.add(self(**batch) if isinstance(batch, dict) else self(*batch))
        return collected.together()

    def _repeating(self, like: list[Any], batches: int) -> Entry | None:
        """Return an entry that can run so many batches of these shapes and dtypes in one go."""
        if not state.plain:
            return None
        found = next((e for e in self._entries if e.repeats and e.shapes == like and e.holds()), None)
        self._hits += batches if found else 0
        return found

    # --- what there is to see --------------------------------------------------------------------
    def _latest(self) -> Entry:
        if not self._entries:
            raise CompileError(f"{self!r} has not been captured yet", "Call it once")
        return self._entries[0]

    @property
    def trace(self) -> Trace:
        """The trace of the signature used last: draw it, weigh it."""
        return self._latest().trace

    @property
    def source(self) -> str:
        """The step used last as a plain NumPy program to read; see `to_numpy`."""
        from .lesson import to_numpy

        return to_numpy(self.trace)

    @property
    def code(self) -> str:
        """The code that runs for the signature used last, as the backend wrote it."""
        return self._latest().executable.source

    def memory(self) -> StepMemory:
        """Return what the buffers of the signature used last take, beside the peak of the eager step."""
        return self._latest().memory()

    def cache_info(self) -> CacheInfo:
        """Return how often the step was replayed and captured, and how many signatures are kept."""
        return CacheInfo(self._hits, self._misses, self._cache_size, len(self._entries))

    def cache_clear(self) -> None:
        """Forget every signature."""
        self._entries.clear()
        self._enter = _no_way_in
        self._hits = self._misses = 0

    def __repr__(self) -> str:
        name = getattr(self.function, "__name__", type(self.function).__name__)
        return f"<compiled {name}: {self.settings.backend}, {len(self._entries)} captured>"


def _no_way_in(*arguments: Any) -> Any:
    return MISS


def _check_argument(value: Any) -> None:
    if isinstance(value, Tensor) and value._node is not None:
        raise CompileError(
            "an argument of a compiled step requires grad, and its gradient would have nowhere to stay",
            "Pass detach(), or make it a parameter that the step reads from outside",
        )


def _check_apart(given: list[Tensor], recorder: StrictRecorder) -> None:
    """Raise CompileError if an argument lies on memory that the step overwrites."""
    for variable in recorder.scribe.writes:
        owner = recorder.scribe.living[variable].owner
        array = owner._data if isinstance(owner, Tensor) and variable.kind != "gradient" else None
        if array is not None and any(np.may_share_memory(array, tensor._data) for tensor in given):
            raise CompileError(
                f"an argument of a compiled step lies on the memory of {variable.name!r}, which the step changes",
                "Pass a clone()",
            )


def _given(value: Any) -> Tensor:
    """Return an argument as a Tensor that nobody else holds."""
    tensor = asarray(value)
    return tensor.detach() if tensor is value else tensor


def _called(function: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the arguments with the names that the function has for them."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    known = code.co_varnames[hasattr(function, "__func__") : code.co_argcount] if code else ()
    return [*zip([*known, *["x"] * len(arguments)], arguments, strict=False), *options.items()]
