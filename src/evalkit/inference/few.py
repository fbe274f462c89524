"""Whether enough clusters stand on each side for a normal-theory p-value, and what to do if not.

With few treated clusters the residuals of their own mean hide the noise of the treated, and a true
null is rejected far more often than the p-value says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from evalkit.core.arrays import Flags, encode
from evalkit.core.errors import some
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Key
from evalkit.core.sides import Standing
from evalkit.inference.covariance import Vcov

Few: TypeAlias = Literal["withhold", "show"]
FEW = 10  # clusters, in all or on one side, below which a clustered standard error is in doubt
GROUP = 5  # treated clusters of a typical cohort with a mean of its own, below which it is

REMEDY = (
    "Defensible: randomisation under the rule that assigned treatment (ek.randomisation), "
    "Conley-Taber or Ferman-Pinto (ek.conley_taber, ek.ferman_pinto) and, from two treated "
    "clusters on, vcov='CR3' for least squares and ek.jackknife for the rest. "
    "ek.few_treated(panel, estimator, seed=1) sets them side by side with the measured size of "
    "each; few='show' shows what is withheld."
)


@dataclass(frozen=True, slots=True, eq=False)
class Doubt:
    """Coordinates that too few clusters stand behind.

    Attributes
    ----------
    flags : Flags (k,)
        True where a normal-theory p-value and interval are not defensible.
    standing : Standing or None
        Clusters behind each coordinate, if the estimate knows its two sides.
    text : str
        What is wrong, or nothing.
    """

    flags: Flags
    standing: Standing | None
    text: str = ""


def doubt(estimate: Estimate, vcov: Vcov, clusters: int) -> Doubt:
    """Count the clusters behind each coordinate, and say which are too few for ``vcov``."""
    standing = None if estimate.sides is None else estimate.sides.standing()
    if vcov in ("CR2", "CR3"):
        return _alone(estimate, standing, clusters)
    few = np.zeros(len(estimate), bool)
    if standing is not None:
        few = ~np.isnan(estimate.theta) & (
            (np.rint(standing.equal) < FEW).any(axis=1) | (np.rint(standing.group) < GROUP)
        )
    if standing is not None and few.any():
        text = (
            f"{_names(estimate, few)}: {_counted(standing, int(np.flatnonzero(few)[0]))}. "
            "A normal-theory p-value would be wrong, so p-values and intervals are withheld. "
        )
        return Doubt(few, standing, text + REMEDY)
    return Doubt(few, standing, _few_in_all(clusters))


def _alone(estimate: Estimate, standing: Standing | None, clusters: int) -> Doubt:
    """CR2 and CR3 with their degrees of freedom fail only where one cluster stands alone."""
    codes, _ = encode(estimate.cluster)
    if estimate.leverage is None or estimate.combination is None:
        return Doubt(np.zeros(len(estimate), bool), standing)
    alone = estimate.leverage.identified_by_one(codes, estimate.combination)
    if not alone.any():
        return Doubt(alone, standing, _few_in_all(clusters))
    text = (
        f"a single cluster identifies {_names(estimate, alone)}: its own error cannot be seen in "
        "the residuals, so p-values and intervals are withheld. "
    )
    return Doubt(alone, standing, text + REMEDY)


def _few_in_all(clusters: int) -> str:
    if clusters >= FEW:
        return ""
    return (
        f"only {clusters} clusters: clustered standard errors are unreliable; "
        "prefer CR2 or CR3 with their degrees of freedom, or randomisation inference"
    )


def _names(estimate: Estimate, flags: Flags) -> str:
    keys: list[Key] = [key for key, few in zip(estimate.index.keys, flags, strict=True) if few]
    return some(" ".join(map(str, key)) for key in keys)


def _counted(standing: Standing, k: int) -> str:
    """The clusters behind one coordinate, in words."""
    sides = [
        _equal(int(count), float(equal))
        for count, equal in zip(standing.clusters[k], standing.equal[k], strict=True)
    ]
    group = standing.group[k]
    cohorts = (
        f", in cohorts of about {group:.0f}"
        if np.rint(group) < np.rint(standing.equal[k, 0])
        else ""
    )
    return f"{sides[0]} treated clusters{cohorts}, against {sides[1]} untreated"


def _equal(count: int, equal: float) -> str:
    return f"{count}" if round(equal) == count else f"{count} (that count like {equal:.0f})"
