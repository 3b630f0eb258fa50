"""Answers about a Trace that several parts of a picture need, worked out once and in linear time."""

from __future__ import annotations

import re
from collections import Counter
from math import prod

from tinygrad_batch.escape import clean
from tinygrad_batch.languages import Language
from tinygrad_batch.languages.english import ENGLISH
from tinygrad_batch.memory import format_bytes
from tinygrad_batch.trace import Layer, Result, Step, Trace, Value

__all__ = ["ACTIVATIONS", "Reading", "last_clause", "number_text", "right_side"]

ACTIVATIONS = frozenset(
    """
    tanh relu sigmoid gelu silu swish mish elu selu celu softplus softsign leaky_relu hardtanh relu6
    log_softmax softmax logsigmoid dropout
    """.split()  # noqa: SIM905 -- a list of words reads better
)
_SIGN = re.compile(r" (?:\+=|=|←) ")


def number_text(number: float) -> str:
    """Return a number with four digits, as short as it can be.

    Examples
    --------
    >>> number_text(0.44658), number_text(1.0), number_text(323.4649)
    ('0.4466', '1', '323.5')
    """
    return f"{number:.4g}"


def right_side(formula: str) -> str:
    """Return what stands after the name in a formula, with its sign.

    Examples
    --------
    >>> right_side("h1 = tanh(z1)"), right_side("dW += xᵀ @ dm")
    ('= tanh(z1)', '+= xᵀ @ dm')
    """
    found = _SIGN.search(formula)
    return formula[found.start() + 1 :] if found else formula


def last_clause(formula: str) -> str:
    """Return the last of several formulas: of an update, the one that changes the parameter.

    Examples
    --------
    >>> last_clause("m ← 0.9 m + 0.1 dW; W ← W − 0.01 m")
    'W ← W − 0.01 m'
    """
    return formula.rpartition("; ")[2]


