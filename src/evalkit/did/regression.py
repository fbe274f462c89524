"""Panel regression: coefficients of named regressors with effects absorbed, optionally
instrumented. It is the ground the regression designs stand on, and makes no causal claim itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evalkit.core.arrays import Groups, Matrix, cross
from evalkit.core.errors import OptionError, some
from evalkit.core.estimate import Estimate, Meta
from evalkit.core.labels import Index
from evalkit.core.panel import Panel
from evalkit.core.scores import Scores
from evalkit.engines.regress import Fit, least_squares, two_stage

Absorb = Sequence[str | tuple[str, ...]]
TWO_WAY: Absorb = ("unit", "time")


def regression(
    panel: Panel,
    *,
    on: Sequence[str],
    absorb: Absorb = TWO_WAY,
    instruments: Sequence[str] = (),
    endogenous: Sequence[str] = (),
    by_time: Sequence[str] = (),
) -> Estimate:
    r"""Regress the outcome on covariates of the panel.

    **Estimand.** The best linear prediction coefficients of ``on``, given the effects.
    **Assumptions.** None for the projection; a causal reading needs a design.
    **Estimator.** :math:`\hat\beta=(\tilde X'W\tilde X)^{-1}\tilde X'Wy`, with
    :math:`\tilde X` after absorption; with instruments, two-stage least squares.
    **Contribution.** :math:`\psi_i=\sum_{r\in i}w_re_r\,\tilde x_r(\tilde X'W\tilde X)^{-1}`.
    **Reference.** Frisch and Waugh (1933), Lovell (1963); Liang and Zeger (1986) for clusters.
    **Checked against.** linearmodels 7.1 (coefficients and clustered errors, 1e-10); dense dummies.
    **Fails when.** A regressor does not vary within the effects: it is named in the error.

    Parameters
    ----------
    panel : Panel
    on : sequence of str
        Covariates whose coefficients are reported.
    absorb : sequence of str or tuple of str
        Effects to remove: ``"unit"``, ``"time"``, ``"cluster"`` or a category of the panel; a tuple
        stands for the interaction, ``("county", "time")``. Empty: an intercept only.
    instruments : sequence of str
        Excluded instruments, covariates of the panel.
    endogenous : sequence of str
        Those of ``on`` that are instrumented. Given together with ``instruments``.
    by_time : sequence of str
        Covariates that enter with one coefficient per period, not reported.

    Returns
    -------
    Estimate
        One coordinate per regressor; index level ``term``.

    Raises
    ------
    IdentificationError
        If regressors or instruments are collinear, naming them.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> frame = {"i": [0, 0, 1, 1], "t": [0, 1, 0, 1], "y": [1.0, 2.0, 1.0, 4.0],
    ...          "x": [0.0, 0.0, 0.0, 1.0]}
    >>> panel = ek.Panel.from_frame(frame, outcome="y", unit="i", time="t", covariates=["x"],
    ...                             provenance="synthetic")
    >>> ek.did.regression(panel, on=["x"]).theta.round(12)
    array([2.])
    """
    if not on:
        raise OptionError("name at least one regressor in on=[...]")
    if bool(instruments) != bool(endogenous) or set(endogenous) - set(on):
        raise OptionError(
            "instruments need endogenous regressors taken from `on`, and the reverse; "
            f"got endogenous {some(endogenous) or 'none'}, "
            f"instruments {some(instruments) or 'none'}"
        )
    x = np.stack([panel.column(name) for name in on], axis=1)
    index = Index.flat("term", on)
    return fit_design(
        panel,
        x,
        index,
        estimand="regression coefficient",
        method="two-stage least squares" if instruments else "least squares",
        absorb=absorb,
        by_time=by_time,
        endogenous=[name in endogenous for name in on],
        instruments=np.stack([panel.column(name) for name in instruments], axis=1)
        if instruments
        else None,
        instrument_names=instruments,
    )


def fit_design(
    panel: Panel,
    x: Matrix,
    index: Index,
    *,
    estimand: str,
    method: str,
    absorb: Absorb = TWO_WAY,
    covariates: Sequence[str] = (),
    by_time: Sequence[str] = (),
    endogenous: Sequence[bool] = (),
    instruments: Matrix | None = None,
    instrument_names: Sequence[str] = (),
) -> Estimate:
    """Fit the columns ``x`` ``(n, k)`` beside the panel's controls and return their coefficients.

    Every regression design ends here: the design is the columns and their index.
    """
    controls, control_names = _controls(panel, covariates, by_time, absorb)
    names = [" ".join(map(str, key)) for key in index.keys]
    effects = absorbed(panel, absorb)
    unit = Groups(panel.unit, panel.n_units)
    everything = np.column_stack([x, controls])
    if instruments is None:
        fit = least_squares(
            panel.y,
            everything,
            names=[*names, *control_names],
            effects=effects,
            weight=panel.weight,
            unit=unit,
        )
        order = np.arange(len(names))
    else:
        inner = np.array(endogenous, bool)
        order = np.argsort(np.concatenate([np.flatnonzero(inner), np.flatnonzero(~inner)]))
        fit = two_stage(
            panel.y,
            x[:, inner],
            np.column_stack([x[:, ~inner], controls]),
            instruments,
            names=[*np.array(names)[inner], *np.array(names)[~inner], *control_names],
            instrument_names=instrument_names,
            effects=effects,
            weight=panel.weight,
            unit=unit,
        )
    return as_estimate(panel, fit, index, order, estimand=estimand, method=method)


def as_estimate(
    panel: Panel,
    fit: Fit,
    index: Index,
    order: np.ndarray[tuple[int], np.dtype[np.intp]],
    *,
    estimand: str,
    method: str,
) -> Estimate:
    """The coefficients at ``order`` of a fit as an estimate."""
    combination = np.eye(len(fit.beta))[:, order]
    return Estimate(
        theta=fit.beta[order],
        scores=Scores.dense(fit.contributions()[:, order]),
        units=panel.units,
        cluster=panel.cluster,
        index=index,
        meta=Meta(estimand, method, panel.outcome, len(panel.y), panel.provenance, panel.ledger),
        origin=fit,
        combination=combination,
    )


def absorbed(panel: Panel, absorb: Absorb) -> list[Groups]:
    """Groups of each effect; a tuple is an interaction; none at all is an intercept."""
    if isinstance(absorb, str):
        raise OptionError(f'absorb takes a sequence: absorb=("{absorb}",)')
    effects = []
    for names in dict.fromkeys(_members(effect) for effect in absorb):
        codes = cross([panel.category(name).codes for name in names])
        effects.append(Groups(codes, int(codes.max()) + 1))
    return effects or [Groups(np.zeros(len(panel.y), np.intp), 1)]


def _members(effect: str | tuple[str, ...]) -> tuple[str, ...]:
    return (effect,) if isinstance(effect, str) else tuple(sorted(set(effect)))


def _controls(
    panel: Panel, covariates: Sequence[str], by_time: Sequence[str], absorb: Absorb
) -> tuple[Matrix, list[str]]:
    columns = [panel.column(name) for name in covariates]
    names = list(covariates)
    absorbs_unit = ("unit",) in map(_members, absorb)
    for name in by_time:
        value = panel.column(name)
        # A unit effect absorbs the level of a baseline covariate: one period has to be left out.
        first = 1 if absorbs_unit and _constant(panel, name) else 0
        for period in range(first, panel.n_periods):
            columns.append(value * (panel.time == period))
            names.append(f"{name} in {panel.times[period]}")
    stacked = np.stack(columns, axis=1) if columns else np.zeros((len(panel.y), 0))
    return stacked, names


def _constant(panel: Panel, name: str) -> bool:
    value = panel.column(name)
    first = np.concatenate([[0], np.flatnonzero(np.diff(panel.unit)) + 1])
    return bool((value == value[first][panel.unit]).all())
