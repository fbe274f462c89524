"""Regressions with one effect per cohort and period: Sun-Abraham and extended two-way effects.

They repair two-way fixed effects under staggered adoption by not averaging inside the regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evalkit.core.arrays import Flags, Groups, Vector
from evalkit.core.errors import IdentificationError, OptionError, some
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.panel import Panel
from evalkit.core.scores import Scores
from evalkit.core.threads import one_thread
from evalkit.did.regression import TWO_WAY, Absorb, fit_cells
from evalkit.did.two_way import event_times, require_contrast
from evalkit.engines.cells import CellFit
from evalkit.engines.cohorts import Starts, cell_index, cohort_mass, plain
from evalkit.engines.placed import placed


@one_thread
def sun_abraham(
    panel: Panel,
    *,
    reference: int = -1,
    absorb: Absorb = TWO_WAY,
    covariates: Sequence[str] = (),
) -> Estimate:
    r"""Interaction-weighted event study: cohort-specific effects from one regression.

    **Estimand.** :math:`CATT(g,t)`, the effect on cohort g in period t; placebo before adoption.
    **Assumptions.** Parallel trends with the never-treated, no anticipation; effects may differ by
    cohort and over time.
    **Estimator.**
    :math:`Y_{it}=\alpha_i+\lambda_t+\sum_g\sum_{e\ne r}\delta_{g,e}1\{G_i=g\}1\{t-g=e\}
    +\varepsilon_{it}`.
    **Contribution.** That of :func:`regression`; shares enter when :func:`aggregate` averages.
    **Reference.** Sun and Abraham (2021), Journal of Econometrics 225(2), section 4.
    **Checked against.** R fixest 0.14.2 sunab (printed digits), see ``tests/test_goldens_did.py``.
    **Fails when.** No unit is never treated: refused.

    Parameters
    ----------
    panel : Panel
        With adoption dates and never-treated units; units treated in every period are refused.
    reference : int
        Event time left out in every cohort.
    absorb, covariates
        As in :func:`two_way`.

    Returns
    -------
    Estimate
        Index levels ``cohort`` and ``time``; ``mass`` is the cohort's share of units.

    Raises
    ------
    IdentificationError
        No never-treated unit, a cohort never seen at the reference, or collinear covariates.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"town": ["a"] * 3 + ["b"] * 3, "year": [1, 2, 3] * 2,
    ...          "score": [1.0, 1.0, 3.0, 1.0, 2.0, 2.0], "start": [3] * 3 + [None] * 3}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> ek.did.sun_abraham(panel).theta.round(12)
    array([1., 2.])
    """
    require_contrast(panel)
    event, seen = event_times(panel)
    treated = np.isfinite(event) & seen
    referred = (treated & (event == reference)).any(axis=1)
    missing = [plain(g) for g in Starts.of(panel).start[~referred] if np.isfinite(g)]
    if missing:
        raise IdentificationError(
            f"cohort {some(missing)} is never seen at event time {reference}; choose another "
            "reference, or leave the cohort out"
        )
    keep = treated & (event != reference)
    return _saturated(
        panel, keep, "Sun-Abraham interaction-weighted regression", absorb, covariates
    )


@one_thread
def extended_two_way(
    panel: Panel, *, baseline: Sequence[str] = (), absorb: Absorb = TWO_WAY
) -> Estimate:
    r"""Extended two-way fixed effects: one coefficient per treated cohort and period.

    **Estimand.** :math:`ATT(g,t)` for t >= g.
    **Assumptions.** Parallel trends in every untreated period and cohort (given baseline
    covariates), no anticipation.
    **Estimator.** :math:`Y_{it}=\alpha_i+\lambda_t+\sum_g\sum_{t\ge g}\tau_{gt}D_{gt}
    +\sum_t x_i'\beta_t+\sum_{gt}D_{gt}(x_i-\bar x_g)'\rho_{gt}+\varepsilon_{it}`.
    Without covariates it equals :func:`imputation` on balanced panels.
    **Contribution.** That of :func:`regression`, plus :math:`\hat\rho_{gt}` times that of
    :math:`\bar x_g`.
    **Reference.** Wooldridge (2025), Empirical Economics; section 6.
    **Checked against.** R etwfe (printed digits), see ``tests/test_goldens_did.py``.
    **Fails when.** A period has no untreated unit, or a cohort no untreated period: they are left
    out and named.

    Parameters
    ----------
    panel : Panel
        With adoption dates.
    baseline : sequence of str
        Covariates constant within units.
    absorb
        As in :func:`two_way`.

    Returns
    -------
    Estimate
        Index levels ``cohort`` and ``time``; ``mass`` is the cohort's share of units.

    Raises
    ------
    IdentificationError
        No treated or untreated observation, or collinear covariates (named).

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"town": ["a"] * 3 + ["b"] * 3, "year": [1, 2, 3] * 2,
    ...          "score": [1.0, 1.0, 3.0, 1.0, 2.0, 2.0], "start": [3] * 3 + [None] * 3}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> ek.did.extended_two_way(panel).theta.round(12)
    array([1.5])
    """
    require_contrast(panel, never=False)
    rows, notes = _identified(panel)
    inner = panel if rows.all() else panel.where(rows)
    event, seen = event_times(inner)
    treated = seen & (event >= 0)
    out = _saturated(inner, treated, "extended two-way fixed effects", absorb, (), baseline)
    out = replace(out, meta=replace(out.meta, notes=(*out.meta.notes, *notes)))
    return placed(out, rows)


def _identified(panel: Panel) -> tuple[Flags, list[str]]:
    """Rows of cohorts and periods that have an untreated observation, and what is left out."""
    notes = []
    starts, (event, seen) = Starts.of(panel), event_times(panel)
    before = ((event < 0) & seen).any(axis=1)
    always = starts.start[~before & ((event >= 0) & seen).any(axis=1)]
    if len(always):
        notes.append(f"cohort {some(map(plain, always))} left out: no period before its treatment")
    free = ((event < 0) & seen).any(axis=0)
    if not free.all():
        lost = [plain(t) for t in panel.clock[~free]]
        notes.append(f"no untreated unit in {some(lost, 20)}: periods left out")
    cells = seen & ~np.isin(starts.start, always)[:, None] & free
    if not (cells & (event >= 0)).any():
        raise IdentificationError(f"no treated observation has a comparison: {some(notes)}")
    if cells.sum() == seen.sum():
        return np.ones(len(panel.y), bool), notes
    return cells[starts.code[panel.unit], panel.time], notes


def _saturated(
    panel: Panel,
    keep: Flags,
    method: str,
    absorb: Absorb,
    covariates: Sequence[str],
    baseline: Sequence[str] = (),
) -> Estimate:
    """One effect for each cohort and period ``keep`` ``(G, T)``."""
    starts = Starts.of(panel)
    g, t = np.nonzero(keep)
    index = cell_index(starts, g.tolist(), t.tolist())
    dummies = np.zeros((*keep.shape, len(g)))
    dummies[g, t, np.arange(len(g))] = 1.0
    means = [_CohortMean(panel, panel.column(name)) for name in baseline]
    moderated = [(name, *key) for name in baseline for key in index.keys]
    fit = fit_cells(
        panel,
        dummies,
        Index.flat("term", [*index.keys, *moderated]) if baseline else index,
        estimand="ATT(g, t)",
        method=method,
        absorb=absorb,
        covariates=covariates,
        by_time=baseline,
        moderators=[mean.centred for mean in means],
    )
    if not baseline:
        blocks = fit.scores.rows if isinstance(fit.origin, CellFit) else None
        return replace(fit, mass=cohort_mass(panel, index, g.tolist(), blocks))
    k = len(index)
    # The effect is taken at the cohort's mean covariate, which is itself estimated.
    psi = fit.psi[:, :k].copy()
    for at, mean in enumerate(means, start=1):
        slope = fit.theta[at * k : (at + 1) * k]
        for column, cohort in enumerate(index.level("cohort")):
            psi[:, column] += slope[column] * mean.contributions(float(cohort))
    return replace(
        fit.take(list(range(k))),
        index=index,
        mass=cohort_mass(panel, index, g.tolist()),
        scores=Scores.dense(psi),
        origin=None,
        combination=None,
    )


class _CohortMean:
    """Mean of a unit covariate by cohort: each unit's deviation and contribution."""

    def __init__(self, panel: Panel, value: Vector) -> None:
        first = np.unique(panel.unit, return_index=True)[1]
        if (value != value[first][panel.unit]).any():
            raise OptionError("a baseline covariate changes within units; it must be constant")
        starts = Starts.of(panel)
        codes, groups = starts.code, Groups(starts.code, len(starts.start))
        weight = panel.weight[first]
        mass = groups.sum(weight)
        self.cohort = panel.cohort
        self.centred = value[first] - (groups.sum(weight * value[first]) / mass)[codes]
        self.share = weight / mass[codes]

    def contributions(self, cohort: float) -> Vector:
        """Contributions ``(N,)`` to the mean of one cohort."""
        out: Vector = self.share * self.centred * (self.cohort == cohort)
        return out
