"""The variance engine against its dense twin, at the boundary, and where data say nothing."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import assume, given
from hypothesis import strategies as st

from dense_mixed import Dense, indicator
from evalkit.core.arrays import Groups
from evalkit.engines.crossed import Crossed, incidence
from evalkit.engines.likelihood import Criterion, fit
from evalkit.engines.prediction import leave_out, predict, predict_total
from evalkit.engines.profile import interval
from evalkit.engines.variance_components import Nested

EXACT = 1e-9  # dense inverses of up to 60 rows lose a few digits more than sums do
SLOPE = 1e-5  # central differences of a criterion of size 100
SEARCH = 1e-6  # where a simplex search stops


def nested(x, y, paths, slopes):
    """The engine's object and its dense twin; ``paths`` ``(n, L)`` holds units, coarsest first.

    ``slopes`` lists, per level from the finest, the columns of ``x`` that are random there.
    """
    r = 1 + max(max(columns) for columns in slopes)
    units, unit = np.unique(paths, axis=0, return_inverse=True)
    unit, z = unit.ravel(), np.column_stack([x, y])
    sums = np.array([z[unit == j][:, :r].T @ z[unit == j] for j in range(len(units))])
    starts, blocks = [], []
    for level, columns in enumerate(slopes):
        if level:
            units = units[:, :-1]
            first = np.flatnonzero(np.r_[True, (np.diff(units, axis=0) != 0).any(axis=1)])
            starts.append(first)
            units = units[first]
        member = [(paths[:, : units.shape[1]] == row).all(axis=1) for row in units]
        blocks.append([x[:, columns] * mine[:, None] for mine in member])
    bases = tuple(np.eye(r)[:, columns] for columns in slopes)
    return Nested(z.T @ z, sums, tuple(starts), bases), Dense(x, y, blocks)


@st.composite
def models(draw, most=4):
    """Small designs: two to four levels (rows among them), random columns, gaps and ties."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.integers(1, most - 1))
    n = draw(st.integers(14, 26))
    paths = np.sort(rng.integers(0, 3, (n, levels)), axis=0)[rng.permutation(n)]
    x = np.column_stack([np.ones(n), rng.normal(size=(n, 2)).round(1)])
    y = (rng.normal(size=n) + rng.normal(size=3)[paths[:, 0]]).round(1)
    slopes = [draw(st.sampled_from([[0], [0, 1], [1], [0, 2]])) for _ in range(levels)]
    return x, y, paths, slopes


def factors(draw, widths):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return [np.tril(rng.normal(size=(q, q))) for q in widths]


@given(data=st.data(), method=st.sampled_from(["reml", "ml"]), known=st.booleans())
def test_any_nested_criterion_and_gradient_are_those_of_dense_matrices(data, method, known):
    x, y, paths, slopes = data.draw(models())
    effects, dense = nested(x, y, paths, slopes)
    made = factors(data.draw, effects.widths)
    scale = 1.3 if known else None
    point = Criterion(effects, *x.shape, method).at(made, scale)
    thetas = [f @ f.T for f in made]
    assert point.value == pytest.approx(dense.deviance(thetas, method, scale), rel=EXACT)
    for block, gradient in enumerate(point.gradients):
        for a, b in zip(*np.tril_indices(len(gradient)), strict=True):
            step = np.zeros_like(gradient)
            step[a, b] = step[b, a] = 1e-5
            slope = _slope(dense, thetas, block, step, method, scale)
            assert (gradient * step).sum() / 1e-5 == pytest.approx(slope, rel=SLOPE, abs=1e-4)


def _slope(dense, thetas, block, step, method, scale=None):
    """Central difference of the dense criterion as one block moves by ``step``."""
    up, down = (
        dense.deviance(
            [t + sign * step if at == block else t for at, t in enumerate(thetas)], method, scale
        )
        for sign in (1, -1)
    )
    return (up - down) / 2e-5


