"""Placebo, bootstrap and jackknife against explicit loops, for any estimator."""

from __future__ import annotations

import io
import sys
from math import comb

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core import progress as shown
from evalkit.core.errors import DoubtWarning, IdentificationError, OptionError
from evalkit.inference.resample import take_units

ROUNDING = 1e-12


def frame(units=24, treated=6, periods=5, seed=1, districts=False):
    """The first units adopt in period 3; unit ``i`` lies in district ``i // 2`` if asked."""
    rng = np.random.default_rng(seed)
    unit, time = np.repeat(np.arange(units), periods), np.tile(np.arange(periods), units)
    start = np.where(np.arange(units) < treated, 3.0, np.nan)
    return pd.DataFrame(
        {
            "unit": unit,
            "time": time,
            "y": rng.normal(size=units)[unit] + rng.normal(size=len(unit)) + (time >= start[unit]),
            "x": rng.normal(size=len(unit)),
            "start": start[unit],
            "weight": rng.uniform(0.5, 2, units)[unit],
            "dose": rng.normal(size=units)[unit],
            "kind": np.where(unit % 3 == 0, "a", "b"),
            "district": unit // (2 if districts else 1),
        }
    )


def panel(data=None, **options):
    given = {
        "outcome": "y", "unit": "unit", "time": "time", "cohort": "start", "cluster": "district",
        "covariates": ["x"], "weight": "weight", "dose": "dose", "categories": ["kind"],
        "provenance": "synthetic",
    }  # fmt: skip
    return ek.Panel.from_frame(frame() if data is None else data, **{**given, **options})


def two_way(p):
    return ek.did.two_way(p)


def bootstrap(p, estimator, **options):
    """These panels have few treated clusters, and the tests ask for draws."""
    return ek.bootstrap(p, estimator, few="show", **options)


# --- Placebo -----------------------------------------------------------------------------------


def test_placebos_are_estimates_on_frames_with_the_dates_moved():
    data = frame(units=9, treated=2)
    result = ek.placebo(panel(data), two_way, seed=1)
    assert len(result.draws) == comb(7, 2)
    twins = []
    for i in range(2, 9):
        for j in range(i + 1, 9):
            fake = data[data["unit"] >= 2].copy()
            fake["start"] = np.where(fake["unit"].isin([i, j]), 3.0, np.nan)
            twins.append(two_way(panel(fake)).theta[0])
    np.testing.assert_allclose(result.draws[:, 0], twins, atol=ROUNDING)
    np.testing.assert_allclose(result.std_error[0], np.std(twins), rtol=ROUNDING)
    theta = two_way(panel(data)).theta[0]
    rank = (1 + sum(abs(t) >= abs(theta) for t in twins)) / (1 + len(twins))
    assert result.rank_p_value[0] == rank
    assert "all 21 choices of 2 among 7" in result.method


def test_the_seed_has_no_effect_where_every_choice_is_made():
    p = panel(frame(units=9, treated=1))
    one, two = (ek.placebo(p, two_way, seed=seed) for seed in (1, 2))
    assert one.draws.tobytes() == two.draws.tobytes()


@pytest.mark.parametrize("resample", [ek.placebo, bootstrap])
def test_more_draws_begin_with_the_same_ones_and_the_seed_decides(resample):
    p = panel()
    few, more, other = (
        resample(p, two_way, seed=seed, draws=draws) for seed, draws in ((5, 8), (5, 12), (6, 8))
    )
    assert few.draws.tobytes() == more.draws[:8].tobytes()
    assert few.draws.tobytes() != other.draws.tobytes()


@pytest.mark.parametrize("resample", [ek.placebo, bootstrap])
def test_row_order_changes_no_draw(resample):
    data = frame()
    one, two = (
        resample(panel(f), two_way, seed=3, draws=6)
        for f in (data, data.sample(frac=1, random_state=2))
    )
    assert one.draws.tobytes() == two.draws.tobytes()


