"""The exceptions of the package: what was given, what was expected, what to do.

Every error derives from `TinygradBatchError` and from the built-in exception a NumPy user would
expect, so both ``except TinygradBatchError`` and ``except ValueError`` work.
"""


class TinygradBatchError(Exception):
    """Base class of every error that this package raises on purpose.

    Parameters
    ----------
    message : str
        What was given and what was expected.
    hint : str, optional
        What to do about it; printed after the message.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        self.hint = hint
        super().__init__(f"{message}. {hint}" if hint else message)


class ShapeError(TinygradBatchError, ValueError):
    """Shapes, axes or lengths that do not fit together."""


class DtypeError(TinygradBatchError, TypeError):
    """A dtype or a Python type that an operation cannot work on."""


class ArgumentError(TinygradBatchError, ValueError):
    """An argument whose value is outside what is allowed."""


class GraphError(TinygradBatchError, RuntimeError):
    """A backward pass that cannot be done on this graph."""


class InPlaceError(GraphError):
    """A value that a pending backward pass needs was changed in place."""


class GradcheckError(TinygradBatchError, AssertionError):
    """A derivative that does not agree with its finite difference."""


class StateError(TinygradBatchError, KeyError):
    """A state dict whose keys or shapes do not match."""

    __str__ = Exception.__str__  # KeyError would print the repr of the message


class DataError(TinygradBatchError, ValueError):
    """Data that cannot be loaded, split or iterated."""


class DrawError(TinygradBatchError, RuntimeError):
    """A picture that cannot be rendered in the format asked for."""


class CompileError(TinygradBatchError, RuntimeError):
    """A step that cannot be compiled, or a compiled step that cannot run like this."""
