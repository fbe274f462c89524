"""The contracts of the tables that the book reads."""

from __future__ import annotations

from typing import Any

from evalkit.data.contract import Column, Contract
from evalkit.data.county import TABLES

COUNTY = TABLES  # the eleven tables of the county study, by name

MICHIGAN_DISTRICTS = Contract(
    table="michigan_districts",
    label="Michigan school districts, 1992-1998",
    key=["district", "year"],
    columns={
        "district": Column("integer", "district identifier"),
        "county": Column("integer", "intermediate school district identifier"),
        "year": Column("integer", "spring of the school year", low=1992, high=1998),
        "math4": Column("number", "grade 4 pupils satisfactory", unit="%", low=0, high=100),
        "math7": Column(
            "number", "grade 7 pupils satisfactory", unit="%", low=0, high=100, required=False
        ),
        "spending": Column("number", "spending per pupil", unit="1997 dollars", low=0),
        "log_spending": Column("number", "log of spending"),
        "foundation": Column(
            "number", "foundation grant", unit="dollars per pupil", low=1, required=False
        ),
        "lunch": Column("number", "pupils on free lunch", unit="%", low=0, high=100),
        "enrolment": Column("number", "pupils", low=1),
        "log_enrolment": Column("number", "log of enrolment"),
    },
)

# Families of measures in the catalogue, with the words that tables and figures print.
FAMILIES = {
    "accountability": "accountability and monitoring",
    "per_pupil_funding": "per-pupil funding",
    "incentive": "awards and incentives",
    "capital_seats": "buildings and seats",
    "digital": "synchronous and digital lessons",
    "preschool": "preschool provision",
    "group_schooling": "group schooling",
    "principal_system": "principal ranks and selection",
    "senior_secondary": "senior secondary",
    "certification": "quality-balance certification",
    "township": "township and rural schools",
    "teacher_posts": "teacher posts and hiring",
    "teacher_development": "teacher development",
    "county_managed": "county-managed teachers",
    "teacher_rotation": "teacher exchange",
    "whole_child": "whole-child curriculum",
    "value_added": "value-added and quality evaluation",
    "alliance_district": "alliances and school districts",
    "admission": "zoned admission",
    "context": "context (no measure)",
    "cost_sharing": "city-town cost sharing",
    "after_school": "after-school service",
    "teacher_pay": "teacher pay",
    "size_control": "school and class size",
    "autonomy": "school autonomy",
    "vocational": "vocational schooling",
}
_SOURCES = ("text", "outside", "inferred", "none")
_CODE = r"^\d{6}$"


def _text(label: str, zh: str, required: bool = True, **rules: Any) -> Column:
    return Column("text", label, zh, required=required, **rules)


