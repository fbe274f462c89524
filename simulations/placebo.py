"""The study of placebo laws on real records, as in Bertrand, Duflo and Mullainathan (2004).

Laws that never were are dealt out among clusters, at two dates in turn. Outcomes are those of the
records, so that errors are real and every rejection is false.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

import evalkit as ek
from simulations.inference import EFFECT, dealt, tested
from simulations.study import Answer, Design, Method, Study, World

MULTIPLIED = 399  # draws inside a draw


@dataclass(frozen=True, slots=True)
class Laws:
    """``number`` clusters of a panel get a law, at each of ``dates`` in turn, without effect."""

    panel: Callable[[], ek.Panel]
    number: int
    dates: tuple[int, ...]

    def facts(self, n: int) -> Mapping[str, float]:
        clusters = len(np.unique(self.panel().cluster))
        return {"treated_share": round(self.number / clusters, 4)}

    def draw(self, rng: np.random.Generator, n: int) -> World:
        panel = self.panel()
        labels, code = np.unique(panel.cluster, return_inverse=True)
        date = np.full(len(labels), np.inf)
        dates = np.resize(self.dates, self.number)
        date[rng.permutation(len(labels))[: self.number]] = dates
        data = replace(panel, cohort=date[code])
        return World(data, {EFFECT: {"population": 0.0}}, data)


@cache
def districts() -> ek.Panel:
    """Grade 4 pass rates of Michigan's districts, 1992 to 1998, clustered by county."""
    return ek.Panel.from_frame(
        ek.sources.michigan_districts(),
        outcome="math4",
        unit="district",
        time="year",
        cluster="county",
        provenance="real",
    )


def clustered(by_unit: bool = False, **options: Any) -> Callable[..., Mapping[str, Answer]]:
    """`ek.infer` by county, or as if districts were independent."""

    def judge(panel: ek.Panel, made: ek.Estimate) -> Mapping[str, Answer]:
        estimate = replace(made, cluster=made.units) if by_unit else made
        return {EFFECT: Answer.of(ek.infer(estimate, **{"few": "show", **options}))}

    return judge


BOTH = {"CR1 by district": clustered(by_unit=True), "CR1": clustered()}
JUDGES = {
    **BOTH,
    "CR1, guarded": clustered(few="withhold"),
    "CR3": clustered(vcov="CR3"),
    "wild": tested(lambda panel, made: ek.wild_bootstrap(made, draws=MULTIPLIED)),
}
DEALT_OUT = {
    **BOTH,
    "randomisation": lambda panel, made: dealt(panel, made, cells),
}


def cells(panel: ek.Panel) -> ek.Estimate:
    return ek.aggregate(ek.did.callaway_santanna(panel))


METHODS = {
    "two_way": Method(ek.did.two_way, JUDGES),
    "callaway_santanna": Method(cells, DEALT_OUT),
    "imputation": Method(lambda panel: ek.aggregate(ek.did.imputation(panel)), BOTH),
    "sun_abraham": Method(lambda panel: ek.aggregate(ek.did.sun_abraham(panel)), BOTH),
}


def study(name: str, panel: Callable[[], ek.Panel], units: int, dates: tuple[int, ...],
          numbers: tuple[int, ...]) -> Study:  # fmt: skip
    """Laws in so many clusters of a panel."""
    laws = {f"laws_{number}": Laws(panel, number, dates) for number in numbers}
    designs = {
        key: Design(f"{one.number} clusters get a law", one.draw, one.facts)
        for key, one in laws.items()
    }
    return Study(name, designs, METHODS, sizes={units: 300}, provenance="real")


MICHIGAN = study("placebo_michigan", districts, 550, (1994, 1996), (4, 10, 28))
