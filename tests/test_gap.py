"""Gaps between groups against a regression on dummies and against Welch."""

import numpy as np
import pytest
from scipy import stats

import evalkit as ek
from exam import GIRLS, exam
from panels import RECIPES

EXACT = 1e-10
SIDES = {"between": "group", "high": "urban", "low": "rural"}


def gap(panel):
    return ek.gaps.gap(panel, between="group", high="urban", low="rural")


@pytest.mark.parametrize("name", ["balanced", "unbalanced", "weighted"])
def test_the_gap_is_the_coefficient_on_a_dummy_in_each_period(name):
    """A regression of one period on the dummy has the same coefficient and the same CR0 error."""
    recipe = RECIPES[name]
    frame = recipe.frame()
    frame["urban"] = (frame["group"] == "urban") * 1.0
    found = gap(recipe.panel(frame))
    for at, (year,) in enumerate(found.index.keys):
        rows = frame[frame["year"] == year]
        one = recipe.panel(rows, cohort=None, covariates=["urban"])
        regression = ek.did.regression(one, on=["urban"], absorb=())
        np.testing.assert_allclose(found.theta[at], regression.theta[0], rtol=EXACT)
        np.testing.assert_allclose(found.vcov()[at, at], regression.vcov()[0, 0], rtol=EXACT)


def test_the_variance_is_that_of_welch_with_n_for_n_minus_one():
    frame = RECIPES["balanced"].frame()
    found = gap(RECIPES["balanced"].panel(frame))
    first = frame[frame["year"] == 2000]
    urban, rural = (first.loc[first["group"] == g, "y"] for g in ("urban", "rural"))
    expected = urban.var(ddof=0) / len(urban) + rural.var(ddof=0) / len(rural)
    np.testing.assert_allclose(found.vcov()[0, 0], expected, rtol=EXACT)
    welch = stats.ttest_ind(urban, rural, equal_var=False)
    factor = np.sqrt(len(urban) / (len(urban) - 1))  # both groups have the same size
    statistic = found.theta[0] / np.sqrt(found.vcov()[0, 0])
    np.testing.assert_allclose(statistic / factor, welch.statistic, rtol=EXACT)


def test_swapping_the_groups_flips_the_gap():
    panel = RECIPES["weighted"].panel()
    other = ek.gaps.gap(panel, between="group", high="rural", low="urban")
    np.testing.assert_allclose(gap(panel).theta, -other.theta, rtol=EXACT)
    np.testing.assert_allclose(gap(panel).psi, -other.psi, rtol=EXACT)


def test_years_are_correlated_through_their_units():
    """The change of a gap has the error of the gap of changes."""
    frame = RECIPES["balanced"].frame()
    change = gap(RECIPES["balanced"].panel(frame)).contrast([[-1, 0, 0, 0, 0, 1]], ["change"])
    wide = frame.pivot_table(index="town", columns="year", values="y")
    last = frame[frame["year"] == 2005].assign(y=(wide[2005] - wide[2000]).to_numpy())
    direct = gap(RECIPES["balanced"].panel(last, cohort=None))
    np.testing.assert_allclose(change.theta, direct.theta, rtol=EXACT)
    np.testing.assert_allclose(change.vcov(), direct.vcov(), rtol=EXACT)


def test_a_difference_in_gaps_is_the_two_by_two():
    """With adoption by group, the change of the gap is the difference in differences."""
    frame = RECIPES["balanced"].frame()
    frame["start"] = np.where(frame["group"] == "urban", 2003.0, np.nan)
    panel = RECIPES["balanced"].panel(frame)
    change = gap(panel).contrast([[-1 / 3] * 3 + [1 / 3] * 3], ["after less before"])
    did = ek.did.two_by_two(panel)
    np.testing.assert_allclose(change.theta, did.theta, rtol=EXACT)
    np.testing.assert_allclose(change.vcov(), did.vcov(), rtol=EXACT)
    np.testing.assert_allclose(change.theta, ek.did.two_way(panel).theta, rtol=EXACT)


def test_rows_outside_both_groups_do_not_count():
    frame = RECIPES["balanced"].frame()
    third = frame["town"] % 5 == 0
    marked = frame.assign(group=np.where(third, "other", frame["group"]))
    one = gap(RECIPES["balanced"].panel(marked))
    two = gap(RECIPES["balanced"].panel(frame[~third]))
    np.testing.assert_allclose(one.theta, two.theta, rtol=EXACT)
    np.testing.assert_allclose(one.vcov(), two.vcov(), rtol=EXACT)


def test_ratios_are_those_of_numpy_in_every_period():
    frame = RECIPES["unbalanced"].frame()
    panel = RECIPES["unbalanced"].panel(frame)
    by = frame.groupby(["year", "group"])["y"].agg(["mean", "var"]).unstack("group")
    for metric, column in (("ratio", "mean"), ("variance_ratio", "var")):
        found = ek.gaps.gap(panel, metric=metric, **SIDES)
        expected = by[column]["urban"] / by[column]["rural"]
        np.testing.assert_allclose(found.theta, expected, rtol=EXACT)
        logged = ek.gaps.gap(panel, metric=f"log_{metric}", **SIDES)
        np.testing.assert_allclose(logged.theta, np.log(expected), rtol=1e-7)
        np.testing.assert_allclose(logged.psi, found.psi / found.theta, rtol=EXACT)


def test_the_variance_ratio_of_exam_is_that_of_the_brief():
    """.894, computed there with numpy."""
    found = ek.gaps.gap(exam(), metric="variance_ratio", **GIRLS)
    assert found.theta[0] == pytest.approx(0.894, abs=5e-4)


def test_the_error_of_a_log_variance_ratio_of_normal_outcomes_is_the_textbook_one():
    """sqrt(2/n1 + 2/n0); the sample kurtosis of 40,000 draws moves it by 1%."""
    rng = np.random.default_rng(3)
    frame = {"i": np.arange(40_000), "t": np.zeros(40_000, int), "y": rng.normal(size=40_000),
             "g": np.repeat(["a", "b"], [30_000, 10_000])}  # fmt: skip
    panel = ek.Panel.from_frame(
        frame, outcome="y", unit="i", time="t", categories=["g"], provenance="synthetic"
    )
    found = ek.gaps.gap(panel, between="g", high="a", low="b", metric="log_variance_ratio")
    expected = np.sqrt(2 / 30_000 + 2 / 10_000)
    assert np.sqrt(found.vcov()[0, 0]) == pytest.approx(expected, rel=0.02)


def test_scores_far_from_zero_lose_no_digits():
    frame = RECIPES["balanced"].frame()
    near = ek.gaps.gap(RECIPES["balanced"].panel(frame), metric="variance_ratio", **SIDES)
    far = RECIPES["balanced"].panel(frame.assign(y=frame["y"] + 2.0**30))
    far = ek.gaps.gap(far, metric="variance_ratio", **SIDES)
    np.testing.assert_allclose(near.theta, far.theta, rtol=1e-6)  # y itself keeps seven digits
    np.testing.assert_allclose(near.vcov(), far.vcov(), rtol=1e-6)


def test_by_county_the_gap_is_that_of_each_county_alone():
    panel = RECIPES["balanced"].panel()
    both = ek.gaps.gap(panel, by=["county", "time"], **SIDES)
    codes = panel.category("county").codes
    for county in range(3):
        alone = gap(panel.where(codes == county))
        mine = both.select(county=county)
        np.testing.assert_allclose(mine.theta, alone.theta, rtol=EXACT)
        np.testing.assert_allclose(mine.vcov(), alone.vcov(), rtol=EXACT)
