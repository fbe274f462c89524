"""How an estimate that is linear in the outcome weighs the effects of treated observations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evalkit.core.adoption import Starts
from evalkit.core.errors import CombinationError
from evalkit.core.estimate import Estimate
from evalkit.core.panel import Panel

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class EffectWeights:
    """Weights of one estimate on the effects of treated observations.

    Attributes
    ----------
    positive, negative : int
        Number of treated observations with a positive and with a negative weight.
    negative_sum : float
        Sum of the negative weights; all weights sum to one.
    sigma : float
        Smallest standard deviation of effects across treated observations with which the true
        average effect could be zero, in outcome units. Small: the estimate is fragile.
    cells : pandas.DataFrame
        Sum of weights and number of observations by ``cohort`` and ``time``.
    """

    positive: int
    negative: int
    negative_sum: float
    sigma: float
    cells: pd.DataFrame


def negative_weights(estimate: Estimate, panel: Panel) -> EffectWeights:
    r"""How an estimate that is linear in the outcome weighs the effects of treated observations.

    :math:`\hat\beta=\sum_r W_rY_r` puts the weight :math:`W_r` on the effect in treated row r.
    With :math:`s_r` the row's share of all treated (weighted) rows,
    :math:`\underline\sigma=|\hat\beta|/\sqrt{\sum_r s_r(W_r/s_r-1)^2}`.

    Parameters
    ----------
    estimate : Estimate
        One coordinate with row weights, for example from :func:`two_way`.
    panel : Panel
        The panel that it was made from.

    Returns
    -------
    EffectWeights

    Raises
    ------
    CombinationError
        Several coordinates, no row weights, or another panel.

    References
    ----------
    de Chaisemartin and D'Haultfoeuille (2020), American Economic Review 110(9), theorem 1 and
    corollary 1. Checked against R TwoWayFEWeights 2.0.4 (printed digits), whose sigma divides by a
    sample standard deviation where the paper has that of the population.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"town": ["a"] * 4 + ["b"] * 4, "year": [1, 2, 3, 4] * 2,
    ...          "score": [1.0, 3.0, 3.0, 1.0, 1.0, 2.0, 2.0, 4.0], "start": [2] * 4 + [4] * 4}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> ek.negative_weights(ek.did.two_way(panel), panel).negative
    1
    """
    import pandas as pd

    if len(estimate) != 1:
        raise CombinationError(
            f"weights of one coordinate at a time; this estimate has {len(estimate)}: select one"
        )
    weights = estimate.weights[:, 0]
    if len(weights) != len(panel.y) or not np.isclose(weights @ panel.y, estimate.theta[0]):
        raise CombinationError("the estimate was not made from this panel")
    treated, starts = panel.treated > 0, Starts.of(panel)
    on = weights[treated]
    share = panel.weight[treated] / panel.weight[treated].sum()
    spread = float(np.sqrt(share @ (on / share - 1) ** 2))
    frame = pd.DataFrame(
        {
            "cohort": np.array(starts.labels, object)[starts.code[panel.unit[treated]]],
            "time": panel.times[panel.time[treated]],
            "weight": on,
        }
    ).infer_objects()
    by = frame.groupby(["cohort", "time"])["weight"]
    return EffectWeights(
        positive=int((on > 0).sum()),
        negative=int((on < 0).sum()),
        negative_sum=float(on[on < 0].sum()),
        sigma=float(abs(estimate.theta[0]) / spread) if spread > 0 else np.inf,
        cells=by.agg(weight="sum", observations="size").reset_index(),
    )
