"""What is known about the ranks of units whose values are estimated: sets that cover the true rank.

Not point ranks: those are what a league table prints, and what the sets put into doubt.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.core.arrays import Codes, Flags, Matrix, Vector, frozen
from evalkit.core.checks import check_draws, check_level, check_seed
from evalkit.core.errors import OptionError
from evalkit.core.estimate import Estimate
from evalkit.core.known import Known
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.inference.covariance import Vcov
from evalkit.inference.judged import Judged, judge

if TYPE_CHECKING:
    import pandas as pd

REACH, STEP = 8.0, 0.25  # the integral over a unit's own error: ends and steps, in deviations
EXACT = 1e-10  # where the search for a critical value stops
CHUNK = 1 << 22  # differences held at once


@dataclass(frozen=True, slots=True, eq=False)
class Ranks:
    """Sets of ranks, rank 1 for the largest value.

    Attributes
    ----------
    rank, low, high : Codes (k,)
        Point rank, and the ends of the set.
    simultaneous : bool
        True if the sets cover all ranks at once, False if each covers its own.
    level : float
    best : int or None
        With it, ``among_best`` ``(k,)`` marks the units that may be among so many best.
    """

    estimate: Vector
    std_error: Vector
    rank: Codes
    low: Codes
    high: Codes
    simultaneous: bool
    level: float
    best: int | None
    among_best: Flags | None
    index: Index
    meta: Meta

    @property
    def width(self) -> float:
        """Mean number of ranks in a set."""
        return float((self.high - self.low + 1).mean())

    @property
    def table(self) -> pd.DataFrame:
        """One row per unit."""
        import pandas as pd

        columns: dict[str, Any] = {
            name: getattr(self, name) for name in ("estimate", "std_error", "rank", "low", "high")
        }
        if self.among_best is not None:
            columns[f"among_best_{self.best}"] = self.among_best
        return pd.DataFrame(columns, index=self.index.to_pandas())

    def __repr__(self) -> str:
        kind = "simultaneous" if self.simultaneous else "marginal"
        best = ""
        if self.among_best is not None:
            best = f"; {int(self.among_best.sum())} may be among the best {self.best}"
        return (
            f"Ranks of {len(self.rank)} units by {self.meta.estimand} ({self.meta.provenance})\n"
            f"{self.level:.0%} {kind} sets, {self.width:.1f} ranks wide on average{best}\n"
            f"{self.table.round(4).to_string()}"
        )

    def _repr_html_(self) -> str:
        first, second, *_ = repr(self).split("\n")
        return f"<p>{first}<br>{second}</p>{self.table.round(4).to_html(border=0)}"


def ranks(
    data: Estimate | Known,
    *,
    level: float = 0.95,
    simultaneous: bool = False,
    best: int | None = None,
    draws: int = 10_000,
    seed: int = 0,
    vcov: Vcov = "CR1",
) -> Ranks:
    r"""Confidence sets for ranks, from step-down tests of all pairwise differences.

    Unit ``j`` is surely below as many units as are significantly above it, and the other way round.
    With :math:`T_{jk}=(\hat\theta_j-\hat\theta_k)/s_{jk}`, :math:`\theta_j\le\theta_k` is rejected
    where :math:`T_{jk}` exceeds the quantile of the largest :math:`T` among hypotheses not yet
    rejected; the tests are repeated until nothing more is rejected.

    Parameters
    ----------
    data : Estimate or Known
        One value per unit.
    level : float
        Coverage.
    simultaneous : bool
        Cover all ranks at once. By default each unit's set covers its own rank.
    best : int, optional
        Also mark the units that may be among so many best; jointly at ``level``.
    draws, seed : int
        Of the normal errors behind quantiles that have no formula. Marginal sets of ``Known``
        errors are exact and need none. A unit's draws depend on its name, not on its place.
    vcov : {"CR0", "CR1", ...}
        As in :func:`infer`, for an ``Estimate``.

    Returns
    -------
    Ranks

    References
    ----------
    Mogstad, Romano, Shaikh and Wilhelm (2024), Review of Economic Studies 91, sections 3 and 4.

    Examples
    --------
    >>> import evalkit as ek
    >>> schools = ek.Known.of([0.0, 0.1, 3.0], [0.2, 0.2, 0.2], labels=["a", "b", "c"],
    ...                       provenance="synthetic")
    >>> ek.ranks(schools).table[["rank", "low", "high"]].to_numpy().tolist()
    [[3, 2, 3], [2, 2, 3], [1, 1, 1]]
    """
    check_level(level)
    check_draws(draws, remedy="some thousands for a quantile")
    check_seed(seed)
    units = judge(data, vcov, 2)
    k = len(units.theta)
    if best is not None and not 1 <= best < k:
        raise OptionError(f"best={best} must lie between 1 and {k - 1}, one less than the units")
    apart = _deviations(units)
    t = (units.theta[:, None] - units.theta) / apart
    pairs = ~np.eye(k, dtype=bool)
    joint = simultaneous or best is not None
    errors = np.zeros((0, k))
    if joint or units.covariance is not None:
        errors = _errors(units, draws, seed)
    if joint:
        all_above = _step_down(t, pairs, lambda left: _drawn(errors, apart, left, level))
    if simultaneous:
        low, high = 1 + all_above.sum(axis=0), k - all_above.sum(axis=1)
    else:
        low, high = np.empty(k, np.intp), np.empty(k, np.intp)
        for j in range(k):
            mine = np.zeros_like(pairs)
            mine[j], mine[:, j] = pairs[j], pairs[:, j]
            crit = _own(units, apart, j, level) if units.covariance is None else (
                lambda left: _drawn(errors, apart, left, level))  # fmt: skip
            above = _step_down(t, mine, crit)
            low[j], high[j] = 1 + above[:, j].sum(), k - above[j].sum()
    among = None if best is None else frozen(all_above.sum(axis=0) < best)
    return Ranks(
        estimate=units.theta,
        std_error=frozen(units.std_error),
        rank=frozen(1 + (units.theta[None] > units.theta[:, None]).sum(axis=1)),
        low=frozen(low.astype(np.intp)),
        high=frozen(high.astype(np.intp)),
        simultaneous=simultaneous,
        level=level,
        best=best,
        among_best=among,
        index=units.index,
        meta=units.meta,
    )


def _deviations(units: Judged) -> Matrix:
    """Standard errors of all differences ``(k, k)``, one on the diagonal."""
    square = units.variance[:, None] + units.variance
    if units.covariance is not None:
        square = square - 2 * units.covariance
    np.fill_diagonal(square, 1.0)
    return np.sqrt(np.maximum(square, 1e-300))


def _errors(units: Judged, draws: int, seed: int) -> Matrix:
    """Normal errors ``(draws, k)``, each unit's from a stream of its own."""
    if draws < 100:
        raise OptionError(f"draws={draws}; a quantile of errors needs at least 100")
    names = [" ".join(map(str, key)) for key in units.index.keys]
    z = np.stack(
        [np.random.default_rng([seed, zlib.crc32(n.encode())]).normal(size=draws) for n in names],
        axis=1,
    )
    if units.covariance is None:
        return z * units.std_error
    value, axes = np.linalg.eigh(units.covariance)  # the symmetric root: no unit comes first
    return np.asarray(z @ ((axes * np.sqrt(np.maximum(value, 0.0))) @ axes.T))


