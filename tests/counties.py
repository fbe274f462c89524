"""Made-up school tables for the official standards, and the examples that documents print."""

from __future__ import annotations

import numpy as np
import pandas as pd

import evalkit as ek

# The method note on 校际差异系数: pupils and books of five schools; it prints 0.52.
NOTE = {"pupils": [45, 37, 89, 76, 55], "books": [279, 137, 935, 160, 402]}

# Eight coefficients of four groups of schools in Hefei as published, and their composites.
HEFEI = [
    ([0.881, 1.299, 0.977, 0.379, 0.170, 0.334, 0.286, 0.408], 0.592),
    ([0.353, 0.784, 0.146, 0.491, 0.037, 0.226, 0.223, 0.253], 0.314),
    ([0.711, 0.649, 0.472, 0.338, 0.235, 0.274, 0.260, 0.396], 0.417),
    ([0.505, 0.484, 0.325, 0.275, 0.199, 0.715, 0.421, 1.021], 0.493),
]  # fmt: skip

BOOKS = ek.standards.Standard(
    "note", "method note", "", (ek.standards.Indicator("books", "books per pupil", "", "books"),),
    {"primary": 0.5}, False, "worked example",
)  # fmt: skip


def note_panel() -> ek.Panel:
    frame = {"school_id": range(5), "county_code": ["c"] * 5, "year": [2012] * 5, **NOTE}
    return ek.standards.school_panel(frame, standard=BOOKS, provenance="documented", smallest=0)


def schools(
    standard: str = "2017", seed: int = 0, counties: int = 4, years: int = 2, each: int = 9
):
    """Totals of made-up schools, of every indicator of a standard."""
    rng = np.random.default_rng(seed)
    chosen = ek.standards.STANDARDS[standard]
    n = counties * years * each
    frame = pd.DataFrame(
        {
            "school_id": np.tile(np.arange(counties * each), years),
            "county_code": np.tile(np.repeat([f"c{i}" for i in range(counties)], each), years),
            "year": np.repeat(2020 + np.arange(years), counties * each),
            "pupils": rng.integers(60, 1500, n),
        }
    )
    for one in chosen.indicators:
        line = one.line["primary"] if one.line else 5.0
        value = line * rng.gamma(12, 1 / 9, n)
        frame[one.column] = value * frame["pupils"] / one.per
    return frame


def panel(frame: pd.DataFrame, standard: str = "2017", **changes) -> ek.Panel:
    return ek.standards.school_panel(frame, standard=standard, provenance="synthetic", **changes)
