"""The book's own extension: claims, anchors, badges, search, and the mending of pages.

The builds use the Sphinx command in a process of its own, as the book does; its warnings are judged
by the build itself.
"""

from __future__ import annotations

import csv
import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evalkit.data.county import TABLES

ROOT = Path(__file__).resolve().parents[1]
EXTENSION = ROOT / "book" / "_ext"
FONTS = ROOT / "src" / "evalkit" / "show" / "fonts"
FACES = ("EvalkitSansSC.otf", "EvalkitSansSC-Bold.otf")
HAN = re.compile(r"[\u3400-\u9fff]")
PACKAGE_WEIGHT = 1_000_000  # bytes: the font is a small part of an installed package

pytest.importorskip("sphinx", reason="the book's extension needs the `book` extra")
sys.path.insert(0, str(EXTENSION))

from evalbook import (  # noqa: E402
    anchors,
    api,
    benchmarks,
    forest,
    forest_drawing,
    pages,
    register,
    search,
    tables,
    tiers,
)

CONF = f"""
import sys
sys.path.insert(0, {str(EXTENSION)!r})
extensions = ["myst_nb", "evalbook"]
nb_execution_mode = "off"
html_theme = "basic"
html_search_language = "evalbook"
exclude_patterns = ["_build", "jupyter_execute"]
nitpicky = True
"""
PIXEL = (  # one pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9"
    "awAAAABJRU5ErkJggg=="
)
INDEX = """
(evidence-tiers)=
# Front

The effect is {claim}`dose` (SE {claim}`dose.se`; {claim}`dose.interval`) {claim}`dose.unit`, in the
year {claim}`first_1993`. {tier}`synthetic`

```{forest} What a dose does
:left: falls
:right: rises
dose | Where < 300 pupils | first_1993
```

```{when} real
:of: chapter

Said elsewhere of real records.
```
```{when} synthetic
:of: chapter

Said elsewhere of simulated ones alone: {claim}`nobody_made_this`.
```
````{when} synthetic
:of: chapter

```{forest} Drawn elsewhere of simulated ones alone
nobody_made_this | Nobody
```
````

```{toctree}
notebooks/chapter
book/glossary
book/lists
```
"""
GLOSSARY = """
# Glossary

```{glossary}
生均公用经费
per-pupil public-use funding
  Money for running a school.

强镇筑基
  A programme.
```
"""
LISTS = """
# Lists

```{claims-index}
```

```{figures-index}
```

```{status}
```

```{codebook}
```
"""
CHAPTER = """
# A chapter

```{when} real
Said of **real** records.
```
```{when} synthetic
Said of simulated ones alone: {claim}`nobody_made_this`.
```
"""


def claim(value: float, **other: Any) -> dict[str, Any]:
    entry = {"value": value, "display": f"{value:.2f}", "unit": "percentage points"}
    return {**entry, "provenance": "real", "data": {"table": "ab" * 32}, **other}


def results(**claims: dict[str, Any]) -> dict[str, Any]:
    figure = {"alt": "flat", "caption": "Flat.", "csv": "figures/chapter.flat.csv"}
    return {
        "notebook": "chapter",
        "provenance": "real",
        "claims": claims,
        "figures": {"flat": {**figure, "provenance": "real"}},
    }


DOSE = claim(-0.77, se_display="0.87", interval_display="-2.47 to 0.93", low=-2.47, high=0.93)


