"""The catalogue agrees with its sources; exposure and bundling are exact on cases done by hand."""

from __future__ import annotations

import hashlib
import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evalkit.core.errors import ContractError, IdentificationError, OptionError
from evalkit.data import bundling, catalogue, contracts
from evalkit.data.contract import load

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "data/measures"
SEEDS = ROOT.parent / "shared/seeds"
PINYIN = re.compile(r"\([a-zÀ-ỿ]+\)|\s+")  # noise in one text, and line breaks in another
CONTACT = re.compile(r"@|https?://|联系人|联系电话|\d{3,4}-\d{7,8}|\b1\d{10}\b")


@pytest.fixture(scope="module")
def measures() -> pd.DataFrame:
    return catalogue.load(FOLDER / "measures.csv")


@pytest.fixture(scope="module")
def jurisdictions() -> pd.DataFrame:
    return load(FOLDER / "jurisdictions.csv", contracts.JURISDICTIONS)


def made(*rows: tuple[str, str, str | None, str], code: str = "370200") -> pd.DataFrame:
    """A small catalogue: (family, place code or '', earliest, latest)."""
    return pd.DataFrame(
        {
            "id": [f"A{at}" for at in range(len(rows))],
            "measure_family": [row[0] for row in rows],
            "gbt2260_code": [row[1] or code for row in rows],
            "start_earliest": pd.to_datetime([row[2] for row in rows]),
            "start_latest": pd.to_datetime([row[3] for row in rows]),
        }
    )


# --- The files ----------------------------------------------------------------------------------


def test_every_row_of_the_first_table_is_there(measures: pd.DataFrame) -> None:
    counts = measures["id"].str[0].value_counts().to_dict()
    assert counts == {"W": 42, "Q": 31, "U": 26, "C": 22, "Z": 22, "F": 14}


def test_every_row_is_found_again_in_its_source(measures: pd.DataFrame) -> None:
    if not SEEDS.is_dir():
        pytest.skip("the source texts are not beside this checkout (../shared/seeds): NOT CHECKED")
    for name, rows in measures.groupby("source_file"):
        raw = (SEEDS / str(name)).read_bytes()
        assert set(rows["source_sha256"]) == {hashlib.sha256(raw).hexdigest()[:16]}
        text = PINYIN.sub("", raw.decode("utf-8"))
        for row in rows.to_dict("records"):
            assert text.count(PINYIN.sub("", row["evidence"])) == 1, row["id"]


def test_figures_of_the_funding_standard_stand_in_the_evidence(measures: pd.DataFrame) -> None:
    rows = measures.set_index("id")
    for row in ("Q04", "Q05"):
        for column in ("value_prior", "value"):
            assert f"{rows.loc[row, column]}元" in rows.loc[row, "evidence"]


def test_evidence_is_a_phrase_and_no_sentence(measures: pd.DataFrame) -> None:
    assert measures["evidence"].str.len().max() <= 25


def test_windows_and_deadlines_are_in_order(measures: pd.DataFrame) -> None:
    closed = measures.dropna(subset=["start_earliest"])
    assert (closed["start_earliest"] <= closed["start_latest"]).all()
    due = measures.dropna(subset=["deadline"])
    assert (due["deadline"] >= due["start_earliest"].fillna(due["deadline"])).all()


def test_where_a_date_comes_from_is_said_exactly_where_there_is_one(
    measures: pd.DataFrame,
) -> None:
    assert ((measures["start_source"] == "none") == measures["start_earliest"].isna()).all()
    assert (measures["deadline_source"].isna() == measures["deadline"].isna()).all()


def test_a_family_has_one_chinese_name(measures: pd.DataFrame) -> None:
    names = measures[["measure_family", "measure_family_zh"]].drop_duplicates()
    assert names["measure_family"].is_unique
    assert set(measures["measure_family"]) == set(contracts.FAMILIES)


