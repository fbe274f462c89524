"""The catalogue of documented measures: who adopted what, and when as far as a document says.

Dates are windows: a document often says only that something had begun by the day it was printed.
This module turns windows into exposure; ``bundling`` asks what the exposure can tell apart. It
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
    first = np.full(shape, np.datetime64("NaT", "D"), dtype="datetime64[D]")
    last = first.copy()
    at = (
        [places.index(place) for place in found["place"]],
        [families.index(family) for family in found["measure_family"]],
    )
    first[at] = found["first"].to_numpy("datetime64[D]")
    last[at] = found["last"].to_numpy("datetime64[D]")
    begun = np.where(np.isnat(first) & ~np.isnat(last), np.datetime64("0001-01-01"), first)
    low, high = shares(last, years), shares(begun, years)
    if whole_years:
        low, high = np.ceil(low), np.ceil(high)
    return Exposure(places, families, tuple(years), low, high, first, last)


def shares(start: NDArray[np.datetime64], years: Sequence[int]) -> NDArray[np.float64]:
    """Share of each year that lies on or after the start; no start, no exposure.

    Parameters
    ----------
    start : ndarray (J, k) of datetime64
        ``NaT`` where the family is not documented.
    years : sequence of int
        The T calendar years.

    Returns
    -------
    ndarray (J, T, k)

    Examples
    --------
    >>> begun = np.array([["2020-07-02", "NaT"]], dtype="datetime64[D]")
    >>> shares(begun, [2019, 2020, 2021])[0].tolist()
    [[0.0, 0.0], [0.5, 0.0], [1.0, 0.0]]
    """
    opens = np.array([f"{year:04d}-01-01" for year in years], dtype="datetime64[D]")
    closes = np.array([f"{year + 1:04d}-01-01" for year in years], dtype="datetime64[D]")
    days = (closes - opens).astype(float)[:, None]
    exposed = (closes[:, None] - start[:, None, :]) / np.timedelta64(1, "D")
    share: NDArray[np.float64] = np.clip(np.nan_to_num(exposed, nan=0.0) / days, 0.0, 1.0)
    return share
