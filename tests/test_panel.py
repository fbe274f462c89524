"""The panel: what it holds, what it keeps of the frame, and how it is cut."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core.arrays import Groups, cross
from evalkit.core.errors import PanelError
from panels import RECIPES


def test_rows_stand_in_order_of_unit_and_time():
    recipe = RECIPES["unbalanced"]
    frame = recipe.frame()
    panel = recipe.panel(frame.sample(frac=1, random_state=2))
    order = frame.sort_values(["town", "year"])
    np.testing.assert_array_equal(panel.y, order["y"])
    np.testing.assert_array_equal(panel.units[panel.unit], order["town"])
    np.testing.assert_array_equal(panel.times[panel.time], order["year"])
    np.testing.assert_array_equal(panel.x[:, 0], order["x"])
    np.testing.assert_array_equal(panel.dose[panel.unit], order["dose"])


def test_every_array_is_read_only():
    panel = RECIPES["weighted"].panel()
    for field in fields(panel):
        value = getattr(panel, field.name)
        if isinstance(value, np.ndarray):
            assert not value.flags.writeable, field.name
    with pytest.raises(FrozenInstanceError):
        panel.y = None


def test_writing_into_the_frame_later_does_not_reach_the_panel():
    frame = RECIPES["balanced"].frame()
    panel = RECIPES["balanced"].panel(frame)
    before = panel.y.copy()
    frame.loc[:, "y"] = 0.0
    np.testing.assert_array_equal(panel.y, before)


def test_treated_rows_are_those_from_adoption_on():
    panel = RECIPES["staggered"].panel()
    years, starts = panel.times[panel.time], panel.cohort[panel.unit]
    np.testing.assert_array_equal(panel.treated, (years >= starts).astype(float))


def test_wide_has_a_hole_where_nothing_was_observed():
    recipe = RECIPES["unbalanced"]
    frame = recipe.frame()
    wide = recipe.panel(frame).wide()
    expected = frame.pivot_table(index="town", columns="year", values="y").to_numpy()
    np.testing.assert_array_equal(wide, expected)


@pytest.mark.parametrize("name", ["balanced", "unbalanced"])
def test_a_panel_knows_whether_it_is_balanced(name):
    assert RECIPES[name].panel().balanced == (name == "balanced")


def test_cutting_rows_is_the_same_as_cutting_the_frame():
    recipe = RECIPES["weighted"]
    frame = recipe.frame()
    panel = recipe.panel(frame)
    rows = (panel.times[panel.time] > 2001) & (panel.units[panel.unit] % 3 > 0)
    cut = panel.where(rows)
    made = recipe.panel(frame[(frame["year"] > 2001) & (frame["town"] % 3 > 0)])
    for field in fields(panel):
        one, two = getattr(cut, field.name), getattr(made, field.name)
        if isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, two, err_msg=field.name)
    np.testing.assert_array_equal(
        cut.category("county").labels[cut.category("county").codes],
        made.category("county").labels[made.category("county").codes],
    )
    one, two = (ek.did.two_way(p, absorb=("unit", ("county", "time"))) for p in (cut, made))
    assert one.theta.tobytes() == two.theta.tobytes()


def test_cutting_text_periods_keeps_adoption_at_its_period():
    frame = {
        "i": ["a"] * 4 + ["b"] * 4,
        "t": ["p1", "p2", "p3", "p4"] * 2,
        "y": [0.0, 0, 1, 1, 0, 0, 0, 0],
        "g": ["p3"] * 4 + [None] * 4,
    }
    panel = ek.Panel.from_frame(
        frame, outcome="y", unit="i", time="t", cohort="g", provenance="synthetic"
    )
    later = panel.where(panel.time > 0)
    assert later.treated.tolist() == [0, 1, 1, 0, 0, 0]
    without = panel.where(panel.time != 2)
    assert without.treated.tolist() == [0, 0, 1, 0, 0, 0]
    before = panel.where(panel.time < 2)
    assert before.treated.tolist() == [0, 0, 0, 0]


def test_cutting_the_first_treated_period_keeps_later_ones_treated():
    panel = RECIPES["balanced"].panel()
    without = panel.where(panel.times[panel.time] != 2003)
    assert without.treated.sum() == 20 * 2


def test_another_outcome_keeps_everything_else():
    panel = RECIPES["balanced"].panel()
    other = panel.with_outcome(panel.column("money"), "money")
    assert other.outcome == "money"
    np.testing.assert_array_equal(other.x, panel.x)
    assert ek.did.two_way(other).meta.outcome == "money"


@pytest.mark.parametrize("outcome", [np.zeros(3), np.full(240, np.nan), np.zeros((240, 2))])
def test_an_outcome_that_does_not_fit_is_refused(outcome):
    with pytest.raises(PanelError):
        RECIPES["balanced"].panel().with_outcome(outcome)


def test_unit_time_and_cluster_are_always_categories():
    panel = RECIPES["clustered"].panel()
    np.testing.assert_array_equal(panel.category("unit").codes, panel.unit)
    np.testing.assert_array_equal(panel.category("time").codes, panel.time)
    cluster = panel.category("cluster")
    np.testing.assert_array_equal(cluster.labels[cluster.codes], panel.cluster[panel.unit])


def test_the_representation_counts_rows_units_periods_and_what_was_dropped():
    recipe = RECIPES["balanced"]
    frame = recipe.frame()
    frame.loc[3, "y"] = np.nan
    text = repr(recipe.panel(frame))
    for words in ("'y'", "synthetic", "239 rows", "40 units x 6 periods", "unbalanced",
                  "20 treated in 1 cohort", "1 rows dropped: y is missing"):  # fmt: skip
        assert words in text


def test_the_ledger_reaches_the_estimate():
    recipe = RECIPES["balanced"]
    frame = recipe.frame()
    frame.loc[3, "y"] = np.nan
    assert "1 rows dropped: y is missing" in ek.did.two_way(recipe.panel(frame)).meta.notes


def test_gaps_in_the_calendar_are_kept():
    frame = RECIPES["balanced"].frame()
    panel = RECIPES["balanced"].panel(frame[frame["year"] != 2001])
    assert panel.times.tolist() == [2000, 2002, 2003, 2004, 2005]
    event = ek.did.event_study(panel)
    assert [key[0] for key in event.index.keys] == [-3, 0, 1, 2]


def test_ids_as_integers_and_as_whole_floats_are_the_same():
    frame = RECIPES["balanced"].frame()
    one = RECIPES["balanced"].panel(frame)
    two = RECIPES["balanced"].panel(frame.assign(town=frame["town"].astype(float)))
    np.testing.assert_array_equal(one.units, two.units)
    assert two.units.dtype.kind == "i"


def test_large_ids_keep_every_digit():
    ids = [2**53 + 1, 2**53 + 2]
    frame = pd.DataFrame({"i": np.repeat(ids, 2), "t": [0, 1] * 2, "y": [1.0, 2, 3, 4]})
    panel = ek.Panel.from_frame(frame, outcome="y", unit="i", time="t", provenance="synthetic")
    assert panel.units.tolist() == ids


def test_groups_sum_rows_like_a_loop():
    rng = np.random.default_rng(0)
    codes, values = rng.integers(0, 5, 40), rng.normal(size=(40, 3))
    groups = Groups(codes, 6)
    expected = np.array([values[codes == g].sum(axis=0) for g in range(6)])
    np.testing.assert_allclose(groups.sum(values), expected, atol=1e-14)
    np.testing.assert_allclose(groups.sum(values[:, 0]), expected[:, 0], atol=1e-14)
    assert [rows.tolist() for rows in groups.rows()] == [
        np.flatnonzero(codes == g).tolist() for g in range(6)
    ]


def test_within_says_whether_one_partition_refines_another():
    fine, coarse = Groups.of(np.array([0, 0, 1, 2])), Groups.of(np.array([5, 5, 5, 7]))
    assert fine.within(coarse)
    assert not coarse.within(fine)
    assert not Groups.of(np.array([0, 1, 0, 1])).within(coarse)


def test_crossing_partitions_leaves_no_gaps():
    codes = cross([np.array([0, 2, 2, 0]), np.array([1, 1, 0, 1])])
    assert sorted(set(codes.tolist())) == [0, 1, 2]
    assert codes[0] == codes[3]


def test_cutting_every_row_is_refused():
    panel = RECIPES["balanced"].panel()
    with pytest.raises(PanelError, match="no row"):
        panel.where(np.zeros(len(panel.y), bool))