def test_codes_are_those_of_the_table_of_counties(
    measures: pd.DataFrame, jurisdictions: pd.DataFrame
) -> None:
    names = dict(zip(jurisdictions["gbt2260_code"], jurisdictions["name_zh"], strict=True))
    names |= dict(zip(jurisdictions["city_code"], jurisdictions["city_zh"], strict=True))
    named = measures.dropna(subset=["gbt2260_code"])
    assert (named["gbt2260_code"].map(names) == named["jurisdiction_zh"]).all()
    assert set(measures["named_codes"].dropna().str.split(";").explode()) <= set(names)


def test_the_counties_are_those_of_the_four_cities(jurisdictions: pd.DataFrame) -> None:
    counts = jurisdictions["city_en"].value_counts().to_dict()
    assert counts == {"Weifang": 12, "Qingdao": 10, "Shenzhen": 9, "Zibo": 8}
    assert not jurisdictions.duplicated(["city_code", "tile_row", "tile_col"]).any()
    assert (jurisdictions["gbt2260_code"].str[:4] == jurisdictions["city_code"].str[:4]).all()


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_files_are_plain_and_hold_no_contact_of_a_person(path: Path) -> None:
    raw = path.read_bytes()
    assert b"\r" not in raw
    assert raw.endswith(b"\n")
    assert not CONTACT.search(raw.decode("utf-8"))


def test_every_correction_names_a_row_and_a_field(measures: pd.DataFrame) -> None:
    lines = (FOLDER / "CORRECTIONS.md").read_text("utf-8").splitlines()
    rows = [line.split(" | ") for line in lines if re.match(r"\| [QFCWZU]\d", line)]
    assert len(rows) > 90
    assert {row[0].strip("| ") for row in rows} <= {*measures["id"], "U01-U26"}
    assert {row[1].strip("`") for row in rows} <= set(measures.columns)


# --- The systems --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def systems() -> pd.DataFrame:
    return load(FOLDER / "systems.csv", contracts.SYSTEMS)


def test_every_system_has_one_row(systems: pd.DataFrame) -> None:
    assert systems["id"].tolist() == [f"S{number}" for number in range(1, 39)]


def test_systems_cite_rows_that_exist(systems: pd.DataFrame, measures: pd.DataFrame) -> None:
    cited = systems["rows"].dropna().str.split().explode()
    assert set(cited) <= set(measures["id"])


def test_what_covers_a_system_now_can_be_imported(systems: pd.DataFrame) -> None:
    for row in systems.to_dict("records"):
        now = [part for part in row["covered by"].split("; ") if part.startswith("now: ")]
        names = re.findall(r"`(evalkit[\w.]+)`", row["covered by"])
        assert bool(names) == bool(now), row["id"]
        for name in names:
            room, _, last = name.rpartition(".")
            assert hasattr(import_module(room), last), f"{row['id']}: {name}"


def test_what_is_planned_names_its_step_and_what_is_built_does_not(systems: pd.DataFrame) -> None:
    for row in systems.to_dict("records"):
        steps = re.findall(r"\bstep (\d)", row["covered by"])
        assert (row["status"] == "planned") <= bool(steps), row["id"]
        assert (row["status"] == "built") <= (not steps and "now: " in row["covered by"]), row["id"]


# --- Exposure by hand ---------------------------------------------------------------------------


def test_a_window_gives_a_bound_on_each_side() -> None:
    exposed = catalogue.exposure_matrix(
        made(("a", "", "2019-07-02", "2020-07-02")), years=[2018, 2019, 2020, 2021]
    )
    np.testing.assert_allclose(exposed.high[0, :, 0], [0, 183 / 365, 1, 1])
    np.testing.assert_allclose(exposed.low[0, :, 0], [0, 0, 183 / 366, 1])


def test_in_whole_years_any_day_counts() -> None:
    rows = made(("a", "", "2019-07-02", "2020-07-02"))
    exposed = catalogue.exposure_matrix(rows, years=[2018, 2019, 2020, 2021], whole_years=True)
    assert exposed.high[0, :, 0].tolist() == [0, 1, 1, 1]
    assert exposed.low[0, :, 0].tolist() == [0, 0, 1, 1]


