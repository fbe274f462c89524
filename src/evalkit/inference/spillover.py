"""Effects on neighbours of the treated, and on the treated against units without such neighbours.

Not for effects of how many neighbours are treated: a ring asks whether any is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from evalkit.core.arrays import Flags, Vector
from evalkit.core.checks import check_panel, check_real
from evalkit.core.errors import IdentificationError, OptionError, PanelError
from evalkit.core.estimate import Estimate, stack
from evalkit.core.panel import Panel
from evalkit.inference.conley import arc, bordering, places_of, sphere
from evalkit.inference.resample import Estimator, quietly

Reach: TypeAlias = Callable[[Flags], Vector]


def spillover_rings(
    panel: Panel,
    estimator: Estimator,
    *,
    rings: Sequence[float],
    coordinates: tuple[str, str] = ("latitude", "longitude"),
    neighbours: Mapping[Any, Collection[Any]] | None = None,
) -> Estimate:
    r"""Estimate the effect on the treated, and on the untreated by their distance from them.

    A never-treated unit whose nearest treated unit is :math:`d` away is in ring :math:`k` if
    :math:`r_{k-1}<d\le r_k`, in the first if :math:`d\le r_1`, and clean if :math:`d>r_K`. Each
    ring and the treated are compared with the clean units alone: the estimator sees a panel of
    these two groups, in which a ring adopts when the first unit within :math:`r_K` does. If nothing
    spills over, ring effects are zero, and all that is lost is precision. If it does, an estimate
    that takes neighbours for controls is wrong by what spilled over to them. Where all adopt at
    once, two-way effects on the rings are Butts's regression on all of them together (diff-diff
    3.13.0, to its six digits).

    Rows of a treated unit after a neighbour has adopted and before it does itself are of neither
    state: they are left out as an adoption window, and counted.

    Parameters
    ----------
    panel : Panel
        With adoption dates that are known, not windows.
    estimator : callable
        ``Panel -> Estimate``; any that names its coordinates alike for all dates: average inside
        it where cohorts differ.
    rings : sequence of float
        Outer ends :math:`r_1<\dots<r_K`, in km; with ``neighbours``, in steps from border to
        border.
    coordinates : pair of str
        Covariates with latitude and longitude in degrees, as in :func:`conley`.
    neighbours : mapping of unit to units, optional
        Instead of distances: the units that border on each; the relation is made symmetric.

    Returns
    -------
    Estimate
        Its first index level is ``ring``: ``treated``, then the rings by their ends. The covariance
        between them, which share the clean units, is exact.

    Raises
    ------
    IdentificationError
        If a ring holds no unit, or none is clean.

    References
    ----------
    Butts (2023), Difference-in-differences estimation with spatial spillovers, arXiv 2105.03737;
    Clarke (2017), MPRA 81604, on rings.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> town, year = np.repeat(np.arange(120), 2), np.tile([1, 2], 120)  # in a row, 11 km apart
    >>> near = (town >= 40) & (town < 42)
    >>> effect = np.where(town < 40, 1.0, np.where(near, 0.5, 0.0)) * (year == 2)
    >>> frame = {"town": town, "year": year, "latitude": 20 + town / 10,
    ...          "longitude": 110 + 0 * town, "score": effect + rng.normal(size=240) / 99,
    ...          "start": np.where(town < 40, 2.0, np.nan)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", covariates=["latitude", "longitude"],
    ...                             provenance="synthetic")
    >>> ek.spillover_rings(panel, ek.did.two_way, rings=[25, 50]).theta.round(1) + 0.0
    array([1. , 0.5, 0. ])
    """
    check_panel(panel)
    ends = _ends(rings)
    if panel.earliest is not None:
        raise PanelError(
            "the panel has adoption windows: it is not known when a neighbour was treated. Name "
            "one column in Panel.from_frame(..., cohort=...)"
        )
    treated = np.isfinite(panel.cohort)
    if not treated.any():
        raise IdentificationError(
            "no unit is treated: name the adoption column in Panel.from_frame(..., cohort=...)"
        )
    reach = _by_distance(panel, coordinates) if neighbours is None else _by_steps(panel, neighbours)
    nearest = np.where(treated, 0.0, reach(treated))
    exposed = np.full(panel.n_units, np.inf)
    for date in np.unique(panel.cohort[treated])[::-1]:
        exposed[reach(panel.cohort == date) <= ends[-1]] = date
    unit = "km" if neighbours is None else "steps"
    clean = nearest > ends[-1]
    if not clean.any():
        raise IdentificationError(
            f"no unit lies beyond {ends[-1]:g} {unit} of every treated one; shorten the last ring"
        )
    groups, placed = {"treated": treated}, treated
    for low, high in zip((0.0, *ends[:-1]), ends, strict=True):
        name = f"{low:g} to {high:g} {unit}"
        groups[name] = (nearest <= high) & ~placed
        placed = placed | groups[name]
        if not groups[name].any():
            raise IdentificationError(
                f"no untreated unit lies {name} from its nearest treated one; join the ring to "
                "another"
            )
    start = np.where(treated, panel.cohort, exposed)
    count = ", ".join(f"{name} {int(mine.sum())}" for name, mine in groups.items())
    note = f"units: {count}; {int(clean.sum())} clean beyond {ends[-1]:g} {unit}"
    parts: dict[str, Estimate] = {}
    for name, mine in groups.items():
        kept = mine | clean
        dated = replace(panel, cohort=np.where(mine, start, np.inf), ledger=(*panel.ledger, note))
        part = dated.where(kept[panel.unit])
        if name == "treated":
            part = part.adopting(part.cohort, np.minimum(exposed[kept], part.cohort))
        parts[name] = quietly(estimator, part)
    return stack(parts, level="ring")


def _ends(rings: Sequence[float]) -> tuple[float, ...]:
    """The outer ends of the rings, checked."""
    if isinstance(rings, str) or not np.iterable(rings) or not len(rings):
        raise OptionError(f"rings={rings!r} must be the outer ends of rings, for example [10, 20]")
    for end in rings:
        check_real("rings", end, 0, remedy="ends of rings, in km or steps")
    ends = tuple(float(end) for end in rings)
    if any(b <= a for a, b in pairwise(ends)):
        raise OptionError(f"rings={list(rings)} must rise")
    return ends


def _by_distance(panel: Panel, coordinates: tuple[str, str]) -> Reach:
    """Kilometres from each unit to the nearest of some others."""
    from scipy.spatial import cKDTree

    point = sphere(places_of(panel, coordinates))

    def reach(sources: Flags) -> Vector:
        chord, _ = cKDTree(point[sources]).query(point)
        return arc(np.where(sources, np.inf, chord))

    return reach


def _by_steps(panel: Panel, neighbours: Mapping[Any, Collection[Any]]) -> Reach:
    """Borders to cross from each unit to the nearest of some others; inf if there is no way."""
    a, b, _ = bordering(panel.units, neighbours)
    here, there = np.concatenate([a, b]), np.concatenate([b, a])

    def reach(sources: Flags) -> Vector:
        steps, front, at = np.full(len(sources), np.inf), sources, 0.0
        seen = sources.copy()
        while front.any():
            at += 1
            beside = np.zeros(len(sources), bool)
            beside[there[front[here]]] = True
            front = beside & ~seen
            steps[front] = at
            seen |= front
        return steps

    return reach
