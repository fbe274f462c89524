"""Gaps by county and year: scores, dates and truths as the tables have them, by brute force."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core.errors import IdentificationError, OptionError
from evalkit.data.county import gaps

EXACT = 1e-12
ROWS = {"Q19": "groups", "Q04": "funding", "C13": "managed", "Z01": "pilot"}
MANAGED = {"managed": ["county_managed", "teacher_exchange"]}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    ek.simulate.write(folder, ek.simulate.Assumptions(seed=3, counties=10, prefectures=3))
    return ek.county_study(folder)


@pytest.fixture(scope="module")
def tests(study):
    return gaps.school_tests(study)


@pytest.fixture(scope="module")
def dates(study):
    return gaps.first_years(study, ROWS)


def test_scores_have_mean_zero_and_variance_one_over_the_pupils_of_a_test(study, tests):
    made = tests[(tests["year"] == 2015) & (tests["grade"] == 6) & (tests["subject"] == "math")]
    n, score = made["n_tested"], made["score"]
    total = np.average(made["mean"], weights=n)
    spread = np.sqrt(np.average((made["mean"] - total) ** 2 + made["sd"] ** 2, weights=n))
    np.testing.assert_allclose(score, (made["mean"] - total) / spread, rtol=0, atol=EXACT)


def test_a_side_is_the_mean_over_its_pupils(tests):
    made = gaps.county_means(tests).set_index(["county_code", "year"]).loc[("S002", 2014)]
    for side in ("urban", "town", "rural"):
        mine = tests[(tests["county_code"] == "S002") & (tests["year"] == 2014)]
        mine = mine[mine["stratum"] == side]
        expected = np.average(mine["score"], weights=mine["n_tested"])
        assert made[side] == pytest.approx(expected, abs=EXACT)


def test_half_of_the_schools_of_a_county_have_low_prior_scores(tests):
    one = tests.drop_duplicates("school_id")
    share = (one["prior"] == "low_prior").groupby(one["county_code"]).mean()
    assert share.between(0.45, 0.55).all()
    halves = gaps.county_means(tests, by="prior")
    assert (halves["high_prior"] > halves["low_prior"]).all()


def test_the_true_first_year_lies_between_the_earliest_and_the_latest(study, dates):
    truth = study.truth("truth_event")
    truth = truth[truth["unit_kind"] == "county"].set_index("unit_id")
    earliest, latest = dates
    for row, name in (("Q04", "funding"), ("C13", "managed")):
        true = truth[truth["measure_id"] == row]["first_year"]
        assert set(true.index) == set(latest[name].dropna().index)
        assert (earliest.loc[true.index, name] <= true).all()
        assert (true <= latest.loc[true.index, name]).all()


def test_groups_start_with_their_first_spell(study, dates):
    spells = study.table("group_membership").assign(county=lambda t: t["group_id"].str[:4])
    first = spells.groupby("county")["start"].min().str[:4].astype(int) + 1
    for side in dates:
        assert side["groups"].dropna().to_dict() == first.to_dict()


def test_a_study_without_groups_has_the_other_dates(study, dates, tmp_path):
    shutil.copytree(study.folder, tmp_path / "copy")
    path = tmp_path / "copy" / "group_membership.csv"
    path.write_text(path.read_text(encoding="utf-8").partition("\n")[0] + "\n", encoding="utf-8")
    found = gaps.first_years(ek.county_study(tmp_path / "copy"), ROWS)
    others = [name for name in ROWS.values() if name != "groups"]
    for one, known in zip(found, dates, strict=True):
        pd.testing.assert_frame_equal(one[others], known[others])


def test_a_panel_ends_where_too_few_counties_are_without_any_measure(tests, dates):
    earliest, latest = dates
    panel = gaps.gap_panel(gaps.county_means(tests), earliest, latest, share=0.3)
    first = earliest.min(axis=1).fillna(np.inf)
    free = {year: int((first > year).sum()) for year in range(2012, 2025)}
    assert set(panel.times) == {year for year, many in free.items() if many >= 3}
    on = panel.column("managed") > 0
    start = latest["managed"].reindex(panel.units).fillna(np.inf).to_numpy()
    np.testing.assert_array_equal(on, panel.clock[panel.time] >= start[panel.unit])
    np.testing.assert_allclose(panel.y, panel.column("urban") - panel.column("rural"), atol=EXACT)


def test_true_gaps_are_those_of_the_sides(study):
    gap = gaps.true_gaps(study, MANAGED, high="urban", low="rural")
    sides = {side: gaps.true_gaps(study, MANAGED, high=side) for side in ("urban", "rural")}
    difference = sides["urban"].sub(sides["rural"], fill_value=0.0)
    pd.testing.assert_frame_equal(gap, difference, atol=EXACT)
    a = ek.simulate.Assumptions()
    full = (a.managed + a.rotation) * a.rural_part
    assert sides["rural"]["managed"].between((1 - a.tilt) * full, (1 + a.tilt) * full).all()


def test_a_side_that_is_not_there_is_named(tests, dates):
    with pytest.raises(OptionError, match=r"no side 'city'; there are"):
        gaps.gap_panel(gaps.county_means(tests), *dates, high="city")


def test_a_school_that_opens_later_is_compared_with_all_schools_of_its_test(study, tests):
    rows = study.table("school_cohort")
    first = rows.groupby("school_id")["year"].transform("min")
    off = rows["mean_prior"] - rows.groupby(gaps.TEST)["mean_prior"].transform("mean")
    own = off[rows["year"] == first].groupby(rows["school_id"]).mean()
    sides = tests.drop_duplicates("school_id").set_index("school_id")
    middle = own.groupby(sides["county_code"]).transform("median")
    by_hand = (own < middle).map({True: "low_prior", False: "high_prior"})
    assert (first > first.min()).any()
    assert sides["prior"].tolist() == by_hand[sides.index].tolist()


def test_a_study_whose_counties_all_have_a_measure_is_refused(tests, dates):
    with pytest.raises(IdentificationError, match="surely no measure"):
        gaps.gap_panel(gaps.county_means(tests), *dates, share=1.5)
