"""How an instruction is written in plain NumPy: what the table says, with the operands put in.

Expressions are syntax trees, so that parentheses stand where Python needs them and nowhere else, and no
text of a user can become code.
"""

from __future__ import annotations

import ast
import copy
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import CompileError
from ...op import Op
from ...program import NUMBER, Instruction, Operand, Variable
from .helpers import Helpers

_HOLE = re.compile(r"\{(\w+)\}")
_MARK = "hole_"
SMALL = 20  # elements of an array that is printed


class Spelled:
    """An instruction in plain NumPy, with a hole for each operand.

    Attributes
    ----------
    tree : ast.expr
    places : Counter of int
        How often each operand is written, by its position.
    """

    def __init__(self, instruction: Instruction, tree: ast.expr) -> None:
        self.tree = tree
        entry = instruction.entry
        count = len(instruction.inputs)
        holes = Counter(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
        if entry.variadic:
            self.places = Counter(dict.fromkeys(range(count), holes[_MARK + entry.inputs[0]]))
        else:
            self.places = Counter({i: holes[_MARK + name] for i, name in enumerate(entry.inputs)})
        self._entry = entry

    def filled(self, operands: Sequence[ast.expr]) -> ast.expr:
        """Return the expression with the operands in their places."""
        entry = self._entry
        parts = [ast.List(list(operands), ast.Load())] if entry.variadic else operands
        given = dict(zip(entry.inputs, parts, strict=True))
        return _Filler({_MARK + name: tree for name, tree in given.items()}).visit(copy.deepcopy(self.tree))


class Speller:
    """Writes instructions in plain NumPy.

    Parameters
    ----------
    helpers : Helpers
        Collects the functions that the text calls.
    constant : callable
        Gives the expression of an array too large to be printed.
    generator : callable
        Gives the expression of a random generator.
    """

    def __init__(
        self,
        helpers: Helpers,
        constant: Callable[[np.ndarray, str], ast.expr],
        generator: Callable[[np.random.Generator], ast.expr],
    ) -> None:
        self._helpers = helpers
        self._constant = constant
        self._generator = generator

    def spell(self, instruction: Instruction) -> Spelled:
        """Return an instruction in plain NumPy.

        Raises
        ------
        CompileError
            If the table does not say how, and the operation's function does not stand on its own.
        """
        entry = instruction.entry
        options = {**entry.defaults, **instruction.options}
        text = _text(entry, instruction.inputs, options)
        if text is None or text.startswith("def "):
            tree = self._call(entry, self._helpers.add(entry, text), options)
        else:
            tree = ast.parse(_HOLE.sub(rf"{_MARK}\1", text), mode="eval").body
            given = {_MARK + name: self._option(name, value) for name, value in options.items()}
            plain = {_MARK + name for name, value in options.items() if _same(value, entry.defaults[name])}
            tree = _Filler(given, plain).visit(tree)
        return Spelled(instruction, tree)

    def _call(self, entry: Op, function: str, options: Mapping[str, Any]) -> ast.expr:
        holes: list[ast.expr] = [ast.Name(_MARK + name, ast.Load()) for name in entry.inputs]
        changed = {name: value for name, value in options.items() if not _same(value, entry.defaults[name])}
        keywords = [ast.keyword(name, _outside(self._option(name, value))) for name, value in changed.items()]
        return ast.Call(ast.Name(function, ast.Load()), holes, keywords)

    def _option(self, name: str, value: Any) -> ast.expr:
        """Return an option as an expression; a slice as it stands between brackets."""
        if name == "dtype" and value is not None:
            return dtype_of(value)
        if name == "rng":
            if isinstance(value, np.random.Generator):
                return self._generator(value)
            return ast.Call(ast.parse("np.random.default_rng", mode="eval").body, [self._option("seed", value)], [])
        if isinstance(value, (tuple, list)):
            parts = [self._option("", part) for part in value]
            return ast.Tuple(parts, ast.Load()) if isinstance(value, tuple) else ast.List(parts, ast.Load())
        if isinstance(value, slice):
            ends = [None if part is None else self._option("", part) for part in (value.start, value.stop, value.step)]
            return ast.Slice(*ends)
        return self.array(value, name or "index") if isinstance(value, np.ndarray) else number_of(value)

    def array(self, array: np.ndarray, name: str) -> ast.expr:
        """Return an array as an expression: as its elements if it is small, else as an argument."""
        return array_of(array) if array.size <= SMALL or _uniform(array) else self._constant(array, name)


def number_of(value: Any) -> ast.expr:
    """Return a number, None or ``...`` as an expression; a negative number holds together as -x does."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        tree: ast.expr = ast.parse("np.nan" if math.isnan(value) else "np.inf", mode="eval").body
        return ast.UnaryOp(ast.USub(), tree) if value < 0 else tree
    if isinstance(value, (int, float)) and not isinstance(value, bool) and (value < 0 or math.copysign(1, value) < 0):
        return ast.UnaryOp(ast.USub(), ast.Constant(-value))
    if value is None or value is ... or isinstance(value, (bool, int, float, complex, str)):
        return ast.Constant(value)
    raise CompileError(f"an option of type {type(value).__name__} cannot be printed", "Use numbers, tuples and arrays")


def array_of(array: np.ndarray) -> ast.expr:
    """Return a small array as an expression."""
    if _uniform(array):
        fill = ast.parse("np.full", mode="eval").body
        shape = ast.Tuple([ast.Constant(n) for n in array.shape], ast.Load())
        return ast.Call(fill, [shape, number_of(array.flat[0])], [ast.keyword("dtype", dtype_of(array.dtype))])
    elements = _nested(array.tolist())
    keywords = [] if np.asarray(array.tolist()).dtype == array.dtype else [ast.keyword("dtype", dtype_of(array.dtype))]
    return ast.Call(ast.parse("np.array", mode="eval").body, [elements], keywords)


def _uniform(array: np.ndarray) -> bool:
    return array.ndim > 0 and array.size > 0 and bool((array == array.flat[0]).all())


def _nested(value: Any) -> ast.expr:
    return ast.List([_nested(part) for part in value], ast.Load()) if isinstance(value, list) else number_of(value)


def dtype_of(dtype: Any) -> ast.expr:
    """Return a dtype as an expression."""
    name = np.dtype(dtype).name
    return ast.parse("bool" if name == "bool" else f"np.{name}", mode="eval").body


def _text(entry: Op, inputs: Sequence[Operand], options: Mapping[str, Any]) -> str | None:
    if entry.name == "multiply" and inputs[0] is inputs[1] and _real(inputs[0]):
        return "{a} ** 2"  # as a formula writes it
    if callable(entry.code):
        stand_ins = [_stand_in(v) for v in inputs]
        return entry.code(*([stand_ins] if entry.variadic else stand_ins), **options)
    if entry.code is None and isinstance(entry.compute, np.ufunc):
        return f"np.{entry.compute.__name__}({', '.join(f'{{{name}}}' for name in entry.inputs)})"
    return None if entry.code is None else entry.code.strip()


def _real(operand: Operand) -> bool:
    return isinstance(operand, Variable) and (operand.dtype == NUMBER or np.dtype(operand.dtype).kind == "f")


def _stand_in(operand: Operand) -> Any:
    """Return an array of the operand's shape and dtype that takes no memory."""
    if not isinstance(operand, Variable):
        return np.asarray(operand)
    return np.broadcast_to(np.zeros((), float if operand.dtype == NUMBER else operand.dtype), operand.shape)


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, (np.ndarray, tuple, list)) and not isinstance(default, type(value)):
        return False
    return value is default or (not isinstance(value, (np.ndarray, tuple, list)) and bool(value == default))


