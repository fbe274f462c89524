"""The worlds of the gap study: their truths are what a large sample gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulations.gaps import GAPS, SCHOOLS, Counties, banded
from simulations.study import Cell

MANY = 60_000  # pupils of one large world
SAMPLED = 0.03  # four standard errors: quantiles have the largest, near 0.007


def draw(design, n, method):
    world = GAPS.world(Cell(design, n, method), 0)
    made = GAPS.methods[method].estimate(world.data)
    return {name: one.theta[0] for name, one in made.items()}, world.truth


@pytest.mark.parametrize("name", SCHOOLS)
@pytest.mark.parametrize("method", [name for name in GAPS.methods if name != "hetop"])
def test_the_truth_about_schools_is_that_of_a_large_sample(name, method):
    """Schools of a kind are alike here: fifty of them would never be a large sample."""
    world = replace(SCHOOLS[name][1], school=0.0).draw(np.random.default_rng(1), MANY)
    made = GAPS.methods[method].estimate(world.data)
    assert made
    for target, estimate in made.items():
        truth = world.truth[target]["population"]
        assert estimate.theta[0] == pytest.approx(truth, abs=SAMPLED), target


def test_without_schools_that_differ_the_truth_is_the_textbook_one():
    _, truth = draw("even", 50, "standardised_gap")
    d = 0.5 / np.sqrt(1 + 0.3**2)
    for target in ("d", "V", "V from bands"):
        assert truth[target]["population"] == pytest.approx(d, abs=1e-12)
    for target in ("total", "within schools", "10th percentile", "median", "90th percentile"):
        assert truth[target]["population"] == pytest.approx(0.5, abs=1e-9)
    assert truth["between schools"]["population"] == 0.0


def test_sorting_moves_pupils_and_not_the_gap_within_schools():
    _, truth = draw("sorted", 50, "gap_split")
    assert truth["within schools"]["population"] == 0.3
    assert truth["between schools"]["population"] == pytest.approx((0.7 - 0.3) * 0.6, abs=1e-12)


def test_the_truth_about_counties_is_that_of_a_large_sample():
    made, truth = draw("counties", 20_000, "hetop")
    for target, value in made.items():
        assert value == pytest.approx(truth[target]["population"], abs=SAMPLED), target


def test_means_and_spreads_of_counties_are_unrelated():
    mean, sd = Counties().scale()
    assert len(set(sd)) == Counties().number
    assert abs(np.corrcoef(mean, sd)[0, 1]) < 0.15
    assert np.mean(mean**2) + np.mean(sd**2) == pytest.approx(1.0, abs=1e-12)


def test_bands_are_all_in_use():
    for name in SCHOOLS:
        panel = banded(GAPS.world(Cell(name, 50, ""), 0).data)
        assert set(panel.y) == {0, 1, 2, 3}
    assert set(GAPS.world(Cell("counties", 20, ""), 0).data.y) == {0, 1, 2, 3}
