"""Anchors `claim-<key>` on the code cells that make the claims."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

from . import claims, register, store

CALL = re.compile(r"""\b(?:ek|evalkit)\.claim\(\s*(?P<f>f?)(?P<quote>["'])(?P<key>.+?)(?P=quote)""")


def keys_made(source: str, known: Iterable[str]) -> list[str]:
    """The claims a cell makes; a key written as an f-string stands for the known keys it fits."""
    made: list[str] = []
    for call in CALL.finditer(source):
        if not call["f"]:
            made.append(call["key"])
            continue
        pattern = "".join(
            ".+" if piece.startswith("{") else re.escape(piece)
            for piece in re.split(r"(\{[^}]*\})", call["key"])
        )
        made.extend(key for key in known if re.fullmatch(pattern, key))
    return list(dict.fromkeys(made))


def sources(path: Path) -> list[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells]


def mark(app: Sphinx, doctree: nodes.document) -> None:
    env = app.env
    path = Path(env.doc2path(env.docname))
    if path.suffix != ".ipynb":
        return
    found = register.of(env)
    for file in found.files:
        env.note_dependency(str(file))
    known = [key for key, claim in found.claims.items() if claim.notebook == path.stem]
    cells = sources(path)
    seen: set[str] = set()
    for cell in doctree.findall(nodes.container):
        if cell.get("nb_element") != "cell_code":
            continue
        for key in keys_made(cells[cell["cell_index"]], known):
            if key in seen:
                continue
            seen.add(key)
            # Inside the source block: a browser opens a folded cell when the link is followed.
            first = cell.children[0] if cell.children else None
            place = first if _is_source(first) else cell
            ids = [claims.anchor(key)]
            place.insert(0, nodes.target("", "", ids=ids, classes=["claim-anchor"]))
            store.add(env, "anchors", key)


def _is_source(node: nodes.Node | None) -> bool:
    return isinstance(node, nodes.Element) and node.get("nb_element") == "cell_code_source"


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", mark)
