"""Two-by-two, static two-way and event study against means taken by hand."""

import numpy as np
import pytest

import evalkit as ek
from panels import RECIPES, START

EXACT = 1e-10


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=EXACT, atol=EXACT)


def means_by_hand(frame, weight=None):
    """Weighted mean of each town's change, treated less untreated."""
    after = frame["year"] >= START
    late, early = (frame[rows].groupby("town")["y"].mean() for rows in (after, ~after))
    change = late - early
    treated = frame.groupby("town")["start"].first().notna()
    mass = frame.groupby("town")["weight"].first() if weight else treated * 0 + 1.0
    return (
        np.average(change[treated], weights=mass[treated])
        - np.average(change[~treated], weights=mass[~treated])
    )  # fmt: skip


@pytest.mark.parametrize("name", ["balanced", "clustered", "unit_weighted"])
def test_the_two_by_two_is_the_difference_of_mean_changes(name):
    recipe = RECIPES[name]
    frame = recipe.frame()
    found = ek.did.two_by_two(recipe.panel(frame))
    close(found.theta[0], means_by_hand(frame, recipe.weights))


@pytest.mark.parametrize("name", ["balanced", "text", "clustered", "unit_weighted"])
def test_on_a_balanced_panel_the_two_by_two_is_the_two_way(name):
    panel = RECIPES[name].panel()
    one, two = ek.did.two_by_two(panel), ek.did.two_way(panel)
    close(one.theta, two.theta)
    close(one.psi, two.psi)


def test_a_two_by_two_counts_the_units_it_drops():
    frame = RECIPES["balanced"].frame()
    gone = (frame["town"] == 3) & (frame["year"] >= START)
    found = ek.did.two_by_two(RECIPES["balanced"].panel(frame[~gone]))
    assert "1 units dropped: not seen both before and after" in found.meta.notes
    assert found.meta.n_obs == len(frame) - 6
    assert not found.psi[3].any()
    close(found.theta[0], means_by_hand(frame[frame["town"] != 3]))


@pytest.mark.parametrize("name", ["balanced", "clustered"])
def test_the_event_study_is_the_difference_of_cohort_means(name):
    frame = RECIPES[name].frame()
    found = ek.did.event_study(RECIPES[name].panel(frame))
    treated = frame["start"].notna()
    path = frame[treated].groupby("year")["y"].mean() - frame[~treated].groupby("year")["y"].mean()
    for value, (event,) in zip(found.theta, found.index.keys, strict=True):
        close(value, path[START + event] - path[START - 1])


def test_another_reference_moves_every_coefficient_by_the_same():
    panel = RECIPES["clustered"].panel()
    one, two = ek.did.event_study(panel), ek.did.event_study(panel, reference=-3)
    at = {key[0]: value for key, value in zip(two.index.keys, two.theta, strict=True)}
    for value, (event,) in zip(one.theta, one.index.keys, strict=True):
        close(value, at.get(event, 0.0) - at[-1])


def test_the_two_way_is_the_mean_after_less_the_mean_before_of_the_event_study():
    panel = RECIPES["balanced"].panel()
    event = ek.did.event_study(panel)
    early = event.select(event=[-3, -2])
    late = ek.aggregate(event.select(event=[0, 1, 2]))
    before = early.contrast([[1 / 3, 1 / 3]], late.index)  # the reference is the third, at zero
    close((late - before).theta, ek.did.two_way(panel).theta)
    close((late - before).vcov(), ek.did.two_way(panel).vcov())


def test_county_by_year_effects_compare_towns_of_one_county():
    """With a county of its own trend, only the comparison inside counties finds the effect."""
    frame = RECIPES["balanced"].frame()
    frame["start"] = np.where((frame["county"] == 0) ^ (frame["town"] % 5 == 0), START, np.nan)
    treated = (frame["year"] >= frame["start"]).astype(float)
    frame["y"] = 2.0 * treated + 5.0 * frame["county"] * (frame["year"] - 2000)
    panel = RECIPES["balanced"].panel(frame)
    inside = ek.did.two_way(panel, absorb=("unit", ("county", "time")))
    np.testing.assert_allclose(inside.theta, [2.0], atol=1e-9)
    assert abs(ek.did.two_way(panel).theta[0] - 2.0) > 1


def test_the_effect_is_found_without_noise_whatever_the_adoption_dates():
    frame = RECIPES["staggered"].frame()
    treated = frame["year"] >= frame["start"].fillna(np.inf)
    frame["y"] = 3.0 * treated + frame["town"] ** 1.5 - 7.0 * frame["year"] % 11
    found = ek.did.two_way(RECIPES["staggered"].panel(frame))
    np.testing.assert_allclose(found.theta, [3.0], atol=1e-9)
    assert np.abs(found.psi).max() < 1e-9
