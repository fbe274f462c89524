"""A fit of group means and spreads on its final scale, with what every pupil adds to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.core.arrays import Codes, Flags, Matrix, Vector
from evalkit.core.scores import Scores
from evalkit.core.sparse import Sparse
from evalkit.engines.ordered import FAR, Ordered, Stack
from evalkit.gaps.sample import Sample

STATUS = (
    "estimated",
    "spread pooled",
    "all in the lowest band",
    "all in the highest band",
    "not converged",
)


@dataclass(frozen=True, slots=True, eq=False)
class Solved:
    """``P`` problems of ``G`` groups: means and spreads on the scale that is reported.

    Parameters
    ----------
    fit : Ordered
    mass, n : Matrix (P, G)
        Weight and pupils, those of left-out groups too.
    extreme : Codes (P, G)
        -1 for a group all in the lowest band, 1 for one all in the highest.
    mu, sigma : Matrix (P, G)
        On the scale of the fit; an extreme group has the outermost mean of the others and their
        mean log spread.
    centre, unit : Vector (P,)
        Mean and standard deviation of all pupils on that scale; 0 and 1 where cuts are given.
    standard : bool
        True if results are in standard deviations of all pupils.
    """

    fit: Ordered
    mass: Matrix
    n: Matrix
    extreme: Codes
    mu: Matrix
    sigma: Matrix
    centre: Vector
    unit: Vector
    standard: bool

    @classmethod
    def of(cls, fit: Ordered, mass: Matrix, n: Matrix, extreme: Codes, *, standard: bool) -> Solved:
        """Fill in extreme groups, and find the common scale."""
        used = fit.bands.used
        mu = fit.b * np.exp(fit.s)
        low = np.where(used, mu, np.inf).min(axis=1, keepdims=True)
        high = np.where(used, mu, -np.inf).max(axis=1, keepdims=True)
        mu = np.where(extreme < 0, low, np.where(extreme > 0, high, mu))
        own = _own(fit)
        common = (fit.s * own).sum(axis=1) / np.maximum(own.sum(axis=1), 1)
        sigma = np.exp(np.where(extreme != 0, common[:, None], fit.s))
        share = mass / mass.sum(axis=1, keepdims=True)
        centre = (share * mu).sum(axis=1)
        unit = np.sqrt((share * ((mu - centre[:, None]) ** 2 + sigma**2)).sum(axis=1))
        if not standard:
            centre, unit = np.zeros_like(centre), np.ones_like(unit)
        return cls(fit, mass, n, extreme, mu, sigma, centre, unit, standard)

    @property
    def mean(self) -> Matrix:
        """Group means as reported ``(P, G)``."""
        return (self.mu - self.centre[:, None]) / self.unit[:, None]

    @property
    def sd(self) -> Matrix:
        """Group standard deviations as reported ``(P, G)``."""
        return self.sigma / self.unit[:, None]

    @property
    def cuts(self) -> Matrix:
        """Cuts as reported ``(P, K - 1)``; NaN for bands that nobody is in."""
        cuts = (self.fit.cuts - self.centre[:, None]) / self.unit[:, None]
        return np.where(self.fit.cuts < FAR, cuts, np.nan)

    @property
    def status(self) -> Codes:
        """Position in ``STATUS`` of each group ``(P, G)``."""
        code = np.where(self.fit.bands.pooled, 1, 0)
        code = np.where(self.fit.converged[:, None], code, 4)
        return np.where(self.extreme < 0, 2, np.where(self.extreme > 0, 3, code))

    def scores(
        self,
        rows: Sample,
        weight: Vector,
        where: tuple[Codes, Codes, Codes],
        at: tuple[Codes, Codes],
        known: Flags,
        hidden: Flags,
    ) -> Scores | Sparse:
        """Contributions to mean and sd of the groups ``at``, in turn: none where a group is not
        ``known``, NaN where its own error is ``hidden``."""
        mover = _Mover.of(self)
        p, g, _ = where
        place = np.full(self.n.shape, -1)
        place[at] = np.where(known, np.arange(len(known)), -1)
        mine = np.flatnonzero(place[p, g] >= 0)
        spot = tuple(part[mine] for part in where)
        w, first = weight[mine] / self.unit[p[mine]], 2 * place[p, g][mine]
        own = Sparse.of(
            np.tile(rows.unit[mine], 2),
            np.concatenate([first, first + 1]),
            np.concatenate(
                [w * mover.own_mu[spot], w * mover.own_s[spot] * self.sigma[p, g][mine]]
            ),
            rows.units,
            2 * len(known),
            np.repeat(hidden & known, 2),
        )
        table = self._common(mover)
        cell, size = rows.unit * len(self.n) + p, len(rows.units) * len(self.n)
        columns = [np.bincount(cell, weight * part[where], size) for part in table]
        shared = np.stack(columns, axis=1, dtype=float).reshape(len(rows.units), -1)
        both = np.hstack([own.shared, shared]), np.vstack([own.lin, self._lin(mover, at, known)])
        return Sparse(own.own, *both, rows.units).smallest()

    def _common(self, mover: _Mover) -> list[Stack]:
        """What a pupil adds to the numbers that all groups of a problem share, ``(P, G, K)`` each:
        those of the fit, and the common mean and standard deviation."""
        table = list(np.moveaxis(mover.shared, -1, 0))
        if not self.standard:
            return table
        share = self.mass / self.mass.sum(axis=1, keepdims=True)
        off = self.mu - self.centre[:, None]
        centre = mover.table(share, np.zeros_like(share)) + self._moved(off)
        square = 2 * mover.table(share * off, share * self.sigma**2)
        square = square + self._moved(off**2 + self.sigma**2)
        return [*table, centre, square / (2 * self.unit[:, None, None])]

    def _lin(self, mover: _Mover, at: tuple[Codes, Codes], known: Flags) -> Matrix:
        """How mean and sd of the groups ``at`` follow the shared numbers of their problem."""
        s, of, unit = mover.shared.shape[3], np.arange(len(known)), self.unit[at[0]]
        lin = np.zeros((len(self.n), s + 2 * self.standard, len(known), 2))
        lin[at[0], :s, of, 0] = mover.reach_mu[at] / unit[:, None]
        lin[at[0], :s, of, 1] = (self.sigma[at] / unit)[:, None] * mover.reach_s[at]
        if self.standard:
            lin[at[0], s, of, 0] = -1 / unit
            lin[at[0], s + 1, of, 0] = -self.mean[at] / unit
            lin[at[0], s + 1, of, 1] = -self.sd[at] / unit
        lin[:, :, ~known] = 0.0
        return lin.reshape(-1, 2 * len(known))

    def _moved(self, f: Matrix) -> Stack:
        """What one more pupil of a group adds to the mean of ``f`` over pupils, ``(P, G, 1)``."""
        total = self.mass.sum(axis=1, keepdims=True)
        mean = (self.mass * f).sum(axis=1, keepdims=True) / total
        moved: Matrix = np.where(self.mass > 0, (f - mean) / total, 0.0)
        return moved[..., None]

    def shares(self) -> tuple[Matrix, Stack]:
        """Share of variance between groups, raw and corrected for noise ``(P, 2)``, and what a
        pupil adds to each ``(P, G, K, 2)``."""
        mover = _Mover.of(self)
        n, there = self.n, self.n > 0
        total = n.sum(axis=1, keepdims=True)
        share = self.mass / self.mass.sum(axis=1, keepdims=True)
        off = self.mu - (share * self.mu).sum(axis=1, keepdims=True)
        square = self.sigma**2
        with np.errstate(divide="ignore", invalid="ignore"):
            noise = np.where(there, 1 / (n - 1), 0.0).sum(axis=1) / there.sum(axis=1)
            shrink = 1 / (1 + noise)[:, None]  # n / (1 + n) at the harmonic mean n of n_g - 1
        lost = shrink * there * (1 - share) / total
        out, tables = [], []
        none = np.zeros_like(share)
        unknown = ~self.fit.converged
        for part, minus, lost_in in (
            (np.ones_like(shrink), none, unknown),
            (shrink, lost, unknown | (n == 1).any(axis=1)),
        ):
            inside = part * share
            between = (share * off**2).sum(axis=1) - (minus * square).sum(axis=1)
            whole = between + (inside * square).sum(axis=1)
            icc = (between / whole)[:, None]
            by_mu = 2 * share * off * (1 - icc)
            by_s = -2 * square * (minus + icc * (inside - minus))
            f = off**2 * (1 - icc) - square * icc * part
            table = mover.table(by_mu, by_s) + self._moved(f)
            tables.append(table / whole[:, None, None])
            out.append(np.where(lost_in, np.nan, icc[:, 0]))
        return np.stack(out, axis=1), np.stack(tables, axis=3)


@dataclass(frozen=True, slots=True, eq=False)
class _Mover:
    """What a pupil adds to means and log spreads: of its own group, and through shared numbers."""

    own_mu: Stack
    own_s: Stack
    shared: Stack
    reach_mu: Stack
    reach_s: Stack
    solved: Solved

    @classmethod
    def of(cls, solved: Solved) -> _Mover:
        own, shared, reach = solved.fit.influence()
        sd = np.exp(solved.fit.s)[..., None]
        mu = solved.fit.b[..., None] * sd
        return cls(
            sd * own[..., 0] + mu * own[..., 1],
            own[..., 1],
            shared,
            sd * reach[..., 0, :] + mu * reach[..., 1, :],
            reach[..., 1, :],
            solved,
        )

    def table(self, by_mu: Matrix, by_s: Matrix) -> Stack:
        """What a pupil adds ``(P, G, K)`` to a number with these slopes in means and log spreads.

        An extreme group moves with the outermost group and with the mean log spread.
        """
        solved, used = self.solved, self.solved.fit.bands.used
        mu, extreme = solved.mu, solved.extreme
        rows = np.arange(len(mu))
        ends = (
            np.where(used, mu, np.inf).argmin(axis=1),
            np.where(used, mu, -np.inf).argmax(axis=1),
        )
        own = _own(solved.fit)
        left = (by_s * (extreme != 0)).sum(axis=1) / np.maximum(own.sum(axis=1), 1)
        by_s = np.where(extreme != 0, 0.0, by_s) + own * left[:, None]
        moved = np.where(extreme != 0, 0.0, by_mu)
        for sign, end in zip((-1, 1), ends, strict=True):
            moved[rows, end] += (by_mu * (extreme == sign)).sum(axis=1)
        across = np.einsum("pg,pgs->ps", moved, self.reach_mu)
        across += np.einsum("pg,pgs->ps", by_s, self.reach_s)
        mine = moved[..., None] * self.own_mu + by_s[..., None] * self.own_s
        return np.asarray(mine + np.einsum("pgks,ps->pgk", self.shared, across))


def _own(fit: Ordered) -> Flags:
    """Groups with a spread of their own ``(P, G)``."""
    return np.asarray(fit.bands.used & ~fit.bands.pooled)
