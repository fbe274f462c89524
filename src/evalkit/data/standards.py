"""The official standards of balance between schools: indicators, lines and limits, with sources.

Only the part on resources is here, which is computed from school tables. The guarantee, quality and
satisfaction items of the 2017 standard are judged from documents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from evalkit.core.door import Door
from evalkit.core.errors import OptionError, PanelError, check_option, some
from evalkit.core.panel import Panel
from evalkit.core.provenance import Provenance

__all__ = ["BASIC_2012", "QUALITY_2017", "STANDARDS", "Indicator", "Standard", "school_panel"]

Stage: TypeAlias = Literal["primary", "junior"]
STAGES: tuple[Stage, ...] = ("primary", "junior")


@dataclass(frozen=True, slots=True)
class Indicator:
    """One indicator: the school's ``column`` of totals, ``per`` so many pupils, and the line.

    Parameters
    ----------
    name, label, zh : str
    column : str
        Total of the school, as in the data contract.
    per : int
        Pupils that the total is divided among: 1 or 100.
    line : mapping of stage to float, optional
        What a school needs, in the indicator's unit.
    """

    name: str
    label: str
    zh: str
    column: str
    per: int = 1
    line: Mapping[Stage, float] | None = None


@dataclass(frozen=True, slots=True)
class Standard:
    """Indicators and limits of one document.

    Parameters
    ----------
    name : str
        Year of the document.
    document, zh : str
    indicators : tuple of Indicator
    limit : mapping of stage to float
        Highest coefficient of variation between schools: of the mean of all indicators if
        ``composite``, else of each.
    composite : bool
    enough : int, optional
        Lines that a school must reach, if it has lines.
    floor : float, optional
        Part of the line that the other indicators must reach.
    known : str
        How these numbers are known.
    """

    name: str
    document: str
    zh: str
    indicators: tuple[Indicator, ...]
    limit: Mapping[Stage, float]
    composite: bool
    known: str
    enough: int | None = None
    floor: float | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the indicators."""
        return tuple(one.name for one in self.indicators)


def _lines(primary: float, junior: float) -> Mapping[Stage, float]:
    return {"primary": primary, "junior": junior}


BASIC_2012 = Standard(
    name="2012",
    document="Interim measures for the supervision of balanced compulsory education, no. 3 of 2012",
    zh="县域义务教育均衡发展督导评估暂行办法（教督〔2012〕3号）",
    indicators=(
        Indicator("rooms", "teaching rooms, m2 per pupil", "生均教学及辅助用房面积", "room_m2"),
        Indicator("sports", "sports space, m2 per pupil", "生均体育运动场馆面积", "sport_m2"),
        Indicator("equipment", "equipment, yuan per pupil", "生均教学仪器设备值", "equipment_yuan"),
        Indicator("computers", "computers per 100 pupils", "每百名学生拥有计算机台数",
                  "computers", 100),
        Indicator("books", "books per pupil", "生均图书册数", "books"),
        Indicator("teachers", "teachers per pupil", "师生比", "teachers"),
        Indicator("degree", "teachers above the required degree, per pupil",
                  "生均高于规定学历教师数", "above_required_degree"),
        Indicator("title", "teachers of middle or higher title, per pupil",
                  "生均中级及以上专业技术职务教师数", "middle_title"),
    ),
    limit=_lines(0.65, 0.55),
    composite=True,
    known="indicators and the unweighted mean from a published provincial table, whose four rows "
    "are found again; the limits from memory",
)  # fmt: skip

QUALITY_2017 = Standard(
    name="2017",
    document="Measures for the supervision of quality-balanced schooling, no. 6 of 2017",
    zh="县域义务教育优质均衡发展督导评估办法（教督〔2017〕6号）",
    indicators=(
        Indicator("degree", "teachers above the required degree per 100 pupils",
                  "每百名学生拥有高于规定学历教师数", "above_required_degree", 100,
                  _lines(4.2, 5.3)),
        Indicator("backbone", "county-level backbone teachers per 100 pupils",
                  "每百名学生拥有县级以上骨干教师数", "backbone", 100, _lines(1.0, 1.0)),
        Indicator("arts", "sports and arts teachers per 100 pupils",
                  "每百名学生拥有体育、艺术专任教师数", "pe_art_music", 100, _lines(0.9, 0.9)),
        Indicator("rooms", "teaching rooms, m2 per pupil", "生均教学及辅助用房面积", "room_m2", 1,
                  _lines(4.5, 5.8)),
        Indicator("sports", "sports space, m2 per pupil", "生均体育运动场馆面积", "sport_m2", 1,
                  _lines(7.5, 10.2)),
        Indicator("equipment", "equipment, yuan per pupil", "生均教学仪器设备值", "equipment_yuan",
                  1, _lines(2000.0, 2500.0)),
        Indicator("media", "networked media classrooms per 100 pupils",
                  "每百名学生拥有网络多媒体教室数", "media_rooms", 100, _lines(2.3, 2.4)),
    ),
    limit=_lines(0.50, 0.45),
    composite=False,
    known="lines, limits and six of seven from two public texts on its implementation; the 85 per "
    "cent for the rest, and that every indicator has the limit, from memory",
    enough=6,
    floor=0.85,
)  # fmt: skip

STANDARDS: Mapping[str, Standard] = {one.name: one for one in (BASIC_2012, QUALITY_2017)}


def standard_of(standard: str | Standard) -> Standard:
    """A standard, or the one with this name."""
    if isinstance(standard, Standard):
        return standard
    check_option("standard", standard, STANDARDS)
    return STANDARDS[standard]


