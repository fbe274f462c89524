"""The panel: what it holds, what it keeps of the frame, and how it is cut."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core.arrays import Groups, Runs, cross, encode
from evalkit.core.errors import OptionError, PanelError
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


def towns(**changes):
    """Six towns, four periods 8 to 11; the first three adopt in 10."""
    frame = pd.DataFrame(
        {"town": np.repeat(range(6), 4), "year": np.tile([8, 9, 10, 11], 6),
         "start": np.repeat([10.0, np.nan], 12), "y": np.arange(24.0) ** 2 % 7}
    )  # fmt: skip
    return frame.assign(on=(frame["year"] >= frame["start"]).astype(int), **changes)


def read(frame, **changes):
    given = {"outcome": "y", "unit": "town", "time": "year", "cohort": "start"}
    return ek.Panel.from_frame(frame, **{**given, **changes}, provenance="synthetic")


SWITCH = {"cohort": None, "treatment": "on"}


def test_a_switch_is_dated_by_rows_without_outcome_too():
    frame = towns()
    frame.loc[(frame["town"] == 0) & (frame["year"] == 10), "y"] = np.nan
    assert read(frame, **SWITCH).cohort.tolist() == [10, 10, 10, np.inf, np.inf, np.inf]
    frame.loc[(frame["town"] == 0) & (frame["year"] > 9), "y"] = np.nan
    assert read(frame, **SWITCH).cohort[0] == 10
    words = frame.assign(year=frame["year"].map({8: "a", 9: "b", 10: "c", 11: "d"}))
    assert read(words, **SWITCH).cohort.tolist()[:4] == [2, 2, 2, np.inf]


def test_a_period_that_no_outcome_reaches_treats_nobody():
    frame = towns()
    frame.loc[frame["year"] > 9, "y"] = np.nan
    assert np.isinf(read(frame, **SWITCH).cohort).all()


def test_units_that_enter_already_treated_are_left_out_and_counted():
    frame = towns()
    panel = read(frame[(frame["town"] > 0) | (frame["year"] > 9)], **SWITCH)
    assert panel.units.tolist() == [1, 2, 3, 4, 5]
    assert panel.ledger[0].startswith("2 rows dropped: 1 units enter the panel already treated")


NAMES = {8: "low", 9: "mid", 10: "high", 11: "top"}


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_a_declared_order_that_the_alphabet_would_break_is_refused(kind):
    frame = towns().assign(start=None)
    words, order = frame["year"].map(NAMES), list(NAMES.values())
    if kind == "pandas":
        frame["year"] = pd.Categorical(words, categories=order, ordered=True)
    else:
        pl = pytest.importorskip("polars")
        columns = {name: frame[name].to_list() for name in ("town", "y")}
        frame = pl.DataFrame({**columns, "year": pl.Series(words.to_list(), dtype=pl.Enum(order))})
    with pytest.raises(PanelError, match="'year' declares the order low, mid, high, top"):
        read(frame, cohort=None)


def test_numbers_in_text_that_the_alphabet_reorders_are_refused():
    frame = towns().assign(year=lambda d: d["year"].astype(str))
    with pytest.raises(PanelError, match=r"'year' holds numbers as text.*Convert"):
        read(frame, cohort=None)


def test_an_empty_date_column_treats_nobody_where_periods_are_text():
    frame = towns().assign(year=lambda d: "t" + d["year"].astype(str).str.zfill(2), start=None)
    assert np.isinf(read(frame).cohort).all()


@pytest.mark.parametrize(
    "values",
    [
        np.array([-128, 127, -55, 100, -128], np.int8),
        np.array([2**63 + 5, 2**63 + 4], np.uint64),
        np.array([3.0, np.inf, 1.0, 3.0]),
        np.array([1.5, 1.0, 2.0]),
        np.array([5, 3, 4, 3]),
        np.array([10**15, 0, 7]),
        np.array(["b", "a", "b"]),
    ],
    ids=["int8", "uint64", "infinite", "fractions", "no gaps", "far apart", "text"],
)
def test_codes_point_to_sorted_labels(values):
    codes, labels = encode(values)
    expected, where = np.unique(values, return_inverse=True)
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(codes, where)
    assert labels.dtype == values.dtype


def test_codes_are_no_view_of_the_column():
    values = np.arange(5)
    codes, _ = encode(values)
    values[:] = 0
    np.testing.assert_array_equal(codes, np.arange(5))


@pytest.mark.parametrize("order", ["sorted", "in two parts", "scattered"])
def test_runs_add_up_what_groups_do(order):
    rng = np.random.default_rng(3)
    codes, values = rng.integers(0, 6, 200), rng.normal(size=200)
    if order == "sorted":
        codes.sort()
    elif order == "in two parts":
        codes[:100].sort()
        codes[100:].sort()
    runs = Runs.of(codes, 7)
    assert (runs.starts is None) == (order == "scattered")
    np.testing.assert_allclose(runs.sum(values), Groups(codes, 7).sum(values), atol=1e-13)


def test_without_units_and_periods_each_row_is_a_unit():
    frame = towns().assign(row=lambda d: np.arange(1, len(d) + 1), period=0)
    frame.loc[2, "y"] = np.nan
    given = {"outcome": "y", "categories": ["town"], "provenance": "synthetic"}
    made = ek.Panel.from_frame(frame, unit=None, time=None, **given)
    named = ek.Panel.from_frame(frame, unit="row", time="period", **given)
    for field in ("y", "unit", "time", "units", "times", "cohort", "cluster", "weight"):
        np.testing.assert_array_equal(getattr(made, field), getattr(named, field))
    assert made.ledger == named.ledger


def test_categorical_ids_are_those_of_their_values():
    frame = towns()
    words = [*sorted(frame["town"].unique(), reverse=True), "nowhere"]
    made = read(frame.assign(town=pd.Categorical(frame["town"], categories=words)))
    np.testing.assert_array_equal(made.units, read(frame).units)
    np.testing.assert_array_equal(made.unit, read(frame).unit)


def test_an_empty_categorical_id_is_named_with_its_row():
    frame = towns()
    frame["town"] = pd.Categorical(frame["town"]).set_categories(frame["town"].unique()[1:])
    with pytest.raises(PanelError, match="column 'town' is empty in rows 1"):
        read(frame)


def test_categories_of_numbers_are_numbers():
    frame = towns()
    made = read(frame.assign(start=pd.Categorical(frame["start"]), y=pd.Categorical(frame["y"])))
    np.testing.assert_array_equal(made.cohort, read(frame).cohort)
    np.testing.assert_array_equal(made.y, read(frame).y)


@pytest.mark.parametrize("kind", ["arrow", "lazy"])
def test_arrow_tables_and_lazy_frames_are_read(kind):
    frame = towns()
    if kind == "arrow":
        table = pytest.importorskip("pyarrow").Table.from_pandas(frame)
    else:
        columns = {name: frame[name].to_list() for name in frame}
        table = pytest.importorskip("polars").DataFrame(columns).lazy()
    made = read(table)
    np.testing.assert_array_equal(made.y, frame["y"])
    np.testing.assert_array_equal(made.cohort, read(frame).cohort)


def test_pandas_periods_are_dates():
    frame = towns(year=pd.PeriodIndex(np.tile(["2008", "2009", "2010", "2011"], 6), freq="Y"))
    made = read(frame, cohort=None)
    assert made.times[0] == np.datetime64("2008-01-01")
    assert made.ledger == ("periods are counted by position: 0 is 2008-01-01, 3 is 2011-01-01",)


def test_dates_at_unequal_distances_are_counted_by_position_and_said_so():
    dates = pd.to_datetime(np.tile(["2001", "2004", "2005", "2009"], 6))
    assert "distances between their dates differ" in read(towns(year=dates), cohort=None).ledger[0]


GAPS = {
    "years": ([2001, 2002, 2004, 2005], "no period between 2002 and 2004: times since"),
    "months as numbers": (
        [20200101, 20200201, 20200301, 20210101], "no period between 20200301 and 20210101:"),
    "two gaps": ([1, 3, 4, 9], "no period between 1 and 3, 4 and 9:"),
    "every other year": ([2000, 2002, 2004, 2006], None),
    "tenths": ([2000.0, 2000.1, 2000.2, 2000.3], None),
    "twelfths": ([2000 + month / 12 for month in range(4)], None),
    "words": (["a", "b", "c", "d"], "periods are counted by position: 0 is a, 1 is b, 2 is c"),
}  # fmt: skip


@pytest.mark.parametrize(("times", "said"), GAPS.values(), ids=GAPS)
def test_a_gap_between_periods_is_said(times, said):
    ledger = read(towns(year=np.tile(times, 6)), cohort=None).ledger
    assert ledger[0].startswith(said) if said else ledger == ()


@pytest.mark.parametrize("frame", [None, [1, 2], "a.csv", 3.0])
def test_what_is_no_frame_is_refused_by_its_kind(frame):
    with pytest.raises(PanelError, match=f"cannot read a panel from {type(frame).__name__}"):
        read(frame)


@pytest.mark.parametrize("wrong", [{"cohort": 5}, {"outcome": 3}, {"cluster": ["town"]}])
def test_a_column_that_is_not_named_by_text_is_refused(wrong):
    with pytest.raises(OptionError, match="no column name"):
        read(towns(), **wrong)


@pytest.mark.parametrize(
    "periods",
    [
        ("wave 9", "wave 10"),
        ("2015-9", "2015-10"),
        ("02.09.2014", "01.09.2015"),
        ("Q1 2015", "Q1 2016"),
        ("Spring 2015", "Fall 2016"),
    ],
)
def test_periods_in_words_that_the_alphabet_puts_in_a_wrong_order_are_refused(periods):
    frame = {"u": [1, 1, 2, 2], "t": [*periods] * 2, "y": [1.0, 2.0, 3.0, 4.0]}
    with pytest.raises(
        PanelError, match="holds numbers as text, which the alphabet puts in a wrong"
    ):
        ek.Panel.from_frame(frame, outcome="y", unit="u", time="t", provenance="synthetic")


@pytest.mark.parametrize(
    "periods", [("2015-09", "2015-10"), ("wave 1", "wave 2"), ("before", "later")]
)
def test_periods_in_words_of_the_right_order_are_read(periods):
    frame = {"u": [1, 1, 2, 2], "t": [*periods] * 2, "y": [1.0, 2.0, 3.0, 4.0]}
    panel = ek.Panel.from_frame(frame, outcome="y", unit="u", time="t", provenance="synthetic")
    assert panel.times.tolist() == list(periods)


@pytest.mark.parametrize(("times", "words"), [
    (pd.to_datetime(["2014-09-01", "2015-09-01"] * 2), "numbers and the time column dates"),
    (["2014", "2015"] * 2, "numbers and the time column text"),
])  # fmt: skip
def test_adoption_dates_of_another_kind_than_periods_are_refused(times, words):
    frame = pd.DataFrame(
        {"u": [1, 1, 2, 2], "t": times, "y": 1.0, "g": [2015.0] * 2 + [np.nan] * 2}
    )
    with pytest.raises(PanelError, match=words):
        ek.Panel.from_frame(
            frame, outcome="y", unit="u", time="t", cohort="g", provenance="synthetic"
        )


@pytest.mark.parametrize("name", ["two_way", "callaway_santanna", "imputation", "sun_abraham"])
def test_a_frame_in_place_of_a_panel_is_refused(name):
    with pytest.raises(OptionError, match="panel is DataFrame"):
        getattr(ek.did, name)(pd.DataFrame({"y": [1.0]}))
