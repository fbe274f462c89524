"""Uncertainty by estimating again: bootstrap and jackknife over clusters, for any estimator.

Not for contributions, which answer at once where they can (``evalkit.infer``).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

import numpy as np

from evalkit.core.arrays import Codes, Flags, Groups, Labels, Matrix, Vector, encode, frozen
from evalkit.core.checks import check_draws, check_estimate, check_level, check_seed
from evalkit.core.errors import DoubtWarning, IdentificationError, OptionError, check_option
from evalkit.core.estimate import Estimate
from evalkit.core.panel import Category, Panel
from evalkit.core.progress import progress
from evalkit.core.provenance import Provenance
from evalkit.inference.covariance import t_quantile, t_test
from evalkit.inference.few import Few, doubt
from evalkit.inference.infer import warn

if TYPE_CHECKING:
    import pandas as pd

Estimator: TypeAlias = Callable[[Panel], Estimate]
FUTILE = 10  # failed draws for each good one before giving up


@dataclass(frozen=True, slots=True, eq=False)
class Resampled:
    """What estimating ``B`` times says about the ``k`` coordinates of an estimate.

    Attributes
    ----------
    estimate : Estimate
        On the panel itself.
    draws : Matrix (B, k)
        The estimates of the draws.
    vcov : Matrix (k, k)
        Covariance of the estimate.
    method : str
        How the draws were made, in words.
    level : float
        Coverage of the intervals.
    rank_p_value : Vector (k,) or None
        Share of draws, the estimate among them, as far from zero as the estimate (placebo only).
    dof : Vector (k,) or None
        Degrees of freedom of the t reference (None: normal).
    withheld : Flags (k,) or None
        True where p-value and interval are NaN because too few clusters stand on a side.
    caution : str
        Why, and what is defensible.
    clusters : Labels (B,) or None
        The cluster that each draw leaves out (jackknife only).
    """

    estimate: Estimate
    draws: Matrix
    vcov: Matrix
    method: str
    level: float
    rank_p_value: Vector | None = None
    dof: Vector | None = None
    withheld: Flags | None = None
    caution: str = ""
    clusters: Labels | None = None

    @property
    def std_error(self) -> Vector:
        """Standard errors ``(k,)``."""
        error: Vector = np.sqrt(np.diag(self.vcov))
        return error

    @property
    def provenance(self) -> Provenance:
        """Evidence tier."""
        return self.estimate.meta.provenance

    @property
    def index_levels(self) -> int:
        """Number of levels of the index."""
        return len(self.estimate.index.levels)

    @property
    def table(self) -> pd.DataFrame:
        """Tidy frame, one row per coordinate."""
        import pandas as pd

        theta, error = self.estimate.theta, self.std_error
        dof = np.full(len(theta), np.inf) if self.dof is None else self.dof
        statistic, p_value = t_test(theta, error, dof)
        width = t_quantile(0.5 + self.level / 2, dof) * error
        blank = np.zeros(len(theta), bool) if self.withheld is None else self.withheld
        columns: dict[str, Any] = {
            "estimate": theta,
            "std_error": error,
            "statistic": statistic,
            "p_value": np.where(blank, np.nan, p_value),
            "conf_low": np.where(blank, np.nan, theta - width),
            "conf_high": np.where(blank, np.nan, theta + width),
        }
        if self.dof is not None:
            columns["dof"] = self.dof
        if self.rank_p_value is not None:
            columns["rank_p_value"] = self.rank_p_value
        return pd.DataFrame(columns, index=self.estimate.index.to_pandas())

    def __repr__(self) -> str:
        meta = self.estimate.meta
        return "\n".join(
            [
                f"{meta.estimand} on {meta.outcome!r} by {meta.method} ({meta.provenance})",
                f"{meta.n_obs} rows, {len(self.estimate.units)} units; {self.method}; "
                f"{self.level:.0%}, {'normal' if self.dof is None else 't'} reference",
                self.table.round(4).to_string(),
                *([self.caution] if self.caution else []),
            ]
        )


def bootstrap(
    panel: Panel,
    estimator: Estimator,
    *,
    seed: int = 1,
    draws: int = 200,
    level: float = 0.95,
    few: Few = "withhold",
) -> Resampled:
    r"""Estimate again on clusters drawn with replacement.

    :math:`\hat V=B^{-1}\sum_b(\hat\theta_b-\bar\theta)(\hat\theta_b-\bar\theta)'`. A draw in which
    the estimator cannot answer, or answers for other coordinates, is drawn again and counted.
    Average over cohorts inside the estimator if some draws may miss one.

    Parameters
    ----------
    panel : Panel
    estimator : callable
        ``Panel -> Estimate``; any.
    seed : int
        The same seed gives the same bytes, and more draws begin with the same ones.
    draws : int
    level : float
    few : {"withhold", "show"}
        As in :func:`infer`: a bootstrap of clusters sees no more of the noise of few treated ones
        than a standard error does.

    Raises
    ------
    IdentificationError
        With a single cluster, or if ten times as many draws fail as succeed.

    Warns
    -----
    DoubtWarning
        With fewer than ten clusters, in all or on one side of a coordinate.

    References
    ----------
    Arkhangelsky et al. (2021), algorithm 2, for synthetic DiD.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> frame = {"town": np.repeat(np.arange(40), 2), "year": np.tile([1, 2], 40),
    ...          "score": rng.normal(size=80), "start": np.repeat([2.0, np.nan], 40)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> ek.bootstrap(panel, ek.did.two_way, seed=1, draws=20).draws.shape
    (20, 1)
    """
    check(draws, seed, level)
    check_option("few", few, get_args(Few))
    codes, labels = encode(panel.cluster)
    if len(labels) < 2:
        raise IdentificationError(
            "a bootstrap of clusters needs at least two; the panel has one. Cluster at a finer "
            "level"
        )
    members = Groups(codes, len(labels)).rows()
    estimate = quietly(estimator, panel)

    def draw(rng: np.random.Generator) -> Panel:
        drawn = rng.integers(0, len(members), len(members))
        units = np.concatenate([members[g] for g in drawn])
        copy = np.repeat(np.arange(len(drawn)), [len(members[g]) for g in drawn])
        return take_units(panel, units, copy)

    thetas, failed = repeated(estimator, estimate, draw, draws, seed, "bootstrap")
    note = f", {failed} drawn again" if failed else ""
    method = f"bootstrap of {len(labels)} clusters, {draws} draws (seed {seed}{note})"
    found = doubt(estimate, "CR1", len(labels))
    warn(found, few)
    doubtful = bool(found.flags.any())
    return Resampled(
        estimate,
        thetas,
        spread(thetas),
        method,
        level,
        withheld=found.flags if doubtful and few == "withhold" else None,
        caution=found.text if doubtful else "",
    )


def jackknife(panel: Panel, estimator: Estimator, *, level: float = 0.95) -> Resampled:
    r"""Estimate again without each cluster in turn.

    :math:`\hat V=\frac{G-1}{G}\sum_g(\hat\theta_{-g}-\bar\theta)(\hat\theta_{-g}-\bar\theta)'`.
    The reference is t. Its degrees of freedom are those of a difference of means between the
    clusters on the two sides (Satterthwaite), which keeps the test honest from two treated clusters
    on; for estimates without sides, G - 1.

    Parameters
    ----------
    panel : Panel
    estimator : callable
        ``Panel -> Estimate``; any. Synthetic DiD with its own weights pinned makes this algorithm
        3 of Arkhangelsky et al. (2021).
    level : float

    Raises
    ------
    IdentificationError
        If the estimator cannot answer, or loses a coordinate, without some cluster (named).

    References
    ----------
    Efron and Stein (1981); Arkhangelsky et al. (2021), algorithm 3, centred at the mean as in their
    R package.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> frame = {"town": np.repeat(np.arange(40), 2), "year": np.tile([1, 2], 40),
    ...          "score": rng.normal(size=80), "start": np.repeat([2.0, np.nan], 40)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> ek.jackknife(panel, ek.did.two_way).draws.shape
    (40, 1)
    """
    check_level(level)
    codes, labels = encode(panel.cluster)
    if len(labels) < 2:
        raise IdentificationError("a jackknife needs at least two clusters; the panel has one")
    estimate = quietly(estimator, panel)
    thetas = np.empty((len(labels), len(estimate)))
    for g in progress(range(len(labels)), len(labels), "jackknife"):
        try:
            without = quietly(estimator, panel.where(codes[panel.unit] != g))
        except IdentificationError as wrong:
            raise IdentificationError(f"without cluster {labels[g]!s}: {wrong}") from wrong
        if without.index != estimate.index:
            raise IdentificationError(
                f"without cluster {labels[g]!s} the estimate has other coordinates; average them "
                "inside the estimator, or use the bootstrap"
            )
        thetas[g] = without.theta
    method = f"jackknife of {len(labels)} clusters"
    vcov = (len(labels) - 1) * spread(thetas)
    dof = np.full(len(estimate), len(labels) - 1.0)
    if estimate.sides is not None:
        dof = np.minimum(estimate.sides.standing().dof(), dof)
    return Resampled(
        estimate, frozen(thetas), frozen(vcov), method, level, dof=frozen(dof), clusters=labels
    )


def repeated(
    estimator: Estimator,
    estimate: Estimate,
    draw: Callable[[np.random.Generator], Panel],
    draws: int,
    seed: int,
    label: str,
) -> tuple[Matrix, int]:
    """Estimates ``(draws, k)`` on drawn panels, and how many draws had to be made again."""
    source = np.random.default_rng(seed)
    thetas: list[Vector] = []
    failed, reason = 0, ""
    for rng in progress((source.spawn(1)[0] for _ in range(draws)), draws, label):
        while True:
            try:
                again = quietly(estimator, draw(rng))
                if again.index == estimate.index:
                    break
                reason = "some coordinates are missing"
            except IdentificationError as wrong:
                reason = str(wrong)
            failed += 1
            if failed > FUTILE * (len(thetas) + 10):
                raise IdentificationError(
                    f"{failed} draws of the {label} failed and {len(thetas)} succeeded. The last "
                    f"one: {reason}"
                )
        thetas.append(again.theta)
    return frozen(np.array(thetas)), failed


def take_units(panel: Panel, units: Codes, cluster: Codes) -> Panel:
    """The panel of ``units``, as often as they are named, under new labels and clusters."""
    count = np.bincount(panel.unit, minlength=panel.n_units)[units]
    first = np.searchsorted(panel.unit, units)
    ends = np.cumsum(count)
    rows = np.arange(ends[-1]) + np.repeat(first - ends + count, count)
    return replace(
        panel,
        y=panel.y[rows],
        unit=np.repeat(np.arange(len(units)), count),
        time=panel.time[rows],
        units=np.arange(len(units)),
        cohort=panel.cohort[units],
        earliest=None if panel.earliest is None else panel.earliest[units],
        whole=None,
        weight=panel.weight[rows],
        cluster=cluster,
        x=panel.x[rows],
        dose=None if panel.dose is None else frozen(panel.dose[units]),
        categories={
            name: Category(frozen(c.codes[rows]), c.labels) for name, c in panel.categories.items()
        },
    )


def spread(thetas: Matrix) -> Matrix:
    """Covariance of the draws around their mean, divided by their number."""
    deviation = thetas - thetas.mean(axis=0)
    return frozen(deviation.T @ deviation / len(thetas))


def quietly(estimator: Estimator, panel: Panel) -> Estimate:
    """Doubts about contributions do not concern those who estimate again."""
    if not callable(estimator):
        raise OptionError(
            f"estimator is {type(estimator).__name__}; give the function, not what it returns: "
            "evalkit.did.two_way, or lambda panel: ..."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoubtWarning)
        return check_estimate(estimator(panel), "what the estimator returns")


def check(draws: int, seed: int, level: float) -> None:
    """Refuse options that make no sense."""
    check_draws(draws, remedy="some hundreds for an error")
    check_seed(seed)
    check_level(level)
