"""Regressions with one effect per cohort and period: Sun-Abraham and extended two-way effects.

They repair two-way fixed effects under staggered adoption by not averaging inside the regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias, get_args

import numpy as np

from evalkit.core.adoption import Starts, plain
from evalkit.core.arrays import Codes, Flags, Groups, Vector
from evalkit.core.checks import refuse_text_or_repeats
from evalkit.core.errors import IdentificationError, OptionError, check_option, some
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.core.panel import Panel
from evalkit.core.scores import Scores
from evalkit.core.sides import adopters
from evalkit.core.threads import one_thread
from evalkit.did.group_time import alone
from evalkit.did.nonlinear import partial_effects
from evalkit.did.regression import TWO_WAY, Absorb, fit_cells
from evalkit.did.two_way import event_times, require_contrast
from evalkit.engines import quasi
from evalkit.engines.cells import CellFit
from evalkit.engines.cohorts import cell_index, cohort_mass
from evalkit.engines.placed import placed

Family: TypeAlias = Literal["linear", "poisson", "logit"]


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
        Index levels ``cohort`` and ``time``; ``mass`` is the cohort's share of units; ``counts``
        are the units of the cell and the never-treated of its period.

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
    starts, (event, units) = Starts.of(panel), event_times(panel)
    treated = np.isfinite(event) & (units > 0)
    referred = (treated & (event == reference)).any(axis=1) | np.isinf(starts.start)
    always = starts.earliest <= starts.clock[0]
    if always.any():
        labels = some(starts.labels[g] for g in np.flatnonzero(always))
        raise IdentificationError(
            f"cohort {labels} is treated in every period, so that it has no reference; leave its "
            "units out"
        )
    missing = [starts.labels[g] for g in np.flatnonzero(~referred)]
    if missing:
        raise IdentificationError(
            f"cohort {some(missing)} is never seen at event time {reference}; choose another "
            "reference, or leave the cohort out"
        )
    keep, never = treated & (event != reference), np.isinf(event)
    name = "Sun-Abraham interaction-weighted regression"
    out = _saturated(panel, keep, never, name, absorb, covariates)
    return replace(out, sides=adopters(panel, out.index, never=True))


@one_thread
def extended_two_way(
    panel: Panel,
    *,
    family: Family = "linear",
    baseline: Sequence[str] = (),
    absorb: Absorb = TWO_WAY,
) -> Estimate:
    r"""Extended two-way fixed effects: one coefficient per treated cohort and period.

    **Estimand.** :math:`ATT(g,t)` for t >= g.
    **Assumptions.** Parallel trends in every untreated period and cohort (given baseline
    covariates), no anticipation.
    **Estimator.** :math:`Y_{it}=\alpha_i+\lambda_t+\sum_g\sum_{t\ge g}\tau_{gt}D_{gt}
    +\sum_t x_i'\beta_t+\sum_{gt}D_{gt}(x_i-\bar x_g)'\rho_{gt}+\varepsilon_{it}`.
    Without covariates it equals :func:`imputation` on balanced panels. For counts and shares,
    :math:`E[Y_{it}(\infty)]=G(z_{it}'\beta)` with :math:`z'\beta=\beta_g+\lambda_t
    +x_i'(\beta^x_g+\lambda^x_t)`, G the exponential or the logistic, cohorts in place of units; and
    :math:`\hat\tau_{gt}` the mean of :math:`\hat\tau_{it}=Y_{it}-G(z_{it}'\hat\beta)` in the cell.
    Parallel trends then hold in :math:`z'\beta`, that is in growth rates or log odds.
    **Contribution.** That of :func:`regression`, plus :math:`\hat\rho_{gt}` times that of
    :math:`\bar x_g`. For counts and shares
    :math:`w_{it}(\hat\tau_{it}-\hat\tau_{gt})/W_{gt}` in the cell, less
    :math:`a_{gt}'H^{-1}\sum_tw_{it}z_{it}(Y_{it}-G_{it})` over untreated rows, with
    :math:`a_{gt}` the mean of :math:`G'z` in the cell and :math:`H=\sum wG'zz'`.
    **Reference.** Wooldridge (2025), Empirical Economics; section 6. For counts and shares
    Wooldridge (2023), Econometrics Journal 26(3).
    **Checked against.** R etwfe (printed digits), see ``tests/test_goldens_did.py``; for counts and
    shares diff-diff 3.13 and moderndid 0.4.1 (1e-7) and the saturated statsmodels GLM (1e-8), see
    ``tests/test_nonlinear.py``.
    **Fails when.** A period has no untreated unit, or a cohort no untreated period: they are left
    out and named. A cohort or period whose untreated outcomes are all at a bound has no mean in a
    Poisson or logit model: its cells are NaN, with the reason in the notes.

    Parameters
    ----------
    panel : Panel
        With adoption dates.
    family : {"linear", "poisson", "logit"}
        Model of the untreated mean: Poisson for counts and other outcomes of zero or more, logit
        for outcomes from zero to one, such as pass rates. Neither needs the distribution.
    baseline : sequence of str
        Covariates constant within units.
    absorb
        As in :func:`two_way`, for the linear model.

    Returns
    -------
    Estimate
        Index levels ``cohort`` and ``time``; ``mass`` is the cohort's share of units; ``counts``
        are the units of the cell and the untreated of its period.

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
    check_option("family", family, get_args(Family))
    refuse_text_or_repeats("baseline", baseline)
    if family != "linear" and tuple(absorb) != TWO_WAY:
        raise OptionError(
            f"family={family!r} has cohort and period effects; absorb= belongs to family='linear'"
        )
    require_contrast(panel, never=False)
    rows, notes = _identified(panel)
    inner = panel if rows.all() else panel.where(rows)
    if family == "linear":
        event, units = event_times(inner)
        treated, name = (event >= 0) & (units > 0), "extended two-way fixed effects"
        out = _saturated(inner, treated, event < 0, name, absorb, (), baseline)
    else:
        out = _nonlinear(inner, family, baseline)
    meta = replace(out.meta, notes=(*out.meta.notes, *notes))
    out = replace(out, meta=meta, sides=adopters(inner, out.index))
    return placed(out, rows)


