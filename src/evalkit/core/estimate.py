"""An estimate that remembers each unit's contribution, and the algebra that follows from it.

Not for uncertainty: standard errors, intervals and tests are made in ``evalkit.inference``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.core.arrays import Codes, Labels, Matrix, Vector, encode, frozen, product
from evalkit.core.errors import CombinationError, some
from evalkit.core.labels import Index, Key
from evalkit.core.origin import Leverage, Linear, Meta
from evalkit.core.provenance import combine
from evalkit.core.scores import Scores, side_by_side
from evalkit.core.sides import Sides, beside
from evalkit.core.sparse import Sparse

if TYPE_CHECKING:
    import pandas as pd


_ALONE: dict[str, Any] = dict.fromkeys(("origin", "combination", "mass", "counts"))


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """Point estimate ``theta`` with one row of contributions per unit.

    ``theta_hat - theta ~ psi.sum(axis=0)``: row ``i`` is unit ``i``'s contribution to the error,
    already divided by n. Every difference, contrast and stack is then plain algebra, with right
    covariances even when the samples overlap.

    Parameters
    ----------
    theta : Vector (k,)
        Point estimates; NaN, without contributions, where the data could not answer.
    scores : Scores, Sparse or Matrix (N, k)
        Contributions; ``psi`` is their plain matrix.
    units : Labels (N,)
        Sorted unit labels.
    cluster : Labels (N,)
        Cluster of each unit.
    index : Index
        Names of the ``k`` coordinates.
    meta : Meta
        Estimand, method, outcome, counts and provenance.
    origin : Linear or Leverage, optional
        The linear map, or the least-squares design, behind theta, if there is exactly one.
    combination : Matrix (p, k), optional
        ``theta = combination.T @ coefficients`` of that origin.
    mass : Estimate, optional
        Estimated weight of each coordinate, for averages only: its contributions are not
        centred, since :func:`aggregate` takes differences from the average.
    counts : Codes (k, 2), optional
        Treated and comparison units behind each coordinate.
    sides : Sides, optional
        Clusters on the treated and on the untreated side of each coordinate.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> from evalkit.core.labels import Index
    >>> from evalkit.core.origin import Meta
    >>> meta = Meta("mean", "average", "score", 3, "synthetic")
    >>> score = np.array([1.0, 2.0, 6.0])
    >>> mean = ek.Estimate(np.array([3.0]), (score - 3.0)[:, None] / 3, np.arange(3), np.arange(3),
    ...                    Index.flat("term", ["mean"]), meta)
    >>> float((mean + mean).vcov()[0, 0]) == float((2 * mean).vcov()[0, 0])
    True
    """

    theta: Vector
    scores: Scores | Sparse
    units: Labels
    cluster: Labels
    index: Index
    meta: Meta
    origin: Linear | None = None
    combination: Matrix | None = None
    mass: Estimate | None = None
    counts: Codes | None = None
    sides: Sides | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.scores, (Scores, Sparse)):
            if np.ndim(self.scores) != 2:
                raise CombinationError(f"psi must be a matrix (N, k), got {np.shape(self.scores)}")
            object.__setattr__(self, "scores", Scores.dense(self.scores))
        n, k = self.scores.shape
        if self.theta.shape != (k,) or len(self.index) != k:
            raise CombinationError(
                f"theta {self.theta.shape}, psi {(n, k)} and {len(self.index)} keys differ"
            )
        if self.units.shape != (n,) or self.cluster.shape != (n,):
            raise CombinationError(
                f"psi has {n} rows, but there are {len(self.units)} units "
                f"and {len(self.cluster)} cluster labels"
            )
        for name in ("theta", "units", "cluster"):
            object.__setattr__(self, name, frozen(getattr(self, name)))
        if self.counts is not None:
            object.__setattr__(self, "counts", frozen(self.counts))

    def __len__(self) -> int:
        return len(self.theta)

    @property
    def psi(self) -> Matrix:
        """Contributions ``(N, k)``, made from the scores when asked for."""
        return self.scores.psi()

    @property
    def n_clusters(self) -> int:
        """Number of clusters ``G``."""
        alone = self.cluster is self.units
        return len(self.units) if alone else len(encode(self.cluster)[1])

    @property
    def weights(self) -> Matrix:
        """Row weights ``(n, k)`` with ``weights.T @ y == theta``, in the panel's row order."""
        if self.origin is None or self.combination is None:
            raise CombinationError(
                "weights need one linear map behind the estimate; this one "
                f"({self.meta.method}) combines several, or has none. Ask for the parts; those of "
                "synthetic designs are in evalkit.did.SyntheticWeights.behind(estimate)."
            )
        return self.origin.weights() @ self.combination

    @property
    def leverage(self) -> Leverage | None:
        """The least-squares design behind theta, if there is exactly one."""
        return self.origin if isinstance(self.origin, Leverage) else None

    def cluster_sums(self) -> Matrix:
        """Contributions summed by cluster ``(G, k)``."""
        codes, labels = encode(self.cluster)
        return self.scores.cluster_sums(codes, len(labels))

    def vcov(self) -> Matrix:
        """Covariance ``(k, k)`` with no small-sample correction: ``S'S`` of the cluster sums."""
        if self.cluster is self.units:
            return self.scores.gram()
        s = self.cluster_sums()
        return s.T @ s

    def select(self, **levels: Any) -> Estimate:
        """Keep the coordinates whose levels match a value, a collection or a predicate."""
        return self.take(self.index.positions(levels))

    def take(self, positions: list[int]) -> Estimate:
        """Keep the coordinates at these positions, in this order."""
        return replace(
            self,
            theta=self.theta[positions],
            scores=self.scores.take(positions),
            index=self.index.take(positions),
            combination=None if self.combination is None else self.combination[:, positions],
            mass=None if self.mass is None else self.mass.take(positions),
            counts=None if self.counts is None else self.counts[positions],
            sides=None if self.sides is None else self.sides.take(positions),
        )

    def relabel(self, index: Index) -> Estimate:
        """The same coordinates under other names."""
        return replace(self, index=index, mass=None)

    def contrast(
        self,
        matrix: Any,
        index: Index | Sequence[str],
        estimand: str = "",
        *,
        mass: Estimate | None = None,
        counts: Codes | None = None,
    ) -> Estimate:
        """Linear combinations ``matrix @ theta`` with ``matrix`` ``(m, k)`` and ``m`` names, and
        with the ``mass`` and ``counts`` that are given."""
        lin = np.atleast_2d(np.asarray(matrix, float))
        if lin.shape[1] != len(self):
            raise CombinationError(f"a contrast of {len(self)} coordinates, got {lin.shape}")
        return replace(
            self,
            theta=product(self.theta, lin.T),
            scores=self.scores.dot(lin.T),
            index=index if isinstance(index, Index) else Index.flat("contrast", index),
            meta=replace(self.meta, estimand=estimand or self.meta.estimand),
            combination=None if self.combination is None else self.combination @ lin.T,
            mass=mass,
            counts=counts,
            sides=None if self.sides is None else self.sides.dot(lin.T),
        )

    def ratio(self, numerator: Key, denominator: Key, name: str) -> Estimate:
        """``theta[numerator] / theta[denominator]`` to first order (the Wald ratio)."""
        unknown = [key for key in (numerator, denominator) if key not in self.index.keys]
        if unknown:
            raise CombinationError(f"no coordinate {some(unknown)}; there are {self.index.keys}")
        top, bottom = (self.index.keys.index(key) for key in (numerator, denominator))
        if self.theta[bottom] == 0:
            raise CombinationError(f"the denominator {denominator} is exactly zero")
        value = self.theta[top] / self.theta[bottom]
        row = np.zeros((len(self), 1))
        row[top], row[bottom] = 1 / self.theta[bottom], -value / self.theta[bottom]
        return replace(
            self,
            theta=np.array([value]),
            scores=self.scores.dot(row),
            index=Index.flat("term", [name]),
            meta=replace(self.meta, estimand=name),
            sides=None if self.sides is None else self.sides.dot(row),
            **_ALONE,
        )

    def collapse(self) -> Estimate:
        """The same estimate with one row per cluster, so that no unit's row need travel."""
        _, labels = encode(self.cluster)
        return replace(
            self,
            scores=Scores.dense(self.cluster_sums()),
            units=labels,
            cluster=labels,
            sides=None if self.sides is None else self.sides.settled(),
            **{**_ALONE, "counts": self.counts},
        )

    def __mul__(self, scale: float) -> Estimate:
        return self.contrast(scale * np.eye(len(self)), self.index)

    __rmul__ = __mul__

    def __truediv__(self, scale: float) -> Estimate:
        return self * (1 / scale)

    def __neg__(self) -> Estimate:
        return self * -1.0

    def __add__(self, other: Estimate) -> Estimate:
        return _sum(self, other, 1.0)

    def __sub__(self, other: Estimate) -> Estimate:
        return _sum(self, other, -1.0)

    def to_frame(self) -> pd.DataFrame:
        """Point estimates as a one-column frame."""
        import pandas as pd

        return pd.DataFrame({"estimate": self.theta}, index=self.index.to_pandas())

    def __repr__(self) -> str:
        head = (
            f"Estimate of {self.meta.estimand} on {self.meta.outcome!r} by {self.meta.method} "
            f"({self.meta.provenance})\n  {self.meta.n_obs} rows, {len(self.units)} units, "
            f"{self.n_clusters} clusters; judge it with evalkit.infer"
        )
        shown = [
            f"  {' '.join(map(str, key))}: {value:.6g}"
            for key, value in zip(self.index.keys[:12], self.theta[:12], strict=True)
        ]
        more = [f"  ... {len(self) - 12} more"] if len(self) > 12 else []
        return "\n".join([head, *shown, *more])


