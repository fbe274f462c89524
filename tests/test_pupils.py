"""The door for pupils' records: what it makes, what it counts, what it refuses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core.errors import OptionError, PanelError

ROUNDING = 1e-12


def records(**changes):
    """Eight pupils in two schools and three classes, over two years."""
    rows = {
        "id": [1, 2, 3, 4, 5, 6, 7, 8],
        "year": [1, 1, 1, 1, 2, 2, 2, 2],
        "school": ["a", "a", "a", "b", "a", "a", "b", "b"],
        "class": ["a1", "a1", "a2", "b1", "a1", "a1", "b1", "b1"],
        "math": [3.0, 5.0, 4.0, 6.0, 10.0, 30.0, 20.0, 40.0],
        "before": [1.0, 2.0, 3.0, 6.0, 4.0, 1.0, 2.0, 5.0],
        "sex": ["F", "M", "F", "M", "F", "M", "F", "M"],
    }
    return pd.DataFrame({**rows, **changes})


def made(frame=None, **options):
    given = {"score": "math", "prior": ["before"], "keys": ["school"], "provenance": "synthetic"}
    return ek.value_added.pupils(records() if frame is None else frame, **{**given, **options})


def test_without_ids_every_row_is_a_pupil_of_one_year():
    panel = made()
    assert panel.units.tolist() == list(range(1, 9))
    assert panel.n_periods == 1
    np.testing.assert_array_equal(panel.y, records()["math"])


def test_ids_and_years_become_units_and_periods():
    frame = records(id=[1, 2, 3, 4, 1, 2, 3, 4])
    panel = made(frame, pupil="id", year="year", cluster="sex")
    assert panel.units.tolist() == [1, 2, 3, 4]
    assert panel.cluster.tolist() == ["F", "M", "F", "M"]
    assert panel.times.tolist() == [1, 2]


def test_powers_follow_their_score():
    panel = made(degree=3)
    assert panel.names == ("before", "before^2", "before^3")
    np.testing.assert_allclose(panel.column("before^3"), records()["before"] ** 3)


def test_text_controls_become_indicators_of_all_values_but_the_first():
    panel = made(controls=["sex"])
    assert panel.names == ("sex=M", "before")
    np.testing.assert_array_equal(panel.column("sex=M"), records()["sex"] == "M")


def test_scores_are_standardised_within_their_cohort():
    panel = made(standardise=["year"])
    frame = pd.DataFrame({"year": records()["year"], "y": panel.y, "x": panel.column("before")})
    for name in ("y", "x"):
        by = frame.groupby("year")[name]
        np.testing.assert_allclose(by.mean(), 0, atol=ROUNDING)
        np.testing.assert_allclose(by.std(), 1)


def test_peer_means_leave_the_pupil_out_and_the_year_apart():
    panel = made(peers=["class"], pupil="id", year="year")
    # pupil 1 has one peer (pupil 2) in class a1 and year 1; pupils 3 and 4 have none
    assert panel.units.tolist() == [1, 2, 5, 6, 7, 8]
    assert panel.column("before of peers").tolist() == [2.0, 1.0, 1.0, 4.0, 5.0, 2.0]
    assert "2 rows dropped: before of peers is missing" in panel.ledger


def test_a_missing_prior_score_drops_the_row_once_and_counts_it():
    frame = records(before=[1.0, None, 3.0, 6.0, 4.0, 1.0, 2.0, None])
    panel = made(frame, degree=2)
    assert len(panel.y) == 6
    assert panel.ledger == ("2 rows dropped: before is missing",)


def test_a_missing_prior_score_may_be_indicated_instead():
    frame = records(before=[1.0, None, 3.0, 6.0, 4.0, 1.0, 2.0, 4.0])
    panel = made(frame, missing="indicate")
    assert panel.names == ("before", "before missing")
    assert panel.column("before")[1] == pytest.approx(3.0)
    assert panel.column("before missing").tolist() == [0, 1, 0, 0, 0, 0, 0, 0]
    assert panel.ledger == ("1 rows kept with before set to its mean and indicated",)


def test_a_school_whose_prior_scores_are_all_missing_is_named():
    frame = records(before=[1.0, 2.0, 3.0, None, 4.0, 1.0, None, None])
    panel = made(frame)
    assert "1 of 2 units of school lost every row: b" in panel.ledger
    panel = made(frame.assign(math=[1, 2, 30, 40, 3, 2, 4, 5]), keys=["class"])
    fit = ek.value_added.multilevel(panel, levels=["class"], on=[])
    assert "1 of 3 units of class lost every row: b1" in fit.meta.notes


def test_missing_peers_count_for_the_others_only_with_their_score():
    frame = records(**{"class": ["c"] * 8, "before": [1.0, 3.0, None, 5.0, 0.0, 0.0, 0.0, 0.0]})
    panel = made(frame, peers=["class"], pupil="id", year="year")
    assert panel.column("before of peers")[0] == pytest.approx(4.0)


def test_the_frame_is_left_as_it_was():
    frame = records(before=[1.0, None, 3.0, 6.0, 4.0, 1.0, 2.0, 4.0])
    before = frame.copy(deep=True)
    made(frame, degree=2, standardise=["year"], missing="indicate", controls=["sex"])
    pd.testing.assert_frame_equal(frame, before)


def test_ids_may_be_text_categories_or_numbers():
    frame = records()
    schools = {"text": frame["school"], "category": frame["school"].astype("category"),
               "number": (frame["school"] == "b").astype(int)}  # fmt: skip
    fits = [
        ek.value_added.multilevel(made(frame.assign(school=school)), levels=["school"], on=[])
        for school in schools.values()
    ]
    assert len({fit.deviance for fit in fits}) == 1


REFUSED = {
    "a repeated pupil and year": (
        {"pupil": "id", "year": "year"}, records(id=[1, 1, 3, 4, 5, 6, 7, 8]), PanelError,
        ["id 1 has two rows in year 1", "rows 1 and 2"]),
    "a cohort of equal scores": (
        {"standardise": ["year"]}, records(before=[1.0] * 4 + [1.0, 2.0, 3.0, 4.0]), PanelError,
        ["'before' does not vary within year 1", "4 scores"]),
    "a control with too many values": (
        {"controls": ["name"]}, pd.concat([records(name=[f"{k}{i}" for i in range(8)])
                                           for k in range(8)]), PanelError,
        ["'name' is text with 64 values"]),
    "text in a prior score": (
        {}, records(before=["1", "2", "x", "4", "5", "6", "7", "8"]), PanelError,
        ["'before' must be numeric", "row 1"]),
    "a missing column": ({"prior": ["lag"]}, records(), PanelError, ["no column lag"]),
    "an unknown treatment of missing values": (
        {"missing": "zero"}, records(), OptionError, ["missing='zero'"]),
    "a power beyond the fourth": ({"degree": 5}, records(), OptionError, ["degree=5"]),
    "peers of nothing": ({"prior": [], "peers": ["class"]}, records(), OptionError, ["prior"]),
    "prior as one text": ({"prior": "before"}, records(), OptionError, ["prior=['before']"]),
    "an empty prior score to indicate": (
        {"missing": "indicate"}, records(before=[np.nan] * 8), PanelError, ["'before' is empty"]),
    "an empty school": (
        {}, records(school=["a", None, "a", "b", "a", "a", "b", "b"]), PanelError,
        ["'school' is empty in rows 2"]),
}  # fmt: skip


@pytest.mark.parametrize(("options", "frame", "error", "words"), REFUSED.values(), ids=REFUSED)
def test_what_the_door_cannot_take_is_refused_with_column_and_remedy(options, frame, error, words):
    with pytest.raises(error) as wrong:
        made(frame, **options)
    for word in words:
        assert word in str(wrong.value)
