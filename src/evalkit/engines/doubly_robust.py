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

Method: TypeAlias = Literal["reg", "ipw", "dr", "dr_improved"]

TRIM = 0.995  # controls above this propensity are left out, as in Sant'Anna and Zhao's code
STEPS = 50
SETTLED = 1e-9  # the error left is the square of the last step
LONGEST = 2.0  # largest move of a linear predictor in one balancing step, against overshooting


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
    * dr_improved: as dr, with odds :math:`e^{x'\gamma}` that balance the covariates exactly,
      :math:`\sum w(1-D)e^{x'\gamma}x=\sum wDx`, and :math:`\hat\mu` weighted by them: what is
      estimated of either then moves the ATT in second order only, even if one model is wrong.

    Parameters
    ----------
    change : Matrix (n, K)
        Changes of the outcome.
    treated : Vector (n,)
        1.0 or 0.0.
    x : Matrix (n, p)
        Covariates with an intercept.
    weight : Vector (n,)
    method : {"reg", "ipw", "dr", "dr_improved"}
    names : list of str
        Names of the columns of ``x``, for messages.

    Returns
    -------
    att : Vector (K,)
    psi : Matrix (n, K)

    References
    ----------
    Sant'Anna and Zhao (2020), Journal of Econometrics 219(1), eqs. 2.3, 2.4, 3.1 and the
    linear representations of section 3; section 3.2 for the improved version.
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
    on, v = np.arange(len(w)) < n, w_zero
    if method == "dr_improved":
        v = _odds(w_zero, _balancing(on, x, w, names)[n:], on, x, names)
    if method != "ipw":
        beta, spread = _regression(rival, v, x_zero, names, "among the controls")
        error -= x_one @ beta
        rival -= x_zero @ beta
    w1 = w_one / w_one.sum()
    eta1, m1 = w1 @ error, w1 @ x_one
    psi_one = w1[:, None] * (error - eta1)
    if method == "reg":
        return eta1, psi_one, rival * -(w_zero * (x_zero @ _solve(spread, m1)))[:, None]
    if method == "dr_improved":
        eta0 = v @ rival
        return eta1 - eta0, psi_one, v[:, None] * (eta0 - rival)
    p, hessian = _propensity(on, x, w, names)
    w0 = _odds(w_zero, p[n:], on, x, names)
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
    For dr_improved the propensity balances the covariates and weights the controls' regression, as
    in :func:`two_period`.

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
    if method == "dr_improved":
        p = _balancing(treated, x, weight, names)
        one, psi_one = _improved_level(y, treated, after, x, weight, p, names)
        zero, psi_zero = _improved_level(y, treated, 1 - after, x, weight, p, names)
        return one - zero, psi_one - psi_zero
    odds = None if method == "reg" else _propensity(treated, x, weight, names)
    one, psi_one = _level(y, treated, after, x, weight, odds, method, names)
    zero, psi_zero = _level(y, treated, 1 - after, x, weight, odds, method, names)
    return one - zero, psi_one - psi_zero


def _improved_level(
    y: Vector, d: Vector, s: Vector, x: Matrix, w: Vector, p: Vector, names: list[str]
) -> tuple[float, Vector]:
    """As :func:`_level`. Odds balance the covariates over both periods together, so that the noise
    of the nuisance is of second order only where covariates have one distribution in both: it is
    kept here.
    """
    w1, odds = w * d / (w @ d), _odds(w * (1 - d), p, d, x, names)
    beta0, spread0 = _regression(y, s * odds, x, names, "among the controls")
    beta1, spread1 = _regression(y, w * s * d, x, names, "among the treated")
    rest0, rest1 = s * odds * (y - x @ beta0), w * s * d * (y - x @ beta1)
    gain = x @ (beta1 - beta0)
    theta = float(w1 @ gain)
    m0 = _solve(spread0, w1 @ x)
    balance = _factor((x * odds[:, None]).T @ x, names, "among the controls")
    tilt = _solve(balance, x.T @ (rest0 * (x @ m0)))
    psi = w1 * (gain - theta) + rest1 * (x @ _solve(spread1, w1 @ x)) - rest0 * (x @ m0)
    return theta, psi - (w1 - odds) * (x @ tilt)


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
        w0 = _odds(w * s * (1 - d), p, d, x, names)
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


