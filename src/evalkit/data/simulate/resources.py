"""Money, teachers and rooms of a simulated county by year, and its stage of certification."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.core.arrays import Matrix, Vector
from evalkit.data.simulate import draws
from evalkit.data.simulate.assumptions import LEVELS, Assumptions
from evalkit.data.simulate.county import County
from evalkit.data.simulate.effects import FLOOR, STEP
from evalkit.data.simulate.tables import REVIEW, code, school_ids

if TYPE_CHECKING:
    import pandas as pd

BASE = {"primary": (700.0, 900.0), "junior": (900.0, 1100.0)}  # yuan before and from 2015
RAISED = 2015
BUDGET = {"primary": 12_792.0, "junior": 18_152.0}  # yuan per pupil in 2022, nationally
BUDGET_GROWTH = 0.05
PUPILS_PER_TEACHER = np.array([16.2, 12.7])
PUPILS_PER_CLASS = np.array([42.0, 46.0])
# Per 100 pupils, square metres or yuan per pupil: level, and coefficient of variation (ours, inside
# the published range of 0.04 to 1.30).
STAFF = {
    "above_required_degree": (0.75, 0.15), "backbone": (0.15, 0.40), "senior_title": (0.12, 0.40),
    "pe_art_music": (0.14, 0.30),
}  # fmt: skip
SPACE = {"room_m2": (5.5, 0.35), "sport_m2": (9.5, 0.50), "equipment_yuan": (2200.0, 0.45)}
RATIO = (1.15, 1.0, 0.85)  # staff of urban, town and village schools, as multiples


def county_year(found: County, stage: Vector) -> pd.DataFrame:
    """The table ``county_year``."""
    import pandas as pd

    a, p = found.assumptions, found.places
    years = np.array(a.years)
    rich = np.exp(0.4 * draws.normal(a.seed, "wealth", p.county))
    gdp = 55_000.0 * rich * np.exp(0.06 * (years - 2012))
    blur = np.exp(0.05 * draws.normal(a.seed, "budget", p.county, years))
    growth = (1 + BUDGET_GROWTH) ** (years - 2022.0) * blur * float(rich) ** 0.3
    return pd.DataFrame(
        {
            "county_code": code(p.county),
            "year": years,
            "gdp_pc": np.rint(gdp),
            "fiscal_revenue_pc": np.rint(0.08 * gdp),
            "edu_budget_primary": np.rint(BUDGET["primary"] * growth),
            "edu_budget_junior": np.rint(BUDGET["junior"] * growth),
            **{
                f"public_use_standard_{level}": standard(a, found.calendar.money, level)
                for level in LEVELS
            },
            "pupils_compulsory": p.pupils.sum(axis=0).astype(int),
            "cert_stage": stage.astype(int),
        }
    )


def standard(a: Assumptions, start: float, level: str) -> Vector:
    """Standard of public-use funding by year ``(T,)``, in yuan per pupil."""
    years = np.array(a.years, float)
    before, after = BASE[level]
    return np.asarray(np.where(years < RAISED, before, after) + STEP[level] * (years >= start))


def school_year(found: County) -> pd.DataFrame:
    """The table ``school_year``."""
    import pandas as pd

    a, p = found.assumptions, found.places
    school, year = np.nonzero(p.open)
    n, junior, stratum = p.pupils[school, year], p.junior[school], p.stratum[school]
    years = year + a.first

    def level(purpose: str, spread: float) -> Vector:
        """A school's standing, lasting, and a little noise of the year."""
        lasting = draws.normal(a.seed, purpose, p.county, np.arange(a.schools))[school]
        passing = draws.normal(a.seed, f"{purpose} of the year", p.county, school, years)
        return np.exp(spread * lasting + 0.03 * passing - spread**2 / 2)

    def unit(purpose: str) -> Vector:
        return draws.uniform(a.seed, purpose, p.county, school, years)

    ratio = np.array(RATIO)[stratum]
    teachers = np.maximum(np.rint(n / PUPILS_PER_TEACHER[junior] * level("teachers", 0.12)), 5)
    classes = np.maximum(np.rint(n / PUPILS_PER_CLASS[junior]), 1)
    mean_class = n / classes
    registered = np.rint(n * (0.9 + 0.4 * unit("registered")))
    columns: dict[str, Any] = {
        "school_id": school_ids(found)[school], "year": years, "pupils": n, "classes": classes,
        "max_class": np.minimum(np.rint(mean_class * (1.05 + 0.1 * unit("largest class"))), n),
        "teachers": teachers,
    }  # fmt: skip
    for name, (share, spread) in STAFF.items():
        columns[name] = np.minimum(
            np.rint(teachers * share * ratio * level(name, spread)), teachers
        )
    room = np.array([1.0, 1.0, 1.8])[stratum]  # village schools have lost pupils, not rooms
    for name, (per_pupil, spread) in SPACE.items():
        columns[name] = np.rint(n * per_pupil * room * level(name, spread))
    columns |= {
        "media_rooms": np.rint(0.95 * classes),
        "public_use_yuan": np.rint(spending(found)[school, year] * level("spending", 0.05)),
        "boarding": np.rint(n * np.where(stratum > 0, 0.3, 0.02) * junior),
        "migrant_share": np.round(np.array([0.2, 0.1, 0.02])[stratum] * 2 * unit("migrants"), 3),
        "local_registered": registered,
        "local_enrolled": np.rint(registered * found.stays[school, year]),
        "take_up_after_school": np.where(
            years >= 2021, np.round(0.85 + 0.14 * unit("after school"), 3), np.nan
        ),
    }
    frame = pd.DataFrame(columns)
    whole = [name for name in frame if name not in ("school_id", "migrant_share",
                                                    "take_up_after_school")]  # fmt: skip
    return frame.astype(dict.fromkeys(whole, "int64"))


