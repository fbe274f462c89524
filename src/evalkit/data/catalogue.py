"""The catalogue of documented measures: who adopted what, when, and what the dates cannot separate.

Dates are windows: a document often says only that something had begun by the day it was printed.
This module turns windows into exposure and asks which measures the exposure can tell apart. It
holds no outcome and estimates nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evalkit.core.errors import IdentificationError, check_option
from evalkit.data import contracts
from evalkit.data.contract import load as load_table

By: TypeAlias = Literal["jurisdiction", "city", "county"]
Start: TypeAlias = Literal["earliest", "latest"]

YEARS = tuple(range(2012, 2025))
CONTEXT = "context"  # rows that describe a place or claim an outcome; they are not measures
DATES = ("document_date", "start_earliest", "start_latest", "deadline")
NOWHERE = "000000"  # code of the district whose plan names no place
TOLERANCE = 1e-9  # of a projection of unit vectors: far above rounding, far below any real share


def load(path: str | Path) -> pd.DataFrame:
    """Read the catalogue through its contract.

    Parameters
    ----------
    path : str or Path
        The file ``measures.csv``, one row per measure or figure.

    Returns
    -------
    pandas.DataFrame
        Dates as ``datetime64``; an absent date is ``NaT``.
    """
    frame = load_table(path, contracts.MEASURES)
    return frame.assign(**{name: pd.to_datetime(frame[name]) for name in DATES})


@dataclass(frozen=True, slots=True)
class Exposure:
    """Which places were exposed to which families of measures, as bounds.

    Attributes
    ----------
    places, families, years : tuple
        Labels of the J places, k families and T years.
    low, high : ndarray (J, T, k)
        Share of the year exposed if the measure began at the latest, and at the earliest, date.
    first, last : ndarray (J, k) of datetime64
        Window of the start; ``NaT`` in ``last``: not documented there; ``NaT`` in ``first`` alone:
        documented, but no earliest date is known.
    """

    places: tuple[str, ...]
    families: tuple[str, ...]
    years: tuple[int, ...]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    first: NDArray[np.datetime64]
    last: NDArray[np.datetime64]

    @property
    def documented(self) -> NDArray[np.bool_]:
        """True where a document names the family in the place, (J, k)."""
        return ~np.isnat(self.last)

    @property
    def undated(self) -> NDArray[np.bool_]:
        """True where it is named without an earliest date, (J, k)."""
        return self.documented & np.isnat(self.first)

    def matrix(self, start: Start = "latest") -> pd.DataFrame:
        """One row per place and year, one column per family, at one end of the windows."""
        check_option("start", start, ("earliest", "latest"))
        shares = self.low if start == "latest" else self.high
        index = pd.MultiIndex.from_product([self.places, self.years], names=["place", "year"])
        return pd.DataFrame(
            shares.reshape(-1, len(self.families)), index=index, columns=list(self.families)
        )


def windows(measures: pd.DataFrame) -> pd.DataFrame:
    """Give each family in each place the window of its first start.

    The first of several starts lies between the earliest lower and the earliest upper end. One row
    without a lower end leaves the family without one: it may be older than all the dated rows.

    Parameters
    ----------
    measures : pandas.DataFrame
        Columns ``id``, ``measure_family``, ``place``, ``start_earliest``, ``start_latest``.

    Returns
    -------
    pandas.DataFrame
        One row per place and family: ``first``, ``last``, ``rows`` (ids of the rows).

    Examples
    --------
    >>> rows = pd.DataFrame({
    ...     "id": ["A1", "A2"], "measure_family": "groups", "place": "X",
    ...     "start_earliest": pd.to_datetime(["2019-01-01", None]),
    ...     "start_latest": pd.to_datetime(["2019-12-31", "2020-06-30"]),
    ... })
    >>> found = windows(rows)
    >>> found["first"].isna().tolist(), str(found["last"].dt.date.item()), found["rows"].item()
    ([True], '2019-12-31', 'A1 A2')
    """
    keys = ["place", "measure_family"]
    kept = measures[measures["measure_family"] != CONTEXT]
    grouped = kept.groupby(keys, sort=False)
    return pd.DataFrame(
        {
            "first": grouped["start_earliest"].agg(lambda dates: dates.min(skipna=False)),
            "last": grouped["start_latest"].min(),
            "rows": grouped["id"].agg(" ".join),
        }
    ).reset_index()


def placed(
    measures: pd.DataFrame, *, by: By = "jurisdiction", jurisdictions: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Repeat each row once for every place it applies to.

    Parameters
    ----------
    measures : pandas.DataFrame
        The catalogue.
    by : {"jurisdiction", "city", "county"}
        ``jurisdiction``: the place that the row names. ``city``: the prefecture around it.
        ``county``: each county of a city for a city-wide row, which assumes that the row reached
        all of them.
    jurisdictions : pandas.DataFrame, optional
        Counties with ``gbt2260_code`` and ``city_code``; needed for ``city`` and ``county``.
    """
    check_option("by", by, ("jurisdiction", "city", "county"))
    codes = measures["gbt2260_code"].fillna(NOWHERE).astype(str)
    if by == "jurisdiction":
        return measures.assign(place=codes)
    if jurisdictions is None:
        raise IdentificationError(
            f"by={by!r} needs the table of jurisdictions; pass jurisdictions="
        )
    city = dict(zip(jurisdictions["gbt2260_code"], jurisdictions["city_code"], strict=True))
    if by == "city":
        return measures.assign(place=[city.get(code, code) for code in codes])
    counties = jurisdictions.groupby("city_code", sort=False)["gbt2260_code"].agg(list).to_dict()
    reached = pd.Series([counties.get(code, [code]) for code in codes], index=measures.index)
    return measures.assign(place=reached).explode("place", ignore_index=True)


