"""What a fitted variance model says about single units: predictions of their effects, their errors,
and how well the other units foresee each of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.core.arrays import Matrix, Vector
from evalkit.engines.likelihood import Solution
from evalkit.engines.variance_components import Nested, Stack, times


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    r"""Effects of the ``m`` units of one block, in units of the outcome.

    Attributes
    ----------
    effect : Matrix (m, q)
        Best linear unbiased predictions :math:`\Theta Z_j'V^{-1}(y-X\hat\beta)`.
    covariance : Stack (m, q, q)
        Of prediction minus effect, the error of :math:`\hat\beta` included:
        :math:`s^2(\Theta-\Theta Z_j'PZ_j\Theta)`.
    conditional : Stack (m, q, q)
        The same as if :math:`\beta` were known.
    """

    effect: Matrix
    covariance: Stack
    conditional: Stack


def predict(solution: Solution, block: int) -> Prediction:
    """Predict the effects of one block of a fitted model."""
    point = solution.point
    theta = solution.factors[block] @ solution.factors[block].T
    reach, precision = point.sweep.reach[block], point.sweep.precision[block]
    known = theta - times(times(theta, precision), theta)
    return Prediction(
        times(theta, reach) @ point.residual,
        point.scale * (known + _from_beta(times(theta, reach), point.bread)),
        point.scale * known,
    )


def predict_total(solution: Solution, level: int) -> Prediction:
    """Predict a unit's effect plus those of the units above it, on the ``r`` random columns."""
    point = solution.point
    pull, spread = point.sweep.pull[level], point.sweep.spread[level]
    return Prediction(
        pull @ point.residual,
        point.scale * (spread + _from_beta(pull, point.bread)),
        point.scale * spread,
    )


def _from_beta(pull: Stack, bread: Matrix) -> Stack:
    """What the error of the coefficients adds to the covariance of ``pull @ [-beta, 1]``."""
    x = pull[..., : len(bread)]
    out: Stack = np.einsum("mac,mbc->mab", x, (x.reshape(-1, len(bread)) @ bread).reshape(x.shape))
    return out


def leave_out(solution: Solution, units: Stack, counts: Vector) -> tuple[Vector, Vector]:
    r"""How well all other pupils foresee the pupils of each unit of the finest level.

    With :math:`P=V^{-1}-V^{-1}XAX'V^{-1}` and :math:`P_{jj}=I-X_jHX_j'`, the density of unit
    ``j`` given all others (variances as fitted, coefficients without the unit) has
    :math:`-2\log f=n_j\log2\pi s^2-\log|P_{jj}|+(Py)_j'P_{jj}^{-1}(Py)_j/s^2`.

    Parameters
    ----------
    solution : Solution
        Of a nested model.
    units : Stack (m, c, c)
        Cross-products :math:`[X_j\,y_j]'[X_j\,y_j]` of each unit.
    counts : Vector (m,)
        Pupils of each unit.

    Returns
    -------
    tuple of Vector (m,)
        The deviance, and its quadratic part, which is chi-squared with ``counts`` degrees of
        freedom if the model holds. NaN for a unit without which the coefficients are unknown.
    """
    point = solution.point
    if not isinstance(solution.criterion.effects, Nested):
        raise TypeError("units can be left out of nested models only")
    p, r = len(point.beta), point.sweep.pull[0].shape[1]
    pull, spread = point.sweep.pull[0], point.sweep.spread[0]
    kept = np.broadcast_to(np.eye(p), (len(units), p, p)).copy()
    kept[:, :r] -= pull[..., :p]
    h = kept @ point.bread @ kept.swapaxes(1, 2)
    h[:, :r, :r] += spread
    v = np.broadcast_to(point.residual, (len(units), p + 1)).copy()
    v[:, :r] -= pull @ point.residual
    seen = np.einsum("mab,mb->ma", units, v)
    inner = np.eye(p) - h @ units[:, :p, :p]
    sign, logdet = np.linalg.slogdet(inner)
    inner[sign <= 0] = np.eye(p)
    extra = np.linalg.solve(inner, np.einsum("mab,mb->ma", h, seen[:, :p])[..., None])[..., 0]
    square = ((v * seen).sum(axis=1) + (seen[:, :p] * extra).sum(axis=1)) / point.scale
    square[sign <= 0] = np.nan
    return counts * np.log(2 * np.pi * point.scale) - logdet + square, square
