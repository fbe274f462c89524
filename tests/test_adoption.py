"""Adoption dates known only as a window: what the panel leaves out and what estimators make of it.

The twins are loops over units and periods, or panels from which the rows were taken by hand.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core.adoption import Starts, Window
from evalkit.core.errors import IdentificationError
from panels import RECIPES, Recipe

TWIN = 1e-10  # the same arithmetic in another order
WINDOWS = RECIPES["windows"]
YEARS = range(2000, 2006)


def dated(frame, **options):
    """The panel of a frame whose ``start`` is taken as exact."""
    return WINDOWS.panel(frame, cohort="start", **options)


def inside(frame):
    """Rows whose status is unknown."""
    return (frame["year"] >= frame["first"]) & (frame["year"] < frame["start"])


def last(key):
    """A key with the end of the window in place of the window."""
    return tuple(part.latest if isinstance(part, Window) else part for part in key)


# --- The panel --------------------------------------------------------------------------------


def test_rows_inside_windows_are_left_out_and_counted():
    frame = WINDOWS.frame()
    panel = WINDOWS.panel(frame)
    kept = frame[~inside(frame)].sort_values(["town", "year"])
    np.testing.assert_array_equal(panel.y, kept["y"])
    towns = frame["town"][inside(frame)].nunique()
    assert inside(frame).sum() == towns == 8
    assert (
        f"{inside(frame).sum()} rows dropped: inside the adoption windows of {towns} units"
        in panel.ledger
    )
    assert not panel.balanced
    assert len(panel.whole.y) == len(frame)
    assert f"{towns} of them within a window" in repr(panel)


def test_cohorts_are_pairs_of_ends_labelled_without_ambiguity():
    panel = WINDOWS.panel()
    starts = Starts.of(panel)
    labels = starts.labels
    assert labels == [Window(2001, 2002), 2002, Window(2003, 2004), 2004, np.inf]
    assert [str(label) for label in labels[:2]] == ["2001-2002", "2002"]
    assert sorted([labels[k] for k in (3, 1, 4, 0, 2)]) == labels
    for unit, g in enumerate(starts.code):
        assert panel.cohort[unit] == starts.start[g]
        assert panel.earliest[unit] == starts.earliest[g]


def test_event_time_counts_from_the_near_end_of_the_window():
    window = Window(2003, 2006)
    assert [t - window for t in (2001, 2002, 2006, 2007)] == [-2, -1, 0, 1]
    panel = WINDOWS.panel()
    starts = Starts.of(panel)
    for row, event in enumerate(panel.event):
        label = starts.labels[starts.code[panel.unit[row]]]
        year = int(panel.times[panel.time[row]])
        assert event == (-np.inf if label == np.inf else year - label)


def test_windows_of_equal_ends_are_exact_dates():
    frame = WINDOWS.frame().assign(first=lambda d: d["start"])
    panel = WINDOWS.panel(frame)
    assert panel.earliest is None
    assert panel.whole is None
    same, exact = (ek.did.callaway_santanna(p) for p in (panel, dated(frame)))
    assert same.index == exact.index
    assert same.theta.tobytes() == exact.theta.tobytes()


def test_a_window_without_rows_inside_keeps_the_balanced_panel_and_moves_the_event_time():
    """Seen every second year, adopted in a year between two: nothing is unknown but the label."""
    frame = WINDOWS.frame().query("year % 2 == 0")
    frame = frame.assign(
        first=np.where(frame["start"] == 2004, 2003, frame["start"]),
        start=frame["start"].where(frame["start"] == 2004),
    ).assign(first=lambda d: d["first"].where(d["start"].notna()))
    panel = WINDOWS.panel(frame)
    assert panel.balanced
    between, exact = (ek.did.callaway_santanna(p) for p in (panel, dated(frame)))
    assert between.index.keys == ((Window(2003, 2004), 2002), (Window(2003, 2004), 2004))
    np.testing.assert_allclose(between.theta, exact.theta, atol=TWIN)
    events = [ek.aggregate(e, by="event").index.level("event") for e in (between, exact)]
    assert events == [(-1, 0), (-2, 0)]


def test_windows_shared_by_everybody_make_a_shorter_balanced_panel():
    frame = WINDOWS.frame().assign(start=2004.0, first=2002.0)
    frame = frame[frame["town"] < 20]
    frame.loc[frame["town"] < 10, ["first", "start"]] = 2005.0
    frame = frame[~frame["year"].isin([2003])]
    panel = WINDOWS.panel(frame)
    found = ek.did.callaway_santanna(panel, control="not_yet")
    y = frame.pivot_table("y", "town", "year")
    late, mine = y.index < 10, y.index >= 10
    key = (Window(2002, 2004), 2004)
    change = y[2004] - y[2001]
    np.testing.assert_allclose(
        found.take([found.index.keys.index(key)]).theta,
        change[mine].mean() - change[late].mean(),
        atol=TWIN,
    )
    assert not any(isinstance(g, Window) and 2002 <= t < 2004 for g, t in found.index.keys)


def test_text_periods_may_be_windows():
    frame = WINDOWS.frame()
    names = {year: f"{year}-{(year + 1) % 100:02d}" for year in YEARS}
    text = frame.assign(
        **{c: frame[c].map(names).where(frame[c].notna(), None) for c in ("year", "first", "start")}
    )
    found, wanted = (ek.did.imputation(WINDOWS.panel(f)) for f in (text, frame))
    np.testing.assert_allclose(found.theta, wanted.theta, atol=TWIN)
    event, numbers = (ek.aggregate(e, by="event") for e in (found, wanted))
    assert event.index == numbers.index


def test_cutting_units_keeps_the_windows_of_the_others():
    frame = WINDOWS.frame()
    cut = WINDOWS.panel(frame).where(WINDOWS.panel(frame).unit % 3 > 0)
    made = WINDOWS.panel(frame[frame["town"] % 3 > 0])
    np.testing.assert_array_equal(cut.earliest, made.earliest)
    assert cut.whole is None
    one, two = (ek.did.callaway_santanna(p) for p in (cut, made))
    assert one.index == two.index
    assert one.theta.tobytes() == two.theta.tobytes()


# --- Estimators -------------------------------------------------------------------------------


@pytest.mark.parametrize("control", ["never", "not_yet"])
@pytest.mark.parametrize("base", ["varying", "universal"])
@pytest.mark.parametrize("anticipation", [0, 1])
def test_group_time_effects_start_from_the_last_period_surely_untreated(
    control, base, anticipation
):
    frame = WINDOWS.frame()
    y = frame.pivot_table("y", "town", "year")
    by = frame.groupby("town")
    first, start = (by[c].first().fillna(np.inf) for c in ("first", "start"))
    found = ek.did.callaway_santanna(
        WINDOWS.panel(frame), control=control, base=base, anticipation=anticipation
    )
    wanted = {}
    for a, b in sorted({(a, b) for a, b in zip(first, start, strict=True) if np.isfinite(b)}):
        bases = [year for year in YEARS if year + anticipation < a]
        for t in YEARS:
            if a <= t < b or not bases:
                continue
            exposed = t + anticipation >= a
            base_year = max(bases) if exposed or base == "universal" else t - 1
            if base_year < 2000 or base_year == t:
                continue
            change = y[t] - y[base_year]
            mine = (first == a) & (start == b)
            others = np.isinf(start)
            if control == "not_yet":
                others = (first > max(t, base_year) + anticipation) & ~mine
            key = (b if a == b else Window(int(a), int(b)), t)
            wanted[key] = change[mine].mean() - change[others].mean()
    assert set(found.index.keys) == set(wanted)
    assert len(wanted) > 8
    for key, theta in zip(found.index.keys, found.theta, strict=True):
        assert abs(theta - wanted[key]) < TWIN


REMOVED = {
    "two-way": (lambda p: ek.did.two_way(p), False),
    "extended two-way": (lambda p: ek.did.extended_two_way(p), True),
    "extended two-way, covariates": (
        lambda p: ek.did.extended_two_way(p, baseline=["base"]), True),
    "imputation": (lambda p: ek.did.imputation(p), True),
    "imputation, covariates": (lambda p: ek.did.imputation(p, covariates=["z"]), True),
}  # fmt: skip


@pytest.mark.parametrize("name", REMOVED)
def test_regressions_are_those_of_the_frame_without_the_unknown_rows(name):
    """Where units that share a date share a window too, only the label is another."""
    run, cells = REMOVED[name]
    frame = WINDOWS.frame()
    one = frame.assign(first=np.where(frame["start"] == 2004, 2003, frame["first"]))
    one = one.assign(start=np.where(one["start"] == 2002, np.nan, one["start"]))
    one["first"] = one["first"].where(one["start"].notna())
    found, wanted = run(WINDOWS.panel(one)), run(dated(one[~inside(one)]))
    assert tuple(map(last, found.index.keys)) == wanted.index.keys
    np.testing.assert_allclose(found.theta, wanted.theta, atol=TWIN)
    np.testing.assert_allclose(found.psi, wanted.psi, atol=TWIN)
    if cells:
        assert all(isinstance(key[0], Window) for key in found.index.keys)


def dummies(frame, reference=-1):
    """Cohort-by-event dummies of a Sun-Abraham regression, written out."""
    columns = {}
    pairs = frame.dropna(subset=["start"])[["first", "start"]].drop_duplicates()
    for a, b in sorted(map(tuple, pairs.to_numpy())):
        mine = (frame["first"] == a) & (frame["start"] == b)
        for t in YEARS:
            if a <= t < b:
                continue
            event = t - b if t >= b else t - a
            if event != reference:
                label = int(b) if a == b else Window(int(a), int(b))
                columns[label, t] = (mine & (frame["year"] == t)).astype(float)
    return columns


def test_sun_abraham_leaves_out_the_last_period_surely_untreated_of_every_cohort():
    frame = WINDOWS.frame()
    columns = dummies(frame)
    named = {f"c{k}": column for k, column in enumerate(columns.values())}
    made = dated(frame.assign(**named)[~inside(frame)], covariates=list(named))
    wanted = ek.did.regression(made, on=list(named))
    found = ek.did.sun_abraham(WINDOWS.panel(frame))
    at = [list(columns).index(key) for key in found.index.keys]
    assert len(at) == len(columns)
    np.testing.assert_allclose(found.theta, wanted.theta[at], atol=TWIN)
    np.testing.assert_allclose(found.psi, wanted.psi[:, at], atol=TWIN)


def test_the_event_study_and_the_pretrends_use_the_same_event_time():
    frame = WINDOWS.frame()
    summed = {}
    for (label, t), column in dummies(frame).items():
        event = t - label
        summed[event] = summed.get(event, 0) + column
    named = {f"e{k}": column for k, column in enumerate(summed.values())}
    made = dated(frame.assign(**named)[~inside(frame)], covariates=list(named))
    wanted = dict(zip(summed, ek.did.regression(made, on=list(named)).theta, strict=True))
    found = ek.did.event_study(WINDOWS.panel(frame))
    assert found.index.level("event") == tuple(sorted(wanted))
    np.testing.assert_allclose(found.theta, [wanted[key[0]] for key in found.index.keys], atol=TWIN)
    lead = ek.did.imputation_pretrends(WINDOWS.panel(frame), leads=1)
    before = WINDOWS.panel(frame)
    rows = before.treated == 0
    free = before.where(rows)
    x = (free.event == -1).astype(float)
    by_hand = np.column_stack(
        [x, np.eye(free.n_units)[free.unit], np.eye(free.n_periods)[free.time][:, 1:]]
    )
    np.testing.assert_allclose(
        lead.theta, np.linalg.lstsq(by_hand, free.y, rcond=None)[0][:1], atol=1e-8
    )


def test_a_two_by_two_leaves_the_window_out_on_both_sides():
    frame = WINDOWS.frame()
    frame = frame.assign(start=frame["start"].where(frame["start"] == 2004))
    frame["first"] = np.where(frame["start"].notna(), 2002.0, np.nan)
    found = ek.did.two_by_two(WINDOWS.panel(frame))
    y = frame.pivot_table("y", "town", "year")
    delta = y[[2004, 2005]].mean(axis=1) - y[[2000, 2001]].mean(axis=1)
    treated = frame.groupby("town")["start"].first().notna()
    np.testing.assert_allclose(
        found.theta, delta[treated].mean() - delta[~treated].mean(), atol=TWIN
    )
    np.testing.assert_allclose(
        ek.did.two_by_two(WINDOWS.panel(frame.assign(y=frame["y"] + 5 * frame["year"] ** 2))).theta,
        found.theta,
        atol=1e-7,
    )


def test_units_that_share_only_the_latest_date_are_no_two_by_two():
    frame = WINDOWS.frame()
    frame = frame[~(frame["start"] == 2002)]
    with pytest.raises(IdentificationError, match=r"units adopt in 2003-2004, 2004"):
        ek.did.two_by_two(WINDOWS.panel(frame))


@pytest.mark.parametrize("by", ["cohort", "period"])
@pytest.mark.parametrize("run", ["synthetic_did", "synthetic_control"])
def test_synthetic_weights_are_fitted_without_the_window(run, by):
    """Each window against the never-treated, with the window's years cut from the whole panel."""
    frame = replace(WINDOWS, cohorts=(2003, 2005, np.nan, np.nan)).frame()
    found = getattr(ek.did, run)(WINDOWS.panel(frame), by=by)
    pairs = frame.dropna(subset=["start"])[["first", "start"]].drop_duplicates().to_numpy()
    for a, b in pairs:
        mine = ((frame["first"] == a) & (frame["start"] == b)) | frame["start"].isna()
        cut = frame[mine & ~frame["year"].between(a, b - 1)]
        wanted = getattr(ek.did, run)(dated(cut), by=by)
        label = int(b) if a == b else Window(int(a), int(b))
        part = found.select(cohort=label)
        np.testing.assert_allclose(part.theta, wanted.theta, atol=TWIN)
        psi = part.psi[np.isin(part.units, wanted.units)]
        np.testing.assert_allclose(psi, wanted.psi, atol=TWIN)