@given(data=st.data())
def test_any_nested_prediction_and_its_error_are_those_of_dense_matrices(data):
    x, y, paths, slopes = data.draw(models())
    effects, dense = nested(x, y, paths, slopes)
    made = factors(data.draw, effects.widths)
    criterion = Criterion(effects, *x.shape, "reml")
    solution = _at(criterion, made)
    thetas = [f @ f.T for f in made]
    scale = solution.point.scale
    for block, units in enumerate(dense.blocks):
        got = predict(solution, block)
        for unit in range(len(units)):
            effect, covariance, conditional = dense.effect(thetas, block, unit, scale)
            np.testing.assert_allclose(got.effect[unit], effect, rtol=1e-7, atol=1e-8)
            np.testing.assert_allclose(got.covariance[unit], covariance, rtol=1e-7, atol=1e-8)
            np.testing.assert_allclose(got.conditional[unit], conditional, rtol=1e-7, atol=1e-8)


def _at(criterion, made):
    from evalkit.engines.likelihood import Solution

    return Solution(criterion, tuple(made), criterion.at(made), np.full(len(made), np.nan))


def test_a_total_is_the_sum_of_a_unit_and_the_units_above_it_with_its_own_error():
    rng = np.random.default_rng(5)
    paths = np.column_stack([np.repeat(range(3), 20), np.repeat(range(12), 5)])
    x = np.column_stack([np.ones(60), rng.normal(size=60)])
    y = rng.normal(size=60) + rng.normal(size=12)[paths[:, 1]]
    effects, dense = nested(x, y, paths, [[0], [0]])
    solution = fit(Criterion(effects, 60, 2, "reml"))
    thetas = [f @ f.T for f in solution.factors]
    total = predict_total(solution, 0)
    schools, counties = predict(solution, 0), predict(solution, 1)
    county = np.repeat(range(3), 4)
    np.testing.assert_allclose(total.effect, schools.effect + counties.effect[county], atol=1e-10)
    *_, projector = dense.solve(thetas)
    prior = np.kron(np.eye(3), np.full((4, 4), thetas[1][0, 0])) + thetas[0][0, 0] * np.eye(12)
    z = np.column_stack([paths[:, 1] == j for j in range(12)]).astype(float)
    expected = solution.point.scale * (prior - prior @ z.T @ projector @ z @ prior)
    np.testing.assert_allclose(total.covariance[:, 0, 0], np.diag(expected), rtol=1e-8)


@given(data=st.data(), method=st.sampled_from(["reml", "ml"]), none=st.booleans())
def test_any_crossed_criterion_and_prediction_are_those_of_dense_matrices(data, method, none):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    n, groups = 40, data.draw(st.integers(2, 6))
    a, b = rng.integers(0, 7, n), rng.integers(0, groups, n)
    a, b = np.unique(a, return_inverse=True)[1], np.unique(b, return_inverse=True)[1]
    share = rng.dirichlet(np.ones(3), n)
    share[rng.uniform(size=share.shape) < 0.3] = 0
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    y = rng.normal(size=n) + rng.normal(size=7)[a] + share @ rng.normal(size=3)
    z = np.column_stack([x, y])
    small = (incidence(Groups(b, b.max() + 1)), sp.csr_array(share))
    large = None if none else Groups(a, a.max() + 1)
    effects = Crossed(z.T @ z, z, large, small)
    blocks = [indicator(b), [share[:, [k]] for k in range(3)]]
    dense = Dense(x, y, blocks if none else [indicator(a), *blocks])
    made = factors(data.draw, effects.widths)
    thetas = [f @ f.T for f in made]
    solution = _at(Criterion(effects, n, 2, method), made)
    point = solution.point
    assert point.value == pytest.approx(dense.deviance(thetas, method), rel=EXACT)
    for block, gradient in enumerate(point.gradients):
        slope = _slope(dense, thetas, block, np.array([[1e-5]]), method)
        assert gradient[0, 0] == pytest.approx(slope, rel=SLOPE, abs=1e-4)
        got = predict(solution, block)
        for unit in range(len(dense.blocks[block])):
            effect, covariance, conditional = dense.effect(thetas, block, unit, point.scale)
            np.testing.assert_allclose(got.effect[unit], effect, rtol=1e-7, atol=1e-8)
            np.testing.assert_allclose(got.covariance[unit], covariance, rtol=1e-7, atol=1e-8)
            np.testing.assert_allclose(got.conditional[unit], conditional, rtol=1e-7, atol=1e-8)