MEASURES = Contract(
    table="measures",
    label="Measures and figures that the documents state, one a row",
    zh="文件所载举措目录",
    key=["id"],
    columns={
        "id": _text("row of the catalogue", "编号", pattern=r"^[QFCWZU]\d{2}$"),
        "source_file": _text("file of the source text", "来源文件"),
        "source_sha256": _text("start of its sha256", "来源校验值", pattern=r"^[0-9a-f]{16}$"),
        "document_title": _text("title of the document", "文件标题"),
        "issuer": _text("who issued it", "发布单位"),
        "document_date": Column("date", "date of the document", "文件日期", required=False),
        "document_date_basis": _text("what that date is", "日期依据"),
        "jurisdiction_zh": _text("place in Chinese", "行政区"),
        "jurisdiction_en": _text("place in English", "行政区（英）"),
        "jurisdiction_level": _text(
            "kind of place", "行政级别",
            options=(
                "sub-provincial city", "prefecture-level city", "county-level city", "county",
                "district",
            ),
        ),
        "gbt2260_code": _text("code of the place", "行政区划代码", False, pattern=_CODE),
        "gbt2260_status": _text("how the code was checked", "代码核对情况"),
        "named_codes": _text(
            "counties that a city-wide row names", "点名县区", False, pattern=r"^\d{6}(;\d{6})*$"
        ),
        "measure_family": _text("family of measures", "举措类别", options=tuple(FAMILIES)),
        "measure_family_zh": _text("family in Chinese", "举措类别（中）"),
        "school_level": _text("levels that the wording covers", "学段"),
        "start_earliest": Column("date", "earliest possible start", "最早起点", required=False),
        "start_latest": Column("date", "latest possible start", "最迟起点"),
        "start_source": _text("where the window comes from", "起点来源", options=_SOURCES),
        "start_basis": _text("why this window", "起点依据"),
        "deadline": Column("date", "date by which a target is due", "期限", required=False),
        "deadline_source": _text("where it comes from", "期限来源", False, options=_SOURCES),
        "intensity": _text("what and how much", "内容与力度"),
        "value": _text("the figures, in order", "数值", False),
        "unit": _text("their units, in order", "单位", False),
        "value_prior": _text("the figure before", "原数值", False),
        "derived": _text("figures computed from it", "推算", False),
        "target_or_realised": _text(
            "what the text says of it", "目标或实施", options=("target", "realised", "unclear")
        ),
        "assignment_rule": _text("who gets it", "对象与遴选规则"),
        "claimed_outcome": _text("outcome the text claims", "所称成效"),
        "paraphrase_en": _text("the measure in our words", "释义"),
        "evidence": _text("phrase by which to find it", "原文关键词"),
        "candidate_design": _text("designs that could study it", "可用设计"),
        "notes": _text("remarks", "备注", False),
    },
)  # fmt: skip

JURISDICTIONS = Contract(
    table="jurisdictions",
    label="Counties of the four cities, with their place on the tile map",
    zh="县区表",
    key=["gbt2260_code"],
    columns={
        "gbt2260_code": _text("code of the county", "行政区划代码", pattern=_CODE),
        "name_zh": _text("name in Chinese", "名称"),
        "name_en": _text("name in English", "名称（英）"),
        "kind": _text("kind", "类型", options=("district", "county-level city", "county")),
        "city_code": _text("code of its city", "所属市代码", pattern=_CODE),
        "city_zh": _text("city in Chinese", "所属市"),
        "city_en": _text("city in English", "所属市（英）"),
        "tile_row": Column("integer", "row on the tile map", "行", low=0, high=9),
        "tile_col": Column("integer", "column on the tile map", "列", low=0, high=9),
    },
)

SYSTEMS = Contract(
    table="systems",
    label="Systems and mechanisms that the documents describe",
    zh="制度与机制",
    key=["id"],
    columns={
        "id": _text("number", "编号", pattern=r"^S\d{1,2}$"),
        "system": _text("the system in our words", "制度"),
        "where": _text("where it is described", "出处"),
        "rows": _text("rows of the catalogue", "目录行", False),
        "need": _text("what a study of it needs", "研究所需"),
        "covered by": _text("what covers it", "对应功能"),
        "status": _text("state", "状态", options=("built", "planned", "context only")),
    },
)

PASSES = Contract(
    table="summaries",
    label="Cost of one pass from pupils to sums, by engine and size",
    zh="汇总计算成本",
    key=["pupils", "engine"],
    columns={
        "pupils": Column("integer", "rows of the Parquet files", "学生数", low=1),
        "engine": _text("engine, or SQL by hand", "引擎"),
        "version": _text("package and version", "版本", pattern=r"\S.* \d+\.\d+\S*"),
        "seconds": Column("number", "seconds by the clock", "时间", "s", low=0),
        "processor": Column("number", "processor seconds", "处理器时间", "s", low=0),
        "megabytes": Column("number", "peak memory of the process tree", "内存", "MB", low=0),
        "cells": Column("integer", "cells of the sums", "单元数", low=1),
        "repetitions": Column("integer", "runs, of which the least is kept", "次数", low=1),
        "bits": _text(
            "start of the sha256 of the sums", "校验值", required=False, pattern=r"[0-9a-f]{16}"
        ),
        "machine": _text("cores, system, Python", "机器", pattern=r"\d+ cores, .+, Python \d.+"),
        "date": Column("date", "day of the run", "日期"),
        "provenance": _text("evidence tier", "证据层级", options=("synthetic",)),
    },
)

