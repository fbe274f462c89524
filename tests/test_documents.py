"""Pictures and table of the documents: what is drawn is what is in the data beside it."""

from __future__ import annotations

import re
import warnings
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from evalkit.data import catalogue, contracts
from evalkit.data.contract import load
from evalkit.show import documents, listing, style
from evalkit.show.figures import Drawing

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "data/measures"


@pytest.fixture(scope="module")
def measures() -> pd.DataFrame:
    return catalogue.load(FOLDER / "measures.csv")


@pytest.fixture(scope="module")
def counties() -> pd.DataFrame:
    return load(FOLDER / "jurisdictions.csv", contracts.JURISDICTIONS)


@pytest.fixture(params=["timeline", "exposure", "tiles"])
def drawing(request: pytest.FixtureRequest, measures: pd.DataFrame, counties: pd.DataFrame):
    import matplotlib.pyplot as plt

    with plt.rc_context():
        style.apply()
        if request.param == "timeline":
            made = documents.timeline(measures, counties, title="a title")
        elif request.param == "exposure":
            exposed = catalogue.exposure_matrix(measures)
            made = documents.exposure_map(exposed, measures, counties, title="a title")
        else:
            made = documents.tile_map(measures, counties, title="a title")
        yield made
        plt.close(made.figure)


def test_a_picture_draws_without_a_missing_glyph(drawing: Drawing) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawing.figure.canvas.draw()


def test_a_picture_is_documented_and_leaves_its_data(drawing: Drawing) -> None:
    assert drawing.provenance == "documented"
    assert len(drawing.data)
    assert not drawing.data.isna().all().any()


def test_words_stay_inside_the_picture(drawing: Drawing) -> None:
    drawing.figure.canvas.draw()
    edge = drawing.figure.bbox
    box = drawing.figure.get_tightbbox().transformed(drawing.figure.dpi_scale_trans)
    assert box.x0 >= edge.x0 - 12
    assert box.x1 <= edge.x1 + 12


def test_the_timeline_has_a_bar_for_each_city_and_family(
    measures: pd.DataFrame, counties: pd.DataFrame
) -> None:
    import matplotlib.pyplot as plt

    made = documents.timeline(measures, counties, title="a title")
    plt.close(made.figure)
    exposed = catalogue.exposure_matrix(measures, by="city", jurisdictions=counties)
    assert len(made.data) == int(exposed.documented.sum())
    assert int(made.data["first"].isna().sum()) == int(exposed.undated.sum())


def test_the_exposure_map_names_every_cell_in_a_column_or_in_its_note(
    measures: pd.DataFrame, counties: pd.DataFrame
) -> None:
    import matplotlib.pyplot as plt

    exposed = catalogue.exposure_matrix(measures)
    made = documents.exposure_map(exposed, measures, counties, title="a title")
    axes = made.figure.axes[0]
    note, cells = axes.get_xlabel(), len(axes.texts)
    plt.close(made.figure)
    counts = made.data["place"].value_counts()
    alone = counts[counts == 1].index
    assert len(made.data) == int(exposed.documented.sum()) == cells + len(alone)
    assert len(axes.get_xticks()) == len(counts) - len(alone)
    assert all(place.split()[-1] in note for place in alone)


def test_tiles_count_the_rows_that_name_a_county(
    measures: pd.DataFrame, counties: pd.DataFrame
) -> None:
    rows = documents.named_rows(measures, counties).set_index("name_en")
    assert rows.loc["Changyi", ["own", "named", "city_wide"]].tolist() == [23, 2, 35]
    assert rows.loc["Kuiwen", ["own", "named"]].tolist() == [0, 1]
    assert rows.loc["Licang", ["own", "named", "city_wide"]].tolist() == [0, 0, 31]
    assert int(rows["own"].sum()) == int(
        measures["gbt2260_code"].isin(counties["gbt2260_code"]).sum()
    )


def test_a_dose_table_shows_the_row_as_it_stands(measures: pd.DataFrame) -> None:
    table = documents.doses(measures, {"Q05": "junior standard"})
    assert table.loc[0, ["before", "stated", "row"]].tolist() == ["1,100", "1,700", "Q05"]


class Shape(HTMLParser):
    """Counts tags and keeps the attributes that assistive technology reads."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[str] = []
        self.scopes: list[str | None] = []
        self.seen: dict[str, int] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.seen[tag] = self.seen.get(tag, 0) + 1
        if tag == "th":
            self.scopes.append(dict(attrs).get("scope"))
        if tag == "tr" and "id" in dict(attrs):
            self.rows.append(str(dict(attrs)["id"]))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_table_is_whole_and_can_be_read_aloud(measures: pd.DataFrame) -> None:
    html = listing.catalogue(measures, script="../_static/catalogue.js")
    shape = Shape()
    shape.feed(html)
    assert not shape.open
    assert shape.rows == [f"catalogue-{row}" for row in measures["id"]]
    assert shape.scopes == ["col"] * len(listing.HEADS) + ["row"] * len(measures)
    assert shape.seen["caption"] == 1
    assert shape.seen["td"] == len(measures) * (len(listing.HEADS) - 1)
    assert 'role="region"' in html
    assert 'tabindex="0"' in html


def test_the_table_is_light_and_asks_nothing_of_another_host(measures: pd.DataFrame) -> None:
    html = listing.catalogue(measures, script="../_static/catalogue.js")
    script = (ROOT / "book/_assets/catalogue.js").read_text("utf-8")
    assert len(html.encode()) < 80_000
    for text in (html, script):
        assert not re.search(r"https?://|//\w+\.\w|fetch\(|XMLHttpRequest|@import", text)


def test_a_window_and_a_dose_are_said_in_words(measures: pd.DataFrame) -> None:
    html = listing.catalogue(measures)
    assert "<td>by 2020-09-06</td>" in html
    assert "1,700 yuan/pupil/year (before: 1,100)" in html
    assert "520,000,000 yuan; 8 schools" in html
    assert "2021-04-19 to 2021-09-01; due 2025-12-31" in html
    assert "2027 target year" in html
    assert "<script" not in html


def test_text_of_the_catalogue_is_escaped(measures: pd.DataFrame) -> None:
    html = listing.catalogue(measures.head(1).assign(paraphrase_en="a < b & <script>"))
    assert "a &lt; b &amp; &lt;script&gt;" in html