def test_placebos_of_a_valid_design_cover_the_truth_and_reject_no_more_than_they_say():
    size = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        data = frame(units=20, treated=1, seed=seed).assign(y=rng.normal(size=100))
        size.append(ek.placebo(panel(data, weight=None), two_way, seed=1).rank_p_value[0] <= 0.1)
    assert 0.04 <= np.mean(size) <= 0.16  # nominal 0.1, Monte Carlo error 0.02 (3 of them)


def test_staggered_dates_are_dealt_as_they_were():
    data = frame()
    data.loc[data["unit"] < 2, "start"] = 2.0
    seen = []

    def spy(p):
        seen.append(np.sort(p.cohort[np.isfinite(p.cohort)]).tolist())
        assert p.n_units == 18 or len(seen) == 1
        return ek.aggregate(ek.did.callaway_santanna(p))

    ek.placebo(panel(data), spy, seed=1, draws=5)
    assert seen == [[2.0, 2.0, 3.0, 3.0, 3.0, 3.0]] * 6


def test_a_placebo_needs_treated_units_and_more_untreated_ones():
    with pytest.raises(IdentificationError, match="12 never-treated units cannot stand in for 12"):
        ek.placebo(panel(frame(treated=12)), two_way, seed=1)
    with pytest.raises(IdentificationError, match="no unit is treated"):
        ek.placebo(panel(cohort=None), two_way, seed=1)


# --- Bootstrap ---------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [False, True])
def test_a_drawn_panel_is_the_panel_of_the_repeated_rows(missing):
    data = frame(districts=True)
    if missing:
        data = data.sample(frac=0.8, random_state=4)
    p = panel(data)
    units = np.array([3, 3, 0, 23, 7, 3])
    drawn = take_units(p, units, np.array([0, 1, 1, 2, 3, 4]))
    copies = [
        data[data["unit"] == p.units[u]].assign(unit=at, district=[0, 1, 1, 2, 3, 4][at])
        for at, u in enumerate(units)
    ]
    twin = panel(pd.concat(copies))
    for name in ("y", "unit", "time", "units", "cohort", "weight", "cluster", "x", "dose"):
        np.testing.assert_array_equal(getattr(drawn, name), getattr(twin, name), err_msg=name)
    np.testing.assert_array_equal(
        drawn.category("kind").labels[drawn.category("kind").codes],
        twin.category("kind").labels[twin.category("kind").codes],
    )


def test_the_bootstrap_error_of_a_linear_estimate_is_near_that_of_its_contributions():
    p = panel(frame(units=200, treated=80))
    result = ek.bootstrap(p, two_way, seed=1, draws=400)
    error = ek.infer(two_way(p), vcov="CR0").std_error
    np.testing.assert_allclose(result.std_error, error, rtol=0.12)  # 3.5 % Monte Carlo error


def test_draws_without_an_answer_are_drawn_again_and_counted():
    result = bootstrap(panel(frame(treated=2)), two_way, seed=1, draws=50)
    assert np.isfinite(result.draws).all()
    assert "drawn again" in result.method


def test_a_bootstrap_that_cannot_succeed_says_why():
    calls = []

    def once(p):
        calls.append(p)
        if len(calls) > 1:
            raise IdentificationError("nothing to compare")
        return two_way(p)

    with pytest.raises(IdentificationError, match=r"0 succeeded. The last one: nothing to compare"):
        ek.bootstrap(panel(), once, seed=1)


# --- Jackknife and common ----------------------------------------------------------------------


def test_the_jackknife_is_the_explicit_one_over_clusters():
    data = frame(districts=True)
    result = ek.jackknife(panel(data), two_way)
    left = np.array([two_way(panel(data[data["district"] != d])).theta[0] for d in range(12)])
    np.testing.assert_allclose(result.draws[:, 0], left, atol=ROUNDING)
    variance = 11 / 12 * ((left - left.mean()) ** 2).sum()
    np.testing.assert_allclose(result.std_error[0] ** 2, variance, rtol=1e-9)


