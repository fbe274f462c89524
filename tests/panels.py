"""Deterministic panels for the tests: one recipe per trait that an estimator must survive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

import evalkit as ek

START = 2003  # adoption of single-cohort panels, and start of the reform of dose panels
EFFECT = 1.0


@dataclass(frozen=True)
class Recipe:
    """How to make a panel of any number of towns.

    ``cohorts`` are the adoption years dealt out in turn (NaN: never). ``missing`` is the share of
    rows left out. ``clusters`` gives towns unequal districts. ``weights`` is ``"row"``, ``"unit"``
    or none. ``text_ids`` names towns so that text order differs from number order. With
    ``windows`` eight of forty towns are known only to adopt in its year or the one before.
    """

    cohorts: tuple[float, ...] = (START, np.nan)
    missing: float = 0.0
    clusters: bool = False
    weights: str = ""
    text_ids: bool = False
    windows: bool = False
    periods: int = 6
    seed: int = 7

    def frame(self, towns: int = 40) -> pd.DataFrame:
        """Rows in unit order, one per town and year that is observed."""
        rng = np.random.default_rng(self.seed)
        years = np.arange(2000, 2000 + self.periods)
        town, year = np.repeat(np.arange(towns), len(years)), np.tile(years, towns)
        start = np.resize(self.cohorts, towns)
        dose = rng.normal(size=towns)
        base = rng.normal(size=towns)
        county = rng.integers(0, 3, towns)
        after = year >= START
        treated = year >= np.where(np.isnan(start), np.inf, start)[town]
        shock = rng.normal(size=len(town))
        z = rng.normal(size=len(town))
        x = rng.normal(size=len(town)) + 0.3 * treated
        endogenous = z + 0.5 * shock + rng.normal(size=len(town))
        money = (2 + 2 * dose[town]) * after + rng.normal(size=len(town))
        y = (
            50
            + 2 * rng.normal(size=towns)[town]
            + 0.5 * (year - 2000)
            + EFFECT * treated
            + 0.7 * x
            + 0.4 * endogenous
            + 1.5 * money
            + (1 + 0.5 * np.abs(dose[town])) * shock
        )
        frame = pd.DataFrame(
            {
                "town": town,
                "year": year,
                "y": y,
                "start": start[town],
                "first": (start - (np.arange(towns) // 16 % 2) * self.windows)[town],
                "dose": dose[town],
                "x": x,
                "z": z,
                "endogenous": endogenous,
                "money": money,
                "base": base[town],
                "county": county[town],
                "seat": (np.arange(towns) // 4 % 2)[town],
                "group": np.where(np.arange(towns) % 2 == 0, "urban", "rural")[town],
                "district": _district(towns)[town],
                "weight": rng.uniform(0.5, 2.0, len(town))
                if self.weights == "row"
                else rng.uniform(0.5, 2.0, towns)[town],
            }
        )
        if self.text_ids:
            frame["town"] = [f"town {i}" for i in town]
        keep = rng.uniform(size=len(frame)) >= self.missing
        return frame[keep].reset_index(drop=True)

    def options(self, **changes: Any) -> dict[str, Any]:
        """What ``Panel.from_frame`` needs for the frames of this recipe."""
        given = {
            "outcome": "y",
            "unit": "town",
            "time": "year",
            "cohort": ("first", "start") if self.windows else "start",
            "dose": "dose",
            "cluster": "district" if self.clusters else None,
            "weight": "weight" if self.weights else None,
            "covariates": ["x", "z", "endogenous", "money", "base"],
            "categories": ["county", "group", "seat"],
            "provenance": "synthetic",
        }
        return {**given, **changes}

    def panel(self, frame: pd.DataFrame | None = None, towns: int = 40, **changes: Any) -> ek.Panel:
        """The panel of a frame, by default of the recipe's own."""
        frame = self.frame(towns) if frame is None else frame
        return ek.Panel.from_frame(frame, **self.options(**changes))


def _district(towns: int) -> np.ndarray:
    """Districts of 1, 2, 3, 4, 1, 2, ... towns."""
    sizes = np.resize([1, 2, 3, 4], towns)
    return np.repeat(np.arange(towns), sizes)[:towns]


RECIPES = {
    "balanced": Recipe(),
    "text": Recipe(text_ids=True),
    "unbalanced": Recipe(missing=0.15),
    "clustered": Recipe(clusters=True),
    "weighted": Recipe(weights="row", missing=0.1, clusters=True),
    "unit_weighted": Recipe(weights="unit", clusters=True),
    "windows": Recipe(cohorts=(2002, 2004, np.nan, np.nan), clusters=True, windows=True),
    "staggered": Recipe(cohorts=(2002, 2004, np.nan, np.nan), clusters=True),
}


def medicaid():
    """The example of the HonestDiD README, by our own event study."""
    rows = ek.sources.medicaid()
    rows = rows[(rows["year"] < 2016) & (rows["adopted"] != 2015)]
    rows = rows.assign(adopted=rows["adopted"].where(rows["adopted"] == 2014))
    panel = ek.Panel.from_frame(
        rows, outcome="insured", unit="state", time="year", cohort="adopted", provenance="real"
    )
    return ek.did.event_study(panel)
