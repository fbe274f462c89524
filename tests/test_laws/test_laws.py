"""The laws of DESIGN.md, section 8: what every estimate must obey, whatever made it."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core.errors import CombinationError
from panels import RECIPES
from test_laws.estimators import CASES
from test_laws.over import over

# Sums of a few hundred doubles of size 50 lose four or five of sixteen digits.
ROUNDING = 1e-10
# A jackknife value differs from psi by its unit's leverage: for these designs, of up to seventeen
# coefficients on 120 towns, by 2 to 7 per cent of psi's length.
JACKKNIFE = 0.1
# The distance shrinks like 1/N: four times the towns should make it a quarter; half is asked, since
# single draws of leverage are noisy.
SHRINKS = 0.5


def close(a, b, scale=1.0):
    """Equal up to rounding, relative to the larger of the two and to ``scale``."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    largest = max(np.abs(a).max(initial=0), np.abs(b).max(initial=0), scale)
    assert np.abs(a - b).max(initial=0) <= ROUNDING * largest


def judge(estimate, **options):
    """The inference, whatever the number of clusters: laws speak of small panels."""
    return ek.infer(estimate, few="show", **options)


def same(a, b):
    """Equal to the last bit, in values and names."""
    assert a.theta.tobytes() == b.theta.tobytes()
    assert a.psi.tobytes() == b.psi.tobytes()
    assert a.index == b.index


@over()
def test_contributions_sum_to_zero(sample):
    psi = sample.estimate.psi
    assert np.abs(psi.sum(axis=0)).max() <= ROUNDING * np.abs(psi).sum(axis=0).max()


def _jackknife(case, recipe, towns):
    panel = recipe.panel(towns=towns)
    estimate = case.run(panel)
    changes = [
        estimate.theta - case.run(panel.where(panel.unit != unit)).theta
        for unit in range(panel.n_units)
    ]
    return estimate.psi, np.array(changes)


def _distance(psi, changes):
    return np.linalg.norm(changes - psi, axis=0) / np.linalg.norm(psi, axis=0)


EXACT = [case for case in CASES if case.exact]