def test_without_an_earliest_date_exposure_may_have_been_there_always() -> None:
    exposed = catalogue.exposure_matrix(made(("a", "", None, "2020-01-01")), years=[2018, 2020])
    assert exposed.high[0, :, 0].tolist() == [1, 1]
    assert exposed.low[0, :, 0].tolist() == [0, 1]
    assert exposed.undated.tolist() == [[True]]


def test_a_place_that_is_silent_is_not_documented() -> None:
    exposed = catalogue.exposure_matrix(
        made(("a", "370200", "2019-01-01", "2019-01-01"), ("b", "370300", None, "2019-01-01")),
        years=[2019],
    )
    assert exposed.documented.tolist() == [[True, False], [False, True]]
    assert exposed.matrix().to_numpy().tolist() == [[1, 0], [0, 1]]


def test_the_first_of_several_starts_counts() -> None:
    found = catalogue.windows(
        made(("a", "", "2018-01-01", "2020-12-31"), ("a", "", "2019-01-01", "2019-06-30")).assign(
            place="x"
        )
    )
    assert found["first"].tolist() == [pd.Timestamp("2018-01-01")]
    assert found["last"].tolist() == [pd.Timestamp("2019-06-30")]


def test_context_is_no_measure() -> None:
    rows = made(("context", "", "2012-01-01", "2012-01-01"), ("a", "", "2019-01-01", "2019-01-01"))
    assert catalogue.exposure_matrix(rows).families == ("a",)


def test_a_city_row_reaches_each_of_its_counties(jurisdictions: pd.DataFrame) -> None:
    rows = made(("a", "370300", "2019-01-01", "2019-01-01"), ("b", "370786", None, "2020-01-01"))
    exposed = catalogue.exposure_matrix(rows, by="county", jurisdictions=jurisdictions)
    assert len(exposed.places) == 9
    assert exposed.documented.sum(0).tolist() == [8, 1]
    city = catalogue.exposure_matrix(rows, by="city", jurisdictions=jurisdictions)
    assert city.places == ("370300", "370700")


def test_the_order_of_rows_changes_nothing(measures: pd.DataFrame) -> None:
    one = catalogue.exposure_matrix(measures)
    two = catalogue.exposure_matrix(measures.iloc[::-1])
    pd.testing.assert_frame_equal(one.matrix(), two.matrix()[list(one.families)])


# --- Bundling by hand ---------------------------------------------------------------------------

A19, B19 = ("a", "370200", "2019-01-01", "2019-01-01"), ("b", "370200", "2019-01-01", "2019-01-01")


def test_two_measures_begun_on_one_day_are_not_told_apart() -> None:
    found = bundling.bundling(
        catalogue.exposure_matrix(made(A19, B19, ("c", "370300", "2021-01-01", "2021-01-01")))
    )
    assert found.rank == 2
    assert found.collinear == (("a", "b"),)
    assert found.estimable == ("c",)
    assert found.same == (("370200", ("a", "b")),)
    assert found.condition == np.inf


def test_a_second_place_with_one_of_the_two_tells_them_apart() -> None:
    found = bundling.bundling(
        catalogue.exposure_matrix(made(A19, B19, ("a", "370300", "2019-01-01", "2019-01-01")))
    )
    # With two places a step in both is a year effect: only the contrast of b remains.
    assert found.rank == 1
    assert found.absorbed == ("a",)
    assert found.estimable == ("b",)
    third = ("z", "370700", "2013-01-01", "2013-01-01")
    found = bundling.bundling(
        catalogue.exposure_matrix(
            made(A19, B19, ("a", "370300", "2019-01-01", "2019-01-01"), third)
        )
    )
    assert set(found.estimable) == {"a", "b", "z"}
    assert found.rank == 3


