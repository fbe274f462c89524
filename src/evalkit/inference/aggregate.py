"""Averages of the coordinates of an estimate: overall, by event time, by cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evalkit.core.errors import OptionError
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index


def aggregate(
    estimate: Estimate,
    *,
    by: str | Sequence[str] = (),
    weights: Mapping[Any, float] | None = None,
) -> Estimate:
    """Average coordinates that share the levels ``by``; with no level, average them all.

    Parameters
    ----------
    estimate : Estimate
        Any estimate.
    by : str or sequence of str
        Levels of the index to keep.
    weights : mapping of key to float, optional
        Known, non-negative weight of each coordinate (default: equal). Weights that were
        themselves estimated belong into the estimator, which knows their noise.

    Returns
    -------
    Estimate
        One coordinate per value of ``by``, with the covariance that follows.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> frame = {"town": np.repeat(np.arange(40), 3), "year": np.tile([1, 2, 3], 40),
    ...          "score": rng.normal(size=120), "start": np.repeat([2.0, np.nan], 60)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> event = ek.did.event_study(panel)
    >>> average = ek.aggregate(event.select(event=lambda e: e >= 0))
    >>> bool(np.isclose(average.theta[0], ek.did.two_way(panel).theta[0]))
    True
    """
    levels = (by,) if isinstance(by, str) else tuple(by)
    given = np.ones(len(estimate))
    if weights is not None:
        unknown = set(weights) - set(estimate.index.keys)
        if unknown or len(weights) != len(estimate):
            raise OptionError(
                f"weights need one value per coordinate; the keys are {estimate.index.keys}"
            )
        given = np.array([weights[key] for key in estimate.index.keys], float)
    values = [estimate.index.level(level) for level in levels]
    groups = list(zip(*values, strict=True)) if levels else [("average",)] * len(estimate)
    order = list(dict.fromkeys(groups))
    matrix = np.array(
        [[w * (g == name) for g, w in zip(groups, given, strict=True)] for name in order]
    )
    totals = matrix.sum(axis=1, keepdims=True)
    if (given < 0).any() or (totals <= 0).any():
        raise OptionError("weights must be non-negative, with a positive sum in every group")
    index = Index(levels or ("term",), tuple(order))
    return estimate.contrast(matrix / totals, index, f"average {estimate.meta.estimand}")