def _odds(w: Vector, p: Vector, d: Vector | Flags, x: Matrix, names: list[str]) -> Vector:
    """Weights of controls times their odds of treatment, normalised to one."""
    w0: Vector = w * np.where(p < TRIM, p / (1 - p), 0.0)
    if not w0.any():
        raise IdentificationError(
            f"no control has a propensity under {TRIM}: treated and controls do not overlap "
            f"{_apart(x, d, names)}. Use method='reg', or covariates on which they do."
        )
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
    """Logit by Newton's method; separation shows as weights that vanish or steps that go on."""
    columns = np.ascontiguousarray(x.T)
    beta = np.zeros(x.shape[1])
    share = (w @ d) / w.sum()
    beta[0] = np.log(share / (1 - share))
    p, factor = np.full(len(w), share), None
    for _ in range(STEPS):
        hessian = (columns * (w * p * (1 - p))) @ x
        if factor is None:
            factor, failed = _factor(hessian, names, "among treated and controls"), 0
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
    raise IdentificationError(
        "the propensity model does not settle: treated and controls are separated "
        f"{_apart(x, d, names)}. Use method='reg', or covariates on which the groups overlap."
    )


def _balancing(d: Vector | Flags, x: Matrix, w: Vector, names: list[str]) -> Vector:
    r"""Propensity :math:`p` with :math:`p/(1-p)=e^{x'\gamma}` that balances the covariates.

    Newton on the convex loss :math:`\sum w\{(1-D)e^{x'\gamma}-Dx'\gamma\}`, with a bounded step.
    """
    gamma = np.zeros(x.shape[1])
    gamma[0] = np.log((w @ d) / (w @ (1 - d)))
    index = x @ gamma
    _factor((x * (w * (1 - d))[:, None]).T @ x, names, "among the controls")
    for _ in range(STEPS):
        odds = w * (1 - d) * np.exp(index)
        try:
            factor = _factor((x * odds[:, None]).T @ x, names, "")
        except IdentificationError:
            break
        move = x @ _solve(factor, x.T @ (w * d - odds))
        step = np.abs(move).max()
        index = index + move * min(1.0, LONGEST / max(step, LONGEST))
        if step < SETTLED * (1 + np.abs(index).max()):
            return _logistic(index)
    raise IdentificationError(
        "no weights of the controls have the covariate means of the treated, which lie outside "
        f"what controls have {_apart(x, d, names)}. Use method='reg', or covariates on which the "
        "groups overlap."
    )


def _logistic(index: Vector) -> Vector:
    with np.errstate(over="ignore"):  # an overflow is a probability of zero
        out: Vector = 1 / (1 + np.exp(-index))
    return out


def _apart(x: Matrix, d: Vector | Flags, names: list[str]) -> str:
    """Which covariates keep the groups apart, in words: each alone, or all of them together."""
    one, zero = x[d == 1, 1:], x[d == 0, 1:]
    alone = (one.min(axis=0) >= zero.max(axis=0)) | (one.max(axis=0) <= zero.min(axis=0))
    if alone.any():
        return f"by {some(np.array(names[1:])[alone])}"
    return f"by {some(names[1:])} together" if len(names) > 1 else ""


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
    guilty = [name for name, out in zip(names, flat, strict=True) if out]
    if len(guilty) == 2 and names[0] in guilty:
        raise IdentificationError(
            f"{guilty[1]} does not vary {where}. Remove it, or enlarge the group."
        )
    raise IdentificationError(
        f"the covariates are singular {where}: {some(guilty)}. "
        "Remove one of them, or enlarge the group."
    )


def _solve(factor: Matrix, target: Matrix) -> Matrix:
    solution: Matrix = dpotrs(factor, target, lower=1)[0]
    return solution
