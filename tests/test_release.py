"""What a release withholds, against an attacker who subtracts."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import evalkit as ek
from evalkit.core.errors import OptionError, SummaryError

FLOOR = 5


def table(counts, **columns):
    """Sums with so many pupils in each (county, school), scores rising."""
    rows = [(c, s) for (c, s), n in counts.items() for _ in range(n)]
    frame = pd.DataFrame(rows, columns=["county", "school"])
    frame["math"] = np.arange(len(frame)) % 11 / 2
    for name, values in columns.items():
        frame[name] = values
    return ek.summaries(
        frame, keys=["county", "school"], score="math", controls=[*columns],
        bands=[2.0], grid=0.5, provenance="restricted",
    )  # fmt: skip


def shown(sums):
    return list(zip(*(labels.tolist() for labels in sums.labels), strict=True))


GRID = list(itertools.product(["n", "s", "w"], ["a", "b", "c", "d"]))
COUNTS = st.lists(st.integers(0, 12), min_size=len(GRID), max_size=len(GRID)).map(
    lambda ns: {cell: n for cell, n in zip(GRID, ns, strict=True) if n}
)


@given(counts=COUNTS)
def test_an_attacker_who_subtracts_finds_no_group_below_the_floor(counts):
    """By county and by school, totals of all pupils are known; take away what is known."""
    by_county = {c: {cell for cell in counts if cell[0] == c} for c, _ in counts}
    by_school = {s: {cell for cell in counts if cell[1] == s} for _, s in counts}
    totals = [*by_county.values(), *by_school.values()]
    assume(totals and all(sum(counts[cell] for cell in total) >= FLOOR for total in totals))
    try:
        released = table(counts).release(floor=FLOOR, published=[["county"], ["school"]])
    except SummaryError:
        return
    known = set(shown(released))
    assert all(counts[cell] >= FLOOR for cell in known)
    while True:
        rests = [total - known for total in totals]
        assert all(sum(counts[cell] for cell in rest) >= FLOOR for rest in rests if rest)
        found = {cell for rest in rests if len(rest) == 1 for cell in rest}
        if not found:
            break
        known |= found


def test_without_published_totals_only_small_cells_go():
    counts = {("n", "a"): 9, ("n", "b"): 2, ("s", "a"): 7}
    released = table(counts).release(floor=FLOOR)
    assert shown(released) == [("n", "a"), ("s", "a")]
    assert "1 of 3 cells withheld: fewer than 5 pupils could be made out" in released.notes


def test_the_smallest_other_cell_goes_with_one_that_a_total_would_give_away():
    counts = {("n", "a"): 9, ("n", "b"): 2, ("n", "c"): 8, ("s", "a"): 7}
    released = table(counts).release(floor=FLOOR, published=[["county"]])
    assert shown(released) == [("n", "a"), ("s", "a")]
    assert "1 of 4 cells withheld: a published total would give another away" in released.notes


def test_two_small_cells_that_make_up_the_floor_protect_each_other():
    counts = {("n", "a"): 9, ("n", "b"): 3, ("n", "c"): 3}
    assert shown(table(counts).release(floor=FLOOR, published=[["county"]])) == [("n", "a")]


def test_small_cells_may_be_pooled_instead():
    counts = {("n", "a"): 9, ("n", "b"): 3, ("n", "c"): 3, ("s", "a"): 2}
    whole = table(counts)
    released = whole.release(floor=FLOOR, merge="school")
    assert shown(released) == [("n", "(pooled)"), ("n", "a")]
    assert released.n.tolist() == [6, 9]
    pooled = whole.select(county="n", school=["b", "c"]).by("county")
    np.testing.assert_array_equal(released.mean[0], pooled.mean[0])
    assert "3 small cells pooled over school" in released.notes


def test_integers_are_pooled_under_minus_one_if_nobody_has_it():
    frame = pd.DataFrame({"school": [1] * 9 + [2, 3] * 3, "math": np.arange(15.0)})
    ask = {"keys": ["school"], "score": "math", "provenance": "restricted"}
    assert ek.summaries(frame, **ask).release(floor=5, merge="school").label("school").tolist() == [
        -1,
        1,
    ]
    frame.loc[0, "school"] = -1
    with pytest.raises(OptionError, match="-1"):
        ek.summaries(frame, **ask).release(floor=5, merge="school")


def test_a_single_pupil_of_a_group_is_not_given_away_by_a_cross_product():
    counts = {("n", "a"): 9, ("n", "b"): 9}
    poor = np.zeros(18)
    poor[0] = 1  # one poor pupil in school a: the cross-product holds that pupil's score
    released = table(counts, poor=poor).release(floor=FLOOR)
    assert shown(released) == [("n", "b")]
    assert shown(table(counts, poor=poor * 0.7).release(floor=FLOOR)) == shown(table(counts))


def test_pupils_who_all_score_alike_are_not_shown():
    frame = pd.DataFrame({"school": [1] * 9 + [2] * 9, "math": [4.0] * 9 + [*range(9)]})
    sums = ek.summaries(frame, keys=["school"], score="math", provenance="restricted", floor=5)
    assert sums.label("school").tolist() == [2]


def test_histograms_and_small_bands_are_withheld_and_stay_unknown_when_added():
    counts = {("n", "a"): 22, ("n", "b"): 11}
    whole = table(counts)
    released = whole.release(floor=FLOOR)
    assert released.histogram is None
    assert np.isnan(released.bands).all(axis=1).tolist() == [False, True]
    np.testing.assert_array_equal(released.bands[0], whole.bands[0])
    assert np.isnan((released + released).bands[1]).all()
    assert np.isnan(released.by("county").bands).all()
    assert "histograms withheld" in released.notes


def test_weights_hide_how_many_there_are():
    frame = pd.DataFrame(
        {"school": [1] * 9, "math": np.arange(9.0), "w": 2.0, "poor": [0, 1] * 4 + [1]}
    )
    ask = {"keys": ["school"], "score": "math", "weight": "w", "provenance": "restricted"}
    assert ek.summaries(frame, **ask, bands=[4]).release(floor=3).bands is None
    with pytest.raises(SummaryError, match="'poor' has two values and the sums are weighted"):
        ek.summaries(frame, **ask, controls=["poor"]).release(floor=3)


def test_rows_left_out_are_told_for_released_cells_only():
    frame = pd.DataFrame({"school": [1] * 9 + [2] * 3, "math": [*range(8), None, 1, 2, None]})
    ask = {"keys": ["school"], "score": "math", "provenance": "restricted"}
    released = ek.summaries(frame, **ask).release(floor=5)
    assert released.missing.rows.tolist() == [1]


def test_a_total_below_the_floor_and_an_empty_release_are_refused():
    with pytest.raises(SummaryError, match=r"published total of county s has fewer than 5"):
        table({("n", "a"): 9, ("s", "a"): 2}).release(floor=5, published=[["county"]])
    with pytest.raises(SummaryError, match="no cell may be released with floor=5"):
        table({("n", "a"): 3, ("n", "b"): 3}).release(floor=5)


def one_cell(**columns):
    """Sums of one cell of twenty pupils, the last of whom stands alone in a column."""
    frame = pd.DataFrame({"k": ["a"] * 20, "math": np.arange(20.0) * 3 % 17, **columns})
    frame["prior"] = np.arange(20.0) * 7 % 19
    return frame


LAST = np.repeat([0.0, 1.0], [19, 1])


@pytest.mark.parametrize(("low", "high"), [(0, 1), (1, 2), (-1, 1), (1, 3), (0, 100), (7, 8)])
@pytest.mark.parametrize("role", ["score", "controls"])
def test_a_pupil_alone_with_one_of_two_values_is_withheld(low, high, role):
    frame = one_cell(two=low + (high - low) * LAST)
    ask = {"keys": ["k"], "prior": ["prior"], "provenance": "restricted"}
    given = {"score": "two"} if role == "score" else {"score": "math", "controls": ["two"]}
    with pytest.raises(SummaryError, match="no cell may be released"):
        ek.summaries(frame, **ask, **given).release(floor=5)


def test_two_values_that_part_off_enough_are_released():
    frame = one_cell(two=np.repeat([1.0, 2.0], 10))
    sums = ek.summaries(
        frame, keys=["k"], score="math", controls=["two"], provenance="restricted", floor=5
    )
    assert sums.n.tolist() == [20]


@pytest.mark.parametrize("floor", [float("nan"), "5", 2.5, True, 1, None])
def test_a_floor_that_is_no_whole_number_from_two_on_is_refused(floor):
    with pytest.raises(OptionError, match="floor="):
        table({("n", "a"): 9}).release(floor=floor)
