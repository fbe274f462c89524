"""Contracts of the places: counties, counties by year, towns."""

from __future__ import annotations

from evalkit.data.contract import Contract, Rule
from evalkit.data.county.columns import (
    COUNTY,
    PREFECTURE,
    TOWN,
    amount,
    count,
    date,
    integer,
    number,
    text,
    year,
)

COUNTY_TABLE = Contract(
    table="county",
    label="Counties, districts and functional zones, one a row",
    zh="县（市、区）",
    key=["county_code"],
    columns={
        "county_code": text("code of the county", "县级行政区划代码", pattern=COUNTY),
        "name_zh": text("name in Chinese", "名称"),
        "prefecture_code": text("code of its prefecture", "所属地级市代码", pattern=PREFECTURE),
        "type": text(
            "kind of county: 区 district, 市 county-level city, 县 county",
            "类型",
            options=("区", "市", "县", "functional zone"),
        ),
        "valid_from": date("first day on which the code is valid", "代码启用日期"),
        "valid_to": date("last day, empty if still valid", "代码停用日期", required=False),
    },
    rules=[
        Rule(
            ["valid_from", "valid_to"],
            lambda rows: rows["valid_to"] < rows["valid_from"],
            "valid_to must not lie before valid_from",
            "Correct the dates, or leave valid_to empty.",
        )
    ],
)

COUNTY_YEAR = Contract(
    table="county_year",
    label="Counties by calendar year: money, pupils, stage of certification",
    zh="县级年度数据",
    key=["county_code", "year"],
    columns={
        "county_code": text("code of the county", "县级行政区划代码", pattern=COUNTY),
        "year": year(),
        "gdp_pc": amount("gross domestic product per head", "人均地区生产总值", "yuan"),
        "fiscal_revenue_pc": amount(
            "general public budget revenue per head", "人均一般公共预算收入", "yuan"
        ),
        "edu_budget_primary": amount(
            "general budget spending on education per primary pupil",
            "小学生均一般公共预算教育经费",
            "yuan per pupil",
        ),
        "edu_budget_junior": amount(
            "general budget spending on education per junior pupil",
            "初中生均一般公共预算教育经费",
            "yuan per pupil",
        ),
        "public_use_standard_primary": amount(
            "standard of public-use funding, primary", "小学生均公用经费标准", "yuan per pupil"
        ),
        "public_use_standard_junior": amount(
            "standard of public-use funding, junior", "初中生均公用经费标准", "yuan per pupil"
        ),
        "pupils_compulsory": count(
            "pupils in compulsory schooling", "义务教育在校生数", "pupils", required=True
        ),
        "cert_stage": integer(
            "quality balance: 0 none, 1 creation, 2 provincial review passed, 3 recognised",
            "优质均衡创建阶段",
            required=False,
            low=0,
            high=3,
        ),
    },
    links={"county_code": "county.county_code"},
)

TOWN_TABLE = Contract(
    table="town",
    label="Streets, towns and townships",
    zh="街道、镇、乡",
    key=["town_code"],
    columns={
        "town_code": text("code of the town", "乡级行政区划代码", pattern=TOWN),
        "county_code": text("code of its county", "县级行政区划代码", pattern=COUNTY),
        "kind": text("kind", "类型", options=("街道", "镇", "乡")),
        "distance_km_to_seat": number(
            "road distance to the county seat", "距县城公里数", "km", False, low=0
        ),
        "pilot_level": text(
            "highest level at which it is a pilot of township strengthening",
            "强镇筑基试点级别",
            options=("none", "county", "city", "province"),
        ),
        "pilot_start": date("start of the pilot", "试点开始日期", required=False),
        "pilot_end": date("end of the pilot, empty if it runs", "试点结束日期", required=False),
    },
    links={"county_code": "county.county_code"},
    rules=[
        Rule(
            ["pilot_level", "pilot_start"],
            lambda rows: (rows["pilot_level"] != "none") != rows["pilot_start"].notna(),
            "a pilot town has a pilot_start, and a town that is none has no pilot_start",
            "Fill in the date, or correct pilot_level.",
        ),
        Rule(
            ["pilot_start", "pilot_end"],
            lambda rows: rows["pilot_end"] < rows["pilot_start"],
            "pilot_end must not lie before pilot_start",
            "Correct the dates.",
        ),
    ],
)
