"""Quantile gaps against numpy and their errors against theory and R's bandwidth."""

import warnings

import numpy as np
import pytest

import evalkit as ek
from evalkit.core.arrays import Groups
from evalkit.core.errors import DoubtWarning, OptionError
from evalkit.gaps.levels import Levels
from exam import GIRLS, exam, exam_frame, golden
from panels import RECIPES

EXACT = 1e-10
SIDES = {"between": "group", "high": "urban", "low": "rural"}
AT = [0.05, 0.25, 0.5, 0.9]


def test_quantiles_are_those_of_numpy_ties_included():
    frame = RECIPES["unbalanced"].frame()
    frame["y"] = frame["y"].round()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoubtWarning)  # ties are what is tested
        found = ek.gaps.quantile_gap(RECIPES["unbalanced"].panel(frame), at=AT, **SIDES)
    by = frame.groupby(["year", "group"])["y"]
    for (year, p), value in zip(found.index.keys, found.theta, strict=True):
        high, low = (np.quantile(by.get_group((year, x)), p) for x in ("urban", "rural"))
        np.testing.assert_allclose(value, high - low, rtol=EXACT, atol=EXACT)


def test_the_references_of_the_brief_are_found_again():
    """Exam: .408 at the 10th, .134 at the 90th percentile, numpy there."""
    found = ek.gaps.quantile_gap(exam(), at=[0.1, 0.9], **GIRLS)
    np.testing.assert_allclose(found.theta, [0.408, 0.134], atol=5e-4)


def test_the_bandwidth_is_that_of_quantreg():
    """The step at which a straight quantile function is differenced, from its slope alone."""
    for p in (0.1, 0.5, 0.75):
        for n in (50, 1000):
            y = np.linspace(0, 1, 20_001) ** 2  # the quantile function is p squared
            levels = Levels.of(y, Groups(np.zeros(len(y), int), 1))
            slope = levels.sparsity(np.ones(len(y)), p, np.array([float(n)]))[0]
            h = golden()[f"bandwidth_{p:g}_{n}"]
            low, high = max(p - h, 0), min(p + h, 1)
            assert slope == pytest.approx((high**2 - low**2) / (high - low), rel=1e-4)


def test_the_error_of_a_median_of_normal_outcomes_is_the_textbook_one():
    """sd sqrt(pi/2n); the difference quotient of 40,000 draws is off by a few per cent."""
    rng = np.random.default_rng(6)
    frame = {"i": np.arange(80_000), "t": np.zeros(80_000, int), "y": rng.normal(size=80_000),
             "g": np.tile(["a", "b"], 40_000)}  # fmt: skip
    panel = ek.Panel.from_frame(
        frame, outcome="y", unit="i", time="t", categories=["g"], provenance="synthetic"
    )
    found = ek.gaps.quantile_gap(panel, between="g", high="a", low="b", at=[0.5])
    assert np.sqrt(found.vcov()[0, 0]) == pytest.approx(np.sqrt(np.pi / 40_000), rel=0.05)


def test_whole_weights_are_repeated_pupils_where_all_are_doubled():
    frame = exam_frame()
    double = exam(frame=frame.assign(w=2.0), weight="w")
    one, two = (ek.gaps.quantile_gap(p, at=AT, **GIRLS) for p in (exam(), double))
    np.testing.assert_allclose(one.theta, two.theta, rtol=EXACT)
    np.testing.assert_allclose(one.psi, two.psi, rtol=EXACT)


def test_a_quantile_inside_a_tie_still_has_an_error_and_a_warning():
    frame = exam_frame().assign(mark=lambda f: f["score"].round())
    with pytest.warns(DoubtWarning, match="1 quantile gaps stand on a score"):
        found = ek.gaps.quantile_gap(exam("mark", frame=frame), at=[0.5], **GIRLS)
    assert found.vcov()[0, 0] > 0


@pytest.mark.parametrize("at", [[], [0.0], [0.5, 1.0], [0.2, 0.2], [np.nan]])
def test_probabilities_that_make_no_sense_are_refused(at):
    with pytest.raises(OptionError, match="probabilities"):
        ek.gaps.quantile_gap(exam(), at=at, **GIRLS)
