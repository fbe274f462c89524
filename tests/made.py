"""Estimates made by hand, for tests of what is done with estimates."""

import numpy as np

from evalkit.core.estimate import Estimate, Meta
from evalkit.core.labels import Index

META = Meta("effect", "made by hand", "score", 400, "synthetic")


def estimate(theta, covariance, groups=200, *, terms=None, cluster=None, meta=META, seed=0):
    """An estimate whose CR0 covariance is exactly ``covariance``, with ``groups`` units."""
    theta = np.atleast_1d(np.asarray(theta, float))
    covariance = np.atleast_2d(np.asarray(covariance, float))
    k = len(theta)
    draws = np.random.default_rng(seed).normal(size=(groups, k))
    draws -= draws.mean(axis=0)
    whitened = np.linalg.qr(draws)[0]
    value, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.clip(value, 0, None))
    return Estimate(
        theta,
        whitened @ root.T,
        np.arange(groups),
        np.arange(groups) if cluster is None else np.asarray(cluster),
        Index.flat("term", terms or [f"b{j}" for j in range(k)]),
        meta,
    )
