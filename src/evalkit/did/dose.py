"""Designs with a continuous dose: every unit meets the reform, some meet more of it.

Not for staggered doses; the dose is fixed at baseline and the reform starts once for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from evalkit.core.arrays import Labels, Vector
from evalkit.core.checks import is_number
from evalkit.core.errors import IdentificationError, OptionError, some
from evalkit.core.estimate import Estimate, align
from evalkit.core.labels import Index
from evalkit.core.panel import Panel
from evalkit.core.scores import Scores
from evalkit.core.sides import Loads, Sides
from evalkit.core.threads import one_thread
from evalkit.did.regression import TWO_WAY, Absorb, fit_design


@one_thread
def dose_event_study(
    panel: Panel,
    *,
    reference: Any,
    absorb: Absorb = TWO_WAY,
    covariates: Sequence[str] = (),
    by_time: Sequence[str] = (),
) -> Estimate:
    r"""Event study on a dose: the slope of the outcome in the dose, period by period.

    **Estimand.** :math:`\partial E[Y_t-Y_r]/\partial d`, averaged with the variance of the dose.
    **Assumptions.** For a causal slope: strong parallel trends, that is, units of every dose would
    have had the same change at any given dose (Callaway, Goodman-Bacon and Sant'Anna 2024).
    **Estimator.**
    :math:`Y_{it}=\alpha_i+\lambda_t+\sum_{s\ne r}\beta_s\,d_i1\{t=s\}+\varepsilon_{it}`.
    **Contribution.** That of :func:`regression`.
    **Reference.** Callaway, Goodman-Bacon and Sant'Anna (2024), NBER working paper 32117.
    **Checked against.** Slopes of :math:`Y_t-Y_r` on the dose by least squares (1e-12).
    **Fails when.** The dose is measured in the reference period and the outcome reverts to its
    mean: the pre-period slopes show it.

    Parameters
    ----------
    panel : Panel
        With a dose.
    reference : period
        The period that every slope is relative to.
    absorb, covariates, by_time
        As in :func:`two_way`.

    Returns
    -------
    Estimate
        One slope per period except the reference, outcome units per unit of dose; index level
        ``time``.

    Raises
    ------
    IdentificationError
        No dose, a constant dose, or an unknown reference.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"i": [0, 0, 1, 1, 2, 2], "t": [0, 1] * 3, "y": [0.0, 0, 0, 2, 0, 4],
    ...          "d": [0.0, 0, 1, 1, 2, 2]}
    >>> panel = ek.Panel.from_frame(frame, outcome="y", unit="i", time="t", dose="d",
    ...                             provenance="synthetic")
    >>> ek.did.dose_event_study(panel, reference=0).theta.round(12)
    array([2.])
    """
    dose = _require_dose(panel)
    base = _period(panel, reference)
    periods = [t for t in range(panel.n_periods) if t != base]
    if not periods:
        raise IdentificationError(f"{reference} is the only period; slopes are relative to it")
    fitted = fit_design(
        panel,
        np.stack([dose * (panel.time == t) for t in periods], axis=1),
        Index.flat("time", panel.times[periods].tolist()),
        estimand=f"slope in the dose relative to {reference}",
        method="dose event study",
        absorb=absorb,
        covariates=covariates,
        by_time=by_time,
    )
    return replace(fitted, sides=_sides(panel, len(periods)))


@one_thread
def dose_response(
    panel: Panel,
    *,
    start: Any,
    absorb: Absorb = TWO_WAY,
    covariates: Sequence[str] = (),
    by_time: Sequence[str] = (),
) -> Estimate:
    r"""Dose times post: the change of the slope in the dose when the reform starts.

    **Estimand.** The average over post periods of the slopes of :func:`dose_event_study`, relative
    to the average before.
    **Assumptions.** As :func:`dose_event_study`.
    **Estimator.** :math:`Y_{it}=\alpha_i+\lambda_t+\beta\,d_i1\{t\ge s\}+\varepsilon_{it}`.
    **Contribution.** That of :func:`regression`.
    **Reference.** Callaway, Goodman-Bacon and Sant'Anna (2024).
    **Checked against.** Long difference on the dose when balanced (1e-12).
    **Fails when.** Slopes drift before the reform.

    Parameters
    ----------
    panel : Panel
        With a dose.
    start : period
        First period under the reform.
    absorb, covariates, by_time
        As in :func:`two_way`.

    Returns
    -------
    Estimate
        One coordinate, outcome units per unit of dose; index level ``term``.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"i": [0, 0, 1, 1, 2, 2], "t": [0, 1] * 3, "y": [0.0, 0, 0, 2, 0, 4],
    ...          "d": [0.0, 0, 1, 1, 2, 2]}
    >>> panel = ek.Panel.from_frame(frame, outcome="y", unit="i", time="t", dose="d",
    ...                             provenance="synthetic")
    >>> ek.did.dose_response(panel, start=1).theta.round(12)
    array([2.])
    """
    fitted = fit_design(
        panel,
        (_require_dose(panel) * since(panel, start))[:, None],
        Index.flat("term", ["dose x post"]),
        estimand="slope in the dose, after minus before",
        method="dose x post",
        absorb=absorb,
        covariates=covariates,
        by_time=by_time,
    )
    return replace(fitted, sides=_sides(panel, 1))


@one_thread
def dose_iv(
    panel: Panel,
    *,
    exposure: str,
    start: Any,
    absorb: Absorb = TWO_WAY,
    covariates: Sequence[str] = (),
    by_time: Sequence[str] = (),
) -> Estimate:
    r"""DiD-IV: the effect of an exposure, instrumented by dose times post.

    **Estimand.** The reduced form over the first stage: a weighted average of responses to the
    exposure among the units whose exposure the dose moved.
    **Assumptions.** Parallel trends in outcome and exposure along the dose; the dose works through
    the exposure only; monotone response of the exposure.
    **Estimator.** :math:`\hat\beta=\hat\pi_Y/\hat\pi_X`, both :func:`dose_response` on the same
    rows; equal to two-stage least squares with one instrument.
    **Contribution.** :math:`\psi_i=(\psi_i^{Y}-\hat\beta\,\psi_i^{X})/\hat\pi_X`.
    **Reference.** Hudson, Hull and Liebersohn (2017); Anderson and Rubin (1949) for inference.
    **Checked against.** `regression(..., instruments=...)` (1e-10) and linearmodels IV2SLS (1e-10).
    **Fails when.** The first stage is weak: judge it with :func:`anderson_rubin`, not with the
    standard error.

    Parameters
    ----------
    panel : Panel
        With a dose, and the exposure among its covariates.
    exposure : str
        Covariate that the dose moves.
    start : period
        First period under the reform.
    absorb, covariates, by_time
        As in :func:`two_way`.

    Returns
    -------
    Estimate
        Coordinates ``effect``, ``reduced_form`` and ``first_stage``; index level ``term``.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"i": [0, 0, 1, 1, 2, 2], "t": [0, 1] * 3, "y": [0.0, 0, 0, 2, 0, 4],
    ...          "d": [0.0, 0, 1, 1, 2, 2], "money": [0.0, 0, 0, 1, 0, 2]}
    >>> panel = ek.Panel.from_frame(frame, outcome="y", unit="i", time="t", dose="d",
    ...                             covariates=["money"], provenance="synthetic")
    >>> ek.did.dose_iv(panel, exposure="money", start=1).theta.round(12)
    array([2., 2., 1.])
    """
    options: dict[str, Any] = {
        "start": start, "absorb": absorb, "covariates": covariates, "by_time": by_time
    }  # fmt: skip
    reduced = dose_response(panel, **options)
    first = dose_response(panel.with_outcome(panel.column(exposure), exposure), **options)
    _refuse_no_first_stage(panel, first, exposure)
    _, _, (top, bottom) = align(reduced, first)
    effect = reduced.theta / first.theta
    return Estimate(
        theta=np.concatenate([effect, reduced.theta, first.theta]),
        scores=Scores.dense(np.hstack([(top - effect * bottom) / first.theta, top, bottom])),
        units=panel.units,
        cluster=panel.cluster,
        index=Index.flat("term", ["effect", "reduced_form", "first_stage"]),
        meta=replace(reduced.meta, estimand=f"effect of {exposure}", method="DiD-IV"),
    )


def _sides(panel: Panel, k: int) -> Sides:
    """Clusters with units above the mean dose against those with units below, all alike, for ``k``
    coordinates: a slope that few of them carry says little, however many are on the other side."""
    dose = np.zeros(panel.n_units) if panel.dose is None else panel.dose
    above = dose > dose.mean()
    clusters = np.unique(panel.cluster)
    sides = [np.isin(clusters, panel.cluster[side])[:, None] for side in (above, ~above)]
    return Sides.of(Loads.of(clusters, *(np.repeat(s / s.sum(), k, axis=1) for s in sides)), k)


def floor_dose(enrolment: Any, *, step: float, floor: float) -> Vector:
    r"""Dose of a grant per pupil when small schools are paid as if they had ``floor`` pupils.

    :math:`d_i=\text{step}\times\max(1,\text{floor}/n_i)` per pupil: constant above the floor,
    growing below it, with a kink at the floor. Take enrolment from before the reform: a school
    that shrinks because of it must not choose its own dose.

    Parameters
    ----------
    enrolment : array of numbers (n,)
        Pupils :math:`n_i`.
    step : float
        Rise of the standard per pupil, in money; negative for a cut.
    floor : float
        Pupils that a small school is paid for.

    Returns
    -------
    Vector (n,)
        Money per pupil.

    Examples
    --------
    >>> import evalkit as ek
    >>> ek.floor_dose([50, 100, 300, 900], step=400, floor=300)
    array([2400., 1200.,  400.,  400.])
    """
    n = np.asarray(enrolment, float)
    wrong = np.flatnonzero(~(n > 0) | np.isinf(n))
    if len(wrong):
        raise OptionError(
            f"enrolment must be positive; row {wrong[0] + 1} holds {n[wrong[0]]:g} ({len(wrong)} "
            "such rows). Correct the rows, or drop the schools without pupils."
        )
    if not (is_number(step) and is_number(floor) and 0 < floor < np.inf and np.isfinite(step)):
        raise OptionError(f"step={step} and floor={floor} must be finite, and floor positive")
    dose: Vector = step * np.maximum(1.0, floor / n)
    return dose


def _refuse_no_first_stage(panel: Panel, first: Estimate, exposure: str) -> None:
    dose, moved = _require_dose(panel), panel.column(exposure)
    rounding = 1e-12 * np.abs(moved).max() / np.ptp(dose)
    if abs(first.theta[0]) <= rounding:
        raise IdentificationError(
            f"the dose does not move {exposure!r}: the first stage is zero. Choose another "
            "exposure, or report the reduced form (dose_response)."
        )


def _require_dose(panel: Panel) -> Vector:
    if panel.dose is None:
        raise IdentificationError(
            "the panel has no dose: name the column in Panel.from_frame(..., dose=...)"
        )
    if len(np.unique(panel.dose)) < 2:
        raise IdentificationError(
            f"every unit has the dose {panel.dose[0]:g}; a slope needs doses that differ"
        )
    return panel.dose[panel.unit]


def _period(panel: Panel, period: Any) -> int:
    at = np.flatnonzero(panel.times == period)
    if not len(at):
        raise IdentificationError(
            f"{period!r} is no period of the panel; it has {some(panel.times, 20)}"
        )
    return int(at[0])


def since(panel: Panel, start: Any) -> Labels:
    """True in rows ``(n,)`` from the period ``start`` on; refuse the first period."""
    at = _period(panel, start)
    if at == 0:
        raise IdentificationError(f"{start!r} is the first period; nothing is observed before it")
    after: Labels = panel.time >= at
    return after
