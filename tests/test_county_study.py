"""The study a chapter reads, and what may leave it: labels follow the folder, small cells stay."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import yaml

import evalkit as ek
import nbfile
import notebooks as tool
from evalkit.core.errors import ContractError, OptionError
from evalkit.data.county import describe
from evalkit.data.county.folder import Manifest, check
from evalkit.data.county.study import VARIABLE
from evalkit.show.register import RegisterError

ROOT = Path(__file__).resolve().parent.parent
SMALL = ek.simulate.Assumptions(seed=7, counties=12, prefectures=4, schools=16)
# Of the published value, or in the unit of the row where that is a share, gap or SD: what the draw
# of a few thousand schools moves, about three of its standard errors.
RELATIVE, ABSOLUTE = 0.08, 0.04
EXTREME = 0.25  # the greatest of few numbers there, of many here: an order of magnitude


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A simulated study with codes of no place, whose manifest says restricted."""
    where = tmp_path_factory.mktemp("records")
    made = ek.simulate.panel(SMALL, pupils_of=[1], pupils_since=2023)
    school = made["school"]
    city = (school["county_code"] == "S002") & (school["stratum"] == "rural")
    school.loc[city, "stratum"] = "town"  # a county without villages has no gap
    for name, frame in made.items():
        if name.startswith("truth") or name in ("assumptions", "survey_year"):  # it is optional
            continue
        text = re.sub(r"\bS(\d{3})T(\d\d)\b", r"990\g<1>0\2", frame.to_csv(index=False))
        text = re.sub(r"\bP(\d\d)\b", r"9900\1", re.sub(r"\bS(\d{3})(?=\b|[KGE])", r"990\1", text))
        (where / f"{name}.csv").write_text(text)
    Manifest("restricted", "test").write(where)
    assert check(where) == {}
    return where


# --- Opening ----------------------------------------------------------------------------------


def test_the_committed_study_is_opened_and_says_synthetic(monkeypatch):
    monkeypatch.chdir(ROOT / "notebooks")
    study = ek.county_study()
    assert study.provenance == "synthetic"
    assert study.simulated
    assert study.table("county").attrs["provenance"] == "synthetic"
    assert len(study.truth()) > 1000
    assert set(study.digests) == {path.name for path in map(study.file, study.tables)}


def test_the_variable_names_another_folder_and_its_labels_follow(folder, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(folder))
    study = ek.county_study()
    assert study.provenance == "restricted"
    assert study.table("school").attrs["provenance"] == "restricted"
    assert study.table("county")["county_code"].iloc[0] == "990001"
    with pytest.raises(OptionError, match="only a simulated study"):
        study.truth()


def test_what_is_not_there_is_named(folder, tmp_path):
    with pytest.raises(OptionError, match=r"no table 'survey_year'; it has county, county_year"):
        ek.county_study(folder).table("survey_year")
    with pytest.raises(ContractError, match=r"study\.json"):
        ek.county_study(tmp_path)


# --- Magnitudes -------------------------------------------------------------------------------


def test_the_committed_study_has_the_published_magnitudes():
    published = ek.load(ROOT / "data/published/magnitudes.csv", ek.contracts.MAGNITUDES)
    found = describe.magnitudes(ek.county_study(ROOT / "data/synthetic"))
    both = published.merge(found, on="id", how="left").set_index("id")
    assert both["here"].notna().all()
    slack = np.where(both["unit"] == "pupils", RELATIVE * both["high"], ABSOLUTE)
    slack = np.where(both.index == "spread_high", EXTREME, slack)
    assert (both["here"] > both["low"] - slack).all()
    assert (both["here"] < both["high"] + slack).all()


def test_magnitudes_can_fail():
    """Twice the gap and half the schools' share are seen."""
    odd = replace(SMALL, gap=0.8, icc=0.1, seed=1)
    made = ek.simulate.panel(odd)
    tested = made["school_cohort"].merge(made["school"])
    found = describe._of_scores(tested[tested["year"] == 2012])
    assert found["urban_rural_gap"][0] > 0.55


# --- The floor --------------------------------------------------------------------------------


@pytest.fixture
def restricted(tmp_path, monkeypatch):
    monkeypatch.setenv("EVALKIT_RESULTS", str(tmp_path))
    ek.chapter("example", provenance="restricted", floor=12)
    yield tmp_path
    ek.chapter("example", provenance="synthetic")


def test_a_table_of_restricted_records_drops_the_rows_below_the_floor(restricted, capsys):
    frame = pd.DataFrame({"school": ["a", "b"], "pupils": [11, 12], "mean": [70.5, 71.5]})
    ek.tables.show(frame, name="t", title="T", records="pupils")
    printed = capsys.readouterr().out
    assert "71.5" in printed
    assert "70.5" not in printed


