"""Exam and STAR of mlmRev as panels, school effects, and the reference values that R gave."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

import evalkit as ek

CUTS = [-0.75, 0.0, 0.75]  # bands of Exam, so chosen that one school uses two of four


@cache
def golden() -> dict[str, float]:
    """Values of ``goldens/gaps.csv``; the script beside it names R and its packages."""
    path = Path(__file__).parent / "goldens" / "gaps.csv"
    return pd.read_csv(path).set_index("key")["value"].to_dict()


@cache
def exam_frame() -> pd.DataFrame:
    """Pupils of Exam with their band."""
    frame = ek.sources.exam_pupils().assign(year=0)
    frame["band"] = np.searchsorted(CUTS, frame["score"])
    return frame


def exam(outcome: str = "score", **changes) -> ek.Panel:
    """A panel of pupils clustered by school."""
    options = {
        "outcome": outcome, "unit": "pupil", "time": "year", "cluster": "school",
        "categories": ["sex", "school"], "provenance": "real",
    }  # fmt: skip
    return ek.Panel.from_frame(changes.pop("frame", exam_frame()), **{**options, **changes})


@cache
def star_frame() -> pd.DataFrame:
    """Kindergarten pupils of STAR with a mathematics score and a known lunch status."""
    frame = ek.sources.star_pupils()
    kept = (frame["grade"] == 0) & frame["math"].notna() & frame["lunch"].notna()
    return frame[kept].reset_index(drop=True)


def star() -> ek.Panel:
    """The same as a panel."""
    return ek.Panel.from_frame(
        star_frame(), outcome="math", unit="pupil", time="grade", cluster="school",
        categories=["lunch", "school", "location"], provenance="real",
    )  # fmt: skip


GIRLS = {"between": "sex", "high": "F", "low": "M"}
LUNCH = {"between": "lunch", "high": "paid", "low": "free"}


@cache
def exam_effects():
    """Least-squares effects of 65 schools given intake, about their pupil-weighted mean.

    Errors of equal variance: :math:`s^2(1/n_j-1/N)` plus that of the slope at the school's mean.
    """
    frame = ek.sources.exam_pupils()
    school = np.unique(frame["school"].astype(int), return_inverse=True)[1]
    x, y, n = frame["intake"].to_numpy(), frame["score"].to_numpy(), np.bincount(school)

    def mean(values):
        return np.bincount(school, values) / n

    inside = x - mean(x)[school]
    slope = inside @ (y - mean(y)[school]) / (inside @ inside)
    effect = mean(y) - slope * mean(x)
    residual = y - slope * x - effect[school]
    scale = residual @ residual / (len(y) - len(n) - 1)
    variance = scale * (1 / n - 1 / len(y)) + (mean(x) - x.mean()) ** 2 * scale / (inside @ inside)
    return ek.Known.of(
        effect - n @ effect / n.sum(),
        np.sqrt(variance),
        labels=np.arange(1, 66),
        level="school",
        estimand="school effect",
        outcome="score",
        provenance="real",
    )
