"""What effects of several measures could be if their dates are known only to lie in windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np

from evalkit.core.arrays import Vector
from evalkit.core.checks import check_level, check_whole
from evalkit.core.errors import PanelError, check_option
from evalkit.core.estimate import Estimate
from evalkit.core.panel import Panel
from evalkit.did.several import By, dates_of, entries, several_measures
from evalkit.inference.adoption_bounds import (
    AdoptionBounds,
    Dated,
    Together,
    Trial,
    dated,
    found_by,
)
from evalkit.inference.covariance import Vcov
from evalkit.inference.few import Few


def measure_bounds(
    panel: Panel,
    *,
    starts: Mapping[str, Any],
    earliest: Mapping[str, Any],
    together: Together = "unit",
    most: int = 1000,
    vcov: Vcov = "CR1",
    level: float = 0.95,
    few: Few = "withhold",
    by: By = "measure",
    **options: Any,
) -> AdoptionBounds:
    r"""Lowest and highest effects of several measures over all dates that their windows admit.

    As :func:`adoption_bounds`, for the dates of every measure at once: a unit with the window
    :math:`[a,b]` for a measure may begin it in each observed period from a on, or in b.

    Parameters
    ----------
    panel, starts, earliest, by
        As in :func:`evalkit.did.several_measures`: ``starts`` holds the ends of the windows,
        ``earliest`` their beginnings.
    together : {"unit", "cluster", "window"}
        Which units of one window of a measure must share a date: none; those of a cluster; all.
    most : int
        Largest number of assignments that are all estimated; beyond it a search, whose ends may
        not be the outermost.
    vcov, level, few
        As in :func:`infer`. The interval is withheld where that of some assignment is.
    **options
        Further options of :func:`evalkit.did.several_measures`.

    Returns
    -------
    AdoptionBounds

    Raises
    ------
    PanelError
        No measure has a window.
    IdentificationError
        No assignment that can be estimated.

    References
    ----------
    As of :func:`adoption_bounds`.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"town": ["a"] * 4 + ["b"] * 4 + ["c"] * 4, "year": [1, 2, 3, 4] * 3,
    ...          "score": [0.0, 2.0, 2.0, 5.0, 0.0, 0.0, 3.0, 3.0, 0.0, 0.0, 0.0, 0.0]}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             provenance="synthetic")
    >>> import warnings; warnings.simplefilter("ignore")
    >>> bounds = ek.measure_bounds(panel, starts={"group": {"a": 2}, "funding": {"a": 4, "b": 3}},
    ...                            earliest={"funding": {"a": 3}})
    >>> bounds.low.round(2), bounds.high.round(2)
    (array([1.25, 2.62]), array([2., 3.]))
    """
    check_option("together", together, get_args(Together))
    check_whole("most", most, 1)
    check_level(level)
    excluded = several_measures(panel, starts=starts, earliest=earliest, by=by, **options)
    latest = dates_of(panel, entries(panel, "starts", starts))
    first = dates_of(panel, entries(panel, "earliest", earliest))
    groups: list[Dated] = []
    for name in (name for name in latest if name in first):
        groups += dated(panel, np.minimum(first[name], latest[name]), latest[name], together, name)
    if not groups:
        raise PanelError("no measure has an adoption window; name the first date in earliest=")

    def under(dates: Sequence[float]) -> Estimate:
        chosen = {name: date.copy() for name, date in latest.items()}
        for group, date in zip(groups, dates, strict=True):
            chosen[group.measure][group.members] = date
        return _under(panel, chosen, by, options)

    return found_by(Trial(under, tuple(groups), vcov, level, few), excluded, most)


def _under(
    panel: Panel, chosen: Mapping[str, Vector], by: By, options: Mapping[str, Any]
) -> Estimate:
    """The effects under known dates ``(N,)``, which are on the panel's clock."""
    counted = panel.times.dtype.kind not in "iuf"
    starts = {}
    for name, dates in chosen.items():
        at = np.flatnonzero(np.isfinite(dates))
        labels = panel.times[dates[at].astype(np.intp)] if counted else dates[at]
        starts[name] = dict(zip(panel.units[at].tolist(), labels.tolist(), strict=True))
    return several_measures(panel, starts=starts, by=by, **options)
