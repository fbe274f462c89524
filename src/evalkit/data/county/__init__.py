"""The county study's data: the contract of its eleven tables, folders that hold them.

Not for real counties only: what the simulator writes stands under the same contract.
"""

from __future__ import annotations

from evalkit.data.contract import Contract
from evalkit.data.county.measures import MEASURE_EVENT
from evalkit.data.county.places import COUNTY_TABLE, COUNTY_YEAR, TOWN_TABLE
from evalkit.data.county.records import PUPIL_TEST, SCHOOL_COHORT, SURVEY_YEAR, TEACHER_YEAR
from evalkit.data.county.schools import GROUP_MEMBERSHIP, SCHOOL, SCHOOL_YEAR

TABLES: dict[str, Contract] = {
    contract.table: contract
    for contract in (
        COUNTY_TABLE,
        COUNTY_YEAR,
        TOWN_TABLE,
        SCHOOL,
        SCHOOL_YEAR,
        GROUP_MEMBERSHIP,
        MEASURE_EVENT,
        PUPIL_TEST,
        SCHOOL_COHORT,
        TEACHER_YEAR,
        SURVEY_YEAR,
    )
}
OPTIONAL = ("pupil_test", "school_cohort", "teacher_year", "survey_year")
