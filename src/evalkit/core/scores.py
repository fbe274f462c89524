"""Contributions of units, held as rows times a small matrix per group of units.

Unit ``i`` of group ``c`` contributes ``z_i @ lin[c]``. A plain matrix of contributions is the case
of one group and the identity; a balanced panel needs only cohort deviations and one small matrix
per cohort, so that an estimate and its covariance cost nothing after one pass over the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from evalkit.core.arrays import Codes, Groups, Matrix, frozen, product


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows ``z`` ``(N, d)`` in groups ``0 .. size - 1``, shared by the estimates made from them."""

    z: Matrix
    group: Codes
    size: int

    @cached_property
    def scatter(self) -> Matrix:
        """``z'z`` within each group, ``(size, d, d)``."""
        if self.size == 1:
            return (self.z.T @ self.z)[None]
        return np.stack([block.T @ block for block in self.blocks])

    @cached_property
    def blocks(self) -> list[Matrix]:
        """The rows of each group."""
        return [self.z[rows] for rows in Groups(self.group, self.size).rows()]

    def sums(self, cluster: Codes, clusters: int) -> Matrix:
        """Sums of rows by cluster and group ``(clusters, size, d)``."""
        cell = cluster * self.size + self.group
        return Groups(cell, clusters * self.size).sum(self.z).reshape(clusters, self.size, -1)


@dataclass(frozen=True, eq=False)
class Scores:
    """Contributions ``(N, k)``: ``psi[i] = rows.z[i] @ lin[rows.group[i]]``.

    Examples
    --------
    >>> import numpy as np
    >>> scores = Scores.dense(np.array([[1.0], [-1.0]]))
    >>> scores.gram()
    array([[2.]])
    """

    rows: Rows
    lin: Matrix

    @classmethod
    def dense(cls, psi: Matrix) -> Scores:
        """Scores held as a plain matrix."""
        rows = Rows(frozen(psi), np.zeros(len(psi), np.intp), 1)
        return cls(rows, np.eye(psi.shape[1])[None])

    @property
    def shape(self) -> tuple[int, int]:
        """Units and coordinates."""
        return len(self.rows.z), self.lin.shape[2]

    def psi(self) -> Matrix:
        """The contributions as a matrix ``(N, k)``."""
        if self.rows.size == 1:
            return frozen(self.rows.z @ self.lin[0])
        out = np.empty(self.shape)
        for c, at in enumerate(Groups(self.rows.group, self.rows.size).rows()):
            out[at] = self.rows.z[at] @ self.lin[c]
        return frozen(out)

    def gram(self) -> Matrix:
        """``psi'psi`` ``(k, k)``."""
        gram: Matrix = np.einsum(
            "cdk,cdl->kl", self.rows.scatter @ self.lin, self.lin, optimize=True
        )
        return gram

    def cluster_sums(self, cluster: Codes, clusters: int) -> Matrix:
        """``psi`` summed by cluster ``(G, k)``."""
        sums = self.rows.sums(cluster, clusters)
        out: Matrix = np.einsum("gcd,cdk->gk", sums, self.lin, optimize=True)
        return out

    def dot(self, matrix: Matrix) -> Scores:
        """Scores of the combinations ``theta @ matrix``, with ``matrix`` ``(k, m)``."""
        return Scores(self.rows, product(self.lin, matrix))

    def take(self, positions: list[int]) -> Scores:
        """Scores of some coordinates; a coordinate without an answer (NaN) stays alone."""
        return Scores(self.rows, self.lin[:, :, positions])

    def plus(self, other: object, sign: float) -> Scores | None:
        """Sum of scores on the same rows, or None if the rows differ."""
        if not isinstance(other, Scores) or self.rows is not other.rows:
            return None
        return Scores(self.rows, self.lin + sign * other.lin)
