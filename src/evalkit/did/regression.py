"""Panel regression: coefficients of named regressors with effects absorbed, optionally
instrumented. It is the ground the regression designs stand on, and makes no causal claim itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evalkit.core.adoption import Starts
from evalkit.core.arrays import Codes, Groups, Matrix, Vector, cross
from evalkit.core.checks import refuse_text_or_repeats
from evalkit.core.errors import OptionError, some
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.core.panel import Panel
from evalkit.core.scores import Scores
from evalkit.core.threads import one_thread
from evalkit.engines.blocks import BlockFit, Columns
from evalkit.engines.cells import CellFit
from evalkit.engines.regress import Fit, least_squares, two_stage

Absorb = Sequence[str | tuple[str, ...]]
TWO_WAY: Absorb = ("unit", "time")


@one_thread
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
    **Checked against.** linearmodels 7.1 (coefficients and clustered errors, 1e-10); dense dummies;
    Stata twowayfeweights (weights on effects of several treatments, 1e-6).
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
    for option, names in (("on", on), ("instruments", instruments), ("endogenous", endogenous)):
        refuse_text_or_repeats(option, names)
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
    controls, control_names = controls_of(panel, covariates, by_time, absorb)
    names = [" ".join(map(str, key)) for key in index.keys]
    effects = absorbed(panel, absorb)
    unit = Groups(panel.unit, panel.n_units)
    everything = np.column_stack([x, controls(np.arange(len(panel.y)))])
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
            np.column_stack([x[:, ~inner], everything[:, len(names) :]]),
            instruments,
            names=[*np.array(names)[inner], *np.array(names)[~inner], *control_names],
            instrument_names=instrument_names,
            effects=effects,
            weight=panel.weight,
            unit=unit,
        )
    scores = Scores.dense(fit.contributions()[:, order])
    return _estimate(panel, fit, scores, index, order, estimand, method)


def fit_cells(
    panel: Panel,
    x: Matrix,
    index: Index,
    *,
    estimand: str,
    method: str,
    absorb: Absorb = TWO_WAY,
    covariates: Sequence[str] = (),
    by_time: Sequence[str] = (),
    moderators: Sequence[Vector] = (),
) -> Estimate:
    """:func:`fit_design` for regressors constant within cohort and period, ``x`` ``(G, T, k)``, and
    their products with ``moderators`` ``(N,)``.

    Beside unit and period effects alone, no row of the design is written out; beside covariates,
    some at a time, unless there are fewer columns than periods.
    """
    order = np.arange(len(index))
    code, unit, time = Starts.of(panel).code, panel.unit, panel.time
    two_way = set(_effects(absorb)) == {("unit",), ("time",)}
    names = [" ".join(map(str, key)) for key in index.keys]
    if two_way and not (covariates or by_time or moderators):
        cells = CellFit.of(panel, x, names)
        if cells is not None:
            return _estimate(panel, cells, cells.scores, index, order, estimand, method)

    def columns(rows: Codes) -> Matrix:
        own = x[code[unit[rows]], time[rows]]
        return np.hstack([own, *(own * each[unit[rows], None] for each in moderators)])

    controls, more = controls_of(panel, covariates, by_time, absorb)
    if two_way and _wide(panel, len(names) + len(more)):
        fit = BlockFit.of(
            panel, lambda rows: np.hstack([columns(rows), controls(rows)]), [*names, *more]
        )
        scores = Scores.dense(fit.contributions()[:, order])
        return _estimate(panel, fit, scores, index, order, estimand, method)
    return fit_design(
        panel,
        columns(np.arange(len(panel.y))),
        index,
        estimand=estimand,
        method=method,
        absorb=absorb,
        covariates=covariates,
        by_time=by_time,
    )


def _estimate(
    panel: Panel,
    fit: Fit | CellFit | BlockFit,
    scores: Scores,
    index: Index,
    order: Codes,
    estimand: str,
    method: str,
) -> Estimate:
    """The coefficients at ``order`` of a fit as an estimate."""
    return Estimate(
        theta=fit.beta[order],
        scores=scores,
        units=panel.units,
        cluster=panel.cluster,
        index=index,
        meta=Meta(estimand, method, panel.outcome, len(panel.y), panel.provenance, panel.ledger),
        origin=fit,
        combination=np.eye(len(fit.beta))[:, order],
    )


def _wide(panel: Panel, columns: int) -> bool:
    """True where reading blocks, which makes a column of each period, costs less."""
    return columns > panel.n_periods


def absorbed(panel: Panel, absorb: Absorb) -> list[Groups]:
    """Groups of each effect; a tuple is an interaction; none at all is an intercept."""
    effects = []
    for names in dict.fromkeys(_effects(absorb)):
        codes = cross([panel.category(name).codes for name in names])
        effects.append(Groups(codes, int(codes.max()) + 1))
    return effects or [Groups(np.zeros(len(panel.y), np.intp), 1)]


def _effects(absorb: Absorb) -> list[tuple[str, ...]]:
    """The categories of each effect."""
    if isinstance(absorb, str) or not np.iterable(absorb):
        raise OptionError(f'absorb takes a sequence: absorb=("{absorb}",)')
    wrong = [effect for effect in absorb if not isinstance(effect, (str, tuple))]
    if wrong:
        raise OptionError(f"absorb: {wrong[0]!r} is no name of an effect, nor a tuple of names")
    return [(one,) if isinstance(one, str) else tuple(sorted(set(one))) for one in absorb]


def controls_of(
    panel: Panel, covariates: Sequence[str], by_time: Sequence[str], absorb: Absorb
) -> tuple[Columns, list[str]]:
    """What makes the controls of given rows ``(m, q)``, and their names."""
    refuse_text_or_repeats("covariates", covariates)
    refuse_text_or_repeats("by_time", by_time)
    plain = [panel.column(name) for name in covariates]
    timed, names = [], list(covariates)
    absorbs_unit = ("unit",) in _effects(absorb)
    for name in by_time:
        value = panel.column(name)
        # A unit effect absorbs the level of a baseline covariate: one period has to be left out.
        periods = np.arange(1 if absorbs_unit and _constant(panel, name) else 0, panel.n_periods)
        timed.append((value, periods))
        names += [f"{name} in {panel.times[period]}" for period in periods]

    def columns(rows: Codes) -> Matrix:
        own = [value[rows, None] for value in plain]
        own += [v[rows, None] * (panel.time[rows, None] == periods) for v, periods in timed]
        return np.hstack(own) if own else np.zeros((len(rows), 0))

    return columns, names


def _constant(panel: Panel, name: str) -> bool:
    value = panel.column(name)
    first = np.concatenate([[0], np.flatnonzero(np.diff(panel.unit)) + 1])
    return bool((value == value[first][panel.unit]).all())