def _step_down(t: Matrix, pairs: Flags, crit: Callable[[Flags], float]) -> Flags:
    """Rejected hypotheses ``theta_j <= theta_k`` among ``pairs`` ``(k, k)``."""
    left = pairs.copy()
    while left.any():
        fresh = left & (t > crit(left))
        if not fresh.any():
            break
        left &= ~fresh
    return pairs & ~left


def _drawn(errors: Matrix, apart: Matrix, left: Flags, level: float) -> float:
    """Quantile of the largest statistic among the pairs that are left, from draws."""
    a, b = np.nonzero(left)
    scale = apart[a, b]
    largest = np.empty(len(errors))
    size = max(1, CHUNK // len(a))
    for first in range(0, len(errors), size):
        part = errors[first : first + size]
        largest[first : first + size] = ((part[:, a] - part[:, b]) / scale).max(axis=1)
    return float(np.quantile(largest, level))


def _own(units: Judged, apart: Matrix, j: int, level: float) -> Callable[[Flags], float]:
    """The same quantile for the pairs of one unit with independent errors, by an integral.

    Given the unit's own error the others are independent:
    :math:`P=\\int\\phi(z)\\prod_kP(-cs\\le\\sigma_jz-Z_k\\le cs)\\,dz`.
    """
    from scipy.optimize import brentq
    from scipy.special import ndtr, ndtri

    others = np.arange(len(units.theta)) != j
    sd, scale = units.std_error[others], apart[j, others]
    # The integrand is as smooth as the sharpest of the others allows.
    step = STEP * min(1.0, float(sd.min()) / units.std_error[j])
    z = np.arange(-np.ceil(REACH / step), np.ceil(REACH / step) + 1) * step
    mass = np.exp(-(z**2) / 2)
    mass /= mass.sum()
    own = units.std_error[j] * z[:, None]

    def crit(left: Flags) -> float:
        down, up = left[j, others], left[others, j]

        def short(c: float) -> float:
            high = np.where(up, ndtr((own + c * scale) / sd), 1.0)
            low = np.where(down, ndtr((own - c * scale) / sd), 0.0)
            return float(mass @ np.maximum(high - low, 0.0).prod(axis=1)) - level

        most = float(ndtri(1 - (1 - level) / max(2, down.sum() + up.sum())))  # Bonferroni
        if short(0.0) >= 0:
            return 0.0
        return float(brentq(short, 0.0, most, xtol=EXACT)) if short(most) > 0 else most

    return crit
