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
    rows = study.table("school_cohort").dropna(subset=["n_tested", "mean", "sd"])
    out = scale(rows).merge(study.table("school"), on="school_id")
    prefecture = study.table("county")[["county_code", "prefecture_code"]]
    out = out.merge(prefecture.drop_duplicates("county_code"), on="county_code")
    out.attrs["provenance"] = study.provenance
    return out


def scale(rows: pd.DataFrame) -> pd.DataFrame:
    """Scores by school and year, from rows of ``school_cohort``; see :func:`school_scores`."""
    import pandas as pd

    n = rows["n_tested"].to_numpy(float)
    test = pd.factorize(pd.MultiIndex.from_frame(rows[TEST]))[0]
    mean, sd, before = (
        rows[name].to_numpy(float, na_value=np.nan) for name in ("mean", "sd", "mean_prior")
    )

    def average(values: Vector) -> Vector:
        """Mean over the pupils of each test, on every row; without those of whom it is unknown."""
        known = np.isfinite(values)
        total = np.bincount(test, np.where(known, n * values, 0.0))
        size = np.bincount(test, n * known)
        mean = np.divide(total, size, out=np.full(len(size), np.nan), where=size > 0)
        return np.asarray(mean[test])

    off, earlier = mean - average(mean), before - average(before)
    score = off / np.sqrt(average(sd**2 + off**2))
    prior = earlier / np.sqrt(average(earlier**2))
    first = (rows["year"] == rows["year"].min()).to_numpy() & np.isfinite(prior)
    slope = float(np.average(score[first] * prior[first], weights=n[first])) if first.any() else 0.0
    unit, keys = pd.factorize(pd.MultiIndex.from_frame(rows[YEAR]), sort=True)
    pupils = np.bincount(unit, n)
    made = pd.DataFrame({name: keys.get_level_values(k) for k, name in enumerate(YEAR)})
    for name, values in (("score", score), ("prior", prior)):
        made[name] = np.bincount(unit, n * values) / pupils
    made["progress"] = made["score"] - slope * made["prior"]
    made["tested"] = np.rint(pupils / rows["subject"].nunique()).astype(int)
    return made
