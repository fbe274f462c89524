"""Nested random effects seen through sums: what a likelihood needs, in one climb and one descent.

A model of pupils in schools in counties depends on the pupils only through the cross-products of
``[X y]`` with the random columns, summed by school. Not for choosing the variances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from evalkit.core.arrays import Codes, Matrix

Stack: TypeAlias = npt.NDArray[np.float64]  # (m, a, b): one small matrix per unit


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    r"""What one pass says about :math:`V=I+\sum_l Z_l\Theta_lZ_l'` (residual variance one).

    Parameters
    ----------
    logdet : float
        :math:`\log|V|`.
    total : Matrix (c, c)
        :math:`[X\,y]'V^{-1}[X\,y]`.
    reach : tuple of Stack (m, q, c)
        Per block, :math:`Z_j'V^{-1}[X\,y]` of each unit.
    precision : tuple of Stack (m, q, q)
        Per block, :math:`Z_j'V^{-1}Z_j` of each unit.
    gathered : tuple of Stack (m, r, c)
        Per block, :math:`Z_j'V_-^{-1}[X\,y]`, where :math:`V_-` holds the finer levels only.
    pull, spread : tuple of Stack (m, r, c), (m, r, r)
        Per level, the prediction of a unit's effect and those above it is ``pull @ [-beta, 1]``,
        and ``spread`` is its variance given ``beta``. Empty for crossed effects.
    """

    logdet: float
    total: Matrix
    reach: tuple[Stack, ...]
    precision: tuple[Stack, ...]
    gathered: tuple[Stack, ...]
    pull: tuple[Stack, ...] = ()
    spread: tuple[Stack, ...] = ()


class Effects(Protocol):
    """Blocks of random effects, nested or crossed."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Columns ``q`` of each block."""
        ...

    def condensed(self) -> Effects:
        """The same blocks in a form that gives the criterion faster, or themselves."""
        ...

    def sweep(self, factors: Sequence[Matrix]) -> Sweep:
        r"""The pass for :math:`\Theta_l=` ``factors[l] @ factors[l].T``."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Nested:
    r"""Levels of random effects, from the finest to the coarsest.

    Parameters
    ----------
    cross : Matrix (c, c)
        :math:`[X\,y]'[X\,y]` over all rows; the first ``r`` columns of ``X`` may be random.
    sums : Stack (m, r, c)
        :math:`Z_j'[X\,y]` for each unit of the finest level, the random columns of the unit's rows.
    starts : tuple of Codes
        For each level above the finest, the position of the first child of each unit; the units of
        a level stand in the order of their parents.
    bases : tuple of Matrix (r, q)
        The random columns of each level as combinations of the ``r`` columns.

    Notes
    -----
    A unit with cross-products :math:`M=Z'[X\,y]` and :math:`A=Z'Z` loses its effect by
    :math:`M\leftarrow M-AKM`, :math:`K=\Lambda(I+\Lambda'A\Lambda)^{-1}\Lambda'`, and its parent
    adds up what is left. Cost: linear in units for each pass.

    Examples
    --------
    >>> import numpy as np
    >>> sums = np.array([[[2.0, 3.0]], [[2.0, 1.0]]])  # two schools of two pupils: n and sum of y
    >>> schools = Nested(np.array([[4.0, 4.0], [4.0, 6.0]]), sums, (), (np.eye(1),))
    >>> schools.sweep([np.array([[1.0]])]).total.round(3)
    array([[1.333, 1.333],
           [1.333, 2.667]])
    """

    cross: Matrix
    sums: Stack
    starts: tuple[Codes, ...]
    bases: tuple[Matrix, ...]

    @property
    def widths(self) -> tuple[int, ...]:
        """Columns ``q`` of each level."""
        return tuple(basis.shape[1] for basis in self.bases)

    def condensed(self) -> Effects:
        """By sizes of units, where one level has nothing but an intercept."""
        from evalkit.engines.sizes import Sizes

        if len(self.bases) > 1 or self.bases[0].shape != (1, 1) or self.bases[0][0, 0] != 1:
            return self
        return Sizes.of(self.cross, self.sums[:, 0, :])

    def sweep(self, factors: Sequence[Matrix]) -> Sweep:
        """Climb from the finest level to the coarsest, then descend with what lies above."""
        r = self.sums.shape[1]
        logdet, total, m = 0.0, self.cross, self.sums
        climbed = []
        for level, (basis, factor) in enumerate(zip(self.bases, factors, strict=True)):
            t = basis @ factor
            inverse, lost = invert(np.eye(t.shape[1]) + times(t.T, times(m[..., :r], t)))
            k = times(t, times(inverse, t.T))
            km = times(k, m)
            logdet += lost
            total = total - rows(m).T @ rows(km)
            climbed.append((m, k, km))
            if level < len(self.starts):
                m = np.add.reduceat(m - times(m[..., :r], km), self.starts[level])
        pull, spread = climbed[-1][2], climbed[-1][1]
        pulls, spreads = [pull], [spread]
        for level in range(len(climbed) - 2, -1, -1):
            m, k, km = climbed[level]
            children = np.diff(np.append(self.starts[level], len(m)))
            kept = np.eye(r) - times(k, m[..., :r])
            pull = km + times(kept, np.repeat(pull, children, axis=0))
            above = times(kept, np.repeat(spread, children, axis=0))
            spread = k + times(above, kept.swapaxes(1, 2))
            pulls.append(pull)
            spreads.append(spread)
        pulls.reverse()
        spreads.reverse()
        reach, precision = [], []
        for (m, _, _), basis, pull, spread in zip(climbed, self.bases, pulls, spreads, strict=True):
            a = m[..., :r]
            own = a - times(times(a, spread), a)
            reach.append(times(basis.T, m - times(a, pull)))
            precision.append(times(basis.T, times(own, basis)))
        gathered = tuple(m for m, _, _ in climbed)
        return Sweep(
            logdet, total, tuple(reach), tuple(precision), gathered, tuple(pulls), tuple(spreads)
        )


def times(a: Stack, b: Stack) -> Stack:
    """``a @ b`` over stacks; one inner column is a plain product, and much faster so."""
    out: Stack = a * b if a.shape[-1] == 1 else a @ b
    return out


def invert(a: Stack) -> tuple[Stack, float]:
    """Inverses of symmetric positive definite matrices ``(m, q, q)`` and the sum of log|a|."""
    if a.shape[-1] == 1:
        return 1 / a, float(np.log(a).sum())
    return np.asarray(np.linalg.inv(a), float), float(np.linalg.slogdet(a)[1].sum())


def rows(a: Stack) -> Matrix:
    """All rows of a stack ``(m, r, c)`` as one matrix ``(m r, c)``."""
    return a.reshape(-1, a.shape[-1])
