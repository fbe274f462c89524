"""Crossed and multiple-membership random intercepts: the largest factor is eliminated by formula,
the others by a dense Cholesky factor of what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from scipy.linalg import cho_solve, cholesky, solve_triangular

from evalkit.core.arrays import Groups, Matrix
from evalkit.core.errors import OptionError
from evalkit.engines.variance_components import Sweep

MOST = 5_000  # units of all factors but the largest: a dense matrix of MOST^2 doubles


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
    where :math:`N=Z_1'Z_2`, and :math:`t=\sqrt{\theta_2}` then
    :math:`\log|I+tDt|` and :math:`K=t(I+tDt)^{-1}t`. Cost: the cube of the small units.

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
    def _joint(self) -> tuple[sp.csr_array, sp.csr_array, Matrix]:
        """``Z1'Z2`` and ``Z2'Z2``, weighted by cells, and ``Z2'[X y]``."""
        z = self._incidence
        weighted = z.multiply(self.cells[:, :1]).tocsr()
        one = incidence(self._first)
        return (one.T @ weighted).tocsr(), (z.T @ weighted).tocsr(), z.T @ self.cells

    def sweep(self, factors: Sequence[Matrix]) -> Sweep:
        """Eliminate the large factor, then the others together."""
        few = list(factors)
        theta = 0.0 if self.large is None else float(few.pop(0)[0, 0] ** 2)
        t = np.repeat([float(f[0, 0]) for f in few], [z.shape[1] for z in self.small])
        n1 = self._sums[:, 0]
        kept = 1 / (1 + theta * n1)
        joint, inner, right = self._joint
        eased = joint.multiply((theta * kept)[:, None]).tocsr()
        d = (inner - joint.T @ eased).toarray()
        b = right - eased.T @ self._sums
        root = cholesky(np.eye(len(d)) + t[:, None] * d * t, lower=True)
        kb = t[:, None] * cho_solve((root, True), t[:, None] * b)
        total = self.cross - self._sums.T @ ((theta * kept)[:, None] * self._sums) - b.T @ kb
        logdet = float(2 * np.log(np.diag(root)).sum() - np.log(kept).sum())
        half = solve_triangular(root, t[:, None] * d, lower=True)
        edges = np.cumsum([z.shape[1] for z in self.small])[:-1]
        reach = np.split(b - d @ kb, edges)
        precision = np.split(np.diag(d) - (half**2).sum(axis=0), edges)
        gathered = np.split(right, edges)
        if self.large is not None:
            lean = joint.multiply(kept[:, None]).tocsr()
            lost = ((lean @ solve_triangular(root, np.diag(t), lower=True).T) ** 2).sum(axis=1)
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


def incidence(factor: Groups) -> sp.csr_array:
    """Incidence ``(n, size)`` of a partition."""
    n = len(factor.codes)
    return sp.csr_array((np.ones(n), factor.codes, np.arange(n + 1)), shape=(n, factor.size))
