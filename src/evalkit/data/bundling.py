"""Bundling: which documented measures the dates tell apart, and which they do not order.

A window says how little is known of a start, not when the start was. So every answer here is
for a scenario: all starts at one end of their windows, or each at a random day inside its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evalkit.core.checks import check_draws, check_seed
from evalkit.core.errors import check_option
from evalkit.data.catalogue import Exposure, Start, shares

Undated: TypeAlias = Literal["spread", "latest"]

TOLERANCE = 1e-9  # of a projection of unit vectors: far above rounding, far below any real share


@dataclass(frozen=True, slots=True)
class Bundling:
    """What an exposure can and cannot tell apart in one scenario of dates.

    Attributes
    ----------
    families : tuple of str
        The k families whose exposure is documented in at least one place.
    rank : int
        Rank of their exposure with place and year effects removed; k if all can be told apart.
    singular_values : ndarray (k,)
        Of that matrix with columns scaled to length one, largest first.
    condition : float
        Largest over smallest singular value; infinite below full rank.
    condition_within_rank : float
        Largest over smallest singular value that is not zero.
    absorbed : tuple of str
        Families that place and year effects explain completely.
    estimable : tuple of str
        Families whose own effect the matrix identifies.
    collinear : tuple of tuple of str
        Sets in which only combinations of effects are identified.
    same : tuple of (place, tuple of str)
        Sets of families whose starts are known only to one and the same window in a place; their
        documented dates do not order them, dated records might.
    undated : tuple of (place, str)
        Families named in a place without an earliest date.
    """

    families: tuple[str, ...]
    rank: int
    singular_values: NDArray[np.float64]
    condition: float
    condition_within_rank: float
    absorbed: tuple[str, ...]
    estimable: tuple[str, ...]
    collinear: tuple[tuple[str, ...], ...]
    same: tuple[tuple[str, tuple[str, ...]], ...]
    undated: tuple[tuple[str, str], ...]


def bundling(exposure: Exposure, *, start: Start = "latest") -> Bundling:
    """Say which families of measures an exposure can tell apart, in one scenario of dates.

    Every measure acts at once and alike everywhere, it began at the named end of its window, and a
    place whose documents do not mention it did not have it. The two ends are scenarios and no
    bounds: starts that share an end become ties there, so that dates inside the windows can
    separate more families, or fewer. :func:`random_starts` tries such dates.

    Parameters
    ----------
    exposure : Exposure
        J places, T years, k families.
    start : {"earliest", "latest"}
        End of the windows at which measures are taken to begin.

    Examples
    --------
    >>> from evalkit.data.catalogue import exposure_matrix
    >>> rows = pd.DataFrame({
    ...     "id": ["A1", "A2", "A3"], "measure_family": ["groups", "funding", "posts"],
    ...     "gbt2260_code": ["370200", "370200", "370300"],
    ...     "start_earliest": pd.to_datetime(["2019-01-01", "2019-01-01", "2021-01-01"]),
    ...     "start_latest": pd.to_datetime(["2019-12-31", "2019-12-31", "2021-01-01"]),
    ... })
    >>> found = bundling(exposure_matrix(rows))
    >>> found.rank, found.collinear, found.estimable
    (2, (('groups', 'funding'),), ('posts',))
    >>> found.same
    (('370200', ('groups', 'funding')),)
    """
    begun = exposure.matrix(start).to_numpy().reshape(exposure.low.shape)
    values, rank, lost, seen = _spectrum(begun)
    free = seen & (np.abs(np.diagonal(lost)) < TOLERANCE)
    full = rank == len(values) == len(seen)

    def named(columns: NDArray[np.bool_] | list[int]) -> tuple[str, ...]:
        return tuple(np.array(exposure.families, dtype=object)[columns])

    return Bundling(
        families=exposure.families,
        rank=rank,
        singular_values=_frozen(values),
        condition=float(values[0] / values[-1]) if full else float("inf"),
        condition_within_rank=float(values[0] / values[rank - 1]),
        absorbed=named(~seen),
        estimable=named(free),
        collinear=tuple(named(group) for group in _linked(lost, seen & ~free)),
        same=same_windows(exposure),
        undated=tuple(
            (exposure.places[j], exposure.families[f])
            for j, f in zip(*np.nonzero(exposure.undated), strict=True)
        ),
    )


def _spectrum(
    exposed: NDArray[np.float64],
) -> tuple[NDArray[np.float64], int, NDArray[np.float64], NDArray[np.bool_]]:
    """Singular values, rank, the projection on what is lost, and which columns vary at all."""
    residual = exposed - exposed.mean(1, keepdims=True)
    residual = (residual - residual.mean(0, keepdims=True)).reshape(-1, exposed.shape[2])
    length = np.linalg.norm(residual, axis=0)
    seen = length > TOLERANCE * np.sqrt(len(residual))
    scaled = np.divide(residual, length, out=np.zeros_like(residual), where=seen)
    _, values, right = np.linalg.svd(scaled, full_matrices=False)
    kept = values > TOLERANCE * values[0]
    return values, int(kept.sum()), np.eye(len(seen)) - right[kept].T @ right[kept], seen


def random_starts(
    exposure: Exposure,
    *,
    draws: int = 300,
    seed: int = 0,
    undated: Undated = "spread",
    since: str = "2013-01-01",
    whole_years: bool = False,
) -> pd.DataFrame:
    """Draw each start at random inside its window and count the families told apart.

    A day is drawn uniformly, and independently of every other start. Independence is generous
    where one decision began several measures: those would truly share their day.

    Parameters
    ----------
    exposure : Exposure
        Only its windows are used.
    draws, seed : int
        Number of draws, and the seed of their generator: the same seed gives the same table.
    undated : {"spread", "latest"}
        A start without an earliest date lies anywhere from ``since``, or at its late end.
    since : str
        First day of an open window; a window that ends before it stays at its end.
    whole_years : bool
        Count a year as exposed if any day of it is, as yearly outcomes do.

    Returns
    -------
    pandas.DataFrame
        One row per draw: ``rank`` of the exposure with place and year effects removed, and
        ``apart``, the number of families whose own effect it identifies.

    Examples
    --------
    >>> from evalkit.data.catalogue import exposure_matrix
    >>> rows = pd.DataFrame({
    ...     "id": ["A1", "A2", "A3"], "measure_family": ["groups", "funding", "posts"],
    ...     "gbt2260_code": ["370200", "370200", "370300"],
    ...     "start_earliest": pd.to_datetime(["2019-01-01", "2019-01-01", "2021-01-01"]),
    ...     "start_latest": pd.to_datetime(["2019-12-31", "2019-12-31", "2021-01-01"]),
    ... })
    >>> random_starts(exposure_matrix(rows), draws=20).drop_duplicates().values.tolist()
    [[3, 3]]
    """
    check_option("undated", undated, ("spread", "latest"))
    check_draws(draws, 1, "some hundreds for a distribution")
    check_seed(seed)
    named, last = exposure.documented, exposure.last
    opened = np.datetime64(since) if undated == "spread" else last
    first = np.minimum(np.where(named & np.isnat(exposure.first), opened, exposure.first), last)
    days = np.where(named, (last - first).astype(int), 0)
    generator = np.random.default_rng(seed)
    counts = []
    for _ in range(draws):
        start = first + generator.integers(0, days + 1).astype("timedelta64[D]")
        begun = shares(start, exposure.years)
        _, rank, lost, seen = _spectrum(np.ceil(begun) if whole_years else begun)
        counts.append((rank, int((seen & (np.abs(np.diagonal(lost)) < TOLERANCE)).sum())))
    return pd.DataFrame(counts, columns=["rank", "apart"])


def same_windows(exposure: Exposure) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Sets of two or more families that have one and the same window in a place."""
    found: list[tuple[str, tuple[str, ...]]] = []
    for j, place in enumerate(exposure.places):
        sets: dict[tuple[str, str], list[str]] = {}
        for f in np.nonzero(exposure.documented[j])[0]:
            window = (str(exposure.first[j, f]), str(exposure.last[j, f]))
            sets.setdefault(window, []).append(exposure.families[f])
        found += [(place, tuple(names)) for names in sets.values() if len(names) > 1]
    return tuple(found)


