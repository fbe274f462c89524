r"""Heteroskedastic ordered probit from counts: group means and spreads behind bands of a score.

A pupil of group g falls below cut k with probability :math:`\Phi(z)`, :math:`z=c_ke^{-s_g}-b_g`,
where :math:`e^{s_g}` is the group's standard deviation and :math:`b_ge^{s_g}` its mean. Given the
cuts, groups separate; what they share makes the Hessian an arrow, so that a Newton step costs one
2 x 2 solve per group. P problems of G groups and K bands are solved at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from evalkit.core.arrays import Codes, Flags, Matrix, Vector
from evalkit.engines.normal import area, density, point

Stack: TypeAlias = npt.NDArray[np.float64]
FAR = 1e6  # where the cut of a band lies that a problem does not use
STEPS, HALVINGS = 200, 40
DONE = 1e-9  # longest step after which Newton's error, its square, is rounding


@dataclass(frozen=True, slots=True, eq=False)
class Bands:
    """What is fitted.

    Parameters
    ----------
    counts : Stack (P, G, K)
        Pupils; a group that a problem leaves out has none.
    cuts : Matrix (P, K - 1)
        Fixed cuts, and starting values of free ones.
    free : Flags (P, K - 1)
        Cuts to be estimated.
    pooled : Flags (P, G)
        Groups whose log standard deviation is the mean of the others', or zero without others.
    """

    counts: Stack
    cuts: Matrix
    free: Flags
    pooled: Flags

    @property
    def used(self) -> Flags:
        """Groups with pupils ``(P, G)``."""
        return np.asarray(self.counts.sum(axis=2) > 0)

    @property
    def tied(self) -> Flags:
        """Problems in which some groups take the mean spread of the others ``(P,)``."""
        own = (self.used & ~self.pooled).any(axis=1)
        return np.asarray(own & (self.used & self.pooled).any(axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class Ordered:
    """A fit: ``b`` and ``s`` are ``(P, G)``, ``cuts`` ``(P, K - 1)``, the rest ``(P,)``."""

    bands: Bands
    b: Matrix
    s: Matrix
    cuts: Matrix
    loglik: Vector
    converged: Flags

    def influence(self) -> tuple[Stack, Stack, Stack]:
        """What one pupil in a band adds to the error of the fit.

        Returns
        -------
        own : (P, G, K, 2)
            To b and s of its own group, shared numbers held fixed.
        shared : (P, G, K, K + 1)
            To the cuts, to the mean log spread, and to the multiplier that ties it.
        reach : (P, G, 2, K + 1)
            How b and s of every group follow the shared numbers.
        """
        arrow = _arrow(self, observed=True)
        mine, ours = arrow.each[..., :2], arrow.each[..., 2:]
        own = np.einsum("pgij,pgkj->pgki", np.linalg.inv(arrow.block), mine)
        left = ours - np.einsum("pgis,pgki->pgks", arrow.follow, mine)
        pull = np.einsum("pgki,pgi->pgk", mine, arrow.y_own)
        pull = (pull + np.einsum("pgks,ps->pgk", ours, arrow.y)) / arrow.stiff[:, None, None]
        h = np.einsum("pst,pgkt->pgks", np.linalg.inv(arrow.schur), left)
        h = h - pull[..., None] * arrow.y[:, None, None]
        reach = -np.concatenate([arrow.follow, arrow.lean[..., None]], axis=3)
        reach[:, :, 1, -2] += self.bands.pooled * self.bands.tied[:, None]
        shared = np.concatenate([h, pull[..., None]], axis=3)
        lost = ~self.converged  # nothing is known of their error
        own[lost], shared[lost], reach[lost] = 0.0, 0.0, 0.0
        return own, shared, reach


@dataclass(frozen=True, slots=True, eq=False)
class _Arrow:
    """Newton's equations: a 2 x 2 block per group, S = K shared numbers, and one tie among them.

    ``each`` holds the scores of a pupil in each band; ``follow`` is block^-1 border and ``lean``
    block^-1 times the tie; ``y`` solves the arrow for the tie, and ``stiff`` is their product.
    """

    block: Stack
    follow: Stack
    schur: Stack
    each: Stack
    own: Stack
    shared: Matrix
    lean: Stack
    y: Matrix
    y_own: Stack
    stiff: Vector

    def step(self) -> tuple[Stack, Matrix, Vector]:
        """Step of the groups ``(P, G, 2)``, of the shared numbers ``(P, S)``, and its slope."""
        g = np.linalg.solve(self.block, self.own[..., None])[..., 0]
        rest = self.shared - np.einsum("pgis,pgi->ps", self.follow, self.own)
        h = np.linalg.solve(self.schur, rest[..., None])[..., 0]
        g = g - np.einsum("pgis,ps->pgi", self.follow, h)
        pull = (self.own * self.y_own).sum(axis=(1, 2)) + (self.shared * self.y).sum(axis=1)
        pull = pull / self.stiff
        g, h = g - pull[:, None, None] * self.y_own, h - pull[:, None] * self.y
        slope = (self.own * g).sum(axis=(1, 2)) + (self.shared * h).sum(axis=1)
        return g, h, slope


def ordered_probit(bands: Bands) -> Ordered:
    """Maximise the likelihood: Newton where it leads uphill, Fisher's scoring elsewhere."""
    fit = _start(bands)
    for _ in range(STEPS):
        arrow = _arrow(fit, observed=True)
        g, h, slope = arrow.step()
        poor = ~fit.converged & ~((slope > 0) & np.isfinite(slope))
        if poor.any():
            other = _arrow(fit, observed=False).step()
            g, h = np.where(poor[:, None, None], other[0], g), np.where(poor[:, None], other[1], h)
            slope = np.where(poor, other[2], slope)
        length = np.maximum(np.abs(g).max(axis=(1, 2)), np.abs(h).max(axis=1))
        fit = _climbed(fit, g, h, slope)
        fit = replace(fit, converged=fit.converged | (length < DONE))
        if fit.converged.all():
            break
    return fit


