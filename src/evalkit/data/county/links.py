"""What must hold between the tables of a folder: references, validity, roles and places.

Each check reads columns that their own contracts found sound, and passes over what is absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from evalkit.core.errors import some
from evalkit.data.county import TABLES
from evalkit.data.county.measures import UNITS

if TYPE_CHECKING:
    import pandas as pd

Tables: TypeAlias = "Mapping[str, pd.DataFrame]"
Found: TypeAlias = "tuple[str, str]"  # table, one line on what is broken


def failures(tables: Tables) -> Iterator[Found]:
    """Every rule between tables that is broken, as table and line.

    Examples
    --------
    >>> import pandas as pd
    >>> made = {"county": pd.DataFrame({"county_code": ["370202"]}),
    ...         "county_year": pd.DataFrame({"county_code": ["370203"]})}
    >>> list(failures(made))[0][1]
    'county_code: not in county.county_code; row 1 holds 370203. Add it there, or correct it here.'
    """
    yield from _references(tables)
    for check in CHECKS:
        yield from check(tables)


def _columns(tables: Tables, table: str, *names: str) -> pd.DataFrame | None:
    """These columns of a table, or None if one is absent or unsound."""
    frame = tables.get(table)
    if frame is None or not set(names) <= set(frame.columns):
        return None
    return frame[list(names)]


def _line(columns: str, says: str, wrong: pd.Series[Any], held: pd.Series[Any], do: str) -> str:
    at = wrong.fillna(False).to_numpy(bool).nonzero()[0]
    rows = f" (rows {some(at + 1)})" if len(at) > 1 else ""
    return f"{columns}: {says}; row {at[0] + 1} holds {held.iloc[at[0]]}{rows}. {do}"


def _unknown(values: pd.Series[Any], known: pd.Series[Any]) -> pd.Series[Any]:
    return values.notna() & ~values.isin(known)


def _references(tables: Tables) -> Iterator[Found]:
    for name, contract in TABLES.items():
        for column, target in contract.links.items():
            table, _, key = target.partition(".")
            mine, theirs = _columns(tables, name, column), _columns(tables, table, key)
            if mine is None or theirs is None:
                continue
            wrong = _unknown(mine[column], theirs[key])
            if wrong.any():
                do = "Add it there, or correct it here."
                yield name, _line(column, f"not in {target}", wrong, mine[column], do)


def _units(tables: Tables) -> Iterator[Found]:
    events = _columns(tables, "measure_event", "unit_id", "unit_kind")
    if events is None:
        return
    for kind, target in UNITS.items():
        table, _, key = target.partition(".")
        theirs = _columns(tables, table, key)
        if theirs is None:
            continue
        wrong = (events["unit_kind"] == kind) & _unknown(events["unit_id"], theirs[key])
        if wrong.any():
            do = "Correct the identifier or its kind."
            line = _line("unit_id", f"a {kind} not in {target}", wrong, events["unit_id"], do)
            yield "measure_event", line


def _one_county(tables: Tables) -> Iterator[Found]:
    schools = _columns(tables, "school", "school_id", "county_code")
    if schools is None:
        return
    twice = schools.groupby("school_id")["county_code"].transform("nunique") > 1
    if twice.any():
        do = "A school has one county; give the second school another identifier."
        line = _line("school_id", "stands in two counties", twice, schools["school_id"], do)
        yield "school", line


def _town_of_county(tables: Tables) -> Iterator[Found]:
    schools = _columns(tables, "school", "county_code", "town_code")
    towns = _columns(tables, "town", "town_code", "county_code")
    if schools is None or towns is None:
        return
    county = schools["town_code"].map(towns.drop_duplicates("town_code").set_index("town_code")
                                      ["county_code"])  # fmt: skip
    wrong = county.notna() & (county != schools["county_code"])
    if wrong.any():
        do = "Correct the school's county or its town."
        line = _line("town_code", "lies in another county", wrong, schools["town_code"], do)
        yield "school", line


def _years_of_validity(tables: Tables) -> Iterator[Found]:
    """Years outside the validity of a county's code, or outside a school's life."""
    spans = (
        ("county_year", "county_code", "county", "valid_from", "valid_to"),
        ("school_year", "school_id", "school", "opened", "closed"),
        ("school_cohort", "school_id", "school", "opened", "closed"),
        ("pupil_test", "school_id", "school", "opened", "closed"),
    )
    for name, key, table, first, last in spans:
        mine = _columns(tables, name, key, "year")
        theirs = _columns(tables, table, key, first, last)
        if mine is None or theirs is None:
            continue
        life = theirs.drop_duplicates(key).set_index(key)
        begun = mine[key].map(life[first].str[:4].astype("Int64"))
        ended = mine[key].map(life[last].str[:4].astype("Int64"))
        wrong = (mine["year"] < begun).fillna(False) | (mine["year"] > ended).fillna(False)
        if wrong.any():
            says = f"outside {table}.{first} to {table}.{last}"
            yield name, _line("year", says, wrong, mine["year"], "Correct the year or the dates.")


def _dates_of_validity(tables: Tables) -> Iterator[Found]:
    """Starts of memberships outside a school's life."""
    spells = _columns(tables, "group_membership", "school_id", "start")
    schools = _columns(tables, "school", "school_id", "opened", "closed")
    if spells is None or schools is None:
        return
    life = schools.drop_duplicates("school_id").set_index("school_id")
    early = (spells["start"] < spells["school_id"].map(life["opened"])).fillna(False)
    late = (spells["start"] > spells["school_id"].map(life["closed"])).fillna(False)
    wrong = early | late
    if wrong.any():
        says = "outside school.opened to school.closed"
        do = "Correct the dates."
        yield "group_membership", _line("start", says, wrong, spells["start"], do)


