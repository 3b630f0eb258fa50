"""What the folklore says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ... import words
from ..html import Html, element
from ..parts import Section

BADGES = {
    "holds": ("parameter", "✓", "成立"),
    "holds if": ("kept", "◐", "有条件成立"),
    "does not hold here": ("backward", "✗", "此处不成立"),
}


def claims(said: Sequence[Mapping[str, Any]]) -> Section:
    """Return the section on what is said about batches, and what came of it here."""
    counts = {verdict: sum(one["verdict"] == verdict for one in said) for verdict in BADGES}
    parts = [f"{count} {_verb(verdict, count)}" for verdict, count in counts.items() if count]
    return Section(
        name="claims",
        short="Folklore",
        question="What does the folklore say?",
        asked="Sentences that are often heard about batches, and what the numbers on this page say to each. Another "
        "net and other data may answer otherwise.",
        guess=None,
        body=element("ol", *[_claim(one) for one in said], class_="claims"),
        found=f"Of {words.plural(len(said), 'sentence')} {words.listed(parts)}.",
    )


def _verb(verdict: str, count: int) -> str:
    if count == 1:
        return verdict
    return {"holds": "hold", "holds if": "hold under a condition", "does not hold here": "do not hold here"}[verdict]


def _claim(one: Mapping[str, Any]) -> Html:
    colour, mark, chinese = BADGES.get(one["verdict"], ("data", "?", ""))
    return element(
        "li",
        element(
            "p",
            element("span", element("span", mark, aria_hidden="true"), " ", one["verdict"], class_=f"badge {colour}"),
            element("span", chinese, lang="zh", class_="small"),
        ),
        element("p", one["en"], class_="claim"),
        element("p", one["zh"], lang="zh", class_="chinese"),
        element("p", one["because"], class_="because"),
        value=one["number"],
    )
