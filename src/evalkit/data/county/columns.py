"""Short words for the columns of the county study, and the codes that they share."""

from __future__ import annotations

from functools import partial

from evalkit.data.contract import Column

text = partial(Column, "text")
integer = partial(Column, "integer")
number = partial(Column, "number")
date = partial(Column, "date")
boolean = partial(Column, "boolean")

# A real code is all digits; the simulator's begin with S or P, so that no real place can carry
# what it made.
COUNTY = r"\d{6}|S\d{3}"
PREFECTURE = r"\d{6}|P\d{2}"
TOWN = r"\d{9}|S\d{3}T\d{2}"
FIRST, LAST = 1990, 2050  # years of a study

LEVELS = ("primary", "junior", "nine", "twelve")
STRATA = ("urban", "town", "rural")


def year(label: str = "calendar year of the record", zh: str = "年份") -> Column:
    return integer(label, zh, low=FIRST, high=LAST)


def count(label: str, zh: str, unit: str = "", required: bool = False) -> Column:
    return integer(label, zh, unit, required, low=0)


def amount(label: str, zh: str, unit: str) -> Column:
    return number(label, zh, unit, False, low=0)


def share(label: str, zh: str, required: bool = False) -> Column:
    return number(label, zh, "share", required, low=0, high=1)
