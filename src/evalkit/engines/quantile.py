"""Exact regression quantiles, one after the other: each starts where the last one ended.

A regression quantile goes through ``p`` of the rows. From one such vertex the method moves along
the edge that descends most steeply, past as many rows as it gains by, until no edge descends.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import qr

from evalkit.core.arrays import Codes, Matrix, Vector
from evalkit.core.errors import IdentificationError

TIES = 1e-10  # of the outcome's spread: what ties are broken by, the same way on every run
SLACK = 1e-9  # how far a multiplier may lie outside its bounds


def regression_quantiles(y: Vector, x: Matrix, taus: Vector) -> Matrix:
    r"""Coefficients ``(T, p)`` that minimise :math:`\sum\rho_\tau(y-x'b)` at rising ``taus``.

    Rows with equal outcomes and regressors leave many minima; ties are broken by a fixed sequence
    of tiny amounts, so that the answer is one of them, and always the same.

    Parameters
    ----------
    y : Vector (n,)
    x : Matrix (n, p)
        Of full column rank.
    taus : Vector (T,)
        Between 0 and 1, rising.

    References
    ----------
    Koenker and d'Orey (1987), Applied Statistics 36; Koenker (2005), section 6.2.

    Examples
    --------
    >>> import numpy as np
    >>> y = np.array([1.0, 2.0, 3.0, 10.0, 4.0])
    >>> regression_quantiles(y, np.ones((5, 1)), np.array([0.5, 0.9])).round(6).ravel()
    array([ 3., 10.])
    """
    n, p = x.shape
    golden = np.modf(np.arange(1, n + 1) * 0.6180339887498949)[0]
    broken = y + TIES * max(float(np.ptp(y)), 1e-300) * golden
    _, r, pivot = qr(x.T, mode="economic", pivoting=True)
    if n < p or abs(r[p - 1, p - 1]) <= SLACK * abs(r[0, 0]):
        raise IdentificationError("the regressors of the quantiles are collinear")
    basis = pivot[:p].astype(np.intp)
    out = np.empty((len(taus), p))
    for k, tau in enumerate(taus):
        basis = _descend(broken, x, float(tau), basis)
        out[k] = np.linalg.solve(x[basis], y[basis])
    return out


def _descend(y: Vector, x: Matrix, tau: float, basis: Codes) -> Codes:
    """The rows that the regression quantile goes through, from other rows."""
    basis = basis.copy()
    for _ in range(100 * len(y)):
        inverse = np.linalg.inv(x[basis])
        residual = y - x @ (inverse @ y[basis])
        residual[basis] = 0.0
        pull = np.where(residual < 0, tau - 1, tau)
        pull[basis] = 0.0
        v = -inverse.T @ (x.T @ pull)
        above, below = v - tau, (tau - 1) - v
        j = int(np.argmax(np.maximum(above, below)))
        if max(above[j], below[j]) <= SLACK * (1 + np.abs(v).max()):
            return basis
        sign = 1.0 if above[j] >= below[j] else -1.0
        along = x @ (-sign * inverse[:, j])  # the residual of row i falls by this for each unit
        slope = (tau if sign > 0 else 1 - tau) - sign * v[j]
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = residual / along
        crossed = np.flatnonzero((reach > 0) & np.isfinite(reach))
        crossed = crossed[np.argsort(reach[crossed], kind="stable")]
        gained = slope + np.cumsum(np.abs(along[crossed]))
        if not len(crossed) or gained[-1] < 0:
            raise IdentificationError("a regression quantile is unbounded; use fewer knots")
        basis[j] = crossed[int(np.argmax(gained >= 0))]
    raise IdentificationError("a regression quantile was not found; use fewer knots")
