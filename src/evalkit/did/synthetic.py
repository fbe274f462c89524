"""Synthetic DiD and synthetic control: controls and earlier periods weighted to match the treated.

One engine: DiD, synthetic control and synthetic DiD differ in which weights are pinned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np

from evalkit.core.adoption import Starts, plain
from evalkit.core.arrays import Codes, Matrix, Vector
from evalkit.core.checks import check_real, refuse_text_or_repeats
from evalkit.core.errors import IdentificationError, check_option, some
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.core.panel import Panel
from evalkit.core.threads import one_thread
from evalkit.did.comparison import (
    Comparison,
    SyntheticWeights,
    factored,
    require_balance,
    sides,
)
from evalkit.did.regression import regression
from evalkit.did.two_way import require_contrast
from evalkit.engines.synthetic import Block, Recipe, Ridge, Solver, fit

By: TypeAlias = Literal["cohort", "period"]
Source: TypeAlias = Literal["fitted", "uniform"]


@one_thread
def synthetic_did(
    panel: Panel,
    *,
    unit_weights: Source = "fitted",
    time_weights: Source = "fitted",
    penalty: float | None = None,
    pinned: SyntheticWeights | None = None,
    covariates: Sequence[str] = (),
    by: By = "cohort",
    solver: Solver = "exact",
) -> Estimate:
    r"""Average effect on each adoption cohort, against weighted controls and earlier periods.

    **Estimand.** :math:`\tau_g=E[Y_t(g)-Y_t(\infty)\mid G=g]`, averaged over the periods t >= g.
    **Assumptions.** The never-treated, weighted, move like the cohort would have: untreated
    outcomes have a low-rank structure that the weights balance. No anticipation.
    **Estimator.** :math:`\hat\tau_g=\hat d_g-\sum_j\hat\omega_jd_j` with
    :math:`d_i=\bar Y_{i,post}-\sum_{t<g}\hat\lambda_tY_{it}` and :math:`\hat d_g` the treated mean.
    :math:`\hat\omega` minimises :math:`\sum_{t<g}(\omega_0+\sum_j\omega_jY_{jt}-\bar Y_{gt})^2
    +\zeta^2T_0\|\omega\|^2` and :math:`\hat\lambda` the like over controls, both on the simplex;
    :math:`\zeta=(N_1T_1)^{1/4}\hat\sigma`, :math:`\hat\sigma` the standard deviation of the
    controls' changes before adoption. Both uniform: DiD. Uniform time weights: synthetic control
    with an intercept.
    **Contribution.** Weights held fixed: :math:`\psi_i=(d_i-\hat d_g)/N_1` for treated and
    :math:`\psi_j=-\hat\omega_j(d_j-\sum_l\hat\omega_ld_l)` for controls. The leave-one-out change
    of the fixed-weights jackknife (algorithm 3) is :math:`\psi_iN_1/(N_1-1)` and
    :math:`\psi_j/(1-\hat\omega_j)`.
    **Reference.** Arkhangelsky, Athey, Hirshberg, Imbens and Wager (2021), American Economic Review
    111(12), algorithms 1-4; Clarke, Pailanir, Athey and Imbens (2023) for cohorts.
    **Checked against.** R synthdid 0.0.9 and synthdid-py 0.1.0 on california_prop99 (1e-6, with
    ``solver="frank-wolfe"``), see ``tests/test_synthetic.py``.
    **Fails when.** A cohort has one treated unit, or one control has all the weight: contributions
    are then NaN on purpose, since the treated unit's own noise cannot be seen;
    ``evalkit.placebo`` answers.

    Parameters
    ----------
    panel : Panel
        Balanced, with never-treated units; weights constant within units: a unit of weight two
        counts as two units (in the penalty, weights are divided by the controls' mean).
    unit_weights, time_weights : {"fitted", "uniform"}
        Uniform unit weights follow the panel's weights.
    penalty : float, optional
        :math:`\zeta`, in outcome units (default: the published rule).
    pinned : SyntheticWeights, optional
        Take the weights from here, rescaled to the controls of this panel, and fit none; so
        ``evalkit.jackknife`` is algorithm 3.
    covariates : sequence of str
        Projected out beforehand: the outcome less :math:`x\hat\beta` from a regression with unit
        and period effects on untreated observations; its noise is in the contributions.
    by : {"cohort", "period"}
        One effect per cohort, or one per cohort and period (before adoption: the gaps that are
        left, less their weighted mean).
    solver : {"exact", "frank-wolfe"}
        The exact minimum, or the steps of the R package, which end near it.

    Returns
    -------
    Estimate
        Index level ``cohort`` (and ``time``). Its ``mass`` is the number (or weight) of treated
        observations, so that :func:`evalkit.aggregate` averages as the paper does; its ``counts``
        are the treated units and the controls with a weight.
        :meth:`evalkit.did.SyntheticWeights.behind` shows the weights.

    Raises
    ------
    IdentificationError
        No treated or no never-treated unit, gaps, or no cohort with enough periods before it.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> level, move = np.array([0.0, 1.0, 3.0, 2.0]), np.array([0.0, 2.0, 1.0, 4.0])
    >>> y = level[:, None] + np.outer([1.0, 2.0, 0.0, 1.0], move)
    >>> y[3, 3] += 5.0
    >>> frame = {"town": np.repeat(list("abcd"), 4), "year": np.tile([1, 2, 3, 4], 4),
    ...          "score": y.ravel(), "start": [np.nan] * 12 + [4.0] * 4}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> ek.did.synthetic_did(panel, penalty=1e-6).theta.round(6)
    array([5.])
    """
    check_option("unit_weights", unit_weights, get_args(Source))
    check_option("time_weights", time_weights, get_args(Source))
    recipe = Recipe(unit_weights, time_weights, True, penalty, None, solver)
    uniform = (unit_weights, time_weights) == ("uniform", "uniform")
    name = "difference-in-differences of cohorts" if uniform else "synthetic DiD"
    return _estimate(panel, recipe, name, pinned, covariates, by)


@one_thread
def synthetic_control(
    panel: Panel,
    *,
    ridge: Ridge = None,
    penalty: float | None = None,
    pinned: SyntheticWeights | None = None,
    covariates: Sequence[str] = (),
    by: By = "cohort",
    solver: Solver = "exact",
) -> Estimate:
    r"""Average effect on each adoption cohort, against controls weighted to match its past.

    **Estimand.** As :func:`synthetic_did`.
    **Assumptions.** Weighted controls that match the cohort's past, level included, match what its
    future would have been. No anticipation.
    **Estimator.** :math:`\hat\tau_g=\bar Y_{g,post}-\sum_j\hat\omega_j\bar Y_{j,post}` with
    :math:`\hat\omega` on the simplex minimising :math:`\sum_{t<g}(\sum_j\omega_jY_{jt}-
    \bar Y_{gt})^2+\zeta^2T_0\|\omega\|^2`; :math:`\zeta=10^{-6}\hat\sigma` only makes it unique.
    With ``ridge``, :math:`\hat\omega+X_0(X_0'X_0+\kappa I)^{-1}(\bar Y_{g,pre}-Y_{0,pre}'
    \hat\omega)` with :math:`X_0` the controls' past less its mean: weights may turn negative.
    **Contribution.** As :func:`synthetic_did`, with no time weights.
    **Reference.** Abadie, Diamond and Hainmueller (2010); Ben-Michael, Feller and Rothstein (2021),
    JASA 116(536), eqs. 9-10, for the ridge.
    **Checked against.** R synthdid 0.0.9 and synthdid-py 0.1.0 on california_prop99 (1e-6, with
    ``solver="frank-wolfe"``), see ``tests/test_synthetic.py``.
    **Fails when.** The cohort lies outside the range of the controls: see the gaps before adoption
    (``by="period"``). Unpenalised weights move when a unit leaves, which contributions do not see:
    prefer ``evalkit.placebo`` (needed for one treated unit, whose contributions are NaN).

    Parameters
    ----------
    panel : Panel
        As for :func:`synthetic_did`.
    ridge : float or "cross-validated", optional
        Penalty :math:`\kappa` of the augmentation, in squared outcome units; or the largest within
        one standard error of the best when each earlier period is left out in turn.
    penalty, pinned, covariates, by, solver
        As for :func:`synthetic_did`.

    Returns
    -------
    Estimate
        As :func:`synthetic_did`.

    Raises
    ------
    IdentificationError
        As :func:`synthetic_did`.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> y = [1.0, 2.0, 1.0, 3.0, 3.0, 5.0, 1.0, 4.0, 2.0, 3.5, 1.0, 6.0]
    >>> frame = {"town": np.repeat(list("abc"), 4), "year": np.tile([1, 2, 3, 4], 3), "score": y,
    ...          "start": [np.nan] * 8 + [4.0] * 4}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> ek.did.synthetic_control(panel).theta.round(6)
    array([2.5])
    """
    if isinstance(ridge, str):
        check_option("ridge", ridge, ("cross-validated",))
    elif ridge is not None:
        check_real("ridge", ridge, 0, remedy="or 'cross-validated', or None for none")
    recipe = Recipe("fitted", "none", False, penalty, ridge, solver)
    name = "synthetic control" + (", augmented by ridge" if ridge is not None else "")
    return _estimate(panel, recipe, name, pinned, covariates, by)


def _check(recipe: Recipe, covariates: Sequence[str]) -> None:
    check_option("solver", recipe.solver, get_args(Solver))
    if recipe.zeta is not None:
        check_real("penalty", recipe.zeta, 0, remedy="it is in outcome units")
    refuse_text_or_repeats("covariates", covariates)


def _estimate(
    panel: Panel,
    recipe: Recipe,
    method: str,
    pinned: SyntheticWeights | None,
    covariates: Sequence[str],
    by: By,
) -> Estimate:
    check_option("by", by, get_args(By))
    _check(recipe, covariates)
    require_contrast(panel)
    starts = Starts.of(panel)
    require_balance(panel, starts)
    rows = panel.unit * panel.n_periods + panel.time
    y = _wide(panel, rows, panel.y)
    x = np.array([_wide(panel, rows, panel.column(name)) for name in covariates])
    slope = regression(panel.where(panel.treated == 0), on=covariates) if covariates else None
    if slope is not None:
        y = y - np.tensordot(slope.theta, x, 1)
    made, notes = _compare(panel, y, starts, recipe, pinned, by == "period")
    psi = np.hstack([c.contributions(y) for c in made])
    if slope is not None:
        move = np.array([np.concatenate([c.effect(z) for c in made]) for z in x])
        psi[np.searchsorted(panel.units, slope.units)] -= slope.psi @ move
    keys = [
        (c.cohort, plain(t)) if by == "period" else (c.cohort,)
        for c in made
        for t in (panel.clock[~np.isnan(c.observed)] if by == "period" else panel.clock[:1])
    ]
    index = Index(("cohort", "time") if by == "period" else ("cohort",), tuple(keys))
    meta = Meta(
        "ATT(g, t)" if by == "period" else "ATT(g)",
        method + ("" if recipe.solver == "exact" else " (Frank-Wolfe)"),
        panel.outcome,
        len(panel.y),
        panel.provenance,
        (*panel.ledger, *notes),
    )
    scores, mass = factored(panel, made, psi, index, meta)
    linear = (recipe.unit, recipe.time) == ("uniform", "uniform") and not covariates
    return Estimate(
        np.concatenate([c.effect(y) for c in made]),
        scores,
        panel.units,
        panel.cluster,
        index,
        meta,
        origin=SyntheticWeights(tuple(made), panel.units, panel.times, rows, meta),
        combination=np.eye(len(index)) if linear and pinned is None else None,
        mass=mass,
        counts=np.array(
            [
                (len(c.treated), np.count_nonzero(c.fitted.unit))
                for c in made
                for _ in range(c.contrast.shape[1])
            ]
        ),
        sides=sides(panel, made),
    )


def _compare(
    panel: Panel,
    y: Matrix,
    starts: Starts,
    recipe: Recipe,
    pinned: SyntheticWeights | None,
    by_period: bool,
) -> tuple[list[Comparison], list[str]]:
    """Every cohort that can be compared, and in words what cannot."""
    weight, controls = panel.unit_weight, np.flatnonzero(np.isinf(panel.cohort))
    made, notes = [], []
    for g in np.flatnonzero(np.isfinite(starts.start)):
        treated, label, known = np.flatnonzero(starts.code == g), starts.labels[g], starts.known(g)
        before = int((panel.clock < starts.earliest[g]).sum())
        if not before:
            notes.append(f"cohort {label} left out: no period before its treatment")
            continue
        share = weight[treated] / weight[treated].sum()
        past = y[controls][:, known], weight[controls], share @ y[treated][:, known]
        try:
            if pinned is None:
                fitted = fit(Block(*past, before, len(treated)), recipe)
            else:
                fitted = pinned.of(panel, label, before)
        except IdentificationError as wrong:
            notes.append(f"cohort {label} left out: {wrong}")
            continue
        made.append(Comparison.of(label, treated, controls, share, fitted, y, known, by_period))
    if not made:
        raise IdentificationError(f"no cohort can be compared: {some(notes)}")
    blind = [c.cohort for c in made if c.blind]
    if blind:
        notes.append(
            f"cohort {some(blind)}: one side rests on one unit, whose own noise contributions "
            "cannot show; they are NaN, so that no standard error is made from them. Use "
            "evalkit.placebo"
        )
    return made, notes


def _wide(panel: Panel, rows: Codes, values: Vector) -> Matrix:
    """Values by unit and period ``(N, T)``; zero inside windows, which no contrast touches."""
    out = np.zeros(panel.n_units * panel.n_periods)
    out[rows] = values
    return out.reshape(panel.n_units, panel.n_periods)
