"""The way into a compiled step: one function, written for its signature.

It checks the conditions under which the program is right (shapes and dtypes of the arguments, the very
arrays of the parameters, which modules were training), runs it, and leaves gradients and counts where
the user expects them. A small step takes microseconds in all. So this is straight-line code that names
every object it looks at, and what changes rarely is looked at only after something has changed. The names
are made here; of the user there are names of attributes in it, which Python has read as such.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..graph import latest_change
from ..program import Variable
from ..state import state
from ..tensor import Tensor
from .guards import BY_VALUE, Guard, alike
from .structure import Place

if TYPE_CHECKING:
    from .entry import Entry

MISS = object()  # what the way in returns where a condition does not hold


class Gate:
    """Writes the way into an entry.

    Parameters
    ----------
    entry : Entry
    arrays : mapping of Variable to numpy.ndarray
        That the executable is bound to.
    """

    def __init__(self, entry: Entry, arrays: Mapping[Variable, np.ndarray]) -> None:
        self._entry = entry
        self._arrays = arrays
        self._objects: dict[str, Any] = {
            "MISS": MISS, "STATE": state, "TENSOR": Tensor, "ARRAY": np.ndarray, "NEW": object.__new__,
            "CHANGE": latest_change, "known": [0], "is_bound": entry.is_bound,
            "take": _take, "alike": alike, "run": entrance(entry.executable), "returned": entry.returned,
        }  # fmt: skip
        self._names: dict[int, str] = {}
        self._lines: list[str] = []

    def _name(self, thing: Any) -> str:
        """Return the name of an object in the text."""
        if id(thing) not in self._names:
            self._names[id(thing)] = f"o{len(self._names)}"
            self._objects[self._names[id(thing)]] = thing
        return self._names[id(thing)]

    def way_in(self) -> Callable[..., Any]:
        """Return the function."""
        given = [f"a{i}" for i in range(self._entry.count)]
        self._unless("not STATE.plain", f"len(given) != {len(given)}")
        if given:
            self._lines.append(f"{', '.join(given)}, = given")
        self._arguments()
        self._conditions()
        numbers = [self._number(v) for v in self._entry.program.numbers]
        self._earlier_gradients()
        self._lines.append(f"r = run({', '.join([*given, *numbers])})")
        self._leave()
        body = "\n".join(f"        {line}" for line in self._lines)
        bound = ", ".join(self._objects)
        text = f"def make({bound}):\n    def enter(*given):\n{body}\n    return enter\n"
        scope: dict[str, Any] = {}
        exec(compile(text, "<way into a compiled step>", "exec"), scope)
        return scope["make"](**self._objects)

    def _unless(self, *misses: str, deep: bool = False) -> None:
        if misses:
            self._lines.append(f"{'    ' * deep}if {' or '.join(misses)}: return MISS")

    def _arguments(self) -> None:
        for i, (shape, dtype) in enumerate(self._entry.shapes):
            self._lines += [
                f"if type(a{i}) is TENSOR:",
                f"    if a{i}._node is not None: return MISS",
                f"    a{i} = a{i}._data",
                f"elif type(a{i}) is not ARRAY: return MISS",
            ]
            self._unless(f"a{i}.shape != {shape!r}", f"a{i}.dtype is not {self._name(dtype)}")

    def _conditions(self) -> None:
        entry = self._entry
        self._lines += [
            "if CHANGE[0] != known[0]:",
            "    if not is_bound(): return MISS",
            "    known[0] = CHANGE[0]",
        ]
        if entry.guards:
            self._lines.append("try:")
            self._unless(*[self._changed(guard) for guard in entry.guards], deep=True)
            self._lines.append("except (AttributeError, LookupError, TypeError, ValueError): return MISS")
        for variable, truth in entry.facts.items():
            self._unless(f"not {self._number(variable)}" if truth else self._number(variable))
        self._unless(*[f"{self._name(t._node)}.grad is not None" for t in (*entry.fresh, *entry.without)])

    def _changed(self, guard: Guard) -> str:
        """Return the condition that something read from outside is something else now."""
        if guard.function is None:
            now = self._name(guard.owner)
        elif guard.name in (free := guard.function.__code__.co_freevars):
            now = f"{self._name(guard.function.__closure__[free.index(guard.name)])}.cell_contents"
        else:
            now = f"{self._name(guard.function.__globals__)}[{guard.name!r}]"
        for kind, key in guard.looks:
            now += f".{key}" if kind == "attribute" else f"[{self._name(key)}]"
        value = guard.value
        if not isinstance(value, BY_VALUE):
            return f"{now} is not {self._name(value)}"
        # most often it is the very object; 2 is not 2.0 here, nor 0.0 -0.0
        return f"(now := {now}) is not {self._name(value)} and not alike(now, {self._name(value)})"

    def _number(self, variable: Variable) -> str:
        living = self._entry.living[variable]
        if living.key == "steps":
            return f"{self._name(living.owner.learned[living.place])}.steps + {living.ahead}"
        attribute = "_lr" if living.key == "lr" else living.key
        place = "" if living.place is None else f"[{living.place}]"
        return f"{self._name(living.owner)}.{attribute}{place}"

    def _earlier_gradients(self) -> None:
        for variable, array in self._arrays.items():
            if variable.kind == "gradient" and variable in self._entry.reads:
                node = self._name(self._entry.living[variable].owner._node)
                self._lines.append(f"if {node}.grad is not {self._name(array)}:")
                self._lines.append(f"    if {node}.grad is None: return MISS")
                self._lines.append(f"    take({self._name(array)}, {node}.grad)")

    def _leave(self) -> None:
        entry = self._entry
        for variable in entry.program.writes:
            if variable.kind == "gradient":
                node = self._name(entry.living[variable].owner._node)
                self._lines.append(f"{node}.grad = {self._name(self._arrays[variable])}")
        self._lines += [f"{self._name(tensor._node)}.grad = None" for tensor in entry.cleared]
        for optimizer, places in entry.updates:
            self._lines += [f"{self._name(optimizer.learned[place])}.steps += 1" for place in places]
            self._lines.append(f"{self._name(optimizer)}._writer.mark()")
        if entry.result == Place(0):
            self._lines += ["t = NEW(TENSOR)", "t._data = r[0]", "t._node = t._name = None", "return t"]
        else:
            self._lines.append("return returned(r)")


def _take(array: np.ndarray, grad: Any) -> None:
    np.copyto(array, grad._data if isinstance(grad, Tensor) else grad)


def entrance(executable: Any) -> Any:
    """Return what runs an executable with the fewest calls in between."""
    return getattr(executable, "enter", None) or getattr(executable, "run", executable)
