"""Contributions held in factors against the same contributions written out."""

from __future__ import annotations

import numpy as np
import pytest

import evalkit as ek
from evalkit.core.scores import Rows, Scores
from evalkit.engines.cohorts import Cohorts
from panels import Recipe

TWIN = 1e-12  # sums of a few hundred products of order one
STAGGERED = Recipe(cohorts=(2002, 2004, np.nan, np.nan), clusters=True, weights="unit")
GROUPS = {"one group": 1, "three groups": 3, "a group without rows": 5}


@pytest.fixture(params=GROUPS.values(), ids=GROUPS.keys())
def factored(request):
    """Scores of 60 units in groups, two of which may be empty, with four coordinates."""
    rng = np.random.default_rng(3)
    size = request.param
    group = rng.integers(0, min(size, 3), 60)
    return Scores(Rows.of(rng.normal(size=(60, 7)), group, size), rng.normal(size=(size * 7, 4)))


def written_out(scores):
    """One unit after the other: the definition."""
    out = np.zeros(scores.shape)
    for at, block, lin in zip(scores.rows.at, scores.rows.blocks, scores.split(), strict=True):
        for unit, row in zip(at, block, strict=True):
            out[unit] = row @ lin
    return out


def test_groups_may_differ_in_width_and_leave_units_out():
    rng = np.random.default_rng(6)
    rows = Rows([rng.normal(size=(3, 2)), rng.normal(size=(4, 5))],
                [np.array([0, 4, 7]), np.array([1, 2, 3, 9])], 10)  # fmt: skip
    scores = Scores(rows, rng.normal(size=(7, 3)))
    psi = written_out(scores)
    np.testing.assert_allclose(scores.psi(), psi, atol=TWIN)
    np.testing.assert_allclose(scores.gram(), psi.T @ psi, atol=TWIN)
    assert not psi[[5, 6, 8]].any()


def test_psi_is_the_definition(factored):
    assert factored.shape == (60, 4)
    np.testing.assert_allclose(factored.psi(), written_out(factored), atol=TWIN)


def test_the_gram_matrix_is_that_of_psi(factored):
    psi = written_out(factored)
    np.testing.assert_allclose(factored.gram(), psi.T @ psi, atol=60 * TWIN)


def test_cluster_sums_are_those_of_psi(factored):
    cluster = np.arange(60) // 7
    psi = written_out(factored)
    expected = [psi[cluster == g].sum(axis=0) for g in range(9)]
    np.testing.assert_allclose(factored.cluster_sums(cluster, 9), expected, atol=60 * TWIN)


def test_combinations_act_on_the_coordinates(factored):
    matrix = np.random.default_rng(4).normal(size=(4, 2))
    expected = written_out(factored) @ matrix
    np.testing.assert_allclose(factored.dot(matrix).psi(), expected, atol=60 * TWIN)


def test_scores_on_the_same_rows_add_without_being_written_out(factored):
    other = Scores(factored.rows, factored.lin[:, ::-1])
    both = factored.plus(other, -1.0)
    assert both.rows is factored.rows
    expected = written_out(factored) - written_out(other)
    np.testing.assert_allclose(both.psi(), expected, atol=TWIN)


def test_scores_on_other_rows_do_not_add(factored):
    copy = Rows(factored.rows.blocks, factored.rows.at, factored.rows.size)
    assert factored.plus(Scores(copy, factored.lin), 1.0) is None


def test_dense_scores_are_the_matrix_itself():
    psi = np.random.default_rng(5).normal(size=(20, 3))
    np.testing.assert_array_equal(Scores.dense(psi).psi(), psi)
    np.testing.assert_allclose(Scores.dense(psi).gram(), psi.T @ psi, atol=TWIN)


def test_written_scores_cannot_be_changed(factored):
    with pytest.raises(ValueError, match="read-only"):
        factored.psi()[0, 0] = 1.0


ESTIMATORS = {
    "Callaway-Sant'Anna": ek.did.callaway_santanna,
    "imputation": ek.did.imputation,
}


@pytest.mark.parametrize("run", ESTIMATORS.values(), ids=ESTIMATORS.keys())
def test_an_estimate_is_the_same_in_factors_and_written_out(run):
    """Theta is untouched; covariances with and without clusters, averages and differences."""
    factored = run(STAGGERED.panel())
    assert len(factored.scores.rows.blocks) == 3
    dense = type(factored)(
        factored.theta, factored.psi, factored.units, factored.cluster, factored.index,
        factored.meta, mass=factored.mass,
    )  # fmt: skip
    for of in (lambda e: e, ek.aggregate, lambda e: ek.aggregate(e, by="event"), lambda e: 2 * e):
        a, b = of(factored), of(dense)
        np.testing.assert_allclose(a.theta, b.theta, atol=TWIN)
        np.testing.assert_allclose(a.psi, b.psi, atol=TWIN)
        np.testing.assert_allclose(a.vcov(), b.vcov(), atol=TWIN)


def test_estimates_of_one_panel_share_their_pass_and_their_difference_stays_factored():
    panel = STAGGERED.panel()
    cells, imputed = ek.did.callaway_santanna(panel), ek.did.imputation(panel)
    shared = Cohorts.of(panel).rows
    assert cells.scores.rows is shared
    assert imputed.scores.rows is shared
    difference = ek.aggregate(cells) - ek.aggregate(imputed)
    assert difference.scores.rows is shared
    expected = ek.aggregate(cells).psi - ek.aggregate(imputed).psi
    np.testing.assert_allclose(difference.psi, expected, atol=TWIN)


def test_cohort_statistics_are_those_of_a_loop_over_units():
    frame = STAGGERED.frame()
    cohorts = Cohorts.of(STAGGERED.panel(frame))
    assert cohorts.start.tolist() == [2002, 2004, np.inf]
    for c, start in enumerate(cohorts.start):
        mine = frame[frame["start"].fillna(np.inf) == start]
        for t, year in enumerate(cohorts.clock):
            rows = mine[mine["year"] == year]
            total = sum(rows["weight"])
            assert abs(cohorts.mass[c] - total) < TWIN * 100
            mean = sum(rows["weight"] * rows["y"]) / total
            assert abs(cohorts.mean[c, t] - mean) < TWIN * 100


@pytest.mark.parametrize("recipe", [Recipe(missing=0.1), Recipe(weights="row")])
def test_there_is_no_pass_over_gaps_or_changing_weights(recipe):
    assert Cohorts.of(recipe.panel()) is None
