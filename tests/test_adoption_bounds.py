"""Bounds over adoption dates against loops over panels whose dates were written by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core.errors import DoubtWarning, OptionError, PanelError
from panels import RECIPES

TWIN = 1e-12  # the same estimator on the same panel
FEW = 3  # towns with a window


def frame():
    """The windows of three towns are kept; the other dates are exact."""
    data = RECIPES["windows"].frame()
    towns = data["town"][data["first"] < data["start"]].unique()[:FEW]
    return data.assign(first=data["first"].where(data["town"].isin(towns), data["start"])), towns


def overall(panel):
    return ek.aggregate(ek.did.callaway_santanna(panel, control="not_yet"))


def panel_of(data, **options):
    return RECIPES["windows"].panel(data, **options)


def by_hand(data, towns, estimator, shared=lambda town: town):
    """Estimates and intervals for every assignment, in loops."""
    windows = {town: data[data["town"] == town][["first", "start"]].iloc[0] for town in towns}
    groups = sorted({shared(town) for town in towns}, key=str)
    options = {
        g: list(range(int(w["first"]), int(w["start"]) + 1))
        for g in groups
        for w in [next(windows[town] for town in towns if shared(town) == g)]
    }
    rows = []
    for choice in product(*options.values()):
        dates = dict(zip(groups, choice, strict=True))
        exact = data.copy()
        for town in towns:
            exact.loc[exact["town"] == town, "start"] = dates[shared(town)]
        result = ek.infer(estimator(panel_of(exact, cohort="start")), few="show")
        rows.append((result.estimate, result.conf_low, result.conf_high, dates))
    return rows


def test_bounds_are_the_ends_over_every_assignment():
    data, towns = frame()
    found = ek.adoption_bounds(panel_of(data), overall, few="show")
    rows = by_hand(data, towns, overall)
    assert len(rows) == 2**FEW
    assert found.exact
    assert found.method == "all 8 assignments of dates to 3 groups of units"
    thetas = np.array([row[0][0] for row in rows])
    np.testing.assert_allclose([found.low[0], found.high[0]], [thetas.min(), thetas.max()],
                               atol=TWIN)  # fmt: skip
    np.testing.assert_allclose(found.conf_low[0], min(row[1][0] for row in rows), atol=TWIN)
    np.testing.assert_allclose(found.conf_high[0], max(row[2][0] for row in rows), atol=TWIN)
    dates = found.dates(("average",)).set_index("units")
    for end, at in (("low", thetas.argmin()), ("high", thetas.argmax())):
        assert {town: dates.loc[str(town), end] for town in towns} == rows[at][3]
    excluded = ek.infer(overall(panel_of(data)), few="show")
    np.testing.assert_allclose(found.excluded.estimate, excluded.estimate, atol=TWIN)
    assert found.low[0] < found.high[0]


def test_an_interval_of_few_adopters_is_withheld_and_the_bounds_are_not():
    data, _ = frame()
    with pytest.warns(DoubtWarning, match="withheld"):
        found = ek.adoption_bounds(panel_of(data), overall)
    assert np.isfinite([found.low[0], found.high[0]]).all()
    assert np.isnan([found.conf_low[0], found.conf_high[0]]).all()


def test_units_that_adopt_together_leave_fewer_assignments():
    data = RECIPES["windows"].frame()
    open_ = data["first"] < data["start"]
    towns = data["town"][open_].unique()
    found = ek.adoption_bounds(panel_of(data), overall, together="window", few="show")
    window = data.groupby("town")["start"].first()
    rows = by_hand(data, towns, overall, shared=lambda town: window[town])
    assert len(rows) == 4
    thetas = [row[0][0] for row in rows]
    np.testing.assert_allclose([found.low[0], found.high[0]], [min(thetas), max(thetas)],
                               atol=TWIN)  # fmt: skip
    alone = ek.adoption_bounds(panel_of(data), overall, few="show")
    assert alone.method.startswith("all 256 assignments")
    assert alone.low[0] <= found.low[0] <= found.high[0] <= alone.high[0]
    cluster = ek.adoption_bounds(panel_of(data), overall, together="cluster", few="show")
    assert alone.low[0] <= cluster.low[0] <= cluster.high[0] <= alone.high[0]


def test_a_search_says_so_and_lies_within_the_exact_bounds():
    data = RECIPES["windows"].frame()
    exact = ek.adoption_bounds(panel_of(data), overall, few="show")
    search = ek.adoption_bounds(panel_of(data), overall, most=255, few="show")
    assert not search.exact
    assert search.method.startswith("search over 256 assignments of dates to 8 groups of units, ")
    assert "may lie further out" in search.method
    assert exact.low[0] - TWIN <= search.low[0] <= search.high[0] <= exact.high[0] + TWIN
    # Here no town's date makes another's better: the search ends where enumeration does.
    np.testing.assert_allclose(search.low, exact.low, atol=TWIN)
    np.testing.assert_allclose(search.high, exact.high, atol=TWIN)


def test_true_dates_lie_within_the_bounds():
    data, towns = frame()
    truth = data.assign(start=data["start"].where(~data["town"].isin(towns), data["first"]))
    found = ek.adoption_bounds(panel_of(data), overall, few="show")
    theta = overall(panel_of(truth, cohort="start")).theta[0]
    assert found.low[0] <= theta <= found.high[0]


def test_a_coordinate_that_some_dates_do_not_have_is_bounded_by_the_others():
    data, _ = frame()

    def event(panel):
        return ek.aggregate(ek.did.callaway_santanna(panel, base="universal"), by="event")

    found = ek.adoption_bounds(panel_of(data), event, few="show")
    assert list(found.table.index) == list(ek.infer(event(panel_of(data)), few="show").table.index)
    assert np.isfinite(found.table.to_numpy()).all()
    # Without 2001, only units that adopt in 2003 are seen three years before.
    late = data[(data["start"] != 2002) & (data["year"] != 2001)]
    late = late[late["start"].isna() | (late["first"] < late["start"])]
    found = ek.adoption_bounds(panel_of(late), event, together="window", few="show")
    assert found.notes == ("-3 has no estimate under 1 of the assignments",)
    at = list(found.table.index).index(-3)
    assert found.low[at] == found.high[at]


def test_the_table_and_the_print_carry_what_a_reader_needs():
    data, _ = frame()
    found = ek.adoption_bounds(panel_of(data), overall, few="show")
    assert found.provenance == "synthetic"
    assert list(found.table) == ["estimate", "low", "high", "conf_low", "conf_high"]
    assert isinstance(found.table, pd.DataFrame)
    text = repr(found)
    for word in ("synthetic", "all 8 assignments", "union of 95% intervals"):
        assert word in text


def test_bounds_without_windows_or_on_a_cut_panel_are_refused():
    data, _ = frame()
    with pytest.raises(PanelError, match="no adoption window; name two columns"):
        ek.adoption_bounds(panel_of(data, cohort="start"), overall)
    cut = panel_of(data).where(panel_of(data).unit > 2)
    with pytest.raises(PanelError, match="cut the frame instead"):
        ek.adoption_bounds(cut, overall)
    with pytest.raises(OptionError, match="together='town'"):
        ek.adoption_bounds(panel_of(data), overall, together="town")
    with pytest.raises(OptionError, match="most=0"):
        ek.adoption_bounds(panel_of(data), overall, most=0)


def test_cells_of_cohorts_depend_on_dates_and_are_refused_with_the_remedy():
    data, _ = frame()
    with pytest.raises(ValueError, match="average inside the estimator"):
        ek.adoption_bounds(panel_of(data), ek.did.callaway_santanna)
