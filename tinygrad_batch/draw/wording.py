"""The words in the boxes of a picture and around it."""

from __future__ import annotations

import re

from tinygrad_batch.draw.fold import Unit
from tinygrad_batch.draw.measure import width, wrap
from tinygrad_batch.draw.reading import Reading, last_clause, number_text, right_side
from tinygrad_batch.draw.scene import STYLES, Line, Run
from tinygrad_batch.escape import clean
from tinygrad_batch.memory import Memory, format_bytes
from tinygrad_batch.trace import Result, Step, Value

__all__ = ["backward_lines", "footer", "forward_lines", "gradient_lines", "keeps_text", "source_lines"]

MORE = 3  # results that are written out in one box
LINE_ROOM = 254  # pixels of text in the widest box of the two middle columns


def source_lines(reading: Reading, values: list[Value]) -> tuple[Line, ...]:
    """Return the lines of a box of parameters or data."""
    if len(values) == 1:
        value = values[0]
        words = reading.words.picture
        note = words.notes.get(value.note, value.note) or (words.constant if value.role == "constant" else "")
        head = (Run.of(value.name, "name"), Run.of(note, "note"))
        return head, (Run.of(reading.size_text(value), "small"),)
    count = reading.count(values)
    return (
        (Run.of(reading.names_text([value.name for value in values]), "name"),),
        (Run.of(f"{count:,}   {format_bytes(sum(value.nbytes for value in values))}", "small"),),
    )


def head_lines(name: str, formula: str) -> tuple[Line, ...]:
    """Return a name and its formula: in one line, or in two or three where the formula is long.

    Examples
    --------
    >>> [[run.text for run in line] for line in head_lines("log_softmax", "logp = log_softmax(pred, axis=1)")]
    [['log_softmax'], ['logp = log_softmax(pred, axis=1)']]
    """
    first, text = Run.of(name, "name"), Run.of(formula, "formula")
    size = STYLES["formula"][0]
    beside = LINE_ROOM - 8 - width(first.text, *STYLES["name"][:2])
    if width(text.text, size) <= beside or not first.text or not text.text.isprintable():
        return ((first, text),)
    words = text.text.split(" ")
    if width(text.text, size) <= LINE_ROOM:
        return (first,), (text,)
    used = 0  # words beside the name
    while used < len(words) and width(" ".join(words[: used + 1]), size) <= beside:
        used += 1
    below = wrap(words[used:], LINE_ROOM, size)
    if len(below) > 1:  # the layout cuts it with an ellipsis
        below[1:] = [" ".join(below[1:])]
    top = (first, Run(" ".join(words[:used]), "formula")) if used else (first,)
    return (top, *((Run(line, "formula"),) for line in below))


def forward_lines(reading: Reading, unit: Unit) -> tuple[Line, ...]:
    """Return the lines of a forward box: the operation, its formula and the shape of its result."""
    step = unit.forward[-1]
    value = reading.values[step.results[-1].value] if step.results else None
    if unit.single:
        head = head_lines(step.op, "; ".join(r.formula for r in step.results))
    elif unit.hidden:
        head = head_lines(unit.label, reading.words.picture.operations.format(count=len(unit.forward)))
    else:
        head = head_lines(unit.label, value.name if value is not None else "")
    if value is None:
        return head
    if reading.loss is not None and value.id == reading.loss.id and value.item is not None:
        return *head, (Run.of(f"{value.name} = {number_text(value.item)}", "value"),)
    return *head, (Run.of(reading.size_text(value), "small"),)


def backward_lines(reading: Reading, unit: Unit, steps: tuple[Step, ...]) -> tuple[Line, ...]:
    """Return the lines of a backward box: the gradients that flow on, or that none does."""
    words = reading.words.picture
    inside = {r.value for s in unit.forward for r in s.results}
    flows: list[tuple[Step, Result]] = []
    for step in steps:
        for result in step.results:
            target = reading.target.get(result.value)
            if reading.parameter_of(result.value) is None and not (len(unit.forward) > 1 and target in inside):
                flows.append((step, result))
    if not flows:
        return _only_parameters(reading, unit, steps)
    lines: list[Line] = []
    if not unit.single and len(steps) > 1:
        names = list(dict.fromkeys(reading.values[r.value].name for _, r in flows))
        lines.append((Run.of(reading.names_text(names), "name"), Run(f"= {words.chain_rule}", "formula")))
    else:
        for _, result in flows[:MORE]:
            name = reading.values[result.value].name
            lines += head_lines(name, right_side(result.formula))
        if len(flows) > MORE:
            lines.append((Run(words.more.format(count=len(flows) - MORE), "formula"),))
    result = flows[-1][1]
    sums = dict.fromkeys(reading.sum_text(r.value, s) for s, r in flows)
    extra = next((text for text in sums if text), "")
    small = Run.of(reading.size_text(reading.values[result.value]), "small")
    return (*lines, (small, Run(extra, "strong")) if extra else (small,))


