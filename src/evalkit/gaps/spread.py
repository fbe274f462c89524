"""How far apart values are: mean, standard deviation, coefficient of variation.

Absolute and relative spread can move in opposite directions; report both.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np

from evalkit.core.errors import check_option
from evalkit.core.estimate import Estimate
from evalkit.gaps.sample import (
    Data,
    Names,
    Undefined,
    Wrong,
    answer,
    in_one_cluster,
    moments,
    sample,
)

Metric: TypeAlias = Literal["mean", "sd", "cv"]


def spread(
    data: Data,
    *,
    metric: Metric = "sd",
    by: Names = None,
    unit: Names = None,
    undefined: Undefined = "refuse",
) -> Estimate:
    r"""Spread of the outcome across units, or across pupils.

    **Estimand.** :math:`\mu`, :math:`\sigma` or :math:`\sigma/\mu` of the population that the units
    were drawn from, weighted. For schools weighted by pupils, :math:`\sigma/\mu` is the official
    coefficient of variation between schools (校际差异系数).
    **Assumptions.** Units are draws from a population.
    **Estimator.** :math:`\hat\mu=\sum w_iy_i/W`, :math:`\hat\sigma^2=\sum w_i(y_i-\hat\mu)^2/W`,
    :math:`cv=\hat\sigma/\hat\mu`.
    **Contribution.** :math:`w_i(y_i-\mu)/W`; :math:`w_i((y_i-\mu)^2-\sigma^2)/(2\sigma W)`; and the
    delta rule for the ratio.
    **Reference.** van der Vaart (1998), chapter 3.
    **Checked against.** The delete-one jackknife; the worked example of the official method note
    (cv .515; without weights .489).
    **Fails when.** The mean is near zero (cv), or weights are few and large.

    Parameters
    ----------
    data : Panel or Summaries
    metric : {"mean", "sd", "cv"}
        The sd divides by the sum of weights, not by n - 1.
    by, unit, undefined
        As in :func:`gap`.

    Returns
    -------
    Estimate
        One coordinate per combination of ``by`` (default: the periods of a panel). Changes over
        time are contrasts.

    Raises
    ------
    IdentificationError
        No spread, or a cv with a mean that is not positive, unless ``undefined="nan"``.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"i": [0, 1], "t": [0, 0], "y": [1.0, 3.0]}
    >>> panel = ek.Panel.from_frame(frame, outcome="y", unit="i", time="t", provenance="synthetic")
    >>> ek.gaps.spread(panel, metric="cv").theta
    array([0.5])
    """
    check_option("metric", metric, get_args(Metric))
    rows = sample(data, unit)
    groups, index = rows.coordinates(by)
    at, k = moments(rows, groups), groups.codes
    sd, share, centred = np.sqrt(at.variance), rows.weight / at.w[k], rows.value - at.mean[k]
    theta, psi, wrong = at.mean, share * centred, []
    with np.errstate(divide="ignore", invalid="ignore"):
        if metric != "mean":
            wrong.append(Wrong(~(sd > 0), "all units are equal: the spread has no standard error"))
            square = rows.weight * (centred**2 - at.variance[k]) + rows.within
            theta, psi = sd, square / (2 * sd * at.w)[k]
        if metric == "cv":
            why = "the mean is not positive: a relative spread has no meaning"
            wrong.append(Wrong(at.mean <= 0, why))
            theta = sd / at.mean
            psi = psi / at.mean[k] - (theta / at.mean)[k] * share * centred
    names = {"mean": "mean", "sd": "standard deviation", "cv": "coefficient of variation"}
    return answer(
        rows,
        index,
        theta,
        (rows.unit, k, psi * rows.scale),
        wrong,
        in_one_cluster(rows, groups),
        undefined=undefined,
        estimand=names[metric],
        method="moments",
    )
