"""No result is typed into prose: a decimal number there comes from a claim, or says why not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import nbfile

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    *sorted((ROOT / "notebooks").glob("*.ipynb")),
    *sorted((ROOT / "book").glob("*.md")),
]
CODE = re.compile(  # blocks of code and formulas, and page metadata; a note's text is prose
    r"""
    \A---\n.*?\n---\n
    | ^\s*(?P<fence>`{3,}|~{3,})(?:\{(?:code|math|toctree|bibliography)[^\n]*|(?!\{)[^\n]*)\n
      .*?^\s*(?P=fence)
    | <!--.*?-->
    """,
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)
MARKUP = re.compile(
    r"""
    ^\s*(?:`{3,}|~{3,}|:{3,})(?:\{[^}\n]*\})?           # the fence of a directive
    | ^\([\w-]+\)=$                                     # the target of a link
    | (?:\{[\w:-]+\})?(?P<tick>`+)[^`]+(?P=tick)        # code; roles: claims, citations, links
    | \]\([^)\s]*\) | <[a-z]+:[^>\s]*> | https?://\S+   # addresses
    | \b(?:Python|CC\ BY|version)\s\d+\.\d+(?:(?:,\s|\sand\s|\sto\s|\sor\s)\d+\.\d+)*
    | \bv?\d+(?:\.\d+){2,}\w*                           # versions with three parts
    """,
    re.VERBOSE | re.MULTILINE,
)
DECIMAL = re.compile(r"(?<![\w.])(?:\d[\d,]*)?\.\d+(?!\w|\.\d)", re.ASCII)


def decimals(text: str) -> Iterator[str]:
    """Decimal literals in the prose of a Markdown text."""
    for found in DECIMAL.finditer(MARKUP.sub(" ", CODE.sub("\n", text))):
        yield found[0]


def typed() -> Iterator[tuple[str, str]]:
    """Every (path, number) typed into prose."""
    for path in PAGES:
        if path.suffix == ".ipynb":
            cells = [c.source for c in nbfile.read(path).cells if c.cell_type == "markdown"]
        else:
            cells = [path.read_text("utf-8")]
        for text in cells:
            for number in decimals(text):
                yield path.relative_to(ROOT).as_posix(), number


def allowed() -> dict[tuple[str, str], str]:
    """What `prose_allow.txt` lets pass, with the reason."""
    lines = (ROOT / "tests/prose_allow.txt").read_text("utf-8").splitlines()
    rows = [line.split("|") for line in lines if line.strip() and not line.startswith("#")]
    return {(path.strip(), number.strip()): reason.strip() for path, number, reason in rows}


def test_a_decimal_in_prose_is_a_claim_or_says_why_not() -> None:
    assert not sorted(set(typed()) - set(allowed()))


def test_what_is_allowed_has_a_reason_and_is_used() -> None:
    assert all(len(reason) > 10 for reason in allowed().values())
    assert set(allowed()) <= set(typed())


@pytest.mark.parametrize(
    "text",
    [
        "Scores rose by 0.21 points.",
        "The coefficient is .48, a small one.",
        "It fell to 1,234.5 dollars.",
        "| math | 4.16 (8.45) |",
        "```{note}\nThe ratio was 1.27 in 1998.\n```",
        ":::{admonition} Finding\nF is 109.2 here.\n:::",
        "an interval of $[0.12, 0.30]$",
        "降低了0.35分",
        "- a list:\n  ```python\n  x = 1\n  ```\n  then 3.5 more",
    ],
)
def test_a_typed_result_is_found(text: str) -> None:
    assert list(decimals(text))


@pytest.mark.parametrize(
    "text",
    [
        "In 1994 the state gave {claim}`floor` dollars, as {cite}`papke2005` says.",
        "`alpha = 0.05` is the default.",
        "```python\nx = 0.5\n```",
        "```{code-block} python\nx = 0.5\n```",
        "Python 3.11, 3.12 or 3.13; jupyter-book 1.0.4.post1; CC BY 4.0.",
        "[the lock](files/v1.2/x) and <mailto:a@b.c>",
        "one in 30 of 550 districts, 95% intervals, in 1992-98.",
        "---\nversion: 0.1\n---\nText.",
    ],
)
def test_what_is_no_result_passes(text: str) -> None:
    assert not list(decimals(text))


def test_what_the_front_page_says_of_all_its_intervals_is_so() -> None:
    """Words that sum up a table are no claims; they are held to the claims of the table."""
    claims = {
        key: claim
        for path in (ROOT / "results").glob("*.json")
        for key, claim in json.loads(path.read_text(encoding="utf-8")).get("claims", {}).items()
    }
    page = (ROOT / "book" / "index.md").read_text(encoding="utf-8")
    table = page.partition("**The county study, on simulated outcomes**")[2].partition("*Held* is")[
        0
    ]
    keys = re.findall(r"\{claim\}`(\w+)\.interval`", table)
    clear = {key for key in keys if claims[key]["low"] > 0 or claims[key]["high"] < 0}
    assert "only those of member schools and of value-added leave zero out" in table
    assert clear == {"gs_members", "teach_rural", "teach_gap"}
    assert table.count("no upper end") == 2
    assert all(claims[f"side_{key}"]["high"] >= 0 for key in ("funding", "groups"))
    assert "Creation is assumed to do nothing" in page
    assert claims["side_creation_true"]["value"] == 0
