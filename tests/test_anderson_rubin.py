"""Confidence sets for a ratio: their three shapes, their definition, their coverage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import evalkit as ek
from evalkit.core.errors import OptionError
from made import estimate

KEYS = {"numerator": ("top",), "denominator": ("bottom",)}
V = np.array([[1.0, 0.4], [0.4, 1.0]])


def made(top, bottom, covariance=V, groups=200):
    return estimate([top, bottom], covariance, groups, terms=["top", "bottom"])


def test_a_strong_denominator_gives_one_bounded_interval_around_the_ratio():
    found = ek.anderson_rubin(made(20.0, 40.0), **KEYS)
    ((low, high),) = found.intervals
    assert found.bounded
    assert low < found.estimate < high
    assert found.estimate == 0.5


def test_a_weak_denominator_gives_two_rays():
    found = ek.anderson_rubin(made(5.0, 1.0), **KEYS)
    (first, second) = found.intervals
    assert not found.bounded
    assert first[0] == -np.inf
    assert second[1] == np.inf
    assert first[1] < second[0]


def test_a_denominator_and_numerator_near_zero_give_the_whole_line():
    found = ek.anderson_rubin(made(0.5, 0.5), **KEYS)
    assert found.intervals == ((-np.inf, np.inf),)
    assert not found.bounded


@pytest.mark.parametrize(
    ("top", "bottom"), [(20, 40), (5, 1), (0.5, 0.5), (-3, 2.5), (0, 10), (0, 1), (10, -7), (4, 2)]
)
@pytest.mark.parametrize("kind", ["CR0", "CR1"])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_set_is_the_inversion_of_the_test(top, bottom, kind, level):
    groups = 15
    found = ek.anderson_rubin(made(top, bottom, groups=groups), vcov=kind, level=level, **KEYS)
    factor = 1.0 if kind == "CR0" else groups / (groups - 1)
    reference = stats.norm() if kind == "CR0" else stats.t(groups - 1)
    crit = reference.ppf(0.5 + level / 2)
    beta = np.tan(np.linspace(-1.57, 1.57, 4001))
    variance = factor * (V[0, 0] - 2 * beta * V[0, 1] + beta**2 * V[1, 1])
    accepted = np.abs(top - beta * bottom) <= crit * np.sqrt(variance)
    inside = np.any([(low <= beta) & (beta <= high) for low, high in found.intervals], axis=0)
    np.testing.assert_array_equal(inside, accepted)


def test_the_ends_are_exactly_where_the_test_rejects():
    found = ek.anderson_rubin(made(20.0, 40.0), vcov="CR0", **KEYS)
    for beta in found.intervals[0]:
        variance = V[0, 0] - 2 * beta * V[0, 1] + beta**2 * V[1, 1]
        statistic = abs(20 - beta * 40) / np.sqrt(variance)
        assert statistic == pytest.approx(stats.norm.ppf(0.975), rel=1e-10)


def test_the_set_contains_zero_exactly_when_the_reduced_form_is_insignificant():
    for top in np.linspace(0, 4, 41):
        both = made(top, 30.0)
        ((low, high),) = ek.anderson_rubin(both, **KEYS).intervals
        p = ek.infer(both.select(term="top")).p_value[0]
        assert (low <= 0 <= high) == (p >= 0.05)


def test_a_strong_first_stage_gives_the_wald_interval():
    both = made(2000.0, 4000.0)
    ((low, high),) = ek.anderson_rubin(both, **KEYS).intervals
    wald = ek.infer(both.ratio(("top",), ("bottom",), "effect"))
    assert low == pytest.approx(wald.conf_low[0], rel=1e-5)
    assert high == pytest.approx(wald.conf_high[0], rel=1e-5)


def test_scaling_the_denominator_scales_the_set():
    one = ek.anderson_rubin(made(20.0, 40.0), **KEYS).intervals[0]
    scale = np.diag([1.0, 1000.0])
    two = ek.anderson_rubin(made(20.0, 40_000.0, scale @ V @ scale), **KEYS).intervals[0]
    np.testing.assert_allclose(np.array(two) * 1000, one, rtol=1e-9)


def test_the_first_stage_f_is_the_squared_t():
    both = made(2.0, 7.0)
    expected = ek.infer(both).statistic[1] ** 2
    assert ek.anderson_rubin(both, **KEYS).first_stage_f == pytest.approx(expected, rel=1e-12)


def test_the_representation_prints_set_level_and_f():
    text = repr(ek.anderson_rubin(made(5.0, 1.0), **KEYS))
    for words in ("-inf", " and ", "95%", "first-stage F"):
        assert words in text


@pytest.mark.parametrize("numerator", [("top",), ("bottom",), ("nothing",), "top"])
def test_coordinates_must_exist_and_differ(numerator):
    denominator = ("top",) if numerator == ("top",) else ("bottom",)
    with pytest.raises(OptionError, match="two different coordinates"):
        ek.anderson_rubin(made(1.0, 2.0), numerator=numerator, denominator=denominator)


def test_the_set_covers_the_truth_where_the_t_interval_of_a_weak_ratio_does_not():
    """Error of the ratio and first stage correlate at .95, and the first stage is 0.7 errors."""
    draws, strength = 1000, 0.7
    error = np.array([[1.0, 0.95], [0.95, 1.0]])  # of top - bottom, and of bottom
    mix = np.array([[1.0, 1.0], [0.0, 1.0]])
    both = made(0.0, 0.0, mix @ error @ mix.T)
    noise = np.random.default_rng(8).multivariate_normal([0, 0], both.vcov(), draws)
    covered = np.zeros((draws, 2), bool)
    for at, (top, bottom) in enumerate(strength + noise):
        drawn = replace(both, theta=np.array([top, bottom]))
        found = ek.anderson_rubin(drawn, vcov="CR0", **KEYS)
        wald = ek.infer(drawn.ratio(("top",), ("bottom",), "effect"), vcov="CR0")
        covered[at] = (
            any(low <= 1 <= high for low, high in found.intervals),
            wald.conf_low[0] <= 1 <= wald.conf_high[0],
        )
    set_, interval = covered.mean(axis=0)
    monte_carlo = np.sqrt(0.95 * 0.05 / draws)
    assert abs(set_ - 0.95) < 3 * monte_carlo
    assert interval < 0.95 - 3 * monte_carlo


@pytest.mark.parametrize("top", [0.0, 1.0, 9.0])
def test_a_denominator_of_exactly_zero_gives_an_unbounded_set(top):
    found = ek.anderson_rubin(made(top, 0.0), **KEYS)
    assert not found.bounded
    assert found.first_stage_f == 0
