"""Mends the finished pages: no axe violations, no script twice, nothing a page does not need."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

UNWANTED = ("thebe", "fontawesome")


def _name(script: object) -> str:
    return str(getattr(script, "filename", None) or script)


def _body(script: object) -> str:
    return str(getattr(script, "attributes", {}).get("body", ""))


def prune_assets(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Drop repeated scripts and style sheets and those of parts that the book does not offer."""
    for kind in ("script_files", "css_files"):
        seen: set[tuple[str, str]] = set()
        kept = []
        for item in context.get(kind, []):
            key = (_name(item), _body(item))
            text = (key[0] + key[1]).lower()
            if key in seen or any(word in text for word in UNWANTED):
                continue
            seen.add(key)
            kept.append(item)
        context[kind] = kept


def _once(html: str) -> str:
    """Inline scripts without attributes declare constants: the same one twice is an error."""
    seen: set[str] = set()

    def keep_first(script: re.Match[str]) -> str:
        repeated = script[1] in seen
        seen.add(script[1])
        return "" if repeated and len(script[1]) < 400 else script[0]

    return re.sub(r"<script>([^<]*)</script>", keep_first, html)


def mend(html: str) -> str:
    """One page, from what the theme writes to what the tests and axe accept."""
    # Icons come from the style sheet; the script that draws them again weighs 1.5 MB. A preloaded
    # font cannot be read from a folder, and the browser fetches it anyway when an icon needs it.
    html = re.sub(r"<script[^>]*/fontawesome/[^>]*></script>\s*", "", html)
    html = re.sub(r'<link rel="preload"[^>]*\bas="font"[^>]*>\s*', "", html)
    # Live code execution is not offered; its settings name another host.
    html = re.sub(r'<script type="text/x-thebe-config">.*?</script>\s*', "", html, flags=re.DOTALL)
    html = re.sub(r"<script>kernelName = [^<]*</script>\s*", "", html)
    html = _once(html)
    # An empty header cell announces nothing: pandas writes one above every index.
    html = re.sub(r"<th([^>]*)>\s*(?:<p>\s*</p>\s*)?</th>", r"<td\1></td>", html)
    # A table wider than its column scrolls; the keyboard must reach it.
    html = html.replace(
        '<div class="pst-scrollable-table-container">',
        '<div class="pst-scrollable-table-container" tabindex="0">',
    )
    great_table = r'<div class="evalkit-table[^>]*>\s*<div id="[^"]*"'
    html = re.sub(f"({great_table})(?! tabindex)", r'\1 tabindex="0"', html)
    html = re.sub(
        r'<div class="output text_html">(?!\s*<div class="evalkit-table)',
        '<div class="output text_html" tabindex="0">',
        html,
    )
    html = html.replace(
        '<div class="math notranslate nohighlight">',
        '<div class="math notranslate nohighlight" tabindex="0">',
    )
    # Labels that differ from the visible text of their button.
    html = re.sub(
        r'(<button class="[^"]*\bsearch-button\b[^>]*?)\s+aria-label="[^"]*"', r"\1", html
    )
    html = html.replace('<summary aria-label="Toggle hidden content">', "<summary>")
    # `doc-biblioentry` is out of use, and a list wants list items.
    html = html.replace('role="doc-biblioentry"', 'role="listitem"')
    # The sidebar is a landmark; say which.
    return html.replace(
        '<div class="bd-sidebar-primary',
        '<div role="complementary" aria-label="Contents" class="bd-sidebar-primary',
    )


def mend_all(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    for path in sorted(Path(app.outdir).rglob("*.html")):
        if "_static" in path.parts:
            continue
        before = path.read_text(encoding="utf-8")
        after = mend(before)
        if after != before:
            path.write_text(after, encoding="utf-8")


def setup(app: Sphinx) -> None:
    app.connect("html-page-context", prune_assets, priority=900)
    app.connect("build-finished", mend_all)
