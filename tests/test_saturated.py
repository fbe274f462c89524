"""Regressions with one effect per cohort and period against explicit dummies."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core.errors import IdentificationError, OptionError
from panels import Recipe

DENSE = 1e-9  # a pseudo-inverse of all dummies, at outcomes of size 50
SAME = 1e-10  # two exact solutions of one well-conditioned problem
# Central differences with steps of 1e-4: truncation 1e-8, rounding 1e-12 / 1e-4.
DERIVATIVE = 1e-6

COHORTS = (2002, 2004, np.nan, np.nan)
RECIPES = {
    "balanced": Recipe(cohorts=COHORTS),
    "gaps and weights": Recipe(cohorts=COHORTS, missing=0.15, weights="row", clusters=True),
}
each_recipe = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())


def dummies(values):
    return pd.get_dummies(values).to_numpy(float)


def dense(frame, columns, weighted, controls=()):
    """Coefficients of ``columns`` beside all town and year dummies, and their contributions."""
    x = np.column_stack([*columns, *controls, dummies(frame["town"]), dummies(frame["year"])])
    w = frame["weight"].to_numpy() if weighted else np.ones(len(frame))
    bread = np.linalg.pinv(x.T @ (w[:, None] * x), rcond=1e-12, hermitian=True)
    beta = bread @ (x.T @ (w * frame["y"].to_numpy()))
    rows = x * (w * (frame["y"].to_numpy() - x @ beta))[:, None] @ bread
    psi = pd.DataFrame(rows[:, : len(columns)]).groupby(frame["town"].to_numpy()).sum()
    return beta[: len(columns)], psi.to_numpy()


def cells(frame, keep):
    """Cohort by year dummies of the pairs that ``keep`` allows, and their names."""
    start, year = frame["start"], frame["year"]
    pairs = sorted(
        {(g, t) for g, t in zip(start, year, strict=True) if np.isfinite(g) and keep(g, t)}
    )
    return [((start == g) & (year == t)).to_numpy(float) for g, t in pairs], pairs


@each_recipe
@pytest.mark.parametrize("reference", [-1, -2])
def test_sun_abraham_is_the_regression_on_explicit_dummies(recipe, reference):
    frame = recipe.frame()
    estimate = ek.did.sun_abraham(recipe.panel(frame), reference=reference)
    columns, pairs = cells(frame, lambda g, t: t - g != reference)
    beta, psi = dense(frame, columns, recipe.weights)
    assert list(estimate.index.keys) == pairs
    np.testing.assert_allclose(estimate.theta, beta, atol=DENSE)
    np.testing.assert_allclose(estimate.psi, psi, atol=DENSE)


@each_recipe
def test_extended_two_way_effects_are_the_regression_on_explicit_dummies(recipe):
    frame = recipe.frame()
    estimate = ek.did.extended_two_way(recipe.panel(frame))
    columns, pairs = cells(frame, lambda g, t: t >= g)
    beta, psi = dense(frame, columns, recipe.weights)
    assert list(estimate.index.keys) == pairs
    np.testing.assert_allclose(estimate.theta, beta, atol=DENSE)
    np.testing.assert_allclose(estimate.psi, psi, atol=DENSE)


@each_recipe
def test_baseline_covariates_enter_by_year_and_as_moderators_of_every_cell(recipe):
    frame = recipe.frame()
    estimate = ek.did.extended_two_way(recipe.panel(frame), baseline=["base"])
    columns, pairs = cells(frame, lambda g, t: t >= g)
    first = frame.drop_duplicates("town").set_index("town")
    first = first.assign(weight=first["weight"] if recipe.weights else 1.0)
    means = {
        g: np.average(mine["base"], weights=mine["weight"])
        for g, mine in first[first["start"].notna()].groupby("start")
    }
    moderators = [
        column * (frame["base"].to_numpy() - means[g])
        for column, (g, _) in zip(columns, pairs, strict=True)
    ]
    by_year = [frame["base"] * (frame["year"] == year) for year in range(2001, 2006)]
    beta, psi = dense(frame, [*columns, *moderators], recipe.weights, by_year)
    k = len(columns)
    np.testing.assert_allclose(estimate.theta, beta[:k], atol=DENSE)
    expected = psi[:, :k].copy()
    towns = first.sort_index()
    for at, (g, _) in enumerate(pairs):
        mine = (towns["start"] == g).to_numpy()
        share = towns["weight"].to_numpy() * mine / towns["weight"].to_numpy()[mine].sum()
        expected[:, at] += beta[k + at] * share * (towns["base"].to_numpy() - means[g])
    np.testing.assert_allclose(estimate.psi, expected, atol=DENSE)


def test_sun_abraham_is_callaway_santanna_against_the_never_treated_when_balanced():
    panel = RECIPES["balanced"].panel()
    regression = ek.did.sun_abraham(panel)
    cells = ek.did.callaway_santanna(panel, base="universal")
    assert regression.index == cells.index
    np.testing.assert_allclose(regression.theta, cells.theta, atol=SAME)
    np.testing.assert_allclose(regression.psi, cells.psi, atol=SAME)
    both = [ek.aggregate(e, by="event") for e in (regression, cells)]
    np.testing.assert_allclose(both[0].psi, both[1].psi, atol=SAME)


def test_extended_two_way_effects_are_those_of_imputation_when_balanced():
    panel = RECIPES["balanced"].panel()
    regression, imputed = ek.did.extended_two_way(panel), ek.did.imputation(panel)
    assert regression.index == imputed.index
    np.testing.assert_allclose(regression.theta, imputed.theta, atol=SAME)


@pytest.mark.parametrize("run", [ek.did.sun_abraham, ek.did.extended_two_way])
def test_a_contribution_is_the_derivative_in_the_weight_of_its_unit(run):
    recipe = RECIPES["gaps and weights"]
    frame = recipe.frame(28)
    step, expected = 1e-4, []
    for town in np.unique(frame["town"]):
        up, down = (
            run(
                recipe.panel(
                    frame.assign(weight=frame["weight"] * np.where(frame["town"] == town, 1 + h, 1))
                )
            ).theta
            for h in (step, -step)
        )
        expected.append((up - down) / (2 * step))
    psi = run(recipe.panel(frame)).psi
    np.testing.assert_allclose(psi, expected, atol=DERIVATIVE, rtol=DERIVATIVE)


@each_recipe
@pytest.mark.parametrize("run", [ek.did.sun_abraham, ek.did.extended_two_way])
def test_row_weights_reproduce_the_estimate(recipe, run):
    panel = recipe.panel()
    estimate = run(panel)
    np.testing.assert_allclose(estimate.weights.T @ panel.y, estimate.theta, atol=SAME)


def test_shares_of_cohorts_are_shares_of_weighted_units():
    recipe = Recipe(cohorts=COHORTS, weights="unit")
    frame = recipe.frame()
    towns = frame.drop_duplicates("town")
    mass = ek.did.sun_abraham(recipe.panel(frame)).mass
    for (g, _), share in zip(mass.index.keys, mass.theta, strict=True):
        mine = towns.loc[towns["start"] == g, "weight"].sum()
        assert abs(share - mine / towns["weight"].sum()) < SAME


# --- The edges --------------------------------------------------------------------------------


def test_sun_abraham_needs_never_treated_units():
    frame = RECIPES["balanced"].frame().dropna(subset=["start"])
    with pytest.raises(IdentificationError, match="no unit is never treated"):
        ek.did.sun_abraham(RECIPES["balanced"].panel(frame))


def test_sun_abraham_names_the_cohort_never_seen_at_the_reference():
    frame = RECIPES["balanced"].frame()
    always = frame.assign(start=frame["start"].where(frame["town"] % 8 != 0, 2000.0))
    with pytest.raises(IdentificationError, match="cohort 2000 is treated in every period"):
        ek.did.sun_abraham(RECIPES["balanced"].panel(always))
    with pytest.raises(IdentificationError, match=r"cohort 2002 is never seen .* -3"):
        ek.did.sun_abraham(RECIPES["balanced"].panel(), reference=-3)


def test_extended_two_way_leaves_out_the_periods_without_untreated_units_and_says_so():
    recipe = RECIPES["balanced"]
    frame = recipe.frame().dropna(subset=["start"])
    estimate = ek.did.extended_two_way(recipe.panel(frame))
    assert estimate.index.keys == ((2002, 2002), (2002, 2003))
    assert "no untreated unit in 2004, 2005: periods left out" in estimate.meta.notes
    early = ek.did.extended_two_way(recipe.panel(frame[frame["year"] < 2004].assign(
        start=lambda d: d["start"].where(d["start"] < 2004))))  # fmt: skip
    np.testing.assert_allclose(estimate.theta, early.theta, atol=SAME)


def test_row_weights_speak_of_the_whole_panel_where_rows_were_left_out():
    recipe = RECIPES["gaps and weights"]
    frame = recipe.frame()
    panel = recipe.panel(frame.assign(start=frame["start"].fillna(2005)))
    estimate = ek.did.extended_two_way(panel)
    assert "no untreated unit in 2005: periods left out" in estimate.meta.notes
    np.testing.assert_allclose(estimate.weights.T @ panel.y, estimate.theta, atol=SAME)
    assert not estimate.weights[panel.time == 5].any()
    inner = ek.did.extended_two_way(panel.where(panel.time < 5))
    for kind in ("CR1S", "CR2", "CR3"):
        one, two = (ek.infer(each, vcov=kind, few="show") for each in (estimate, inner))
        np.testing.assert_allclose(one.vcov, two.vcov, atol=SAME)
        np.testing.assert_allclose(one.dof, two.dof, atol=1e-6)


def test_extended_two_way_leaves_out_the_always_treated_and_says_so():
    recipe = RECIPES["balanced"]
    frame = recipe.frame()
    always = frame.assign(start=frame["start"].where(frame["town"] % 8 != 0, 2000.0))
    estimate = ek.did.extended_two_way(recipe.panel(always))
    without = ek.did.extended_two_way(recipe.panel(always[always["start"] != 2000]))
    np.testing.assert_allclose(estimate.theta, without.theta, atol=SAME)
    assert "cohort 2000 left out: no period before its treatment" in estimate.meta.notes


def test_a_baseline_covariate_that_changes_is_refused():
    with pytest.raises(OptionError, match="changes within units"):
        ek.did.extended_two_way(RECIPES["balanced"].panel(), baseline=["x"])


def test_a_cohort_of_one_has_effects_that_only_the_others_make_uncertain():
    frame = RECIPES["balanced"].frame()
    lone = frame[(frame["start"] != 2004) | (frame["town"] == 1)]
    estimate = ek.did.sun_abraham(RECIPES["balanced"].panel(lone)).select(cohort=2004)
    assert np.abs(estimate.psi[estimate.units == 1]).max() < SAME
