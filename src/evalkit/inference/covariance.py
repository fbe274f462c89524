"""Covariances of estimates by cluster, and the t reference that goes with each.

Not for judging whether there are clusters enough: ``evalkit.inference.few`` does that.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from evalkit.core.arrays import Codes, Matrix, Vector, encode
from evalkit.core.checks import check_estimate
from evalkit.core.errors import CombinationError, IdentificationError
from evalkit.core.estimate import Estimate
from evalkit.core.origin import Leverage

Vcov: TypeAlias = Literal["CR0", "CR1", "CR1S", "CR2", "CR3"]
ROUNDING = 1e-13  # an error this small beside its estimate is rounding, not precision


def clusters_of(estimate: Estimate) -> int:
    """Number of clusters; one is refused."""
    clusters = check_estimate(estimate).n_clusters
    if clusters < 2:
        raise IdentificationError(
            "all units are in a single cluster; its error cannot be estimated. Cluster at a finer "
            "level, or use design-based (randomisation) inference."
        )
    return clusters


def covariance(estimate: Estimate, vcov: Vcov, clusters: int) -> tuple[Matrix, Vector]:
    """Covariance ``(k, k)`` and degrees of freedom ``(k,)``."""
    k = len(estimate)
    if vcov == "CR0":
        return estimate.vcov(), np.full(k, np.inf)
    if vcov == "CR1":
        return clusters / (clusters - 1) * estimate.vcov(), np.full(k, clusters - 1.0)
    leverage, combination = _design(estimate, vcov)
    codes = _codes(estimate)
    if vcov == "CR1S":
        n, parameters = leverage.degrees(codes)
        if n <= parameters:
            raise IdentificationError(
                f"{n} rows and {parameters} parameters leave no degrees of freedom for CR1S; "
                "use CR1, or a smaller design"
            )
        scale = clusters / (clusters - 1) * (n - 1) / (n - parameters)
        return scale * estimate.vcov(), np.full(k, clusters - 1.0)
    s = adjusted(estimate, vcov)
    return s.T @ s, leverage.satterthwaite(vcov, codes, combination)


def joint_dof(estimate: Estimate, vcov: Literal["CR2", "CR3"]) -> float:
    """Degrees of freedom of a joint test of all coordinates."""
    leverage, combination = _design(estimate, vcov)
    return leverage.hotelling(vcov, _codes(estimate), combination)


def adjusted(estimate: Estimate, vcov: Literal["CR2", "CR3"]) -> Matrix:
    """Contributions of clusters ``(G, k)``, corrected for leverage."""
    leverage, combination = _design(estimate, vcov)
    return leverage.adjusted(vcov, _codes(estimate)) @ combination


def _codes(estimate: Estimate) -> Codes:
    """Cluster of each unit ``(N,)``."""
    alone = estimate.cluster is estimate.units
    return np.arange(len(estimate.units)) if alone else encode(estimate.cluster)[0]


def _design(estimate: Estimate, vcov: Vcov) -> tuple[Leverage, Matrix]:
    leverage = estimate.leverage
    if leverage is None or estimate.combination is None:
        raise CombinationError(
            f"{vcov} needs an estimate from one least-squares design; {estimate.meta.method} "
            "is not. Use CR1, or the jackknife."
        )
    return leverage, estimate.combination


def t_test(theta: Vector, error: Vector, dof: Vector) -> tuple[Vector, Vector]:
    """Statistics and two-sided p-values ``(k,)``; NaN where there is no error."""
    from scipy.special import ndtr, stdtr

    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(error > ROUNDING * np.abs(theta), theta / error, np.nan)
    tail = np.where(np.isinf(dof), ndtr(-np.abs(statistic)), stdtr(dof, -np.abs(statistic)))
    return statistic, 2 * tail


def t_quantile(p: float, dof: Vector) -> Vector:
    """Quantiles ``(k,)`` of the t distribution; infinite degrees of freedom mean the normal."""
    from scipy.special import ndtri, stdtrit

    return np.where(np.isinf(dof), ndtri(p), stdtrit(np.where(np.isinf(dof), 1.0, dof), p))
