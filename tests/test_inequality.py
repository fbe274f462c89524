"""Inequality against all pairs, sums by group by hand, and the references of the brief."""

import numpy as np
import pytest

import evalkit as ek
from evalkit.core.errors import IdentificationError, OptionError
from exam import exam, star

EXACT = 1e-11


def schools(weight=None, **changes):
    frame = ek.sources.michigan_schools_1995().assign(year=1995)
    frame = frame[frame["county"] < 30].assign(**changes)
    return ek.Panel.from_frame(
        frame, outcome="spending", unit="school", time="year", weight=weight,
        categories=["county", "district"], provenance="real",
    )  # fmt: skip


def theil(metric, x, w):
    p, r = w / w.sum(), x / np.average(x, weights=w)
    return {
        "theil_l": -(p * np.log(r)).sum(),
        "theil_t": (p * r * np.log(r)).sum(),
        "ge2": ((p * r**2).sum() - 1) / 2,
    }[metric]


@pytest.mark.parametrize("metric", ["theil_l", "theil_t", "ge2"])
def test_total_within_and_between_are_their_definitions(metric):
    """Between: everybody has the mean of the group. Within: a mean of the groups' own indices."""
    panel = schools("pupils")
    x, w, codes = panel.y, panel.weight, panel.category("county").codes
    found = ek.gaps.inequality(panel, metric=metric, within="county")
    mean = np.average(x, weights=w)
    within, flat = 0.0, np.empty(len(x))
    for county in np.unique(codes):
        mine = codes == county
        own, p = np.average(x[mine], weights=w[mine]), w[mine].sum() / w.sum()
        share = {"theil_l": p, "theil_t": p * own / mean, "ge2": p * (own / mean) ** 2}[metric]
        within += share * theil(metric, x[mine], w[mine])
        flat[mine] = own
    expected = [theil(metric, x, w), within, theil(metric, flat, w)]
    np.testing.assert_allclose(found.theta, expected, rtol=1e-9, atol=1e-13)
    plain = ek.gaps.inequality(panel, metric=metric)
    np.testing.assert_allclose(plain.theta, expected[0], rtol=1e-9)
    np.testing.assert_allclose(plain.psi[:, 0], found.psi[:, 0], atol=1e-18)


@pytest.mark.parametrize("weight", [None, "pupils"])
def test_gini_is_that_of_all_pairs(weight):
    panel = schools(weight, spending=lambda f: f["spending"].round(-2))  # with ties
    x, w = panel.y, panel.weight / panel.weight.sum()
    pairs = (w[:, None] * w * np.abs(x[:, None] - x)).sum() / (2 * (w * x).sum())
    assert ek.gaps.inequality(panel, metric="gini").theta[0] == pytest.approx(pairs, rel=EXACT)


def test_the_references_of_the_brief_are_found_again():
    """STAR kindergarten mathematics by school."""
    rows = {
        "theil_l": [0.004762, 0.003748, 0.001014],
        "theil_t": [0.004786],
    }
    for metric, expected in rows.items():
        found = ek.gaps.inequality(star(), metric=metric, within="school")
        np.testing.assert_allclose(found.theta[: len(expected)], expected, atol=5e-7)
    assert ek.gaps.inequality(star(), metric="gini").theta[0] == pytest.approx(0.05475, abs=5e-6)


def test_the_unit_of_measurement_does_not_matter():
    panel = schools()
    for metric in ("theil_l", "theil_t", "ge2", "gini"):
        one, two = (
            ek.gaps.inequality(p, metric=metric) for p in (panel, panel.with_outcome(7 * panel.y))
        )
        np.testing.assert_allclose(one.theta, two.theta, rtol=1e-9)


def test_equal_shares_have_no_inequality():
    panel = schools().with_outcome(np.full(len(schools().y), 3.0))
    for metric in ("theil_l", "theil_t", "ge2", "gini"):
        found = ek.gaps.inequality(panel, metric=metric)
        np.testing.assert_allclose(found.theta, 0, atol=EXACT)


def test_a_zero_is_nothing_in_t_and_refused_in_l():
    panel = schools().with_outcome(np.where(schools().y > 4000, 0.0, schools().y))
    x = panel.y[panel.y > 0]
    expected = (x / panel.y.mean() * np.log(x / panel.y.mean())).sum() / len(panel.y)
    found = ek.gaps.inequality(panel, metric="theil_t")
    assert found.theta[0] == pytest.approx(expected, rel=1e-9)
    assert np.isfinite(found.psi).all()
    with pytest.raises(IdentificationError, match="some are zero"):
        ek.gaps.inequality(panel, metric="theil_l")
    with pytest.raises(IdentificationError, match="zero for all"):
        ek.gaps.inequality(panel.with_outcome(0 * panel.y), metric="gini")


def test_standard_scores_are_refused_with_the_reason():
    with pytest.raises(IdentificationError, match="Standard scores have no true zero"):
        ek.gaps.inequality(exam(), metric="gini")


def test_gini_is_not_split():
    with pytest.raises(OptionError, match="no exact split"):
        ek.gaps.inequality(schools(), metric="gini", within="county")
