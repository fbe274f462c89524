"""The wild cluster bootstrap: residuals change sign by cluster, and everything is judged again.

Exact for least squares, from sums by cluster; a multiplier bootstrap of contributions for the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from evalkit.core.arrays import Groups, Matrix, Vector, encode, frozen
from evalkit.core.errors import CombinationError, IdentificationError, check_option, some
from evalkit.core.estimate import Estimate
from evalkit.core.origin import Imposed, Part
from evalkit.inference.covariance import clusters_of
from evalkit.inference.inversion import TIE, Curves, check_test, share
from evalkit.inference.tested import Tested

Signs: TypeAlias = Literal["rademacher", "webb"]
WEBB = np.outer([-1.0, 1.0], np.sqrt([1.5, 1.0, 0.5])).ravel()
BLOCK = 1 << 20  # numbers drawn at a time: they stay in the cache


def wild_bootstrap(
    estimate: Estimate,
    *,
    draws: int = 9999,
    seed: int = 1,
    signs: Signs = "rademacher",
    within: Part = "cluster",
    level: float = 0.95,
) -> Tested:
    r"""Test each coordinate by the wild cluster bootstrap-t, and invert the test.

    For the null :math:`l'\beta=r` the model is fitted under it; its residuals are multiplied by
    draws :math:`v` that clusters share, and the t statistic, clustered as always, is computed from
    the new outcome: :math:`p=(1+\#\{|t^*_b|\ge|t|\})/(1+B)`. The interval holds the nulls with
    :math:`p>1-` ``level``. If :math:`2^G` sign changes are no more than ``draws``, each is made
    once: no chance is left, and the seed has no effect. Cost: draws x clusters x periods.

    An estimate without one least-squares design has no model to fit under the null. Its
    contributions are multiplied instead, :math:`t^*_b=\sum_gv_gS_g/\sqrt{\sum_g(v_gS_g-
    \bar{vS})^2}`, and the interval is :math:`\hat\theta\pm` the quantile of :math:`|t^*|` times the
    standard error. This is a large-sample method.

    Parameters
    ----------
    estimate : Estimate
        Any; its clusters are used.
    draws : int
        9999 for a p-value to three digits.
    seed : int
        The same seed gives the same bytes.
    signs : {"rademacher", "webb"}
        Plus or minus one; or Webb's six points, for fewer than about ten clusters.
    within : {"cluster", "unit", "row"}
        Who shares a draw. ``unit`` or ``row`` is the subcluster bootstrap for few treated clusters
        of many units or rows: it assumes that errors in a cluster are not correlated across its
        parts, or much alike in all clusters.
    level : float
        Coverage of the interval.

    Returns
    -------
    Tested

    References
    ----------
    Cameron, Gelbach and Miller (2008); Webb (2023) for six points; MacKinnon and Webb (2018) on
    few treated clusters and subclusters; Roodman, MacKinnon, Nielsen and Webb (2019) for sums by
    cluster; Kline and Santos (2012) for contributions. Unlike ``boottest``, ties count, so that
    the sample itself counts when all sign changes are made: the p-value is never zero.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> frame = {"town": np.repeat(np.arange(12), 2), "year": np.tile([1, 2], 12),
    ...          "score": rng.normal(size=24), "start": np.repeat([2.0, np.nan], 12)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> ek.wild_bootstrap(ek.did.two_way(panel)).method
    'wild cluster bootstrap, null imposed, all 4096 sign changes of 12 clusters'
    """
    check_option("signs", signs, get_args(Signs))
    check_option("within", within, get_args(Part))
    check_test(draws, seed, level)
    clusters = clusters_of(estimate)
    codes, _ = encode(estimate.cluster)
    design, combination = estimate.leverage, estimate.combination
    if design is None or combination is None:
        if within != "cluster":
            raise CombinationError(
                f"within={within!r} needs an estimate from one least-squares design; "
                f"{estimate.meta.method} is not. Use within='cluster'."
            )
        return _multiplied(estimate, Source(clusters, draws, seed, signs), level)
    imposed = [design.imposed(codes, within, column) for column in combination.T]
    source = Source(len(imposed[0].owner), draws, seed, signs)
    curves = _drawn(imposed, source, clusters)
    _refuse_flat(estimate, curves.error)
    found = curves.results(estimate, level)
    return Tested(
        **{**found, "smallest": source.smallest},
        method=f"wild cluster bootstrap, null imposed, {source.words(clusters, within)}",
        assumes="many clusters on each side, or clusters of equal size and variance on both"
        if within == "cluster"
        else f"errors of a cluster uncorrelated across its {within}s, or alike in all clusters",
    )


@dataclass(frozen=True, slots=True)
class Source:
    """Draws for ``size`` parts: all sign changes, if they are no more than ``draws``."""

    size: int
    draws: int
    seed: int
    signs: Signs

    @property
    def exact(self) -> bool:
        """True if every sign change is made once."""
        return self.signs == "rademacher" and 2**self.size <= self.draws

    @property
    def count(self) -> int:
        """Number of draws."""
        return 2**self.size if self.exact else self.draws

    @property
    def smallest(self) -> float:
        """Least p-value: that of the sample itself and, with all sign changes, its mirror."""
        return 2 / self.count if self.exact else 1 / (1 + self.count)

    def words(self, clusters: int, part: Part) -> str:
        """How the draws are made."""
        what = f"{clusters} clusters"
        if part != "cluster":
            what = f"{self.size} {part}s in {what}"
        if self.exact:
            return f"all {self.count} sign changes of {what}"
        kind = "Rademacher" if self.signs == "rademacher" else "Webb"
        return f"{self.draws} {kind} draws for {what} (seed {self.seed})"

    def blocks(self, columns: int) -> Iterator[Matrix]:
        """The draws ``(b, size)``, in blocks that fit in memory with ``columns`` results each."""
        rows = max(1, BLOCK // max(self.size, columns))
        rng = np.random.default_rng(self.seed)
        for start in range(0, self.count, rows):
            b = min(rows, self.count - start)
            if self.exact:
                number = np.arange(start, start + b)[:, None]
                yield 1 - 2 * (number >> np.arange(self.size) & 1).astype(float)
            elif self.signs == "rademacher":
                words = np.frombuffer(rng.bytes(8 * b * -(-self.size // 64)), np.uint8)
                bits = np.unpackbits(words.reshape(b, -1), axis=1, count=self.size)
                yield 2 * bits.astype(float) - 1
            else:
                yield WEBB[rng.integers(0, 6, (b, self.size))]


def _drawn(imposed: Sequence[Imposed], source: Source, clusters: int) -> Curves:
    """Make every draw; parts that are whole clusters need no sums by cluster."""
    whole = source.size == clusters
    top = np.empty((len(imposed), 2, source.count))
    bottom = np.empty((len(imposed), 3, source.count))
    run: list[Whole | Parts] = [Whole(one) if whole else Parts(one) for one in imposed]
    at = 0
    for v in source.blocks(1 if whole else 2 * clusters):
        here = slice(at, at + len(v))
        for j, make in enumerate(run):
            top[j, :, here], bottom[j, :, here] = make.made(v, source.signs == "rademacher")
        at += len(v)
    scale = clusters / (clusters - 1)
    score = [Groups(one.owner, clusters).sum(one.score[0]) for one in imposed]
    error = np.sqrt([scale * s @ s for s in score])
    return Curves(top, scale * bottom, error, source.exact)


class Whole:
    """Draws for whole clusters. The score of one is ``v s - U z``, with ``z`` the sum of what draws
    move; its square is summed over clusters without being formed.
    """

    def __init__(self, one: Imposed) -> None:
        s, (z0, z1), u = one.score, one.moved, one.reach
        self.columns = np.hstack([s.T, z0, z1, s[0][:, None] * u, s[1][:, None] * u])
        self.gram = u.T @ u
        self.squares = np.stack([s[0] * s[0], 2 * s[0] * s[1], s[1] * s[1]], axis=1)

    def made(self, v: Matrix, unit: bool) -> tuple[Matrix, Matrix]:
        """Numerators ``(2, b)`` and squared errors ``(3, b)``; ``unit`` draws have square one."""
        drawn = v @ self.columns
        z0, z1, c0, c1 = np.split(drawn[:, 2:], 4, axis=1)
        own = self.squares.sum(axis=0) if unit else v**2 @ self.squares
        g0, g1 = z0 @ self.gram, z1 @ self.gram
        fitted = [
            ((g0 - 2 * c0) * z0).sum(axis=1),
            2 * ((g0 - c0) * z1 - c1 * z0).sum(axis=1),
            ((g1 - 2 * c1) * z1).sum(axis=1),
        ]
        return drawn[:, :2].T, (own + np.stack(fitted, axis=1)).T


class Parts:
    """Draws for parts of clusters, whose scores are formed and summed by cluster."""

    def __init__(self, one: Imposed) -> None:
        order = np.argsort(one.owner, kind="stable")
        self.first = np.flatnonzero(np.diff(one.owner[order], prepend=-1))
        self.order, self.one = order, one

    def made(self, v: Matrix, unit: bool) -> tuple[Matrix, Matrix]:
        """As for whole clusters."""
        del unit
        one = self.one
        a, b = (
            np.add.reduceat((v * s)[:, self.order], self.first, axis=1) - (v @ z) @ one.reach.T
            for s, z in zip(one.score, one.moved, strict=True)
        )
        squares = [(a * a).sum(axis=1), 2 * (a * b).sum(axis=1), (b * b).sum(axis=1)]
        return (v @ one.score.T).T, np.stack(squares)


def _refuse_flat(estimate: Estimate, error: Vector) -> None:
    flat = np.flatnonzero(error == 0)
    if len(flat):
        raise IdentificationError(
            f"no cluster moves {some(estimate.index.keys[j] for j in flat)}: the outcome does not "
            "vary about its fit, and draws of signs say nothing. Leave it out with select() or "
            "take()"
        )


def _multiplied(estimate: Estimate, source: Source, level: float) -> Tested:
    """The multiplier bootstrap of contributions, null not imposed."""
    clusters, theta = estimate.n_clusters, estimate.theta
    s = estimate.cluster_sums()
    scale = clusters / (clusters - 1)
    error = np.sqrt(scale * (s**2).sum(axis=0))
    _refuse_flat(estimate, error)
    draws = []
    for v in source.blocks(s.shape[1]):
        top = v @ s
        square = v**2 @ s**2 - top**2 / clusters
        with np.errstate(divide="ignore", invalid="ignore"):
            draws.append(top / np.sqrt(scale * np.maximum(square, 0.0)))
    t = np.concatenate(draws)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = theta / error
    far = np.abs(t) >= np.abs(statistic) * (1 - TIE)
    p_value = np.array([share(column, source.exact) for column in far.T])
    quantile = np.quantile(np.abs(t), level, axis=0, method="higher")
    return Tested(
        estimate=theta,
        statistic=frozen(statistic),
        p_value=frozen(np.where(np.isnan(statistic), np.nan, p_value)),
        conf_low=frozen(theta - quantile * error),
        conf_high=frozen(theta + quantile * error),
        draws=frozen(t),
        smallest=source.smallest,
        method="multiplier bootstrap of contributions, null not imposed, "
        + source.words(clusters, "cluster"),
        assumes="many clusters on each side of the comparison",
        level=level,
        index=estimate.index,
        meta=estimate.meta,
    )
