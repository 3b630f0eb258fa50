"""Names and comments that are safe to print into a program, whatever a user called a thing.

A name may be any text. What becomes of it in a program is an ASCII identifier that is no keyword and
hides nothing; what becomes of it in a comment cannot leave its line.
"""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata
from collections.abc import Iterable

LONGEST = 30  # letters of an identifier

_TAKEN = {*keyword.kwlist, *keyword.softkwlist, *dir(builtins), "np", "numpy", "math", "step", "self"}
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")


def identifier(text: str) -> str:
    """Return an ASCII identifier that resembles ``text``; the same for some different texts.

    Examples
    --------
    >>> [identifier(text) for text in ("W₁", "dγ", "dz1₂", "hidden layer", "2nd", "class", "__import__", "")]
    ['W1', 'dgamma', 'dz1_2', 'hidden_layer', 'v_2nd', 'class_', 'import_', 'v']
    """
    text = re.sub(r"(\d)([₀-₉]+)", r"\1_\2", text[: 4 * LONGEST]).translate(_SUBSCRIPTS)
    letters = [c if c.isascii() and c.isalnum() else _greek(c) for c in unicodedata.normalize("NFKC", text)]
    plain = re.sub(r"_+", "_", "".join(letters))[:LONGEST].strip("_")
    if not plain or plain[0].isdigit():
        plain = f"v_{plain}".rstrip("_")
    return f"{plain}_" if plain in _TAKEN else plain


def _greek(char: str) -> str:
    name = unicodedata.name(char, "").split()
    if name[:1] == ["GREEK"] and "LETTER" in name:
        letter = name[name.index("LETTER") + 1]
        return letter.capitalize() if "CAPITAL" in name else letter.lower()
    return "_"


class Names:
    """Gives out identifiers, each once.

    Parameters
    ----------
    reserved : iterable of str
        Identifiers that are not given out.

    Examples
    --------
    >>> names = Names(["rng"])
    >>> [names.take(text) for text in ("W1", "W1", "W_1", "rng", "h")]
    ['W1', 'W1_2', 'W_1', 'rng_2', 'h']
    """

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self._taken = set(reserved)

    def take(self, text: str) -> str:
        """Return an identifier for ``text`` that nobody else has."""
        plain = name = identifier(text)
        number = 1
        while name in self._taken:
            number += 1
            name = f"{plain.rstrip('_')}_{number}"
        self._taken.add(name)
        return name


def comment(text: str, width: int = 90) -> str:
    r"""Return ``text`` as it can stand in a comment or a docstring: on one line, at most ``width`` long.

    Examples
    --------
    >>> comment("loss\nimport os")
    'loss import os'
    """
    plain = "".join(c if c.isprintable() else " " for c in text[: 4 * width])
    plain = plain.replace("\\", "/").replace('"', "'")  # neither ends a docstring
    return plain if len(plain) <= width else f"{plain[: width - 1]}…"
