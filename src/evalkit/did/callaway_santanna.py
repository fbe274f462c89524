"""Group-time effects of staggered adoption, each from one clean two-period comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from evalkit.core.arrays import Vector
from evalkit.core.errors import IdentificationError, OptionError, check_option, some
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.core.panel import Panel
from evalkit.core.scores import Scores
from evalkit.did.two_way import require_contrast
from evalkit.engines.cohorts import Cohorts, PathWeights, plain
from evalkit.engines.doubly_robust import Method, two_period

Control: TypeAlias = Literal["never", "not_yet"]
Base: TypeAlias = Literal["varying", "universal"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One comparison: cohort ``g`` in period ``t`` against period ``base`` (positions)."""

    g: int
    t: int
    base: int
    controls: tuple[int, ...]


def callaway_santanna(
    panel: Panel,
    *,
    control: Control = "never",
    method: Method = "dr",
    covariates: Sequence[str] = (),
    anticipation: int = 0,
    base: Base = "varying",
) -> Estimate:
    r"""ATT(g, t): the effect on the cohort adopting in g, in period t.

    **Estimand.** :math:`ATT(g,t)=E[Y_t(g)-Y_t(\infty)\mid G=g]`; placebo comparisons for t < g.
    **Assumptions.** Parallel trends between the cohort and its controls (given covariates, if any),
    no anticipation beyond ``anticipation`` periods, overlap.
    **Estimator.** :math:`(\bar Y_{g,t}-\bar Y_{g,b})-(\bar Y_{C,t}-\bar Y_{C,b})`, with base
    :math:`b=g-1` (before the anticipation window), or the period before t for placebo cells when
    the base varies; with covariates, the doubly robust, weighted or regression version.
    **Contribution.** Deviations of a unit's change from its group's, over the group's weight.
    **Reference.** Callaway and Sant'Anna (2021), Journal of Econometrics 225(2), eqs. 2.2-2.6,
    4.1; Sant'Anna and Zhao (2020).
    **Checked against.** R did 2.5.1 (1e-6, printed digits), see ``tests/test_goldens_did.py``.
    **Fails when.** No untreated comparison is left: the periods lost are named in the notes.

    Parameters
    ----------
    panel : Panel
        Balanced, with adoption dates; weights constant within units.
    control : {"never", "not_yet"}
        Compare with the never-treated, or with all units not yet treated.
    method : {"dr", "ipw", "reg"}
        How covariates enter; without covariates the three agree.
    covariates : sequence of str
        Unit covariates, taken in the base period of each comparison.
    anticipation : int
        Periods before adoption in which an effect may already show.
    base : {"varying", "universal"}
        Base of placebo cells.

    Returns
    -------
    Estimate
        Index levels ``cohort`` and ``time``; its ``mass`` is the cohort's weight, which
        :func:`aggregate` uses with its own sampling noise.

    Raises
    ------
    IdentificationError
        No treated unit, no comparison, no overlap, or singular covariates (named).

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"town": ["a"] * 3 + ["b"] * 3, "year": [1, 2, 3] * 2,
    ...          "score": [1.0, 1.0, 3.0, 1.0, 2.0, 2.0], "start": [3] * 3 + [None] * 3}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> ek.did.callaway_santanna(panel).theta
    array([-1.,  2.])
    """
    check_option("control", control, get_args(Control))
    check_option("method", method, get_args(Method))
    check_option("base", base, get_args(Base))
    if anticipation < 0:
        raise OptionError(f"anticipation={anticipation} must not be negative")
    require_contrast(panel, never=control == "never")
    cohorts = Cohorts.of(panel)
    if cohorts is None:
        raise IdentificationError(
            "the panel is unbalanced, or its weights change within units; keep the units observed "
            "in every period (panel.where) and give each one weight"
        )
    cells, lost = plan(cohorts, control, anticipation, base)
    if not cells:
        raise IdentificationError(f"no cohort has a comparison left: {some(lost)}")
    index = Index(
        ("cohort", "time"),
        tuple((plain(cohorts.start[c.g]), plain(cohorts.clock[c.t])) for c in cells),
    )
    if covariates:
        theta, scores = _with_covariates(panel, cohorts, cells, covariates, method)
    else:
        theta, scores = _from_paths(cohorts, cells)
    meta = Meta(
        "ATT(g, t)",
        f"Callaway-Sant'Anna ({control} treated controls{', ' + method if covariates else ''})",
        panel.outcome,
        len(panel.y),
        panel.provenance,
        (*panel.ledger, *lost),
    )
    return Estimate(
        theta,
        scores,
        panel.units,
        panel.cluster,
        index,
        meta,
        mass=_mass(panel, cohorts, index, cells),
        origin=None if covariates else PathWeights(cohorts, scores.lin[:, :-1]),
        combination=None if covariates else np.eye(len(cells)),
    )


