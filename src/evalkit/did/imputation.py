"""Effects of staggered adoption by imputing what the treated would have been without treatment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias, get_args

import numpy as np

from evalkit.core.adoption import Starts
from evalkit.core.checks import check_whole, refuse_text_or_repeats
from evalkit.core.errors import IdentificationError, check_option, some
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.core.panel import Panel
from evalkit.core.scores import Scores
from evalkit.core.sides import adopters
from evalkit.core.threads import one_thread
from evalkit.did.group_time import alone
from evalkit.did.regression import TWO_WAY, fit_design
from evalkit.did.two_way import require_contrast
from evalkit.engines.cohorts import Cohorts, PathWeights, cell_index
from evalkit.engines.imputed import Imputed, Sample, impute
from evalkit.engines.imputed_cells import ImputedCells, drawn_paths, impute_cells
from evalkit.engines.placed import placed

Treated: TypeAlias = Literal["given", "sampled"]


@one_thread
def imputation(
    panel: Panel,
    *,
    covariates: Sequence[str] = (),
    trends: bool = False,
    project: Sequence[str] = (),
    treated: Treated = "given",
    minimum_controls: int = 1,
) -> Estimate:
    r"""ATT(g, t) by imputation from untreated observations, or what the effects depend on.

    **Estimand.** :math:`ATT(g,t)`, the mean effect in period t on the units adopting in g; with
    ``project``, the coefficients of the linear projection of the effects on characteristics.
    **Assumptions.** Untreated outcomes are unit plus period effects (plus covariates and unit
    trends, if asked), for all units and periods; no anticipation.
    **Estimator.** Fit :math:`Y_{it}=\alpha_i+\lambda_t+x_{it}'\beta+\varepsilon_{it}` on untreated
    observations; :math:`\hat\tau_{it}=Y_{it}-\hat\alpha_i-\hat\lambda_t-x_{it}'\hat\beta`; average
    within cohort and period, or regress :math:`\hat\tau_{it}` on the characteristics. The point
    estimates equal the two-stage estimator of Gardner.
    **Contribution.** :math:`\psi_i=\sum_t v_{it}\tilde\varepsilon_{it}` with :math:`v=w` on treated
    and :math:`v=-W_0Z_0(Z_0'W_0Z_0)^{-1}Z_1'w` on untreated observations, and
    :math:`\tilde\varepsilon_{it}=\hat\tau_{it}-\hat\tau_{gt}` on treated ones (the residual of the
    projection, if there is one). With weights :math:`\hat\tau_{gt}` is the weighted mean, so that
    contributions sum to zero; the authors' code squares the weights there, and errs less.
    By default averages take the treated observations as given: their intervals are for the effect
    on these observations. With ``treated="sampled"`` they are for the population that the cohorts
    were drawn from, and equal the two-stage errors of Gardner.
    **Reference.** Borusyak, Jaravel and Spiess (2024), Review of Economic Studies 91(6), theorems
    1-3; Gardner (2022), arXiv:2207.05943.
    **Checked against.** R didimputation 0.5.0 and did2s 1.2.1 (printed digits), see
    ``tests/test_goldens_did.py``; explicit dense weights and dense second stages (1e-10).
    **Fails when.** A unit has no untreated observation, or a period no untreated unit: those cells
    are left out, and units and periods named.
    A cohort of one unit shows no error of its own: its interval is far too short. Means of small
    cohorts hide a part: in seven worlds of ``data/simulations/did.csv`` 5% tests by cohorts of a
    sixth of the units reject 5.1% of true nulls at 500 units, 6.1% at 136 and 7.7% at 50. Few
    untreated units in late periods shorten intervals, too; ``minimum_controls`` leaves those out.

    Parameters
    ----------
    panel : Panel
        With adoption dates; it may be unbalanced and weighted.
    covariates : sequence of str
        Covariates that change over time and that treatment does not move.
    trends : bool
        One linear trend per unit; a unit then needs two untreated observations. On a panel that is
        unbalanced or has covariates or changing weights, for at most 500 units.
    project : sequence of str
        Covariates (a slope each) and categories (a difference from the first label each), in place
        of cohorts and periods: what the effects depend on. They are read in treated rows.
    treated : {"given", "sampled"}
        Whether averages take the treated observations as given, or as drawn with their units. A
        projection takes them as drawn.
    minimum_controls : int
        Leave out the periods with fewer untreated units than this.

    Returns
    -------
    Estimate
        Index levels ``cohort`` and ``time``, t >= g. Its ``mass`` is the number (or weight) of
        treated observations, taken as given; its ``counts`` are the treated units of the cell and
        the untreated units of its period. With ``project``, one level ``term``, "constant" first.

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
    check_whole("minimum_controls", minimum_controls, 1)
    require_contrast(panel, never=False)
    check_option("treated", treated, get_args(Treated))
    refuse_text_or_repeats("project", project)
    refuse_text_or_repeats("covariates", covariates)
    if project:
        sample = Sample.of_rows(panel, covariates, trends=trends)
        return _projection(panel, impute(sample, panel.clock, minimum_controls), project)
    cells = None if covariates or trends else impute_cells(panel, minimum_controls)
    fit = cells or _modelled(panel, covariates, trends, minimum_controls)
    index = cell_index(Starts.of(panel), fit.g.tolist(), fit.t.tolist())
    meta = Meta(
        "ATT(g, t)",
        f"imputation{' with unit trends' if trends else ''}",
        panel.outcome,
        len(panel.y),
        panel.provenance,
        (*panel.ledger, *fit.lost, *alone(index, fit.counts)),
    )
    given = Scores(fit.scores.rows, np.zeros_like(fit.scores.lin))
    drawn = fit.drawn() if treated == "sampled" else given
    return Estimate(
        fit.theta,
        fit.scores,
        panel.units,
        panel.cluster,
        index,
        meta,
        origin=fit.origin,
        combination=np.eye(len(index)),
        mass=Estimate(fit.mass, drawn, panel.units, panel.cluster, index, meta),
        counts=fit.counts,
        sides=adopters(panel, index),
    )