def _climbed(fit: Ordered, g: Stack, h: Matrix, slope: Vector) -> Ordered:
    """The best of the full step and its halves, problem by problem; no step where none is up."""
    t = np.where(fit.converged, 0.0, 1.0)
    for _ in range(HALVINGS):
        new = _moved(fit, g * t[:, None, None], h * t[:, None])
        rounding = 1e-12 * np.abs(fit.loglik)
        fine = new.loglik >= fit.loglik + 1e-4 * t * slope - rounding
        if fine.all():
            return new
        t = np.where(fine, t, t / 2)
    return _moved(fit, g * (t * fine)[:, None, None], h * (t * fine)[:, None])


def _moved(fit: Ordered, g: Stack, h: Matrix) -> Ordered:
    bands = fit.bands
    gamma = (bands.pooled * bands.tied[:, None]) * h[:, -1:]
    b, s = fit.b + g[..., 0], fit.s + g[..., 1] + gamma
    cuts = fit.cuts + h[:, :-1]
    p, _ = _areas(b, s, cuts)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(bands.counts > 0, bands.counts * np.log(p), 0.0)
    loglik = np.where((np.diff(cuts) > 0).all(axis=1), terms.sum(axis=(1, 2)), -np.inf)
    loglik = np.where(np.isnan(loglik), -np.inf, loglik)
    return replace(fit, b=b, s=s, cuts=cuts, loglik=loglik)


def _start(bands: Bands) -> Ordered:
    """Means and spreads of the normal scores of the bands."""
    shape = bands.pooled.shape
    cuts, n = bands.cuts, bands.counts.sum(axis=2)
    inner = np.clip(cuts, -4.0, 4.0)
    edge = np.concatenate([inner[:, :1] - 1.0, inner, inner[:, -1:] + 1.0], axis=1)
    score = (edge[:, None, 1:] + edge[:, None, :-1]) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(n > 0, (bands.counts * score).sum(axis=2) / n, 0.0)
        square = np.where(n > 0, (bands.counts * score**2).sum(axis=2) / n, 1.0)
    own = bands.used & ~bands.pooled
    s = np.where(own, 0.5 * np.log(np.maximum(square - mean**2, 0.05)), 0.0)
    common = np.where(bands.tied, s.sum(axis=1) / np.maximum(own.sum(axis=1), 1), 0.0)
    s = np.where(bands.pooled, common[:, None], s)
    nothing = np.zeros(shape[0])
    fit = Ordered(bands, mean * np.exp(-s), s, cuts, nothing, nothing > 0)
    return _moved(fit, np.zeros((*shape, 2)), np.zeros((shape[0], cuts.shape[1] + 1)))


