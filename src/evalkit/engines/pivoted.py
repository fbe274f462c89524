"""Factors of columns and of normal matrices, some of whose effects may be redundant: an effect is
judged by its own weight, so that a light category beside a heavy one still counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dgeqp3, dorgqr, dpotrs, dpstrf, dtrtrs

from evalkit.core.arrays import Codes, Matrix, Vector

ROUNDING = 1e-13  # share of its own weight, per effect, under which what is left of one is noise
BLOCK = 64  # columns that LAPACK has room to work on at once


def pivoted_qr(columns: Matrix) -> tuple[Matrix, Matrix, Codes]:
    """A basis ``(n, d)`` of columns ``(n, p)``, the longest first, the triangle ``(d, p)`` that
    makes them of it, and their order; scipy's, without its questions of how much room to give.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[1.0, 2.0], [0.0, 1.0], [1.0, 0.0]])
    >>> q, r, order = pivoted_qr(x)
    >>> order.tolist(), bool(np.allclose(q @ r, x[:, order]))
    ([1, 0], True)
    """
    (n, p), d = columns.shape, min(columns.shape)
    if not d:
        return np.zeros((n, 0)), np.zeros((0, p)), np.arange(p)
    held, pivot, scale, _, _ = dgeqp3(columns, lwork=2 * p + (p + 1) * BLOCK)
    basis: Matrix = dorgqr(held[:, :d], scale, lwork=d * BLOCK)[0]
    return basis, np.triu(held[:d]), pivot.astype(np.intp) - 1


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
        if not len(own) or scaled.diagonal().max() <= tolerance:  # dpstrf would take one unasked
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
            out[self.at] = dpotrs(self.root[:, self.at], target[self.at])[0]
        return out
