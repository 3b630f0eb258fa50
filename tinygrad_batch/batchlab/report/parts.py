"""What every section of the report is made of: a question, a guess, charts, one sentence, and the numbers as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .html import Html, element, join


@dataclass(frozen=True, slots=True)
class Section:
    """One section.

    Attributes
    ----------
    name : str
        Of the place in the page.
    short : str
        A word for the list of sections.
    question : str
        The heading.
    asked : str
        What is asked, and how it was measured.
    guess : tuple of (str, str), or None
        A question before the answer, and the answer.
    body : Html
        Charts, and what there is to say to them.
    found : str
        One sentence: what came out.
    limits : str
        Where it does not hold.
    tables : tuple of Html
        The numbers.
    """

    name: str
    short: str
    question: str
    asked: str
    guess: tuple[str, str] | None
    body: Html
    found: str
    limits: str = ""
    tables: tuple[Html, ...] = ()

    def html(self, place: int, open_numbers: bool) -> Html:
        """Return the section as HTML.

        Parameters
        ----------
        place : int
            Its number.
        open_numbers : bool
            Whether the tables are shown at once, because there are no charts.
        """
        title = f"{self.name}-question"
        return element(
            "section",
            element("h2", element("span", str(place), class_="place"), " ", self.question, id=title),
            element("p", self.asked, class_="asked"),
            guess(*self.guess) if self.guess else Html(""),
            self.body,
            element("p", element("strong", self.found), class_="found") if self.found else Html(""),
            element("p", self.limits, class_="limits") if self.limits else Html(""),
            numbers(self.tables, open_numbers),
            id=self.name,
            aria_labelledby=title,
        )


def guess(question: str, answer: str) -> Html:
    """Return a question whose answer is folded away."""
    return element(
        "details",
        element("summary", element("b", "Guess first."), " ", question),
        element("p", answer),
        class_="guess",
    )


def numbers(tables: Sequence[Html], opened: bool = False) -> Html:
    """Return tables, folded away."""
    if not tables:
        return Html("")
    return element("details", element("summary", "The numbers"), *tables, class_="numbers", open=opened)


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Html:
    """Return a table; the first cell of each row is its heading.

    Examples
    --------
    >>> table("Rows", ["size", "loss"], [["10", "0.5"]]).count("scope=")
    3
    """
    if not rows:
        return Html("")
    return element(
        "div",
        element(
            "table",
            element("caption", caption),
            element("thead", element("tr", *[element("th", cell, scope="col") for cell in head])),
            element(
                "tbody",
                *[
                    element("tr", element("th", row[0], scope="row"), *[element("td", cell) for cell in row[1:]])
                    for row in rows
                ],
            ),
        ),
        class_="scroll",
        tabindex=0,
        role="region",
        aria_label=caption,
    )


def figure(title: str, says: str, picture: Html) -> Html:
    """Return a picture with its title and how to read it; nothing where there is no picture."""
    if not picture:
        return picture
    return element(
        "figure", element("figcaption", element("b", title), " ", element("span", says)), picture, class_="chart"
    )


def charts(*figures: Html) -> Html:
    """Return charts beside each other; nothing where there are none."""
    return element("div", *figures, class_="charts") if any(figures) else Html("")


def beside(picture: Html, *paragraphs: str) -> Html:
    """Return one chart with what there is to say beside it, or the words alone."""
    said = element("div", *[paragraph(one) for one in paragraphs])
    return element("div", picture, said, class_="charts beside") if picture else said


def step(heading: str, *paragraphs: str) -> Html:
    """Return a heading within a section, and what is said under it."""
    return join([element("h3", heading), *[paragraph(one) for one in paragraphs]])


def paragraph(words: str) -> Html:
    """Return a paragraph; nothing where there is nothing to say."""
    return element("p", words) if words else Html("")


def bar(share: float, colour: str) -> Html:
    """Return a bar for the cell of a table, from nothing to the whole width."""
    return element(
        "svg",
        element("rect", width=f"{100 * share:.1f}", height=10, rx=2, fill=colour),
        viewBox="0 0 100 10",
        preserveAspectRatio="none",
        class_="bar",
        aria_hidden="true",
    )