def test_triple_differences_skip_the_window():
    frame = WINDOWS.frame()
    found = ek.did.triple_difference(WINDOWS.panel(frame), eligible="seat")
    assert set(found.index.level("cohort")) == {Window(2001, 2002), 2002, Window(2003, 2004), 2004}
    y = frame.pivot_table("y", "town", "year")
    units = frame.groupby("town")[["first", "start", "seat"]].first()
    change = y[2005] - y[2002]
    mine = (units["first"] == 2003) & (units["start"] == 2004)
    never = units["start"].isna()
    gap = {
        (who, q): change[group & (units["seat"] == q)].mean()
        for who, group in (("mine", mine), ("never", never))
        for q in (0, 1)
    }
    wanted = gap["mine", 1] - gap["mine", 0] - gap["never", 1] + gap["never", 0]
    theta = found.select(side="difference", cohort=Window(2003, 2004), time=2005).theta
    np.testing.assert_allclose(theta, wanted, atol=TWIN)


def test_averages_by_event_join_windows_and_exact_dates():
    cells = ek.did.callaway_santanna(WINDOWS.panel())
    event = ek.aggregate(cells, by="event")
    assert event.index.level("event") == tuple(sorted({t - g for g, t in cells.index.keys}))
    for (e,), theta in zip(event.index.keys, event.theta, strict=True):
        mine = [k for k, (g, t) in enumerate(cells.index.keys) if t - g == e]
        mass = cells.mass.theta[mine]
        assert abs(theta - mass @ cells.theta[mine] / mass.sum()) < TWIN
    by_cohort = ek.aggregate(cells, by="cohort")
    assert by_cohort.index.level("cohort") == (Window(2001, 2002), 2002, Window(2003, 2004), 2004)
    table = ek.infer(by_cohort, few="show").table
    assert table.index[0] == Window(2001, 2002)
    overall = ek.aggregate(cells)
    assert np.isfinite(overall.theta).all()


