"""The worlds of the value-added study: their truths are true, and each is what its name says."""

from __future__ import annotations

import numpy as np
import pytest

from simulations import schools
from simulations.study import Cell
from simulations.value_added import METHODS, VALUE_ADDED

MANY = 1_500  # units of one large world
CLOSE = 0.15  # relative; several standard errors of a variance of so many draws


def world(name, n=MANY):
    return VALUE_ADDED.world(Cell(name, n, ""), 0)


def truth(made, target):
    return made.truth[target]["population"]


@pytest.mark.parametrize("shape", ["normal", "skewed", "spike"])
def test_effects_have_mean_zero_and_variance_one(shape):
    values = schools.drawn(np.random.default_rng(1), 200_000, shape)
    assert values.mean() == pytest.approx(0, abs=0.02)
    assert values.var() == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("name", ["schools", "skewed_schools"])
def test_what_is_left_of_a_score_has_the_variances_that_are_stated(name):
    made = world(name)
    panel, effect = made.data, truth(made, schools.EFFECTS)
    school = panel.category("school").codes
    left = panel.y - schools.SLOPE * panel.column("before") - effect[school]
    assert effect.var() == pytest.approx(truth(made, schools.BETWEEN), rel=CLOSE)
    assert left.var() == pytest.approx(truth(made, schools.WITHIN), rel=0.02)
    counts = np.bincount(school)
    assert (counts.min(), counts.max()) == (schools.FEW, schools.MOST)


def test_counties_hold_six_schools_and_differ_by_what_is_stated():
    made = world("counties")
    county, school = (made.data.category(name) for name in ("county", "school"))
    pairs = np.unique(np.stack([county.codes, school.codes]), axis=1)
    assert set(np.bincount(pairs[0])) == {6}
    left = made.data.y - schools.SLOPE * made.data.column("before")
    mean = np.bincount(county.codes, left) / np.bincount(county.codes)
    within = (0.15 + 1 / 22) / 6  # of six schools with some 22 pupils each
    assert mean.var() == pytest.approx(0.02 + within, rel=CLOSE)
    assert world("alike_counties").truth[schools.ABOVE]["population"] == 0


def test_ranks_count_the_units_above_and_ties_share_the_first():
    known, rank = world("table", 50).data
    effect = truth(world("table", 50), schools.EFFECTS)
    assert sorted(rank) == list(range(1, 51))
    assert effect[rank == 1] == effect.max()
    assert len(known) == 50
    assert set(world("equal_table", 50).data[1]) == {1}


def test_the_prior_score_has_its_reliability_and_its_errors():
    made = world("noisy_prior")
    seen, csem = made.data.column("before"), made.data.column("csem")
    assert 1 / seen.var() == pytest.approx(0.8, rel=0.02)
    assert np.mean(csem**2) == pytest.approx(0.25, rel=0.02)
    true = (made.data.y - made.null.y) / schools.SLOPE
    assert np.cov(seen - true, true)[0, 1] == pytest.approx(0, abs=0.01)


def test_teachers_fade_as_is_stated_and_some_move():
    made = world("drift")
    effect = truth(made, schools.FORECASTS)
    assert effect.var() == pytest.approx(0.1, rel=CLOSE)
    assert np.corrcoef(effect[:, 0], effect[:, 2])[0, 1] == pytest.approx(0.64, abs=0.05)
    panel, school = made.data, made.data.category("school").codes
    place = np.full((MANY, schools.YEARS), -1)
    place[panel.category("teacher").codes, panel.time] = school
    moved = (place[:, 1:] != place[:, :-1]).mean()
    assert moved == pytest.approx(schools.MOVES, abs=0.01)


def test_half_of_the_schools_adopt_and_only_then_gain():
    made = world("adopting", 60)
    gain = made.data.pupils.y - made.null.pupils.y
    start = np.array([np.inf if v is None else v for v in made.data.start.values()])
    school = made.data.pupils.category("school")
    late = made.data.pupils.clock[made.data.pupils.time] >= start[school.labels[school.codes]]
    np.testing.assert_allclose(gain, np.where(late, schools.EFFECT, 0.0), atol=1e-12)
    assert np.isfinite(start).sum() == 30


def test_a_missed_rank_is_counted_as_a_miss():
    judge = METHODS["joint ranks"].judges["simultaneous"]
    units = world("table", 20).data
    sets = METHODS["joint ranks"].estimate(units)
    answer = judge((units[0], np.full(20, 99)), sets)
    assert answer[schools.ALL_RANKS].low == 20
    assert answer[schools.BEST].estimate == 0


def test_a_shrunken_outcome_is_the_one_that_a_panel_refuses():
    made = world("adopting", 20)
    raw = METHODS["raw, equal weights"].estimate(made.data).theta[0]
    pulled = METHODS["shrunken"].estimate(made.data).theta[0]
    assert abs(pulled) < abs(raw)
