"""Ordinal gaps against all pairs, R's pROC and the references of the brief."""

import numpy as np
import pytest
from scipy import stats

import evalkit as ek
from evalkit.core.errors import IdentificationError
from exam import GIRLS, LUNCH, exam, exam_frame, golden, star
from panels import RECIPES

EXACT = 1e-11
SIDES = {"between": "group", "high": "urban", "low": "rural"}


def pairs(high, low, w1, w0):
    """Weighted share of pairs that the high group wins, ties counting half: one by one."""
    won = 0.0
    for a, wa in zip(high, w1, strict=True):
        for b, wb in zip(low, w0, strict=True):
            won += wa * wb * ((a > b) + 0.5 * (a == b))
    return won / (w1.sum() * w0.sum())


@pytest.mark.parametrize("name", ["unbalanced", "weighted"])
def test_the_probability_is_that_of_all_pairs_ties_included(name):
    frame = RECIPES[name].frame()
    frame["y"] = frame["y"].round()
    panel = RECIPES[name].panel(frame)
    p = ek.gaps.ordinal_gap(panel, metric="probability", **SIDES)
    v = ek.gaps.ordinal_gap(panel, **SIDES)
    for at, (year,) in enumerate(p.index.keys):
        rows = frame[frame["year"] == year]
        sides = [rows[rows["group"] == x] for x in ("urban", "rural")]
        weights = [s["weight"] if name == "weighted" else s["y"] * 0 + 1 for s in sides]
        expected = pairs(*(s["y"] for s in sides), *weights)
        np.testing.assert_allclose(p.theta[at], expected, rtol=EXACT)
        np.testing.assert_allclose(v.theta[at], np.sqrt(2) * stats.norm.ppf(expected), rtol=1e-9)


def test_area_and_error_are_those_of_delong():
    """R pROC's variance divides by n - 1 in each group; nothing else differs."""
    frame = exam_frame()
    found = ek.gaps.ordinal_gap(exam(cluster=None), metric="probability", **GIRLS)
    assert found.theta[0] == pytest.approx(golden()["exam_outscore"], rel=EXACT)
    parts = [found.psi[(frame["sex"] == s).to_numpy(), 0] for s in ("F", "M")]
    variance = sum((part**2).sum() * len(part) / (len(part) - 1) for part in parts)
    assert variance == pytest.approx(golden()["exam_outscore_delong"], rel=1e-10)


def test_the_references_of_the_brief_are_found_again():
    """Exam V .2127, STAR V .5305."""
    assert ek.gaps.ordinal_gap(exam(), **GIRLS).theta[0] == pytest.approx(0.2127, abs=5e-5)
    assert ek.gaps.ordinal_gap(star(), **LUNCH).theta[0] == pytest.approx(0.5305, abs=5e-5)


def test_a_rising_change_of_scale_changes_nothing():
    panel = exam()
    bent = panel.with_outcome(np.exp(panel.y) + panel.y**3)
    one, two = ek.gaps.ordinal_gap(panel, **GIRLS), ek.gaps.ordinal_gap(bent, **GIRLS)
    assert one.theta.tobytes() == two.theta.tobytes()
    assert one.psi.tobytes() == two.psi.tobytes()


def test_normal_scores_of_equal_spread_have_v_equal_to_d():
    rng = np.random.default_rng(7)
    n = 40_000
    frame = {"i": np.arange(n), "t": np.zeros(n, int), "g": np.tile(["a", "b"], n // 2),
             "y": rng.normal(size=n) + 0.4 * (np.arange(n) % 2 == 0)}  # fmt: skip
    panel = ek.Panel.from_frame(
        frame, outcome="y", unit="i", time="t", categories=["g"], provenance="synthetic"
    )
    v = ek.gaps.ordinal_gap(panel, between="g", high="a", low="b")
    d = ek.gaps.standardised_gap(panel, between="g", high="a", low="b")
    assert v.theta[0] == pytest.approx(d.theta[0], abs=0.005)
    assert (v - d).vcov()[0, 0] < 0.01 * v.vcov()[0, 0] + 1e-5


def test_groups_that_do_not_overlap_have_a_probability_and_no_v():
    frame = RECIPES["balanced"].frame()
    frame.loc[(frame["group"] == "urban") & (frame["year"] == 2002), "y"] += 1000
    panel = RECIPES["balanced"].panel(frame)
    assert ek.gaps.ordinal_gap(panel, metric="probability", **SIDES).theta[2] == 1
    with pytest.raises(IdentificationError, match=r"2002: the groups do not overlap"):
        ek.gaps.ordinal_gap(panel, **SIDES)
    found = ek.gaps.ordinal_gap(panel, undefined="nan", **SIDES)
    assert np.isnan(found.theta).tolist() == [False, False, True, False, False, False]
    assert np.isfinite(found.psi).all()