def test_only_units_with_unknown_rows_elsewhere_are_dropped_from_a_balanced_comparison():
    frame = WINDOWS.frame()
    gap = frame[~((frame["town"] == 0) & (frame["year"] == 2005))]
    found = ek.did.callaway_santanna(WINDOWS.panel(gap), unbalanced="balanced")
    assert "1 units dropped: not seen in every period" in found.meta.notes
    wanted = ek.did.callaway_santanna(WINDOWS.panel(frame[frame["town"] != 0]))
    np.testing.assert_allclose(found.theta, wanted.theta, atol=TWIN)


def test_the_bootstrap_and_the_placebo_carry_windows():
    panel = WINDOWS.panel()

    def overall(p):
        return ek.aggregate(ek.did.callaway_santanna(p))

    assert ek.bootstrap(panel, overall, seed=1, draws=5).draws.shape == (5, 1)
    seen = []

    def spy(p):
        seen.append((len(p.y), p.earliest is not None))
        return overall(p)

    frame = WINDOWS.frame().query("town >= 20 or town % 4 > 1 or town < 8")
    ek.placebo(WINDOWS.panel(frame), spy, seed=1, draws=3)
    assert all(windows for _, windows in seen)


def test_row_weights_of_synthetic_estimates_skip_rows_that_are_not_there():
    panel = WINDOWS.panel()
    found = ek.did.synthetic_did(panel, unit_weights="uniform", time_weights="uniform")
    assert found.weights.shape == (len(panel.y), 4)
    np.testing.assert_allclose(found.weights.T @ panel.y, found.theta, atol=TWIN)


def test_the_windows_recipe_is_what_these_tests_take_it_for():
    frame = Recipe.frame(WINDOWS)
    pairs = frame[["first", "start"]].drop_duplicates().dropna().to_numpy().tolist()
    assert sorted(pairs) == [[2001, 2002], [2002, 2002], [2003, 2004], [2004, 2004]]
    assert frame["start"].isna().any()
    assert isinstance(frame, pd.DataFrame)
