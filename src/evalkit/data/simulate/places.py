"""Towns and schools of one simulated county: where they lie, what they are, how large they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.core.arrays import Codes, Flags, Matrix, Vector
from evalkit.data.simulate import draws
from evalkit.data.simulate.assumptions import LEVELS, YEARS_OF_LEVEL, Assumptions

STREETS, TOWNS = (3, 8), (5, 12)  # least and most in a county; Shandong has 13 of both on average
SMALLEST = 30  # pupils of a school
GROWTH = (0.01, 0.0, -0.02)  # yearly change of pupils: urban, town, village
NEW_BUILDS = 0.06  # share of urban and town schools that open within the study, from year OLD on
OLD = 3
BOROUGHS = 0.43  # share of counties that are districts: 58 of 136
CITIES = 0.19  # county-level cities: 26 of 136


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Towns ``(J,)`` and schools ``(S,)`` of a county.

    ``stratum`` is 0 urban, 1 town, 2 village; ``junior`` 0 or 1; ``opens`` the first test year;
    ``pupils`` ``(S, T)`` the enrolment by year.
    """

    county: int
    prefecture: int
    kind: int
    streets: int
    distance: Vector
    stratum: Codes
    junior: Codes
    town: Codes
    opens: Codes
    pupils: Matrix

    @property
    def tested(self) -> Codes:
        """Pupils of the tested grade ``(S, T)``, zero before a school opens."""
        length = np.array([YEARS_OF_LEVEL[level] for level in LEVELS])[self.junior]
        tested: Codes = np.rint(self.pupils / length[:, None]).astype(np.intp)
        return tested

    @property
    def open(self) -> Flags:
        """Whether each school is open ``(S, T)``."""
        return self.pupils > 0


def prefecture_of(a: Assumptions, county: int) -> int:
    """Counties are numbered prefecture by prefecture, from 1; prefectures differ in size."""
    size = 1.0 + draws.uniform(a.seed, "size of prefecture", np.arange(a.prefectures))
    edges = np.cumsum(size) / size.sum()
    return int(np.searchsorted(edges, (county - 0.5) / a.counties)) + 1


def places(a: Assumptions, county: int) -> Places:
    """Lay out one county.

    Schools of each level and stratum come in the numbers that the shares and sizes imply.
    """
    s = np.arange(a.schools)
    sizes = np.array([a.pupils_primary, a.pupils_junior])
    shares = np.array([a.share_primary, a.share_junior]) / sizes
    shares *= (np.array([1 - a.junior_schools, a.junior_schools]) / shares.sum(axis=1))[:, None]
    at = (s + draws.uniform(a.seed, "first school", county)) / a.schools
    kind = np.minimum(np.searchsorted(np.cumsum(shares.ravel()), at, side="right"), 5)
    junior, stratum = np.divmod(kind, 3)
    n_streets, n_towns = (
        low + int((high - low + 1) * float(draws.uniform(a.seed, name, county)))
        for name, (low, high) in (("streets", STREETS), ("towns", TOWNS))
    )
    town = np.where(
        stratum == 0,
        (draws.uniform(a.seed, "street of school", county, s) * n_streets).astype(np.intp),
        n_streets + (draws.uniform(a.seed, "town of school", county, s) * n_towns).astype(np.intp),
    )
    seats = np.flatnonzero(stratum == 1)
    town[seats] = n_streets + np.arange(len(seats)) % n_towns  # each town has a seat school first
    years = np.array(a.years)
    size = draws.gamma(a.seed, "size", county, s, mean=sizes[junior, stratum], spread=a.size_spread)
    moves = draws.normal(a.seed, "pupils", county, s[:, None], years)
    growth = np.array(GROWTH)[stratum, None] * (years - a.first)
    pupils = np.maximum(np.rint(size[:, None] * np.exp(growth + 0.02 * moves)), SMALLEST)
    new = (stratum < 2) & (draws.uniform(a.seed, "new build", county, s) < NEW_BUILDS)
    span = draws.uniform(a.seed, "opening", county, s) * (len(years) - 1 - OLD)
    opens = np.where(new & (len(years) > OLD), a.first + OLD + span.astype(np.intp), a.first)
    distance = 3.0 + 40.0 * draws.uniform(a.seed, "distance", county, np.arange(n_towns))
    drawn = float(draws.uniform(a.seed, "kind of county", county))
    return Places(
        county=county,
        prefecture=prefecture_of(a, county),
        kind=0 if drawn < BOROUGHS else 1 if drawn < BOROUGHS + CITIES else 2,
        streets=n_streets,
        distance=np.concatenate([np.zeros(n_streets), np.round(distance, 1)]),
        stratum=stratum.astype(np.intp),
        junior=junior.astype(np.intp),
        town=town.astype(np.intp),
        opens=opens.astype(np.intp),
        pupils=np.where(years >= opens[:, None], pupils, 0.0),
    )
