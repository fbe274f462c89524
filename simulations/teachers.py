"""The study of county management: value-added of urban and of village schools, staggered starts.

County management and teacher exchange start together, so the effect is that of both. Its calendar
is drawn apart from those of groups, funding and pilots, which go on beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import pandas as pd

import evalkit as ek
from evalkit.data.simulate import Assumptions
from simulations import counties
from simulations.study import Answer, Design, Method, Study, World
from simulations.townships import assumptions

SIDES = ("urban", "rural")
EFFECTS = ["effect_county_managed", "effect_teacher_exchange"]
FIRST, THIRD, AVERAGE, GAP = "first year", "third year", "average", "gap"
RAW, SHRUNKEN = "raw", "shrunken"
Panels: TypeAlias = Mapping[tuple[str, str], ek.Panel]
Cells: TypeAlias = Mapping[str, ek.Estimate]


def variances(frame: pd.DataFrame, a: Assumptions) -> tuple[float, pd.Series[float]]:
    """Variance of value-added within schools over years, and of its error, mean of two subjects."""
    lasting = a.value_added_sd**2 * (1 + a.common) / 2 + a.class_sd**2 / 2
    error = (a.noise_sd**2 + a.persistence**2 * (1 / a.reliability - 1)) / 2
    return lasting, error / frame["tested"].clip(lower=1)


def sides(frame: pd.DataFrame, outcome: str, a: Assumptions) -> Panels:
    """Urban and village schools by the start of county management, weighted by precision.

    The outcome is raw; beside it stands what becomes of it when each school and year is shrunk.
    """
    signal, error = variances(frame, a)
    precision = (1 / (signal + error)).groupby(frame["school"]).transform("mean")
    made = {RAW: frame[outcome], SHRUNKEN: frame[outcome] * signal / (signal + error)}
    return {
        (kind, side): ek.Panel.from_frame(
            frame.assign(y=y, weight=precision)[frame["stratum"] == side],
            outcome="y",
            unit="school",
            time="year",
            cohort="managed",
            cluster="county",
            weight="weight",
            provenance="synthetic",
        )
        for kind, y in made.items()
        for side in SIDES
    }


def cells(kind: str) -> Callable[[Panels], Cells]:
    """Group-time effects of each side, against schools of counties that have not begun."""

    def made(data: Panels) -> Cells:
        return {
            side: ek.did.callaway_santanna(data[kind, side], control="not_yet") for side in SIDES
        }

    return made


def judged(data: Panels, made: Cells) -> Mapping[str, Answer]:
    """The two sides and the gap between them, clustered by county."""
    out: dict[str, Answer] = {}
    for when, at in {FIRST: 0, THIRD: 2, AVERAGE: None}.items():
        parts = {
            side: ek.aggregate(one)
            if at is None
            else ek.aggregate(one, by="event").select(event=at)
            for side, one in made.items()
        }
        parts[GAP] = parts["urban"] - parts["rural"]
        out |= {
            f"{side}, {when}": Answer.of(ek.infer(one, few="show")) for side, one in parts.items()
        }
    return out


def draw(rng: np.random.Generator, n: int) -> World:
    """A world, with the mean true effect of both measures on the schools of each side."""
    a = assumptions(rng, n)
    frame = counties.frame(a)
    frame["effect"] = frame[EFFECTS].sum(axis=1)
    effect = sides(frame, "effect", a)
    found = judged(effect, cells(RAW)(effect))
    truth = {name: {"sample": answer.estimate} for name, answer in found.items()}
    return World(sides(frame, "progress", a), truth, sides(frame, "progress_0", a))


TEACHERS = Study(
    "teachers",
    {"managed": Design("county management and exchange start together, by a calendar", draw)},
    {kind: Method(cells(kind), {"CR1": judged}, truths=("sample",)) for kind in (RAW, SHRUNKEN)},
    sizes={136: 200},
)
