"""Redrawn county studies: the simulator's, but for pupils, who are not drawn one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import evalkit as ek
from evalkit.data.simulate import county as pupils
from simulations import counties, group_schooling, teachers, townships
from simulations.study import Cell

SMALL = ek.simulate.Assumptions(seed=3, counties=30, schools=24)
# Relative: what drawing some hundred schools anew moves, within schools and between them; three SE.
CLOSE = (0.06, 0.12)


def one(number):
    return counties.drawn(SMALL, number, np.random.default_rng([SMALL.seed, number]))


def spread(values):
    """Within schools over years, and between schools."""
    return np.nanmean(np.nanvar(values, axis=1)), np.nanvar(np.nanmean(values, axis=1))


def test_schools_vary_as_those_of_the_simulator_whose_pupils_are_drawn():
    long, short = [], []
    for number in range(1, 31):
        found = pupils.county(SMALL, number)
        kept = found.places.opens == SMALL.first
        drift = found.untreated - SMALL.persistence * found.prior
        long.append([pupils.cell_means(SMALL, found.pupils, v.mean(axis=1))[kept]
                     for v in (found.untreated, drift)])  # fmt: skip
        made = one(number)
        untreated, prior = made.untreated.mean(axis=2), made.prior.mean(axis=2)
        drift = untreated - SMALL.persistence * prior
        short.append([untreated[kept], drift[kept]])
    for k in (0, 1):
        theirs, ours = (spread(np.concatenate([one[k] for one in many])) for many in (long, short))
        assert np.all(np.abs(np.sqrt(np.divide(ours, theirs)) - 1) < CLOSE)


def test_places_and_dates_are_those_of_the_simulator():
    theirs, ours = pupils.county(SMALL, 4), one(4)
    np.testing.assert_array_equal(ours.places.pupils, theirs.places.pupils)
    for name in ("groups", "money", "managed"):
        assert getattr(ours.calendar, name) == getattr(theirs.calendar, name)


def test_the_study_without_measures_is_the_same_less_what_they_add():
    frame = counties.frame(SMALL)
    added = frame.filter(like="effect_").sum(axis=1)
    still = counties.frame(SMALL.quiet())
    np.testing.assert_allclose(still["score"], frame["score_0"], atol=1e-12)
    np.testing.assert_allclose(frame["progress"] - frame["progress_0"], added, atol=1e-12)


def test_without_noise_both_rules_of_comparison_find_the_truth_of_drawn_towns(monkeypatch):
    """Nothing passes, so nothing comes back: the estimate is the truth in every draw."""
    still = replace(SMALL, value_added_sd=0.0, class_sd=0.0, tilt=0.0, managed=0.0, rotation=0.0,
                    funding=0.0, neighbour=0.0, persistence=1.0)  # fmt: skip
    monkeypatch.setattr(townships, "assumptions", lambda rng, n: still)
    world = townships.TOWNSHIPS.world(Cell("pilots", 30, ""), 0)
    for rule in townships.RULES:
        found = townships.judged(rule)(world.data, townships.made(world.data))
        for name, answer in found.items():
            assert answer.estimate == pytest.approx(world.truth[name]["sample"], abs=0.02)


def test_members_are_the_weakest_of_the_year_before_and_leads_the_best():
    frame = counties.frame(SMALL)
    before = frame[frame["year"] == frame["begun"] - 1]
    mean = before.groupby("role")["score"].mean()
    assert mean[group_schooling.MEMBER] < mean[0] < mean[group_schooling.LEAD]


def test_without_noise_value_added_moves_by_county_management_and_exchange_alone(monkeypatch):
    still = replace(SMALL, value_added_sd=0.0, class_sd=0.0, noise=0.0, reliability=1.0, member=0.0,
                    lead=0.0, neighbour=0.0, funding=0.0, seat=0.0, village=0.0)  # fmt: skip
    monkeypatch.setattr(teachers, "assumptions", lambda rng, n: still)
    world = teachers.TEACHERS.world(Cell("managed", 30, ""), 0)
    found = teachers.judged(world.data, teachers.cells(teachers.RAW)(world.data))
    for name, answer in found.items():
        assert answer.estimate == pytest.approx(world.truth[name]["sample"], abs=1e-9)
    rural = found[f"rural, {teachers.AVERAGE}"].estimate
    assert rural == pytest.approx((still.managed + still.rotation) * still.rural_part, rel=0.15)
    null = teachers.judged(world.null, teachers.cells(teachers.RAW)(world.null))
    assert max(abs(answer.estimate) for answer in null.values()) < 1e-9


def test_shrinking_takes_away_most_where_pupils_are_few():
    frame = counties.frame(SMALL)
    signal, error = teachers.variances(frame, SMALL)
    kept = (signal / (signal + error)).groupby(frame["stratum"]).mean()
    assert kept["rural"] < kept["town"] < kept["urban"] < 1
