"""The base of the optimisers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import ArgumentError, StateError
from ..graph import Leaf, Writer
from ..state import state
from ..tensor import Tensor

# A parameter larger than this is updated in blocks that stay in the cache, instead of through
# temporaries of its own size.
BLOCK = 16384
_ndarray = np.ndarray


class Optimizer:
    """Keeps the parameters, forgets their gradients, takes steps.

    Parameters
    ----------
    parameters : iterable of Tensor
        Leaves that require grad, each once.
    lr : float
        The learning rate; may be changed between steps.

    Raises
    ------
    ArgumentError
        If there are no parameters, one is given twice, one cannot be learned, or lr is negative.
    """

    slots: tuple[str, ...] = ()  # names of the arrays kept for each parameter

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        self.parameters = list(parameters)
        if not self.parameters:
            raise ArgumentError("an optimiser needs parameters, and was given none", "Pass model.parameters()")
        for i, parameter in enumerate(self.parameters):
            if not isinstance(parameter, Tensor) or not isinstance(parameter._node, Leaf):
                raise ArgumentError(f"parameter {i} is not a leaf tensor that requires grad", "Pass model.parameters()")
        if len({id(p) for p in self.parameters}) < len(self.parameters):
            raise ArgumentError("a parameter was given twice, and would be updated twice")
        self.lr = not_negative("lr", lr)
        self.steps = 0
        self.kept: list[dict[str, np.ndarray]] = [{} for _ in self.parameters]
        self._pairs: list[tuple[Any, dict[str, np.ndarray]]] = list(zip(self.parameters, self.kept, strict=True))
        self._writer = Writer([p._data for p in self.parameters])

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            if parameter._node is not None:
                parameter._node.grad = None  # type: ignore[attr-defined]

    def step(self) -> None:
        """Update every parameter that has a gradient, in place."""
        self.steps += 1
        update, slots = self.update, self.slots
        for parameter, kept in self._pairs:
            node = parameter._node
            if node is None or node.grad is None:
                continue
            value, grad = parameter._data, node.grad
            if type(grad) is not _ndarray:
                grad = grad._data
            if slots and not kept:
                kept.update({slot: np.zeros_like(value) for slot in slots})
            if value.size > BLOCK:
                self._update_in_blocks(value, grad, *kept.values())
            elif kept:
                update(value, grad, *kept.values())
            else:
                update(value, grad)
        self._writer.mark()
        if state.recorder is not None:
            changed = [p for p in self.parameters if p.grad is not None]
            state.recorder.update(type(self).__name__, [(p, self.formula) for p in changed])

    def _update_in_blocks(self, *arrays: np.ndarray) -> None:
        if not all(a.flags.c_contiguous for a in arrays):
            return self.update(*arrays)
        flat = [a.reshape(-1) for a in arrays]
        for start in range(0, arrays[0].size, BLOCK):
            self.update(*[a[start : start + BLOCK] for a in flat])
        return None

    def update(self, value: np.ndarray, grad: np.ndarray, *kept: np.ndarray) -> None:
        """Change ``value`` and ``kept`` in place; ``grad`` stays as it is. A subclass writes this."""
        raise NotImplementedError

    def formula(self, name: str) -> str:
        """Return the update of the parameter called ``name`` as a formula. A subclass writes this."""
        raise NotImplementedError

    def hyperparameters(self) -> dict[str, Any]:
        """Return the numbers that steer the update. A subclass adds its own."""
        return {"lr": self.lr}

    def state_dict(self) -> dict[str, Any]:
        """Return everything needed to go on later: hyperparameters, step count and kept arrays."""
        return {
            "optimizer": type(self).__name__,
            "hyperparameters": self.hyperparameters(),
            "steps": self.steps,
            "kept": [{slot: array.copy() for slot, array in kept.items()} for kept in self.kept],
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned; nothing changes unless everything fits.

        Raises
        ------
        StateError
            If it is of another optimiser, or for other parameters.
        """
        missing = [key for key in ("optimizer", "hyperparameters", "steps", "kept") if key not in saved]
        if missing:
            raise StateError(f"this is no optimiser state: it lacks {', '.join(missing)}")
        if saved["optimizer"] != type(self).__name__:
            raise StateError(f"this state is of {saved['optimizer']}, not of {type(self).__name__}")
        if len(saved["kept"]) != len(self.parameters):
            raise StateError(f"this state is for {len(saved['kept'])} parameters, not {len(self.parameters)}")
        unknown = set(saved["hyperparameters"]) ^ set(self.hyperparameters())
        if unknown:
            raise StateError(f"hyperparameters that do not match: {', '.join(sorted(unknown))}")
        fresh = []
        for i, (parameter, kept) in enumerate(zip(self.parameters, saved["kept"], strict=True)):
            for slot, array in kept.items():
                if slot not in self.slots or np.shape(array) != parameter.shape:
                    raise StateError(f"{slot} of parameter {i} has shape {np.shape(array)}, the parameter {parameter.shape}")
            fresh.append({slot: np.array(array, parameter.dtype) for slot, array in kept.items()})
        self.kept = fresh
        self._pairs = list(zip(self.parameters, fresh, strict=True))
        self.steps = int(saved["steps"])
        for key, value in saved["hyperparameters"].items():
            setattr(self, key, tuple(value) if isinstance(value, list) else value)


def not_negative(name: str, value: float) -> float:
    if not value >= 0:
        raise ArgumentError(f"{name} is 0 or more, not {value}")
    return value


def decayed(formula: str, name: str, weight_decay: float) -> str:
    """Return the gradient of ``name`` with weight decay added, as a formula."""
    return f"({formula} + {weight_decay:g} {name})" if weight_decay else formula


