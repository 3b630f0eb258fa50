"""Names: the third kind of value that a derivative rule runs on.

Run on arrays, ``lambda g, y: g * (1 - y * y)`` computes a gradient. Run on names, the same line
writes its own formula, ``dh1 * (1 - h1²)``, and counts its floating-point operations. So what the
picture says is what the engine does.
"""

from __future__ import annotations

from math import prod
from typing import Any

from . import shapes
from .shapes import Shape

# How tightly a text holds together; a part that holds less tightly is put in parentheses.
COMPARE, SUM, PRODUCT, MINUS, POWER, ATOM = range(6)

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: Any) -> str:
    """Return a number as a reader would write it."""
    if isinstance(value, bool):
        return str(value)
    return str(value) if isinstance(value, int) else f"{float(value):.4g}"


class Name:
    """A value that knows only what it is called and what shape it has.

    Parameters
    ----------
    text : str
        The formula so far.
    shape : tuple of int
        The shape that the value would have.
    rank : int
        How tightly the text holds together, for parentheses.
    flops : list of int
        One number, shared by all the names of a rule, that the operations add to.
    """

    __slots__ = ("flops", "rank", "shape", "text")
    __array_ufunc__ = None

    def __init__(self, text: str, shape: Shape, rank: int = ATOM, flops: list[int] | None = None) -> None:
        self.text = text
        self.shape = shape
        self.rank = rank
        self.flops = [0] if flops is None else flops

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def T(self) -> Name:
        """The name transposed."""
        return Name(self.within(ATOM) + "ᵀ", self.shape[::-1], ATOM, self.flops)

    def __str__(self) -> str:
        return self.text

    def within(self, rank: int) -> str:
        """Return the text as it stands inside an expression of ``rank``."""
        return self.text if self.rank >= rank else f"({self.text})"

    def like(self, text: str, rank: int = ATOM) -> Name:
        """Return another name of the same shape, counted in the same place."""
        return Name(text, self.shape, rank, self.flops)

    def suffix(self, mark: str) -> Name:
        """Return the name with a mark behind it, such as ² or ᵀ."""
        return self.like(self.within(ATOM) + mark, ATOM)

    def _infix(self, sign: str, other: Any, rank: int, flip: bool = False) -> Name:
        if not isinstance(other, Name):
            other = Name(number(other), getattr(other, "shape", ()), flops=self.flops)
        left, right = (other, self) if flip else (self, other)
        # a - (b - c) and a / (b * c) need their parentheses, a + (b + c) and a * (b * c) do not
        tighter = rank + 1 if sign in "-/@" or (rank == PRODUCT and "/" in right.text) else rank
        shape = shapes.matmul(left.shape, right.shape) if sign == "@" else shapes.broadcast(left.shape, right.shape)
        self.flops[0] += prod(shape) * (2 * left.shape[-1] if sign == "@" else 1)
        return Name(f"{left.within(rank)} {sign} {right.within(tighter)}", shape, rank, self.flops)

    def __add__(self, other: Any) -> Name:
        return self._infix("+", other, SUM)

    def __radd__(self, other: Any) -> Name:
        return self._infix("+", other, SUM, flip=True)

    def __sub__(self, other: Any) -> Name:
        return self._infix("-", other, SUM)

    def __rsub__(self, other: Any) -> Name:
        return self._infix("-", other, SUM, flip=True)

    def __mul__(self, other: Any) -> Name:
        if isinstance(other, Name) and other is self:
            self.flops[0] += prod(self.shape)
            return self.suffix("²")
        return self._infix("*", other, PRODUCT)

    def __rmul__(self, other: Any) -> Name:
        return self._infix("*", other, PRODUCT, flip=True)

    def __truediv__(self, other: Any) -> Name:
        return self._infix("/", other, PRODUCT)

    def __rtruediv__(self, other: Any) -> Name:
        return self._infix("/", other, PRODUCT, flip=True)

    def __matmul__(self, other: Any) -> Name:
        return self._infix("@", other, PRODUCT)

    def dot(self, other: Name) -> Name:
        """Return the name of the matrix product."""
        return self @ other

    def __pow__(self, other: Any) -> Name:
        if isinstance(other, int):
            self.flops[0] += prod(self.shape)
            return self.suffix(str(other).translate(_SUPERSCRIPTS))
        return self._infix("**", other, POWER)

    def __rpow__(self, other: Any) -> Name:
        return self._infix("**", other, POWER, flip=True)

    def __neg__(self) -> Name:
        self.flops[0] += prod(self.shape)
        return self.like(f"-{self.within(MINUS)}", MINUS)

    def __gt__(self, other: Any) -> Name:
        return self._infix(">", other, COMPARE)

    def __ge__(self, other: Any) -> Name:
        return self._infix("≥", other, COMPARE)

    def __lt__(self, other: Any) -> Name:
        return self._infix("<", other, COMPARE)

    def __le__(self, other: Any) -> Name:
        return self._infix("≤", other, COMPARE)

    def __eq__(self, other: Any) -> Name:  # type: ignore[override]
        return self._infix("=", other, COMPARE)

    def __ne__(self, other: Any) -> Name:  # type: ignore[override]
        return self._infix("≠", other, COMPARE)

    def __and__(self, other: Any) -> Name:
        return self._infix("and", other, COMPARE)

    def __or__(self, other: Any) -> Name:
        return self._infix("or", other, COMPARE)

    __hash__ = None  # type: ignore[assignment]
