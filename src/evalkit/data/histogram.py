"""Counts of scores by cell: exact to add, and quantiles and shares follow from them exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import numpy as np

from evalkit.core.arrays import Codes, Matrix, Vector, frozen
from evalkit.core.errors import OptionError, check_option

Method: TypeAlias = Literal["linear", "inverted_cdf"]


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """Sparse counts: ``k`` pairs of a cell and a score that occurs in it, sorted.

    Parameters
    ----------
    size : int
        Number of cells ``m``.
    cell : Codes (k,)
        Cell of each pair.
    step : Codes (k,)
        The score in whole steps of the grid.
    count : Vector (k,)
        Sum of weights of the pupils with that score: their number, without weights.
    grid : float
        Length of a step.
    """

    size: int
    cell: Codes
    step: Codes
    count: Vector
    grid: float

    def __post_init__(self) -> None:
        for name in ("cell", "step", "count"):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    @property
    def value(self) -> Vector:
        """The scores ``(k,)``."""
        return np.asarray(self.step * self.grid, float)

    def grouped(self, codes: Codes, size: int) -> Histogram:
        """Counts of groups of cells."""
        return _summed(size, codes[self.cell], self.step, self.count, self.grid)

    def joined(self, other: Histogram) -> Histogram:
        """The cells of ``self``, then those of ``other``."""
        return Histogram(
            self.size + other.size,
            np.concatenate([self.cell, self.size + other.cell]),
            np.concatenate([self.step, other.step]),
            np.concatenate([self.count, other.count]),
            self.grid,
        )

    def take(self, rows: Codes) -> Histogram:
        """The cells at these positions, which must be in order."""
        place = np.full(self.size, -1)
        place[rows] = np.arange(len(rows))
        kept = place[self.cell] >= 0
        return replace(
            self,
            size=len(rows),
            cell=place[self.cell[kept]],
            step=self.step[kept],
            count=self.count[kept],
        )

    def quantiles(self, at: Sequence[float], *, method: Method = "linear") -> Matrix:
        """Quantiles of the scores in each cell, as ``numpy.quantile`` gives them on the pupils.

        Parameters
        ----------
        at : sequence of float
            Probabilities from 0 to 1.
        method : {"linear", "inverted_cdf"}
            With weights only the second is defined.

        Returns
        -------
        Matrix (m, len(at))

        Examples
        --------
        >>> import numpy as np
        >>> scores = Histogram(1, np.array([0, 0]), np.array([1, 2]), np.array([3.0, 1.0]), 0.5)
        >>> scores.quantiles([0.0, 0.5, 1.0])
        array([[0.5, 0.5, 1. ]])
        """
        check_option("method", method, get_args(Method))
        wanted = np.asarray(at, float)
        if not ((wanted >= 0) & (wanted <= 1)).all():
            raise OptionError(f"at={list(at)} must hold probabilities from 0 to 1")
        if method == "linear" and (self.count % 1).any():
            raise OptionError(
                "method='linear' takes the place between two pupils, which weights do not have; "
                "use method='inverted_cdf'"
            )
        reach = np.cumsum(self.count)
        end = np.searchsorted(self.cell, np.arange(self.size), side="right")[:, None]
        start = np.concatenate([[[0]], end[:-1]])
        below = np.where(start > 0, reach[start - 1], 0.0)
        total = reach[end - 1] - below

        def score(found: Codes) -> Matrix:
            return np.asarray(self.value[np.clip(found, start, end - 1)])

        if method == "inverted_cdf":
            # A hair lower, so that a share of the total that rounds up takes no score more.
            return score(np.searchsorted(reach, below + wanted * total * (1 - 4e-16)))
        place = wanted * (total - 1)
        low = np.floor(place)
        a = score(np.searchsorted(reach, below + low, side="right"))
        b = score(np.searchsorted(reach, below + low + 1, side="right"))
        return a + (place - low) * (b - a)

    def bands(self, cuts: Sequence[float]) -> Matrix:
        """Counts ``(m, B)`` by band; a score on a cut belongs to the band above it."""
        edge = np.ceil(np.asarray(cuts, float) / self.grid - 1e-9)
        band = np.searchsorted(edge, self.step, side="right")
        width = len(edge) + 1
        joint = np.bincount(self.cell * width + band, self.count, self.size * width)
        return joint.astype(float, copy=False).reshape(self.size, width)


def _summed(size: int, cell: Codes, step: Codes, count: Vector, grid: float) -> Histogram:
    """Sorted pairs with their counts added."""
    if not len(cell):
        return Histogram(size, cell, step, count, grid)
    low, width = int(step.min()), int(step.max()) - int(step.min()) + 1
    pairs, codes = np.unique(cell * width + (step - low), return_inverse=True)
    total = np.bincount(codes, count, len(pairs)).astype(float, copy=False)
    return Histogram(size, pairs // width, pairs % width + low, total, grid)
