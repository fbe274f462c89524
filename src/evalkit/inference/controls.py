"""Few treated clusters and many untreated ones: the noise of the treated, read off the untreated.

For estimates with row weights. ``placebo`` re-estimates instead, for any estimator.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from math import perm

import numpy as np

from evalkit.core.arrays import Codes, Flags, Groups, Matrix, Vector, encode, frozen
from evalkit.core.errors import CombinationError, IdentificationError, OptionError
from evalkit.core.estimate import Estimate
from evalkit.core.panel import Panel
from evalkit.engines.absorb import Absorber
from evalkit.inference.inversion import TIE, check_test, share, smallest
from evalkit.inference.resample import Estimator, quietly
from evalkit.inference.tested import Tested

BLOCK = 1 << 20  # numbers drawn at a time


def conley_taber(
    panel: Panel,
    estimator: Estimator,
    *,
    draws: int = 9999,
    seed: int = 1,
    level: float = 0.95,
) -> Tested:
    r"""Test with few treated and many untreated clusters, whose residuals stand in for the treated.

    With :math:`w_{jt}` the row weights of treated cluster j, its noise moves the estimate by
    :math:`\sum_tw_{jt}\eta_{jt}`. The distribution is that of
    :math:`\sum_j\sum_tw_{jt}\hat\eta_{l(j)t}`, with :math:`l(j)` untreated clusters drawn without
    replacement (every choice once, if there are no more than ``draws``), and :math:`\hat\eta` their
    mean residuals from unit and period effects, times :math:`N_0/(N_0-N_1)`: who is chosen is
    compared with those who are not, as the treated are with the untreated. With one adoption date
    on a balanced panel these are the placebo estimates of :func:`placebo`.

    Two things differ from the paper, and vanish as untreated clusters grow many and errors become
    symmetric: the factor is ours, and p-value and interval are symmetric. The interval is
    :math:`\hat\theta` plus or minus the quantile of the absolute draws.

    Parameters
    ----------
    panel : Panel
    estimator : callable
        ``Panel -> Estimate`` with row weights: linear in the outcome.
    draws, seed, level
        As in :func:`wild_bootstrap`.

    Returns
    -------
    Tested

    Raises
    ------
    CombinationError
        If the estimate has no row weights.
    IdentificationError
        Without treated clusters, or with too few untreated ones.

    References
    ----------
    Conley and Taber (2011), Review of Economics and Statistics 93(1), section III.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> frame = {"town": np.repeat(np.arange(30), 2), "year": np.tile([1, 2], 30),
    ...          "score": rng.normal(size=60), "start": np.repeat([2.0] + [np.nan] * 29, 2)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> ek.conley_taber(panel, ek.did.two_way).method
    'Conley-Taber, all 29 choices of 1 among 29 untreated clusters'
    """
    check_test(draws, seed, level)
    estimate = quietly(estimator, panel)
    donors = Donors.of(panel, estimate)
    assumes = (
        "residuals of treated clusters are distributed as those of the untreated, of which there "
        "are many"
    )
    return donors.tested(estimate, donors.moved, "Conley-Taber", assumes, draws, seed, level)


def ferman_pinto(
    panel: Panel,
    estimator: Estimator,
    *,
    size: str | None = None,
    draws: int = 9999,
    seed: int = 1,
    level: float = 0.95,
) -> Tested:
    r"""Conley and Taber's test where small clusters are noisier than large ones.

    The residual of an untreated cluster l, in the weights of treated cluster j, is multiplied by
    :math:`\sqrt{v(M_j)/v(M_l)}`, with :math:`v(M)=A+B/M` fitted to the squared residuals of the
    untreated, A and B not negative.

    Parameters
    ----------
    panel : Panel
    estimator : callable
        As in :func:`conley_taber`.
    size : str, optional
        Covariate with the size :math:`M` of a unit, such as its pupils; summed over the units of a
        cluster, averaged over periods. Default: the weight of the panel, or the number of units.
    draws, seed, level
        As in :func:`wild_bootstrap`.

    Returns
    -------
    Tested

    Raises
    ------
    CombinationError, IdentificationError
        As :func:`conley_taber`; also if the sizes are not positive.

    References
    ----------
    Ferman and Pinto (2019), Review of Economics and Statistics 101(3), section III.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> pupils = np.repeat(rng.integers(20, 900, 30), 2)
    >>> frame = {"town": np.repeat(np.arange(30), 2), "year": np.tile([1, 2], 30),
    ...          "score": rng.normal(size=60) / np.sqrt(pupils), "pupils": pupils,
    ...          "start": np.repeat([2.0] + [np.nan] * 29, 2)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", covariates=["pupils"], provenance="synthetic")
    >>> ek.ferman_pinto(panel, ek.did.two_way, size="pupils").method
    'Ferman-Pinto by pupils, all 29 choices of 1 among 29 untreated clusters'
    """
    check_test(draws, seed, level)
    estimate = quietly(estimator, panel)
    donors = Donors.of(panel, estimate)
    mass = panel.weight if size is None else panel.column(size)
    if (mass <= 0).any():
        row = int(np.flatnonzero(mass <= 0)[0])
        raise IdentificationError(
            f"size {size!r} must be positive; unit {panel.units[panel.unit[row]]!s} has "
            f"{mass[row]:g} in {panel.times[panel.time[row]]!s}"
        )
    by = f" by {size or ('weight' if np.ptp(panel.weight) else 'number of units')}"
    assumes = (
        "residuals of treated clusters are distributed as those of the untreated, of which there "
        "are many, up to a variance A + B / size"
    )
    scaled = donors.rescaled(mass)
    return donors.tested(estimate, scaled, f"Ferman-Pinto{by}", assumes, draws, seed, level)


@dataclass(frozen=True, slots=True, eq=False)
class Donors:
    """Untreated clusters in the place of treated ones.

    Attributes
    ----------
    panel : Panel
    cluster : Codes (n,)
        Cluster of each row.
    treated, donors : Codes (N1,), (N0,)
        Clusters on each side.
    moved : array (N1, N0, k)
        What donor l would add to the estimate in the weights of treated cluster j.
    left_out : int
        Untreated clusters that are not seen in every period with weight.
    """

    panel: Panel
    cluster: Codes
    treated: Codes
    donors: Codes
    moved: Matrix
    left_out: int

    @classmethod
    def of(cls, panel: Panel, estimate: Estimate) -> Donors:
        """Weights of the treated, and residuals of the untreated."""
        weights = _weights(panel, estimate)
        codes, labels = encode(panel.cluster)
        cluster = codes[panel.unit]
        touched = np.zeros(len(labels), bool)
        touched[codes[np.isfinite(panel.cohort)]] = True
        treated = np.flatnonzero(touched)
        if not len(treated):
            raise IdentificationError(
                "no unit is treated: name the adoption column in Panel.from_frame(..., cohort=...)"
            )
        periods = panel.n_periods
        w = Groups(cluster * periods + panel.time, len(labels) * periods).sum(weights)
        w = w.reshape(len(labels), periods, -1)[treated]
        residual, seen = _residuals(panel, cluster, touched)
        needed = (np.abs(w) > 0).any(axis=(0, 2))
        complete = seen[:, needed].all(axis=1) & ~touched
        donors = np.flatnonzero(complete)
        if len(donors) <= len(treated):
            raise IdentificationError(
                f"{len(donors)} untreated clusters are seen in every period with weight; they "
                f"cannot stand in for {len(treated)} treated ones. Use the wild bootstrap, or "
                "randomisation"
            )
        scale = len(donors) / (len(donors) - len(treated))
        moved = scale * np.einsum("jtk,lt->jlk", w, np.where(seen, residual, 0.0)[donors])
        return cls(panel, cluster, treated, donors, moved, int((~touched & ~complete).sum()))

    def rescaled(self, mass: Vector) -> Matrix:
        """Moves ``(N1, N0, k)`` of donors made as noisy as the treated cluster is for its size."""
        from scipy.optimize import nnls

        size = self._sizes(mass)
        m0, m1 = size[self.donors], size[self.treated]
        design = np.stack([np.ones(len(m0)), m0.mean() / m0], axis=1)
        out = np.empty_like(self.moved)
        for j, own in enumerate(m1):
            for k in range(self.moved.shape[2]):
                square = self.moved[j, :, k] ** 2
                typical = square.mean() or 1.0
                a, b = nnls(design, square / typical)[0]
                ratio = (a + b * m0.mean() / own) / (a + b * m0.mean() / m0)
                out[j, :, k] = self.moved[j, :, k] * np.sqrt(ratio)
        return out

    def _sizes(self, mass: Vector) -> Vector:
        """Sum over units of a cluster, averaged over its periods ``(G,)``."""
        periods, clusters = self.panel.n_periods, int(self.cluster.max()) + 1
        cell = self.cluster * periods + self.panel.time
        total = np.bincount(cell, mass, minlength=clusters * periods).reshape(clusters, -1)
        sizes: Vector = total.sum(axis=1) / (total > 0).sum(axis=1)
        return sizes

    def tested(
        self,
        estimate: Estimate,
        moved: Matrix,
        name: str,
        assumes: str,
        draws: int,
        seed: int,
        level: float,
    ) -> Tested:
        """The estimate among what donors would have made of it."""
        n1, n0, _ = moved.shape
        exact = perm(n0, n1) <= draws
        picks = _picks(n1, n0, draws, seed)
        nulls = sum(
            (moved[j, picks[:, j]] for j in range(n1)), np.zeros((len(picks), len(estimate)))
        )
        theta = estimate.theta
        far = np.abs(nulls) >= np.abs(theta) * (1 - TIE)
        ranked = np.sort(np.abs(nulls), axis=0)
        # The null at this distance is the first to have too few draws beyond it.
        spare = int(np.floor((1 - level) * (1 + len(nulls)) + TIE)) - 1
        half = ranked[len(nulls) - 1 - spare] if spare >= 0 else np.full(len(theta), np.inf)
        choices = (
            f"all {perm(n0, n1)} choices" if exact else f"{draws} random choices (seed {seed})"
        )
        dropped = f"; {self.left_out} others are not always seen" if self.left_out else ""
        return Tested(
            estimate=theta,
            statistic=theta,
            p_value=frozen(np.array([share(column, False) for column in far.T])),
            conf_low=frozen(theta - half),
            conf_high=frozen(theta + half),
            draws=frozen(nulls),
            smallest=smallest(len(nulls), False),
            method=f"{name}, {choices} of {n1} among {n0} untreated clusters{dropped}",
            assumes=assumes,
            level=level,
            index=estimate.index,
            meta=estimate.meta,
        )


def _weights(panel: Panel, estimate: Estimate) -> Matrix:
    try:
        weights = estimate.weights
    except CombinationError as none:
        raise CombinationError(
            f"{estimate.meta.method} has no row weights to put untreated clusters in; use "
            "ek.placebo, which estimates again, or ek.randomisation"
        ) from none
    if len(weights) != len(panel.y):
        raise OptionError(
            f"the estimate has weights for {len(weights)} rows, the panel has {len(panel.y)}; the "
            "estimator must use the panel it is given"
        )
    return weights


def _residuals(panel: Panel, cluster: Codes, touched: Flags) -> tuple[Matrix, Flags]:
    """Mean residual of untreated clusters by period ``(G, T)``, and whether they are seen then."""
    periods, clusters = panel.n_periods, len(touched)
    rows = np.flatnonzero(~touched[cluster])
    if not len(rows):
        raise IdentificationError(
            "every cluster has treated units; there is none to stand in for them. Use the wild "
            "bootstrap, or randomisation"
        )
    unit, time = Groups.of(panel.unit[rows]), Groups.of(panel.time[rows])
    weight = panel.weight[rows]
    left = Absorber([unit, time], weight).residual(panel.y[rows, None])[:, 0]
    cell = cluster[rows] * periods + panel.time[rows]
    mass = np.bincount(cell, weight, minlength=clusters * periods)
    total = np.bincount(cell, weight * left, minlength=clusters * periods)
    seen = (mass > 0).reshape(clusters, -1)
    mean = total / np.where(mass > 0, mass, 1.0)
    return mean.reshape(clusters, -1), seen


def _picks(n1: int, n0: int, draws: int, seed: int) -> Codes:
    """Donors for the treated clusters ``(B, N1)``: every choice, or random ones."""
    if perm(n0, n1) <= draws:
        return np.array(list(permutations(range(n0), n1)), np.intp)
    rng = np.random.default_rng(seed)
    rows = max(1, BLOCK // n0)
    blocks = [
        rng.permuted(np.tile(np.arange(n0), (min(rows, draws - at), 1)), axis=1)[:, :n1]
        for at in range(0, draws, rows)
    ]
    return np.vstack(blocks)
