"""The built book, page by page. `make book` runs this after building; else it is skipped.

What only a browser can tell (accessibility, overflow, what scripts load) is `make check-web`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "book" / "_build" / "html"
INDEX = HTML / "searchindex.js"
SOURCES = ("_config.yml", "_toc.yml", "book/*.md", "notebooks/*.ipynb")
PAGE_WEIGHT = 400_000  # bytes of one page's own HTML, without images and shared files
TERMS = ("生均公用经费", "县管校聘", "强镇筑基", "集团化办学", "校际差异系数")


def reason_to_skip() -> str:
    if not INDEX.is_file():
        return "SKIPPED: no book in book/_build/html; `make book` builds and checks it"
    newest = max(path.stat().st_mtime for glob in SOURCES for path in ROOT.glob(glob))
    if newest > INDEX.stat().st_mtime:
        return "SKIPPED: book/_build/html is older than its pages; `make book` renews and checks it"
    return ""


if SKIP := reason_to_skip():
    pytest.skip(SKIP, allow_module_level=True)

bs4 = pytest.importorskip("bs4")


def pages() -> list[str]:
    return sorted(
        path.relative_to(HTML).as_posix()
        for path in HTML.rglob("*.html")
        if not path.relative_to(HTML).parts[0].startswith("_") and path != HTML / "index.html"
    )


def toc() -> list[str]:
    text = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    return re.findall(r"^\s*(?:- file|root): (\S+)$", text, re.MULTILINE)


_soups: dict[str, Any] = {}


def soup(page: str) -> Any:
    if page not in _soups:
        _soups[page] = bs4.BeautifulSoup((HTML / page).read_text(encoding="utf-8"), "html.parser")
    return _soups[page]


def registers() -> Iterator[dict[str, Any]]:
    for path in sorted((ROOT / "book" / "_build" / "stage" / "results").glob("*.json")):
        yield json.loads(path.read_text(encoding="utf-8"))


def search_index() -> dict[str, Any]:
    script = INDEX.read_text(encoding="utf-8")
    index: dict[str, Any] = json.loads(script[script.index("(") + 1 : script.rindex(")")])
    return index


def chapters() -> list[str]:
    return [page for page in pages() if page.startswith("notebooks/")]


def is_ours(address: str) -> bool:
    parts = urlsplit(address)
    return not parts.netloc and parts.scheme in ("", "data")


def test_every_page_of_the_contents_is_there() -> None:
    assert [name for name in toc() if not (HTML / f"{name}.html").is_file()] == []
    assert (HTML / "index.html").is_file()


@pytest.mark.parametrize("page", pages())
def test_a_page_shows_no_error(page: str) -> None:
    assert not soup(page).select(".problematic, .system-message, .output.traceback, .output.stderr")
    printed = " ".join(output.get_text() for output in soup(page).select(".cell_output"))
    assert "Traceback (most recent call last)" not in printed


def test_no_execution_left_a_report_of_failure() -> None:
    assert list(HTML.rglob("*.err.log")) == []


@pytest.mark.parametrize("page", pages())
def test_a_page_loads_nothing_from_another_host(page: str) -> None:
    loads = [
        ("script", "src"),
        ("img", "src"),
        ("iframe", "src"),
        ("source", "src"),
        ("link", "href"),
    ]
    asked = [
        tag[name] for kind, name in loads for tag in soup(page).find_all(kind) if tag.get(name)
    ]
    assert [address for address in asked if not is_ours(address)] == []
    inline = " ".join(tag.get_text() for tag in soup(page).find_all(["script", "style"]))
    assert not re.search(r"""(?:import|src\s*=|url\(|fetch\()\s*["']?https?://""", inline)
    assert "thebe" not in inline.lower()


def test_no_style_sheet_loads_from_another_host() -> None:
    for sheet in HTML.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"""(?:@import|url\()\s*["']?(?:https?:)?//""", text), sheet.name


def test_internal_links_lead_to_a_page_and_a_place_on_it() -> None:
    broken = []
    for page in pages():
        for link in soup(page).find_all("a", href=True):
            parts = urlsplit(link["href"])
            if parts.scheme or parts.netloc:
                continue
            target = (HTML / page).parent / unquote(parts.path) if parts.path else HTML / page
            target = target.resolve()
            if not target.is_file():
                broken.append(f"{page}: {link['href']}")
            elif parts.fragment and target.suffix == ".html":
                there = soup(target.relative_to(HTML.resolve()).as_posix())
                if not there.find(id=unquote(parts.fragment)):
                    broken.append(f"{page}: {link['href']}")
    assert broken == []


@pytest.mark.parametrize("page", pages())
def test_files_that_a_page_needs_are_there(page: str) -> None:
    for kind, name in (("script", "src"), ("img", "src"), ("link", "href")):
        for tag in soup(page).find_all(kind):
            path = urlsplit(tag.get(name) or "").path
            if path and is_ours(tag[name]) and not tag[name].startswith("data:"):
                assert ((HTML / page).parent / unquote(path)).is_file(), tag[name]


@pytest.mark.parametrize("page", pages())
def test_every_picture_says_what_it_shows(page: str) -> None:
    for picture in soup(page).find_all("img"):
        alt = (picture.get("alt") or "").strip()
        assert alt, picture
        assert not re.search(r"_images/|\.(?:png|svg|jpe?g)$", alt), alt


@pytest.mark.parametrize("page", pages())
def test_a_page_has_one_title_unique_ids_and_no_empty_header_cell(page: str) -> None:
    assert len(soup(page).select("article h1, main h1")) >= 1 or page in ("genindex.html",)
    ids = [tag["id"] for tag in soup(page).find_all(id=True)]
    theirs = {"search-input"}  # the theme's own search page has its dialog's field once more
    assert sorted({i for i in ids if ids.count(i) > 1} - theirs) == []
    assert [tag for tag in soup(page).find_all("th") if not tag.get_text(strip=True)] == []


@pytest.mark.parametrize("page", pages())
def test_a_page_is_light_and_names_its_language(page: str) -> None:
    assert (HTML / page).stat().st_size < PAGE_WEIGHT
    assert soup(page).html.get("lang") == "en"
    scripts = [str(tag) for tag in soup(page).find_all("script") if tag.get("src")]
    assert len(scripts) == len(set(scripts))
    assert "fontawesome" not in " ".join(scripts)


def test_every_claim_is_printed_as_a_link_to_its_cell() -> None:
    printed: dict[str, set[str]] = {}
    for page in pages():
        for value in soup(page).select("a > .claim-value"):
            key = unquote(urlsplit(value.parent["href"]).fragment).removeprefix("claim-")
            printed.setdefault(key, set()).add(value.get_text())
    known = {key: entry for book in registers() for key, entry in book["claims"].items()}
    assert set(printed) == set(known)
    for key, texts in printed.items():
        parts = ("display", "se_display", "interval_display", "unit")
        assert texts <= {known[key].get(part) for part in parts}, key


def test_every_figure_stands_on_a_page_with_its_text_and_its_data() -> None:
    alts = {picture.get("alt") for page in pages() for picture in soup(page).find_all("img")}
    files = {path.name for path in (HTML / "_downloads").rglob("*.csv")}
    for book in registers():
        for name, figure in book["figures"].items():
            assert figure["alt"] in alts, name
            assert Path(figure["csv"]).name in files, name


def test_the_front_page_answers_with_cost_confidence_and_a_picture_of_each_tier() -> None:
    front = soup("book/index.html")
    for tier in ("real", "synthetic"):
        (drawn,) = front.select(f".forest.forest-{tier}")
        assert drawn.select(f".tier.tier-{tier}")
        assert drawn.select("svg a[href]")
        assert "(" in drawn.select_one("svg [role=img]")["aria-label"]
        assert ("SYNTHETIC" in drawn.svg.get_text()) is (tier == "synthetic")
    tables = front.select(".glance table")
    assert len(tables) == 2
    for table in tables:
        heads = [head.get_text(strip=True) for head in table.select("thead th")]
        wanted = [next(i for i, head in enumerate(heads) if word in head)
                  for word in ("measure", "cost", "confidence", "chapter")]  # fmt: skip
        for row in table.select("tbody tr"):
            cells = [cell.get_text(strip=True) for cell in row.find_all("td")]
            assert all(cells[i] for i in wanted), cells


@pytest.mark.parametrize("page", chapters())
def test_a_chapter_carries_the_badge_of_its_register(page: str) -> None:
    tier = {book["notebook"]: book["provenance"] for book in registers()}[Path(page).stem]
    badges = soup(page).select(f"main .tier.tier-{tier}")
    assert badges
    assert badges[0].find_parent("a")["title"]


@pytest.mark.parametrize("page", chapters())
def test_a_chapter_can_be_downloaded_as_a_notebook(page: str) -> None:
    links = [link["href"] for link in soup(page).select(".btn-download-source-button[href]")]
    assert any(link.endswith(".ipynb") for link in links)


def test_search_finds_the_chinese_terms() -> None:
    terms = search_index()["terms"]
    assert [term for term in TERMS if term not in terms] == []


def test_search_finds_every_term_of_the_glossary() -> None:
    terms = search_index()["terms"]
    names = [
        tag.get_text(strip=True).rstrip("#")
        for tag in soup("book/glossary.html").select("dl.glossary dt")
    ]
    chinese = {run for name in names for run in re.findall(r"[\u3400-\u9fff]+", name)}
    assert len(chinese) > 50
    assert sorted(term for term in chinese if term not in terms) == []


def test_formulas_are_drawn_by_the_bundled_script() -> None:
    page = soup("book/notation.html")
    assert page.select(".math")
    sources = [tag["src"] for tag in page.find_all("script", src=True) if "mathjax" in tag["src"]]
    assert len(sources) == 1
    fonts = HTML / "_static" / "mathjax" / "output" / "chtml" / "fonts" / "woff-v2"
    assert len(list(fonts.glob("*.woff"))) > 20


def test_the_status_page_says_what_the_book_was_built_from() -> None:
    text = soup("book/status.html").get_text()
    for word in ("requirements.lock", "jupyter-book", "1.0.4.post1", "EvalkitSansSC"):
        assert word in text
    for book in registers():
        for entry in book["claims"].values():
            for digest in (entry.get("data") or {}).values():
                assert digest in text
