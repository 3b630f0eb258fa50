"""Functions that a printed program brings along: operations that NumPy has no word for."""

from __future__ import annotations

import ast
import inspect
import math
import re
from collections.abc import Callable
from textwrap import dedent
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from ...errors import CompileError
from ...op import Op
from .names import Names


class Helpers:
    """Collects functions and prints each once.

    Parameters
    ----------
    names : Names
        Where they get their names from.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._known: dict[Any, str] = {}  # a function, or the text of one: its name
        self._texts: list[str] = []
        self.modules: set[str] = set()  # what is imported beside NumPy

    @property
    def texts(self) -> tuple[str, ...]:
        """The functions, each after those that it calls."""
        return tuple(self._texts)

    def add(self, entry: Op, text: str | None) -> str:
        """Return the name of the function for an operation, given as text or else by its own function.

        Raises
        ------
        CompileError
            If its own function needs something besides NumPy.
        """
        if text is None:
            return self._function(entry.compute, entry.name, entry.name)
        if text not in self._known:
            name = self._known[text] = self._names.take(entry.name)
            self._texts.append(re.sub(r"^def \w+", f"def {name}", text))
        return self._known[text]

    def _function(self, function: Any, called: str, op: str) -> str:
        if function in self._known:
            return self._known[function]
        for part in function.__code__.co_freevars:
            self._refuse(op, part)
        name = self._known[function] = self._names.take(called.lstrip("_"))
        found = _lambda(function, name) if function.__name__ == "<lambda>" else _source(function, name)
        if found is None:
            raise CompileError(
                f"the operation {op!r} cannot be written in plain NumPy: the source of its function is not to be had",
                "Give op(...) the code= that it is written with",
            )
        text, used = found
        renamed = {function.__name__: name}
        for part in sorted(used & function.__globals__.keys()):
            value = function.__globals__[part]
            if isinstance(value, FunctionType) and not hasattr(value, "op"):
                renamed[part] = self._function(value, part, op)
            elif isinstance(value, (int, float)):
                renamed[part] = self._number(part, value)
            elif value is math and part == "math":
                self.modules.add("math")
            elif value is not np or part != "np":
                self._refuse(op, part)
        words = "|".join(map(re.escape, renamed))
        self._texts.append(re.sub(rf"\b({words})\b", lambda match: renamed[match[1]], text))
        return name

    def _number(self, called: str, value: float) -> str:
        if called not in self._known:
            self._known[called] = self._names.take(called.lstrip("_"))
            self._texts.append(f"{self._known[called]} = {value!r}")
        return self._known[called]

    def _refuse(self, op: str, part: str) -> None:
        raise CompileError(
            f"the operation {op!r} cannot be written in plain NumPy: its function uses {part!r}, which is not NumPy",
            "Give op(...) the code= that it is written with",
        )


def _source(function: Callable[..., Any], name: str) -> tuple[str, set[str]] | None:
    """Return the text of a function without annotations and docstring, and the names that it reads."""
    try:
        text = dedent(inspect.getsource(function))
    except (OSError, TypeError):
        return None
    tree = ast.parse(text).body[0]
    if not isinstance(tree, ast.FunctionDef):
        return None
    tree.returns = None
    lines, body = text.splitlines(), tree.body
    if ast.get_docstring(tree) is not None and len(body) > 1:
        first = body[0].end_lineno or body[0].lineno
    else:
        first = body[0].lineno - 1
        while lines[first - 1].lstrip().startswith("#"):
            first -= 1
    return f"def {name}({_parameters(tree.args)}):\n" + "\n".join(lines[first:]), _words(tree)


def _lambda(function: Any, name: str) -> tuple[str, set[str]] | None:
    """Return a lambda as a function; None if it cannot be told from others beside it."""
    try:
        text = dedent(inspect.getsource(function)).strip()
    except (OSError, TypeError):
        return None
    ends = [len(text), *(match.start() for match in reversed([*re.finditer(r"[,)\]}]", text)]))]
    alike = []
    for end in ends:  # a part of a call is no statement: leave out what follows
        try:
            tree = ast.parse(text[:end])
        except SyntaxError:
            continue
        found = [node for node in ast.walk(tree) if isinstance(node, ast.Lambda)]
        alike = [node for node in found if _compiled(node) == _facts(function.__code__)]
        break
    if len({ast.dump(node) for node in alike}) != 1:
        return None
    return f"def {name}({_parameters(alike[0].args)}):\n    return {ast.unparse(alike[0].body)}", _words(alike[0])


def _words(tree: ast.AST) -> set[str]:
    """Return the names that a function reads and does not make itself."""
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    arguments = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    return {node.id for node in names} - {n.id for n in names if isinstance(n.ctx, ast.Store)} - arguments


def _parameters(arguments: ast.arguments) -> str:
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        argument.annotation = None
    return ast.unparse(arguments)


def _compiled(node: ast.Lambda) -> tuple[Any, ...]:
    code = compile(ast.Expression(node), "<lambda>", "eval")
    return _facts(next(part for part in code.co_consts if isinstance(part, CodeType)))


def _facts(code: CodeType) -> tuple[Any, ...]:
    return code.co_code, code.co_consts, code.co_names, code.co_varnames
