"""Arithmetic of the bounds of Rambachan and Roth, without linear programs or grids of effects.

With :math:`\\hat\\beta` the event study and :math:`\\delta` the violation of parallel trends,
:math:`\\hat\\theta=l'\\hat\\beta_{post}` is off by :math:`l'\\delta_{post}`. Periods count from the
reference, where :math:`\\delta_0=0`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.core.arrays import Flags, Matrix, Vector

NODES, FAR = 200, 9.0  # Gauss-Legendre nodes and the standard deviations they reach
POINTS, ROUNDS = 200, 6  # of a scan for the end of an interval, and how often it is refined
HALVINGS = 50  # of the bracket of a critical value
SAME = 1e-12  # covariances that differ by less, relatively, are equal but for rounding


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """An event study in the order of its periods.

    Attributes
    ----------
    before, after : Vector (p,), (q,)
        Estimates, in the order of time.
    covariance : Matrix (p + q, p + q)
    weights : Vector (q,)
        ``l``.
    """

    before: Vector
    after: Vector
    covariance: Matrix
    weights: Vector


# --- Relative magnitudes ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """The pieces whose union is the set of violations, one for each change before the reference
    and each sign: no change after it exceeds ``M`` times that one.

    The linear program of a piece has few vertices, so that its value is the largest of four linear
    functions of ``c = l'b - theta`` and ``m = M v'b``, with ``v'b`` the change before.

    Attributes
    ----------
    g : array (2p, 4, 2)
        The functions.
    omega : array (2p, 2, 2)
        Covariance of ``(c, m)``.
    centre : float
    m, crit : Vector (2p,)
        ``crit`` is the least favourable critical value.
    reach : Matrix (2p, 2)
        Effects below and above which the least favourable test rejects.
    size : float
        Of the conditional test, after the least favourable one.
    """

    g: Matrix
    omega: Matrix
    centre: float
    m: Vector
    crit: Vector
    reach: Matrix
    size: float

    def keep(self, piece: int, theta: Vector) -> Flags:
        """Which effects the conditional test of one piece leaves standing.

        The value of the linear program, given the vertex where it is attained and what is
        independent of it there, is a truncated normal.
        """
        from scipy.special import ndtr

        g, crit = self.g[piece], self.crit[piece]
        cov = g @ self.omega[piece] @ g.T
        h = np.stack([self.centre - theta, np.full(len(theta), self.m[piece])], axis=1) @ g.T
        eta, best = h.max(axis=1), h.argmax(axis=1)
        kept = eta <= 0
        for j in np.unique(best[~kept]):
            at = np.flatnonzero((best == j) & ~kept)
            if cov[j, j] <= SAME * np.diag(cov).max():
                continue
            rho = cov[:, j] / cov[j, j]
            rest = h[at] - rho * eta[at, None]
            with np.errstate(divide="ignore", invalid="ignore"):
                bound = rest / (1 - rho)
            low = np.where(1 - rho > SAME, bound, -np.inf).max(axis=1)
            high = np.minimum(np.where(1 - rho < -SAME, bound, np.inf).min(axis=1), crit)
            sd = np.sqrt(cov[j, j])
            beyond, above, below = (ndtr(-end / sd) for end in (high, eta[at], low))
            kept[at] = (eta[at] <= crit) & (above - beyond >= self.size * (below - beyond))
        return np.asarray(kept)

    def ends(self) -> tuple[float, float]:
        """Lowest and highest effect that any piece leaves standing; NaN if none does."""
        found = [
            tuple(self._end(piece, side) for side in (0, 1))
            for piece in range(len(self.m))
            if self.reach[piece, 0] <= self.reach[piece, 1]
        ]
        low = [one for one, _ in found if np.isfinite(one)]
        high = [other for _, other in found if np.isfinite(other)]
        return (min(low), max(high)) if low else (np.nan, np.nan)

    def _end(self, piece: int, side: int) -> float:
        outside, inside = self.reach[piece, side], self.reach[piece, 1 - side]
        for _ in range(ROUNDS):
            theta = np.linspace(outside, inside, POINTS)
            kept = self.keep(piece, theta)
            if not kept.any():
                return float(np.nan)
            first = int(kept.argmax())
            if first == 0:
                return float(outside)
            outside, inside = theta[first - 1], theta[first]
        return float(inside)

    def keeps(self, theta: float) -> bool:
        """Whether any piece leaves an effect standing."""
        value = np.array([theta])
        return any(
            bool(self.keep(piece, value)[0])
            for piece in range(len(self.m))
            if self.reach[piece, 0] <= theta <= self.reach[piece, 1]
        )


def pieces(study: Study, m: float, alpha: float) -> Pieces:
    r"""The conditional test with a least favourable first stage, of size :math:`\alpha/10`.

    A piece bounds the changes :math:`x_t` of :math:`\hat\beta-\tau` after the reference by
    :math:`|x_t|\le m+\eta\,\sigma_{t\pm}`, where :math:`\sum_t w_tx_t=c` and
    :math:`w_t=\sum_{r\ge t}l_r`. The least :math:`\eta` is therefore the largest of
    :math:`(c-mW)/A`, :math:`(-c-mW)/A'` and :math:`-2m/(\sigma_{t+}+\sigma_{t-})`.
    """
    p, q = len(study.before), len(study.after)
    first, last = np.diff(np.eye(p, p + q), axis=0), -np.eye(p, p + q)[-1:]
    v = np.concatenate([np.vstack([first, last]), -np.vstack([first, last])])
    steps = np.diff(np.vstack([np.zeros(p + q), np.eye(p + q)[p:]]), axis=0)
    average = np.concatenate([np.zeros(p), study.weights])
    beta, sigma = np.concatenate([study.before, study.after]), study.covariance
    w = np.cumsum(study.weights[::-1])[::-1]
    up, down = (_sd(sign * steps[None] - m * v[:, None], sigma) for sign in (1, -1))
    total = np.abs(w).sum()
    a = up @ np.maximum(w, 0) + down @ np.maximum(-w, 0)
    b = down @ np.maximum(w, 0) + up @ np.maximum(-w, 0)
    k = 2 / (up + down)
    g = np.zeros((2 * p, 4, 2))
    g[:, 0, 0], g[:, 0, 1] = 1 / a, -total / a
    g[:, 1, 0], g[:, 1, 1] = -1 / b, -total / b
    g[:, 2, 1], g[:, 3, 1] = -k.max(axis=1), -k.min(axis=1)
    pair = np.stack([np.broadcast_to(average, v.shape), m * v], axis=1)
    omega = pair @ sigma @ pair.transpose(0, 2, 1)
    kappa = alpha / 10
    crit = _least_favourable(a, b, k.max(axis=1), total, omega, kappa)
    centre, size = float(average @ beta), (alpha - kappa) / (1 - kappa)
    value = m * (v @ beta)
    reach = np.stack([centre - value * total - crit * a, centre + value * total + crit * b], axis=1)
    reach[-value * k.max(axis=1) > crit] = np.inf, -np.inf
    return Pieces(g, omega, centre, value, crit, reach, size)


def _sd(rows: Matrix, covariance: Matrix) -> Matrix:
    return np.asarray(np.sqrt(np.einsum("...i,ij,...j->...", rows, covariance, rows)))


def _least_favourable(
    a: Vector, b: Vector, k: Vector, total: float, omega: Matrix, kappa: float
) -> Vector:
    """Critical values ``x`` with ``P(-x b - m W <= c <= x a + m W and m >= -x / k) = 1 - kappa``
    for a centred normal ``(c, m)``: an integral over ``m``."""
    from scipy.special import ndtr, ndtri

    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    scale = np.sqrt(omega[:, 1, 1])
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(scale > 0, omega[:, 0, 1] / scale, 0.0)[:, None]
        lowest = np.where(scale > 0, -1 / (k * scale), -np.inf)
    spread = np.sqrt(omega[:, :1, 0] - slope**2)

    def below(x: Vector) -> Vector:
        low = np.maximum(x * lowest, -FAR)[:, None]
        u = low + (FAR - low) * (nodes + 1) / 2
        shift = u * scale[:, None] * total
        upper = ndtr(((x * a)[:, None] + shift - u * slope) / spread)
        lower = ndtr((-(x * b)[:, None] - shift - u * slope) / spread)
        density = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
        inside = np.maximum(upper - lower, 0.0) * density
        return np.asarray(inside @ weights * (FAR - low[:, 0]) / 2)

    # No function of (c, m) has a variance above one by more than rounding: rows have variance one.
    low, high = np.zeros(len(a)), np.full(len(a), float(ndtri(1 - kappa / 4)) + 0.1)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        enough = below(middle) >= 1 - kappa
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return high


# --- Smoothness ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Frontier:
    """Estimators ``l'b_post + v'b_pre`` from least bias to least variance.

    A bend of the violation's slope, :math:`j` periods before the reference, enters with
    coefficient :math:`c_j=\\sum_{t>j}v_t(t-j)`. A linear violation cancels if
    :math:`c_0=\\sum_tl_tt`. The worst bias is ``M`` times the sum of all :math:`|c_j|`, so that the
    best trade of bias against variance is the path of a lasso in :math:`c_1,c_2,\\dots`: linear
    between its corners.

    Attributes
    ----------
    corners : Matrix (s, p)
        ``c`` at the corners, the first without bends, the last of least variance.
    fixed : float
        Bias from the bends after the reference, over ``M``.
    """

    corners: Matrix
    fixed: float
    study: Study

    def shortest(self, m: float, level: float) -> tuple[float, float, float]:
        """Estimate, half-length and worst bias of the shortest interval if no bend exceeds
        ``m``."""
        from scipy.optimize import minimize_scalar

        def half(c: Vector) -> float:
            _, sd, bias = self._at(c, m)
            return sd * folded(bias / sd, level)

        best = min(self.corners, key=half) if m > 0 else self.corners[-1]
        if m > 0:
            for start, end in zip(self.corners[:-1], self.corners[1:], strict=True):
                found = minimize_scalar(
                    lambda share, a=start, b=end: half(a + share * (b - a)),
                    bounds=(0, 1), method="bounded", options={"xatol": 1e-10},
                )  # fmt: skip
                best = min(best, start + found.x * (end - start), key=half)
        estimate, _, bias = self._at(best, m)
        return estimate, half(best), bias

    def _at(self, c: Vector, m: float) -> tuple[float, float, float]:
        v = np.linalg.solve(_bends(len(c)), c)[::-1]
        a = np.concatenate([v, self.study.weights])
        beta = np.concatenate([self.study.before, self.study.after])
        bias = m * (np.abs(c).sum() + self.fixed)
        return float(a @ beta), float(np.sqrt(a @ self.study.covariance @ a)), float(bias)


def _bends(n: int) -> Matrix:
    """``c = bends @ v`` with ``v`` in the order 1, 2, ... periods from the reference."""
    away = np.arange(n)
    bends: Matrix = np.maximum(away + 1.0 - away[:, None], 0.0)
    return bends


def frontier(study: Study) -> Frontier:
    """All corners of the path, by the homotopy of the lasso."""
    p, q = len(study.before), len(study.after)
    away = np.arange(1, q + 1)
    slope = float(study.weights @ away)
    after = np.maximum(away - away[:, None], 0.0) @ study.weights
    root = np.linalg.inv(_bends(p))
    nearest = study.covariance[:p, :p][::-1, ::-1]
    cross = (study.covariance[:p, p:] @ study.weights)[::-1]
    quadratic = root.T @ nearest @ root
    linear = quadratic[:, 0] * slope + root.T @ cross
    path = _lasso(quadratic[1:, 1:], linear[1:])
    corners = np.column_stack([np.full(len(path), slope), path])
    return Frontier(corners, float(np.abs(after).sum()), study)


def _lasso(quadratic: Matrix, linear: Vector) -> Matrix:
    """Corners of the minimisers of ``x'Qx/2 + q'x + penalty |x|_1``, from a penalty so large that
    ``x = 0`` down to none."""
    n = len(linear)
    x = np.zeros(n)
    corners = [x]
    penalty = float(np.abs(linear).max(initial=0.0))
    active = np.zeros(n, bool)
    if n:
        active[np.abs(linear).argmax()] = True
    sign = -np.sign(linear)
    while penalty > 0 and active.any():
        q = quadratic[np.ix_(active, active)]
        move = np.zeros(n)
        move[active] = np.linalg.solve(q, sign[active])
        drift, gradient = quadratic @ move, linear + quadratic @ x
        steps = np.full((3, n), np.inf)
        with np.errstate(divide="ignore", invalid="ignore"):
            steps[0, active] = (-x / move)[active]
            steps[1, ~active] = ((penalty - gradient) / (1 + drift))[~active]
            steps[2, ~active] = ((penalty + gradient) / (1 - drift))[~active]
        steps[~(steps > SAME * penalty)] = np.inf
        kind, at = divmod(int(steps.argmin()), n)
        step = min(float(steps.min()), penalty)
        x, penalty = x + step * move, penalty - step
        if step == steps[kind, at] and penalty > 0:
            active[at] = kind > 0
            sign[at] = {0: sign[at], 1: -1.0, 2: 1.0}[kind]
            x = np.where(active, x, 0.0)
        corners.append(x)
    return np.array(corners)


def folded(bias: float, level: float) -> float:
    """Quantile of ``|Z + bias|`` for a standard normal ``Z``, by Newton's method."""
    from scipy.special import ndtr, ndtri

    c = bias + float(ndtri(level)) if bias > 1 else float(np.hypot(bias, ndtri(0.5 + level / 2)))
    for _ in range(HALVINGS):
        miss = ndtr(c - bias) - ndtr(-c - bias) - level
        density = np.exp(-((c - bias) ** 2) / 2) + np.exp(-((c + bias) ** 2) / 2)
        step = miss * np.sqrt(2 * np.pi) / density
        c -= step
        if abs(step) <= SAME * c:
            break
    return float(c)
