"""Normal matrices of redundant effects against pseudo-inverses."""

import numpy as np
import pytest

from evalkit.engines.pivoted import Pivoted

TWIN = 1e-10  # solutions of systems of condition a thousand


def laplacian(weights):
    """A normal matrix of effects with one redundant: its rows sum to zero."""
    return np.diag(weights.sum(axis=1)) - weights


@pytest.fixture(params=[1.0, 1e-9], ids=["alike", "a light one among heavy"])
def normal(request):
    rng = np.random.default_rng(1)
    weights = rng.uniform(0.5, 2, (6, 6))
    weights = weights + weights.T
    np.fill_diagonal(weights, 0)
    weights[0] *= request.param
    weights[:, 0] *= request.param
    return laplacian(weights)


def test_the_root_is_a_root(normal):
    pivoted = Pivoted.of(normal, np.diag(normal))
    assert len(pivoted.at) == 5
    np.testing.assert_allclose(pivoted.root.T @ pivoted.root, normal, atol=TWIN)


def test_a_solution_solves_and_redundant_effects_are_zero(normal):
    target = normal @ np.random.default_rng(2).normal(size=(6, 3))
    pivoted = Pivoted.of(normal, np.diag(normal))
    found = pivoted.solve(target)
    np.testing.assert_allclose(normal @ found, target, atol=TWIN)
    redundant = np.setdiff1d(np.arange(6), pivoted.at)
    assert not found[redundant].any()
    np.testing.assert_allclose(pivoted.root.T @ pivoted.lift(target), target, atol=TWIN)


def test_one_target_is_the_column_of_many(normal):
    target = normal @ np.arange(6.0)
    pivoted = Pivoted.of(normal, np.diag(normal))
    np.testing.assert_array_equal(pivoted.solve(target), pivoted.solve(target[:, None])[:, 0])


@pytest.mark.parametrize("size", [0, 3])
def test_effects_that_leave_nothing_are_all_redundant(size):
    pivoted = Pivoted.of(np.zeros((size, size)), np.ones(size))
    assert not len(pivoted.at)
    assert not pivoted.solve(np.zeros((size, 2))).any()
    assert pivoted.lift(np.zeros((size, 2))).shape == (0, 2)
