"""Sums that make means and cross-products, kept so that adding them is exact.

Not for reading rows. Each cell holds its sums about a centre of its own. Scores on a grid (half
points, counts, 0/1) have sums that are whole numbers of steps, exact in double precision, so that
no order, partition or engine can change a bit; the last steps below are compensated, so that
the centre cannot either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from evalkit.core.arrays import Codes, Groups, Matrix, Vector

Stack: TypeAlias = npt.NDArray[np.float64]  # (m, p, p)

BLOCK = 1 << 14  # cells whose intermediate results are held at once


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    r"""Weighted sums of ``p`` variables in ``m`` cells.

    Parameters
    ----------
    n : Codes (m,)
        Rows.
    weight, weight2 : Vector (m,)
        :math:`W=\sum w` and :math:`\sum w^2`.
    centre : Matrix (m, p)
        The point :math:`c` that the sums are taken about.
    first : Matrix (m, p)
        :math:`F=\sum w(z-c)`.
    second : Stack (m, p, p)
        :math:`S=\sum w(z-c)(z-c)'`.
    """

    n: Codes
    weight: Vector
    weight2: Vector
    centre: Matrix
    first: Matrix
    second: Stack

    def __post_init__(self) -> None:
        # Nobody else holds these arrays: they are closed as they are, not copied.
        for name in ("n", "weight", "weight2", "centre", "first", "second"):
            getattr(self, name).flags.writeable = False

    def mean(self) -> Matrix:
        r""":math:`\bar z=c+F/W`, ``(m, p)``, rounded once."""
        h, low = _quotient(self.first, np.zeros_like(self.first), self.weight[:, None])
        s, t = _sum(self.centre, h)
        return s + (t + low)

    def cross(self) -> Stack:
        r""":math:`\sum w(z-\bar z)(z-\bar z)'=S-FF'/W`, ``(m, p, p)``, rounded once."""
        out = np.empty_like(self.second)
        for start in range(0, len(out), BLOCK):
            at = slice(start, start + BLOCK)
            p, e = _product(self.first[at, :, None], self.first[at, None, :])
            h, low = _quotient(p, e, self.weight[at, None, None])
            s, t = _sum(self.second[at], -h)
            out[at] = s + (t - low)
        out[self.n == 1] = 0.0
        own = np.arange(out.shape[1])
        out[:, own, own] = np.maximum(out[:, own, own], 0.0)
        return out

    def about(self, centre: Matrix) -> Moments:
        """The same sums about other centres ``(m, p)``; exact on a grid."""
        if np.array_equal(centre, self.centre):
            return self
        d, w, f = self.centre - centre, self.weight[:, None], self.first
        mixed = d[:, :, None] * f[:, None, :]
        second = self.second + (mixed + mixed.transpose(0, 2, 1))
        second += (w * d)[:, :, None] * d[:, None, :]
        return Moments(self.n, self.weight, self.weight2, centre, f + w * d, second)

    def grouped(self, codes: Codes, size: int) -> Moments:
        """Sums of groups of cells: ``codes`` ``(m,)`` in ``0 .. size - 1``, none empty.

        A group is centred where its heaviest member is.
        """
        order = np.lexsort((*self.centre.T, -self.weight, codes))
        lead = order[np.searchsorted(codes[order], np.arange(size))]
        moved, groups = self.about(self.centre[lead][codes]), Groups(codes, size)
        m, p = self.first.shape
        return Moments(
            np.bincount(codes, self.n, size).astype(np.intp),
            groups.sum(self.weight),
            groups.sum(self.weight2),
            self.centre[lead],
            groups.sum(moved.first),
            groups.sum(moved.second.reshape(m, p * p)).reshape(size, p, p),
        )

    def take(self, rows: Codes) -> Moments:
        """The cells at these positions."""
        return Moments(
            self.n[rows],
            self.weight[rows],
            self.weight2[rows],
            self.centre[rows],
            self.first[rows],
            self.second[rows],
        )

    def joined(self, other: Moments) -> Moments:
        """The cells of ``self``, then those of ``other``."""
        return Moments(
            np.concatenate([self.n, other.n]),
            np.concatenate([self.weight, other.weight]),
            np.concatenate([self.weight2, other.weight2]),
            np.concatenate([self.centre, other.centre]),
            np.concatenate([self.first, other.first]),
            np.concatenate([self.second, other.second]),
        )


def _sum(a: Stack, b: Stack) -> tuple[Stack, Stack]:
    """``a + b`` as a rounded sum and its error (Knuth 1969, section 4.2.2)."""
    s = a + b
    v = s - a
    return s, (a - (s - v)) + (b - v)


def _product(a: Stack, b: Stack) -> tuple[Stack, Stack]:
    """``a * b`` as a rounded product and its error (Dekker 1971)."""
    p = a * b
    ah, bh = _high(a), _high(b)
    al, bl = a - ah, b - bh
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


def _high(a: Stack) -> Stack:
    c = 134217729.0 * a  # 2**27 + 1
    return c - (c - a)


def _quotient(p: Stack, e: Stack, w: Stack) -> tuple[Stack, Stack]:
    """``(p + e) / w`` as a rounded quotient and its error."""
    h = p / w
    q, r = _product(h, w)
    return h, ((p - q) - r + e) / w
