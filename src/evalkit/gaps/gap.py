"""The gap between two groups of units, period by period."""

from __future__ import annotations

from typing import Any

import numpy as np

from evalkit.core.arrays import Groups
from evalkit.core.errors import IdentificationError, OptionError, some
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.core.panel import Panel
from evalkit.core.scores import Scores
from evalkit.core.threads import one_thread


@one_thread
def gap(panel: Panel, *, between: str, high: Any, low: Any) -> Estimate:
    r"""Mean of one group minus mean of another, in each period.

    **Estimand.** :math:`E[Y_t\mid high]-E[Y_t\mid low]`, in outcome units.
    **Assumptions.** None beyond sampling of units.
    **Estimator.** Difference of weighted means.
    **Contribution.** :math:`w_i(y_i-\bar y_h)/W_h` and :math:`-w_i(y_i-\bar y_l)/W_l`.
    **Reference.** Welch (1938) for the variance that follows.
    **Checked against.** A regression on group dummies by period (1e-12).
    **Fails when.** The groups are defined by the outcome itself: regression to the mean moves the
    gap without any cause.

    Parameters
    ----------
    panel : Panel
        With ``between`` among its categories.
    between : str
        Category that holds the groups.
    high, low : label
        The two groups; the gap is high minus low.

    Returns
    -------
    Estimate
        One coordinate per period; index level ``time``.

    Raises
    ------
    IdentificationError
        A group without units in a period.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"i": [0, 1], "t": [0, 0], "y": [1.0, 3.0], "g": ["rural", "urban"]}
    >>> panel = ek.Panel.from_frame(frame, outcome="y", unit="i", time="t", categories=["g"],
    ...                             provenance="synthetic")
    >>> ek.gaps.gap(panel, between="g", high="urban", low="rural").theta
    array([2.])
    """
    if high == low:
        raise OptionError(f"high and low are both {high!r}; a gap needs two groups")
    category = panel.category(between)
    periods = Groups(panel.time, panel.n_periods)
    theta = np.zeros(panel.n_periods)
    psi = np.zeros((panel.n_units, panel.n_periods))
    for label, sign in ((high, 1.0), (low, -1.0)):
        mine = category.labels[category.codes] == label
        mass = periods.sum(panel.weight * mine)
        if (mass == 0).any():
            raise IdentificationError(
                f"no unit has {between} = {label!r} in {some(panel.times[mass == 0])}; "
                f"the groups are {some(category.labels)}"
            )
        share = panel.weight * mine / mass[panel.time]
        mean = periods.sum(share * panel.y)
        theta += sign * mean
        np.add.at(psi, (panel.unit, panel.time), sign * share * (panel.y - mean[panel.time]))
    return Estimate(
        theta=theta,
        scores=Scores.dense(psi),
        units=panel.units,
        cluster=panel.cluster,
        index=Index.flat("time", panel.times.tolist()),
        meta=Meta(
            f"gap in means, {high} minus {low} {between}",
            "group means",
            panel.outcome,
            len(panel.y),
            panel.provenance,
            panel.ledger,
        ),
    )