EXPANSIONS = Contract(
    table="expand",
    label="Cost of drawing the county study's pupils, of summing them, and of estimating",
    zh="学生数据生成与汇总成本",
    key=["pupils", "step"],
    columns={
        "pupils": Column("integer", "rows of the Parquet files", "学生数", low=1),
        "step": _text("what was timed", "步骤", options=("write", "sum", "estimate")),
        "version": _text("package and version", "版本", pattern=r"\S.* \d+\.\d+\S*"),
        "seconds": Column("number", "seconds by the clock", "时间", "s", low=0),
        "processor": Column("number", "processor seconds", "处理器时间", "s", low=0),
        "megabytes": Column("number", "peak memory of the process", "内存", "MB", low=0),
        "disk": Column("number", "size of what was written", "文件大小", "MB", False, low=0),
        "cells": Column("integer", "cells of the sums", "单元数", required=False, low=1),
        "gap": Column("number", "gap of the last year, from the sums", "差距", "marks", False),
        "effect": Column("number", "effect of county management", "效应", "marks", False),
        "machine": _text("cores, system, Python", "机器", pattern=r"\d+ cores, .+, Python \d.+"),
        "date": Column("date", "day of the run", "日期"),
        "provenance": _text("evidence tier", "证据层级", options=("synthetic",)),
    },
)

PUBLISHED = Contract(
    table="published",
    label="Results that others have published, and how we know them",
    zh="已发表结果",
    key=["id"],
    columns={
        "id": _text("row", "编号", pattern=r"^[a-z0-9_]+$"),
        "study": _text("authors and year", "作者与年份"),
        "citation_key": _text(
            "key in the bibliography", "文献键", pattern=r"^[a-z0-9-]+$", required=False
        ),
        "outcome": _text("outcome", "结果变量"),
        "design": _text("units and design", "单位与设计"),
        "estimate": Column("number", "estimate, in the unit of the row", "估计值"),
        "se": Column("number", "standard error", "标准误", low=0, required=False),
        "unit": _text(
            "unit",
            "单位",
            options=(
                "points per 10%",
                "SD per 60%",
                "SD per 1000 dollars",
                "ratio of prices",
                "deviance",
                "variance",
            ),
        ),
        "status": _text(
            "how it is known",
            "核对情况",
            options=("abstract", "quoted", "lecture log", "memory"),
        ),
        "source": _text("where it was seen", "出处"),
        "note": _text("remarks", "备注", required=False),
    },
)

REFERENCE = Contract(
    table="reference",
    label="Numbers that estimators are held against, one a row",
    zh="参照数值",
    key=["case", "coordinate", "statistic"],
    columns={
        "block": _text("group of estimators", "类别"),
        "case": _text("estimator and its options", "情形"),
        "coordinate": _text("which of its numbers", "坐标"),
        "statistic": _text("estimate, error or other", "统计量"),
        "printed": _text("the number as printed there", "数值", pattern=r"^-?\d*\.?\d+$"),
        "source": _text("package and version", "来源"),
        "status": _text(
            "how it is known",
            "核对情况",
            options=("run", "run here", "printed", "not comparable", "not offered"),
        ),
        "tolerance": Column(
            "number",
            "largest gap, where it is not half a unit of the last digit",
            "容差",
            low=0,
            required=False,
        ),
        "note": _text("remarks; why this tolerance", "备注", required=False),
    },
)

PEERS = Contract(
    table="peers",
    label="What other packages answer, one number a row",
    zh="同类软件结果",
    key=["peer", "case", "coordinate", "statistic"],
    columns={
        "peer": _text("package", "软件"),
        "version": _text("version", "版本"),
        "case": _text("estimator and its options, or the trap", "情形"),
        "coordinate": _text("which of its numbers", "坐标"),
        "statistic": _text("estimate, error or other", "统计量"),
        "value": Column("number", "its answer", "数值", required=False),
        "said": _text("its message: warned, refused or failed", "提示", required=False),
    },
)


