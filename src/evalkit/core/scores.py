"""Contributions of units, held as rows times a small matrix per group of units.

Unit ``i`` of group ``c`` contributes ``z_i @ lin[c]``. A plain matrix of contributions is the case
of one group and the identity; a balanced panel needs only cohort deviations and one small matrix
per cohort, so that an estimate and its covariance cost nothing after one pass over the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from evalkit.core.arrays import Codes, Groups, Matrix, frozen, product, sealed
from evalkit.core.threads import one_thread


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of ``size`` units in groups, shared by the estimates made from them.

    Attributes
    ----------
    blocks : sequence of Matrix (n_c, d_c)
        Rows of each group; groups may differ in width.
    at : sequence of Codes (n_c,)
        The units they belong to. A unit stands in one group.
    size : int
        Number of units ``N``; those in no group contribute nothing.
    """

    blocks: Sequence[Matrix]
    at: Sequence[Codes]
    size: int

    @classmethod
    def of(cls, z: Matrix, group: Codes, groups: int) -> Rows:
        """The rows of a matrix ``(N, d)``, dealt out to their groups."""
        at = Groups(group, groups).rows()
        return cls([z[rows] for rows in at], at, len(z))

    @cached_property
    def _scatter(self) -> Matrix | list[Matrix]:
        """``z'z`` within each group ``(d_c, d_c)``, as one array if all have one width."""
        scatter = [block.T @ block for block in self.blocks]
        return np.array(scatter) if len(set(map(len, scatter))) == 1 else scatter

    def scattered(self, lin: Matrix) -> Matrix:
        """``z'z`` of each group times its part of ``lin`` ``(D, k)``, one beneath the other."""
        scatter = self._scatter
        if isinstance(scatter, np.ndarray):
            together: Matrix = scatter @ lin.reshape(*scatter.shape[:2], lin.shape[1])
            return together.reshape(lin.shape)
        parts = zip(scatter, self.columns, strict=True)
        return np.concatenate([z @ lin[columns] for z, columns in parts])

    @cached_property
    def columns(self) -> list[slice]:
        """The columns of each group among the ``D`` of all."""
        ends = np.cumsum([block.shape[1] for block in self.blocks]).tolist()
        return [slice(start, end) for start, end in pairwise([0, *ends])]


@dataclass(frozen=True, eq=False)
class Scores:
    """Contributions ``(N, k)``: the units of group ``c`` have ``blocks[c] @ lin_c``.

    Attributes
    ----------
    rows : Rows
    lin : Matrix (D, k)
        The matrices ``lin_c`` ``(d_c, k)``, one beneath the other.

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
        return cls(Rows([frozen(psi)], [np.arange(len(psi))], len(psi)), np.eye(psi.shape[1]))

    @property
    def shape(self) -> tuple[int, int]:
        """Units and coordinates."""
        return self.rows.size, self.lin.shape[1]

    def split(self) -> list[Matrix]:
        """``lin`` by group."""
        return [self.lin[columns] for columns in self.rows.columns]

    def parts(self) -> Iterator[tuple[Codes, Matrix]]:
        """Units of each group and their contributions ``(n_c, k)``."""
        for at, block, lin in zip(self.rows.at, self.rows.blocks, self.split(), strict=True):
            yield at, block @ lin

    @one_thread
    def psi(self) -> Matrix:
        """The contributions as a matrix ``(N, k)``."""
        out = np.zeros(self.shape)
        for at, part in self.parts():
            out[at] = part
        return sealed(out)

    @one_thread
    def gram(self) -> Matrix:
        """``psi'psi`` ``(k, k)``."""
        gram: Matrix = self.lin.T @ self.rows.scattered(self.lin)
        return gram

    @one_thread
    def cluster_sums(self, cluster: Codes, clusters: int) -> Matrix:
        """``psi`` summed by cluster ``(G, k)``; ``cluster`` holds the cluster of each unit."""
        out = np.zeros((clusters, self.shape[1]))
        for at, block, lin in zip(self.rows.at, self.rows.blocks, self.split(), strict=True):
            mine = Groups(cluster[at], clusters)
            narrow = lin.shape[1] < len(lin)
            out += mine.sum(block @ lin) if narrow else mine.sum(block) @ lin
        return out

    def dot(self, matrix: Matrix) -> Scores:
        """Scores of the combinations ``theta @ matrix``, with ``matrix`` ``(k, m)``."""
        return Scores(self.rows, product(self.lin, matrix))

    def take(self, positions: list[int]) -> Scores:
        """Scores of some coordinates; a coordinate without an answer (NaN) stays alone."""
        return Scores(self.rows, self.lin[:, positions])

    @property
    def equal(self) -> bool:
        """True if all coordinates have the same contributions."""
        same = self.lin == self.lin[:, :1]
        parts = zip(self.rows.blocks, self.split(), self.rows.columns, strict=True)
        return all(
            same[columns].all() or (np.ptp(block @ lin, axis=1) == 0).all()
            for block, lin, columns in parts
        )

    @property
    def vanish(self) -> bool:
        """True if no unit contributes anything."""
        return not (self.lin.any() and any(part.any() for _, part in self.parts()))

    def plus(self, other: object, sign: float) -> Scores | None:
        """Sum of scores on the same rows, or None if the rows differ."""
        if not isinstance(other, Scores) or self.rows is not other.rows:
            return None
        return Scores(self.rows, self.lin + sign * other.lin)


def side_by_side(scores: Iterable[object]) -> Scores | None:
    """Scores on the same rows side by side, or None if the rows differ."""
    parts = [part for part in scores if isinstance(part, Scores)]
    if not parts or any(part.rows is not parts[0].rows for part in parts):
        return None
    return Scores(parts[0].rows, np.hstack([part.lin for part in parts]))
