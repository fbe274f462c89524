"""The study of bounds: how often they hold the effect where parallel trends fail as they allow.

The effect is zero. The treated part from the others by a kink before adoption and ``m`` times as
much in every period after, the most that relative magnitudes allow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

import evalkit as ek
from simulations.study import LEVEL, Answer, Design, Method, Study, World

Array: TypeAlias = np.ndarray[Any, Any]

EFFECT = "effect"
PERIODS, START, SERIAL = 8, 7, 0.6
KINKS = {"flat": 0.0, "medium": 0.3, "large": 1.0}


@dataclass(frozen=True, slots=True)
class Kink:
    """Half of the counties adopt in the seventh of eight periods; errors have variance one and
    first-order serial correlation ``SERIAL``. Those that adopt rise by ``kink`` in the sixth
    period, the reference, and by ``m * kink`` in each later one."""

    kink: float
    m: int

    def draw(self, rng: np.random.Generator, n: int) -> World:
        y = rng.normal(size=(n, PERIODS))
        for t in range(1, PERIODS):
            y[:, t] = SERIAL * y[:, t - 1] + np.sqrt(1 - SERIAL**2) * y[:, t]
        rise = np.zeros(PERIODS)
        rise[START - 2] = self.kink
        rise[START - 1 :] = self.m * self.kink
        y[: n // 2] += np.cumsum(rise)
        county = np.repeat(np.arange(n), PERIODS)
        panel = ek.Panel.from_frame(
            {
                "county": county,
                "year": np.tile(np.arange(1, PERIODS + 1), n),
                "y": y.ravel(),
                "start": np.where(county < n // 2, START, np.nan),
            },
            outcome="y",
            unit="county",
            time="year",
            cohort="start",
            provenance="synthetic",
        )
        return World(panel, {EFFECT: {"population": 0.0}}, panel)


def _answer(estimate: float, error: float, low: float, high: float) -> Mapping[str, Answer]:
    """The test that goes with an interval rejects where it does not hold zero."""
    p_value = 1.0 if low <= 0 <= high else 0.0
    return {EFFECT: Answer(estimate, error, low, high, p_value)}


def parallel(panel: ek.Panel, made: ek.Estimate) -> Mapping[str, Answer]:
    """The interval that takes trends to be parallel."""
    after = made.select(event=lambda t: t >= 0)
    found = ek.infer(after.contrast([[1 / len(after)] * len(after)], ["average"]), level=1 - LEVEL)
    numbers = (found.estimate, found.std_error, found.conf_low, found.conf_high)
    return _answer(*(float(column[0]) for column in numbers))


def bounded(m: float, kink: float | None = None) -> Any:
    """Relative magnitudes up to ``m``; or, with a kink, as much smoothness as it takes."""

    def judge(panel: ek.Panel, made: ek.Estimate) -> Mapping[str, Answer]:
        found = (
            ek.sensitivity.relative_magnitudes(made, m=[m], level=1 - LEVEL)
            if kink is None
            else ek.sensitivity.smoothness(made, m=[kink * max(1, m - 1)], level=1 - LEVEL)
        )
        plain = found.original
        return _answer(float(plain.estimate[0]), float(plain.std_error[0]),
                       float(found.conf_low[0]), float(found.conf_high[0]))  # fmt: skip

    return judge


def name(kink: str, m: int) -> str:
    return f"{kink}_kink_m{m}"


PAIRS = [("flat", 1), ("medium", 1), ("medium", 2), ("large", 1), ("large", 2)]

SENSITIVITY = Study(
    "sensitivity",
    {
        name(kink, m): Design(
            f"a kink of {KINKS[kink]} before adoption and {m} times as much in each period after",
            Kink(KINKS[kink], m).draw,
        )
        for kink, m in PAIRS
    },
    {
        f"event_study_{kink}_m{m}": Method(
            ek.did.event_study,
            {
                "parallel": parallel,
                "relative_magnitudes": bounded(m),
                "smoothness": bounded(m, KINKS[kink]),
            },
            designs=(name(kink, m),),
        )
        for kink, m in PAIRS
    },
    sizes={60: 1000},
)
