"""Sparse contributions against the plain matrix of the same numbers."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from evalkit.core import sparse
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.core.scores import Scores
from evalkit.core.sparse import Sparse, contributions

EXACT = 1e-13
META = Meta("made", "up", "y", 9, "synthetic")


def made(units, seed=0):
    rng = np.random.default_rng(seed)
    own = rng.normal(size=(9, 4)) * (rng.uniform(size=(9, 4)) < 0.4)
    shared, lin = rng.normal(size=(9, 2)), rng.normal(size=(2, 4))
    return Sparse(csr_array(own), shared, lin, units), own + shared @ lin


@pytest.fixture
def pair():
    units = np.arange(9)
    units.flags.writeable = False
    return made(units)


def test_every_operation_is_that_of_the_plain_matrix(pair):
    thin, psi = pair
    cluster, matrix = np.arange(9) % 3, np.random.default_rng(1).normal(size=(4, 3))
    sums = np.stack([psi[cluster == g].sum(axis=0) for g in range(3)])
    for found, expected in (
        (thin.psi(), psi),
        (thin.gram(), psi.T @ psi),
        (thin.cluster_sums(cluster, 3), sums),
        (thin.dot(matrix).psi(), psi @ matrix),
        (thin.take([2, 0]).psi(), psi[:, [2, 0]]),
        (thin.plus(thin.dot(2 * np.eye(4)), -1.0).psi(), -psi),
    ):
        np.testing.assert_allclose(found, expected, atol=EXACT)
    assert thin.shape == psi.shape


def test_scores_on_other_units_are_not_added_blindly(pair):
    thin, psi = pair
    assert thin.plus(made(np.arange(9))[0], 1.0) is None
    assert thin.plus(Scores.dense(psi), 1.0) is None
    assert Scores.dense(psi).plus(thin, 1.0) is None


def estimate(scores, units):
    index = Index.flat("county", range(4))
    return Estimate(np.arange(4.0), scores, units, np.arange(9) % 4, index, META)


def test_estimates_obey_the_same_algebra_whichever_way_they_are_held(pair):
    thin, psi = pair
    one, two = estimate(thin, thin.units), estimate(Scores.dense(psi), thin.units)
    rows = [[1, -1, 0, 0], [0.5, 0.5, -1, 0]]
    for change in (
        lambda f: f + f,
        lambda f: 2 * f,
        lambda f: f - f,
        lambda f: f.select(county=[1, 3]),
        lambda f: f.contrast(rows, ["a", "b"]),
        lambda f: f - two,
        lambda f: f.collapse(),
    ):
        np.testing.assert_allclose(change(one).vcov(), change(two).vcov(), atol=EXACT)
        np.testing.assert_allclose(change(one).psi, change(two).psi, atol=EXACT)


def test_many_contributions_are_held_sparsely_and_few_as_a_matrix(monkeypatch):
    rng = np.random.default_rng(2)
    unit, coordinate, value = rng.integers(0, 9, 30), rng.integers(0, 4, 30), rng.normal(size=30)
    units, hidden = np.arange(9), np.array([False, True, False, False])
    matrix = np.array([[1.0, 1.0], [1.0, 0.0], [0.0, -1.0], [0.0, 0.0]])
    few = contributions(unit, coordinate, value, units, 4, hidden)
    monkeypatch.setattr(sparse, "DENSE", 0)
    many = contributions(unit, coordinate, value, units, 4, hidden)
    assert isinstance(few, Scores)
    assert isinstance(many, Sparse)
    for one, two in (
        (few, many),
        (few.dot(matrix), many.dot(matrix)),
        (few.take([0, 2]), many.take([0, 2])),
    ):
        np.testing.assert_allclose(one.psi(), two.psi(), atol=EXACT)
        np.testing.assert_allclose(one.gram(), two.gram(), atol=EXACT)
    assert np.isnan(few.psi()).all(axis=0).tolist() == hidden.tolist()
    assert np.isnan(few.dot(matrix).psi()).any(axis=0).tolist() == [True, False]
