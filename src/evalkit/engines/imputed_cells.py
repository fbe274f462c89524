r"""Imputation without covariates or trends: cells of cohort and period in closed form.

Untreated outcomes are unit plus period effects. With unit effects taken out, the fit and its
adjoint are one system in the :math:`T` period effects, whose matrix is a sum over cohorts: of mean
paths if the panel is balanced, of units' weights if not. Cost: :math:`NT^2`, less if balanced.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from evalkit.core.adoption import Starts, plain
from evalkit.core.arrays import Codes, Flags, Matrix, Vector
from evalkit.core.errors import IdentificationError, some
from evalkit.core.origin import Linear
from evalkit.core.panel import Panel
from evalkit.core.scores import Rows, Scores
from evalkit.engines.cohorts import Cohorts, PathWeights
from evalkit.engines.pivoted import Pivoted
from evalkit.engines.table import Table, TableWeights, normalised

IDENTIFIED = 1e-8  # largest error of the adjoint equations


@dataclass(frozen=True, eq=False)
class ImputedCells:
    """Imputed cells.

    Attributes
    ----------
    g, t : Codes (K,)
        Positions of cohorts and periods.
    theta, mass : Vector (K,)
        Effects, and weights of the treated observations behind them.
    scores : Scores
    origin : Linear
    counts : Codes (K, 2)
        Treated units of the cell, untreated units of its period.
    lost : tuple of str
        What cannot be imputed, and why.
    drawn : callable
        Scores that make ``mass`` random, where the treated are drawn with their units.
    """

    g: Codes
    t: Codes
    theta: Vector
    mass: Vector
    scores: Scores
    origin: Linear
    counts: Codes
    lost: tuple[str, ...]
    drawn: Callable[[], Scores]


def impute_cells(panel: Panel, minimum: int) -> ImputedCells | None:
    """Impute every cell that the untreated identify, in periods with at least ``minimum`` of them;
    None if the panel is mostly holes.

    Raises
    ------
    IdentificationError
        No cell that can be imputed.
    """
    source, starts = Cohorts.of(panel) or Table.of(panel), Starts.of(panel)
    if source is None:
        return None
    known = starts.event < 0
    of = _Sums.of(source, known)
    free, normal = of.free.sum(axis=0), of.normal.sum(axis=0)
    g, t = np.nonzero((of.mass > 0) & (free >= minimum))
    period = Pivoted.of(normal, of.weight.sum(axis=0))
    target = (np.eye(len(free))[t] - of.reach[g, :, t] / of.mass[g, t][:, None]).T
    both = period.solve(np.column_stack([target, of.moment.sum(axis=0)]))
    adjoint, effects = both[:, :-1], both[:, -1]
    kept = np.abs(normal @ adjoint - target).max(axis=0, initial=0.0) < IDENTIFIED
    lost = _short(panel, source, known)
    lost += _lost(of, starts.clock, free, minimum, t[~kept])
    if not kept.any():
        raise IdentificationError("no treated cell can be imputed: " + some(lost))
    g, t, adjoint, target = g[kept], t[kept], adjoint[:, kept], target[:, kept]
    mass = of.mass[g, t]
    theta = of.total[g, t] / mass - effects @ target
    fitted = effects + np.zeros(known.shape)
    fitted[g, t] += theta
    lin = np.where(known[:, :, None], -adjoint, 0.0)
    lin[g, t, np.arange(len(g))] = 1 / mass
    scores, origin = _contributions(panel, source, known, fitted, lin)
    counts = np.array([of.size[g, t], free[t]]).T
    return ImputedCells(
        g, t, theta, mass, scores, origin, counts, tuple(lost), lambda: _drawn(source, known, g, t)
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """What the fit needs of ``G`` cohorts; outcomes are less the unit's mean over its known
    periods.

    ``normal`` ``(G, T, T)``, ``moment``, ``weight`` and ``free`` ``(G, T)``: normal matrix,
    weighted sums of outcomes, weights and units of the known. ``mass``, ``total`` and ``size``
    ``(G, T)``: weights, weighted sums of outcomes and units of the treated. ``reach``
    ``(G, T, T)``: how the unit effects of the treated in a period (column) rest on the known
    periods (rows). ``late`` ``(G, T)``: whether anybody is treated.
    """

    normal: Matrix
    moment: Matrix
    weight: Matrix
    free: Codes
    mass: Matrix
    total: Matrix
    size: Codes
    reach: Matrix
    late: Flags

    @classmethod
    def of(cls, source: Cohorts | Table, known: Flags) -> _Sums:
        """The sums of cohorts that are untreated in the periods ``known`` ``(G, T)``."""
        if isinstance(source, Cohorts):  # the mean path stands for all
            w = np.outer(source.mass, np.ones(known.shape[1]))
            units = np.array([len(at) for at in source.at])
            return cls._of(w[:, None], source.mean[:, None], known, units[:, None])
        parts = [
            cls._of(source.weight[at][None], source.outcome[at][None], before[None], 1)
            for at, before in zip(source.at, known, strict=True)
        ]
        names = [field.name for field in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    @classmethod
    def _of(cls, w: Matrix, y: Matrix, known: Flags, units: Codes | int) -> _Sums:
        """The sums of cohorts of ``s`` rows each, that stand for ``units``: ``w`` and ``y``
        ``(G, s, T)``."""
        known = known[:, None]
        w0, w1, share = w * known, w * ~known, normalised(w, known)
        y = y - (share * y).sum(axis=2, keepdims=True)
        usable = share.any(axis=2, keepdims=True)
        late, w1 = w1.any(axis=1), w1 * usable
        across, weight = share.transpose(0, 2, 1), w0.sum(axis=1)
        return cls(
            normal=weight[:, :, None] * np.eye(w.shape[2]) - across @ w0,
            moment=(w0 * y).sum(axis=1),
            weight=weight,
            free=units * (w0 != 0).sum(axis=1),
            mass=w1.sum(axis=1),
            total=(w1 * y).sum(axis=1),
            size=units * (w1 != 0).sum(axis=1),
            reach=across @ w1,
            late=np.asarray(late),
        )


def _short(panel: Panel, source: Cohorts | Table, known: Flags) -> list[str]:
    """Units with treated observations only, in words."""
    starts = Starts.of(panel)
    if isinstance(source, Cohorts):
        gone = np.flatnonzero(~known.any(axis=1)).tolist()
        count = sum(len(source.at[c]) for c in gone)
        labels = [f"cohort {starts.labels[c]}" for c in gone]
    else:
        untreated = source.weight * known[starts.code]
        units = np.flatnonzero(~untreated.any(axis=1))
        count, labels = len(units), [str(label) for label in panel.units[units]]
    if not count:
        return []
    return [
        f"{count} units not imputed ({some(labels)}): fewer than 1 untreated observation of their "
        "own"
    ]


def _lost(of: _Sums, clock: Vector, free: Codes, minimum: int, unreached: Codes) -> list[str]:
    lost = []
    few = [plain(clock[t]) for t in np.flatnonzero(of.late.any(axis=0) & (free < minimum))]
    if few:
        what = "no untreated unit" if minimum == 1 else f"fewer than {minimum} untreated units"
        lost.append(f"{what} in {some(few, 20)}: cells left out")
    if len(unreached):
        gone = [plain(clock[t]) for t in np.unique(unreached)]
        lost.append(f"the untreated do not identify {some(gone, 20)}: cells left out")
    return lost


def _contributions(
    panel: Panel, source: Cohorts | Table, known: Flags, fitted: Matrix, lin: Matrix
) -> tuple[Scores, Linear]:
    """Sums by unit of weighted residuals times ``lin`` ``(G, T, K)``; residuals are taken from
    ``fitted`` ``(G, T)`` and the unit's mean over its known periods."""
    if isinstance(source, Table):
        return source.scores(fitted, known, lin), TableWeights(panel, source, known, lin)
    before = np.maximum(known.sum(axis=1), 1)[:, None, None]
    centred = lin - known[:, :, None] * lin.sum(axis=1, keepdims=True) / before
    scores = source.around(fitted, centred)
    return scores, PathWeights(source, scores.lin)


def drawn_paths(cohorts: Cohorts, g: Codes) -> Scores:
    """Weights of the units of cohorts ``g`` ``(K,)``."""
    lin = np.zeros((cohorts.size, len(cohorts.clock) + 1, len(g)))
    lin[g, -1, range(len(g))] = 1.0
    return cohorts.scores(lin)


def _drawn(source: Cohorts | Table, known: Flags, g: Codes, t: Codes) -> Scores:
    if isinstance(source, Cohorts):
        return drawn_paths(source, g)
    blocks = [
        source.weight[at] * (source.weight[at] * before).any(axis=1, keepdims=True)
        for at, before in zip(source.at, known, strict=True)
    ]
    lin = np.zeros((*known.shape, len(g)))
    lin[g, t, range(len(g))] = 1.0
    return Scores(Rows(blocks, source.at, len(source.weight)), lin.reshape(-1, len(g)))
