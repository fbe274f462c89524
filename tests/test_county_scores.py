"""Schools' scores on one scale: against pupils by hand, and whatever the test's scale."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.data.county.scores import scale, school_scores

EXACT = 1e-9
PRINTED = 0.005  # sums and pupils are written with few decimals


def cohorts(seed=1, schools=6, subjects=("chinese", "math")):
    """Rows of ``school_cohort``, and the pupils behind them."""
    rng = np.random.default_rng(seed)
    rows, people = [], []
    for year in (2015, 2016):
        for subject in subjects:
            for school in range(schools):
                n = int(rng.integers(5, 30))
                marks = 60 + 4 * school + 10 * rng.normal(size=n)
                before = 50 + 3 * school + rng.normal()
                people.append(pd.DataFrame({"school_id": f"K{school}", "year": year,
                                            "subject": subject, "marks": marks}))  # fmt: skip
                rows.append((f"K{school}", year, 6, subject, n, marks.mean(), marks.std(), before))
    columns = ["school_id", "year", "grade", "subject", "n_tested", "mean", "sd", "mean_prior"]
    return pd.DataFrame(rows, columns=columns), pd.concat(people)


def test_a_score_is_the_mean_of_pupils_standardised_by_their_test():
    rows, people = cohorts(subjects=("math",))
    test = people.groupby("year")["marks"]
    people["z"] = (people["marks"] - test.transform("mean")) / test.transform("std", ddof=0)
    by_hand = people.groupby(["school_id", "year"])["z"].mean()
    found = scale(rows).set_index(["school_id", "year"])["score"]
    np.testing.assert_allclose(found, by_hand.loc[found.index], atol=EXACT)


def test_another_scale_of_a_test_changes_nothing():
    rows, _ = cohorts()
    other = rows.assign(
        mean=rows["mean"].where(rows["year"] == 2015, 7 + 0.5 * rows["mean"]),
        sd=rows["sd"].where(rows["year"] == 2015, 0.5 * rows["sd"]),
        mean_prior=3 * rows["mean_prior"],
    )
    pd.testing.assert_frame_equal(scale(rows), scale(other.sample(frac=1, random_state=1)))


def test_progress_of_the_first_year_has_no_slope_on_the_prior_score():
    rows, _ = cohorts(subjects=("math",), schools=40)
    first = scale(rows).query("year == 2015")
    x, y, n = first["prior"], first["progress"], first["tested"]
    assert abs(np.average(x * y, weights=n)) < EXACT
    assert np.average(x**2, weights=n) == pytest.approx(1)


def test_without_a_prior_score_there_is_a_score_and_no_progress():
    rows, _ = cohorts()
    rows.loc[rows["school_id"] == "K0", "mean_prior"] = np.nan
    found = scale(rows).set_index("school_id")
    assert found.loc["K0", "progress"].isna().all()
    assert found["score"].notna().all()
    assert found.drop(index="K0")["progress"].notna().all()


def test_a_study_gives_every_school_and_year_of_its_tests(tmp_path):
    ek.simulate.write(tmp_path, ek.simulate.Assumptions(counties=3, schools=12))
    study = ek.county_study(tmp_path)
    found, tested = school_scores(study), study.table("school_cohort")
    assert len(found) == len(tested.drop_duplicates(["school_id", "year"]))
    assert {"stratum", "town_code", "prefecture_code"} <= set(found)
    assert found.attrs["provenance"] == "synthetic"


def test_pupils_alone_give_the_scores_that_their_sums_give(tmp_path):
    assumed = ek.simulate.Assumptions(counties=2, prefectures=1, schools=8, first=2018)
    ek.simulate.write(tmp_path, assumed, pupils_of=[1, 2])
    study = ek.county_study(tmp_path)
    pupils = study.table("pupil_test").dropna(subset=["score"])
    by_sums = school_scores(study).set_index(["school_id", "year"]).sort_index()
    study.file("school_cohort").unlink()
    by_pupils = school_scores(study).set_index(["school_id", "year"]).sort_index()
    subjects = pupils.groupby(["school_id", "year"])["subject"].nunique()
    counted = pupils.groupby(["school_id", "year"]).size() / subjects
    assert by_pupils["tested"].tolist() == np.rint(counted).astype(int).tolist()
    np.testing.assert_allclose(by_pupils["score"], by_sums["score"], atol=PRINTED)
    np.testing.assert_allclose(by_pupils["progress"], by_sums["progress"], atol=PRINTED)


def test_a_prior_score_without_spread_and_a_test_that_nobody_sat_say_nothing(tmp_path):
    rows, _ = cohorts()
    assert scale(rows.assign(mean_prior=50.1))["progress"].isna().all()
    assert scale(rows.assign(mean=50.0, sd=0.0))["score"].isna().all()


def test_a_school_tested_in_one_subject_counts_its_pupils_once():
    rows, _ = cohorts()
    lacking = (rows["school_id"] == "K0") & (rows["subject"] == "math")
    made = scale(rows[~lacking]).set_index(["school_id", "year"])["tested"]
    assert made["K0", 2015] == rows.loc[0, "n_tested"]
