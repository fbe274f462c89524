"""Standard errors, intervals, bands and joint tests, written once for every estimate."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from evalkit.core.arrays import Codes, Matrix, Vector, encode, frozen
from evalkit.core.errors import (
    CombinationError,
    DoubtWarning,
    IdentificationError,
    OptionError,
    check_option,
    some,
)
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index, Key
from evalkit.core.origin import Meta
from evalkit.core.provenance import Provenance
from evalkit.inference.band import sup_t
from evalkit.inference.multiplier import Multiplier, multiplier_sup_t

if TYPE_CHECKING:
    import pandas as pd

Vcov: TypeAlias = Literal["CR0", "CR1", "CR1S", "CR2", "CR3"]
FEW = 10  # clusters below which a clustered standard error is in doubt
ROUNDING = 1e-13  # an error this small beside its estimate is rounding, not precision


@dataclass(frozen=True, slots=True, eq=False)
class Inference:
    """What the data say about the ``k`` coordinates of an estimate.

    Attributes
    ----------
    estimate, std_error, statistic, p_value, conf_low, conf_high : Vector (k,)
        One value per coordinate; the p-value is two-sided.
    dof : Vector (k,)
        Degrees of freedom of the t reference (inf: normal).
    vcov : Matrix (k, k)
        Covariance of the estimates.
    band_low, band_high : Vector (k,) or None
        Simultaneous band, if one was asked for; ``crit`` is its critical value.
    counts : Codes or None
        Treated and comparison units behind each coordinate, ``(k, 2)``.
    """

    estimate: Vector
    std_error: Vector
    statistic: Vector
    p_value: Vector
    conf_low: Vector
    conf_high: Vector
    dof: Vector
    vcov: Matrix
    index: Index
    meta: Meta
    vcov_kind: Vcov
    level: float
    n_units: int
    n_clusters: int
    band_low: Vector | None = None
    band_high: Vector | None = None
    crit: float | None = None
    counts: Codes | None = None

    @property
    def keys(self) -> tuple[Key, ...]:
        """Keys of the coordinates."""
        return self.index.keys

    @property
    def index_levels(self) -> int:
        """Number of levels of the index."""
        return len(self.index.levels)

    @property
    def provenance(self) -> Provenance:
        """Evidence tier."""
        return self.meta.provenance

    @property
    def method(self) -> str:
        """How the standard errors were made, in words."""
        reference = "normal" if np.isinf(self.dof).all() else "t"
        return f"{self.vcov_kind}, {self.n_clusters} clusters, {reference} reference"

    @property
    def table(self) -> pd.DataFrame:
        """Tidy frame, one row per coordinate."""
        import pandas as pd

        columns: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("estimate", "std_error", "statistic", "p_value", "conf_low", "conf_high")
        }
        if np.isfinite(self.dof).any():
            columns["dof"] = self.dof
        if self.band_low is not None:
            columns["band_low"] = self.band_low
            columns["band_high"] = self.band_high
        if self.counts is not None:
            columns["treated"], columns["controls"] = self.counts.T
        return pd.DataFrame(columns, index=self.index.to_pandas())

    def __repr__(self) -> str:
        meta = self.meta
        band = f"; sup-t critical value {self.crit:.3f}" if self.crit is not None else ""
        lines = [
            f"{meta.estimand} on {meta.outcome!r} by {meta.method} ({meta.provenance})",
            f"{meta.n_obs} rows, {self.n_units} units; {self.method}; {self.level:.0%}{band}",
            self.table.round(4).to_string(),
        ]
        return "\n".join([*lines, *meta.notes])

    def _repr_html_(self) -> str:
        first, second, *_ = repr(self).split("\n")
        return f"<p>{first}<br>{second}</p>{self.table.round(4).to_html(border=0)}"


def infer(
    estimate: Estimate,
    *,
    vcov: Vcov = "CR1",
    level: float = 0.95,
    band: bool | Literal["multiplier"] = False,
    draws: int = 999,
    seed: int | None = None,
    multiplier: Multiplier = "rademacher",
) -> Inference:
    r"""Judge an estimate: standard errors, t statistics, intervals and, if asked, a sup-t band.

    With :math:`s_g=\sum_{i\in g}\psi_i` the covariance is :math:`V = c\sum_g s_g s_g'`.

    Parameters
    ----------
    estimate : Estimate
        Any estimate; its clusters are used.
    vcov : {"CR0", "CR1", "CR1S", "CR2", "CR3"}
        ``CR0``: c = 1 with a normal reference. ``CR1``: c = G/(G-1) with t(G-1), for every
        estimate. ``CR1S`` multiplies by (n-1)/(n-k), the convention of regression packages;
        ``CR2`` (bias-reduced) and ``CR3`` (jackknife) adjust the scores by leverage and take
        Satterthwaite degrees of freedom. The last three need an estimate from one least-squares
        design.
    level : float
        Coverage of intervals and band.
    band : bool or "multiplier"
        Add a band that covers all coordinates at once. ``True``: as the contributions were jointly
        normal, from a deterministic lattice rule, the same numbers on every run; it is what a
        bootstrap with Gaussian multipliers and endless draws would give. ``"multiplier"``: from
        clusters' contributions times random multipliers, which keeps their shape.
    draws, seed : int
        Number of draws and seed of the multipliers; those of a cluster depend on the seed and its
        label alone, so that neither order nor threads can move a number.
    multiplier : {"rademacher", "mammen", "webb"}
        Their distribution; Webb's has six values, for few clusters.

    Returns
    -------
    Inference

    Raises
    ------
    IdentificationError
        With a single cluster.
    CombinationError
        If CR1S, CR2 or CR3 is asked of an estimate without one least-squares design.

    Warns
    -----
    DoubtWarning
        With fewer than ten clusters.

    References
    ----------
    Bell and McCaffrey (2002); Pustejovsky and Tipton (2018), eqs. 7-12 and 21;
    Montiel Olea and Plagborg-Moller (2019) for the sup-t band; Callaway and Sant'Anna (2021),
    algorithm 1, for its multipliers.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> frame = {"town": np.repeat(np.arange(40), 2), "year": np.tile([1, 2], 40),
    ...          "score": rng.normal(size=80), "start": np.repeat([2.0, np.nan], 40)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> ek.infer(ek.did.two_way(panel)).method
    'CR1, 40 clusters, t reference'
    """
    check_option("vcov", vcov, get_args(Vcov))
    check_option("band", band, (False, True, "multiplier"))
    if not 0 < level < 1:
        raise OptionError(f"level={level} must lie between 0 and 1, for example 0.95")
    clusters = _clusters(estimate)
    covariance, dof, adjusted = _covariance(estimate, vcov, clusters)
    error = np.where(np.isnan(estimate.theta), np.nan, np.sqrt(np.diag(covariance)))
    statistic, p_value = _t_test(estimate.theta, error, dof)
    crit = _t_quantile(0.5 + level / 2, dof)
    low, high, value = None, None, None
    if band:
        if band == "multiplier":
            value = multiplier_sup_t(
                estimate, adjusted, level=level, draws=draws, seed=seed, multiplier=multiplier
            )
        else:
            value = sup_t(covariance, level, float(np.min(dof)))
        low = frozen(estimate.theta - value * error)
        high = frozen(estimate.theta + value * error)
    return Inference(
        estimate=estimate.theta,
        std_error=frozen(error),
        statistic=frozen(statistic),
        p_value=frozen(p_value),
        conf_low=frozen(estimate.theta - crit * error),
        conf_high=frozen(estimate.theta + crit * error),
        dof=frozen(dof),
        vcov=frozen(covariance),
        index=estimate.index,
        meta=estimate.meta,
        vcov_kind=vcov,
        level=level,
        n_units=len(estimate.units),
        n_clusters=clusters,
        band_low=low,
        band_high=high,
        crit=value,
        counts=estimate.counts,
    )


@dataclass(frozen=True, slots=True)
class Wald:
    """Joint test that ``k`` coordinates are zero: ``statistic`` is chi-squared with ``k`` degrees
    of freedom under CR0 (``dof`` inf), and k times an F(k, dof) otherwise."""

    statistic: float
    k: int
    dof: float
    p_value: float


def wald(estimate: Estimate, *, vcov: Vcov = "CR1") -> Wald:
    """Test that all coordinates of an estimate are zero.

    Raises
    ------
    IdentificationError
        If a coordinate is NaN, or if the covariance is singular: more coordinates than clusters
        allow, or collinear ones.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> frame = {"town": np.repeat(np.arange(40), 2), "year": np.tile([1, 2], 40),
    ...          "score": rng.normal(size=80), "start": np.repeat([2.0, np.nan], 40)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> ek.wald(ek.did.two_way(panel)).k
    1
    """
    from scipy.special import chdtrc, fdtrc

    check_option("vcov", vcov, get_args(Vcov))
    absent = [
        key
        for key, value in zip(estimate.index.keys, estimate.theta, strict=True)
        if np.isnan(value)
    ]
    if absent:
        raise IdentificationError(
            f"{some(absent)} could not be estimated; leave it out with select() or take()"
        )
    clusters = _clusters(estimate)
    covariance, _, _ = _covariance(estimate, vcov, clusters)
    k = len(estimate)
    scale = np.sqrt(np.diag(covariance))
    if (scale == 0).any() or np.linalg.matrix_rank(covariance / np.outer(scale, scale)) < k:
        raise IdentificationError(
            f"the covariance of {k} coordinates from {clusters} clusters is singular; "
            "test fewer of them at once"
        )
    statistic = float(estimate.theta @ np.linalg.solve(covariance, estimate.theta))
    if vcov == "CR0":
        return Wald(statistic, k, np.inf, float(chdtrc(k, statistic)))
    dof = clusters - 1.0
    return Wald(statistic, k, dof, float(fdtrc(k, dof, statistic / k)))


def _clusters(estimate: Estimate) -> int:
    clusters = estimate.n_clusters
    if clusters < 2:
        raise IdentificationError(
            "all units are in a single cluster; its error cannot be estimated. Cluster at a finer "
            "level, or use design-based (randomisation) inference."
        )
    if clusters < FEW:
        warnings.warn(
            f"only {clusters} clusters: clustered standard errors are unreliable; "
            "prefer CR2 or CR3 with their degrees of freedom, or randomisation inference",
            DoubtWarning,
            stacklevel=3,
        )
    return clusters


def _covariance(
    estimate: Estimate, vcov: Vcov, clusters: int
) -> tuple[Matrix, Vector, Matrix | None]:
    """Covariance, degrees of freedom and the clusters' contributions, if they were adjusted."""
    k = len(estimate)
    if vcov == "CR0":
        return estimate.vcov(), np.full(k, np.inf), None
    if vcov == "CR1":
        return clusters / (clusters - 1) * estimate.vcov(), np.full(k, clusters - 1.0), None
    if estimate.leverage is None or estimate.combination is None:
        raise CombinationError(
            f"{vcov} needs an estimate from one least-squares design; {estimate.meta.method} "
            "is not. Use CR1, or the jackknife."
        )
    codes, _ = encode(estimate.cluster)
    if vcov == "CR1S":
        n, parameters = estimate.leverage.degrees(codes)
        if n <= parameters:
            raise IdentificationError(
                f"{n} rows and {parameters} parameters leave no degrees of freedom for CR1S; "
                "use CR1, or a smaller design"
            )
        scale = clusters / (clusters - 1) * (n - 1) / (n - parameters)
        return scale * estimate.vcov(), np.full(k, clusters - 1.0), None
    alone = estimate.leverage.identified_by_one(codes, estimate.combination)
    if alone.any():
        keys = [key for key, one in zip(estimate.index.keys, alone, strict=True) if one]
        warnings.warn(
            f"a single cluster identifies {some(' '.join(map(str, key)) for key in keys)}: its own "
            "error cannot be seen in the residuals. Use randomisation inference.",
            DoubtWarning,
            stacklevel=3,
        )
    s = estimate.leverage.adjusted(vcov, codes) @ estimate.combination
    return s.T @ s, estimate.leverage.satterthwaite(vcov, codes, estimate.combination), s


def _t_test(theta: Vector, error: Vector, dof: Vector) -> tuple[Vector, Vector]:
    from scipy.special import ndtr, stdtr

    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(error > ROUNDING * np.abs(theta), theta / error, np.nan)
    tail = np.where(np.isinf(dof), ndtr(-np.abs(statistic)), stdtr(dof, -np.abs(statistic)))
    return statistic, 2 * tail


def _t_quantile(p: float, dof: Vector) -> Vector:
    from scipy.special import ndtri, stdtrit

    return np.where(np.isinf(dof), ndtri(p), stdtrit(np.where(np.isinf(dof), 1.0, dof), p))