def pairs(exposure: Exposure) -> pd.DataFrame:
    """Say of each pair of families in each place whether the documents fix which came first.

    Returns
    -------
    pandas.DataFrame
        Columns ``place``, ``family``, ``other``, ``relation``: ``same`` (one window), ``overlap``
        (one date fits both) or ``apart`` (one began first).
    """
    rows = []
    for j, place in enumerate(exposure.places):
        named = np.nonzero(exposure.documented[j])[0]
        for at, f in enumerate(named):
            for g in named[at + 1 :]:
                relation = _relation(
                    (exposure.first[j, f], exposure.last[j, f]),
                    (exposure.first[j, g], exposure.last[j, g]),
                )
                rows.append((place, exposure.families[f], exposure.families[g], relation))
    return pd.DataFrame(rows, columns=["place", "family", "other", "relation"])


def _relation(
    one: tuple[np.datetime64, np.datetime64], two: tuple[np.datetime64, np.datetime64]
) -> str:
    if str(one) == str(two):
        return "same"
    # A comparison with NaT is false: an open window is never surely later than another.
    return "apart" if one[1] < two[0] or two[1] < one[0] else "overlap"


def _linked(lost: NDArray[np.float64], among: NDArray[np.bool_]) -> list[list[int]]:
    """Connected sets of columns that share a direction the matrix cannot see."""
    left = [int(f) for f in np.nonzero(among)[0]]
    sets: list[list[int]] = []
    while left:
        grown, edge = [left[0]], [left[0]]
        while edge:
            near = [f for f in left if f not in grown and np.abs(lost[edge, f]).max() > TOLERANCE]
            grown, edge = grown + near, near
        sets.append(sorted(grown))
        left = [f for f in left if f not in grown]
    return sets


def _frozen(values: NDArray[np.float64]) -> NDArray[np.float64]:
    values.flags.writeable = False
    return values
