"""A batch told: every step in a plain sentence and its formula, as text, Markdown or LaTeX."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from ..errors import ArgumentError
from ..escape import clean
from ..languages import Language, LanguageName, language
from ..trace import Phase, Step, Trace, Value
from .latex import Latex, symbols

__all__ = ["Explained", "Explanation", "explain"]

LONG = 60  # characters of a name in a sentence
FEW = 3  # formulas from which on each stands in a line of its own


@dataclass(frozen=True, slots=True)
class Explained:
    """One step, told.

    Attributes
    ----------
    number : int
    phase : {"forward", "backward", "update"}
    what : str
        The operation, and the layer it ran in.
    formulas : tuple of str
        As the picture has them; one for each value that the step writes.
    latex : tuple of str
        The same in LaTeX, without dollars.
    sentences : tuple of str
        What the operation does; what it makes of what; what is kept.
    """

    number: int
    phase: Phase
    what: str
    formulas: tuple[str, ...]
    latex: tuple[str, ...]
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A batch, told step by step. Print it; a notebook shows it with its formulas.

    Attributes
    ----------
    lang : {"en", "zh"}
    title : str
    steps : tuple of Explained
    end : str
        How it came out; empty where the trace has no loss.
    """

    lang: LanguageName
    title: str
    steps: tuple[Explained, ...]
    end: str

    def __str__(self) -> str:
        lines = [self.title]
        for phase, steps in self._phases():
            lines += ["", phase]
            for step in steps:
                few = "; ".join(step.formulas) if len(step.formulas) < FEW else ""
                lines.append(f"{step.number:>4}. {step.what}{f': {few}' if few else ''}")
                lines += [f"      {line}" for line in (() if few else step.formulas) + step.sentences]
        return "\n".join([*lines, *(["", self.end] if self.end else [])])

    def markdown(self) -> str:
        """Return it as Markdown, with the formulas between dollars."""
        lines = [f"**{_markdown(self.title)}**"]
        for phase, steps in self._phases():
            lines += ["", f"### {_markdown(phase)}"]
            for step in steps:
                formulas = "; ".join(f"${formula}$" for formula in step.latex)
                lines += ["", f"{step.number}. **{_markdown(step.what)}** {formulas}\\"]
                lines += [f"   {_markdown(' '.join(step.sentences))}"]
        return "\n".join([*lines, *(["", _markdown(self.end)] if self.end else []), ""])

    def latex(self) -> str:
        r"""Return the formulas as lines of an ``align*`` of amsmath, numbered as the steps are.

        ``\nabla_{W}`` is the gradient of the loss by W.
        """
        lines = []
        for _, steps in self._phases():
            for step in steps:
                for place, formula in enumerate(step.latex):
                    left, sign, right = _at_sign(formula)
                    lines.append(f"{rf'({step.number})' if not place else ''}& & {left} & {sign} {right}")
        return "\\begin{align*}\n" + " \\\\\n".join(lines) + "\n\\end{align*}\n"

    def _phases(self) -> list[tuple[str, list[Explained]]]:
        titles = language(self.lang).phases
        every = [(title, [step for step in self.steps if step.phase == phase]) for phase, title in titles.items()]
        return [(title, steps) for title, steps in every if steps]

    def _repr_markdown_(self) -> str:
        return self.markdown()


def explain(trace: Trace, lang: LanguageName = "en") -> Explanation:
    """Tell what happens in a batch: each step of the forward pass, the backward pass and the update.

    Parameters
    ----------
    trace : Trace
        From ``capture``.
    lang : {"en", "zh"}
        English or Chinese.

    Returns
    -------
    Explanation

    Raises
    ------
    ArgumentError
        If ``trace`` is no Trace, or there is no such language.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> with tb.capture() as trace:
    ...     x = tb.tensor([1.0, 2.0], requires_grad=True)
    ...     (x ** 2).sum().backward()
    >>> told = explain(trace)
    >>> print(told.title)
    One batch: 2 steps forward, 2 back, no update.
    >>> told.steps[0].sentences[0]
    'Each entry is squared: large errors count more.'
    """
    if not isinstance(trace, Trace):
        raise ArgumentError(
            f"explain needs a trace, not a {type(trace).__name__}",
            "Record one: with tb.capture() as trace: followed by one step of training",
        )
    words = language(lang)
    telling = _Telling(trace, words)
    counts = [len(trace.phase(phase)) for phase in words.phases]
    rows = words.rows.format(count=trace.rows) if trace.rows is not None else ""
    update = words.updates[min(counts[2], 2)].format(count=counts[2])
    loss = trace.loss
    return Explanation(
        lang=lang,
        title=words.title.format(rows=rows, forward=counts[0], backward=counts[1], update=update),
        steps=tuple(telling.explained(step) for step in trace.steps),
        end=words.end.format(loss=f"{loss.item:.4g}") if loss is not None and loss.item is not None else "",
    )


