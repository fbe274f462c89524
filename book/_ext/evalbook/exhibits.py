"""The directives `{claims-index}` and `{figures-index}`: where every number and figure is."""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from docutils.nodes import Node
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

from . import claims, register, store, tables, tiers

NOTHING = "Nothing is registered yet."


class Placeholder(nodes.General, nodes.Element):
    """Stands for a table that can only be written when every page has been read."""


class ClaimsIndex(SphinxDirective):
    """Each claim with its value, its evidence, its cell and other pages that print it.

    `{claims-index} real documented` lists those of some tiers, so that no page is heavy.
    """

    optional_arguments = len(tiers.TIERS)

    def run(self) -> list[Node]:
        if strange := set(self.arguments) - set(tiers.TIERS):
            raise self.error(f"unknown tiers {sorted(strange)}: use {', '.join(tiers.TIERS)}")
        store.add(self.env, "generated", self.name)
        return [Placeholder("", tiers=self.arguments or list(tiers.TIERS))]


def reread(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    return [page for page in store.table(env, "generated") if page in env.found_docs]


def claims_table(app: Sphinx, docname: str, wanted: list[str]) -> Node:
    found = {k: c for k, c in register.of(app.env).claims.items() if c.provenance in wanted}
    if not found:
        return nodes.paragraph(NOTHING, NOTHING)
    cells = {row[0]: page for page, rows in store.table(app.env, "anchors").items() for row in rows}
    pages: dict[str, list[str]] = {}
    for page, rows in store.table(app.env, "uses").items():
        for row in rows:
            if page not in pages.setdefault(row[0], []):
                pages[row[0]].append(page)
    body = []
    for key, claim in found.items():
        value: list[Node] = [nodes.Text(claim.display)]
        if claim.se:
            value.append(nodes.Text(f" ({claim.se})"))
        where: Node = nodes.Text(claim.notebook)
        if key in cells:
            where = make_refnode(
                app.builder, docname, cells[key], claims.anchor(key), nodes.Text(claim.notebook)
            )
        used: list[Node] = []
        for page in sorted(set(pages.get(key, [])) - {cells.get(key)}):
            used.extend([nodes.Text(", ")] if used else [])
            used.append(page_link(app, docname, page))
        body.append(
            [
                tables.code(key),
                value,
                claim.interval or "",
                claim.unit,
                tiers.badge(claim.provenance, docname),
                where,
                used,
            ]
        )
    headers = ["Claim", "Value (SE)", "Interval", "Unit", "Evidence", "Made in", "Also printed in"]
    return tables.build(headers, body, ["claims-index"])


def page_link(app: Sphinx, docname: str, page: str) -> Node:
    title = app.env.titles[page].astext() if page in app.env.titles else page
    return make_refnode(app.builder, docname, page, "", nodes.Text(title))


class FiguresIndex(SphinxDirective):
    """The figures with what each shows and the data behind it, to download."""

    def run(self) -> list[Node]:
        store.add(self.env, "generated", self.name)
        found = register.of(self.env)
        docname = self.env.docname
        if not found.figures:
            return [nodes.paragraph(NOTHING, NOTHING)]
        body = [
            [
                exhibit(figure.name, docname),
                figure.caption,
                figure.alt,
                tiers.badge(figure.provenance, docname),
                self.download(figure.csv),
            ]
            for figure in found.figures
        ]
        headers = ["Figure", "Caption", "What it shows", "Evidence", "Data"]
        return [tables.build(headers, body, ["figures-index"])]

    def download(self, csv: str) -> Node:
        if not csv or not (Path(self.env.srcdir) / "results" / csv).is_file():
            return nodes.Text("not written")
        return addnodes.download_reference(
            "",
            "",
            nodes.literal("CSV", "CSV"),
            reftarget=f"/results/{csv}",
            refdoc=self.env.docname,
        )


def exhibit(name: str, docname: str) -> Node:
    return addnodes.pending_xref(
        "",
        tables.code(name),
        refdomain="",
        reftype="exhibit",
        reftarget=name,
        refwarn=True,
        refexplicit=True,
        refdoc=docname,
    )


def link_to_exhibit(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, contnode: Node
) -> Node | None:
    labels = env.get_domain("std").data["anonlabels"]
    if node["reftype"] != "exhibit" or node["reftarget"] not in labels:
        return None
    page, anchor = labels[node["reftarget"]]
    return make_refnode(app.builder, node["refdoc"], page, anchor, contnode)


def fill(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    for place in list(doctree.findall(Placeholder)):
        place.replace_self(claims_table(app, docname, place["tiers"]))
        resolve(app, doctree)


def resolve(app: Sphinx, doctree: nodes.document) -> None:
    """The badges in the tables came after Sphinx resolved the page's references."""
    for node in list(doctree.findall(addnodes.pending_xref)):
        content = node[0]
        assert isinstance(content, nodes.Element)
        target = tiers.link_to_explanation(app, app.env, node, content.deepcopy())
        node.replace_self(target or content)


def setup(app: Sphinx) -> None:
    app.add_node(Placeholder)
    app.add_directive("claims-index", ClaimsIndex)
    app.add_directive("figures-index", FiguresIndex)
    app.connect("env-get-outdated", reread)
    app.connect("missing-reference", link_to_exhibit)
    app.connect("doctree-resolved", fill)
