"""Critical values of simultaneous bands, deterministic: the same on every run and machine."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from evalkit.core.arrays import Matrix
from evalkit.core.errors import IdentificationError
from evalkit.core.threads import one_thread

POINTS, KOROBOV = 16381, 530  # lattice of least P2 error, 24 dimensions, weights 1/j^2
COARSE = 1021  # points of the lattice that says where to search
NEAR = 1e-3  # half the distance over which its slope is taken
STEPS = 8  # secants, after which the search starts again between the ends
BLOCK = 2048  # points at a time, so that what is drawn for them stays in the cache
EXACT = 1e-9  # where the search for a critical value stops
SINGULAR = 1e-10  # variance left to a coordinate below which it depends on the others


@one_thread
def sup_t(covariance: Matrix, level: float, dof: float = np.inf) -> float:
    """Critical value ``c`` with ``P(max_j |t_j| <= c) = level`` for a joint normal or t.

    The probability is Genz's sequentially conditioned integral over a fixed lattice, so the value
    is the same on every run; it is exact for independent coordinates and good to about 0.02
    where many depend on few (coverage within 0.002). Cost: ``POINTS`` x k^2.

    References
    ----------
    Genz and Bretz (2009), Computation of Multivariate Normal and t Probabilities, section 4.
    """
    from scipy.special import ndtri, stdtrit

    scale = np.sqrt(np.diag(covariance))
    used = scale > 0
    if not used.any():
        raise IdentificationError("every standard error is zero; a band has no meaning")
    root = _cholesky(covariance[np.ix_(used, used)] / np.outer(scale[used], scale[used]))

    def quantile(p: float) -> float:
        return float(ndtri(p) if np.isinf(dof) else stdtrit(dof, p))

    def excess(points: int) -> Callable[[float], float]:
        net = lattice(root.shape[1] + 1, points)
        return cache(lambda crit: _inside(root, net, crit, dof) - level)

    # One interval is the least that may be asked, Bonferroni's the most.
    low, high = quantile(0.5 + level / 2), quantile(1 - (1 - level) / (2 * len(root)))
    if high - low < EXACT:
        return low
    coarse, fine = excess(COARSE), excess(POINTS)
    start = _crossing(coarse, low, high)
    slope = (coarse(start + NEAR) - coarse(start - NEAR)) / (2 * NEAR)
    return _refined(fine, low, high, start, slope) or _crossing(fine, low, high)


def _crossing(excess: Callable[[float], float], low: float, high: float) -> float:
    """Where an increasing function crosses zero, or the end nearer to it if it does not.

    The Illinois rule: secants of the two ends, halving the value of one that stays.
    """
    a, b, below, above = low, high, excess(low), excess(high)
    if below >= 0 or above < 0:
        return low if below >= 0 else high
    at, kept = a, 0
    while b - a > EXACT:
        last, at = at, b - above * (b - a) / (above - below)
        value = excess(at)
        if abs(at - last) < EXACT or value == 0:
            return at
        if value < 0:
            a, below, above = at, value, above / 2 if kept < 0 else above
        else:
            b, above, below = at, value, below / 2 if kept > 0 else below
        kept = -1 if value < 0 else 1
    return at


def _refined(
    excess: Callable[[float], float], low: float, high: float, at: float, slope: float
) -> float | None:
    """The same by secants from a good start; None if they do not lead into ``low .. high``."""
    value, last = excess(at), np.inf
    for _ in range(STEPS):
        move = -value / slope if slope > 0 else np.inf
        if not low < at + move < high:
            return None
        # The error of a secant is of the size of the product of the last two moves.
        if abs(move) * min(last, 1.0) < EXACT:
            return at + move
        before, at, last = value, at + move, abs(move)
        value = excess(at)
        slope = (value - before) / move
    return None


def _inside(root: Matrix, net: Matrix, crit: float, dof: float) -> float:
    """Probability that no coordinate of ``root @ z`` leaves ``[-crit, crit]``."""
    points = net.shape[1]
    starts = range(0, points, BLOCK)
    total = [_covered(root, net[:, at : at + BLOCK], crit, dof) for at in starts]
    return float(np.sum(total) / points)


def _covered(root: Matrix, net: Matrix, crit: float, dof: float) -> float:
    """Sum over points of the conditional probabilities, one coordinate after the other."""
    from scipy.special import chdtri, ndtr, ndtri

    width = np.full(net.shape[1], crit)
    if np.isfinite(dof):
        width *= np.sqrt(chdtri(dof, net[0]) / dof)
    probability = np.ones(len(width))
    drawn = np.zeros((root.shape[1], len(width)))
    free = 0
    for row in root:
        shift = row[:free] @ drawn[:free]
        own = row[free] if free < root.shape[1] else 0.0
        if own <= SINGULAR:
            probability *= np.abs(shift) <= width * (1 + SINGULAR)
            continue
        below, above = ndtr((-width - shift) / own), ndtr((width - shift) / own)
        above -= below
        probability *= above
        above *= net[free + 1]
        above += below
        drawn[free] = ndtri(np.clip(above, 1e-300, 1 - 1e-16, out=above))
        free += 1
    return float(probability.sum())


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


def lattice(dimensions: int, points: int = POINTS) -> Matrix:
    """Korobov's lattice ``(dimensions, points)``, folded (the tent map) so that smooth integrands
    converge faster."""
    generator = np.array([pow(KOROBOV, j, points) for j in range(dimensions)])
    uniform = (generator[:, None] * np.arange(points) % points + 0.5) / points
    folded: Matrix = np.clip(np.abs(2 * uniform - 1), 1e-12, 1 - 1e-12)
    return folded
