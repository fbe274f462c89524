"""Draws that are named instead of taken in turn: one draw for a seed, a purpose and identifiers.

So no draw depends on how many were made before it, in which order, or in which chunk.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from scipy.special import erfinv, gammaincinv

from evalkit.core.arrays import Vector

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def uniform(seed: int, purpose: str, *ids: Any) -> Vector:
    """Uniform draws in (0, 1), one for each element of the broadcast identifiers.

    The state is passed through the finaliser of SplitMix64 once for each identifier (Steele, Lea
    and Flood 2014, *Fast splittable pseudorandom number generators*).

    Parameters
    ----------
    seed : int
    purpose : str
        What is drawn; draws of different purposes are unrelated.
    ids : array_like of int
        Which unit, year, pupil, ...

    Examples
    --------
    >>> from evalkit.data.simulate.draws import uniform
    >>> both = uniform(1, "size", [4, 7])
    >>> bool(both[1] == uniform(1, "size", 7)), bool(both[0] == uniform(2, "size", 4))
    (True, False)
    """
    name = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:8]
    state = np.array(int.from_bytes(name, "little"), dtype=np.uint64)
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is meant
        for one in ids:
            state = _mix(state + (np.asarray(one).astype(np.uint64) + np.uint64(1)) * _STEP)
    return np.asarray((state >> np.uint64(11)).astype(float) * 2.0**-53 + 2.0**-54)


def normal(seed: int, purpose: str, *ids: Any) -> Vector:
    """Standard normal draws, as :func:`uniform`."""
    return bell(uniform(seed, purpose, *ids))


def bell(share: Any) -> Vector:
    """The value below which such a share of standard normal draws lies."""
    return np.asarray(np.sqrt(2.0) * erfinv(2.0 * np.asarray(share) - 1.0))


def gamma(seed: int, purpose: str, *ids: Any, mean: Any, spread: float) -> Vector:
    """Gamma draws of a mean and a coefficient of variation, as :func:`uniform`."""
    shape = 1.0 / spread**2
    return np.asarray(gammaincinv(shape, uniform(seed, purpose, *ids)) * mean / shape)


def choice(options: tuple[tuple[Any, float], ...], draw: Vector) -> np.ndarray[Any, Any]:
    """The option on whose share of (0, 1) each uniform draw falls; shares sum to one."""
    edges = np.cumsum([share for _, share in options])[:-1]
    return np.array([value for value, _ in options])[np.searchsorted(edges, draw, side="right")]


def _mix(state: Any) -> Any:
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return state ^ (state >> np.uint64(31))
