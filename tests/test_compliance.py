"""Verdicts against the rules by hand: limits, lines, and the school that decides."""

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from counties import BOOKS, HEFEI, note_panel, panel, schools
from evalkit.core.errors import OptionError


def test_the_worked_example_fails_by_its_weights():
    """Weighted .515 is above the limit .50; the unweighted .489 would pass."""
    held = ek.compliance(note_panel(), standard=BOOKS, stage="primary")
    row = held.indicators.iloc[0]
    assert not row["passes"]
    assert row["distance"] == pytest.approx(0.5 - 0.515, abs=5e-4)
    assert not held.counties["passes"].iloc[0]
    assert held.provenance == "documented"


def test_the_driver_is_the_school_without_which_the_coefficient_is_lowest():
    frame = schools()
    held = ek.compliance(panel(frame), standard="2017", stage="primary")
    for (county, year, name), row in held.indicators.iterrows():
        rest = {}
        here = frame[(frame["county_code"] == county) & (frame["year"] == year)]
        for school in here["school_id"]:
            kept = panel(here[here["school_id"] != school])
            rest[school] = ek.gaps.balance(kept, standard="2017").select(indicator=name).theta[0]
        lowest = min(rest, key=rest.get)
        assert row["driver"] == lowest
        assert row["cv_without"] == pytest.approx(rest[lowest], rel=1e-10)
        if year == 2021 and name == "degree":
            break


@pytest.mark.parametrize("stage", ["primary", "junior"])
def test_a_school_needs_six_lines_and_most_of_the_seventh(stage):
    frame = schools()
    held = ek.compliance(panel(frame), standard="2017", stage=stage)
    lines = {one.name: one for one in ek.standards.QUALITY_2017.indicators}
    for _, row in frame.iterrows():
        parts = [
            one.per * row[one.column] / row["pupils"] / one.line[stage] for one in lines.values()
        ]
        fine = sum(p >= 1 for p in parts) >= 6 and min(parts) >= 0.85
        found = held.schools.loc[(row["county_code"], row["year"], row["school_id"])]
        assert found["passes"] == fine
        assert found["reached"] == sum(p >= 1 for p in parts)
        assert found["least"] == pytest.approx(min(parts))
    failed = held.schools.groupby(level=["county", "time"])["passes"].apply(lambda p: (~p).sum())
    assert held.counties["schools_below"].tolist() == failed.tolist()
    both = held.counties["coefficients_pass"] & (held.counties["schools_below"] == 0)
    assert (held.counties["passes"] == both).all()


def test_every_coefficient_has_the_limit_of_2017_and_only_the_composite_that_of_2012():
    quality = ek.compliance(panel(schools()), standard="2017", stage="junior")
    assert (quality.indicators["limit"] == 0.45).all()
    assert quality.indicators["passes"].notna().all()
    basic = ek.compliance(panel(schools("2012"), "2012"), standard="2012", stage="junior")
    of_all = basic.indicators.index.get_level_values("indicator") == "composite"
    assert basic.indicators["limit"].notna().tolist() == of_all.tolist()
    assert basic.indicators["passes"].notna().tolist() == of_all.tolist()
    assert basic.schools.empty


@pytest.mark.parametrize(("coefficients", "composite"), HEFEI)
def test_hefei_is_judged_by_its_composites(coefficients, composite):
    frame = {"school_id": [1, 2], "county_code": ["h", "h"], "year": [2013, 2013],
             "pupils": [100, 100]}  # fmt: skip
    for one, c in zip(ek.standards.BASIC_2012.indicators, coefficients, strict=True):
        frame[one.column] = [1 + c, max(1 - c, 0)]
    held = ek.compliance(
        ek.standards.school_panel(frame, standard="2012", provenance="documented"),
        standard="2012", stage="primary",
    )  # fmt: skip
    assert held.counties["passes"].iloc[0] == (composite <= 0.65)


def test_a_county_with_one_school_has_no_spread_and_no_driver_to_blame():
    frame = schools()
    alone = frame[(frame["county_code"] != "c0") | (frame["school_id"] == 0)]
    held = ek.compliance(panel(alone), standard="2017", stage="primary")
    assert held.counties.loc[("c0", 2020), "schools"] == 1
    assert held.indicators.loc["c0"]["cv"].eq(0).all()
    assert held.indicators.loc["c0"]["cv_without"].isna().all()


def test_an_indicator_that_nobody_has_cannot_pass():
    frame = schools().assign(media_rooms=lambda f: f["media_rooms"] * (f["county_code"] != "c1"))
    held = ek.compliance(panel(frame), standard="2017", stage="primary")
    assert held.indicators.loc[("c1", 2020, "media"), "cv"] != held.indicators["cv"].iloc[0]
    assert not held.counties.loc[("c1", 2020), "passes"]
    assert "of 8 pass" in repr(held)


def test_an_unknown_stage_is_refused():
    with pytest.raises(OptionError, match="stage='senior'"):
        ek.compliance(panel(schools()), standard="2017", stage="senior")


def test_the_table_it_was_given_is_left_as_it_was():
    frame = schools()
    before = frame.copy(deep=True)
    ek.compliance(panel(frame), standard="2017", stage="primary")
    pd.testing.assert_frame_equal(frame, before)
    assert np.isfinite(frame["pupils"]).all()
