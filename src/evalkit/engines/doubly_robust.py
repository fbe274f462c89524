r"""Two-period difference-in-differences with covariates: regression, weighting, doubly robust.

Several outcomes that share treated units, controls and covariates are estimated at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotrs

from evalkit.core.arrays import Flags, Matrix, Vector
from evalkit.core.errors import IdentificationError, some

Method: TypeAlias = Literal["reg", "ipw", "dr"]

TRIM = 0.995  # controls above this propensity are left out, as in Sant'Anna and Zhao's code
STEPS = 50
SETTLED = 1e-9  # the error left is the square of the last step


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
    on = treated == 1
    one, zero = (Side(change[rows], x[rows], weight[rows]) for rows in (on, ~on))
    att, psi_one, psi_zero = compare(one, zero, np.eye(change.shape[1]), method=method, names=names)
    psi = np.empty_like(change)
    psi[on], psi[~on] = psi_one, psi_zero
    return att, psi


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """Treated units or controls: outcomes ``(n, T)``, covariates with an intercept ``(n, p)`` and
    weights ``(n,)``."""

    y: Matrix
    x: Matrix
    weight: Vector


def compare(
    one: Side, zero: Side, change: Matrix, *, method: Method, names: list[str]
) -> tuple[Vector, Matrix, Matrix]:
    """:func:`two_period` for the ``K`` changes ``y @ change``, ``change`` ``(T, K)``.

    Returns
    -------
    att : Vector (K,)
    psi_one, psi_zero : Matrix (n_1, K), (n_0, K)
        Contributions of the treated and of the controls.
    """
    n, w_one, w_zero = len(one.y), one.weight, zero.weight
    _refuse_empty(n, len(zero.y), "both periods")
    w = np.concatenate([w_one, w_zero])
    x = np.concatenate([one.x, zero.x])
    # The span with the intercept is the same; the normal equations are better conditioned.
    x[:, 1:] -= w @ x[:, 1:] / w.sum()
    x_one, x_zero = x[:n], x[n:]
    error, rival = one.y @ change, zero.y @ change
    if method != "ipw":
        beta, spread = _regression(rival, w_zero, x_zero, names, "among the controls")
        error -= x_one @ beta
        rival -= x_zero @ beta
    w1 = w_one / w_one.sum()
    eta1, m1 = w1 @ error, w1 @ x_one
    psi_one = w1[:, None] * (error - eta1)
    if method == "reg":
        return eta1, psi_one, rival * -(w_zero * (x_zero @ _solve(spread, m1)))[:, None]
    p, hessian = _propensity(np.arange(len(w)) < n, x, w, names)
    w0 = _odds(w_zero, p[n:])
    eta0 = w0 @ rival
    m2 = (x_zero * w0[:, None]).T @ rival - np.outer(w0 @ x_zero, eta0)
    score = _solve(hessian, m2)
    psi_one -= (w_one * (1 - p[:n]))[:, None] * (x_one @ score)
    reach = w0.copy()
    if method == "dr":
        reach += w_zero * (x_zero @ _solve(spread, m1 - w0 @ x_zero))
    psi_zero = rival * -reach[:, None]
    psi_zero += np.column_stack([w0, x_zero * (w_zero * p[n:])[:, None]]) @ np.vstack([eta0, score])
    return eta1 - eta0, psi_one, psi_zero


def four_groups(
    y: Vector,
    treated: Vector,
    after: Vector,
    x: Matrix,
    weight: Vector,
    *,
    method: Method,
    names: list[str],
) -> tuple[float, Vector]:
    r"""ATT from records of two repeated cross-sections, and the contributions of records.

    In each period s, with :math:`\hat\mu_{ds}` the regression of the outcome on x in group d:

    * reg: :math:`\theta_s=\sum w^{1s}Y-\sum w^1\hat\mu_{0s}`
    * ipw: :math:`\theta_s=\sum w^{1s}Y-\sum w^{0s}Y`
    * dr: :math:`\theta_s=\sum w^1(\hat\mu_{1s}-\hat\mu_{0s})-\sum w^{0s}(Y-\hat\mu_{0s})`

    and the ATT is :math:`\theta_1-\theta_0`. Here :math:`w^1=wD` over both periods,
    :math:`w^{1s}` is its part in s, and :math:`w^{0s}=w(1-D)\hat p/(1-\hat p)` in s, each
    normalised to one; :math:`\hat p` is fitted on both periods. The last is the locally efficient
    version: its terms in the treated residual vanish, as that regression has an intercept.

    Parameters
    ----------
    y, treated, after, weight : Vector (n,)
    x : Matrix (n, p)
        Covariates with an intercept.
    method, names
        As in :func:`two_period`.

    Returns
    -------
    att : float
    psi : Vector (n,)

    References
    ----------
    Sant'Anna and Zhao (2020), Journal of Econometrics 219(1), eqs. 2.2, 2.3, 3.3, 3.4.
    """
    for s in (after, 1 - after):
        ones = int(treated[s == 1].sum())
        _refuse_empty(ones, int(s.sum()) - ones, "one of the two periods")
    odds = None if method == "reg" else _propensity(treated, x, weight, names)
    one, psi_one = _level(y, treated, after, x, weight, odds, method, names)
    zero, psi_zero = _level(y, treated, 1 - after, x, weight, odds, method, names)
    return one - zero, psi_one - psi_zero


def _level(
    y: Vector,
    d: Vector,
    s: Vector,
    x: Matrix,
    w: Vector,
    propensity: tuple[Vector, Matrix] | None,
    method: Method,
    names: list[str],
) -> tuple[float, Vector]:
    """The estimate of one period ``s`` in :func:`four_groups`, a sum of weighted means."""
    w1, w1s = w * d / (w @ d), w * s * d / (w @ (s * d))
    psi = np.zeros(len(y))
    mu0, mu1, theta = np.zeros(len(y)), np.zeros(len(y)), 0.0
    if method != "ipw":
        beta0, spread0 = _regression(y, w * s * (1 - d), x, names, "among the controls")
        mu0 = x @ beta0
    if method == "dr":
        beta1, spread1 = _regression(y, w * s * d, x, names, "among the treated")
        mu1 = x @ beta1
        psi += w * s * d * (y - mu1) * (x @ _solve(spread1, w1 @ x))
    else:
        theta = float(w1s @ y)
        psi += w1s * (y - theta)
    lift = float(w1 @ (mu1 - mu0))
    theta += lift
    psi += w1 * (mu1 - mu0 - lift)
    reach = w1 @ x
    if propensity is not None:
        p, hessian = propensity
        w0 = _odds(w * s * (1 - d), p)
        mean = float(w0 @ (y - mu0))
        centred = w0 * (y - mu0 - mean)
        theta -= mean
        psi -= centred + w * (d - p) * (x @ _solve(hessian, x.T @ centred))
        reach = reach - w0 @ x
    if method != "ipw":
        psi -= w * s * (1 - d) * (y - mu0) * (x @ _solve(spread0, reach))
    return theta, psi


def _refuse_empty(treated: int, controls: int, where: str) -> None:
    for name, count in (("treated", treated), ("comparison", controls)):
        if not count:
            raise IdentificationError(f"no {name} unit is seen in {where}")


def _odds(w: Vector, p: Vector) -> Vector:
    """Weights of controls times their odds of treatment, normalised to one."""
    w0: Vector = w * np.where(p < TRIM, p / (1 - p), 0.0)
    if not w0.any():
        raise IdentificationError(f"no control has a propensity under {TRIM}; there is no overlap")
    w0 /= w0.sum()
    return w0


def _regression(
    y: Matrix, v: Vector, x: Matrix, names: list[str], where: str
) -> tuple[Matrix, Matrix]:
    """Least-squares coefficients with weights ``v``, and the factor of the normal matrix."""
    weighted = (x * v[:, None]).T
    factor = _factor(weighted @ x, names, where)
    return _solve(factor, weighted @ y), factor


def _propensity(d: Vector | Flags, x: Matrix, w: Vector, names: list[str]) -> tuple[Vector, Matrix]:
    """Logit by Newton's method; separation shows as a step that never settles."""
    columns = np.ascontiguousarray(x.T)
    beta = np.zeros(x.shape[1])
    share = (w @ d) / w.sum()
    beta[0] = np.log(share / (1 - share))
    p, factor = np.full(len(w), share), None
    for _ in range(STEPS):
        hessian = (columns * (w * p * (1 - p))) @ x
        if factor is None:
            factor, failed = _factor(hessian, names, "in the propensity model"), 0
        else:
            factor, failed = dpotrf(hessian, lower=1)
        if failed:
            break
        step = _solve(factor, columns @ (w * (d - p)))
        beta = beta + step
        p = _logistic(beta @ columns)
        if np.abs(step).max() < SETTLED * (1 + np.abs(beta).max()):
            hessian = (columns * (w * p * (1 - p))) @ x
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


def _separates(x: Vector, d: Vector | Flags) -> bool:
    one, zero = x[d == 1], x[d == 0]
    return bool(one.min() >= zero.max() or one.max() <= zero.min())


def _factor(normal: Matrix, names: list[str], where: str) -> Matrix:
    """Cholesky factor; refuse a singular matrix, naming the covariates."""
    scale = np.sqrt(np.diag(normal))
    flat = scale <= 0
    if not flat.any():
        value, vectors = np.linalg.eigh(normal / np.outer(scale, scale))
        if value[0] > 1e-12 * value[-1]:
            factor: Matrix = np.asarray(np.linalg.cholesky(normal), float)
            return factor
        flat = np.abs(vectors[:, 0]) > 1e-3
    raise IdentificationError(
        f"the covariates are singular {where}: {some(np.array(names)[flat])}. "
        "Remove one of them, or enlarge the group."
    )


def _solve(factor: Matrix, target: Matrix) -> Matrix:
    solution: Matrix = dpotrs(factor, target, lower=1)[0]
    return solution
