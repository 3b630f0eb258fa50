"""A page taken apart, and small examples of what it is made from."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

EMPTY = {"meta", "input", "br", "hr", "col", "circle", "line", "path", "rect", "use"}


class Page(HTMLParser):
    """A page taken apart: tags, ids, links, headings, tables; tags that do not match are an error."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.ids, self.links, self.headings, self.tables = [], [], [], [], [], []
        self.source = page
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        self.ids += [attributes["id"]] if "id" in attributes else []
        for name in ("aria-labelledby", "href", "clip-path", "for"):
            found = attributes.get(name, "").replace("url(", "").replace(")", "").split()
            self.links += [link.removeprefix("#") for link in found]
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag in ("h1", "h2", "h3"):
            self.headings.append([tag, ""])
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        assert tag in EMPTY, tag
        self.handle_starttag(tag, attributes)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if self.open and self.open[-1] in ("script", "style"):
            return
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += text
        for heading in self.headings[-1:]:
            if heading[0] in self.open:
                heading[1] += text

    @property
    def main(self):
        return self.source[self.source.index("<main") : self.source.index("</main>")]

    @property
    def words(self):
        """What is to be read, with its tags taken out."""
        return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", self.main)).replace("&amp;", "&").replace("&lt;", "<")

    def row(self, name):
        """Return the first row of a table that begins so."""
        return next(row for table in self.tables for row in table if row[0] == name)


def example(name):
    return json.loads((Path(__file__).parent / f"report_{name}.json").read_text(encoding="utf-8"))
