"""A simulated study as a folder: the tables of the contract, and the truth beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.core.errors import OptionError
from evalkit.data.county.folder import Manifest
from evalkit.data.simulate import resources, staff, survey, tables, truth
from evalkit.data.simulate.assumptions import Assumptions
from evalkit.data.simulate.county import County, county

if TYPE_CHECKING:
    import pandas as pd

COMPRESSED = (
    "school", "school_year", "school_cohort", "pupil_test", "teacher_year", "survey_year",
    "truth_county",
)  # fmt: skip
PREFIXED = {"teacher_year": "teacher_key", "survey_year": "respondent_key"}  # keys in order
TITLE = "SYNTHETIC: a simulated study of fictional counties with known truth"


def of_county(found: County) -> dict[str, pd.DataFrame]:
    """Every table of one county, with the sums and events that the truth is made of."""
    tested = tables.tests(found)
    stage = resources.stages(found, tested)
    events = tables.events(found)
    return {
        **tables.places(found),
        "county_year": resources.county_year(found, stage),
        "school_year": resources.school_year(found),
        "group_membership": tables.memberships(found),
        "measure_event": events.drop(columns="first_year"),
        "school_cohort": tested,
        "teacher_year": staff.teacher_year(found),
        "survey_year": survey.survey_year(found),
        "truth_event": events[["unit_id", "unit_kind", "measure_id", "first_year"]],
        "truth_county": truth.by_county(found),
        "truth": truth.sums(found),
    }


def panel(
    assumptions: Assumptions | None = None,
    *,
    pupils_of: Sequence[int] = (),
    pupils_since: int | None = None,
) -> dict[str, pd.DataFrame]:
    """Simulate a study.

    Parameters
    ----------
    assumptions : Assumptions, optional
        Sizes, spreads, calendars and true effects.
    pupils_of : sequence of int
        Counties, counted from 1, whose pupils are written out as ``pupil_test``.
    pupils_since : int, optional
        First test year of these pupils; default: all years.

    Returns
    -------
    dict of str to pandas.DataFrame
        The tables of the contract; ``truth`` (true average effects on the treated),
        ``truth_county`` (true effects on the mean of each county, year and stratum),
        ``truth_event`` (true first test years) and ``assumptions``.

    Examples
    --------
    >>> from evalkit.data.simulate import Assumptions, panel
    >>> made = panel(Assumptions(counties=3, schools=10))
    >>> made["school"].shape, made["school_cohort"]["school_id"].iloc[0]
    ((30, 11), 'S001K001')
    """
    import pandas as pd

    a = assumptions or Assumptions()
    _refuse(a, pupils_of)
    parts: dict[str, list[pd.DataFrame]] = {}
    for number in range(1, a.counties + 1):
        found = county(a, number)
        made = of_county(found)
        if number in pupils_of:
            made["pupil_test"] = tables.pupil_test(found, since=pupils_since)
        for name, frame in made.items():
            parts.setdefault(name, []).append(frame)
    attributed = parts.pop("truth")
    out = {name: _stacked(frames) for name, frames in parts.items()}
    out["truth"] = truth.average(attributed)
    out["assumptions"] = pd.DataFrame(
        [(name, str(value)) for name, value in asdict(a).items()], columns=["assumption", "value"]
    )
    return out


def _stacked(frames: list[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    whole = pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)
    return whole.reindex(columns=frames[0].columns)


def write(
    folder: Path | str,
    assumptions: Assumptions | None = None,
    *,
    pupils_of: Sequence[int] = (),
    pupils_since: int | None = None,
) -> list[Path]:
    """Simulate a study and write it as a folder that passes ``evalkit check``.

    Parameters
    ----------
    folder : path
        Made if absent; files of the same names are replaced.
    assumptions, pupils_of, pupils_since
        As in :func:`panel`.

    Returns
    -------
    list of Path
        The files written: the tables, ``truth*`` and ``truth_assumptions.csv``, ``study.json``.

    Examples
    --------
    >>> import tempfile
    >>> from evalkit.data.simulate import Assumptions, write
    >>> from evalkit.data.county.folder import check
    >>> folder = tempfile.mkdtemp()
    >>> len(write(folder, Assumptions(counties=2, schools=10))), check(folder)
    (15, {})
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    made = panel(assumptions, pupils_of=pupils_of, pupils_since=pupils_since)
    made["truth_assumptions"] = made.pop("assumptions")
    Manifest("synthetic", TITLE).write(folder)
    written = [folder / "study.json"]
    for name, frame in made.items():
        path = folder / f"{name}.{'parquet' if name in COMPRESSED else 'csv'}"
        if path.suffix == ".csv":
            frame.to_csv(path, index=False, lineterminator="\n")
        else:
            frame.to_parquet(path, index=False, compression="zstd", **_encoding(name, frame))
        written.append(path)
    return written


def _encoding(table: str, frame: pd.DataFrame) -> dict[str, Any]:
    """Keys that share their beginnings, row after row, are stored as what differs."""
    if table not in PREFIXED or frame.empty:
        return {}
    key = PREFIXED[table]
    return {
        "use_dictionary": [name for name in frame if name != key],
        "column_encoding": {key: "DELTA_BYTE_ARRAY"},
    }


def pupils(
    folder: Path | str, assumptions: Assumptions, *, counties: Sequence[int] | None = None
) -> Iterator[Path]:
    """Write ``pupil_test`` one Parquet file per county, for studies larger than memory.

    A county's file is the same whatever other counties are written, in whichever order.

    Parameters
    ----------
    folder : path
        Made if absent.
    assumptions : Assumptions
    counties : sequence of int, optional
        Counted from 1; default: all.

    Yields
    ------
    Path
        Each file as it is written.

    Examples
    --------
    >>> import tempfile
    >>> from evalkit.data.simulate import Assumptions, pupils
    >>> a = Assumptions(counties=2, schools=8)
    >>> [path.name for path in pupils(tempfile.mkdtemp(), a, counties=[2])]
    ['S002.parquet']
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    chosen = range(1, assumptions.counties + 1) if counties is None else counties
    _refuse(assumptions, chosen)
    for number in chosen:
        path = folder / f"{tables.code(number)}.parquet"
        frame = tables.pupil_test(county(assumptions, number))
        frame.to_parquet(path, index=False, compression="zstd")
        yield path


def _refuse(a: Assumptions, counties: Sequence[int]) -> None:
    if a.last < a.first:
        raise OptionError(
            f"first={a.first}, last={a.last}: the last test year cannot lie before the first"
        )
    outside = [number for number in counties if not 1 <= number <= a.counties]
    if outside:
        raise OptionError(
            f"county {outside[0]} is none of the {a.counties}; counties are counted from 1"
        )
    if not 1 <= a.counties <= 999 or not 1 <= a.schools <= 999:
        raise OptionError(
            f"counties={a.counties}, schools={a.schools}: their codes have room for 1 to 999"
        )
