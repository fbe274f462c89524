"""Estimates made from some rows of a panel, whose row weights speak of all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from evalkit.core.arrays import Codes, Flags, Matrix, Vector
from evalkit.core.estimate import Estimate
from evalkit.core.origin import Imposed, Leverage, Linear, Part


@dataclass(frozen=True, eq=False)
class Placed:
    """A linear origin on ``rows`` of ``size`` rows."""

    origin: Linear
    rows: Codes
    size: int

    def weights(self) -> Matrix:
        """Weights ``(size, p)``, zero in rows that were left out."""
        return self.put(self.origin.weights())

    def put(self, inner: Matrix) -> Matrix:
        """Values of the rows, and zero elsewhere."""
        out = np.zeros((self.size, inner.shape[1]))
        out[self.rows] = inner
        return out


@dataclass(frozen=True, eq=False)
class PlacedDesign:
    """A least-squares design on some rows; what it knows of leverage is unchanged."""

    design: Leverage
    place: Placed

    def weights(self) -> Matrix:
        """Weights in the order of the whole panel."""
        return self.place.weights()

    def degrees(self, cluster: Codes) -> tuple[int, int]:
        """Rows and parameters."""
        return self.design.degrees(cluster)

    def adjusted(self, kind: str, cluster: Codes) -> Matrix:
        """Cluster contributions under CR2 or CR3."""
        return self.design.adjusted(kind, cluster)

    def satterthwaite(self, kind: str, cluster: Codes, combination: Matrix) -> Vector:
        """Degrees of freedom."""
        return self.design.satterthwaite(kind, cluster, combination)

    def hotelling(self, kind: str, cluster: Codes, combination: Matrix) -> float:
        """Degrees of freedom of a joint test."""
        return self.design.hotelling(kind, cluster, combination)

    def identified_by_one(self, cluster: Codes, combination: Matrix) -> Flags:
        """Combinations that one cluster identifies alone."""
        return self.design.identified_by_one(cluster, combination)

    def by_row(self) -> Matrix:
        """Contributions in the order of the whole panel."""
        return self.place.put(self.design.by_row())

    def imposed(self, cluster: Codes, part: Part, combination: Vector) -> Imposed:
        """Residuals under a null."""
        return self.design.imposed(cluster, part, combination)


def placed(estimate: Estimate, rows: Flags) -> Estimate:
    """The estimate of the rows ``(n,)`` that are True, with row weights for all ``n``."""
    if estimate.origin is None or rows.all():
        return estimate
    place = Placed(estimate.origin, np.flatnonzero(rows), len(rows))
    design = estimate.leverage
    return replace(estimate, origin=place if design is None else PlacedDesign(design, place))