def test_a_sum_of_measures_is_found_as_a_set_of_three() -> None:
    rows = made(
        ("a", "370200", "2015-01-01", "2015-01-01"),
        ("b", "370300", "2015-01-01", "2015-01-01"),
        ("c", "370200", "2015-01-01", "2015-01-01"),
        ("c", "370300", "2015-01-01", "2015-01-01"),
        ("d", "370700", "2018-01-01", "2018-01-01"),
    )
    found = bundling.bundling(catalogue.exposure_matrix(rows))
    assert found.collinear == (("a", "b", "c"),)
    assert found.estimable == ("d",)


def test_rank_and_condition_agree_with_dummies_written_out() -> None:
    rows = made(
        ("a", "370200", "2015-01-01", "2015-01-01"),
        ("b", "370300", "2016-04-01", "2017-01-01"),
        ("c", "370200", "2019-01-01", "2019-09-01"),
        ("c", "370700", "2014-01-01", "2014-09-01"),
    )
    exposed = catalogue.exposure_matrix(rows)
    frame = exposed.matrix("latest")
    dummies = pd.get_dummies(frame.reset_index()[["place", "year"]].astype(str)).to_numpy(float)
    residual = (
        frame.to_numpy() - dummies @ np.linalg.lstsq(dummies, frame.to_numpy(), rcond=None)[0]
    )
    scaled = residual / np.linalg.norm(residual, axis=0)
    found = bundling.bundling(exposed)
    assert found.rank == np.linalg.matrix_rank(scaled) == 3
    np.testing.assert_allclose(found.condition, np.linalg.cond(scaled), rtol=1e-10)
    np.testing.assert_allclose(
        found.singular_values, np.linalg.svd(scaled, compute_uv=False), rtol=1e-10
    )


def test_a_measure_that_was_always_there_is_absorbed() -> None:
    rows = made(("a", "370200", None, "2020-01-01"), ("b", "370300", "2019-01-01", "2019-01-01"))
    found = bundling.bundling(catalogue.exposure_matrix(rows), start="earliest")
    assert found.absorbed == ("a",)
    assert found.undated == (("370200", "a"),)


@pytest.mark.parametrize("start", ["latest", "earliest"])
def test_every_family_is_estimable_absorbed_or_in_one_set(
    measures: pd.DataFrame, start: catalogue.Start
) -> None:
    found = bundling.bundling(catalogue.exposure_matrix(measures), start=start)
    sets = [name for group in found.collinear for name in group]
    assert sorted([*found.estimable, *found.absorbed, *sets]) == sorted(found.families)
    assert found.rank >= len(found.estimable)


def test_what_is_estimable_keeps_its_effect_and_what_is_not_loses_it(
    measures: pd.DataFrame,
) -> None:
    """Dropping an estimable column lowers the rank; dropping one of a collinear set does not."""
    exposed = catalogue.exposure_matrix(measures)
    found = bundling.bundling(exposed)
    shares = exposed.low - exposed.low.mean(1, keepdims=True)
    flat = (shares - shares.mean(0, keepdims=True)).reshape(-1, len(found.families))
    for at, name in enumerate(found.families):
        rest = np.linalg.matrix_rank(np.delete(flat, at, axis=1), tol=1e-8)
        assert rest == found.rank - (name in found.estimable), name


@pytest.mark.parametrize(
    ("one", "two", "relation"),
    [
        (("2019-01-01", "2019-12-31"), ("2019-01-01", "2019-12-31"), "same"),
        ((None, "2019-12-31"), (None, "2019-12-31"), "same"),
        (("2019-01-01", "2019-12-31"), ("2019-06-01", "2020-12-31"), "overlap"),
        (("2019-01-01", "2019-12-31"), (None, "2021-12-31"), "overlap"),
        (("2019-01-01", "2019-12-31"), ("2020-01-01", "2020-12-31"), "apart"),
        ((None, "2019-12-31"), ("2020-01-01", "2020-12-31"), "apart"),
    ],
)
def test_two_windows_are_the_same_overlap_or_lie_apart(
    one: tuple[str | None, str], two: tuple[str | None, str], relation: str
) -> None:
    for first, second in ((one, two), (two, one)):
        rows = made(("a", "", *first), ("b", "", *second))
        found = bundling.pairs(catalogue.exposure_matrix(rows))
        assert found["relation"].tolist() == [relation]


