"""Empirical Bayes: estimates pulled towards their mean by how noisy they are, with intervals.

A shrunken value predicts its unit best on average. It is not for regressions on the left-hand side:
its differences are too small.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from evalkit.core.arrays import Vector, frozen
from evalkit.core.errors import DoubtWarning, OptionError, check_option
from evalkit.core.estimate import Estimate
from evalkit.core.known import Known
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.inference.covariance import Vcov
from evalkit.inference.judged import judge
from evalkit.inference.robust import critical

if TYPE_CHECKING:
    import pandas as pd

Method: TypeAlias = Literal["reml", "ml", "moments", "robust"]
Toward: TypeAlias = Literal["mean", "zero"]

MANY = 60  # units above which critical values are interpolated between as many
GRID = 60  # variances between which the likelihood is searched for turning points
EXACT = 1e-15


@dataclass(frozen=True, slots=True, eq=False)
class Shrunken:
    r"""Estimates shrunk by :math:`w_i=\tau^2/(\tau^2+s_i^2)` towards ``centre``.

    Attributes
    ----------
    estimate, std_error : Vector (k,)
        As they came.
    weight : Vector (k,)
        :math:`w_i`, the reliability of the estimate.
    value : Vector (k,)
        ``centre + weight * (estimate - centre)``.
    low, high : Vector (k,)
        Interval for the unit's effect. For ``robust``, its coverage holds on average over units for
        any distribution of effects with these moments; otherwise for normal effects.
    centre, variance, kurtosis : float
        Mean, variance :math:`\tau^2` and (for ``robust``) kurtosis of the effects.
    """

    estimate: Vector
    std_error: Vector
    weight: Vector
    value: Vector
    low: Vector
    high: Vector
    centre: float
    variance: float
    kurtosis: float
    level: float
    method: Method
    index: Index
    meta: Meta

    @property
    def reliability(self) -> float:
        """Mean of the weights."""
        return float(self.weight.mean())

    @property
    def table(self) -> pd.DataFrame:
        """One row per unit, raw beside shrunken."""
        import pandas as pd

        frame = pd.DataFrame(
            {
                "raw": self.estimate,
                "std_error": self.std_error,
                "weight": self.weight,
                "shrunken": self.value,
                "low": self.low,
                "high": self.high,
            },
            index=self.index.to_pandas(),
        )
        frame.attrs.update(shrunken=("shrunken",), provenance=self.meta.provenance)
        return frame

    def __repr__(self) -> str:
        kind = "robust" if self.method == "robust" else "normal-theory"
        return (
            f"{len(self.value)} estimates of {self.meta.estimand} shrunk towards {self.centre:.4g} "
            f"({self.meta.provenance})\nvariance of effects {self.variance:.6g} by {self.method}; "
            f"mean weight {self.reliability:.3f}; {self.level:.0%} {kind} intervals\n"
            f"{self.table.round(4).to_string()}"
        )

    def _repr_html_(self) -> str:
        first, second, *_ = repr(self).split("\n")
        return f"<p>{first}<br>{second}</p>{self.table.round(4).to_html(border=0)}"


def shrink(
    data: Estimate | Known,
    *,
    method: Method = "reml",
    toward: Toward = "mean",
    level: float = 0.95,
    vcov: Vcov = "CR1",
) -> Shrunken:
    r"""Shrink noisy estimates of many units towards their mean.

    With :math:`\hat\theta_i\sim(\theta_i,s_i^2)` and :math:`\theta_i\sim(\mu,\tau^2)`, the best
    linear prediction of :math:`\theta_i` is
    :math:`\mu+\frac{\tau^2}{\tau^2+s_i^2}(\hat\theta_i-\mu)`.

    Parameters
    ----------
    data : Estimate or Known
        One value per unit.
    method : {"reml", "ml", "moments", "robust"}
        How :math:`\tau^2` is estimated: REML or ML under normal effects; ``moments``, the variance
        (divisor k - 1) less the mean of :math:`s_i^2`; ``robust``, the moments of Armstrong,
        Kolesar and Plagborg-Moller (divisor k, posterior-mean truncation) and their intervals.
    toward : {"mean", "zero"}
        Where to: the precision-weighted mean (the plain mean for moments and robust), or zero.
    level : float
        Coverage of the intervals.
    vcov : {"CR0", "CR1", ...}
        As in :func:`infer`, for an ``Estimate``. Covariances between units are not used.

    Returns
    -------
    Shrunken

    Warns
    -----
    DoubtWarning
        If the estimates vary no more than their errors do, so that all are pulled to one value.

    References
    ----------
    Morris (1983); Armstrong, Kolesar and Plagborg-Moller (2022), Econometrica 90, section 3.

    Examples
    --------
    >>> import evalkit as ek
    >>> schools = ek.Known.of([-1.0, 0.0, 1.0], [0.7, 0.7, 0.7], labels=["a", "b", "c"],
    ...                       provenance="synthetic")
    >>> ek.shrink(schools).value.round(3)
    array([-0.51,  0.  ,  0.51])
    """
    check_option("method", method, get_args(Method))
    check_option("toward", toward, get_args(Toward))
    if not 0 < level < 1:
        raise OptionError(f"level={level} must lie between 0 and 1, for example 0.95")
    units = judge(data, vcov, 3)
    theta, noise = units.theta, units.variance
    kurtosis = np.nan
    if method in ("reml", "ml"):
        variance = _likely(theta, noise, method, toward)
    elif method == "moments":
        spread = theta.var(ddof=1) if toward == "mean" else (theta**2).mean()
        variance = max(float(spread - noise.mean()), 0.0)
    else:
        about = theta - (theta.mean() if toward == "mean" else 0.0)
        variance, kurtosis = _robust_moments(about, noise)
    plain = method in ("moments", "robust")
    pull = np.ones_like(noise) if plain else 1 / (noise + variance)
    centre = 0.0 if toward == "zero" else float(pull @ theta / pull.sum())
    if variance == 0:
        warnings.warn(
            f"the {len(theta)} estimates vary no more than their errors: the variance of effects "
            "is zero, and all are pulled to one value. That does not prove the units equal.",
            DoubtWarning,
            stacklevel=2,
        )
    weight = variance / (variance + noise)
    value = centre + weight * (theta - centre)
    half = _half(weight, noise, kurtosis, level)
    return Shrunken(
        estimate=theta,
        std_error=frozen(units.std_error),
        weight=frozen(weight),
        value=frozen(value),
        low=frozen(value - half),
        high=frozen(value + half),
        centre=centre,
        variance=variance,
        kurtosis=kurtosis,
        level=level,
        method=method,
        index=units.index,
        meta=replace(units.meta, notes=units.notes),
    )


def _likely(theta: Vector, noise: Vector, method: Method, toward: Toward) -> float:
    """The variance of effects that maximises the (restricted) normal likelihood."""
    from scipy.optimize import brentq

    restricted = method == "reml" and toward == "mean"

    def at(variance: float) -> tuple[float, float]:
        """Deviance and its slope."""
        w = 1 / (noise + variance)
        about = theta - (w @ theta / w.sum() if toward == "mean" else 0.0)
        value = float(w @ about**2 - np.log(w).sum() + (np.log(w.sum()) if restricted else 0.0))
        slope = w.sum() - w**2 @ about**2 - (w @ w / w.sum() if restricted else 0.0)
        return value, float(slope)

    top = 4 * float(theta @ theta)
    if top == 0:
        return 0.0
    grid = np.concatenate([[0.0], np.geomspace(1e-8 * top, top, GRID)])
    slopes = np.array([at(v)[1] for v in grid])
    turns = np.flatnonzero((slopes[:-1] < 0) & (slopes[1:] >= 0))
    found = [0.0, *(float(brentq(lambda v: at(v)[1], grid[k], grid[k + 1], xtol=EXACT * top))
                    for k in turns)]  # fmt: skip
    return min(found, key=lambda variance: at(variance)[0])


def _robust_moments(about: Vector, noise: Vector) -> tuple[float, float]:
    """Second moment and kurtosis of effects, kept off zero by posterior-mean truncation."""
    k = len(about)
    second = float((about**2 - noise).mean())
    fourth = float((about**4 - 6 * noise * about**2 + 3 * noise**2).mean())
    second = max(second, 2 * float((noise**2).mean() / (k * noise.mean())))
    least = 1 + 32 * float((noise**4).mean() / (k * (noise**2).mean())) / second**2
    return second, max(fourth / second**2, least)


def _half(weight: Vector, noise: Vector, kurtosis: float, level: float) -> Vector:
    """Half widths of the intervals."""
    from scipy.interpolate import CubicSpline
    from scipy.special import ndtri

    if np.isnan(kurtosis):
        return float(ndtri(0.5 + level / 2)) * np.sqrt(weight * noise)
    bias = np.sqrt(1 / weight - 1)  # root mean squared bias, in standard errors
    places = np.unique(bias)
    if len(places) > MANY:
        places = np.linspace(places[0], places[-1], MANY)
    crit = np.array([critical(float(b**2), kurtosis, level) for b in places])
    if len(places) < 4:
        crit = crit[np.searchsorted(places, bias)]
    else:
        crit = CubicSpline(places, crit)(bias)
    half: Vector = crit * weight * np.sqrt(noise)
    return half
