"""Cell means as a panel: what an estimator of differences between means gets from pupils."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.core.errors import SummaryError, some
from evalkit.core.panel import Panel

if TYPE_CHECKING:
    from evalkit.data.sums import Summaries


def panel(
    sums: Summaries,
    *,
    time: str,
    unit: str | None = None,
    cluster: str | None = None,
    cohort: str | Mapping[Any, Any] | None = None,
    outcome: str | None = None,
) -> Panel:
    """The means of the cells as a panel, each weighted by its pupils.

    An estimate that is a difference of weighted means is the same from this panel as from the
    pupils, and so are its errors clustered by whole cells: two-way regressions without pupil
    covariates, and ``callaway_santanna(..., unbalanced="records")``. Without ``unit`` the averages
    of the latter are the same too; a unit weighs in them by its pupils per period it is seen in.

    Parameters
    ----------
    sums : Summaries
    time : str
        Key that holds the period.
    unit : str, optional
        Key that is followed over time; cells of other keys are collapsed. Without it every cell is
        a record of its own, as in repeated cross-sections.
    cluster : str, optional
        Key that holds the clusters (default: the unit).
    cohort : str or mapping, optional
        Key that holds the first treated period, or a mapping from every unit (every cluster, if
        there is no unit) to it; None, NaN or inf means never.
    outcome : str, optional
        Variable whose mean is the outcome (default: the score).

    Returns
    -------
    Panel

    Raises
    ------
    SummaryError
        If a unit lies in two clusters, or the mapping leaves a unit out.

    Examples
    --------
    >>> import evalkit as ek
    >>> pupils = {"town": ["a", "a", "a", "b", "b"], "year": [1, 1, 2, 1, 2],
    ...           "score": [1.0, 3.0, 4.0, 1.0, 2.0]}
    >>> sums = ek.summaries(pupils, keys=["town", "year"], score="score", provenance="synthetic")
    >>> sums.panel(unit="town", time="year", cohort={"a": 2, "b": None}).y
    array([2., 4., 1., 2.])
    """
    name = sums.names[sums.at(outcome or sums.score)]
    own = [key for key in (unit, cluster, cohort) if isinstance(key, str)]
    sums.cells.require(list(dict.fromkeys([time, *own])))
    if unit is not None:
        for key in own[1:]:
            _refuse_two(sums, unit, key)
        sums = sums.by(*dict.fromkeys([time, *own]))
    who = unit or f"cell of {', '.join(sums.keys)}"
    columns = {
        time: sums.label(time),
        who: sums.label(unit) if unit else np.array([*map(sums.cells.name, range(len(sums)))]),
        "sum of weights": sums.weight,
        f"mean {name}": sums.mean[:, sums.at(name)],
    }
    if cluster is not None:
        columns[cluster] = sums.label(cluster)
    if cohort is not None:
        columns["first treated"] = (
            sums.label(cohort)
            if isinstance(cohort, str)
            else _dates(cohort, columns.get(unit or cluster or who), unit or cluster or who)
        )
    made = Panel.from_frame(
        columns,
        outcome=f"mean {name}",
        unit=who,
        time=time,
        cohort=None if cohort is None else "first treated",
        cluster=cluster,
        weight="sum of weights",
        provenance=sums.provenance,
    )
    pupils = f"means of {int(sums.n.sum())} pupils in {len(sums)} cells"
    ledger = (pupils, *sums.missing.ledger(), *sums.notes, *made.ledger)
    return replace(made, outcome=name, ledger=ledger)


def _refuse_two(sums: Summaries, unit: str, key: str) -> None:
    """Refuse a unit that has two labels of a key that it may have one of."""
    pairs = sums.cells.by(list(dict.fromkeys([unit, key])))[0]
    units = pairs.label(unit)
    twice = np.flatnonzero(units[1:] == units[:-1])
    if len(twice):
        at = twice[0]
        a, b = pairs.label(key)[at : at + 2]
        raise SummaryError(
            f"{unit} {units[at]!s} lies in {key} {a!s} and in {key} {b!s} ({len(twice)} such "
            f"cases): one id for two of them, or a {unit} that moved. Make the ids unique, or "
            "leave out unit, so that every cell is a record of its own."
        )


def _dates(dates: Mapping[Any, Any], labels: Any, key: str) -> Any:
    """First treated periods ``(m,)``, NaN for never."""
    starts = dict(dates)
    absent = [label for label in np.unique(labels).tolist() if label not in starts]
    if absent:
        raise SummaryError(
            f"cohort gives no first treated period for {key} {some(absent)}; "
            "name every one, with None for never"
        )
    return np.array([starts[label] for label in labels.tolist()], dtype=object)
