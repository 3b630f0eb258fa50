"""Lines as a terminal shows them."""

from __future__ import annotations

import textwrap

WIDTH = 79  # of the lines printed: any terminal shows them whole, and a file has the same bytes
OK, FAILED, BAD_INPUT = 0, 1, 2


def entry(label: str, text: str, indent: int = 11) -> str:
    """Return a label and what there is to say about it, wrapped."""
    wrapper = textwrap.TextWrapper(WIDTH, label.ljust(indent), " " * indent)
    wrapper.break_on_hyphens = wrapper.break_long_words = False
    return wrapper.fill(plain(text)).replace("\N{NO-BREAK SPACE}", " ")


def count(number: int, noun: str, nouns: str = "") -> str:
    """Return a number with its noun, in the plural where it is one.

    Examples
    --------
    >>> count(1, "batch", "batches"), count(3, "row")
    ('1 batch', '3 rows')
    """
    return f"{number} {noun if number == 1 else nouns or noun + 's'}"


def plain(text: str) -> str:
    """Return text without control characters: a name in a file must not steer the terminal."""
    return "".join(c if c.isprintable() or c == "\N{NO-BREAK SPACE}" else "?" for c in text)


def say_line(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)
