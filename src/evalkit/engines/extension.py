"""Least squares with unit, period and covariate effects on some rows, extended to all of them.

One normal matrix serves both the fit, whose right-hand side holds sums of the outcome, and its
adjoint, whose right-hand side holds sums of the weights that an average puts on other rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from evalkit.core.arrays import Codes, Groups, Matrix, Vector
from evalkit.engines.absorb import Absorber

GONE = 1e-9  # share of its length that a covariate keeps, under which the effects explain it
SINGULAR = 1e-10  # share of the largest eigenvalue under which a direction is not estimated


@dataclass(frozen=True, eq=False)
class Effects:
    """A vector per unit, period and covariate: coefficients, or right-hand sides, ``k`` at once."""

    unit: Matrix
    period: Matrix
    slope: Matrix

    def take(self, columns: Codes | list[int]) -> Effects:
        """Some of the ``k``."""
        return Effects(self.unit[:, columns], self.period[:, columns], self.slope[:, columns])


@dataclass(frozen=True, eq=False)
class Extension:
    r"""The model :math:`z_r'\beta=\alpha_{i(r)}+\lambda_{t(r)}+x_r'\gamma` fitted on known rows.

    Attributes
    ----------
    unit, period : Groups
        Unit and period of all ``n`` rows.
    x : Matrix (n, p)
        Covariates.
    weight : Vector (n,)
    known : Codes (m,)
        Rows of the fit.

    Examples
    --------
    >>> import numpy as np
    >>> unit, period = Groups(np.array([0, 0, 1, 1]), 2), Groups(np.array([0, 1, 0, 1]), 2)
    >>> model = Extension(unit, period, np.zeros((4, 0)), np.ones(4), np.array([0, 1, 2]))
    >>> y = np.array([1.0, 2.0, 5.0, np.nan])
    >>> model.at(model.solve(model.sums(model.known, y[model.known, None]))).ravel()
    array([1., 2., 5., 6.])
    """

    unit: Groups
    period: Groups
    x: Matrix
    weight: Vector
    known: Codes

    @cached_property
    def _absorber(self) -> Absorber:
        sides = [Groups(side.codes[self.known], side.size) for side in (self.unit, self.period)]
        return Absorber(sides, self.weight[self.known])

    @cached_property
    def residual(self) -> Matrix:
        """Covariates of the known rows with the effects removed ``(m, p)``."""
        return self._absorber.residual(self.x[self.known])

    @cached_property
    def _cross(self) -> Effects:
        return self.sums(self.known, self.x[self.known] * self.weight[self.known, None])

    @cached_property
    def _inverse(self) -> Matrix:
        """Pseudo-inverse of the covariates' own part of the normal matrix."""
        normal = self.residual.T @ (self.residual * self.weight[self.known, None])
        raw = self.weight[self.known] @ self.x[self.known] ** 2
        scale = np.sqrt(np.diag(normal))
        scale[scale <= GONE * np.sqrt(raw)] = np.inf
        value, vectors = np.linalg.eigh(normal / np.outer(scale, scale))
        kept = value > SINGULAR * value.max(initial=0.0)
        half = vectors[:, kept] / scale[:, None]
        inverse: Matrix = (half / value[kept]) @ half.T
        return inverse

    def sums(self, rows: Codes, v: Matrix) -> Effects:
        """:math:`Z'v` for values ``v`` ``(len(rows), k)`` on some rows."""
        unit = Groups(self.unit.codes[rows], self.unit.size)
        period = Groups(self.period.codes[rows], self.period.size)
        return Effects(unit.sum(v), period.sum(v), self.x[rows].T @ v)

    def solve(self, target: Effects) -> Effects:
        """Coefficients of :math:`Z_0'W_0Z_0\\,\\beta=` target; redundant ones are zero."""
        unit, period = self._effects(target.unit, target.period)
        cross = self._cross
        slope = self._inverse @ (target.slope - cross.unit.T @ unit - cross.period.T @ period)
        if len(slope):
            unit, period = self._effects(
                target.unit - cross.unit @ slope, target.period - cross.period @ slope
            )
        return Effects(unit, period, slope)

    def gap(self, target: Effects, solution: Effects) -> Vector:
        """Largest error of a solution, per column: not zero where the known rows do not say."""
        cross, slope = self._cross, solution.slope
        own = target.unit - cross.unit @ slope
        others = target.period - cross.period @ slope
        sides, solved = (own, others), (solution.unit, solution.period)
        if not self._unit_first:
            sides, solved = sides[::-1], solved[::-1]
        gap = self._absorber.gap(*sides, solved)
        if len(slope):
            x = self.x[self.known]
            inner = x.T @ (x * self.weight[self.known, None])
            error = cross.unit.T @ solution.unit + cross.period.T @ solution.period
            error = (error + inner @ slope - target.slope) / np.abs(self.x).max(axis=0)[:, None]
            gap = np.maximum(gap, np.abs(error).max(axis=0))
        return gap

    def at(self, effects: Effects, rows: Codes | slice = slice(None)) -> Matrix:
        """:math:`Z\\beta` on some rows, ``(len(rows), k)``."""
        out = effects.unit[self.unit.codes[rows]] + effects.period[self.period.codes[rows]]
        return out + self.x[rows] @ effects.slope if self.x.shape[1] else out

    @property
    def _unit_first(self) -> bool:
        return self._absorber.largest is self._absorber.effects[0]

    def _effects(self, unit: Matrix, period: Matrix) -> tuple[Matrix, Matrix]:
        """Unit and period effects, whichever of the two the absorber concentrates out."""
        if self._unit_first:
            return self._absorber.solve(unit, period)
        b, a = self._absorber.solve(period, unit)
        return a, b
