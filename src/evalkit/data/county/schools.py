"""Contracts of the schools: what they are, what they have each year, which group they belong to."""

from __future__ import annotations

from evalkit.data.contract import Contract, Rule
from evalkit.data.county.columns import (
    COUNTY,
    LEVELS,
    STRATA,
    TOWN,
    amount,
    boolean,
    count,
    date,
    number,
    share,
    text,
    year,
)

SCHOOL = Contract(
    table="school",
    label="Schools, one a row",
    zh="学校",
    key=["school_id"],
    columns={
        "school_id": text("school, the same in all tables and years", "学校标识"),
        "county_code": text("code of its county", "县级行政区划代码", pattern=COUNTY),
        "town_code": text("code of its town", "乡级行政区划代码", required=False, pattern=TOWN),
        "stratum": text("urban, town seat or village", "城乡分类", options=STRATA),
        "level": text("level; nine and twelve are years", "学段", options=LEVELS),
        "ownership": text("who runs it", "办学主体", options=("public", "private")),
        "opened": date("day of opening, empty if before the study", "建校日期", required=False),
        "closed": date("day of closing, empty if open", "撤并日期", required=False),
        "is_new_build": boolean("built new within the study's years", "是否新建"),
        "lon": number("longitude, optional", "经度", "degrees", False, low=-180, high=180),
        "lat": number("latitude, optional", "纬度", "degrees", False, low=-90, high=90),
    },
    links={"county_code": "county.county_code", "town_code": "town.town_code"},
    rules=[
        Rule(
            ["opened", "closed"],
            lambda rows: rows["closed"] < rows["opened"],
            "closed must not lie before opened",
            "Correct the dates.",
        ),
        Rule(
            ["is_new_build", "opened"],
            lambda rows: rows["is_new_build"] & rows["opened"].isna(),
            "a new build has a day of opening",
            "Fill in opened, or set is_new_build to false.",
        ),
    ],
)

SCHOOL_YEAR = Contract(
    table="school_year",
    label="Schools by calendar year: pupils, teachers, rooms, money, retention",
    zh="学校年度数据",
    key=["school_id", "year"],
    columns={
        "school_id": text("school", "学校标识"),
        "year": year(),
        "pupils": count("pupils enrolled", "在校生数", "pupils", required=True),
        "classes": count("classes", "班级数", "classes"),
        "max_class": count("pupils in the largest class", "最大班额", "pupils"),
        "teachers": count("full-time teachers", "专任教师数", "teachers"),
        "above_required_degree": count(
            "teachers above the required degree", "高于规定学历教师数", "teachers"
        ),
        "backbone": count(
            "teachers with a county or higher title", "县级以上骨干教师数", "teachers"
        ),
        "senior_title": count("teachers of senior title", "高级职称教师数", "teachers"),
        "pe_art_music": count("teachers of sport, art and music", "体育艺术专任教师数", "teachers"),
        "room_m2": amount("teaching and auxiliary rooms", "教学及辅助用房面积", "m2"),
        "sport_m2": amount("sports grounds and halls", "体育运动场馆面积", "m2"),
        "equipment_yuan": amount("value of teaching equipment", "教学仪器设备值", "yuan"),
        "media_rooms": count("networked multimedia rooms", "网络多媒体教室数", "rooms"),
        "public_use_yuan": amount("public-use spending of the year", "公用经费支出", "yuan"),
        "boarding": count("boarding pupils", "寄宿生数", "pupils"),
        "migrant_share": share("pupils whose parents migrated here", "随迁子女占比"),
        "local_registered": count("children registered in its area", "服务区户籍学生数", "pupils"),
        "local_enrolled": count("of these, enrolled here", "其中在本校就读", "pupils"),
        "take_up_after_school": share("pupils in after-school service", "课后服务参与率"),
    },
    links={"school_id": "school.school_id"},
    rules=[
        Rule(
            ["local_registered", "local_enrolled"],
            lambda rows: rows["local_enrolled"] > rows["local_registered"],
            "local_enrolled must not exceed local_registered",
            "Correct the counts: the second is part of the first.",
        ),
        Rule(
            ["pupils", "max_class"],
            lambda rows: rows["max_class"] > rows["pupils"],
            "the largest class must not exceed the school",
            "Correct the counts.",
        ),
        *(
            Rule(
                ["teachers", part],
                lambda rows, part=part: rows[part] > rows["teachers"],  # type: ignore[misc]
                f"{part} must not exceed teachers",
                "Correct the counts: it is part of the teachers.",
            )
            for part in ("above_required_degree", "backbone", "senior_title", "pe_art_music")
        ),
    ],
)

GROUP_MEMBERSHIP = Contract(
    table="group_membership",
    label="Spells of schools in education groups",
    zh="教育集团成员",
    key=["group_id", "school_id", "start"],
    columns={
        "group_id": text("education group", "教育集团标识"),
        "school_id": text("school", "学校标识"),
        "start": date("first day in the group", "加入日期"),
        "end": date("last day, empty if still in", "退出日期", required=False),
        "role": text("role in the group", "角色", options=("lead", "member", "branch")),
        "type": text(
            "kind of group",
            "集团类型",
            required=False,
            options=(
                "star and new",
                "senior and junior",
                "university and school",
                "trusteeship",
                "pairing",
                "one head several campuses",
            ),
        ),
        "graded_level": text(
            "grade of its yearly review",
            "考核等次",
            required=False,
            options=("none", "ordinary", "experimental"),
        ),
        "award_yuan": amount("award for the grade", "奖补资金", "yuan"),
    },
    links={"school_id": "school.school_id"},
    rules=[
        Rule(
            ["start", "end"],
            lambda rows: rows["end"] < rows["start"],
            "end must not lie before start",
            "Correct the dates.",
        )
    ],
)
