r"""Small-sample corrections of clustered errors, from the spectra of the clusters' hat matrices.

With :math:`Q` an orthonormal basis of the root-weighted design and :math:`Q_g` the rows of cluster
g, all that CR2, CR3 and the Satterthwaite degrees of freedom need is :math:`K_g=Q_g'Q_g`, the sums
:math:`u_g=Q_g'W_g^{1/2}e_g` and the loading :math:`L=Q'W^{1/2}\tilde XA`:
:math:`A\tilde X_g'W_g^{1/2}(I-Q_gQ_g')^{-1/2}W_g^{1/2}e_g=L'(I-K_g)^{-1/2}u_g`.
Clusters with the same spectrum share it, so that the cost follows the number of different ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias
from weakref import WeakKeyDictionary

import numpy as np

from evalkit.core.arrays import Codes, Flags, Matrix, Vector
from evalkit.core.threads import one_thread

EDGE = 1e-10  # a leverage this close to one marks a direction that the cluster alone identifies
VISIBLE = 1e-9  # share of the loading's length in such directions that is more than rounding
TINY = 1e-20  # eigenvalues below are rounding of zero; their vectors get no weight anywhere

# Clusters, eigenvalues of K_g (m, q) and their vectors (m, d, q); one row may stand for all.
Batch: TypeAlias = tuple[Codes, Matrix, Matrix]


def spectrum(factor: Matrix) -> tuple[Matrix, Matrix]:
    """Positive eigenvalues ``(m, q)`` of ``F'F`` and vectors ``(m, d, q)``, ``F`` ``(m, r, d)``.

    Found on the smaller side: ``q = min(r, d)``.
    """
    turned = factor.transpose(0, 2, 1)
    if factor.shape[1] >= factor.shape[2]:
        value, vectors = np.linalg.eigh(turned @ factor)
        return value, vectors
    value, vectors = np.linalg.eigh(factor @ turned)
    return value, turned @ vectors / np.sqrt(np.maximum(value, TINY))[:, None]


@dataclass(frozen=True, eq=False)
class Clustered:
    """A least-squares design cut into ``G`` clusters.

    Attributes
    ----------
    batches : callable
        Gives the spectra of all clusters, some at a time.
    sums : Matrix (G, d)
        :math:`u_g`.
    loading : Matrix (d, p)
        :math:`L`.
    """

    batches: Callable[[], Iterator[Batch]]
    sums: Matrix
    loading: Matrix

    @one_thread
    def adjusted(self, kind: str) -> Matrix:
        """Cluster contributions ``(G, p)`` under CR2 or CR3."""
        out = np.empty((len(self.sums), self.loading.shape[1]))
        for at, value, vectors in self.batches():
            u = self.sums[at][:, None]
            lift = (u @ vectors) * (_power(value, kind) - 1)[:, None]
            out[at] = (u + lift @ vectors.transpose(0, 2, 1))[:, 0] @ self.loading
        return out

    @one_thread
    def satterthwaite(self, kind: str, combination: Matrix) -> Vector:
        r"""Degrees of freedom ``(k,)`` of the columns of ``combination`` ``(p, k)``.

        :math:`\nu=(\sum_g M_{gg})^2/\sum_{gh}M_{gh}^2` with
        :math:`M_{gh}=a_g'(I-H)_{gh}a_h` and :math:`a_g=(I-Q_gQ_g')^{-1/2}Q_gLl`
        (Pustejovsky and Tipton 2018, eq. 12, working covariance proportional to 1/weight).
        """
        target = self.loading @ combination
        d, k = target.shape
        trace, square, cross = np.zeros(k), np.zeros(k), np.zeros((k, d, d))
        for at, value, vectors in self.batches():
            power = _power(value, kind)[:, :, None]
            part = power * (vectors.transpose(0, 2, 1) @ target)
            inner = value[:, :, None] * part
            own, lost = (inner * part).sum(axis=1), (inner**2).sum(axis=1)
            alike = len(at) / len(own)
            trace += alike * (own - lost).sum(axis=0)
            square += alike * (own**2 - 2 * own * lost).sum(axis=0)
            a = (vectors @ inner).transpose(2, 1, 0)
            cross += alike * (a @ a.transpose(0, 2, 1))
        dof: Vector = trace**2 / (square + (cross**2).sum(axis=(1, 2)))
        return dof

    @one_thread
    def hotelling(self, kind: str, combination: Matrix) -> float:
        r"""Degrees of freedom of the joint test of the columns of ``combination`` ``(p, k)``.

        With :math:`M_{gh}` now ``(k, k)``, whitened by :math:`\sum_gM_{gg}`:
        :math:`\eta=k(k+1)/\sum_{gh}\{(\mathrm{tr}M_{gh})^2+\mathrm{tr}(M_{gh}^2)\}`
        (Pustejovsky and Tipton 2018, the test AHZ). One column has those of `satterthwaite`.
        """
        target = self.loading @ combination
        d, k = target.shape
        mean, square, cross = np.zeros((k, k)), 0.0, np.zeros((k, k, d, d))
        for alike, own, lost, _ in self._moments(kind, target):
            mean += alike * (own - lost).sum(axis=0)
        value, vectors = np.linalg.eigh(mean)
        for alike, own, lost, a in self._moments(kind, target @ (vectors / np.sqrt(value))):
            for part, sign in ((own - lost, 1), (lost, -1)):
                trace = np.trace(part, axis1=1, axis2=2)
                square += sign * alike * float((trace**2).sum() + (part**2).sum())
            cross += alike * (a[:, None] @ a.transpose(0, 2, 1))
        square += float((cross * (cross + cross.transpose(0, 1, 3, 2))).sum())
        return float(k * (k + 1) / square)

    def _moments(self, kind: str, target: Matrix) -> Iterator[tuple[float, Matrix, Matrix, Matrix]]:
        """By batch: clusters a row stands for, :math:`a_g'a_g`, what of it is lost, its roots."""
        for at, value, vectors in self.batches():
            part = _power(value, kind)[:, :, None] * (vectors.transpose(0, 2, 1) @ target)
            inner = value[:, :, None] * part
            own, lost = (inner.transpose(0, 2, 1) @ other for other in (part, inner))
            yield len(at) / len(own), own, lost, (vectors @ inner).transpose(2, 1, 0)

    @one_thread
    def identified_by_one(self, combination: Matrix) -> Flags:
        """True ``(k,)`` where part of a combination's loading lies in a direction of leverage one.

        Dropping that cluster would lose the combination, so its residuals say nothing about it.
        """
        target = self.loading @ combination
        alone = np.zeros(target.shape[1], dtype=bool)
        for _, value, vectors in self.batches():
            for row, one in zip(*np.nonzero(1 - value <= EDGE), strict=True):
                lost = value[row, one] * (vectors[row % len(vectors), :, one] @ target) ** 2
                alone |= lost > VISIBLE * (target**2).sum(axis=0)
        return alone


def _power(value: Matrix, kind: str) -> Matrix:
    """``1 - value`` to the power -1/2 (CR2) or -1 (CR3), zero where the cluster stands alone."""
    keep = 1 - value > EDGE
    return np.where(keep, np.where(keep, 1 - value, 1.0) ** (-0.5 if kind == "CR2" else -1.0), 0.0)


class Design(ABC):
    """A least-squares design that can be cut into clusters, and what follows from the cut.

    Cost: the cube of the rows of each cluster, or of the columns of the design if those are fewer.
    """

    @abstractmethod
    def _cut(self, cluster: Codes) -> Clustered:
        """Cut the design at the cluster ``(N,)`` of each unit."""

    @one_thread
    def clustered(self, cluster: Codes) -> Clustered:
        """The design by cluster; the last cut is kept."""
        if self not in _last or _last[self][0] is not cluster:
            _last[self] = (cluster, self._cut(cluster))
        return _last[self][1]

    def adjusted(self, kind: str, cluster: Codes) -> Matrix:
        r"""Cluster contributions ``(G, p)``: :math:`A\tilde X_g'W_g\,B_g\,e_g`.

        With :math:`H` the hat matrix of regressors and effects, :math:`B_g=(I-H_{gg})^{-1/2}`
        for CR2 and :math:`(I-H_{gg})^{-1}` for CR3 (symmetric, with the pseudo-inverse where the
        cluster alone identifies a direction).
        """
        return self.clustered(cluster).adjusted(kind)

    def satterthwaite(self, kind: str, cluster: Codes, combination: Matrix) -> Vector:
        """Degrees of freedom ``(k,)`` of the columns of ``combination`` ``(p, k)``."""
        return self.clustered(cluster).satterthwaite(kind, combination)

    def hotelling(self, kind: str, cluster: Codes, combination: Matrix) -> float:
        """Degrees of freedom of the joint test of the columns of ``combination`` ``(p, k)``."""
        return self.clustered(cluster).hotelling(kind, combination)

    def identified_by_one(self, cluster: Codes, combination: Matrix) -> Flags:
        """True ``(k,)`` for combinations that some cluster identifies alone."""
        return self.clustered(cluster).identified_by_one(combination)


_last: WeakKeyDictionary[Design, tuple[Codes, Clustered]] = WeakKeyDictionary()