def spending(found: County) -> Matrix:
    """Public-use spending ``(S, T)`` in yuan: what of the standard reaches the school.

    A school under 300 pupils is funded as one of 300. Of the last rise only ``pass_through``
    becomes spending.
    """
    a, p = found.assumptions, found.places
    money = found.calendar.money
    before = np.stack([standard(a, np.inf, level) for level in LEVELS])[p.junior]
    rise = np.stack([standard(a, money, level) for level in LEVELS])[p.junior] - before
    funded = np.where(p.open, np.maximum(p.pupils, FLOOR), 0.0)
    return np.asarray(funded * (before + a.pass_through * rise))


def difference_rate(frame: pd.DataFrame) -> pd.Series[float]:
    """Between-school share of the variance of primary mathematics marks, by year."""
    import pandas as pd

    rows = frame[(frame["subject"] == "math") & (frame["grade"] == 6)]
    n, mean = rows["n_tested"], rows["mean"]
    by = rows["year"]
    total = n.groupby(by).sum()
    centre = by.map((n * mean).groupby(by).sum() / total)
    between = (n * (mean - centre) ** 2).groupby(by).sum() / total
    within = (n * rows["sd"] ** 2).groupby(by).sum() / total
    return pd.Series(between / (between + within))


def stages(found: County, tested: pd.DataFrame) -> Vector:
    """Stage of certification ``(T,)``: creation, provincial review, recognition.

    Recognition comes in the first year from the fourth on in which the difference rate that was
    measured lies below the threshold: it depends on the outcome.
    """
    a = found.assumptions
    years = np.array(a.years, float)
    start = found.calendar.creation
    stage = (years >= start).astype(float) + (years >= start + REVIEW)
    rate = difference_rate(tested).reindex(list(a.years)).to_numpy()
    passed = (years >= start + REVIEW + 1) & (rate < a.recognition)
    recognised = np.maximum.accumulate(passed)
    return np.where(recognised, 3.0, stage)
