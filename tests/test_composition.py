"""Trimming bounds: every subset of a small cell, known effects, and the interval between ends."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

import evalkit as ek
from evalkit.core.errors import DoubtWarning, IdentificationError, OptionError, PanelError
from evalkit.inference.composition import _bounds, critical

NEAR = 0.08  # a jackknife of forty towns differs from first order by leverage


def panel(score, year, town, treated, seen, **options):
    frame = {"pupil": np.arange(len(score)), "year": year, "town": town, "seen": seen,
             "start": np.where(treated, 2.0, np.nan), "score": score}  # fmt: skip
    given = {"outcome": "score", "unit": "pupil", "time": "year", "cohort": "start",
             "cluster": "town", "covariates": ["seen"], "provenance": "synthetic"}  # fmt: skip
    return ek.Panel.from_frame({**frame, **options.pop("columns", {})}, **{**given, **options})


def pupils(towns=40, size=50, moved=0.2, effect=0.5, worse=1.5, seed=1):
    """A register: 70% are seen; the reform adds the share ``moved``, or takes it away."""
    rng = np.random.default_rng(seed)
    n = towns * size
    town, year = np.repeat(np.arange(towns), size), np.tile([1, 2], n // 2)
    treated, draw, kind = town < towns // 2, rng.uniform(size=n), rng.normal(size=n)
    reformed = treated & (year == 2)
    seen = draw < 0.7 + reformed * moved
    marginal = (draw >= min(0.7, 0.7 + moved)) & (draw < max(0.7, 0.7 + moved))
    score = kind - worse * marginal + effect * reformed + 0.3 * treated + 0.1 * year
    return panel(score, year, town, treated, seen.astype(float))


@pytest.mark.parametrize(("after", "before"), [(8, 6), (6, 8)])
def test_the_ends_are_those_over_every_subset(after, before):
    """Eight on the register in each cell; of the treated eight and six are seen, or the reverse."""
    rng = np.random.default_rng(2)
    year, treated = np.tile(np.repeat([1, 2], 8), 2), np.repeat([True, False], 16)
    seen = np.ones(32)
    seen[before:8] = 0
    seen[8 + after : 16] = 0
    score = rng.normal(size=32)
    with pytest.warns(DoubtWarning):
        found = ek.composition_bounds(panel(score, year, np.arange(32), treated, seen), seen="seen")
    cells = {
        key: score[(treated == key[0]) & (year == key[1]) & (seen > 0)]
        for key in ((True, 1), (True, 2), (False, 1), (False, 2))
    }
    drift = cells[False, 2].mean() - cells[False, 1].mean()
    many = 2 if after > before else 1
    means = [np.mean(kept) for kept in combinations(cells[True, many], 6)]
    if after > before:
        ends = np.array([min(means), max(means)]) - cells[True, 1].mean() - drift
    else:
        ends = cells[True, 2].mean() - np.array([max(means), min(means)]) - drift
    assert found.estimate.theta[:2] == pytest.approx(ends)
    assert found.trimmed == pytest.approx(0.25)
    assert ("after" if many == 2 else "before") in found.cell


def test_a_share_that_splits_a_pupil_takes_a_part_of_it():
    year, treated = np.array([1, 1, 2, 2, 2, 1, 1, 2, 2, 1, 2]), np.arange(11) < 5
    seen = np.array([1.0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0])
    score = np.array([0.0, 9, 1, 2, 4, 0, 0, 0, 0, 9, 9])
    made, trimmed, _ = _bounds(panel(score, year, np.arange(11), treated, seen), "seen")
    # half of two seen before, 2/3 of three in the comparison at both dates: q = 1/2, of 3 seen 1.5
    assert trimmed == pytest.approx(0.5)
    assert made.theta[:3] == pytest.approx([(1 + 0.5 * 2) / 1.5, (4 + 0.5 * 2) / 1.5, 7 / 3])


@pytest.mark.parametrize("moved", [0.2, -0.2])
def test_contributions_are_those_of_the_jackknife(moved):
    p = pupils(moved=moved)
    made = _bounds(p, "seen")[0]
    assert made.psi.sum(axis=0) == pytest.approx(np.zeros(4), abs=1e-12)
    again = ek.jackknife(p, lambda q: _bounds(q, "seen")[0])
    assert ek.infer(made).std_error == pytest.approx(again.std_error, rel=NEAR)


@pytest.mark.parametrize("moved", [0.2, -0.2])
def test_bounds_hold_an_effect_that_the_plain_estimate_misses(moved):
    found = ek.composition_bounds(pupils(towns=200, size=200, moved=moved), seen="seen")
    low, high, plain, change = found.estimate.theta
    assert low < 0.5 < high
    assert abs(plain - 0.5) > 0.2
    assert change == pytest.approx(moved, abs=0.02)
    assert found.conf_low < low < high < found.conf_high


def test_no_change_in_who_is_seen_gives_the_difference_in_differences():
    n = 400
    rng = np.random.default_rng(4)
    year, town = np.tile([1, 2], n // 2), np.repeat(np.arange(40), 10)
    p = panel(rng.normal(size=n), year, town, town < 20, np.ones(n))
    found = ek.composition_bounds(p, seen="seen")
    assert found.trimmed == 0
    assert found.low == pytest.approx(found.high)
    assert found.low == pytest.approx(found.estimate.theta[2])
    cells = [p.y[(p.time == t) & (np.isfinite(p.cohort)[p.unit] == g)].mean()
             for g in (True, False) for t in (1, 0)]  # fmt: skip
    assert found.low == pytest.approx(cells[0] - cells[1] - cells[2] + cells[3])
    assert found.conf_low == pytest.approx(found.judged.conf_low[2])
    assert found.conf_high == pytest.approx(found.judged.conf_high[2])


def test_turning_the_outcome_round_exchanges_the_ends():
    p = pupils()
    one, two = (_bounds(q, "seen")[0].theta for q in (p, p.with_outcome(-p.y)))
    assert two[:3] == pytest.approx(-one[[1, 0, 2]])


def test_the_outcome_of_those_not_seen_is_not_read():
    p = pupils()
    other = p.with_outcome(np.where(p.column("seen") > 0, p.y, 1e9))
    assert _bounds(other, "seen")[0].theta == pytest.approx(_bounds(p, "seen")[0].theta)


def test_only_the_ratio_of_weights_matters():
    p = pupils()
    again = panel(p.y, p.times[p.time], p.cluster[p.unit], np.isfinite(p.cohort)[p.unit],
                  p.column("seen"), columns={"w": np.full(len(p.y), 3.0)}, weight="w")  # fmt: skip
    one, two = _bounds(p, "seen")[0], _bounds(again, "seen")[0]
    assert two.theta == pytest.approx(one.theta)
    assert two.vcov() == pytest.approx(one.vcov())


def test_the_critical_value_goes_from_two_sides_to_one():
    assert critical(0.0, 0.95, np.inf) == pytest.approx(1.959964, abs=1e-6)
    assert critical(50.0, 0.95, np.inf) == pytest.approx(1.644854, abs=1e-6)
    values = [critical(width, 0.95, 39.0) for width in (0, 0.5, 1, 2, 5)]
    assert values == sorted(values, reverse=True)


def test_few_towns_get_no_interval():
    with pytest.warns(DoubtWarning, match="withheld"):
        found = ek.composition_bounds(pupils(towns=8), seen="seen")
    assert np.isnan([found.conf_low, found.conf_high]).all()
    shown = ek.composition_bounds(pupils(towns=8), seen="seen", few="show")
    assert shown.conf_low < shown.low


WRONG = {
    "no column": ({}, {"seen": "tested"}, PanelError, ["no covariate 'tested'"]),
    "no name": ({}, {"seen": 3}, OptionError, ["seen=3"]),
    "a level": ({}, {"level": 95}, OptionError, ["level=95"]),
    "few": ({}, {"few": "no"}, OptionError, ["few='no'"]),
    "a share": ({"seen": 0.5}, {}, PanelError, ["'seen' of unit", "is 0.5", "must be 1"]),
    "nobody": ({"seen": 0.0}, {}, IdentificationError, ["nobody is seen among the treated after"]),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_bad_input_says_what_to_do(wrong):
    columns, options, kind, words = WRONG[wrong]
    p = pupils(towns=24, size=10)
    seen = np.full(len(p.y), columns["seen"]) if columns else p.column("seen")
    p = panel(p.y, p.times[p.time], p.cluster[p.unit], np.isfinite(p.cohort)[p.unit], seen)
    with pytest.raises(kind) as refused:
        ek.composition_bounds(p, **{"seen": "seen", **options})
    for word in words:
        assert word in str(refused.value)


def test_several_dates_are_refused():
    frame = {"i": np.arange(12), "year": np.tile([1, 2, 3], 4), "seen": np.ones(12),
             "start": np.repeat([2.0, 3.0, np.nan, np.nan], 3), "y": np.zeros(12)}  # fmt: skip
    p = ek.Panel.from_frame(frame, outcome="y", unit="i", time="year", cohort="start",
                            covariates=["seen"], provenance="synthetic")  # fmt: skip
    with pytest.raises(IdentificationError, match=r"2, 3.*one adoption date"):
        ek.composition_bounds(p, seen="seen")


def test_a_share_below_zero_is_refused():
    n = 240
    year, town = np.tile([1, 2], n // 2), np.repeat(np.arange(24), 10)
    treated = town < 12
    seen = np.where(treated & (year == 1), np.arange(n) % 20 == 0, True)
    seen &= treated | (year == 1) | (np.arange(n) % 20 == 1)
    with pytest.raises(IdentificationError, match="that is no share"):
        ek.composition_bounds(panel(np.zeros(n), year, town, treated, seen * 1.0), seen="seen")


def test_the_result_prints_what_was_trimmed():
    text = repr(ek.composition_bounds(pupils(), seen="seen"))
    assert "of the treated after adoption trimmed" in text
    assert "shares seen" in text
    assert "(synthetic)" in text


def test_a_register_without_outcomes_of_those_not_seen_is_refused():
    p = pupils(towns=24, size=10)
    score = np.where(p.column("seen") > 0, p.y, np.nan)
    adopted = np.isfinite(p.cohort)[p.unit]
    left = panel(score, p.times[p.time], p.cluster[p.unit], adopted, p.column("seen"))
    with pytest.raises(PanelError, match=r"those not seen are among them.*for example 0"):
        ek.composition_bounds(left, seen="seen")


def test_a_share_above_one_is_refused():
    n = 240
    year, town = np.tile([1, 2], n // 2), np.repeat(np.arange(24), 10)
    treated = town < 12
    seen = np.where(~treated & (year == 1), np.arange(n) % 3 == 0, True)
    with pytest.raises(IdentificationError, match="that is no share"):
        ek.composition_bounds(panel(np.zeros(n), year, town, treated, seen * 1.0), seen="seen")
