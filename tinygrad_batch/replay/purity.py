"""What a step must not do to the world around it, read from its source.

A replayed step computes; it does not run its Python code again. So a line that changes an object from
outside, or prints, would have its effect only once, when the step is captured. Where the source of a
step can be found it is searched for such lines; functions that it calls in turn are not.
"""

from __future__ import annotations

import ast
import builtins
import dis
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import CodeType
from typing import Any

from ..errors import CompileError
from ..tensor import Tensor

_CHANGES = {
    *("append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse", "add", "discard", "update"),
    *("setdefault", "popitem", "appendleft", "popleft", "write", "writelines"),
}
_STORES = {
    dis.opmap[name]
    for name in ("STORE_ATTR", "STORE_GLOBAL", "STORE_SUBSCR", "STORE_SLICE", "STORE_DEREF", "DELETE_ATTR",
                 "DELETE_GLOBAL", "DELETE_SUBSCR", "DELETE_DEREF")
    if name in dis.opmap
}  # fmt: skip
_ALLOWED = {"grad"}  # attributes of outside objects that a capture sees the change of


def outside_names(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the names that a function reads from outside itself, with what they mean now."""
    code, closure = function.__code__, function.__closure__ or ()
    found: dict[str, Any] = {}
    for name, cell in zip(code.co_freevars, closure, strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # a variable that has no value yet
            continue
    for name in code.co_names:
        if name in function.__globals__ and name not in found:
            found[name] = function.__globals__[name]
    return found


def check_pure(function: Callable[..., Any]) -> None:
    """Raise CompileError if a function visibly changes something outside itself.

    Raises
    ------
    CompileError
        Naming the line.
    """
    tree = _tree(function) if _is_suspect(function.__code__) else None
    if tree is None:
        return
    local = {name for name in function.__code__.co_varnames if name not in function.__code__.co_freevars}
    outside = outside_names(function)
    first = function.__code__.co_firstlineno
    file = Path(function.__code__.co_filename).name
    for line, what in _changes(tree, local, outside):
        raise CompileError(
            f"this step cannot be compiled: {file}, line {first + line - 1}, in {function.__name__}: {what}, and that "
            "would be done only once, when the step is captured",
            "Do it outside the step, with what the step returns, or leave the step eager",
        )


def _is_suspect(code: CodeType) -> bool:
    """Return whether the source needs to be read at all: whether anything is stored but in local variables."""
    return not _STORES.isdisjoint(code.co_code[::2]) or not {*_CHANGES, "print"}.isdisjoint(code.co_names)


def _tree(function: Callable[..., Any]) -> ast.AST | None:
    try:
        source = textwrap.dedent(inspect.getsource(function))
        tree = ast.parse(source)
    except (OSError, TypeError, SyntaxError):  # typed at a prompt, or a lambda in the middle of a line
        return None
    return next((node for node in tree.body if isinstance(node, ast.FunctionDef)), None)


def _changes(tree: ast.AST, local: set[str], outside: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    declared: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Global, ast.Nonlocal)):
            declared.update(node.names)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)) and node.id in declared:
            yield node.lineno, f"it sets {node.id!r}, a variable from outside"
        elif isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, (ast.Store, ast.Del)):
            name = _root(node)
            if name in outside and name not in local and not _is_seen(node, outside[name]):
                yield node.lineno, f"it changes {ast.unparse(node)!r}, of an object from outside"
        elif isinstance(node, ast.Call):
            yield from _effects(node, local, outside)


def _is_seen(target: ast.Attribute | ast.Subscript, owner: Any) -> bool:
    """Return whether a capture takes note of the change of a tensor, or of a gradient."""
    if isinstance(target, ast.Attribute):
        return target.attr in _ALLOWED
    return isinstance(owner, Tensor)


def _effects(node: ast.Call, local: set[str], outside: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    called = node.func
    if isinstance(called, ast.Name) and called.id == "print" and outside.get("print", builtins.print) is builtins.print:
        yield node.lineno, "it prints"
    if not (isinstance(called, ast.Attribute) and called.attr in _CHANGES):
        return
    name = _root(called)
    if name in outside and name not in local and type(outside[name]).__module__ in ("builtins", "collections", "_io"):
        yield node.lineno, f"it calls {ast.unparse(called)!r}, which changes an object from outside"


def _root(node: ast.AST) -> str:
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
