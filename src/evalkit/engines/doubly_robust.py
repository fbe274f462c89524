r"""Two-period difference-in-differences with covariates: regression, weighting, doubly robust.

Several outcomes that share treated units, controls and covariates are estimated at once.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from evalkit.core.arrays import Matrix, Vector
from evalkit.core.errors import IdentificationError, some

Method: TypeAlias = Literal["reg", "ipw", "dr"]

TRIM = 0.995  # controls above this propensity are left out, as in Sant'Anna and Zhao's code
STEPS = 50
SETTLED = 1e-11


def two_period(
    change: Matrix, treated: Vector, x: Matrix, weight: Vector, *, method: Method, names: list[str]
) -> tuple[Vector, Matrix]:
    r"""ATT of each column of ``change`` and the contributions of units.

    With :math:`\hat p` the logit propensity, :math:`\hat\mu` the controls' regression of the
    change on :math:`x`, and weights :math:`w^1=wD`, :math:`w^0=wD` (reg) or
    :math:`w(1-D)\hat p/(1-\hat p)` (ipw, dr), each normalised to one:

    * reg: :math:`\sum w^1(\Delta Y-\hat\mu)`
    * ipw: :math:`\sum w^1\Delta Y-\sum w^0\Delta Y`
    * dr: :math:`\sum w^1(\Delta Y-\hat\mu)-\sum w^0(\Delta Y-\hat\mu)`

    Parameters
    ----------
    change : Matrix (n, K)
        Changes of the outcome.
    treated : Vector (n,)
        1.0 or 0.0.
    x : Matrix (n, p)
        Covariates with an intercept.
    weight : Vector (n,)
    method : {"reg", "ipw", "dr"}
    names : list of str
        Names of the columns of ``x``, for messages.

    Returns
    -------
    att : Vector (K,)
    psi : Matrix (n, K)

    References
    ----------
    Sant'Anna and Zhao (2020), Journal of Econometrics 219(1), eqs. 2.3, 2.4, 3.1 and the
    linear representations of section 3.
    """
    d, w = treated, weight
    w1 = w * d
    w1 = w1 / w1.sum()
    out = np.zeros_like(change)
    if method != "ipw":
        beta, spread = _controls_regression(change, d, x, w, names)
        out = x @ beta
    error = change - out
    eta1 = w1 @ error
    psi = w1[:, None] * (error - eta1)
    m1 = w1 @ x
    if method == "reg":
        control = (w * (1 - d))[:, None] * error
        return eta1, psi - (x @ cho_solve(spread, m1))[:, None] * control
    p, hessian = _propensity(d, x, w, names)
    w0 = w * (1 - d) * np.where(p < TRIM, p / (1 - p), 0.0)
    if not w0.any():
        raise IdentificationError(f"no control has a propensity under {TRIM}; there is no overlap")
    w0 = w0 / w0.sum()
    eta0 = w0 @ error
    centred = w0[:, None] * (error - eta0)
    m2 = x.T @ centred
    score = (w * (d - p))[:, None] * (x @ cho_solve(hessian, m2))
    psi = psi - centred - score
    if method == "dr":
        control = (w * (1 - d))[:, None] * error
        psi = psi - (x @ cho_solve(spread, m1 - w0 @ x))[:, None] * control
    return eta1 - eta0, psi


def _controls_regression(
    change: Matrix, d: Vector, x: Matrix, w: Vector, names: list[str]
) -> tuple[Matrix, tuple[Matrix, bool]]:
    v = w * (1 - d)
    normal = (x * v[:, None]).T @ x
    factor = _factor(normal, names, "among the controls")
    return cho_solve(factor, (x * v[:, None]).T @ change), factor


def _propensity(
    d: Vector, x: Matrix, w: Vector, names: list[str]
) -> tuple[Vector, tuple[Matrix, bool]]:
    """Logit by Newton's method; separation shows as a step that never settles."""
    beta = np.zeros(x.shape[1])
    share = (w @ d) / w.sum()
    beta[0] = np.log(share / (1 - share))
    for _ in range(STEPS):
        p = _logistic(x @ beta)
        factor = _factor((x * (w * p * (1 - p))[:, None]).T @ x, names, "in the propensity model")
        step = cho_solve(factor, x.T @ (w * (d - p)))
        beta = beta + step
        if np.abs(step).max() < SETTLED * (1 + np.abs(beta).max()):
            p = _logistic(x @ beta)
            hessian = (x * (w * p * (1 - p))[:, None]).T @ x
            return p, _factor(hessian, names, "in the propensity model")
    apart = some(names[at] for at in range(1, len(names)) if _separates(x[:, at], d))
    raise IdentificationError(
        "the propensity model does not settle: treated and controls are separated"
        + (f" by {apart}" if apart else "")
        + ". Use method='reg', or covariates on which the groups overlap."
    )


def _logistic(index: Vector) -> Vector:
    with np.errstate(over="ignore"):  # an overflow is a probability of zero
        out: Vector = 1 / (1 + np.exp(-index))
    return out


def _separates(x: Vector, d: Vector) -> bool:
    one, zero = x[d == 1], x[d == 0]
    return bool(one.min() >= zero.max() or one.max() <= zero.min())


def _factor(normal: Matrix, names: list[str], where: str) -> tuple[Matrix, bool]:
    scale = np.sqrt(np.diag(normal))
    flat = scale <= 0
    if not flat.any():
        value, vectors = np.linalg.eigh(normal / np.outer(scale, scale))
        if value[0] > 1e-12 * value[-1]:
            factor: tuple[Matrix, bool] = cho_factor(normal, lower=True)
            return factor
        flat = np.abs(vectors[:, 0]) > 1e-3
    raise IdentificationError(
        f"the covariates are singular {where}: {some(np.array(names)[flat])}. "
        "Remove one of them, or enlarge the group."
    )
