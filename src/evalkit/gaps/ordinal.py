"""The gap between two groups in the order of their scores alone, whatever the scale."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from evalkit.core.arrays import Codes, Vector
from evalkit.core.errors import check_option
from evalkit.core.estimate import Estimate
from evalkit.engines.normal import density, point
from evalkit.gaps.levels import Levels
from evalkit.gaps.pair import Pair, pair
from evalkit.gaps.sample import Data, Names, Undefined, Wrong

Metric: TypeAlias = Literal["V", "probability"]


def ordinal_gap(
    data: Data,
    *,
    between: str,
    high: Any,
    low: Any,
    metric: Metric = "V",
    by: Names = None,
    unit: Names = None,
    undefined: Undefined = "refuse",
) -> Estimate:
    r"""How often a member of one group outscores a member of another, as a gap in normal scores.

    **Estimand.** :math:`P=\Pr(Y_1>Y_0)+\tfrac12\Pr(Y_1=Y_0)` for members drawn at random, and
    :math:`V=\sqrt2\,\Phi^{-1}(P)`: the standardised gap d that normal scores of equal spread with
    this P would have. Any rising change of scale leaves both as they are. 100 P is also the mean
    percentile, among the low group, of the members of the high group.
    **Assumptions.** None beyond sampling of units.
    **Estimator.** All pairs, by ranks.
    **Contribution.** :math:`w_i(\hat F_0(y_i)-P)/W_1` and :math:`w_j(1-\hat F_1(y_j)-P)/W_0`, with
    half of ties in :math:`\hat F`; for V times :math:`\sqrt2/\varphi(\Phi^{-1}(P))`.
    **Reference.** Ho and Reardon (2012); Mann and Whitney (1947); DeLong, DeLong and Clarke-Pearson
    (1988) for the variance.
    **Checked against.** All pairs by hand (1e-12); R pROC 1.18.0, area and DeLong variance (1e-12);
    mlmRev's Exam (V .2127).
    **Fails when.** The groups do not overlap: V is infinite, and the coordinate is refused or left
    empty. Scores that are bands need the bands' own model,
    :func:`band_gap`: here ties pull V towards zero.

    Parameters
    ----------
    data : Panel or Summaries
        With ``between`` among its categories or keys; sums need a score histogram.
    between : str
        Category that holds the groups.
    high, low : label
        The two groups.
    metric : {"V", "probability"}
    by, unit, undefined
        As in :func:`gap`.

    Returns
    -------
    Estimate
        One coordinate per combination of ``by``.

    Raises
    ------
    IdentificationError
        An empty group, or groups that do not overlap (V), unless ``undefined="nan"``.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"i": range(4), "t": [0] * 4, "y": [1.0, 3.0, 2.0, 4.0],
    ...          "g": ["rural", "rural", "urban", "urban"]}
    >>> panel = ek.Panel.from_frame(frame, outcome="y", unit="i", time="t", categories=["g"],
    ...                             provenance="synthetic")
    >>> ek.gaps.ordinal_gap(panel, between="g", high="urban", low="rural",
    ...                     metric="probability").theta
    array([0.75])
    """
    check_option("metric", metric, get_args(Metric))
    two = pair(data, between, high, low, by, unit, need="values")
    levels = Levels.of(two.rows.value, two.groups)
    apart = _apart(two, levels)
    with np.errstate(divide="ignore", invalid="ignore"):
        theta, psi = _outscores(two, levels)
        theta = np.where(apart != 0, (apart + 1) / 2, theta)
        wrong = []
        if metric == "V":
            wrong.append(Wrong(apart != 0, "the groups do not overlap, so that V is infinite"))
            z = point(theta)
            theta, psi = np.sqrt(2) * z, psi * (np.sqrt(2) / density(z))[two.groups.codes]
    return two.answer(
        theta,
        psi,
        wrong,
        undefined=undefined,
        estimand=metric if metric == "V" else "probability to outscore",
        method="ranks",
    )


def _apart(two: Pair, levels: Levels) -> Codes:
    """1 where all of the high group outscore the low one, -1 the reverse, else 0 ``(k,)``."""
    ends = []
    for side in (two.high, two.low):
        k, code = two.groups.codes[side.rows], levels.code[side.rows]
        least, most = np.full(len(two.index), len(levels.value)), np.full(len(two.index), -1)
        np.minimum.at(least, k, code)
        np.maximum.at(most, k, code)
        ends.append((least, most))
    (low_of_high, top_of_high), (low_of_low, top_of_low) = ends
    return np.where(top_of_low < low_of_high, 1, np.where(top_of_high < low_of_low, -1, 0))


def _outscores(two: Pair, levels: Levels) -> tuple[Vector, Vector]:
    """P of each coordinate ``(k,)``, and what each row adds to its error."""
    k, w = two.groups.codes, two.rows.weight
    shares = []
    for side in (two.high, two.low):
        own = w * side.rows
        rank = levels.middle(levels.mass(own))[levels.code]
        shares.append((own / side.at.w[k], rank / side.at.w[k]))
    (w1, f1), (w0, f0) = shares
    p = two.groups.sum(np.where(two.high.rows, w1 * f0, 0.0))
    up = np.where(two.high.rows, w1 * (f0 - p[k]), 0.0)
    down = np.where(two.low.rows, w0 * (1 - f1 - p[k]), 0.0)
    return p, up + down
