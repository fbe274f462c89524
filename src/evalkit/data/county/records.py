"""Contracts of tests, teachers and surveys: the records of persons, and the open alternative."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from evalkit.data.contract import Contract, Rule
from evalkit.data.county.columns import COUNTY, boolean, count, integer, number, text, year

if TYPE_CHECKING:
    import pandas as pd

SHARES_ADD_UP = 0.005  # shares are published with three decimals, a handful of grades


def _no_shares(cell: object) -> bool:
    """True unless the cell is empty or a JSON object of shares that sum to one."""
    if not isinstance(cell, str):
        return False
    try:
        shares = json.loads(cell)
        values = [float(value) for value in shares.values()]
    except (ValueError, AttributeError, TypeError):
        return True
    sound = all(0 <= value <= 1 for value in values) and math.isfinite(sum(values))
    return not sound or abs(sum(values) - 1) > SHARES_ADD_UP


def _grade_shares(rows: pd.DataFrame) -> pd.Series[bool]:
    distinct = {cell: _no_shares(cell) for cell in rows["share_by_grade_band"].unique()}
    return rows["share_by_grade_band"].map(distinct).astype(bool)


GRADE = integer("grade, 1 to 12", "年级", low=1, high=12)
SUBJECT = text("subject", "学科", pattern="[a-z_]+")

PUPIL_TEST = Contract(
    table="pupil_test",
    label="Pupils by year and subject (restricted; leave out if only school_cohort may be used)",
    zh="学生测试成绩（受限）",
    key=["pupil_key", "year", "subject"],
    columns={
        "pupil_key": text("pseudonym of the pupil, without a way back", "学生匿名标识"),
        "school_id": text("school at the test", "学校标识"),
        "cohort": year("year in which the pupil entered the level", "入学年份"),
        "grade": GRADE,
        "year": year("calendar year of the test", "测试年份"),
        "subject": SUBJECT,
        "score": number("score as marked", "成绩", "marks", False),
        "prior_score": number("score of the earlier test", "前测成绩", "marks", False),
        "prior_year": integer("year of the earlier test", "前测年份", required=False, low=1990),
        "hukou_county": text(
            "county of household registration", "户籍所在县代码", required=False, pattern=COUNTY
        ),
        "sex": text("sex", "性别", required=False, options=("female", "male")),
        "ses": number("index of the family's position", "家庭社会经济地位", "SD", False),
        "weight": number("sampling weight", "抽样权重", "", False, low=0),
    },
    links={"school_id": "school.school_id"},
    rules=[
        Rule(
            ["year", "prior_year"],
            lambda rows: rows["prior_year"] >= rows["year"],
            "prior_year must lie before year",
            "Correct the years.",
        ),
        Rule(
            ["prior_score", "prior_year"],
            lambda rows: rows["prior_score"].notna() & rows["prior_year"].isna(),
            "a prior score has its year",
            "Fill in prior_year.",
        ),
    ],
)

SCHOOL_COHORT = Contract(
    table="school_cohort",
    label="Tests of a school's grade in a year and subject (open alternative to pupil_test)",
    zh="学校年级成绩汇总",
    key=["school_id", "year", "grade", "subject"],
    columns={
        "school_id": text("school", "学校标识"),
        "year": year("calendar year of the test", "测试年份"),
        "grade": GRADE,
        "subject": SUBJECT,
        "n_tested": count("pupils tested", "参测人数", "pupils", required=True),
        "mean": number("mean score", "平均分", "marks", False),
        "sd": number("standard deviation over pupils", "标准差", "marks", False, low=0),
        "share_by_grade_band": text(
            'share of pupils by grade, a JSON object such as {"A":0.2,"B":0.8}',
            "等级比例",
            required=False,
        ),
        "mean_prior": number("mean of the earlier score", "前测平均分", "marks", False),
    },
    links={"school_id": "school.school_id"},
    rules=[
        Rule(
            ["share_by_grade_band"],
            _grade_shares,
            "must be a JSON object of shares that sum to 1",
            'Write it as {"A":0.2,"B":0.8}, or leave the cell empty.',
        )
    ],
)

TEACHER_YEAR = Contract(
    table="teacher_year",
    label="Teachers by calendar year (optional)",
    zh="教师年度数据（可选）",
    key=["teacher_key", "year"],
    columns={
        "teacher_key": text("pseudonym of the teacher", "教师匿名标识"),
        "year": year(),
        "school_id": text("school of the post", "学校标识"),
        "degree": text(
            "highest degree",
            "最高学历",
            required=False,
            options=("secondary", "college", "bachelor", "master", "doctor"),
        ),
        "title": text(
            "professional title",
            "职称",
            required=False,
            options=("none", "third", "second", "first", "senior", "full senior"),
        ),
        "backbone": boolean("county or higher teaching title", "是否骨干教师", required=False),
        "moved_from": text("school of the year before, if another", "调出学校", required=False),
        "move_kind": text(
            "kind of move",
            "流动类型",
            required=False,
            options=("exchange", "support", "transfer", "hired", "reassigned"),
        ),
        "experience": count("years of teaching", "教龄", "years"),
    },
    links={"school_id": "school.school_id", "moved_from": "school.school_id"},
    rules=[
        Rule(
            ["school_id", "moved_from"],
            lambda rows: rows["school_id"] == rows["moved_from"],
            "moved_from must be another school",
            "Leave moved_from empty for who stayed.",
        ),
        Rule(
            ["moved_from", "move_kind"],
            lambda rows: rows["moved_from"].isna() & rows["move_kind"].notna(),
            "a kind of move needs the school moved from",
            "Fill in moved_from, or leave move_kind empty.",
        ),
    ],
)

SURVEY_YEAR = Contract(
    table="survey_year",
    label="Answers of pupils, parents, teachers and heads (optional)",
    zh="问卷调查（可选）",
    key=["respondent_key", "year"],
    columns={
        "respondent_key": text("pseudonym of the respondent", "应答者匿名标识"),
        "year": year(),
        "school_id": text("school", "学校标识"),
        "role": text("role", "身份", options=("pupil", "parent", "teacher", "head")),
        "item_#": integer("answer to an item, one column each", "题目", required=False, low=0),
        "weight": number("sampling weight", "抽样权重", "", False, low=0),
    },
    links={"school_id": "school.school_id"},
)
