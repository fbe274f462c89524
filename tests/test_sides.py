"""Clusters behind a coordinate, against explicit loops over rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import evalkit as ek
from panels import RECIPES
from test_laws.estimators import EFFECTS

ROUNDING = 1e-12


def loads_of(panel, treated, controls):
    """Shares of weight by cluster, by the row, of the rows on each side: two dicts."""
    out = []
    for rows in (treated, controls):
        total, share = sum(panel.weight[r] for r in rows), {}
        for r in rows:
            g = panel.cluster[panel.unit[r]]
            share[g] = share.get(g, 0.0) + panel.weight[r] / total
        out.append(share)
    return out


def equal(share):
    square = sum(x**2 for x in share.values())
    return square**2 / sum(x**4 for x in share.values())


def rows_where(panel, rule):
    return [
        r
        for r in range(len(panel.y))
        if rule(panel.cohort[panel.unit[r]], panel.clock[panel.time[r]])
    ]


@pytest.mark.parametrize("recipe", ["balanced", "unbalanced", "clustered", "weighted", "staggered"])
@pytest.mark.parametrize("control", ["never", "not_yet"])
def test_the_sides_of_a_cell_are_its_cohort_and_the_untreated_of_the_period(recipe, control):
    panel = RECIPES[recipe].panel()
    f = ek.did.callaway_santanna(panel, control=control, unbalanced="records")
    standing = f.sides.standing()
    for k, (cohort, period) in enumerate(f.index.keys):
        free = np.inf if control == "never" else period + 0.5
        shares = loads_of(
            panel,
            rows_where(panel, lambda g, t, c=cohort, p=period: g == c and t == p),
            rows_where(
                panel, lambda g, t, c=cohort, p=period, f=free: g >= f and g != c and t == p
            ),
        )
        assert standing.clusters[k].tolist() == [len(share) for share in shares]
        np.testing.assert_allclose(standing.equal[k], [equal(s) for s in shares], rtol=ROUNDING)


@pytest.mark.parametrize("recipe", ["balanced", "unbalanced", "clustered", "weighted"])
def test_all_treated_rows_stand_behind_the_static_coefficient(recipe):
    panel = RECIPES[recipe].panel()
    treated, _ = loads_of(panel, rows_where(panel, lambda g, t: t >= g), [0])
    standing = ek.did.two_way(panel).sides.standing()
    assert standing.clusters[0, 0] == len(treated)
    np.testing.assert_allclose(standing.equal[0, 0], equal(treated), rtol=ROUNDING)


def test_an_average_rests_on_the_union_of_its_cohorts():
    panel = RECIPES["staggered"].panel()
    cells = ek.did.callaway_santanna(panel)
    overall = ek.aggregate(ek.aggregate(cells, by="cohort"))
    standing = overall.sides.standing()
    treated = {c for c, g in zip(panel.cluster, panel.cohort, strict=True) if np.isfinite(g)}
    assert standing.clusters[0, 0] == len(treated)


def split(sizes, never=30):
    """Cohorts of these sizes, adopting one after the other, and never-treated units."""
    towns = sum(sizes) + never
    start = np.repeat([2002.0 + c for c in range(len(sizes))] + [np.nan], [*sizes, never])
    recipe = replace(RECIPES["balanced"], cohorts=tuple(start), periods=len(sizes) + 3)
    return recipe.panel(towns=towns)


def test_a_difference_of_cohorts_is_as_weak_as_its_smaller_one():
    cells = ek.did.callaway_santanna(split([2, 20]))
    by = ek.aggregate(cells, by="cohort")
    difference = by.contrast([[1.0, -1.0]], ["early - late"])
    standing = difference.sides.standing()
    assert standing.clusters[0, 0] == 22
    load = np.array([1 / 2] * 2 + [1 / 20] * 20)
    expected = (load**2).sum() ** 2 / (load**4).sum()
    np.testing.assert_allclose(standing.equal[0, 0], expected, rtol=ROUNDING)
    assert standing.equal[0, 0] < 3


def test_many_small_cohorts_are_known_by_their_typical_size():
    """Imputation takes the cohorts as given: each cohort's mean hides the noise of its members."""
    panel = split([2] * 8, never=400)
    standing = {
        run.__name__: ek.aggregate(run(panel)).sides.standing()
        for run in (ek.did.imputation, ek.did.callaway_santanna, ek.did.two_way)
    }
    assert {one.clusters[0, 0] for one in standing.values()} == {16}
    assert standing["imputation"].group[0] == pytest.approx(2)
    assert standing["callaway_santanna"].group[0] > 8  # its shares are noisy, and show the rest
    assert standing["two_way"].group[0] > 8  # one mean for all