def test_a_jackknife_that_loses_a_cohort_names_the_cluster():
    data = frame()
    data.loc[data["unit"] == 4, "start"] = 2.0
    with pytest.raises(IdentificationError, match="without cluster 4 the estimate has other"):
        ek.jackknife(panel(data), ek.did.callaway_santanna)
    with pytest.raises(IdentificationError, match="without cluster 0: no unit is treated"):
        ek.jackknife(panel(frame(treated=1)), two_way)
    with pytest.raises(IdentificationError, match="at least two clusters"):
        ek.jackknife(panel(frame().assign(district=1)), two_way)


@pytest.mark.parametrize("resample", [ek.placebo, bootstrap])
def test_options_that_make_no_sense_are_refused(resample):
    with pytest.raises(OptionError, match="draws=1 must be at least 2"):
        resample(panel(), two_way, seed=1, draws=1)
    with pytest.raises(OptionError, match=r"level=95 must lie between"):
        resample(panel(), two_way, seed=1, level=95)


def test_the_table_has_normal_intervals_and_the_rank():
    result = ek.placebo(panel(), two_way, seed=1, draws=20)
    table = result.table
    assert list(table.columns) == ["estimate", "std_error", "statistic", "p_value", "conf_low",
                                   "conf_high", "rank_p_value"]  # fmt: skip
    half = (table["conf_high"] - table["conf_low"]) / 2
    np.testing.assert_allclose(half, 1.959963984540054 * table["std_error"], rtol=1e-12)
    assert "(seed 1)" in repr(result)
    assert result.provenance == "synthetic"


def test_a_bootstrap_of_few_treated_clusters_gives_no_p_value_unless_asked():
    p = panel(frame(treated=3))
    with pytest.warns(DoubtWarning, match="treated clusters, against 21"):
        result = ek.bootstrap(p, two_way, seed=1, draws=20)
    assert result.table[["p_value", "conf_low", "conf_high"]].isna().all(axis=None)
    assert result.std_error[0] > 0
    assert "ek.few_treated" in repr(result)
    assert bootstrap(p, two_way, seed=1, draws=20).table["p_value"].notna().all()


def test_a_jackknife_of_two_means_has_the_degrees_of_freedom_of_the_smaller_side():
    data = frame(treated=3, units=24)
    result = ek.jackknife(panel(data, weight=None), two_way)
    one, zero = 1 / 3, 1 / 21
    expected = (one + zero) ** 2 / (one**2 / 2 + zero**2 / 20)
    np.testing.assert_allclose(result.dof, [expected], rtol=1e-12)
    assert result.table["p_value"].iloc[0] > 0
    assert "t reference" in repr(result)


# --- Influence ---------------------------------------------------------------------------------


def test_a_jackknife_says_what_the_estimate_is_without_each_cluster():
    p = panel(frame(districts=True))
    exact = ek.influence(ek.jackknife(p, two_way))
    codes = p.category("cluster").codes
    for g in (0, 5):
        np.testing.assert_allclose(exact.without[g], two_way(p.where(codes != g)).theta)
    table = exact.table
    assert table["change"].abs().is_monotonic_decreasing
    assert set(table["cluster"]) == set(p.cluster)
    assert "exact" in repr(exact)


def test_contributions_say_it_to_first_order():
    p = panel(frame(units=120, treated=60))
    first, exact = ek.influence(two_way(p)), ek.influence(ek.jackknife(p, two_way))
    change, true = (one.without - one.estimate.theta for one in (first, exact))
    assert np.corrcoef(change[:, 0], true[:, 0])[0, 1] > 0.99
    assert np.abs(change - true).max() < 0.1 * np.abs(true).max()


def test_only_what_leaves_clusters_out_has_an_influence():
    with pytest.raises(OptionError, match="leaves no cluster out"):
        ek.influence(bootstrap(panel(), two_way, seed=1, draws=10))


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("terminal", "patience", "silent"),
    [(Terminal, 0.0, False), (io.StringIO, 0.0, True), (Terminal, 60, True)],
)
def test_progress_is_shown_on_a_terminal_only_and_after_a_while(
    monkeypatch, terminal, patience, silent
):
    stream = terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(shown, "PATIENCE", patience)
    ek.placebo(panel(), two_way, seed=1, draws=10)
    assert (stream.getvalue() == "") is silent
