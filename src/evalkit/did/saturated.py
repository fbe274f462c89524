"""Regressions with one effect per cohort and period: Sun-Abraham and extended two-way effects.

They repair two-way fixed effects under staggered adoption by not averaging inside the regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evalkit.core.arrays import Flags, Groups, Labels, Vector, encode
from evalkit.core.errors import IdentificationError, OptionError, some
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.core.panel import Panel
from evalkit.core.scores import Scores
from evalkit.core.sides import adopters
from evalkit.did.regression import TWO_WAY, Absorb, fit_design
from evalkit.did.two_way import require_contrast
from evalkit.engines.cohorts import plain
from evalkit.engines.placed import placed


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
    event = panel.clock[panel.time] - panel.cohort[panel.unit]
    start = panel.cohort[panel.unit]
    missing = [plain(g) for g in _cohorts(panel) if not ((start == g) & (event == reference)).any()]
    if missing:
        raise IdentificationError(
            f"cohort {some(missing)} is never seen at event time {reference}; choose another "
            "reference, or leave the cohort out"
        )
    keep = np.isfinite(event) & (event != reference)
    out = _saturated(panel, keep, "Sun-Abraham interaction-weighted regression", absorb, covariates)
    return replace(out, sides=adopters(panel, out.index, never=True))


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
    treated = inner.treated > 0
    out = _saturated(inner, treated, "extended two-way fixed effects", absorb, (), baseline)
    meta = replace(out.meta, notes=(*out.meta.notes, *notes))
    out = replace(out, meta=meta, sides=adopters(inner, out.index))
    return placed(out, rows)


def _identified(panel: Panel) -> tuple[Flags, list[str]]:
    """Rows of cohorts and periods that have an untreated observation, and what is left out."""
    notes = []
    treated, start = panel.treated > 0, panel.cohort[panel.unit]
    always = np.setdiff1d(start[treated], start[~treated])
    if len(always):
        notes.append(f"cohort {some(map(plain, always))} left out: no period before its treatment")
    free = np.bincount(panel.time, ~treated, minlength=panel.n_periods) > 0
    if not free.all():
        lost = [plain(t) for t in panel.clock[~free]]
        notes.append(f"no untreated unit in {some(lost, 20)}: periods left out")
    rows = ~np.isin(start, always) & free[panel.time]
    if not (treated & rows).any():
        raise IdentificationError(f"no treated observation has a comparison: {some(notes)}")
    return rows, notes


def _saturated(
    panel: Panel,
    keep: Labels,
    method: str,
    absorb: Absorb,
    covariates: Sequence[str],
    baseline: Sequence[str] = (),
) -> Estimate:
    start = panel.cohort[panel.unit]
    pairs = np.unique(np.stack([start[keep], panel.clock[panel.time[keep]]], axis=1), axis=0)
    dummies = np.stack(
        [(keep & (start == g) & (panel.clock[panel.time] == t)).astype(float) for g, t in pairs],
        axis=1,
    )
    index = Index(("cohort", "time"), tuple((plain(g), plain(t)) for g, t in pairs))
    means = [_CohortMean(panel, panel.column(name)) for name in baseline]
    moderators = [dummies * mean.centred[panel.unit, None] for mean in means]
    names = [*index.keys, *((name, *key) for name in baseline for key in index.keys)]
    fit = fit_design(
        panel,
        np.hstack([dummies, *moderators]),
        Index.flat("term", names),
        estimand="ATT(g, t)",
        method=method,
        absorb=absorb,
        covariates=covariates,
        by_time=baseline,
    )
    k = len(pairs)
    out = replace(fit.take(list(range(k))), index=index, mass=_shares(panel, index))
    if not means:
        return out
    # The effect is taken at the cohort's mean covariate, which is itself estimated.
    psi = out.psi.copy()
    for at, mean in enumerate(means, start=1):
        slope = fit.theta[at * k : (at + 1) * k]
        for column, g in enumerate(index.level("cohort")):
            psi[:, column] += slope[column] * mean.contributions(float(g))
    return replace(out, scores=Scores.dense(psi), origin=None, combination=None)


class _CohortMean:
    """Mean of a unit covariate by cohort: each unit's deviation and contribution."""

    def __init__(self, panel: Panel, value: Vector) -> None:
        first = np.unique(panel.unit, return_index=True)[1]
        if (value != value[first][panel.unit]).any():
            raise OptionError("a baseline covariate changes within units; it must be constant")
        codes, labels = encode(panel.cohort)
        groups = Groups(codes, len(labels))
        weight = panel.weight[first]
        mass = groups.sum(weight)
        self.cohort = panel.cohort
        self.centred = value[first] - (groups.sum(weight * value[first]) / mass)[codes]
        self.share = weight / mass[codes]

    def contributions(self, cohort: float) -> Vector:
        """Contributions ``(N,)`` to the mean of one cohort."""
        out: Vector = self.share * self.centred * (self.cohort == cohort)
        return out


def _shares(panel: Panel, index: Index) -> Estimate:
    """Share of units in the cohort of each coordinate, with its contributions."""
    weight = panel.weight[np.unique(panel.unit, return_index=True)[1]]
    share = weight / weight.sum()
    psi = np.stack([share * (panel.cohort == g) for g in index.level("cohort")], axis=1)
    meta = Meta("share of the cohort", "counts", panel.outcome, len(panel.y), panel.provenance)
    return Estimate(psi.sum(axis=0), Scores.dense(psi), panel.units, panel.cluster, index, meta)


def _cohorts(panel: Panel) -> Vector:
    return np.unique(panel.cohort[np.isfinite(panel.cohort)])
