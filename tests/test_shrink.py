"""Empirical Bayes: published critical values, the London schools, and what must hold anywhere."""

from __future__ import annotations

import numpy as np
import pytest

import evalkit as ek
from evalkit.core.errors import DoubtWarning, IdentificationError, OptionError
from evalkit.inference.robust import critical, worst
from exam import exam_effects

PRINTED = 0.5001e-6  # half of the sixth decimal, which is the last one printed
CRITICAL = 1e-7  # relative; the R package's tests print eight to ten digits

# tests/testthat/test-cv.R of the R package ebci (MIT): B, kappa, level and the critical value.
EBCI = [(5.0, 3.0, 0.95, 11.88358367), (1.0, 3.0, 0.8, 1.8494683), (10.0, 3.0, 0.95, 24.86172217),
        (2.8, 8.0, 0.9, 7.0779747158)]  # fmt: skip


@pytest.mark.parametrize(("bias", "kappa", "level", "value"), EBCI)
def test_robust_critical_values_are_those_of_ebci(bias, kappa, level, value):
    assert critical(bias**2, kappa, level) == pytest.approx(value, rel=CRITICAL)


def test_worst_rejection_rates_are_those_of_ebci():
    assert worst(1.0, 3.0, 11.9699639845401) == pytest.approx(6.0216e-05, rel=1e-5)
    assert worst(2.8**2, 8.0, 7.1324290147839279896) == pytest.approx(0.09805099, rel=CRITICAL)


@pytest.mark.parametrize("kappa", [1.0, 3.0, np.inf])
def test_without_bias_the_critical_value_is_normal(kappa):
    assert critical(0.0, kappa, 0.95) == pytest.approx(1.959964, abs=1e-6)


def test_a_critical_value_survives_a_linear_programme_over_all_distributions():
    """The slow twin: the worst distribution on a grid, with both moments as constraints."""
    from scipy.optimize import linprog

    from evalkit.inference.robust import reject

    m2, kappa = 0.7, 4.0
    crit = critical(m2, kappa, 0.95)
    t = np.unique(np.concatenate([[m2], np.linspace(0, 60, 6001)]))
    found = linprog(-reject(t, crit), A_ub=[t**2], b_ub=[kappa * m2**2],
                    A_eq=[np.ones_like(t), t], b_eq=[1.0, m2])  # fmt: skip
    assert -found.fun == pytest.approx(0.05, abs=2e-6)


# --- The London schools: exam_eb_known_se of the project's brief (metafor and ebci in R) ---------

VARIANCES = {"moments": 0.097240, "reml": 0.094271, "ml": 0.092576, "robust": 0.095507}


@pytest.mark.parametrize("method", VARIANCES)
def test_the_variance_of_london_schools_is_the_published_one(method):
    shrunken = ek.shrink(exam_effects(), method=method)
    assert abs(shrunken.variance - VARIANCES[method]) <= PRINTED


def test_the_mean_reliability_of_london_schools_is_the_published_one():
    assert abs(ek.shrink(exam_effects()).reliability - 0.888) <= 0.0005


# --- What must hold -----------------------------------------------------------------------------


def made(k=40, seed=1, spread=1.0):
    rng = np.random.default_rng(seed)
    noise = rng.uniform(0.2, 1.5, k)
    theta = 5 + spread * rng.normal(size=k) + noise * rng.normal(size=k)
    return ek.Known.of(theta, noise, labels=range(k), provenance="synthetic")


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_the_variance_maximises_the_likelihood(method):
    known = made()
    best = ek.shrink(known, method=method).variance

    def deviance(variance):
        w = 1 / (known.variance + variance)
        about = known.theta - w @ known.theta / w.sum()
        value = w @ about**2 - np.log(w).sum()
        return value + (np.log(w.sum()) if method == "reml" else 0.0)

    assert all(deviance(best) <= deviance(v) for v in np.linspace(0, 5, 2001))


