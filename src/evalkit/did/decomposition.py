"""The two-by-two comparisons that a static two-way coefficient is made of, and their weights."""

from __future__ import annotations

import numpy as np

from evalkit.core.adoption import Starts
from evalkit.core.arrays import Vector
from evalkit.core.errors import IdentificationError
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.core.panel import Panel
from evalkit.core.sides import Pairs, Sides
from evalkit.core.threads import one_thread
from evalkit.did.two_way import require_contrast
from evalkit.engines.cohorts import Cohorts, PathWeights


@one_thread
def bacon(panel: Panel) -> Estimate:
    r"""Goodman-Bacon decomposition: two-by-two comparisons, of which two-way effects are a mean.

    **Estimand.** The change of the difference between two cohorts, when one of them adopts and the
    other does not change treatment.
    **Assumptions.** Parallel trends of the pair; where the control is treated already ("later vs
    earlier", "treated vs always"), also effects that are constant over time.
    **Estimator.** With :math:`n` the share of units in a cohort and :math:`\bar D` its share of
    treated periods, cohorts with :math:`\bar D_e>\bar D_l` are compared twice: before l adopts, e
    against l with weight :math:`n_en_l(\bar D_e-\bar D_l)(1-\bar D_e)`; after e has adopted, l
    against e with weight :math:`n_en_l\bar D_l(\bar D_e-\bar D_l)`, over the sum of weights.
    **Contribution.** Deviations of a unit's change from its cohort's; weights are taken as given.
    **Reference.** Goodman-Bacon (2021), Journal of Econometrics 225(2), theorem 1.
    **Checked against.** R bacondecomp 0.1.3 (printed digits); :func:`two_way` (1e-10).
    **Fails when.** The panel is unbalanced, or weights change within units: refused.

    Parameters
    ----------
    panel : Panel
        Balanced, one weight per unit.

    Returns
    -------
    Estimate
        Index levels ``type``, ``treated`` and ``control`` (cohorts; inf is never). ``mass`` holds
        the weights, which sum to one: :func:`aggregate` gives the two-way coefficient, and with
        ``by="type"`` its parts.

    Raises
    ------
    IdentificationError
        An unbalanced panel, weights that change within units, or nothing to compare.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"town": ["a"] * 3 + ["b"] * 3 + ["c"] * 3, "year": [1, 2, 3] * 3,
    ...          "score": [1.0, 3.0, 3.0, 1.0, 2.0, 4.0, 1.0, 1.0, 1.0],
    ...          "start": [2] * 3 + [3] * 3 + [None] * 3}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> ek.aggregate(ek.did.bacon(panel), by="type").index.level("type")
    ('earlier vs later', 'later vs earlier', 'treated vs never')
    """
    require_contrast(panel, never=False)
    cohorts = Cohorts.of(panel)
    if panel.earliest is not None:
        raise IdentificationError(
            "the decomposition needs exact adoption dates: windows leave rows out, and the panel "
            "is no longer balanced. Choose a date, or see evalkit.adoption_bounds"
        )
    if cohorts is None:
        raise IdentificationError(
            "the decomposition needs a balanced panel with one weight per unit; keep the units "
            "observed in every period, or look at the weights of two_way instead"
        )
    starts, pairs = Starts.of(panel), _pairs(cohorts)
    if not pairs:
        raise IdentificationError("no cohort changes treatment while another does not")
    lin = np.zeros((cohorts.size, len(cohorts.clock) + 1, len(pairs)))
    keys, weight = [], np.empty(len(pairs))
    each, units = np.zeros((2, cohorts.size, len(pairs))), np.zeros((len(pairs), 2), np.intp)
    for k, (kind, one, other, change, share) in enumerate(pairs):
        for side, c in enumerate((one, other)):
            each[side, c, k], units[k, side] = 1 / cohorts.mass[c], len(cohorts.at[c])
        lin[one, :-1, k] = change / cohorts.mass[one]
        lin[other, :-1, k] = -change / cohorts.mass[other]
        keys.append((kind, starts.labels[one], starts.labels[other]))
        weight[k] = share
    scores = cohorts.scores(lin)
    index = Index(("type", "treated", "control"), tuple(keys))
    meta = Meta(
        "two-by-two comparison",
        "Goodman-Bacon decomposition",
        panel.outcome,
        len(panel.y),
        panel.provenance,
        panel.ledger,
    )
    given = cohorts.scores(np.zeros_like(lin))
    share = weight / weight.sum()
    return Estimate(
        np.einsum("ctk,c,ct->k", lin[:, :-1], cohorts.mass, cohorts.mean),
        scores,
        panel.units,
        panel.cluster,
        index,
        meta,
        origin=PathWeights(cohorts, scores.lin),
        combination=np.eye(len(pairs)),
        mass=Estimate(share, given, panel.units, panel.cluster, index, meta),
        counts=units,
        sides=Sides.of(Pairs(panel, index, each=each), len(pairs)),
    )


def _pairs(cohorts: Cohorts) -> list[tuple[str, int, int, Vector, float]]:
    """Kind, treated and control cohort, change over periods ``(T,)`` and weight of comparisons."""
    n = cohorts.mass / cohorts.mass.sum()
    treated = cohorts.clock[None, :] >= cohorts.start[:, None]
    share = treated.mean(axis=1)
    pairs = []
    for e in range(cohorts.size):
        for later in range(e + 1, cohorts.size):
            both = n[e] * n[later] * (share[e] - share[later])
            for one, other, window, weight in (
                (e, later, ~treated[later], both * (1 - share[e])),
                (later, e, treated[e], both * share[later]),
            ):
                if weight > 0:
                    after, before = window & treated[one], window & ~treated[one]
                    change = after / after.sum() - before / before.sum()
                    pairs.append((_kind(share[one], share[other]), one, other, change, weight))
    return sorted(pairs, key=lambda pair: pair[:3])


def _kind(one: float, other: float) -> str:
    if other == 0:
        return "treated vs never"
    if other == 1:
        return "treated vs always"
    return "earlier vs later" if one > other else "later vs earlier"
