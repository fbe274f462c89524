"""Pupils in schools with known effects, and estimates whose errors are known: worlds for the study
of value-added. Scores have residuals of variance one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

import evalkit as ek
from simulations.study import World

Array: TypeAlias = np.ndarray[Any, Any]
Shape: TypeAlias = Literal["normal", "skewed", "spike"]

SLOPE = 0.6  # of the score on the prior score, whose variance is one
EFFECT = 0.1  # of the measure that half of the schools adopt
FEW, MOST = 4, 40  # pupils of a school
YEARS, START = 6, 4
LASTS = 0.8  # correlation of a teacher's effects in years one apart
MOVES = 0.15  # share of teachers who change school in a year

# What is to be estimated.
BETWEEN, ABOVE, WITHIN = "school variance", "county variance", "pupil variance"
EFFECTS, COEFFICIENT, ATT = "effects", "slope", "effect of the measure"
RANK, BEST, ALL_RANKS = "rank", "the best five", "all ranks"
FORECASTS, FORECAST, SWITCHERS, PAST = "forecasts", "forecast", "switchers", "past score"


def drawn(rng: np.random.Generator, n: int, shape: Shape) -> Array:
    """Independent effects of mean zero and variance one.

    ``skewed`` is exponential; of ``spike`` nine in ten are zero, and the others far from it.
    """
    if shape == "skewed":
        return rng.exponential(size=n) - 1
    if shape == "spike":
        return np.where(rng.random(n) < 0.1, np.sqrt(10) * rng.choice([-1, 1], n), 0.0)
    return rng.normal(size=n)


@dataclass(frozen=True, slots=True)
class Schools:
    """``n`` schools of 4 to 40 pupils, with a prior score; or ``n`` counties of six of them."""

    variance: float = 0.15
    county: float | None = None
    shape: Shape = "normal"

    def draw(self, rng: np.random.Generator, n: int) -> World:
        schools = n if self.county is None else 6 * n
        effect = np.sqrt(self.variance) * drawn(rng, schools, self.shape)
        school = np.repeat(np.arange(schools), rng.integers(FEW, MOST + 1, schools))
        before, residual = rng.normal(size=(2, len(school)))
        score = SLOPE * before + effect[school] + residual
        columns = {"school": school, "before": before}
        truth = {BETWEEN: self.variance, WITHIN: 1.0, COEFFICIENT: SLOPE, EFFECTS: effect}
        if self.county is not None:
            columns["county"] = school // 6
            score += np.sqrt(self.county) * rng.normal(size=n)[columns["county"]]
            truth[ABOVE] = self.county
        keys = [name for name in ("school", "county") if name in columns]
        panel = ek.value_added.pupils({**columns, "score": score}, score="score", prior=["before"],
                                      keys=keys, provenance="synthetic")  # fmt: skip
        return World(panel, {name: {"population": value} for name, value in truth.items()})


@dataclass(frozen=True, slots=True)
class Table:
    """``n`` estimates with standard errors from 0.5 to 1.5; their effects have variance one."""

    shape: Shape = "normal"
    spread: float = 1.0

    def draw(self, rng: np.random.Generator, n: int) -> World:
        error = rng.uniform(0.5, 1.5, n)
        effect = self.spread * drawn(rng, n, self.shape)
        known = ek.Known.of(effect + error * rng.normal(size=n), error, labels=np.arange(n),
                            provenance="synthetic")  # fmt: skip
        rank = 1 + (effect > effect[:, None]).sum(axis=1)
        truth = {EFFECTS: effect, RANK: rank, ALL_RANKS: 0.0, BEST: 0.0}
        return World((known, rank), {name: {"population": v} for name, v in truth.items()})


def noisy_prior(rng: np.random.Generator, n: int) -> World:
    """``n`` schools of 20 pupils, whose prior score has a reliability of 0.8.

    Its standard error of measurement differs between pupils, so that its mean square is 0.25.
    """
    school = np.repeat(np.arange(n), 20)
    true = rng.normal(size=len(school))
    csem = np.sqrt(rng.choice([0.1, 0.4], len(school)))
    score = 0.4 * rng.normal(size=n)[school] + rng.normal(size=len(school))
    columns = {"school": school, "before": true + csem * rng.normal(size=len(school)), "csem": csem}
    made = [
        ek.value_added.pupils({**columns, "score": score + slope * true}, score="score",
                              prior=["before"], controls=["csem"], keys=["school"],
                              cluster="school", provenance="synthetic")
        for slope in (SLOPE, 0.0)
    ]  # fmt: skip
    return World(made[0], {COEFFICIENT: {"population": SLOPE}}, made[1])


@dataclass(frozen=True, slots=True)
class Teachers:
    """``n`` teachers in six years, with 20 pupils a year in ``classes`` classes.

    Effects have variance 0.1 and fade by a fifth a year; classes add shocks of variance
    ``shocks``. Teachers change between schools, of which there is one for every four teachers.
    A score of the past has nothing to do with them.
    """

    classes: int = 1
    shocks: float = 0.0

    def draw(self, rng: np.random.Generator, n: int) -> World:
        effect = np.sqrt(0.1) * _serial(rng, n)
        place = np.tile(rng.integers(0, n // 4, n), (YEARS, 1))
        for year in range(1, YEARS):
            moves = rng.random(n) < MOVES
            place[year] = np.where(moves, rng.integers(0, n // 4, n), place[year - 1])
        teacher, year, pupil = (
            grid.ravel() for grid in np.indices((n, YEARS, 20))
        )  # fmt: skip
        room = pupil % self.classes
        shock = np.sqrt(self.shocks) * rng.normal(size=(n, YEARS, self.classes))
        before, past, residual = rng.normal(size=(3, len(teacher)))
        score = SLOPE * before + effect[teacher, year] + shock[teacher, year, room] + residual
        columns = {"teacher": teacher, "year": year, "school": place[year, teacher], "room": room,
                   "pupil": np.arange(len(teacher)), "before": before, "past": past,
                   "score": score}  # fmt: skip
        panel = ek.value_added.pupils(
            columns, score="score", prior=["before"], controls=["past"], pupil="pupil",
            year="year", keys=["teacher", "school", "room"], provenance="synthetic",
        )  # fmt: skip
        truth = {FORECASTS: effect, FORECAST: 1.0, SWITCHERS: 1.0, PAST: 0.0}
        return World(panel, {name: {"population": v} for name, v in truth.items()}, panel)


@dataclass(frozen=True, slots=True)
class Followed:
    """Pupils of schools in six years, and the year in which each school adopts."""

    pupils: ek.Panel
    start: Mapping[int, float | None]


def adopting(rng: np.random.Generator, n: int) -> World:
    """``n`` schools of 4 to 40 pupils a year; half of them adopt a measure in the fifth year.

    School effects have variance 0.1, and those of a school's single year 0.02.
    """
    each = rng.integers(FEW, MOST + 1, n)
    school = np.repeat(np.arange(n), YEARS * each)
    year = np.concatenate([np.repeat(np.arange(YEARS), size) for size in each])
    adopts = rng.permutation(n) < n // 2
    effect = np.sqrt(0.1) * rng.normal(size=n)[:, None] + np.sqrt(0.02) * rng.normal(
        size=(n, YEARS)
    )
    before, residual = rng.normal(size=(2, len(school)))
    score = SLOPE * before + effect[school, year] + residual
    start = {number: START if adopts[number] else None for number in range(n)}
    made = [
        Followed(
            ek.value_added.pupils(
                {"school": school, "year": year, "pupil": np.arange(len(school)), "before": before,
                 "score": score + size * (adopts[school] & (year >= START))},
                score="score", prior=["before"], keys=["school"], pupil="pupil", year="year",
                provenance="synthetic"),
            start,
        )
        for size in (EFFECT, 0.0)
    ]  # fmt: skip
    return World(made[0], {ATT: {"population": EFFECT}}, made[1])


def _serial(rng: np.random.Generator, n: int) -> Array:
    """Stationary effects ``(n, YEARS)`` of variance one."""
    e = rng.normal(size=(n, YEARS))
    for t in range(1, YEARS):
        e[:, t] = LASTS * e[:, t - 1] + np.sqrt(1 - LASTS**2) * e[:, t]
    return e


Draw: TypeAlias = Callable[[np.random.Generator, int], World]