class Reading:
    """A Trace with the questions that drawing asks already answered.

    Attributes
    ----------
    words : Language
        That the picture speaks.
    producer : dict
        Value id to the number of the forward step that made it.
    mirrors : dict
        Forward step number to the backward steps that mirror it, in order.
    target : dict
        Gradient value id to the id of the value whose gradient it is.
    contributions : dict
        Gradient value id to the numbers of the backward steps that add to it.
    updates : dict
        Parameter value id to its update formulas.
    """

    def __init__(self, trace: Trace, words: Language = ENGLISH) -> None:
        self.trace = trace
        self.words = words
        self.values = trace.values
        self.producer: dict[int, int] = {}
        self.mirrors: dict[int, list[Step]] = {}
        self.contributions: dict[int, list[int]] = {}
        self.updates: dict[int, list[str]] = {}
        last = len(trace.steps)
        for step in trace.steps:
            if step.phase == "forward":
                for result in step.results:
                    self.producer.setdefault(result.value, step.number)
            elif step.phase == "backward":
                if step.forward is not None and 1 <= step.forward <= last:
                    self.mirrors.setdefault(step.forward, []).append(step)
                for result in step.results:
                    self.contributions.setdefault(result.value, []).append(step.number)
            else:
                for result in step.results:
                    self.updates.setdefault(result.value, []).append(result.formula)
        self.loss = self._loss()
        self.target = {v.id: v.gradient_of for v in trace.values if v.gradient_of is not None}
        self.layers = {layer.path: layer for layer in trace.layers}
        self.layer_names = self._layer_names()

    def step(self, number: int) -> Step:
        """Return a step by its number."""
        return self.trace.steps[number - 1]

    def _loss(self) -> Value | None:
        loss = self.trace.loss
        if loss is not None:
            return loss
        forward = self.trace.phase("forward")
        if forward and forward[-1].results:
            value = self.values[forward[-1].results[0].value]
            if value.shape == () and value.item is not None:
                return value
        return None

    def parameter_of(self, gradient: int) -> int | None:
        """Return the id of the parameter whose gradient this is, or None."""
        target = self.target.get(gradient)
        return target if target is not None and self.values[target].role == "parameter" else None

    def parameter_results(self, step: Step) -> list[Result]:
        """Return the results of a backward step that are gradients of parameters."""
        return [result for result in step.results if self.parameter_of(result.value) is not None]

    def size_text(self, value: Value) -> str:
        """Return shape and bytes."""
        return f"{self.words.shape(value.shape)}   {format_bytes(value.nbytes)}"

    def names_text(self, names: list[str], most: int = 3) -> str:
        """Return names in a list that stays short.

        Examples
        --------
        >>> Reading(Trace()).names_text(["W1", "b1", "W2", "b2"])
        'W1, b1, W2, … 1 more'
        """
        more = self.words.picture.more.format(count=len(names) - most)
        return ", ".join([*names[:most], *([more] if len(names) > most else [])])

    def sum_text(self, gradient: int, step: Step) -> str:
        """Return ``sum of 2`` where `step` adds the last of several contributions to a gradient."""
        steps = self.contributions.get(gradient, [])
        return self.words.picture.sum_of.format(count=len(steps)) if len(steps) > 1 and steps[-1] == step.number else ""

    def is_plain_number(self, value: Value) -> bool:
        """Whether a constant is named by its own number, so that the formula says all about it."""
        if value.role != "constant" or value.shape != ():
            return False
        try:
            float(value.name.replace("−", "-"))
        except ValueError:
            return False
        return True

    def _layer_names(self) -> dict[str, str]:
        """Name the layers by kind, numbered in the order they ran where a kind repeats: Linear1, Linear2, Tanh1."""
        paths: dict[str, None] = {}
        for step in self.trace.steps:
            if step.phase == "forward" and step.module and step.module not in paths:
                for path in ancestors(step.module):
                    if path in self.layers or path == step.module:
                        paths.setdefault(path)
        kinds = {path: self.kind(path) for path in paths}
        count = Counter(kinds.values())
        seen: Counter[str] = Counter()
        names = {}
        for path, kind in kinds.items():
            seen[kind] += 1
            gap = " " if kind[-1:].isdigit() or kind[-2:-1].isdigit() else ""
            names[path] = f"{kind}{gap}{seen[kind]}" if count[kind] > 1 else kind
        return names

    def kind(self, path: str) -> str:
        """Return the class name of the layer at `path`, or the last part of the path."""
        layer: Layer | None = self.layers.get(path)
        return layer.kind if layer is not None else path.rpartition(".")[2]

    def subtitle(self) -> str:
        """Return rows, widths, activations, loss and optimiser in one line, as far as the trace tells."""
        parts, words = [], self.words.picture
        if self.trace.rows is not None:
            parts.append(words.rows[self.trace.rows != 1].format(count=self.trace.rows))
        net = " → ".join(map(str, self._widths()))
        ends = self.step(self.producer[self.loss.id]).module if self.loss and self.loss.id in self.producer else ""
        inside = ends if self.kind(ends) in words.losses else None  # what the loss does itself is no activation
        forward = [s for s in self.trace.steps if s.phase == "forward" and s.module != inside]
        used = dict.fromkeys(s.op for s in forward if s.op in ACTIVATIONS)
        if net:
            names = self.words.listed([clean(op, 20) for op in list(used)[:2]])
            parts.append(words.activations.format(net=net, names=names) if used else net)
        if self.loss is not None and self.loss.id in self.producer:
            kind = self.kind(self.step(self.producer[self.loss.id]).module)
            if kind:
                parts.append(words.losses.get(kind) or clean(kind, 40))
        update = next((s for s in self.trace.steps if s.phase == "update" and s.results), None)
        if update is not None:
            parts.append(f"{clean(update.op, 40)}: {clean(last_clause(update.results[0].formula), 80)}")
        return words.between.join(parts)

    def _widths(self) -> list[int]:
        """Return the widths of a chain of matrix products, or nothing where the products are no chain."""
        widths: list[int] = []
        for step in self.trace.steps:
            if step.phase != "forward":
                continue
            for i in step.inputs:
                value = self.values[i]
                if value.role == "parameter" and len(value.shape) == 2:
                    if widths and widths[-1] != value.shape[0]:
                        return []
                    widths += value.shape if not widths else value.shape[1:]
        return widths if 2 <= len(widths) <= 8 else []

    def count(self, values: list[Value]) -> int:
        """Return how many numbers the values hold together."""
        return sum(prod(value.shape) for value in values)


def ancestors(path: str) -> list[str]:
    """Return the path of a layer and those it lies in, outermost first.

    Examples
    --------
    >>> ancestors("encoder.3.fc")
    ['encoder', 'encoder.3', 'encoder.3.fc']
    """
    parts = path.split(".")[:12]
    return [".".join(parts[: i + 1]) for i in range(len(parts))]
