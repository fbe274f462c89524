"""Averages of the coordinates of an estimate: overall, by event time, by cohort, by period."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import sub
from typing import Any

import numpy as np

from evalkit.core.arrays import Codes, Matrix, Vector
from evalkit.core.checks import check_estimate, check_whole, refuse_text_or_repeats
from evalkit.core.errors import OptionError, some
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.scores import Scores
from evalkit.core.sparse import Sparse


def aggregate(
    estimate: Estimate,
    *,
    by: str | Sequence[str] = (),
    weights: Mapping[Any, float] | None = None,
    horizons: Sequence[int] = (),
) -> Estimate:
    r"""Average coordinates that share the levels ``by``; with no level, average them all.

    Group-time effects (levels ``cohort`` and ``time``) may be averaged ``by="event"``, the time
    since adoption; every other average of them leaves out the placebo cells before adoption.
    The sides of a triple difference (level ``side``) are never averaged with each other.
    Coordinates that could not be estimated (NaN) are left out, and named in the notes.
    Where the estimate knows the estimated ``mass`` of its coordinates, that is the weight, and
    its sampling noise enters: with :math:`\theta=\sum_k W_k\theta_k/\sum_k W_k`,
    :math:`\psi=\sum_k [W_k\psi_k+(\theta_k-\theta)\psi_{W_k}]/\sum_k W_k`.

    Parameters
    ----------
    estimate : Estimate
        Any estimate.
    by : str or sequence of str
        Levels of the index to keep.
    weights : mapping of key to float, optional
        Known, non-negative weight of each coordinate, instead of the estimated mass (default
        without one: equal weights). Those of coordinates that are left out do not matter.
    horizons : sequence of int, optional
        Event times to keep, of cohorts that have all of them only: averages at different horizons
        are then of the same cohorts.

    Returns
    -------
    Estimate
        One coordinate per value of ``by``. An average by cohort keeps the cohort's mass, so that
        averaging it once more gives the overall effect of Callaway and Sant'Anna (2021), eq. 3.8.
        Its ``counts`` are the treated units of its cohorts, each in the period in which most of
        them are seen, and the largest comparison group.

    References
    ----------
    Callaway and Sant'Anna (2021), section 3 and corollary 2.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> frame = {"town": np.repeat(np.arange(40), 3), "year": np.tile([1, 2, 3], 40),
    ...          "score": rng.normal(size=120), "start": np.repeat([2.0, np.nan], 60)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> average = ek.aggregate(ek.did.callaway_santanna(panel))
    >>> average.theta.shape
    (1,)
    """
    check_estimate(estimate)
    if not isinstance(by, str):
        refuse_text_or_repeats("by", by)
    levels = (by,) if isinstance(by, str) else tuple(by)
    horizons = _whole(horizons)
    if not len(estimate):
        raise OptionError("the estimate has no coordinate to average")
    _refuse_strange(weights, estimate)
    if "side" in estimate.index.levels and "side" not in levels:
        levels = ("side", *levels)
    staggered = estimate.mass is not None and {"cohort", "time"} <= set(estimate.index.levels)
    if staggered and "event" not in levels:
        before = [horizon for horizon in horizons if horizon < 0]
        if before:
            raise OptionError(
                f"horizons {some(before)} lie before adoption, which only by='event' keeps apart"
            )
        estimate = _after(estimate)
    estimate = _estimated(estimate)
    if horizons:
        estimate = _balanced(estimate, horizons, staggered)
    columns = [_level(estimate, level, staggered) for level in levels]
    groups = list(zip(*columns, strict=True)) if levels else [("average",)] * len(estimate)
    order = sorted(set(groups)) if levels else list(dict.fromkeys(groups))
    place = {name: row for row, name in enumerate(order)}
    row = np.array([place[group] for group in groups])
    member = (row == np.arange(len(order))[:, None]).astype(float)
    given = _given(estimate, weights)
    matrix = member * given
    totals = matrix.sum(axis=1, keepdims=True)
    if not (np.isfinite(given) & (given >= 0)).all() or not (totals > 0).all():
        raise OptionError(
            "weights must be finite and non-negative, with a positive sum in every group"
        )
    share = matrix / totals
    index = Index(levels or ("term",), tuple(order))
    mass = estimate.mass if weights is None else None
    out = estimate.contrast(
        share,
        index,
        f"average {estimate.meta.estimand}",
        mass=None if mass is None else _kept_mass(mass, member, index),
        counts=_counts(estimate, member),
    )
    if mass is None or mass.scores.vanish:
        return out
    noise = (member * estimate.theta - member * out.theta[:, None]) / totals
    sides = None if out.sides is None else replace(out.sides, pooled=True)
    return replace(out, scores=_with_noise(out, mass, noise), sides=sides)


def _whole(horizons: Sequence[int]) -> list[int]:
    if isinstance(horizons, str) or not np.iterable(horizons):
        raise OptionError(f"horizons takes a sequence of event times: horizons=[{horizons!r}]")
    for horizon in horizons:
        check_whole("each of horizons", horizon, -(2**31))
    return [int(horizon) for horizon in horizons]


def _after(estimate: Estimate) -> Estimate:
    events = _level(estimate, "event", staggered=True)
    keys = {key for key, e in zip(estimate.index.keys, events, strict=True) if e >= 0}
    if not keys:
        raise OptionError("every coordinate lies before adoption; there is no effect to average")
    if len(keys) == len(estimate):
        return estimate
    keep = np.array([key in keys for key in estimate.index.keys])
    return estimate.take(np.flatnonzero(keep).tolist())


def _estimated(estimate: Estimate) -> Estimate:
    """Without the coordinates that could not be estimated, which the notes then name."""
    absent = np.isnan(estimate.theta)
    if not absent.any():
        return estimate
    keys = [key for key, gone in zip(estimate.index.keys, absent, strict=True) if gone]
    if absent.all():
        raise OptionError(f"none of the coordinates could be estimated: {some(keys)}")
    out = estimate.take(np.flatnonzero(~absent).tolist())
    note = f"left out of the averages, as not estimated: {some(keys, 20)}"
    return replace(out, meta=replace(out.meta, notes=(*out.meta.notes, note)))


def _balanced(estimate: Estimate, horizons: Sequence[int], staggered: bool) -> Estimate:
    """Coordinates at the horizons, of cohorts (on each side) that have all of them."""
    if not staggered:
        raise OptionError("horizons= needs group-time effects, with levels cohort and time")
    events = _level(estimate, "event", staggered)
    levels = [level for level in estimate.index.levels if level != "time"]
    owners = list(zip(*(estimate.index.level(level) for level in levels), strict=True))
    seen: dict[Any, set[Any]] = {}
    for owner, event in zip(owners, events, strict=True):
        seen.setdefault(owner, set()).add(event)
    whole = {owner for owner, found in seen.items() if set(horizons) <= found}
    if not whole:
        raise OptionError(
            f"no cohort has all of the horizons {some(horizons, 20)}; they have "
            + some(
                (f"{some(owner)}: {min(found)} to {max(found)}" for owner, found in seen.items()), 9
            )
        )
    pairs = enumerate(zip(owners, events, strict=True))
    return estimate.take([k for k, (owner, e) in pairs if owner in whole and e in horizons])


def _counts(estimate: Estimate, member: Matrix) -> Codes | None:
    """Treated units of the cohorts of each average, and its largest comparison group."""
    if estimate.counts is None:
        return None
    treated, controls = member * estimate.counts.T[:, None]
    cohort = _cohorts(estimate)
    if cohort != sorted(cohort):
        order = np.argsort(cohort, kind="stable")
        treated, cohort = treated[:, order], sorted(cohort)
    first = [
        k for k, (c, before) in enumerate(zip(cohort, [-1, *cohort], strict=False)) if c != before
    ]
    most = np.maximum.reduceat(treated, first, axis=1)
    return np.array([most.sum(axis=1), controls.max(axis=1)]).T.astype(np.intp)


def _cohorts(estimate: Estimate) -> list[int]:
    """Codes of the treated cohorts of the coordinates; one if they name none."""
    named = [level for level in ("cohort", "treated") if level in estimate.index.levels]
    if not named:
        return [0] * len(estimate)
    place: dict[Any, int] = {}
    return [place.setdefault(c, len(place)) for c in estimate.index.level(named[0])]


def _level(estimate: Estimate, level: str, staggered: bool) -> tuple[Any, ...]:
    if level == "event" and staggered:
        return tuple(map(sub, estimate.index.level("time"), estimate.index.level("cohort")))
    return estimate.index.level(level)


def _given(estimate: Estimate, weights: Mapping[Any, float] | None) -> Vector:
    if weights is None:
        return np.ones(len(estimate)) if estimate.mass is None else estimate.mass.theta
    absent = [key for key in estimate.index.keys if key not in weights]
    if absent:
        raise OptionError(f"weights need one value per coordinate; there is none of {some(absent)}")
    return np.array([weights[key] for key in estimate.index.keys], float)


def _refuse_strange(weights: Mapping[Any, float] | None, estimate: Estimate) -> None:
    """Refuse weights of what the estimate has not; those of what is left out do not matter."""
    known = set(estimate.index.keys)
    strange = [key for key in weights or () if key not in known]
    if strange:
        keys = some(estimate.index.keys)
        raise OptionError(f"weights name {some(strange)}, which is no coordinate; there are {keys}")


def _with_noise(out: Estimate, mass: Estimate, noise: Matrix) -> Scores | Sparse:
    extra = mass.scores.dot(noise.T)
    return out.scores.plus(extra, 1.0) or Scores.dense(out.psi + extra.psi())


def _kept_mass(mass: Estimate, member: Matrix, index: Index) -> Estimate | None:
    """Coordinates that share one mass keep it."""
    kept = []
    for row in member:
        mine = np.flatnonzero(row).tolist()
        kept.append(mine[0])
        # Equal numbers are not enough: two cohorts of one size have two masses.
        alike = (mass.theta[mine] == mass.theta[mine[0]]).all()
        if len(mine) > 1 and not (alike and mass.scores.take(mine).equal):
            return None
    return replace(mass.take(kept), index=index)
