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

from evalkit.core.arrays import Codes, Groups, Matrix, Vector
from evalkit.core.errors import OptionError
from evalkit.engines.pivoted import Pivoted

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
    def _mass(self) -> Vector:
        return self.largest.sum(self.weight)

    @cached_property
    def _inverse(self) -> Matrix:
        with np.errstate(divide="ignore"):
            return np.where(self._mass > 0, 1 / self._mass, 0.0)[:, None]

    @cached_property
    def _normal(self) -> tuple[sp.csr_array, sp.csr_array]:
        """Weighted counts of largest x other and of other x other categories."""
        codes, size = self._codes
        if size > MOST:
            raise OptionError(
                f"{size} categories to absorb beside the largest effect; at most {MOST} fit the "
                "normal equation. Absorb a coarser effect."
            )
        n, q = codes.shape
        pointers = np.arange(0, n * q + 1, q)
        dummies = sp.csr_array((np.ones(n * q), codes.ravel(), pointers), shape=(n, size))
        weighted = dummies.multiply(self.weight[:, None]).tocsr()
        first = sp.csr_array(
            (np.ones(n), self.largest.codes, np.arange(n + 1)), shape=(n, self.largest.size)
        )
        return (first.T @ weighted).tocsr(), (dummies.T @ weighted).tocsr()

    @cached_property
    def _factor(self) -> Pivoted:
        """Root of the normal matrix of the other effects with the largest taken out."""
        joint, own = self._normal
        normal = (own - joint.T @ joint.multiply(self._inverse)).toarray()
        return Pivoted.of(normal, own.diagonal())

    @cached_property
    def rank(self) -> int:
        """Rank of all effects together."""
        return int((self._mass > 0).sum()) + (len(self._factor.at) if self.others else 0)

    def sums(self, z: Matrix) -> tuple[Matrix, Matrix]:
        """Weighted sums of the columns of ``z`` ``(n, k)`` by category."""
        v = z * self.weight[:, None]
        others = [effect.sum(v) for effect in self.others]
        return self.largest.sum(v), np.concatenate(others) if others else np.zeros((0, v.shape[1]))

    def solve(self, own: Matrix, others: Matrix) -> tuple[Matrix, Matrix]:
        """Effects that solve the normal equations for given weighted sums of the left-hand side.

        Parameters
        ----------
        own : Matrix (size of the largest effect, k)
            Sums by category of the largest effect.
        others : Matrix (R, k)
            Sums by category of the other effects, one after the other.

        Returns
        -------
        tuple of Matrix
            Effects of the largest and of the other categories; redundant ones are zero.
        """
        solved = np.zeros_like(others)
        if self.others:
            joint, _ = self._normal
            solved = self._factor.solve(others - joint.T @ (own * self._inverse))
            own = own - joint @ solved
        return own * self._inverse, solved

    def gap(self, own: Matrix, others: Matrix, solution: tuple[Matrix, Matrix]) -> Vector:
        """Largest error of a solution of :meth:`solve`, per column; not zero = not identified."""
        a, b = solution
        error = self._mass[:, None] * a - own
        if self.others:
            joint, inner = self._normal
            error = np.concatenate([error + joint @ b, joint.T @ a + inner @ b - others])
        largest: Vector = np.abs(error).max(axis=0)
        return largest

    def effects_at(self, solution: tuple[Matrix, Matrix]) -> Matrix:
        """Sum of the effects of a solution in every row ``(n, k)``."""
        a, b = solution
        fitted = a[self.largest.codes]
        if self.others:
            codes, _ = self._codes
            for column in codes.T:
                fitted = fitted + b[column]
        return fitted

    def residual(self, z: Matrix) -> Matrix:
        """Columns of ``z`` ``(n, k)`` with the effects removed.

        The projection is applied twice: the second pass removes what rounding left of the first.
        """
        for _ in range(2):
            z = z - self.effects_at(self.solve(*self.sums(z)))
        return z
