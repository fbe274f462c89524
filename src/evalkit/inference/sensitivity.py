"""How far parallel trends may fail before a conclusion does: bounds for any event study.

Not for judging an estimate if parallel trends hold: that is ``infer``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

import numpy as np

from evalkit.core.arrays import Codes, Vector, frozen
from evalkit.core.errors import OptionError, check_option, some
from evalkit.core.estimate import Estimate
from evalkit.core.origin import Meta
from evalkit.core.provenance import Provenance
from evalkit.inference.covariance import Vcov, clusters_of
from evalkit.inference.few import Few, doubt
from evalkit.inference.honest import Frontier, Study, frontier, pieces
from evalkit.inference.infer import Inference, infer, warn
from evalkit.inference.ordered import in_order, known

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["relative_magnitudes", "smoothness"]

Ends: TypeAlias = Callable[[float], tuple[float, float]]
LARGEST = 2.0**20  # bound on violations, in its own unit, beyond which no breakdown is sought
EXACT = 1e-7  # of the breakdown value, relative to it


@dataclass(frozen=True, slots=True, eq=False)
class Sensitivity:
    """Intervals for one effect, if violations of parallel trends are bounded by ``m``.

    Attributes
    ----------
    m, conf_low, conf_high : Vector (k,)
        Bounds, and the interval under each.
    original : Inference
        The effect as it stands if parallel trends hold.
    restriction, method : str
    holds_zero : callable
        Whether the interval under a bound holds zero.
    """

    m: Vector
    conf_low: Vector
    conf_high: Vector
    original: Inference
    restriction: str
    method: str
    level: float
    meta: Meta
    holds_zero: Callable[[float], bool]
    caution: str = ""

    @property
    def breakdown(self) -> float:
        """Smallest ``m`` whose interval holds zero: 0 if none excludes it, inf if all do; NaN if
        intervals are withheld. Solved for when asked."""
        return float(np.nan) if np.isnan(self.conf_low).any() else first_kept(self.holds_zero)

    @property
    def provenance(self) -> Provenance:
        """Evidence tier."""
        return self.meta.provenance

    @property
    def table(self) -> pd.DataFrame:
        """Tidy frame, one row per bound."""
        import pandas as pd

        columns = {"m": self.m, "conf_low": self.conf_low, "conf_high": self.conf_high}
        return pd.DataFrame(columns)

    def __repr__(self) -> str:
        meta, plain = self.meta, self.original
        lines = [
            f"{meta.estimand} on {meta.outcome!r} by {meta.method} ({meta.provenance})",
            f"{plain.estimate[0]:.4f}, {self.level:.0%} interval {plain.conf_low[0]:.4f} to "
            f"{plain.conf_high[0]:.4f} if trends are parallel",
            f"{self.restriction}; {self.method}",
            self.table.round(4).to_string(index=False),
            f"the interval holds zero from m = {self.breakdown:.4g} on",
        ]
        return "\n".join([*lines, *([self.caution] if self.caution else [])])


def relative_magnitudes(
    event: Estimate,
    *,
    m: Sequence[float] = (0.0, 0.5, 1.0, 2.0),
    reference: float = -1,
    weights: Mapping[Any, float] | None = None,
    vcov: Vcov = "CR1",
    level: float = 0.95,
    few: Few = "withhold",
) -> Sensitivity:
    r"""Bound violations after the reference by the largest change before it.

    With :math:`\delta` the difference in trends between treated and controls that there would be
    without treatment, suppose :math:`|\delta_{t+1}-\delta_t|\le M\max_{s<0}|\delta_{s+1}-\delta_s|`
    for all :math:`t\ge0`: from one period to the next, paths part by no more than ``m`` times what
    was the most before. The interval is the union, over which change was largest and its sign,
    of the effects that a conditional test with a least favourable first stage (C-LF) keeps.

    It is computed without simulation or grid: the linear programs are solved in closed form, the
    critical values by quadrature, and the ends are found on the line. Its coverage rests on normal
    estimates with known covariance. The largest change before the reference is itself estimated,
    and the interval allows for that.

    Parameters
    ----------
    event : Estimate
        One effect per period, before and after the reference, from any estimator; with one index
        level, for example from :func:`aggregate` by event with ``base="universal"``.
    m : sequence of float
        Bounds, 0 or more.
    reference : float
        Period in which the effect is zero by construction.
    weights : mapping of period to float, optional
        Of the periods after the reference; default: their average.
    vcov, few
        As in :func:`infer`; the covariance is taken as known, with a normal reference.
    level : float

    Returns
    -------
    Sensitivity

    Raises
    ------
    IdentificationError
        Without periods on both sides of the reference, with a gap between periods, an estimate at
        the reference that is not zero, or a singular covariance.

    References
    ----------
    Rambachan and Roth (2023), Review of Economic Studies 90(5), on relative magnitudes;
    Andrews, Roth and Pakes (2023) for the conditional test.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> frame = {"town": np.repeat(np.arange(60), 5), "year": np.tile(np.arange(5), 60),
    ...          "score": rng.normal(size=300), "start": np.repeat([3.0, np.nan], 150)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> found = ek.sensitivity.relative_magnitudes(ek.did.event_study(panel), m=[0, 1])
    >>> bool(found.conf_high[1] > found.conf_high[0])
    True
    """

    def bounded(study: Study) -> Ends:
        return lambda bound: pieces(study, bound, 1 - level).ends()

    def keeps(study: Study) -> Callable[[float], bool]:
        return lambda bound: pieces(study, bound, 1 - level).keeps(0.0)

    made = _Asked.of(event, m, reference, weights, vcov, level, few)
    return made.answer(
        bounded(made.study),
        keeps(made.study),
        "changes after the reference are at most m times the largest before",
        f"relative magnitudes, C-LF, {vcov}",
    )


def smoothness(
    event: Estimate,
    *,
    m: Sequence[float],
    reference: float = -1,
    weights: Mapping[Any, float] | None = None,
    vcov: Vcov = "CR1",
    level: float = 0.95,
    few: Few = "withhold",
) -> Sensitivity:
    r"""Bound how much the slope of the violation may change from one period to the next.

    Suppose :math:`|(\delta_{t+1}-\delta_t)-(\delta_t-\delta_{t-1})|\le M`; ``m=0`` is a linear
    violation, which the periods before the reference then extrapolate. The interval has the least
    length that any fixed-length interval around a linear estimator can have (FLCI): its centre
    trades bias against variance along an exact path, and its half-length is a quantile of the
    folded normal.

    Parameters
    ----------
    event : Estimate
        As in :func:`relative_magnitudes`.
    m : sequence of float
        Bounds, 0 or more, in units of the outcome per period squared.
    reference, weights, vcov, level, few
        As in :func:`relative_magnitudes`.

    Returns
    -------
    Sensitivity

    Raises
    ------
    IdentificationError
        As in :func:`relative_magnitudes`.

    References
    ----------
    Rambachan and Roth (2023), on smoothness; Armstrong and Kolesar (2018).

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> frame = {"town": np.repeat(np.arange(60), 5), "year": np.tile(np.arange(5), 60),
    ...          "score": rng.normal(size=300), "start": np.repeat([3.0, np.nan], 150)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> found = ek.sensitivity.smoothness(ek.did.event_study(panel), m=[0, 0.1])
    >>> bool(found.conf_high[1] > found.conf_high[0])
    True
    """

    def bounded(path: Frontier) -> Ends:
        def ends(bound: float) -> tuple[float, float]:
            centre, half, _ = path.shortest(bound, level)
            return centre - half, centre + half

        return ends

    made = _Asked.of(event, m, reference, weights, vcov, level, few)
    ends = bounded(frontier(made.study))

    def keeps(bound: float) -> bool:
        low, high = ends(bound)
        return low <= 0 <= high

    return made.answer(
        ends,
        keeps,
        "the slope of the violation changes by at most m from one period to the next",
        f"smoothness, fixed-length interval, {vcov}",
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """One effect of an event study, its interval if trends are parallel, and the bounds asked."""

    study: Study
    original: Inference
    m: Vector
    level: float
    withheld: bool
    caution: str

    @classmethod
    def of(
        cls,
        event: Estimate,
        m: Sequence[float],
        reference: float,
        weights: Mapping[Any, float] | None,
        vcov: Vcov,
        level: float,
        few: Few,
    ) -> _Asked:
        check_option("vcov", vcov, get_args(Vcov))
        check_option("few", few, get_args(Few))
        bounds = np.atleast_1d(np.asarray(m, float))
        if not len(bounds) or not (bounds >= 0).all() or not np.isfinite(bounds).all():
            raise OptionError(f"m={m!r} must be bounds of zero or more, for example [0, 0.5, 1, 2]")
        if not 0.5 < level < 1:
            raise OptionError(f"level={level} must lie between 0.5 and 1, for example 0.95")
        sorted_event, before = in_order(event, reference)
        share = _shares(sorted_event, before, weights)
        row = np.concatenate([np.zeros(before), share])[None]
        effect = sorted_event.contrast(row, ["effect"], _words(sorted_event, share, before))
        found = doubt(effect, vcov, clusters_of(event))
        warn(found, few, depth=4)
        cov = known(sorted_event, vcov)
        return cls(
            study=Study(sorted_event.theta[:before], sorted_event.theta[before:], cov, share),
            original=infer(effect, vcov=vcov, level=level, few="show"),
            m=bounds,
            level=level,
            withheld=few == "withhold" and bool(found.flags.any()),
            caution=found.text if found.flags.any() else "",
        )

    def answer(
        self, ends: Ends, keeps: Callable[[float], bool], restriction: str, method: str
    ) -> Sensitivity:
        """The intervals, and the bound from which they hold zero."""
        blank = (np.nan, np.nan)
        low, high = np.array([blank if self.withheld else ends(m) for m in self.m]).T
        return Sensitivity(
            m=frozen(self.m),
            conf_low=frozen(low),
            conf_high=frozen(high),
            original=self.original,
            restriction=restriction,
            method=method,
            level=self.level,
            meta=self.original.meta,
            holds_zero=keeps,
            caution=self.caution,
        )


def _shares(event: Estimate, before: int, weights: Mapping[Any, float] | None) -> Vector:
    after = [key[0] for key in event.index.keys[before:]]
    if weights is None:
        return np.full(len(after), 1 / len(after))
    if not isinstance(weights, Mapping):
        raise OptionError(f"weights={weights!r} must be {{period: weight}}, as {{{after[0]}: 1.0}}")
    unknown = [key for key in weights if key not in after]
    share = np.array([weights.get(key, 0.0) for key in after], float)
    if unknown or not np.isfinite(share).all() or not share.any():
        raise OptionError(
            f"weights={dict(weights)!r} must give finite weights, not all zero, to periods after "
            f"the reference: {some(after, 12)}"
        )
    return share


def _words(event: Estimate, share: Vector, before: int) -> str:
    periods: Codes = np.flatnonzero(share) + before
    names = [event.index.keys[j][0] for j in periods]
    what = event.meta.estimand
    if len(names) == 1:
        return f"{what}, {names[0]}"
    return f"{what}, {names[0]} to {names[-1]}"


def first_kept(keeps: Callable[[float], bool]) -> float:
    """Smallest bound whose interval holds zero, by doubling and halving."""
    if keeps(0.0):
        return 0.0
    high = 1.0
    while not keeps(high):
        high *= 2
        if high > LARGEST:
            return float(np.inf)
    low = 0.0 if high == 1.0 else high / 2
    while high - low > EXACT * high:
        middle = (low + high) / 2
        low, high = (low, middle) if keeps(middle) else (middle, high)
    return high
