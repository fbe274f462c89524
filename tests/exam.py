"""School effects of the London schools with textbook errors, as the goldens of several tests."""

from __future__ import annotations

from functools import cache

import numpy as np

import evalkit as ek


@cache
def exam_effects():
    """Least-squares effects of 65 schools given intake, about their pupil-weighted mean.

    Errors of equal variance: :math:`s^2(1/n_j-1/N)` plus that of the slope at the school's mean.
    """
    frame = ek.sources.exam_pupils()
    school = np.unique(frame["school"].astype(int), return_inverse=True)[1]
    x, y, n = frame["intake"].to_numpy(), frame["score"].to_numpy(), np.bincount(school)

    def mean(values):
        return np.bincount(school, values) / n

    inside = x - mean(x)[school]
    slope = inside @ (y - mean(y)[school]) / (inside @ inside)
    effect = mean(y) - slope * mean(x)
    residual = y - slope * x - effect[school]
    scale = residual @ residual / (len(y) - len(n) - 1)
    variance = scale * (1 / n - 1 / len(y)) + (mean(x) - x.mean()) ** 2 * scale / (inside @ inside)
    return ek.Known.of(
        effect - n @ effect / n.sum(),
        np.sqrt(variance),
        labels=np.arange(1, 66),
        level="school",
        estimand="school effect",
        outcome="score",
        provenance="real",
    )
