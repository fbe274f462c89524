"""Several estimators on one panel: one table, and whether they differ."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from evalkit.core.checks import check_estimate
from evalkit.core.errors import (
    CombinationError,
    DoubtWarning,
    IdentificationError,
    OptionError,
    some,
)
from evalkit.core.estimate import Estimate, stack
from evalkit.core.labels import Index
from evalkit.core.panel import Panel
from evalkit.core.scores import Scores
from evalkit.inference.covariance import Vcov
from evalkit.inference.few import Few
from evalkit.inference.infer import Inference, infer
from evalkit.inference.resample import Estimator

if TYPE_CHECKING:
    import pandas as pd

SAME = 1e-9  # estimates and contributions that differ by less, relative to their size, are one


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
        One row per estimator: units that contribute to a compared coordinate and units of the panel
        that do not; likewise rows, where the estimator is linear in the outcome (else empty);
        clusters; and what was left out, in words.
    """

    together: Inference
    differences: Inference
    samples: pd.DataFrame

    def __repr__(self) -> str:
        return f"{self.together!r}\n\nDifferences\n{self.differences!r}\n\n{self.samples}"


def compare(
    panel: Panel,
    estimators: Mapping[str, Estimator] | Sequence[Estimator],
    *,
    vcov: Vcov = "CR1",
    level: float = 0.95,
    few: Few = "withhold",
) -> Comparison:
    """Run estimators on one panel and test whether they differ.

    Parameters
    ----------
    panel : Panel
    estimators : mapping of str to callable, or sequence of callables
        Each takes the panel and returns an estimate with the same index levels; what they have in
        common is compared. In a sequence each is called by the method of its estimate.
    vcov, level, few
        As in :func:`infer`; CR0 or CR1, which every estimator has.

    Returns
    -------
    Comparison

    Raises
    ------
    OptionError
        With fewer than two estimators, or two of one name.
    IdentificationError
        If an estimator cannot answer, with its name.
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
    >>> both = ek.compare(panel, [ek.did.extended_two_way, ek.did.imputation])
    >>> both.differences.keys[0]
    ('extended two-way fixed effects', 'imputation', 2, 2)
    """
    if isinstance(estimators, Mapping):
        made = {name: _run(run, panel, name) for name, run in estimators.items()}
    else:
        estimates = [_run(run, panel, f"number {at + 1}") for at, run in enumerate(estimators)]
        made = {estimate.meta.method: estimate for estimate in estimates}
        if len(made) < len(estimates):
            raise OptionError(
                f"two estimators are called by one name, among {some(made)}; give a mapping from "
                "names to estimators"
            )
    if len(made) < 2:
        raise OptionError("a comparison needs at least two estimators")
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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoubtWarning)
        together, apart = (
            infer(one, vcov=vcov, level=level, few=few)
            for one in (stack(shared, level="estimator"), differences)
        )
    if together.withheld is not None:
        warnings.warn(together.caution, DoubtWarning, stacklevel=2)
    return Comparison(together, apart, _samples(panel, shared))


def _run(estimator: Estimator, panel: Panel, name: str) -> Estimate:
    try:
        return check_estimate(estimator(panel), f"what estimator {name} returns")
    except IdentificationError as wrong:
        raise IdentificationError(f"estimator {name}: {wrong}") from wrong


def _difference(one: Estimate, other: Estimate) -> Estimate:
    """One minus the other; exactly zero where the two are the same but for rounding."""
    difference = one - other
    psi, scale = difference.psi, np.abs(one.psi).max(axis=0)
    size = np.abs(one.theta) + np.abs(one.psi).sum(axis=0)
    same = np.abs(psi).max(axis=0) <= SAME * scale
    same &= np.abs(difference.theta) <= SAME * size
    if not same.any():
        return difference
    return replace(
        difference,
        theta=np.where(same, 0.0, difference.theta),
        scores=Scores.dense(np.where(same, 0.0, psi)),
    )


def _samples(panel: Panel, made: Mapping[str, Estimate]) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for name, estimate in made.items():
        on = (estimate.psi != 0).any(axis=1)
        linear = estimate.origin is not None and estimate.combination is not None
        used = int((estimate.weights != 0).any(axis=1).sum()) if linear else None
        rows.append(
            {
                "estimator": name,
                "units": int(on.sum()),
                "units_dropped": panel.n_units - int(on.sum()),
                "rows": used,
                "rows_dropped": None if used is None else len(panel.y) - used,
                "clusters": len(np.unique(estimate.cluster[on])),
                "notes": "; ".join(estimate.meta.notes),
            }
        )
    return pd.DataFrame(rows).astype({"rows": "Int64", "rows_dropped": "Int64"})
