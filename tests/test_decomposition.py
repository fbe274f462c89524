"""Two-by-two comparisons behind two-way effects against regressions on the pairs they speak of."""

from __future__ import annotations

import numpy as np
import pytest

import evalkit as ek
from evalkit.core.errors import IdentificationError
from evalkit.core.sides import Loads
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
    weight = parts.mass.theta
    assert abs(weight.sum() - 1) < TWIN
    assert (weight > 0).all()
    expected = ek.did.two_way(panel).theta[0]
    assert abs(weight @ parts.theta - expected) < TWIN
    assert abs(ek.aggregate(parts).theta[0] - expected) < TWIN


@each_recipe
def test_every_comparison_is_the_two_way_regression_on_its_rows(recipe):
    """A pair of cohorts in the window in which only one of them changes treatment."""
    frame = recipe.frame()
    parts = ek.did.bacon(recipe.panel(frame))
    start = frame["start"].fillna(np.inf)
    assert len(parts) == 2 * 1 + 2 * 1 + 2  # never, always, and the two of one pair
    for k, (kind, treated, control) in enumerate(parts.index.keys):
        pair = frame[start.isin([treated, control])]
        if kind == "earlier vs later":
            pair = pair[pair["year"] < control]
        elif kind == "later vs earlier":
            pair = pair[pair["year"] >= control]
        # Cohorts treated throughout the window are its controls.
        pair = pair.assign(start=pair["start"].where(pair["start"] == treated))
        expected = ek.did.two_way(recipe.panel(pair)).theta[0]
        assert abs(parts.theta[k] - expected) < TWIN


@each_recipe
def test_the_contributions_of_a_comparison_are_those_of_a_two_by_two(recipe):
    frame = recipe.frame()
    parts = ek.did.bacon(recipe.panel(frame))
    start = frame["start"].fillna(np.inf)
    for k, (kind, treated, control) in enumerate(parts.index.keys):
        if kind == "treated vs never":
            pair = recipe.panel(frame[start.isin([treated, control])])
            expected = ek.did.two_by_two(pair)
            used = np.isin(parts.units, pair.units)
            np.testing.assert_allclose(parts.psi[used, k], expected.psi[:, 0], atol=TWIN)
            assert not parts.psi[~used, k].any()
    np.testing.assert_allclose(parts.weights.T @ recipe.panel(frame).y, parts.theta, atol=TWIN)


def test_a_control_that_is_treated_is_called_by_its_name():
    never, always = np.inf, 2000
    assert ek.did.bacon(STAGGERED.panel()).index.keys == (
        ("earlier vs later", 2002, 2004),
        ("later vs earlier", 2004, 2002),
        ("treated vs always", 2002, always),
        ("treated vs always", 2004, always),
        ("treated vs never", 2002, never),
        ("treated vs never", 2004, never),
    )


def test_the_decomposition_is_refused_where_it_does_not_hold():
    for recipe in (Recipe(cohorts=COHORTS, missing=0.1), Recipe(cohorts=COHORTS, weights="row")):
        with pytest.raises(IdentificationError, match="balanced panel with one weight per unit"):
            ek.did.bacon(recipe.panel())
    frame = STAGGERED.frame()
    with pytest.raises(IdentificationError, match="changes treatment"):
        ek.did.bacon(STAGGERED.panel(frame[frame["start"] == 2002]))


@each_recipe
@pytest.mark.parametrize("cluster", [{}, {"cluster": "district"}], ids=["units", "districts"])
def test_the_sides_of_a_pair_are_the_units_of_its_cohorts(recipe, cluster):
    frame = recipe.frame().assign(district=lambda f: f["town"] // 3)
    panel = recipe.panel(frame, **cluster)
    parts = ek.did.bacon(panel)
    sides = []
    for level in ("treated", "control"):
        mine = panel.cohort[:, None] == np.array(parts.index.level(level), float)
        load = panel.unit_weight[:, None] * mine
        sides.append(load / load.sum(axis=0))
    written = Loads.of(panel.cluster, *sides).standing()
    found = parts.sides.standing()
    np.testing.assert_array_equal(found.clusters, written.clusters)
    np.testing.assert_allclose(found.equal, written.equal, rtol=TWIN)


def test_units_of_pairs_are_counted_once_in_their_averages():
    panel = STAGGERED.panel()
    parts = ek.did.bacon(panel)
    size = {date: int((panel.cohort == date).sum()) for date in (2002, 2004, np.inf)}
    assert parts.counts[parts.index.keys.index(("treated vs never", 2002, np.inf))].tolist() == [
        size[2002], size[np.inf]]  # fmt: skip
    mean = ek.aggregate(parts, by="type")
    never = mean.counts[mean.index.keys.index(("treated vs never",))]
    assert never.tolist() == [size[2002] + size[2004], size[np.inf]]
