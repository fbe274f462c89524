"""Symmetric differences: against means by hand, for units picked on their past, and bad input."""

from __future__ import annotations

import numpy as np
import pytest

import evalkit as ek
from evalkit.core.errors import IdentificationError, OptionError

PERIODS, START, SERIAL = 9, 5, 0.6
EXACT = 1e-12


def panel(score, start, **columns):
    n, periods = score.shape
    frame = {"town": np.repeat(np.arange(n), periods), "year": np.tile(np.arange(periods), n),
             "y": score.ravel(), "start": np.repeat(start, periods)}  # fmt: skip
    frame |= {name: np.repeat(values, periods) for name, values in columns.items()}
    return ek.Panel.from_frame(
        frame, outcome="y", unit="town", time="year", cohort="start", categories=list(columns),
        provenance="synthetic",
    )  # fmt: skip


def cells(p, **options):
    return ek.did.callaway_santanna(p, base="universal", **options)


def shocks(n, seed=1):
    """Stationary, of variance one, and correlated from year to year."""
    z = np.random.default_rng(seed).normal(size=(n, PERIODS))
    for t in range(1, PERIODS):
        z[:, t] = SERIAL * z[:, t - 1] + np.sqrt(1 - SERIAL**2) * z[:, t]
    return z


@pytest.mark.parametrize("picked", [-1, -2])
def test_an_effect_is_a_difference_of_four_means_around_the_pick(picked):
    score = shocks(60)
    start = np.where(np.arange(60) < 20, float(START), np.nan)
    made = ek.mirrored(cells(panel(score, start)), picked=picked)
    at = START + picked
    gap = score[:20].mean(axis=0) - score[20:].mean(axis=0)
    wanted = [t for t in range(START, PERIODS) if 2 * at - t >= 0]
    assert [key[1] for key in made.index.keys] == wanted
    by_hand = [gap[t] - gap[2 * at - t] for t in wanted]
    np.testing.assert_allclose(made.theta, by_hand, atol=EXACT)


def test_contributions_are_those_of_the_differences():
    score = shocks(60)
    start = np.where(np.arange(60) < 20, float(START), np.nan)
    made = ek.mirrored(cells(panel(score, start)))
    change = score[:, START] - score[:, START - 2]
    by_hand = np.r_[
        (change[:20] - change[:20].mean()) / 20, -(change[20:] - change[20:].mean()) / 40
    ]
    np.testing.assert_allclose(made.psi[:, 0], by_hand, atol=EXACT)
    np.testing.assert_allclose(made.weights.T @ score.ravel(), made.theta, atol=EXACT)


def test_units_picked_on_a_past_score_show_no_effect_where_there_is_none_and_the_plain_base_does():
    score = shocks(4000)
    worst = np.where(score[:, START - 1] < -0.8, float(START), np.nan)
    found = cells(panel(score, worst))
    plain, mirror = (ek.infer(ek.aggregate(one)) for one in (found, ek.mirrored(found)))
    assert plain.estimate[0] > 10 * plain.std_error[0]
    assert abs(mirror.estimate[0]) < 3 * mirror.std_error[0]
    treated = score + 0.5 * (np.nan_to_num(worst, nan=np.inf)[:, None] <= np.arange(PERIODS))
    again = ek.aggregate(ek.mirrored(cells(panel(treated, worst))))
    assert again.theta[0] == pytest.approx(mirror.estimate[0] + 0.5, abs=EXACT)


def test_both_sides_of_a_triple_difference_are_mirrored_and_still_differ_by_the_difference():
    score, seat = shocks(80), np.arange(80) % 2
    start = np.where(np.arange(80) < 30, float(START), np.nan)
    found = ek.did.triple_difference(panel(score, start, seat=seat), eligible="seat",
                                     base="universal")  # fmt: skip
    made = ek.mirrored(found)
    side = {name: made.select(side=name).theta for name in set(made.index.level("side"))}
    np.testing.assert_allclose(side["difference"], side["eligible"] - side["ineligible"],
                               atol=EXACT)  # fmt: skip


def test_averages_weigh_cohorts_as_those_of_the_estimate_do():
    start = np.repeat([4.0, 6.0, np.nan], [10, 30, 60])
    found = cells(panel(shocks(100), start))
    made = ek.mirrored(found)
    kept = found.select(time=lambda t: t >= 4)
    share = dict(zip(kept.index.keys, kept.mass.theta, strict=True))
    assert [share[key] for key in made.index.keys] == list(made.mass.theta)


def test_what_has_no_mirror_is_left_out_and_counted():
    start = np.where(np.arange(60) < 20, 3.0, np.nan)
    made = ek.mirrored(cells(panel(shocks(60), start)))
    assert [key[1] for key in made.index.keys] == [3, 4]
    assert "4 effects left out" in " ".join(made.meta.notes)


def late():
    start = np.where(np.arange(60) < 20, 1.0, np.nan)
    return cells(panel(shocks(60), start))


def some(**options):
    start = np.where(np.arange(60) < 20, float(START), np.nan)
    return ek.did.callaway_santanna(panel(shocks(60), start), **options)


WRONG = {
    "no mirror": (lambda: ek.mirrored(late()), IdentificationError, "no effect has a mirror"),
    "a varying base": (lambda: ek.mirrored(some()), OptionError, "base='universal'"),
    "a pick after the start": (
        lambda: ek.mirrored(some(base="universal"), picked=0), OptionError, "must lie before"),
    "no number": (
        lambda: ek.mirrored(some(base="universal"), picked=-1.5), OptionError, "whole number"),
    "an average": (
        lambda: ek.mirrored(ek.aggregate(some(base="universal"))), OptionError, "cohort and time"),
}  # fmt: skip


@pytest.mark.parametrize(("act", "error", "words"), WRONG.values(), ids=WRONG.keys())
def test_bad_input_gets_one_clear_error(act, error, words):
    with pytest.raises(error, match=words):
        act()


def test_a_varying_base_is_refused_where_the_year_before_adoption_is_missing():
    start = np.where(np.arange(60) < 20, float(START), np.nan)
    p = panel(shocks(60), start)
    gap = p.where(p.times[p.time] != START - 1)
    ek.mirrored(ek.did.callaway_santanna(gap, base="universal"))
    with pytest.raises(OptionError, match="no base in common"):
        ek.mirrored(ek.did.callaway_santanna(gap))
