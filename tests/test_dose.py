"""Designs with a dose against slopes taken by hand."""

import numpy as np
import pytest

import evalkit as ek
from panels import RECIPES, START

EXACT = 1e-10


def wide(frame, column="y"):
    return frame.pivot_table(index="town", columns="year", values=column)


def dose_of(frame):
    return frame.groupby("town")["dose"].first().to_numpy()


def slope(x, y):
    return np.polyfit(x, y, 1)[0]


def test_the_dose_event_study_is_the_slope_of_each_change():
    frame = RECIPES["clustered"].frame()
    found = ek.did.dose_event_study(RECIPES["clustered"].panel(frame), reference=START - 1)
    table = wide(frame)
    assert [key[0] for key in found.index.keys] == [2000, 2001, 2003, 2004, 2005]
    for value, (year,) in zip(found.theta, found.index.keys, strict=True):
        by_hand = slope(dose_of(frame), (table[year] - table[START - 1]).to_numpy())
        np.testing.assert_allclose(value, by_hand, rtol=EXACT)


def test_the_dose_response_is_the_slope_of_the_long_difference():
    frame = RECIPES["balanced"].frame()
    found = ek.did.dose_response(RECIPES["balanced"].panel(frame), start=START)
    table = wide(frame)
    change = table[[2003, 2004, 2005]].mean(axis=1) - table[[2000, 2001, 2002]].mean(axis=1)
    np.testing.assert_allclose(found.theta[0], slope(dose_of(frame), change), rtol=EXACT)


def test_a_dose_of_zero_or_one_is_the_two_by_two():
    frame = RECIPES["balanced"].frame()
    frame["dose"] = frame["start"].notna().astype(float)
    panel = RECIPES["balanced"].panel(frame)
    one, two = ek.did.dose_response(panel, start=START), ek.did.two_by_two(panel)
    np.testing.assert_allclose(one.theta, two.theta, rtol=EXACT)
    np.testing.assert_allclose(one.psi, two.psi, atol=EXACT)
    event = ek.did.event_study(panel)
    dose = ek.did.dose_event_study(panel, reference=START - 1)
    np.testing.assert_allclose(dose.theta, event.theta, rtol=EXACT)
    np.testing.assert_allclose(dose.psi, event.psi, atol=EXACT)


@pytest.mark.parametrize("scale", [0.1, -2.0])
def test_measuring_the_dose_in_other_units_scales_the_slope(scale):
    frame = RECIPES["weighted"].frame()
    panel = RECIPES["weighted"].panel
    one = ek.did.dose_response(panel(frame), start=START)
    two = ek.did.dose_response(panel(frame.assign(dose=scale * frame["dose"] + 3)), start=START)
    np.testing.assert_allclose(two.theta * scale, one.theta, rtol=1e-9)


def test_the_effect_of_an_exposure_is_the_ratio_of_two_slopes():
    panel = RECIPES["weighted"].panel()
    found = ek.did.dose_iv(panel, exposure="money", start=START)
    assert [key[0] for key in found.index.keys] == ["effect", "reduced_form", "first_stage"]
    money = panel.with_outcome(panel.column("money"))
    reduced, first = (ek.did.dose_response(p, start=START) for p in (panel, money))
    np.testing.assert_allclose(found.theta[1:], [reduced.theta[0], first.theta[0]], rtol=EXACT)
    stacked = ek.stack({"y": reduced, "x": first}).ratio(
        ("y", "dose x post"), ("x", "dose x post"), "effect"
    )
    np.testing.assert_allclose(found.theta[:1], stacked.theta, rtol=EXACT)
    np.testing.assert_allclose(found.psi[:, :1], stacked.psi, atol=EXACT)


def test_an_exposure_that_is_the_outcome_has_effect_one():
    panel = RECIPES["balanced"].panel()
    money = panel.with_outcome(panel.column("money"), "money")
    found = ek.did.dose_iv(money, exposure="money", start=START)
    np.testing.assert_allclose(found.theta[0], 1.0, rtol=EXACT)
    assert np.abs(found.psi[:, 0]).max() < EXACT


def test_the_robust_set_of_a_strong_instrument_holds_the_truth():
    """The recipe's money moves the outcome by 1.5; the dose moves money by 2."""
    found = ek.did.dose_iv(RECIPES["balanced"].panel(towns=200), exposure="money", start=START)
    ((low, high),) = ek.anderson_rubin(
        found, numerator=("reduced_form",), denominator=("first_stage",)
    ).intervals
    assert low < 1.5 < high
    assert high - low < 1


def test_a_covariate_by_year_takes_its_trend_out_of_the_slope():
    frame = RECIPES["balanced"].frame()
    frame["y"] = 2.0 * frame["dose"] * (frame["year"] >= START) + frame["base"] * frame["year"]
    panel = RECIPES["balanced"].panel(frame)
    with_trend = ek.did.dose_response(panel, start=START)
    without = ek.did.dose_response(panel, start=START, by_time=["base"])
    np.testing.assert_allclose(without.theta, [2.0], atol=1e-8)
    assert abs(with_trend.theta[0] - 2.0) > 0.01
