"""The normal curve as a scale for metrics: densities, areas and the points that cut them off.

Not for uncertainty: critical values and p-values are made in ``evalkit.inference``.
"""

from __future__ import annotations

import numpy as np

from evalkit.core.arrays import Vector

_ROOT = np.sqrt(2 * np.pi)


def density(z: Vector) -> Vector:
    """Height of the curve at ``z``."""
    return np.asarray(np.exp(-0.5 * np.square(z)) / _ROOT)


def area(z: Vector) -> Vector:
    """Area below ``z``.

    Examples
    --------
    >>> import numpy as np
    >>> area(np.array([0.0, np.inf]))
    array([0.5, 1. ])
    """
    from scipy.special import erfc

    return np.asarray(0.5 * erfc(-np.asarray(z) / np.sqrt(2)))


def point(p: Vector) -> Vector:
    """The point with area ``p`` below it.

    Examples
    --------
    >>> import numpy as np
    >>> point(np.array([0.5])) == 0
    array([ True])
    """
    from scipy.special import erfcinv

    return np.asarray(-np.sqrt(2) * erfcinv(2 * np.asarray(p)))
