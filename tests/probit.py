"""A slow twin of the heteroskedastic ordered probit: one likelihood, maximised by scipy.

Shares no code with the package: the parameters are means, log standard deviations and log steps
between cuts, and derivatives are left to differences.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.stats import norm


def loglik(mean, log_sd, cuts, counts):
    z = (np.asarray(cuts)[None] - mean[:, None]) / np.exp(log_sd)[:, None]
    edge = np.full((len(mean), 1), np.inf)
    p = np.diff(norm.cdf(np.hstack([-edge, z, edge])), axis=1)
    return float((counts * np.log(np.where(counts > 0, np.maximum(p, 1e-300), 1.0))).sum())


def fit(counts, pooled=None, cuts=None):
    """Means, standard deviations, cuts and log-likelihood of a table of groups by bands.

    Without cuts, the first is 0 and the second 1; ``pooled`` groups have the mean log standard
    deviation of the others.
    """
    counts = np.asarray(counts, float)
    g, k = counts.shape
    pooled = np.zeros(g, bool) if pooled is None else np.asarray(pooled)
    own = np.flatnonzero(~pooled)

    def unpack(theta):
        log_sd = np.zeros(g)
        log_sd[own] = theta[g : g + len(own)]
        if pooled.any() and len(own):
            log_sd[pooled] = log_sd[own].mean()
        if cuts is not None:
            return theta[:g], log_sd, np.asarray(cuts, float)
        steps = np.exp(theta[g + len(own) :])
        return theta[:g], log_sd, np.concatenate([[0.0, 1.0], 1.0 + np.cumsum(steps)])

    free = 0 if cuts is not None else k - 3
    start = np.concatenate([np.full(g, 0.5), np.zeros(len(own)), np.zeros(free)])
    best = minimize(lambda t: -loglik(*unpack(t), counts), start, method="BFGS",
                    options={"gtol": 1e-7, "maxiter": 5000})  # fmt: skip
    best = minimize(lambda t: -loglik(*unpack(t), counts), best.x, method="Nelder-Mead",
                    options={"xatol": 1e-10, "fatol": 1e-12, "maxiter": 40_000,
                             "maxfev": 40_000})  # fmt: skip
    mean, log_sd, found = unpack(best.x)
    return mean, np.exp(log_sd), found, -best.fun


def standard(mean, sd, counts):
    """Means and standard deviations for a population of mean 0 and variance 1."""
    share = np.asarray(counts, float).sum(axis=1)
    share = share / share.sum()
    centre = share @ mean
    scale = np.sqrt(share @ ((mean - centre) ** 2 + sd**2))
    return (mean - centre) / scale, sd / scale
