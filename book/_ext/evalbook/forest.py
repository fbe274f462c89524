"""The directive `{forest}`: effects with their intervals, drawn from the register.

The argument says what is drawn; each line of the body is `key | label`, or `key | label | truth`
where the claim `truth` is drawn hollow, as what was assumed. A number is a link to its cell. Rows
of two tiers or two units, an unknown claim and one without an interval are warnings, which the
build turns into errors. `:left:` and `:right:` say what an effect below and above zero means.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from docutils import nodes
from docutils.nodes import Node
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from . import claims, register, store, tiers
from .forest_drawing import Row, draw

log = logging.getLogger(__name__)


class Picture(nodes.General, nodes.Element):
    """Stands for the SVG, which is drawn when the cell of every claim is known."""


class ForestError(ValueError):
    """Rows that no forest may hold."""


def read(lines: Sequence[str], found: register.Register) -> list[Row]:
    """The rows of a forest: all of one tier and one unit, each with an interval."""
    rows = []
    for line in filter(str.strip, lines):
        key, *rest = (part.strip() for part in line.split("|"))
        if len(rest) not in (1, 2) or not all((key, *rest)):
            raise ForestError(f"row {line.strip()!r} is not `key | label` or `key | label | truth`")
        for one in (key, *rest[1:]):
            if one not in found.claims:
                raise ForestError(f"unknown claim {one!r}: no results/*.json holds it")
        claim, truth = found.claims[key], found.claims[rest[1]] if len(rest) == 2 else None
        if claim.low is None or claim.high is None or not claim.low < claim.high:
            raise ForestError(f"claim {key!r} has no interval to draw")
        rows.append(Row(rest[0], claim, claim.low, claim.high, truth))
    if not rows:
        raise ForestError("a forest needs rows: `key | label`")
    shown = [claim for row in rows for claim in (row.claim, row.truth) if claim]
    for what in ("provenance", "unit"):
        if len(mixed := {getattr(claim, what): claim.key for claim in shown}) > 1:
            told = " and ".join(f"{value!r} ({key})" for value, key in sorted(mixed.items()))
            raise ForestError(f"one forest mixes the {what}s {told}; draw one for each")
    return rows


class Forest(SphinxDirective):
    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar = {"left": directives.unchanged, "right": directives.unchanged}

    def run(self) -> list[Node]:
        found = register.of(self.env)
        for path in found.files:
            self.env.note_dependency(str(path))
        try:
            rows = read(list(self.content), found)
        except ForestError as error:
            store.add(self.env, "refused", str(error))
            log.warning(str(error), location=self.get_location(), type="evalbook", subtype="claim")
            return [nodes.problematic(self.block_text, self.block_text)]
        for row in rows:
            store.add(self.env, "uses", row.claim.key)
        tier, title = rows[0].claim.provenance, self.arguments[0]
        badge = nodes.paragraph("", "", tiers.badge(tier, self.env.docname))
        heading = nodes.paragraph("", "", nodes.strong(title, title))
        picture = Picture(rows=rows, sides=[self.options.get(k, "") for k in ("left", "right")])
        return [nodes.container("", badge, heading, picture, classes=["forest", f"forest-{tier}"])]


def fill(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    cells = {row[0]: page for page, rows in store.table(app.env, "anchors").items() for row in rows}
    for place in list(doctree.findall(Picture)):
        links = []
        for key in (row.claim.key for row in place["rows"]):
            if key not in cells:
                log.warning(f"no cell makes {key!r}, which a forest draws", type="evalbook")
            page = app.builder.get_relative_uri(docname, cells.get(key, docname))
            links.append(f"{page}#{claims.anchor(key)}")
        drawn = draw(place["rows"], links, *place["sides"])
        place.replace_self(nodes.raw("", drawn, format="html"))


def setup(app: Sphinx) -> None:
    app.add_node(Picture)
    app.add_directive("forest", Forest)
    app.connect("doctree-resolved", fill)
