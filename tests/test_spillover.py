"""Rings around the treated: who is in them, what the estimator sees, and a known spillover."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import evalkit as ek
from evalkit.core.errors import IdentificationError, OptionError, PanelError
from evalkit.inference.conley import EARTH

STEP = 10.0  # km between towns in a row along a meridian


def row(towns=60, treated=range(20), periods=2, start=2.0, spill=0.0, noise=0.0, seed=1):
    """Towns in a row; an effect of 1 on the treated, ``spill`` on towns within 20 km of one."""
    rng = np.random.default_rng(seed)
    start = np.where(np.isin(np.arange(towns), list(treated)), start, np.nan)
    away = np.abs(np.arange(towns)[:, None] - np.array(list(treated))).min(axis=1)
    town, year = np.repeat(np.arange(towns), periods), np.tile(np.arange(1, periods + 1), towns)
    date = np.nanmin(start)
    effect = np.where(away == 0, 1.0, spill * (away <= 2))[town] * (year >= date)
    degrees = np.degrees(STEP / EARTH)
    frame = {
        "town": town,
        "year": year,
        "start": start[town],
        "latitude": 20 + degrees * town,
        "longitude": 110.0 + 0 * town,
        "y": effect + noise * rng.normal(size=len(town)),
    }
    return ek.Panel.from_frame(
        frame, outcome="y", unit="town", time="year", cohort="start",
        covariates=["latitude", "longitude"], provenance="synthetic",
    )  # fmt: skip


BORDERS = {town: [town + 1] for town in range(59)}


def test_a_known_spillover_is_recovered_and_the_plain_estimate_is_wrong_by_it():
    p = row(spill=0.4, noise=0.001)
    found = ek.spillover_rings(p, ek.did.two_way, rings=[20.5, 40.5])
    assert [key[0] for key in found.index.keys] == ["treated", "0 to 20.5 km", "20.5 to 40.5 km"]
    assert found.theta == pytest.approx([1.0, 0.4, 0.0], abs=0.002)
    plain = ek.did.two_way(p).theta[0]
    assert plain == pytest.approx(1 - 0.4 * 2 / 40, abs=0.002)  # two of forty controls are near


def test_each_part_is_the_estimator_on_its_group_and_the_clean():
    p = row(noise=1.0)
    found = ek.spillover_rings(p, ek.did.two_way, rings=[20.5, 40.5])
    for at, group in enumerate([range(20), (20, 21), (22, 23)]):
        kept = np.isin(np.arange(60), [*group, *range(24, 60)])
        cohort = np.where(np.isin(np.arange(60), list(group)), 2.0, np.inf)
        alone = ek.did.two_way(replace(p, cohort=cohort).where(kept[p.unit]))
        assert found.theta[at] == pytest.approx(alone.theta[0])
        assert found.vcov()[at, at] == pytest.approx(alone.vcov()[0, 0])


def test_with_one_date_they_are_the_regression_on_all_rings_at_once():
    p = row(noise=1.0)
    after = p.clock[p.time] >= 2
    groups = [p.units < 20, np.isin(p.units, [20, 21]), np.isin(p.units, [22, 23])]
    x = np.stack([mine[p.unit] & after for mine in groups], axis=1).astype(float)
    together = ek.did.regression(replace(p, x=x, names=("own", "inner", "outer")),
                                 on=["own", "inner", "outer"])  # fmt: skip
    found = ek.spillover_rings(p, ek.did.two_way, rings=[20.5, 40.5])
    assert found.theta == pytest.approx(together.theta)
    assert found.vcov() == pytest.approx(together.vcov())


# SpilloverDiD(rings=[0, 20.5, 40.5], d_bar=40.5, conley_coords=("latitude", "longitude"),
# cluster="town") of diff-diff 3.13.0, two-stage imputation with rings, on the row below: the same
# coefficients where all adopt at once. Its errors have another small-sample factor.
PEER = [1.1501920728, -1.078216, -0.133933]


def test_the_rings_of_another_package_are_the_same():
    p = row(noise=1.0, spill=0.4, periods=4, start=3.0)
    found = ek.spillover_rings(p, ek.did.two_way, rings=[20.5, 40.5])
    assert found.theta == pytest.approx(PEER, abs=1e-6)  # six digits are printed


def test_rings_share_the_clean_units_and_their_noise():
    covariance = ek.spillover_rings(row(noise=1.0), ek.did.two_way, rings=[20.5]).vcov()
    assert covariance[0, 1] > 0


def test_steps_over_borders_are_distances_in_a_row():
    p = row(noise=1.0)
    km = ek.spillover_rings(p, ek.did.two_way, rings=[20.5, 40.5])
    steps = ek.spillover_rings(p, ek.did.two_way, rings=[2, 4], neighbours=BORDERS)
    assert [key[0] for key in steps.index.keys][1:] == ["0 to 2 steps", "2 to 4 steps"]
    assert steps.theta == pytest.approx(km.theta)


def test_a_unit_without_a_way_to_the_treated_is_clean():
    cut = {town: near for town, near in BORDERS.items() if town != 30}
    found = ek.spillover_rings(row(noise=1.0), ek.did.two_way, rings=[2, 10], neighbours=cut)
    assert "2 to 10 steps 8; 30 clean" in found.meta.notes[-1]


def test_a_ring_adopts_when_the_first_unit_within_the_last_ring_does():
    """Town 0 adopts in 3, town 3 in 2: towns 1 and 2 are exposed from 2 on, town 0 a year early."""
    seen = []

    def spy(panel):
        seen.append(panel)
        return ek.did.regression(panel, on=["noise"], absorb=())

    rng = np.random.default_rng(1)
    p = row(towns=12, treated=[0, 3], periods=5)
    p = replace(p, x=np.column_stack([p.x, rng.normal(size=60)]), names=(*p.names, "noise"),
                cohort=np.array([3.0, np.inf, np.inf, 2.0, *[np.inf] * 8]))  # fmt: skip
    ek.spillover_rings(p, spy, rings=[15, 35])
    treated, inner, outer = seen
    assert treated.units.tolist() == [0, 3, 7, 8, 9, 10, 11]
    assert treated.cohort[:2].tolist() == [3.0, 2.0]
    assert treated.earliest[:2].tolist() == [2.0, 2.0]
    assert treated.times[treated.time[treated.unit == 0]].tolist() == [1, 3, 4, 5]
    assert inner.units.tolist()[:3] == [1, 2, 4]
    assert inner.cohort[:3].tolist() == [2.0, 2.0, 2.0]
    assert outer.units.tolist()[:2] == [5, 6]
    assert not np.isfinite(inner.cohort[3:]).any()


def test_the_truth_comes_back_under_staggered_adoption():
    """Imputation, averaged inside; within 20 km half the effect spills over, from exposure on."""
    rng = np.random.default_rng(5)
    towns, periods = 300, 8
    place = rng.uniform(0, 3000, towns)
    start = np.where(np.arange(towns) < 60, rng.choice([4.0, 6.0], towns), np.inf)
    gap = np.abs(place[:, None] - place[:60])
    first = np.where(gap <= 40, start[:60], np.inf).min(axis=1)
    exposed = np.where(gap.min(axis=1) <= 20, first, np.inf)
    town, year = np.repeat(np.arange(towns), periods), np.tile(np.arange(1, periods + 1), towns)
    own, near = year >= start[town], year >= exposed[town]
    y = np.where(own, 1.0, 0.5 * near) + rng.normal(size=towns)[town] + 0.1 * year
    frame = {
        "town": town,
        "year": year,
        "start": start[town],
        "y": y + rng.normal(size=len(y)) / 20,
        "latitude": np.degrees(place / EARTH)[town],
        "longitude": 0.0 * town,
    }
    p = ek.Panel.from_frame(
        frame, outcome="y", unit="town", time="year", cohort="start",
        covariates=["latitude", "longitude"], provenance="synthetic",
    )  # fmt: skip

    def average(panel):
        return ek.aggregate(ek.did.imputation(panel))

    found = ek.spillover_rings(p, average, rings=[20, 40])
    assert found.theta == pytest.approx([1.0, 0.5, 0.0], abs=0.03)
    assert average(p).theta[0] < found.theta[0] - 0.02  # neighbours as controls pull it down


WRONG = {
    "no rings": (row(), {"rings": []}, OptionError, ["rings=[]", "[10, 20]"]),
    "a number": (row(), {"rings": 10}, OptionError, ["rings=10"]),
    "text": (row(), {"rings": ["a"]}, OptionError, ["rings='a' must be a number"]),
    "falling": (row(), {"rings": [40, 20]}, OptionError, ["rings=[40, 20]", "rise"]),
    "negative": (row(), {"rings": [-1]}, OptionError, ["rings=-1", "positive"]),
    "no column": (row(), {"rings": [9], "coordinates": ("lat", "lon")}, PanelError, ["'lat'"]),
    "nobody treated": (
        replace(row(), cohort=np.full(60, np.inf)), {"rings": [20]}, IdentificationError,
        ["no unit is treated"]),
    "nobody clean": (
        row(), {"rings": [20, 5000]}, IdentificationError, ["beyond 5000 km", "shorten"]),
    "an empty ring": (
        row(), {"rings": [5, 20]}, IdentificationError, ["0 to 5 km", "join the ring"]),
    "strangers": (
        row(), {"rings": [2], "neighbours": {99: [1]}}, OptionError, ["names 99", "no units here"]),
    "one coordinate": (
        row(), {"rings": [9], "coordinates": ("latitude",)}, OptionError, ["two columns"]),
    "no mapping": (row(), {"rings": [2], "neighbours": [(5, 6)]}, OptionError, ["a mapping"]),
    "one neighbour": (
        row(), {"rings": [2], "neighbours": {5: "6"}}, OptionError, ["neighbours of 5 are '6'"]),
    "neighbours of another type": (
        row(), {"rings": [2], "neighbours": {5: ["6"], 7: ["8"]}}, OptionError,
        ["'6', '8'", "Write them as the panel does"]),
    "windows": (
        replace(row(), earliest=np.full(60, 1.0)), {"rings": [20]}, PanelError, ["windows"]),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_bad_input_says_what_to_do(wrong):
    panel, options, kind, words = WRONG[wrong]
    with pytest.raises(kind) as refused:
        ek.spillover_rings(panel, ek.did.two_way, **options)
    for word in words:
        assert word in str(refused.value)


def test_an_untreated_unit_at_the_place_of_a_treated_one_is_in_the_first_ring():
    p = row(noise=1.0)
    x = p.x.copy()
    x[p.units[p.unit] == 20, 0] = x[p.units[p.unit] == 19, 0]  # 20 moves to where 19 is
    found = ek.spillover_rings(replace(p, x=x), ek.did.two_way, rings=[20.5])
    assert "0 to 20.5 km 2; 38 clean" in found.meta.notes[0]