def _modelled(panel: Panel, covariates: Sequence[str], trends: bool, minimum: int) -> ImputedCells:
    """Cells with covariates or trends, or of mostly holes; from mean paths where they suffice."""
    starts = Starts.of(panel)
    cohorts = None if covariates else Cohorts.of(panel)
    if cohorts is None:
        sample = Sample.of_rows(panel, covariates, trends=trends)
    else:
        sample = Sample.of_cohorts(cohorts, starts, trends=trends)
    fit = impute(sample, panel.clock, minimum)
    g, t = np.array([(cell.cohort, cell.time) for cell in fit.cells]).T
    made = fit.theta, fit.mass
    if cohorts is None:
        return ImputedCells(g, t, *made, fit.scores(), fit, fit.counts, fit.lost, fit.drawn)
    scores = fit.factored(cohorts)
    origin = PathWeights(cohorts, scores.lin)
    return ImputedCells(
        g, t, *made, scores, origin, fit.counts, fit.lost, lambda: drawn_paths(cohorts, g)
    )


def _projection(panel: Panel, fit: Imputed, project: Sequence[str]) -> Estimate:
    names, columns = ["constant"], [np.ones(len(panel.y))]
    rows = np.concatenate([cell.rows for cell in fit.cells])
    for name in project:
        if name in panel.names:
            names.append(name)
            columns.append(panel.column(name))
            continue
        category = panel.category(name)
        for label in np.unique(category.codes[rows])[1:]:
            names.append(f"{name} = {category.labels[label]}")
            columns.append((category.codes == label).astype(float))
    made, index = fit.project(names, np.stack(columns, axis=1)), Index.flat("term", names)
    return Estimate(
        made.beta,
        Scores.dense(made.psi),
        panel.units,
        panel.cluster,
        index,
        Meta(
            "projection of the effects",
            "imputation",
            panel.outcome,
            len(panel.y),
            panel.provenance,
            (*panel.ledger, *fit.lost),
        ),
        origin=made,
        combination=np.eye(len(names)),
        sides=adopters(panel, index, pooled=True),
    )


@one_thread
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
    check_whole("leads", leads, 1, "it counts periods")
    refuse_text_or_repeats("covariates", covariates)
    require_contrast(panel, never=False)
    rows = panel.treated == 0
    free = panel.where(rows)
    event = free.event
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
