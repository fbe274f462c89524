"""Conley-Taber and Ferman-Pinto against placebo estimates and explicit formulas."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from scipy.optimize import lsq_linear

import evalkit as ek
from evalkit.core.errors import CombinationError, IdentificationError
from panels import RECIPES

ROUNDING = 1e-10


def panel(treated=1, towns=14, cohorts=None, **changes):
    cohorts = cohorts or (2003.0,) * treated + (np.nan,) * (towns - treated)
    made = replace(RECIPES["balanced"], cohorts=cohorts, **changes).panel(towns=towns)
    return replace(made, dose=None)


@pytest.mark.parametrize("run", [ek.did.two_way, ek.did.callaway_santanna, ek.did.imputation])
@pytest.mark.parametrize("treated", [1, 2])
def test_with_one_date_the_draws_are_the_placebo_estimates(run, treated):
    p = panel(treated)
    result = ek.conley_taber(p, run)
    placebo = ek.placebo(p, run, seed=1, draws=2000)
    ours = np.unique(result.draws.round(9), axis=0)
    theirs = np.unique(placebo.draws.round(9), axis=0)
    np.testing.assert_allclose(ours, theirs, atol=1e-8)
    far = (np.abs(result.draws) >= np.abs(result.estimate) - 1e-9).sum(axis=0)
    np.testing.assert_allclose(result.p_value, (1 + far) / (1 + len(result.draws)))


def by_hand(p, run, size=None):
    """Every choice of donors for the treated units, by explicit sums; units are clusters."""
    f = run(p)
    weights = f.weights
    treated = np.flatnonzero(np.isfinite(p.cohort))
    donors = np.flatnonzero(np.isinf(p.cohort))
    y = p.wide()[donors]
    left = y - y.mean(axis=1, keepdims=True) - y.mean(axis=0) + y.mean()
    moved = np.zeros((len(treated), len(donors), len(f)))
    for a, j in enumerate(treated):
        w = weights[p.unit == j]
        for b in range(len(donors)):
            moved[a, b] = w.T @ left[b] * len(donors) / (len(donors) - len(treated))
    if size is not None:
        for a, j in enumerate(treated):
            for k in range(len(f)):
                design = np.stack([np.ones(len(donors)), 1 / size[donors]], axis=1)
                fit = lsq_linear(design, moved[a, :, k] ** 2, bounds=(0, np.inf), tol=1e-14)
                v = [fit.x[0] + fit.x[1] / m for m in (size[j], size[donors])]
                moved[a, :, k] *= np.sqrt(v[0] / v[1])
    return np.array(
        [
            sum(moved[a, b] for a, b in enumerate(pick))
            for pick in permutations(range(len(donors)), len(treated))
        ]
    )


@pytest.mark.parametrize("run", [ek.did.two_way, ek.did.callaway_santanna, ek.did.sun_abraham])
@pytest.mark.parametrize("dates", [(2003.0,), (2002.0, 2004.0)])
def test_draws_equal_the_explicit_sums(run, dates):
    p = panel(cohorts=dates + (np.nan,) * 12, towns=12 + len(dates))
    draws = by_hand(p, run)
    result = ek.conley_taber(p, run)
    np.testing.assert_allclose(np.sort(result.draws, axis=0), np.sort(draws, axis=0), atol=ROUNDING)


def test_sizes_rescale_residuals_by_the_fitted_variance():
    p = panel(cohorts=(2003.0, 2003.0) + (np.nan,) * 12)
    size = np.random.default_rng(3).uniform(1, 30, p.n_units)
    p = replace(p, x=size[p.unit, None], names=("pupils",))
    rng = np.random.default_rng(5)
    noisy = p.with_outcome(rng.normal(size=len(p.y)) * (0.2 + 3 / np.sqrt(size[p.unit])))
    result = ek.ferman_pinto(noisy, ek.did.two_way, size="pupils")
    draws = by_hand(noisy, ek.did.two_way, size)
    # The bounded fits stop at their own tolerance.
    np.testing.assert_allclose(np.sort(result.draws, axis=0), np.sort(draws, axis=0), rtol=1e-5)
    plain = ek.conley_taber(noisy, ek.did.two_way)
    assert not np.allclose(result.draws, plain.draws)


def test_equal_sizes_leave_conley_and_taber():
    p = panel(2)
    one, two = ek.conley_taber(p, ek.did.two_way), ek.ferman_pinto(p, ek.did.two_way)
    np.testing.assert_allclose(one.draws, two.draws, rtol=ROUNDING)
    assert "by number of units" in two.method


def test_the_interval_holds_what_the_test_does_not_reject():
    p = panel(1, towns=41)
    for level in (0.8, 0.9, 0.95):
        result = ek.conley_taber(p, ek.did.two_way, level=level)
        for null, kept in (
            (result.conf_high[0] - 1e-6, True),
            (result.conf_high[0] + 1e-6, False),
            (result.conf_low[0] + 1e-6, True),
        ):
            moved = p.with_outcome(p.y - null * p.treated)
            again = ek.conley_taber(moved, ek.did.two_way, level=level)
            assert (again.p_value[0] > 1 - level + 1e-9) == kept


def test_too_few_donors_leave_the_interval_unbounded_and_say_so():
    result = ek.conley_taber(panel(1, towns=10), ek.did.two_way)
    assert result.smallest == 1 / 10
    assert result.conf_low[0] == -np.inf
    assert "too few draws are possible" in repr(result)


def test_random_choices_agree_with_all_of_them():
    p = panel(3, towns=30)
    some = ek.conley_taber(p, ek.did.two_way, draws=4000)
    every = ek.conley_taber(p, ek.did.two_way, draws=20_000)
    assert "all 17550 choices of 3 among 27" in every.method
    assert some.p_value[0] == pytest.approx(every.p_value[0], abs=0.03)
    assert some.conf_high[0] == pytest.approx(every.conf_high[0], rel=0.05)


def test_clusters_take_the_place_of_clusters():
    recipe = RECIPES["clustered"]
    data = recipe.frame(60)
    data["start"] = np.where(data["district"] == 3, 2003.0, np.nan)
    p = replace(recipe.panel(data), dose=None)
    result = ek.conley_taber(p, ek.did.two_way)
    donors = len(np.unique(p.cluster)) - 1
    assert f"all {donors} choices of 1 among {donors} untreated clusters" in result.method


def test_donors_that_are_not_always_seen_are_left_out_and_counted():
    recipe = RECIPES["balanced"]
    data = recipe.frame(20).assign(start=lambda t: np.where(t["town"] == 0, 2003.0, np.nan))
    data = data[~((data["town"] == 7) & (data["year"] == 2004))]
    p = replace(recipe.panel(data), dose=None)
    result = ek.conley_taber(p, ek.did.two_way)
    assert "of 1 among 18 untreated clusters; 1 others are not always seen" in result.method


@pytest.mark.slow
def test_noise_that_falls_with_size_is_met_by_ferman_and_pinto():
    """A large treated county: untreated ones, small and noisy, make Conley-Taber too timid; a small
    one makes it reject too often."""
    rates = {}
    for kind, own in (("large", 400.0), ("small", 20.0)):
        rejected = np.zeros(2)
        for seed in range(150):
            rng = np.random.default_rng(seed)
            size = np.concatenate([[own], rng.uniform(4, 400, 60)])
            p = panel(1, towns=61)
            y = rng.normal(size=(61, 6)) / np.sqrt(size)[:, None]
            p = replace(p.with_outcome(y.ravel()), x=size[p.unit, None], names=("pupils",))
            tests = (
                ek.conley_taber(p, ek.did.two_way),
                ek.ferman_pinto(p, ek.did.two_way, size="pupils"),
            )
            rejected += [test.p_value[0] <= 0.05 for test in tests]
        rates[kind] = rejected / 150
    assert rates["small"][0] > 0.2
    assert rates["large"][0] < 0.02
    assert rates["small"][1] < 0.6 * rates["small"][0]  # two coefficients of squares are noisy
    assert rates["large"][1] < 0.09


def test_what_cannot_be_is_refused():
    p = panel(1)
    with pytest.raises(
        CombinationError, match="no row weights to put untreated clusters in; use ek"
    ):
        ek.conley_taber(p, lambda q: ek.did.callaway_santanna(q, covariates=["base"]))
    with pytest.raises(IdentificationError, match="cannot stand in for 10 treated"):
        ek.conley_taber(panel(10, towns=16), ek.did.two_way)
    everybody = panel(cohorts=(2002.0, 2004.0), towns=10)
    with pytest.raises(IdentificationError, match="every cluster has treated units"):
        ek.conley_taber(everybody, ek.did.two_way)
    negative = replace(p, x=np.full((len(p.y), 1), -1.0), names=("pupils",))
    with pytest.raises(IdentificationError, match="size 'pupils' must be positive; unit 0 has -1"):
        ek.ferman_pinto(negative, ek.did.two_way, size="pupils")
