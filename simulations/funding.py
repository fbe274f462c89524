"""The study of the funding standard: slopes in the dose, on panels of the county study drawn again.

Each draw is a study of its own, with the seed of the draw: places, calendars, who joins a group.
The comparisons are those of the chapter *Funding*; their truth is the mean effect for 1000 yuan
over the schools that each one looks at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

import evalkit as ek
from evalkit.data.simulate import Assumptions
from evalkit.data.simulate.effects import FLOOR, STEP
from simulations import counties
from simulations.counties import Schools
from simulations.study import Answer, Design, Method, Study, World

Array: TypeAlias = np.ndarray[Any, Any]

BEFORE, AFTER = (-2, -1), (0, 1)  # test years around the first one under the new standard
WITHIN = 150  # pupils on either side of the floor
EVERYBODY, VILLAGES, MEMBERS, KINK, SPENT, ELSE = (
    "all schools", "village schools of a county", "membership held fixed",
    "kink at the floor", "effect of spending", "all schools, all but funding",
)  # fmt: skip
CELL = ("unit", ("cell", "time"))


@dataclass(frozen=True, slots=True)
class Stacked:
    """Rows ``(n,)`` by column, two for a school: its means before and after the start of a wave.

    Each wave of counties stands beside those that had not begun by its end.
    """

    columns: Mapping[str, Array]
    waves: Array

    def where(self, rows: Array) -> Stacked:
        return Stacked({name: values[rows] for name, values in self.columns.items()}, self.waves)

    def panel(self, cell: Array, covariates: Mapping[str, Array] | None = None) -> ek.Panel:
        """A panel whose ``cell`` is the set of schools that are compared with each other."""
        more = dict(covariates or {})
        shown = ("unit", "after", "score", "county", "dose", "prior", "spending")
        return ek.Panel.from_frame(
            {**{name: self.columns[name] for name in shown}, "cell": cell, **more},
            outcome="score", unit="unit", time="after", cluster="county", dose="dose",
            covariates=["prior", "spending", *more], categories=["cell"], provenance="synthetic",
        )  # fmt: skip

    def by_wave(self, name: str, values: Array) -> dict[str, Array]:
        """A column of its own for each wave."""
        wave = self.columns["wave"]
        return {f"{name} {g:.0f}": values * (wave == g) for g in self.waves}


def stacked(s: Schools, a: Assumptions) -> Stacked:
    """Schools around each wave; ``would`` is the dose of a school if its county began."""
    step = np.array(list(STEP.values()))[s.junior]
    parts = []
    waves = np.unique(s.money[s.money + AFTER[-1] <= a.last])
    for g in waves:
        first, last = int(g) + BEFORE[0] - a.first, int(g) + AFTER[-1] - a.first
        compared = (s.money == g) | (s.money > g + AFTER[-1])
        rows = np.flatnonzero(compared & (s.pupils[:, first] > 0))
        n = s.pupils[rows, int(g) - 1 - a.first]
        would = ek.floor_dose(n, step=1.0, floor=FLOOR) * step[rows] / 1000.0
        of_school = {
            "unit": rows + 10_000 * int(g), "county": s.county[rows], "stratum": s.stratum[rows],
            "junior": s.junior[rows], "n": n, "would": would, "treated": s.money[rows] == g,
        }  # fmt: skip
        of_year = {
            "score": s.score.mean(axis=2), "prior": s.prior.mean(axis=2),
            "spending": s.spending, "member": s.member, "funding": s.funding,
        }  # fmt: skip
        halves = {
            name: values[rows, first : last + 1].reshape(len(rows), 2, -1).mean(axis=2).ravel()
            for name, values in of_year.items()
        }
        parts.append(
            {name: np.repeat(values, 2) for name, values in of_school.items()}
            | halves
            | {"after": np.tile([0, 1], len(rows)), "wave": np.full(2 * len(rows), g)}
        )
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    columns["dose"] = columns["would"] * columns["treated"]
    return Stacked(columns, waves)


def draw(rng: np.random.Generator, n: int) -> World:
    """A study of ``n`` counties under the committed assumptions, with another seed."""
    a = Assumptions(seed=int(rng.integers(2**31)), counties=n, schools=24)
    made = stacked(counties.study(a), a)
    c = made.columns
    return World(made, _truth(c, a), without_funding(made))


def without_funding(made: Stacked) -> Stacked:
    """The same schools where the money does nothing and all else is as it was."""
    c = made.columns
    bare = {"score": c["score"] - c["funding"], "funding": np.zeros_like(c["funding"])}
    return replace(made, columns={**c, **bare})


def _truth(c: Mapping[str, Array], a: Assumptions) -> Mapping[str, Mapping[str, float]]:
    """Mean effect for 1000 yuan of dose, and of spending, over the schools of a comparison."""
    after = c["treated"] & (c["after"] == 1)
    per_dose = c["funding"][after] / c["dose"][after]
    villages = _villages(c)[after]
    near = villages & (np.abs(c["n"][after] - FLOOR) <= WITHIN)
    inside = {EVERYBODY: np.ones(len(per_dose), bool), VILLAGES: villages, MEMBERS: villages,
              KINK: near}  # fmt: skip
    truth = {name: {"sample": float(per_dose[rows].mean())} for name, rows in inside.items()}
    truth[SPENT] = {"sample": float(per_dose[villages].mean() / a.pass_through)}
    truth[ELSE] = {"sample": 0.0}
    return truth


def _villages(c: Mapping[str, Array]) -> Array:
    return np.asarray((c["stratum"] == 2) & (c["junior"] == 0))


def slopes(data: Stacked) -> dict[str, ek.Estimate]:
    """Slopes in the dose by comparison, of the score given the prior score."""
    c = data.columns
    near: dict[str, Any] = {"start": 1, "covariates": ["prior"]}
    cohort = c["wave"] * 2 + c["junior"]
    level, bare = data.panel(cohort), without_funding(data).panel(cohort)
    v = data.where(_villages(c))
    small = v.by_wave("small", v.columns["would"])
    cell = v.columns["wave"] * 1000 + v.columns["county"]
    panel = v.panel(cell, small | {"member": v.columns["member"]})
    both = ek.did.dose_iv(panel, exposure="spending", absorb=CELL, by_time=list(small), **near)
    in_group: dict[str, Any] = {**near, "covariates": ["prior", "member"]}
    return {
        EVERYBODY: ek.did.dose_response(level, absorb=CELL, **near),
        VILLAGES: both.select(term="reduced_form"),
        MEMBERS: ek.did.dose_response(panel, absorb=CELL, by_time=list(small), **in_group),
        KINK: kink(v),
        SPENT: both,
        ELSE: ek.did.dose_response(bare, absorb=CELL, **near),
    }


def kink(villages: Stacked) -> ek.Estimate:
    """The slope in the dose beside all that is linear in pupils, near the floor."""
    v = villages.where(np.abs(villages.columns["n"] - FLOOR) <= WITHIN)
    c = v.columns
    size = (c["n"] - FLOOR) / 100.0
    small, linear = v.by_wave("small", c["would"]), v.by_wave("pupils", size)
    own = {"pupils after": size * c["treated"] * c["after"]}
    panel = v.panel(c["wave"] * 1000 + c["county"], small | linear | own)
    return ek.did.dose_response(panel, start=1, absorb=CELL, by_time=[*small, *linear],
                                covariates=["prior", *own])  # fmt: skip


def clustered(data: Stacked, made: Mapping[str, ek.Estimate]) -> Mapping[str, Answer]:
    """By county; the effect of spending by the set of Anderson and Rubin."""
    out = {}
    for name, estimate in made.items():
        if name == SPENT:
            continue
        out[name] = Answer.of(ek.infer(estimate, few="show"))
    iv = made[SPENT]
    ratio = ek.anderson_rubin(iv, numerator=("reduced_form",), denominator=("first_stage",))
    error = float(ek.infer(iv, few="show").std_error[0])
    low, high = ratio.intervals[0][0], ratio.intervals[-1][1]
    out[SPENT] = Answer(ratio.estimate, error, low, high, out[VILLAGES].p_value)
    return out


FUNDING = Study(
    "funding",
    {"as_assumed": Design("the assumptions of the committed study, another seed", draw)},
    {"dose_response": Method(slopes, {"CR1": clustered}, truths=("sample",))},
    sizes={136: 200},
)  # fmt: skip
