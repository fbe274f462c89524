"""Standard errors, intervals and bands, written once for every estimate."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from evalkit.core.arrays import Codes, Flags, Matrix, Vector, frozen, sealed
from evalkit.core.checks import check_level
from evalkit.core.errors import DoubtWarning, check_option
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index, Key
from evalkit.core.origin import Meta
from evalkit.core.provenance import Provenance
from evalkit.core.sides import Standing
from evalkit.inference.band import sup_t
from evalkit.inference.covariance import (
    Vcov,
    adjusted,
    clusters_of,
    covariance,
    t_quantile,
    t_test,
)
from evalkit.inference.few import Doubt, Few, doubt
from evalkit.inference.multiplier import Multiplier, multiplier_sup_t

if TYPE_CHECKING:
    import pandas as pd


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
    standing : Standing or None
        Treated and untreated clusters behind each coordinate.
    withheld : Flags (k,) or None
        True where p-value, interval and band are NaN because too few clusters stand on a side.
    caution : str
        Why, and what is defensible.
    multipliers : str
        Those of a multiplier band, with draws and seed.
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
    vcov_kind: str
    level: float
    n_units: int
    n_clusters: int
    band_low: Vector | None = None
    band_high: Vector | None = None
    crit: float | None = None
    counts: Codes | None = None
    standing: Standing | None = None
    withheld: Flags | None = None
    caution: str = ""
    multipliers: str = ""

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
        if self.standing is not None and self.caution:
            names = ("treated_clusters", "control_clusters")
            columns |= dict(zip(names, self.standing.clusters.T, strict=True))
        return pd.DataFrame(columns, index=self.index.to_pandas())

    def __repr__(self) -> str:
        meta = self.meta
        band = f"; sup-t critical value {self.crit:.3f}" if self.crit is not None else ""
        band += f" from {self.multipliers}" if self.multipliers else ""
        lines = [
            f"{meta.estimand} on {meta.outcome!r} by {meta.method} ({meta.provenance})",
            f"{meta.n_obs} rows, {self.n_units} units; {self.method}; {self.level:.0%}{band}",
            self.table.round(4).to_string(),
        ]
        return "\n".join([*lines, *meta.notes, *([self.caution] if self.caution else [])])

    def _repr_html_(self) -> str:
        first, second, *_ = repr(self).split("\n")
        caution = f"<p>{self.caution}</p>" if self.caution else ""
        return f"<p>{first}<br>{second}</p>{self.table.round(4).to_html(border=0)}{caution}"


def infer(
    estimate: Estimate,
    *,
    vcov: Vcov = "CR1",
    level: float = 0.95,
    band: bool | Literal["multiplier"] = False,
    draws: int = 999,
    seed: int = 1,
    multiplier: Multiplier = "rademacher",
    few: Few = "withhold",
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
    few : {"withhold", "show"}
        What to do where fewer than ten treated or untreated clusters, or cohorts of fewer than
        five, stand behind a coordinate: give no p-value, interval and band, with a warning that
        says what is defensible; or give them, with the same words in the result. CR2 and CR3 are
        withheld only where one cluster stands alone.

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
        With fewer than ten clusters, in all or on one side of a coordinate.

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
    check_option("few", few, get_args(Few))
    check_level(level)
    clusters = clusters_of(estimate)
    found = doubt(estimate, vcov, clusters)
    warn(found, few)
    cov, dof = covariance(estimate, vcov, clusters)
    made = judge(estimate, cov, dof, vcov, level, found)
    if band:
        if band == "multiplier":
            own = adjusted(estimate, vcov) if vcov in ("CR2", "CR3") else None
            value = multiplier_sup_t(
                estimate, own, level=level, draws=draws, seed=seed, multiplier=multiplier
            )
        else:
            value = sup_t(cov, level, float(np.min(dof)))
        low, high = (made.estimate + sign * value * made.std_error for sign in (-1, 1))
        drawn = f"{draws} {multiplier} draws (seed {seed})" if band == "multiplier" else ""
        made = replace(
            made, band_low=frozen(low), band_high=frozen(high), crit=value, multipliers=drawn
        )
    return guarded(made, found, few)


def judge(
    estimate: Estimate, covariance: Matrix, dof: Vector, kind: str, level: float, found: Doubt
) -> Inference:
    """What follows from a covariance ``(k, k)`` and degrees of freedom ``(k,)``, nothing withheld
    yet."""
    error = np.where(np.isnan(estimate.theta), np.nan, np.sqrt(covariance.diagonal()))
    statistic, p_value = t_test(estimate.theta, error, dof)
    crit = t_quantile(0.5 + level / 2, dof)
    return Inference(
        estimate=estimate.theta,
        std_error=sealed(error),
        statistic=sealed(statistic),
        p_value=sealed(p_value),
        conf_low=sealed(estimate.theta - crit * error),
        conf_high=sealed(estimate.theta + crit * error),
        dof=frozen(dof),
        vcov=frozen(covariance),
        index=estimate.index,
        meta=estimate.meta,
        vcov_kind=kind,
        level=level,
        n_units=len(estimate.units),
        n_clusters=estimate.n_clusters,
        counts=estimate.counts,
        standing=found.standing,
        caution=found.text if found.flags.any() else "",
    )


def warn(found: Doubt, few: Few, *, depth: int = 3) -> None:
    """Say a doubt at the line that asked, unless it asked to see the numbers all the same."""
    if found.text and not (few == "show" and found.flags.any()):
        warnings.warn(found.text, DoubtWarning, stacklevel=depth)


def guarded(made: Inference, found: Doubt, few: Few) -> Inference:
    """The inference with what a doubt forbids left out, or marked."""
    if few == "show" or not found.flags.any():
        return made

    def blank(values: Vector) -> Vector:
        return frozen(np.where(found.flags, np.nan, values))

    return replace(
        made,
        withheld=frozen(found.flags),
        p_value=blank(made.p_value),
        conf_low=blank(made.conf_low),
        conf_high=blank(made.conf_high),
        band_low=None if made.band_low is None else blank(made.band_low),
        band_high=None if made.band_high is None else blank(made.band_high),
    )
