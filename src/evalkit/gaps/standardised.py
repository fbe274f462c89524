"""The gap between two groups in standard deviations; the denominator is always named."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np

from evalkit.core.arrays import Vector
from evalkit.core.errors import OptionError, check_option
from evalkit.core.estimate import Estimate
from evalkit.gaps.pair import Pair, pair
from evalkit.gaps.sample import Data, Names, Undefined, Wrong, moments

Scale: TypeAlias = Literal["pooled", "high", "low", "total"] | float
NAMED = ("pooled", "high", "low", "total")


def standardised_gap(
    data: Data,
    *,
    between: str,
    high: Any,
    low: Any,
    scale: Scale = "pooled",
    small_sample: bool = False,
    by: Names = None,
    unit: Names = None,
    undefined: Undefined = "refuse",
) -> Estimate:
    r"""Mean of one group minus mean of another, in standard deviations.

    **Estimand.** :math:`d=(E[Y\mid high]-E[Y\mid low])/\sigma`, with :math:`\sigma` the standard
    deviation within the two groups (``pooled``), in one of them, in everybody of the coordinate
    (``total``), or a given number.
    **Assumptions.** None beyond sampling of units; :math:`\sigma` means the same in every
    coordinate that is compared.
    **Estimator.** Weighted means and variances :math:`s^2=\frac{n}{n-1}\sum w_i(y_i-\bar y)^2/W`;
    pooled :math:`s^2=((n_1-1)s_1^2+(n_0-1)s_0^2)/(n_1+n_0-2)`. ``small_sample`` multiplies d by
    :math:`1-3/(4\nu-1)`, :math:`\nu` the degrees of freedom of s: Hedges' g.
    **Contribution.** :math:`(\psi_{\bar y_1}-\psi_{\bar y_0})/s-d\,\psi_{s^2}/(2s^2)`.
    **Reference.** Cohen (1988); Hedges (1981) for g.
    **Checked against.** numpy on mlmRev's Exam and STAR (1e-12); the delete-one jackknife;
    :math:`d^2/2(n_1+n_0)+(n_1+n_0)/(n_1n_0)` for normal outcomes.
    **Fails when.** The spread changes while the means do not: d then moves without any change of
    the gap, so show the gap in the outcome's unit beside it. Pass rates and other bounded outcomes
    have spreads that depend on their means; an ordinal gap does not.

    Parameters
    ----------
    data : Panel or Summaries
        With ``between`` among its categories or keys.
    between : str
        Category that holds the groups.
    high, low : label
        The two groups; the gap is high minus low.
    scale : {"pooled", "high", "low", "total"} or float
        The denominator; a number is a standard deviation from outside, taken as known.
    small_sample : bool
        Hedges' g instead of d; without effect where the denominator is a number.
    by, unit, undefined
        As in :func:`gap`.

    Returns
    -------
    Estimate
        One coordinate per combination of ``by``, in standard deviations.

    Raises
    ------
    IdentificationError
        An empty group or no variance, unless ``undefined="nan"``.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"i": range(6), "t": [0] * 6, "y": [1.0, 2.0, 3.0, 2.0, 3.0, 4.0],
    ...          "g": ["rural"] * 3 + ["urban"] * 3}
    >>> panel = ek.Panel.from_frame(frame, outcome="y", unit="i", time="t", categories=["g"],
    ...                             provenance="synthetic")
    >>> ek.gaps.standardised_gap(panel, between="g", high="urban", low="rural").theta
    array([1.])
    """
    number = isinstance(scale, (int, float)) and not isinstance(scale, bool)
    if number and not (np.isfinite(scale) and float(scale) > 0):
        raise OptionError(f"scale={scale} must be a positive standard deviation")
    if not number:
        check_option("scale", scale, (*NAMED, "a number"))
    two = pair(data, between, high, low, by, unit)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance, noise, dof, wrong = _denominator(two, scale)
        s, k = np.sqrt(variance), two.groups.codes
        d = (two.high.at.mean - two.low.at.mean) / s
        psi = (two.mean(two.high) - two.mean(two.low)) / s[k] - d[k] * noise / (2 * variance[k])
        j = 1 - 3 / (4 * dof - 1) if small_sample else np.ones(len(d))
    name = f"{scale:g}" if number else f"{scale} standard deviation"
    return two.answer(
        j * d,
        j[k] * psi,
        wrong,
        undefined=undefined,
        estimand=f"{'g' if small_sample else 'd'}: gap in means divided by the {name}",
        method="group moments",
    )


def _denominator(two: Pair, scale: Scale) -> tuple[Vector, Vector, Vector, list[Wrong]]:
    """Variance ``(k,)``, what each row adds to its error, its degrees of freedom, and where it is
    nothing."""
    high, low, k = two.high, two.low, two.groups.codes
    if scale in ("high", "low"):
        side = high if scale == "high" else low
        up = side.at.n / (side.at.n - 1)
        return side.at.unbiased, up[k] * two.variance(side), side.at.n - 1, two.flat(side)
    if scale == "pooled":
        n = high.at.n + low.at.n
        inside = (high.at.n * high.at.variance + low.at.n * low.at.variance) / n
        noise = sum(
            (side.at.n / n)[k] * two.variance(side)
            + side.rows * two.rows.count * (side.at.variance - inside)[k] / n[k]
            for side in (high, low)
        )
        up, dof = n / (n - 2), n - 2
    elif scale == "total":
        everybody = moments(two.rows, two.groups)
        n, inside = everybody.n, everybody.variance
        square = (two.rows.value - everybody.mean[k]) ** 2 - inside[k]
        noise = (two.rows.weight * square + two.rows.within) / everybody.w[k]
        up, dof = n / (n - 1), n - 1
    else:
        inside = np.full(len(two.index), float(scale) ** 2)
        noise, up, dof = np.zeros(len(k)), np.ones(len(inside)), np.full(len(inside), np.inf)
    flat = Wrong(~(inside > 0) | (dof < 1), "there is no variance to divide by")
    return up * inside, up[k] * noise, dof, [flat]