class _Telling:
    """The steps of one trace in one language."""

    def __init__(self, trace: Trace, words: Language) -> None:
        self.trace = trace
        self.words = words
        self.latex = Latex(symbols(trace))
        self.kinds = {layer.path: layer.kind for layer in trace.layers}
        parts = [result.value for step in trace.phase("backward") for result in step.results]
        self.parts = Counter(parts)
        self.seen: Counter[int] = Counter()

    def explained(self, step: Step) -> Explained:
        """Return what a step does; steps are asked for in their order."""
        layer = ""
        if step.module:
            kind = self.kinds.get(step.module, "")
            place = step.module if step.module.startswith(kind) else f"{kind} {step.module}"
            layer = self.words.layer.format(layer=clean(place, LONG))
        if step.phase == "update":
            names = [self.name(result.value) for result in step.results]
            made = [self.words.changed.format(op=clean(step.op, LONG), names=self.words.listed(names))] if names else []
        else:
            made = self._made(step)
        return Explained(
            number=step.number,
            phase=step.phase,
            what=clean(step.op, LONG) + layer,
            formulas=tuple(clean(result.formula) for result in step.results),
            latex=tuple(self.latex(clause) for result in step.results for clause in result.formula.split("; ")),
            sentences=(self.words.sentence(step.op, step.phase), *made),
        )

    def _made(self, step: Step) -> list[str]:
        words = self.words
        inputs = words.listed([self.described(i) for i in dict.fromkeys(step.inputs)])
        results = words.listed([self.described(result.value) for result in step.results])
        said = []
        if step.phase == "backward":
            form = words.back if step.results else words.back_of_nothing
            said.append(form.format(number=step.forward, inputs=inputs, results=results))
            said += [more for result in step.results if (more := self._meaning(result.value))]
        elif step.results:
            said.append((words.made if inputs else words.made_of_nothing).format(inputs=inputs, results=results))
        if step.keeps:
            kept = words.listed([self.name(i) for i in dict.fromkeys(step.keeps)])
            said.append(words.kept.format(names=kept))
        return said

    def _meaning(self, gradient: int) -> str:
        """Return that a gradient is one of several parts, or whole, or that of a parameter."""
        self.seen[gradient] += 1
        target = self.trace.values[gradient].gradient_of
        if target is None:
            return ""
        name, of, count = self.name(gradient), self.name(target), self.parts[gradient]
        if self.seen[gradient] < count:
            return self.words.adding.format(name=name, target=of, count=count)
        said = [self.words.added.format(name=name, target=of, count=count)] if count > 1 else []
        if self.trace.values[target].role == "parameter":
            said.append(self.words.parameter.format(name=name, target=of))
        return " ".join(said)

    def name(self, value: int) -> str:
        """Return what a value is called."""
        return clean(self.trace.values[value].name, LONG)

    def described(self, value: int) -> str:
        """Return a value with its shape and its norm, or a number with what it is."""
        found: Value = self.trace.values[value]
        if found.item is not None:
            amount = f"{found.item:.4g}"
            return amount if found.role == "constant" else self.words.number.format(name=self.name(value), value=amount)
        norm = ""
        if found.statistics is not None and found.shape:
            norm = self.words.norm.format(norm=f"{found.statistics.norm:.3g}")
        return self.words.described.format(name=self.name(value), shape=self.words.shape(found.shape), norm=norm)


def _markdown(text: str) -> str:
    """Return text that Markdown takes for text: no emphasis, no tag, no formula."""
    return re.sub(r"([\\`*_{}\[\]<>#|$~&!])", r"\\\1", text)


def _at_sign(formula: str) -> tuple[str, str, str]:
    """Return what stands before the first sign of equality, the sign, and the rest."""
    for sign in (r"\mathrel{+}= ", r"\leftarrow ", "="):
        left, found, right = formula.partition(sign)
        if found:
            return left, sign, right
    return "", "", formula
