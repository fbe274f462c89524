"""Group-time effects of staggered adoption, each from one clean two-period comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias, get_args

import numpy as np

from evalkit.core.adoption import Starts
from evalkit.core.arrays import Flags
from evalkit.core.checks import check_whole, refuse_text_or_repeats
from evalkit.core.errors import IdentificationError, check_option, some
from evalkit.core.estimate import Estimate
from evalkit.core.origin import Linear, Meta
from evalkit.core.panel import Panel
from evalkit.core.sides import adopters
from evalkit.core.threads import one_thread
from evalkit.did.changes import from_changes
from evalkit.did.group_time import (
    Base,
    Cell,
    CellWeights,
    Control,
    Made,
    Source,
    alone,
    from_paths,
    from_records,
    plan,
    refuse_changing_weights,
)
from evalkit.did.two_way import require_contrast
from evalkit.engines.cohorts import Cohorts, PathWeights, cell_index, cohort_mass
from evalkit.engines.doubly_robust import Method
from evalkit.engines.placed import placed

Unbalanced: TypeAlias = Literal["pairwise", "balanced", "records"]


@one_thread
def callaway_santanna(
    panel: Panel,
    *,
    control: Control = "never",
    method: Method = "dr",
    covariates: Sequence[str] = (),
    covariates_from: Source = "base",
    anticipation: int = 0,
    base: Base = "varying",
    unbalanced: Unbalanced = "pairwise",
) -> Estimate:
    r"""ATT(g, t): the effect on the cohort adopting in g, in period t.

    **Estimand.** :math:`ATT(g,t)=E[Y_t(g)-Y_t(\infty)\mid G=g]`; placebo comparisons for t < g.
    **Assumptions.** Parallel trends between the cohort and its controls (given covariates, if any),
    no anticipation beyond ``anticipation`` periods, overlap.
    **Estimator.** :math:`(\bar Y_{g,t}-\bar Y_{g,b})-(\bar Y_{C,t}-\bar Y_{C,b})`, with base
    :math:`b=g-1` (before the anticipation window), or the period before t for placebo cells when
    the base varies; with covariates, the doubly robust, weighted or regression version.
    **Contribution.** Deviations of a unit's change from its group's, over the group's weight; with
    covariates also what the unit does to the fitted propensity and regression.
    **Reference.** Callaway and Sant'Anna (2021), Journal of Econometrics 225(2), eqs. 2.2-2.6,
    4.1; Sant'Anna and Zhao (2020), Journal of Econometrics 219(1), section 3.2 for the improved
    version, and Graham, Pinto and Egel (2012) for its propensity.
    **Checked against.** R did 2.5.1 (printed digits) and moderndid 0.4.1 (1e-10), see
    ``tests/test_goldens_did.py``; improved, moderndid's ``drdid_imp_panel`` and
    ``drdid_imp_local_rc`` (2e-9, where its propensity stops).
    **Fails when.** No untreated comparison is left: the periods lost are named in the notes. A cell
    that its data cannot answer (singular covariates, no overlap, nobody seen) is NaN, with the
    reason in the notes; averages leave it out and say so.
    A cohort of one unit shows no error of its own: its interval is far too short.

    Parameters
    ----------
    panel : Panel
        With adoption dates; weights constant within units, unless rows are records.
    control : {"never", "not_yet"}
        Compare with the never-treated, or with all units not yet treated.
    method : {"dr", "dr_improved", "ipw", "reg"}
        How covariates enter; without covariates all agree. Doubly robust needs the regression or
        the propensity to be right; improved, its interval is right too if only one of them is.
    covariates : sequence of str
        Unit covariates; a record of a cross-section has its own.
    covariates_from : {"base", "earlier"}
        Take them in the base period of each comparison, or in the earlier of its two periods (as R
        did): not the same before adoption with a universal base, if covariates change.
    anticipation : int
        Periods before adoption in which an effect may already show.
    base : {"varying", "universal"}
        Base of placebo cells.
    unbalanced : {"pairwise", "balanced", "records"}
        A cell uses the units seen in both of its periods; or only units seen in every period; or
        every row as a record of repeated cross-sections (unit: the record, or what ties records
        together), whose change is one between means of different people.

    Returns
    -------
    Estimate
        Index levels ``cohort`` and ``time``; its ``mass`` is the cohort's weight, which
        :func:`aggregate` uses with its own sampling noise; its ``counts`` are the treated and
        comparison units (or records) of each cell.

    Raises
    ------
    IdentificationError
        No treated unit, no comparison, or no cell that can be estimated (with every reason).

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
    check_option("covariates_from", covariates_from, get_args(Source))
    check_option("unbalanced", unbalanced, get_args(Unbalanced))
    check_whole("anticipation", anticipation, 0, "it counts periods")
    refuse_text_or_repeats("covariates", covariates)
    if unbalanced == "balanced" and not panel.balanced:
        full = _full(panel)
        inner = callaway_santanna(
            _complete(panel, full),
            control=control,
            method=method,
            covariates=covariates,
            covariates_from=covariates_from,
            anticipation=anticipation,
            base=base,
        )
        return placed(inner, full[panel.unit])
    require_contrast(panel, never=control == "never")
    starts = Starts.of(panel)
    cells, lost = plan(starts, control, anticipation, base)
    if not cells:
        raise IdentificationError(
            f"no cohort has a comparison left: {some(lost)}. Add periods before adoption, or units "
            "that stay untreated."
        )
    records = unbalanced == "records"
    cohorts = None if records else Cohorts.of(panel)
    made = _make(panel, cohorts, cells, covariates, covariates_from, method, unbalanced)
    if np.isnan(made.theta).all():
        raise IdentificationError("; ".join(reason.rstrip(".") for reason in made.failed))
    g = [cell.g for cell in cells]
    index = cell_index(starts, g, [cell.t for cell in cells])
    origin: Linear | None = None
    if not covariates and cohorts is not None:
        origin = PathWeights(cohorts, made.scores.lin)
    elif not covariates:
        origin = CellWeights(panel, cells, records)
    return Estimate(
        made.theta,
        made.scores,
        panel.units,
        panel.cluster,
        index,
        Meta(
            "ATT(g, t)",
            _name(control, method, covariates, unbalanced),
            panel.outcome,
            len(panel.y),
            panel.provenance,
            (*panel.ledger, *lost, *made.failed, *alone(index, made.counts)),
            base,
        ),
        origin=origin,
        combination=None if covariates else np.eye(len(cells)),
        mass=cohort_mass(panel, index, g, None if records else made.scores.rows),
        counts=made.counts,
        sides=adopters(panel, index, never=control == "never"),
    )


