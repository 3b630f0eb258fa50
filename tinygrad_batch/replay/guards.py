"""What a step reads from outside in Python: by name, through attributes, and by constant keys.

A replay does not run Python, so ``SCALE``, ``self.scale`` or ``config["scale"]`` would stay what they were
when the step was captured. They are found in the code of the step, and of the functions that it calls by
name, and become conditions of its program.
"""

from __future__ import annotations

import dis
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from math import copysign
from types import BuiltinFunctionType, CodeType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any

from ..nn import Module
from ..optim.optimizer import Optimizer
from ..tensor import Tensor
from .structure import Place

GONE = object()  # what something that is no longer there is now
BY_VALUE = (int, float, complex, str, bytes, Place)
ELSEWHERE = sys.stdlib_module_names | {__name__.partition(".")[0], "numpy", "scipy"}
_LOOKS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FAST")
Look = tuple[str, Any]  # "attribute" or "item", and which


@dataclass(frozen=True, eq=False, slots=True)
class Guard:
    """Something that a step reads from outside.

    Attributes
    ----------
    function : function or None
        Whose name is looked up; None if what is read belongs to ``owner``.
    name : str
    owner : object
    looks : tuple of (str, object)
        The attributes and items to go through from there.
    value : object
        What was found when the step was captured.
    """

    function: Any
    name: str
    owner: Any
    looks: tuple[Look, ...]
    value: Any

    def holds(self) -> bool:
        """Return whether the same is found now."""
        return alike(self.now(), self.value)

    def now(self) -> Any:
        """Return what is found now."""
        try:
            found = self.owner if self.function is None else _meaning(self.function, self.name)
            for kind, key in self.looks:
                found = getattr(found, key) if kind == "attribute" else found[key]
        except (AttributeError, LookupError, TypeError, ValueError):
            return GONE
        return found


def alike(a: Any, b: Any) -> bool:
    """Return whether two things are the same: numbers and texts by value, objects by identity."""
    if a is b:
        return True
    if type(a) is not type(b) or not isinstance(a, BY_VALUE):
        return False
    return a == b and (type(a) is not float or a != 0 or copysign(1, a) == copysign(1, b))


def python_of(function: Any) -> tuple[Any, Any]:
    """Return the function in Python behind a callable, or None, and the object that it is bound to, or None."""
    while isinstance(function, partial):
        function = function.func
    if isinstance(function, MethodType):
        return function.__func__, function.__self__
    if isinstance(function, FunctionType):
        return function, None
    if isinstance(function, Module):
        return type(function).forward, function
    call = vars(type(function)).get("__call__")
    return (call, function) if isinstance(call, FunctionType) else (None, function)


def guards_of(
    functions: Iterable[tuple[Any, Any]], given: Iterable[Any] = ()
) -> tuple[list[Guard], list[tuple[str, Any]]]:
    """Return what functions read from outside, and the objects they meet there with what they are called.

    Parameters
    ----------
    functions : iterable of (function, object or None)
        Each with the object that it is bound to.
    given : iterable of object
        What the functions get as arguments.
    """
    found: dict[tuple[Any, ...], Guard] = {}
    met: dict[int, tuple[str, Any]] = {}
    waiting, seen = list(functions), set()
    for thing in given:
        met.setdefault(id(thing), ("an argument", thing))
        waiting += _forwards(thing)
    while waiting:
        function, owner = waiting.pop()
        if not isinstance(function, FunctionType) or (function, id(owner)) in seen:
            continue
        seen.add((function, id(owner)))
        if owner is not None:
            met.setdefault(id(owner), ("self", owner))
            waiting += _forwards(owner)
        for name, bound, looks in _reads(function.__code__):
            start = owner if bound else _meaning(function, name)
            if start is GONE or (bound and owner is None):
                continue
            value, passed, methods = _followed(start, looks)
            waiting += methods
            met.setdefault(id(start), (name, start))
            waiting += _forwards(value)
            wrapped = getattr(value, "__wrapped__", None) if not isinstance(value, type) else None
            waiting += [(f, None) for f in (value, wrapped) if isinstance(f, FunctionType) and _is_own(f)]
            if (bound and not passed) or isinstance(value, (type, ModuleType, BuiltinFunctionType, MethodType)):
                continue
            if isinstance(value, FunctionType) and not _is_own(value):
                continue
            key = (id(owner) if bound else function, name, *passed)
            found[key] = Guard(None if bound else function, name, owner if bound else None, passed, value)
    return list(found.values()), list(met.values())


