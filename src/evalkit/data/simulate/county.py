"""One simulated county put together: places, pupils, calendar, effects and the scores they give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.core.arrays import Flags, Matrix, Vector
from evalkit.data.simulate import draws
from evalkit.data.simulate.assumptions import GRADE, LEVELS, PRIOR, SUBJECTS, Assumptions
from evalkit.data.simulate.calendar import Calendar, calendar
from evalkit.data.simulate.effects import effects, starts
from evalkit.data.simulate.places import Places, places
from evalkit.data.simulate.pupils import Pupils, cell_means, composition, leaving, pupils

LOCATION, SCALE = 64.0, 11.5  # marks of a test, before it is made easier or harder in a year
HARDER, WIDER = 3.0, 0.08  # how much the yearly tests differ (ours)


@dataclass(frozen=True, slots=True, eq=False)
class County:
    """A county with its truth: what each measure does to each school, and what pupils scored.

    ``untreated`` and ``treated`` ``(n, 2)`` are latent scores of pupils, ``low`` ``(n,)`` marks
    those below the mean prior score, ``stays`` and ``stays_untreated`` ``(S, T)`` are the shares of
    local children who attend.
    """

    assumptions: Assumptions
    places: Places
    pupils: Pupils
    calendar: Calendar
    begun: dict[str, Vector]
    effects: dict[str, Matrix]
    stays: Matrix
    stays_untreated: Matrix
    prior: Matrix
    low: Flags
    untreated: Matrix
    treated: Matrix

    def multiplier(self) -> Vector:
        """Effect on a pupil relative to one at the mean prior score ``(n,)``."""
        tilt = self.assumptions.tilt
        return np.where(self.low, 1.0 + tilt, 1.0 - tilt)


def county(a: Assumptions, number: int) -> County:
    """Simulate county ``number``, counted from 1; no other county is needed for it."""
    p = places(a, number)
    made = pupils(a, p)
    nobody = leaving(a, p, np.full(a.schools, np.inf))
    drift = composition(a, p, nobody)
    past = cell_means(a, made, made.score.mean(axis=1)) + a.persistence * drift
    c = calendar(a, p, past)
    begun = starts(a, p, c)
    sizes = effects(a, p, begun)
    stays = leaving(a, p, np.where(p.stratum > 0, c.pilot[p.town], np.inf))
    shift = composition(a, p, stays)[made.school, made.year][:, None]
    prior = made.prior + shift
    untreated = made.score + a.persistence * shift
    low = prior.mean(axis=1) < 0.0
    multiplier = np.where(low, 1.0 + a.tilt, 1.0 - a.tilt)
    total = sum(sizes.values(), np.zeros((a.schools, len(a.years))))
    effect = total[made.school, made.year] * multiplier
    return County(
        assumptions=a,
        places=p,
        pupils=made,
        calendar=c,
        begun=begun,
        effects=sizes,
        stays=stays,
        stays_untreated=nobody,
        prior=prior,
        low=low,
        untreated=untreated,
        treated=untreated + effect[:, None],
    )


def scale(a: Assumptions, junior: int, subject: int, year: int) -> tuple[float, float]:
    """Location and scale of a test in marks; each level, subject and year has its own test."""
    ids = (junior, subject, year)
    location = LOCATION + HARDER * float(draws.normal(a.seed, "difficulty", *ids))
    return location, SCALE * float(np.exp(WIDER * draws.normal(a.seed, "width", *ids)))


def marks(found: County) -> tuple[Matrix, Matrix]:
    """Marks of the test and of the prior test ``(n, 2)``: whole half points from 0 to 100."""
    a, p, who = found.assumptions, found.places, found.pupils
    score, earlier = np.empty_like(found.treated), np.empty_like(found.treated)
    years = np.array(a.years)
    for j, subject in enumerate(SUBJECTS):
        now = np.array([[scale(a, level, j, year) for year in years] for level in (0, 1)])
        then = np.array(
            [[scale(a, level + 2, j, year - PRIOR) for year in years] for level in (0, 1)]
        )
        junior = p.junior[who.school]
        here, before = now[junior, who.year], then[junior, who.year]
        ids = (p.county, who.school, who.year + a.first, who.number)
        blur = np.sqrt(1.0 / a.reliability - 1.0) * draws.normal(a.seed, f"prior {subject}", *ids)
        score[:, j] = here[:, 0] + here[:, 1] * found.treated[:, j]
        earlier[:, j] = before[:, 0] + before[:, 1] * (found.prior[:, j] + blur)
    return _half_points(score), _half_points(earlier)


def _half_points(values: Matrix) -> Matrix:
    return np.asarray(np.clip(np.rint(2.0 * values) / 2.0, 0.0, 100.0))


def grades(found: County) -> Vector:
    """Tested grade of each school ``(S,)``."""
    return np.array([GRADE[level] for level in LEVELS])[found.places.junior]
