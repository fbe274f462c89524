"""Cards from docstrings: one line an entry, and references by a function's short name."""

from __future__ import annotations

import re
from typing import Any

from docutils.nodes import Node
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

ENTRY = re.compile(
    r"\*\*(Estimand|Assumptions|Estimator|Contribution|Reference|Checked against|Fails when)\b"
)


def separate_entries(
    app: Sphinx, what: str, name: str, obj: object, options: Any, lines: list[str]
) -> None:
    """Each entry of a card (Estimand, Assumptions, ...) is a paragraph of its own."""
    spaced: list[str] = []
    for line in lines:
        if ENTRY.match(line) and spaced and spaced[-1].strip():
            spaced.append("")
        spaced.append(line)
    lines[:] = spaced


def find_by_tail(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, contnode: Node
) -> Node | None:
    """`regression` or `core.panel.Panel` means the one documented object of that last name."""
    if node.get("refdomain") != "py":
        return None
    tail = "." + node["reftarget"].rsplit(".", 1)[-1]
    objects = env.get_domain("py").data["objects"]
    found = [(name, entry) for name, entry in objects.items() if name.endswith(tail)]
    if len(found) != 1 or not found[0][0].startswith("evalkit."):
        return None
    name, entry = found[0]
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, name)


def setup(app: Sphinx) -> None:
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", separate_entries, priority=400)
    app.connect("missing-reference", find_by_tail)
