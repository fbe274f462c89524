"""Standardised gaps against numpy, published formulas and the references of the brief."""

import numpy as np
import pytest

import evalkit as ek
from evalkit.core.errors import OptionError
from exam import GIRLS, LUNCH, exam, exam_frame, star
from panels import RECIPES

EXACT = 1e-10
SIDES = {"between": "group", "high": "urban", "low": "rural"}


def by_hand(high, low, other, scale):
    """d and its degrees of freedom, straight from the definitions."""
    n1, n0 = len(high), len(low)
    if scale == "pooled":
        square = ((n1 - 1) * high.var(ddof=1) + (n0 - 1) * low.var(ddof=1)) / (n1 + n0 - 2)
        s, dof = np.sqrt(square), n1 + n0 - 2
    elif scale == "total":
        everybody = np.concatenate([high, low, other])
        s, dof = everybody.std(ddof=1), len(everybody) - 1
    else:
        one = high if scale == "high" else low
        s, dof = one.std(ddof=1), len(one) - 1
    return (high.mean() - low.mean()) / s, dof


@pytest.mark.parametrize("scale", ["pooled", "total", "high", "low"])
def test_d_and_g_are_those_of_the_definitions(scale):
    frame = RECIPES["unbalanced"].frame()
    third = frame["town"] % 7 == 0
    frame["group"] = frame["group"].where(~third, "other")
    panel = RECIPES["unbalanced"].panel(frame)
    d = ek.gaps.standardised_gap(panel, scale=scale, **SIDES)
    g = ek.gaps.standardised_gap(panel, scale=scale, small_sample=True, **SIDES)
    for at, (year,) in enumerate(d.index.keys):
        rows = frame[frame["year"] == year]
        parts = [rows.loc[rows["group"] == x, "y"].to_numpy() for x in ("urban", "rural", "other")]
        expected, dof = by_hand(*parts, scale)
        np.testing.assert_allclose(d.theta[at], expected, rtol=EXACT)
        np.testing.assert_allclose(g.theta[at], expected * (1 - 3 / (4 * dof - 1)), rtol=EXACT)


def test_a_known_standard_deviation_divides_the_gap():
    panel = RECIPES["weighted"].panel()
    plain, known = ek.gaps.gap(panel, **SIDES), ek.gaps.standardised_gap(panel, scale=4, **SIDES)
    np.testing.assert_allclose(known.theta, plain.theta / 4, rtol=EXACT)
    np.testing.assert_allclose(known.psi, plain.psi / 4, rtol=EXACT)


def test_the_references_of_the_brief_are_found_again():
    """Exam d .2354, STAR d .5027: numpy there."""
    found = ek.gaps.standardised_gap(exam(), **GIRLS)
    assert found.theta[0] == pytest.approx(0.2354, abs=5e-5)
    assert ek.gaps.standardised_gap(star(), **LUNCH).theta[0] == pytest.approx(0.5027, abs=5e-5)


def test_the_error_for_normal_outcomes_is_that_of_hedges():
    """(n1 + n0)/(n1 n0) + d^2 / 2(n1 + n0); fourth moments of 60,000 draws move it by 1%."""
    rng = np.random.default_rng(4)
    n1, n0, d = 20_000, 40_000, 1.5
    frame = {"i": np.arange(n1 + n0), "t": np.zeros(n1 + n0, int),
             "y": rng.normal(size=n1 + n0) + d * (np.arange(n1 + n0) < n1),
             "g": np.repeat(["a", "b"], [n1, n0])}  # fmt: skip
    panel = ek.Panel.from_frame(
        frame, outcome="y", unit="i", time="t", categories=["g"], provenance="synthetic"
    )
    found = ek.gaps.standardised_gap(panel, between="g", high="a", low="b")
    expected = (n1 + n0) / (n1 * n0) + d**2 / (2 * (n1 + n0))
    assert found.vcov()[0, 0] == pytest.approx(expected, rel=0.02)


def test_whole_weights_count_like_repeated_pupils_in_the_means_and_spreads():
    frame = exam_frame().iloc[:400]
    weight = np.random.default_rng(5).integers(1, 4, 400)
    repeated = frame.loc[frame.index.repeat(weight)].reset_index(drop=True)
    repeated["pupil"] = range(len(repeated))
    one = exam(frame=frame.assign(w=weight.astype(float)), weight="w")
    two = exam(frame=repeated)
    f, g = (ek.gaps.gap(p, metric="log_variance_ratio", **GIRLS) for p in (one, two))
    # The divisor n - 1 counts rows in one and pupils in the other.
    np.testing.assert_allclose(f.theta, g.theta, atol=0.01)


@pytest.mark.parametrize("scale", ["sd", 0, -1.0, np.inf, True])
def test_an_unknown_or_impossible_denominator_is_refused(scale):
    with pytest.raises(OptionError, match="scale="):
        ek.gaps.standardised_gap(exam(), scale=scale, **GIRLS)