def school_panel(
    frame: Any,
    *,
    standard: str | Standard,
    provenance: Provenance,
    school: str = "school_id",
    county: str = "county_code",
    year: str = "year",
    pupils: str = "pupils",
    categories: Sequence[str] = (),
    smallest: int = 50,
) -> Panel:
    """A panel of schools with the indicators of a standard, weighted by pupils.

    Each stage is judged by itself: give primary or junior schools, and split through-schools by
    stage. Special and vocational schools are not judged; leave them out.

    Parameters
    ----------
    frame : pandas.DataFrame, polars.DataFrame or mapping of columns
        One row per school and year, with the totals that the indicators are made of.
    standard : {"2012", "2017"} or Standard
    provenance : {"real", "documented", "restricted", "synthetic"}
        Evidence tier of the table.
    school, county, year, pupils : str
        Column names. School ids are unique across counties.
    categories : sequence of str
        Further columns to keep, such as the stratum.
    smallest : int
        Teaching points with fewer pupils are left out, and counted.

    Returns
    -------
    Panel
        Units are schools, ``county`` is a category, and every indicator is a covariate.

    Raises
    ------
    PanelError
        A column that is absent, a total that is empty or negative, or a school that stands twice.

    Examples
    --------
    >>> import evalkit as ek
    >>> books = ek.standards.Indicator("books", "books per pupil", "生均图书册数", "books")
    >>> one = ek.standards.Standard("example", "method note", "", (books,),
    ...                             {"primary": 0.65}, False, "worked example")
    >>> frame = {"school_id": range(5), "county_code": ["c"] * 5, "year": [2012] * 5,
    ...          "pupils": [45, 37, 89, 76, 55], "books": [279, 137, 935, 160, 402]}
    >>> panel = ek.standards.school_panel(frame, standard=one, provenance="documented", smallest=0)
    >>> panel.column("books").round(2)
    array([ 6.2 ,  3.7 , 10.51,  2.11,  7.31])
    """
    import pandas as pd

    chosen = standard_of(standard)
    door = Door(frame)
    columns = list(dict.fromkeys(one.column for one in chosen.indicators))
    door.require([school, county, year, pupils, *columns, *categories])
    size = _total(door, pupils, least=1)
    totals = {name: _total(door, name) for name in columns}
    labels = {name: door.label(name) for name in (school, county, year, *categories)}
    _refuse_twice(labels[school], labels[county], labels[year], (school, county, year))
    kept = np.flatnonzero(size >= smallest)
    if not len(kept):
        raise PanelError(f"no school has {smallest} pupils; lower smallest=, or check {pupils!r}")
    table = pd.DataFrame({name: values[codes][kept] for name, (codes, values) in labels.items()})
    table[pupils] = size[kept]
    for one in chosen.indicators:
        table[one.name] = (one.per * totals[one.column] / size)[kept]
    panel = Panel.from_frame(
        table.rename(columns={county: "county"}) if county not in (school, year) else table,
        outcome=pupils,
        unit=school,
        time=year,
        weight=pupils,
        covariates=chosen.names,
        categories=["county", *categories],
        provenance=provenance,
    )
    small = len(size) - len(kept)
    note = f"{small} rows left out: fewer than {smallest} pupils"
    return replace(panel, ledger=(*panel.ledger, note)) if small else panel


def _total(door: Door, name: str, least: float = 0) -> Any:
    values = door.number(name)
    wrong = np.flatnonzero(~(values >= least))
    if len(wrong):
        held = "nothing" if np.isnan(values[wrong[0]]) else f"{values[wrong[0]]:g}"
        raise PanelError(
            f"column {name!r}, row {wrong[0] + 1} holds {held} ({len(wrong)} such rows); a total "
            f"of a school is at least {least:g}. Fill it in, or leave the school out"
        )
    return values


def _refuse_twice(
    school: tuple[Any, Any], county: tuple[Any, Any], year: tuple[Any, Any], names: tuple[str, ...]
) -> None:
    (s, schools), (c, counties), (t, years) = school, county, year
    cell = s * len(years) + t
    order = np.argsort(cell, kind="stable")
    same = np.flatnonzero(np.diff(cell[order]) == 0)
    if not len(same):
        return
    a, b = order[same[0]], order[same[0] + 1]
    where = f"{names[2]} {years[t[a]]!s}"
    if c[a] != c[b]:
        raise PanelError(
            f"{names[0]} {schools[s[a]]!s} stands in {names[1]} {counties[c[a]]!s} (row {a + 1}) "
            f"and in {counties[c[b]]!s} (row {b + 1}) in {where}. School ids must be unique across "
            f"counties: put the county in front of them"
        )
    raise PanelError(
        f"{names[0]} {schools[s[a]]!s} has two rows in {where} (rows {a + 1} and {b + 1}). Keep "
        "one row per school and year; judge each stage of a through-school in a panel of its own"
    )


def require_indicators(panel: Panel, standard: Standard) -> None:
    """Refuse a panel without the indicators of a standard, or with negative ones."""
    absent = [name for name in standard.names if name not in panel.names]
    if absent:
        raise OptionError(
            f"the panel has no indicator {some(absent)} of standard {standard.name!r}; make it "
            "with ek.standards.school_panel(...)"
        )
    negative = [name for name in standard.names if (panel.column(name) < 0).any()]
    if negative:
        raise PanelError(
            f"indicator {some(negative)} is negative in places; what a school has is not. Correct "
            "the table"
        )
