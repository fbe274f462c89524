"""Evidence badges: how a statement is known, in one word and one sentence.

The role `{tier}`real`` draws the badge in a line; the directive of the same name draws it with its
sentence. A notebook whose text has neither gets the directive under its title, from its register.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import ClassVar

from docutils import nodes
from docutils.nodes import Node, system_message
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole
from sphinx.util.nodes import make_refnode

from . import register

log = logging.getLogger(__name__)
LABEL = "evidence-tiers"


@dataclass(frozen=True)
class Tier:
    label: str
    sentence: str


TIERS = {
    "real": Tier(
        "Real data",
        "Computed here from public records; anyone can recompute it.",
    ),
    "documented": Tier(
        "Documented",
        "Read in a published document and cited row by row; "
        "it says what was decided or reported, not what it did to pupils.",
    ),
    "synthetic": Tier(
        "Synthetic",
        "Computed on simulated outcomes whose truth is known; "
        "it shows what a method can do, nothing about any place.",
    ),
    "restricted": Tier(
        "Restricted data",
        "Computed on records that may not be published; only their holder can recompute it.",
    ),
}


def badge(tier: str, docname: str) -> Node:
    text = TIERS[tier].label
    return addnodes.pending_xref(
        "",
        nodes.inline(text, text, classes=["tier", f"tier-{tier}"]),
        refdomain="",
        reftype="tier",
        reftarget=LABEL,
        refwarn=True,
        refexplicit=True,
        refdoc=docname,
        tiertitle=TIERS[tier].sentence,
    )


def note(tier: str, docname: str) -> nodes.Element:
    sentence = TIERS[tier].sentence
    return nodes.paragraph(
        "", "", badge(tier, docname), nodes.Text(" "), nodes.Text(sentence), classes=["tier-note"]
    )


class TierRole(SphinxRole):
    def run(self) -> tuple[list[Node], list[system_message]]:
        tier = self.text.strip()
        if tier not in TIERS:
            message = f"unknown tier {tier!r}: use {', '.join(TIERS)}"
            log.warning(message, location=self.get_location())
            return [nodes.problematic(self.rawtext, self.rawtext)], []
        return [badge(tier, self.env.docname)], []


class TierDirective(SphinxDirective):
    required_arguments = 1
    option_spec: ClassVar = {}

    def run(self) -> list[Node]:
        tier = self.arguments[0].strip()
        if tier not in TIERS:
            raise self.error(f"unknown tier {tier!r}: use {', '.join(TIERS)}")
        return [note(tier, self.env.docname)]


class WhenDirective(SphinxDirective):
    """What is said only where the page's outcomes are of one tier.

    A chapter of the county study runs on simulated or on restricted records; sentences and claims
    about the truth belong to the first alone. `:of:` names another page whose tier decides.
    """

    required_arguments = 1
    has_content = True
    option_spec: ClassVar = {"of": directives.unchanged_required}

    def run(self) -> list[Node]:
        tier = self.arguments[0].strip()
        if tier not in TIERS:
            raise self.error(f"unknown tier {tier!r}: use {', '.join(TIERS)}")
        page = self.options.get("of", PurePosixPath(self.env.docname).name)
        if register.of(self.env).provenance.get(page) != tier:
            return []
        return self.parse_content_to_nodes(allow_section_headings=True)


def ensure(app: Sphinx, doctree: nodes.document) -> None:
    """No chapter without its badge: what the register says stands under the title."""
    docname = app.env.docname
    tier = register.of(app.env).provenance.get(PurePosixPath(docname).name, "")
    if not docname.startswith("notebooks/") or tier not in TIERS:
        return
    if any(x["reftype"] == "tier" for x in doctree.findall(addnodes.pending_xref)):
        return
    for title in doctree.findall(nodes.title):
        title.parent.insert(title.parent.index(title) + 1, note(tier, docname))
        return


def link_to_explanation(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, contnode: Node
) -> Node | None:
    if node["reftype"] != "tier":
        return None
    labels = env.get_domain("std").data["anonlabels"]
    if LABEL not in labels:
        return None
    page, anchor = labels[LABEL]
    return make_refnode(app.builder, node["refdoc"], page, anchor, contnode, node["tiertitle"])


def setup(app: Sphinx) -> None:
    app.add_role("tier", TierRole())
    app.add_directive("tier", TierDirective)
    app.add_directive("when", WhenDirective)
    app.connect("doctree-read", ensure)
    app.connect("missing-reference", link_to_explanation)