def _overlaps(tables: Tables) -> Iterator[Found]:
    """A school in two groups, or twice in one, on the same day; a group without a lead."""
    spells = _columns(tables, "group_membership", "group_id", "school_id", "start", "end", "role")
    if spells is None or spells.empty:
        return
    ordered = spells.sort_values(["school_id", "start"], kind="stable")
    before = ordered.groupby("school_id")["end"].shift()
    follows = ordered["school_id"].duplicated()
    wrong = follows & (before.isna() | (before >= ordered["start"]).fillna(False))
    wrong = wrong.reindex(spells.index)
    if wrong.any():
        do = "End the first spell before the second starts."
        says = "the school is still in another spell"
        yield (
            "group_membership",
            _line(
                "school_id + start", says, wrong, spells["school_id"] + " " + spells["start"], do
            ),
        )
    led = spells.loc[spells["role"] == "lead", "group_id"]
    wrong = _unknown(spells["group_id"], led)
    if wrong.any():
        do = "Name the lead school of the group."
        line = _line("group_id", "the group has no lead", wrong, spells["group_id"], do)
        yield "group_membership", line


def _tested(tables: Tables) -> Iterator[Found]:
    """More pupils tested than the school has."""
    cohorts = _columns(tables, "school_cohort", "school_id", "year", "n_tested")
    years = _columns(tables, "school_year", "school_id", "year", "pupils")
    if cohorts is None or years is None:
        return
    pupils = years.drop_duplicates(["school_id", "year"])
    there = cohorts.merge(pupils, on=["school_id", "year"], how="left")["pupils"]
    there.index = cohorts.index
    wrong = (cohorts["n_tested"] > there).fillna(False)
    if wrong.any():
        do = "Correct n_tested, or school_year.pupils."
        says = "more than school_year.pupils"
        yield "school_cohort", _line("n_tested", says, wrong, cohorts["n_tested"], do)


CHECKS: tuple[Callable[[Tables], Iterator[Found]], ...] = (
    _units,
    _one_county,
    _town_of_county,
    _years_of_validity,
    _dates_of_validity,
    _overlaps,
    _tested,
)
