"""Records and sums that are wrong: the one error each must give, on every engine.

One row per way to be wrong; what concerns files stands in ``test_files``.
"""

from __future__ import annotations

import json

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import evalkit as ek
from evalkit.core.errors import CombinationError, OptionError, SummaryError
from test_summaries import ASK, ENGINES, pupils, same_bits

SOME = ["pandas", "polars", "Arrow", "DuckDB"]


def put(name, row, value):
    """Pupils with one value replaced."""
    frame = pupils(60)
    frame[name] = frame[name].astype(float)
    frame.loc[row, name] = value
    return frame


RECORDS = {
    "unknown score": ({"score": "maths"}, pupils(9), ["no column maths", "county", "spelling"]),
    "unknown key": ({"keys": ["district"]}, pupils(9), ["no column district"]),
    "no rows": ({}, pupils(9).iloc[:0], ["no row is complete", "there are no rows"]),
    "no complete row": (
        {}, pupils(9).assign(math=np.nan), ["no row is complete", "math is missing"]),
    "text scores": (
        {}, pupils(9).astype({"math": str}), ["'math'", "must be numeric", "Convert"]),
    "text weights": (
        {"weight": "weight"}, pupils(9).astype({"weight": str}), ["'weight'", "must be numeric"]),
    "infinite score": ({}, put("math", 4, np.inf), ["'math'", "infinite", "county", "school"]),
    "two infinities of one cell": (
        {}, pd.concat([put("math", 4, np.inf), put("math", 4, -np.inf)]), ["'math'", "infinite"]),
    "infinite weight": ({"weight": "weight"}, put("weight", 4, np.inf), ["'weight'", "infinite"]),
    "zero weight": (
        {"weight": "weight"}, put("weight", 4, 0.0), ["'weight'", "positive", "1 rows", "county"]),
    "negative weight": (
        {"weight": "weight"}, put("weight", 4, -1.0), ["'weight'", "positive", "drop the rows"]),
    "an empty key": (
        {"keys": ["county"]}, put("county", 4, np.nan),
        ["'county'", "empty in 1 rows", "drop_null_keys=True"]),
    "a score off its grid": (
        {"grid": 0.5}, put("math", 4, 50.25), ["'math'", "off the grid of 0.5", "1 rows"]),
}  # fmt: skip


@pytest.mark.parametrize("engine", SOME)
@pytest.mark.parametrize("case", RECORDS)
def test_records_that_cannot_be_summed_say_why(engine, case):
    options, frame, words = RECORDS[case]
    with pytest.raises(SummaryError) as refused:
        ek.summaries(ENGINES[engine](frame.reset_index(drop=True)), **{**ASK, **options})
    for word in words:
        assert word in str(refused.value)


def test_a_row_that_is_left_out_may_hold_anything():
    frame = put("prior", 0, np.inf)
    frame.loc[0, "math"] = np.nan
    same_bits(
        ek.summaries(frame, **ASK),
        ek.summaries(frame.assign(prior=frame["prior"].clip(upper=1e300)), **ASK),
    )


