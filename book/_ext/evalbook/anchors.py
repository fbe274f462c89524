"""Anchors `claim-<key>` on the code cells that make the claims."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

from . import claims, register, store

CALL = re.compile(r"""\b(?:ek|evalkit)\.claim\(\s*(?P<f>f?)(?P<quote>["'])(?P<key>.+?)(?P=quote)""")
PRINTED = re.compile(r"^(\w+) = .*\[\w+\]$", re.MULTILINE)  # as `ek.claim` shows a claim
NAMED = r"""["']{0}["']|\b(?=\d){0}\b"""  # a text or a number that fills an f-string


def keys_made(source: str, known: Iterable[str]) -> list[str]:
    """The claims a cell can make; an f-string stands for every known key that it fits."""
    return list(dict.fromkeys(key for key, _ in _calls(source, known)))


def makers(cells: Iterable[tuple[str, str]], known: Iterable[str]) -> dict[str, int]:
    """The number of the cell that makes each claim; a cell is its source and what it printed.

    Several f-strings may fit a key. The cell that printed the claim made it; else one that names
    what fills the f-string comes before the others, then more letters of its own, then the first.
    """
    found: dict[str, tuple[tuple[int, int], int]] = {}
    for number, (source, printed) in enumerate(cells):
        told = [(key, (3, 0)) for key in PRINTED.findall(printed) if key in known]
        for key, rank in [*_calls(source, known), *told]:
            if key not in found or rank > found[key][0]:
                found[key] = rank, number
    return {key: number for key, (_, number) in found.items()}


def _calls(source: str, known: Iterable[str]) -> Iterator[tuple[str, tuple[int, int]]]:
    for call in CALL.finditer(source):
        if not call["f"]:
            yield call["key"], (2, 0)
            continue
        pieces = re.split(r"(\{[^}]*\})", call["key"])
        pattern = "".join("(.*)" if p.startswith("{") else re.escape(p) for p in pieces)
        letters = sum(len(piece) for piece in pieces if not piece.startswith("{"))
        for key in known:
            if fits := re.fullmatch(pattern, key):
                filled = [re.escape(piece) for piece in fits.groups() if piece]
                named = all(re.search(NAMED.format(piece), source) for piece in filled)
                yield key, (int(named), letters)


def sources(path: Path) -> list[tuple[str, str]]:
    """The code of each cell and what it printed; nothing for a cell of text."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [
        ("".join(cell["source"]), "".join("".join(o.get("text", "")) for o in cell["outputs"]))
        if cell["cell_type"] == "code"
        else ("", "")
        for cell in cells
    ]


def mark(app: Sphinx, doctree: nodes.document) -> None:
    env = app.env
    path = Path(env.doc2path(env.docname))
    if path.suffix != ".ipynb":
        return
    found = register.of(env)
    for file in found.files:
        env.note_dependency(str(file))
    known = [key for key, claim in found.claims.items() if claim.notebook == path.stem]
    made = makers(sources(path), known)
    for cell in doctree.findall(nodes.container):
        if cell.get("nb_element") != "cell_code":
            continue
        for key in [key for key, number in made.items() if number == cell["cell_index"]]:
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
