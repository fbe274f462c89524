"""Outcomes that should not move, all in one call."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import evalkit as ek
from evalkit.core.errors import IdentificationError, OptionError, PanelError


def panel(n=80, shift=0.0, seed=1):
    rng = np.random.default_rng(seed)
    town, year = np.repeat(np.arange(n), 4), np.tile(np.arange(4), n)
    on = (town < n // 2) & (year >= 2)
    girls, rain = rng.normal(size=(2, 4 * n))
    frame = {"town": town, "year": year, "start": np.where(town < n // 2, 2.0, np.nan),
             "girls": girls + shift * on, "rain": 100 * (rain + girls), "height": 1.0 * town,
             "y": rng.normal(size=4 * n)}  # fmt: skip
    return ek.Panel.from_frame(
        frame, outcome="y", unit="town", time="year", cohort="start",
        covariates=["girls", "rain", "height"], provenance="synthetic",
    )  # fmt: skip


def test_each_placebo_is_the_estimator_on_that_outcome():
    p = panel()
    found = ek.placebo_outcomes(p, ek.did.event_study, outcomes=["girls", "rain"])
    assert found.index.levels == ("placebo", "event")
    for name in ("girls", "rain"):
        alone = ek.did.event_study(p.with_outcome(p.column(name)))
        assert np.array_equal(found.select(placebo=name).theta, alone.theta)
        assert found.select(placebo=name).vcov() == pytest.approx(alone.vcov())


def test_the_joint_test_knows_that_outcomes_move_together_and_not_their_units():
    p = panel()
    both = ek.placebo_outcomes(p, ek.did.two_way, outcomes=["girls", "rain"])
    assert both.vcov()[0, 1] > 0
    scaled = both.contrast(np.diag([1.0, 0.01]), both.index)
    assert ek.wald(both).statistic == pytest.approx(ek.wald(scaled).statistic)


def test_the_joint_test_has_its_size_and_finds_a_shift():
    """Four hundred draws: 5% has a Monte Carlo error of 1.1%."""
    found = [
        ek.wald(
            ek.placebo_outcomes(panel(40, seed=seed), ek.did.two_way, outcomes=["girls", "rain"])
        ).p_value
        for seed in range(400)
    ]
    assert 0.02 < np.mean(np.array(found) < 0.05) < 0.09
    moved = ek.placebo_outcomes(panel(shift=1.0), ek.did.two_way, outcomes=["girls", "rain"])
    assert ek.wald(moved).p_value < 1e-4


WRONG = {
    "none": ([], OptionError, ["outcomes=[...]"]),
    "one text": ("girls", OptionError, ["outcomes=['girls']"]),
    "twice": (["girls", "girls"], OptionError, ["twice"]),
    "the outcome": (["girls", "y"], OptionError, ["'y' is the outcome itself"]),
    "unknown": (["snow"], PanelError, ["no covariate 'snow'"]),
    "constant": (["girls", "height"], PanelError, ["leaves nothing of 'height'"]),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_bad_input_says_what_to_do(wrong):
    outcomes, kind, words = WRONG[wrong]
    with pytest.raises(kind) as refused:
        ek.placebo_outcomes(panel(), ek.did.two_way, outcomes=outcomes)
    for word in words:
        assert word in str(refused.value)


def test_an_outcome_cannot_be_its_own_control():
    with pytest.raises((IdentificationError, PanelError), match="girls"):
        ek.placebo_outcomes(
            panel(), lambda p: ek.did.two_way(p, covariates=["girls"]), outcomes=["girls"]
        )


def test_a_column_of_high_level_may_still_move():
    p = panel()
    names = [*p.names, "high"]
    high = replace(p, x=np.column_stack([p.x, 1e9 + 0.01 * p.column("girls")]), names=tuple(names))
    found = ek.placebo_outcomes(high, ek.did.two_way, outcomes=["girls", "high"])
    assert found.theta[1] == pytest.approx(0.01 * found.theta[0], abs=1e-6)


def test_what_is_no_estimator_or_no_panel_is_named():
    with pytest.raises(OptionError, match="estimator is Estimate; give the function"):
        ek.placebo_outcomes(panel(), ek.did.two_way(panel()), outcomes=["girls"])
    with pytest.raises(OptionError, match="panel is dict; build it with"):
        ek.placebo_outcomes({}, ek.did.two_way, outcomes=["girls"])
