"""Least squares with unit and period effects for designs too wide to write out: the columns are
made for some units at a time, and only the triangle of their QR factorisation is kept.

The same numbers as :mod:`evalkit.engines.regress`, which holds every row. Cost: rows times the
square of the columns, periods among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.linalg import solve_triangular

from evalkit.core.arrays import Codes, Groups, Matrix, Vector
from evalkit.core.origin import Imposed, Part
from evalkit.core.panel import Panel
from evalkit.engines.cells import off_periods
from evalkit.engines.leverage import Batch, Clustered, Design, spectrum
from evalkit.engines.regress import (
    CHUNK,
    Fit,
    clusters,
    orthonormal,
    outside,
    solved_free,
)

Columns: TypeAlias = Callable[[Codes], Matrix]  # rows (m,) to regressors (m, p)


@dataclass(frozen=True, eq=False)
class BlockFit(Design):
    r"""A fit of ``p`` coefficients whose rows are made when they are needed.

    Attributes
    ----------
    panel : Panel
    columns : callable
        Regressors of given rows.
    beta, bread : Vector (p,), Matrix (p, p)
        Coefficients and :math:`A=(\tilde X'W\tilde X)^{-1}`.
    period : Matrix (T, p + 1)
        Period effects of the regressors and the outcome.
    triangle : Matrix (r, T + p + 1)
        Of the root-weighted periods, regressors and outcome, less unit means.
    rank : int
        Rank of unit and period effects.
    """

    panel: Panel
    columns: Columns
    beta: Vector
    bread: Matrix
    period: Matrix
    triangle: Matrix
    rank: int

    @classmethod
    def of(cls, panel: Panel, columns: Columns, names: Sequence[str]) -> BlockFit:
        """Regress the outcome on the columns called ``names``.

        Raises
        ------
        IdentificationError
            Naming the regressors that the effects or the other regressors explain completely.
        """
        periods, width = panel.n_periods, panel.n_periods + len(names) + 1
        triangle, before = np.zeros((0, width)), np.zeros(len(names))
        for rows in _units(panel, width):
            raw, block = _block(panel, columns, rows)
            before += panel.weight[rows] @ raw**2
            triangle = np.asarray(np.linalg.qr(np.concatenate([triangle, block]), mode="r"))
        scale = np.sqrt(np.bincount(panel.time, panel.weight, minlength=periods))
        period, left, rank = off_periods(triangle[:, :periods], triangle[:, periods:], scale)
        beta, bread = solved_free(np.sqrt(before), left[:, :-1], left[:, -1], names)
        return cls(panel, columns, beta, bread, period, triangle, panel.n_units + rank)

    def contributions(self) -> Matrix:
        """Contributions of units ``(N, p)``."""
        out = np.empty((self.panel.n_units, len(self.beta)))
        for rows, x, e in self._rows():
            unit = self.panel.unit[rows]
            first = np.flatnonzero(np.diff(unit, prepend=-1))
            out[unit[first]] = np.add.reduceat(x * e[:, None], first) @ self.bread
        return out

    def weights(self) -> Matrix:
        """Row weights ``(n, p)``: ``weights.T @ y == beta``."""
        out = np.empty((len(self.panel.y), len(self.beta)))
        for rows, x, _ in self._rows():
            out[rows] = np.sqrt(self.panel.weight[rows])[:, None] * x @ self.bread
        return out

    @property
    def _effects(self) -> list[Groups]:
        panel = self.panel
        return [Groups(panel.unit, panel.n_units), Groups(panel.time, panel.n_periods)]

    @property
    def _written(self) -> Fit:
        """The same fit with every row of its design."""
        panel, effects, half = self.panel, self._effects, np.sqrt(self.panel.weight)
        x, rest = np.empty((len(panel.y), len(self.beta))), np.empty(len(panel.y))
        for rows, z, e in self._rows():
            x[rows], rest[rows] = z / half[rows, None], e / half[rows]
        own = self.beta, x, rest, panel.weight, self.bread
        return Fit(*own, effects[0], effects, self.rank)

    def degrees(self, cluster: Codes) -> tuple[int, int]:
        """Rows and parameters, where effects nested in clusters count as one constant."""
        panel, effects = self.panel, self._effects
        rows = clusters(effects[0], cluster)
        return len(panel.y), len(self.beta) + outside(effects, panel.weight, self.rank, rows)

    def by_row(self) -> Matrix:
        """Contributions of rows ``(n, p)``."""
        return self._written.by_row()

    def imposed(self, cluster: Codes, part: Part, combination: Vector) -> Imposed:
        """Residuals under nulls about one combination ``(p,)``, summed over parts of clusters."""
        return self._written.imposed(cluster, part, combination)

    def _cut(self, cluster: Codes) -> Clustered:
        panel, columns, periods = self.panel, self.columns, self.panel.n_periods
        design = self.triangle[:, :-1]
        basis, triangle, at = orthonormal(design)
        inverse = solve_triangular(triangle, np.eye(len(at)))
        left = design[:, periods:] - design[:, :periods] @ self.period[:, :-1]
        sums = np.zeros((int(cluster.max()) + 1, len(at)))
        for rows, _, e in self._rows():
            q = _block(panel, columns, rows)[1][:, at] @ inverse
            sums += Groups(cluster[panel.unit[rows]], len(sums)).sum(q * e[:, None])
        return Clustered(
            lambda: _spectra(panel, columns, at, inverse, cluster),
            sums,
            basis.T @ left @ self.bread,
        )

    def _rows(self) -> Iterator[tuple[Codes, Matrix, Vector]]:
        """Rows, and their root-weighted regressors and residuals, effects removed."""
        periods = self.panel.n_periods
        for rows in _units(self.panel, self.triangle.shape[1]):
            _, block = _block(self.panel, self.columns, rows)
            z = block[:, periods:] - block[:, :periods] @ self.period
            yield rows, z[:, :-1], z[:, -1] - z[:, :-1] @ self.beta


def _units(panel: Panel, width: int) -> Iterator[Codes]:
    """All rows of some units at a time, as many as fit in CHUNK numbers of ``width`` columns."""
    ends = np.cumsum(np.bincount(panel.unit, minlength=panel.n_units))
    start, most = 0, max(1, CHUNK // width)
    while start < ends[-1]:
        at = int(np.searchsorted(ends, start + most, side="right"))
        stop = int(ends[max(at - 1, int(np.searchsorted(ends, start, side="right")))])
        yield np.arange(start, stop)
        start = stop


def _block(panel: Panel, columns: Columns, rows: Codes) -> tuple[Matrix, Matrix]:
    """Regressors of whole units' rows; root-weighted periods, regressors and outcome, less the
    units' means (twice: the second pass removes what rounding left of the first)."""
    raw, weight, unit = columns(rows), panel.weight[rows], panel.unit[rows]
    periods = (panel.time[rows][:, None] == np.arange(panel.n_periods)).astype(float)
    z = np.column_stack([periods, raw, panel.y[rows]])
    first = np.flatnonzero(np.diff(unit, prepend=-1))
    count = np.diff(first, append=len(rows))
    mass = np.add.reduceat(weight, first)[:, None]
    for _ in range(2):
        z -= np.repeat(np.add.reduceat(z * weight[:, None], first) / mass, count, axis=0)
    z *= np.sqrt(weight)[:, None]
    return raw, z


def _spectra(
    panel: Panel, columns: Columns, at: Codes, inverse: Matrix, cluster: Codes
) -> Iterator[Batch]:
    """Spectra of clusters of equal numbers of rows, as many at a time as fit in CHUNK numbers."""
    rows = Groups(cluster[panel.unit], int(cluster.max()) + 1).rows()
    size = np.array([len(mine) for mine in rows])
    for r in np.unique(size):
        alike = np.flatnonzero(size == r)
        step = max(1, CHUNK // (int(r) * (panel.n_periods + inverse.shape[0])))
        for start in range(0, len(alike), step):
            members = alike[start : start + step]
            own = np.concatenate([rows[g] for g in members])
            q = _block(panel, columns, own)[1][:, at] @ inverse
            yield members, *spectrum(q.reshape(len(members), int(r), -1))
