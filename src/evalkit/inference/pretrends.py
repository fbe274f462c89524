"""What a test of pre-trends could have seen, and what passing it does to the estimates.

Not for bounds under violations: that is ``evalkit.inference.sensitivity``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from evalkit.core.arrays import Matrix, Vector, frozen
from evalkit.core.errors import OptionError, check_option, some
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.core.provenance import Provenance
from evalkit.inference.band import lattice
from evalkit.inference.covariance import Vcov
from evalkit.inference.ordered import in_order, known

if TYPE_CHECKING:
    import pandas as pd

EXACT = 1e-8  # of a slope, in standard errors a period
STEEPEST = 100.0  # standard errors a period, beyond which every test rejects


@dataclass(frozen=True, slots=True, eq=False)
class Pretrends:
    """A pre-test against one violation of parallel trends.

    Attributes
    ----------
    power : float
        Probability that some period before the reference is significant.
    slope : float or None
        Slope of the violation per period, if it is a line.
    violation, conditional : Vector (k,)
        The violation, and the mean of the estimates given that the test passes, if there is no
        effect. Their difference is what selection by the test adds.
    bayes_factor : float
        Probability of passing under the violation, over that under parallel trends.
    likelihood_ratio : float
        Density of the periods before under the violation, over that under parallel trends.
    """

    power: float
    slope: float | None
    violation: Vector
    conditional: Vector
    bayes_factor: float
    likelihood_ratio: float
    size: float
    index: Index
    meta: Meta

    @property
    def provenance(self) -> Provenance:
        """Evidence tier."""
        return self.meta.provenance

    @property
    def table(self) -> pd.DataFrame:
        """Tidy frame, one row per period."""
        import pandas as pd

        columns = {"violation": self.violation, "if_passed": self.conditional}
        return pd.DataFrame(columns, index=self.index.to_pandas())

    def __repr__(self) -> str:
        meta = self.meta
        what = "the violation given" if self.slope is None else f"a slope of {self.slope:.4g}"
        lines = [
            f"{meta.estimand} on {meta.outcome!r} by {meta.method} ({meta.provenance})",
            f"a pre-test at {self.size:.2g} finds {what} with probability {self.power:.3f}; "
            f"passing it is {self.bayes_factor:.3f} times as likely as under parallel trends",
            self.table.round(4).to_string(),
        ]
        return "\n".join(lines)


def pretrends(
    event: Estimate,
    *,
    power: float | None = None,
    violation: Mapping[Any, float] | float | None = None,
    reference: float = -1,
    size: float = 0.05,
    vcov: Vcov = "CR1",
) -> Pretrends:
    r"""Ask what the test of pre-trends could see: its power against a violation, and its price.

    The test passes if no estimate before the reference is significant:
    :math:`|\hat\beta_t|\le z_{1-\alpha/2}\,\mathrm{SE}_t` for all of them. Either name the
    violation, and learn the power; or name the power, and learn the slope that has it. The
    estimates are jointly normal with known covariance; the probability and the mean of the box are
    integrals over a fixed lattice, the same on every run.

    Parameters
    ----------
    event : Estimate
        As in :func:`evalkit.sensitivity.relative_magnitudes`.
    power : float, optional
        Find the linear violation that the test detects with this probability; default 0.8 if no
        violation is given.
    violation : float or mapping of period to float, optional
        A slope per period, or the violation in every period but the reference.
    reference : float
        Period in which the effect is zero by construction.
    size : float
        Of the test of one period.
    vcov : {"CR0", "CR1", "CR1S", "CR2", "CR3"}

    Returns
    -------
    Pretrends

    Raises
    ------
    OptionError
        If both a power and a violation are given, or a power that the test always has.
    IdentificationError
        As in :func:`evalkit.sensitivity.relative_magnitudes`.

    References
    ----------
    Roth (2022), American Economic Review: Insights 4(3), propositions 1 and 2.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> frame = {"town": np.repeat(np.arange(60), 5), "year": np.tile(np.arange(5), 60),
    ...          "score": rng.normal(size=300), "start": np.repeat([3.0, np.nan], 150)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> found = ek.pretrends(ek.did.event_study(panel), power=0.5)
    >>> round(found.power, 6)
    0.5
    """
    check_option("vcov", vcov, get_args(Vcov))
    if not 0 < size < 1:
        raise OptionError(f"size={size} must lie between 0 and 1")
    if power is not None and violation is not None:
        raise OptionError("name the power or the violation, not both: one follows from the other")
    ordered, before = in_order(event, reference)
    test = _Test.of(ordered.theta, known(ordered, vcov), before, size)
    away = np.array([key[0] for key in ordered.index.keys], float) - reference
    slope: float | None
    if violation is None:
        slope = test.slope(away, 0.8 if power is None else power)
        delta = slope * away
    elif isinstance(violation, Mapping):
        slope, delta = None, _paths(violation, ordered.index)
    else:
        slope, delta = float(violation), float(violation) * away
    if not np.isfinite(delta).all():
        raise OptionError(f"violation={violation!r} must be finite")
    passing, mean = test.passing(delta)
    parallel, _ = test.passing(np.zeros(len(delta)))
    return Pretrends(
        power=1 - passing,
        slope=slope,
        violation=frozen(delta),
        conditional=frozen(mean),
        bayes_factor=passing / parallel,
        likelihood_ratio=test.likelihood_ratio(delta),
        size=size,
        index=ordered.index,
        meta=ordered.meta,
    )


def _paths(violation: Mapping[Any, float], index: Index) -> Vector:
    periods = [key[0] for key in index.keys]
    if set(violation) != set(periods):
        raise OptionError(
            f"a violation needs one value per period, {some(periods, 12)}; it has "
            f"{some(violation, 12)}"
        )
    return np.array([violation[period] for period in periods], float)


@dataclass(frozen=True, slots=True, eq=False)
class _Test:
    """The box in which a pre-test passes.

    Attributes
    ----------
    theta, error : Vector (p,)
        Estimates before the reference, and their standard errors.
    root : Matrix (p, p)
        Cholesky root of their correlation.
    slopes : Matrix (k, p)
        Coefficients of all periods on those before.
    crit : float
    """

    theta: Vector
    error: Vector
    root: Matrix
    slopes: Matrix
    crit: float
    points: Matrix

    @classmethod
    def of(cls, theta: Vector, covariance: Matrix, before: int, size: float) -> _Test:
        from scipy.special import ndtri

        inner = covariance[:before, :before]
        error = np.sqrt(np.diag(inner))
        return cls(
            theta=theta[:before],
            error=error,
            root=np.linalg.cholesky(inner / np.outer(error, error)),
            slopes=np.asarray(np.linalg.solve(inner, covariance[:before]).T, float),
            crit=float(ndtri(1 - size / 2)),
            points=lattice(before).T,
        )

    def passing(self, delta: Vector) -> tuple[float, Vector]:
        """Probability of the box, and the mean of all periods in it, by Genz's transform."""
        from scipy.special import ndtr, ndtri

        centre = delta[: len(self.error)] / self.error
        weight = np.zeros(len(self.points))  # logarithms: a steep violation leaves little mass
        z = np.zeros((len(self.points), len(centre)))
        for t, row in enumerate(self.root):
            shift = centre[t] + z[:, :t] @ row[:t]
            low, high = ((end - shift) / row[t] for end in (-self.crit, self.crit))
            flip = low > 0  # the upper tail, where the distribution function has lost its digits
            low, high = np.where(flip, -high, low), np.where(flip, -low, high)
            below, mass = ndtr(low), ndtr(high) - ndtr(low)
            weight += np.log(np.maximum(mass, 1e-300))
            inside = ndtri(np.clip(below + self.points[:, t] * mass, 1e-300, 1 - 1e-16))
            z[:, t] = np.where(flip, -inside, inside)
        probability = float(np.exp(weight).mean())
        share = np.exp(weight - weight.max())
        drawn = share @ z / share.sum()
        return probability, delta + self.slopes @ (self.error * (self.root @ drawn))

    def slope(self, away: Vector, power: float) -> float:
        """The slope per period that the test finds with probability ``power``."""
        from scipy.optimize import brentq

        least = 1 - self.passing(np.zeros(len(away)))[0]
        if not least < power < 1:
            raise OptionError(
                f"power={power} must lie above {least:.3f}, which the test has where trends are "
                "parallel, and below 1"
            )
        unit = float(self.error.min())

        def excess(steps: float) -> float:
            return 1 - self.passing(steps * unit * away)[0] - power

        return float(brentq(excess, 0.0, STEEPEST, xtol=EXACT) * unit)

    def likelihood_ratio(self, delta: Vector) -> float:
        """Density of the estimates before under the violation, over that under none."""
        x, shift = self.theta / self.error, delta[: len(self.error)] / self.error
        under, none = (np.linalg.solve(self.root, value) for value in (x - shift, x))
        return float(np.exp((none @ none - under @ under) / 2))
