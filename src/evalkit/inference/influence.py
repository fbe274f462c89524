"""Which clusters an estimate hangs on: what it would be without each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evalkit.core.arrays import Labels, Matrix, encode, frozen
from evalkit.core.errors import OptionError
from evalkit.core.estimate import Estimate
from evalkit.inference.covariance import clusters_of
from evalkit.inference.resample import Resampled

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False)
class Influence:
    """Estimates without each of ``G`` clusters.

    Attributes
    ----------
    estimate : Estimate
        On all clusters.
    clusters : Labels (G,)
    without : Matrix (G, k)
        The estimates without each cluster.
    method : str
        Exact, or of first order.
    """

    estimate: Estimate
    clusters: Labels
    without: Matrix
    method: str

    @property
    def table(self) -> pd.DataFrame:
        """One row per cluster and coordinate, the largest change first within a coordinate."""
        import pandas as pd

        parts = []
        for k, key in enumerate(self.estimate.index.keys):
            without = self.without[:, k]
            change = without - self.estimate.theta[k]
            order = np.argsort(-np.abs(change), kind="stable")
            levels = dict(zip(self.estimate.index.levels, key, strict=True))
            columns = {
                "cluster": self.clusters[order],
                "without": without[order],
                "change": change[order],
            }
            parts.append(pd.DataFrame({**levels, **columns}))
        return pd.concat(parts, ignore_index=True)

    def __repr__(self) -> str:
        meta = self.estimate.meta
        head = f"{meta.estimand} on {meta.outcome!r} without each cluster, {self.method}"
        k = len(self.estimate)
        shown = self.table.groupby(list(self.estimate.index.levels), sort=False).head(
            max(1, 10 // k)
        )
        return "\n".join([f"{head} ({meta.provenance})", shown.round(4).to_string(index=False)])


def influence(of: Estimate | Resampled) -> Influence:
    r"""Leave each cluster out: from contributions at once, or exactly from a jackknife.

    To first order :math:`\hat\theta_{-g}\approx\hat\theta-\frac{G}{G-1}S_g`, with :math:`S_g` the
    contributions of cluster g. It understates the pull of a cluster with much leverage: one that
    stands alone on its side has no contribution at all. A jackknife holds the exact values.

    Parameters
    ----------
    of : Estimate or Resampled
        An estimate; or :func:`jackknife` of it.

    Returns
    -------
    Influence

    Raises
    ------
    IdentificationError
        With a single cluster.

    References
    ----------
    Cook (1977); MacKinnon, Nielsen and Webb (2023) on clusters.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> frame = {"town": np.repeat(np.arange(40), 2), "year": np.tile([1, 2], 40),
    ...          "score": rng.normal(size=80), "start": np.repeat([2.0, np.nan], 40)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> ek.influence(ek.did.two_way(panel)).without.shape
    (40, 1)
    """
    if isinstance(of, Resampled):
        if of.clusters is None:
            raise OptionError(
                f"{of.method} leaves no cluster out; give a jackknife, or an estimate"
            )
        return Influence(of.estimate, of.clusters, of.draws, "exact")
    g = clusters_of(of)
    _, labels = encode(of.cluster)
    without = of.theta - g / (g - 1) * of.cluster_sums()
    return Influence(of, labels, frozen(without), "to first order")
