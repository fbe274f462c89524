"""Randomisation against explicit loops over assignments, on panels small enough to list them."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, permutations

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core.errors import IdentificationError, OptionError

ROUNDING = 1e-10


def frame(units=8, treated=2, periods=4, seed=1, **changes):
    """Units of two prefectures; the first adopt in period 2."""
    rng = np.random.default_rng(seed)
    unit, time = np.repeat(np.arange(units), periods), np.tile(np.arange(periods), units)
    start = np.where(np.arange(units) < treated, 2.0, np.nan)
    columns = {
        "unit": unit,
        "time": time,
        "y": rng.normal(size=units)[unit]
        + rng.normal(size=len(unit))
        + 2.0 * (time >= start[unit]),
        "start": start[unit],
        "prefecture": np.where(unit % 2 == 0, "east", "west"),
        "district": unit // 2,
    }
    return pd.DataFrame({**columns, **changes})


def panel(data=None, **options):
    given = {
        "outcome": "y", "unit": "unit", "time": "time", "cohort": "start",
        "categories": ["prefecture"], "provenance": "synthetic",
    }  # fmt: skip
    return ek.Panel.from_frame(frame() if data is None else data, **{**given, **options})


def by_hand(data, start, tau=0.0):
    """Estimate and CR0 error of the change of the treated less that of the others."""
    moved = data.assign(y=data["y"] - tau * (data["time"] >= data["start"]))
    wide = moved.pivot_table(index="unit", columns="time", values="y")
    treated = ~np.isnan(start)
    change = (wide[[2, 3]].mean(axis=1) - wide[[0, 1]].mean(axis=1)).to_numpy()
    one, zero = change[treated], change[~treated]
    theta = one.mean() - zero.mean()
    error = np.sqrt(
        ((one - one.mean()) ** 2).sum() / len(one) ** 2
        + ((zero - zero.mean()) ** 2).sum() / len(zero) ** 2
    )
    return theta, error


def starts(choices, units=8):
    for chosen in choices:
        start = np.full(units, np.nan)
        start[list(chosen)] = 2.0
        yield start


def p_by_hand(data, assigned, tau, studentised):
    observed = data.groupby("unit")["start"].first().to_numpy()
    theta, error = by_hand(data, observed, tau)
    made = [by_hand(data, start, tau) for start in assigned]
    if studentised:
        return np.mean([abs(t / e) >= abs(theta / error) * (1 - 1e-9) for t, e in made])
    return np.mean([abs(t) >= abs(theta) * (1 - 1e-9) for t, _ in made])


EVERY = list(combinations(range(8), 2))
WITHIN = [(i, j) for i in range(0, 8, 2) for j in range(1, 8, 2)]


@pytest.mark.parametrize("studentise", [True, False])
@pytest.mark.parametrize(("within", "choices"), [(None, EVERY), ("prefecture", WITHIN)])
@pytest.mark.parametrize("run", [ek.did.two_way, ek.did.two_by_two])
def test_every_assignment_is_made_once_and_counted(run, within, choices, studentise):
    data = frame()
    result = ek.randomisation(
        panel(data), run, rule="complete", within=within, studentise=studentise
    )
    assert len(result.draws) == len(choices)
    assert result.p_value[0] == p_by_hand(data, starts(choices), 0.0, studentise)
    assert result.smallest == 1 / len(choices)
    assert f"all {len(choices)} ways" in result.method


@pytest.mark.parametrize("studentise", [True, False])
def test_the_interval_holds_the_constant_effects_that_are_not_rejected(studentise):
    data = frame(units=9, treated=3, seed=3)
    result = ek.randomisation(
        panel(data), ek.did.two_way, rule="complete", studentise=studentise, level=0.9
    )
    choices = list(combinations(range(9), 3))
    for end, inward in ((result.conf_low[0], 1), (result.conf_high[0], -1)):
        for step, kept in ((-1e-5, False), (1e-5, True)):
            p = p_by_hand(data, starts(choices, 9), end + step * inward, studentise)
            assert (p > 0.1 + 1e-9) == kept


def test_orders_of_the_dates_leave_who_is_treated_alone():
    data = frame(units=9, treated=3)
    data["start"] = data["unit"].map({0: 1.0, 1: 2.0, 2: 3.0})
    result = ek.randomisation(panel(data), ek.did.two_way, rule="dates", studentise=False)
    thetas = []
    for order in permutations([1.0, 2.0, 3.0]):
        moved = data.assign(start=data["unit"].map(dict(enumerate(order))))
        thetas.append(ek.did.two_way(panel(moved)).theta[0])
    np.testing.assert_allclose(np.sort(result.draws[:, 0]), np.sort(thetas), atol=ROUNDING)
    assert "order the dates of 3 clusters" in result.method


def test_one_town_in_each_county_is_units_within_clusters():
    data = frame(units=8, treated=8)
    data["start"] = np.where(data["unit"] % 2 == 0, 2.0, np.nan)
    p = panel(data, cluster="district")
    with pytest.raises(IdentificationError, match="cluster 0 has units with different dates"):
        ek.randomisation(p, ek.did.two_way, rule="complete")
    result = ek.randomisation(p, ek.did.two_way, rule="complete", by="unit", within="cluster")
    assert len(result.draws) == 2**4


def test_whole_clusters_are_dealt_out_together():
    data = frame(units=8, treated=2)
    p = panel(data, cluster="district")
    result = ek.randomisation(p, ek.did.two_way, rule="complete", studentise=False)
    expected = []
    for g in range(4):
        moved = data.assign(start=np.where(data["district"] == g, 2.0, np.nan))
        expected.append(ek.did.two_way(panel(moved)).theta[0])
    np.testing.assert_allclose(np.sort(result.draws[:, 0]), np.sort(expected), atol=ROUNDING)


def test_the_number_treated_at_each_date_stays_in_every_stratum():
    data = frame(units=12, treated=5)
    data["start"] = data["unit"].map({0: 1.0, 1: 2.0, 2: 2.0, 4: 1.0})
    p = panel(data)
    seen = []

    def spy(q):
        east = np.array([u % 2 == 0 for u in q.units])
        seen.append([tuple(sorted(q.cohort[side])) for side in (east, ~east)])
        return ek.did.two_way(q)

    ek.randomisation(p, spy, rule="complete", within="prefecture", draws=30)
    assert len({str(counts) for counts in seen}) == 1


def test_three_assignments_say_the_smallest_p_value_they_allow():
    result = ek.randomisation(panel(frame(units=3, treated=1)), ek.did.two_way, rule="complete",
                              studentise=False)  # fmt: skip
    assert result.p_value[0] >= 1 / 3 == result.smallest
    assert "no p-value can be below 0.33" in repr(result)
    assert "too few draws are possible" in repr(result)
    assert result.conf_low[0] == -np.inf
    assert result.conf_high[0] == np.inf


def test_the_seed_decides_is_printed_and_has_no_effect_where_all_are_made():
    p = panel(frame(units=30, treated=6))
    one, two, other = (
        ek.randomisation(p, ek.did.two_way, rule="complete", draws=25, seed=seed)
        for seed in (1, 1, 2)
    )
    assert one.draws.tobytes() == two.draws.tobytes()
    assert one.draws.tobytes() != other.draws.tobytes()
    assert "(seed 2)" in other.method
    small = [
        ek.randomisation(panel(), ek.did.two_way, rule="complete", seed=seed) for seed in (1, 2)
    ]
    assert small[0].draws.tobytes() == small[1].draws.tobytes()


@pytest.mark.slow
def test_it_takes_any_estimator_and_every_coordinate():
    p = panel(frame(units=10, treated=3, periods=6))
    for run in (ek.did.callaway_santanna, ek.did.imputation, ek.did.event_study):
        result = ek.randomisation(p, run, rule="complete", draws=150)
        assert result.p_value.shape == run(p).theta.shape
    cells = ek.randomisation(p, ek.did.callaway_santanna, rule="complete", draws=150)
    before = np.array([t < g for g, t in cells.index.keys])
    assert np.isnan(cells.conf_low[before]).all()  # a constant effect does not reach them
    assert np.isfinite(cells.conf_low[~before]).all() or (cells.conf_low[~before] == -np.inf).any()


def test_an_estimator_that_is_not_linear_has_a_p_value_and_no_interval():
    p = panel(frame(units=10, treated=1, periods=6))
    result = ek.randomisation(p, ek.did.synthetic_control, rule="complete", studentise=False)
    assert len(result.draws) == 10
    assert np.isfinite(result.p_value).all()
    with pytest.raises(IdentificationError, match="no standard error to studentise by"):
        ek.randomisation(p, ek.did.synthetic_control, rule="complete")


def test_a_p_value_without_its_interval_is_the_same():
    p = panel()
    one, two = (
        ek.randomisation(p, ek.did.two_way, rule="complete", interval=interval)
        for interval in (True, False)
    )
    assert one.p_value.tobytes() == two.p_value.tobytes()
    assert np.isnan(two.conf_low).all()


@pytest.mark.slow
def test_doses_are_dealt_out_like_dates():
    data = frame(units=7, treated=0)
    data["dose"] = np.random.default_rng(4).normal(size=7)[data["unit"]]
    p = panel(data, dose="dose", cohort=None)
    result = ek.randomisation(p, lambda q: ek.did.dose_response(q, start=2), rule="complete")
    assert 0 < result.p_value[0] <= 1
    assert np.isnan(result.conf_low).all()


@pytest.mark.slow
def test_a_rejection_of_a_true_null_is_as_rare_as_it_says():
    rejected = []
    for seed in range(200):
        data = frame(units=20, treated=1, seed=seed)
        data["y"] = np.random.default_rng(seed).standard_t(3, size=len(data))
        result = ek.randomisation(panel(data), ek.did.two_by_two, rule="complete")
        rejected.append(result.p_value[0] <= 0.05)
    assert np.mean(rejected) == pytest.approx(0.05, abs=3.5 * np.sqrt(0.05 * 0.95 / 200))


def test_what_cannot_be_is_refused():
    p = panel()
    with pytest.raises(OptionError, match="rule='bernoulli' is not an option"):
        ek.randomisation(p, ek.did.two_way, rule="bernoulli")
    everybody = panel(frame(treated=8))
    with pytest.raises(IdentificationError, match="one way to deal"):
        ek.randomisation(everybody, lambda q: ek.did.regression(q, on=[]), rule="complete")
    crossed = panel(frame(prefecture=np.tile(["east", "west"], 16)))
    with pytest.raises(OptionError, match="several labels of 'prefecture'"):
        ek.randomisation(crossed, ek.did.two_way, rule="complete", within="prefecture")
    with pytest.raises(OptionError, match="draws=1"):
        ek.randomisation(p, ek.did.two_way, rule="complete", draws=1)


def test_an_assignment_that_cannot_be_estimated_is_drawn_again_and_counted():
    p = panel(frame(units=16, treated=4))

    def fussy(q):
        if np.isfinite(q.cohort[0]) and np.isfinite(q.cohort[1]) and np.isinf(q.cohort[2]):
            raise IdentificationError("not like this")
        return ek.did.two_way(q)

    result = ek.randomisation(p, fussy, rule="complete", draws=60)
    assert "drawn again" in result.method


def test_the_panel_given_is_left_as_it_was():
    p = panel()
    before = p.cohort.copy()
    ek.randomisation(p, ek.did.two_way, rule="complete")
    np.testing.assert_array_equal(p.cohort, before)
    assert replace(p) is not p
