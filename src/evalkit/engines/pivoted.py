"""Normal matrices of effects that may be redundant: each is judged by its own weight, so that a
light category beside a heavy one still counts, and one that has nothing left does not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dpstrf, dtrtrs

from evalkit.core.arrays import Codes, Matrix, Vector

ROUNDING = 1e-13  # share of its own weight, per effect, under which what is left of one is noise


@dataclass(frozen=True, slots=True, eq=False)
class Pivoted:
    """Pivoted Cholesky root of a positive semi-definite matrix ``(q, q)`` of rank ``r``.

    Attributes
    ----------
    root : Matrix (r, q)
        ``root.T @ root`` is the matrix; its columns ``at`` are upper triangular.
    at : Codes (r,)
        Effects that are not redundant.

    Examples
    --------
    >>> import numpy as np
    >>> singular = np.array([[1.0, -1.0], [-1.0, 1.0]])
    >>> Pivoted.of(singular, np.ones(2)).solve(np.array([[1.0], [-1.0]])).ravel()
    array([1., 0.])
    """

    root: Matrix
    at: Codes

    @classmethod
    def of(cls, normal: Matrix, own: Vector) -> Pivoted:
        """Factor the matrix of effects that had the weights ``own`` ``(q,)`` before projection."""
        scale = np.sqrt(np.where(own > 0, own, 1.0))
        scaled = normal / (scale[:, None] * scale)
        tolerance = len(own) * ROUNDING
        if not len(own) or np.diag(scaled).max() <= tolerance:  # dpstrf would take one unasked
            return cls(np.zeros((0, len(own))), np.zeros(0, np.intp))
        factor, pivots, rank, _ = dpstrf(scaled, tol=tolerance)
        order = pivots.astype(np.intp) - 1
        root = np.zeros((rank, len(own)))
        root[:, order] = np.triu(factor)[:rank] * scale[order]
        return cls(root, order[:rank])

    def lift(self, target: Matrix) -> Matrix:
        """The ``v`` ``(r, k)`` with ``root.T @ v == target``, for a target in its range."""
        if not len(self.at):
            return target[:0]
        v: Matrix = dtrtrs(self.root[:, self.at], target[self.at], trans=1)[0]
        return v

    def solve(self, target: Matrix) -> Matrix:
        """Effects ``(q, k)``; redundant ones are zero."""
        out = np.zeros_like(target)
        if len(self.at):
            out[self.at] = dtrtrs(self.root[:, self.at], self.lift(target))[0]
        return out
