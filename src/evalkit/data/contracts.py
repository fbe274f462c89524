"""The contracts of the tables that the book reads."""

from __future__ import annotations

from evalkit.data.contract import Column, Contract

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
