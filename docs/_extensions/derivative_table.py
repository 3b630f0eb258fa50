"""The directive ``{derivative-table}``: one section with one table for each file of operations."""

from __future__ import annotations

from typing import Any

from derivatives import Derivative, Entry, entries, groups, summary
from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from tinygrad_batch.op import Op

ENTRIES = {entry.name: entry for entry in entries()}
HEADERS = ("operation", "value and derivatives", "keeps")


class DerivativeTable(SphinxDirective):
    """Write the table of derivatives into the page."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # the table is the package's, not this page's
        return [self.section(module, entries) for module, entries in groups().items()]

    def section(self, module: str, entries: list[Entry]) -> nodes.section:
        title = module.rpartition(".")[2].replace("_", " ").capitalize()
        section = nodes.section(ids=[f"table-{nodes.make_id(title)}"], names=[title.lower()])
        section += nodes.title(title, title)
        section += nodes.paragraph(text=summary(module).replace("`", ""))
        smooth = [entry for entry in entries if entry.derivatives]
        if smooth:
            section += self.table(smooth)
        flat = [entry for entry in entries if not entry.derivatives]
        if flat:
            line = nodes.paragraph("", "No derivative: ")
            for i, entry in enumerate(flat):
                line += [nodes.Text(", ")] if i else []
                line += self.link(entry)
            section += line
        for entry in smooth:
            for derivative in entry.derivatives:
                if derivative.formula is None:
                    section += nodes.paragraph("", "", nodes.Text("The rule of "), self.link(entry), nodes.Text(":"))
                    section += nodes.literal_block(derivative.code, derivative.code, language="python")
        return section

    def table(self, entries: list[Entry]) -> nodes.container:
        group = nodes.tgroup(cols=len(HEADERS))
        group += [nodes.colspec(colwidth=width) for width in (34, 56, 10)]
        group += nodes.thead("", row([nodes.paragraph(text=header) for header in HEADERS]))
        group += nodes.tbody("", *[self.row(entry) for entry in entries])
        table = nodes.table("", group, classes=["derivatives"])
        return nodes.container("", table, classes=["table-wrapper"])

    def row(self, entry: Entry) -> nodes.row:
        name = nodes.paragraph("", "", self.link(entry))
        meaning = nodes.paragraph(entry.doc, entry.doc, classes=["meaning"])
        lines = [code(entry.formula), *[code(written(derivative)) for derivative in entry.derivatives]]
        keeps = code(", ".join(entry.keeps)) if entry.keeps else nodes.paragraph(text="–")
        return row([[name, meaning], lines, keeps])

    def link(self, entry: Entry) -> pending_xref:
        target = f"{entry.module}.{entry.name}"
        xref = pending_xref(
            "", refdomain="py", reftype="func", reftarget=target, refexplicit=True, refdoc=self.env.docname
        )
        xref += nodes.strong("", entry.name)
        return xref


def written(derivative: Derivative) -> str:
    return f"d{derivative.input} = {derivative.formula or '…  (code below)'}"


def code(text: str) -> nodes.paragraph:
    return nodes.paragraph("", "", nodes.literal(text=text))


def row(cells: list[Any]) -> nodes.row:
    return nodes.row("", *[nodes.entry("", *(cell if isinstance(cell, list) else [cell])) for cell in cells])


def show_formulas(app: Sphinx, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
    """Replace the docstring of an operation, in the reference, by what the table says about it."""
    op = getattr(found, "op", None)
    if not isinstance(op, Op):
        return
    entry = ENTRIES[op.name]
    shown = [entry.formula, *[written(d) for d in entry.derivatives if d.formula]]
    meaning = op.doc if entry.derivatives or "no gradient" in op.doc else f"{op.doc}; no gradient"
    lines[:] = [f"{meaning}.", "", ".. code-block:: text", "", *[f"   {line}" for line in shown], ""]


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", show_formulas, priority=900)  # after numpydoc
    app.add_directive("derivative-table", DerivativeTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
