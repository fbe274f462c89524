"""How far apart units are, period by period: mean, standard deviation, coefficient of variation.

Absolute and relative spread can move in opposite directions; report both.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np

from evalkit.core.arrays import Groups
from evalkit.core.errors import IdentificationError, check_option, some
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.core.panel import Panel
from evalkit.core.scores import Scores
from evalkit.core.threads import one_thread

Metric: TypeAlias = Literal["mean", "sd", "cv"]


@one_thread
def spread(panel: Panel, *, metric: Metric = "sd") -> Estimate:
    r"""Spread of the outcome across units in each period.

    **Estimand.** :math:`\mu_t`, :math:`\sigma_t` or :math:`\sigma_t/\mu_t` of the population that
    the units were drawn from (weighted by the panel's weights).
    **Assumptions.** Units are draws from a population.
    **Estimator.** :math:`\hat\mu=\sum w_iy_i/W`, :math:`\hat\sigma^2=\sum w_i(y_i-\hat\mu)^2/W`,
    :math:`cv=\hat\sigma/\hat\mu`.
    **Contribution.** :math:`w_i(y_i-\mu)/W`; :math:`w_i((y_i-\mu)^2-\sigma^2)/(2\sigma W)`; and the
    delta rule for the ratio.
    **Reference.** van der Vaart (1998), chapter 3.
    **Checked against.** The delete-one jackknife.
    **Fails when.** The mean is near zero (cv), or weights are few and large.

    Parameters
    ----------
    panel : Panel
    metric : {"mean", "sd", "cv"}
        The sd divides by the sum of weights, not by n - 1.

    Returns
    -------
    Estimate
        One coordinate per period; index level ``time``. Changes over time are contrasts.

    Raises
    ------
    IdentificationError
        A period without spread, or a cv with a mean that is not positive.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"i": [0, 1], "t": [0, 0], "y": [1.0, 3.0]}
    >>> panel = ek.Panel.from_frame(frame, outcome="y", unit="i", time="t", provenance="synthetic")
    >>> ek.gaps.spread(panel, metric="cv").theta
    array([0.5])
    """
    check_option("metric", metric, get_args(Metric))
    periods = Groups(panel.time, panel.n_periods)
    share = panel.weight / periods.sum(panel.weight)[panel.time]
    mean = periods.sum(share * panel.y)
    centred = panel.y - mean[panel.time]
    sd = np.sqrt(periods.sum(share * centred**2))
    value, score = mean, share * centred
    if metric != "mean":
        _refuse(panel, sd <= 0, "all units are equal: the spread has no standard error")
        value = sd
        score = share * (centred**2 - (sd**2)[panel.time]) / (2 * sd)[panel.time]
    if metric == "cv":
        _refuse(panel, mean <= 0, "the mean is not positive: a relative spread has no meaning")
        value = sd / mean
        score = score / mean[panel.time] - (value / mean)[panel.time] * share * centred
    psi = np.zeros((panel.n_units, panel.n_periods))
    psi[panel.unit, panel.time] = score
    names = {"mean": "mean", "sd": "standard deviation", "cv": "coefficient of variation"}
    return Estimate(
        theta=value,
        scores=Scores.dense(psi),
        units=panel.units,
        cluster=panel.cluster,
        index=Index.flat("time", panel.times.tolist()),
        meta=Meta(
            names[metric], "moments", panel.outcome, len(panel.y), panel.provenance, panel.ledger
        ),
    )


def _refuse(panel: Panel, wrong: np.ndarray[tuple[int], np.dtype[np.bool_]], why: str) -> None:
    if wrong.any():
        raise IdentificationError(f"in {some(panel.times[wrong])}, {why}")