def _meaning(function: Any, name: str) -> Any:
    code, closure = function.__code__, function.__closure__ or ()
    if name in code.co_freevars:
        try:
            return closure[code.co_freevars.index(name)].cell_contents
        except ValueError:  # a variable that has no value yet
            return GONE
    return function.__globals__.get(name, GONE)


def _forwards(thing: Any) -> list[tuple[Any, Any]]:
    """Return what the user wrote of a model to be called."""
    parts = [part for _, part in thing.named_modules()] if isinstance(thing, Module) else []
    return [(type(part).forward, part) for part in parts if _is_own(type(part).forward)]  # type: ignore[arg-type]


def _is_own(function: FunctionType) -> bool:
    """Return whether a function is of the user, rather than of a library."""
    return (function.__module__ or "").partition(".")[0] not in ELSEWHERE and (
        "site-packages" not in function.__code__.co_filename
    )


def _reads(code: CodeType, inner: bool = False) -> Iterator[tuple[str, bool, tuple[Look, ...]]]:
    """Yield what code reads: a name, whether that is the first argument, and the attributes and items after it."""
    first = code.co_varnames[0] if code.co_argcount and not inner else None
    name, looks, key = "", [], GONE
    for instruction in dis.get_instructions(code):
        operation, argument = instruction.opname, instruction.argval
        if name and operation in ("LOAD_ATTR", "LOAD_METHOD"):
            looks.append(("attribute", argument))
        elif name and operation in ("LOAD_CONST", "LOAD_SMALL_INT") and key is GONE:
            key = argument
            continue
        elif name and key is not GONE and (operation == "BINARY_SUBSCR" or instruction.argrepr == "[]"):
            looks.append(("item", key))
        else:
            if name:
                yield name, name == first, tuple(looks)
            name, looks = "", []
            if operation.startswith(_LOOKS):
                name = argument[-1] if isinstance(argument, tuple) else argument
                is_local = operation.startswith("LOAD_FAST") or name in code.co_cellvars
                name = name if not is_local or name == first else ""
        key = GONE
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _reads(constant, True)


def _followed(found: Any, looks: tuple[Look, ...]) -> tuple[Any, tuple[Look, ...], list[tuple[Any, Any]]]:
    """Go through attributes and items as far as they are plainly there.

    Returns the object at the end, the way to it, and the method that comes next, if one does.
    """
    passed: list[Look] = []
    for kind, key in looks:
        if kind == "item":
            if type(found) not in (dict, list, tuple):
                break
            try:
                found = found[key]
            except (LookupError, TypeError):
                break
        else:
            static = inspect.getattr_static(found, key, GONE)
            if isinstance(static, FunctionType) and not isinstance(found, (type, ModuleType)):
                return found, tuple(passed), [(static, found)] if _is_own(static) else []
            is_read = isinstance(static, MemberDescriptorType) or isinstance(found, Optimizer)
            if static is GONE or (hasattr(type(static), "__get__") and not (is_read or isinstance(found, ModuleType))):
                break
            value = getattr(found, key, GONE)
            if value is GONE or isinstance(value, MethodType):
                break
            if isinstance(found, (Module, Tensor)) and (key == "training" or not isinstance(value, BY_VALUE)):
                break  # what these are made of is looked at elsewhere
            found = value
        passed.append((kind, key))
    return found, tuple(passed), []


def bound_to(function: Callable[..., Any]) -> list[Any]:
    """Return the objects that a partial function was given."""
    given: list[Any] = []
    while isinstance(function, partial):
        given += [*function.args, *function.keywords.values()]
        function = function.func
    return given
