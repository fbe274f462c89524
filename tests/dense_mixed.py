"""The slow twin of the variance engine: dense matrices, textbook formulas, no shared code."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize


class Dense:
    """``y = X b + sum Z u + e`` with ``Var(u) = scale * Theta`` for each column block of ``Z``.

    ``blocks`` holds, per block, a list of matrices ``(n, q)``, one for each unit.
    """

    def __init__(self, x, y, blocks):
        self.x, self.y, self.blocks = x, y, blocks
        # sum over units of z_a z_b', for every pair of columns of a block
        self.kernels = [np.einsum("una,umb->abnm", u, u) for u in map(np.array, blocks)]

    def covariance(self, thetas, noise=None):
        v = np.eye(len(self.y)) if noise is None else np.diag(noise)
        for kernel, theta in zip(self.kernels, thetas, strict=True):
            v = v + np.einsum("abnm,ab->nm", kernel, theta)
        return v

    def solve(self, thetas, noise=None):
        inverse = np.linalg.inv(self.covariance(thetas, noise))
        bread = np.linalg.inv(self.x.T @ inverse @ self.x)
        beta = bread @ self.x.T @ inverse @ self.y
        projector = inverse - inverse @ self.x @ bread @ self.x.T @ inverse
        return inverse, bread, beta, projector

    def deviance(self, thetas, method, scale=None, noise=None):
        """Minus twice the log (restricted) likelihood, profiled over the scale if not given."""
        n, p = self.x.shape
        inverse, bread, beta, _ = self.solve(thetas, noise)
        residual = self.y - self.x @ beta
        rss = residual @ inverse @ residual
        degrees = n - p if method == "reml" else n
        scale = rss / degrees if scale is None else scale
        value = degrees * np.log(2 * np.pi * scale) + rss / scale - np.linalg.slogdet(inverse)[1]
        return value - np.linalg.slogdet(bread)[1] if method == "reml" else value

    def effect(self, thetas, block, unit, scale):
        """Prediction, its error variance, and the same with known coefficients."""
        inverse, _, _, projector = self.solve(thetas)
        z, theta = self.blocks[block][unit], thetas[block]
        effect = theta @ z.T @ projector @ self.y
        return (
            effect,
            scale * (theta - theta @ z.T @ projector @ z @ theta),
            scale * (theta - theta @ z.T @ inverse @ z @ theta),
        )

    def predictive(self, thetas, rows, scale):
        """-2 log density of the rows given all others, under a flat prior for coefficients."""
        rest = ~rows
        v = scale * self.covariance(thetas)
        x, y = self.x, self.y
        inverse = np.linalg.inv(v[np.ix_(rest, rest)])
        bread = np.linalg.inv(x[rest].T @ inverse @ x[rest])
        beta = bread @ x[rest].T @ inverse @ y[rest]
        gain = v[np.ix_(rows, rest)] @ inverse
        mean = x[rows] @ beta + gain @ (y[rest] - x[rest] @ beta)
        loose = x[rows] - gain @ x[rest]
        variance = v[np.ix_(rows, rows)] - gain @ v[np.ix_(rest, rows)] + loose @ bread @ loose.T
        off = y[rows] - mean
        square = off @ np.linalg.solve(variance, off)
        return rows.sum() * np.log(2 * np.pi) + np.linalg.slogdet(variance)[1] + square, square

    def minimum(self, method, starts, widths):
        """The smallest deviance that a simplex search finds from several starts."""

        def value(x):
            thetas, at = [], 0
            for q in widths:
                factor = np.zeros((q, q))
                inside = np.tril_indices(q)
                factor[inside] = x[at : at + len(inside[0])]
                at += len(inside[0])
                thetas.append(factor @ factor.T)
            return self.deviance(thetas, method)

        options = {"xatol": 1e-9, "fatol": 1e-11, "maxiter": 20000, "maxfev": 20000}
        found = [minimize(value, start, method="Nelder-Mead", options=options) for start in starts]
        return min(one.fun for one in found)


def indicator(codes):
    """One column ``(n, 1)`` for each unit of a partition."""
    return [(codes == unit).astype(float)[:, None] for unit in range(codes.max() + 1)]
