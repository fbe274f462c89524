"""The county study drawn again with another seed, cheaply: mean scores of schools, without pupils.

Places, calendars, choices and effects are those of ``evalkit.simulate``. A school's mean has the
error that so many pupils and classes give it; marks are not rounded, and tests have one scale.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
from scipy.special import ndtr

from evalkit.data.simulate import Assumptions
from evalkit.data.simulate.assumptions import LEVELS, SUBJECTS
from evalkit.data.simulate.calendar import calendar
from evalkit.data.simulate.effects import FLOOR, effects, starts
from evalkit.data.simulate.places import Places, places
from evalkit.data.simulate.pupils import ALIKE, OF_CLASS, OFFSET, composition, leaving
from evalkit.data.simulate.resources import standard
from evalkit.data.simulate.tables import REVIEW

Array: TypeAlias = np.ndarray[Any, Any]


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
    """One county; see ``evalkit.data.simulate.county`` for the same with pupils."""
    p, rng = places(a, number), np.random.default_rng([a.seed, number])
    level, prior, score = _scores(a, p, rng)
    nobody = composition(a, p, leaving(a, p, np.full(a.schools, np.inf)))
    past = np.where(p.open, score.mean(axis=2) + a.persistence * nobody, np.nan)
    c = calendar(a, p, past)
    stays = leaving(a, p, np.where(p.stratum > 0, c.pilot[p.town], np.inf))
    shift = composition(a, p, stays)
    low = ndtr(-(level[:, None] + shift) / (a.pupil_sd * np.sqrt((1 + ALIKE) / 2)))
    weight = 1 + a.tilt * (2 * low - 1)
    begun = starts(a, p, c)
    made = {name: weight * size for name, size in effects(a, p, begun).items()}
    score = score + (a.persistence * shift + sum(made.values()))[:, :, None]
    blur = np.sqrt(1 / a.reliability - 1) / np.sqrt(np.maximum(p.tested, 1))
    prior = prior + shift[:, :, None] + blur[:, :, None] * rng.normal(size=prior.shape)
    closed = ~p.open
    score[closed], prior[closed] = np.nan, np.nan
    everybody, years = np.ones(a.schools), np.array(a.years)
    return Schools(
        county=np.full(a.schools, number),
        stratum=p.stratum,
        junior=p.junior,
        money=everybody * c.money,
        creation=everybody * c.creation,
        pupils=p.pupils,
        tested=p.tested.astype(float),
        member=(years >= begun["group_member"][:, None]).astype(float),
        spending=_spending(a, p, c.money, rng),
        funding=made["funding"],
        score=score,
        prior=prior,
        stage=np.tile(_stages(a, p, score, c.creation), (a.schools, 1)),
    )


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
