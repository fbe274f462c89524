"""Pupils of one simulated county and their scores if no measure had been taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.core.arrays import Codes, Matrix, Vector
from evalkit.data.simulate import draws
from evalkit.data.simulate.assumptions import SUBJECTS, Assumptions
from evalkit.data.simulate.places import Places

OF_CLASS = 45  # pupils of a class at most
ALIKE = 0.8  # share of the variance of prior scores that the two subjects have in common
OFFSET = (0.5, 0.0, -0.5)  # strata around the middle one, in gaps


@dataclass(frozen=True, slots=True, eq=False)
class Pupils:
    """The tested pupils ``(n,)`` of a county, sorted by school and year; subjects are columns.

    ``school`` and ``year`` are positions; ``number`` counts within school and year; ``prior`` and
    ``score`` ``(n, 2)`` are latent, in standard deviations.
    """

    school: Codes
    year: Codes
    number: Codes
    prior: Matrix
    score: Matrix


def pupils(a: Assumptions, p: Places) -> Pupils:
    """Draw the pupils of a county and their latent scores without any measure.

    ``score = persistence * prior + value-added + class + noise``; nobody has left yet.
    """
    tested = p.tested
    school, year = np.nonzero(tested)
    n = tested[school, year]
    cell = np.repeat(np.arange(len(n)), n)
    number = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
    s, t = school[cell], year[cell]
    t_code = t + a.first
    intake = a.intake_sd * draws.normal(a.seed, "intake", p.county, np.arange(a.schools))
    stratum = np.array(OFFSET)[p.stratum] * a.gap / a.persistence
    county = a.county_sd * float(draws.normal(a.seed, "county", p.county))
    level = (county + intake + stratum)[s]
    both = draws.normal(a.seed, "pupil", p.county, s, t_code, number)
    added = value_added(a, p)
    prior, score = np.empty((len(s), 2)), np.empty((len(s), 2))
    for j, subject in enumerate(SUBJECTS):
        own = draws.normal(a.seed, f"pupil in {subject}", p.county, s, t_code, number)
        mixed = np.sqrt(ALIKE) * both + np.sqrt(1 - ALIKE) * own
        prior[:, j] = level + a.noise * a.pupil_sd * mixed
        room = draws.normal(a.seed, f"class in {subject}", p.county, s, t_code, number // OF_CLASS)
        noise = draws.normal(a.seed, f"noise in {subject}", p.county, s, t_code, number)
        score[:, j] = (
            a.persistence * prior[:, j]
            + added[s, t, j]
            + a.class_sd * room
            + a.noise * a.noise_sd * noise
            + a.rural_trend * (p.stratum == 2)[s] * t
        )
    return Pupils(s, t, number, prior, score)


def value_added(a: Assumptions, p: Places) -> Matrix:
    """Value-added of schools ``(S, T, 2)``: stationary, correlated ``drift`` from year to year."""
    s, years = np.arange(a.schools), list(a.years)
    out = np.empty((a.schools, len(years), len(SUBJECTS)))
    fresh = np.sqrt(1 - a.drift**2)
    paths = []
    for part in ("in common", *SUBJECTS):
        path = [draws.normal(a.seed, f"value-added {part}", p.county, s, years[0])]
        for year in years[1:]:
            shock = draws.normal(a.seed, f"value-added {part}", p.county, s, year)
            path.append(a.drift * path[-1] + fresh * shock)
        paths.append(np.stack(path, axis=1))
    for j in range(len(SUBJECTS)):
        mixed = np.sqrt(a.common) * paths[0] + np.sqrt(1 - a.common) * paths[1 + j]
        out[:, :, j] = a.value_added_sd * mixed
    return out


def cell_means(a: Assumptions, found: Pupils, values: Vector) -> Matrix:
    """Mean of pupils' values by school and year ``(S, T)``, NaN without pupils."""
    shape = (a.schools, len(a.years))
    cell = found.school * shape[1] + found.year
    size = shape[0] * shape[1]
    n = np.bincount(cell, minlength=size)
    total = np.bincount(cell, values, minlength=size)
    mean = np.divide(total, n, out=np.full(size, np.nan), where=n > 0)
    return np.asarray(mean.reshape(shape))


def leaving(a: Assumptions, p: Places, pilot: Vector) -> Matrix:
    """Share of a school's local children who attend it ``(S, T)``.

    It falls in town and village schools until the first test year ``pilot`` ``(S,)`` of a pilot,
    which adds ``retained`` a year from then on.
    """
    years = np.array(a.years, float)
    falling = np.where(p.stratum == 0, 0.0, a.leaving)[:, None] * (years - a.first)
    back = a.retained * np.clip(years - pilot[:, None] + 1, 0, None)
    share = np.array(a.stays)[p.stratum, None] - falling + back
    return np.asarray(np.clip(share, 0.0, 1.0))


def composition(a: Assumptions, p: Places, stays: Matrix) -> Matrix:
    """What leaving does to the mean prior score of those who stay ``(S, T)``.

    If a share leaves whose prior lies ``leaver_prior`` above the rest, the mean of all falls by
    that times the share; the share of the first year is part of the intake.
    """
    return np.asarray(a.leaver_prior * (stays - np.array(a.stays)[p.stratum, None]))