def _score(label: str, zh: str, low: float | None = 0.0, high: float | None = None) -> Column:
    return Column("number", label, zh, required=False, low=low, high=high)


SIMULATION = Contract(
    table="simulation",
    label="How methods did where the truth is known (data/simulations)",
    zh="模拟结果",
    key=["design", "n", "estimator", "inference", "target", "truth"],
    strict=False,  # studies add columns that describe their designs
    columns={
        "design": _text("how the data were drawn", "数据生成方式"),
        "n": Column("integer", "number of units", "单位数", low=1),
        "estimator": _text("estimator", "估计方法"),
        "inference": _text("how intervals and tests were made", "推断方法"),
        "target": _text("what is to be estimated", "目标量"),
        "truth": _text("sense of the truth", "真值口径"),
        "stated": Column("boolean", "the intervals claim to cover this truth", "是否声称覆盖"),
        "draws": Column("integer", "draws", "模拟次数", low=1),
        "failed": Column("integer", "draws without an estimate", "失败次数", low=0),
        "withheld": Column("integer", "draws without an interval", "无区间次数", low=0),
        "warned": _score("share of estimates with a warning", "警告比例", high=1.0),
        "true": _score("true value", "真值", low=None),
        "bias": _score("mean of estimate minus truth", "偏误", low=None),
        "bias_mc": _score("its Monte Carlo error", "偏误的模拟误差"),
        "sd": _score("SD of estimate minus truth", "标准差"),
        "rmse": _score("root mean squared error", "均方根误差"),
        "se": _score("mean standard error", "平均标准误"),
        "coverage": _score("coverage of 95% intervals", "覆盖率", high=1.0),
        "coverage_mc": _score("its Monte Carlo error", "覆盖率的模拟误差"),
        "size": _score("rejection of a true null at 5%", "检验水平", high=1.0),
        "size_mc": _score("its Monte Carlo error", "检验水平的模拟误差"),
        "seconds": _score("processor seconds of one estimate", "运行秒数"),
        "reason": _text("commonest reason for failing", "失败原因", required=False),
        "provenance": _text("evidence tier", "证据等级", options=("synthetic", "real")),
    },
)

BALANCE_NOTE = Contract(
    table="balance_note",
    label="Worked example of the coefficient of variation between schools",
    zh="校际差异系数计算示例",
    key=["school"],
    columns={
        "school": Column("integer", "school", "学校", low=1),
        "pupils": Column("integer", "pupils", "在校生数", "pupils", low=1),
        "books": Column("integer", "books", "图书册数", "books", low=0),
        "status": _text("how it is known", "核对情况", options=("quoted", "memory")),
        "source": _text("where it was seen", "出处"),
    },
)

BALANCE_HEFEI = Contract(
    table="balance_hefei",
    label="Coefficients of two districts of Hefei, and their composites, as published",
    zh="合肥两区差异系数",
    key=["district", "stage"],
    columns={
        "district": _text("district", "区"),
        "stage": _text("stage", "学段", options=("primary", "junior")),
        **{
            f"cv_{i}": Column(
                "number", f"coefficient {i}, in the table's order", f"差异系数{i}", low=0
            )
            for i in range(1, 9)
        },
        "composite": Column("number", "composite as published", "综合差异系数", low=0),
        "status": _text("how it is known", "核对情况", options=("quoted", "memory")),
        "source": _text("where it was seen", "出处"),
    },
)

MAGNITUDES = Contract(
    table="magnitudes",
    label="Published sizes, gaps and spreads of compulsory schooling, as ranges",
    zh="已发表的量级",
    key=["id"],
    columns={
        "id": _text("row", "编号", pattern=r"[a-z_]+"),
        "quantity": _text("what it is", "指标"),
        "low": Column("number", "lower end, in the unit of the row", "下限"),
        "high": Column("number", "upper end", "上限"),
        "unit": _text("unit", "单位", options=("pupils", "share", "ratio", "SD")),
        "year": _text("year of the figure, or that none is stated", "年份"),
        "source": _text("where it was seen", "出处"),
        "status": _text("how it is known", "核对情况", options=("found", "memory")),
    },
)
