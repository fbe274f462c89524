r"""Extended two-way effects of counts and shares: untreated means by quasi-likelihood.

With a canonical link, treated cells that each have a constant (and slopes) of their own drop out of
the equations of all other coefficients. The saturated regression is then the one on untreated
observations, and the average partial effect of a cell its mean less the mean of the predictions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evalkit.core.adoption import Starts, plain
from evalkit.core.arrays import Codes, Flags, Groups, Matrix, Vector
from evalkit.core.errors import IdentificationError, OptionError, some
from evalkit.core.panel import Panel
from evalkit.engines.quasi import Family, QuasiFit, Separated, quasi_likelihood


@dataclass(frozen=True, eq=False)
class Partial:
    """Average partial effects of the cells ``pairs`` ``(K, 2)`` of cohort and period.

    A cell without an answer is NaN, contributes nothing, and has its reason in ``lost``.
    """

    pairs: Codes
    theta: Vector
    psi: Matrix
    lost: tuple[str, ...]


def partial_effects(
    panel: Panel, starts: Starts, *, family: Family, baseline: Sequence[str]
) -> Partial:
    """Effects of every treated cell, and the contributions of units ``(N, K)``."""
    _refuse_outcomes(panel, family)
    code, treated = starts.code[panel.unit], panel.treated > 0
    pairs = np.unique(np.stack([code[treated], panel.time[treated]], axis=1), axis=0)
    known, lost = _known(panel, starts, ~treated, family)
    x, at = _design(panel, starts, baseline)
    fit = _fit(panel, starts, x, at, known, family)
    rest = np.zeros(len(panel.y))
    rest[known] = (panel.weight * (panel.y - fit.predict(x)[0][at]))[known]
    theta, psi = np.full(len(pairs), np.nan), np.zeros((panel.n_units, len(pairs)))
    for k, (g, t) in enumerate(pairs):
        rows = np.flatnonzero((code == g) & (panel.time == t))
        z = x[at[rows]]
        if not fit.reaches(z).all():
            why = "the untreated outcomes do not determine its mean"
            lost.append(f"cohort {starts.labels[g]} in {plain(starts.clock[t])} is NaN: {why}")
            continue
        share = panel.weight[rows] / panel.weight[rows].sum()
        mean, slope = fit.predict(z)
        effect = panel.y[rows] - mean
        theta[k] = share @ effect
        adjoint = x @ (fit.bread @ (z.T @ (share * slope)))
        contribution = -rest * adjoint[at]
        contribution[rows] += share * (effect - theta[k])
        psi[:, k] = np.bincount(panel.unit, contribution, minlength=panel.n_units)
    if np.isnan(theta).all():
        raise IdentificationError(f"no treated cell can be estimated: {some(lost)}")
    return Partial(pairs, theta, psi, tuple(lost))


def _refuse_outcomes(panel: Panel, family: Family) -> None:
    top = np.inf if family == "poisson" else 1.0
    wrong = np.flatnonzero((panel.y < 0) | (panel.y > top))
    if len(wrong):
        at = wrong[0]
        what = "of zero or more" if family == "poisson" else "between 0 and 1"
        raise OptionError(
            f"family={family!r} needs outcomes {what}; unit {panel.units[panel.unit[at]]!s} has "
            f"{panel.y[at]:g} in {panel.times[panel.time[at]]!s} ({len(wrong)} such rows). "
            "Correct them, or use family='linear'."
        )


def _known(panel: Panel, starts: Starts, free: Flags, family: Family) -> tuple[Flags, list[str]]:
    """Untreated rows of cohorts and periods whose mean is not at a bound, and which are."""
    known, lost = free.copy(), []
    sides = {
        "cohort": (
            starts.code[panel.unit],
            list(map(str, starts.labels)),
        ),
        "period": (panel.time, [str(t) for t in panel.times]),
    }
    while True:
        before = known.sum()
        for side, (codes, labels) in sides.items():
            n = np.bincount(codes[known], minlength=len(labels))
            total = np.bincount(codes[known], panel.y[known], minlength=len(labels))
            for bound in (0, 1) if family == "logit" else (0,):
                flat = (n > 0) & (total == bound * n)
                known &= ~flat[codes]
                lost += [
                    f"{side} {labels[at]}: every untreated outcome is {bound}, a mean that the "
                    f"{family} model does not reach; its rows are left out"
                    for at in np.flatnonzero(flat)
                ]
        if not known.any():
            raise IdentificationError(
                f"no untreated outcome is left for the {family} model: {some(lost)}"
            )
        if known.sum() == before:
            return known, lost


def _design(panel: Panel, starts: Starts, baseline: Sequence[str]) -> tuple[Matrix, Codes]:
    """Cohort and period effects, and slopes by cohort and period, of rows ``at`` ``(n,)``.

    Without covariates there is one row per cohort and period.
    """
    size, periods = len(starts.start), panel.n_periods
    code, time = starts.code[panel.unit], panel.time
    at = np.arange(len(panel.y))
    if not baseline:
        code, time = np.repeat(np.arange(size), periods), np.tile(np.arange(periods), size)
        at = starts.code[panel.unit] * periods + panel.time
    dummies = np.hstack([code[:, None] == np.arange(size), time[:, None] == np.arange(periods)])
    slopes = [dummies * panel.column(name)[:, None] for name in baseline]
    return np.hstack([dummies.astype(float), *slopes]), at


def _fit(
    panel: Panel, starts: Starts, x: Matrix, at: Codes, known: Flags, family: Family
) -> QuasiFit:
    """The fit on known rows, which needs only their means by row of the design."""
    groups = Groups(at[known], len(x))
    weight = groups.sum(panel.weight[known])
    total = groups.sum((panel.weight * panel.y)[known])
    used = np.flatnonzero(weight)
    try:
        return quasi_likelihood(total[used] / weight[used], x[used], weight[used], family=family)
    except Separated as wrong:
        rows = np.isin(at, used[wrong.rows]) & known
        cells = dict.fromkeys(
            f"cohort {starts.labels[starts.code[panel.unit[r]]]} in {panel.times[panel.time[r]]!s}"
            for r in np.flatnonzero(rows)
        )
        raise IdentificationError(
            f"the {family} model does not settle: untreated outcomes are separated"
            + (f" ({some(cells)})" if cells else "")
            + ". Leave out the covariate or the cohort that separates them, or use family='linear'."
        ) from wrong
