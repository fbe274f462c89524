"""From pupils to sums: the same table from every engine, every partition and every order."""

from __future__ import annotations

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import evalkit as ek

ENGINES = {
    "pandas": lambda frame: frame,
    "pandas nullable": lambda frame: frame.convert_dtypes(),
    "pandas Arrow": lambda frame: frame.convert_dtypes(dtype_backend="pyarrow"),
    "polars": pl.from_pandas,
    "polars lazy": lambda frame: pl.from_pandas(frame).lazy(),
    "Arrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
    "DuckDB": lambda frame: duckdb.connect().from_arrow(pa.Table.from_pandas(frame)),
}


def pupils(n=3000, seed=1):
    """Half-point scores with gaps, two covariates, weights that double precision holds exactly."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "county": rng.integers(0, 4, n),
            "school": rng.choice(["east", "north", "西"], n),
            "math": rng.integers(0, 201, n) / 2,
            "prior": rng.integers(0, 201, n) / 2,
            "female": rng.random(n) < 0.5,
            "weight": rng.integers(1, 9, n) / 4,
        }
    )
    frame.loc[rng.random(n) < 0.05, "math"] = np.nan
    frame.loc[rng.random(n) < 0.05, "prior"] = np.nan
    return frame


ASK = {
    "keys": ["county", "school"],
    "score": "math",
    "prior": ["prior"],
    "controls": ["female"],
    "provenance": "synthetic",
}


def same_bits(a, b):
    assert a.names == b.names
    for mine, theirs in zip(a.labels, b.labels, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for part in ("n", "weight", "weight2", "mean", "cross", "bands"):
        np.testing.assert_array_equal(getattr(a, part), getattr(b, part), err_msg=part)
    for part in ("cell", "step", "count"):
        if a.histogram is not None:
            np.testing.assert_array_equal(getattr(a.histogram, part), getattr(b.histogram, part))
    for part in ("rows", "counts", "keyless"):
        np.testing.assert_array_equal(getattr(a.missing, part), getattr(b.missing, part))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("more", [{}, {"weight": "weight"}, {"grid": 0.5, "bands": [30, 60]}])
def test_every_engine_gives_the_same_bits_for_scores_on_a_grid(engine, more):
    frame = pupils()
    same_bits(
        ek.summaries(ENGINES[engine](frame), **ASK, **more), ek.summaries(frame, **ASK, **more)
    )


def test_parts_add_up_to_the_whole_bit_for_bit():
    frame, more = pupils(), {"grid": 0.5, "bands": [30.0, 60.0]}
    parts = [ek.summaries(frame[start::3], **ASK, **more) for start in range(3)]
    whole = ek.summaries(frame, **ASK, **more)
    same_bits(parts[0] + parts[1] + parts[2], whole)
    same_bits(parts[2] + (parts[0] + parts[1]), whole)


def test_fewer_keys_are_a_pass_with_fewer_keys():
    frame, more = pupils(), {"grid": 0.5, "bands": [30.0, 60.0]}
    same_bits(
        ek.summaries(frame, **ASK, **more).by("school"),
        ek.summaries(frame, **{**ASK, "keys": ["school"]}, **more),
    )


def test_a_file_gives_back_what_was_written(tmp_path):
    sums = ek.summaries(pupils(), **ASK, grid=0.5, bands=[60])
    sums.to_parquet(tmp_path / "sums.parquet")
    back = ek.Summaries.from_parquet(tmp_path / "sums.parquet")
    same_bits(back, sums)
    assert back.provenance == "synthetic"
    assert repr(back) == repr(sums)


# --- Cell means as a panel ---------------------------------------------------------------------


def staggered(seed=0):
    """Pupils of 40 counties, seen once each; some county-years have no pupil."""
    rng = np.random.default_rng(seed)
    n = 4000
    frame = pd.DataFrame(
        {
            "pupil": np.arange(n),
            "county": rng.integers(0, 40, n),
            "year": rng.integers(2010, 2016, n),
            "group": rng.integers(0, 2, n),
            "weight": rng.integers(1, 5, n),
        }
    )
    start = {county: {0: 2012, 1: 2014}.get(county // 10) for county in range(40)}
    frame["start"] = frame["county"].map(start).astype(float)
    frame["score"] = rng.normal(size=n) + frame["county"] / 9 + (frame["year"] >= frame["start"])
    return frame[(frame["county"] + frame["year"]) % 7 > 0], start


EXACT = 1e-12  # the same sums, added in another order


@pytest.mark.parametrize("weight", [None, "weight"])
@pytest.mark.parametrize("unit", ["county", None])
@pytest.mark.parametrize("control", ["never", "not_yet"])
def test_group_time_effects_from_sums_are_those_from_pupils(weight, unit, control):
    frame, start = staggered()
    pupils = ek.Panel.from_frame(
        frame, outcome="score", unit="pupil", time="year", cohort="start", cluster="county",
        weight=weight, provenance="synthetic",
    )  # fmt: skip
    keys = ["county", "year", "group"]
    sums = ek.summaries(frame, keys=keys, score="score", weight=weight, provenance="synthetic")
    means = sums.panel(unit=unit, time="year", cluster=None if unit else "county", cohort=start)
    a, b = (
        ek.did.callaway_santanna(panel, unbalanced="records", control=control)
        for panel in (pupils, means)
    )
    pairs = [(a, b)]
    if unit is None:  # a unit that is followed weighs in an average by its pupils per period
        pairs += [(ek.aggregate(a, by=by), ek.aggregate(b, by=by)) for by in ("event", "cohort")]
    for a, b in pairs:
        a, b = ek.infer(a, few="show"), ek.infer(b, few="show")
        np.testing.assert_allclose(b.estimate, a.estimate, rtol=0, atol=EXACT)
        np.testing.assert_allclose(b.vcov, a.vcov, rtol=0, atol=EXACT)


def test_a_two_way_regression_from_sums_is_the_one_from_pupils():
    frame, _ = staggered()
    frame = frame.assign(exposed=(frame["year"] >= frame["start"]).astype(float))
    pupils = ek.Panel.from_frame(
        frame, outcome="score", unit="pupil", time="year", cluster="county",
        covariates=["exposed"], categories=["county"], provenance="synthetic",
    )  # fmt: skip
    a = ek.infer(ek.did.regression(pupils, on=["exposed"], absorb=["county", "time"]), vcov="CR2")
    sums = ek.summaries(frame, keys=["county", "year"], score="score", provenance="synthetic")
    cohort = dict(staggered()[1].items())
    means = sums.panel(unit="county", time="year", cohort=cohort)
    b = ek.infer(ek.did.two_way(means), vcov="CR2")
    for part in ("estimate", "std_error", "dof"):
        np.testing.assert_allclose(getattr(b, part), getattr(a, part), rtol=1e-10)


# --- The object ----------------------------------------------------------------------------------


def test_a_frame_in_memory_is_read_piece_by_piece(monkeypatch):
    frame, more = pupils(), {"weight": "weight", "grid": 0.5, "bands": [60.0]}
    whole = ek.summaries(frame, **ASK, **more)
    monkeypatch.setattr("evalkit.data.collapse.CHUNK", 700)
    same_bits(ek.summaries(frame, **ASK, **more), whole)
    same_bits(ek.summaries(ENGINES["Arrow"](frame), **ASK, **more), whole)


def test_the_table_says_of_each_cell_what_the_pupils_say():
    frame = pupils()
    table = ek.summaries(frame, **ASK, bands=[30, 60]).table
    complete = frame.dropna(subset=["math", "prior"]).groupby(["county", "school"])
    expected = complete["math"].agg(["size", "mean", "std"])
    np.testing.assert_array_equal(table["n"], expected["size"])
    np.testing.assert_allclose(table["mean_math"], expected["mean"], rtol=1e-13)
    np.testing.assert_allclose(table["sd_math"], expected["std"], rtol=1e-13)
    np.testing.assert_array_equal(
        table["n"] + table["missing"], frame.groupby(["county", "school"]).size()
    )
    passed = complete["math"].agg(lambda scores: (scores >= 60).mean())
    np.testing.assert_allclose(table["share_2"], passed, rtol=1e-13)
    assert [*table][:4] == ["county", "school", "n", "missing"]


def test_a_weighted_table_has_weights_and_no_sd_of_one_pupil():
    frame = pd.DataFrame({"s": [1, 1, 2], "y": [1.0, 3.0, 5.0], "w": [2.0, 2.0, 3.0]})
    table = ek.summaries(frame, keys=["s"], score="y", weight="w", provenance="real").table
    assert table["weight"].tolist() == [4.0, 3.0]
    assert table["sd_y"].isna().tolist() == [False, True]


def test_cells_are_selected_by_value_collection_and_predicate():
    sums = ek.summaries(pupils(), **ASK, grid=0.5, bands=[60])
    some = sums.select(county=[1, 3], school=lambda name: name > "east")
    assert [*zip(*(labels.tolist() for labels in some.labels), strict=True)] == [
        (1, "north"), (1, "西"), (3, "north"), (3, "西")]  # fmt: skip
    frame = pupils()
    same_bits(
        some, ek.summaries(frame[frame["county"].isin([1, 3]) & (frame["school"] > "east")],
                           **ASK, grid=0.5, bands=[60])
    )  # fmt: skip


def test_a_cell_without_a_complete_row_is_counted_and_is_no_cell():
    rows = {"school": [1, 1, 2], "math": [1.0, 2.0, None], "prior": [1.0, 1.0, 1.0]}
    ask = {"keys": ["school"], "score": "math", "prior": ["prior"], "provenance": "synthetic"}
    sums = ek.summaries(rows, **ASK | ask | {"controls": []})
    assert sums.label("school").tolist() == [1]
    assert sums.missing.cells.label("school").tolist() == [2]
    later = ek.summaries({**rows, "math": [None, 5.0, 7.0]}, **ASK | ask | {"controls": []})
    both = sums + later
    assert both.n.tolist() == [3, 1]
    assert both.missing.rows.tolist() == [1, 1]
    assert len(both.missing) == 2


def test_sums_are_closed():
    sums = ek.summaries(pupils(), **ASK, grid=0.5, bands=[60])
    for array in (sums.n, sums.weight, sums.bands, sums.moments.second, sums.labels[0],
                  sums.histogram.count, sums.missing.rows):  # fmt: skip
        assert not array.flags.writeable


def test_decimal_steps_sum_exactly_once_the_grid_is_named():
    """0.1 is no double; thirty times 0.1 is 3 in steps, whatever the order."""
    frame = pd.DataFrame({"s": [1] * 30 + [2] * 3, "y": [0.1] * 30 + [0.1, 0.2, 0.3]})
    sums = ek.summaries(frame, keys=["s"], score="y", grid=0.1, provenance="synthetic")
    assert sums.mean[:, 0].tolist() == [0.1, 0.2]
    assert sums.cross[0, 0, 0] == 0.0
    assert sums.histogram.step.tolist() == [1, 1, 2, 3]


def test_keys_need_not_fit_one_number_together():
    """Seven keys of a thousand labels each: their product overflows 64 bits."""
    rng = np.random.default_rng(0)
    keys = {f"k{i}": rng.integers(0, 10**9, 500) for i in range(7)}
    sums = ek.summaries({**keys, "y": np.ones(500)}, keys=[*keys], score="y", provenance="real")
    assert len(sums) == 500
    np.testing.assert_array_equal(sums.label("k0"), np.sort(keys["k0"]))
