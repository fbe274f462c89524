"""What a county study holds, in numbers that can be set beside published ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evalkit.data.county import OPTIONAL, TABLES
from evalkit.data.county.study import CountyStudy, first_test_year
from evalkit.data.reading import read

if TYPE_CHECKING:
    import pandas as pd

INDICATORS = ("teachers", "above_required_degree", "backbone", "pe_art_music", "room_m2",
              "sport_m2", "equipment_yuan")  # fmt: skip


def contents(study: CountyStudy) -> pd.DataFrame:
    """One row per table: what it holds, its rows, or that it is absent.

    Parameters
    ----------
    study : CountyStudy
    """
    import pandas as pd

    there = {table: study.file(table) for table in study.tables}
    rows = [
        {
            "table": table,
            "中文": contract.zh,
            "holds": contract.label,
            "rows": len(read(there[table], table)) if table in there else 0,
        }
        for table, contract in TABLES.items()
        if table in there or table not in OPTIONAL
    ]
    return pd.DataFrame(rows)


def adoption(study: CountyStudy) -> pd.DataFrame:
    """Counties in which a measure is in force by test year: ``measure_id year counties``.

    A start counts from the later end of its window; a town, school or group counts its county.

    Parameters
    ----------
    study : CountyStudy
    """
    import pandas as pd

    events = study.table("measure_event")
    county = county_of_unit(study)
    rows = pd.DataFrame(
        {
            "measure_id": events["measure_id"],
            "county": events["unit_id"].map(county),
            "first": first_test_year(events["start_latest"]),
        }
    ).dropna()
    first = rows.groupby(["measure_id", "county"])["first"].min().reset_index()
    years = sorted(study.table("county_year")["year"].unique())
    counted = [
        (measure, int(year), int((starts <= year).sum()))
        for measure, starts in first.groupby("measure_id")["first"]
        for year in years
    ]
    return pd.DataFrame(counted, columns=["measure_id", "year", "counties"])


def county_of_unit(study: CountyStudy) -> dict[str, str]:
    """County of every unit an event can name; a prefecture has many and is left out."""
    county, town, school = (study.table(name) for name in ("county", "town", "school"))
    spells = study.table("group_membership").merge(school[["school_id", "county_code"]])
    pairs = (
        county.assign(unit=county["county_code"])[["unit", "county_code"]],
        town.rename(columns={"town_code": "unit"})[["unit", "county_code"]],
        school.rename(columns={"school_id": "unit"})[["unit", "county_code"]],
        spells.rename(columns={"group_id": "unit"})[["unit", "county_code"]],
    )
    return {str(u): str(c) for frame in pairs for u, c in frame.itertuples(index=False)}


def magnitudes(study: CountyStudy) -> pd.DataFrame:
    """Sizes, gaps and spreads of a study: ``id``, ``here``, ``schools`` behind the number.

    The ids are those of ``data/published/magnitudes.csv``.

    Parameters
    ----------
    study : CountyStudy
    """
    import pandas as pd

    schools = study.table("school")
    years = study.table("school_year").merge(schools)
    first = years[years["year"] == years["year"].min()]
    found: dict[str, tuple[float, int]] = {}
    for (level, stratum), rows in first.groupby(["level", "stratum"]):
        found[f"pupils_{level}_{stratum}"] = float(rows["pupils"].mean()), len(rows)
    for level, rows in first.groupby("level"):
        share = rows.groupby("stratum")["pupils"].sum() / rows["pupils"].sum()
        found |= {f"share_{level}_{s}": (float(x), len(rows)) for s, x in share.items()}
        ratio = rows["pupils"].sum() / rows["teachers"].sum()
        found[f"pupils_per_teacher_{level}"] = float(ratio), len(rows)
    spread = [
        _variation(rows, name)
        for _, rows in first[first["level"] == "primary"].groupby("county_code")
        for name in INDICATORS
        if rows[name].notna().all() and len(rows) > 2
    ]
    if spread:
        found["spread_low"] = min(spread), len(first)
        found["spread_high"] = max(spread), len(first)
    if "school_cohort" in study.tables:
        tested = study.table("school_cohort").merge(schools)
        found |= _of_scores(tested[tested["year"] == tested["year"].min()])
    if "pupil_test" in study.tables:
        found["prior_explains"] = _explained(study.table("pupil_test"))
    rows = [(name, value, count) for name, (value, count) in found.items()]
    return pd.DataFrame(rows, columns=["id", "here", "schools"])


def _variation(rows: pd.DataFrame, name: str) -> float:
    """Coefficient of variation between schools, weighted by pupils, of an indicator per pupil."""
    pupils = rows["pupils"].to_numpy(float)
    per_pupil = rows[name].to_numpy(float) / pupils
    mean = np.average(per_pupil, weights=pupils)
    return float(np.sqrt(np.average((per_pupil - mean) ** 2, weights=pupils)) / mean)


def _of_scores(rows: pd.DataFrame) -> dict[str, tuple[float, int]]:
    """Urban minus village mean, and the between-school share within counties.

    The variance between schools is divided by one less the sum of their squared weights, so that
    a county of few schools is not taken for an even one.
    """
    test = ["grade", "subject", "year"]
    gap, share = [], []
    for _, one in rows.groupby(test):
        mean, within, n = _moments(one)
        deviation = np.sqrt(within + np.average((one["mean"] - mean) ** 2, weights=n))
        strata = {s: np.average(r["mean"], weights=r["n_tested"]) for s, r in
                  one.groupby("stratum")}  # fmt: skip
        if {"urban", "rural"} <= set(strata):
            gap.append((strata["urban"] - strata["rural"]) / deviation)
        for _, county in one.groupby("county_code"):
            if len(county) > 2:
                centre, inside, size = _moments(county)
                few = 1 - float((size**2).sum() / size.sum() ** 2)
                between = np.average((county["mean"] - centre) ** 2, weights=size) / few
                share.append(between / (between + inside))
    schools = rows["school_id"].nunique()
    found = {"urban_rural_gap": gap, "between_schools": share}
    return {name: (float(np.mean(values)), schools) for name, values in found.items() if values}


def _moments(rows: pd.DataFrame) -> tuple[float, float, pd.Series[float]]:
    n = rows["n_tested"].astype(float)
    return (
        float(np.average(rows["mean"], weights=n)),
        float(np.average(rows["sd"].astype(float) ** 2, weights=n)),
        n,
    )


def _explained(pupils: pd.DataFrame) -> tuple[float, int]:
    """Share of the variance of scores that prior score and ses explain, within tests."""
    rows = pupils.dropna(subset=["score", "prior_score", "ses"])
    squares = np.zeros(2)
    for _, one in rows.groupby(["grade", "subject", "year"]):
        x = np.column_stack([np.ones(len(one)), one["prior_score"], one["ses"]])
        y = one["score"].to_numpy(float)
        left = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
        squares += left @ left, ((y - y.mean()) ** 2).sum()
    return float(1 - squares[0] / squares[1]), int(rows["school_id"].nunique())
