"""Weights on effects against planted effects and a direct minimisation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core.errors import CombinationError
from panels import Recipe

TWIN = 1e-10  # exact algebra at outcomes of size 50

COHORTS = (2000, 2002, 2004, np.nan, np.nan)
STAGGERED = Recipe(cohorts=COHORTS)


def test_weights_on_effects_are_what_a_planted_effect_moves():
    """An effect in one cohort and year moves the coefficient by that cell's weight."""
    recipe = Recipe(cohorts=COHORTS, missing=0.1, weights="row")
    frame = recipe.frame()
    panel = recipe.panel(frame)
    estimate = ek.did.two_way(panel)
    view = ek.negative_weights(estimate, panel)
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
    view = ek.negative_weights(estimate, panel)
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
    view = ek.negative_weights(ek.did.two_way(panel), panel)
    assert view.negative == 0
    assert view.sigma > 1e6


def test_weights_are_refused_for_several_coordinates_and_for_another_panel():
    panel = STAGGERED.panel()
    estimate = ek.did.two_way(panel)
    with pytest.raises(CombinationError, match="one coordinate at a time"):
        ek.negative_weights(ek.did.imputation(panel), panel)
    other = Recipe(cohorts=COHORTS, seed=8).panel()
    with pytest.raises(CombinationError, match="not made from this panel"):
        ek.negative_weights(estimate, other)
    with pytest.raises(CombinationError, match="not made from this panel"):
        ek.negative_weights(estimate, panel.where(panel.time > 0))


def test_an_average_of_imputed_effects_has_equal_weights_on_its_observations():
    panel = STAGGERED.panel(STAGGERED.frame().query("start != 2000"))
    view = ek.negative_weights(ek.aggregate(ek.did.imputation(panel)), panel)
    assert view.negative == 0
    pd.testing.assert_series_equal(
        view.cells["weight"], view.cells["observations"] / view.positive, check_names=False
    )
