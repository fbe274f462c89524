"""Mlmrev's Exam and STAR as panels, and the reference values that R gave on them."""

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
