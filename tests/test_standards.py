"""The door for school tables, and what documents say."""

import numpy as np
import pytest

import evalkit as ek
from counties import panel, schools
from evalkit.core.errors import PanelError


def test_the_standards_have_their_documented_numbers():
    basic, quality = ek.standards.BASIC_2012, ek.standards.QUALITY_2017
    assert (len(basic.indicators), len(quality.indicators)) == (8, 7)
    assert dict(basic.limit) == {"primary": 0.65, "junior": 0.55}
    assert dict(quality.limit) == {"primary": 0.50, "junior": 0.45}
    lines = {one.name: tuple(one.line.values()) for one in quality.indicators}
    assert lines == {
        "degree": (4.2, 5.3), "backbone": (1.0, 1.0), "arts": (0.9, 0.9), "rooms": (4.5, 5.8),
        "sports": (7.5, 10.2), "equipment": (2000.0, 2500.0), "media": (2.3, 2.4),
    }  # fmt: skip
    for one in (basic, quality):
        assert "memory" in one.known  # what was not read in a public text is said so


def test_indicators_are_totals_per_pupil_or_per_hundred():
    frame = schools()
    made = panel(frame)
    first = frame[(frame["school_id"] == 0) & (frame["year"] == 2020)].iloc[0]
    assert made.column("rooms")[0] == pytest.approx(first["room_m2"] / first["pupils"])
    assert made.column("degree")[0] == pytest.approx(
        100 * first["above_required_degree"] / first["pupils"]
    )
    assert made.weight[0] == first["pupils"]


def test_teaching_points_are_left_out_and_counted():
    frame = schools().assign(pupils=lambda f: np.where(f["school_id"] % 9 == 0, 49, f["pupils"]))
    made = panel(frame)
    assert made.ledger[-1] == "8 rows left out: fewer than 50 pupils"
    assert len(made.y) == len(frame) - 8
    assert len(panel(frame, smallest=0).y) == len(frame)


def put(name, value, row=3):
    frame = schools().astype({name: object} if isinstance(value, str) else {})
    frame.loc[row - 1, name] = value
    return frame


WRONG = {
    "a total that is empty": (lambda: put("room_m2", np.nan), ["room_m2", "row 3", "nothing"]),
    "a total below zero": (lambda: put("backbone", -1.0), ["backbone", "row 3", "-1"]),
    "a school without pupils": (lambda: put("pupils", 0), ["pupils", "row 3", "at least 1"]),
    "a school twice in one county": (
        lambda: put("school_id", 0, 2), ["school_id 0", "rows 1 and 2", "through-school"]),
    "an id in two counties": (
        lambda: put("school_id", 0, 12), ["school_id 0", "c0 (row 1)", "c1 (row 12)", "unique"]),
    "a total that is text": (lambda: put("sport_m2", "much"), ["sport_m2", "row 3", "'much'"]),
    "a column that is not there": (
        lambda: schools().drop(columns="media_rooms"), ["media_rooms", "frame has"]),
    "only teaching points": (lambda: schools().assign(pupils=20), ["50 pupils", "smallest="]),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_table_that_cannot_be_judged_is_refused(what):
    make, words = WRONG[what]
    with pytest.raises(PanelError) as refused:
        panel(make())
    for word in words:
        assert word in str(refused.value)


@pytest.mark.parametrize("kind", [str, float, "category"])
def test_ids_of_any_type_will_do(kind):
    plain = ek.gaps.balance(panel(schools()), standard="2017")
    frame = schools()
    frame["school_id"] = (frame["school_id"] + 100).astype(str if kind == "category" else kind)
    frame["school_id"] = frame["school_id"].astype(kind)
    other = ek.gaps.balance(panel(frame), standard="2017")
    assert plain.theta.tobytes() == other.theta.tobytes()


def test_other_column_names_will_do():
    names = {"school_id": "id", "county_code": "district", "year": "t", "pupils": "n"}
    frame = schools().rename(columns=names)
    made = ek.standards.school_panel(
        frame, standard="2017", provenance="synthetic", school="id", county="district", year="t",
        pupils="n",
    )  # fmt: skip
    assert ek.gaps.balance(made, standard="2017").index.levels == ("county", "time", "indicator")
