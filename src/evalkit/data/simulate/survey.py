"""What pupils, parents, teachers and heads of a simulated county answer; no measure moves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.data.simulate import draws
from evalkit.data.simulate.county import County
from evalkit.data.simulate.tables import school_ids

if TYPE_CHECKING:
    import pandas as pd

WAVES = (2023, 2024)
ASKED = {"head": 1, "teacher": 2, "parent": 3, "pupil": 4}  # of each school and wave
ITEMS = 4  # on a scale of 1 to 5; 4 and 5 are satisfied
BELOW = (0.05, 0.3, 1.0)  # of those who are not satisfied: share at or below 1, 2, 3
SCHOOL, PERSON = 0.1, 0.5  # shares of the variance of an answer


def survey_year(found: County) -> pd.DataFrame:
    """The table ``survey_year``: ten respondents in each school and wave."""
    import pandas as pd

    a, p = found.assumptions, found.places
    waves = np.array([year - a.first for year in WAVES if year in a.years], np.intp)
    school, wave = np.nonzero(p.open[:, waves])
    role = np.repeat(list(ASKED), list(ASKED.values()))
    s, t = (np.repeat(x, len(role)) for x in (school, waves[wave]))
    k, roles = np.tile(np.arange(len(role)), len(school)), np.tile(role, len(school))
    ids = school_ids(found)
    asked = np.array([ASKED[name] for name in role])[k]
    stands_for = np.where(np.isin(roles, ("pupil", "parent")), p.pupils[s, t] / asked, 1.0)
    year = t + a.first
    columns: dict[str, Any] = {
        "respondent_key": [
            f"{ids[i]}-{y}-R{n + 1:02d}" for i, y, n in zip(s, year, k, strict=True)
        ],
        "year": year,
        "school_id": ids[s],
        "role": roles,
    }
    unsatisfied = 1 - a.satisfied
    shares = [*(unsatisfied * share for share in BELOW), unsatisfied + a.satisfied / 2]
    climate = draws.normal(a.seed, "climate", p.county, s)
    person = draws.normal(a.seed, "respondent", p.county, s, year, k)
    for item in range(1, ITEMS + 1):
        own = draws.normal(a.seed, "answer", p.county, s, year, k, np.full(len(s), item))
        latent = (
            np.sqrt(SCHOOL) * climate
            + np.sqrt(PERSON) * person
            + np.sqrt(1 - SCHOOL - PERSON) * own
        )
        columns[f"item_{item}"] = 1 + np.searchsorted(draws.bell(shares), latent)
    columns["weight"] = np.rint(stands_for)
    return pd.DataFrame(columns)
