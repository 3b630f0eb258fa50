"""The base of the optimisers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np

from ..errors import ArgumentError, StateError
from ..graph import Writer, mark_changed
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
        Leaves, each once. `step` passes over one that is frozen or has no gradient.
    lr : float
        The learning rate; may be changed between steps.

    Raises
    ------
    ArgumentError
        If there are no parameters, all are frozen, one is given twice or was computed, or lr is negative.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        self.parameters = list(parameters)
        if not self.parameters:
            raise ArgumentError("an optimiser needs parameters, and was given none", "Pass model.parameters()")
        for i, parameter in enumerate(self.parameters):
            if not isinstance(parameter, Tensor) or not parameter.is_leaf:
                raise ArgumentError(f"parameter {i} is not a leaf tensor", "Pass model.parameters()")
        if not any(p.requires_grad for p in self.parameters):
            raise ArgumentError("none of the parameters requires grad, so there is nothing to learn")
        if len({id(p) for p in self.parameters}) < len(self.parameters):
            raise ArgumentError("a parameter was given twice, and would be updated twice")
        self.lr = lr
        self._learned = tuple([Learned(p) for p in self.parameters])
        self._writer = Writer([p._data for p in self.parameters])

    def __repr__(self) -> str:
        count = len(self.parameters)
        return f"{type(self).__name__}({count} parameter{'' if count == 1 else 's'}, lr={self.lr:g})"

    @property
    def lr(self) -> float:
        """The learning rate."""
        return self._lr

    @lr.setter
    def lr(self, lr: float) -> None:
        self._lr = float(not_negative("lr", lr))  # a NumPy number would widen the parameters
        self._rate = np.array(self._lr)

    def rate(self, value: np.ndarray) -> Any:
        """Return the learning rate as NumPy multiplies it fastest with ``value``: of its dtype, without dimensions."""
        if type(value) is not _ndarray:
            return self._lr  # a symbol
        if self._rate.dtype is not value.dtype:
            self._rate = np.array(self._lr, value.dtype)
        return self._rate

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the arrays kept for each parameter; a subclass that keeps any says so."""
        return ()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        if state.recorder is not None:
            state.recorder.clear(self.parameters)
        for parameter in self.parameters:
            if parameter._node is not None:
                parameter._node.grad = None  # type: ignore[attr-defined]

    def step(self) -> None:
        """Update every parameter that has a gradient, in place."""
        update, slots, abstract = self.update, self.slots, state.abstract
        for learned in self._learned:
            parameter = learned.parameter
            node = parameter._node
            if node is None or node.grad is None:
                continue
            value, grad = parameter._data, node.grad
            if type(grad) is not _ndarray:
                grad = grad._data
            if value is not learned.array:
                self._follow(learned)
            if slots and not learned.kept:
                learned.kept = {slot: np.zeros_like(value) for slot in slots}
            if abstract:  # there are shapes only, and nothing changes
                continue
            learned.steps += 1
            if value.size > BLOCK:
                self._update_in_blocks(learned.steps, value, grad, *learned.kept.values())
            elif slots:
                update(learned.steps, value, grad, *learned.kept.values())
            else:
                update(learned.steps, value, grad)
        if not abstract:
            self._writer.mark()
        if state.recorder is not None:
            # a schedule may change the learning rate before the formulas are written: a copy stays as it is
            now = copy(self)
            now.parameters, now._learned, now._writer = [], (), Writer([])  # and keeps no arrays alive
            state.recorder.update(self, now, [one for one in self._learned if one.has_grad])

    def steered_by(self, number: Callable[..., Any]) -> Optimizer:
        """Return a copy whose hyperparameters are symbols, to write down what its `update` computes.

        Parameters
        ----------
        number : callable
            Gets the name of a hyperparameter, its value and, if it is one of several, its place.
        """
        other = copy(self)
        for name, value in self.hyperparameters().items():
            attribute = "_lr" if name == "lr" else name
            if isinstance(value, tuple):
                other.__dict__[attribute] = tuple(number(name, part, place) for place, part in enumerate(value))
            elif isinstance(value, float):
                other.__dict__[attribute] = number(name, value)
        return other

    def place(self, learned: Learned) -> int:
        """Return which of the parameters this is."""
        return next(i for i, one in enumerate(self._learned) if one is learned)

    @property
    def learned(self) -> tuple[Learned, ...]:
        """The parameters with what is known about each."""
        return self._learned

    def pack(self) -> None:
        """Lay the parameters, and each kind of array kept for them, side by side in memory.

        An update of them all is then one operation on one array. Views of the old arrays that somebody
        holds do not follow.
        """
        learning = [one for one in self._learned if one.parameter.requires_grad]
        for dtype in dict.fromkeys(one.parameter.dtype for one in learning):
            group = [one for one in learning if one.parameter.dtype == dtype]
            for one, view in zip(group, side_by_side([one.parameter._data for one in group]), strict=True):
                one.parameter._data = one.array = view
            for slot in self.slots:
                views = side_by_side([one.kept.get(slot, np.zeros_like(one.array)) for one in group])
                for one, view in zip(group, views, strict=True):
                    one.kept[slot] = view
        self._writer = Writer([p._data for p in self.parameters])
        mark_changed()

    def mark(self) -> None:
        """Note that the parameters were just changed in place."""
        self._writer.mark()

    def _follow(self, learned: Learned) -> None:
        """Go on with the new array of a parameter that was given another dtype."""
        learned.array = learned.parameter._data
        learned.kept = {slot: kept.astype(learned.array.dtype) for slot, kept in learned.kept.items()}
        self._writer = Writer([p._data for p in self.parameters])
        mark_changed()

    def _update_in_blocks(self, step: int, *arrays: np.ndarray) -> None:
        if not all(a.flags.c_contiguous for a in arrays):
            return self.update(step, *arrays)
        flat = [a.reshape(-1) for a in arrays]
        for start in range(0, arrays[0].size, BLOCK):
            self.update(step, *[a[start : start + BLOCK] for a in flat])
        return None

    def update(self, step: int, value: np.ndarray, grad: np.ndarray, *kept: np.ndarray) -> None:
        """Change ``value`` and ``kept`` in place; ``grad`` stays as it is. A subclass writes this.

        Parameters
        ----------
        step : int
            The number of this update of the parameter: 1, 2, 3, ...
        value, grad : numpy.ndarray
            A parameter, or a block of a large one, and its gradient.
        *kept : numpy.ndarray
            One for each name in `slots`, at first zeros.
        """
        raise NotImplementedError

    def formula(self, name: str, grad: str) -> str:
        """Return the update of parameter ``name`` by gradient ``grad`` as a formula. A subclass writes this."""
        raise NotImplementedError

    def hyperparameters(self) -> dict[str, Any]:
        """Return the numbers that steer the update. A subclass adds its own."""
        return {"lr": self.lr}

    def state_dict(self) -> dict[str, Any]:
        """Return everything needed to go on later: hyperparameters, step counts and kept arrays."""
        return {
            "optimizer": type(self).__name__,
            "hyperparameters": self.hyperparameters(),
            "steps": [learned.steps for learned in self._learned],
            "kept": [{slot: array.copy() for slot, array in learned.kept.items()} for learned in self._learned],
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
        if not len(saved["kept"]) == len(saved["steps"]) == len(self.parameters):
            raise StateError(f"this state is for {len(saved['kept'])} parameters, not {len(self.parameters)}")
        unknown = set(saved["hyperparameters"]) ^ set(self.hyperparameters())
        if unknown:
            raise StateError(f"hyperparameters that do not match: {', '.join(sorted(unknown))}")
        after = copy(self)
        for key, value in saved["hyperparameters"].items():
            setattr(after, key, tuple(value) if isinstance(value, list) else value)
        learned = []
        for i, (parameter, kept, steps) in enumerate(zip(self.parameters, saved["kept"], saved["steps"], strict=True)):
            if kept and set(kept) != set(after.slots):
                raise StateError(f"parameter {i} has kept {', '.join(kept)}, not {', '.join(after.slots) or 'nothing'}")
            for slot, array in kept.items():
                shape = np.shape(array)
                if shape != parameter.shape:
                    raise StateError(f"{slot} of parameter {i} has shape {shape}, the parameter {parameter.shape}")
            learned.append(Learned(parameter))
            learned[i].steps = int(steps)
            learned[i].kept = {slot: np.array(kept[slot], parameter.dtype) for slot in after.slots if kept}
        after._learned = tuple(learned)
        vars(self).update(vars(after))
        mark_changed()


def side_by_side(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return arrays of one dtype as adjacent views of one array: themselves if they are, else copies."""
    starts = [array.__array_interface__["data"][0] for array in arrays]
    ends = [start + array.nbytes for start, array in zip(starts, arrays, strict=True)]
    adjacent = arrays[0].base is not None and all(array.base is arrays[0].base for array in arrays)
    if adjacent and starts[1:] == ends[:-1] and all(array.flags.c_contiguous for array in arrays):
        return list(arrays)
    flat = np.concatenate([array.reshape(-1) for array in arrays])
    ends = np.cumsum([array.size for array in arrays]).tolist()
    return [flat[end - a.size : end].reshape(a.shape) for a, end in zip(arrays, ends, strict=True)]


class Learned:
    """A parameter, the array it had at the last step, how many steps it has had, and what is kept for it."""

    __slots__ = ("array", "kept", "parameter", "steps")

    def __init__(self, parameter: Any) -> None:
        self.parameter = parameter
        self.array: np.ndarray = parameter._data
        self.steps = 0
        self.kept: dict[str, np.ndarray] = {}

    @property
    def has_grad(self) -> bool:
        """Whether there is a gradient to follow."""
        return getattr(self.parameter._node, "grad", None) is not None


def not_negative(name: str, value: float) -> float:
    """Return ``value``, checked not to be below 0, as a Python number, which never widens an array."""
    if not value >= 0:
        raise ArgumentError(f"{name} is 0 or more, not {value}")
    return float(value)


def decayed(grad: str, name: str, weight_decay: float) -> str:
    """Return the gradient of ``name`` with weight decay added, as a formula."""
    return f"({grad} + {weight_decay:g} {name})" if weight_decay else grad
