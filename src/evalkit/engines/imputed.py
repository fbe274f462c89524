"""Imputation of untreated outcomes: the sample, the cells that it reaches, and what each rests on.

The sample is the observations, or the cohort means of a balanced panel: the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evalkit.core.adoption import Starts, plain
from evalkit.core.arrays import Codes, Groups, Labels, Matrix, Vector, cross
from evalkit.core.errors import IdentificationError, OptionError, some
from evalkit.core.panel import Panel
from evalkit.core.scores import Scores
from evalkit.engines.cohorts import Cohorts
from evalkit.engines.extension import Effects, Extension
from evalkit.engines.regress import refuse_singular

IDENTIFIED = 1e-8  # largest error of the adjoint equations, relative to the weight of a cell
MOST = 500  # unit trends on a panel that does not collapse to cohorts: one dense column each


@dataclass(frozen=True, eq=False)
class Sample:
    """Observations, or cohort means standing for the ``count`` units that share their weights.

    Attributes
    ----------
    y, start, weight : Vector (n,)
        Outcome, adoption date of the row's unit, weight.
    unit, period, cohort : Groups
    count : Codes (n,)
        Units behind the row.
    labels : sequence of str
        Names of the units, or of the cohorts.
    x : Matrix (n, p)
        Covariates, named by ``names``, then unit trends.
    trends : bool
        Whether ``x`` holds unit trends.
    """

    y: Vector
    unit: Groups
    period: Groups
    cohort: Groups
    start: Vector
    weight: Vector
    count: Codes
    labels: Sequence[str]
    x: Matrix
    names: tuple[str, ...]
    trends: bool

    @classmethod
    def of_rows(cls, panel: Panel, covariates: Sequence[str], *, trends: bool) -> Sample:
        """The observations of a panel."""
        if trends and panel.n_units > MOST:
            raise OptionError(
                f"unit trends of {panel.n_units} units: at most {MOST} on a panel that is "
                "unbalanced or has covariates or changing weights. Balance it, without covariates."
            )
        unit, starts = Groups(panel.unit, panel.n_units), Starts.of(panel)
        columns = [panel.column(name)[:, None] for name in covariates]
        return cls(
            panel.y,
            unit,
            Groups(panel.time, panel.n_periods),
            Groups(starts.code[panel.unit], len(starts.start)),
            panel.cohort[panel.unit],
            panel.weight,
            np.ones(len(panel.y), np.intp),
            [str(unit) for unit in panel.units],
            np.hstack([*columns, _slopes(unit, panel.clock[panel.time], trends)]),
            tuple(covariates),
            trends,
        )

    @classmethod
    def of_cohorts(cls, cohorts: Cohorts, starts: Starts, *, trends: bool) -> Sample:
        """The mean paths of a balanced panel: same weights, same fit, G x T rows."""
        size, periods = cohorts.mean.shape
        unit = Groups(np.repeat(np.arange(size), periods), size)
        period = Groups(np.tile(np.arange(periods), size), periods)
        return cls(
            cohorts.mean.ravel(),
            unit,
            period,
            unit,
            cohorts.start[unit.codes],
            cohorts.mass[unit.codes],
            np.bincount(cohorts.code, minlength=size)[unit.codes],
            [f"cohort {label}" for label in starts.labels],
            _slopes(unit, cohorts.clock[period.codes], trends),
            (),
            trends,
        )

    def share(self, rows: Codes) -> Vector:
        """Weights of some rows, normalised to one."""
        share: Vector = self.weight[rows] / self.weight[rows].sum()
        return share


def _slopes(unit: Groups, clock: Vector, wanted: bool) -> Matrix:
    """One column per unit: time where it is the unit's row, centred, zero elsewhere."""
    since = clock - clock.min()  # so that no digit depends on where the calendar starts
    columns = np.zeros((len(clock), unit.size if wanted else 0))
    if wanted:
        columns[np.arange(len(clock)), unit.codes] = since - since.mean()
    return columns


@dataclass(frozen=True, slots=True)
class Cell:
    """Cohort and period (positions) and treated rows of one average."""

    cohort: int
    time: int
    rows: Codes


