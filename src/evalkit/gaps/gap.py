"""The gap between two groups in their means and variances, in the outcome's unit or as a ratio."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from evalkit.core.arrays import Vector
from evalkit.core.errors import check_option
from evalkit.core.estimate import Estimate
from evalkit.gaps.pair import Pair, pair
from evalkit.gaps.sample import Data, Names, Undefined, Wrong

Metric: TypeAlias = Literal["mean", "ratio", "log_ratio", "variance_ratio", "log_variance_ratio"]


def gap(
    data: Data,
    *,
    between: str,
    high: Any,
    low: Any,
    metric: Metric = "mean",
    by: Names = None,
    unit: Names = None,
    undefined: Undefined = "refuse",
) -> Estimate:
    r"""Mean of one group minus mean of another, or the ratio of their means or variances.

    **Estimand.** :math:`E[Y\mid high]-E[Y\mid low]`, in outcome units; or
    :math:`E[Y\mid high]/E[Y\mid low]`, or :math:`\mathrm{Var}[Y\mid high]/\mathrm{Var}[Y\mid low]`,
    or the log of a ratio.
    **Assumptions.** None beyond sampling of units.
    **Estimator.** Weighted means :math:`\bar y` and variances
    :math:`s^2=\frac{n}{n-1}\sum w_i(y_i-\bar y)^2/W`.
    **Contribution.** Of a mean, :math:`w_i(y_i-\bar y)/W`; of a variance,
    :math:`w_i((y_i-\bar y)^2-s^2)/W`; of a ratio, by the delta rule.
    **Reference.** Welch (1938) for the variance of a difference; Hedges and Nowell (1995) for the
    variance ratio.
    **Checked against.** A regression on group dummies by period (1e-12); numpy on mlmRev's Exam
    (1e-12); the delete-one jackknife.
    **Fails when.** The groups are defined by the outcome itself: regression to the mean moves the
    gap without any cause. A ratio of means depends on where the scale has its zero, and has no
    meaning for standard scores. Intervals of ratios are better made for their logs.

    Parameters
    ----------
    data : Panel or Summaries
        With ``between`` among its categories or keys.
    between : str
        Category that holds the groups.
    high, low : label
        The two groups; the gap is high minus low.
    metric : {"mean", "ratio", "log_ratio", "variance_ratio", "log_variance_ratio"}
    by : str or sequence of str, optional
        One coordinate for each combination of these (default: the periods of a panel, the keys of
        sums that have no other use).
    unit : str or sequence of str, optional
        Whose contributions stand together: ``"school"``, or ``["county", "school"]`` where ids are
        unique within counties only (default: the units of a panel; sums need it).
    undefined : {"refuse", "nan"}
        Where the data have no answer: say so, or leave the coordinate empty and count it.

    Returns
    -------
    Estimate
        One coordinate per combination of ``by``.

    Raises
    ------
    IdentificationError
        An empty group, no variance, or a mean that is not positive, unless ``undefined="nan"``.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"i": [0, 1], "t": [0, 0], "y": [1.0, 3.0], "g": ["rural", "urban"]}
    >>> panel = ek.Panel.from_frame(frame, outcome="y", unit="i", time="t", categories=["g"],
    ...                             provenance="synthetic")
    >>> ek.gaps.gap(panel, between="g", high="urban", low="rural").theta
    array([2.])
    """
    check_option("metric", metric, get_args(Metric))
    two = pair(data, between, high, low, by, unit)
    kind, log = metric.removeprefix("log_"), metric.startswith("log_")
    with np.errstate(divide="ignore", invalid="ignore"):
        theta, psi, wrong = _KINDS[kind](two)
        if log:
            theta, psi = np.log(theta), psi / theta[two.groups.codes]
    return two.answer(
        theta,
        psi,
        wrong,
        undefined=undefined,
        estimand=("log " if log else "") + _NAMES[kind],
        method="group means" if kind == "mean" else "group moments",
    )


Answer: TypeAlias = tuple[Vector, Vector, list[Wrong]]


def _difference(two: Pair) -> Answer:
    return two.high.at.mean - two.low.at.mean, two.mean(two.high) - two.mean(two.low), []


def _ratio(two: Pair) -> Answer:
    k = two.groups.codes
    high, low = two.high.at.mean, two.low.at.mean
    theta = high / low
    psi = (two.mean(two.high) - theta[k] * two.mean(two.low)) / low[k]
    why = "a mean is not positive, so that a ratio has no meaning; ask for metric='mean'"
    return theta, psi, [Wrong((high <= 0) | (low <= 0), why)]


def _variance_ratio(two: Pair) -> Answer:
    k = two.groups.codes
    high, low = two.high.at, two.low.at
    theta = high.unbiased / low.unbiased
    relative = two.variance(two.high) / high.variance[k] - two.variance(two.low) / low.variance[k]
    return theta, theta[k] * relative, two.flat(two.high, two.low)


_KINDS = {"mean": _difference, "ratio": _ratio, "variance_ratio": _variance_ratio}
_NAMES = {"mean": "gap in means", "ratio": "ratio of means", "variance_ratio": "ratio of variances"}