@pytest.mark.parametrize("case", EXACT, ids=lambda case: case.name)
def test_contributions_agree_with_the_leave_one_out_jackknife(case):
    recipe = RECIPES[case.panels[0]]
    psi, changes = _jackknife(case, recipe, case.towns)
    few, changes_few = _jackknife(case, recipe, case.towns // 4)
    assert (_distance(psi, changes) < JACKKNIFE).all()
    errors = np.linalg.norm(changes, axis=0) / np.linalg.norm(psi, axis=0)
    assert np.abs(errors - 1).max() < JACKKNIFE
    assert (_distance(psi, changes) < SHRINKS * _distance(few, changes_few)).all()


def _absorbs(sample, codes):
    added = 10 * np.random.default_rng(11).normal(size=codes.max() + 1)
    moved = sample.with_outcome(sample.panel.y + added[codes])
    close(moved.theta, sample.estimate.theta)
    close(moved.psi, sample.estimate.psi)


@over(lambda case: "unit" in case.absorbs)
def test_adding_a_unit_effect_changes_nothing(sample):
    _absorbs(sample, sample.panel.unit)


@over(lambda case: "time" in case.absorbs)
def test_adding_a_time_effect_changes_nothing(sample):
    _absorbs(sample, sample.panel.time)


@over(lambda case: case.degree is not None)
@pytest.mark.parametrize("factor", [2.0, 0.37])
def test_scaling_the_outcome_scales_theta_and_contributions(sample, factor):
    power = factor ** np.broadcast_to(sample.case.degree, len(sample.estimate))
    scaled = sample.with_outcome(factor * sample.panel.y)
    close(scaled.theta, power * sample.estimate.theta)
    close(scaled.psi, power * sample.estimate.psi)


@over(lambda case: case.linear)
def test_flipping_the_sign_of_the_outcome_flips_a_linear_estimate(sample):
    flipped = sample.with_outcome(-sample.panel.y)
    close(flipped.theta, -sample.estimate.theta)
    close(flipped.psi, -sample.estimate.psi)


@over()
def test_row_order_changes_nothing(sample):
    same(sample.again(sample.frame.sample(frac=1, random_state=3)), sample.estimate)


@over()
def test_column_order_changes_nothing(sample):
    same(sample.again(sample.frame[list(sample.frame.columns)[::-1]]), sample.estimate)


@over()
def test_relabelling_units_in_order_changes_nothing(sample):
    order = {label: f"{at:05d}" for at, label in enumerate(np.unique(sample.frame["town"]))}
    renamed = sample.again(sample.frame.assign(town=sample.frame["town"].map(order)))
    same(renamed, sample.estimate)


@over()
def test_permuting_unit_labels_permutes_contributions_only(sample):
    labels = np.unique(sample.frame["town"])
    shuffled = np.random.default_rng(5).permutation(labels)
    names = dict(zip(labels, shuffled, strict=True))
    moved = sample.again(sample.frame.assign(town=sample.frame["town"].map(names)))
    close(moved.theta, sample.estimate.theta)
    where = np.searchsorted(moved.units, shuffled)
    close(moved.psi[where], sample.estimate.psi)


@over(panels=lambda recipe: recipe.clusters)
def test_relabelling_clusters_changes_no_standard_error(sample):
    district = sample.frame["district"]
    renamed = sample.again(sample.frame.assign(district="d" + (999 - district).astype(str)))
    close(renamed.vcov(), sample.estimate.vcov(), scale=0)


@over(lambda case: not case.name.startswith("dose"))  # their options name a year
def test_moving_all_periods_by_a_constant_changes_no_number(sample):
    years = ["year", "start", "first"]
    later = sample.frame.assign(**{year: sample.frame[year] + 100 for year in years})
    moved = sample.again(later)
    assert moved.theta.tobytes() == sample.estimate.theta.tobytes()
    assert moved.psi.tobytes() == sample.estimate.psi.tobytes()


@over(lambda case: case.block is not None)
def test_adding_a_constant_to_the_treated_block_moves_theta_by_it(sample):
    direction, shift = sample.case.block(sample.panel, sample.estimate)
    moved = sample.with_outcome(sample.panel.y + 3.0 * direction)
    close(moved.theta, sample.estimate.theta + 3.0 * shift)
    if sample.case.linear:
        close(moved.psi, sample.estimate.psi)


@over(lambda case: case.copies)
def test_duplicating_every_unit_inside_its_cluster_keeps_theta_and_its_error(sample):
    frame = sample.frame.assign(district=sample.panel.cluster[_unit_of(sample)])
    twin = frame.assign(town=frame["town"].astype(str) + " twin")
    both = pd.concat([frame.assign(town=frame["town"].astype(str)), twin], ignore_index=True)
    twice = sample.again(both, cluster="district")
    close(twice.theta, sample.estimate.theta)
    close(twice.vcov(), sample.estimate.vcov(), scale=0)


def _unit_of(sample):
    return np.searchsorted(sample.panel.units, sample.frame["town"].to_numpy())


@over(panels=lambda recipe: recipe.weights)
def test_only_the_ratio_of_weights_matters(sample):
    heavy = sample.again(sample.frame.assign(weight=7 * sample.frame["weight"]))
    close(heavy.theta, sample.estimate.theta)
    close(heavy.psi, sample.estimate.psi)


@over()
def test_f_plus_f_is_two_f_in_theta_and_in_covariance(sample):
    f = sample.estimate
    one, two = f + f, 2 * f
    close(one.theta, two.theta, scale=0)
    for kind in ["CR0", "CR1", *(["CR1S", "CR2", "CR3"] if sample.case.design else [])]:
        close(judge(one, vcov=kind).vcov, judge(two, vcov=kind).vcov, scale=0)
        close(judge(two, vcov=kind).vcov, 4 * judge(f, vcov=kind).vcov, scale=0)


@over()
def test_f_minus_f_is_zero_with_no_error(sample):
    nothing = sample.estimate - sample.estimate
    assert not nothing.theta.any()
    assert not nothing.vcov().any()


@over()
def test_the_covariance_is_the_explicit_sum_over_clusters(sample):
    f = sample.estimate
    total = np.zeros((len(f), len(f)))
    for cluster in np.unique(f.cluster):
        score = sum(f.psi[i] for i in range(len(f.units)) if f.cluster[i] == cluster)
        total += np.outer(score, score)
    close(f.vcov(), total, scale=0)
    groups = len(np.unique(f.cluster))
    close(judge(f).vcov, total * groups / (groups - 1), scale=0)


@over(lambda case: not case.linear)
def test_an_estimate_that_is_not_linear_in_the_outcome_refuses_row_weights(sample):
    with pytest.raises(CombinationError, match="weights need one linear"):
        _ = sample.estimate.weights


@over(lambda case: case.linear)
def test_row_weights_reproduce_a_linear_estimate(sample):
    weights = sample.estimate.weights
    assert weights.shape == (len(sample.panel.y), len(sample.estimate))
    close(weights.T @ sample.panel.y, sample.estimate.theta)
    other = np.random.default_rng(2).normal(size=len(sample.panel.y))
    close(weights.T @ other, sample.with_outcome(other).theta)


@over()
def test_collapsing_to_clusters_keeps_the_covariance(sample):
    small = sample.estimate.collapse()
    assert len(small.units) == sample.estimate.n_clusters
    close(small.vcov(), sample.estimate.vcov(), scale=0)


@over(panels=lambda recipe: not recipe.windows)  # half of the towns leave one in a window
def test_estimates_from_disjoint_clusters_have_the_sum_of_variances(sample):
    panel = sample.panel
    half = panel.category("cluster").codes % 4 < 2
    a, b = (sample.case.run(panel.where(mine)) for mine in (half, ~half))
    difference = a - b
    close(difference.theta, a.theta - b.theta)
    close(difference.vcov(), a.vcov() + b.vcov(), scale=0)


@over()
def test_the_frame_and_the_panel_are_left_as_they_were(sample):
    frame = sample.frame.copy(deep=True)
    panel = sample.recipe.panel(frame)
    before = {field.name: getattr(panel, field.name) for field in fields(panel)}
    kept = {name: value.copy() for name, value in before.items() if isinstance(value, np.ndarray)}
    sample.case.run(panel)
    pd.testing.assert_frame_equal(frame, sample.frame, check_exact=True)
    for name, value in kept.items():
        np.testing.assert_array_equal(getattr(panel, name), value)


@over()
def test_the_same_input_gives_the_same_bytes(sample):
    same(sample.again(sample.frame), sample.estimate)
    one, two = judge(sample.estimate), judge(sample.again(sample.frame))
    for name in ("std_error", "statistic", "p_value", "conf_low", "conf_high", "vcov"):
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes()


@over()
def test_the_arrays_of_an_estimate_cannot_be_written(sample):
    f = sample.estimate
    for array in (f.theta, f.psi, f.units, f.cluster):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = array[0]


@over()
def test_the_provenance_of_the_panel_reaches_the_inference(sample):
    assert sample.estimate.meta.provenance == "synthetic"
    real = sample.case.run(replace(sample.panel, provenance="real"))
    assert judge(real).provenance == "real"
    assert (real - sample.estimate).meta.provenance == "synthetic"


@over(lambda case: case.design and "unit" in case.absorbs)
def test_a_unit_seen_once_adds_nothing_to_a_within_estimate(sample):
    town = "zz" if sample.recipe.text_ids else 10_000
    row = sample.frame.iloc[[0]].assign(town=town, district=10_000)
    more = sample.again(pd.concat([sample.frame, row], ignore_index=True))
    close(more.theta, sample.estimate.theta)
    close(more.psi, np.vstack([sample.estimate.psi, np.zeros(len(more))]))
