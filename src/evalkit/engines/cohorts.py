"""One pass over a balanced panel: weight, mean path and deviations of every adoption cohort.

Every estimator without unit-level covariates depends on the data only through these, so that
estimates made from the same pass share their rows and their exact joint covariance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np

from evalkit.core.adoption import Starts, plain
from evalkit.core.arrays import Codes, Groups, Matrix, Vector
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.core.panel import Panel
from evalkit.core.scores import Rows, Scores

_passes: WeakKeyDictionary[Panel, Cohorts | None] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Cohorts:
    """Sufficient statistics of ``G`` cohorts over ``T`` periods.

    Attributes
    ----------
    start : Vector (G,)
        Adoption date; ``inf`` (never treated) last.
    code : Codes (N,)
        Cohort of each unit.
    weight : Vector (N,)
        Unit weights.
    outcome : Matrix (N, T)
    clock : Vector (T,)
    earliest : Vector (G,)
        First possible date: before ``start`` where only a window is known.
    """

    start: Vector
    code: Codes
    weight: Vector
    outcome: Matrix
    clock: Vector
    earliest: Vector

    @classmethod
    def of(cls, panel: Panel) -> Cohorts | None:
        """The statistics of a panel, or None if it is unbalanced or its weights vary in time.

        The pass is made once per panel: estimates that share it share their rows.
        """
        if panel not in _passes:
            _passes[panel] = cls._pass(panel)
        return _passes[panel]

    @classmethod
    def _pass(cls, panel: Panel) -> Cohorts | None:
        if not panel.balanced:
            return None
        weight = panel.weight.reshape(panel.n_units, panel.n_periods)
        if (weight != weight[:, :1]).any():
            return None
        dates = Starts.of(panel)
        y = panel.y.reshape(panel.n_units, panel.n_periods)
        return cls(dates.start, dates.code, weight[:, 0], y, dates.clock, dates.earliest)

    @property
    def size(self) -> int:
        """Number of cohorts ``G``."""
        return len(self.start)

    @cached_property
    def at(self) -> list[Codes]:
        """Units of each cohort."""
        return Groups(self.code, self.size).rows()

    @cached_property
    def mass(self) -> Vector:
        """Sum of weights of each cohort ``(G,)``."""
        return Groups(self.code, self.size).sum(self.weight)

    @cached_property
    def _paths(self) -> tuple[Matrix, Rows]:
        periods = len(self.clock)
        wide = np.empty((len(self.code), periods + 1))
        wide[:, :periods], wide[:, periods] = self.outcome, self.weight
        path = np.zeros((self.size, periods + 1))
        blocks, weighted = [], bool((self.weight != 1).any())
        for c, at in enumerate(self.at):
            block = np.take(wide, at, axis=0)
            weight = block[:, periods].copy()
            path[c, :periods] = weight @ block[:, :periods] / self.mass[c]
            block -= path[c]
            if weighted:
                block[:, :periods] *= weight[:, None]
            blocks.append(block)
        return path[:, :periods], Rows(blocks, self.at, len(self.code))

    @property
    def mean(self) -> Matrix:
        """Mean path of each cohort ``(G, T)``."""
        return self._paths[0]

    @property
    def rows(self) -> Rows:
        """Weighted deviations from the cohort's path and the weight itself ``(n_c, T + 1)``."""
        return self._paths[1]

    def scores(self, lin: Matrix) -> Scores:
        """Contributions of ``k`` numbers linear in paths and weights: ``lin`` ``(G, T + 1, k)``."""
        size, wide, k = lin.shape
        return Scores(self.rows, lin.reshape(size * wide, k))

    def around(self, fitted: Matrix, lin: Matrix) -> Scores:
        """Sums by unit of weighted residuals from ``fitted`` ``(G, T)`` times ``lin``
        ``(G, T, k)``, which sums to zero over periods, so that no unit effect matters."""
        level = np.einsum("ct,ctk->ck", self.mean - fitted, lin)
        return self.scores(np.concatenate([lin, level[:, None]], axis=1))


@dataclass(frozen=True, eq=False)
class PathWeights:
    """Row weights of estimates linear in cohort paths, from the ``lin`` of their contributions."""

    cohorts: Cohorts
    lin: Matrix

    def weights(self) -> Matrix:
        """Weights ``(n, k)`` with ``weights.T @ y == theta``."""
        lin = self.lin.reshape(self.cohorts.size, -1, self.lin.shape[1])[:, :-1]
        by_unit = lin[self.cohorts.code]
        by_unit *= self.cohorts.weight[:, None, None]
        return by_unit.reshape(-1, by_unit.shape[2])


def cohort_mass(
    panel: Panel, index: Index, of: Sequence[int], rows: Rows | None = None
) -> Estimate:
    """Share of units in the cohort ``of`` ``(k,)`` of each coordinate, with what makes it random.

    ``rows`` are blocks by cohort whose last column is the weight of units, if there are any.
    """
    if rows is None:
        count = np.bincount(panel.unit, minlength=panel.n_units)
        weight = np.bincount(panel.unit, panel.weight, minlength=panel.n_units) / count
        starts = Starts.of(panel)
        rows = Rows.of(weight[:, None], starts.code, len(starts.start))
    mass = np.array([block[:, -1].sum() for block in rows.blocks])
    lin = np.zeros((rows.columns[-1].stop, len(of)))
    last = np.array([columns.stop - 1 for columns in rows.columns])
    own = list(of)
    lin[last[own], np.arange(len(own))] = 1 / mass.sum()
    meta = Meta("share of the cohort", "counts", panel.outcome, len(panel.y), panel.provenance)
    share = mass[own] / mass.sum()
    return Estimate(share, Scores(rows, lin), panel.units, panel.cluster, index, meta)


def cell_index(starts: Starts, g: Sequence[int], t: Sequence[int]) -> Index:
    """Names of cells by the positions of their cohort and period."""
    dates, periods = starts.labels, list(map(plain, starts.clock.tolist()))
    keys = tuple((dates[c], periods[s]) for c, s in zip(g, t, strict=True))
    return Index(("cohort", "time"), keys)
