r"""Quasi-likelihood with a canonical link: Poisson (log) for counts, logit for shares.

Only the mean need be right. Directions that the rows do not determine are left at zero, so that a
prediction can be had where the rows determine it, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from evalkit.core.arrays import Flags, Matrix, Vector
from evalkit.core.errors import IdentificationError

Family: TypeAlias = Literal["poisson", "logit"]

STEPS = 100  # Newton takes about ten; under separation it never ends
LONGEST = 2.0  # largest move of a linear predictor in one step, against overshooting
SETTLED = 1e-11  # largest move in the last step
SINGULAR = 1e-11  # share of the largest eigenvalue under which a direction is not determined
REACHED = 1e-7  # share of a regressor row outside the determined directions that is rounding
EDGE = 1e-6  # a mean this close to its bound, relative to the average, has run into it


class Separated(IdentificationError):
    """Some means run into their bound, those of ``rows`` ``(n,)``; the fit never settles."""

    def __init__(self, rows: Flags) -> None:
        super().__init__("the outcomes are separated")
        self.rows = rows


@dataclass(frozen=True, eq=False)
class QuasiFit:
    r"""Coefficients :math:`\beta` ``(p,)`` with :math:`E[y]=G(x'\beta)`.

    Attributes
    ----------
    mean : Vector (n,)
        Fitted means of the rows.
    bread : Matrix (p, p)
        Pseudo-inverse of :math:`\sum_rw_rG'(x_r'\beta)x_rx_r'`.
    basis : Matrix (p, q)
        Orthonormal directions that the rows determine, of regressors divided by ``scale`` ``(p,)``.
    """

    family: Family
    beta: Vector
    mean: Vector
    bread: Matrix
    basis: Matrix
    scale: Vector

    def predict(self, x: Matrix) -> tuple[Vector, Vector]:
        """Means of rows ``x`` ``(m, p)`` and their slopes in the linear predictor."""
        return _mean(x @ self.beta, self.family)

    def reaches(self, x: Matrix) -> Flags:
        """True for rows ``x`` ``(m, p)`` whose mean the fit determines."""
        z = x / self.scale
        rest = z - z @ self.basis @ self.basis.T
        reached: Flags = np.linalg.norm(rest, axis=1) <= REACHED * np.linalg.norm(z, axis=1)
        return reached


def quasi_likelihood(y: Vector, x: Matrix, weight: Vector, *, family: Family) -> QuasiFit:
    r"""Solve :math:`\sum_rw_rx_r(y_r-G(x_r'\beta))=0` by Newton's method.

    A constant must lie in the span of ``x`` ``(n, p)``.

    Raises
    ------
    Separated
        Naming the rows.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    >>> fit = quasi_likelihood(np.array([1.0, 3.0, 4.0, 12.0]), x, np.ones(4), family="poisson")
    >>> np.exp(fit.beta).round(6)
    array([2., 4.])
    """
    scale = np.sqrt(weight @ x**2 / weight.sum())
    scale[scale == 0] = 1.0
    basis = _basis(x / scale, weight)
    q = (x / scale) @ basis
    average = float(weight @ y / weight.sum())
    odds = average if family == "poisson" else average / (1 - average)
    eta = np.full(len(y), np.log(odds))
    for _ in range(STEPS):
        mean, slope = _mean(eta, family)
        normal = (q * (weight * slope)[:, None]).T @ q
        try:
            gamma = np.linalg.solve(normal, q.T @ (weight * (y - mean + slope * eta)))
        except np.linalg.LinAlgError:
            break
        move = q @ gamma - eta
        step = np.abs(move).max()
        eta = eta + move * min(1.0, LONGEST / max(step, LONGEST))
        if step < SETTLED * (1 + np.abs(eta).max()):
            mean, slope = _mean(eta, family)
            half = basis / scale[:, None]
            inner = np.linalg.inv((q * (weight * slope)[:, None]).T @ q)
            bread = half @ inner @ half.T
            return QuasiFit(family, half @ gamma, mean, bread, basis, scale)
    mean, _ = _mean(eta, family)
    low, high = mean < EDGE * average, (family == "logit") & (1 - mean < EDGE * (1 - average))
    raise Separated(low | high)


def _mean(eta: Vector, family: Family) -> tuple[Vector, Vector]:
    """Mean and its derivative in the linear predictor."""
    with np.errstate(over="ignore"):  # an overflow is a mean at its bound
        mean: Vector = np.exp(eta) if family == "poisson" else 1 / (1 + np.exp(-eta))
    return mean, mean if family == "poisson" else mean * (1 - mean)


def _basis(z: Matrix, weight: Vector) -> Matrix:
    value, vectors = np.linalg.eigh((z * weight[:, None]).T @ z)
    basis: Matrix = vectors[:, value > SINGULAR * value[-1]]
    return basis