def _areas(b: Matrix, s: Matrix, cuts: Matrix) -> tuple[Stack, Stack]:
    """Probability of each band ``(P, G, K)`` and the cuts in normal scores ``(P, G, K - 1)``."""
    z = cuts[:, None] * np.exp(-s)[..., None] - b[..., None]
    ends = np.full((*b.shape, 1), np.inf)
    low, high = np.concatenate([-ends, z], axis=2), np.concatenate([z, ends], axis=2)
    # The nearer tail, so that a small area keeps its digits.
    return np.where(low > 0, area(-low) - area(-high), area(high) - area(low)), z


def _arrow(fit: Ordered, observed: bool) -> _Arrow:
    bands = fit.bands
    each, hessian = _derivatives(fit, observed)
    used, tied = bands.used, bands.tied[:, None]
    shared = np.repeat(bands.free[:, None], used.shape[1], axis=1)
    own, common = used & ~bands.pooled, used & bands.pooled & tied
    parts = [used[..., None], own[..., None], shared, common[..., None]]
    mask: Stack = np.concatenate(parts, axis=2).astype(float)
    order = [*range(each.shape[3]), 1]  # the mean log spread is moved through the pooled groups
    each = each[..., order] * mask[:, :, None]
    full = hessian[..., order, :][..., order] * mask[..., None] * mask[:, :, None]
    block = _sound(full[..., :2, :2] + (1 - mask[..., :2, None]) * np.eye(2))
    follow: Stack = np.asarray(np.linalg.solve(block, full[..., :2, 2:]), np.float64)
    free = np.concatenate([bands.free, tied], axis=1)
    corner = full[..., 2:, 2:].sum(axis=1) + np.eye(free.shape[1]) * ~free[:, None]
    schur = _sound(corner - np.einsum("pgis,pgit->pst", full[..., :2, 2:], follow))
    own = own & tied
    tie = np.zeros((*used.shape, 2))
    tie[..., 1] = -1.0 * own / np.maximum(own.sum(axis=1, keepdims=True), 1)
    lean: Stack = np.asarray(np.linalg.solve(block, tie[..., None])[..., 0], np.float64)
    at_gamma = np.zeros_like(free, float)
    at_gamma[:, -1] = tied[:, 0]
    rest = at_gamma - np.einsum("pgis,pgi->ps", follow, tie)
    y = np.linalg.solve(schur, rest[..., None])[..., 0]
    y_own = lean - np.einsum("pgis,ps->pgi", follow, y)
    stiff = np.where(tied[:, 0], (tie * y_own).sum(axis=(1, 2)) + (at_gamma * y).sum(axis=1), 1.0)
    total = np.einsum("pgk,pgkd->pgd", bands.counts, each)
    return _Arrow(block, follow, schur, each, total[..., :2], total[..., 2:].sum(axis=1),
                  lean, y, y_own, stiff)  # fmt: skip


def _sound(matrix: Stack) -> Stack:
    """A hair on the diagonal, so that a likelihood gone flat gives a poor step and no error."""
    size = np.abs(np.einsum("...ii->...i", matrix)).mean(axis=-1)
    hair = np.maximum(1e-14 * size, 1e-30)
    return np.asarray(matrix + hair[..., None, None] * np.eye(matrix.shape[-1]))


