"""Plain tables for the generated pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from docutils import nodes

Cell = str | nodes.Node | Sequence[nodes.Node]


def code(text: str) -> nodes.Node:
    return nodes.literal(text, text)


def build(
    headers: Sequence[str], rows: Iterable[Sequence[Cell]], classes: Sequence[str] = ()
) -> nodes.table:
    group = nodes.tgroup(cols=len(headers))
    group.extend(nodes.colspec(colwidth=1) for _ in headers)
    group += nodes.thead("", _row(headers))
    group += nodes.tbody("", *[_row(row) for row in rows])
    return nodes.table("", group, classes=["generated", *classes])


def _row(cells: Sequence[Cell]) -> nodes.row:
    return nodes.row("", *[nodes.entry("", _paragraph(cell)) for cell in cells])


def _paragraph(cell: Cell) -> nodes.paragraph:
    if isinstance(cell, str):
        return nodes.paragraph(cell, cell)
    content = [cell] if isinstance(cell, nodes.Node) else list(cell)
    return nodes.paragraph("", "", *content)