def align(*estimates: Estimate) -> tuple[Labels, Labels, list[Matrix]]:
    """Units and clusters of the union, and each psi on it, with zeros where a unit is absent."""
    kinds = {estimate.units.dtype.kind for estimate in estimates}
    if len(kinds - {"i", "u"}) > 1 or (kinds & {"i", "u"} and kinds - {"i", "u"}):
        raise CombinationError("the estimates label units by different types; use the same ids")
    units = np.unique(np.concatenate([estimate.units for estimate in estimates]))
    cluster = np.empty(len(units), dtype=object)
    known = np.zeros(len(units), dtype=bool)
    out = []
    for estimate in estimates:
        at = np.searchsorted(units, estimate.units)
        both = known[at]
        differs = np.flatnonzero(both & (cluster[at] != estimate.cluster))
        if len(differs):
            unit = differs[0]
            raise CombinationError(
                f"unit {estimate.units[unit]!s} is in cluster {cluster[at[unit]]!s} in one "
                f"estimate and in {estimate.cluster[unit]!s} in another. Build both panels with "
                "the same cluster column."
            )
        cluster[at] = estimate.cluster
        known[at] = True
        psi = np.zeros((len(units), len(estimate)))
        psi[at] = estimate.psi
        out.append(psi)
    if len({estimate.cluster.dtype.kind for estimate in estimates} - {"u"}) > 1:
        raise CombinationError("the estimates label clusters by different types; use the same ids")
    return units, np.array(cluster.tolist()), out