def _derivatives(fit: Ordered, observed: bool) -> tuple[Stack, Stack]:
    """Scores of a pupil in each band ``(P, G, K, D)`` and the negative Hessian ``(P, G, D, D)`` by
    b, s and the cuts: D = K + 1."""
    p, z = _areas(fit.b, fit.s, fit.cuts)
    n, phi, a = fit.bands.counts, density(z), np.exp(-fit.s)
    w = z + fit.b[..., None]
    cuts = z.shape[2]
    jacobian = np.zeros((*z.shape, cuts + 2))  # dz_k / d(b, s, c)
    jacobian[..., 0], jacobian[..., 1] = -1.0, -w
    at = np.arange(cuts)
    jacobian[..., at, at + 2] = a[..., None]
    rise = np.zeros((*p.shape, cuts + 2))
    rise[:, :, :-1] += phi[..., None] * jacobian
    rise[:, :, 1:] -= phi[..., None] * jacobian
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.where(p[..., None] > 0, rise / p[..., None], 0.0)
    if not observed:
        weight = n.sum(axis=2)[..., None] * p
        return each, np.einsum("pgk,pgkd,pgke->pgde", weight, each, each, optimize=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(n > 0, n / p, 0.0)
    g = phi * (ratio[..., :-1] - ratio[..., 1:])
    negative = np.einsum("pgk,pgkd,pgke->pgde", n, each, each, optimize=True)
    negative += np.einsum("pgk,pgkd,pgke->pgde", z * g, jacobian, jacobian, optimize=True)
    negative[..., 1, 1] -= (g * w).sum(axis=2)
    negative[..., 1, 2:] += g * a[..., None]
    negative[..., 2:, 1] += g * a[..., None]
    return each, negative


def prepared(
    counts: Stack, cuts: Vector | None = None, small: Flags | None = None
) -> tuple[Bands, Codes, Codes]:
    """Bands that can be fitted, with the rules of the field for small cells.

    Bands that a problem does not use are left out. A group whose pupils are all in the lowest or
    all in the highest band tells nothing but a bound, and is left out too. A group with pupils in
    fewer than three bands, or one that is ``small`` ``(P, G)``, takes the mean log spread of the
    others.

    Returns
    -------
    Bands
    extreme : Codes (P, G)
        -1 for all in the lowest band, 1 for all in the highest, else 0.
    place : Codes (P, K)
        Band of the fit that each band became, -1 for one that nobody uses.
    """
    problems, _, k = counts.shape
    if cuts is not None:
        kept, extreme = _without_extremes(counts)
        place = np.tile(np.arange(k), (problems, 1))
        full = np.tile(np.asarray(cuts, float), (problems, 1))
        return Bands(kept, full, np.zeros_like(full, bool), _few(kept, small)), extreme, place
    kept, extreme = counts, np.zeros(counts.shape[:2], np.intp)
    while True:
        used = kept.sum(axis=1) > 0
        place = np.where(used, np.cumsum(used, axis=1) - 1, -1)
        packed = np.zeros_like(kept)
        p, at = np.nonzero(used)
        packed[p, :, place[p, at]] = kept[p, :, at]
        left, more = _without_extremes(packed, used.sum(axis=1))
        if not more.any():
            break
        extreme = np.where(more != 0, more, extreme)
        kept = np.where((more != 0)[..., None], 0.0, kept)
    width = used.sum(axis=1)
    pooled = _few(left, small)
    total = left.sum(axis=1)
    share = np.cumsum(total, axis=1)[:, :-1] / np.maximum(total.sum(axis=1, keepdims=True), 1)
    at = np.arange(k - 1)
    inside = at < width[:, None] - 1
    full = np.where(inside, point(np.where(inside, share, 0.5)), FAR + at)
    lonely = ~((left.sum(axis=2) > 0) & ~pooled).any(axis=1)
    last = np.where(lonely, 0, width - 2)[:, None]  # one fixed cut sets the place, two the scale
    return Bands(left, full, inside & (at > 0) & (at != last), pooled), extreme, place


def _few(counts: Stack, small: Flags | None) -> Flags:
    sparse = (counts > 0).sum(axis=2) < 3
    return np.asarray(sparse if small is None else sparse | small)


def _without_extremes(counts: Stack, width: Codes | None = None) -> tuple[Stack, Codes]:
    """Counts without groups that lie in the lowest or the highest band, and which these are."""
    problems, _, k = counts.shape
    top = np.full(problems, k - 1) if width is None else width - 1
    n = counts.sum(axis=2)
    highest = np.take_along_axis(counts, np.maximum(top, 0)[:, None, None], axis=2)[..., 0]
    low, high = (n > 0) & (counts[..., 0] == n), (n > 0) & (highest == n)
    extreme = np.where(low, -1, np.where(high, 1, 0))
    return np.where((extreme != 0)[..., None], 0.0, counts), extreme
