"""The county study drawn again: its worlds are like the committed one, and their truth is true."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evalkit.data.simulate import Assumptions
from evalkit.data.simulate.resources import difference_rate
from simulations import certification, counties, funding

ROOT = Path(__file__).resolve().parent.parent
A = Assumptions(seed=5, counties=24, prefectures=4, schools=24)
CLOSE = 0.05  # relative; SDs of some thousand schools, and marks that are rounded


@pytest.fixture(scope="module")
def study():
    return counties.study(A)


@pytest.fixture(scope="module")
def stacked(study):
    return funding.stacked(study, A)


def test_school_means_move_from_year_to_year_as_in_the_committed_study(study):
    rows = pd.read_parquet(ROOT / "data/synthetic/school_cohort.parquet")
    test = [rows[name] for name in ("grade", "subject", "year")]
    share = rows["n_tested"] / rows["n_tested"].groupby(test).transform("sum")
    off = rows["mean"] - (share * rows["mean"]).groupby(test).transform("sum")
    rows["z"] = off / np.sqrt((share * (off**2 + rows["sd"] ** 2)).groupby(test).transform("sum"))
    wide = rows.pivot_table("z", "school_id", "year")
    theirs = np.nanstd(np.diff(wide.to_numpy(), axis=1))
    assert np.nanstd(np.diff(study.score.mean(axis=2), axis=1)) == pytest.approx(theirs, rel=CLOSE)


def test_the_same_seed_is_the_same_study_and_another_is_not(study):
    again = counties.county(A, 3)
    rows = study.county == 3
    np.testing.assert_array_equal(again.score, study.score[rows])
    assert not np.array_equal(counties.county(replace(A, seed=6), 3).score, again.score)


def test_without_effects_only_the_scores_of_schools_under_a_measure_differ(study):
    quiet = counties.study(replace(A, funding=0.0))
    moved = study.score.mean(axis=2) - quiet.score.mean(axis=2)
    here = np.isfinite(moved)
    np.testing.assert_allclose(moved[here], study.funding[here], atol=1e-12)
    years = np.array(list(A.years))
    assert not study.funding[years < study.money[:, None]].any()


def test_recognition_waits_for_a_low_rate_which_is_the_share_of_variance(study):
    for number in range(1, A.counties + 1):
        rows = study.county == number
        parts = study.junior[rows], study.tested[rows], study.score[rows]
        rate = counties.rate(A, *parts)
        reached = np.flatnonzero(study.stage[rows][0] == 3)
        assert not len(reached) or rate[reached[0]] < A.recognition
    within = A.persistence**2 * A.pupil_sd**2 + A.noise_sd**2 + A.class_sd**2
    frame = [
        {"year": t, "subject": "math", "grade": 6, "n_tested": parts[1][s, t],
         "mean": parts[2][s, t, 1], "sd": np.sqrt(within)}
        for s in np.flatnonzero(parts[0] == 0) for t in range(len(rate)) if parts[1][s, t] > 0
    ]  # fmt: skip
    np.testing.assert_allclose(difference_rate(pd.DataFrame(frame)), rate, rtol=1e-10)


def test_a_wave_stands_beside_counties_that_had_not_begun(study, stacked):
    c = stacked.columns
    begun = study.money[c["unit"] % 10_000]
    np.testing.assert_array_equal(begun[c["treated"]], c["wave"][c["treated"]])
    assert (begun[~c["treated"]] > c["wave"][~c["treated"]] + funding.AFTER[-1]).all()
    assert not c["dose"][~c["treated"]].any()
    small = c["treated"] & (c["junior"] == 0) & (c["n"] < funding.FLOOR)
    np.testing.assert_allclose(c["dose"][small] * c["n"][small], 0.4 * funding.FLOOR)


def test_a_slope_of_the_true_effects_alone_is_the_truth_that_is_stated(stacked):
    """The estimators are linear in the outcome: without noise they give the effect."""
    c = dict(stacked.columns, score=stacked.columns["funding"])
    made = funding.slopes(replace(stacked, columns=c))
    truth = funding._truth(stacked.columns, A)
    for name in (funding.VILLAGES, funding.MEMBERS):
        assert made[name].theta[0] == pytest.approx(truth[name]["sample"], rel=0.1)


def test_only_counties_in_creation_are_recognised_by_lot_and_only_others_on_paper():
    data = certification.draw(np.random.default_rng(1), 60).data
    never = np.isinf(data.first[certification.CREATION])
    assert np.isinf(data.first[certification.LOT][never]).all()
    assert np.isinf(data.first[certification.PAPER][~never]).all()
    paper = data.first[certification.PAPER]
    at = np.flatnonzero(np.isfinite(paper))
    assert len(at)
    assert (data.rate[at, (paper[at] - A.first).astype(int)] < A.recognition).all()
