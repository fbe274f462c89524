"""Several estimators on one panel: one table, and whether they differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from evalkit.core.errors import CombinationError, OptionError, some
from evalkit.core.estimate import Estimate, stack
from evalkit.core.labels import Index
from evalkit.core.panel import Panel
from evalkit.core.scores import Scores
from evalkit.inference.covariance import Vcov
from evalkit.inference.few import Few
from evalkit.inference.infer import Inference, infer

if TYPE_CHECKING:
    import pandas as pd


SAME = 1e-9  # contributions that differ by less, relative to the largest, are one estimator's


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Estimates of the same coordinates by several estimators, and all pairwise differences.

    Attributes
    ----------
    together : Inference
        Index levels ``estimator`` and those of the estimates.
    differences : Inference
        First minus second; levels ``first``, ``second`` and those of the estimates. Their standard
        errors use the joint covariance, so estimators that share an error cancel it.
    samples : pandas.DataFrame
        Rows, units, clusters and notes of each estimator.
    """

    together: Inference
    differences: Inference
    samples: pd.DataFrame

    def __repr__(self) -> str:
        return f"{self.together!r}\n\nDifferences\n{self.differences!r}\n\n{self.samples}"


def compare(
    panel: Panel,
    estimators: Mapping[str, Callable[[Panel], Estimate]],
    *,
    vcov: Vcov = "CR1",
    level: float = 0.95,
    few: Few = "withhold",
) -> Comparison:
    """Run estimators on one panel and test whether they differ.

    Parameters
    ----------
    panel : Panel
    estimators : mapping of str to callable
        Each takes the panel and returns an estimate with the same index levels; what they have in
        common is compared.
    vcov, level, few
        As in :func:`infer`; CR0 or CR1, which every estimator has.

    Returns
    -------
    Comparison

    Raises
    ------
    OptionError
        With fewer than two estimators.
    CombinationError
        If their index levels differ, or no coordinate is common to all.

    References
    ----------
    Hausman (1978), with the covariance of the difference taken from the contributions, so that
    neither estimator need be efficient.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> frame = {"town": np.repeat(np.arange(40), 3), "year": np.tile([1, 2, 3], 40),
    ...          "score": rng.normal(size=120), "start": np.repeat([2.0, 3.0, np.nan, np.nan], 30)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> both = ek.compare(panel, {"group-time": ek.did.callaway_santanna,
    ...                           "imputation": ek.did.imputation})
    >>> both.differences.keys[0]
    ('group-time', 'imputation', 2, 2)
    """
    if len(estimators) < 2:
        raise OptionError("a comparison needs at least two estimators")
    made = {name: run(panel) for name, run in estimators.items()}
    levels = {name: estimate.index.levels for name, estimate in made.items()}
    if len(set(levels.values())) > 1:
        listed = some((f"{name} has {', '.join(level)}" for name, level in levels.items()), 12)
        raise CombinationError(f"the index levels differ: {listed}. Aggregate to common levels.")
    first = next(iter(made.values()))
    common = [
        key for key in first.index.keys if all(key in other.index.keys for other in made.values())
    ]
    if not common:
        raise CombinationError("no coordinate is common to all estimators")
    shared = {
        name: estimate.take([estimate.index.keys.index(key) for key in common])
        for name, estimate in made.items()
    }
    parts = {
        (one, other): _difference(shared[one], shared[other])
        for one, other in combinations(shared, 2)
    }
    joint = stack({" minus ".join(pair): part for pair, part in parts.items()})
    keys = tuple((*pair, *key) for pair in parts for key in common)
    differences = joint.relabel(Index(("first", "second", *first.index.levels), keys))
    return Comparison(
        together=infer(stack(shared, level="estimator"), vcov=vcov, level=level, few=few),
        differences=infer(differences, vcov=vcov, level=level, few=few),
        samples=_samples(made),
    )


def _difference(one: Estimate, other: Estimate) -> Estimate:
    """One minus the other; exactly zero where the two are the same but for rounding."""
    difference = one - other
    psi, scale = difference.psi, np.abs(one.psi).max(axis=0)
    same = np.abs(psi).max(axis=0) <= SAME * scale
    if not same.any():
        return difference
    return replace(
        difference,
        theta=np.where(same, 0.0, difference.theta),
        scores=Scores.dense(np.where(same, 0.0, psi)),
    )


def _samples(made: Mapping[str, Estimate]) -> pd.DataFrame:
    import pandas as pd

    rows = [
        {
            "estimator": name,
            "rows": estimate.meta.n_obs,
            "units": len(estimate.units),
            "clusters": estimate.n_clusters,
            "notes": "; ".join(estimate.meta.notes),
        }
        for name, estimate in made.items()
    ]
    return pd.DataFrame(rows)
