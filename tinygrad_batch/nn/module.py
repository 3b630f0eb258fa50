"""Module: something with parameters that can be called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from ..calling import checked_array
from ..errors import DtypeError, StateError, TinygradBatchError
from ..graph import Leaf, mark_changed, mark_written
from ..state import state
from ..tensor import Tensor, get_default_dtype

_Kind = TypeVar("_Kind")


def Parameter(data: Any, name: str | None = None) -> Tensor:
    """Return a tensor to be learned: floating, of the default dtype, requiring grad.

    Examples
    --------
    >>> Parameter([0.0, 0.0]).requires_grad
    True
    """
    array = data._data if isinstance(data, Tensor) else checked_array(data)
    return Tensor(array if array.dtype.kind in "fc" else array.astype(get_default_dtype()), True, name)


class Module:
    """A layer, a loss, or a whole model.

    Set tensors and other modules as attributes, write `forward`, and call the module. A tensor that
    requires grad when it is set is a parameter, and stays one when it is frozen; another tensor is a
    buffer: part of the state, not learned. Lists, tuples and dicts of them count as well.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> class Net(tb.nn.Module):
    ...     def __init__(self):
    ...         self.hidden = tb.nn.Linear(10, 15)
    ...         self.out = tb.nn.Linear(15, 1)
    ...     def forward(self, x):
    ...         return self.out(tb.tanh(self.hidden(x)))
    >>> [name for name, _ in Net().named_parameters()]
    ['hidden.weight', 'hidden.bias', 'out.weight', 'out.bias']
    """

    training: bool = True

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Compute the output; a subclass writes this."""
        raise NotImplementedError(f"{type(self).__name__} has no forward method")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Compute the output, and tell a capture about it."""
        recorder = state.recorder
        if recorder is not None:
            recorder.enter(self)
        out = None
        try:
            out = self.forward(*inputs, **options)
        except TinygradBatchError as error:
            error.add_note(f"in the layer {self}")
            raise
        finally:
            if recorder is not None:
                recorder.leave(self, out)
        return out

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        mark_changed()
        for path, tensor in _found(name, value, Tensor):  # the latest assignment says what is learned
            if tensor.requires_grad:
                self._learned.add(path)
            else:
                self._learned.discard(path)

    @property
    def _learned(self) -> set[str]:
        """Names of the parameters among the tensors of this module, frozen ones too."""
        return self.__dict__.setdefault("_learned_names", set())

    # --- what it is made of --------------------------------------------------------------------
    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the modules set as attributes, with their names, in the order they were set."""
        for name, value in vars(self).items():
            yield from _found(name, value, Module)

    def named_modules(self, path: str = "") -> Iterator[tuple[str, Module]]:
        """Yield this module and all below it, with their paths, each once."""
        seen: set[int] = set()
        waiting: list[tuple[str, Module]] = [(path, self)]
        while waiting:
            path, module = waiting.pop()
            if id(module) not in seen:
                seen.add(id(module))
                yield path, module
                below = [(f"{path}.{name}" if path else name, child) for name, child in module.named_children()]
                waiting.extend(reversed(below))

    def _named_tensors(self) -> Iterator[tuple[str, Tensor, bool]]:
        """Yield path, tensor and whether it is a parameter; a tensor used twice comes once."""
        seen: set[int] = set()
        for path, module in self.named_modules():
            learned = module._learned
            for attribute, value in list(vars(module).items()):
                for name, tensor in _found(attribute, value, Tensor):
                    if tensor.requires_grad:  # one that was put into a list after the list was set
                        learned.add(name)
                    if id(tensor) not in seen:
                        seen.add(id(tensor))
                        yield f"{path}.{name}" if path else name, tensor, name in learned

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the parameters with their paths, such as ``0.weight``."""
        return ((path, tensor) for path, tensor, learned in self._named_tensors() if learned)

    def parameters(self) -> Iterator[Tensor]:
        """Yield the parameters."""
        return (tensor for _, tensor in self.named_parameters())

    # --- switching -----------------------------------------------------------------------------
    def train(self, mode: bool = True) -> Module:
        """Set this module and all below it to training, or not; return the module."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Set this module and all below it to evaluation; return the module."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget the gradients of the parameters."""
        parameters = list(self.parameters())
        if state.recorder is not None:
            state.recorder.clear(parameters)
        for parameter in parameters:
            if isinstance(parameter._node, Leaf):
                parameter._node.grad = None

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Freeze the parameters (False) or let them learn again; return the module."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def astype(self, dtype: Any) -> Module:
        """Give every floating parameter and buffer another floating dtype, in place; return the module.

        Gradients are forgotten. An optimiser that was made before goes on with the new arrays.
        """
        mark_changed()
        dtype = np.dtype(dtype)
        if dtype.kind != "f":
            raise DtypeError(f"parameters have a floating dtype, not {dtype}")
        for _, tensor, _ in self._named_tensors():
            if tensor.dtype.kind == "f":
                tensor._data = tensor._data.astype(dtype)
                if tensor._node is not None:
                    tensor._node = Leaf(tensor.shape, dtype)
        return self

    # --- saving --------------------------------------------------------------------------------
    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of all parameters and buffers by path."""
        return {path: tensor._data.copy() for path, tensor, _ in self._named_tensors()}

    def load_state_dict(self, values: Mapping[str, Any], strict: bool = True) -> None:
        """Overwrite parameters and buffers; nothing is written unless everything fits.

        Parameters
        ----------
        values : mapping of str to array_like
            What `state_dict` of a model with the same layers returned.
        strict : bool
            Whether a missing or an unexpected key is an error.

        Raises
        ------
        StateError
            Listing every missing key, unexpected key and wrong shape.
        """
        own = {path: tensor for path, tensor, _ in self._named_tensors()}
        faults = []
        if strict:
            faults += [f"missing {key}" for key in own if key not in values]
            faults += [f"unexpected {key}" for key in values if key not in own]
        given = {key: values[key] for key in own if key in values}
        arrays = {key: np.asarray(v._data if isinstance(v, Tensor) else v) for key, v in given.items()}
        faults += [
            f"{key} has shape {array.shape}, the model {own[key].shape}"
            for key, array in arrays.items()
            if array.shape != own[key].shape
        ]
        faults += [
            f"{key} has dtype {array.dtype}, the model {own[key].dtype}"
            for key, array in arrays.items()
            if array.dtype.kind not in ("biufc" if own[key].dtype.kind == "c" else "biuf")
        ]
        if faults:
            raise StateError(
                f"this state does not fit {type(self).__name__}: {'; '.join(faults)}",
                "Build the model with the same layers, or pass strict=False to load what fits by name",
            )
        for key, array in arrays.items():
            own[key]._data[...] = array
            mark_written(own[key]._data)

    # --- showing -------------------------------------------------------------------------------
    def label(self) -> str:
        """Return the short form for tables and pictures, such as ``Linear(10 → 15)``."""
        return type(self).__name__

    def __repr__(self) -> str:
        children = [f"  ({name}): {child!r}".replace("\n", "\n  ") for name, child in self.named_children()]
        return "\n".join([f"{self.label()}(", *children, ")"]) if children else self.label()

    def __str__(self) -> str:
        return self.label()

    def summary(self, input_shape: Any, dtype: Any = None) -> Any:
        """Return a table of the layers; see `tinygrad_batch.nn.summarize`."""
        from .summary import summarize

        return summarize(self, input_shape, dtype)


def _found(name: str, value: Any, kind: type[_Kind]) -> Iterator[tuple[str, _Kind]]:
    """Yield what is of ``kind`` in an attribute, also within lists, tuples and dicts, with its path."""
    if isinstance(value, kind):
        yield name, value
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _found(f"{name}.{i}", item, kind)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _found(f"{name}.{key}", item, kind)
