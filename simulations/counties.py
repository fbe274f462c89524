"""The county study drawn again with another seed, cheaply: mean scores of schools, without pupils.

Places, calendars, choices and effects are those of ``evalkit.simulate``. A school's mean has the
error that so many pupils and classes give it; marks are not rounded, and tests have one scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from scipy.special import ndtr

from evalkit.data.simulate import Assumptions
from evalkit.data.simulate.assumptions import LEVELS, STRATA, SUBJECTS
from evalkit.data.simulate.calendar import Calendar, calendar
from evalkit.data.simulate.effects import FLOOR, effects, starts
from evalkit.data.simulate.places import Places, places
from evalkit.data.simulate.pupils import ALIKE, OF_CLASS, OFFSET, composition, leaving
from evalkit.data.simulate.resources import standard
from evalkit.data.simulate.tables import REVIEW

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, eq=False)
class County:
    """One county: scores and prior scores ``(S, T, 2)`` by subject, and what measures do to them.

    ``untreated`` is the score without any measure; ``moved`` ``(S, T)`` what a pilot does to the
    prior score by keeping pupils who would have left; ``effects`` what each measure adds to the
    score, ``score`` their sum. What is of a closed school is NaN.
    """

    places: Places
    calendar: Calendar
    begun: Mapping[str, Array]
    untreated: Array
    score: Array
    prior: Array
    moved: Array
    effects: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Schools:
    """Schools ``(S,)`` in test years ``(T,)``; what is of a closed school is NaN.

    ``county`` from 1, ``stratum``, ``junior``; ``money``, ``creation``, ``joined``: first test year
    of the county's funding and creation and of the school's membership in a group; ``pupils``,
    ``tested``, ``member``, ``spending`` (1000 yuan per pupil), ``funding`` (its effect) ``(S, T)``;
    ``score``, ``prior`` ``(S, T, 2)`` mean scores in SD of pupils, by subject; ``stage`` ``(S, T)``
    of the county's certification.
    """

    county: Array
    stratum: Array
    junior: Array
    money: Array
    creation: Array
    pupils: Array
    tested: Array
    member: Array
    spending: Array
    funding: Array
    score: Array
    prior: Array
    stage: Array


def study(a: Assumptions) -> Schools:
    """Every county of a study."""
    parts = [county(a, number) for number in range(1, a.counties + 1)]
    return Schools(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Schools)))


def county(a: Assumptions, number: int) -> Schools:
    """One county, by school and test year."""
    rng = np.random.default_rng([a.seed, number])
    c = drawn(a, number, rng)
    p, everybody = c.places, np.ones(a.schools)
    return Schools(
        county=np.full(a.schools, number),
        stratum=p.stratum,
        junior=p.junior,
        money=everybody * c.calendar.money,
        creation=everybody * c.calendar.creation,
        pupils=p.pupils,
        tested=p.tested.astype(float),
        member=(np.array(a.years) >= c.begun["group_member"][:, None]).astype(float),
        spending=_spending(a, p, c.calendar.money, rng),
        funding=c.effects["funding"],
        score=c.score,
        prior=c.prior,
        stage=np.tile(_stages(a, p, c.score, c.calendar.creation), (a.schools, 1)),
    )


def drawn(a: Assumptions, number: int, rng: np.random.Generator) -> County:
    """One county, counted from 1; see ``evalkit.data.simulate.county`` for the same with pupils."""
    p = places(a, number)
    level, prior, score = _scores(a, p, rng)
    nobody = composition(a, p, leaving(a, p, np.full(a.schools, np.inf)))
    untreated = score + a.persistence * nobody[:, :, None]
    c = calendar(a, p, np.where(p.open, untreated.mean(axis=2), np.nan))
    shift = composition(a, p, leaving(a, p, np.where(p.stratum > 0, c.pilot[p.town], np.inf)))
    moved, begun = shift - nobody, starts(a, p, c)
    low = ndtr(-(level[:, None] + shift) / (a.pupil_sd * np.sqrt((1 + ALIKE) / 2)))
    weight = 1 + a.tilt * (2 * low - 1)
    added = {name: weight * size for name, size in effects(a, p, begun).items()}
    score = untreated + (a.persistence * moved + sum(added.values()))[:, :, None]
    blur = np.sqrt(1 / a.reliability - 1) / np.sqrt(np.maximum(p.tested, 1))
    prior = prior + shift[:, :, None] + blur[:, :, None] * rng.normal(size=prior.shape)
    for values in (untreated, score, prior):
        values[~p.open] = np.nan
    return County(p, c, begun, untreated, score, prior, moved, added)


def frame(a: Assumptions) -> pd.DataFrame:
    """Every county of a study: one row per school and year, of the schools open throughout.

    ``score`` and ``progress`` as :func:`evalkit.data.county.scores.school_scores` gives them, and
    the same with ``_0`` where no measure does anything; subjects are averaged. ``first``: test year
    of the town's pilot; ``joined`` and ``role`` in the group, ``begun`` of its county's first
    group; ``managed``: test year of county management; ``tested`` pupils; ``effect_`` of each
    measure.
    """
    parts = [
        _columns(a, drawn(a, number, np.random.default_rng([a.seed, number])))
        for number in range(1, a.counties + 1)
    ]
    return pd.DataFrame({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def _columns(a: Assumptions, found: County) -> dict[str, Array]:
    p, c = found.places, found.calendar
    kept, times = np.flatnonzero(p.opens == a.first), len(a.years)
    score, untreated, prior = (
        values.mean(axis=2) for values in (found.score, found.untreated, found.prior)
    )
    units = {
        "school": 1000 * p.county + np.arange(a.schools),
        "county": np.full(a.schools, p.county),
        "town": 1000 * p.county + p.town,
        "stratum": np.array(STRATA)[p.stratum],
        "role": c.role,
        "joined": c.joined,
        "begun": np.full(a.schools, c.joined.min()),
        "first": c.pilot[p.town],
        "managed": np.full(a.schools, c.managed),
    }
    rows = {
        "tested": p.tested.astype(float),
        "score": score,
        "progress": score - a.persistence * prior,
        "score_0": untreated,
        "progress_0": untreated - a.persistence * (prior - found.moved),
        **{f"effect_{name}": size for name, size in found.effects.items()},
    }
    return {
        "year": np.tile(np.array(a.years), len(kept)),
        **{name: np.repeat(values[kept], times) for name, values in units.items()},
        **{name: values[kept].ravel() for name, values in rows.items()},
    }


def _scores(a: Assumptions, p: Places, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Level of each school ``(S,)``; mean prior and score ``(S, T, 2)`` if nobody has left."""
    shape = (a.schools, len(a.years), len(SUBJECTS))
    level = (
        a.county_sd * rng.normal()
        + a.intake_sd * rng.normal(size=a.schools)
        + np.array(OFFSET)[p.stratum] * a.gap / a.persistence
    )
    n = np.maximum(p.tested, 1)[:, :, None]
    own, room, noise = rng.normal(size=(3, *shape))
    both = rng.normal(size=(*shape[:2], 1))
    pupil = a.pupil_sd * (np.sqrt(ALIKE) * both + np.sqrt(1 - ALIKE) * own) / np.sqrt(n)
    prior = level[:, None, None] + a.noise * pupil
    score = a.persistence * prior + _value_added(a, rng)
    score += a.class_sd * room / np.sqrt(np.ceil(n / OF_CLASS))
    return level, prior, score + a.noise * a.noise_sd * noise / np.sqrt(n)


