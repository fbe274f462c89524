"""The distinct values of each coordinate in order: what ranks, quantiles and shares are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.core.arrays import Codes, Groups, Vector
from evalkit.engines.normal import density, point

TIE = 1e-9  # of a pupil: cumulated weights this close to a whole number are that number


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """``L`` distinct pairs of a coordinate and a value, sorted.

    Parameters
    ----------
    code : Codes (m,)
        Level of each row.
    value : Vector (L,)
    group : Codes (L,)
        Coordinate of each level.
    start, end : Codes (k,)
        First level of each coordinate, and one past its last.

    Examples
    --------
    >>> import numpy as np
    >>> levels = Levels.of(np.array([5.0, 1.0, 5.0]), Groups(np.zeros(3, int), 1))
    >>> levels.value, levels.middle(levels.mass(np.ones(3)))
    (array([1., 5.]), array([0.5, 2. ]))
    """

    code: Codes
    value: Vector
    group: Codes
    start: Codes
    end: Codes

    @classmethod
    def of(cls, value: Vector, groups: Groups) -> Levels:
        """Levels of the rows."""
        order = np.lexsort((value, groups.codes))
        v, g = value[order], groups.codes[order]
        fresh = np.concatenate([[True], (np.diff(v) > 0) | (np.diff(g) > 0)])
        code = np.empty(len(v), np.intp)
        code[order] = np.cumsum(fresh) - 1
        start, end = (
            np.searchsorted(g[fresh], np.arange(groups.size), s) for s in ("left", "right")
        )
        return cls(code, v[fresh], g[fresh], start, end)

    def mass(self, weight: Vector) -> Vector:
        """Weight at each level ``(L,)``."""
        return np.bincount(self.code, weight, len(self.value)).astype(float, copy=False)

    def below(self, mass: Vector) -> Vector:
        """Mass below each level within its coordinate ``(L,)``."""
        before = np.concatenate([[0.0], np.cumsum(mass)])
        return np.asarray(before[:-1] - before[self.start][self.group])

    def middle(self, mass: Vector) -> Vector:
        """Mass below each level and half of that at it ``(L,)``."""
        return self.below(mass) + mass / 2

    def order_statistic(self, mass: Vector, rank: Vector) -> Vector:
        """The value of the pupil with this rank, from 1, in each coordinate ``(k,)``."""
        reach = np.cumsum(mass)
        before = np.concatenate([[0.0], reach])[self.start]
        at = np.searchsorted(reach, before + rank - TIE)
        return np.asarray(self.value[np.clip(at, self.start, self.end - 1)])

    def quantile(self, mass: Vector, p: Vector) -> Vector:
        """Quantile ``p`` ``(k,)`` of each coordinate, between order statistics as numpy's default.

        ``mass`` counts pupils; weights are scaled to sum to their number.
        """
        n = self.total(mass)
        place = p * (n - 1)
        low = np.floor(place + TIE)
        a, b = (self.order_statistic(mass, np.minimum(low + step, n)) for step in (1, 2))
        return a + np.maximum(place - low, 0.0) * (b - a)

    def total(self, mass: Vector) -> Vector:
        """Mass of each coordinate ``(k,)``."""
        return np.bincount(self.group, mass, len(self.start)).astype(float, copy=False)

    def sparsity(self, mass: Vector, p: float, n: Vector) -> Vector:
        """Inverse density at quantile ``p`` of each coordinate: a difference of quantiles at the
        bandwidth of Hall and Sheather (1988), wide enough to leave a tie; NaN without spread."""
        z, tail = point(np.array([p]))[0], point(np.array([0.975]))[0]
        height = density(np.array([z]))[0]
        h = (tail**2 * 1.5 * height**2 / (2 * z**2 + 1)) ** (1 / 3) * n ** (-1 / 3)
        while True:
            low, high = np.maximum(p - h, 0.0), np.minimum(p + h, 1.0)
            rise = self.quantile(mass, high) - self.quantile(mass, low)
            stuck = (rise <= 0) & (high - low < 1)
            if not stuck.any():
                return np.where(rise > 0, rise / (high - low), np.nan)
            h = np.where(stuck, 2 * h, h)
