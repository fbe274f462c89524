"""What a pick on past outcomes brings about by itself, where that is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import evalkit as ek
from evalkit.core.errors import IdentificationError, OptionError, PanelError

PERIODS, START = 7, 4
NEAR = 0.06  # a jackknife of 120 towns differs from first order by leverage


def panel(score, treated, start=float(START)):
    n = len(score)
    frame = {
        "town": np.repeat(np.arange(n), PERIODS),
        "year": np.tile(np.arange(PERIODS), n),
        "y": score.ravel(),
        "start": np.repeat(np.where(treated, start, np.nan), PERIODS),
    }
    return ek.Panel.from_frame(
        frame, outcome="y", unit="town", time="year", cohort="start", provenance="synthetic"
    )


def autoregressive(n, rho=0.6, seed=1):
    """Stationary paths of variance one around town effects of variance a quarter."""
    rng = np.random.default_rng(seed)
    y = np.empty((n, PERIODS))
    y[:, 0] = rng.normal(size=n)
    for t in range(1, PERIODS):
        y[:, t] = rho * y[:, t - 1] + np.sqrt(1 - rho**2) * rng.normal(size=n)
    return y + 0.5 * rng.normal(size=n)[:, None]


def worst(score, window=1, share=0.2):
    level = score[:, START - window : START].mean(axis=1)
    return level <= np.quantile(level, share)


@pytest.mark.parametrize("window", [1, 2])
def test_a_pick_on_the_window_is_all_there_is_to_see(window):
    y = autoregressive(20_000)
    found = ek.mean_reversion(panel(y, worst(y, window)), window=window)
    assert np.abs(found.select(part="seen").theta).min() > 0.1
    assert found.select(part="rest").theta == pytest.approx(0, abs=0.05)
    assert found.select(part="pick").theta + found.select(part="rest").theta == pytest.approx(
        found.select(part="seen").theta
    )


def test_the_pick_is_the_autocovariance_times_the_distance_picked():
    y = autoregressive(20_000)
    treated = worst(y)
    found = ek.mean_reversion(panel(y, treated)).select(part="pick")
    away = y[treated, START - 1].mean() - y[~treated, START - 1].mean()
    for (_, event), theta in zip(found.index.keys, found.theta, strict=True):
        slope = (0.25 + 0.6 ** abs(event + 1)) / 1.25
        assert theta == pytest.approx((slope - 1) * away, abs=0.06)


def test_an_effect_is_in_the_rest():
    y = autoregressive(20_000)
    treated = worst(y)
    y[treated, START:] += 0.3
    found = ek.mean_reversion(panel(y, treated)).select(part="rest")
    expected = [0.3 * (event >= 0) for _, event in found.index.keys]
    assert found.theta == pytest.approx(expected, abs=0.05)


def test_a_pick_on_more_than_the_window_shows_before_adoption():
    y = autoregressive(3000)
    treated = y[:, :START].mean(axis=1) < -0.7
    rest = ek.mean_reversion(panel(y, treated)).select(part="rest", event=lambda e: e < 0)
    assert ek.wald(rest).p_value < 1e-6


def test_the_test_before_adoption_has_its_size():
    """Five hundred draws: 5% has a Monte Carlo error of 1%."""
    rejected = []
    for seed in range(500):
        y = autoregressive(150, seed=seed)
        rest = ek.mean_reversion(panel(y, worst(y))).select(part="rest", event=lambda e: e < 0)
        rejected.append(ek.wald(rest).p_value < 0.05)
    assert 0.02 < np.mean(rejected) < 0.09


def test_the_rest_is_by_hand_what_is_left_of_a_line_through_the_untreated():
    y = autoregressive(80)
    treated = worst(y)
    found = ek.mean_reversion(panel(y, treated))
    z = y[:, START - 1]
    for t in (0, 1, 2, 4, 5, 6):
        slope, level = np.polyfit(z[~treated], y[~treated, t], 1)
        seen = y[treated, t].mean() - y[~treated, t].mean()
        rest = (y[treated, t] - level - slope * z[treated]).mean()
        away = z[treated].mean() - z[~treated].mean()
        key = t - START
        got = [found.select(part=part, event=key).theta[0] for part in ("seen", "pick", "rest")]
        assert got == pytest.approx([seen - away, (slope - 1) * away, rest])


def test_contributions_are_those_of_the_jackknife():
    y = autoregressive(120)
    p = panel(y, worst(y))
    made = ek.mean_reversion(p)
    assert made.psi.sum(axis=0) == pytest.approx(np.zeros(len(made)), abs=1e-12)
    again = ek.jackknife(p, ek.mean_reversion)
    assert ek.infer(made).std_error == pytest.approx(again.std_error, rel=NEAR)


def test_units_with_gaps_are_left_out_and_counted():
    y = autoregressive(60)
    p = panel(y, worst(y))
    found = ek.mean_reversion(p.where((p.unit != 7) | (p.time != 0)))
    assert found.meta.notes[-1] == "1 units dropped: not seen in every period"
    assert found.theta == pytest.approx(ek.mean_reversion(p.where(p.unit != 7)).theta)


EARLY = np.arange(60) < 20
WRONG = {
    "a window of none": (
        panel(autoregressive(60), EARLY), {"window": 0}, OptionError, ["window=0"]),
    "half a window": (panel(autoregressive(60), EARLY), {"window": 1.5}, OptionError, ["whole"]),
    "too long a window": (panel(autoregressive(60), EARLY), {"window": 5}, IdentificationError,
                          ["4 periods lie before adoption in 4", "window=5"]),
    "nobody treated": (panel(autoregressive(60), EARLY & False), {}, IdentificationError,
                       ["adopt in no period"]),
    "all treated": (panel(autoregressive(60), EARLY | True), {}, IdentificationError,
                    ["0 never-treated units"]),
    "two dates": (panel(autoregressive(60), EARLY, np.arange(60) % 2 + 4.0), {},
                  IdentificationError, ["4, 5", "one known date"]),
    "no spread": (panel(np.zeros((60, PERIODS)), EARLY), {}, IdentificationError,
                  ["do not differ in the window"]),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_bad_input_says_what_to_do(wrong):
    p, options, kind, words = WRONG[wrong]
    with pytest.raises(kind) as refused:
        ek.mean_reversion(p, **options)
    for word in words:
        assert word in str(refused.value)


def test_the_level_of_outcomes_moves_nothing():
    score = autoregressive(60)
    near = ek.mean_reversion(panel(score, EARLY), window=2)
    far = ek.mean_reversion(panel(score + 1e9, EARLY), window=2)
    assert far.theta == pytest.approx(near.theta, abs=1e-5)
    assert far.vcov() == pytest.approx(near.vcov(), abs=1e-5)


def test_a_spread_that_is_rounding_is_none():
    score = autoregressive(60)
    rng = np.random.default_rng(1)
    score[:, START - 3 : START] = [rng.permutation([0.1, 0.2, 0.3]) for _ in score]  # means alike
    with pytest.raises(IdentificationError, match="do not differ in the window"):
        ek.mean_reversion(panel(score, EARLY), window=3)


def test_a_weight_that_changes_within_a_unit_is_refused():
    p = panel(autoregressive(60), EARLY)
    weights = np.where((p.unit == 3) & (p.time == 2), 2.0, 1.0)
    with pytest.raises(PanelError, match="weight of unit 3 changes in 2"):
        ek.mean_reversion(replace(p, weight=weights))
