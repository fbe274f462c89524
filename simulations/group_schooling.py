"""The study of group schooling: member and lead schools chosen on their last scores.

The weakest schools of a county become members and the best ones lead, so that both come back to
where they were. Schools of counties without groups are the controls; members are held against
schools of their own counties too, and compared where no measure does anything.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

import evalkit as ek
from simulations import counties
from simulations.study import Answer, Design, Judge, Method, Study, World
from simulations.townships import RULES, assumptions

YEAR = 2  # years since the county's first group; the effect of that group is full
MEMBER, LEAD, BRANCH = 2, 1, 3
PICK = "members, no measure"
EFFECTS = [f"effect_group_{name}" for name in ("member", "lead", "neighbour")]


def sides(frame: pd.DataFrame, outcome: str) -> dict[str, ek.Panel]:
    """Panels of schools: members, leads, both, and neighbours, each against counties without; and
    of counties: the gap between urban and village schools."""
    joined = frame[frame["role"] > LEAD].groupby("town")["joined"].min()
    near = (frame["role"] == 0) & frame["town"].map(joined).notna()
    role = frame["role"]
    chosen = {
        "members": role == MEMBER,
        "leads": role == LEAD,
        "groups": role.isin([MEMBER, LEAD]),
        "neighbours": near,
    }
    never = np.isinf(frame["begun"])
    out = {name: _panel(frame[mine | never], outcome, "school") for name, mine in chosen.items()}
    strata = frame.pivot_table(outcome, ["county", "begun", "year"], "stratum")
    gap = (strata["urban"] - strata["rural"]).rename(outcome).dropna().reset_index()
    out["gap"] = _panel(gap, outcome, "county")
    return out


def within(frame: pd.DataFrame, outcome: str) -> dict[str, ek.Panel]:
    """Panels of members and of schools of their own counties: all others, or those out of reach."""
    role, never = frame["role"], np.isinf(frame["begun"])
    reached = frame["town"].isin(frame.loc[role > LEAD, "town"])
    dated = frame.assign(begun=frame["begun"].where(role == MEMBER, np.inf))
    others = ~never & ~role.isin([MEMBER, BRANCH])
    sets = {"members, own county": others, "members, out of reach": others & (role == 0) & ~reached}
    return {
        name: _panel(dated[(role == MEMBER) | controls], outcome, "school")
        for name, controls in sets.items()
    }


def compared(frame: pd.DataFrame, outcome: str) -> dict[str, ek.Panel]:
    """Every comparison of one outcome; that of the pick is always without measures."""
    pick = {PICK: sides(frame, "progress_0")["members"]}
    return sides(frame, outcome) | within(frame, outcome) | pick


def _panel(frame: pd.DataFrame, outcome: str, unit: str) -> ek.Panel:
    strata = [name for name in ("urban", "rural") if "stratum" in frame]
    return ek.Panel.from_frame(
        frame.assign(**{name: (frame["stratum"] == name).astype(float) for name in strata}),
        outcome=outcome,
        unit=unit,
        time="year",
        cohort="begun",
        cluster="county",
        covariates=strata,
        provenance="synthetic",
    )


def made(data: Mapping[str, ek.Panel]) -> dict[str, ek.Estimate]:
    """Group-time effects on one base; schools are compared at their stratum."""
    return {
        name: ek.did.callaway_santanna(
            panel, covariates=panel.names, method="reg", base="universal"
        )
        for name, panel in data.items()
    }


def judged(rule: str) -> Judge:
    def judge(
        data: Mapping[str, ek.Panel], cells: Mapping[str, ek.Estimate]
    ) -> Mapping[str, Answer]:
        return {
            name: answer(ek.mirrored(one) if rule == "mirrored" else one)
            for name, one in cells.items()
        }

    return judge


def answer(cells: ek.Estimate) -> Answer:
    """The effect in the third year, clustered by county."""
    return Answer.of(ek.infer(ek.aggregate(cells, by="event").select(event=YEAR), few="show"))


def draw(rng: np.random.Generator, n: int) -> World:
    """A world, with the mean true effect of group schooling on what each side compares.

    Within a county it is the effect on members alone, whatever groups do to the schools beside.
    """
    frame = counties.frame(assumptions(rng, n))
    frame["effect"] = frame[EFFECTS].sum(axis=1)
    alone = frame.assign(effect=frame["effect"].where(frame["role"] == MEMBER, 0.0))
    effects = made(sides(frame, "effect") | within(alone, "effect"))
    truth = {name: {"sample": answer(one).estimate} for name, one in effects.items()}
    truth[PICK] = {"sample": 0.0}
    return World(compared(frame, "progress"), truth, compared(frame, "progress_0"))


GROUP_SCHOOLING = Study(
    "group_schooling",
    {"groups": Design("the weakest join and the best lead, by last year's scores", draw)},
    {
        "callaway_santanna": Method(
            made, {f"{rule}, CR1": judged(rule) for rule in RULES}, truths=("sample",)
        )
    },
    sizes={68: 200},
)
