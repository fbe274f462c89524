"""Spread against numpy, and its errors against the jackknife and known distributions."""

import numpy as np
import pytest

import evalkit as ek
from panels import RECIPES

EXACT = 1e-10


def one_period(y, weight=None):
    frame = {"i": np.arange(len(y)), "t": np.zeros(len(y), int), "y": y}
    if weight is not None:
        frame["w"] = weight
    return ek.Panel.from_frame(
        frame, outcome="y", unit="i", time="t", weight=None if weight is None else "w",
        provenance="synthetic",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "by_hand"),
    [("mean", np.mean), ("sd", np.std), ("cv", lambda y: np.std(y) / np.mean(y))],
)
def test_spread_is_what_numpy_computes_in_each_period(metric, by_hand):
    frame = RECIPES["unbalanced"].frame()
    found = ek.gaps.spread(RECIPES["unbalanced"].panel(frame), metric=metric)
    expected = frame.groupby("year")["y"].agg(lambda y: by_hand(y.to_numpy()))
    np.testing.assert_allclose(found.theta, expected, rtol=EXACT)
    assert [key[0] for key in found.index.keys] == list(expected.index)


@pytest.mark.parametrize("metric", ["mean", "sd", "cv"])
def test_whole_weights_count_like_repeated_rows(metric):
    rng = np.random.default_rng(0)
    y, weight = rng.normal(10, 2, 40), rng.integers(1, 5, 40)
    one = ek.gaps.spread(one_period(y, weight.astype(float)), metric=metric)
    two = ek.gaps.spread(one_period(np.repeat(y, weight)), metric=metric)
    np.testing.assert_allclose(one.theta, two.theta, rtol=EXACT)


@pytest.mark.parametrize("metric", ["mean", "sd", "cv"])
def test_the_error_is_that_of_the_jackknife(metric):
    """To order 1/n, where the constant is the kurtosis: about 10/n for these outcomes."""
    y = np.random.default_rng(1).gamma(4, 2, 400)
    found = ek.gaps.spread(one_period(y), metric=metric)
    left_out = np.array(
        [ek.gaps.spread(one_period(np.delete(y, i)), metric=metric).theta[0] for i in range(400)]
    )
    jackknife = np.sqrt(399 / 400 * ((left_out - left_out.mean()) ** 2).sum())
    assert np.sqrt(found.vcov()[0, 0]) == pytest.approx(jackknife, rel=10 / 400)


def test_the_error_of_a_normal_sd_is_the_textbook_one():
    """sd / sqrt(2n) for normal outcomes; the sample kurtosis of 40,000 draws moves it by 1%."""
    y = np.random.default_rng(2).normal(50, 3, 40_000)
    found = ek.gaps.spread(one_period(y), metric="sd")
    expected = found.theta[0] / np.sqrt(2 * 40_000)
    assert np.sqrt(found.vcov()[0, 0]) == pytest.approx(expected, rel=0.02)


def test_absolute_and_relative_spread_can_disagree():
    """Stretching by less than the mean grows: the sd rises and the cv falls."""
    frame = RECIPES["balanced"].frame()
    late = frame["year"] == 2005
    centre = frame.loc[late, "y"].mean()
    frame.loc[late, "y"] = 3 * centre + 1.5 * (frame.loc[late, "y"] - centre)
    panel = RECIPES["balanced"].panel(frame)
    change = [[-1, 0, 0, 0, 0, 1]]
    for metric, sign in (("sd", 1), ("cv", -1)):
        estimate = ek.gaps.spread(panel, metric=metric).contrast(change, ["change"])
        assert np.sign(ek.infer(estimate).statistic[0]) == sign
        assert ek.infer(estimate).p_value[0] < 0.05


def test_changing_units_of_measurement_moves_sd_and_not_cv():
    panel = RECIPES["weighted"].panel()
    dollars = panel.with_outcome(100 * panel.y)
    sd, cv = (ek.gaps.spread(dollars, metric=m) for m in ("sd", "cv"))
    np.testing.assert_allclose(sd.theta, 100 * ek.gaps.spread(panel).theta, rtol=EXACT)
    np.testing.assert_allclose(cv.psi, ek.gaps.spread(panel, metric="cv").psi, atol=1e-14)
