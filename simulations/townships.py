"""The study of township pilots: towns drawn by lot, and towns nominated on their last scores.

A provincial pilot town is drawn by lot, that of a city pilot has the best scores of its county in
the year before, less a little for its distance. Town-seat schools are held against urban schools of
the same and of other counties, and against the other towns of their county.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

import evalkit as ek
from evalkit.data.simulate.assumptions import Assumptions
from simulations import counties
from simulations.study import Answer, Design, Judge, Method, Study, World

SCHOOLS = 24  # of a county, as in the study that the book reads
COHORTS = {"province": Assumptions().province_start, "city": Assumptions().pilot_start}
DRAWN = 19  # assignments besides the real one: one in twenty is the most extreme of 20
RULES = ("year before", "mirrored")
TOWNS = "city, towns"


def assumptions(rng: np.random.Generator, counties: int) -> Assumptions:
    """The study that the book reads, at another seed and size."""
    return Assumptions(seed=int(rng.integers(2**31)), counties=counties, schools=SCHOOLS)


@dataclass(frozen=True, slots=True)
class Pilots:
    """The data of a draw: schools, and by rule the city pilots' towns before and after."""

    schools: ek.Panel
    towns: Mapping[str, ek.Panel]


def pilots(frame: pd.DataFrame, outcome: str) -> Pilots:
    """What a chapter would read: pilots' seat schools and urban schools; towns of pilot counties.

    Schools in a group are left out, for they come under another measure.
    """
    start = frame.groupby("county")["first"].transform("min")
    kept = frame.assign(start=start)[frame["role"] == 0]
    seats = kept[kept["stratum"] == "town"]
    compared = np.isinf(seats["start"]) | np.isfinite(seats["first"])
    schools = ek.Panel.from_frame(
        pd.concat([seats[compared], kept[kept["stratum"] == "urban"]]),
        outcome=outcome,
        unit="school",
        time="year",
        cohort="start",
        cluster="county",
        categories=["stratum"],
        provenance="synthetic",
    )
    city = seats[seats["start"] == COHORTS["city"]]
    return Pilots(schools, {rule: _towns(city, outcome, rule) for rule in RULES})


def _towns(seats: pd.DataFrame, outcome: str, rule: str) -> ek.Panel:
    """Towns before and after the pilot: the mean effect over years needs no more."""
    year, towns = COHORTS["city"], ["county", "town", "first"]
    paths = seats.pivot_table(outcome, towns, "year")
    years = np.array(paths.columns, int)
    after = years[years >= year]
    before = 2 * (year - 1) - after if rule == "mirrored" else [year - 1]
    both = {0: paths[before].mean(axis=1), 1: paths[after].mean(axis=1)}
    rows = pd.concat(both, names=["period"]).rename("y").reset_index()
    return ek.Panel.from_frame(
        rows.assign(first=np.where(np.isfinite(rows["first"]), 1.0, np.inf)),
        outcome="y",
        unit="town",
        time="period",
        cohort="first",
        cluster="county",
        provenance="synthetic",
    )


def triple(panel: ek.Panel) -> ek.Estimate:
    """Group-time effects on one base."""
    return ek.did.triple_difference(panel, eligible="stratum", value="town", base="universal")


def made(data: Pilots) -> ek.Estimate:
    return triple(data.schools)


def judged(rule: str) -> Judge:
    """By cohort, clustered by county."""

    def judge(data: Pilots, cells: ek.Estimate) -> Mapping[str, Answer]:
        return answers(ek.mirrored(cells) if rule == "mirrored" else cells)

    return judge


def answers(cells: ek.Estimate) -> dict[str, Answer]:
    found = ek.infer(ek.aggregate(cells, by="cohort").select(side="difference"), few="show")
    at = {key[-1]: k for k, key in enumerate(found.keys)}
    return {name: Answer.of(found, at[year]) for name, year in COHORTS.items()}


def dealt(rule: str) -> Judge:
    """By randomisation under the rule of one town in each county."""

    def judge(data: Pilots, cells: ek.Estimate) -> Mapping[str, Answer]:
        found = ek.randomisation(
            data.towns[rule], ek.did.callaway_santanna, rule="complete", by="unit",
            within="cluster", interval=False, draws=DRAWN,
        )  # fmt: skip
        none, p_value = np.nan, float(found.p_value[0])
        return {TOWNS: Answer(float(found.estimate[0]), none, none, none, p_value)}

    return judge


def draw(rng: np.random.Generator, n: int) -> World:
    """A world, with the mean true effect on the schools (towns) that each cohort compares."""
    frame = counties.frame(assumptions(rng, n))
    real, effect = pilots(frame, "progress"), pilots(frame, "effect_pilot_seat")
    found = {name: one.estimate for name, one in answers(triple(effect.schools)).items()}
    found[TOWNS] = float(ek.did.callaway_santanna(effect.towns[RULES[0]]).theta[0])
    truth = {name: {"sample": value} for name, value in found.items()}
    return World(real, truth, pilots(frame, "progress_0"))


TOWNSHIPS = Study(
    "townships",
    {"pilots": Design("provincial pilots are drawn, city pilots have the best last scores", draw)},
    {
        "triple_difference": Method(
            made,
            {
                **{f"{rule}, CR1": judged(rule) for rule in RULES},
                **{f"{rule}, randomisation": dealt(rule) for rule in RULES},
            },
            truths=("sample",),
        )
    },
    sizes={68: 200},
)
