"""The curve of effects over a continuous dose, against units without a dose.

Not for staggered doses: the reform starts once, and each unit keeps one dose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from evalkit.core.adoption import plain
from evalkit.core.arrays import Labels, Matrix, Vector
from evalkit.core.checks import check_whole
from evalkit.core.errors import IdentificationError, OptionError, some
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.core.panel import Panel
from evalkit.core.scores import Scores
from evalkit.core.sides import Loads, Sides
from evalkit.core.threads import one_thread
from evalkit.did.dose import since
from evalkit.engines.change import Change, ChangeWeights

SPREAD = 1e-10  # least singular value of the basis over the doses, relative to the largest


@one_thread
def dose_curve(
    panel: Panel,
    *,
    start: Any,
    at: Sequence[float] | None = None,
    degree: int = 3,
    knots: int | Sequence[float] = 0,
) -> Estimate:
    r"""ATT(d) and ACRT(d): the effect at each dose, and what one more unit of dose adds.

    **Estimand.** Level :math:`ATT(d\mid d)=E[Y(d)-Y(0)\mid D=d]` and its slope, with their averages
    over the doses of the treated, :math:`ATT^o` and :math:`ACRT^o`. Under strong parallel trends
    the level is :math:`ATT(d)=E[Y(d)-Y(0)\mid D>0]` and the slope :math:`ACRT(d)=ATT'(d)`.
    **Assumptions.** Levels and :math:`ATT^o`: parallel trends between each dose and dose zero.
    Slopes, and any comparison of two doses: *strong* parallel trends, that is, units of every dose
    would have had the same response to any given dose. Under parallel trends alone the slope is
    :math:`\frac{d}{dd}ATT(d\mid d)=ACRT(d\mid d)
    +\left.\frac{\partial}{\partial l}ATT(d\mid l)\right|_{l=d}`: the second term is selection bias,
    what units of a slightly higher dose would have gained more at this same dose (those who take
    more may gain more from any dose). No period before the reform can show it.
    **Estimator.** With :math:`\Delta_i` unit i's mean after minus its mean before,
    :math:`\hat\beta` from least squares of :math:`\Delta_i` on a B-spline basis :math:`b(D_i)`
    among the treated, and :math:`\bar\Delta_0` the mean change at dose zero,
    :math:`\widehat{ATT}(d)=b(d)'\hat\beta-\bar\Delta_0`, :math:`\widehat{ACRT}(d)=b'(d)'\hat\beta`;
    averages over the treated units' own doses. Without knots the curve is a polynomial.
    **Contribution.** With :math:`\psi^\beta_i=(B'WB)^{-1}b(D_i)w_ie_i`:
    :math:`b(d)'\psi^\beta_i` less :math:`w_i(\Delta_i-\bar\Delta_0)/W_0` at dose zero, and
    :math:`b'(d)'\psi^\beta_i`; the averages add the noise of the dose distribution,
    :math:`w_i(b'(D_i)'\hat\beta-\widehat{ACRT}^o)/W_1`. Knots are taken as given.
    **Reference.** Callaway, Goodman-Bacon and Sant'Anna (2024), NBER working paper 32117
    (arXiv:2107.02637).
    **Checked against.** moderndid 0.4.1 ``cont_did`` (1e-10), see ``tests/test_continuous.py``.
    **Fails when.** Few doses or none near d: the ends of the curve are the first to go; or no unit
    has dose zero, when only :func:`dose_response` is left.

    Parameters
    ----------
    panel : Panel
        With a dose, zero for untreated units; weights constant within units.
    start : period
        First period under the reform.
    at : sequence of float, optional
        Doses of the curve (default: the deciles of the treated doses).
    degree : int
        Degree of the pieces.
    knots : int or sequence of float
        Interior knots: how many, at quantiles of the treated doses, or the doses themselves.

    Returns
    -------
    Estimate
        Index levels ``parameter`` ("ATT", in outcome units, and "ACRT", per unit of dose) and
        ``dose``, a number or "average".

    Raises
    ------
    IdentificationError
        No dose, no untreated or no treated unit, a negative dose, or too few doses for the basis.
    OptionError
        A dose of ``at`` or a knot outside the treated doses, or a degree under one.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"i": [0, 0, 1, 1, 2, 2, 3, 3], "t": [0, 1] * 4,
    ...          "y": [0.0, 1, 0, 2, 0, 3, 0, 5], "d": [0.0, 0, 1, 1, 2, 2, 4, 4]}
    >>> panel = ek.Panel.from_frame(frame, outcome="y", unit="i", time="t", dose="d",
    ...                             provenance="synthetic")
    >>> curve = ek.did.dose_curve(panel, start=1, at=[3], degree=1)
    >>> curve.select(dose=3).theta.round(12)
    array([3., 1.])
    """
    change = Change.of(panel, since(panel, start))
    dose = _doses(panel, change.both)
    treated, zero = change.both & (dose > 0), change.both & (dose == 0)
    basis = Basis.over(dose[treated], degree, knots)
    points = _points(at, dose[treated])
    w1 = change.weight[treated] / change.weight[treated].sum()
    w0 = change.weight[zero] / change.weight[zero].sum()
    delta1, delta0 = change.delta[treated], change.delta[zero]

    # theta = lin' delta: rows of units, columns ATT(d), ACRT(d), ATT average, ACRT average.
    b, slope = basis.level(dose[treated]), basis.slope(dose[treated])
    wanted = np.vstack([basis.level(points), basis.slope(points), w1 @ b, w1 @ slope])
    bread = _bread(b, w1, basis, dose[treated])
    lin1 = (w1[:, None] * b) @ bread @ wanted.T
    level = np.repeat([1.0, 0.0, 1.0, 0.0], [len(points), len(points), 1, 1])
    lin0 = -w0[:, None] * level
    theta = lin1.T @ delta1 + lin0.T @ delta0

    beta = bread @ (b.T @ (w1 * delta1))
    lin = np.zeros((panel.n_units, len(theta)))
    psi = np.zeros_like(lin)
    lin[treated], lin[zero] = lin1, lin0
    psi[treated] = lin1 * (delta1 - b @ beta)[:, None]
    psi[zero] = lin0 * (delta0 - w0 @ delta0)[:, None]
    psi[treated, -2] += w1 * (b @ beta - w1 @ b @ beta)
    psi[treated, -1] += w1 * (slope @ beta - w1 @ slope @ beta)
    # A slope compares treated units with each other.
    sides = np.zeros((2, panel.n_units, len(theta)))
    sides[0, treated] = sides[1, treated] = w1[:, None]
    sides[1, treated] *= 1 - level
    sides[1, zero] = w0[:, None] * level
    keys = [(name, plain(d)) for name in ("ATT", "ACRT") for d in points]
    meta = Meta(
        "effect and response at a dose",
        f"dose curve (degree {degree}, {len(basis.interior)} knots)",
        panel.outcome,
        int(change.both[panel.unit].sum()),
        panel.provenance,
        (*panel.ledger, *change.notes),
    )
    return Estimate(
        theta,
        Scores.dense(psi),
        panel.units,
        panel.cluster,
        Index(("parameter", "dose"), (*keys, ("ATT", "average"), ("ACRT", "average"))),
        meta,
        origin=ChangeWeights(change, panel, lin),
        combination=np.eye(len(theta)),
        sides=Sides.of(Loads.of(panel.cluster, *sides), len(theta)),
    )


@dataclass(frozen=True)
class Basis:
    """B-splines of ``degree`` over the doses ``low`` to ``high`` with ``interior`` knots."""

    low: float
    high: float
    interior: Vector
    degree: int

    @classmethod
    def over(cls, dose: Vector, degree: int, knots: int | Sequence[float]) -> Basis:
        """The basis for treated doses; refuse a degree or knots that cannot be."""
        check_whole("degree", degree, 1, "a step has no slope")
        if not isinstance(knots, Sequence | np.ndarray):
            check_whole("knots", knots, 0, "or name the doses at which they stand")
            interior = np.quantile(dose, np.linspace(0, 1, knots + 2)[1:-1])
        else:
            interior = np.sort(np.asarray(knots, float))
        low, high = float(dose.min()), float(dose.max())
        if low == high:
            raise IdentificationError(
                f"every treated unit has the dose {low:g}; a curve needs doses that differ. Its "
                "mean effect is that of two_by_two, or of callaway_santanna"
            )
        wrong = interior[~((interior > low) & (interior < high))]
        if len(wrong) or len(np.unique(interior)) < len(interior):
            raise OptionError(
                f"knots at {some(f'{k:g}' for k in interior)} must differ and lie inside the "
                f"treated doses {low:g} to {high:g}. Ask for fewer knots, or name them."
            )
        return cls(low, high, interior, degree)

    @property
    def size(self) -> int:
        """Number of coefficients ``p``."""
        return len(self.interior) + self.degree + 1

    def level(self, dose: Vector) -> Matrix:
        """``b(d)`` at doses ``(m,)``: ``(m, p)``."""
        return self._at(dose, 0)

    def slope(self, dose: Vector) -> Matrix:
        """``b'(d)`` at doses ``(m,)``: ``(m, p)``."""
        return self._at(dose, 1)

    def _at(self, dose: Vector, derivative: int) -> Matrix:
        from scipy.interpolate import BSpline  # a quarter second to import

        ends = self.degree + 1
        t = np.concatenate([[self.low] * ends, self.interior, [self.high] * ends])
        out: Matrix = np.asarray(BSpline(t, np.eye(self.size), self.degree)(dose, derivative))
        return out


