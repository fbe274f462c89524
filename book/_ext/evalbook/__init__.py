"""What the book needs beyond Jupyter Book: claims, anchors, badges, Chinese search, clean pages.

`register` reads `results/*.json`; `claims` prints its numbers in prose and fails the build over an
unknown or unused one; `forest` draws effects with their intervals; `anchors` marks the cells that
made them; `tiers` draws the evidence badges; `exhibits`, `codebook`, `status` and `benchmarks` are
generated pages; `api` draws the estimator cards; `search` indexes Chinese; `pages` mends the HTML.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

from . import (
    anchors,
    api,
    benchmarks,
    claims,
    codebook,
    exhibits,
    forest,
    pages,
    register,
    search,
    status,
    tiers,
)

PARTS = (
    register,
    claims,
    anchors,
    tiers,
    exhibits,
    forest,
    codebook,
    status,
    benchmarks,
    api,
    search,
    pages,
)


def setup(app: Sphinx) -> dict[str, Any]:
    for part in PARTS:
        part.setup(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
