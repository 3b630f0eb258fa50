"""What a language has to say: every sentence about a batch, in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..trace import Phase

__all__ = ["Language"]


@dataclass(frozen=True, slots=True)
class Language:
    """The sentences of one language; names in braces are filled in.

    Attributes
    ----------
    code : str
        Of two letters, as in ISO 639-1.
    operations : mapping of str to pair of str
        What an operation does, and what its derivative does.
    other, many : pair of str
        The same of an operation that is not listed, and of several in one box.
    updated : str
        What an update does.
    title, rows, updates, phases, layer
        What stands over an explanation, and over its parts.
    one_number, made, made_of_nothing, back, back_of_nothing, described, norm, number, kept
        What a step makes of what.
    parameter, added, adding, changed, end
        What a gradient is, what an update changes, and how it ended.
    comma, last : str
        Between the words of a list, and before the last of them.
    """

    code: str
    operations: Mapping[str, tuple[str, str]]
    other: tuple[str, str]
    many: tuple[str, str]
    updated: str
    title: str
    rows: str
    updates: tuple[str, str, str]
    phases: Mapping[Phase, str]
    layer: str
    one_number: str
    made: str
    made_of_nothing: str
    back: str
    back_of_nothing: str
    described: str
    norm: str
    number: str
    kept: str
    parameter: str
    added: str
    adding: str
    changed: str
    end: str
    comma: str
    last: str

    def sentence(self, op: str, phase: Phase, count: int = 1) -> str:
        """Return what happens in a step, or in a box of several, in plain words.

        Examples
        --------
        >>> from tinygrad_batch.languages import language
        >>> language("en").sentence("tanh", "backward")
        'The gradient shrinks where tanh is flat.'
        """
        if phase == "update":
            return self.updated
        if count > 1:
            return self.many[phase == "backward"].format(count=count)
        return self.operations.get(op, self.other)[phase == "backward"]

    def listed(self, words: Sequence[str]) -> str:
        """Return words as a list in a sentence.

        Examples
        --------
        >>> from tinygrad_batch.languages import language
        >>> language("en").listed(["x", "W1", "b1"]), language("zh").listed(["x", "W1", "b1"])
        ('x, W1 and b1', 'x、W1 和 b1')
        """
        return self.last.join([self.comma.join(words[:-1]), words[-1]] if len(words) > 1 else words)
