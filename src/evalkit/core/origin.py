"""What stands behind an estimate: the linear map or design it came from, and what it is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from evalkit.core.arrays import Codes, Flags, Matrix, Vector
from evalkit.core.provenance import Provenance


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

    def identified_by_one(self, cluster: Codes, combination: Matrix) -> Flags:
        """True ``(k,)`` for combinations that some cluster identifies alone."""
        ...


@dataclass(frozen=True, slots=True)
class Meta:
    """What an estimate is: ``estimand``, ``method``, ``outcome``, sample counts, provenance."""

    estimand: str
    method: str
    outcome: str
    n_obs: int
    provenance: Provenance
    notes: tuple[str, ...] = ()
