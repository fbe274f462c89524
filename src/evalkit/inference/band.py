"""Critical values of simultaneous bands, deterministic: the same on every run and machine."""

from __future__ import annotations

import numpy as np

from evalkit.core.arrays import Matrix
from evalkit.core.errors import IdentificationError

POINTS, KOROBOV = 16381, 530  # lattice of least P2 error, 24 dimensions, weights 1/j^2
EXACT = 1e-9  # where the search for a critical value stops
SINGULAR = 1e-10  # variance left to a coordinate below which it depends on the others


def sup_t(covariance: Matrix, level: float, dof: float = np.inf) -> float:
    """Critical value ``c`` with ``P(max_j |t_j| <= c) = level`` for a joint normal or t.

    The probability is Genz's sequentially conditioned integral over a fixed lattice, so the value
    is the same on every run; it is exact for independent coordinates and good to about 0.02
    where many depend on few (coverage within 0.002). Cost: ``POINTS`` x k^2.

    References
    ----------
    Genz and Bretz (2009), Computation of Multivariate Normal and t Probabilities, section 4.
    """
    from scipy.optimize import brentq
    from scipy.special import ndtri, stdtrit

    scale = np.sqrt(np.diag(covariance))
    used = scale > 0
    if not used.any():
        raise IdentificationError("every standard error is zero; a band has no meaning")
    root = _cholesky(covariance[np.ix_(used, used)] / np.outer(scale[used], scale[used]))
    points = lattice(root.shape[1] + 1)

    def quantile(p: float) -> float:
        return float(ndtri(p) if np.isinf(dof) else stdtrit(dof, p))

    # One interval is the least that may be asked, Bonferroni's the most.
    low, high = quantile(0.5 + level / 2), quantile(1 - (1 - level) / (2 * len(root)))
    if high - low < EXACT or _inside(root, points, low, dof) >= level:
        return low
    if _inside(root, points, high, dof) < level:
        return high
    return float(brentq(lambda c: _inside(root, points, c, dof) - level, low, high, xtol=EXACT))


def _inside(root: Matrix, points: Matrix, crit: float, dof: float) -> float:
    """Probability that no coordinate of ``root @ z`` leaves ``[-crit, crit]``."""
    from scipy.special import chdtri, ndtr, ndtri

    width = np.full(len(points), crit)
    if np.isfinite(dof):
        width *= np.sqrt(chdtri(dof, points[:, 0]) / dof)
    probability = np.ones(len(points))
    drawn = np.zeros((len(points), root.shape[1]))
    free = 0
    for row in root:
        shift = drawn[:, :free] @ row[:free]
        own = row[free] if free < root.shape[1] else 0.0
        if own <= SINGULAR:
            probability *= np.abs(shift) <= width * (1 + SINGULAR)
            continue
        below, above = ndtr((-width - shift) / own), ndtr((width - shift) / own)
        probability *= above - below
        drawn[:, free] = ndtri(
            np.clip(below + points[:, free + 1] * (above - below), 1e-300, 1 - 1e-16)
        )
        free += 1
    return float(probability.mean())


def _cholesky(correlation: Matrix) -> Matrix:
    """Lower echelon root ``(k, rank)``: a dependent coordinate adds a row but no column."""
    k = len(correlation)
    root = np.zeros((k, k))
    pivots: list[int] = []
    for j in range(k):
        free = len(pivots)
        for i, pivot in enumerate(pivots):
            known = root[j, :i] @ root[pivot, :i]
            root[j, i] = (correlation[j, pivot] - known) / root[pivot, i]
        rest = correlation[j, j] - root[j, :free] @ root[j, :free]
        if rest > SINGULAR:
            root[j, free] = np.sqrt(rest)
            pivots.append(j)
    return root[:, : len(pivots)]


def lattice(dimensions: int) -> Matrix:
    """Korobov's lattice, folded (the tent map) so that smooth integrands converge faster."""
    generator = np.array([pow(KOROBOV, j, POINTS) for j in range(dimensions)])
    uniform = (np.arange(POINTS)[:, None] * generator % POINTS + 0.5) / POINTS
    folded: Matrix = np.clip(np.abs(2 * uniform - 1), 1e-12, 1 - 1e-12)
    return folded
