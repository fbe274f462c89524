"""The study of certification: what an event that waits for the outcome finds where nothing happens.

Panels of the county study are drawn again; creation does nothing, and recognition waits for a low
difference rate. The outcome is that rate, by county and year.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

import evalkit as ek
from evalkit.data.simulate import Assumptions
from evalkit.data.simulate.tables import REVIEW
from simulations import counties
from simulations.study import Answer, Design, Method, Study, World

Array: TypeAlias = np.ndarray[Any, Any]

CREATION, RECOGNITION, PAPER, LOT = "creation", "recognition", "recognition on paper", "by lot"
WHEN = {"average": None, "first year": 0, "two years on": 2}
WAITS = 3  # years, at most, that a county drawn by lot waits beyond the first possible one


@dataclass(frozen=True, slots=True)
class Counties:
    """The rate ``(C, T)`` and, by event, the first test year ``(C,)`` and who may be compared."""

    rate: Array
    years: Array
    first: Mapping[str, Array]
    among: Mapping[str, Array]

    def panel(self, event: str) -> ek.Panel:
        rows = np.flatnonzero(self.among[event])
        t = len(self.years)
        return ek.Panel.from_frame(
            {"county": np.repeat(rows, t), "year": np.tile(self.years, len(rows)),
             "rate": self.rate[rows].ravel(), "first": np.repeat(self.first[event][rows], t)},
            outcome="rate", unit="county", time="year", cohort="first", provenance="synthetic",
        )  # fmt: skip


def draw(rng: np.random.Generator, n: int) -> World:
    """A study of ``n`` counties under the committed assumptions, with another seed."""
    a = Assumptions(seed=int(rng.integers(2**31)), counties=n, schools=24)
    years = np.array(list(a.years))
    made = [counties.county(a, number) for number in range(1, n + 1)]
    rate = np.stack([counties.rate(a, c.junior, c.tested, c.score) for c in made])
    creation = np.array([c.creation[0] for c in made])
    stage = np.stack([c.stage[0] for c in made])
    first = {
        CREATION: creation,
        RECOGNITION: _first(stage == 3, years),
        PAPER: on_paper(rate, creation, years, a.recognition),
        LOT: _by_lot(rng, creation, a.last),
    }
    everybody = np.ones(n, bool)
    among = {**dict.fromkeys(first, everybody), PAPER: np.isinf(creation)}
    data = Counties(rate, years, first, among)
    nothing = {f"{event}: {when}": {"population": 0.0} for event in first for when in WHEN}
    return World(data, nothing, data)


def _first(there: Array, years: Array) -> Array:
    """First year in which something is there, by county."""
    return np.where(there.any(axis=1), years[there.argmax(axis=1)], np.inf)


def on_paper(rate: Array, creation: Array, years: Array, limit: float) -> Array:
    """First year in which a county that never began creation would have been recognised.

    The rule is the one of the others, from the first year in which one of them could be.
    """
    earliest = creation.min() + REVIEW + 1
    low = (rate < limit) & (years >= earliest) & np.isinf(creation)[:, None]
    return _first(low, years)


def _by_lot(rng: np.random.Generator, creation: Array, last: int) -> Array:
    """A third of the counties in creation, in a year that the rate has no part in."""
    year = creation + REVIEW + 1 + rng.integers(0, WAITS + 1, len(creation))
    chosen = (rng.random(len(creation)) < 1 / 3) & (year <= last)
    return np.where(chosen, year, np.inf)


def events(data: Counties) -> dict[str, ek.Estimate]:
    """By event: the mean effect and the path around the start."""
    return {event: ek.did.callaway_santanna(data.panel(event)) for event in data.first}


def judged(data: Counties, made: Mapping[str, ek.Estimate]) -> Mapping[str, Answer]:
    out = {}
    for event, cells in made.items():
        path = ek.aggregate(cells, by="event")
        parts = {when: ek.aggregate(cells) if at is None else path.select(event=at)
                 for when, at in WHEN.items()}  # fmt: skip
        for when, estimate in parts.items():
            if len(estimate) == 1:
                out[f"{event}: {when}"] = Answer.of(ek.infer(estimate, few="show"))
    return out


CERTIFICATION = Study(
    "certification",
    {"as_assumed": Design("the assumptions of the committed study, another seed", draw)},
    {"callaway_santanna": Method(events, {"CR1": judged})},
    sizes={136: 200},
)
