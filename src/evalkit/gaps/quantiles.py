"""The gap between two groups at each quantile: at the bottom, in the middle, at the top."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from evalkit.core.arrays import Flags, Vector
from evalkit.core.checks import is_number
from evalkit.core.errors import DoubtWarning, OptionError
from evalkit.core.estimate import Estimate
from evalkit.gaps.levels import Levels
from evalkit.gaps.pair import Pair, Side, pair
from evalkit.gaps.sample import Data, Names, Undefined, Wrong, answer, crossed


def quantile_gap(
    data: Data,
    *,
    between: str,
    high: Any,
    low: Any,
    at: Sequence[float] = (0.1, 0.25, 0.5, 0.75, 0.9),
    by: Names = None,
    unit: Names = None,
    undefined: Undefined = "refuse",
) -> Estimate:
    r"""Quantile of one group minus the same quantile of another.

    **Estimand.** :math:`Q_1(p)-Q_0(p)`, in outcome units. It compares distributions: nobody needs
    to keep a rank.
    **Assumptions.** The outcome has a density at the quantile.
    **Estimator.** Between order statistics, with place :math:`1+(n-1)p` (Hyndman and Fan's type 7);
    weights are scaled to sum to n.
    **Contribution.** :math:`w_i(p-1\{y_i\le Q(p)\})/(Wf)`, centred; :math:`1/f` is a difference of
    quantiles at the bandwidth of Hall and Sheather, widened until it leaves a tie.
    **Reference.** Hyndman and Fan (1996); Hall and Sheather (1988) for the bandwidth; Koenker
    (2005).
    **Checked against.** numpy on mlmRev's Exam (1e-12); R quantreg's bandwidth; a stored simulation
    of coverage.
    **Fails when.** Scores are coarse: a quantile then stands still while the distribution moves,
    and jumps; its interval is too short (a warning says so where a tenth of a group shares the
    score). Groups are small and p is near 0 or 1.

    Parameters
    ----------
    data : Panel or Summaries
        With ``between`` among its categories or keys; sums need a score histogram.
    between : str
        Category that holds the groups.
    high, low : label
        The two groups; the gap is high minus low.
    at : sequence of float
        Probabilities between 0 and 1.
    by, unit, undefined
        As in :func:`gap`.

    Returns
    -------
    Estimate
        One coordinate per combination of ``by`` and quantile; last index level ``quantile``.

    Raises
    ------
    IdentificationError
        An empty group, or one without spread, unless ``undefined="nan"``.

    Warns
    -----
    DoubtWarning
        If a quantile stands on a score that at least a tenth of its group, and five pupils, share.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"i": range(6), "t": [0] * 6, "y": [1.0, 2.0, 4.0, 2.0, 3.0, 7.0],
    ...          "g": ["rural"] * 3 + ["urban"] * 3}
    >>> panel = ek.Panel.from_frame(frame, outcome="y", unit="i", time="t", categories=["g"],
    ...                             provenance="synthetic")
    >>> ek.gaps.quantile_gap(panel, between="g", high="urban", low="rural", at=[0.5, 0.75]).theta
    array([1., 2.])
    """
    if isinstance(at, str) or not np.iterable(at) or not all(map(is_number, at)):
        raise OptionError(f"at={at!r} must hold probabilities, such as at=[0.5]")
    wanted = np.asarray(at, float).reshape(-1)
    if not (len(wanted) and ((wanted > 0) & (wanted < 1)).all() and len(set(at)) == len(wanted)):
        raise OptionError(f"at={list(at)} must hold different probabilities between 0 and 1")
    two = pair(data, between, high, low, by, unit, need="values")
    levels = Levels.of(two.rows.value, two.groups)
    k, width = len(two.index), len(wanted)
    theta, psi = np.zeros((k, width)), np.zeros((len(two.rows.value), width))
    flat, tied = np.zeros(k, bool), np.zeros((k, width), bool)
    with np.errstate(divide="ignore", invalid="ignore"):
        for column, p in enumerate(wanted):
            for side, sign in ((two.high, 1.0), (two.low, -1.0)):
                q, noise, none = _quantile(two, levels, side, float(p))
                theta[:, column] += sign * q
                psi[:, column] += sign * noise
                flat |= none
                tied[:, column] |= _tied(two, side, q)
    where = (two.groups.codes[:, None] * width + np.arange(width)).reshape(-1)
    wide = np.repeat(np.arange(len(two.rows.value)), width)
    out = answer(
        two.rows,
        crossed(two.index, "quantile", wanted.tolist()),
        theta.reshape(-1),
        (two.rows.unit[wide], where, (psi * two.rows.scale[:, None]).reshape(-1)),
        [
            Wrong(np.repeat(one.where, width), one.why)
            for one in (*two.empty(), Wrong(flat, "all values of a group are equal"))
        ],
        np.repeat(two.hidden(), width),
        undefined=undefined,
        estimand=f"quantile gap, {two.words}",
        method="order statistics",
    )
    tied &= ~np.isnan(out.theta.reshape(k, width))
    if tied.any():
        warnings.warn(
            f"{int(tied.sum())} quantile gaps stand on a score that a tenth of a group or more "
            "shares: they jump in steps of the scale, and their intervals are too short; prefer "
            "ordinal_gap or band_gap",
            DoubtWarning,
            stacklevel=2,
        )
    return out


def _tied(two: Pair, side: Side, q: Vector) -> Flags:
    """Coordinates ``(k,)`` in which many of the group have the very score of the quantile."""
    same = side.rows & (two.rows.value == q[two.groups.codes])
    return np.asarray(two.groups.sum(two.rows.count * same) >= np.maximum(5, side.at.n / 10))


def _quantile(two: Pair, levels: Levels, side: Side, p: float) -> tuple[Vector, Vector, Any]:
    """Quantile ``(k,)`` of one group, what each row adds to its error, where it has no spread."""
    k, w = two.groups.codes, two.rows.weight * side.rows
    own = two.groups.sum(w)
    mass = levels.mass(w * (side.at.n / own)[k])
    q = levels.quantile(mass, np.full(len(own), p))
    kish = own**2 / two.groups.sum(two.rows.weight2 * side.rows)
    slope = levels.sparsity(mass, p, kish)
    under = w * (two.rows.value <= q[k])
    psi = ((two.groups.sum(under) / own)[k] * w - under) / own[k] * slope[k]
    return q, psi, np.isnan(slope)
