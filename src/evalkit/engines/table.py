"""Outcome and weights of units by period, for panels with gaps or weights that change.

Where :mod:`evalkit.engines.cohorts` has one mean path per cohort, a gap leaves each unit its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from evalkit.core.adoption import Starts
from evalkit.core.arrays import NARROW, Codes, Flags, Groups, Matrix, Vector
from evalkit.core.panel import Panel
from evalkit.core.scores import Rows, Scores

_tables: WeakKeyDictionary[Panel, Table | None] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Table:
    """``N`` units by ``T`` periods.

    Attributes
    ----------
    at : list of Codes (n_c,)
        Units of each cohort.
    weight : Matrix (N, T)
        Zero where a unit is not observed.
    outcome : Matrix (N, T)
        Less the unit's mean; zero where it is not observed.
    """

    at: list[Codes]
    weight: Matrix
    outcome: Matrix

    @classmethod
    def of(cls, panel: Panel) -> Table | None:
        """The table of a panel, made once; None if most of it would be holes."""
        if panel not in _tables:
            _tables[panel] = cls._made(panel)
        return _tables[panel]

    @classmethod
    def _made(cls, panel: Panel) -> Table | None:
        shape = (panel.n_units, panel.n_periods)
        if shape[0] * shape[1] > NARROW * len(panel.y):
            return None
        starts = Starts.of(panel)
        cell = panel.unit * panel.n_periods + panel.time
        weight, outcome = np.zeros(shape), np.zeros(shape)
        weight.reshape(-1)[cell] = panel.weight
        total = np.bincount(panel.unit, panel.weight, minlength=panel.n_units)
        mean = np.bincount(panel.unit, panel.weight * panel.y, minlength=panel.n_units) / total
        outcome.reshape(-1)[cell] = panel.y - mean[panel.unit]
        return cls(Groups(starts.code, len(starts.start)).rows(), weight, outcome)

    @property
    def mass(self) -> Matrix:
        """Sum of weights by cohort and period ``(G, T)``."""
        return np.stack([self.weight[at].sum(axis=0) for at in self.at])

    def normals(self) -> Iterator[tuple[Matrix, Vector]]:
        r"""By cohort :math:`\Omega_c` ``(T, T)`` and :math:`b_c` ``(T,)`` of a regression with unit
        effects on regressors that are constant within cohort and period."""
        for at in self.at:
            w = self.weight[at]
            total = w.sum(axis=1, keepdims=True)
            yield np.diag(w.sum(axis=0)) - (w / total).T @ w, (w * self.outcome[at]).sum(axis=0)

    def scores(self, fitted: Matrix, known: Flags, lin: Matrix) -> Scores:
        """Sums by unit of weighted residuals times ``lin`` ``(G, T, k)``, in blocks by cohort whose
        last column is the unit's mean weight.

        Residuals are taken from ``fitted`` ``(G, T)`` and the unit's mean over the periods in which
        its cohort is ``known`` ``(G, T)``; a unit that is seen in none of them contributes nothing.
        """
        blocks = []
        for at, path, before in zip(self.at, fitted, known, strict=True):
            w = self.weight[at]
            e = self.outcome[at] - path
            share = normalised(w, before)
            e -= (share * e).sum(axis=1, keepdims=True)
            e *= w * share.any(axis=1, keepdims=True)
            mean = w.sum(axis=1) / np.count_nonzero(w, axis=1)
            blocks.append(np.column_stack([e, mean]))
        size, _, k = lin.shape
        padded = np.concatenate([lin, np.zeros((size, 1, k))], axis=1)
        return Scores(Rows(blocks, self.at, len(self.weight)), padded.reshape(-1, k))


def normalised(weight: Matrix, known: Flags) -> Matrix:
    """Weights in the known periods, normalised to one for each unit (zero if it has none)."""
    before = weight * known
    own = before.sum(axis=-1, keepdims=True)
    out: Matrix = np.divide(before, own, out=np.zeros_like(before), where=own > 0)
    return out


@dataclass(frozen=True, slots=True, eq=False)
class TableWeights:
    """Row weights of estimates with contributions by :meth:`Table.scores`."""

    panel: Panel
    table: Table
    known: Flags
    lin: Matrix

    def weights(self) -> Matrix:
        """Weights ``(n, k)`` with ``weights.T @ y == theta``."""
        panel, table = self.panel, self.table
        out = np.zeros((*table.weight.shape, self.lin.shape[2]))
        for at, before, lin in zip(table.at, self.known, self.lin, strict=True):
            w = table.weight[at]
            share = normalised(w, before)
            part = w[:, :, None] * lin - share[:, :, None] * (w @ lin)[:, None]
            out[at] = part * (share.sum(axis=1) > 0)[:, None, None]
        rows: Matrix = out[panel.unit, panel.time]
        return rows