def plan(
    cohorts: Cohorts, control: Control, anticipation: int, base: Base
) -> tuple[list[Cell], list[str]]:
    """The comparisons to make, and in words those that cannot be made."""
    clock, start = cohorts.clock, cohorts.start
    cells, lost = [], []
    for g in np.flatnonzero(np.isfinite(start)):
        before = np.flatnonzero(clock + anticipation < start[g])
        if not len(before):
            lost.append(f"cohort {plain(start[g])} left out: no period before its treatment")
            continue
        without = []
        for t in range(len(clock)):
            exposed = clock[t] + anticipation >= start[g]
            b = int(before[-1]) if exposed or base == "universal" else t - 1
            if b < 0 or b == t:
                continue
            if control == "never":
                against = np.flatnonzero(np.isinf(start))
            else:
                against = np.flatnonzero(start > clock[max(t, b)] + anticipation)
                against = against[against != g]
            if len(against):
                cells.append(Cell(int(g), t, b, tuple(int(c) for c in against)))
            else:
                without.append(plain(clock[t]))
        if without:
            lost.append(
                f"cohort {plain(start[g])}: no untreated unit is left in {some(without, 20)}"
            )
    return cells, lost


def _from_paths(cohorts: Cohorts, cells: list[Cell]) -> tuple[Vector, Scores]:
    """Cells from cohort mean paths; contributions stay factored."""
    m, mass = cohorts.mean, cohorts.mass
    theta = np.empty(len(cells))
    lin = np.zeros((cohorts.size, len(cohorts.clock) + 1, len(cells)))
    for k, cell in enumerate(cells):
        change = m[:, cell.t] - m[:, cell.base]
        against = list(cell.controls)
        pooled = mass[against].sum()
        expected = mass[against] @ change[against] / pooled
        theta[k] = change[cell.g] - expected
        lin[cell.g, [cell.t, cell.base], k] = np.array([1.0, -1.0]) / mass[cell.g]
        lin[against, cell.t, k] -= 1 / pooled
        lin[against, cell.base, k] += 1 / pooled
        lin[against, -1, k] = -(change[against] - expected) / pooled
    return theta, Scores(cohorts.rows, lin)


def _with_covariates(
    panel: Panel, cohorts: Cohorts, cells: list[Cell], covariates: Sequence[str], method: Method
) -> tuple[Vector, Scores]:
    """Cells that share treated, controls and covariates are estimated together."""
    shape = (panel.n_units, panel.n_periods)
    values = np.stack([panel.column(name).reshape(shape) for name in covariates], axis=2)
    fixed = bool((values == values[:, :1]).all())
    names = ["the intercept", *covariates]
    batches: dict[tuple[int, tuple[int, ...], int], list[int]] = {}
    for k, cell in enumerate(cells):
        batches.setdefault((cell.g, cell.controls, -1 if fixed else cell.base), []).append(k)
    theta = np.empty(len(cells))
    psi = np.zeros((panel.n_units, len(cells)))
    for (g, controls, at), ks in batches.items():
        keep = np.isin(cohorts.code, [g, *controls])
        x = np.column_stack([np.ones(int(keep.sum())), values[keep, max(at, 0)]])
        t, b = [cells[k].t for k in ks], [cells[k].base for k in ks]
        try:
            theta[ks], part = two_period(
                cohorts.outcome[keep][:, t] - cohorts.outcome[keep][:, b],
                (cohorts.code[keep] == g).astype(float),
                x,
                cohorts.weight[keep],
                method=method,
                names=names,
            )
        except IdentificationError as wrong:
            raise IdentificationError(f"cohort {plain(cohorts.start[g])}: {wrong}") from wrong
        psi[np.ix_(np.flatnonzero(keep), np.array(ks))] = part
    return theta, Scores.dense(psi)


def _mass(panel: Panel, cohorts: Cohorts, index: Index, cells: list[Cell]) -> Estimate:
    """Share of each cell's cohort, with the contributions that make it random."""
    g = [cell.g for cell in cells]
    total = cohorts.mass.sum()
    lin = np.zeros((cohorts.size, len(cohorts.clock) + 1, len(cells)))
    lin[g, -1, np.arange(len(cells))] = 1 / total
    meta = Meta("share of the cohort", "counts", panel.outcome, len(panel.y), panel.provenance)
    return Estimate(
        cohorts.mass[g] / total,
        Scores(cohorts.rows, lin),
        panel.units,
        panel.cluster,
        index,
        meta,
    )
