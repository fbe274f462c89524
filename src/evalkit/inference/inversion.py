"""Tests by draws, and intervals as the nulls that such a test leaves standing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from evalkit.core.arrays import Flags, Matrix, Vector, frozen
from evalkit.core.checks import check_draws, check_level, check_seed
from evalkit.core.estimate import Estimate

TIE = 1e-9  # statistics that differ by less, relative to their size, are equal but for rounding
FAR = 60  # doublings of the first step after which an interval is called unbounded
HALVINGS = 40  # of the step that holds the end of an interval


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """What each of ``B`` draws says of every null, as polynomials in the distance ``d`` from the
    estimate to the null.

    Attributes
    ----------
    top : array (k, 2, B)
        The draw of the estimate, less the null.
    bottom : array (k, 3, B)
        Its squared standard error.
    error : Vector (k,)
        Standard error of the estimate; the statistic of the data is ``d / error``.
    exact : bool
        The draws are all there are, the data among them.
    """

    top: Matrix
    bottom: Matrix
    error: Vector
    exact: bool

    def _at(self, j: int, d: float) -> tuple[Vector, Vector]:
        a, b, c = self.bottom[j]
        return self.top[j, 0] + d * self.top[j, 1], np.maximum(a + d * (b + d * c), 0.0)

    def p_value(self, j: int, d: float) -> float:
        """P-value of the null at distance ``d`` from the estimate of coordinate ``j``."""
        top, bottom = self._at(j, d)
        t = d / self.error[j]
        return share(top**2 >= t**2 * bottom * (1 - TIE) ** 2, self.exact)

    def draws(self, j: int, d: float) -> Vector:
        """The statistics ``(B,)`` under that null."""
        top, bottom = self._at(j, d)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(bottom > 0, top / np.sqrt(bottom), np.copysign(np.inf, top))

    def results(self, estimate: Estimate, level: float) -> dict[str, Any]:
        """What :class:`Tested` holds of the draws and of their inversion."""
        theta = estimate.theta

        def keeps(j: int) -> Callable[[float], bool]:
            return lambda null: kept(self.p_value(j, theta[j] - null), level)

        at = range(len(theta))
        low, high = np.array([ends(keeps(j), theta[j], self.error[j]) for j in at]).T
        return {
            "estimate": theta,
            "statistic": frozen(theta / self.error),
            "p_value": frozen(np.array([self.p_value(j, theta[j]) for j in at])),
            "conf_low": frozen(low),
            "conf_high": frozen(high),
            "draws": frozen(np.stack([self.draws(j, theta[j]) for j in at], axis=1)),
            "smallest": smallest(self.top.shape[2], self.exact),
            "level": level,
            "index": estimate.index,
            "meta": estimate.meta,
        }


def share(far: Flags, exact: bool) -> float:
    """P-value from the draws that are as far out as the data, ties included."""
    return float(far.mean()) if exact else float((1 + far.sum()) / (1 + len(far)))


def smallest(draws: int, exact: bool) -> float:
    """The least p-value that so many draws allow."""
    return 1 / draws if exact else 1 / (1 + draws)


def kept(p_value: float, level: float) -> bool:
    """Whether a null stands: it is rejected if its p-value is at most ``1 - level``."""
    return p_value > 1 - level + TIE


def ends(keeps: Callable[[float], bool], centre: float, step: float) -> tuple[float, float]:
    """Interval of nulls around ``centre`` that a test keeps, by doubling and halving ``step``."""
    return _end(keeps, centre, -step), _end(keeps, centre, step)


def _end(keeps: Callable[[float], bool], centre: float, step: float) -> float:
    inside, outside = centre, centre + step
    for _ in range(FAR):
        if not keeps(outside):
            break
        inside, outside = outside, centre + 2 * (outside - centre)
    else:
        return float(np.copysign(np.inf, step))
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2
        if keeps(middle):
            inside = middle
        else:
            outside = middle
    return outside


def check_test(draws: int, seed: int, level: float) -> None:
    """Refuse options of a test by draws that make no sense."""
    check_draws(draws)
    check_seed(seed)
    check_level(level)