# --- Dates drawn inside the windows -------------------------------------------------------------


def test_draws_depend_on_the_seed_and_on_nothing_else(measures: pd.DataFrame) -> None:
    exposed = catalogue.exposure_matrix(measures)
    one, two, other = (bundling.random_starts(exposed, draws=5, seed=s, undated="latest")
                       for s in (3, 3, 4))  # fmt: skip
    pd.testing.assert_frame_equal(one, two)
    assert not one.equals(other)


def test_starts_known_to_the_day_leave_nothing_to_draw() -> None:
    exposed = catalogue.exposure_matrix(made(A19, B19, ("c", "370300", "2021-01-01", "2021-01-01")))
    found, fixed = bundling.random_starts(exposed, draws=4), bundling.bundling(exposed)
    assert found["rank"].tolist() == [fixed.rank] * 4
    assert found["apart"].tolist() == [len(fixed.estimable)] * 4


def test_a_shared_window_is_no_shared_date() -> None:
    rows = made(
        ("a", "370200", "2019-01-01", "2021-12-31"),
        ("b", "370200", "2019-01-01", "2021-12-31"),
        ("c", "370300", "2015-01-01", "2015-01-01"),
    )
    exposed = catalogue.exposure_matrix(rows)
    assert bundling.bundling(exposed).collinear == (("a", "b"),)
    assert (bundling.random_starts(exposed, draws=20)["apart"] == 3).all()
    yearly = bundling.random_starts(exposed, draws=40, whole_years=True)["apart"]
    assert set(yearly) == {1, 3}  # the same year in about a third of the draws


def test_an_open_window_is_spread_or_held_at_its_late_end() -> None:
    exposed = catalogue.exposure_matrix(
        made(
            ("a", "370200", None, "2021-12-31"),
            ("b", "370200", None, "2021-12-31"),
            ("c", "370300", "2015-01-01", "2015-01-01"),
        )
    )
    held = bundling.random_starts(exposed, draws=5, undated="latest")
    assert held["rank"].tolist() == [2] * 5
    assert (bundling.random_starts(exposed, draws=5)["rank"] == 3).all()
    before = bundling.random_starts(exposed, draws=5, since="2023-01-01")
    pd.testing.assert_frame_equal(before, held)


# --- Bad input ----------------------------------------------------------------------------------


def broken(frame: pd.DataFrame, how: str) -> pd.DataFrame:
    match how:
        case "no id":
            return frame.drop(columns="id")
        case "id twice":
            return pd.concat([frame, frame.iloc[[0]]])
        case "date in words":
            return frame.assign(start_latest="spring 2019")
        case "unknown family":
            return frame.assign(measure_family="magic")
        case _:
            return frame.assign(target_or_realised="promised")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no id", "id: the column is missing"),
        ("id twice", "the key repeats in rows 1, 158"),
        ("date in words", "start_latest: must be a date"),
        ("unknown family", "measure_family: must be one of"),
        ("not a state", "target_or_realised: must be one of"),
    ],
)
def test_a_broken_catalogue_is_refused_with_the_column(
    tmp_path: Path, how: str, message: str
) -> None:
    frame = pd.read_csv(FOLDER / "measures.csv", dtype="string")
    path = tmp_path / "measures.csv"
    broken(frame, how).to_csv(path, index=False)
    with pytest.raises(ContractError, match=message):
        catalogue.load(path)


def test_options_are_checked_at_the_door(measures: pd.DataFrame) -> None:
    with pytest.raises(OptionError, match="by='town'"):
        catalogue.exposure_matrix(measures, by="town")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="start='middle'"):
        bundling.bundling(catalogue.exposure_matrix(measures), start="middle")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="undated='never'"):
        bundling.random_starts(catalogue.exposure_matrix(measures), undated="never")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="draws=0"):
        bundling.random_starts(catalogue.exposure_matrix(measures), draws=0)
    with pytest.raises(IdentificationError, match="pass jurisdictions="):
        catalogue.exposure_matrix(measures, by="city")
