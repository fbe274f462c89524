"""What stands behind an estimate: the linear map or design it came from, and what it is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from evalkit.core.arrays import Codes, Flags, Matrix, Vector
from evalkit.core.provenance import Provenance

Part: TypeAlias = Literal["cluster", "unit", "row"]


@dataclass(frozen=True, slots=True, eq=False)
class Imposed:
    """Residuals under a null hypothesis, summed over ``H`` parts of ``G`` clusters.

    All are linear in the distance ``d`` between estimate and null: ``score[0] + d * score[1]``.

    Attributes
    ----------
    owner : Codes (H,)
        Cluster of each part.
    score : array (2, H)
        What the residuals of a part add to the combination.
    moved : array (2, H, r)
        What they add to the fit, in coordinates of the design.
    reach : Matrix (G, r)
        How these coordinates enter the score of a cluster.
    """

    owner: Codes
    score: Matrix
    moved: Matrix
    reach: Matrix


class Linear(Protocol):
    """An origin that is linear in the outcome, with ``p`` coefficients."""

    def weights(self) -> Matrix:
        """Weights ``(n, p)`` with ``weights.T @ y`` equal to the coefficients."""
        ...


@runtime_checkable
class Leverage(Linear, Protocol):
    """What small-sample corrections need to know about the least-squares design behind theta.

    The design has ``p`` coefficients; an estimate holds ``k`` linear combinations of them.
    """

    def degrees(self, cluster: Codes) -> tuple[int, int]:
        """Rows ``n`` and parameters ``k``; effects nested in clusters count once (CR1S)."""
        ...

    def adjusted(self, kind: str, cluster: Codes) -> Matrix:
        """Cluster contributions ``(G, p)`` under ``"CR2"`` or ``"CR3"``."""
        ...

    def satterthwaite(self, kind: str, cluster: Codes, combination: Matrix) -> Vector:
        """Degrees of freedom ``(k,)`` of the columns of ``combination`` ``(p, k)``."""
        ...

    def hotelling(self, kind: str, cluster: Codes, combination: Matrix) -> float:
        """Degrees of freedom of the joint test of the columns of ``combination`` ``(p, k)``."""
        ...

    def identified_by_one(self, cluster: Codes, combination: Matrix) -> Flags:
        """True ``(k,)`` for combinations that some cluster identifies alone."""
        ...

    def by_row(self) -> Matrix:
        """Contributions of rows ``(n, p)``."""
        ...

    def imposed(self, cluster: Codes, part: Part, combination: Vector) -> Imposed:
        """Residuals under nulls about one combination ``(p,)``, summed over parts of clusters."""
        ...


@dataclass(frozen=True, slots=True)
class Meta:
    """What an estimate is: ``estimand``, ``method``, ``outcome``, sample counts, provenance, and
    ``base``, the kind of base period where there are two."""

    estimand: str
    method: str
    outcome: str
    n_obs: int
    provenance: Provenance
    notes: tuple[str, ...] = ()
    base: str = ""
