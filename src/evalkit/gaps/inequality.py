"""How unequally what is counted is shared: money, computers, teachers; not test scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, TypeAlias, get_args

import numpy as np

from evalkit.core.arrays import Groups, Matrix, Vector
from evalkit.core.errors import OptionError, check_option
from evalkit.core.estimate import Estimate
from evalkit.gaps.levels import Levels
from evalkit.gaps.sample import (
    Data,
    Names,
    Sample,
    Undefined,
    Wrong,
    answer,
    crossed,
    in_one_cluster,
    joint,
    listed,
    sample,
)

Metric: TypeAlias = Literal["theil_l", "theil_t", "ge2", "gini"]
Average: TypeAlias = Callable[[Vector], Vector]
Parts: TypeAlias = tuple[Vector, Vector, Vector, Vector]
Split: TypeAlias = Callable[[Vector, Vector, Vector, Vector, Average], Parts]
PARTS = ["total", "within", "between"]


def inequality(
    data: Data,
    *,
    metric: Metric,
    within: Names = None,
    by: Names = None,
    unit: Names = None,
    undefined: Undefined = "refuse",
) -> Estimate:
    r"""Theil's L and T, the generalised entropy of order two, or the Gini coefficient.

    **Estimand.** :math:`L=-E\log(x/\mu)`, :math:`T=E[(x/\mu)\log(x/\mu)]`,
    :math:`GE_2=\tfrac12(E(x/\mu)^2-1)`, or :math:`G=E|x-x'|/2\mu`. All are zero if everybody has
    the same, and none changes with the unit of measurement.
    **Assumptions.** x is counted from a true zero and not negative.
    **Estimator.** The same of the weighted sample. L, T and GE2 are sums of a part within the
    groups of ``within`` and a part between their means, exactly; the Gini coefficient is not.
    **Contribution.** Delta rule on the means of x, log x, x log x and x squared, of all and by
    group; for G on ranks.
    **Reference.** Shorrocks (1984) for the split; Cowell (2011); Cowell and Flachaire (2015) for
    the contributions.
    **Checked against.** Sums over all pairs by hand (1e-12); STAR (Theil L .004762, Gini .05475);
    the delete-one jackknife.
    **Fails when.** The values are test scores: a scale score has no zero that means nothing, and a
    standard score is negative for half of all. L has no value with a zero, and weighs small values
    most; GE2 weighs large ones.

    Parameters
    ----------
    data : Panel or Summaries
        Sums need a histogram.
    metric : {"theil_l", "theil_t", "ge2", "gini"}
    within : str or sequence of str, optional
        Groups to split by; not for ``"gini"``.
    by, unit, undefined
        As in :func:`gap`.

    Returns
    -------
    Estimate
        One coordinate per combination of ``by``; with ``within`` three, last index level
        ``component``.

    Raises
    ------
    IdentificationError
        Negative values, a zero in L, or nothing but zeros, unless ``undefined="nan"``.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"i": range(4), "t": [0] * 4, "y": [1.0, 1.0, 1.0, 5.0]}
    >>> panel = ek.Panel.from_frame(frame, outcome="y", unit="i", time="t", provenance="synthetic")
    >>> ek.gaps.inequality(panel, metric="gini").theta
    array([0.375])
    """
    check_option("metric", metric, get_args(Metric))
    groups_of = listed(within)
    if metric == "gini" and groups_of:
        raise OptionError(
            "metric='gini' has no exact split within and between groups: where they overlap, "
            "something is left over. Use 'theil_l', 'theil_t' or 'ge2' for a split"
        )
    rows = sample(data, unit, need="values")
    # Inequality has no unit; a power of two moves no digit, and no square overflows.
    power = np.frexp(np.abs(rows.value).max())[1]
    rows = replace(rows, value=np.ldexp(rows.value, -power))
    groups, index = rows.coordinates(by, used=groups_of)
    with np.errstate(divide="ignore", invalid="ignore"):
        if metric == "gini":
            theta, psi = _gini(rows, groups)
        else:
            theta, psi = _entropy(rows, groups, groups_of, _SPLITS[metric])
    width = theta.shape[1] if groups_of else 1
    spot = groups.codes[:, None] * width + np.arange(width)
    psi = psi[:, :width] * rows.scale[:, None]
    return answer(
        rows,
        crossed(index, "component", PARTS) if groups_of else index,
        theta[:, :width].reshape(-1),
        (np.repeat(rows.unit, width), spot.reshape(-1), psi.reshape(-1)),
        [Wrong(np.repeat(one.where, width), one.why) for one in _wrong(rows, groups, metric)],
        np.repeat(in_one_cluster(rows, groups), width),
        undefined=undefined,
        estimand=_NAMES[metric],
        method="plug-in",
    )


def _wrong(rows: Sample, groups: Groups, metric: str) -> list[Wrong]:
    negative, zero = (groups.sum(one.astype(float)) for one in (rows.value < 0, rows.value == 0))
    some_left = groups.sum(rows.weight * rows.value) > 0
    return [
        Wrong(
            negative > 0,
            f"{rows.outcome} is negative; a share of nothing has no meaning. Standard scores have "
            "no true zero: use a gap in standard deviations instead",
        ),
        Wrong(
            (zero > 0) & (metric == "theil_l"),
            "Theil's L takes the log of every value, and some are zero; use 'theil_t' or 'ge2'",
        ),
        Wrong(~some_left, f"{rows.outcome} is zero for all"),
    ]


def _entropy(
    rows: Sample, groups: Groups, within: tuple[str, ...], split: Split
) -> tuple[Matrix, Matrix]:
    """Total, within and between ``(k, 3)``, and what each row adds ``(m, 3)``."""
    k, x = groups.codes, rows.value
    codes, first = joint([k, *(rows.column(name).codes for name in within)])
    cells = Groups(codes, len(first))
    mean = (groups.sum(rows.weight * x) / groups.sum(rows.weight))[k]
    own = (cells.sum(rows.weight * x) / cells.sum(rows.weight))[codes]
    log = np.log(np.where(x > 0, x, 1.0))  # zeros stand with x log x = 0; L refuses them
    share = rows.weight / groups.sum(rows.weight)[k]

    def average(values: Vector) -> Vector:
        return groups.sum(share * values)[k]

    total, part, d_total, d_part = split(x, log, mean, own, average)
    first_row = np.unique(k, return_index=True)[1]
    theta = np.stack([total, part, total - part], axis=1)[first_row]
    psi = np.stack([d_total, d_part, d_total - d_part], axis=1)
    return theta, share[:, None] * psi


def _theil_l(x: Vector, log: Vector, mean: Vector, own: Vector, average: Average) -> Parts:
    total, part = average(np.log(mean) - log), average(np.log(own) - log)
    return (
        total,
        part,
        np.log(mean) - log - total + (x - mean) / mean,
        np.log(own) - log - part + (x - own) / own,
    )


def _theil_t(x: Vector, log: Vector, mean: Vector, own: Vector, average: Average) -> Parts:
    total = average(x * (log - np.log(mean))) / mean
    safe = np.log(np.where(own > 0, own, 1.0))
    part = average(x * (log - safe)) / mean
    return (
        total,
        part,
        (x * (log - np.log(mean)) - (x - mean)) / mean - total * x / mean,
        (x * (log - safe) - (x - own)) / mean - part * x / mean,
    )


def _ge2(x: Vector, log: Vector, mean: Vector, own: Vector, average: Average) -> Parts:
    square, between = average(x**2) / mean**2, average(own**2) / mean**2
    total = (square - 1) / 2
    part = (square - between) / 2
    d_square = (x / mean) ** 2 - square - 2 * square * (x - mean) / mean
    d_between = own * (2 * x - own) / mean**2 - between - 2 * between * (x - mean) / mean
    return total, part, d_square / 2, (d_square - d_between) / 2


def _gini(rows: Sample, groups: Groups) -> tuple[Matrix, Matrix]:
    k, x, w = groups.codes, rows.value, rows.weight / groups.sum(rows.weight)[groups.codes]
    levels = Levels.of(x, groups)
    rank = levels.middle(levels.mass(w))[levels.code]
    held = levels.mass(w * x)
    above = (levels.total(held)[levels.group] - levels.below(held) - held / 2)[levels.code]
    mean = groups.sum(w * x)
    gini = 2 * groups.sum(w * x * rank) / mean - 1
    d = 2 * (x * rank + above) / mean[k] - 2 * (gini + 1)[k] - (gini + 1)[k] * (x / mean[k] - 1)
    return gini[:, None], (w * d)[:, None]


_SPLITS = {"theil_l": _theil_l, "theil_t": _theil_t, "ge2": _ge2}
_NAMES = {
    "theil_l": "Theil's L",
    "theil_t": "Theil's T",
    "ge2": "generalised entropy of order 2",
    "gini": "Gini coefficient",
}