@pytest.mark.parametrize("method", ["reml", "ml", "moments", "robust"])
def test_shrinking_scales_and_shifts_with_the_estimates(method):
    known = made()
    a = ek.shrink(known, method=method)
    moved = ek.Known.of(3 * known.theta - 7, 3 * np.sqrt(known.variance), labels=range(40),
                        provenance="synthetic")  # fmt: skip
    b = ek.shrink(moved, method=method)
    np.testing.assert_allclose(b.value, 3 * a.value - 7, rtol=1e-7)
    np.testing.assert_allclose(b.high - b.low, 3 * (a.high - a.low), rtol=1e-7)


def test_noisier_units_are_pulled_more():
    shrunken = ek.shrink(made())
    order = np.argsort(shrunken.std_error)
    assert (np.diff(shrunken.weight[order]) < 0).all()


def test_robust_intervals_of_many_units_are_interpolated_to_the_exact_ones():
    known = made(k=200)
    shrunken = ek.shrink(known, method="robust")
    for at in [0, 77, 199]:
        m2 = 1 / shrunken.weight[at] - 1
        half = critical(m2, shrunken.kurtosis, 0.95) * shrunken.weight[at] * shrunken.std_error[at]
        assert (shrunken.high - shrunken.low)[at] / 2 == pytest.approx(half, rel=1e-4)


def test_robust_intervals_are_wider_than_normal_ones():
    robust, plain = ek.shrink(made(), method="robust"), ek.shrink(made(), method="moments")
    z = 1.959964
    half = z * np.sqrt(robust.weight) * robust.std_error
    assert ((robust.high - robust.low) / 2 > half).all()
    assert plain.kurtosis != plain.kurtosis


def test_estimates_no_more_spread_than_their_errors_give_a_doubt():
    known = ek.Known.of([1.0, 1.01, 0.99, 1.0], [0.5] * 4, labels="abcd", provenance="synthetic")
    with pytest.warns(DoubtWarning, match="vary no more than their errors"):
        shrunken = ek.shrink(known)
    assert shrunken.variance == 0
    np.testing.assert_allclose(shrunken.value, 1.0)


def test_an_estimate_is_shrunk_by_its_clustered_errors():
    from panels import RECIPES

    panel = RECIPES["clustered"].panel(towns=120)
    gap = ek.gaps.spread(panel, metric="mean")
    shrunken = ek.shrink(gap)
    np.testing.assert_allclose(shrunken.std_error, ek.infer(gap).std_error)
    assert shrunken.meta.provenance == "synthetic"


def test_a_table_says_which_column_is_shrunken():
    table = ek.shrink(made()).table
    assert table.attrs["shrunken"] == ("shrunken",)
    assert "mean weight" in repr(ek.shrink(made()))
    assert "<table" in ek.shrink(made())._repr_html_()


def test_what_cannot_be_shrunk_is_refused():
    with pytest.raises(IdentificationError, match="2 units"):
        ek.shrink(ek.Known.of([1.0, 2.0], [1.0, 1.0], labels="ab", provenance="synthetic"))
    with pytest.raises(OptionError, match="method"):
        ek.shrink(made(), method="bayes")
    with pytest.raises(OptionError, match="level"):
        ek.shrink(made(), level=95)
    with pytest.raises(OptionError, match="Known"):
        ek.shrink([1.0, 2.0, 3.0])
    with pytest.raises(OptionError, match="positive standard deviations"):
        ek.Known.of([1.0, 2.0], [1.0, 0.0], labels="ab", provenance="synthetic")
    with pytest.raises(OptionError, match="theta must be finite; it is nan for b"):
        ek.Known.of([1.0, np.nan], [1.0, 1.0], labels="ab", provenance="synthetic")
    with pytest.raises(OptionError, match="provenance"):
        ek.Known.of([1.0, 2.0], [1.0, 1.0], labels="ab", provenance="published")
