"""The true effect of each measure on each school and year of a simulated county."""

from __future__ import annotations

import numpy as np

from evalkit.core.arrays import Matrix, Vector
from evalkit.data.simulate.assumptions import LEVELS, NEVER, Assumptions
from evalkit.data.simulate.calendar import Calendar
from evalkit.data.simulate.places import Places

FLOOR = 300  # pupils for which a smaller school is funded; the notice of 2015
STEP = {"primary": 400.0, "junior": 600.0}  # yuan; catalogue rows Q04 and Q05
# Measure -> rows of the catalogue whose structure and dose it takes; the places are fictional.
ROWS = {
    "group_member": ("Q19",),
    "group_lead": ("Q19",),
    "group_neighbour": ("Q19",),
    "funding": ("Q04", "Q05"),
    "pilot_seat": ("Z01",),
    "pilot_village": ("Z01",),
    "county_managed": ("C13",),
    "teacher_exchange": ("W33",),
    "creation": ("C02",),
}
MEASURES = tuple(ROWS)


def starts(a: Assumptions, p: Places, c: Calendar) -> dict[str, Vector]:
    """First test year of each school under each measure ``(S,)``, ``inf`` for never."""
    never = np.full(a.schools, NEVER)
    town_first = np.full(len(p.distance), NEVER)
    np.minimum.at(town_first, p.town, np.where(np.isin(c.role, (2, 3)), c.joined, NEVER))
    pilot = c.pilot[p.town]
    everybody = np.zeros(a.schools)
    return {
        "group_member": np.where(np.isin(c.role, (2, 3)), c.joined, never),
        "group_lead": np.where(c.role == 1, c.joined, never),
        "group_neighbour": np.where(c.role == 0, town_first[p.town], never),
        "funding": everybody + c.money,
        "pilot_seat": np.where(p.stratum == 1, pilot, never),
        "pilot_village": np.where(p.stratum == 2, pilot, never),
        "county_managed": everybody + c.managed,
        "teacher_exchange": everybody + c.managed,
        "creation": everybody + c.creation,
    }


def effects(a: Assumptions, p: Places, begun: dict[str, Vector]) -> dict[str, Matrix]:
    """Effect on a pupil at the mean prior score ``(S, T)``, zero where a school is closed."""
    years = np.array(a.years, float)
    part = np.array([a.urban_part, 1.0, a.rural_part])[p.stratum]
    full = {
        "group_member": np.full(a.schools, a.member),
        "group_lead": np.full(a.schools, a.lead),
        "group_neighbour": np.full(a.schools, a.neighbour),
        "funding": a.funding * a.pass_through * dose(a, p, begun["funding"]) / 1000.0,
        "pilot_seat": np.full(a.schools, a.seat),
        "pilot_village": np.full(a.schools, a.village),
        "county_managed": a.managed * part,
        "teacher_exchange": a.rotation * part,
        "creation": np.full(a.schools, a.creation),
    }
    slow = ("group_member", "group_lead", "group_neighbour", "pilot_seat", "pilot_village")
    out = {}
    for measure, size in full.items():
        since = years - begun[measure][:, None] + 1
        steps = a.build_up + 1 if measure in slow else 1
        out[measure] = size[:, None] * np.clip(since / steps, 0.0, 1.0) * p.open
    return out


def dose(a: Assumptions, p: Places, begun: Vector) -> Vector:
    """Yuan per pupil and year that the funding step brings a school of its size ``(S,)``.

    ``step * max(1, 300 / n)`` with ``n`` the pupils in the year before the start.
    """
    step = np.array([STEP[level] for level in LEVELS])[p.junior]
    before = np.where(np.isfinite(begun), begun - 1, a.first)
    at = np.maximum(before, p.opens).astype(np.intp) - a.first
    n = p.pupils[np.arange(a.schools), np.minimum(at, p.pupils.shape[1] - 1)]
    return np.asarray(step * np.maximum(1.0, FLOOR / np.maximum(n, 1.0)))
