"""Which counties and schools meet an official standard, by how much, and which school decides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from evalkit.core.arrays import Groups, Vector
from evalkit.core.checks import check_panel
from evalkit.core.errors import check_option
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.panel import Panel
from evalkit.core.provenance import Provenance
from evalkit.data.standards import Stage, Standard, standard_of
from evalkit.gaps.balance import COMPOSITE, balance
from evalkit.gaps.sample import Names, Sample, moments, sample

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False)
class Compliance:
    """A county's resources held to a standard, table by table.

    Attributes
    ----------
    counties : pandas.DataFrame
        One row per county and year: schools, whether all coefficients and all schools pass (NA if
        none fails and a coefficient is undefined), the indicator nearest to its limit and its
        distance.
    indicators : pandas.DataFrame
        One row per county, year and indicator: coefficient, limit, distance (limit less
        coefficient), whether it passes, the school that drives it (without which it is lowest) and
        the coefficient without that school.
    schools : pandas.DataFrame
        One row per school and year: lines reached, the least part of a line, the indicators that
        miss theirs, and whether it passes. Empty for a standard without lines.
    standard : Standard
    stage : str
    provenance : {"real", "documented", "restricted", "synthetic"}
    """

    counties: pd.DataFrame
    indicators: pd.DataFrame
    schools: pd.DataFrame
    standard: Standard
    stage: str
    provenance: Provenance

    def __repr__(self) -> str:
        return (
            f"Compliance with standard {self.standard.name}, {self.stage} ({self.provenance}): "
            f"{int(self.counties['passes'].sum())} of {len(self.counties)} pass\n"
            f"{self.counties.round(3).to_string()}"
        )


def compliance(
    panel: Panel,
    *,
    standard: str | Standard,
    stage: Stage,
    by: Names = ("county", "time"),
) -> Compliance:
    """Hold the schools of each county to the resource part of an official standard.

    Parameters
    ----------
    panel : Panel
        Of schools of one stage: see ``evalkit.standards.school_panel``.
    standard : {"2012", "2017"} or Standard
    stage : {"primary", "junior"}
    by : str or sequence of str

    Returns
    -------
    Compliance

    Raises
    ------
    OptionError
        A stage that the standard has no limit for, or indicators that the panel lacks.

    Examples
    --------
    >>> import evalkit as ek
    >>> books = ek.standards.Indicator("books", "books per pupil", "生均图书册数", "books")
    >>> one = ek.standards.Standard("example", "method note", "", (books,),
    ...                             {"primary": 0.50}, False, "worked example")
    >>> frame = {"school_id": range(5), "county_code": ["c"] * 5, "year": [2012] * 5,
    ...          "pupils": [45, 37, 89, 76, 55], "books": [279, 137, 935, 160, 402]}
    >>> panel = ek.standards.school_panel(frame, standard=one, provenance="documented", smallest=0)
    >>> held = ek.compliance(panel, standard=one, stage="primary")
    >>> held.indicators[["cv", "passes", "driver", "cv_without"]].round(3).values.tolist()
    [[0.515, False, 3, 0.321]]
    """
    import pandas as pd

    check_panel(panel)
    chosen = standard_of(standard)
    check_option("stage", stage, chosen.limit)
    estimate = balance(panel, standard=chosen, by=by, undefined="nan")
    rows = sample(panel)
    groups, index = rows.coordinates(by)
    limit, k = chosen.limit[stage], len(index)
    schools = _schools(panel, groups, index, chosen, stage)
    coefficients = _coefficients(panel, rows, groups, estimate, chosen, limit)
    judged = [COMPOSITE] if chosen.composite else list(chosen.names)
    of_limit = coefficients.index.get_level_values("indicator").isin(judged)
    distance = coefficients["distance"].to_numpy()[of_limit].reshape(k, -1)
    nearest = np.where(np.isnan(distance), -np.inf, distance).argmin(axis=1)
    below = np.zeros(k, int)
    if len(schools):
        below = np.bincount(groups.codes, ~schools["passes"].to_numpy(bool), k).astype(int)
    fails, unknown = (distance < 0).any(axis=1), np.isnan(distance).any(axis=1)
    alike = pd.arrays.BooleanArray(np.array(~fails), np.array(unknown & ~fails))
    counties = pd.DataFrame(
        {
            "schools": np.bincount(groups.codes, minlength=k),
            "coefficients_pass": alike,
            "schools_below": below,
            "passes": alike & (below == 0),
            "nearest": [judged[at] for at in nearest],
            "distance": distance[np.arange(k), nearest],
        },
        index=index.to_pandas(),
    )
    return Compliance(counties, coefficients, schools, chosen, stage, panel.provenance)


def _coefficients(
    panel: Panel, rows: Sample, groups: Groups, estimate: Estimate, standard: Standard, limit: float
) -> pd.DataFrame:
    import pandas as pd

    without = np.stack([_without(rows, groups, panel.column(name)) for name in standard.names])
    if standard.composite:
        without = np.concatenate([without, without.mean(axis=0, keepdims=True)])
    driver = np.zeros((groups.size, len(without)), np.intp)
    least = np.full((groups.size, len(without)), np.nan)
    for at, mine in enumerate(groups.rows()):
        held = np.where(np.isnan(without[:, mine]), np.inf, without[:, mine])
        driver[at] = mine[held.argmin(axis=1)]
        least[at] = held.min(axis=1)
    cv = estimate.theta
    table = pd.DataFrame(
        {
            "cv": cv,
            "limit": limit,
            "distance": limit - cv,
            "passes": pd.arrays.BooleanArray(cv <= limit, np.isnan(cv)),
            "driver": panel.units[panel.unit[driver.reshape(-1)]],
            "cv_without": np.where(np.isinf(least), np.nan, least).reshape(-1),
        },
        index=estimate.index.to_pandas(),
    )
    if standard.composite:
        single = table.index.get_level_values("indicator") != COMPOSITE
        table.loc[single, ["limit", "distance"]] = np.nan
        table.loc[single, "passes"] = pd.NA
    return table


def _without(rows: Sample, groups: Groups, x: Vector) -> Vector:
    """The coefficient of each row's coordinate if that row were left out ``(m,)``."""
    at, k, w = moments(replace(rows, value=x), groups), groups.codes, rows.weight
    left, centred = at.w[k] - w, x - at.mean[k]
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = -w * centred / left
        variance = (at.w[k] * at.variance[k] - w * centred**2) / left - shift**2
        return np.sqrt(np.maximum(variance, 0.0)) / (at.mean[k] + shift)


def _schools(
    panel: Panel, groups: Groups, index: Index, standard: Standard, stage: Stage
) -> pd.DataFrame:
    import pandas as pd

    if standard.enough is None:
        return pd.DataFrame()
    lines = [(one.name, one.line[stage]) for one in standard.indicators if one.line]
    part = np.stack([panel.column(name) / line for name, line in lines], axis=1)
    reached, least = (part >= 1).sum(axis=1), part.min(axis=1)
    missed = [", ".join(n for (n, _), p in zip(lines, row, strict=True) if p < 1) for row in part]
    table = pd.DataFrame(
        {
            **{
                name: [index.keys[at][level] for at in groups.codes]
                for level, name in enumerate(index.levels)
            },
            "school": panel.units[panel.unit],
            "pupils": panel.weight,
            "reached": reached,
            "least": least,
            "missed": missed,
            "passes": (reached >= standard.enough) & (least >= (standard.floor or 0.0)),
        }
    )
    return table.set_index([*index.levels, "school"])
