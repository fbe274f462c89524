"""County studies drawn again at the level of schools, which takes a third of a second.

Places, calendars, picks and effects are those of `evalkit.simulate`; of the pupils enters only what
their number does to a school's mean.

Scores are in standard deviations of pupils, so that tests and marks do not enter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from scipy.special import ndtr

from evalkit.data.simulate import draws
from evalkit.data.simulate.assumptions import STRATA, SUBJECTS, Assumptions
from evalkit.data.simulate.calendar import Calendar, calendar
from evalkit.data.simulate.effects import effects, starts
from evalkit.data.simulate.places import Places, places
from evalkit.data.simulate.pupils import ALIKE, OF_CLASS, OFFSET, composition, leaving

Array: TypeAlias = np.ndarray[Any, Any]

BOTH = len(SUBJECTS)
NOBODY = np.inf  # first test year of a pilot that never comes


@dataclass(frozen=True, slots=True, eq=False)
class Schools:
    """One county ``(S, T)``: scores and prior scores without any measure, and what measures add.

    ``moved`` is what a pilot does to the prior score by keeping pupils who would have left.
    """

    places: Places
    calendar: Calendar
    untreated: Array
    prior: Array
    moved: Array
    effects: dict[str, Array]


def county(a: Assumptions, number: int) -> Schools:
    """Draw one county, counted from 1; subjects are averaged."""
    p, shape = places(a, number), (a.schools, len(a.years))
    rng = np.random.default_rng([a.seed, number])
    n = np.maximum(p.tested, 1)
    kept = np.sqrt(ALIKE + (1 - ALIKE) / BOTH)  # what averaging leaves of the pupils' spread
    nobody = composition(a, p, leaving(a, p, np.full(a.schools, NOBODY)))
    level = (
        a.county_sd * float(draws.normal(a.seed, "county", number))
        + a.intake_sd * rng.normal(size=(a.schools, 1))
        + np.array(OFFSET)[p.stratum, None] * a.gap / a.persistence
    )
    prior = level + nobody + a.pupil_sd * kept * rng.normal(size=shape) / np.sqrt(n)
    added = rng.normal(size=shape)
    for t in range(1, shape[1]):
        added[:, t] = a.drift * added[:, t - 1] + np.sqrt(1 - a.drift**2) * added[:, t]
    added *= a.value_added_sd * np.sqrt(a.common + (1 - a.common) / BOTH)
    rest = a.noise_sd**2 / n + a.class_sd**2 / np.ceil(n / OF_CLASS)
    untreated = a.persistence * prior + added + np.sqrt(rest / BOTH) * rng.normal(size=shape)
    c = calendar(a, p, np.where(p.open, untreated, np.nan))
    pilot = np.where(p.stratum > 0, c.pilot[p.town], NOBODY)
    moved = composition(a, p, leaving(a, p, pilot)) - nobody
    low = ndtr(-(prior + moved) / (a.pupil_sd * kept))
    multiplier = 1.0 + a.tilt * (2.0 * low - 1.0)
    size = {name: one * multiplier for name, one in effects(a, p, starts(a, p, c)).items()}
    blur = np.sqrt((1 / a.reliability - 1) / BOTH / n) * rng.normal(size=shape)
    return Schools(p, c, untreated, prior + blur, moved, size)


def study(a: Assumptions) -> pd.DataFrame:
    """Draw every county: one row per school and year, of the schools that are open throughout.

    ``score`` and ``progress`` as :func:`evalkit.data.county.scores.school_scores` gives them, and
    the same with ``_0`` where no measure does anything; ``first``, test year of the town's pilot;
    ``joined`` and ``role`` in the group, ``begun`` of its county's first group; ``effect_`` of each
    measure.
    """
    parts = [_columns(a, county(a, k + 1)) for k in range(a.counties)]
    return pd.DataFrame({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def _columns(a: Assumptions, found: Schools) -> dict[str, Array]:
    p, c = found.places, found.calendar
    kept = np.flatnonzero(p.opens == a.first)
    times = len(a.years)
    score = found.untreated + a.persistence * found.moved + sum(found.effects.values())
    prior = found.prior + found.moved
    units = {
        "school": 1000 * p.county + np.arange(a.schools),
        "county": np.full(a.schools, p.county),
        "town": 1000 * p.county + p.town,
        "stratum": np.array(STRATA)[p.stratum],
        "role": c.role,
        "joined": c.joined,
        "begun": np.full(a.schools, c.joined.min()),
        "first": c.pilot[p.town],
    }
    rows = {
        "score": score,
        "progress": score - a.persistence * prior,
        "score_0": found.untreated,
        "progress_0": found.untreated - a.persistence * found.prior,
        **{f"effect_{name}": size for name, size in found.effects.items()},
    }
    return {
        "year": np.tile(np.array(a.years), len(kept)),
        **{name: np.repeat(values[kept], times) for name, values in units.items()},
        **{name: values[kept].ravel() for name, values in rows.items()},
    }
