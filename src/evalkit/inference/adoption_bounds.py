"""What an estimate could be if adoption dates are known only to lie in windows.

Not for the estimate that leaves the windows out: every estimator makes that one by itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from evalkit.core.adoption import plain
from evalkit.core.arrays import Codes, Groups, Labels, Vector, cross, encode, frozen
from evalkit.core.checks import check_level, check_whole
from evalkit.core.errors import (
    DoubtWarning,
    IdentificationError,
    OptionError,
    PanelError,
    check_option,
    some,
)
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Key
from evalkit.core.panel import Panel
from evalkit.core.progress import progress
from evalkit.core.provenance import Provenance
from evalkit.inference.covariance import Vcov
from evalkit.inference.few import Few
from evalkit.inference.infer import Inference, infer
from evalkit.inference.resample import Estimator, quietly

if TYPE_CHECKING:
    import pandas as pd

Together: TypeAlias = Literal["unit", "cluster", "window"]
Choice: TypeAlias = tuple[int, ...]
SWEEPS = 20  # of a search over all groups; it has always ended long before
MISSING = (np.nan, np.nan, np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class AdoptionBounds:
    """Ends of ``k`` estimates over the admissible adoption dates.

    Attributes
    ----------
    excluded : Inference
        The estimate that leaves the rows inside windows out.
    low, high : Vector (k,)
        Lowest and highest estimate.
    conf_low, conf_high : Vector (k,)
        Ends of the union of the confidence intervals.
    groups : tuple of Dated
        The groups of units that adopt together, with their admissible dates.
    at_low, at_high : tuple of Vector (k,)
        Dates of the groups where the ends are attained.
    exact : bool
        True if every assignment of dates was estimated; else the ends come from a search, and may
        lie further out.
    method : str
        How the ends were found, in words.
    notes : tuple of str
        Assignments without an answer, with the reason.
    """

    excluded: Inference
    low: Vector
    high: Vector
    conf_low: Vector
    conf_high: Vector
    groups: tuple[Dated, ...]
    at_low: tuple[Vector, ...]
    at_high: tuple[Vector, ...]
    exact: bool
    method: str
    notes: tuple[str, ...]

    @property
    def provenance(self) -> Provenance:
        """Evidence tier."""
        return self.excluded.provenance

    @property
    def index_levels(self) -> int:
        """Number of levels of the index."""
        return len(self.excluded.index.levels)

    @property
    def table(self) -> pd.DataFrame:
        """One row per coordinate: the estimate without windows, the ends, the union."""
        import pandas as pd

        columns = {
            "estimate": self.excluded.estimate,
            "low": self.low,
            "high": self.high,
            "conf_low": self.conf_low,
            "conf_high": self.conf_high,
        }
        return pd.DataFrame(columns, index=self.excluded.index.to_pandas())

    def dates(self, key: Key) -> pd.DataFrame:
        """Dates where the ends of one coordinate are attained, one row per group of units."""
        import pandas as pd

        at = self.excluded.index.keys.index(key)
        rows = [
            {"measure": w.measure, "units": some(w.units), "earliest": plain(w.dates[0]),
             "latest": plain(w.dates[-1]), "low": plain(low), "high": plain(high)}
            for w, low, high in zip(self.groups, self.at_low[at], self.at_high[at], strict=True)
        ]  # fmt: skip
        table = pd.DataFrame(rows)
        return table if table["measure"].any() else table.drop(columns="measure")

    def __repr__(self) -> str:
        meta = self.excluded.meta
        lines = [
            f"{meta.estimand} on {meta.outcome!r} by {meta.method} ({meta.provenance})",
            f"{self.method}; union of {self.excluded.level:.0%} intervals",
            self.table.round(4).to_string(),
        ]
        return "\n".join([*lines, *self.notes])


@dataclass(frozen=True, slots=True, eq=False)
class Dated:
    """Units that adopt together (a measure, if there are several) and the dates they can have."""

    units: Labels
    members: Codes
    dates: Vector
    measure: str = ""


def adoption_bounds(
    panel: Panel,
    estimator: Estimator,
    *,
    together: Together = "unit",
    most: int = 1000,
    vcov: Vcov = "CR1",
    level: float = 0.95,
    few: Few = "withhold",
) -> AdoptionBounds:
    r"""Lowest and highest estimate over all adoption dates that the windows admit.

    A unit with the window :math:`[a,b]` may adopt in each observed period from a on, or in b.
    With :math:`\mathcal D` the set of assignments of a date to every such unit, the bounds are
    :math:`\min_{d\in\mathcal D}\hat\tau(d)` and the maximum, over panels whose rows inside windows
    are put back; the interval is the union of the intervals of :math:`\hat\tau(d)`, which covers
    whatever the true dates are. All of :math:`\mathcal D` is estimated if it has at most ``most``
    members. Else a search moves one group at a time, from all earliest and from all latest dates,
    until no move helps: the ends are then attained, but the true ones may lie further out.

    Parameters
    ----------
    panel : Panel
        Made with two columns, ``Panel.from_frame(..., cohort=(earliest, latest))``.
    estimator : callable
        ``Panel -> Estimate``; any. Average inside it, since cohorts change with the dates.
    together : {"unit", "cluster", "window"}
        Which units of one window must share a date: none; those of a cluster; all of them.
    most : int
        Largest number of assignments that are all estimated.
    vcov, level, few
        As in :func:`infer`. The interval is withheld where that of some assignment is.

    Returns
    -------
    AdoptionBounds

    Raises
    ------
    PanelError
        A panel without windows, or one that was cut after its windows were left out.
    IdentificationError
        No assignment that can be estimated.

    References
    ----------
    Manski (2003), Partial Identification of Probability Distributions, chapter 1, on bounds from
    what is known of a regressor.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"town": ["a"] * 4 + ["b"] * 4, "year": [1, 2, 3, 4] * 2,
    ...          "score": [1.0, 2.0, 5.0, 5.0, 1.0, 1.0, 1.0, 1.0],
    ...          "first": [2] * 4 + [None] * 4, "last": [4] * 4 + [None] * 4}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort=("first", "last"), provenance="synthetic")
    >>> import warnings; warnings.simplefilter("ignore")
    >>> bounds = ek.adoption_bounds(panel, ek.did.two_way)
    >>> bounds.low.round(2), bounds.high.round(2), bounds.excluded.estimate.round(2)
    (array([2.33]), array([3.5]), array([4.]))
    """
    check_option("together", together, get_args(Together))
    check_whole("most", most, 1)
    check_level(level)
    if panel.whole is None:
        why = (
            "was cut after its windows were left out; cut the frame instead, and build it again"
            if panel.earliest is not None
            else "has no adoption window; name two columns in Panel.from_frame(..., "
            "cohort=(earliest, latest))"
        )
        raise PanelError(f"the panel {why}")
    whole = panel.whole
    first = whole.cohort if whole.earliest is None else whole.earliest
    groups = dated(whole, first, whole.cohort, together)

    def under(dates: Sequence[float]) -> Estimate:
        cohort = whole.cohort.copy()
        for group, date in zip(groups, dates, strict=True):
            cohort[group.members] = date
        return quietly(estimator, whole.adopting(cohort))

    trial = Trial(under, tuple(groups), vcov, level, few)
    return found_by(trial, quietly(estimator, panel), most)


def found_by(trial: Trial, estimate: Estimate, most: int) -> AdoptionBounds:
    """The bounds over all assignments, or what a search finds of them."""
    groups, excluded = trial.groups, trial.judge(estimate)
    total = prod(len(group.dates) for group in groups)
    if total <= most:
        choices = product(*(range(len(group.dates)) for group in groups))
        for choice in progress(choices, total, "adoption dates"):
            trial.at(choice)
        method = f"all {total} assignments of dates to {len(groups)} groups of units"
    else:
        for key in excluded.keys:
            for sign in (1.0, -1.0):
                _search(trial, key, sign)
        method = (
            f"search over {total:.3g} assignments of dates to {len(groups)} groups of units, "
            f"{len(trial.made)} tried: the ends may lie further out"
        )
    bounds = trial.bounds(excluded, exact=total <= most, method=method)
    if trial.doubts:
        doubt = f"{trial.doubts[0]} So it is under {len(trial.doubts)} of the dates tried."
        warnings.warn(doubt, DoubtWarning, stacklevel=3)
    return bounds


def dated(
    whole: Panel, first: Vector, last: Vector, together: Together, measure: str = ""
) -> list[Dated]:
    """Units whose date is open, from ``first`` to ``last`` ``(N,)``, by what they share, with the
    dates they can have."""
    members = np.flatnonzero(first < last)
    windows = encode(first[members])[0], encode(last[members])[0]
    shared = {
        "unit": [members],
        "cluster": [encode(whole.cluster[members])[0], *windows],
        "window": list(windows),
    }[together]
    groups = []
    for at in Groups.of(cross(shared)).rows() if len(members) else []:
        mine = members[at]
        start, end = first[mine[0]], last[mine[0]]
        inside = whole.clock[(whole.clock >= start) & (whole.clock < end)]
        groups.append(Dated(whole.units[mine], mine, np.append(inside, end), measure))
    return groups


@dataclass(slots=True, eq=False)
class Trial:
    """Estimates and interval ends by key under assignments of dates, each made once."""

    under: Callable[[Sequence[float]], Estimate]
    groups: tuple[Dated, ...]
    vcov: Vcov
    level: float
    few: Few
    made: dict[Choice, dict[Key, tuple[float, float, float]]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def judge(self, estimate: Estimate) -> Inference:
        """Doubts about single assignments would be repeated as often as they are tried."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DoubtWarning)
            found = infer(estimate, vcov=self.vcov, level=self.level, few=self.few)
        if found.withheld is not None:
            self.doubts.append(found.caution)
        return found

    def at(self, choice: Choice) -> dict[Key, tuple[float, float, float]]:
        """What one assignment gives; nothing, with the reason kept, where there is no answer."""
        if choice not in self.made:
            try:
                r = self.judge(self.under(self.dates(choice).tolist()))
                ends = zip(r.estimate.tolist(), r.conf_low, r.conf_high, strict=True)
                found = {k: e for k, e in zip(r.keys, ends, strict=True) if not np.isnan(e[0])}
            except (IdentificationError, OptionError) as wrong:  # of the estimator, or an average
                found = {}
                self.failed.append(str(wrong))
            self.made[choice] = found
        return self.made[choice]

    def ends(self, key: Key) -> tuple[Vector, Choice, Choice, int]:
        """Lowest and highest estimate, union of intervals, where, and how many do not have it."""
        choices = [choice for choice, found in self.made.items() if key in found]
        if not choices:
            raise IdentificationError(
                f"{some(key)} is estimated under none of the {len(self.made)} assignments of "
                "dates that were tried; average inside the estimator to coordinates that do not "
                f"depend on the dates. {some(dict.fromkeys(self.failed), 2)}"
            )
        rows = np.array([self.made[choice][key] for choice in choices])
        low, high = int(rows[:, 0].argmin()), int(rows[:, 0].argmax())
        ends = np.array([rows[low, 0], rows[high, 0], rows[:, 1].min(), rows[:, 2].max()])
        return ends, choices[low], choices[high], len(self.made) - len(choices)

    def dates(self, choice: Choice) -> Vector:
        """Dates of the groups under an assignment."""
        return np.array([g.dates[at] for g, at in zip(self.groups, choice, strict=True)])

    def bounds(self, excluded: Inference, *, exact: bool, method: str) -> AdoptionBounds:
        """The ends over everything that was tried."""
        found = [self.ends(key) for key in excluded.keys]
        low, high, conf_low, conf_high = np.array([ends for ends, *_ in found]).T
        notes = [
            f"{some(key)} has no estimate under {missing} of the assignments"
            for key, (*_, missing) in zip(excluded.keys, found, strict=True)
            if missing
        ]
        notes += [f"without an answer: {why}" for why in dict.fromkeys(self.failed)][:3]
        return AdoptionBounds(
            excluded=excluded,
            low=frozen(low),
            high=frozen(high),
            conf_low=frozen(conf_low),
            conf_high=frozen(conf_high),
            groups=self.groups,
            at_low=tuple(self.dates(choice) for _, choice, _, _ in found),
            at_high=tuple(self.dates(choice) for _, _, choice, _ in found),
            exact=exact,
            method=method,
            notes=tuple(notes),
        )


def _search(trial: Trial, key: Key, sign: float) -> None:
    """Move one group at a time towards the lowest (sign 1) or highest (-1) value, if it helps."""
    sizes = [len(group.dates) for group in trial.groups]
    for start in ([0] * len(sizes), [size - 1 for size in sizes]):
        best, value = tuple(start), sign * trial.at(tuple(start)).get(key, MISSING)[0]
        for sweep in range(SWEEPS):
            before = best
            label = f"adoption dates, {some(key)}, sweep {sweep + 1}"
            for at in progress(range(len(sizes)), len(sizes), label):
                for date in range(sizes[at]):
                    other = (*best[:at], date, *best[at + 1 :])
                    found = sign * trial.at(other).get(key, MISSING)[0]
                    if found < value or (np.isnan(value) and not np.isnan(found)):
                        best, value = other, found
            if best == before:
                break
