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

from evalkit.core.arrays import Codes, Groups, Matrix, Vector, encode
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
    """

    start: Vector
    code: Codes
    weight: Vector
    outcome: Matrix
    clock: Vector

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
        code, start = encode(panel.cohort)
        shape = (panel.n_units, panel.n_periods)
        return cls(start, code, weight[:, 0], panel.y.reshape(shape), panel.clock)

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
        blocks = []
        for c, at in enumerate(self.at):
            block = np.take(wide, at, axis=0)
            weight = block[:, periods].copy()
            path[c, :periods] = weight @ block[:, :periods] / self.mass[c]
            block -= path[c]
            if (weight != 1).any():
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
        return Scores(self.rows, list(lin))


@dataclass(frozen=True, eq=False)
class PathWeights:
    """Row weights of estimates linear in cohort paths; ``lin`` holds a ``(T, k)`` per cohort."""

    cohorts: Cohorts
    lin: Sequence[Matrix]

    def weights(self) -> Matrix:
        """Weights ``(n, k)`` with ``weights.T @ y == theta``."""
        by_unit = np.stack(self.lin)[self.cohorts.code]
        by_unit *= self.cohorts.weight[:, None, None]
        return by_unit.reshape(-1, by_unit.shape[2])


def plain(value: float) -> int | float:
    """A period as an int where it is one, for index keys."""
    number = float(value)
    return int(number) if number.is_integer() else number
