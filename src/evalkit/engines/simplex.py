"""Weights that are non-negative and sum to one: ridge least squares on the simplex, solved exactly,
or by the Frank-Wolfe steps of the published code. Not for choosing the penalty.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from evalkit.core.arrays import Codes, Matrix, Vector

TIGHT = 1e-13  # largest error of the optimality conditions, after scaling the data to one
NEWTON_STEPS = 60
STEEP = 1e6  # dual unknowns beyond this leave fewer than ten digits of a weight
ARMIJO = 1e-4
BEFORE_SPARSE, AFTER_SPARSE = 100, 10_000  # Frank-Wolfe steps of the published recipe
SPARSE = 0.25  # weights up to this share of the largest are set to zero between the two rounds


def simplex_ridge(a: Matrix, b: Vector, eta: float, share: Vector | None = None) -> Vector:
    r"""The exact minimum of a ridge regression over the simplex.

    :math:`\min_w \|Aw-b\|^2+\eta\sum_j w_j^2/c_j` subject to :math:`w\ge0`, :math:`\sum_jw_j=1`.

    The minimum is :math:`w=c\,(A'u+m)_+/\eta` at the residual :math:`u=b-Aw`, so that only
    ``n + 1`` numbers are unknown, whatever ``k``: semi-smooth Newton on the concave dual finds
    them. Where the penalty is too small for that (:math:`u/\eta` loses its digits), an active-set
    method on the few positive weights takes over.

    Parameters
    ----------
    a : Matrix (n, k)
    b : Vector (n,)
    eta : float
        Positive penalty.
    share : Vector (k,), optional
        Positive ``c``: a column of share two counts as two columns (default: ones).

    Returns
    -------
    Vector (k,)

    References
    ----------
    Qi and Sun (1993) for semi-smooth Newton; Lawson and Hanson (1974), ch. 23, for the active set.

    Examples
    --------
    >>> import numpy as np
    >>> simplex_ridge(np.array([[0.0, 1.0, 4.0]]), np.array([1.0]), 1e-6).round(4)
    array([0.4615, 0.3846, 0.1538])
    """
    k = a.shape[1]
    c = np.ones(k) if share is None else share / share.mean()
    if k == 1:
        return np.ones(1)
    # Weights sum to one, so a level common to all columns and the target changes nothing.
    centre = a.mean(axis=1, keepdims=True)
    a, b = a - centre, b - centre[:, 0]
    scale = max(float(np.abs(a).max(initial=0)), float(np.abs(b).max(initial=0)))
    if scale == 0:
        return cast(Vector, c / c.sum())
    a, b, eta = a / scale, b / scale, eta / scale**2
    if len(b) > k + 1:  # the rotation keeps every distance
        r = cast(Matrix, np.linalg.qr(np.column_stack([a, b]), mode="r"))
        a, b = r[:, :k], r[:, k]
    w = _dual_newton(a, b, eta, c)
    if w is None:
        w = _active_set(a, b, eta, c)
    return cast(Vector, w / w.sum())


def _dual_newton(a: Matrix, b: Vector, eta: float, c: Vector) -> Vector | None:
    """Maximise ``-eta |v|^2/2 + v'b + m - sum c (A'v + m)_+^2 / 2``, or give up."""
    n = len(b)
    v, m = np.zeros(n), 1 / float(c.sum())
    lift = np.maximum(a.T @ v + m, 0)
    value = m - 0.5 * float(c @ lift**2)
    slope, hessian = np.empty(n + 1), np.empty((n + 1, n + 1))
    for _ in range(NEWTON_STEPS):
        w = c * lift
        slope[:n], slope[n] = b - eta * v - a @ w, 1 - w.sum()
        if np.abs(slope).max() <= TIGHT:
            return w
        on = lift > 0
        p, q = a[:, on], c[on]
        weighted = p * q
        hessian[:n, :n] = weighted @ p.T
        hessian[range(n), range(n)] += eta
        hessian[:n, n] = hessian[n, :n] = weighted.sum(axis=1)
        hessian[n, n] = q.sum()
        try:
            step = np.linalg.solve(hessian, slope)
        except np.linalg.LinAlgError:
            return None
        gain, length = float(slope @ step), 1.0
        if not gain > 0 or np.abs(v).max() > STEEP:
            return None
        while True:
            v2, m2 = v + length * step[:n], m + length * step[n]
            lift2 = np.maximum(a.T @ v2 + m2, 0)
            value2 = float(-0.5 * eta * (v2 @ v2) + v2 @ b + m2 - 0.5 * (c @ lift2**2))
            # Near the top the value has no digits left; the slope decides there.
            if value2 >= value + ARMIJO * length * gain - 1e-15 * abs(value):
                break
            length /= 2
            if length < 1e-10:
                return None
        v, m, lift, value = v2, m2, lift2, value2
    return None


def _active_set(a: Matrix, b: Vector, eta: float, c: Vector) -> Vector:
    """Add the weight that lowers the objective most, solve on the positive ones, drop what falls.

    Each pass lowers a strictly convex objective, so that no set returns and the end is reached.
    """
    k = a.shape[1]
    w = np.zeros(k)
    w[int(np.argmin(((a - b[:, None]) ** 2).sum(axis=0) + eta / c))] = 1.0
    on = w > 0
    for _ in range(10 * k + 100):
        slope = a.T @ (a @ w - b) + eta * w / c
        gap = np.where(on, np.inf, slope) - float(slope @ w)
        entering = int(np.argmin(gap))
        if gap[entering] >= -TIGHT:
            break
        on[entering] = True
        z = _on_support(a, b, eta, c, np.flatnonzero(on))
        if z[np.flatnonzero(on) == entering][0] <= 0:  # rounding: there was nothing to gain
            break
        while (z <= 0).any():
            at = np.flatnonzero(on)
            falling = z <= 0
            ratio = w[at[falling]] / (w[at[falling]] - z[falling])
            w[at] += ratio.min() * (z - w[at])
            w[at[falling][ratio <= ratio.min()]] = 0.0
            on = w > 0
            on[entering] = True
            z = _on_support(a, b, eta, c, np.flatnonzero(on))
        w[:] = 0.0
        w[on] = z
    return w


def _on_support(a: Matrix, b: Vector, eta: float, c: Vector, at: Codes) -> Vector:
    """The minimum over weights of the columns ``at`` that sum to one, of any sign.

    Rows ``sqrt(eta/c)`` carry the penalty, so that the system is never squared.
    """
    p = np.vstack([a[:, at], np.diag(np.sqrt(eta / c[at]))])
    y = np.concatenate([b, np.zeros(len(at))])
    base = p[:, -1:]
    z = np.linalg.lstsq(p[:, :-1] - base, y - base[:, 0], rcond=None)[0]
    return np.append(z, 1 - z.sum())


def frank_wolfe(
    a: Matrix, b: Vector, eta: float, *, share: Vector | None = None, decrease: float
) -> Vector:
    """The same problem by the recipe of the R package synthdid, to reproduce published digits.

    At most 100 steps with exact line search from equal weights; weights up to a quarter of the
    largest set to zero; at most 10,000 steps more. A round ends when a step lowers the mean
    squared error plus penalty by no more than ``decrease**2``. It ends near the minimum, not at it.

    Parameters
    ----------
    a, b, eta, share
        As for :func:`simplex_ridge`.
    decrease : float
        Square root of the smallest decrease, in units of ``b``.

    References
    ----------
    Arkhangelsky, Athey, Hirshberg, Imbens and Wager (2021), replication package synthdid 0.0.9.

    Examples
    --------
    >>> import numpy as np
    >>> frank_wolfe(np.array([[0.0, 1.0]]), np.array([0.25]), 1e-6, decrease=1e-6).round(4)
    array([0.75, 0.25])
    """
    k = a.shape[1]
    c = np.ones(k) if share is None else share / share.mean()
    w = _steps(a, b, eta, c, c / c.sum(), decrease, BEFORE_SPARSE)
    w = np.where(w > SPARSE * w.max(), w, 0.0)
    return _steps(a, b, eta, c, w / w.sum(), decrease, AFTER_SPARSE)


def _steps(
    a: Matrix, b: Vector, eta: float, c: Vector, w: Vector, decrease: float, most: int
) -> Vector:
    n = len(b)
    columns = np.ascontiguousarray(a.T)
    error = a @ w - b
    last = np.inf
    for step in range(most):
        slope = columns @ error + eta * w / c
        at = int(slope.argmin())
        move = -w
        move[at] += 1.0
        turn = columns[at] - b - error
        curve = float(turn @ turn + eta * (move**2 / c).sum())
        if curve > 0:
            length = min(1.0, max(0.0, -float(slope @ move) / curve))
            w = w + length * move
            error = a @ w - b
        value = float(error @ error + eta * (w**2 / c).sum()) / n
        if step > 0 and last - value <= decrease**2:
            break
        last = value
    return w