OPTIONS = {
    "a key that is a control": ({"keys": ["county", "female"]}, ["female", "two roles"]),
    "a prior that is the score": ({"prior": ["math"]}, ["math", "two roles"]),
    "the weight is a key": ({"weight": "county"}, ["county", "two roles"]),
    "one text for keys": ({"keys": "county"}, ["keys", "['county']"]),
    "a key twice": ({"keys": ["county", "county"]}, ["county", "twice"]),
    "no keys": ({"keys": []}, ["keys is empty"]),
    "unknown provenance": ({"provenance": "true"}, ["provenance", "synthetic"]),
    "falling bands": ({"bands": [60, 30]}, ["bands", "rise"]),
    "no bands": ({"bands": []}, ["bands", "rise"]),
    "an infinite cut": ({"bands": [np.inf]}, ["bands", "finite"]),
    "NaN cut": ({"bands": [np.nan]}, ["bands", "finite"]),
    "a cut that is text": ({"bands": ["pass"]}, ["bands", "begins"]),
    "one number for bands": ({"bands": 60}, ["bands=60", "begins"]),
    "text for a grid": ({"grid": "half"}, ["grid='half'", "positive step"]),
    "a number for a name": ({"keys": [0]}, ["0 is no column name"]),
    "memory for a frame": ({"memory": "1GB"}, ["memory", "path"]),
    "zero grid": ({"grid": 0}, ["grid=0", "positive"]),
    "a floor of one": ({"floor": 1}, ["floor=1", "at least 2"]),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options_that_make_no_sense_are_refused(case):
    options, words = OPTIONS[case]
    with pytest.raises(OptionError) as refused:
        ek.summaries(pupils(60), **{**ASK, **options})
    for word in words:
        assert word in str(refused.value)


def test_what_is_no_frame_and_no_path_is_refused():
    with pytest.raises(SummaryError, match="cannot read records from int"):
        ek.summaries(3, **ASK)


def test_columns_that_make_no_table_are_refused():
    frame = pupils(60)
    with pytest.raises(SummaryError, match="one name; rename"):
        ek.summaries(pd.concat([frame, frame], axis=1), **ASK)
    with pytest.raises(SummaryError, match="make no table"):
        ek.summaries({"county": [1], "math": [1.0, 2.0]}, **ASK)
    with pytest.raises(SummaryError, match="the records have none"):
        ek.summaries({}, **ASK)


@pytest.mark.parametrize("engine", SOME)
def test_ids_too_long_for_their_type_are_refused_or_kept_whole(engine):
    ask = {"keys": ["id"], "score": "math", "provenance": "synthetic"}
    rows = {"id": [2**53 + 1, 2**53 + 2], "math": [1.0, 2.0]}
    kept = ek.summaries(ENGINES[engine](pd.DataFrame(rows)), **ask)
    assert kept.label("id").tolist() == rows["id"]
    with pytest.raises(SummaryError, match="lost their last digits"):
        ek.summaries(ENGINES[engine](pd.DataFrame(rows).astype({"id": float})), **ask)
    beyond = pd.DataFrame({**rows, "id": np.array([2**63, 2**63 + 1], np.uint64)})
    with pytest.raises(SummaryError, match="beyond 64 bits"):
        ek.summaries(ENGINES[engine](beyond), **ask)


def test_ids_in_decimal_keep_every_digit():
    frame = duckdb.sql(
        "select unnest([900719925474099321, 900719925474099322])::hugeint id, 1.5 math"
    )
    sums = ek.summaries(frame, keys=["id"], score="math", provenance="synthetic")
    assert sums.label("id").tolist() == [900719925474099321, 900719925474099322]


def test_ids_of_two_types_in_one_column_are_refused():
    frame = pupils(60)
    frame["school"] = frame["school"].astype(object)
    frame.loc[3, "school"] = 7
    with pytest.raises(SummaryError, match="key 'school' is Object"):
        ek.summaries(frame, **ASK)


@pytest.mark.parametrize("kind", ["category", "int8", "int64", "uint16", "string", "float", "date"])
def test_ids_may_be_of_any_type(kind):
    frame = pupils()
    county = frame["county"]
    frame["county"] = (
        pd.to_datetime("2000-01-01") + pd.to_timedelta(county, unit="D")
        if kind == "date"
        else county.astype(str).astype("category")
        if kind == "category"
        else county.astype(kind)
    )
    whole = ek.summaries(pupils(), **ASK)
    for engine in SOME:
        sums = ek.summaries(ENGINES[engine](frame), **ASK)
        np.testing.assert_array_equal(sums.cross, whole.cross)
        expected = {"category": "U", "string": "U", "date": "M"}.get(kind, "i")
        assert sums.label("county").dtype.kind == expected


def test_one_school_id_in_two_counties_is_two_cells():
    frame = pd.DataFrame({"county": [1, 2], "school": [7, 7], "math": [1.0, 2.0]})
    sums = ek.summaries(frame, keys=["county", "school"], score="math", provenance="synthetic")
    assert len(sums) == 2


def test_nan_and_null_are_one_kind_of_missing_even_in_a_row_that_lacks_more():
    rows = {
        "school": [1, 1, 1, 1, 2],
        "math": [1.0, None, float("nan"), 2.0, float("nan")],
        "prior": [1.0, float("nan"), None, None, 3.0],
    }
    frame = pl.DataFrame(rows)
    ask = {"keys": ["school"], "score": "math", "prior": ["prior"], "provenance": "synthetic"}
    made = {
        "polars": ek.summaries(frame, **ask),
        "Arrow": ek.summaries(frame.to_arrow(), **ask),
        "DuckDB": ek.summaries(ENGINES["DuckDB"](frame.to_arrow().to_pandas()), **ask),
        "pandas": ek.summaries(frame.to_pandas(), **ask),
        "mapping": ek.summaries(rows, **ask),
    }
    for sums in made.values():
        assert (sums.n.tolist(), sums.mean.tolist()) == ([1], [[1.0, 1.0]])
        assert sums.missing.rows.tolist() == [3, 1]
        assert sums.missing.counts.tolist() == [[3, 2], [0, 1]]  # prior, math
        same_bits(sums, made["polars"])


def test_rows_without_a_key_are_counted_if_they_may_be_dropped():
    frame = put("county", 4, np.nan)
    sums = ek.summaries(frame, **ASK, drop_null_keys=True)
    whole = ek.summaries(frame.drop(index=4), **ASK)
    assert sums.missing.keyless == 1
    assert "1 rows left out: a key is empty" in repr(sums)
    np.testing.assert_array_equal(sums.cross, whole.cross)


# --- Sums that do not fit together ---------------------------------------------------------------


def made(**options):
    return ek.summaries(pupils(200), **{**ASK, **options})


UNLIKE = {
    "keys": ({"keys": ["county"]}, "keys differ"),
    "variables": ({"controls": []}, "variables differ"),
    "weights": ({"weight": "weight"}, "weights differ"),
    "grids": ({"grid": 0.5}, "grids differ"),
    "bands": ({"bands": [60]}, "bands or histograms differ"),
}


@pytest.mark.parametrize("case", UNLIKE)
def test_sums_of_different_things_do_not_add_up(case):
    options, words = UNLIKE[case]
    with pytest.raises(CombinationError, match=words):
        _ = made() + made(**options)


def test_keys_of_two_types_do_not_add_up():
    text = pupils(200).assign(county=lambda frame: frame["county"].astype(str))
    with pytest.raises(CombinationError, match=r"'county' holds numbers on one side .* text on"):
        _ = made() + ek.summaries(text, **ASK)


def test_only_sums_are_added_to_sums():
    with pytest.raises(TypeError, match="unsupported operand"):
        _ = made() + 1


def test_mixed_provenance_takes_the_weakest_and_says_so():
    both = made(provenance="restricted") + made(provenance="synthetic")
    assert both.provenance == "synthetic"
    assert "restricted and synthetic records together" in repr(both)


def test_unknown_keys_and_variables_are_refused():
    sums = made()
    for wrong in (lambda: sums.by("district"), lambda: sums.select(district=1), lambda: sums.by(),
                  lambda: sums.by("county", "county"), lambda: sums.select(county=99),
                  lambda: sums.at("reading"), lambda: sums.label("year"),
                  lambda: sums.panel(time="year")):  # fmt: skip
        with pytest.raises(OptionError):
            wrong()


def test_quantiles_refuse_what_they_cannot_mean():
    weighted = made(grid=0.5, weight="weight").histogram
    with pytest.raises(OptionError, match="inverted_cdf"):
        weighted.quantiles([0.5])
    with pytest.raises(OptionError, match="probabilities"):
        weighted.quantiles([50], method="inverted_cdf")
    with pytest.raises(OptionError, match="not an option"):
        weighted.quantiles([0.5], method="nearest")


# --- Files of sums -------------------------------------------------------------------------------


def rewritten(path, **about):
    """The file with another description of itself."""
    table = pq.read_table(path)
    held = {**json.loads(table.schema.metadata[b"evalkit"]), **about}
    pq.write_table(table.replace_schema_metadata({"evalkit": json.dumps(held)}), path)
    return path


def test_a_file_of_a_newer_schema_is_refused(tmp_path):
    made().to_parquet(tmp_path / "sums.parquet")
    path = rewritten(tmp_path / "sums.parquet", schema=99)
    with pytest.raises(SummaryError, match=r"sums.parquet: written with schema 99; .* Update"):
        ek.Summaries.from_parquet(path)


def test_files_that_hold_no_sums_are_refused(tmp_path):
    with pytest.raises(SummaryError, match="no such folder"):
        made().to_parquet(tmp_path / "none" / "sums.parquet")
    with pytest.raises(SummaryError, match="no such file"):
        ek.Summaries.from_parquet(tmp_path / "sums.parquet")
    pupils(9).to_parquet(tmp_path / "pupils.parquet")
    with pytest.raises(SummaryError, match=r"pupils.parquet: .* not of sums"):
        ek.Summaries.from_parquet(tmp_path / "pupils.parquet")
    (tmp_path / "text.parquet").write_text("no")
    with pytest.raises(SummaryError, match=r"text.parquet: not a whole Parquet file"):
        ek.Summaries.from_parquet(tmp_path / "text.parquet")


@pytest.mark.parametrize("wrong", [KeyboardInterrupt, OSError])
def test_an_interruption_leaves_no_half_written_file(tmp_path, monkeypatch, wrong):
    sums, path = made(), tmp_path / "sums.parquet"
    sums.to_parquet(path)
    before = path.read_bytes()

    def half(table, where):
        with open(where, "wb") as file:
            file.write(b"PAR1")
        raise wrong

    monkeypatch.setattr(pq, "write_table", half)
    with pytest.raises(wrong):
        made(keys=["county"]).to_parquet(path)
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_bytes() == before


# --- Panels of means -----------------------------------------------------------------------------


def years(**columns):
    rows = {"county": [1, 1, 2, 2], "school": [7, 7, 8, 8], "year": [1, 2, 1, 2],
            "math": [1.0, 2.0, 3.0, 4.0]}  # fmt: skip
    frame = pd.DataFrame({**rows, **columns})
    return ek.summaries(
        frame, keys=[k for k in frame if k != "math"], score="math", provenance="synthetic"
    )


def test_one_school_id_in_two_counties_cannot_be_followed():
    with pytest.raises(SummaryError) as refused:
        years(school=[7, 7, 7, 7]).panel(unit="school", time="year", cluster="county")
    for word in ("school 7", "county 1", "county 2", "Make the ids unique"):
        assert word in str(refused.value)


def test_two_adoption_dates_of_a_unit_are_refused():
    with pytest.raises(SummaryError, match="county 1 lies in start 1 and in start 2"):
        years(start=[1, 2, 3, 3]).panel(unit="county", time="year", cohort="start")


def test_an_adoption_date_that_is_left_out_is_not_taken_for_never():
    with pytest.raises(SummaryError, match="no first treated period for county 2"):
        years().panel(unit="county", time="year", cohort={1: 2})


def test_adoption_dates_may_be_a_series():
    starts = pd.Series({1: 2.0, 2: np.nan})
    panel = years().panel(unit="county", time="year", cohort=starts)
    assert panel.cohort.tolist() == [2.0, np.inf]
    assert panel.ledger[0] == "means of 4 pupils in 4 cells"


def engines(frame):
    table = pa.Table.from_pandas(frame)
    return {"pandas": frame, "polars": pl.from_arrow(table), "arrow": table}


PLAIN = {"keys": ["k"], "score": "y", "provenance": "synthetic"}


@pytest.mark.parametrize("engine", ["pandas", "polars", "arrow"])
def test_zero_is_one_key_and_one_score_whatever_its_sign(engine):
    frame = pd.DataFrame({"k": [0.0, -0.0, 1.0], "y": [0.0, -0.0, 1.0]})
    made = ek.summaries(engines(frame)[engine], **PLAIN, grid=1.0)
    assert made.n.tolist() == [2, 1]
    assert made.histogram.count.tolist() == [2, 1]


@pytest.mark.parametrize("engine", ["pandas", "polars", "arrow"])
def test_integers_that_no_double_holds_are_refused(engine):
    frame = pd.DataFrame({"k": [1, 1], "y": [2**53 + 1, 1]})
    with pytest.raises(SummaryError, match=r"'y' holds integers beyond 2\*\*53"):
        ek.summaries(engines(frame)[engine], **PLAIN)


def test_a_categorical_key_of_numbers_holds_numbers():
    frame = pd.DataFrame({"k": pd.Categorical([10, 9, None, 9]), "y": [1.0, 2.0, 3.0, 4.0]})
    assert ek.summaries(frame, **PLAIN, drop_null_keys=True).label("k").tolist() == [9, 10]
