"""Triple differences: eligible against ineligible units, in adopting against untreated groups.

Not for pooling: every control cohort is compared on its own, since eligible and ineligible units
need not be spread alike over the control cohorts, nor over the covariates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np

from evalkit.core.adoption import Starts, plain
from evalkit.core.arrays import Codes, Labels
from evalkit.core.checks import check_whole, refuse_text_or_repeats
from evalkit.core.errors import IdentificationError, OptionError, check_option, some
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.core.panel import Panel
from evalkit.core.scores import Scores
from evalkit.core.sides import adopters
from evalkit.core.threads import one_thread
from evalkit.did.group_time import Base, Cell, Control, plan, refuse_changing_weights
from evalkit.did.two_way import require_contrast
from evalkit.engines.cohorts import PathWeights
from evalkit.engines.doubly_robust import Method
from evalkit.engines.triple import Crossed, Task, combine, counted, from_paths, from_units

SIDES = ("difference", "eligible", "ineligible")


@one_thread
def triple_difference(
    panel: Panel,
    *,
    eligible: str,
    value: Any = 1,
    control: Control = "never",
    method: Method = "dr",
    covariates: Sequence[str] = (),
    anticipation: int = 0,
    base: Base = "varying",
) -> Estimate:
    r"""ATT(g, t) of the eligible, net of what happened to the ineligible of the same group.

    **Estimand.** :math:`ATT(g,t)=E[Y_t(g)-Y_t(\infty)\mid S=g,Q=1]`, with S the period in which the
    unit's group enables treatment and Q eligibility; placebo comparisons for t < g.
    **Assumptions.** In every control cohort c the untreated trend of the eligible minus that of the
    ineligible is the one of cohort g (given covariates, if any): neither group nor eligibility
    needs parallel trends alone. No anticipation, no spillover on the ineligible, overlap of the
    (g, eligible) with the three other cells.
    **Estimator.** With :math:`DiD(g1,cq)` the two-period difference-in-differences of the eligible
    of g against cell (c, q), all at the covariates of the eligible of g,
    :math:`\hat\tau_c=DiD(g1,g0)+DiD(g1,c1)-DiD(g1,c0)`.
    The levels beside it are :math:`DiD(g1,c1)` for the eligible and :math:`DiD(g1,c0)-DiD(g1,g0)`
    for the ineligible: the difference is exactly the first minus the second. Several control
    cohorts are averaged with :math:`v=\Omega^{-1}1/(1'\Omega^{-1}1)`, :math:`\Omega=\sum_i
    \psi_{i}\psi_{i}'` the covariance of their :math:`\hat\tau_c`, on all three sides alike.
    **Contribution.** The same sums of the contributions of the differences-in-differences, with
    :math:`v` as given (its noise is of second order only where the control cohorts agree).
    **Reference.** Ortiz-Villavicencio and Sant'Anna (2025), arXiv:2505.09942, eqs. 4.8, 4.11, 4.12;
    Sant'Anna and Zhao (2020).
    **Checked against.** moderndid 0.4.1 ``ddd`` (1e-10), see ``tests/test_triple_difference.py``.
    **Fails when.** The ineligible are affected too: read the levels. A control cohort of few units
    has a badly measured variance and draws too much weight; one with fewer than two eligible or two
    ineligible units is left out where there are others, and named.

    Parameters
    ----------
    panel : Panel
        ``cohort`` is the date of the unit's group, for eligible and ineligible alike. With gaps,
        each comparison uses the units seen in both of its periods. Weights constant within units.
    eligible : str
        Category, constant within units.
    value : label
        Label of the eligible (default 1, also True); units with any other label are ineligible.
    control : {"never", "not_yet"}
        Compare with never-treated groups, or with each cohort not yet treated.
    method, covariates, anticipation, base
        As in :func:`callaway_santanna`.

    Returns
    -------
    Estimate
        Index levels ``side`` ("difference", "eligible", "ineligible"), ``cohort`` and ``time``;
        its ``mass`` is the weight of the cohort's eligible units; its ``counts`` are the units of
        the side and its controls (for the difference, the three other kinds of units). A cell
        that cannot be estimated is NaN, with its reason in the notes.

    Raises
    ------
    IdentificationError
        No treated group, no eligible or ineligible unit, or no comparison left (reasons given).
    OptionError
        Eligibility that changes within a unit, or an unknown label.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"school": [1, 1, 2, 2, 3, 3, 4, 4], "year": [1, 2] * 4,
    ...          "score": [1.0, 4.0, 1.0, 2.0, 0.0, 1.0, 0.0, 0.5],
    ...          "start": [2] * 4 + [None] * 4, "town": [1, 1, 0, 0] * 2}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="school", time="year",
    ...                             cohort="start", categories=["town"], provenance="synthetic")
    >>> ek.did.triple_difference(panel, eligible="town").to_frame()["estimate"].to_list()
    [1.5, 2.0, 0.5]
    """
    check_option("control", control, get_args(Control))
    check_option("method", method, get_args(Method))
    check_option("base", base, get_args(Base))
    check_whole("anticipation", anticipation, 0, "it counts periods")
    refuse_text_or_repeats("covariates", covariates)
    require_contrast(panel, never=control == "never")
    refuse_changing_weights(panel)
    starts, q = Starts.of(panel), _eligibility(panel, eligible, value)
    crossed = Crossed.of(starts, q, panel.wide(), panel.unit_weight)
    planned, lost = plan(starts, control, anticipation, base)
    tasks, thin = _tasks(starts, crossed, planned)
    failed: dict[int, str] = {}
    by_unit = bool(covariates) or not panel.balanced
    if by_unit:
        x = np.full((panel.n_units, panel.n_periods, len(covariates)), np.nan)
        for j, name in enumerate(covariates):
            x[panel.unit, panel.time, j] = panel.column(name)
        how = method if covariates else "reg"
        parts, psi, failed = from_units(crossed, tasks, x, list(covariates), how)
        scores = Scores.dense(psi)
    else:
        parts, scores = from_paths(crossed, tasks)
    combination, kept, singular = combine(tasks, scores, failed)
    notes = [*lost, *thin, *_reasons(starts, planned, tasks, failed, singular)]
    if not combination.any():
        raise IdentificationError(f"no cohort has a comparison left: {some(notes)}")
    cells = [planned[k] for k in kept]
    index = Index(
        ("side", "cohort", "time"),
        tuple(
            (side, starts.labels[cell.g], plain(starts.clock[cell.t]))
            for side in SIDES
            for cell in cells
        ),
    )
    meta = Meta(
        "ATT(g, t) of the eligible",
        f"triple difference ({control} treated controls{', ' + method if covariates else ''})",
        panel.outcome,
        len(panel.y),
        panel.provenance,
        (*panel.ledger, *notes),
        base,
    )
    scores = Scores.dense(psi @ combination) if by_unit else scores.dot(combination)
    linear = not by_unit and len(tasks) == len(kept)  # else the weights depend on the outcome
    made = combination.any(axis=0)
    return Estimate(
        np.where(made, parts @ combination, np.nan),
        scores,
        panel.units,
        panel.cluster,
        index,
        meta,
        mass=_mass(panel, crossed, index, cells, factored=not by_unit),
        counts=counted(crossed, tasks, kept, failed),
        origin=PathWeights(crossed.paths, scores.lin) if linear else None,
        combination=np.eye(len(index)) if linear else None,
        sides=adopters(panel, index, never=control == "never", eligible=q > 0),
    )


def _eligibility(panel: Panel, eligible: str, value: Any) -> Codes:
    """1 for eligible units, else 0, ``(N,)``."""
    category = panel.category(eligible)
    first = np.unique(panel.unit, return_index=True)[1]
    changes = category.codes != category.codes[first][panel.unit]
    if changes.any():
        at = int(np.flatnonzero(changes)[0])
        raise OptionError(
            f"category {eligible!r}: unit {panel.units[panel.unit[at]]!s} changes in "
            f"{panel.times[panel.time[at]]!s}; eligibility must be constant within units. "
            "Use eligibility before the reform."
        )
    label = category.labels[category.codes[first]]
    q: Labels = label == value
    if not np.any(q):
        raise OptionError(
            f"category {eligible!r} has no unit with the label {value!r} (it has "
            f"{some(np.unique(label))}); name the label of the eligible in value=..."
        )
    if np.all(q):
        raise IdentificationError(
            f"every unit is eligible ({eligible!r} is {value!r}); a triple difference needs "
            "ineligible units. Without them use callaway_santanna."
        )
    return q.astype(np.intp)


def _tasks(starts: Starts, crossed: Crossed, planned: list[Cell]) -> tuple[list[Task], list[str]]:
    """One task per planned cell and control cohort that has eligible and ineligible units."""
    tasks, lost = [], []
    for k, cell in enumerate(planned):
        if not crossed.size[cell.g].all():
            absent = "eligible" if crossed.size[cell.g, 0] else "ineligible"
            lost.append(
                f"{_name(starts, cell.g)} left out: it has no {absent} unit (the ineligible "
                "carry the adoption date of their group)"
            )
            continue
        least = crossed.size[list(cell.controls)].min(axis=1)
        needed = 2 if (least > 1).any() else 1
        for c, units in zip(cell.controls, least, strict=True):
            if units >= needed:
                tasks.append(Task(k, cell.g, c, cell.t, cell.base))
            else:
                few = "one" if units else "no"
                lost.append(
                    f"{_name(starts, c)} left out as control: {few} eligible or ineligible unit"
                )
    return tasks, list(dict.fromkeys(lost))


def _reasons(
    starts: Starts,
    planned: list[Cell],
    tasks: list[Task],
    failed: dict[int, str],
    singular: list[int],
) -> list[str]:
    """In words, what could not be estimated, with the periods."""
    periods: dict[tuple[int, str], list[float]] = {}
    for k, why in failed.items():
        task = tasks[k]
        what = f"not compared with {_name(starts, task.c)}: {why}"
        periods.setdefault((task.g, what), []).append(plain(starts.clock[task.t]))
    for k in singular:
        what = "left out: the covariance of its control cohorts is singular; use control='never'"
        periods.setdefault((planned[k].g, what), []).append(plain(starts.clock[planned[k].t]))
    return [
        f"{_name(starts, g)} in {some(sorted(when), 20)} {what}"
        for (g, what), when in periods.items()
    ]


def _name(starts: Starts, g: int) -> str:
    return "the never-treated" if np.isinf(starts.start[g]) else f"cohort {starts.labels[g]}"


def _mass(
    panel: Panel, crossed: Crossed, index: Index, cells: list[Cell], *, factored: bool
) -> Estimate:
    """Share of the eligible of each coordinate's cohort, with what makes it random."""
    paths = crossed.paths
    at = np.tile([crossed.at[cell.g, 1] for cell in cells], len(SIDES))
    if factored:
        lin = np.zeros((paths.size, len(paths.clock) + 1, len(at)))
        lin[at, -1, np.arange(len(at))] = 1 / paths.mass.sum()
        scores = paths.scores(lin)
    else:
        share = paths.weight / paths.mass.sum()
        scores = Scores.dense(share[:, None] * (paths.code[:, None] == at))
    return Estimate(
        paths.mass[at] / paths.mass.sum(),
        scores,
        panel.units,
        panel.cluster,
        index,
        Meta("share of the eligible", "counts", panel.outcome, len(panel.y), panel.provenance),
    )
