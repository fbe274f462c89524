"""The tables of a simulated county, as the contract of the county study wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.core.arrays import Matrix
from evalkit.data.simulate import draws
from evalkit.data.simulate.assumptions import LEVELS, PRIOR, STRATA, SUBJECTS
from evalkit.data.simulate.calendar import LEVELS_OF_PILOT, ROLES
from evalkit.data.simulate.county import County, grades, marks
from evalkit.data.simulate.effects import ROWS, STEP

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("区", "市", "县")
BANDS = {"A": 78.0, "B": 64.0, "C": 50.0}  # least marks of a grade; D is the rest
REVIEW = 2  # years from the start of creation to the provincial review
WINDOWS = (140, 365, 1095)  # days; widths of most windows in the catalogue
UNDATED = 0.28  # 44 of the catalogue's 157 rows have no earliest date


def code(number: int) -> str:
    """Code of a simulated county; no real code begins with a letter."""
    return f"S{number:03d}"


def day(year: Any) -> str:
    """First day under a measure whose first test year is ``year``."""
    return f"{int(year) - 1}-09-01"


def school_ids(found: County) -> np.ndarray[Any, Any]:
    """Identifiers of the schools ``(S,)``."""
    return np.array([f"{code(found.places.county)}K{s + 1:03d}" for s in range(_schools(found))])


def _schools(found: County) -> int:
    return found.assumptions.schools


def _town(found: County, town: int) -> str:
    return f"{code(found.places.county)}T{town + 1:02d}"


def places(found: County) -> dict[str, pd.DataFrame]:
    """The tables ``county``, ``town`` and ``school``."""
    import pandas as pd

    p, c, me = found.places, found.calendar, code(found.places.county)
    new = p.opens > found.assumptions.first
    opened = [day(year) if late else None for year, late in zip(p.opens, new, strict=True)]
    county = {
        "county_code": [me], "name_zh": [f"虚构{p.county:03d}"],
        "prefecture_code": [f"P{p.prefecture:02d}"], "type": [KINDS[p.kind]],
        "valid_from": ["2000-01-01"], "valid_to": [None],
    }  # fmt: skip
    towns = range(len(p.distance))
    town = {
        "town_code": [_town(found, j) for j in towns], "county_code": me,
        "kind": ["街道" if j < p.streets else "镇" for j in towns],
        "distance_km_to_seat": p.distance,
        "pilot_level": [LEVELS_OF_PILOT[level] for level in c.pilot_level],
        "pilot_start": [day(year) if np.isfinite(year) else None for year in c.pilot],
        "pilot_end": None,
    }  # fmt: skip
    school = {
        "school_id": school_ids(found), "county_code": me,
        "town_code": [_town(found, j) for j in p.town],
        "stratum": [STRATA[k] for k in p.stratum], "level": [LEVELS[k] for k in p.junior],
        "ownership": "public", "opened": opened,
        "closed": None, "is_new_build": new, "lon": None, "lat": None,
    }  # fmt: skip
    return {
        "county": pd.DataFrame(county),
        "town": pd.DataFrame(town),
        "school": pd.DataFrame(school),
    }


def memberships(found: County) -> pd.DataFrame:
    """The table ``group_membership``."""
    import pandas as pd

    c, me = found.calendar, code(found.places.county)
    at = np.flatnonzero(c.role > 0)
    kind = ("star and new" if role == 3 else "pairing" for role in c.role[at])
    return pd.DataFrame(
        {
            "group_id": [f"{me}G{g:02d}" for g in c.group[at]],
            "school_id": school_ids(found)[at],
            "start": [day(year) for year in c.joined[at]],
            "end": None,
            "role": [ROLES[role] for role in c.role[at]],
            "type": list(kind),
            "graded_level": None,
            "award_yuan": None,
        }
    )


def events(found: County) -> pd.DataFrame:
    """The table ``measure_event`` with the true ``first_year``, which the truth keeps to itself.

    Most starts are known to the day, the others as windows around it.
    """
    import pandas as pd

    c, me = found.calendar, code(found.places.county)
    rows: list[tuple[str, str, str, float, float | None]] = [
        (me, "county", "Q04", c.money, STEP["primary"]),
        (me, "county", "Q05", c.money, STEP["junior"]),
        (me, "county", ROWS["county_managed"][0], c.managed, None),
        (me, "county", ROWS["teacher_exchange"][0], c.managed, None),
        (me, "county", ROWS["creation"][0], c.creation, None),
        *((_town(found, j), "town", "Z01", year, None) for j, year in enumerate(c.pilot)),
    ]
    joined = c.role > 0
    for g in np.unique(c.group[joined]):
        rows.append((f"{me}G{g:02d}", "group", "Q19", c.joined[c.group == g].min(), None))
    out = []
    for number, (unit, kind, row, year, dose) in enumerate(rows):
        if np.isfinite(year):
            first, last = _window(found, number, day(year))
            unit_of_dose = None if dose is None else "yuan per pupil and year"
            source = f"fictional; structure of catalogue row {row}"
            out.append((unit, kind, row, first, last, dose, unit_of_dose, source, int(year)))
    columns = ["unit_id", "unit_kind", "measure_id", "start_earliest", "start_latest", "dose",
               "dose_unit", "source", "first_year"]  # fmt: skip
    return pd.DataFrame(out, columns=columns)


def _window(found: County, number: int, start: str) -> tuple[str | None, str]:
    """What is known of a start: the day, or a window that holds it, or only its later end."""
    a, county = found.assumptions, found.places.county
    known, wide, where, old = (
        float(draws.uniform(a.seed, purpose, county, number))
        for purpose in ("dated", "window", "place in window", "no earliest date")
    )
    if known < a.dated:
        return start, start
    width = WINDOWS[int(wide * len(WINDOWS))]
    begin = np.datetime64(start) - int(where * width)
    return (None if old < UNDATED else str(begin)), str(begin + width)


def tests(found: County) -> pd.DataFrame:
    """The table ``school_cohort``: what the pupils' marks come to, by school, year and subject."""
    import pandas as pd

    a, who = found.assumptions, found.pupils
    score, earlier = marks(found)
    shape = (a.schools, len(a.years))
    cell = who.school * shape[1] + who.year
    used, codes, n = np.unique(cell, return_inverse=True, return_counts=True)
    school, year = np.divmod(used, shape[1])
    ids = school_ids(found)
    frames = []
    for j, subject in enumerate(SUBJECTS):
        mean = np.bincount(codes, score[:, j]) / n
        spread = np.bincount(codes, (score[:, j] - mean[codes]) ** 2) / np.maximum(n - 1, 1)
        frames.append(
            pd.DataFrame(
                {
                    "school_id": ids[school],
                    "year": year + a.first,
                    "grade": grades(found)[school],
                    "subject": subject,
                    "n_tested": n,
                    "mean": np.round(mean, 3),
                    "sd": np.round(np.sqrt(spread), 3),
                    "share_by_grade_band": _bands(score[:, j], codes, n),
                    "mean_prior": np.round(np.bincount(codes, earlier[:, j]) / n, 3),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def _bands(score: Matrix, codes: Any, n: Any) -> list[str]:
    """Shares of pupils by grade as JSON, with two decimals that sum to one."""
    least = np.array(list(BANDS.values()))
    band = len(least) - np.searchsorted(least[::-1], score, side="right")
    count = np.stack([np.bincount(codes, band == k, minlength=len(n)) for k in range(4)], axis=1)
    edges = np.rint(100 * np.cumsum(count, axis=1) / n[:, None]).astype(int)
    shares = np.diff(edges, axis=1, prepend=0)
    names = [*BANDS, "D"]
    texts = [f"{share / 100:g}" for share in range(101)]
    return [
        "{" + ",".join(f'"{name}":{texts[s]}' for name, s in zip(names, row, strict=True)) + "}"
        for row in shares
    ]


def pupil_test(found: County, *, since: int | None = None) -> pd.DataFrame:
    """The table ``pupil_test`` of a county, from test year ``since`` on."""
    import pandas as pd

    a, p, who = found.assumptions, found.places, found.pupils
    score, earlier = marks(found)
    at = np.flatnonzero(who.year + a.first >= (a.first if since is None else since))
    s, t, i = who.school[at], who.year[at] + a.first, who.number[at]
    draw = draws.uniform(a.seed, "sex", p.county, s, t, i)
    ses = 0.4 * found.prior[at].mean(axis=1) + 0.9 * draws.normal(a.seed, "ses", p.county, s, t, i)
    ids = school_ids(found)
    length = np.where(p.junior == 1, 3, 6)[s]
    common = pd.DataFrame(
        {
            "pupil_key": [f"{ids[k]}-{y}-{n + 1}" for k, y, n in zip(s, t, i, strict=True)],
            "school_id": ids[s],
            "cohort": t - length,
            "grade": grades(found)[s],
            "year": t,
        }
    )
    frames = [
        common.assign(
            subject=subject,
            score=score[at, j],
            prior_score=earlier[at, j],
            prior_year=t - PRIOR,
            hukou_county=code(p.county),
            sex=np.where(draw < 0.5, "female", "male"),
            ses=np.round(ses, 2),
            weight=1.0,
        )
        for j, subject in enumerate(SUBJECTS)
    ]
    return pd.concat(frames, ignore_index=True)