@dataclass(frozen=True, eq=False)
class Imputed:
    """Imputed cells, the adjoint of the fit behind each, and what the fit leaves over.

    Attributes
    ----------
    theta : Vector (K,)
        Mean effect of each cell.
    counts : Codes (K, 2)
        Treated units of the cell, untreated units of its period.
    rest : Vector (n,)
        Residuals of untreated rows; of treated ones the deviation of the effect from the cell's.
    lost : tuple of str
        What cannot be imputed, and why.
    """

    sample: Sample
    model: Extension
    cells: tuple[Cell, ...]
    adjoint: Effects
    theta: Vector
    counts: Codes
    rest: Vector
    lost: tuple[str, ...]

    @property
    def mass(self) -> Vector:
        """Weight of the treated observations of each cell ``(K,)``."""
        return np.array([self.sample.weight[cell.rows].sum() for cell in self.cells])

    def weight(self, k: int) -> Vector:
        """Row weights ``v`` ``(n,)`` of cell ``k``: ``v @ y == theta[k]``."""
        v = np.zeros(len(self.sample.y))
        known, own = self.model.known, self.adjoint.take([k])
        v[known] = -self.sample.weight[known] * self.model.at(own, known)[:, 0]
        v[self.cells[k].rows] = self.sample.share(self.cells[k].rows)
        return v

    def weights(self) -> Matrix:
        """Row weights of all cells ``(n, K)``."""
        return np.stack([self.weight(k) for k in range(len(self.cells))], axis=1)

    def project(self, names: Sequence[str], x: Matrix) -> Projected:
        r"""Least squares of the effects on ``x`` ``(n, q)``, of which treated rows count.

        :math:`\hat\beta=(X'WX)^{-1}X'W\hat\tau`; contributions are those of the untreated fit and
        of the residuals :math:`\hat\tau_{it}-x_{it}'\hat\beta`.

        Raises
        ------
        IdentificationError
            Naming the columns that are collinear among the treated.
        """
        rows = np.concatenate([cell.rows for cell in self.cells])
        effect = np.concatenate(
            [
                self.rest[cell.rows] + value
                for cell, value in zip(self.cells, self.theta, strict=True)
            ]
        )
        weight, known = self.sample.weight[rows], self.model.known
        refuse_singular(x[rows], x[rows], weight, names)
        share = (x[rows] * weight[:, None]) @ np.linalg.inv((x[rows] * weight[:, None]).T @ x[rows])
        beta: Vector = share.T @ effect
        v = np.zeros((len(self.sample.y), len(beta)))
        adjoint = self.model.solve(self.model.sums(rows, share))
        v[known] = -self.sample.weight[known, None] * self.model.at(adjoint, known)
        v[rows] = share
        rest = self.rest.copy()
        rest[rows] = effect - x[rows] @ beta
        return Projected(beta, v, self.sample.unit.sum(v * rest[:, None]))

    def scores(self) -> Scores:
        """Contributions from observations, one cell at a time; cost n x cells, memory N x cells."""
        unit = self.sample.unit
        columns = [unit.sum(self.weight(k) * self.rest) for k in range(len(self.cells))]
        return Scores.dense(np.stack(columns, axis=1))

    def drawn(self) -> Scores:
        """Weights of units in the cells: what makes ``mass`` random if they are drawn."""
        unit, weight = self.sample.unit, self.sample.weight
        columns = [
            np.bincount(unit.codes[cell.rows], weight[cell.rows], unit.size) for cell in self.cells
        ]
        return Scores.dense(np.stack(columns, axis=1))

    def factored(self, cohorts: Cohorts) -> Scores:
        """Weights are constant within cohort and period, so contributions stay factored."""
        v = self.weights().reshape(*cohorts.mean.shape, -1) / cohorts.mass[:, None, None]
        rest = np.einsum("ct,ctk->ck", self.rest.reshape(cohorts.mean.shape), v)
        return cohorts.scores(np.concatenate([v, rest[:, None]], axis=1))


@dataclass(frozen=True, eq=False)
class Projected:
    """Coefficients ``(q,)`` of effects on characteristics, their row weights ``(n, q)`` and
    contributions ``(N, q)``."""

    beta: Vector
    lin: Matrix
    psi: Matrix

    def weights(self) -> Matrix:
        """Row weights."""
        return self.lin


