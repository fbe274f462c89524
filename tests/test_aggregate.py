"""Averages of coordinates."""

from dataclasses import replace

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


def test_balanced_horizons_average_the_same_cohorts():
    panel = RECIPES["staggered"].panel()
    all_ = ek.did.callaway_santanna(panel)
    found = ek.aggregate(all_, by="event", horizons=[0, 1, 2])
    early = ek.aggregate(all_.select(cohort=2002), by="event").select(event=[0, 1, 2])
    assert found.index.level("event") == (0, 1, 2)
    np.testing.assert_allclose(found.theta, early.theta, rtol=EXACT)
    np.testing.assert_allclose(found.psi, early.psi, atol=EXACT)
    both = ek.aggregate(all_, by="event", horizons=[-1, 0, 1])
    plain = ek.aggregate(all_, by="event").select(event=[-1, 0, 1])
    np.testing.assert_allclose(both.theta, plain.theta, rtol=EXACT)


def test_horizons_that_no_cohort_has_are_refused_with_those_they_have():
    all_ = ek.did.callaway_santanna(RECIPES["staggered"].panel())
    with pytest.raises(OptionError, match=r"horizons 0, 9; they have 2002: -1 to 3, 2004: -3 to 1"):
        ek.aggregate(all_, by="event", horizons=[0, 9])
    with pytest.raises(OptionError, match="needs group-time effects"):
        ek.aggregate(ek.did.event_study(RECIPES["balanced"].panel()), horizons=[0])


def test_a_cell_without_an_estimate_is_no_horizon():
    all_ = ek.did.callaway_santanna(RECIPES["staggered"].panel())
    theta = all_.theta.copy()
    theta[all_.index.keys.index((2002, 2003))] = np.nan
    found = ek.aggregate(replace(all_, theta=theta), by="event", horizons=[0, 1])
    late = ek.aggregate(all_.select(cohort=2004), by="event").select(event=[0, 1])
    np.testing.assert_allclose(found.theta, late.theta, rtol=EXACT)


def test_averages_count_the_treated_units_of_their_cohorts():
    frame = RECIPES["staggered"].frame()
    gaps = frame[~((frame["town"] == 0) & (frame["year"] == 2003))]
    all_ = ek.did.callaway_santanna(RECIPES["staggered"].panel(gaps), control="not_yet")
    assert dict(zip(all_.index.keys, all_.counts[:, 0], strict=True))[2002, 2003] == 9
    event = ek.aggregate(all_, by="event")
    counts = dict(zip(event.index.level("event"), event.counts.tolist(), strict=True))
    assert counts == {-3: [10, 30], -2: [10, 20], -1: [20, 30], 0: [20, 30], 1: [19, 30],
                      2: [10, 20], 3: [10, 20]}  # fmt: skip
    assert ek.aggregate(all_, by="cohort").counts.tolist() == [[10, 30], [10, 20]]
    assert ek.aggregate(all_).counts.tolist() == [[20, 30]]
    assert ek.aggregate(ek.aggregate(all_, by="cohort")).counts.tolist() == [[20, 30]]
    assert {"treated", "controls"} <= set(ek.infer(event, few="show").table)


CELLS = {
    "Sun-Abraham": (lambda p: ek.did.sun_abraham(p), "never"),
    "extended two-way": (lambda p: ek.did.extended_two_way(p), "untreated"),
    "Poisson": (lambda p: ek.did.extended_two_way(p, family="poisson"), "untreated"),
    "imputation": (lambda p: ek.did.imputation(p), "untreated"),
}


@pytest.mark.parametrize("name", CELLS)
def test_every_table_of_cells_counts_its_units(name):
    run, controls = CELLS[name]
    frame = RECIPES["staggered"].frame()
    gaps = frame[~((frame["town"] < 6) & (frame["year"] == 2004))]
    found = run(RECIPES["staggered"].panel(gaps))
    start = gaps["start"].fillna(np.inf)
    for (g, t), (treated, against) in zip(found.index.keys, found.counts, strict=True):
        here = gaps["year"] == t
        assert treated == (here & (start == g)).sum()
        assert against == (here & (np.isinf(start) if controls == "never" else start > t)).sum()
    assert {"treated", "controls"} <= set(
        ek.infer(ek.aggregate(found, by="event"), few="show").table
    )


def test_triple_differences_and_synthetic_weights_count_their_units():
    frame = RECIPES["staggered"].frame()
    panel = RECIPES["staggered"].panel(frame[~((frame["town"] == 0) & (frame["year"] == 2005))])
    found = ek.did.triple_difference(panel, eligible="seat")
    units = frame.drop_duplicates("town")
    size = units.groupby([units["start"].fillna(0), "seat"]).size()
    # Town 0 adopts in 2002 and is ineligible.
    for t, gone in ((2004, 0), (2005, 1)):
        counts = {
            side: found.select(side=side, cohort=2002, time=t).counts[0].tolist()
            for side in ("difference", "eligible", "ineligible")
        }
        one, zero = size[2002, 1], size[2002, 0] - gone
        assert counts == {
            "difference": [one, zero + size[0, 1] + size[0, 0]],
            "eligible": [one, size[0, 1]],
            "ineligible": [zero, size[0, 0]],
        }
    weighted = ek.did.synthetic_did(RECIPES["staggered"].panel(), by="period")
    used = ek.did.SyntheticWeights.behind(weighted).units().query("weight > 0").groupby("cohort")
    for (g, _), counts in zip(weighted.index.keys, weighted.counts.tolist(), strict=True):
        assert counts == [10, used.size()[g]]


def dated():
    rng = np.random.default_rng(3)
    frame = {"town": np.repeat(np.arange(40), 4), "year": np.tile([1, 2, 3, 4], 40),
             "score": rng.normal(size=160), "start": np.repeat([3.0, np.nan], 80)}  # fmt: skip
    return ek.did.callaway_santanna(
        ek.Panel.from_frame(
            frame, outcome="score", unit="town", time="year", cohort="start", provenance="synthetic"
        )
    )


def test_horizons_may_be_an_array():
    one, two = (ek.aggregate(dated(), horizons=h).theta for h in ([0, 1], np.array([0, 1])))
    assert one == two


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"horizons": 0}, r"horizons=\[0\]"),
        ({"horizons": [0.5]}, "whole number"),
        ({"horizons": [-1]}, "lie before adoption"),
        ({"weights": {(3, 3): np.inf, (3, 4): 1.0}}, "finite"),
        ({"by": 3}, "sequence of names"),
    ],
)
def test_horizons_weights_and_levels_that_are_none_are_refused(options, match):
    estimate = dated().select(time=lambda t: t >= 3)
    with pytest.raises(OptionError, match=match):
        ek.aggregate(estimate, **options)


def test_weights_of_coordinates_that_are_left_out_do_not_matter():
    estimate = cells()
    holed = replace(estimate, theta=np.where(np.arange(len(estimate)) == 1, np.nan, estimate.theta))
    weights = dict.fromkeys(estimate.index.keys, 2.0)
    kept = {key: 1.0 for k, key in enumerate(estimate.index.keys) if k != 1}
    one, two = (ek.aggregate(holed, weights=w) for w in (weights, kept))
    np.testing.assert_array_equal(one.theta, two.theta)
    with pytest.raises(OptionError, match="which is no coordinate"):
        ek.aggregate(estimate, weights=weights | {("nobody", 1): 1.0})
