"""Effects of staggered adoption by imputing what the treated would have been without treatment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evalkit.core.errors import IdentificationError, OptionError, some
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.core.panel import Panel
from evalkit.core.scores import Scores
from evalkit.core.sides import adopters
from evalkit.did.regression import TWO_WAY, fit_design
from evalkit.did.two_way import require_contrast
from evalkit.engines.cohorts import Cohorts, PathWeights, plain
from evalkit.engines.imputed import Sample, impute
from evalkit.engines.placed import placed


def imputation(
    panel: Panel,
    *,
    covariates: Sequence[str] = (),
    trends: bool = False,
    minimum_controls: int = 1,
) -> Estimate:
    r"""ATT(g, t) by imputation from untreated observations.

    **Estimand.** :math:`ATT(g,t)`, the mean effect in period t on the units adopting in g.
    **Assumptions.** Untreated outcomes are unit plus period effects (plus covariates and unit
    trends, if asked), for all units and periods; no anticipation.
    **Estimator.** Fit :math:`Y_{it}=\alpha_i+\lambda_t+x_{it}'\beta+\varepsilon_{it}` on untreated
    observations; :math:`\hat\tau_{it}=Y_{it}-\hat\alpha_i-\hat\lambda_t-x_{it}'\hat\beta`; average
    within cohort and period. The point estimates equal the two-stage estimator of Gardner.
    **Contribution.** :math:`\psi_i=\sum_t v_{it}\tilde\varepsilon_{it}` with :math:`v=w` on treated
    and :math:`v=-W_0Z_0(Z_0'W_0Z_0)^{-1}Z_1'w` on untreated observations, and
    :math:`\tilde\varepsilon_{it}=\hat\tau_{it}-\hat\tau_{gt}` on treated ones.
    Averages take the treated observations as given: their intervals are for the effect on these
    observations, not on the population that the cohorts were drawn from.
    **Reference.** Borusyak, Jaravel and Spiess (2024), Review of Economic Studies 91(6), theorems
    1-3; Gardner (2022).
    **Checked against.** R didimputation 0.5.0 and did2s (printed digits), see
    ``tests/test_goldens_did.py``; explicit dense weights (1e-10).
    **Fails when.** A unit has no untreated observation, or a period no untreated unit: those cells
    are left out and named.
    A cohort of one unit shows no error of its own: its interval is far too short.

    Parameters
    ----------
    panel : Panel
        With adoption dates; it may be unbalanced and weighted.
    covariates : sequence of str
        Covariates that change over time and that treatment does not move.
    trends : bool
        One linear trend per unit; a unit then needs two untreated observations. On a panel that is
        unbalanced or has covariates or changing weights, for at most 500 units.
    minimum_controls : int
        Leave out the periods with fewer untreated units than this.

    Returns
    -------
    Estimate
        Index levels ``cohort`` and ``time``, t >= g. Its ``mass`` is the number (or weight) of
        treated observations, taken as given; its ``counts`` are the treated units of the cell and
        the untreated units of its period.

    Raises
    ------
    IdentificationError
        No treated or untreated observation, no cell that can be imputed, or covariates that the
        effects explain (named).

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
    if minimum_controls < 1:
        raise OptionError(f"minimum_controls={minimum_controls} must be one or more")
    require_contrast(panel, never=False)
    cohorts = None if covariates else Cohorts.of(panel)
    if cohorts is None:
        sample = Sample.of_rows(panel, covariates, trends=trends)
    else:
        sample = Sample.of_cohorts(cohorts, trends=trends)
    fit = impute(sample, panel.clock, minimum_controls)
    index = Index(
        ("cohort", "time"), tuple((plain(cell.cohort), plain(cell.time)) for cell in fit.cells)
    )
    scores = fit.scores() if cohorts is None else fit.factored(cohorts)
    meta = Meta(
        "ATT(g, t)",
        f"imputation{' with unit trends' if trends else ''}",
        panel.outcome,
        len(panel.y),
        panel.provenance,
        (*panel.ledger, *fit.lost),
    )
    none = Scores(scores.rows, np.zeros_like(scores.lin))
    return Estimate(
        fit.theta,
        scores,
        panel.units,
        panel.cluster,
        index,
        meta,
        origin=fit if cohorts is None else PathWeights(cohorts, scores.lin[:, :-1]),
        combination=np.eye(len(index)),
        mass=Estimate(fit.mass, none, panel.units, panel.cluster, index, meta),
        counts=fit.counts,
        sides=adopters(panel, index),
    )


def imputation_pretrends(panel: Panel, *, leads: int, covariates: Sequence[str] = ()) -> Estimate:
    r"""Differences from parallel trends before adoption, from untreated observations alone.

    **Estimand.** Mean deviation of units that adopt in e periods from the trend of all untreated,
    for :math:`e=1,\dots` ``leads``; zero under the assumptions of :func:`imputation`.
    **Assumptions.** None: it tests those of :func:`imputation`. Because treated observations are
    not used, the test is independent of the estimate under homoskedastic normal errors.
    **Estimator.** :math:`Y_{it}=\alpha_i+\lambda_t+x_{it}'\beta
    +\sum_{e=1}^{L}\gamma_e1\{t=g_i-e\}+\varepsilon_{it}` on untreated observations.
    **Contribution.** That of :func:`regression`.
    **Reference.** Borusyak, Jaravel and Spiess (2024), section 4.4 and proposition 9.
    **Checked against.** Explicit dummies (1e-9).
    **Fails when.** ``leads`` reaches back to the first period of every adopting unit and nobody is
    never treated: the leads are then collinear with the effects, and named.

    Parameters
    ----------
    panel : Panel
        With adoption dates.
    leads : int
        Number of periods before adoption to test; few leads have more power.
    covariates : sequence of str
        As in :func:`imputation`.

    Returns
    -------
    Estimate
        Index level ``event``, from ``-leads`` to -1; test it with :func:`wald`.

    Raises
    ------
    IdentificationError
        A lead that no untreated observation has, or collinear leads.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"town": ["a"] * 4 + ["b"] * 4, "year": [1, 2, 3, 4] * 2,
    ...          "score": [1.0, 1.0, 3.0, 7.0, 1.0, 2.0, 2.0, 2.0], "start": [4] * 4 + [None] * 4}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> ek.did.imputation_pretrends(panel, leads=1).theta.round(12)
    array([1.5])
    """
    if leads < 1:
        raise OptionError(f"leads={leads} must be one or more")
    require_contrast(panel, never=False)
    rows = panel.treated == 0
    free = panel.where(rows)
    event = free.clock[free.time] - free.cohort[free.unit]
    events = list(range(-leads, 0))
    unseen = [e for e in events if not (event == e).any()]
    if unseen:
        raise IdentificationError(
            f"no unit is observed {some(-e for e in unseen)} periods before its adoption; "
            "ask for fewer leads"
        )
    index = Index.flat("event", events)
    out = fit_design(
        free,
        np.stack([(event == e).astype(float) for e in events], axis=1),
        index,
        estimand="deviation from parallel trends before adoption",
        method="regression on untreated observations",
        absorb=TWO_WAY,
        covariates=covariates,
    )
    return placed(replace(out, sides=adopters(free, index, pooled=True)), rows)
