"""Critical values that keep the average coverage of shrunken estimates whatever the distribution of
effects, given its second moment and kurtosis.
"""

from __future__ import annotations

import numpy as np

from evalkit.core.arrays import Vector

GRID = 400  # places of the lower support point that are tried before the best is refined
EXACT = 1e-12


def reject(t: Vector, crit: float) -> Vector:
    r"""Probability that :math:`|N(\sqrt t,1)|` exceeds ``crit``."""
    from scipy.special import ndtr

    root = np.sqrt(t)
    out: Vector = ndtr(-root - crit) + ndtr(root - crit)
    return out


def worst(m2: float, kappa: float, crit: float) -> float:
    r"""Largest average non-coverage over squared biases ``t`` of mean ``m2``, bounded kurtosis.

    The bound is :math:`E t^2\le\kappa m_2^2`.
    The worst distribution has two points. With the kurtosis binding and the lower point
    :math:`x`, the upper one is :math:`(\kappa m_2^2-m_2x)/(m_2-x)`.
    """
    from scipy.optimize import minimize_scalar

    touch = _touch(crit)
    if m2 >= touch or kappa <= 1:
        return float(reject(np.array(m2), crit))
    zero = reject(np.array(0.0), crit)
    if m2 * kappa >= touch:
        return float(zero + m2 / touch * (reject(np.array(touch), crit) - zero))

    def size(x: Vector) -> Vector:
        upper = (kappa * m2**2 - m2 * x) / (m2 - x)
        share = (m2 - x) / (upper - x)
        out: Vector = (1 - share) * reject(x, crit) + share * reject(upper, crit)
        return out

    x = m2 * np.linspace(0, 1, GRID, endpoint=False)
    at = int(np.argmax(size(x)))
    around = (x[max(at - 1, 0)], x[min(at + 1, GRID - 1)])
    found = minimize_scalar(lambda z: -float(size(np.array(z))), bounds=around, method="bounded",
                            options={"xatol": 1e-10 * m2})  # fmt: skip
    return max(-float(found.fun), float(size(x)[at]))


def _touch(crit: float) -> float:
    """Where a line from the value at zero touches the rejection curve; zero if it is concave."""
    from scipy.optimize import brentq

    if crit**2 < 3:
        return 0.0

    def gap(t: float) -> float:
        root = np.sqrt(t)
        slope = (np.exp(-((root - crit) ** 2) / 2) - np.exp(-((root + crit) ** 2) / 2)) / (
            2 * root * np.sqrt(2 * np.pi)
        )
        rise = reject(np.array(t), crit) - reject(np.array(0.0), crit)
        return float(rise - t * slope)

    low, high = max(crit**2 - 3, 1e-12), 2 * crit**2
    while gap(high) < 0:
        low, high = high, 2 * high
    return float(brentq(gap, low, high, xtol=EXACT, rtol=1e-14))


def critical(m2: float, kappa: float, level: float) -> float:
    """The value ``c`` at which the worst average non-coverage is ``1 - level``.

    References
    ----------
    Armstrong, Kolesar and Plagborg-Moller (2022), Econometrica 90, section 4 and appendix B.

    Examples
    --------
    >>> round(critical(0.0, 3.0, 0.95), 4), round(critical(1.0, 3.0, 0.95), 4)
    (1.96, 2.8117)
    """
    from scipy.optimize import brentq
    from scipy.special import ndtri

    plain = float(ndtri(0.5 + level / 2))
    if m2 == 0:
        return plain
    high = plain + 2 * np.sqrt(m2)
    while worst(m2, kappa, high) >= 1 - level:
        high *= 2
    return float(brentq(lambda c: worst(m2, kappa, c) - (1 - level), plain, high, xtol=EXACT))
