"""V from bands against R's clm, a slow twin, closed forms, and cases without an answer."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import evalkit as ek
import probit
from evalkit.core.errors import IdentificationError
from exam import GIRLS, exam, exam_frame, golden

TWIN = 2e-6  # where a search without derivatives stops
SIDES = {"between": "group", "high": "b", "low": "a"}


def counted(*tables):
    """Sums of several counties, each a low and a high row of counts."""
    rows = [
        {"county": c, "group": g, **{f"n{k}": n for k, n in enumerate(row)}}
        for c, table in enumerate(tables)
        for g, row in zip("ab", table, strict=True)
    ]
    frame = pd.DataFrame(rows)
    bands = [name for name in frame if name.startswith("n")]
    return ek.band_counts(frame, keys=["county", "group"], bands=bands, provenance="synthetic")


def test_exam_in_four_bands_is_what_clm_gives():
    """R ordinal's gradient at its answer is below 1e-10."""
    found = ek.gaps.band_gap(exam("band"), **GIRLS)
    assert found.theta[0] == pytest.approx(golden()["exam_band_gap"], rel=1e-9)
    assert found.theta[0] == pytest.approx(0.1978, abs=5e-5)  # the brief's


TABLES = [
    [[10, 30, 25, 10], [5, 20, 40, 30]],
    [[12, 30, 25], [5, 20, 45]],
    [[10, 20, 0, 15, 9], [3, 12, 0, 30, 20]],
]


@pytest.mark.parametrize("table", TABLES)
def test_v_is_that_of_a_slow_twin(table):
    used = np.array(table)[:, np.sum(table, axis=0) > 0]
    mean, sd, _, _ = probit.fit(used)
    expected = (mean[1] - mean[0]) / np.sqrt((sd**2).mean())
    assert ek.gaps.band_gap(counted(table), **SIDES).theta[0] == pytest.approx(expected, abs=TWIN)


def test_a_group_in_two_bands_takes_the_spread_of_the_other():
    table = [[10, 30, 25, 10], [0, 20, 40, 0]]
    mean, sd, _, _ = probit.fit(table, pooled=[False, True])
    expected = (mean[1] - mean[0]) / sd[0]
    assert ek.gaps.band_gap(counted(table), **SIDES).theta[0] == pytest.approx(expected, abs=TWIN)


def test_two_bands_give_a_difference_of_normal_scores():
    found = ek.gaps.band_gap(counted([[40, 60], [20, 80]]), **SIDES)
    expected = stats.norm.ppf(0.8) - stats.norm.ppf(0.6)
    assert found.theta[0] == pytest.approx(expected, rel=1e-10)
    variances = [q * (1 - q) / 100 / stats.norm.pdf(stats.norm.ppf(q)) ** 2 for q in (0.6, 0.8)]
    assert found.vcov()[0, 0] == pytest.approx(sum(variances), rel=1e-9)


def test_three_bands_are_fitted_exactly():
    """Four parameters and four free shares: V follows from the shares in closed form."""
    low, high = np.array([20, 50, 30]), np.array([10, 40, 50])
    z = [stats.norm.ppf(np.cumsum(row / row.sum())[:2]) for row in (low, high)]
    sd = [1 / (b - a) for a, b in z]  # cuts at 0 and 1
    mean = [-a * s for (a, _), s in zip(z, sd, strict=True)]
    expected = (mean[1] - mean[0]) / np.sqrt((sd[0] ** 2 + sd[1] ** 2) / 2)
    found = ek.gaps.band_gap(counted([low, high]), **SIDES)
    assert found.theta[0] == pytest.approx(expected, rel=1e-10)


def test_bands_of_normal_scores_give_back_their_v():
    rng = np.random.default_rng(8)
    scores = [rng.normal(0, 1, 60_000), rng.normal(0.5, 1.3, 60_000)]
    counts = [np.histogram(s, [-np.inf, -1, 0, 0.8, np.inf])[0] for s in scores]
    expected = 0.5 / np.sqrt((1 + 1.3**2) / 2)
    assert ek.gaps.band_gap(counted(counts), **SIDES).theta[0] == pytest.approx(expected, abs=0.02)


def test_many_counties_at_once_are_each_alone():
    joint = ek.gaps.band_gap(
        counted(*(t for t in TABLES if len(t[0]) == 4), TABLES[0][::-1]), **SIDES
    )
    assert joint.theta[0] == pytest.approx(-joint.theta[1], rel=1e-9)
    assert joint.vcov()[0, 1] == pytest.approx(0, abs=1e-15)


def test_the_error_is_that_of_leaving_pupils_out():
    panel = exam("band")
    made = ek.gaps.band_gap(panel, **GIRLS)
    for unit in (0, 17, 4058):
        without = ek.gaps.band_gap(panel.where(panel.unit != unit), **GIRLS)
        assert made.theta[0] - without.theta[0] == pytest.approx(made.psi[unit, 0], rel=5e-3)


WITHOUT_BOUND = {
    "all of a group in the lowest band": [[9, 0, 0], [5, 5, 5]],
    "all of a group in the highest band": [[5, 5, 5], [0, 0, 9]],
    "complete separation": [[5, 5, 0, 0], [0, 0, 5, 5]],
    "all pupils in one band": [[0, 9, 0], [0, 9, 0]],
}


@pytest.mark.parametrize("what", WITHOUT_BOUND)
def test_what_has_no_bound_is_refused_or_left_empty(what):
    sums = (
        counted(TABLES[1], WITHOUT_BOUND[what])
        if len(WITHOUT_BOUND[what][0]) == 3
        else counted(TABLES[0], WITHOUT_BOUND[what])
    )
    with pytest.raises(IdentificationError, match="in 1: "):
        ek.gaps.band_gap(sums, **SIDES)
    found = ek.gaps.band_gap(sums, undefined="nan", **SIDES)
    assert np.isnan(found.theta).tolist() == [False, True]
    assert np.isfinite(found.psi).all()


def test_a_group_in_one_inner_band_has_an_answer():
    found = ek.gaps.band_gap(counted([[10, 20, 30, 10], [0, 0, 25, 0]]), **SIDES)
    assert np.isfinite(found.theta).all()


def test_a_score_is_not_taken_for_bands():
    with pytest.raises(IdentificationError, match="which is a score"):
        ek.gaps.band_gap(exam(), **GIRLS)


def test_labels_of_bands_do_not_matter_only_their_order():
    frame = exam_frame()
    far = exam("band", frame=frame.assign(band=np.array([-3, 10, 11, 400])[frame["band"]]))
    one, two = (ek.gaps.band_gap(p, **GIRLS) for p in (exam("band"), far))
    assert one.theta.tobytes() == two.theta.tobytes()
