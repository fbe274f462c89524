"""The role `{claim}`: a number from the register, as a link to the cell that made it.

`{claim}`key`` prints the rounded value; `key.se`, `key.interval` and `key.unit` its other parts.
An unknown claim, a part that a claim has not, and a claim that no page uses are warnings, which the
build turns into errors.
"""

from __future__ import annotations

from docutils import nodes
from docutils.nodes import Node, system_message
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole
from sphinx.util.nodes import make_refnode

from . import register, store, tiers

log = logging.getLogger(__name__)


class ClaimRole(SphinxRole):
    def run(self) -> tuple[list[Node], list[system_message]]:
        found = register.of(self.env)
        for path in found.files:
            self.env.note_dependency(str(path))
        key, part = found.split(self.text.strip())
        store.add(self.env, "uses", key)
        claim = found.claims.get(key)
        if claim is None:
            return self.refuse(f"unknown claim {key!r}: no results/*.json holds it")
        text = claim.text(part)
        if text is None:
            return self.refuse(f"claim {key!r} has no {part}")
        link = addnodes.pending_xref(
            "",
            nodes.inline(text, text, classes=["claim-value"]),
            refdomain="",
            reftype="claim",
            reftarget=key,
            refwarn=True,
            refexplicit=True,
            refdoc=self.env.docname,
            claimtitle=f"{tiers.TIERS[claim.provenance].label}; made in {claim.notebook}",
        )
        return [link], []

    def refuse(self, message: str) -> tuple[list[Node], list[system_message]]:
        store.add(self.env, "refused", message)
        log.warning(message, location=self.get_location(), type="evalbook", subtype="claim")
        return [nodes.problematic(self.rawtext, self.rawtext)], []


def link_to_cell(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, contnode: Node
) -> Node | None:
    if node["reftype"] != "claim":
        return None
    for page, rows in store.table(env, "anchors").items():
        if (node["reftarget"],) in rows:
            return make_refnode(
                app.builder,
                node["refdoc"],
                page,
                anchor(node["reftarget"]),
                contnode,
                node["claimtitle"],
            )
    return None


def anchor(key: str) -> str:
    return f"claim-{key}"


def report(app: Sphinx, env: BuildEnvironment) -> None:
    """Every build, also a warm one, says what is wrong with the register as a whole."""
    found = register.of(env)
    for problem in found.problems:
        log.warning(problem, type="evalbook", subtype="claim")
    used = {row[0] for rows in store.table(env, "uses").values() for row in rows}
    for key, claim in found.claims.items():
        if key not in used:
            log.warning(
                f"unused claim {key!r} of {claim.notebook}: no page prints it",
                type="evalbook",
                subtype="claim",
            )


def reread_refused(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """A page with a refused claim is read again, so that a second build fails like the first."""
    return [page for page in store.table(env, "refused") if page in env.found_docs]


def setup(app: Sphinx) -> None:
    app.add_role("claim", ClaimRole())
    app.connect("env-purge-doc", store.purge)
    app.connect("env-merge-info", store.merge)
    app.connect("env-get-outdated", reread_refused)
    app.connect("env-check-consistency", report)
    app.connect("missing-reference", link_to_cell)
