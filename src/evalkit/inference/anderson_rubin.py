"""Confidence sets for a ratio of effects that stay honest when the denominator is weak."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.core.arrays import Matrix
from evalkit.core.errors import OptionError
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Key
from evalkit.core.threads import one_thread
from evalkit.inference.covariance import Vcov
from evalkit.inference.infer import infer


@dataclass(frozen=True, slots=True)
class RatioSet:
    """Anderson-Rubin set for a ratio.

    ``intervals`` is a tuple of ``(low, high)``: one interval when the denominator is away from
    zero, two rays or the whole line when it is not. ``first_stage_f`` is the squared t statistic
    of the denominator.
    """

    estimate: float
    intervals: tuple[tuple[float, float], ...]
    level: float
    first_stage_f: float

    @property
    def bounded(self) -> bool:
        """True if the set is one interval of finite length."""
        return len(self.intervals) == 1 and bool(np.isfinite(self.intervals[0]).all())

    def __repr__(self) -> str:
        parts = " and ".join(f"[{low:.4g}, {high:.4g}]" for low, high in self.intervals)
        return (
            f"ratio {self.estimate:.4g}; {self.level:.0%} Anderson-Rubin set {parts}; "
            f"first-stage F {self.first_stage_f:.1f}"
        )


@one_thread
def anderson_rubin(
    estimate: Estimate,
    *,
    numerator: Key,
    denominator: Key,
    level: float = 0.95,
    vcov: Vcov = "CR1",
) -> RatioSet:
    r"""Set of ratios :math:`\beta` at which ``numerator - beta * denominator`` is not rejected.

    With :math:`r,f` the two estimates, :math:`V` their covariance and :math:`c` the critical
    value, the set solves
    :math:`(r-\beta f)^2\le c^2\,(V_{rr}-2\beta V_{rf}+\beta^2V_{ff})`, a quadratic in
    :math:`\beta`. Its coverage does not depend on the size of :math:`f`.

    Parameters
    ----------
    estimate : Estimate
        Holds both coordinates, for example reduced form and first stage of one instrument.
    numerator, denominator : tuple
        Keys of the coordinates.

    References
    ----------
    Anderson and Rubin (1949); Fieller (1954); Dufour (1997) on unbounded sets.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> from evalkit.core.origin import Meta
    >>> from evalkit.core.labels import Index
    >>> meta = Meta("effect", "made by hand", "score", 400, "synthetic")
    >>> psi = np.random.default_rng(0).normal(size=(400, 2)) / 200
    >>> both = ek.Estimate(np.array([2.0, 10.0]), psi, np.arange(400), np.arange(400),
    ...                    Index.flat("term", ["reduced_form", "first_stage"]), meta)
    >>> named = {"numerator": ("reduced_form",), "denominator": ("first_stage",)}
    >>> ek.anderson_rubin(both, **named).bounded
    True
    """
    from scipy.special import ndtri, stdtrit

    keys = estimate.index.keys
    if numerator not in keys or denominator not in keys or numerator == denominator:
        raise OptionError(f"name two different coordinates among {keys}")
    top, bottom = keys.index(numerator), keys.index(denominator)
    result = infer(estimate, vcov=vcov, level=level)
    dof = float(min(result.dof[[top, bottom]]))
    crit = float(ndtri(0.5 + level / 2) if np.isinf(dof) else stdtrit(dof, 0.5 + level / 2))
    r, f = estimate.theta[top], estimate.theta[bottom]
    v = result.vcov
    if f == 0:
        intervals = _below_zero(
            -(crit**2) * v[bottom, bottom],
            2 * crit**2 * v[top, bottom],
            float(r**2 - crit**2 * v[top, top]),
        )
    else:
        intervals = _around(float(r / f), f, v[np.ix_([top, bottom], [top, bottom])], crit)
    ratio = float(r / f) if f else float("nan")
    return RatioSet(ratio, intervals, level, float(f**2 / v[bottom, bottom]))


def _around(ratio: float, f: float, v: Matrix, crit: float) -> tuple[tuple[float, float], ...]:
    """The set as an inequality in the distance from the ratio, where nothing cancels.

    With ``x = beta - ratio``: ``a x^2 + 2 h x <= k``, and ``k >= 0``.
    """
    a = f**2 - crit**2 * v[1, 1]
    h = crit**2 * (v[0, 1] - ratio * v[1, 1])
    k = crit**2 * max(v[0, 0] - 2 * ratio * v[0, 1] + ratio**2 * v[1, 1], 0.0)
    return tuple((ratio + low, ratio + high) for low, high in _below_zero(a, 2 * h, -k))


def _below_zero(a: float, b: float, c: float) -> tuple[tuple[float, float], ...]:
    """Where ``a x^2 + b x + c <= 0``, given that it holds somewhere."""
    discriminant = b**2 - 4 * a * c
    if discriminant < 0:
        return ((-np.inf, np.inf),)
    # The stable pair of roots: no difference of nearly equal numbers.
    q = -0.5 * (b + np.copysign(np.sqrt(discriminant), b))
    if q == 0:
        low, high = 0.0, 0.0
    elif a == 0:
        root = -c / b
        return ((-np.inf, root),) if b > 0 else ((root, np.inf),)
    else:
        low, high = sorted((q / a, c / q))
    if a > 0:
        return ((low, high),)
    return ((-np.inf, low), (high, np.inf))