@pytest.mark.slow
@given(data=st.data(), method=st.sampled_from(["reml", "ml"]))
def test_no_search_of_the_dense_criterion_finds_a_lower_value(data, method):
    x, y, paths, slopes = data.draw(models(most=3))
    effects, dense = nested(x, y, paths, slopes)
    assume(all(len(units) > 1 for units in dense.blocks))
    assume(np.linalg.matrix_rank(np.column_stack([x, y])) == 4)
    solution = fit(Criterion(effects, *x.shape, method))
    k = sum(q * (q + 1) // 2 for q in effects.widths)
    starts = [np.full(k, 0.5), np.full(k, 0.05), solution.criterion.pack(solution.factors)]
    least = dense.minimum(method, starts, effects.widths)
    assert solution.point.value <= least + SEARCH


@given(data=st.data())
def test_a_unit_is_left_out_exactly(data):
    x, y, paths, slopes = data.draw(models())
    effects, dense = nested(x, y, paths, slopes)
    made = factors(data.draw, effects.widths)
    solution = _at(Criterion(effects, *x.shape, "reml"), made)
    units, unit = np.unique(paths, axis=0, return_inverse=True)
    unit, z = unit.ravel(), np.column_stack([x, y])
    cross = np.array([z[unit == j].T @ z[unit == j] for j in range(len(units))])
    deviance, square = leave_out(solution, cross, np.bincount(unit).astype(float))
    for j in range(len(units)):
        if np.linalg.matrix_rank(x[unit != j]) < x.shape[1]:
            continue
        expected = dense.predictive([f @ f.T for f in made], unit == j, solution.point.scale)
        np.testing.assert_allclose((deviance[j], square[j]), expected, rtol=1e-6, atol=1e-6)


def test_a_table_of_factors_without_its_zeros_gives_the_same_sweep(monkeypatch):
    rng = np.random.default_rng(5)
    n = 300
    z = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    large, small = Groups(rng.integers(0, 40, n), 40), Groups(rng.integers(0, 6, n), 6)
    full, thin = (Crossed(z.T @ z, z, large, (incidence(small),)) for _ in range(2))
    at = [np.array([[0.7]]), np.array([[0.4]])]
    one = full.sweep(at)
    monkeypatch.setattr("evalkit.engines.crossed.DENSE", 0)
    two = thin.sweep(at)
    assert sp.issparse(thin._joint[0])
    assert not sp.issparse(full._joint[0])
    assert one.logdet == pytest.approx(two.logdet, rel=EXACT)
    np.testing.assert_allclose(one.total, two.total, rtol=EXACT, atol=1e-9)
    for name in ("reach", "precision", "gathered"):
        for mine, other in zip(getattr(one, name), getattr(two, name), strict=True):
            np.testing.assert_allclose(mine, other, rtol=EXACT, atol=1e-9)


@pytest.mark.parametrize("m", [400, 12], ids=["sizes repeat", "sizes differ"])
def test_units_condensed_by_size_give_the_same_sweep_and_fit(m):
    from evalkit.engines.sizes import Sizes

    rng = np.random.default_rng(2)
    school = np.repeat(np.arange(m), rng.integers(1, 6, m) if m > 12 else 5 + np.arange(m))
    x = np.column_stack([np.ones(len(school)), rng.normal(size=len(school))])
    y = 0.5 * rng.normal(size=m)[school] + rng.normal(size=len(school))
    z = np.column_stack([x, y])
    sums = np.array([z[school == j].sum(axis=0) for j in range(m)])[:, None, :]
    plain = Nested(z.T @ z, sums, (), (np.eye(1),))
    small = plain.condensed()
    assert isinstance(small, Sizes)
    for method in ("reml", "ml"):
        a = Criterion(plain, *x.shape, method).at([np.array([[0.7]])])
        b = Criterion(small, *x.shape, method).at([np.array([[0.7]])])
        assert b.value == pytest.approx(a.value, rel=1e-12)
        np.testing.assert_allclose(b.gradients[0], a.gradients[0], rtol=1e-10)
    solution = fit(Criterion(plain, *x.shape, "reml"))
    assert len(solution.point.sweep.pull[0]) == m  # the full point, for predictions
    nothing = Criterion(plain, *x.shape, "reml").at(solution.factors)
    assert abs(nothing.gradients[0][0, 0]) < 1e-6


# --- The boundary ------------------------------------------------------------------------------


def two_levels(school_sd, county_sd, seed=3):
    rng = np.random.default_rng(seed)
    paths = np.column_stack([np.repeat(range(8), 15), np.repeat(range(40), 3)])
    x = np.column_stack([np.ones(120), rng.normal(size=120)])
    y = (rng.normal(size=120) + school_sd * rng.normal(size=40)[paths[:, 1]]
         + county_sd * rng.normal(size=8)[paths[:, 0]])  # fmt: skip
    return nested(x, y, paths, [[0], [0]])


def test_a_variance_of_zero_is_exactly_zero_and_its_gradient_is_not_negative():
    effects, dense = two_levels(0.7, 0.0, seed=1)
    solution = fit(Criterion(effects, 120, 2, "reml"))
    assert solution.variances[1][0, 0] == 0.0
    assert solution.kkt[1] > 0
    assert np.isnan(solution.kkt[0])
    thetas = [f @ f.T for f in solution.factors]
    more = dense.deviance([thetas[0], np.array([[1e-4]])], "reml")
    assert more > solution.point.value


def test_a_start_at_zero_is_left_when_the_gradient_points_away():
    from evalkit.engines.likelihood import settle

    effects, _ = two_levels(0.7, 0.6)
    criterion = Criterion(effects, 120, 2, "reml")
    stuck = settle(criterion, [np.array([[0.5]]), np.zeros((1, 1))])
    free = fit(criterion)
    assert free.variances[1][0, 0] > 0
    np.testing.assert_allclose(stuck.variances, free.variances, rtol=1e-8)
    zero = criterion.at([free.factors[0], np.zeros((1, 1))])
    assert zero.gradients[1][0, 0] < 0


@pytest.mark.slow
def test_a_singular_covariance_of_slopes_is_reported_with_its_gradient():
    rng = np.random.default_rng(8)
    paths = np.repeat(range(15), 6)[:, None]
    x = np.column_stack([np.ones(90), rng.normal(size=90)])
    line = rng.normal(size=15)[paths[:, 0]]
    y = rng.normal(size=90) + line * (1 + 0.5 * x[:, 1])
    effects, dense = nested(x, y, paths, [[0, 1]])
    solution = fit(Criterion(effects, 90, 2, "ml"))
    value = np.linalg.eigvalsh(solution.variances[0])
    assert value[0] == pytest.approx(0, abs=1e-12 * value[1])
    assert solution.kkt[0] > 0
    starts = [np.array([1.0, 0.5, 0.1]), np.array([0.5, 0.0, 0.5])]
    assert solution.point.value <= dense.minimum("ml", starts, (2,)) + SEARCH


@pytest.mark.slow
def test_a_profile_interval_ends_where_the_criterion_has_risen():
    effects, dense = two_levels(0.7, 0.6)
    solution = fit(Criterion(effects, 120, 2, "reml"))
    from scipy.optimize import minimize

    for block, rise in [(0, 3.84), (1, 1.0)]:
        for end in interval(solution, block, 0, rise):

            def value(z, block=block, end=end):
                thetas = [np.array([[z[1] ** 2]]), np.array([[z[1] ** 2]])]
                thetas[block] = np.array([[end / np.exp(z[0])]])
                return dense.deviance(thetas, "reml", np.exp(z[0]))

            least = minimize(value, [0.0, 0.7], method="Nelder-Mead",
                             options={"xatol": 1e-7, "fatol": 1e-9}).fun  # fmt: skip
            assert least == pytest.approx(solution.point.value + rise, abs=SEARCH)


def test_a_profile_interval_of_a_variance_at_zero_starts_at_zero():
    effects, _ = two_levels(0.7, 0.0, seed=1)
    solution = fit(Criterion(effects, 120, 2, "reml"))
    low, high = interval(solution, 1, 0, 3.84)
    assert low == 0.0
    assert 0 < high < 0.3