def _only_parameters(reading: Reading, unit: Unit, steps: tuple[Step, ...]) -> tuple[Line, ...]:
    words = reading.words.picture
    gradients = [r.value for s in steps for r in s.results if reading.parameter_of(r.value) is not None]
    names = list(dict.fromkeys(reading.values[g].name for g in gradients))
    if not names:
        return (Run(words.no_gradient, "name"),), (Run(words.nothing_flows, "small"),)
    only = words.only[len(names) > 1].format(names=reading.names_text(names))
    head = only if unit.single else words.only_parameters
    inside = {r.value for s in unit.forward for r in s.results}
    others = [
        reading.values[i]
        for i in dict.fromkeys(i for s in unit.forward for i in s.inputs)
        if i not in inside and reading.values[i].role != "parameter" and not reading.is_plain_number(reading.values[i])
    ]
    if not others:
        return (Run.of(head, "name"),), (Run(words.all_parameters, "small"),)
    other = others[0]
    # The name of the gradient that is not there follows the names of those that are.
    named = all(
        reading.values[g].name == "d" + reading.values[reading.target[g]].name for g in gradients if g in reading.target
    )
    why = words.why_none.get(other.role, words.why_none[""])
    note = why.format(name=other.name, gradient=f"d{other.name}" if named else words.the_gradient)
    return (Run.of(head, "name"),), (Run.of(note, "small"),)


def gradient_lines(reading: Reading, results: list[tuple[Step, Result]], updated: bool) -> tuple[Line, ...]:
    """Return the lines of a box in the last column: a gradient of a parameter, and what the update makes of it."""
    gradients = [reading.values[result.value] for _, result in results]
    parameters = [reading.target[gradient.id] for gradient in gradients]
    if len(results) == 1:
        step, result = results[0]
        total = reading.sum_text(result.value, step)
        shape = reading.words.shape(gradients[0].shape)
        head = (
            Run.of(gradients[0].name, "name"),
            Run.of(right_side(result.formula), "formula"),
            Run.of(f"{shape}   {total}" if total else shape, "shape"),
        )
    else:
        head = (
            Run.of(reading.names_text([gradient.name for gradient in gradients]), "name"),
            Run(f"= {reading.words.picture.chain_rule}", "formula"),
            Run.of(f"{reading.count(gradients):,}", "shape"),
        )
    if not updated:
        return head, (Run.of(format_bytes(sum(gradient.nbytes for gradient in gradients)), "small"),)
    formulas = [reading.updates.get(p, [])[-1:] for p in parameters]
    if not all(formulas):
        return head, (Run(reading.words.picture.not_updated, "small"),)
    pairs = [
        (reading.values[p].name, g.name, last_clause(f[0]))
        for p, g, f in zip(parameters, gradients, formulas, strict=True)
    ]
    return head, (Run.of(_joint_formula(pairs), "strong"),)


def _joint_formula(pairs: list[tuple[str, str, str]]) -> str:
    """Return one formula for several parameters: ``W1, b1 ← W1, b1 − 0.05 dW1, db1`` where all are alike."""
    if len(pairs) == 1:
        return pairs[0][2]

    def pattern(name: str, gradient: str, formula: str) -> str:
        for mark, text in (("\x01", gradient), ("\x02", name)):
            formula = re.sub(rf"(?<!\w){re.escape(text)}(?!\w)", mark, formula[:400])
        return formula

    patterns = {pattern(*pair) for pair in pairs}
    if len(patterns) > 1 or len(pairs) > MORE:
        return f"{pairs[0][2]}, …"
    joined = patterns.pop().replace("\x02", ", ".join(p[0] for p in pairs))
    return joined.replace("\x01", ", ".join(p[1] for p in pairs))


def keeps_text(reading: Reading, unit: Unit) -> str:
    """Return ``keeps x, W1`` for the dotted line, or nothing; a folded row leaves its parameters out."""
    kept = [reading.values[i] for i in dict.fromkeys(i for step in unit.forward for i in step.keeps)]
    if not unit.single:
        kept = [value for value in kept if value.role != "parameter"] or kept
    if unit.hidden and len(kept) > MORE:
        return reading.words.picture.keeps_count.format(count=len(kept))
    names = reading.names_text([value.name for value in kept])
    return reading.words.picture.keeps.format(names=names) if kept else ""


def footer(reading: Reading, memory: Memory, drawn_backward: bool) -> list[tuple[str, str, str]]:
    """Return the lines under the picture: memory, parameters, how to read it."""
    lines, words = [], reading.words.picture
    if memory.kept:
        names = reading.names_text([clean(name, 40) for name in memory.kept_names], 8)
        said = words.kept.format(names=names, amount=format_bytes(memory.kept_bytes))
        if memory.per_row_bytes:
            few, many = format_bytes(memory.at_rows(10)), format_bytes(memory.at_rows(10_000))
            said += words.grows.format(few=few, many=many)
        lines.append(("kept", words.kept_head, said))
    if memory.parameter_count:
        amount = format_bytes(memory.parameter_bytes)
        said = words.parameters.format(count=memory.parameter_count, amount=amount)
        lines.append(("parameter", words.parameters_head, said + (words.there_anyway if memory.kept else words.stop)))
    pairs = [(t, g) for g, t in reading.target.items() if reading.values[t].role == "parameter"]
    example = [clean(reading.values[i].name, 40) for i in reversed(min(pairs))] if pairs else None
    said = words.solid + (words.dashed if drawn_backward else words.stop)
    if example and reading.loss is not None:
        ratio = f"∂{clean(reading.loss.name, 40)}/∂{example[1]}"
        said += words.means.format(gradient=example[0], ratio=ratio)
    lines.append(("muted", words.read_head, said))
    return lines