def _make(
    panel: Panel,
    cohorts: Cohorts | None,
    cells: list[Cell],
    covariates: Sequence[str],
    source: Source,
    method: Method,
    unbalanced: Unbalanced,
) -> Made:
    if unbalanced == "records":
        return from_records(panel, cells, covariates, method)
    if cohorts is not None and not covariates:
        return from_paths(cohorts, cells)
    if len(panel.y) == panel.n_units:
        raise IdentificationError(
            "every unit is seen once, so that no change can be taken; use unbalanced='records'"
        )
    refuse_changing_weights(panel)
    return from_changes(panel, cells, covariates, method, source)


def _name(
    control: Control, method: Method, covariates: Sequence[str], unbalanced: Unbalanced
) -> str:
    details = [f"{'never' if control == 'never' else 'not yet'} treated controls"]
    details += [method] if covariates else []
    details += ["repeated cross-sections"] if unbalanced == "records" else []
    return f"Callaway-Sant'Anna ({', '.join(details)})"


def _full(panel: Panel) -> Flags:
    """Units seen in every period, but for those inside their adoption window ``(N,)``."""
    starts = Starts.of(panel)
    expected = np.array([starts.known(g).sum() for g in range(len(starts.start))])
    full: Flags = np.bincount(panel.unit, minlength=panel.n_units) == expected[starts.code]
    if not full.any():
        raise IdentificationError(
            "no unit is seen in every period; use unbalanced='pairwise', or 'records'"
        )
    return full


def _complete(panel: Panel, full: Flags) -> Panel:
    """The panel of some units; the others are counted in the ledger."""
    note = f"{int((~full).sum())} units dropped: not seen in every period"
    return replace(panel.where(full[panel.unit]), ledger=(*panel.ledger, note))
