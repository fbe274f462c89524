"""Effects of staggered adoption by imputing what the treated would have been without treatment."""

from __future__ import annotations

import numpy as np

from evalkit.core.arrays import Codes, Groups, Matrix, Vector
from evalkit.core.errors import IdentificationError, some
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.core.panel import Panel
from evalkit.core.scores import Scores
from evalkit.did.two_way import require_contrast
from evalkit.engines.absorb import Absorber
from evalkit.engines.cohorts import Cohorts, PathWeights, plain

IDENTIFIED = 1e-8  # largest error of the adjoint equations, relative to the weight of a cell


def imputation(panel: Panel) -> Estimate:
    r"""ATT(g, t) by imputation from untreated observations.

    **Estimand.** :math:`ATT(g,t)`, the mean effect in period t on the units adopting in g.
    **Assumptions.** Untreated outcomes are unit plus period effects, for all units and periods; no
    anticipation.
    **Estimator.** Fit :math:`Y_{it}=\alpha_i+\lambda_t+\varepsilon_{it}` on untreated observations;
    :math:`\hat\tau_{it}=Y_{it}-\hat\alpha_i-\hat\lambda_t`; average within cohort and period.
    The point estimates equal the two-stage estimator of Gardner.
    **Contribution.** :math:`\psi_i=\sum_t v_{it}\tilde\varepsilon_{it}` with :math:`v=w` on treated
    and :math:`v=-Z_0(Z_0'Z_0)^{-1}Z_1'w` on untreated observations, and
    :math:`\tilde\varepsilon_{it}=\hat\tau_{it}-\hat\tau_{gt}` on treated ones. Conservative.
    **Reference.** Borusyak, Jaravel and Spiess (2024), Review of Economic Studies 91(6), theorems
    1-3; Gardner (2022).
    **Checked against.** R didimputation 0.5.0 and did2s (printed digits), see
    ``tests/test_goldens_did.py``.
    **Fails when.** A unit has no untreated observation, or a period no untreated unit: those cells
    are left out and named.

    Parameters
    ----------
    panel : Panel
        With adoption dates; it may be unbalanced and weighted.

    Returns
    -------
    Estimate
        Index levels ``cohort`` and ``time``, t >= g. Its ``mass`` is the number (or weight) of
        treated observations, taken as given.

    Raises
    ------
    IdentificationError
        No treated or untreated observation, or no cell that can be imputed.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"town": ["a"] * 3 + ["b"] * 3, "year": [1, 2, 3] * 2,
    ...          "score": [1.0, 1.0, 3.0, 1.0, 2.0, 2.0], "start": [3] * 3 + [None] * 3}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> ek.did.imputation(panel).theta.round(12)
    array([1.5])
    """
    require_contrast(panel, never=False)
    cohorts = Cohorts.of(panel)
    if cohorts is not None:
        # A balanced panel collapses to its cohort means: same weights, same fit, G x T rows.
        shape = (cohorts.size, len(cohorts.clock))
        unit = np.repeat(np.arange(shape[0]), shape[1])
        time = np.tile(np.arange(shape[1]), shape[0])
        rows = _Rows(
            cohorts.mean.ravel(), unit, time, cohorts.start[unit], np.repeat(cohorts.mass, shape[1])
        )
    else:
        rows = _Rows(panel.y, panel.unit, panel.time, panel.cohort[panel.unit], panel.weight)
    fitted = _Imputed(rows, panel.clock)
    index = Index(("cohort", "time"), tuple((plain(g), plain(t)) for g, t in fitted.cells))
    if cohorts is not None:
        scores = _from_paths(cohorts, fitted)
    else:
        scores = _from_rows(panel, rows, fitted)
    meta = Meta(
        "ATT(g, t)",
        "imputation",
        panel.outcome,
        len(panel.y),
        panel.provenance,
        (*panel.ledger, *fitted.lost),
    )
    none = Scores(scores.rows, np.zeros_like(scores.lin))
    mass = Estimate(fitted.mass, none, panel.units, panel.cluster, index, meta)
    return Estimate(
        fitted.theta,
        scores,
        panel.units,
        panel.cluster,
        index,
        meta,
        mass=mass,
        origin=None if cohorts is None else PathWeights(cohorts, scores.lin[:, :-1]),
        combination=None if cohorts is None else np.eye(len(index)),
    )


class _Rows:
    """Observations, or cohort means standing for them."""

    def __init__(self, y: Vector, unit: Codes, time: Codes, start: Vector, weight: Vector) -> None:
        self.y, self.unit, self.time, self.start, self.weight = y, unit, time, start, weight


