"""Contributions of which each unit has few: a county's gap rests on its own schools alone.

Not for estimates whose every coordinate uses every unit; those are held in ``core/scores.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from evalkit.core.arrays import Codes, Flags, Labels, Matrix, Vector, frozen, product
from evalkit.core.scores import Rows, Scores

DENSE = 1 << 20  # entries up to which a plain matrix is as good


@dataclass(frozen=True, eq=False)
class Sparse:
    """Contributions ``(N, k)``: ``psi = own + shared @ lin``.

    Parameters
    ----------
    own : scipy.sparse.csr_array (N, k)
        What a unit adds to the coordinates that it belongs to.
    shared : Matrix (N, s)
        What it adds to the few numbers that all coordinates share, such as a common scale.
    lin : Matrix (s, k)
        How each coordinate depends on these.
    units : Labels (N,)
        The units themselves: scores on the same array may be added.

    Examples
    --------
    >>> import numpy as np
    >>> unit, coordinate, value = np.array([0, 1]), np.array([0, 1]), np.array([2.0, 3.0])
    >>> Sparse.of(unit, coordinate, value, np.array(["a", "b"]), 2).gram()
    array([[4., 0.],
           [0., 9.]])
    """

    own: Any
    shared: Matrix
    lin: Matrix
    units: Labels

    @classmethod
    def of(
        cls,
        unit: Codes,
        coordinate: Codes,
        value: Vector,
        units: Labels,
        coordinates: int,
        hidden: Flags | None = None,
    ) -> Sparse:
        """Entries ``value`` at ``(unit, coordinate)``, summed where they repeat; NaN in coordinates
        ``(k,)`` that are hidden, whose error cannot be seen."""
        from scipy.sparse import csr_array

        own = csr_array((value, (unit, coordinate)), shape=(len(units), coordinates))
        lin = np.zeros((0, coordinates)) if hidden is None else np.where(hidden, np.nan, 0.0)[None]
        return cls(own, np.zeros((len(units), len(lin))), lin, units)

    @property
    def shape(self) -> tuple[int, int]:
        """Units and coordinates."""
        return len(self.units), self.lin.shape[1]

    def psi(self) -> Matrix:
        """The contributions as a matrix ``(N, k)``."""
        return frozen(self.own.toarray() + self.shared @ self.lin)

    def gram(self) -> Matrix:
        """``psi'psi`` ``(k, k)``."""
        crossed = (self.own.T @ self.shared) @ self.lin
        gram = (self.own.T @ self.own).toarray() + crossed + crossed.T
        return np.asarray(gram + self.lin.T @ (self.shared.T @ self.shared) @ self.lin)

    def cluster_sums(self, cluster: Codes, clusters: int) -> Matrix:
        """``psi`` summed by cluster ``(G, k)``."""
        from scipy.sparse import csr_array

        n = len(self.units)
        member = csr_array((np.ones(n), (cluster, np.arange(n))), shape=(clusters, n))
        return np.asarray((member @ self.own).toarray() + (member @ self.shared) @ self.lin)

    def dot(self, matrix: Matrix) -> Sparse:
        """Scores of the combinations ``theta @ matrix``, with ``matrix`` ``(k, m)``."""
        from scipy.sparse import csr_array

        own = csr_array(self.own @ csr_array(matrix))
        return Sparse(own, self.shared, product(self.lin, matrix), self.units)

    def take(self, positions: list[int]) -> Sparse:
        """Scores of some coordinates."""
        return Sparse(self.own[:, positions], self.shared, self.lin[:, positions], self.units)

    @property
    def equal(self) -> bool:
        """True if all coordinates have the same contributions."""
        return self.dense().equal

    @property
    def vanish(self) -> bool:
        """True if no unit contributes anything."""
        return self.dense().vanish

    def smallest(self) -> Scores | Sparse:
        """A plain matrix where that is as good."""
        return self if len(self.units) * self.lin.shape[1] > DENSE else self.dense()

    def dense(self) -> Scores:
        """The same as a plain matrix; what is hidden (NaN) stays in its own coordinates."""
        hidden: Flags = np.asarray(np.isnan(self.lin).any(axis=0))
        z = self.own.toarray() + self.shared @ np.where(hidden, 0.0, self.lin)
        lin = np.eye(self.lin.shape[1])
        lin[:, hidden] = np.nan
        return Scores(Rows([frozen(z)], [np.arange(len(z))], len(z)), lin)

    def plus(self, other: object, sign: float) -> Sparse | None:
        """Sum of scores on the same units, or None if the units differ."""
        if not isinstance(other, Sparse) or other.units is not self.units:
            return None
        return Sparse(
            self.own + sign * other.own,
            np.hstack([self.shared, other.shared]),
            np.vstack([self.lin, sign * other.lin]),
            self.units,
        )


def contributions(
    unit: Codes,
    coordinate: Codes,
    value: Vector,
    units: Labels,
    coordinates: int,
    hidden: Flags | None = None,
) -> Scores | Sparse:
    """As :meth:`Sparse.of`; few enough are held as a plain matrix, with the same numbers."""
    return Sparse.of(unit, coordinate, value, units, coordinates, hidden).smallest()
