"""Crossed and multiple-membership random intercepts: the largest factor is eliminated by formula,
the others by a dense Cholesky factor of what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
from scipy.linalg.lapack import dtrtri

from evalkit.core.arrays import Groups, Matrix, Vector
from evalkit.core.errors import OptionError
from evalkit.engines.variance_components import Sweep

Table: TypeAlias = Matrix | sp.csr_array

MOST = 5_000  # units of all factors but the largest: a dense matrix of MOST^2 doubles
DENSE = 1 << 20  # entries of a table of all factors up to which zeros are not worth leaving out


@dataclass(frozen=True, eq=False)
class Crossed:
    r"""Factors that need not nest.

    Parameters
    ----------
    cross : Matrix (c, c)
        :math:`[X\,y]'[X\,y]` over all rows.
    cells : Matrix (R, c)
        Sums of ``[X y]`` over cells of rows with equal units; the first column is the weight.
    large : Groups or None
        Unit of each cell in the factor that is eliminated by formula, if there is one.
    small : tuple of csr_array (R, g)
        Incidence of each other factor: the share of a cell that belongs to each unit.

    Notes
    -----
    With :math:`a=\theta_1/(1+\theta_1n_1)` the large factor leaves :math:`D=Z_2'Z_2-N'\,a\,N`,
    where :math:`N=Z_1'Z_2`, and with :math:`t=\sqrt{\theta_2}`, :math:`LL'=I+tDt` then
    :math:`\log|LL'|` and :math:`K=W'W`, :math:`W=L^{-1}t`. Cost: the cube of the small units.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp
    >>> cells = np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 4.0]])
    >>> area = sp.csr_array(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]))
    >>> both = Crossed(cells.T @ cells, cells, Groups(np.array([0, 0, 1]), 2), (area,))
    >>> round(both.sweep([np.eye(1), np.eye(1)]).logdet, 4)
    3.0445
    """

    cross: Matrix
    cells: Matrix
    large: Groups | None
    small: tuple[sp.csr_array, ...]

    @property
    def widths(self) -> tuple[int, ...]:
        """Every factor has one column."""
        return (1,) * ((self.large is not None) + len(self.small))

    def condensed(self) -> Crossed:
        """Itself."""
        return self

    @cached_property
    def _first(self) -> Groups:
        return self.large or Groups(np.zeros(len(self.cells), np.intp), 1)

    @cached_property
    def _sums(self) -> Matrix:
        return self._first.sum(self.cells)

    @cached_property
    def _incidence(self) -> sp.csr_array:
        z = sp.hstack(self.small).tocsr()
        if z.shape[1] > MOST:
            raise OptionError(
                f"{z.shape[1]} units beside the largest factor; at most {MOST} fit the dense "
                "factor. Leave one of the factors out, or use coarser units."
            )
        return z

    @cached_property
    def _joint(self) -> tuple[Table, Matrix, Matrix]:
        """``Z1'Z2`` and ``Z2'Z2``, weighted by cells, and ``Z2'[X y]``."""
        z = self._incidence
        weighted = z.multiply(self.cells[:, :1]).tocsr()
        joint = (incidence(self._first).T @ weighted).tocsr()
        small = joint.shape[0] * joint.shape[1] <= DENSE
        return (
            joint.toarray() if small else joint,
            (z.T @ weighted).toarray(),
            z.T @ self.cells,
        )

    @cached_property
    def _spans(self) -> list[slice]:
        """Where the units of each small factor stand."""
        ends = np.cumsum([z.shape[1] for z in self.small]).tolist()
        return [slice(*span) for span in zip([0, *ends], ends, strict=False)]

    def sweep(self, factors: Sequence[Matrix]) -> Sweep:
        """Eliminate the large factor, then the others together."""
        few = list(factors)
        theta = 0.0 if self.large is None else float(few.pop(0)[0, 0] ** 2)
        t = np.repeat([float(f[0, 0]) for f in few], [z.shape[1] for z in self.small])
        n1 = self._sums[:, 0]
        kept = 1 / (1 + theta * n1)
        joint, inner, right = self._joint
        lean = _scaled(joint, kept)
        d = inner - theta * _full(joint.T @ lean)
        b = right - theta * (lean.T @ self._sums)
        root = np.linalg.cholesky(np.eye(len(d)) + t[:, None] * d * t)
        w = dtrtri(root, lower=1)[0] * t
        wb = w @ b
        kb = w.T @ wb
        total = self.cross - self._sums.T @ ((theta * kept)[:, None] * self._sums) - wb.T @ wb
        logdet = float(2 * np.log(root.diagonal()).sum() - np.log(kept).sum())
        own, seen = d.diagonal() - ((w @ d) ** 2).sum(axis=0), b - d @ kb
        reach, precision, gathered = ([a[at] for at in self._spans] for a in (seen, own, right))
        if self.large is not None:
            lost = ((lean @ w.T) ** 2).sum(axis=1)
            gathered.insert(0, self._sums)
            reach.insert(0, kept[:, None] * (self._sums - joint @ kb))
            precision.insert(0, n1 * kept - lost)
        return Sweep(
            logdet,
            total,
            tuple(e[:, None, :] for e in reach),
            tuple(f[:, None, None] for f in precision),
            tuple(g[:, None, :] for g in gathered),
        )


def _scaled(table: Table, rows: Vector) -> Table:
    """The table with its rows multiplied by numbers."""
    if isinstance(table, np.ndarray):
        return rows[:, None] * table
    return table.multiply(rows[:, None]).tocsr()


def _full(table: Any) -> Matrix:
    """The table with its zeros."""
    full: Matrix = table if isinstance(table, np.ndarray) else table.toarray()
    return full


def incidence(factor: Groups) -> sp.csr_array:
    """Incidence ``(n, size)`` of a partition."""
    n = len(factor.codes)
    return sp.csr_array((np.ones(n), factor.codes, np.arange(n + 1)), shape=(n, factor.size))