class Project:
    """A book of three pages and one notebook in a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("conf.py", CONF)
        self.write("index.md", INDEX)
        self.write("book/glossary.md", GLOSSARY)
        self.write("book/lists.md", LISTS)
        self.write("results/figures/chapter.flat.csv", "a,b\n1,2\n")
        self.register(dose=DOSE, first_1993=claim(0.39))
        cells = [
            {"cell_type": "markdown", "id": "a", "metadata": {}, "source": CHAPTER},
            self.code("b", 'ek.claim("dose", estimate, unit="percentage points")'),
            self.code("c", 'for year in (1993,):\n    ek.claim(f"first_{year}", x, unit="pp")'),
        ]
        figure = {"image": {"alt": "flat"}, "figure": {"name": "flat", "caption": "Flat."}}
        cells[2]["metadata"]["mystnb"] = figure
        cells[2]["outputs"] = [
            {"output_type": "display_data", "metadata": {}, "data": {"image/png": PIXEL}}
        ]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        kernel = {"kernelspec": kernel, "language_info": {"name": "python"}}
        book = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
        self.write("notebooks/chapter.ipynb", json.dumps(book))

    @staticmethod
    def code(name: str, source: str) -> dict[str, Any]:
        cell = {"cell_type": "code", "id": name, "metadata": {"tags": ["hide-input"]}}
        return {**cell, "source": source, "outputs": [], "execution_count": 1}

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def register(self, **claims: dict[str, Any]) -> None:
        self.write("results/chapter.json", json.dumps(results(**claims)))

    def build(self) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sphinx", "-q", "-W", "-n", "--keep-going", "-b", "html"]
        return subprocess.run(
            [*command, str(self.root), str(self.root / "_build")],
            capture_output=True,
            text=True,
            encoding="utf-8",
        )

    def page(self, name: str) -> str:
        return (self.root / "_build" / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("book"))
    done = project.build()
    assert done.returncode == 0, done.stderr
    return project


@pytest.fixture
def project(built: Project, tmp_path: Path) -> Project:
    """A copy of the built project, to be spoilt."""
    copy = Project.__new__(Project)
    copy.root = tmp_path / "book"
    shutil.copytree(built.root, copy.root)
    return copy


def test_a_claim_is_a_link_to_the_cell_that_made_it(built: Project) -> None:
    page = built.page("index.html")
    assert re.search(r'href="notebooks/chapter.html#claim-dose"[^>]*>\s*<span[^>]*>-0.77<', page)
    assert 'href="notebooks/chapter.html#claim-first_1993"' in page
    for text in ("0.87", "-2.47 to 0.93", "percentage points"):
        assert f">{text}<" in page


def test_the_anchor_stands_inside_the_folded_source(built: Project) -> None:
    page = built.page("notebooks/chapter.html")
    before = page[: page.index('id="claim-dose"')]
    assert before.rindex("<details") > before.rfind("</details")


def test_a_chapter_without_a_badge_gets_the_one_of_its_register(built: Project) -> None:
    page = built.page("notebooks/chapter.html")
    assert 'class="tier tier-real"' in page
    assert tiers.TIERS["real"].sentence in page


def test_what_is_said_of_one_tier_stands_only_where_the_outcomes_are_of_it(built: Project) -> None:
    page = built.page("notebooks/chapter.html")
    assert "Said of <strong>real</strong> records." in page
    assert "simulated ones" not in page
    front = built.page("index.html")
    assert "Said elsewhere of real records." in front
    assert "simulated ones" not in front
    assert front.count("<svg") == 1


def test_the_codebook_has_every_column_of_every_table_in_both_languages(built: Project) -> None:
    page = html.unescape(built.page("book/lists.html"))
    page = page.replace("’", "'").replace("“", '"').replace("”", '"')
    for table, contract in TABLES.items():
        assert f"{contract.zh} {table}" in page
        for name, column in contract.columns.items():
            assert f">{name}<" in page
            assert f"{column.label} {column.zh}" in page


def test_the_lists_show_value_cell_page_and_data(built: Project) -> None:
    page = built.page("book/lists.html")
    assert "-0.77 (0.87)" in page
    assert 'href="../notebooks/chapter.html#claim-dose"' in page
    assert 'href="../index.html"' in page
    assert re.search(r'href="\.\./_downloads/[0-9a-f]+/chapter\.flat\.csv"', page)
    assert "ab" * 32 in page


def test_search_holds_the_terms_of_the_glossary(built: Project) -> None:
    script = built.page("searchindex.js")
    index = json.loads(script[script.index("(") + 1 : script.rindex(")")])
    for term in ("生均公用经费", "强镇筑基", "经费"):
        assert term in index["terms"]


@pytest.mark.slow
def test_a_changed_value_reaches_the_page_in_a_warm_build(project: Project) -> None:
    project.register(dose={**DOSE, "display": "1.23"}, first_1993=claim(0.39))
    done = project.build()
    assert done.returncode == 0, done.stderr
    assert ">1.23<" in project.page("index.html")
    assert "1.23 (0.87)" in project.page("book/lists.html")


@pytest.mark.slow
def test_unknown_unused_and_incomplete_claims_fail_every_build(project: Project) -> None:
    project.register(first_1993=claim(0.39), forgotten=claim(1.0))
    project.write("index.md", INDEX + "\n{claim}`first_1993.se`\n")
    for _ in range(2):  # a warm build must not forget
        done = project.build()
        assert done.returncode != 0
        assert "unknown claim 'dose'" in done.stderr
        assert "unused claim 'forgotten' of chapter" in done.stderr
        assert "claim 'first_1993' has no se" in done.stderr


@pytest.mark.slow
def test_a_claim_without_a_cell_and_an_unknown_tier_fail_the_build(project: Project) -> None:
    project.register(dose=DOSE, first_1993=claim(0.39), nowhere=claim(2.0))
    project.write("index.md", INDEX + "\n{claim}`nowhere` {tier}`certain`\n")
    done = project.build()
    assert done.returncode != 0
    assert "reference target not found: nowhere" in done.stderr
    assert "unknown tier 'certain'" in done.stderr


def test_a_key_made_twice_is_a_problem(tmp_path: Path) -> None:
    for name in ("one", "two"):
        record = {**results(same=claim(1.0)), "notebook": name, "figures": {}}
        (tmp_path / f"{name}.json").write_text(json.dumps(record), encoding="utf-8")
    problems = register.read(tmp_path).problems
    assert problems == ["claim 'same' is made by one and again by two; rename one of them"]


def test_a_key_with_a_dot_wins_over_a_field(tmp_path: Path) -> None:
    record = results(a=claim(1.0), **{"a.se": claim(2.0)})
    (tmp_path / "chapter.json").write_text(json.dumps(record), encoding="utf-8")
    found = register.read(tmp_path)
    assert found.split("a.se") == ("a.se", "display")
    assert found.split("a.unit") == ("a", "unit")
    assert found.split("a.other") == ("a.other", "display")


@pytest.mark.parametrize(
    ("source", "made"),
    [
        ('ek.claim("one", 1, unit="pp")', ["one"]),
        ("ek.claim(\n    'two',\n    x)", ["two"]),
        ('ek.claim(f"gap_{year}_{group}", x)', ["gap_1992_low", "gap_1998_high"]),
        ('ek.claim("one", 1); ek.claim("one", 2)', ["one"]),
        ('reclaim("one")', []),
    ],
)
def test_claims_are_found_in_the_source_of_a_cell(source: str, made: list[str]) -> None:
    known = ["one", "gap_1992_low", "gap_1998_high", "gap", "other"]
    assert anchors.keys_made(source, known) == made


def test_of_the_cells_whose_f_strings_fit_a_key_the_one_that_names_it_makes_it() -> None:
    code = [
        'for key in {"shown": 3, "counties": 4}: ek.claim(f"side_{key}", 1)',
        'for key in ("low", "high"): ek.claim(f"side_cost_{key}", 1)',
        "for key in names: ek.claim(f'side_sim_{key}', 1)",
        'ek.claim("side_managed", effect)',
        'for key in {"rural": 1}: ek.claim(f"side_{key}", 1)',
        'for key in {"counties": 1}: print(ek.claim(f"side_{key}", 1))',
    ]
    cells = list(zip(code, ["", "", "", "", "", "side_counties = 4 counties [real]"], strict=True))
    known = ["side_shown", "side_cost_low", "side_sim_bias", "side_managed", "side_rural"]
    known.append("side_counties")
    assert anchors.makers(cells, known) == dict(zip(known, range(6), strict=True))


def test_a_claim_leads_to_the_cell_that_writes_its_key_or_printed_it() -> None:
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        book = json.loads((ROOT / f"results/{path.stem}.json").read_text(encoding="utf-8"))
        cells = anchors.sources(path)
        made = anchors.makers(cells, book["claims"])
        assert set(made) >= set(book["claims"]), path.stem
        for number, (source, printed) in enumerate(cells):
            told = anchors.PRINTED.findall(printed)
            for key in [*told, *re.findall(r'ek\.claim\("(\w+)"', source)]:
                assert made[key] == number, key


# --- Forests --------------------------------------------------------------------------------------


def test_a_forest_says_its_finding_and_links_each_number_to_its_cell(built: Project) -> None:
    page = built.page("index.html")
    drawing = page[page.index("<svg") : page.index("</svg>")]
    alt = re.search(r'<g role="img" aria-label="([^"]*)"', drawing)
    assert alt
    assert html.unescape(alt[1]) == (
        "Every interval holds zero. Where < 300 pupils: -0.77 (-2.47 to 0.93), assumed 0.39. "
        "percentage points, real data."
    )
    assert "Where &lt; 300 pupils" in drawing
    assert '<a href="notebooks/chapter.html#claim-dose">' in drawing
    assert re.search(r'claim-value"[^>]*>-0.77<.*claim-value"[^>]*>-2.47 to 0.93<', drawing)
    for words in ("← falls", "rises →", "real data", "hollow: assumed"):
        assert words in drawing
    assert "SYNTHETIC" not in drawing
    before = page[: page.index("<svg")]
    assert "tier-real" in before[before.index('class="forest forest-real') :]


def test_a_synthetic_forest_is_stamped_twice_and_counts_what_leaves_zero_out() -> None:
    found = drawable(
        up=claim(2.0, low=1.0, high=3.0, interval_display="1 to 3", provenance="synthetic"),
        down=claim(-2.0, low=-3.0, high=-1.0, interval_display="-3 to -1", provenance="synthetic"),
        open=claim(0.5, low=-1.0, high=2.0, interval_display="-1 to 2", provenance="synthetic"),
    )
    rows = forest.read(["up | Up", "", "down | Down", "open | Open"], found)
    drawing = forest_drawing.draw(rows, ["#a", "#b", "#c"], "", "")
    assert "Intervals below zero: 1 of 3; above: 1" in drawing
    assert ">SYNTHETIC<" in drawing
    assert ">SYNTHETIC DATA, known truth<" in drawing
    places = [float(x) for x in re.findall(r'class="effect" cx="([\d.]+)"', drawing)]
    assert places[1] < places[2] < places[0]
    ends = [float(x) for x in re.findall(r' (?:x1|x2|cx)="([-\d.]+)"', drawing)]
    assert 0 <= min(ends) <= max(ends) <= forest_drawing.WIDTH


def drawable(**claims: dict[str, Any]) -> register.Register:
    made = {key: register._claim(key, "chapter", entry) for key, entry in claims.items()}
    return register.Register(claims=made)


@pytest.mark.parametrize(
    ("lines", "refusal"),
    [
        ([], "a forest needs rows"),
        (["dose"], "row 'dose' is not"),
        (["dose |"], "row 'dose |' is not"),
        (["dose | Dose | bare | more"], "is not `key | label`"),
        (["gone | Gone"], "unknown claim 'gone'"),
        (["dose | Dose | gone"], "unknown claim 'gone'"),
        (["bare | Bare"], "claim 'bare' has no interval to draw"),
        (["flat | Flat"], "claim 'flat' has no interval to draw"),
        (["dose | Dose", "made_up | Made up"], "mixes the provenances 'real' (dose) and 'synth"),
        (["dose | Dose | truth"], "mixes the provenances 'real' (dose) and 'synthetic' (truth)"),
        (["dose | Dose", "sd | SD"], "mixes the units 'SD' (sd) and 'percentage points' (dose)"),
    ],
)
def test_a_forest_refuses_what_would_mislead(lines: list[str], refusal: str) -> None:
    interval = {"low": -2.47, "high": 0.93, "interval_display": "-2.47 to 0.93"}
    found = drawable(
        dose=DOSE,
        bare=claim(0.39),
        flat=claim(0.0, low=0.0, high=0.0, interval_display="0 to 0"),
        made_up=claim(1.0, provenance="synthetic", **interval),
        truth=claim(1.0, provenance="synthetic"),
        sd=claim(1.0, unit="SD", **interval),
    )
    with pytest.raises(forest.ForestError, match=re.escape(refusal)):
        forest.read(lines, found)


@pytest.mark.slow
def test_a_refused_forest_and_a_number_without_a_cell_fail_every_build(project: Project) -> None:
    nowhere = {**DOSE, "display": "-0.78"}
    project.register(dose=DOSE, first_1993=claim(0.39), nowhere=nowhere)
    more = "\n```{forest} A\nfirst_1993 | First\n```\n\n```{forest} B\nnowhere | Nowhere\n```\n"
    project.write("index.md", INDEX + more)
    for _ in range(2):  # a warm build must not forget
        done = project.build()
        assert done.returncode != 0
        assert "claim 'first_1993' has no interval to draw" in done.stderr
        assert "no cell makes 'nowhere', which a forest draws" in done.stderr


@pytest.mark.parametrize("span", [(-0.11, 0.07), (-2.5, 2.7), (0.0, 0.3), (-3e-4, 1e-3), (-9, 950)])
def test_an_axis_has_few_round_ticks_and_zero_among_them(span: tuple[float, float]) -> None:
    made = forest_drawing.ticks(*span)
    assert 2 <= len(made) <= 6
    assert 0.0 in map(float, made)
    assert len(set(made)) == len(made)
    assert all(span[0] <= float(tick) <= span[1] for tick in made)


def test_the_dictionary_of_search_comes_from_the_glossary() -> None:
    assert search.glossary_terms(GLOSSARY) == ["生均公用经费", "强镇筑基"]
    assert search.glossary_terms("# 没有\n\n文字\n") == []


def test_a_term_is_found_whole_and_by_its_parts() -> None:
    language = search.BookSearch({"terms": "生均公用经费"})
    words = language.split("The 生均公用经费标准 of 2015 rose")
    assert {"The", "2015", "rose", "生均公用经费", "经费", "生均公用经费标准"} <= set(words)


@pytest.mark.parametrize(
    ("theme", "mended"),
    [
        ("<th></th>", "<td></td>"),
        ('<th class="head"><p></p></th>', '<td class="head"></td>'),
        ("<th>1992</th>", "<th>1992</th>"),
        ('<script src="_static/vendor/fontawesome/6/js/all.min.js?d=1"></script>\n', ""),
        ('<link rel="preload" as="font" crossorigin href="a.woff2" />\n', ""),
        (
            '<link rel="preload" as="script" href="a.js" />',
            '<link rel="preload" as="script" href="a.js" />',
        ),
        ("<script>let a = 1;</script><script>let a = 1;</script>", "<script>let a = 1;</script>"),
        (
            '<div class="output text_html"><div class="evalkit-table tier-real"><div id="t">',
            '<div class="output text_html"><div class="evalkit-table tier-real">'
            '<div id="t" tabindex="0">',
        ),
        (
            '<div class="output text_html"><div><table>',
            '<div class="output text_html" tabindex="0"><div><table>',
        ),
        ("<script>kernelName = 'python3'</script>", ""),
        ('<summary aria-label="Toggle hidden content">', "<summary>"),
        ('<div role="doc-biblioentry">', '<div role="listitem">'),
    ],
)
def test_what_the_theme_writes_is_mended(theme: str, mended: str) -> None:
    assert pages.mend(theme) == mended
    assert pages.mend(mended) == mended


def test_the_entries_of_a_card_are_paragraphs() -> None:
    lines = [
        "Summary.",
        "",
        "**Estimand.** A.",
        "**Assumptions.** B",
        "and C.",
        "**Fails when.** D.",
    ]
    api.separate_entries(None, "function", "f", None, None, lines)  # type: ignore[arg-type]
    assert lines[2:] == [
        "**Estimand.** A.", "", "**Assumptions.** B", "and C.", "", "**Fails when.** D."
    ]  # fmt: skip


def test_a_generated_table_has_its_headers() -> None:
    table = tables.build(["a", "b"], [["1", tables.code("x")]])
    assert table.astext().split() == ["a", "b", "1", "x"]


def characters_wanted() -> set[str]:
    texts = [(ROOT / "book" / "glossary.md").read_text(encoding="utf-8")]
    for path in sorted((ROOT / "data" / "measures").glob("*.csv")):
        with path.open(encoding="utf-8-sig", newline="") as handle:
            texts.extend(cell for row in csv.reader(handle) for cell in row)
    return set(HAN.findall("".join(texts)))


@pytest.mark.parametrize("face", FACES)
def test_the_font_has_every_character_of_the_glossary_and_the_measures(face: str) -> None:
    ttf = pytest.importorskip("fontTools.ttLib")
    font = ttf.TTFont(FONTS / face)
    has = font.getBestCmap()
    assert not {c for c in characters_wanted() if ord(c) not in has}
    assert not {c for c in "θψΔ−±×≤≥–—“”‘’·％（），。" if ord(c) not in has}
    assert font["name"].getDebugName(1) == "Evalkit Sans SC"
    assert (FONTS / face).stat().st_size < PACKAGE_WEIGHT
    assert "SIL OPEN FONT LICENSE" in (FONTS / "OFL.txt").read_text(encoding="utf-8")


def test_figures_draw_chinese_in_both_weights(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    from matplotlib import font_manager
    from matplotlib.figure import Figure

    for face in FACES:
        font_manager.fontManager.addfont(str(FONTS / face))
    with matplotlib.rc_context({"font.family": "Evalkit Sans SC"}), caplog.at_level("WARNING"):
        figure = Figure()
        figure.suptitle("生均公用经费 per-pupil funding: θ = −0.77", fontweight="bold")
        figure.text(0.1, 0.1, "县管校聘")
        figure.savefig(tmp_path / "figure.png")  # a missing glyph is a warning, and so an error
    assert caplog.text == ""
    assert (tmp_path / "figure.png").stat().st_size > 0


# --- Benchmarks -----------------------------------------------------------------------------------


def timed(peer: str, cpu: str, ratio: str, agrees: str = "yes", aim: str = "") -> dict[str, str]:
    row = dict.fromkeys(
        ["task", "what", "version", "units", "periods", "peak_mb", "largest_gap", "note"], "1"
    )
    return {**row, "peer": peer, "cpu_seconds": cpu, "ratio": ratio, "agrees": agrees, "aim": aim}


def test_the_fastest_package_with_another_number_is_no_rival() -> None:
    rows = [
        timed("evalkit", "1", "1", aim="5"),
        timed("fast", "0.5", "0.5", agrees="no"),
        timed("slow", "4", "4"),
        timed("stopped", "", "", agrees=""),
    ]
    (found,) = benchmarks.compared(rows)
    assert found.rival is rows[2]
    assert found.missed
    assert "another number" in benchmarks.cell(rows[1])


def test_where_evalkit_is_slower_the_answer_counts_it() -> None:
    rows = [timed("evalkit", "1", "1", aim="5"), timed("fast", "0.5", "0.5")]
    assert "slower one in 1." in benchmarks.answer(rows)
    assert "in 0 of 1." in benchmarks.answer(rows)
    assert "(slower)" in benchmarks.overview(rows).astext()


def test_memory_above_its_bound_and_growth_are_said() -> None:
    small, large = (
        {**timed("evalkit", cpu, "1"), "units": units, "periods": "10", "peak_mb": mb}
        for cpu, units, mb in (("1", "100000", "201"), ("9", "1000000", "1900"))
    )
    first, second = benchmarks.compared([small, large])
    assert first.heavy
    assert not second.heavy
    other = {**small, "peer": "other", "cpu_seconds": "4", "ratio": "4"}
    said = benchmarks.answer([small, large, other])
    assert "In 1 of 2 tasks" in said
    assert "time grows 9 to 9 times" in said


def test_the_stored_benchmarks_name_versions_and_compare_numbers() -> None:
    path = ROOT / "data" / "benchmarks" / "did.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(row["version"] for row in rows)
    assert all(row["compared"] for row in rows if row["cpu_seconds"] and row["units"])
    assert "processor" in json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
