"""Views of the two-way coefficient against regressions on the pairs that they speak of."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core.errors import CombinationError, IdentificationError
from panels import Recipe

TWIN = 1e-10  # exact algebra at outcomes of size 50

COHORTS = (2000, 2002, 2004, np.nan, np.nan)
STAGGERED = Recipe(cohorts=COHORTS)
WEIGHTED = Recipe(cohorts=COHORTS, weights="unit")
each_recipe = pytest.mark.parametrize("recipe", [STAGGERED, WEIGHTED], ids=["plain", "weighted"])


@each_recipe
@pytest.mark.parametrize("keep", ["always, never", "never", "always", "neither"])
def test_the_weighted_comparisons_sum_to_the_two_way_coefficient(recipe, keep):
    frame = recipe.frame()
    if "always" not in keep:
        frame = frame[frame["start"] != 2000]
    if "never" not in keep:
        frame = frame[frame["start"].notna()]
    panel = recipe.panel(frame)
    parts = ek.did.bacon(panel)
    assert abs(parts["weight"].sum() - 1) < TWIN
    assert (parts["weight"] > 0).all()
    total = (parts["weight"] * parts["estimate"]).sum()
    assert abs(total - ek.did.two_way(panel).theta[0]) < TWIN


@each_recipe
def test_every_comparison_is_the_two_way_regression_on_its_rows(recipe):
    """A pair of cohorts in the window in which only one of them changes treatment."""
    frame = recipe.frame()
    parts = ek.did.bacon(recipe.panel(frame))
    start = frame["start"].fillna(np.inf)
    assert len(parts) == 2 * 1 + 2 * 1 + 2  # never, always, and the two of one pair
    for part in parts.itertuples():
        pair = frame[start.isin([part.treated, part.control])]
        if part.type == "earlier vs later":
            pair = pair[pair["year"] < part.control]
        elif part.type == "later vs earlier":
            pair = pair[pair["year"] >= part.control]
        # Cohorts treated throughout the window are its controls.
        pair = pair.assign(start=pair["start"].where(pair["start"] == part.treated))
        assert abs(ek.did.two_way(recipe.panel(pair)).theta[0] - part.estimate) < TWIN


def test_a_control_that_is_treated_is_called_by_its_name():
    kinds = ek.did.bacon(STAGGERED.panel()).groupby("type")
    assert {kind: len(rows) for kind, rows in kinds} == {
        "earlier vs later": 1, "later vs earlier": 1, "treated vs always": 2, "treated vs never": 2
    }  # fmt: skip


def test_the_decomposition_is_refused_where_it_does_not_hold():
    for recipe in (Recipe(cohorts=COHORTS, missing=0.1), Recipe(cohorts=COHORTS, weights="row")):
        with pytest.raises(IdentificationError, match="balanced panel with one weight per unit"):
            ek.did.bacon(recipe.panel())
    frame = STAGGERED.frame()
    with pytest.raises(IdentificationError, match="changes treatment"):
        ek.did.bacon(STAGGERED.panel(frame[frame["start"] == 2002]))


def test_weights_on_effects_are_what_a_planted_effect_moves():
    """An effect in one cohort and year moves the coefficient by that cell's weight."""
    recipe = Recipe(cohorts=COHORTS, missing=0.1, weights="row")
    frame = recipe.frame()
    panel = recipe.panel(frame)
    estimate = ek.did.two_way(panel)
    view = ek.did.negative_weights(estimate, panel)
    for cell in view.cells.itertuples():
        here = (frame["start"] == cell.cohort) & (frame["year"] == cell.time)
        assert cell.observations == here.sum()
        moved = ek.did.two_way(recipe.panel(frame.assign(y=frame["y"] + 3 * here)))
        assert abs(moved.theta[0] - estimate.theta[0] - 3 * cell.weight) < TWIN
    assert abs(view.cells["weight"].sum() - 1) < TWIN
    assert view.positive + view.negative == view.cells["observations"].sum()


@pytest.mark.parametrize("weights", ["", "unit"])
def test_sigma_is_the_least_spread_of_effects_that_hides_a_zero_average(weights):
    """The minimiser is linear in the weights; it has average zero and gives the coefficient."""
    recipe = Recipe(cohorts=COHORTS, weights=weights)
    frame = recipe.frame()
    panel = recipe.panel(frame)
    estimate = ek.did.two_way(panel)
    view = ek.did.negative_weights(estimate, panel)
    treated = panel.treated > 0
    on = estimate.weights[treated, 0]
    share = panel.weight[treated] / panel.weight[treated].sum()
    # min s'd^2 subject to on'd = beta and s'd = 0, by Lagrange's equations.
    n = len(on)
    constraints = np.stack([on, share])
    system = np.block([[2 * np.diag(share), constraints.T], [constraints, np.zeros((2, 2))]])
    solution = np.linalg.solve(system, np.concatenate([np.zeros(n), [estimate.theta[0], 0]]))
    assert abs(view.sigma - np.sqrt(share @ solution[:n] ** 2)) < TWIN


def test_a_design_with_one_cohort_and_equal_weights_cannot_be_fragile():
    recipe = Recipe()
    panel = recipe.panel()
    view = ek.did.negative_weights(ek.did.two_way(panel), panel)
    assert view.negative == 0
    assert view.sigma > 1e6


def test_weights_are_refused_for_several_coordinates_and_for_another_panel():
    panel = STAGGERED.panel()
    estimate = ek.did.two_way(panel)
    with pytest.raises(CombinationError, match="one coordinate at a time"):
        ek.did.negative_weights(ek.did.imputation(panel), panel)
    other = Recipe(cohorts=COHORTS, seed=8).panel()
    with pytest.raises(CombinationError, match="not made from this panel"):
        ek.did.negative_weights(estimate, other)
    with pytest.raises(CombinationError, match="not made from this panel"):
        ek.did.negative_weights(estimate, panel.where(panel.time > 0))


def test_an_average_of_imputed_effects_has_equal_weights_on_its_observations():
    panel = STAGGERED.panel(STAGGERED.frame().query("start != 2000"))
    view = ek.did.negative_weights(ek.aggregate(ek.did.imputation(panel)), panel)
    assert view.negative == 0
    pd.testing.assert_series_equal(
        view.cells["weight"], view.cells["observations"] / view.positive, check_names=False
    )
