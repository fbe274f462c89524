"""Rank sets: the London schools, coverage by construction, and a slow twin of the quantile."""

from __future__ import annotations

import numpy as np
import pytest

import evalkit as ek
from evalkit.core.errors import OptionError
from exam import exam_effects

DRAWN = 0.02  # of a quantile of 20,000 draws
BOOTSTRAP = 0.5  # ranks: csranks 1.2.3 takes its quantiles from 1,000 draws


def made(k=12, seed=3, equal=False):
    rng = np.random.default_rng(seed)
    error = np.full(k, 0.5) if equal else rng.uniform(0.2, 1.5, k)
    theta = rng.normal(size=k) + error * rng.normal(size=k)
    return ek.Known.of(theta, error, labels=[f"u{i}" for i in range(k)], provenance="synthetic")


def test_london_league_tables_say_next_to_nothing():
    """exam_rank_cs_* of the project's brief: csranks 1.2.3 on the same effects."""
    marginal = ek.ranks(exam_effects())
    joint = ek.ranks(exam_effects(), simultaneous=True, best=6)
    assert marginal.width == pytest.approx(44.2, abs=BOOTSTRAP)
    assert joint.width == pytest.approx(51.7, abs=BOOTSTRAP)
    assert joint.among_best.sum() == 33


def test_the_exact_quantile_is_that_of_many_draws():
    from evalkit.inference.judged import judge
    from evalkit.inference.ranks import _deviations, _drawn, _errors, _own

    units = judge(made(), "CR1", 2)
    apart = _deviations(units)
    errors = _errors(units, 200_000, seed=1)
    rng = np.random.default_rng(0)
    for j in [0, 5, 11]:
        left = np.zeros((12, 12), bool)
        left[j], left[:, j] = rng.uniform(size=12) < 0.7, rng.uniform(size=12) < 0.7
        left[j, j] = False
        exact = _own(units, apart, j, 0.9)(left)
        assert _drawn(errors, apart, left, 0.9) == pytest.approx(exact, abs=DRAWN)


def test_sets_contain_the_point_rank_and_grow_with_the_level():
    known = made()
    narrow, wide = ek.ranks(known, level=0.8), ek.ranks(known, level=0.99)
    for sets in (narrow, wide):
        assert ((sets.low <= sets.rank) & (sets.rank <= sets.high)).all()
    assert (wide.low <= narrow.low).all()
    assert (wide.high >= narrow.high).all()
    joint = ek.ranks(known, level=0.8, simultaneous=True)
    assert joint.width >= narrow.width


def test_units_far_apart_have_sharp_ranks_and_equal_ones_none():
    far = ek.Known.of(10.0 * np.arange(5), [0.1] * 5, labels=range(5), provenance="synthetic")
    assert ek.ranks(far).width == 1
    same = ek.Known.of([1.0] * 5, [0.1] * 5, labels=range(5), provenance="synthetic")
    sets = ek.ranks(same, simultaneous=True, best=2)
    assert sets.low.tolist() == [1] * 5
    assert sets.high.tolist() == [5] * 5
    assert sets.rank.tolist() == [1] * 5
    assert sets.among_best.all()


def test_a_larger_value_has_the_smaller_rank():
    assert ek.ranks(made()).rank[np.argmax(made().theta)] == 1


@pytest.mark.parametrize("simultaneous", [False, True])
def test_the_order_of_units_changes_no_set(simultaneous):
    known = made()
    order = np.random.default_rng(1).permutation(12).tolist()
    a = ek.ranks(known, simultaneous=simultaneous, best=4, draws=2000, seed=5).table
    b = ek.ranks(known.take(order), simultaneous=simultaneous, best=4, draws=2000, seed=5).table
    assert b.loc[a.index].equals(a)


def test_the_same_seed_gives_the_same_sets():
    a, b = (ek.ranks(made(), simultaneous=True, draws=500, seed=2).table for _ in range(2))
    assert a.equals(b)


def test_an_estimate_is_ranked_by_its_covariance():
    from panels import RECIPES

    panel = RECIPES["balanced"].panel(towns=80)
    means = ek.gaps.spread(panel, metric="mean")
    sets = ek.ranks(means, draws=4000)
    # Town effects are common to all years: differences are far sharper than the levels.
    plain = ek.Known.of(means.theta, ek.infer(means).std_error, labels=range(6),
                        provenance="synthetic")  # fmt: skip
    assert sets.width <= ek.ranks(plain).width


@pytest.mark.slow
def test_marginal_sets_cover_the_true_rank():
    """Three hundred draws of eight units; a coverage below .92 is a 2.4-sigma event at .95."""
    rng = np.random.default_rng(11)
    truth = np.linspace(-1, 1, 8)
    true_rank = 8 - np.arange(8)
    error = rng.uniform(0.3, 1.0, 8)
    covered = []
    for _ in range(300):
        known = ek.Known.of(truth + error * rng.normal(size=8), error, labels=range(8),
                            provenance="synthetic")  # fmt: skip
        sets = ek.ranks(known)
        covered.append((sets.low <= true_rank) & (true_rank <= sets.high))
    assert (np.mean(covered, axis=0) >= 0.92).all()


def test_a_representation_tells_the_width_and_the_best():
    sets = ek.ranks(made(), best=3)
    assert "marginal sets" in repr(sets)
    assert "may be among the best 3" in repr(sets)
    assert "<table" in sets._repr_html_()
    assert list(sets.table)[-1] == "among_best_3"


def test_what_cannot_be_ranked_is_refused():
    with pytest.raises(OptionError, match="best=12"):
        ek.ranks(made(), best=12)
    with pytest.raises(OptionError, match="level"):
        ek.ranks(made(), level=1.0)
    for seed in (-1, 1.5, None):
        with pytest.raises(OptionError, match="seed="):
            ek.ranks(made(), seed=seed)
    with pytest.raises(OptionError, match="draws"):
        ek.ranks(made(), simultaneous=True, draws=5)
