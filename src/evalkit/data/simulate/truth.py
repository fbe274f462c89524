"""The truth of a simulated study, from its potential outcomes; nothing here is estimated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.data.simulate.assumptions import LEVELS, STRATA
from evalkit.data.simulate.county import County
from evalkit.data.simulate.effects import MEASURES, ROWS
from evalkit.data.simulate.tables import code

if TYPE_CHECKING:
    import pandas as pd

KEYS = ["outcome", "measure", "cohort", "year", "subgroup"]


def sums(found: County) -> pd.DataFrame:
    """Sums over treated pupils (or schools) behind the truth: they add over counties.

    One row per outcome, measure, first test year, test year and subgroup, with the number of
    treated and the sum of their effects. Years before the start have no effect and no row.
    """
    import pandas as pd

    a, p, who = found.assumptions, found.places, found.pupils
    shape = (a.schools, len(a.years))
    cell = who.school * shape[1] + who.year
    n = {
        low: np.bincount(cell, found.low == low, minlength=shape[0] * shape[1]).reshape(shape)
        for low in (True, False)
    }
    size = {True: 1.0 + a.tilt, False: 1.0 - a.tilt}
    years = np.array(a.years)
    rows: list[dict[str, Any]] = []
    for measure in MEASURES:
        begun = found.begun[measure]
        for start in np.unique(begun[np.isfinite(begun)]):
            at = (begun == start)[:, None] & (years >= start) & p.open
            for name, inside, lows in _subgroups(found):
                here = at & inside[:, None]
                count = sum(n[low] * here for low in lows)
                effect = sum(n[low] * here * found.effects[measure] * size[low] for low in lows)
                rows += _rows("score", measure, start, years, name, count, effect)
    gained = found.stays - found.stays_untreated
    begun = found.begun["pilot_seat"]
    for start in np.unique(begun[np.isfinite(begun)]):
        at = (begun == start)[:, None] & (years >= start) & p.open
        rows += _rows("retention", "pilot_seat", start, years, "all", at * 1.0, gained * at)
    return pd.DataFrame(rows, columns=[*KEYS, "treated", "sum"])


def _subgroups(found: County) -> list[tuple[str, Any, tuple[bool, ...]]]:
    p, both = found.places, (True, False)
    everybody = np.ones(len(p.stratum), bool)
    return [
        ("all", everybody, both),
        *((name, p.stratum == k, both) for k, name in enumerate(STRATA)),
        *((name, p.junior == k, both) for k, name in enumerate(LEVELS)),
        ("low_prior", everybody, (True,)),
        ("high_prior", everybody, (False,)),
    ]


def _rows(
    outcome: str, measure: str, start: float, years: Any, name: str, count: Any, effect: Any
) -> list[dict[str, Any]]:
    number, total = np.sum(count, axis=0), np.sum(effect, axis=0)
    return [
        {"outcome": outcome, "measure": measure, "cohort": int(start), "year": int(years[t]),
         "subgroup": name, "treated": float(number[t]), "sum": float(total[t])}
        for t in np.flatnonzero(number)
    ]  # fmt: skip


def average(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """The true average effect on the treated: one row per measure, cohort, year and subgroup."""
    import pandas as pd

    added = pd.concat(parts).groupby(KEYS, as_index=False)[["treated", "sum"]].sum()
    rows = added["measure"].map({measure: " ".join(rows) for measure, rows in ROWS.items()})
    att = (added["sum"] / added["treated"]).round(6) + 0.0
    return added[KEYS].assign(
        att=att, treated=added["treated"].astype(int), unit=added["outcome"].map(UNITS), rows=rows
    )


UNITS = {"score": "SD of pupils' scores", "retention": "share of local children"}


def by_county(found: County) -> pd.DataFrame:
    """True effect of each measure on mean scores by county, year and stratum (all pupils count)."""
    import pandas as pd

    p, who, years = found.places, found.pupils, np.array(found.assumptions.years)
    shape = p.pupils.shape
    cell = who.school * shape[1] + who.year
    weight = np.bincount(cell, found.multiplier(), minlength=shape[0] * shape[1]).reshape(shape)
    strata = (p.stratum == np.arange(len(STRATA))[:, None]).astype(float)
    n = strata @ p.tested
    effect = np.stack([strata @ (weight * found.effects[measure]) for measure in MEASURES])
    mean = np.round(np.divide(effect, n, out=np.zeros_like(effect), where=n > 0), 6) + 0.0
    measure, stratum, year = np.nonzero(mean)
    return pd.DataFrame(
        {
            "county_code": code(p.county),
            "measure": np.array(MEASURES)[measure],
            "stratum": np.array(STRATA)[stratum],
            "year": years[year],
            "effect": mean[measure, stratum, year],
        }
    )
