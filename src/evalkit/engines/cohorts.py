"""One pass over a balanced panel: weight, mean path and deviations of every adoption cohort.

Every estimator without unit-level covariates depends on the data only through these, so that
estimates made from the same pass share their rows and their exact joint covariance.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np

from evalkit.core.adoption import Starts
from evalkit.core.adoption import plain as plain
from evalkit.core.arrays import Codes, Groups, Matrix, Vector
from evalkit.core.panel import Panel
from evalkit.core.scores import Rows

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
    def mass(self) -> Vector:
        """Sum of weights of each cohort ``(G,)``."""
        return Groups(self.code, self.size).sum(self.weight)

    @cached_property
    def mean(self) -> Matrix:
        """Mean path of each cohort ``(G, T)``."""
        total = Groups(self.code, self.size).sum(self.outcome * self.weight[:, None])
        return total / self.mass[:, None]

    @cached_property
    def rows(self) -> Rows:
        """Weighted deviations from the cohort's path and the weight itself ``(N, T + 1)``."""
        z = np.empty((len(self.code), len(self.clock) + 1))
        np.subtract(self.outcome, self.mean[self.code], out=z[:, :-1])
        z[:, :-1] *= self.weight[:, None]
        z[:, -1] = self.weight
        return Rows(z, self.code, self.size)


@dataclass(frozen=True, eq=False)
class PathWeights:
    """Row weights of estimates linear in cohort paths; ``lin`` ``(G, T, k)`` per unit weight."""

    cohorts: Cohorts
    lin: Matrix

    def weights(self) -> Matrix:
        """Weights ``(n, k)`` with ``weights.T @ y == theta``."""
        by_unit = self.lin[self.cohorts.code] * self.cohorts.weight[:, None, None]
        return by_unit.reshape(-1, self.lin.shape[2])
