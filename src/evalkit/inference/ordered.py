"""An event study put in order: periods before and after the reference, without a gap."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from evalkit.core.arrays import Matrix
from evalkit.core.errors import IdentificationError, some
from evalkit.core.estimate import Estimate
from evalkit.inference.covariance import Vcov, clusters_of, covariance


def in_order(event: Estimate, reference: float) -> tuple[Estimate, int]:
    """The event study in the order of its periods, and how many lie before the reference."""
    if len(event.index.levels) != 1 or not all(
        isinstance(key[0], (int, float, np.number)) for key in event.index.keys
    ):
        raise IdentificationError(
            f"an event study has one coordinate per period; this estimate has "
            f"{', '.join(event.index.levels)} and keys {some(event.index.keys)}. Aggregate "
            'group-time effects with ek.aggregate(..., by="event")'
        )
    periods = np.array([key[0] for key in event.index.keys], float)
    at = np.flatnonzero(periods == reference)
    if len(at) and (event.theta[at] != 0).any():
        raise IdentificationError(
            f"the estimate at the reference {reference:g} is {event.theta[at[0]]:.4g}, not zero: "
            'its base varies. Estimate with base="universal", or name the reference'
        )
    order = np.argsort(periods, kind="stable")
    kept = [int(j) for j in order if periods[j] != reference]
    clock = np.sort(np.append(periods[kept], reference))
    before = int((clock < reference).sum())
    if before == 0 or before == len(kept):
        side = "before" if before == 0 else "after"
        raise IdentificationError(
            f"no period lies {side} the reference {reference:g}; the periods are "
            f"{some(f'{p:g}' for p in np.sort(periods))}. Bounds on trends need both sides: "
            "estimate leads as well, or name the reference"
        )
    steps = np.diff(clock)
    if (np.abs(steps - steps[0]) > 1e-9).any():
        raise IdentificationError(
            f"the periods {some((f'{p:g}' for p in clock), 12)} do not follow each other at equal "
            "steps, so that changes between them cannot be compared; select() a run without gaps"
        )
    made = event.take(kept)
    if np.isnan(made.theta).any():
        missing = [key[0] for key, x in zip(made.index.keys, made.theta, strict=True) if x != x]
        raise IdentificationError(f"periods {some(missing)} could not be estimated; leave them out")
    return replace(made, mass=None), before


def known(event: Estimate, vcov: Vcov) -> Matrix:
    """Covariance of an event study, refused if it is singular."""
    clusters = clusters_of(event)
    cov, _ = covariance(event, vcov, clusters)
    scale = np.sqrt(np.diag(cov))
    if (scale == 0).any() or np.linalg.matrix_rank(cov / np.outer(scale, scale)) < len(scale):
        raise IdentificationError(
            f"the covariance of {len(scale)} periods from {clusters} clusters is singular; ask "
            "about fewer periods with select(), or cluster at a finer level"
        )
    return cov
