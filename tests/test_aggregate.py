"""Averages of coordinates."""

import numpy as np
import pytest

import evalkit as ek
from evalkit.core.errors import OptionError
from evalkit.core.labels import Index
from made import estimate
from panels import RECIPES

EXACT = 1e-12


def cells():
    """Six cohort-by-time effects with a full covariance."""
    root = np.random.default_rng(4).normal(size=(6, 6))
    made = estimate([1.0, 2, 3, 4, 5, 6], root @ root.T, 80)
    keys = tuple((cohort, time) for cohort in (2001, 2002) for time in (1, 2, 3))
    return made.contrast(np.eye(6), Index(("cohort", "time"), keys))


def test_the_average_of_all_is_the_mean_with_its_covariance():
    all_ = cells()
    found = ek.aggregate(all_)
    assert found.theta[0] == pytest.approx(3.5)
    np.testing.assert_allclose(found.vcov(), [[all_.vcov().sum() / 36]], rtol=EXACT)
    assert found.index.keys == (("average",),)


def test_averages_by_level_group_equal_values():
    found = ek.aggregate(cells(), by="time")
    np.testing.assert_allclose(found.theta, [2.5, 3.5, 4.5])
    assert found.index == Index(("time",), ((1,), (2,), (3,)))
    by_cohort = ek.aggregate(cells(), by=["cohort"])
    np.testing.assert_allclose(by_cohort.theta, [2, 5])


def test_keeping_every_level_changes_nothing():
    found = ek.aggregate(cells(), by=["cohort", "time"])
    np.testing.assert_array_equal(found.theta, cells().theta)
    assert found.index == cells().index


def test_given_weights_weigh():
    weights = dict(zip(cells().index.keys, [1, 0, 0, 0, 0, 3], strict=True))
    assert ek.aggregate(cells(), weights=weights).theta[0] == pytest.approx((1 + 18) / 4)


def test_weights_matter_only_up_to_scale_in_each_group():
    keys = cells().index.keys
    small = {key: 0.1 * (1 + at) for at, key in enumerate(keys)}
    large = {key: 50 * value for key, value in small.items()}
    one, two = (ek.aggregate(cells(), by="time", weights=w) for w in (small, large))
    np.testing.assert_allclose(one.theta, two.theta, rtol=EXACT)


def test_averaging_averages_is_averaging_when_groups_are_equal():
    twice = ek.aggregate(ek.aggregate(cells(), by="time"))
    np.testing.assert_allclose(twice.theta, ek.aggregate(cells()).theta, rtol=EXACT)
    np.testing.assert_allclose(twice.vcov(), ek.aggregate(cells()).vcov(), rtol=1e-10)


def test_the_average_of_a_regression_keeps_its_corrections():
    event = ek.did.event_study(RECIPES["clustered"].panel()).select(event=lambda e: e >= 0)
    assert np.isfinite(ek.infer(ek.aggregate(event), vcov="CR3").dof).all()


@pytest.mark.parametrize(
    "weights",
    [
        {(2001, 1): 1.0},
        {"all": 1.0},
        {(2001, 9): 1.0},
        dict.fromkeys(cells().index.keys, -1.0),
        dict.fromkeys(cells().index.keys, 0.0),
        dict.fromkeys(cells().index.keys, float("nan")),
    ],
    ids=["too few", "no key", "unknown key", "negative", "zero", "nan"],
)
def test_weights_that_are_no_weights_are_refused(weights):
    with pytest.raises(OptionError, match="weights"):
        ek.aggregate(cells(), weights=weights)


def test_an_unknown_level_is_refused_with_the_known():
    with pytest.raises(OptionError, match="no level 'event'; this index has cohort, time"):
        ek.aggregate(cells(), by="event")