def _nonlinear(panel: Panel, family: quasi.Family, baseline: Sequence[str]) -> Estimate:
    starts = Starts.of(panel)
    for name in baseline:
        _CohortMean(panel, starts, name)
    made = partial_effects(panel, starts, family=family, baseline=baseline)
    g, t = made.pairs.T
    index = cell_index(starts, g.tolist(), t.tolist())
    name = {"poisson": "Poisson", "logit": "logit"}[family]
    counts = _counts(panel, g, t, starts.event < 0)
    meta = Meta(
        "ATT(g, t)",
        f"extended two-way effects ({name} quasi-likelihood)",
        panel.outcome,
        len(panel.y),
        panel.provenance,
        (*panel.ledger, *made.lost, *alone(index, counts)),
    )
    shares = cohort_mass(panel, index, g.tolist())
    scores = Scores.dense(made.psi)
    return Estimate(
        made.theta, scores, panel.units, panel.cluster, index, meta, mass=shares, counts=counts
    )


def _identified(panel: Panel) -> tuple[Flags, list[str]]:
    """Rows of cohorts and periods that have an untreated observation, and what is left out."""
    notes = []
    starts, (event, units) = Starts.of(panel), event_times(panel)
    seen, treated = units > 0, event >= 0
    untreated = seen & ~treated
    always: Flags = np.asarray((seen & treated).any(axis=1) & ~untreated.any(axis=1))
    if always.any():
        labels = some(starts.labels[g] for g in np.flatnonzero(always))
        notes.append(f"cohort {labels} left out: no period before its treatment")
    free = untreated.any(axis=0)
    if not free.all():
        lost = [plain(t) for t in panel.clock[~free]]
        notes.append(f"no untreated unit in {some(lost, 20)}: periods left out")
    cells = ~always[:, None] & free
    if not (cells & seen & treated).any():
        raise IdentificationError(f"no treated observation has a comparison: {some(notes)}")
    if cells.all():
        return np.ones(len(panel.y), bool), notes
    return cells[starts.code[panel.unit], panel.time], notes


def _saturated(
    panel: Panel,
    keep: Flags,
    controls: Flags,
    method: str,
    absorb: Absorb,
    covariates: Sequence[str],
    baseline: Sequence[str] = (),
) -> Estimate:
    """One effect for each cohort and period ``keep``, against ``controls``, both ``(G, T)``."""
    starts, k = Starts.of(panel), int(keep.sum())
    g, t = np.nonzero(keep)
    index = cell_index(starts, g.tolist(), t.tolist())
    dummies = np.zeros((*keep.shape, k))
    dummies[g, t, range(k)] = 1.0
    means = [_CohortMean(panel, starts, name) for name in baseline]
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
    blocks = fit.origin.scores.rows if isinstance(fit.origin, CellFit) else None
    out = replace(fit.take(list(range(k))), index=index) if means else fit
    counts = _counts(panel, g, t, controls)
    meta = replace(fit.meta, notes=(*fit.meta.notes, *alone(index, counts)))
    mass = cohort_mass(panel, index, g.tolist(), blocks)
    out = replace(out, mass=mass, counts=counts, meta=meta)
    if not means:
        return out
    # The effect is taken at the cohort's mean covariate, which is itself estimated.
    psi = out.psi.copy()
    for at, mean in enumerate(means, start=1):
        slope = fit.theta[at * k : (at + 1) * k]
        for column, cohort in enumerate(g.tolist()):
            psi[:, column] += slope[column] * mean.contributions(cohort)
    return replace(out, scores=Scores.dense(psi), origin=None, combination=None)


def _counts(panel: Panel, g: Codes, t: Codes, controls: Flags) -> Codes:
    """Units ``(K, 2)`` of the cells at ``g``, ``t``, and of the ``controls`` ``(G, T)`` then."""
    units = event_times(panel)[1]
    return np.stack([units[g, t], (units * controls).sum(axis=0)[t]], axis=1)


class _CohortMean:
    """Mean of a unit covariate by cohort: each unit's deviation and contribution."""

    def __init__(self, panel: Panel, starts: Starts, name: str) -> None:
        value, first = panel.column(name), np.unique(panel.unit, return_index=True)[1]
        changes = np.flatnonzero(value != value[first][panel.unit])
        if len(changes):
            raise OptionError(
                f"baseline covariate {name!r} changes within units (unit "
                f"{panel.units[panel.unit[changes[0]]]!s}); it must be constant. Take its value "
                "before the reform."
            )
        self.code = starts.code
        groups = Groups(self.code, len(starts.start))
        weight = panel.weight[first]
        mass = groups.sum(weight)
        self.centred = value[first] - (groups.sum(weight * value[first]) / mass)[self.code]
        self.share = weight / mass[self.code]

    def contributions(self, cohort: int) -> Vector:
        """Contributions ``(N,)`` to the mean of one cohort."""
        out: Vector = self.share * self.centred * (self.code == cohort)
        return out
