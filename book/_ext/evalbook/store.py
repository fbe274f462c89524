"""What the pages say, kept in the Sphinx environment per page, so that warm builds know it too."""

from __future__ import annotations

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


def table(env: BuildEnvironment, name: str) -> dict[str, list[tuple[str, ...]]]:
    """The store `name`: page -> rows. It follows pages that are removed or read again."""
    stores = env.__dict__.setdefault("evalbook_store", {})
    found: dict[str, list[tuple[str, ...]]] = stores.setdefault(name, {})
    return found


def add(env: BuildEnvironment, name: str, *row: str) -> None:
    table(env, name).setdefault(env.docname, []).append(row)


def purge(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    for rows in env.__dict__.get("evalbook_store", {}).values():
        rows.pop(docname, None)


def merge(app: Sphinx, env: BuildEnvironment, docnames: set[str], other: BuildEnvironment) -> None:
    for name, pages in other.__dict__.get("evalbook_store", {}).items():
        mine = table(env, name)
        mine.update({page: rows for page, rows in pages.items() if page in docnames})
