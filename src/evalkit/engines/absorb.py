"""Exact removal of categorical effects from the columns of a matrix, without dense dummies.

The largest effect is concentrated out by demeaning; the others solve one normal equation in
their categories. No iteration, no tolerance on convergence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpstrf

from evalkit.core.arrays import Codes, Groups, Matrix, Vector
from evalkit.core.errors import OptionError

MOST = 8_000  # categories beside the largest effect: the normal equation takes MOST^2 doubles


@dataclass(frozen=True, eq=False)
class Absorber:
    """Weighted projection off a set of categorical effects.

    Parameters
    ----------
    effects : sequence of Groups
        At least one; the largest is concentrated out.
    weight : Vector (n,)
        Positive row weights.

    Examples
    --------
    >>> import numpy as np
    >>> unit, time = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    >>> two_way = Absorber([Groups(unit, 2), Groups(time, 2)], np.ones(4))
    >>> two_way.residual(np.array([[0.0], [0.0], [0.0], [1.0]])).ravel()
    array([ 0.25, -0.25, -0.25,  0.25])
    """

    effects: Sequence[Groups]
    weight: Vector

    @cached_property
    def largest(self) -> Groups:
        """The effect that is concentrated out."""
        return max(self.effects, key=lambda effect: effect.size)

    @cached_property
    def others(self) -> list[Groups]:
        """The remaining effects."""
        return [effect for effect in self.effects if effect is not self.largest]

    @cached_property
    def _codes(self) -> tuple[Codes, int]:
        offsets = np.cumsum([0, *(effect.size for effect in self.others)])
        stacked = np.stack(
            [effect.codes + offset for effect, offset in zip(self.others, offsets, strict=False)],
            axis=1,
        )
        return stacked, int(offsets[-1])

    @cached_property
    def _factor(self) -> tuple[Matrix, Codes]:
        """Pivoted Cholesky factor of the concentrated normal matrix, and its pivots."""
        codes, size = self._codes
        if size > MOST:
            raise OptionError(
                f"{size} categories to absorb beside the largest effect; at most {MOST} fit the "
                "normal equation. Absorb a coarser effect."
            )
        n, q = codes.shape
        dummies = sp.csr_array(
            (np.ones(n * q), codes.ravel(), np.arange(0, n * q + 1, q)), shape=(n, size)
        )
        weighted = dummies.multiply(self.weight[:, None]).tocsr()
        first = sp.csr_array(
            (np.ones(n), self.largest.codes, np.arange(n + 1)), shape=(n, self.largest.size)
        )
        joint = (first.T @ weighted).tocsr()
        mass = self.largest.sum(self.weight)
        own = dummies.T @ weighted
        normal = (own - joint.T @ joint.multiply(1 / mass[:, None])).toarray()
        # Relative to the counts before the largest effect is taken out: nested, none is left.
        tolerance = size * 1e-13 * float(own.diagonal().max())
        if np.diag(normal).max() <= tolerance:  # dpstrf would take the first pivot unasked
            return np.zeros((0, 0)), np.zeros(0, np.intp)
        factor, pivots, rank, _ = dpstrf(normal, tol=tolerance, lower=1)
        return np.tril(factor)[:rank, :rank], pivots[:rank].astype(np.intp) - 1

    @cached_property
    def rank(self) -> int:
        """Rank of all effects together."""
        return self.largest.size + (len(self._factor[1]) if self.others else 0)

    def _demean(self, z: Matrix) -> Matrix:
        mass = self.largest.sum(self.weight)
        means = self.largest.sum(z * self.weight[:, None]) / mass[:, None]
        return z - means[self.largest.codes]

    def _project(self, z: Matrix) -> Matrix:
        z = self._demean(z)
        if not self.others:
            return z
        factor, pivots = self._factor
        codes, size = self._codes
        sums = np.zeros((size, z.shape[1]))
        for column in codes.T:
            sums += Groups(column, size).sum(z * self.weight[:, None])
        half = solve_triangular(factor, sums[pivots], lower=True)
        solved = np.zeros_like(sums)
        solved[pivots] = solve_triangular(factor, half, lower=True, trans="T")
        return z - self._demean(solved[codes].sum(axis=1))

    def residual(self, z: Matrix) -> Matrix:
        """Columns of ``z`` ``(n, k)`` with the effects removed.

        The projection is applied twice: the second pass removes what rounding left of the first.
        """
        return self._project(self._project(z))
