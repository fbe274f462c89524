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
        section += nodes.paragraph(
            "", f"{contract.label}. Key: ", tables.code(key), nodes.Text(f".{optional}")
        )
        rows = [
            [
                tables.code(row["column"]),
                f"{row['holds']} {row['中文']}",
                " ".join(filter(None, (row["kind"], row["unit"] and f"({row['unit']})"))),
                "; ".join(
                    filter(None, (row["allowed"], row["refers to"] and f"in {row['refers to']}"))
                ),
                row["may be empty"],
            ]
            for row in contract.codebook().to_dict("records")
        ]
        section += tables.build(
            ["column", "holds", "kind (unit)", "allowed", "may be empty"], rows, ["codebook"]
        )
        for rule in contract.rules:
            columns = tables.code(" + ".join(rule.columns))
            section += nodes.paragraph("", "", columns, nodes.Text(f": {rule.says}."))
        return [section]


def setup(app: Sphinx) -> None:
    app.add_directive("codebook", Codebook)
