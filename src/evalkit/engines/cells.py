r"""Least squares on regressors that are constant within cohort and period, with unit and period
effects removed: what two-way effects, event studies and saturated designs are.

Such a regression depends on the data through one :math:`T\times T` matrix and one vector by cohort,
:math:`\Omega_c=\sum_{i\in c}(\mathrm{diag}(w_i)-w_iw_i'/w_i'1)` and
:math:`b_c=\sum_{i\in c}w_i\circ(y_i-\bar y_i)`, whatever was observed and however it is weighted.
It is solved on a root of each :math:`\Omega_c`; no row and no dummy is written out.
Cost: :math:`NT^2` for the matrices, less if the panel is balanced, and nothing else grows with N.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import solve_triangular

from evalkit.core.adoption import Starts
from evalkit.core.arrays import Codes, Flags, Groups, Matrix, Vector, encode
from evalkit.core.origin import Imposed, Part
from evalkit.core.panel import Panel
from evalkit.core.scores import Scores
from evalkit.engines.cohorts import Cohorts, PathWeights
from evalkit.engines.leverage import Batch, Clustered, Design, spectrum
from evalkit.engines.pivoted import Pivoted, pivoted_qr
from evalkit.engines.regress import (
    CHUNK,
    Fit,
    clusters,
    orthonormal,
    outside,
    solved_free,
)
from evalkit.engines.table import Table, TableWeights

REDUNDANT = 1e-8  # share of its own length under which a period adds nothing


@dataclass(frozen=True, eq=False)
class CellFit(Design):
    r"""A fit of ``p`` coefficients on cell-constant regressors.

    Attributes
    ----------
    panel : Panel
    source : Cohorts or Table
    x : Matrix (G, T, p)
        Regressors less their period effects.
    beta, bread : Vector (p,), Matrix (p, p)
        Coefficients and :math:`A=(\tilde X'W\tilde X)^{-1}`.
    period : Vector (T,)
        Period effects of the outcome.
    rank : int
        Rank of unit and period effects.
    """

    panel: Panel
    source: Cohorts | Table
    x: Matrix
    beta: Vector
    bread: Matrix
    period: Vector
    rank: int

    @classmethod
    def of(cls, panel: Panel, x: Matrix, names: Sequence[str]) -> CellFit | None:
        """Regress the outcome on ``x`` ``(G, T, p)``; None if the panel is mostly holes.

        Raises
        ------
        IdentificationError
            Naming the regressors that the effects or the other regressors explain completely.
        """
        source = Cohorts.of(panel) or Table.of(panel)
        if source is None:
            return None
        if isinstance(source, Cohorts):
            mass = source.mass[:, None]
            effects, left, rank = _off_means(source, x)
        else:
            mass, roots = source.mass, _roots(source)
            both = [np.column_stack([r @ own, b]) for own, (r, b) in zip(x, roots, strict=True)]
            periods = np.vstack([root for root, _ in roots])
            effects, left, rank = off_periods(periods, np.vstack(both), np.sqrt(mass.sum(axis=0)))
        before = np.sqrt((mass[:, :, None] * x**2).sum(axis=(0, 1)))
        beta, bread = solved_free(before, left[:, :-1], left[:, -1], names)
        rest = x - effects[:, :-1]
        return cls(panel, source, rest, beta, bread, effects[:, -1], panel.n_units + rank)

    @property
    def _every(self) -> Flags:
        return np.ones(self.x.shape[:2], bool)

    @property
    def _fitted(self) -> Matrix:
        """Fitted paths ``(G, T)``, up to unit effects."""
        return self.period + self.x @ self.beta

    @cached_property
    def scores(self) -> Scores:
        """Contributions of units to ``beta``, in blocks by cohort whose last column is a weight."""
        if isinstance(self.source, Cohorts):
            within = self.x - self.x.mean(axis=1, keepdims=True)
            return self.source.around(self._fitted, within @ self.bread)
        return self.source.scores(self._fitted, self._every, self.x @ self.bread)

    def weights(self) -> Matrix:
        """Row weights ``(n, p)``: ``weights.T @ y == beta``."""
        if isinstance(self.source, Cohorts):
            return PathWeights(self.source, self.scores.lin).weights()
        lin = self.x @ self.bread
        return TableWeights(self.panel, self.source, self._every, lin).weights()

    @property
    def _effects(self) -> list[Groups]:
        panel = self.panel
        return [Groups(panel.unit, panel.n_units), Groups(panel.time, panel.n_periods)]

    @cached_property
    def _written(self) -> Fit:
        """The same fit with every row of its design."""
        panel, effects, w = self.panel, self._effects, self.panel.weight[:, None]
        unit = effects[0]
        x = self.x[Starts.of(panel).code[panel.unit], panel.time]
        z = np.column_stack([x, panel.y - self.period[panel.time]])
        z -= (unit.sum(z * w) / unit.sum(w))[unit.codes]
        rest = z[:, -1] - z[:, :-1] @ self.beta
        own = self.beta, z[:, :-1], rest, panel.weight, self.bread
        return Fit(*own, unit, effects, self.rank)

    def degrees(self, cluster: Codes) -> tuple[int, int]:
        """Rows and parameters, where effects nested in clusters count as one constant."""
        effects, weight = self._effects, self.panel.weight
        if isinstance(self.source, Cohorts) and cluster.any():  # units are nested, periods are not
            return len(weight), len(self.beta) + self.rank - self.panel.n_units + 1
        rows = clusters(effects[0], cluster)
        return len(weight), len(self.beta) + outside(effects, weight, self.rank, rows)

    def by_row(self) -> Matrix:
        """Contributions of rows ``(n, p)``."""
        return self._written.by_row()

    def imposed(self, cluster: Codes, part: Part, combination: Vector) -> Imposed:
        """Residuals under nulls about one combination ``(p,)``, summed over parts of clusters."""
        return self._written.imposed(cluster, part, combination)

    def _cut(self, cluster: Codes) -> Clustered:
        source, (size, periods, p) = self.source, self.x.shape
        dummies = np.broadcast_to(np.eye(periods), (size, periods, periods))
        columns = np.concatenate([self.x, dummies], axis=2)
        roots = [root for root, _ in _roots(source)]
        rows = np.vstack([root @ own for own, root in zip(columns, roots, strict=True)])
        basis, triangle, at = orthonormal(rows)
        loading = basis.T @ rows[:, :p] @ self.bread
        # Rows of units are combinations of these, less their mean over the unit's periods.
        z = columns[:, :, at] @ solve_triangular(triangle, np.eye(len(at)))
        groups, code = int(cluster.max()) + 1, Starts.of(self.panel).code
        if isinstance(source, Table):
            sums = source.scores(self._fitted, self._every, z).cluster_sums(cluster, groups)
            return Clustered(lambda: _spectra_of_units(source, z, code, cluster), sums, loading)
        z = z - z.mean(axis=1, keepdims=True)
        sums = source.around(self._fitted, z).cluster_sums(cluster, groups)
        cell = Groups(cluster * size + code, groups * size)
        weight = cell.sum(source.weight).reshape(groups, size)
        return Clustered(lambda: _spectra_of_cohorts(z, weight), sums, loading)


def _roots(source: Cohorts | Table) -> list[tuple[Matrix, Vector]]:
    """By cohort a root ``R`` ``(r, T)`` of its normal matrix and the ``v`` with ``R'v = b``."""
    if isinstance(source, Table):
        out = []
        for (normal, moment), own in zip(source.normals(), source.mass, strict=True):
            pivoted = Pivoted.of(normal, own)
            out.append((pivoted.root, pivoted.lift(moment)))
        return out
    periods = source.mean.shape[1]
    within, half = np.eye(periods) - 1 / periods, np.sqrt(source.mass)
    rest = source.mean - source.mean.mean(axis=1, keepdims=True)
    return [(root * within, root * own) for root, own in zip(half, rest, strict=True)]