REFUSED = {
    "a table that does not say": (
        lambda f: ek.tables.show(f, name="t", title="T"), "say how many stand behind"),
    "a table of too few": (
        lambda f: ek.tables.show(f, name="t", title="T", records=11), "11 records.* fewer than 12"),
    "a figure that does not say": (
        lambda f: ek.figures.show(plt.figure(), name="f", alt="a", caption="c", data=f),
        "say how many stand behind"),
    "a figure with a point of too few": (
        lambda f: ek.figures.show(
            plt.figure(), name="f", alt="a", caption="c", data=f, records="pupils"),
        "11 records"),
    "a claim that does not say": (
        lambda f: ek.claim("c", 1.0, unit="points"), "say how many stand behind"),
    "a claim of too few": (
        lambda f: ek.claim("c", 1.0, unit="points", records=3), "3 records"),
}  # fmt: skip


@pytest.mark.parametrize(("act", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_leaves_restricted_records_is_counted(restricted, act, words):
    frame = pd.DataFrame({"pupils": [11, 12], "mean": [70.5, 71.5]})
    with pytest.raises(RegisterError, match=words):
        act(frame)
    plt.close("all")
    assert not list(restricted.glob("figures/*"))


def test_the_floor_is_at_least_ten_and_binds_restricted_records_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("EVALKIT_RESULTS", str(tmp_path))
    ek.chapter("example", provenance="restricted")
    with pytest.raises(RegisterError, match="fewer than 10"):
        ek.claim("few", 1.0, unit="points", records=9)
    ek.chapter("example", provenance="synthetic", floor=12)
    ek.claim("few", 1.0, unit="points")


# --- The second folder ------------------------------------------------------------------------


def chapters():
    parts = yaml.safe_load((ROOT / "_toc.yml").read_text())["parts"]
    (mine,) = [part for part in parts if part["caption"] == "The county study"]
    return [Path(chapter["file"]).name for chapter in mine["chapters"]]


def test_every_chapter_of_the_county_study_reads_the_study():
    for name in chapters():
        assert nbfile.reads_the_study(nbfile.read(ROOT / f"notebooks/{name}.ipynb")), name


def test_every_chapter_of_the_county_study_carries_the_synthetic_stamp():
    for name in chapters():
        found = json.loads((ROOT / f"results/{name}.json").read_text())
        entries = [*found["claims"].values(), *found["figures"].values()]
        assert {found["provenance"], *(entry["provenance"] for entry in entries)} == {"synthetic"}
        for figure in found["figures"].values():
            data = pd.read_csv(ROOT / "results" / figure["csv"])
            assert set(data["provenance"]) == {"synthetic"}
        for cell in nbfile.code_cells(nbfile.read(ROOT / f"notebooks/{name}.ipynb")):
            for output in cell.outputs:
                page = "".join(output.get("data", {}).get("text/html", ""))
                assert "evalkit-table" not in page or "SYNTHETIC" in page


BLOCK = re.compile(r"^```\{when\} (\w+)\n.*?^```$", re.MULTILINE | re.DOTALL)
CLAIM = re.compile(r"\{claim\}`(\w+)")


def printed(text):
    """Claims that a page of restricted records prints."""
    kept = BLOCK.sub(lambda block: block[0] if block[1] == "restricted" else "", text)
    return set(CLAIM.findall(kept))


def test_a_claim_inside_a_block_of_another_tier_is_not_printed():
    text = "{claim}`a`\n```{when} synthetic\n{claim}`b`\n```\n```{when} restricted\n{claim}`c`\n```"
    assert printed(text) == {"a", "c"}


@pytest.mark.slow
def test_the_chapters_run_on_another_folder_and_numbers_and_labels_follow(folder, tmp_path):
    """What `make book DATA=...` stages; nothing outside its own folder changes."""
    copy = tmp_path / "checkout"
    for part in ("notebooks", "results", "book", "data", "src/evalkit/show/fonts"):
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("_build"))
    for name in ("_config.yml", "_toc.yml", "requirements.lock"):
        shutil.copy(ROOT / name, copy / name)
    before = tool.tree(copy)
    stage = tool.restricted(tool.Project(copy), folder)
    assert stage.relative_to(copy).parts[:3] == ("book", "_build", "restricted")
    assert tool.tree(copy) == before  # without caches and builds
    for name in chapters():
        mine = json.loads((stage / f"results/{name}.json").read_text())
        theirs = json.loads((ROOT / f"results/{name}.json").read_text())
        assert mine["provenance"] == "restricted"
        entries = [*mine["claims"].values(), *mine["figures"].values()]
        assert {entry["provenance"] for entry in entries} == {"restricted"}
        cells = nbfile.read(stage / f"notebooks/{name}.ipynb").cells
        prose = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        assert printed(prose) == set(mine["claims"]), name
        values = {key: claim["value"] for key, claim in mine["claims"].items()}
        assert values != {key: claim["value"] for key, claim in theirs["claims"].items()}
        for cell in nbfile.code_cells(nbfile.read(stage / f"notebooks/{name}.ipynb")):
            assert all(out.output_type == "display_data" for out in cell.outputs)
            assert "SYNTHETIC" not in json.dumps(cell.outputs)
    others = {path.name for path in (stage / "results").glob("*.json")}
    assert others == {path.name for path in (ROOT / "results").glob("*.json")}


def test_a_folder_that_breaks_its_contract_stops_the_build(folder, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "school_year.csv").unlink()
    with pytest.raises(nbfile.NotebookError, match=r"breaks its contract:\nschool_year: no school"):
        tool.restricted(tool.Project(ROOT), broken)
