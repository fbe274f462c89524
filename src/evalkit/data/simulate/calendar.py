"""Who comes under which measure, and in which test year first, in one simulated county.

A start in test year t is the first of September before it. Calendars are drawn; which schools and
towns are chosen follows the rules that the documents state, and past scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.core.arrays import Codes, Matrix, Vector
from evalkit.data.simulate import draws
from evalkit.data.simulate.assumptions import NEVER, Assumptions, Waves
from evalkit.data.simulate.places import Places

OF_GROUP = 3  # member schools to a lead school
SCHOOLS_TO_A_GROUP = 8  # schools of a level for each group
ROLES = ("none", "lead", "member", "branch")
LEVELS_OF_PILOT = ("none", "city", "province")


@dataclass(frozen=True, slots=True, eq=False)
class Calendar:
    """First test years under each measure, ``inf`` for never.

    ``groups``, ``money``, ``managed``, ``creation`` of the county; ``role``, ``group``, ``joined``
    ``(S,)`` of schools; ``pilot`` and ``pilot_level`` ``(J,)`` of towns.
    """

    groups: float
    money: float
    managed: float
    creation: float
    role: Codes
    group: Codes
    joined: Vector
    pilot: Vector
    pilot_level: Codes


def county_starts(a: Assumptions, p: Places) -> tuple[float, float, float, float]:
    """First test years of group schooling, funding, county management, and creation."""

    def drawn(waves: Waves, purpose: str, unit: int) -> float:
        return float(draws.choice(waves, draws.uniform(a.seed, purpose, unit)))

    def share(purpose: str) -> float:
        return float(draws.uniform(a.seed, purpose, p.prefecture))

    if share("bundled") < a.bundled:
        groups = money = drawn(a.bundle, "bundle", p.county)
    else:
        groups = drawn(a.groups, "groups", p.county)
        money = drawn(a.money, "money", p.county)
    managed = drawn(a.teachers, "teachers", p.county)
    together = share("together") < a.together
    creation = drawn(a.certificates, "creation", 1000 + p.prefecture if together else p.county)
    return groups, money, managed, creation


def calendar(a: Assumptions, p: Places, past: Matrix) -> Calendar:
    """Choose groups and pilots.

    Parameters
    ----------
    past : ndarray (S, T)
        Schools' mean scores by year without measures, NaN where closed.
    """
    groups, money, managed, creation = county_starts(a, p)
    role, group, joined = memberships(a, p, past, groups)
    pilot, level = pilots(a, p, past)
    return Calendar(groups, money, managed, creation, role, group, joined, pilot, level)


def memberships(
    a: Assumptions, p: Places, past: Matrix, start: float
) -> tuple[Codes, Codes, Vector]:
    """Role, group and first test year of each school.

    In each level the best schools of the year before lead, the weakest join; schools that open
    later join as branches. Groups are founded over three years.
    """
    role, group = np.zeros((2, a.schools), np.intp)
    joined = np.full(a.schools, NEVER)
    if not np.isfinite(start):
        return role, group, joined
    before = _year_before(a, start)
    made = 0
    chance = draws.uniform(a.seed, "chosen", p.county, np.arange(a.schools))
    for junior in (0, 1):
        here = np.flatnonzero((p.junior == junior) & p.open[:, before])
        count = len(here) // SCHOOLS_TO_A_GROUP or int(len(here) > OF_GROUP)
        known = past[here, before] if a.select_on_past else chance[here]
        order = here[np.argsort(known, kind="stable")]
        for number in range(count):
            members = order[number * OF_GROUP : (number + 1) * OF_GROUP]
            lead = order[-1 - number]
            made += 1
            role[members], role[lead] = 2, 1
            group[members] = group[lead] = made
            joined[members] = joined[lead] = start + number % 3
    for s in np.flatnonzero((p.opens > start) & (role == 0) & (made > 0)):
        role[s], group[s], joined[s] = 3, 1 + s % made, float(p.opens[s])
    outside = joined > a.last
    role[outside], group[outside], joined[outside] = 0, 0, NEVER
    return role, group, joined


def _year_before(a: Assumptions, start: float) -> int:
    """Position of the last test year before a start; of the first or last one if none is."""
    return min(max(int(start) - 1, a.first), a.last) - a.first


def pilots(a: Assumptions, p: Places, past: Matrix) -> tuple[Vector, Codes]:
    """First test year and level of the pilot of each town.

    A provincial pilot town where one is drawn. In prefectures with a city pilot every county
    without a provincial one nominates one town: well off (good scores of late) and near the seat.
    """
    n = len(p.distance)
    pilot, level = np.full(n, NEVER), np.zeros(n, np.intp)
    before = _year_before(a, a.pilot_start)
    seat = (p.stratum == 1) & p.open[:, before]
    seats = np.unique(p.town[seat])
    if not len(seats):
        return pilot, level
    if float(draws.uniform(a.seed, "provincial", p.county)) < a.provincial:
        chosen = seats[int(len(seats) * float(draws.uniform(a.seed, "provincial town", p.county)))]
        pilot[chosen], level[chosen] = a.province_start, 2
    elif float(draws.uniform(a.seed, "city pilot", p.prefecture)) < a.pilots:
        merit = draws.uniform(a.seed, "nominated", p.county, seats)
        if a.select_on_past:
            mean = [past[seat & (p.town == town), before].mean() for town in seats]
            merit = np.array(mean) - 0.01 * p.distance[seats]
        chosen = seats[int(np.argmax(merit))]
        pilot[chosen], level[chosen] = a.pilot_start, 1
    return pilot, level
