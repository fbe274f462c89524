"""Least squares corrected for known measurement error of regressors.

Not for choosing reliabilities: they come from the test's manual.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evalkit.core.arrays import Groups, Matrix, Vector
from evalkit.core.errors import IdentificationError, OptionError, some
from evalkit.engines.regress import refuse_singular

LEAST = 1e-9  # share of a regressor's cross-product that correction must leave


@dataclass(frozen=True, slots=True, eq=False)
class Corrected:
    r"""A weighted fit of ``p`` coefficients with one effect absorbed and errors taken out.

    With :math:`\tilde X` the regressors within the effect and :math:`S_u` the cross-product of
    their errors, :math:`A=(\tilde X'W\tilde X-S_u)^{-1}`, :math:`\hat\beta=A\tilde X'Wy`, and row
    :math:`r` contributes :math:`A(w_re_r\tilde x_r+s_r\circ\hat\beta)`, where :math:`s_r` is its
    part of the diagonal of :math:`S_u`.
    """

    beta: Vector
    x: Matrix
    residual: Vector
    weight: Vector
    bread: Matrix
    error: Matrix
    unit: Groups

    def contributions(self) -> Matrix:
        """Contributions of units ``(N, p)``."""
        scores = self.x * (self.weight * self.residual)[:, None] + self.error * self.beta
        return self.unit.sum(scores) @ self.bread

    def weights(self) -> Matrix:
        """Row weights ``(n, p)``: ``weights.T @ y == beta``."""
        return (self.x * self.weight[:, None]) @ self.bread


def corrected(
    y: Vector,
    x: Matrix,
    *,
    names: Sequence[str],
    effect: Groups,
    weight: Vector,
    unit: Groups,
    reliability: Mapping[str, float],
    noise: Mapping[str, Vector],
) -> Corrected:
    r"""Regress ``y`` ``(n,)`` on ``x`` ``(n, p)`` within ``effect``, errors of ``x`` taken out.

    Parameters
    ----------
    reliability : mapping of str to float
        Share of a regressor's total variance that is not error.
    noise : mapping of str to Vector (n,)
        Known error variance of a regressor, row by row.

    Raises
    ------
    IdentificationError
        If a reliability is so low that the other regressors explain more than it leaves.
    """
    total = effect.sum(weight)
    own = weight / total[effect.codes]  # leverage of a row on its group's mean

    def within(values: Matrix) -> Matrix:
        return values - (effect.sum(weight[:, None] * values) / total[:, None])[effect.codes]

    both = within(np.column_stack([y, x]))
    y_, x_ = both[:, 0], both[:, 1:]
    refuse_singular(x, x_, weight, names)
    everybody = weight / weight.sum()
    kept = float(weight @ (1 - own)) / float(weight @ (1 - everybody))
    error = np.zeros_like(x)
    for name, share in reliability.items():
        at = list(names).index(name)
        if not 0 < share <= 1:
            raise OptionError(f"reliability of {name!r} is {share}; it lies above 0 and up to 1")
        about = x[:, at] - everybody @ x[:, at]
        error[:, at] = (1 - share) * kept * weight * about**2
    for name, variance in noise.items():
        error[:, list(names).index(name)] = weight * (1 - own) * variance
    cross = x_.T @ (weight[:, None] * x_)
    left = cross - np.diag(error.sum(axis=0))
    _refuse_indefinite(cross, left, names)
    bread = np.asarray(np.linalg.inv(left), float)
    beta = bread @ (x_.T @ (weight * y_))
    return Corrected(beta, x_, y_ - x_ @ beta, weight, bread, error, unit)


def _refuse_indefinite(cross: Matrix, left: Matrix, names: Sequence[str]) -> None:
    if not len(names):
        return
    scale = np.sqrt(np.diag(cross))
    if np.linalg.eigvalsh(left / np.outer(scale, scale))[0] > LEAST:
        return
    # 1 / (variance inflation) is the share that the other regressors leave.
    alone = 1 / (np.diag(np.linalg.inv(cross)) * np.diag(cross))
    noisy = 1 - np.diag(left) / np.diag(cross)
    lines = [
        f"{name}: {error:.2f} of its variance within the effects is error, and the other "
        f"regressors leave {share:.2f}"
        for name, error, share in zip(names, noisy, alone, strict=True)
        if error > 0
    ]
    raise IdentificationError(
        "without its error the matrix of cross-products is not positive definite: the stated "
        f"reliability is too low for these controls and effects ({some(lines)}). Check the "
        "reliability, or remove controls that nearly repeat the noisy score."
    )
