"""Minimise a smooth function of a few numbers whose gradient is exact.

The Hessian is a difference of gradients, corrected from step to step while progress is swift; its
eigenvalues are made positive, so that every step goes down. Not for boundaries: the caller fixes
what may not move.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from evalkit.core.arrays import Codes, Flags, Matrix, Vector
from evalkit.core.errors import IdentificationError

Smooth: TypeAlias = Callable[[Vector], tuple[float, Vector]]

STEPS = 200
DIFFERENCE, LEAST = 1e-5, 1e-3  # relative step of the differences, and the size it is relative to
CURVED = 1e-8  # smallest eigenvalue of the Hessian, relative to the largest
LONGEST = 2.0  # no number moves further than this in one step
CLOSE = 1e-8  # gain below which the value has too few digits and the gradient decides
SWIFT = 0.1  # a gain that falls by this from step to step needs no new Hessian
DONE = 1e-20  # gain below which nothing is left


def minimise(smooth: Smooth, x: Vector, free: Flags) -> Vector:
    """The minimum over the ``free`` coordinates of ``x`` ``(k,)``.

    Parameters
    ----------
    smooth : callable
        Returns value and gradient ``(k,)``; a value of inf marks a point out of reach.
    x : Vector (k,)
        Where to start.
    free : Flags (k,)
        Coordinates that may move.

    Examples
    --------
    >>> import numpy as np
    >>> def bowl(x):
    ...     return float((x[0] - 1) ** 4 + x[1] ** 2), np.array([4 * (x[0] - 1) ** 3, 2 * x[1]])
    >>> minimise(bowl, np.array([3.0, 2.0]), np.array([False, True]))
    array([3., 0.])
    """
    at = np.flatnonzero(free)
    if not len(at):
        return x
    value, slope = smooth(x)
    hessian, last = _differences(smooth, x, slope, at), np.inf
    for _ in range(STEPS):
        step = np.zeros_like(x)
        step[at] = _downhill(hessian, slope[at])
        step /= max(1.0, float(np.abs(step).max()) / LONGEST)
        gain = -0.5 * float(slope @ step)
        if gain <= DONE:
            return x + step
        if gain <= CLOSE and gain > 0.5 * last:  # rounding is all that moves it
            return x
        length = 1.0
        while True:
            trial = x + length * step
            value2, slope2 = smooth(trial)
            if gain <= CLOSE or value2 <= value - 1e-4 * length * gain:
                break
            length /= 2
            if length < 1e-12:
                return x
        turned = (slope2 - slope)[at]
        x, value, slope = trial, value2, slope2
        if length == 1.0 and gain < SWIFT * last:
            hessian = _secant(hessian, step[at], turned)
        else:
            hessian = _differences(smooth, x, slope, at)
        last = gain
    raise IdentificationError(
        f"the likelihood did not settle in {STEPS} steps (last gain {gain:.1e}); the data hardly "
        "say anything about one of the variances. Use fewer random effects."
    )


def _downhill(hessian: Matrix, slope: Vector) -> Vector:
    """Newton's step, with negative curvature turned round."""
    curve, axes = np.linalg.eigh(hessian)
    curve = np.maximum(np.abs(curve), CURVED * np.abs(curve).max() + np.finfo(float).tiny)
    step: Vector = -axes @ ((axes.T @ slope) / curve)
    return step


def _differences(smooth: Smooth, x: Vector, slope: Vector, at: Codes) -> Matrix:
    """The Hessian on the coordinates ``at``, from one gradient for each."""
    hessian = np.empty((len(at), len(at)))
    for row, i in enumerate(at):
        moved = x.copy()
        moved[i] += DIFFERENCE * max(abs(x[i]), LEAST)
        hessian[row] = (smooth(moved)[1] - slope)[at] / (moved[i] - x[i])
    return (hessian + hessian.T) / 2


def _secant(hessian: Matrix, step: Vector, turned: Vector) -> Matrix:
    """The symmetric rank-one correction that makes ``hessian @ step`` what the gradient did."""
    off = turned - hessian @ step
    along = float(off @ step)
    if abs(along) <= 1e-8 * float(np.linalg.norm(off) * np.linalg.norm(step)):
        return hessian
    return hessian + np.outer(off, off) / along
