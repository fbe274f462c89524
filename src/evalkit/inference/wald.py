"""Joint tests: are all coordinates of an estimate zero?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np

from evalkit.core.errors import IdentificationError, check_option, some
from evalkit.core.estimate import Estimate
from evalkit.inference.covariance import Vcov, clusters_of, covariance
from evalkit.inference.few import Few, doubt
from evalkit.inference.infer import warn


@dataclass(frozen=True, slots=True)
class Wald:
    """Joint test that ``k`` coordinates are zero: ``statistic`` is chi-squared with ``k`` degrees
    of freedom under CR0 (``dof`` inf), and k times an F(k, dof) otherwise."""

    statistic: float
    k: int
    dof: float
    p_value: float


def wald(estimate: Estimate, *, vcov: Vcov = "CR1", few: Few = "withhold") -> Wald:
    """Test that all coordinates of an estimate are zero.

    Parameters
    ----------
    estimate : Estimate
    vcov : {"CR0", "CR1", "CR1S", "CR2", "CR3"}
        As in :func:`infer`; the reference is F(k, G - 1) for all but CR0.
    few : {"withhold", "show"}
        As in :func:`infer`: the p-value is NaN if too few clusters stand behind a coordinate.

    Raises
    ------
    IdentificationError
        If a coordinate is NaN, or if the covariance is singular: more coordinates than clusters
        allow, or collinear ones.

    Warns
    -----
    DoubtWarning
        With fewer than ten clusters, in all or on one side of a coordinate.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> frame = {"town": np.repeat(np.arange(40), 2), "year": np.tile([1, 2], 40),
    ...          "score": rng.normal(size=80), "start": np.repeat([2.0, np.nan], 40)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> ek.wald(ek.did.two_way(panel)).k
    1
    """
    from scipy.special import chdtrc, fdtrc

    check_option("vcov", vcov, get_args(Vcov))
    check_option("few", few, get_args(Few))
    absent = [
        key
        for key, value in zip(estimate.index.keys, estimate.theta, strict=True)
        if np.isnan(value)
    ]
    if absent:
        raise IdentificationError(
            f"{some(absent)} could not be estimated; leave it out with select() or take()"
        )
    clusters = clusters_of(estimate)
    found = doubt(estimate, "CR1", clusters)
    warn(found, few)
    cov, _ = covariance(estimate, vcov, clusters)
    k = len(estimate)
    scale = np.sqrt(np.diag(cov))
    if (scale == 0).any() or np.linalg.matrix_rank(cov / np.outer(scale, scale)) < k:
        raise IdentificationError(
            f"the covariance of {k} coordinates from {clusters} clusters is singular; "
            "test fewer of them at once"
        )
    statistic = float(estimate.theta @ np.linalg.solve(cov, estimate.theta))
    dof = np.inf if vcov == "CR0" else clusters - 1.0
    p_value = float(chdtrc(k, statistic) if np.isinf(dof) else fdtrc(k, dof, statistic / k))
    withheld = few == "withhold" and bool(found.flags.any())
    return Wald(statistic, k, dof, np.nan if withheld else p_value)
