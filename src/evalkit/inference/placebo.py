"""What the same estimator finds where nothing happened: placebo adoptions among the untreated.

The one answer for a single treated unit. Not for tests by a known assignment rule.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from math import comb

import numpy as np

from evalkit.core.arrays import Codes, frozen
from evalkit.core.errors import IdentificationError
from evalkit.core.panel import Panel
from evalkit.core.progress import progress
from evalkit.inference.resample import Estimator, Resampled, check, quietly, repeated, spread


def placebo(
    panel: Panel, estimator: Estimator, *, seed: int = 1, draws: int = 200, level: float = 0.95
) -> Resampled:
    r"""Estimate again without the treated, as if their adoption dates were others'.

    The never-treated are the panel; the dates of the :math:`N_1` treated are given to
    :math:`N_1` of them at random. :math:`\hat V=B^{-1}\sum_b(\hat\theta_b-\bar\theta)^2`. With one
    adoption date and no more than ``draws`` different choices, each choice is made once: no chance
    is left, and the seed has no effect.

    It assumes that the treated are as noisy as the never-treated. Units are chosen one by one, also
    where clusters are larger than a unit.

    Parameters
    ----------
    panel : Panel
        With more never-treated than treated units.
    estimator : callable
        ``Panel -> Estimate``; any.
    seed : int
        The same seed gives the same bytes, and more draws begin with the same ones.
    draws : int
    level : float

    Returns
    -------
    Resampled
        Its ``rank_p_value`` counts the draws as far from zero as the estimate, and the estimate
        itself: it needs no normal reference.

    Raises
    ------
    IdentificationError
        Without treated units, or with no more never-treated than treated ones.

    References
    ----------
    Arkhangelsky et al. (2021), algorithm 4; Abadie, Diamond and Hainmueller (2010) for the rank.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> frame = {"town": np.repeat(np.arange(9), 4), "year": np.tile([1, 2, 3, 4], 9),
    ...          "score": rng.normal(size=36), "start": np.repeat([4.0] + [np.nan] * 8, 4)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> ek.placebo(panel, ek.did.synthetic_did, seed=1).method
    'placebo on all 8 choices of 1 among 8 never-treated units'
    """
    check(draws, seed, level)
    treated = np.flatnonzero(np.isfinite(panel.cohort))
    free = int(np.isinf(panel.cohort).sum())
    if not len(treated):
        raise IdentificationError(
            "no unit is treated: name the adoption column in Panel.from_frame(..., cohort=...)"
        )
    if free <= len(treated):
        raise IdentificationError(
            f"{free} never-treated units cannot stand in for {len(treated)} treated ones and leave "
            "controls; a placebo needs more of them. Use the contributions or the bootstrap"
        )
    dates = panel.cohort[treated]
    first = dates if panel.earliest is None else panel.earliest[treated]
    dose = None if panel.dose is None else panel.dose[treated]
    untreated = panel.where(np.isinf(panel.cohort)[panel.unit])

    def assigned(chosen: Codes) -> Panel:
        cohort, earliest = untreated.cohort.copy(), untreated.cohort.copy()
        cohort[chosen] = dates
        earliest[chosen] = first
        given = untreated.dose
        if given is not None and dose is not None:
            given = given.copy()
            given[chosen] = dose
        dosed = replace(untreated, dose=None if given is None else frozen(given))
        return dosed.adopting(cohort, earliest)

    estimate = quietly(estimator, panel)
    k, failed = len(treated), 0
    choices = comb(free, k)
    if choices <= draws and len(np.unique([dates, first], axis=1)[0]) == 1:
        each = progress(combinations(range(free), k), choices, "placebo")
        thetas = frozen(np.array([quietly(estimator, assigned(np.array(at))).theta for at in each]))
        method = f"placebo on all {choices} choices of {k} among {free} never-treated units"
    else:
        thetas, failed = repeated(
            estimator,
            estimate,
            lambda rng: assigned(rng.permutation(free)[:k]),
            draws,
            seed,
            "placebo",
        )
        note = f", {failed} drawn again" if failed else ""
        method = (
            f"placebo, {draws} random choices of {k} among {free} never-treated units "
            f"(seed {seed}{note})"
        )
    extreme = np.abs(thetas) >= np.abs(estimate.theta) * (1 - 1e-12)
    rank = (1 + extreme.sum(axis=0)) / (1 + len(thetas))
    return Resampled(estimate, thetas, spread(thetas), method, level, frozen(rank))
