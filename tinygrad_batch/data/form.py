"""The form of a row and of a batch: a tuple of arrays, or a dict of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..calling import checked_array
from ..errors import DataError
from .arrays import check_names, positional_names


class Form(NamedTuple):
    """How the arrays of a row or a batch are handed out.

    Attributes
    ----------
    names : tuple of str
    as_dict : bool
        Whether it is a dict with these keys, rather than a tuple.
    """

    names: tuple[str, ...]
    as_dict: bool

    @classmethod
    def of(cls, row: Any) -> Form:
        """Return the form of a row: a dict, a tuple of arrays, or one array.

        Examples
        --------
        >>> Form.of(([1.0, 2.0], 0)), Form.of([1.0, 2.0])
        (Form(names=('x', 'y'), as_dict=False), Form(names=('x',), as_dict=False))
        """
        if isinstance(row, Mapping | tuple) and not row:
            raise DataError("a row without arrays was given")
        if isinstance(row, Mapping):
            check_names(row)
            return cls(tuple(row), True)
        return cls(tuple(positional_names(len(row) if isinstance(row, tuple) else 1)), False)

    def build(self, values: Sequence[Any]) -> Any:
        """Return the values, one for each name, in this form."""
        return dict(zip(self.names, values, strict=True)) if self.as_dict else tuple(values)

    def split(self, value: Any, source: str) -> list[Any]:
        """Return the values of something in this form; a tuple of one need not be one.

        Raises
        ------
        DataError
            If it has another form, saying that `source` gave it.
        """
        if self.as_dict:
            if isinstance(value, Mapping) and set(value) == set(self.names):
                return [value[name] for name in self.names]
        elif isinstance(value, tuple):
            if len(value) == len(self.names):
                return list(value)
        elif len(self.names) == 1 and value is not None and not isinstance(value, Mapping):
            return [value]
        given = f"a dict of {list(value)}" if isinstance(value, Mapping) else f"a {type(value).__name__}"
        given = "None" if value is None else given
        given += f" of {len(value)}" if isinstance(value, tuple) else ""
        kind = "dict" if self.as_dict else "tuple"
        raise DataError(f"{source} gave {given}; expected a {kind} of {', '.join(self.names)}")

    def call(self, function: Callable[..., Any], values: Sequence[Any], rng: np.random.Generator) -> list[Any]:
        """Return what a transform makes of the values: ``function(x, y, rng)``, or ``function(row, rng)`` of a dict."""
        result = function(self.build(values), rng) if self.as_dict else function(*values, rng)
        return self.split(result, getattr(function, "__name__", type(function).__name__))


def stacked(rows: Sequence[Sequence[Any]], names: Sequence[str]) -> list[np.ndarray]:
    """Return one array for each name, with the rows along its first axis.

    Raises
    ------
    DataError
        If the rows do not have equal shapes.
    DtypeError
        If they are not of numbers.
    """
    columns = []
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        try:
            columns.append(checked_array(np.stack([np.asarray(value) for value in values])))
        except ValueError as error:
            shapes = sorted({np.shape(value) for value in values})
            hint = "Pad or cut them to one shape in the transform, or in the stream"
            raise DataError(f"{name} has rows of different shapes: {', '.join(map(str, shapes[:3]))}", hint) from error
    return columns
