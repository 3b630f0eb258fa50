"""The table of a model: what comes out of each layer, its parameters, what it keeps for backward."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..calling import wrap
from ..capture import capture
from ..errors import ShapeError
from ..state import abstract
from ..tensor import get_default_dtype
from .module import Module


@dataclass(frozen=True)
class LayerSummary:
    """One row of the table."""

    path: str
    label: str
    output_shape: tuple[int, ...]
    parameters: int
    kept_bytes: int


@dataclass(frozen=True)
class Summary:
    """What `summarize` returns; print it.

    Attributes
    ----------
    layers : tuple of LayerSummary
    rows : int
        Rows of the batch it was made for.
    """

    layers: tuple[LayerSummary, ...]
    rows: int

    @property
    def parameters(self) -> int:
        """Numbers to be learned."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def kept_bytes(self) -> int:
        """Bytes kept for the backward pass, for the whole batch."""
        return sum(layer.kept_bytes for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Return the table as JSON-ready dicts and lists."""
        return asdict(self)

    def __str__(self) -> str:
        def per_row(count: int) -> str:
            return f"{count / max(self.rows, 1):,.0f}"

        head = ("layer", "", "output", "parameters", "bytes kept a row")
        rows = [
            (s.path, s.label, "×".join(map(str, s.output_shape)), f"{s.parameters:,}", per_row(s.kept_bytes))
            for s in self.layers
        ]
        total = ("", "total", "", f"{self.parameters:,}", per_row(self.kept_bytes))
        widths = [max(len(row[i]) for row in (head, *rows, total)) for i in range(5)]

        def line(row: tuple[str, ...]) -> str:
            cells = [c.ljust(w) if i < 3 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
            return "  ".join(cells).rstrip()

        rule = "─" * (sum(widths) + 8)
        return "\n".join([line(head), rule, *map(line, rows), rule, line(total)])


def summarize(model: Module, input_shape: Any, dtype: Any = None) -> Summary:
    """Return a table of the layers of ``model`` for a batch of ``input_shape``; nothing is computed or allocated.

    Parameters
    ----------
    model : Module
        Stays as it is.
    input_shape : tuple of int
        Of a whole batch, rows first.
    dtype : dtype, optional
        Of the batch; by default the default dtype.

    Returns
    -------
    Summary

    Raises
    ------
    ShapeError
        If the batch does not fit the model, or has no rows.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> model = tb.nn.Sequential(tb.nn.Linear(10, 15), tb.nn.Tanh(), tb.nn.Linear(15, 1))
    >>> print(model.summary((100, 10)))
    layer                   output  parameters  bytes kept a row
    ────────────────────────────────────────────────────────────
    0      Linear(10 → 15)  100×15         165                80
    1      Tanh             100×15           0               120
    2      Linear(15 → 1)   100×1           16                 0
    ────────────────────────────────────────────────────────────
           total                           181               200
    """
    shape = tuple(input_shape)
    if not shape:
        raise ShapeError("a batch has rows: give a shape such as (100, 10)")
    x = wrap(np.broadcast_to(np.zeros((), dtype or get_default_dtype()), shape), None, "x")
    with abstract(), capture(statistics=False) as trace:
        model(x)
    sizes = {path: tensor.size for path, tensor in model.named_parameters()}
    counted: set[int] = set()
    layers = []
    for layer in trace.layers:
        steps = [s for s in trace.steps if s.module == layer.path]
        if not steps:
            continue
        kept = {v for s in steps for v in s.keeps if trace.values[v].role != "parameter"} - counted
        counted |= kept
        own = sum(n for path, n in sizes.items() if path.rpartition(".")[0] == layer.path)
        out = trace.values[steps[-1].results[0].value].shape
        layers.append(LayerSummary(layer.path, layer.label, out, own, sum(trace.values[v].nbytes for v in kept)))
    return Summary(tuple(layers), shape[0])
