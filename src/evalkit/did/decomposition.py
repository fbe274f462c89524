"""What a two-way coefficient is made of: its two-by-two comparisons, and its weights on effects.

Not estimators of anything new: views of :func:`two_way`, to be shown beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evalkit.core.arrays import Labels, Vector
from evalkit.core.errors import CombinationError, IdentificationError
from evalkit.core.estimate import Estimate
from evalkit.core.panel import Panel
from evalkit.did.two_way import require_contrast
from evalkit.engines.cohorts import Cohorts, plain

if TYPE_CHECKING:
    import pandas as pd


def bacon(panel: Panel) -> pd.DataFrame:
    r"""Two-by-two comparisons behind the static two-way coefficient, with their weights.

    With :math:`n` the share of units in a cohort and :math:`\bar D` its share of treated periods,
    a pair of cohorts with :math:`\bar D_e>\bar D_l` is compared twice: before l adopts, e against
    l with weight :math:`n_en_l(\bar D_e-\bar D_l)(1-\bar D_e)`; and after e has adopted, l against
    e with weight :math:`n_en_l\bar D_l(\bar D_e-\bar D_l)`, both over their sum. The second takes
    treated units as controls, and subtracts any change of their effect.

    Parameters
    ----------
    panel : Panel
        Balanced, one weight per unit, no covariates.

    Returns
    -------
    pandas.DataFrame
        One row per comparison: ``type``, ``treated``, ``control`` (cohorts; inf is never),
        ``estimate``, ``weight``. ``(weight * estimate).sum()`` is the two-way coefficient.

    Raises
    ------
    IdentificationError
        An unbalanced panel or weights that change within units; nothing to compare.

    References
    ----------
    Goodman-Bacon (2021), Journal of Econometrics 225(2), theorem 1. Checked against R bacondecomp
    0.1.3 (printed digits) and :func:`two_way` (1e-12).

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"town": ["a"] * 3 + ["b"] * 3 + ["c"] * 3, "year": [1, 2, 3] * 3,
    ...          "score": [1.0, 3.0, 3.0, 1.0, 2.0, 4.0, 1.0, 1.0, 1.0],
    ...          "start": [2] * 3 + [3] * 3 + [None] * 3}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> ek.did.bacon(panel)["type"].tolist()
    ['earlier vs later', 'later vs earlier', 'treated vs never', 'treated vs never']
    """
    import pandas as pd

    require_contrast(panel, never=False)
    cohorts = Cohorts.of(panel)
    if cohorts is None:
        raise IdentificationError(
            "the decomposition needs a balanced panel with one weight per unit; keep the units "
            "observed in every period, or look at the weights of two_way instead"
        )
    n = cohorts.mass / cohorts.mass.sum()
    treated = cohorts.clock[None, :] >= cohorts.start[:, None]
    share = treated.mean(axis=1)
    rows = []
    for e in range(cohorts.size):
        for later in range(e + 1, cohorts.size):
            both, gap = n[e] * n[later], share[e] - share[later]
            pairs = (
                (e, later, ~treated[later], both * gap * (1 - share[e])),
                (later, e, treated[e], both * gap * share[later]),
            )
            for one, other, window, weight in pairs:
                if weight > 0:
                    value = _two_by_two(
                        cohorts.mean[one] - cohorts.mean[other], treated[one], window
                    )
                    kind = _kind(share[one], share[other])
                    start = [plain(cohorts.start[c]) for c in (one, other)]
                    rows.append((kind, *start, value, weight))
    if not rows:
        raise IdentificationError("no cohort changes treatment while another does not")
    frame = pd.DataFrame(rows, columns=["type", "treated", "control", "estimate", "weight"])
    frame["weight"] /= frame["weight"].sum()
    return frame.sort_values(["type", "treated", "control"], ignore_index=True)


def _two_by_two(difference: Vector, treated: Labels, window: Labels) -> float:
    """Change of a difference of paths within a window, at the adoption of the first."""
    return float(difference[window & treated].mean() - difference[window & ~treated].mean())


def _kind(one: float, other: float) -> str:
    if other == 0:
        return "treated vs never"
    if other == 1:
        return "treated vs always"
    return "earlier vs later" if one > other else "later vs earlier"


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
    >>> ek.did.negative_weights(ek.did.two_way(panel), panel).negative
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
    treated = panel.treated > 0
    on = weights[treated]
    share = panel.weight[treated] / panel.weight[treated].sum()
    spread = float(np.sqrt(share @ (on / share - 1) ** 2))
    frame = pd.DataFrame(
        {
            "cohort": panel.cohort[panel.unit[treated]],
            "time": panel.times[panel.time[treated]],
            "weight": on,
        }
    )
    by = frame.groupby(["cohort", "time"])["weight"]
    return EffectWeights(
        positive=int((on > 0).sum()),
        negative=int((on < 0).sum()),
        negative_sum=float(on[on < 0].sum()),
        sigma=float(abs(estimate.theta[0]) / spread) if spread > 0 else np.inf,
        cells=by.agg(weight="sum", observations="size").reset_index(),
    )