@pytest.mark.slow
def test_the_typical_size_says_what_the_means_of_cohorts_hide():
    panel = split([2] * 8, never=100)
    draws = np.random.default_rng(1).normal(size=(120, len(panel.y)))
    ratio = {}
    for run in (ek.did.imputation, ek.did.callaway_santanna, ek.did.two_way):
        made = [ek.aggregate(run(panel.with_outcome(y))) for y in draws]
        error = np.mean([f.vcov()[0, 0] for f in made])
        ratio[run.__name__] = error / np.var([f.theta[0] for f in made])
    assert ratio["imputation"] < 0.75
    assert min(ratio["callaway_santanna"], ratio["two_way"]) > 0.85


def test_the_sides_survive_the_algebra_of_estimates():
    panel = RECIPES["staggered"].panel()
    f = ek.did.callaway_santanna(panel)
    one = f.sides.standing()
    for same in (f + f, f - f, 3 * f, -f, f.collapse(), ek.stack({"a": f, "b": f}).take([0, 1])):
        other = same.sides.standing()
        k = len(same)
        np.testing.assert_array_equal(other.clusters, one.clusters[:k])
        np.testing.assert_allclose(other.equal, one.equal[:k], rtol=ROUNDING)
        np.testing.assert_allclose(other.group, one.group[:k], rtol=ROUNDING)


def test_a_sum_over_two_samples_counts_each_cluster_once():
    panel = RECIPES["clustered"].panel()
    some = panel.unit % 4 < 2
    f, g = (ek.did.two_way(panel.where(rows)) for rows in (some, ~some))
    treated = [{c for c, s in zip(e.cluster, e.units % 2 == 0, strict=True) if s} for e in (f, g)]
    standing = (f - g).sides.standing()
    assert standing.clusters[0, 0] == len(treated[0] | treated[1]) < sum(map(len, treated))


NO_SIDES = ("regression", "two-stage", "dose iv")  # regressors: no treated and untreated to count


@pytest.mark.parametrize("case", EFFECTS, ids=lambda case: case.name)
def test_every_estimate_of_an_effect_of_adoption_knows_its_sides(case):
    recipe = RECIPES[case.panels[0]]
    estimate = case.run(recipe.panel())
    if case.name.startswith(NO_SIDES):
        assert estimate.sides is None
        return
    loads = estimate.sides.loads().sides
    assert (loads >= 0).all()
    assert (loads.sum(axis=1) >= 1 - 1e-9).all()
    treated = len(set(estimate.cluster))
    standing = estimate.sides.standing()
    assert (standing.clusters <= treated).all()
    assert (standing.equal <= standing.clusters + 1e-9).all()


def test_an_estimate_without_sides_says_nothing_about_them():
    panel = RECIPES["balanced"].panel()
    f = ek.did.regression(panel, on=["x"])
    assert f.sides is None
    g = ek.did.two_way(panel).relabel(f.index)
    assert (f - g).sides is None
    assert ek.stack({"f": f, "g": g}).sides is None


def test_counting_equal_clusters_together_changes_no_number():
    for recipe in ("balanced", "staggered", "clustered", "unbalanced"):
        f = ek.did.callaway_santanna(RECIPES[recipe].panel())
        one, two = f.sides.standing(), f.sides.loads().standing()
        np.testing.assert_array_equal(one.clusters, two.clusters)
        np.testing.assert_allclose(one.equal, two.equal, rtol=ROUNDING)
        np.testing.assert_allclose(one.square, two.square, rtol=ROUNDING)
        np.testing.assert_allclose(one.group, two.group, rtol=ROUNDING)


def test_the_degrees_of_freedom_of_two_equal_groups_are_those_of_welch():
    standing = ek.did.two_way(RECIPES["balanced"].panel()).sides.standing()
    np.testing.assert_allclose(standing.dof(), [38.0], rtol=ROUNDING)
