"""Contract of the events: which unit came under which measure, when and by how much."""

from __future__ import annotations

from evalkit.data.contract import Contract, Rule
from evalkit.data.county.columns import date, number, text

# Kind of unit -> where its identifiers stand.
UNITS = {
    "prefecture": "county.prefecture_code",
    "county": "county.county_code",
    "town": "town.town_code",
    "school": "school.school_id",
    "group": "group_membership.group_id",
}

MEASURE_EVENT = Contract(
    table="measure_event",
    label="Starts of measures, each a window of dates",
    zh="举措实施事件",
    key=["unit_id", "unit_kind", "measure_id"],
    columns={
        "unit_id": text("unit that came under the measure", "单位标识"),
        "unit_kind": text("kind of the unit", "单位类型", options=tuple(UNITS)),
        "measure_id": text("row of the catalogue of measures", "举措编号", pattern=r"[A-Z]\d{2,3}"),
        "start_earliest": date(
            "earliest possible start, empty if unknown", "最早起点", required=False
        ),
        "start_latest": date("latest possible start", "最迟起点"),
        "dose": number("how much, for measures with a dose", "力度", "dose_unit", False),
        "dose_unit": text("unit of the dose", "力度单位", required=False),
        "source": text("document or register that says so", "出处"),
    },
    rules=[
        Rule(
            ["start_earliest", "start_latest"],
            lambda rows: rows["start_latest"] < rows["start_earliest"],
            "start_latest must not lie before start_earliest",
            "Correct the dates; a start known to the day has both alike.",
        ),
        Rule(
            ["dose", "dose_unit"],
            lambda rows: rows["dose"].notna() != rows["dose_unit"].notna(),
            "a dose has a unit, and a unit a dose",
            "Fill in dose_unit, or leave both empty.",
        ),
    ],
)
