"""Joint tests: are all coordinates of an estimate zero?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np

from evalkit.core.arrays import Flags
from evalkit.core.errors import IdentificationError, check_option, some
from evalkit.core.estimate import Estimate
from evalkit.inference.covariance import ROUNDING, Vcov, clusters_of, covariance, joint_dof
from evalkit.inference.few import Few, doubt
from evalkit.inference.infer import warn

SINGULAR = 1e-12  # a smaller eigenvalue of correlations is rounding


@dataclass(frozen=True, slots=True)
class Wald:
    """Joint test that ``k`` coordinates are zero: ``statistic`` is chi-squared with ``k`` degrees
    of freedom under CR0 (``dof`` inf), k times an F(k, dof) under CR1 and CR1S, and k (dof + k - 1)
    / dof times it under CR2 and CR3."""

    statistic: float
    k: int
    dof: float
    p_value: float


def wald(estimate: Estimate, *, vcov: Vcov = "CR1", few: Few = "withhold") -> Wald:
    r"""Test that all coordinates of an estimate are zero.

    With :math:`W=\hat\theta'V^{-1}\hat\theta`, CR0 refers W to chi-squared(k), and CR1 and CR1S
    refer W/k to F(k, G - 1). That is too bold with few clusters or many coordinates: the covariance
    is as noisy as its degrees of freedom are few. CR2 and CR3 allow for it. Their covariance is
    taken for a Wishart matrix with the :math:`\eta` degrees of freedom that match its variance if
    errors are alike, and :math:`(\eta-k+1)W/(\eta k)` is referred to F(k, :math:`\eta-k+1`). One
    coordinate has the p-value of :func:`infer`.

    Parameters
    ----------
    estimate : Estimate
    vcov : {"CR0", "CR1", "CR1S", "CR2", "CR3"}
        As in :func:`infer`.
    few : {"withhold", "show"}
        As in :func:`infer`: the p-value is NaN if too few clusters stand behind a coordinate.

    Raises
    ------
    IdentificationError
        If a coordinate is NaN or has no error, if the covariance is singular (more coordinates than
        clusters allow, or collinear ones), or if no degrees of freedom are left.

    Warns
    -----
    DoubtWarning
        With fewer than ten clusters, in all or on one side of a coordinate.

    References
    ----------
    Pustejovsky and Tipton (2018), Journal of Business and Economic Statistics 36(4), section 3.2.

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
    clusters = clusters_of(estimate)
    _refuse(estimate, np.isnan(estimate.theta), "could not be estimated")
    found = doubt(estimate, vcov, clusters)
    warn(found, few)
    cov, _ = covariance(estimate, vcov, clusters)
    k = len(estimate)
    scale = np.sqrt(np.diag(cov))
    _refuse(estimate, scale <= ROUNDING * np.abs(estimate.theta), "has an error of zero")
    correlation = cov / np.outer(scale, scale)
    if np.linalg.matrix_rank(correlation, tol=SINGULAR, hermitian=True) < k:
        raise IdentificationError(
            f"the covariance of {k} coordinates from {clusters} clusters is singular; "
            "test fewer of them at once"
        )
    statistic = float(estimate.theta @ np.linalg.solve(cov, estimate.theta))
    dof, ratio = np.inf if vcov == "CR0" else clusters - 1.0, statistic / k
    if vcov in ("CR2", "CR3"):
        eta = joint_dof(estimate, vcov)
        dof, ratio = eta - k + 1, ratio * (eta - k + 1) / eta
    if dof <= 0:
        raise IdentificationError(
            f"{clusters} clusters leave no degrees of freedom to test {k} coordinates at once; "
            "test fewer of them"
        )
    p_value = float(chdtrc(k, statistic) if np.isinf(dof) else fdtrc(k, dof, ratio))
    withheld = few == "withhold" and bool(found.flags.any())
    return Wald(statistic, k, dof, np.nan if withheld else p_value)


def _refuse(estimate: Estimate, wrong: Flags, says: str) -> None:
    """Refuse coordinates that no test can hold."""
    keys = [estimate.index.keys[at] for at in np.flatnonzero(wrong)]
    if keys:
        raise IdentificationError(f"{some(keys)} {says}; leave it out with select() or take()")
