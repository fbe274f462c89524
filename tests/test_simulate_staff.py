"""Teachers and respondents of the simulated study: who moves, when, and what is asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from evalkit.data.simulate import Assumptions
from evalkit.data.simulate import county as counties
from evalkit.data.simulate.staff import CAREER, staff, teacher_year
from evalkit.data.simulate.survey import ASKED, ITEMS, WAVES, survey_year
from evalkit.data.simulate.tables import school_ids

A = Assumptions(counties=40, prefectures=8, schools=24)


@pytest.fixture(scope="module")
def found():
    return [counties.county(A, number) for number in range(1, 25)]


@pytest.fixture(scope="module")
def teachers(found):
    frames = [
        teacher_year(one).assign(county=one.places.county, managed=one.calendar.managed)
        for one in found
    ]
    return pd.concat(frames, ignore_index=True)


def test_a_move_is_a_change_of_school_from_one_year_to_the_next(teachers):
    before = teachers.groupby("teacher_key")["school_id"].shift()
    assert (teachers.groupby("teacher_key")["year"].diff().dropna() == 1).all()
    moved = before.notna() & (before != teachers["school_id"])
    assert moved.equals(teachers["moved_from"].notna())
    assert (teachers["moved_from"] == before)[moved].all()
    assert moved.equals(teachers["move_kind"].notna())


def test_exchange_rises_with_county_management_by_what_was_assumed(teachers):
    """Of those who were there the year before; pairs are drawn so that shares are exact on
    average."""
    there = teachers[teachers.groupby("teacher_key").cumcount() > 0]
    managed = there["year"] >= there["managed"]
    for kind, rates in {
        "exchange": (A.exchange, A.exchange + A.exchange_added),
        "transfer": (A.transfers, A.transfers),
    }.items():
        for under, rate in zip((False, True), rates, strict=True):
            rows = there[managed == under]
            found = (rows["move_kind"] == kind).mean()
            error = np.sqrt(2 * rate / len(rows))  # a pair moves two
            assert abs(found - rate) < 4 * error


def test_nobody_moves_where_the_shares_are_zero_and_quiet_studies_add_nothing(found):
    still = replace(A, exchange=0.0, exchange_added=0.0, transfers=0.0)
    one = found[0]
    made = staff(still, one.places, one.calendar.managed)
    assert (made.kind == -1).all()
    assert A.quiet().exchange_added == 0.0


def test_posts_are_filled_from_the_opening_on_by_one_teacher_each(found):
    for one in found[:6]:
        made = staff(A, one.places, one.calendar.managed)
        opens = one.places.opens[made.school][:, None]
        np.testing.assert_array_equal(made.holder >= 0, opens <= np.array(A.years))
        for t in range(len(A.years)):
            held = made.holder[:, t][made.holder[:, t] >= 0]
            assert len(np.unique(held)) == len(held)


def test_pairs_stay_within_a_level_and_change_the_school(teachers, found):
    level = {
        school: junior
        for one in found
        for school, junior in zip(school_ids(one), one.places.junior, strict=True)
    }
    moves = teachers.dropna(subset="moved_from")
    assert (moves["moved_from"] != moves["school_id"]).all()
    assert (moves["moved_from"].map(level) == moves["school_id"].map(level)).all()


def test_titles_rise_and_careers_end(teachers):
    steps = {"none": 0, "third": 1, "second": 2, "first": 3, "senior": 4}
    title = teachers["title"].map(steps)
    assert (title.groupby(teachers["teacher_key"]).diff().dropna() >= 0).all()
    assert teachers["experience"].max() <= CAREER
    assert 0.05 < (title == 4).mean() < 0.2


def test_a_county_has_the_same_teachers_whatever_measures_do_to_scores(found):
    again = counties.county(replace(A, managed=0.5, rotation=0.2, member=0.3), 1)
    pd.testing.assert_frame_equal(teacher_year(again), teacher_year(found[0]))


def test_every_open_school_is_asked_in_every_wave_and_most_are_satisfied(found):
    rows = pd.concat([survey_year(one) for one in found], ignore_index=True)
    schools = sum(int(one.places.open[:, A.years.index(y)].sum()) for one in found for y in WAVES)
    assert len(rows) == schools * sum(ASKED.values())
    assert rows["respondent_key"].is_unique
    answers = rows.filter(like="item_")
    assert answers.shape[1] == ITEMS
    assert set(np.unique(answers)) == {1, 2, 3, 4, 5}
    assert abs((answers >= 4).to_numpy().mean() - A.satisfied) < 0.01
    pupils = rows[rows["role"] == "pupil"].groupby(["school_id", "year"])["weight"].sum()
    assert (pupils > 20).all()


def test_a_study_that_ends_before_the_survey_has_none():
    early = counties.county(replace(A, last=2022), 1)
    assert survey_year(early).empty