def _value_added(a: Assumptions, rng: np.random.Generator) -> Array:
    """Value-added of schools ``(S, T, 2)``: stationary, correlated ``drift`` from year to year."""
    path = rng.normal(size=(1 + len(SUBJECTS), a.schools, len(a.years)))
    for t in range(1, len(a.years)):
        path[:, :, t] = a.drift * path[:, :, t - 1] + np.sqrt(1 - a.drift**2) * path[:, :, t]
    mixed = np.sqrt(a.common) * path[:1] + np.sqrt(1 - a.common) * path[1:]
    return np.asarray(a.value_added_sd * np.moveaxis(mixed, 0, -1))


def _spending(a: Assumptions, p: Places, money: float, rng: np.random.Generator) -> Array:
    """Public-use spending ``(S, T)`` in 1000 yuan per pupil, with the noise of school accounts."""
    before = np.stack([standard(a, np.inf, level) for level in LEVELS])[p.junior]
    rise = np.stack([standard(a, money, level) for level in LEVELS])[p.junior] - before
    funded = np.maximum(p.pupils, FLOOR) / np.maximum(p.pupils, 1.0)
    blur = np.exp(0.05 * rng.normal(size=(a.schools, 1)) + 0.03 * rng.normal(size=funded.shape))
    return np.asarray(funded * (before + a.pass_through * rise) * blur / 1000.0)


def rate(a: Assumptions, junior: Array, tested: Array, score: Array) -> Array:
    """Between-school share of the variance of primary mathematics by year ``(T,)``."""
    within = a.noise**2 * (a.persistence**2 * a.pupil_sd**2 + a.noise_sd**2) + a.class_sd**2
    n = np.where((junior == 0)[:, None], tested, 0.0)
    mean = np.where(n > 0, score[:, :, SUBJECTS.index("math")], 0.0)
    share = n / n.sum(axis=0)
    between = (share * (mean - (share * mean).sum(axis=0)) ** 2).sum(axis=0)
    return np.asarray(between / (between + within))


def _stages(a: Assumptions, p: Places, score: Array, start: float) -> Array:
    """As ``resources.stages``: recognition waits for a low difference rate."""
    years = np.array(a.years, float)
    stage = (years >= start).astype(float) + (years >= start + REVIEW)
    low = rate(a, p.junior, p.tested.astype(float), score) < a.recognition
    passed = (years >= start + REVIEW + 1) & low
    return np.where(np.maximum.accumulate(passed), 3.0, stage)