class _Imputed:
    """The untreated fit, the cells it can impute and the observation weights behind each."""

    def __init__(self, rows: _Rows, clock: Vector) -> None:
        treated = clock[rows.time] >= rows.start
        n_units, n_periods = int(rows.unit.max()) + 1, len(clock)
        self.free = np.flatnonzero(~treated)
        self.absorber = Absorber(
            [Groups(rows.unit[self.free], n_units), Groups(rows.time[self.free], n_periods)],
            rows.weight[self.free],
        )
        solution = self._solve(*self._sums(rows, self.free, rows.y[:, None]))
        self.period = solution[1][:, 0]
        own = solution[0][:, 0]
        imputable = np.bincount(rows.unit[self.free], minlength=n_units) > 0
        effect = rows.y - own[rows.unit] - self.period[rows.time]
        cells = [(g, t) for g in np.unique(rows.start[treated]) for t in np.flatnonzero(clock >= g)]
        self.lost: list[str] = []
        self.cells: list[tuple[float, float]] = []
        self.treated_rows: list[Codes] = []
        self.weights: list[Vector] = []
        for g, t in cells:
            mine = np.flatnonzero((rows.start == g) & (rows.time == t) & imputable[rows.unit])
            if len(mine):
                self.cells.append((float(g), float(clock[t])))
                self.treated_rows.append(mine)
        self._identify(rows, clock)
        gone = int((~imputable).sum())
        if gone:
            self.lost.append(f"{gone} units without an untreated observation are not imputed")
        if not self.cells:
            raise IdentificationError("no treated cell can be imputed: " + some(self.lost))
        self.mass = np.array([rows.weight[mine].sum() for mine in self.treated_rows])
        self.effect = effect
        self.theta = np.array(
            [
                rows.weight[mine] @ effect[mine] / rows.weight[mine].sum()
                for mine in self.treated_rows
            ]
        )

    def _sums(self, rows: _Rows, at: Codes, z: Matrix) -> tuple[Matrix, Matrix]:
        v = z[at] * rows.weight[at, None]
        unit, time = self.absorber.effects
        return (
            Groups(rows.unit[at], unit.size).sum(v),
            Groups(rows.time[at], time.size).sum(v),
        )

    def _solve(self, unit: Matrix, time: Matrix) -> tuple[Matrix, Matrix]:
        """Unit and period effects, whichever of the two the absorber concentrates out."""
        if self.absorber.largest is self.absorber.effects[0]:
            return self.absorber.solve(unit, time)
        b, a = self.absorber.solve(time, unit)
        return a, b

    def _identify(self, rows: _Rows, clock: Vector) -> None:
        """Adjoint effects of every cell; cells outside the span of the untreated are left out."""
        unit, time = self.absorber.effects
        sums_unit = np.zeros((unit.size, len(self.cells)))
        sums_time = np.zeros((time.size, len(self.cells)))
        for k, mine in enumerate(self.treated_rows):
            share = rows.weight[mine] / rows.weight[mine].sum()
            np.add.at(sums_unit[:, k], rows.unit[mine], share)
            np.add.at(sums_time[:, k], rows.time[mine], share)
        swap = self.absorber.largest is not unit
        solution = self._solve(sums_unit, sums_time)
        sides = (sums_time, sums_unit) if swap else (sums_unit, sums_time)
        error = self.absorber.gap(*sides, (solution[1], solution[0]) if swap else solution)
        keep = error < IDENTIFIED
        gone = sorted({plain(t) for (_, t), ok in zip(self.cells, keep, strict=True) if not ok})
        if gone:
            self.lost.append(f"no untreated comparison in {some(gone, 20)}: cells left out")
        at = np.flatnonzero(keep)
        self.cells = [self.cells[k] for k in at]
        self.treated_rows = [self.treated_rows[k] for k in at]
        self.adjoint = (solution[0][:, at], solution[1][:, at])


def _from_paths(cohorts: Cohorts, fitted: _Imputed) -> Scores:
    """Weights are constant within cohort and period, so contributions stay factored."""
    shape = (cohorts.size, len(cohorts.clock), len(fitted.cells))
    unit_side, time_side = fitted.adjoint
    treated = cohorts.clock[None, :] >= cohorts.start[:, None]
    v = np.where(treated[:, :, None], 0.0, -(unit_side[:, None, :] + time_side[None, :, :]))
    for k, (g, t) in enumerate(fitted.cells):
        c = int(np.flatnonzero(cohorts.start == g)[0])
        v[c, np.flatnonzero(cohorts.clock == t)[0], k] = 1 / cohorts.mass[c]
    # Within a cohort the treated deviate from their own mean effect, the untreated from the fit.
    error = np.where(treated, 0.0, fitted.effect.reshape(shape[:2]))
    lin = np.empty((shape[0], shape[1] + 1, shape[2]))
    lin[:, :-1] = v
    lin[:, -1] = np.einsum("ct,ctk->ck", error, v)
    return Scores(cohorts.rows, lin)


def _from_rows(panel: Panel, rows: _Rows, fitted: _Imputed) -> Scores:
    """Contributions from observations, one cell at a time; cost n x cells, memory N x cells."""
    psi = np.zeros((panel.n_units, len(fitted.cells)))
    unit_side, time_side = fitted.adjoint
    free = fitted.free
    own, when = rows.unit[free], rows.time[free]
    weighted = rows.weight[free] * fitted.effect[free]
    for k, mine in enumerate(fitted.treated_rows):
        v = -(unit_side[own, k] + time_side[when, k])
        psi[:, k] = np.bincount(own, v * weighted, minlength=panel.n_units)
        share = rows.weight[mine] / rows.weight[mine].sum()
        np.add.at(psi[:, k], rows.unit[mine], share * (fitted.effect[mine] - fitted.theta[k]))
    return Scores.dense(psi)
