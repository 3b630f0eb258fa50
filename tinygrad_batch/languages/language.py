"""What a language has to say: every sentence about a batch, in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..trace import Phase

__all__ = ["Language", "PictureWords"]


@dataclass(frozen=True, slots=True)
class PictureWords:
    """The words in and around a picture.

    Attributes
    ----------
    title, title_of, title_layers, title_phases, read, description, description_backward
        Over a picture, and what a screen reader says of it; pairs are for one and for more.
    headings, and_data, from_one, from_to, the_loss, span, no_update
        Over the columns.
    rows, between, activations, losses
        What the net is, in the line under the title, with a comma between its parts.
    more, constant, notes, operations, sum_of, chain_rule, start, keeps, keeps_count
        In the boxes, and at the lines between them.
    no_gradient_yet, no_backward, no_gradient, nothing_flows, only, only_parameters, all_parameters, why_none,
    the_gradient, not_updated
        Where there is no gradient, or no update.
    kept_head, kept, grows, parameters_head, parameters, there_anyway, read_head, solid, dashed, means, stop
        Under a picture; the last is the mark that ends a sentence.
    page : mapping of str to str
        What the page says besides, by the names that its script uses.
    """

    title: str
    title_of: str
    title_layers: str
    title_phases: Mapping[Phase, str]
    read: str
    description: tuple[str, str]
    description_backward: tuple[str, str]
    headings: Mapping[str, str]
    and_data: str
    from_one: str
    from_to: str
    the_loss: str
    span: tuple[str, str]
    no_update: str
    rows: tuple[str, str]
    between: str
    activations: str
    losses: Mapping[str, str]
    more: str
    constant: str
    notes: Mapping[str, str]
    operations: str
    sum_of: str
    chain_rule: str
    start: str
    keeps: str
    keeps_count: str
    no_gradient_yet: str
    no_backward: str
    no_gradient: str
    nothing_flows: str
    only: tuple[str, str]
    only_parameters: str
    all_parameters: str
    why_none: Mapping[str, str]
    the_gradient: str
    not_updated: str
    kept_head: str
    kept: str
    grows: str
    parameters_head: str
    parameters: str
    there_anyway: str
    read_head: str
    solid: str
    dashed: str
    means: str
    stop: str
    page: Mapping[str, str]


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
    picture : PictureWords
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
    picture: PictureWords

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

    def shape(self, shape: Sequence[int]) -> str:
        """Return a shape as it is read aloud.

        Examples
        --------
        >>> from tinygrad_batch.languages import language
        >>> language("en").shape((100, 15)), language("en").shape(()), language("zh").shape(())
        ('100 × 15', 'one number', '一个数')
        """
        return " × ".join(map(str, shape)) if shape else self.one_number

    def listed(self, words: Sequence[str]) -> str:
        """Return words as a list in a sentence.

        Examples
        --------
        >>> from tinygrad_batch.languages import language
        >>> language("en").listed(["x", "W1", "b1"]), language("zh").listed(["x", "W1", "b1"])
        ('x, W1 and b1', 'x、W1 和 b1')
        """
        return self.last.join([self.comma.join(words[:-1]), words[-1]] if len(words) > 1 else words)