def _bread(b: Matrix, w: Vector, basis: Basis, dose: Vector) -> Matrix:
    """``(B'WB)^-1`` by singular values, so that close doses do not square the condition."""
    _, s, vt = np.linalg.svd(np.sqrt(w)[:, None] * b, full_matrices=False)
    if len(s) < basis.size or s[-1] <= SPREAD * s[0]:
        edges = [basis.low, *basis.interior, basis.high]
        counts = [
            int(((np.unique(dose) >= one) & (np.unique(dose) <= two)).sum())
            for one, two in pairwise(edges)
        ]
        raise IdentificationError(
            f"{len(np.unique(dose))} distinct treated doses ({some(counts)} between the knots) do "
            f"not determine a curve of {basis.size} coefficients; lower the degree or the knots"
        )
    out: Matrix = (vt.T / s**2) @ vt
    return out


def _doses(panel: Panel, both: Labels) -> Vector:
    if panel.dose is None:
        raise IdentificationError(
            "the panel has no dose: name the column in Panel.from_frame(..., dose=...)"
        )
    negative = np.flatnonzero(panel.dose < 0)
    if len(negative):
        raise IdentificationError(
            f"unit {panel.units[negative[0]]!s} has the dose {panel.dose[negative[0]]:g} "
            f"({len(negative)} units below zero); a dose curve needs zero for untreated units and "
            "positive doses for the others. Measure the dose from that of the untreated."
        )
    for seen, group, remedy in (
        (panel.dose == 0, "untreated (dose zero)", "Without them use dose_response."),
        (panel.dose > 0, "treated (dose above zero)", "Check the dose column."),
    ):
        if not (seen & both).any():
            raise IdentificationError(f"no {group} unit is seen both before and after. {remedy}")
    return panel.dose


def _points(at: Sequence[float] | None, dose: Vector) -> Vector:
    if at is None:
        return np.unique(np.quantile(dose, np.arange(1, 10) / 10))
    points = np.unique(np.asarray(at, float))
    outside = points[~((points >= dose.min()) & (points <= dose.max()))]
    if not len(points) or len(outside):
        raise OptionError(
            f"at={some(f'{d:g}' for d in outside) or 'nothing'}: the curve is known from dose "
            f"{dose.min():g} to {dose.max():g} only; name doses between them"
        )
    return points
