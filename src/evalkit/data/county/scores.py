"""Schools' mean scores on one scale over years and tests, as the chapters of the county study need
them.

Not for pupils: ``evalkit.summaries`` sums those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evalkit.core.arrays import Vector
from evalkit.data.county.study import CountyStudy

if TYPE_CHECKING:
    import pandas as pd

TEST = ["year", "grade", "subject"]
YEAR = ["school_id", "year"]
ROUNDING = 1e-12  # of a level


def school_scores(study: CountyStudy) -> pd.DataFrame:
    """One row per school and year: ``score``, ``prior``, ``progress``, pupils ``tested``, and what
    the tables ``school`` and ``county`` say of the school.

    The score is a school's mean less that of all pupils of the test, in standard deviations of
    these pupils; grades and subjects are averaged. The prior score is in standard deviations of
    schools. Progress is the score less what the prior score foretells, by the slope between schools
    in the first year, when few measures had begun; it is NaN where no prior score is known.

    Parameters
    ----------
    study : CountyStudy
    """
    out = scale(tested(study)).merge(study.table("school"), on="school_id")
    prefecture = study.table("county")[["county_code", "prefecture_code"]]
    out = out.merge(prefecture.drop_duplicates("county_code"), on="county_code")
    out.attrs["provenance"] = study.provenance
    return out


def tested(study: CountyStudy) -> pd.DataFrame:
    """The rows of ``school_cohort`` that have a mean, a spread and pupils; without that table, what
    ``pupil_test`` makes of it."""
    alone = "school_cohort" not in study.tables and "pupil_test" in study.tables
    rows = _summed(study.table("pupil_test")) if alone else study.table("school_cohort")
    rows = rows.dropna(subset=["n_tested", "mean", "sd"])
    return rows[rows["n_tested"] > 0]


def _summed(pupils: pd.DataFrame) -> pd.DataFrame:
    """Pupils with a score by school and test, as ``school_cohort`` has them."""
    rows = pupils.dropna(subset=["score"]).groupby(["school_id", *TEST], as_index=False)
    made = rows.agg(
        n_tested=("score", "size"),
        mean=("score", "mean"),
        sd=("score", lambda scores: scores.std(ddof=0)),
        mean_prior=("prior_score", "mean"),
    )
    made.attrs["provenance"] = pupils.attrs["provenance"]
    return made


def average(rows: pd.DataFrame, values: Vector) -> Vector:
    """Mean over the pupils of each test, on every row; without those of whom it is unknown."""
    import pandas as pd

    n, known = rows["n_tested"].to_numpy(float), np.isfinite(values)
    test = pd.factorize(pd.MultiIndex.from_frame(rows[TEST]))[0]
    total = np.bincount(test, np.where(known, n * values, 0.0))
    size = np.bincount(test, n * known)
    mean = np.divide(total, size, out=np.full(len(size), np.nan), where=size > 0)
    return np.asarray(mean[test])


def standardised(rows: pd.DataFrame) -> Vector:
    """Mean of each row less that of all pupils of its test, in standard deviations of these."""
    mean, sd = (rows[name].to_numpy(float) for name in ("mean", "sd"))
    off = mean - average(rows, mean)
    return _divided(off, np.sqrt(average(rows, sd**2 + off**2)), mean)


def _divided(off: Vector, spread: Vector, level: Vector) -> Vector:
    """Deviations from a level in its spread; NaN where there is none but rounding."""
    there = spread > ROUNDING * np.abs(level)
    return np.asarray(np.divide(off, spread, out=np.full(len(off), np.nan), where=there))


def scale(rows: pd.DataFrame) -> pd.DataFrame:
    """Scores by school and year, from rows of ``school_cohort``; see :func:`school_scores`."""
    import pandas as pd

    n, score = rows["n_tested"].to_numpy(float), standardised(rows)
    before = rows["mean_prior"].to_numpy(float, na_value=np.nan)
    earlier = before - average(rows, before)
    prior = _divided(earlier, np.sqrt(average(rows, earlier**2)), before)
    first = (rows["year"] == rows["year"].min()).to_numpy() & np.isfinite(prior)
    slope = float(np.average(score[first] * prior[first], weights=n[first])) if first.any() else 0.0
    unit, keys = pd.factorize(pd.MultiIndex.from_frame(rows[YEAR]), sort=True)
    pupils = np.bincount(unit, n)
    made = pd.DataFrame({name: keys.get_level_values(k) for k, name in enumerate(YEAR)})
    for name, values in (("score", score), ("prior", prior)):
        made[name] = np.bincount(unit, n * values) / pupils
    made["progress"] = made["score"] - slope * made["prior"]
    subjects = rows.groupby(YEAR)["subject"].nunique().loc[keys].to_numpy()
    made["tested"] = np.rint(pupils / subjects).astype(int)
    return made