def _off_means(source: Cohorts, x: Matrix) -> tuple[Matrix, Matrix, int]:
    """:func:`off_periods` of regressors ``(G, T, p)`` and outcome where the panel is balanced: the
    effects are means over cohorts."""
    left = np.concatenate([x, source.mean[:, :, None]], axis=2)
    share, effects = source.mass / source.mass.sum(), np.zeros(left.shape[1:])
    for _ in range(2):
        mean = (share @ left.reshape(len(share), -1)).reshape(effects.shape)
        effects += mean
        left -= mean
        left -= left.mean(axis=1, keepdims=True)
    left *= np.sqrt(source.mass)[:, None, None]
    return effects, left.reshape(-1, left.shape[2]), len(effects) - 1


def off_periods(periods: Matrix, columns: Matrix, scale: Vector) -> tuple[Matrix, Matrix, int]:
    """Effects ``(T, k)`` of periods on columns, what is left of them, and the rank of periods.

    The projection is applied twice: the second pass removes what rounding left of the first.
    """
    q, r, pivot = pivoted_qr(periods / scale)
    rank = int((np.abs(np.diag(r)) > REDUNDANT).sum())
    q, at = q[:, :rank], pivot[:rank]
    inside = q.T @ columns
    left = columns - q @ inside
    again = q.T @ left
    effects = np.zeros((len(scale), columns.shape[1]))
    effects[at] = solve_triangular(r[:rank, :rank], inside + again) / scale[at][:, None]
    return effects, left - q @ again, rank


