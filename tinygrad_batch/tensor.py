"""The Tensor: an array that remembers how it was computed.

The class is thin. It holds an array and, if it needs a gradient, a node of the graph; everything it
can do is an operation of the table or a function made of operations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import ops
from .autodiff import backward
from .calling import checked_array, operand, result_class, wrap
from .errors import ArgumentError, DtypeError, GraphError, InPlaceError, ShapeError
from .graph import Leaf, Node, Watch, mark_changed, mark_written
from .methods import Methods
from .numpy_protocols import NumPyProtocols
from .operators import Operators
from .shapes import Shape
from .state import state

_ONE = {char: np.ones((), char) for char in np.typecodes["AllFloat"]}
for _one in _ONE.values():
    _one.flags.writeable = False
_default = {"dtype": np.dtype(np.float64)}


def set_default_dtype(dtype: Any) -> None:
    """Set the floating dtype of Python numbers and new parameters (at first float64).

    Raises
    ------
    DtypeError
        If ``dtype`` is not a floating dtype.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> tb.set_default_dtype("float32"); print(tb.tensor([1.5]).dtype); tb.set_default_dtype("float64")
    float32
    """
    new = np.dtype(dtype)
    if new.kind != "f":
        raise DtypeError(f"the default dtype must be a floating one, not {new}")
    _default["dtype"] = new


def get_default_dtype() -> np.dtype[Any]:
    """Return the floating dtype of Python numbers and new parameters.

    Examples
    --------
    >>> get_default_dtype()
    dtype('float64')
    """
    return _default["dtype"]


@result_class
class Tensor(Operators, Methods, NumPyProtocols):
    """An array with a gradient.

    Parameters
    ----------
    data : array_like
        Numbers; they are copied. An ndarray keeps its dtype; Python floats take the default dtype.
    requires_grad : bool
        Record what is computed from it, so that `backward` can fill in ``grad``.
    name : str, optional
        What to call it in pictures and formulas.

    Attributes
    ----------
    data : numpy.ndarray
        The array, as a read-only view; write with `assign` or ``t[i] = value``.
    grad : Tensor or None
        The gradient accumulated by `backward`; None before.

    Raises
    ------
    DtypeError
        For data that are not numbers, masked arrays, and gradients of integers.

    Examples
    --------
    >>> from tinygrad_batch import Tensor
    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4., 6.])
    """

    __slots__ = ("__weakref__", "_data", "_name", "_node")
    __array_priority__ = 1000

    _data: np.ndarray
    _node: Node | None
    _name: str | None

    def __init__(self, data: Any, requires_grad: bool = False, name: str | None = None) -> None:
        if isinstance(data, Tensor):
            data = data._data
        array = checked_array(data)
        if not isinstance(data, (np.ndarray, np.generic)) and (
            array.dtype.kind == "f" or (requires_grad and array.dtype.kind in "iu")
        ):
            array = array.astype(_default["dtype"])
        self._data = np.array(array) if array is data or array.base is not None else array
        self._node = None
        if state.recorder is not None:
            state.recorder.copied(self, array)
        self._name = name
        if requires_grad:
            self.requires_grad_()

    # --- what it is ----------------------------------------------------------------------------
    @property
    def data(self) -> np.ndarray:
        """The array, as a read-only view."""
        self._read("the elements of a tensor are read")
        view = self._data.view()
        view.flags.writeable = False
        return view

    @property
    def shape(self) -> Shape:
        """Lengths of the axes."""
        return self._data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        return self._data.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._data.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self._data.size

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        return self._data.nbytes

    @property
    def name(self) -> str | None:
        """What it is called in pictures and formulas."""
        return self._name

    @name.setter
    def name(self, name: str | None) -> None:
        self._name = name

    @property
    def requires_grad(self) -> bool:
        """Whether a backward pass gives it a gradient."""
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    @property
    def is_leaf(self) -> bool:
        """Whether it was made by the user, not computed from a tensor that requires grad."""
        return self._node is None or self._node.plan is None

    @property
    def grad(self) -> Tensor | None:
        """The gradient that backward passes have added up, or None."""
        node = self._node
        if isinstance(node, Leaf):
            grad = node.grad
        elif node is not None and node.watch is not None:
            grad = node.watch.grad
        else:
            return None
        if grad is None:
            if state.recorder is not None:
                state.recorder.missed(self)
            return None
        found: Tensor = grad if type(grad) is Tensor else wrap(np.asarray(grad))
        if state.recorder is not None:
            state.recorder.looked(self, found)
        return found

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is None and self._node is not None and self._node.watch is not None:
            self._node.watch.grad = None  # one that was retained
        if not isinstance(self._node, Leaf):
            if value is None:
                return
            raise GraphError("only a leaf that requires grad has a gradient to set")
        if state.recorder is not None:
            if value is None:
                state.recorder.clear([self])
            else:
                state.recorder.set_grad(self, value)
        if value is None:
            self._node.grad = None
        else:
            array = operand(value)
            if np.shape(array) != self.shape:
                raise ShapeError(f"a gradient of shape {np.shape(array)} was given for a tensor of shape {self.shape}")
            self._node.grad = np.array(array, self.dtype)

    # --- reading -------------------------------------------------------------------------------
    def _read(self, how: str) -> None:
        if state.recorder is not None:  # a step that is being compiled must not depend on elements
            state.recorder.read(self, how)

    def numpy(self) -> np.ndarray:
        """Return the array, as a read-only view; ``.numpy().copy()`` gives one to write on."""
        return self.data

    def item(self) -> Any:
        """Return the single element as a Python number.

        Raises
        ------
        ShapeError
            If there is not exactly one element.
        """
        if self._data.size != 1:
            raise ShapeError(f"item() needs a tensor of one element, not of shape {self.shape}")
        self._read("a tensor is made a Python number")
        return self._data.item()

    def tolist(self) -> Any:
        """Return the elements as nested lists of Python numbers."""
        self._read("the elements of a tensor are read")
        return self._data.tolist()

    def detach(self) -> Tensor:
        """Return a tensor on the same memory that has no gradient."""
        return wrap(self._data, None, self._name)

    def clone(self) -> Tensor:
        """Return a copy, connected to the graph."""
        return ops.positive(self)

    # --- gradients -----------------------------------------------------------------------------
    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Start or stop asking for a gradient, in place; return the tensor itself.

        Raises
        ------
        DtypeError
            For integers, booleans and complex numbers, which have no gradient here.
        GraphError
            If it was computed from a tensor that requires grad.
        """
        mark_changed()
        if not requires_grad:
            if not self.is_leaf:
                raise GraphError("this tensor was computed and its graph needs it", "Use detach() to get one without")
            self._node = None
        elif self._node is None:
            if self._data.dtype.kind != "f":
                raise DtypeError(f"a tensor of dtype {self.dtype} has no gradient", "Make it floating: .astype(float)")
            self._node = Leaf(self._data.shape, self._data.dtype)
        return self

    def retain_grad(self) -> None:
        """Keep the gradient of a computed tensor in ``grad`` during the next backward pass."""
        if self._node is None:
            raise GraphError("this tensor does not require grad, so there is none to retain")
        self._watch().retain = True

    def register_hook(self, hook: Callable[[Tensor], Any]) -> Callable[[], None]:
        """Call ``hook(grad)`` when the complete gradient of this tensor is known.

        Parameters
        ----------
        hook : callable
            Gets the gradient as a Tensor; what it returns, unless None, takes its place.

        Returns
        -------
        callable
            Call it to remove the hook.
        """
        if self._node is None:
            raise GraphError("this tensor does not require grad, so a hook would never be called")
        hooks = self._watch().hooks
        hooks.append(hook)
        return lambda: hooks.remove(hook) if hook in hooks else None

    def _watch(self) -> Watch:
        if self._node is None:
            raise GraphError("this tensor does not require grad")
        if self._node.watch is None:
            self._node.watch = Watch()
        return self._node.watch

    def backward(self, gradient: Any = None, retain_graph: bool = False, create_graph: bool = False) -> None:
        """Add the gradient of this tensor to ``grad`` of every leaf that it was computed from.

        Parameters
        ----------
        gradient : array_like, optional
            Weight of each element, of the tensor's own shape; needed unless it has one element.
        retain_graph : bool
            Keep the graph, so that backward can be called again.
        create_graph : bool
            Record the backward pass too, so that gradients can be differentiated in turn.

        Raises
        ------
        GraphError
            If nothing requires grad, the tensor is not a scalar and no gradient is given, or the
            graph was freed by an earlier backward pass.
        InPlaceError
            If a value that a rule needs was changed in place.

        Examples
        --------
        >>> import tinygrad_batch as tb
        >>> w = tb.tensor(3.0, requires_grad=True)
        >>> (w ** 2).backward()
        >>> w.grad
        tensor(6.)
        """
        if self._node is None:
            raise GraphError(
                "backward() needs a tensor that was computed from one with requires_grad=True",
                "Set requires_grad=True on what should be learned, and do not compute under no_grad()",
            )
        if gradient is None and self._data.ndim == 0 and state.plain and not create_graph:
            seed = _ONE[self._data.dtype.char]
        else:
            seed = self._seed(gradient, create_graph)
        backward(self._node, seed, retain_graph, create_graph)

    def _seed(self, gradient: Any, create_graph: bool) -> Any:
        """Return the gradient to start from, checked against this tensor."""
        if not state.walkable:
            raise GraphError("there are no values under abstract(), so there is nothing to walk back")
        if gradient is None:
            if self._data.size != 1:
                raise GraphError(
                    f"backward() of a tensor of shape {self.shape} needs to know the weight of each element",
                    "Reduce it to a scalar with .mean() or .sum(), or pass backward(gradient=...)",
                )
            seed = np.ones(self._data.shape, self._data.dtype)
        else:
            if create_graph and isinstance(gradient, Tensor) and gradient.shape == self.shape:
                return gradient if gradient.dtype == self.dtype else ops.astype(gradient, dtype=self.dtype)
            seed = np.asarray(operand(gradient), self.dtype)
            if seed.shape != self.shape:
                raise ShapeError(f"backward() got a gradient of shape {seed.shape} for a tensor of shape {self.shape}")
        return wrap(seed) if create_graph else seed

    # --- writing -------------------------------------------------------------------------------
    def assign(self, value: Any) -> Tensor:
        """Overwrite all elements in place, without recording; return the tensor itself.

        A backward pass that still needs the old elements will raise `InPlaceError`.
        """
        self[...] = value
        return self

    def __setitem__(self, index: Any, value: Any) -> None:
        if self._node is not None and self._node.plan is not None:
            raise InPlaceError("a computed tensor cannot be written to", "Use where() to choose, or detach() first")
        if self._node is not None and state.grad:
            raise InPlaceError("a leaf that requires grad is written under no_grad()", "with tb.no_grad(): t[...] = v")
        if not (self._data.flags.writeable or state.planning):
            raise InPlaceError("this tensor is on memory that is read-only", "Write to a clone()")
        if not state.abstract:  # where there are shapes only, nothing is overwritten
            try:
                self._data[_plain(index)] = operand(value)
            except (ValueError, IndexError) as error:
                raise ShapeError(f"assignment to a tensor of shape {self.shape}: {error}") from None
            mark_written(self._data)
        if state.recorder is not None:
            state.recorder.assign(self, index, value)

    # --- parts, as NumPy's arrays have them ----------------------------------------------------
    def __getitem__(self, index: Any) -> Tensor:
        return ops.getitem(self, _plain(index))

    def __len__(self) -> int:
        if self._data.ndim == 0:
            raise DtypeError("a tensor of no dimensions has no length")
        return len(self._data)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        if self._data.size != 1:
            raise ArgumentError(
                f"a tensor of shape {self.shape} is neither true nor false", "Compare one element, or use .data.any()"
            )
        self._read("Python asks whether a tensor is true")
        return bool(self._data.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self._data.dtype.kind not in "iub":
            raise DtypeError(f"only an integer tensor can be an index, not dtype {self.dtype}")
        return int(self.item())

    def __contains__(self, value: Any) -> bool:
        self._read("the elements of a tensor are searched")
        return bool((self._data == operand(value)).any())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __repr__(self) -> str:
        self._read("a tensor is made text")
        body = np.array2string(self._data, separator=", ", prefix="tensor(")
        notes = "" if self.dtype in (_default["dtype"], np.bool_, np.int64) else f", dtype={self.dtype}"
        notes += ", requires_grad=True" if self._node is not None else ""
        return f"tensor({body}{notes})"

    def __reduce__(self) -> Any:
        raise GraphError("a tensor is not pickled", "Save .numpy() with numpy.save, or a module's state_dict()")

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if not self.is_leaf:
            raise GraphError("only a leaf can be copied; a computed tensor belongs to its graph", "Use detach() first")
        copy = wrap(self._data.copy(), None, self._name)
        memo[id(self)] = copy
        return copy.requires_grad_() if self._node is not None else copy


def _plain(index: Any) -> Any:
    """Return an index with its Tensors replaced by their arrays."""
    if isinstance(index, tuple):
        return tuple(_plain(i) for i in index)
    if type(index) is Tensor:
        index._read("a tensor is used as an index")
        return index._data
    return index
