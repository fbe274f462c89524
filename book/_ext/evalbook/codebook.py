"""The directive `{codebook}`: the tables of the county study, written from their contracts."""

from __future__ import annotations

from docutils import nodes
from docutils.nodes import Node
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from evalkit.data.county import OPTIONAL, TABLES

from . import store, tables


class Codebook(SphinxDirective):
    def run(self) -> list[Node]:
        store.add(self.env, "generated", self.name)
        return [section for table in TABLES for section in self.table(table)]

    def table(self, table: str) -> list[Node]:
        contract = TABLES[table]
        title = f"{contract.zh} {table}"
        name = nodes.fully_normalize_name(f"codebook {table}")
        section = nodes.section("", nodes.title(title, title), names=[name])
        self.state.document.note_implicit_target(section, section)
        key = " + ".join(contract.key)
        optional = " May be absent." if table in OPTIONAL else ""
        section += nodes.paragraph("", f"{contract.label}. Key: ", nodes.literal(key, key), ".")
        section[-1] += nodes.Text(optional)
        frame = contract.codebook().drop(columns=["table", "key"])
        rows = [
            [tables.code(row.pop("column")), *map(str, row.values())]
            for row in frame.to_dict("records")
        ]
        section += tables.build(["column", *frame.columns[1:]], rows, ["codebook"])
        for rule in contract.rules:
            columns = " + ".join(rule.columns)
            section += nodes.paragraph("", "", nodes.literal(columns, columns))
            section[-1] += nodes.Text(f": {rule.says}.")
        return [section]


def setup(app: Sphinx) -> None:
    app.add_directive("codebook", Codebook)
