"""What the simulated study assumes: sizes, spreads, calendars and every true effect, by name.

Each number is either taken from a published figure, which its comment names, or is ours. None was
estimated from outcomes of a Chinese county. A reader changes them with ``dataclasses.replace``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

Waves: TypeAlias = tuple[tuple[float, float], ...]
"""First test year under a measure (``inf``: never) and the share of counties that start then."""

NEVER = math.inf
STRATA = ("urban", "town", "rural")
LEVELS = ("primary", "junior")
SUBJECTS = ("chinese", "math")
GRADE = {"primary": 6, "junior": 9}
YEARS_OF_LEVEL = {"primary": 6, "junior": 3}
PRIOR = 3  # years between the prior test and the test


@dataclass(frozen=True, slots=True)
class Assumptions:
    """The truth behind a simulated study. Effects are in standard deviations of pupils' scores.

    Attributes
    ----------
    seed, counties, prefectures, schools, first, last : int
        Seed; counties (136 and 16 as in Shandong's division list of 2023); schools in a county (71
        is the national mean, from the 2022 bulletin); first and last test year.
    pupils_primary, pupils_junior : tuple of float
        Mean pupils of a school: urban, town, village (report on rural education, 2016).
    share_primary, share_junior : tuple of float
        Share of pupils: urban, town, village (same report; its junior shares sum to 0.99, and the
        rest is given to the towns).
    size_spread : float
        Coefficient of variation of school size within a stratum (ours).
    junior_schools : float
        Share of schools that are junior (52,500 of 201,600 in 2022).
    icc : float
        Between-school share of the variance of scores within a county (one published region).
    gap : float
        Urban minus village mean score (0.37 to 0.41 in CEPS, Zhao et al. 2017).
    county_sd : float
        Standard deviation of county means (ours).
    value_added_sd, drift, common : float
        Schools' value-added, its correlation from year to year, and the share of its variance that
        the subjects have in common (ours; published stabilities run from near 0 to 0.6).
    persistence, reliability : float
        Of the prior score: its part in the score, and that of its own variance which is no error.
        Persistence squared times reliability is the share of variance that the prior score
        explains (0.78 in one published region).
    class_sd : float
        Classes within a school and year (ours).
    noise : float
        Scale of all that pupils draw; 0 is a world without chance.
    member, lead, neighbour : float
        Group schooling: member schools, lead schools, other schools of a town with a member.
    build_up : int
        Years after the first until an effect of group schooling or of a pilot is full.
    funding : float
        Per 1000 yuan of public-use spending per pupil and year.
    pass_through : float
        Part of a rise of the standard that becomes spending.
    seat, village : float
        Township pilot: schools at the town seat, other schools of the town.
    managed, rotation, creation : float
        County management of teachers, teacher exchange, creation of quality balance.
    urban_part, rural_part : float
        Effects of county management and exchange in urban and village schools, as multiples.
    exchange, exchange_added, transfers : float
        Share of a county's teachers who change schools in a year: by exchange before county
        management, what management adds to it (together the 6.5 percent of the documents), and
        otherwise (both ours). Scores do not depend on who moved.
    turnover : float
        Share of teachers who leave in a year, besides those at the end of their career (ours).
    subject_staff : float
        Share of teachers who teach the two tested subjects; they alone are recorded (ours).
    satisfied : float
        Share of answers in a survey that are satisfied, whatever is done (the 85 percent asked for
        by the standard of 2017).
    tilt : float
        An effect is ``1 + tilt`` times as large for a pupil below the mean prior score, and
        ``1 - tilt`` times above it.
    stays : tuple of float
        Share of a school's local children who attend it in the first year: urban, town, village.
    leaving : float
        Yearly fall of that share in town and village schools, until a pilot stops it.
    retained : float
        What the pilot adds to that share each year.
    leaver_prior : float
        How far the prior scores of those who leave lie above the rest.
    rural_trend : float
        Yearly change of village schools' scores, a violation of parallel trends.
    select_on_past : bool
        Members and pilots are chosen on the last score before the start; False: at random.
    groups, bundle, money, teachers, certificates : tuple
        Calendars: group schooling; both group schooling and funding where a prefecture bundles
        them; funding; county management together with exchange; creation.
    bundled : float
        Share of prefectures in which group schooling and funding share their start.
    together : float
        Share of prefectures whose counties all begin creation in the same year.
    provincial : float
        Share of counties with a provincial pilot town, which the city pilot then leaves out.
    pilots : float
        Share of prefectures with a city pilot.
    province_start, pilot_start : int
        First test years of the provincial and the city pilots.
    recognition : float
        Between-school share of variance below which a county is recognised.
    dated : float
        Share of events whose start is known to the day.
    """

    seed: int = 20260101
    counties: int = 136
    prefectures: int = 16
    schools: int = 71
    first: int = 2012
    last: int = 2024
    pupils_primary: tuple[float, float, float] = (1228.0, 842.0, 272.0)
    pupils_junior: tuple[float, float, float] = (1252.0, 905.0, 412.0)
    share_primary: tuple[float, float, float] = (0.33, 0.38, 0.29)
    share_junior: tuple[float, float, float] = (0.34, 0.51, 0.15)
    size_spread: float = 0.45
    junior_schools: float = 0.26
    icc: float = 0.20
    gap: float = 0.39
    county_sd: float = 0.15
    value_added_sd: float = 0.12
    drift: float = 0.6
    common: float = 0.7
    persistence: float = 0.92
    reliability: float = 0.92
    class_sd: float = 0.08
    noise: float = 1.0
    member: float = 0.06
    lead: float = -0.01
    neighbour: float = 0.01
    build_up: int = 2
    funding: float = 0.01
    pass_through: float = 0.8
    seat: float = 0.05
    village: float = 0.02
    managed: float = 0.03
    rotation: float = 0.01
    creation: float = 0.0
    urban_part: float = 0.5
    rural_part: float = 1.5
    exchange: float = 0.02
    exchange_added: float = 0.045
    transfers: float = 0.02
    turnover: float = 0.02
    subject_staff: float = 0.33
    satisfied: float = 0.85
    tilt: float = 0.25
    stays: tuple[float, float, float] = (0.98, 0.92, 0.90)
    leaving: float = 0.01
    retained: float = 0.01
    leaver_prior: float = 0.4
    rural_trend: float = 0.0
    select_on_past: bool = True
    groups: Waves = (
        (2016, 0.1), (2017, 0.1), (2018, 0.15), (2019, 0.15), (2020, 0.1), (2021, 0.1), (NEVER, 0.3)
    )  # fmt: skip
    bundle: Waves = ((2017, 0.15), (2018, 0.2), (2019, 0.2), (2020, 0.2), (NEVER, 0.25))
    money: Waves = (
        (2018, 0.1), (2019, 0.15), (2020, 0.15), (2021, 0.15), (2022, 0.1), (2023, 0.1),
        (NEVER, 0.25),
    )  # fmt: skip
    teachers: Waves = (
        (2016, 0.14), (2018, 0.22), (2020, 0.15), (2021, 0.15), (2022, 0.14), (NEVER, 0.2)
    )  # fmt: skip
    certificates: Waves = (
        (2018, 0.15), (2019, 0.2), (2020, 0.2), (2021, 0.15), (2022, 0.1), (NEVER, 0.2)
    )  # fmt: skip
    bundled: float = 0.5
    together: float = 0.3
    provincial: float = 0.2
    pilots: float = 0.6
    province_start: int = 2021
    pilot_start: int = 2022
    recognition: float = 0.15
    dated: float = 0.8

    @property
    def years(self) -> range:
        """The test years."""
        return range(self.first, self.last + 1)

    @property
    def intake_sd(self) -> float:
        """Schools' mean prior within a stratum, such that the between-school share is ``icc``."""
        strata = self.gap**2 * 0.155  # variance of strata one gap apart, at 33, 38 and 29 percent
        between = (self.icc - self.value_added_sd**2 - strata) / self.persistence**2
        return math.sqrt(max(between, 0.0))

    @property
    def pupil_sd(self) -> float:
        """Pupils' prior scores within a school."""
        between = self.intake_sd**2 + (self.gap / self.persistence) ** 2 * 0.155
        return math.sqrt(1.0 - between)

    @property
    def noise_sd(self) -> float:
        """What neither the prior score nor the school explains."""
        explained = self.persistence**2 + self.value_added_sd**2 + self.class_sd**2
        return math.sqrt(1.0 - explained)

    def quiet(self) -> Assumptions:
        """The same study with nobody treated: every effect is zero."""
        none: dict[str, Any] = dict.fromkeys(EFFECTS, 0.0)
        return replace(self, **none)


EFFECTS = (
    "member", "lead", "neighbour", "funding", "seat", "village", "managed", "rotation", "creation",
    "retained", "exchange_added",
)  # fmt: skip