def _spectra_of_cohorts(z: Matrix, weight: Matrix) -> Iterator[Batch]:
    """Spectra of clusters by their weight in each cohort ``(G, C)``: a unit's rows are those of its
    cohort. Clusters with proportional weights share the vectors of one."""
    total = weight.sum(axis=1)
    for members in _alike(weight / total[:, None]):
        share = weight[members[0]] / total[members[0]]
        factor = np.concatenate([np.sqrt(share[c]) * z[c] for c in np.flatnonzero(share)])
        value, vectors = spectrum(factor[None])
        scale = total[members]
        scale = scale[:1] if (scale == scale[0]).all() else scale
        yield members, scale[:, None] * value, vectors


def _spectra_of_units(table: Table, z: Matrix, code: Codes, cluster: Codes) -> Iterator[Batch]:
    """Spectra of clusters from the rows of their units. Clusters of one unit with the same cohort
    and weights share theirs; others are found as many at a time as fit in CHUNK numbers."""
    units = Groups(cluster, int(cluster.max()) + 1).rows()
    count = np.array([len(at) for at in units])
    rest, alone = np.arange(len(units)), np.flatnonzero(count == 1)
    first = np.array([at[0] for at in units])
    kinds = _alike(np.column_stack([code, table.weight])[first[alone]])
    if 2 * len(kinds) < len(alone):
        rest = np.flatnonzero(count > 1)
        for kind in kinds:
            members = alone[kind]
            yield members, *spectrum(_rows(table, z, code, first[members[:1], None]))
    for s in np.unique(count[rest]):
        alike = rest[count[rest] == s]
        step = max(1, CHUNK // (s * z[0].size))
        for start in range(0, len(alike), step):
            members = alike[start : start + step]
            own = np.stack([units[g] for g in members])
            yield members, *spectrum(_rows(table, z, code, own))


def _rows(table: Table, z: Matrix, code: Codes, units: Codes) -> Matrix:
    """Root-weighted rows ``(m, s T, d)`` of ``s`` units each, off the units' means."""
    w, own = table.weight[units], z[code[units]]
    mean = np.einsum("mst,mstd->msd", w, own) / w.sum(axis=2)[:, :, None]
    rows: Matrix = np.sqrt(w)[:, :, :, None] * (own - mean[:, :, None])
    return rows.reshape(len(units), -1, z.shape[2])


def _alike(rows: Matrix) -> list[Codes]:
    """Positions of equal rows ``(m, k)``, kind by kind."""
    kind = np.zeros(len(rows), np.intp)
    for column in rows.T:
        code, labels = encode(column)
        kind = encode(kind * len(labels) + code)[0]
    return Groups(kind, int(kind.max(initial=-1)) + 1).rows()
