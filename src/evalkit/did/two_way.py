"""Two-by-two, two-way fixed effects and the event study: the designs with one comparison group.

Not for effects that differ by cohort under staggered adoption: two-way weights then mix them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evalkit.core.adoption import Starts, plain
from evalkit.core.arrays import Codes, Flags, Matrix
from evalkit.core.errors import IdentificationError, some
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.core.panel import Panel
from evalkit.core.scores import Scores
from evalkit.core.sides import adopters
from evalkit.core.threads import one_thread
from evalkit.did.regression import TWO_WAY, Absorb, fit_cells
from evalkit.engines.change import Change


@one_thread
def two_by_two(panel: Panel) -> Estimate:
    r"""Change of the treated minus change of the untreated, before against after.

    **Estimand.** ATT of the one adopting cohort, averaged over its post periods.
    **Assumptions.** Parallel trends of untreated outcomes; no anticipation.
    **Estimator.** :math:`\hat\tau=\bar\Delta_1-\bar\Delta_0`, with :math:`\Delta_i` unit i's mean
    after minus its mean before, averaged over units (with unit weights, if any).
    **Contribution.** :math:`\psi_i=w_i(\Delta_i-\bar\Delta_1)/W_1` for treated units, and
    :math:`-w_i(\Delta_i-\bar\Delta_0)/W_0` for untreated ones.
    **Reference.** Card and Krueger (1994); Callaway and Sant'Anna (2021), eq. 2.
    **Checked against.** `two_way` on balanced panels (1e-12).
    **Fails when.** Adoption is staggered: refused. Units seen only before or only after are
    dropped and counted.
    A cohort of one unit shows no error of its own: its interval is far too short.

    Parameters
    ----------
    panel : Panel
        One adopting cohort and never-treated units. Weights must be constant within units.

    Returns
    -------
    Estimate
        One coordinate, index level ``term``; its ``counts`` are the units seen before and after.

    Raises
    ------
    IdentificationError
        No treated unit, no untreated unit, or several cohorts.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"town": ["a", "a", "b", "b"], "year": [1, 2, 1, 2],
    ...          "score": [1.0, 3.0, 1.0, 2.0], "start": [2, 2, None, None]}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> ek.did.two_by_two(panel).theta
    array([1.])
    """
    starts = require_one_date(panel, "a two-by-two has", "use an estimator for staggered adoption")
    # Periods inside a window are left out on both sides, or their trends would not cancel.
    change = Change.of(
        panel, panel.clock[panel.time] >= starts.start[0], starts.known(0)[panel.time]
    )
    delta, both = change.delta, change.both
    psi = np.zeros((panel.n_units, 1))
    means, counts = [], []
    for treated, sign in ((True, 1.0), (False, -1.0)):
        mine = both & (np.isfinite(panel.cohort) == treated)
        counts.append(int(mine.sum()))
        if not mine.any():
            group = "treated" if treated else "untreated"
            raise IdentificationError(f"no {group} unit is seen both before and after adoption")
        w = change.weight[mine] / change.weight[mine].sum()
        mean = w @ delta[mine]
        psi[mine, 0] = sign * w * (delta[mine] - mean)
        means.append(mean)
    index = Index.flat("term", ["treated x post"])
    return Estimate(
        theta=np.array([means[0] - means[1]]),
        scores=Scores.dense(psi),
        units=panel.units,
        cluster=panel.cluster,
        index=index,
        meta=Meta(
            "ATT",
            "two-by-two",
            panel.outcome,
            int(np.count_nonzero(change.row)),
            panel.provenance,
            (*panel.ledger, *change.notes),
        ),
        counts=np.array([counts]),
        sides=adopters(panel, index),
    )


@one_thread
def two_way(
    panel: Panel,
    *,
    absorb: Absorb = TWO_WAY,
    covariates: Sequence[str] = (),
    by_time: Sequence[str] = (),
) -> Estimate:
    r"""Static two-way fixed effects: one coefficient on being treated.

    **Estimand.** A weighted average of cohort-time effects; with one cohort, its average ATT.
    **Assumptions.** Parallel trends, no anticipation, and effects that are equal across cohorts and
    over time, or a single cohort: otherwise some weights can be negative (see ``weights``).
    **Estimator.** :math:`Y_{it}=\alpha_i+\lambda_t+\tau D_{it}+x_{it}'\beta+\varepsilon_{it}`.
    **Contribution.** That of :func:`regression`.
    **Reference.** Goodman-Bacon (2021); de Chaisemartin and D'Haultfoeuille (2020).
    **Checked against.** linearmodels 7.1 PanelOLS (1e-10); :func:`two_by_two` when balanced.
    **Fails when.** Adoption is staggered and effects differ.

    Parameters
    ----------
    panel : Panel
        With adoption dates.
    absorb : sequence of str or tuple of str
        Effects to remove, as in :func:`regression`; for example
        ``("unit", ("county", "time"))`` compares units within county and year.
    covariates : sequence of str
        Time-varying controls.
    by_time : sequence of str
        Baseline controls with one coefficient per period.

    Returns
    -------
    Estimate
        One coordinate, index level ``term``; its ``counts`` are the treated units and the most
        that are untreated in a treated period.

    Raises
    ------
    IdentificationError
        No treated unit, no untreated comparison, or collinear controls (named).

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"town": ["a", "a", "b", "b"], "year": [1, 2, 1, 2],
    ...          "score": [1.0, 3.0, 1.0, 2.0], "start": [2, 2, None, None]}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> ek.did.two_way(panel).theta.round(12)
    array([1.])
    """
    require_contrast(panel, never=False)
    starts = Starts.of(panel)
    if len(starts.start) == 1 and any("time" in effect for effect in absorb):
        raise IdentificationError(
            f"all {panel.n_units} units adopt in {starts.labels[0]}: effects of periods are those "
            "of treatment. Add units that adopt later or never; absorb=('unit',) compares before "
            "with after, and assumes that nothing else changed"
        )
    index, treated = Index.flat("term", ["treated x post"]), starts.event >= 0
    fitted = fit_cells(
        panel,
        treated.astype(float)[:, :, None],
        index,
        estimand="ATT (two-way weights)",
        method="two-way fixed effects",
        absorb=absorb,
        covariates=covariates,
        by_time=by_time,
    )
    counts = _counts(panel, treated[:, :, None], ~treated)
    return replace(fitted, sides=adopters(panel, index, pooled=True), counts=counts)


@one_thread
def event_study(
    panel: Panel,
    *,
    reference: int = -1,
    absorb: Absorb = TWO_WAY,
    covariates: Sequence[str] = (),
    by_time: Sequence[str] = (),
) -> Estimate:
    r"""Two-way event study: one coefficient per period relative to adoption.

    **Estimand.** With one cohort, :math:`ATT(e)` for :math:`e\ge 0` and placebo differences before.
    With several cohorts the coefficients mix cohorts and horizons.
    **Assumptions.** Parallel trends relative to the reference period; no anticipation.
    **Estimator.**
    :math:`Y_{it}=\alpha_i+\lambda_t+\sum_{e\ne r}\tau_e 1\{t-g_i=e\}+\varepsilon_{it}`.
    **Contribution.** That of :func:`regression`.
    **Reference.** Sun and Abraham (2021), eq. 8, on what the coefficients mix.
    **Checked against.** Differences of cohort means by hand (1e-12).
    **Fails when.** Adoption is staggered and effects differ by cohort.

    Parameters
    ----------
    panel : Panel
        With adoption dates; periods must be numbers.
    reference : int
        Event time left out.
    absorb, covariates, by_time
        As in :func:`two_way`.

    Returns
    -------
    Estimate
        One coordinate per event time except the reference; index level ``event``. Its ``counts``
        are the treated units seen at that time and the never-treated ones.

    Raises
    ------
    IdentificationError
        No treated unit, no untreated comparison, or no row at the reference.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"town": ["a"] * 3 + ["b"] * 3, "year": [1, 2, 3] * 2,
    ...          "score": [1.0, 1.0, 3.0, 1.0, 2.0, 2.0], "start": [3] * 3 + [None] * 3}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> ek.did.event_study(panel).theta.round(12)
    array([1., 2.])
    """
    require_contrast(panel)
    event, units = event_times(panel)
    observed = sorted(set(event[(units > 0) & np.isfinite(event)].tolist()))
    if reference not in observed:
        raise IdentificationError(
            f"no treated unit is observed at event time {reference}; "
            f"observed are {some(map(plain, observed), 20)}"
        )
    events = [plain(e) for e in observed if e != reference]
    index = Index.flat("event", events)
    cells = event[:, :, None] == np.array(events, float)
    fitted = fit_cells(
        panel,
        cells.astype(float),
        index,
        estimand="ATT by event time (two-way weights)",
        method="two-way event study",
        absorb=absorb,
        covariates=covariates,
        by_time=by_time,
    )
    counts = _counts(panel, cells, np.isinf(event))
    return replace(fitted, sides=adopters(panel, index, never=True, pooled=True), counts=counts)


def _counts(panel: Panel, cells: Flags, controls: Flags) -> Codes:
    """Treated units of cells ``(G, T, k)``, each cohort in the period in which most are seen, and
    the largest group of ``controls`` ``(G, T)`` in one of their periods."""
    _, units = event_times(panel)
    treated = (units[:, :, None] * cells).max(axis=1).sum(axis=0)
    beside = (units * controls).sum(axis=0)[:, None]
    return np.array([treated, (beside * cells.any(axis=0)).max(axis=0)]).T


def event_times(panel: Panel) -> tuple[Matrix, Codes]:
    """Periods since adoption ``(G, T)``, and how many units of each cohort each period has."""
    starts = Starts.of(panel)
    shape = len(starts.start), panel.n_periods
    if panel.balanced:
        size = np.bincount(starts.code, minlength=shape[0])
        return starts.event, np.outer(size, np.ones(shape[1], np.intp))
    cell = starts.code[panel.unit] * shape[1] + panel.time
    return starts.event, np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)


def require_one_date(panel: Panel, need: str, otherwise: str = "") -> Starts:
    """The dates of a panel of one cohort and the never-treated; refuse any other."""
    require_contrast(panel)
    starts = Starts.of(panel)
    if len(starts.start) > 2:
        raise IdentificationError(
            f"units adopt in {some(starts.labels[:-1])}: {need} one adoption date. Keep one cohort "
            f"with the never-treated{f', or {otherwise}' if otherwise else ''}"
        )
    return starts


def require_contrast(panel: Panel, *, never: bool = True) -> list[float]:
    """Adoption dates of the treated; refuse a panel without treated or without comparison rows."""
    starts = Starts.of(panel)
    dated = np.isfinite(starts.start)
    if not dated.any():
        raise IdentificationError(
            "no unit is treated: name the adoption column in Panel.from_frame(..., cohort=...)"
        )
    if (starts.earliest[dated] <= panel.clock[0]).all():
        what = "adopt" if panel.earliest is None else "adopt, or may adopt,"
        raise IdentificationError(
            f"all {int(dated[starts.code].sum())} treated units {what} in the first period "
            f"{panel.times[0]!s}: nothing is observed before their treatment. Add earlier periods, "
            "or other units."
        )
    if never and dated.all():
        raise IdentificationError(
            f"no unit is never treated (all {panel.n_units} adopt); this estimator compares with "
            'the never-treated. Use callaway_santanna(..., control="not_yet"), imputation or '
            "extended_two_way, which compare with the not yet treated."
        )
    seen = starts.event
    if not panel.balanced:
        event, units = event_times(panel)
        seen = event[units > 0]
    for rows, group in ((seen >= 0, "treated"), (seen < 0, "untreated")):
        if not rows.any():
            raise IdentificationError(f"the panel has no {group} observation")
    return list(dict.fromkeys(starts.start[dated].tolist()))