def impute(sample: Sample, clock: Vector, minimum: int) -> Imputed:
    """Fit on the untreated, find the cells that the fit reaches, and impute them.

    Raises
    ------
    IdentificationError
        No cell that can be imputed, or covariates that the effects explain.
    """
    known = np.flatnonzero(clock[sample.period.codes] < sample.start)
    model = Extension(sample.unit, sample.period, sample.x, sample.weight, known)
    if sample.names:
        x = sample.x[known, : len(sample.names)]
        left = model.residual[:, : len(sample.names)]
        refuse_singular(x, left, sample.weight[known], sample.names)
    free = Groups(sample.period.codes[known], len(clock)).sum(sample.count[known].astype(float))
    cells, lost = _cells(sample, clock, free, minimum)
    adjoint, kept = _reached(sample, model, cells)
    gone = sorted({plain(clock[c.time]) for c, ok in zip(cells, kept, strict=True) if not ok})
    if gone:
        lost.append(f"the untreated do not identify {some(gone, 20)}: cells left out")
    if not kept.any():
        raise IdentificationError("no treated cell can be imputed: " + some(lost))
    cells = [cell for cell, ok in zip(cells, kept, strict=True) if ok]
    fitted = model.solve(model.sums(known, (sample.weight * sample.y)[known, None]))
    rest = sample.y - model.at(fitted)[:, 0]
    theta = np.array([sample.share(cell.rows) @ rest[cell.rows] for cell in cells])
    for value, cell in zip(theta, cells, strict=True):
        rest[cell.rows] -= value
    counts = [(sample.count[cell.rows].sum(), free[cell.time]) for cell in cells]
    return Imputed(
        sample,
        model,
        tuple(cells),
        adjoint,
        theta,
        np.array(counts).astype(np.intp),
        rest,
        tuple(lost),
    )


def _cells(
    sample: Sample, clock: Vector, free: Vector, minimum: int
) -> tuple[list[Cell], list[str]]:
    """Treated cells whose units and periods have enough untreated rows, and what is lost."""
    unit, period = sample.unit.codes, sample.period.codes
    treated = clock[period] >= sample.start
    seen = np.bincount(unit, ~treated, minlength=sample.unit.size)
    least = 2 if sample.trends else 1
    lost = []
    short = np.flatnonzero(treated & (seen < least)[unit])
    if len(short):
        first = short[np.unique(unit[short], return_index=True)[1]]
        named = some(sample.labels[u] for u in unit[first])
        lost.append(
            f"{sample.count[first].sum()} units not imputed ({named}): fewer than {least} "
            f"untreated observation{'s' if least > 1 else ''} of their own"
        )
    few = [plain(clock[t]) for t in np.unique(period[treated]) if free[t] < minimum]
    if few:
        what = "no untreated unit" if minimum == 1 else f"fewer than {minimum} untreated units"
        lost.append(f"{what} in {some(few, 20)}: cells left out")
    usable = treated & (seen >= least)[unit] & (free >= minimum)[period]
    at = np.flatnonzero(usable)
    cohort = sample.cohort.codes
    pairs = Groups.of(cross([cohort[at], period[at]]))
    cells = [
        Cell(int(cohort[rows[0]]), int(period[rows[0]]), rows)
        for rows in (at[group] for group in pairs.rows() if len(group))
    ]
    return cells, lost


def _reached(sample: Sample, model: Extension, cells: Sequence[Cell]) -> tuple[Effects, Labels]:
    """Adjoint effects of the cells inside the span of the untreated, and which cells those are."""
    if not cells:
        nothing = np.zeros((0, 0))
        return Effects(nothing, nothing, nothing), np.zeros(0, bool)
    sums = [model.sums(cell.rows, sample.share(cell.rows)[:, None]) for cell in cells]
    target = Effects(
        np.hstack([each.unit for each in sums]),
        np.hstack([each.period for each in sums]),
        np.hstack([each.slope for each in sums]),
    )
    adjoint = model.solve(target)
    kept = model.gap(target, adjoint) < IDENTIFIED
    return adjoint.take(np.flatnonzero(kept)), kept
