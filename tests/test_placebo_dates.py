"""Dates before anything happened: for the treated, and for those picked as they were picked."""

from __future__ import annotations

import os
import pickle
import threading

import numpy as np
import pytest

import evalkit as ek
from evalkit.core.errors import IdentificationError, OptionError
from evalkit.inference.placebo_dates import _apart, _like

PERIODS = 7


def panel(score, start):
    n = len(score)
    return ek.Panel.from_frame(
        {"town": np.repeat(np.arange(n), PERIODS), "year": np.tile(np.arange(PERIODS), n),
         "y": score.ravel(), "start": np.repeat(start, PERIODS)},
        outcome="y", unit="town", time="year", cohort="start", provenance="synthetic",
    )  # fmt: skip


def noise(seed=1, n=200):
    return np.random.default_rng(seed).normal(size=(n, PERIODS))


def late(p):
    """The effect in the period of adoption, against the period before."""
    now = p.cohort[np.isfinite(p.cohort)][0]
    return ek.did.two_way(p.where((p.clock[p.time] == now) | (p.clock[p.time] == now - 1)))


def test_the_treated_at_an_earlier_date_are_the_same_units():
    score = noise()
    start = np.where(np.arange(200) < 60, 5.0, np.nan)
    found = ek.placebo_dates(panel(score, start), late)
    assert [key[0] for key in found.index.keys] == [1, 2, 3, 4]
    change = np.diff(score, axis=1)
    by_hand = change[:60, :4].mean(axis=0) - change[60:, :4].mean(axis=0)
    assert found.theta == pytest.approx(by_hand)


def test_an_estimator_that_cannot_be_pickled_will_do():
    """No process but this one runs it."""
    lock, seen = threading.Lock(), []

    def locked(p):
        with lock:
            seen.append(os.getpid())
            return late(p)

    with pytest.raises((TypeError, AttributeError)):
        pickle.dumps(locked)
    p = panel(noise(), np.where(np.arange(200) < 60, 5.0, np.nan))
    found = ek.placebo_dates(p, locked)
    assert np.array_equal(found.theta, ek.placebo_dates(p, late).theta)
    assert set(seen) == {os.getpid()}


def test_nothing_after_adoption_is_used():
    score = noise()
    start = np.where(np.arange(200) < 60, 5.0, np.nan)
    other = score.copy()
    other[:, 5:] += 100
    one = ek.placebo_dates(panel(score, start), late)
    two = ek.placebo_dates(panel(other, start), late)
    assert np.array_equal(one.theta, two.theta)


def test_pilots_picked_on_a_bad_year_come_back_without_any_reform():
    """With independent years the worst fifth returns by its whole distance from the rest."""
    score = noise(n=1000)
    worst = score[:, 4] <= np.quantile(score[:, 4], 0.2)
    start = np.where(worst, 5.0, np.nan)
    real = late(panel(score, start)).theta[0]
    found = ek.placebo_dates(panel(score, start), late, who="ranked")
    assert real > 1.5  # no reform did this
    assert found.theta == pytest.approx(real, abs=0.2)
    same = ek.placebo_dates(panel(score, start), late)
    assert np.abs(same.theta[:3]).max() < 0.25  # placebo dates of the treated show no sign of it


def test_pilots_picked_at_random_do_not():
    score = noise(n=1000)
    start = np.where(np.arange(1000) < 200, 5.0, np.nan)
    found = ek.infer(ek.placebo_dates(panel(score, start), late, who="ranked"))
    assert np.abs(found.statistic).max() < 4


def test_the_same_ranks_are_chosen():
    score = noise()
    order = np.argsort(score[:, 4])
    start = np.full(200, np.nan)
    start[order[[3, 50, 120]]] = 5.0
    p = panel(score, start)
    chosen = np.flatnonzero(_like(p, np.isfinite(p.cohort), 3, 1))
    assert set(chosen) == set(np.argsort(score[:, 2])[[3, 50, 120]])


def test_a_wider_window_ranks_by_the_mean():
    score = noise()
    order = np.argsort(score[:, 3:5].mean(axis=1))
    start = np.full(200, np.nan)
    start[order[:10]] = 5.0
    p = panel(score, start)
    chosen = np.flatnonzero(_like(p, np.isfinite(p.cohort), 2, 2))
    assert set(chosen) == set(np.argsort(score[:, :2].mean(axis=1))[:10])
    found = ek.placebo_dates(p, late, who="ranked", window=2)
    assert [key[0] for key in found.index.keys] == [2, 3, 4]


@pytest.mark.parametrize(
    ("places", "apart"), [([2, 2, 2], [2, 3, 4]), ([8, 9, 9], [7, 8, 9]), ([0, 9], [0, 9])]
)
def test_places_are_moved_apart(places, apart):
    assert _apart(np.array(places), 10).tolist() == apart


WRONG = {
    "nobody treated": ([np.nan] * 20, {}, IdentificationError, ["0 of 20 units are treated"]),
    "all treated": ([3.0] * 20, {}, IdentificationError, ["20 of 20", "untreated"]),
    "no past": ([1.0] * 9 + [np.nan] * 11, {}, IdentificationError, ["1 periods", "2 or more"]),
    "a window": ([5.0] * 9 + [np.nan] * 11, {"window": 0}, OptionError, ["window=0"]),
    "who": ([5.0] * 9 + [np.nan] * 11, {"who": "all"}, OptionError, ["who='all'", "ranked"]),
    "a long window": ([3.0] * 9 + [np.nan] * 11, {"who": "ranked", "window": 3},
                      IdentificationError, ["3 periods lie before", "4 or more"]),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_bad_input_says_what_to_do(wrong):
    start, options, kind, words = WRONG[wrong]
    with pytest.raises(kind) as refused:
        ek.placebo_dates(panel(noise(n=20), np.array(start)), ek.did.two_way, **options)
    for word in words:
        assert word in str(refused.value)
