"""The languages in which a batch is told; one table each, and nothing else that depends on one.

To add a language is to add a file with its table, and a name here.
"""

from __future__ import annotations

from typing import Literal, get_args

from ..errors import ArgumentError
from .chinese import CHINESE
from .english import ENGLISH
from .language import Language

__all__ = ["Language", "LanguageName", "language"]

LanguageName = Literal["en", "zh"]
_TABLES = {table.code: table for table in (ENGLISH, CHINESE)}


def language(lang: LanguageName) -> Language:
    """Return the table of a language.

    Parameters
    ----------
    lang : {"en", "zh"}

    Raises
    ------
    ArgumentError
        If there is no such table.

    Examples
    --------
    >>> language("zh").sentence("tanh", "forward")
    '每个元素被压到 −1 与 1 之间。'
    """
    if lang not in _TABLES:
        raise ArgumentError(f"lang={lang!r}", f"Expected one of {', '.join(map(repr, get_args(LanguageName)))}")
    return _TABLES[lang]
