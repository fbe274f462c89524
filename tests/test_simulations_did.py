"""The worlds of the DiD study: their truths are true, and each is what its name says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulations.did import ABSORBING, DESIGNS, DID, OTHER
from simulations.study import Cell
from simulations.worlds import AVERAGE, ON, TWO_AFTER, TWO_BEFORE, Setting, population

MANY = 40_000  # units of one large world, against which the population's formula is held
CLOSE = 0.02  # five standard errors of the mean effect in so large a sample (SD 0.6 at most)
PANELS = [name for name, (_, kind) in {**ABSORBING, **OTHER}.items() if isinstance(kind, Setting)]


def large(name):
    return DID.world(Cell(name, MANY, ""), 0)


def effects(world):
    """Effect of each row: the outcome less that of the same draw without effects."""
    return world.data.y - world.null.y


@pytest.mark.parametrize("name", [name for name in DESIGNS if name != "few_treated"])
def test_the_truth_of_the_population_is_that_of_a_large_sample(name):
    world = large(name)
    for target, truth in world.truth.items():
        assert truth["sample"] == pytest.approx(truth["population"], abs=CLOSE), target


@pytest.mark.parametrize("name", PANELS)
def test_the_truth_of_the_sample_is_the_mean_effect_on_its_treated_rows(name):
    world = DID.world(Cell(name, 50, ""), 3)
    panel, effect = world.data, effects(world)
    event = panel.clock[panel.time] - panel.cohort[panel.unit]
    eligible = np.full(len(event), True)
    if panel.categories:
        category = panel.category("eligible")
        eligible = category.labels[category.codes]
    groups = {AVERAGE: event >= 0, TWO_AFTER: event == 2, TWO_BEFORE: event == -2}
    if "on" in panel.names:
        groups[ON] = panel.column("on") == 1
    for target, truth in world.truth.items():
        rows = groups[target] & eligible
        expected = np.average(effect[rows], weights=panel.weight[rows])
        assert truth["sample"] == pytest.approx(expected, abs=1e-12), target


def test_nothing_happens_before_adoption_unless_it_is_anticipated():
    for name in PANELS:
        world = DID.world(Cell(name, 50, ""), 0)
        event = world.data.clock[world.data.time] - world.data.cohort[world.data.unit]
        early = np.abs(effects(world)[event < 0]).max()
        assert (early > 0) == (name == "anticipation"), name


def test_the_errors_have_variance_one_and_the_stated_correlation():
    for clusters in (0, 4000):
        setting = Setting(serial=0.6, clusters=clusters)
        error = setting.errors(np.random.default_rng(1), np.arange(20_000) % 4000)
        assert error.var(axis=0) == pytest.approx(np.ones(10), abs=0.06)
        for lag in (1, 2, 5):
            pairs = error[:, lag:] * error[:, :-lag]
            assert pairs.mean() == pytest.approx(0.6**lag, abs=0.03)


def test_clusters_adopt_as_one_and_share_half_of_the_variance():
    world = DID.world(Cell("few_clusters", 500, ""), 0)
    panel = world.data
    assert len(np.unique(panel.cluster)) == 12
    assert len(np.unique(np.stack([panel.cluster, panel.cohort], axis=1), axis=0)) == 12
    error = Setting(clusters=3000).errors(np.random.default_rng(2), np.repeat(np.arange(3000), 2))
    pairs = error.reshape(3000, 2, 10)
    assert (pairs[:, 0] * pairs[:, 1]).mean() == pytest.approx(0.5, abs=0.04)


def test_the_covariate_moves_adoption_and_trends_and_so_confounds():
    world = large("covariate_trends")
    panel = world.null
    treated, x = np.isfinite(panel.cohort), panel.column("x").reshape(-1, 10)[:, 0]
    change = panel.y.reshape(-1, 10)[:, -1] - panel.y.reshape(-1, 10)[:, 0]
    assert change[treated].mean() - change[~treated].mean() > 0.5
    slope = np.polyfit(x, change, 1)[0]
    assert slope == pytest.approx(1.0, abs=0.05)


def test_three_are_treated_however_many_there_are():
    for n in (20, 500):
        world = DID.world(Cell("few_treated", n, ""), 1)
        assert np.isfinite(world.data.cohort).sum() == 3
        assert DESIGNS["few_treated"].facts(n) == {"treated_share": 3 / n}


def test_rows_are_lost_at_random_and_weights_differ():
    assert not DID.world(Cell("unbalanced", 50, ""), 0).data.balanced
    assert len(large("unbalanced").data.y) == pytest.approx(0.85 * 10 * MANY, rel=0.01)
    weight = large("weighted").data.weight
    assert np.log(weight).std() == pytest.approx(0.5, abs=0.02)


def test_a_setting_can_be_changed():
    setting = replace(ABSORBING["dynamic"][1], growth=(0.0, 0.0, 0.0), level=(1.0, 1.0, 1.0))
    assert population(setting)[AVERAGE] == pytest.approx(1.0)
