"""Value-added as the outcome of a design: raw effects by unit and year, weighted by precision."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from evalkit.core.arrays import Groups, Vector
from evalkit.core.errors import DoubtWarning, IdentificationError, check_option
from evalkit.core.panel import Panel
from evalkit.engines.regress import least_squares
from evalkit.value_added.gather import Level, name_of, units_of
from evalkit.value_added.multilevel import multilevel

Weights: TypeAlias = Literal["row", "unit", "equal"]


def outcome(
    panel: Panel,
    *,
    unit: Level,
    cohort: Mapping[Any, float | None] | None = None,
    cluster: Mapping[Any, Any] | None = None,
    on: Sequence[str] | None = None,
    weights: Weights = "row",
) -> Panel:
    r"""Raw value-added of units, year by year, as a panel for any design.

    Slopes come from within unit and year, so that no treatment moves them; the outcome is
    :math:`\bar y_{jt}-\bar x_{jt}'\hat\beta`. It is not shrunken: shrinking pulls effects to zero,
    and a treatment effect with them. Noise is met by weights instead, one over
    :math:`\sigma^2_{jt}+\sigma^2_e/n_{jt}`, from a multilevel model of pupils in years in units.

    Parameters
    ----------
    panel : Panel
        Pupils by year.
    unit : str or tuple of str
        What is treated and followed: schools, counties.
    cohort : mapping of unit to first treated period, optional
        Units that are not in it, or have None or NaN, are never treated.
    cluster : mapping of unit to label, optional
        Clusters of units (default: each its own).
    on : sequence of str, optional
        Regressors (default: all covariates).
    weights : {"row", "unit", "equal"}
        Precision of each unit and year; its mean over the unit's years, for estimators that need
        one weight per unit; or none.

    Returns
    -------
    Panel
        Unit by year; the slopes' own error is left out, which is small beside that of effects.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> school, year = np.repeat(np.arange(40), 80), np.tile(np.repeat([1, 2, 3, 4], 20), 40)
    >>> treated = (school % 2 == 0) & (year >= 3)
    >>> frame = {"school": school, "year": year, "pupil": np.arange(3200),
    ...          "math": rng.normal(size=40)[school] + 0.5 * treated + rng.normal(size=3200)}
    >>> pupils = ek.value_added.pupils(frame, score="math", keys=["school"], pupil="pupil",
    ...                                year="year", provenance="synthetic")
    >>> start = {number: 3 for number in range(0, 40, 2)}
    >>> panel = ek.value_added.outcome(pupils, unit="school", cohort=start, weights="equal")
    >>> ek.did.two_way(panel).theta.round(1)
    array([0.5])
    """
    check_option("weights", weights, get_args(Weights))
    codes, labels = units_of(panel, unit)
    size = panel.n_periods
    cell = codes * size + panel.time
    used, cells = np.unique(cell, return_inverse=True)
    groups = Groups(cells.ravel().astype(np.intp), len(used))
    names = list(panel.names if on is None else on)
    adjusted = panel.y
    if names:
        x = np.stack([panel.column(name) for name in names], axis=1)
        fit = least_squares(panel.y, x, names=names, effects=[groups], weight=panel.weight,
                            unit=Groups(panel.unit, panel.n_units))  # fmt: skip
        adjusted = panel.y - x @ fit.beta
    total = groups.sum(panel.weight)
    mean = groups.sum(panel.weight * adjusted) / total
    j, t = np.divmod(used, size)
    name = f"value-added ({panel.outcome})"
    columns: dict[str, Any] = {
        name_of(unit): labels[j],
        "period": panel.times[t],
        name: mean,
        "start": [_start(cohort, label) for label in labels[j].tolist()],
    }
    if weights != "equal":
        precision = _precision(panel, unit, names, total)
        if weights == "unit":
            years = Groups(j, len(labels))
            precision = (years.sum(precision) / years.sum(np.ones(len(j))))[j]
        columns["precision"] = precision / precision.mean()
    if cluster is not None:
        columns["cluster"] = [cluster.get(label) for label in labels[j].tolist()]
    made = Panel.from_frame(
        columns, outcome=name, unit=name_of(unit), time="period", cohort="start",
        cluster=None if cluster is None else "cluster",
        weight=None if weights == "equal" else "precision", provenance=panel.provenance,
    )  # fmt: skip
    note = f"raw effects of {len(panel.y)} pupils given {', '.join(names) or 'nothing'}"
    return replace(made, ledger=(*panel.ledger, note, *made.ledger))


def _start(cohort: Mapping[Any, float | None] | None, label: Any) -> float:
    start = None if cohort is None else cohort.get(label)
    return np.nan if start is None else float(start)


def _precision(panel: Panel, unit: Level, names: Sequence[str], total: Vector) -> Vector:
    """One over the variance of a unit's year around the unit's level, noise of pupils included."""
    parts = (unit,) if isinstance(unit, str) else tuple(unit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoubtWarning)  # a variance of zero is an answer here
        try:
            fit = multilevel(panel, levels=[(*parts, "time"), unit], on=names)
        except IdentificationError as wrong:
            raise IdentificationError(
                f"precision weights need units seen in several years, with several pupils each "
                f"({wrong}); use weights='equal'"
            ) from wrong
    between = float(fit.covariance_of(fit.blocks[0].name)[0, 0])
    precision: Vector = 1 / (between + fit.residual_variance / total)
    return precision
