"""Inference against scipy.stats and closed forms."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import optimize, stats

import evalkit as ek
from evalkit.core.errors import CombinationError, DoubtWarning, IdentificationError, OptionError
from evalkit.inference.infer import Inference, sup_t
from made import estimate
from panels import RECIPES

EXACT = 1e-12
# What the lattice promises: about five digits.
LATTICE = 2e-5

COVARIANCE = np.array([[1.0, 0.3, 0.0], [0.3, 2.0, -0.4], [0.0, -0.4, 0.5]])
THETA = [1.5, -2.0, 0.2]


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize("kind", ["CR0", "CR1"])
def test_intervals_and_p_values_are_those_of_the_reference(kind, level):
    groups = 23
    result = ek.infer(estimate(THETA, COVARIANCE, groups), vcov=kind, level=level)
    reference = stats.norm() if kind == "CR0" else stats.t(groups - 1)
    factor = 1.0 if kind == "CR0" else groups / (groups - 1)
    error = np.sqrt(np.diag(COVARIANCE) * factor)
    np.testing.assert_allclose(result.std_error, error, rtol=EXACT)
    np.testing.assert_allclose(result.statistic, THETA / error, rtol=EXACT)
    np.testing.assert_allclose(result.p_value, 2 * reference.sf(np.abs(THETA / error)), rtol=1e-10)
    half = reference.ppf(0.5 + level / 2) * error
    np.testing.assert_allclose(result.conf_low, THETA - half, rtol=1e-10)
    np.testing.assert_allclose(result.conf_high, THETA + half, rtol=1e-10)


def test_far_tails_keep_their_digits():
    result = ek.infer(estimate([30.0], [[1.0]]), vcov="CR0")
    np.testing.assert_allclose(result.p_value, 2 * stats.norm.sf(30), rtol=1e-10)
    assert 0 < result.p_value[0] < 1e-190


def test_an_interval_excludes_zero_exactly_when_p_is_below_one_minus_level():
    for theta in np.linspace(0, 4, 41):
        result = ek.infer(estimate([theta], [[1.0]], 12))
        assert (result.conf_low[0] > 0) == (result.p_value[0] < 0.05)


@pytest.mark.parametrize("dof", [5, 29.5, np.inf])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_the_sup_t_value_of_one_coordinate_is_the_quantile(dof, level):
    expected = (
        stats.norm.ppf(0.5 + level / 2) if np.isinf(dof) else stats.t(dof).ppf(0.5 + level / 2)
    )
    # A t with five degrees of freedom has thin data in its tail: the error grows with the value.
    assert sup_t(np.array([[4.0]]), level, dof) == pytest.approx(expected, rel=LATTICE)


@pytest.mark.parametrize("k", [2, 3, 7, 12])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_sup_t_value_of_independent_coordinates_is_the_closed_form(k, level):
    expected = stats.norm.ppf(0.5 + level ** (1 / k) / 2)
    assert sup_t(np.diag(np.arange(1.0, k + 1)), level) == pytest.approx(expected, rel=LATTICE)


@pytest.mark.parametrize("dof", [8.0, np.inf])
def test_the_sup_t_value_of_perfectly_correlated_coordinates_is_pointwise(dof):
    same = np.outer([1.0, -2.0, 3.0], [1.0, -2.0, 3.0])
    assert sup_t(same, 0.95, dof) == pytest.approx(sup_t(np.eye(1), 0.95, dof), rel=LATTICE)


def _by_quadrature(rho, level, dof=np.inf):
    """The c with P(|t1|, |t2| <= c) = level at correlation rho, by Gauss-Legendre twice."""
    node, weight = np.polynomial.legendre.leggauss(200)
    scale, mass = np.ones(1), np.ones(1)
    if np.isfinite(dof):  # the density of sqrt(chi2 / dof) on (0, 3)
        scale = 1.5 * (node + 1)
        mass = 1.5 * weight * stats.chi2(dof).pdf(dof * scale**2) * 2 * dof * scale
    side = np.sqrt(1 - rho**2)

    def covered(c):
        edge = (c * scale)[:, None]
        z = edge * node
        between = stats.norm.cdf((edge - rho * z) / side) - stats.norm.cdf((-edge - rho * z) / side)
        return float((edge * weight * stats.norm.pdf(z) * between).sum(axis=1) @ mass)

    return optimize.brentq(lambda c: covered(c) - level, 1, 6, xtol=1e-9)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9, -0.9])
def test_the_sup_t_value_of_two_correlated_normals_equals_quadrature(rho):
    covariance = np.array([[1.0, rho], [rho, 1.0]])
    assert sup_t(covariance, 0.95) == pytest.approx(_by_quadrature(rho, 0.95), rel=LATTICE)


@pytest.mark.parametrize("dof", [4, 10, 56])
@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_the_sup_t_value_of_two_ts_equals_quadrature(rho, dof):
    covariance = np.array([[1.0, rho], [rho, 1.0]])
    found = sup_t(covariance, 0.95, float(dof))
    assert found == pytest.approx(_by_quadrature(rho, 0.95, dof), rel=LATTICE)


def test_a_band_lies_between_the_pointwise_interval_and_bonferroni():
    values = [sup_t((1 - rho) * np.eye(5) + rho, 0.95) for rho in (0.0, 0.3, 0.6, 0.9, 0.99)]
    assert all(a > b for a, b in pairwise(values))
    assert values[-1] > stats.norm.ppf(0.975) * (1 - LATTICE)
    assert values[0] < stats.norm.ppf(1 - 0.025 / 5) * (1 + LATTICE)


def test_the_band_is_at_least_as_wide_as_the_interval():
    result = ek.infer(estimate(THETA, COVARIANCE, 30), band=True)
    assert (result.band_low < result.conf_low).all()
    assert (result.band_high > result.conf_high).all()
    np.testing.assert_allclose(
        result.band_high - result.estimate, result.crit * result.std_error, rtol=EXACT
    )


def test_the_band_covers_all_coordinates_at_once_as_often_as_it_says():
    rho = 0.6 ** np.abs(np.subtract.outer(np.arange(6), np.arange(6)))
    draws = np.random.default_rng(3).multivariate_normal(np.zeros(6), rho, 200_000)
    covered = (np.abs(draws).max(axis=1) <= sup_t(rho, 0.95)).mean()
    assert abs(covered - 0.95) < 0.002  # four Monte Carlo errors of 5e-4


def test_a_coordinate_without_error_does_not_widen_the_band():
    padded = np.zeros((3, 3))
    padded[:2, :2] = COVARIANCE[:2, :2]
    assert sup_t(padded, 0.95) == sup_t(COVARIANCE[:2, :2], 0.95)


def test_a_band_without_any_error_is_refused():
    with pytest.raises(IdentificationError, match="every standard error is zero"):
        sup_t(np.zeros((2, 2)), 0.95)


def test_the_band_is_the_same_bytes_on_every_run():
    one, two = (ek.infer(estimate(THETA, COVARIANCE), band=True) for _ in range(2))
    assert one.band_low.tobytes() == two.band_low.tobytes()
    assert one.crit == two.crit


def test_rescaling_a_coordinate_does_not_move_the_critical_value():
    scale = np.array([1e-6, 1.0, 1e6])
    scaled = COVARIANCE * np.outer(scale, scale)
    assert sup_t(scaled, 0.95) == pytest.approx(sup_t(COVARIANCE, 0.95), rel=1e-9)


@pytest.mark.parametrize("kind", ["CR0", "CR1"])
def test_the_joint_test_is_the_quadratic_form(kind):
    groups = 40
    result = ek.wald(estimate(THETA, COVARIANCE, groups), vcov=kind)
    factor = 1.0 if kind == "CR0" else groups / (groups - 1)
    statistic = THETA @ np.linalg.inv(COVARIANCE * factor) @ THETA
    assert result.statistic == pytest.approx(statistic, rel=1e-10)
    expected = (
        stats.chi2(3).sf(statistic) if kind == "CR0" else stats.f(3, groups - 1).sf(statistic / 3)
    )
    assert result.p_value == pytest.approx(expected, rel=1e-9)
    assert result.k == 3


def test_the_joint_test_of_one_coordinate_is_the_t_test():
    one = estimate([1.3], [[0.4]], 17)
    assert ek.wald(one).p_value == pytest.approx(ek.infer(one).p_value[0], rel=1e-10)


def test_the_joint_test_does_not_depend_on_how_coordinates_are_combined():
    both = estimate(THETA, COVARIANCE)
    mixed = both.contrast([[1, 1, 0], [0, 2, 1], [1, 0, -1]], ["a", "b", "c"])
    assert ek.wald(mixed).statistic == pytest.approx(ek.wald(both).statistic, rel=1e-9)


def test_a_singular_covariance_is_refused_in_a_joint_test():
    both = estimate(THETA, COVARIANCE)
    twice = both.contrast([[1, 0, 0], [0, 1, 0], [1, 1, 0]], ["a", "b", "a + b"])
    with pytest.raises(IdentificationError, match="singular"):
        ek.wald(twice)


def test_a_covariance_that_only_rounding_keeps_regular_is_refused_in_a_joint_test():
    twice = estimate([1.0, 2.0], np.eye(2)).contrast([[1, 0], [1, 3e-7]], ["a", "a again"])
    assert np.linalg.matrix_rank(twice.vcov()) == 2
    with pytest.raises(IdentificationError, match="singular"):
        ek.wald(twice)


def test_a_coordinate_without_error_has_no_joint_test_as_it_has_no_p_value():
    exact = estimate([1.0, 2.0], np.diag([1.0, 1e-30]))
    assert np.isnan(ek.infer(exact).p_value[1])
    with pytest.raises(IdentificationError, match="has an error of zero; leave it out"):
        ek.wald(exact)


def test_what_is_no_estimate_has_no_joint_test():
    with pytest.raises(OptionError, match="estimate is int"):
        ek.wald(3)


def test_more_coordinates_than_clusters_are_refused_in_a_joint_test():
    many = estimate(np.ones(6), np.eye(6), 60, cluster=np.arange(60) % 5)
    with pytest.warns(DoubtWarning), pytest.raises(IdentificationError, match="from 5 clusters"):
        ek.wald(many)


@pytest.mark.parametrize("groups", [2, 9])
def test_fewer_than_ten_clusters_raise_a_doubt(groups):
    few = estimate([1.0], [[1.0]], 60, cluster=np.arange(60) % groups)
    with pytest.warns(DoubtWarning, match=f"only {groups} clusters"):
        ek.infer(few)
    with pytest.warns(DoubtWarning):
        ek.wald(few)


def test_ten_clusters_raise_no_doubt():
    ek.infer(estimate([1.0], [[1.0]], 60, cluster=np.arange(60) % 10))


def test_a_doubt_points_at_the_line_that_asked():
    few = estimate([1.0], [[1.0]], 60, cluster=np.arange(60) % 3)
    with pytest.warns(DoubtWarning) as caught:
        ek.infer(few)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("judge", [ek.infer, ek.wald])
def test_a_single_cluster_is_refused(judge):
    one = estimate([1.0], [[1.0]], 60, cluster=np.zeros(60))
    with pytest.raises(IdentificationError, match="single cluster"):
        judge(one)


@pytest.mark.parametrize("kind", ["CR1S", "CR2", "CR3"])
def test_corrections_that_need_a_design_say_so(kind):
    with pytest.raises(CombinationError, match=f"{kind} needs an estimate from one least-squares"):
        ek.infer(estimate([1.0], [[1.0]]), vcov=kind)


@pytest.mark.parametrize("level", [0, 1, 95, -0.5, float("nan")])
def test_a_level_outside_the_unit_interval_is_refused(level):
    with pytest.raises(OptionError, match="level="):
        ek.infer(estimate([1.0], [[1.0]]), level=level)


def test_an_unknown_correction_is_refused_with_the_choices():
    with pytest.raises(OptionError, match="'CR0', 'CR1', 'CR1S', 'CR2', 'CR3'"):
        ek.infer(estimate([1.0], [[1.0]]), vcov="HC1")


def test_an_estimate_without_error_has_no_p_value():
    result = ek.infer(estimate([1.0, 2.0], [[1.0, 0.0], [0.0, 0.0]]))
    assert np.isfinite(result.p_value[0])
    assert np.isnan(result.p_value[1])
    assert result.conf_low[1] == result.conf_high[1] == 2.0


def test_the_table_has_one_row_per_coordinate_and_tidy_columns():
    table = ek.infer(estimate(THETA, COVARIANCE), band=True).table
    assert list(table.columns) == [
        "estimate", "std_error", "statistic", "p_value", "conf_low", "conf_high", "dof",
        "band_low", "band_high",
    ]  # fmt: skip
    assert list(table.index) == ["b0", "b1", "b2"]
    assert table.index.name == "term"


def test_the_representation_says_method_clusters_level_and_provenance():
    result = ek.infer(estimate(THETA, COVARIANCE), band=True)
    assert isinstance(result, Inference)
    for words in ("CR1", "200 clusters", "95%", "synthetic", "sup-t", "b2"):
        assert words in repr(result)
    assert "<table" in result._repr_html_()


def test_the_arrays_of_an_inference_cannot_be_written():
    result = ek.infer(estimate(THETA, COVARIANCE), band=True)
    for name in ("estimate", "std_error", "p_value", "vcov", "dof", "conf_low", "band_low"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(result, name)[...] = 0


@pytest.mark.parametrize("kind", ["CR2", "CR3"])
def test_a_coefficient_that_one_cluster_alone_identifies_raises_a_doubt(kind):
    """One treated town: its own residuals are zero by construction, so the error shown is that of
    the untreated alone, with nearly as many degrees of freedom as there are towns."""
    recipe = RECIPES["balanced"]
    frame = recipe.frame()
    alone = frame.assign(start=np.where(frame["town"] == 0, 2003.0, np.nan))
    with pytest.warns(DoubtWarning):
        ek.infer(ek.did.two_way(recipe.panel(alone)), vcov=kind)


def test_two_units_leave_no_error_to_judge_by():
    """One treated and one untreated unit fit exactly; rounding must not pass for precision."""
    panel = RECIPES["balanced"].panel()
    with pytest.warns(DoubtWarning):
        result = ek.infer(ek.did.two_way(panel.where(panel.unit < 2)))
    assert np.isnan(result.p_value[0])
