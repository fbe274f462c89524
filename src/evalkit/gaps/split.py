"""How much of a gap lies within schools, and how much between them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from evalkit.core.arrays import Flags, Groups, Vector
from evalkit.core.errors import OptionError
from evalkit.core.estimate import Estimate
from evalkit.gaps.pair import Pair, pair
from evalkit.gaps.sample import Data, Names, Undefined, Wrong, answer, crossed, joint, listed

PARTS = ["total", "within", "between"]


def gap_split(
    data: Data,
    *,
    between: str,
    high: Any,
    low: Any,
    within: Names,
    by: Names = None,
    unit: Names = None,
    undefined: Undefined = "refuse",
) -> Estimate:
    r"""The gap between two groups as a part within schools and a part between them.

    **Estimand.** Total :math:`E[Y\mid high]-E[Y\mid low]`; within, the same among pupils of one
    school, averaged over schools; between, their difference: what follows from the groups going to
    different schools.
    **Assumptions.** None beyond sampling of units. Nothing causal: schools also differ in intake.
    **Estimator.** :math:`\hat\beta_w=\sum_j\omega_j(\bar y_{1j}-\bar y_{0j})/\sum_j\omega_j` with
    :math:`\omega_j=W_{1j}W_{0j}/(W_{1j}+W_{0j})`: the coefficient of the group in a regression with
    an effect for each school. Total less within is between, exactly.
    **Contribution.** Of the regression:
    :math:`w_i\tilde D_i(\tilde y_i-\hat\beta_w\tilde D_i)/\sum_j\omega_j`, tildes for deviations
    from the school's mean.
    **Reference.** Reardon (2008) on the split of gaps; Frisch and Waugh (1933) for the weights.
    **Checked against.** ``evalkit.did.regression`` with the school absorbed (1e-12), errors
    included; statsmodels on STAR (23.27 points, 21.96 within).
    **Fails when.** Few schools have pupils of both groups: the within part then speaks for them
    only. Their share of pupils stands in the notes.

    Parameters
    ----------
    data : Panel or Summaries
        With ``between`` and ``within`` among its categories or keys.
    between : str
        Category that holds the groups.
    high, low : label
        The two groups; the gap is high minus low.
    within : str or sequence of str
        The schools: ``"school"``, or ``["county", "school"]`` where ids are unique within counties
        only.
    by, unit, undefined
        As in :func:`gap`.

    Returns
    -------
    Estimate
        Three coordinates per combination of ``by``: ``total``, ``within``, ``between``; last index
        level ``component``.

    Raises
    ------
    IdentificationError
        An empty group, or no school with both, unless ``undefined="nan"``.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"i": range(6), "t": [0] * 6, "y": [1.0, 2.0, 5.0, 3.0, 6.0, 7.0],
    ...          "school": [1, 1, 2, 1, 2, 2], "g": ["r", "r", "r", "u", "u", "u"]}
    >>> panel = ek.Panel.from_frame(frame, outcome="y", unit="i", time="t",
    ...                             categories=["g", "school"], provenance="synthetic")
    >>> ek.gaps.gap_split(panel, between="g", high="u", low="r", within="school").theta
    array([2.66666667, 1.5       , 1.16666667])
    """
    schools = listed(within)
    if not schools:
        raise OptionError("within names no column; name the one that holds the schools")
    two = pair(data, between, high, low, by, unit, used=schools)
    total = two.high.at.mean - two.low.at.mean
    theta = np.zeros((len(two.index), 3))
    psi = np.zeros((len(two.rows.value), 3))
    psi[:, 0] = two.mean(two.high) - two.mean(two.low)
    with np.errstate(divide="ignore", invalid="ignore"):
        inside, psi[:, 1], share = _within(two, schools)
    theta[:, 0], theta[:, 1], theta[:, 2] = total, inside, total - inside
    psi[:, 2] = psi[:, 0] - psi[:, 1]
    psi *= two.rows.scale[:, None]
    spot = two.groups.codes[:, None] * 3 + np.arange(3)
    alone = Wrong(share <= 0, f"no {' and '.join(schools)} has pupils of both groups")
    out = answer(
        two.rows,
        crossed(two.index, "component", PARTS),
        theta.reshape(-1),
        (np.repeat(two.rows.unit, 3), spot.reshape(-1), psi.reshape(-1)),
        [Wrong(np.repeat(one.where, 3), one.why) for one in (*two.empty(), alone)],
        np.repeat(two.hidden(), 3),
        undefined=undefined,
        estimand=f"gap in means, {two.words}, within and between {' and '.join(schools)}",
        method="regression with effects of schools",
    )
    known = share[~np.isnan(out.theta[::3])]
    least = f", {known.min():.0%} at the least" if len(known) > 1 else ""
    note = f"{known.mean():.0%} of pupils are in schools with both groups{least}"
    return replace(out, meta=replace(out.meta, notes=(*out.meta.notes, note)))


def _within(two: Pair, schools: tuple[str, ...]) -> tuple[Vector, Vector, Vector]:
    """The part within ``(k,)``, what each row adds, and the share of pupils in mixed schools."""
    k = two.groups.codes
    codes, first = joint([k, *(two.rows.column(name).codes for name in schools)])
    cells = Groups(codes, len(first))
    either: Flags = two.high.rows | two.low.rows
    w = two.rows.weight * either
    mass = cells.sum(w)

    def deviation(values: Vector) -> Vector:
        return np.where(either, values - (cells.sum(w * values) / mass)[codes], 0.0)

    d = deviation(two.high.rows.astype(float))
    centred = np.where(either, two.rows.value - (two.low.at.mean)[k], 0.0)
    y = deviation(centred)
    square = two.groups.sum(w * d**2)
    beta = two.groups.sum(w * d * y) / square
    mixed = (
        cells.sum(two.rows.weight * two.high.rows) * cells.sum(two.rows.weight * two.low.rows) > 0
    )
    share = two.groups.sum(w * mixed[codes]) / two.groups.sum(w)
    return beta, w * d * (y - beta[k] * d) / square[k], np.where(square > 0, share, 0.0)
