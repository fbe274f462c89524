"""Random intercepts of one level, seen through the sizes of units: many units share a size.

What a likelihood needs of the units of one size is their number and the cross-product of their
sums, so that its cost no longer grows with the units. Equal to the plain sweep up to rounding.
Where sizes hardly repeat, each unit is a size of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evalkit.core.arrays import Groups, Matrix, Vector, encode
from evalkit.engines.variance_components import Sweep

WORTH = 4  # units for each size and column from which condensing pays


@dataclass(frozen=True, slots=True, eq=False)
class Sizes:
    """Units of one level, condensed by size.

    Parameters
    ----------
    cross : Matrix (c, c)
        As in ``Nested``.
    size : Vector (U,)
        Distinct sizes (sums of weights).
    count : Vector (U,)
        Units of each size.
    roots : Stack (U, k, c)
        For each size, ``R`` with ``R'R`` the sum of ``S_j'S_j`` over its units.
    each : Vector (m,)
        Size of every unit.
    """

    cross: Matrix
    size: Vector
    count: Vector
    roots: np.ndarray[tuple[int, int, int], np.dtype[np.float64]]
    each: Vector

    @classmethod
    def of(cls, cross: Matrix, sums: Matrix) -> Sizes:
        """Condense the sums of units ``(m, c)``."""
        codes, size = encode(sums[:, 0])
        m, c = sums.shape
        if m < WORTH * len(size) * c:
            return cls(cross, sums[:, 0], np.ones(m), sums[:, None, :], sums[:, 0])
        groups = Groups(codes, len(size))
        products = np.empty((len(size), c, c))
        for a in range(c):
            products[:, a] = groups.sum(sums[:, a : a + 1] * sums)
        value, axes = np.linalg.eigh((products + products.swapaxes(1, 2)) / 2)
        roots = np.sqrt(np.maximum(value, 0.0))[:, :, None] * axes.swapaxes(1, 2)
        return cls(cross, size, groups.sum(np.ones(m)), roots, sums[:, 0])

    @property
    def widths(self) -> tuple[int, ...]:
        """One random column."""
        return (1,)

    def condensed(self) -> Sizes:
        """Itself."""
        return self

    def sweep(self, factors: Sequence[Matrix]) -> Sweep:
        """The pass of ``Nested`` without ``pull``, ``spread`` and ``gathered``."""
        theta = float(factors[0][0, 0] ** 2)
        kept = 1 / (1 + theta * self.size)
        flat = (self.roots * np.sqrt(theta * kept)[:, None, None]).reshape(-1, len(self.cross))
        total = self.cross - flat.T @ flat
        reach = (self.roots * kept[:, None, None]).reshape(-1, 1, len(self.cross))
        precision = self.each / (1 + theta * self.each)
        logdet = -float(self.count @ np.log(kept))
        return Sweep(logdet, total, (reach,), (precision[:, None, None],), ())