def _outside(tree: ast.expr) -> ast.expr:
    """Return an index as it is written where there are no brackets around it."""
    parts = tree.elts if isinstance(tree, (ast.Tuple, ast.List)) else [tree]
    if any(isinstance(part, ast.Slice) for part in parts):
        return ast.Subscript(ast.parse("np.s_", mode="eval").body, tree, ast.Load())
    return tree


class _Filler(ast.NodeTransformer):
    """Puts expressions in the place of names; leaves out the keywords that are ``plain``."""

    def __init__(self, given: Mapping[str, ast.expr], plain: set[str] | None = None) -> None:
        self._given = given
        self._plain = plain or set()

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return _outside(copy.deepcopy(self._given[node.id])) if node.id in self._given else node

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        node.value = self.visit(node.value)
        if isinstance(node.slice, ast.Name) and node.slice.id in self._given:
            node.slice = copy.deepcopy(self._given[node.slice.id])
        else:
            node.slice = self.visit(node.slice)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        node.value = self.visit(node.value)
        if isinstance(node.value, (ast.Constant, ast.UnaryOp)):  # a plain number has no attributes of an array
            node.value = ast.Call(ast.parse("np.asarray", mode="eval").body, [node.value], [])
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        node.keywords = [k for k in node.keywords if not (isinstance(k.value, ast.Name) and k.value.id in self._plain)]
        self.generic_visit(node)
        return node