def _joined(estimates: Sequence[Estimate], estimand: str) -> Meta:
    metas = [estimate.meta for estimate in estimates]
    return Meta(
        estimand=estimand,
        method=_once(meta.method for meta in metas),
        outcome=_once(meta.outcome for meta in metas),
        n_obs=max(meta.n_obs for meta in metas),
        provenance=combine(*(meta.provenance for meta in metas)),
        notes=tuple(dict.fromkeys(note for meta in metas for note in meta.notes)),
        base=_once(meta.base for meta in metas if meta.base),
    )


def _once(texts: Iterable[str]) -> str:
    return " and ".join(dict.fromkeys(part for text in texts for part in text.split(" and ")))


def _shared(a: Estimate, b: Estimate) -> bool:
    return a.origin is not None and a.origin is b.origin


def _sum(a: Estimate, b: Estimate, sign: float) -> Estimate:
    if a.index != b.index:
        raise CombinationError(
            f"the estimates have different coordinates: {some(a.index.keys)} and "
            f"{some(b.index.keys)}. Use select() to keep what they share."
        )
    together = a.scores.plus(b.scores, sign)
    if together is None:
        units, cluster, (one, two) = align(a, b)
        together = Scores.dense(one + sign * two)
    else:
        units, cluster = a.units, a.cluster
    joiner = " plus " if sign > 0 else " minus "
    same = a.meta.estimand == b.meta.estimand
    shared = a.origin is not None and a.origin is b.origin
    combination = None
    if shared and a.combination is not None and b.combination is not None:
        combination = a.combination + sign * b.combination
    return Estimate(
        theta=a.theta + sign * b.theta,
        scores=together,
        units=units,
        cluster=cluster,
        index=a.index,
        meta=_joined(
            (a, b),
            f"{'difference in ' if sign < 0 else 'sum of '}{a.meta.estimand}"
            if same
            else f"{a.meta.estimand}{joiner}{b.meta.estimand}",
        ),
        origin=a.origin if shared else None,
        combination=combination,
        sides=None if a.sides is None or b.sides is None else a.sides.plus(b.sides),
    )


def stack(estimates: dict[str, Estimate], level: str = "estimate") -> Estimate:
    """Put estimates side by side with their joint covariance; ``level`` names the new level.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"town": ["a", "a", "b", "b"], "year": [1, 2, 1, 2],
    ...          "score": [1.0, 3.0, 1.0, 2.0], "start": [2, 2, None, None]}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> both = ek.stack({"one": ek.did.two_way(panel), "two": 2 * ek.did.two_way(panel)})
    >>> both.index.levels
    ('estimate', 'term')
    """
    parts = list(estimates.values())
    if not parts:
        raise CombinationError("nothing to stack")
    if len({part.index.levels for part in parts}) > 1:
        levels = some(part.index.levels for part in parts)
        raise CombinationError(f"different index levels: {levels}. Average them (ek.aggregate).")
    together = side_by_side(part.scores for part in parts)
    if together is None:
        units, cluster, psis = align(*parts)
        together = Scores.dense(np.hstack(psis))
    else:
        units, cluster = parts[0].units, parts[0].cluster
    keys = tuple((name, *key) for name, part in estimates.items() for key in part.index.keys)
    origin, counts = parts[0].origin, [part.counts for part in parts if part.counts is not None]
    shared = [part.combination for part in parts if part.origin is origin]
    given = [c for c in shared if c is not None]
    joint = origin is not None and len(given) == len(parts)
    return Estimate(
        theta=np.concatenate([part.theta for part in parts]),
        scores=together,
        units=units,
        cluster=cluster,
        index=Index((level, *parts[0].index.levels), keys),
        meta=_joined(parts, "; ".join(dict.fromkeys(part.meta.estimand for part in parts))),
        origin=origin if joint else None,
        combination=np.hstack(given) if joint else None,
        counts=np.concatenate(counts) if len(counts) == len(parts) else None,
        sides=beside([part.sides for part in parts]),
    )
