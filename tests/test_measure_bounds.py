"""Bounds over the dates of several measures against loops over dates written by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core.errors import PanelError
from test_several import PERIODS, STARTS, frame, panel

TWIN = 1e-12  # the same estimator on the same panel
OPEN = {"group": {1: 2, 5: 2}, "funding": {8: 2}}  # unit: earliest; the ends are those of STARTS


def test_bounds_are_the_ends_over_every_assignment_of_every_measure():
    found = ek.measure_bounds(panel(), starts=STARTS, earliest=OPEN, few="show")
    places = [(measure, unit) for measure, units in OPEN.items() for unit in units]
    options = [range(OPEN[m][u], int(STARTS.loc[u, m]) + 1) for m, u in places]
    results = []
    for dates in product(*options):
        own = STARTS.copy()
        for (measure, unit), date in zip(places, dates, strict=True):
            own.loc[unit, measure] = date
        results.append(
            ek.infer(ek.did.several_measures(panel(), starts=own, by="measure"), few="show")
        )
    assert found.exact
    assert found.method == f"all {len(results)} assignments of dates to 3 groups of units"
    low, high = (end([r.estimate for r in results], axis=0) for end in (np.min, np.max))
    np.testing.assert_allclose([found.low, found.high], [low, high], rtol=0, atol=TWIN)
    ends = np.min([r.conf_low for r in results], axis=0), np.max([r.conf_high for r in results], 0)
    np.testing.assert_allclose([found.conf_low, found.conf_high], ends, rtol=0, atol=TWIN)
    out = ek.did.several_measures(panel(), starts=STARTS, earliest=OPEN, by="measure")
    np.testing.assert_allclose(found.excluded.estimate, out.theta, rtol=0, atol=TWIN)
    at = found.dates(("group",))
    assert at["measure"].tolist() == ["group", "group", "funding"]
    assert (at["earliest"] <= at["low"]).all()
    assert (at["high"] <= at["latest"]).all()


def test_units_of_one_window_can_share_a_date():
    alone = ek.measure_bounds(panel(), starts=STARTS, earliest=OPEN, few="show")
    shared = ek.measure_bounds(panel(), starts=STARTS, earliest=OPEN, together="window", few="show")
    assert len(shared.groups) == len({(m, d, STARTS.loc[u, m]) for m, units in OPEN.items()
                                      for u, d in units.items()})  # fmt: skip
    assert (alone.low <= shared.low + TWIN).all()
    assert (shared.high <= alone.high + TWIN).all()


def test_periods_in_words_have_the_same_bounds_as_numbers():
    months = np.array([f"2020-{month:02d}" for month in range(1, PERIODS + 1)])
    words = panel(frame().assign(t=lambda d: months[d["t"]]))
    named = {m: {u: months[int(d)] for u, d in STARTS[m].dropna().items()} for m in STARTS}
    first = {m: {u: months[d] for u, d in units.items()} for m, units in OPEN.items()}
    found = ek.measure_bounds(words, starts=named, earliest=first, few="show")
    same = ek.measure_bounds(panel(), starts=STARTS, earliest=OPEN, few="show")
    np.testing.assert_allclose(found.low, same.low, rtol=0, atol=TWIN)
    np.testing.assert_allclose(found.conf_high, same.conf_high, rtol=0, atol=TWIN)


def test_true_dates_lie_within_the_bounds():
    true = pd.DataFrame(STARTS)
    for measure, units in OPEN.items():
        for unit, date in units.items():
            true.loc[unit, measure] = date
    theta = ek.did.several_measures(panel(), starts=true, by="measure").theta
    found = ek.measure_bounds(panel(), starts=STARTS, earliest=OPEN, few="show")
    assert (found.low <= theta + TWIN).all()
    assert (theta <= found.high + TWIN).all()


def test_without_a_window_there_is_nothing_to_bound():
    with pytest.raises(PanelError, match="no measure has an adoption window"):
        ek.measure_bounds(panel(), starts=STARTS, earliest={"group": STARTS["group"]})