def exposure_matrix(
    measures: pd.DataFrame,
    *,
    by: By = "jurisdiction",
    jurisdictions: pd.DataFrame | None = None,
    years: Sequence[int] = YEARS,
    whole_years: bool = False,
) -> Exposure:
    """Turn adoption windows into exposure of places to families of measures, year by year.

    Parameters
    ----------
    measures : pandas.DataFrame
        The catalogue.
    by : {"jurisdiction", "city", "county"}
        What a place is; see :func:`placed`.
    jurisdictions : pandas.DataFrame, optional
        Needed for ``city`` and ``county``.
    years : sequence of int
        Calendar years of the exposure.
    whole_years : bool
        True counts a year as exposed if any day of it is, which is all that outcomes taken once a
        year can see; False keeps the share of the year.

    Returns
    -------
    Exposure
        Places in order of their codes, families in order of the catalogue.

    Examples
    --------
    >>> rows = pd.DataFrame({
    ...     "id": ["A1"], "measure_family": ["groups"], "gbt2260_code": ["370200"],
    ...     "start_earliest": pd.to_datetime(["2019-01-01"]),
    ...     "start_latest": pd.to_datetime(["2020-07-02"]),
    ... })
    >>> exposed = exposure_matrix(rows, years=[2018, 2019, 2020, 2021])
    >>> exposed.high[0, :, 0].tolist(), exposed.low[0, :, 0].round(2).tolist()
    ([0.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.5, 1.0])
    """
    found = windows(placed(measures, by=by, jurisdictions=jurisdictions))
    places = tuple(sorted(found["place"].unique()))
    families = tuple(found["measure_family"].unique())
    shape = (len(places), len(families))
    first = np.full(shape, np.datetime64("NaT"), dtype="datetime64[D]")
    last = first.copy()
    at = (
        [places.index(place) for place in found["place"]],
        [families.index(family) for family in found["measure_family"]],
    )
    first[at] = found["first"].to_numpy("datetime64[D]")
    last[at] = found["last"].to_numpy("datetime64[D]")
    begun = np.where(np.isnat(first) & ~np.isnat(last), np.datetime64("0001-01-01"), first)
    low, high = _shares(last, years), _shares(begun, years)
    if whole_years:
        low, high = np.ceil(low), np.ceil(high)
    return Exposure(places, families, tuple(years), low, high, first, last)


def _shares(start: NDArray[np.datetime64], years: Sequence[int]) -> NDArray[np.float64]:
    """Share of each year that lies on or after the start, (J, T, k); no start, no exposure."""
    opens = np.array([f"{year:04d}-01-01" for year in years], dtype="datetime64[D]")
    closes = np.array([f"{year + 1:04d}-01-01" for year in years], dtype="datetime64[D]")
    days = (closes - opens).astype(float)[:, None]
    exposed = (closes[:, None] - start[:, None, :]) / np.timedelta64(1, "D")
    share: NDArray[np.float64] = np.clip(np.nan_to_num(exposed, nan=0.0) / days, 0.0, 1.0)
    return share


@dataclass(frozen=True, slots=True)
class Bundling:
    """What an exposure can and cannot tell apart.

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
        Sets of families with the same window in one place: whatever is observed there, their
        documented dates never tell them apart.
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
    """Say which families of measures an exposure can tell apart.

    Every measure is granted the case most favourable to telling it apart: it acts at once and
    alike everywhere, it began at the named end of its window, and a place whose documents do not
    mention it did not have it. What fails here fails in every study of these places and years.

    Parameters
    ----------
    exposure : Exposure
        J places, T years, k families.
    start : {"earliest", "latest"}
        End of the windows at which measures are taken to begin.

    Examples
    --------
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
    shares = exposure.matrix(start).to_numpy().reshape(exposure.low.shape)
    residual = shares - shares.mean(1, keepdims=True)
    residual = (residual - residual.mean(0, keepdims=True)).reshape(-1, len(exposure.families))
    length = np.linalg.norm(residual, axis=0)
    seen = length > TOLERANCE * np.sqrt(len(residual))
    scaled = np.divide(residual, length, out=np.zeros_like(residual), where=seen)
    _, values, right = np.linalg.svd(scaled, full_matrices=False)
    kept = values > TOLERANCE * values[0]
    lost = np.eye(len(seen)) - right[kept].T @ right[kept]
    singular = bool(kept.all() and len(kept) == len(seen))
    free = seen & (np.abs(np.diagonal(lost)) < TOLERANCE)

    def named(columns: NDArray[np.bool_] | list[int]) -> tuple[str, ...]:
        return tuple(np.array(exposure.families, dtype=object)[columns])

    return Bundling(
        families=exposure.families,
        rank=int(kept.sum()),
        singular_values=_frozen(values),
        condition=float(values[0] / values[-1]) if singular else float("inf"),
        condition_within_rank=float(values[0] / values[kept][-1]),
        absorbed=named(~seen),
        estimable=named(free),
        collinear=tuple(named(group) for group in _linked(lost, seen & ~free)),
        same=same_windows(exposure),
        undated=tuple(
            (exposure.places[j], exposure.families[f])
            for j, f in zip(*np.nonzero(exposure.undated), strict=True)
        ),
    )


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
        Columns ``place``, ``family``, ``other``, ``relation``: ``same`` (one window, never to be
        told apart there), ``overlap`` (one date fits both) or ``apart`` (one began first).
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
