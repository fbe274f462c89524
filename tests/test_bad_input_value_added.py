"""Bad input to value-added: what is wrong, the error it must give, and the words that help.

One row per way to be wrong, as in ``test_bad_input.py``; grown with every bug.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core.errors import (
    CombinationError,
    DoubtWarning,
    EvalkitError,
    IdentificationError,
    OptionError,
    PanelError,
)

va = ek.value_added


def frame(**changes):
    """Eight schools of six pupils in two counties and two years; columns may be replaced."""
    rng = np.random.default_rng(0)
    school = np.repeat(np.arange(8), 6)
    rows = {"school": school, "county": school // 4, "year": np.tile([1, 2], 24),
            "pupil": np.arange(48), "before": rng.normal(size=48)}  # fmt: skip
    rows["math"] = 0.6 * rows["before"] + rng.normal(size=8)[school] + rng.normal(size=48)
    return pd.DataFrame({**rows, **changes})


def put(name, row, value):
    """The column with one value replaced; ``row`` counts from 1."""
    column = frame()[name].astype(float)
    column[row - 1] = value
    return {name: column}


SCHOOL, ROOM = frame()["school"].to_numpy(), np.arange(48)
NEAR = frame()["before"] + 0.05 * np.random.default_rng(1).normal(size=48)
FOLLOWED = {"pupil": "pupil", "year": "year"}


def pupils(rows, **options):
    given = {"score": "math", "prior": ["before"], "keys": ["school", "county"],
             "provenance": "synthetic"}  # fmt: skip
    return va.pupils(rows, **{**given, **options})


def fit(rows, *levels, **options):
    named = {name: options.pop(name) for name in ("controls", "keys", "weight") if name in options}
    return va.multilevel(pupils(rows, **named), levels=list(levels) or ["school"], **options)


def noisy(reliability, rows=None, **options):
    panel = pupils(frame() if rows is None else rows, **options)
    return va.errors_in_variables(panel, reliability={"before": reliability})


def drift(rows, **options):
    return va.drift(pupils(rows, **FOLLOWED), unit="school", **options)


def as_outcome(name, join=False):
    table = fit(frame()).effects().assign(year=1)
    if join:
        table = table.merge(pd.DataFrame({"unit": range(8), "more": 1}), on="unit")
    return ek.Panel.from_frame(table, outcome=name, unit="unit", time="year",
                               provenance="synthetic")  # fmt: skip


def known(theta, error=None, labels=None):
    k = len(theta)
    return ek.Known.of(theta, [1.0] * k if error is None else error,
                       labels=labels or list("abcdefgh"[:k]), provenance="synthetic")  # fmt: skip


CASES = {
    "a level of single pupils": (
        lambda: fit(frame(school=ROOM)), IdentificationError,
        ["every unit of 'school' has a single pupil", "Leave one"]),
    "every county with one school": (
        lambda: fit(frame(county=SCHOOL), "school", "county"), IdentificationError,
        ["'county'", "single school"]),
    "a school in two counties": (
        lambda: fit(frame(county=ROOM % 2), "school", "county"), IdentificationError,
        ["school 0 lies in county 0, 1", "8 such units", "correct the file"]),
    "ids of schools that repeat": (
        lambda: fit(frame(school=SCHOOL % 4), "school", "county"), IdentificationError,
        ["school 0", "levels=[('county', 'school'), 'county']"]),
    "levels from the coarsest": (
        lambda: fit(frame(), "county", "school"), IdentificationError, ["county 0 lies in school"]),
    "one level as text": (
        lambda: va.multilevel(pupils(frame()), levels="school"), OptionError,
        ["levels=['school']"]),
    "a level that is no category": (
        lambda: fit(frame(), "class"), PanelError, ["no category 'class'", "categories"]),
    "scores without any variance": (
        lambda: fit(frame(math=1.0)), IdentificationError, ["without a rest", "means"]),
    "scores that schools explain": (
        lambda: fit(frame(math=SCHOOL * 1.0), on=[]), IdentificationError, ["residual variance"]),
    "a regressor twice": (
        lambda: fit(frame(twice=2 * frame()["before"]), controls=["twice"]), IdentificationError,
        ["collinear", "twice", "before"]),
    "a slope of no regressor": (
        lambda: fit(frame(), slopes={"school": ["sex"]}), OptionError, ["sex", "no regressor"]),
    "known errors larger than the scatter": (
        lambda: fit(frame(csem=50.0), controls=["csem"], csem="csem"), IdentificationError,
        ["no residual variance", "unit"]),
    "a negative known error": (
        lambda: fit(frame(csem=np.where(ROOM == 1, -1.0, 0.1)), controls=["csem"], csem="csem"),
        PanelError, ["'csem'", "not negative", "unit 2"]),
    "a frame for a panel": (
        lambda: va.multilevel(frame(), levels=["school"]), OptionError, ["pupils", "DataFrame"]),
    "a pupil twice in a year": (
        lambda: pupils(frame(pupil=0), **FOLLOWED), PanelError,
        ["pupil 0", "year 1", "rows 1 and 3"]),
    "no prior score at all": (
        lambda: pupils(frame(before=np.nan)), PanelError, ["no row is complete", "before"]),
    "no prior score to indicate": (
        lambda: pupils(frame(before=np.nan), missing="indicate"), PanelError, ["'before'"]),
    "the score as its own prior": (
        lambda: pupils(frame(), prior=["math"]), OptionError, ["'math' is the score"]),
    "an infinite score": (
        lambda: pupils(frame(**put("math", 4, np.inf))), PanelError, ["'math'", "rows 4"]),
    "a school that is not named": (
        lambda: pupils(frame(**put("school", 4, np.nan))), PanelError, ["'school'", "rows 4"]),
    "a flat cohort": (
        lambda: pupils(frame(math=1.0), standardise=["year"]), PanelError,
        ["'math'", "year 1", "24 scores"]),
    "peers without a prior score": (
        lambda: pupils(frame(), prior=[], peers=["school"]), OptionError, ["prior"]),
    "a reliability too low for the controls": (
        lambda: noisy(0.8, frame(near=NEAR), controls=["near"]), IdentificationError,
        ["not positive definite", "reliability", "before"]),
    "a reliability of zero": (lambda: noisy(0.0), OptionError, ["'before'", "above 0"]),
    "a reliability above one": (lambda: noisy(1.2), OptionError, ["1.2", "up to 1"]),
    "a reliability that is not a number": (lambda: noisy(np.nan), OptionError, ["'before'"]),
    "one year": (lambda: drift(frame(year=1)), IdentificationError, ["'school'", "two years"]),
    "a lag of no years": (lambda: drift(frame(), limit=0), OptionError, ["limit=0"]),
    "a past score that is a regressor": (
        lambda: va.past_score_test(drift(frame()), past="before"), OptionError, ["'before'"]),
    "ties at the quintiles": (
        lambda: va.growth_percentiles(pupils(frame(before=np.tile([1.0, 2.0], 24))),
                                      prior=["before"]), IdentificationError,
        ["'before'", "few different scores", "progress"]),
    "one band": (
        lambda: va.progress(pupils(frame()), effect="school", prior="before", bands=1),
        OptionError, ["bands=1"]),
    "outcomes of one year": (
        lambda: va.outcome(pupils(frame(year=1), **FOLLOWED), unit="school"), IdentificationError,
        ["several years", "weights='equal'"]),
    "a shrunken outcome": (
        lambda: as_outcome("shrunken"), PanelError, ["'shrunken'", "pulled", "outcome"]),
    "a total of shrunken effects": (lambda: as_outcome("total"), PanelError, ["total"]),
    "a shrunken outcome after a join": (
        lambda: as_outcome("shrunken", join=True), PanelError, ["'shrunken'", "pulled"]),
    "factors that are the same": (
        lambda: va.crossed(pupils(frame(area=SCHOOL + 10), keys=["school", "area"]),
                           factors=["school", "area"]), IdentificationError,
        ["'school' and 'area'", "leave one"]),
    "measures of other units": (
        lambda: va.compare({"a": fit(frame()), "b": pd.Series([1.0, 2.0], [98, 99])}),
        CombinationError, ["0 units"]),
    "ranks of one unit": (lambda: ek.ranks(known([1.0])), IdentificationError, ["at least 2"]),
    "as many best as units": (
        lambda: ek.ranks(known([1.0, 2.0]), best=2), OptionError, ["best=2", "between 1 and 1"]),
    "an error of zero": (
        lambda: known([1.0, 2.0], [0.0, 1.0]), OptionError, ["positive", "0.0, 1.0"]),
    "a value that is missing": (lambda: known([np.nan, 2.0]), OptionError, ["finite", "a"]),
    "a label twice": (lambda: known([1.0, 2.0], labels=["a", "a"]), OptionError, ["repeated"]),
    "a cut below zero": (
        lambda: ek.progress_bands(known([1.0, 2.0]), cut=-1), OptionError, ["cut=-1"]),
}  # fmt: skip


@pytest.mark.parametrize(("call", "error", "words"), CASES.values(), ids=CASES.keys())
def test_bad_input_is_refused_with_the_reason_and_the_remedy(call, error, words):
    with pytest.raises(EvalkitError) as caught:
        call()
    assert type(caught.value) is error
    assert not [word for word in words if word not in str(caught.value)], str(caught.value)


# --- What is not refused, but said ----------------------------------------------------------------


def test_a_school_without_prior_scores_is_named_when_it_is_dropped():
    rows = frame()
    rows.loc[rows["school"] == 2, "before"] = np.nan
    assert "1 of 8 units of school lost every row: 2" in pupils(rows).ledger


def test_single_pupils_among_schools_stay_in_a_multilevel_model_and_leave_fixed_effects():
    rows = frame(school=np.where(ROOM < 4, 100 + ROOM, SCHOOL))
    effects = fit(rows).effects().set_index("unit")
    assert effects.loc[100, "n"] == 1
    assert effects.loc[100, "reliability"] < effects.loc[5, "reliability"]
    made = va.fixed(pupils(rows), effect="school")
    assert any("4 units of school left out" in note and "100" in note for note in made.meta.notes)


def test_a_county_with_one_school_is_kept():
    rows = frame(county=np.where(SCHOOL == 0, 9, SCHOOL // 4))
    with pytest.warns(DoubtWarning, match="variance is zero"):
        made = fit(rows, "school", "county")
    assert list(made.effects("county")["unit"]) == [0, 1, 9]


def test_a_school_seen_in_one_year_has_no_forecast_and_is_named():
    rows = frame(year=np.where(SCHOOL == 0, 1, np.tile([1, 2], 24)))
    made = drift(rows.assign(pupil=ROOM))
    assert any("1 units of school are seen in one year only" in note for note in made.meta.notes)
    assert made.table.query("school == 0")["forecast"].isna().all()


def test_no_difference_between_schools_is_said_with_its_gradient():
    with pytest.warns(DoubtWarning, match=r"variance is zero, with gradient \+"):
        made = fit(frame(math=np.tile(np.arange(6.0), 8)), on=[])
    assert made.singular == ("school",)
    assert made.variance["gradient"].iloc[0] > 0


@pytest.mark.parametrize("method", ["reml", "ml", "moments"])
def test_estimates_that_do_not_differ_are_pulled_to_one_value(method):
    for value in (0.0, 1.0):
        with pytest.warns(DoubtWarning, match="vary no more than their errors"):
            made = ek.shrink(known([value] * 3), method=method)
        np.testing.assert_allclose(made.value, value)


def test_the_answer_has_the_unit_of_the_score_however_large():
    small = fit(frame())
    for factor in (1e-100, 1e100):
        made = fit(frame(math=frame()["math"] * factor))
        np.testing.assert_allclose(made.effects()["shrunken"] / factor,
                                   small.effects()["shrunken"], rtol=1e-6)  # fmt: skip
