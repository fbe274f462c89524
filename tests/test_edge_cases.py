"""One documented behaviour for each edge case of staggered adoption, on county employment (mpdta).

``data/published/edge_cases.csv`` is the table that the book prints: what evalkit does, the number
of a reference where there is one, and what the peers do (``status`` says whether the reference was
run for this table or is quoted). A row without a test, or a test without a row, fails.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core.errors import PanelError
from mpdta import X, mpdta, panel

TABLE = Path(__file__).parents[1] / "data" / "published" / "edge_cases.csv"
CASES = pd.read_csv(TABLE, dtype=str, keep_default_na=False).set_index("id")


def overall(data, **options):
    """The simple average of all group-time effects after adoption."""
    return ek.aggregate(ek.did.callaway_santanna(data, **options))


def theta(estimate):
    return float(estimate.theta[0])


def holes():
    frame = mpdta()
    return frame[(frame["county"] // 3 + 3 * frame["year"]) % 11 > 0]


def with_singletons():
    """Twenty counties more, never treated, of which one year each is known."""
    frame = mpdta()
    extra = frame[frame["adopted"].isna()].groupby("county").head(1).iloc[:20]
    return pd.concat([frame, extra.assign(county=extra["county"] + 900_000, log_employment=99.0)])


def always():
    frame = mpdta()
    early = (frame["adopted"] == 2004) & (frame["county"] % 4 == 1)
    return frame.assign(adopted=frame["adopted"].where(~early, 2003))


NUMBERS = {
    "never_treated_empty": lambda: theta(overall(panel())),
    "string_ids": lambda: theta(
        overall(panel(mpdta().assign(county=lambda d: "c" + d["county"].astype(str))))),
    "state_clusters": lambda: ek.infer(
        overall(panel(cluster="state"), covariates=X), vcov="CR0", few="show").std_error[0],
    "unbalanced_pairwise": lambda: theta(
        ek.did.callaway_santanna(panel(holes())).select(cohort=2004, time=2004)),
    "unbalanced_balanced": lambda: theta(overall(panel(holes()), unbalanced="balanced")),
    "unbalanced_records": lambda: theta(overall(panel(holes()), unbalanced="records")),
    "singletons": lambda: theta(overall(panel(with_singletons()))),
    "singletons_imputation": lambda: theta(
        ek.aggregate(ek.did.imputation(panel(with_singletons())))),
    "anticipation": lambda: theta(overall(panel(), anticipation=1)),
    "always_treated": lambda: theta(overall(panel(always()), control="not_yet")),
}  # fmt: skip


@pytest.mark.parametrize("case", NUMBERS)
def test_a_number_is_that_of_the_reference_to_its_last_digit(case):
    printed = CASES.loc[case, "reference"]
    digits = len(printed.split(".")[1])
    assert abs(NUMBERS[case]() - float(printed)) <= 0.5001 * 10**-digits


def test_the_error_of_a_pairwise_cell_is_that_of_diff_diff():
    cell = ek.did.callaway_santanna(panel(holes())).select(cohort=2004, time=2004)
    assert abs(ek.infer(cell, vcov="CR0").std_error[0] - 0.024354018284812436) < 1e-10


def zeros():
    return panel(mpdta().assign(adopted=lambda d: d["adopted"].fillna(0)))


def twice():
    frame = mpdta()
    return panel(pd.concat([frame, frame.iloc[[3]]], ignore_index=True))


def moved():
    frame = mpdta().copy()
    frame.loc[frame.index[frame["adopted"] == 2006][0], "adopted"] = 2007.0
    return panel(frame)


ERRORS = {
    "never_treated_zero": (zeros, r"unit \d+ adopts in 0, outside the sample 2003 to 2007 .*309"),
    "duplicate_rows": (twice, r"county \d+ has two rows in year \d+ \(rows 4 and 2501"),
    "start_varies": (
        moved,
        r"unit \d+ has 200[67] \(row \d+\) and 200[67] \(row \d+\); a unit has",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_a_wrong_table_is_refused_with_rows_and_remedy(case):
    make, words = ERRORS[case]
    with pytest.raises(PanelError, match=words) as refused:
        make()
    assert any(remedy in str(refused.value) for remedy in ("Correct", "Keep one row", "Leave it"))


def one_treated_unit():
    """Cohort 2006 keeps its first county."""
    frame = mpdta()
    first = frame.loc[frame["adopted"] == 2006, "county"].min()
    estimate = ek.did.callaway_santanna(
        panel(frame[(frame["adopted"] != 2006) | (frame["county"] == first)])
    )
    assert np.isfinite(estimate.theta).all()
    assert (estimate.select(cohort=2006).counts[:, 0] == 1).all()
    return estimate.meta.notes, r"one treated unit only in 2006: its own noise is in no standard"


def failed_cell():
    """Cohort 2004 lies apart from everybody else in population."""
    frame = mpdta()
    shift = 99 * (frame["adopted"] == 2004)
    apart = frame.assign(log_population=frame["log_population"] + shift)
    estimate = ek.did.callaway_santanna(panel(apart), covariates=X)
    assert np.isnan(estimate.select(cohort=2004).theta).all()
    whole = ek.did.callaway_santanna(panel(), covariates=X)
    np.testing.assert_allclose(
        estimate.select(cohort=2006).theta, whole.select(cohort=2006).theta, atol=1e-12
    )
    average = ek.aggregate(estimate)
    assert np.isfinite(average.theta).all()
    assert any("left out of the averages" in note for note in average.meta.notes)
    return estimate.meta.notes, r"cohort 2004 in .* is not estimated: .*separated by log_population"


NOTES = {"one_treated_unit": one_treated_unit, "failed_cell": failed_cell}


@pytest.mark.parametrize("case", NOTES)
def test_a_doubtful_result_says_why(case):
    import re

    notes, words = NOTES[case]()
    assert any(re.search(words, note) for note in notes), notes


def test_always_treated_units_are_named_and_counted():
    notes = ek.did.callaway_santanna(panel(always()), control="not_yet").meta.notes
    assert any("treated in every period" in note for note in notes)
    assert "cohort 2003 left out: no period before its treatment" in notes


def test_singletons_contribute_nothing():
    data = panel(with_singletons())
    for estimate in (overall(data), ek.aggregate(ek.did.imputation(data))):
        assert not estimate.psi[estimate.units > 900_000].any()


def test_the_table_and_the_tests_speak_of_the_same_cases():
    assert set(CASES.index) == {*NUMBERS, *ERRORS, *NOTES}
    assert set(CASES["status"]) == {"run", "quoted"}
    for case, row in CASES.iterrows():
        assert bool(row["reference"]) == (case in NUMBERS)
        assert bool(row["source"]) == bool(row["reference"])
        assert row[["case", "behaviour", "quantity", "peers"]].str.len().min() > 3
