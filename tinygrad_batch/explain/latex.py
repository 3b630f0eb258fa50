"""A formula of a Trace as LaTeX: the same operations in the same order, in the signs of a textbook."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ..trace import Trace, Value

__all__ = ["Latex", "symbols"]

_FUNCTIONS = frozenset("arccos arcsin arctan cos cosh exp log max min sin sinh tan tanh".split())  # noqa: SIM905
_SIGNS = {
    "@": r"\,", "−": "-", "←": r"\leftarrow ", "+=": r"\mathrel{+}= ", "≤": r"\leq ", "≥": r"\geq ", "≠": r"\neq ",
    "×": r"\times ", "·": r"\cdot ", "∞": r"\infty ", "…": r"\ldots ",
}  # fmt: skip
_PLAIN = frozenset("+-=<>()[],;:/|!.'")
_ESCAPED = {
    "\\": r"\backslash ", "{": r"\{", "}": r"\}", "_": r"\_", "%": r"\%", "#": r"\#", "&": r"\&", "$": r"\$",
    "~": r"\sim ", "^": r"\wedge ",
}  # fmt: skip
_UP = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
_DOWN = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_LETTER = "[^\\W⁰¹²³⁴⁵⁶⁷⁸⁹ᵀ]"  # of a word: to Python, raised signs are letters, too
_NAME = re.compile(r"([^\W\d_]+)_?(\d*)([₀-₉]*)")
_WORD = re.compile(rf"(?![0-9]){_LETTER}+\u0302?")
_TOKEN = re.compile(
    r"(?P<number>[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)|(?P<raised>[⁻⁰¹²³⁴⁵⁶⁷⁸⁹ᵀ]+)"
    rf"|(?P<word>{_WORD.pattern})|(?P<sign>\+=|\S)"
)


def symbols(trace: Trace) -> dict[str, str]:
    r"""Return the LaTeX of every name in a trace: ``W1`` is ``W_{1}``, and its gradient ``\nabla_{W_{1}}``.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> with tb.capture() as trace:
    ...     (tb.tensor([1.0], requires_grad=True) ** 2).sum().backward()
    >>> list(symbols(trace).values())[-1].startswith(r"\nabla_{")
    True
    """
    return {value.name: _symbol(value, trace.values) for value in trace.values}


def _symbol(value: Value, values: tuple[Value, ...]) -> str:
    if value.gradient_of is None or values[value.gradient_of].gradient_of is not None:
        return _letters(value.name)
    again = re.search("[₀-₉]+$", value.name)
    target = _letters(values[value.gradient_of].name)
    return rf"\nabla{{}}^{{({again[0].translate(_DOWN)})}}_{{{target}}}" if again else rf"\nabla_{{{target}}}"


def _letters(name: str) -> str:
    found = _NAME.fullmatch(name)
    if found is None or not name.isascii():
        return rf"\mathrm{{{_escaped(name)}}}"
    letters, number, again = found.groups()
    letters = letters if len(letters) == 1 else rf"\mathrm{{{letters}}}"
    below = number + again.translate(_DOWN)
    return f"{letters}_{{{below}}}" if below else letters


class Latex:
    r"""Writes formulas in LaTeX, without the dollars around them; made once for all formulas of a trace.

    Parameters
    ----------
    names : mapping of str to str
        See `symbols`; other words stay words.

    Examples
    --------
    >>> names = {"h1": "h_{1}", "z1": "z_{1}", "dz1": r"\nabla_{z_{1}}", "dh1": r"\nabla_{h_{1}}"}
    >>> write = Latex(names)
    >>> print(write("h1 = tanh(z1)"))
    h_{1}=\tanh (z_{1})
    >>> print(write("dz1 = dh1 * (1 - h1²)"))
    \nabla_{z_{1}}=\nabla_{h_{1}}\odot (1-h_{1}^{2})
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        # a name that is a word is looked up; only the others have to be searched for
        odd = [name for name in names if name and not _WORD.fullmatch(name) and not name[0].isdigit()]
        odd = sorted((re.escape(name) for name in odd), key=len, reverse=True)
        known = rf"(?P<known>(?<!{_LETTER})(?:{'|'.join(odd)})(?!{_LETTER}))|{_TOKEN.pattern}"
        self._pattern = re.compile(known) if odd else _TOKEN

    def __call__(self, formula: str) -> str:
        """Return a formula, as a `Result` has it, in LaTeX."""
        tokens = [self._token(match) for match in self._pattern.finditer(formula)]
        return "".join(_written(tokens, self._names)).strip()

    def _token(self, match: re.Match[str]) -> tuple[str, str]:
        kind, token = match.lastgroup or "", match[0]
        return ("known" if kind == "word" and token in self._names else kind), token


def _written(tokens: list[tuple[str, str]], names: Mapping[str, str]) -> Iterable[str]:
    place = 0
    while place < len(tokens):
        kind, token = tokens[place]
        place += 1
        if kind == "known":
            yield names[token]
        elif kind == "number":
            yield _number(token)
        elif kind == "raised":
            yield f"^{{{token.translate(_UP).replace('ᵀ', chr(92) + 'top ')}}}"
        elif kind == "word":
            run = [token]  # several words are a phrase
            while place < len(tokens) and tokens[place][0] == "word":
                run.append(tokens[place][1])
                place += 1
            called = place < len(tokens) and tokens[place][1] == "("
            yield _words(run, called)
        elif token == "√":
            end = _end(tokens, place)
            inside = tokens[place:end]
            if inside and inside[0][1] == "(":
                inside = inside[1:-1]
            yield rf"\sqrt{{{''.join(_written(inside, names))}}}"
            place = end
        elif token == "*":
            yield r"\cdot " if tokens[place - 2][0] == "number" else r"\odot "
        else:
            yield _SIGNS.get(token) or (token if token in _PLAIN else _escaped(token))


def _end(tokens: list[tuple[str, str]], place: int) -> int:
    """Return where a bracket that opens at a place has been closed; or else the place after the one token there."""
    depth = 0
    for at in range(place, len(tokens)):
        depth += (tokens[at][1] == "(") - (tokens[at][1] == ")")
        if depth <= 0:
            return at + 1
    return len(tokens)


def _words(run: list[str], called: bool) -> str:
    if len(run) > 1:
        return rf"\mathrm{{{'~'.join(map(_escaped, run))}}}~"
    word = run[0]
    if word in _FUNCTIONS:
        return rf"\{word} "
    hat = {"ŝ": "s", "m\u0302": "m"}.get(word)
    if hat:
        return rf"\hat{{{hat}}}"
    if called:
        return rf"\mathrm{{{_escaped(word)}}}"
    return word if len(word) == 1 and word.isascii() else rf"\mathrm{{{_escaped(word)}}}"


def _number(token: str) -> str:
    digits, _, power = token.partition("e")
    if not power:
        return digits
    return ("" if digits == "1" else rf"{digits}\cdot ") + f"10^{{{int(power)}}}"


def _escaped(text: str) -> str:
    return "".join(_ESCAPED.get(letter, letter if letter.isprintable() else "?") for letter in text)
