"""Weights on the simplex against the best of all supports, their optimality and each other."""

from itertools import combinations

import numpy as np
import pytest

from evalkit.engines.simplex import frank_wolfe, simplex_ridge

EXACT = 1e-9  # weights of at most nine columns; the systems of a support lose some digits
OPTIMAL = 1e-12  # duality gap relative to the squared size of the data
MACHINE = 1e-15


def best_of_all_supports(a, b, eta, c):
    """Solve the equality-constrained problem on every support; the best feasible one wins."""
    k = a.shape[1]
    best, winner = np.inf, None
    for size in range(1, k + 1):
        for at in map(list, combinations(range(k), size)):
            system = np.zeros((size + 1, size + 1))
            system[:size, :size] = a[:, at].T @ a[:, at] + np.diag(eta / c[at])
            system[size, :size] = system[:size, size] = 1
            w = np.zeros(k)
            w[at] = np.linalg.solve(system, np.append(a[:, at].T @ b, 1))[:size]
            value = objective(a, b, eta, c, w)
            if w.min() >= 0 and value < best:
                best, winner = value, w
    return winner


def objective(a, b, eta, c, w):
    return ((a @ w - b) ** 2).sum() + eta * (w**2 / c).sum()


def gap(a, b, eta, c, w):
    """How far the objective can be from its minimum (Frank and Wolfe's bound), halved."""
    slope = a.T @ (a @ w - b) + eta * w / c
    return slope @ w - slope.min()


def problem(n, k, seed, level=0.0):
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(n, 2)).cumsum(axis=0)
    a = factors @ rng.normal(size=(2, k)) + 0.5 * rng.normal(size=(n, k)) + level
    b = factors @ rng.normal(size=2) + 0.5 * rng.normal(size=n) + level
    return a, b


@pytest.mark.parametrize("eta", [1e-4, 1.0, 100.0])
@pytest.mark.parametrize("shape", [(3, 8), (8, 8), (20, 7)])
@pytest.mark.parametrize("shared", [False, True])
def test_the_weights_are_the_best_of_all_supports(shape, eta, shared):
    a, b = problem(*shape, seed=shape[0])
    share = np.random.default_rng(1).uniform(0.5, 2.0, shape[1]) if shared else np.ones(shape[1])
    w = simplex_ridge(a, b, eta, share)
    twin = best_of_all_supports(a, b, eta, share / share.mean())
    np.testing.assert_allclose(w, twin, atol=EXACT)


@pytest.mark.parametrize(
    ("n", "k", "eta", "level"),
    [(6, 500, 9.0, 0), (13, 3000, 10.0, 0), (6, 500, 1e-10, 0), (19, 38, 1e-10, 0),
     (19, 38, 1e-10, 100), (500, 9, 1e-8, 0), (30, 30, 1e-10, 0), (60, 40, 5.0, 0)],
)  # fmt: skip
def test_no_direction_lowers_the_objective(n, k, eta, level):
    a, b = problem(n, k, seed=n + k, level=level)
    w = simplex_ridge(a, b, eta)
    assert w.min() >= 0
    assert abs(w.sum() - 1) <= 4 * MACHINE
    assert gap(a, b, eta, 1.0, w) <= OPTIMAL * max(np.abs(a).max(), np.abs(b).max()) ** 2 * n


@pytest.mark.parametrize(("n", "k"), [(6, 200), (19, 38), (40, 12)])
def test_frank_wolfe_ends_above_the_exact_minimum_and_near_it(n, k):
    a, b = problem(n, k, seed=3)
    exact = objective(a, b, 2.0, 1.0, simplex_ridge(a, b, 2.0))
    steps = objective(a, b, 2.0, 1.0, frank_wolfe(a, b, 2.0, decrease=1e-5))
    assert exact <= steps + OPTIMAL
    assert steps <= 1.1 * exact


def test_a_perfect_fit_has_the_most_even_of_its_weights():
    a = np.array([[0.0, 1.0, 2.0, 3.0, 4.0]])
    w = simplex_ridge(a, np.array([2.0]), 1e-9)
    np.testing.assert_allclose(w, np.full(5, 0.2), atol=1e-7)  # to the first order of the penalty


def test_a_large_penalty_gives_weights_in_proportion_to_the_shares():
    a, b = problem(4, 6, seed=2)
    share = np.arange(1.0, 7.0)
    np.testing.assert_allclose(simplex_ridge(a, b, 1e12, share), share / share.sum(), atol=1e-9)


def test_two_copies_of_a_column_weigh_as_one_column_of_share_two():
    a, b = problem(5, 6, seed=4)
    single = simplex_ridge(a, b, 0.7 / 7 * 6, np.array([2.0, 1, 1, 1, 1, 1]))
    double = simplex_ridge(np.column_stack([a[:, :1], a]), b, 0.7)
    np.testing.assert_allclose(double[:2].sum(), single[0], atol=EXACT)
    np.testing.assert_allclose(double[2:], single[1:], atol=EXACT)


@pytest.mark.parametrize("factor", [1e-6, 3.0, 1e8])
def test_the_unit_of_the_data_changes_no_weight(factor):
    a, b = problem(8, 30, seed=5)
    one, other = simplex_ridge(a, b, 0.3), simplex_ridge(factor * a, factor * b, 0.3 * factor**2)
    np.testing.assert_allclose(one, other, atol=1e-11)


def test_one_column_has_all_the_weight_and_constants_share_it():
    assert simplex_ridge(np.ones((3, 1)), np.zeros(3), 1.0) == [1.0]
    np.testing.assert_array_equal(simplex_ridge(np.zeros((3, 4)), np.zeros(3), 1.0), 0.25)
