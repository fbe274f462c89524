"""Group-time effects against loops over units, explicit formulas and numerical derivatives."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import root

import evalkit as ek
from evalkit.core.adoption import Starts
from evalkit.core.errors import IdentificationError, OptionError, PanelError
from evalkit.did.changes import from_changes
from evalkit.did.group_time import from_paths, from_records, plan
from evalkit.engines.cohorts import Cohorts
from golden_moderndid import FILE, IMPROVED, two_periods
from golden_nonlinear import frame as nonlinear_frame
from panels import Recipe

TWIN = 1e-10  # the same arithmetic in another order
SOLVED = 1e-8  # both propensity models are solved, by different methods
# Central differences with steps of 1e-4: truncation 1e-8, rounding 1e-12 / 1e-4.
DERIVATIVE = 1e-6

COHORTS = (2002, 2004, np.nan, np.nan)
BALANCED = Recipe(cohorts=COHORTS, clusters=True, weights="unit")
HOLES = Recipe(cohorts=COHORTS, clusters=True, weights="unit", missing=0.15)


def columns(frame):
    """Outcome, covariate and weight by town and year, NaN where a town is not seen."""
    y, x = (frame.pivot_table(name, "town", "year") for name in ("y", "x"))
    by = frame.groupby("town")
    return y, x, by["weight"].first(), by["start"].first().fillna(np.inf)


def compared(start, g, t, b, control, anticipation=0):
    """Towns of the comparison group."""
    if control == "never":
        return start.index[np.isinf(start)]
    return start.index[(start > max(t, b) + anticipation) & (start != g)]


def base_of(g, t, years, anticipation, base):
    last = max(year for year in years if year + anticipation < g)
    return last if t + anticipation >= g or base == "universal" else t - 1


OPTIONS = [
    (control, anticipation, base)
    for control in ("never", "not_yet")
    for anticipation in (0, 1)
    for base in ("varying", "universal")
]


@pytest.mark.parametrize("recipe", [BALANCED, HOLES], ids=["balanced", "with gaps"])
@pytest.mark.parametrize(("control", "anticipation", "base"), OPTIONS)
def test_every_cell_is_a_two_by_two_over_the_units_seen_twice(recipe, control, anticipation, base):
    frame = recipe.frame()
    y, _, w, start = columns(frame)
    estimate = ek.did.callaway_santanna(
        recipe.panel(frame), control=control, anticipation=anticipation, base=base
    )
    assert len(estimate) >= 8
    for k, (g, t) in enumerate(estimate.index.keys):
        b = base_of(g, t, y.columns, anticipation, base)
        assert b != t
        controls = compared(start, g, t, b, control, anticipation)
        groups = {1.0: start.index[start == g], -1.0: controls}
        theta, psi, counts = 0.0, dict.fromkeys(y.index, 0.0), []
        for sign, towns in groups.items():
            seen = [i for i in towns if np.isfinite(y.loc[i, t]) and np.isfinite(y.loc[i, b])]
            total = sum(w[i] for i in seen)
            mean = sum(w[i] * (y.loc[i, t] - y.loc[i, b]) for i in seen) / total
            theta += sign * mean
            counts.append(len(seen))
            for i in seen:
                psi[i] += sign * w[i] * (y.loc[i, t] - y.loc[i, b] - mean) / total
        assert abs(estimate.theta[k] - theta) < TWIN
        np.testing.assert_allclose(estimate.psi[:, k], list(psi.values()), atol=TWIN)
        assert estimate.counts[k].tolist() == counts


def test_all_possible_cells_are_there_and_no_other():
    keys = ek.did.callaway_santanna(BALANCED.panel()).index.keys
    assert keys == tuple((g, t) for g in (2002, 2004) for t in range(2001, 2006))
    universal = ek.did.callaway_santanna(BALANCED.panel(), base="universal").index.keys
    years = range(2000, 2006)
    assert universal == tuple((g, t) for g in (2002, 2004) for t in years if t != g - 1)


# --- Covariates -------------------------------------------------------------------------------


def propensity(x, d, w):
    """Logit probabilities by a general root finder on the score."""

    def probability(beta):
        return 1 / (1 + np.exp(-x @ beta))

    solved = root(lambda beta: x.T @ (w * (d - probability(beta))), np.zeros(x.shape[1]), tol=1e-13)
    assert np.abs(solved.fun).max() < 1e-9
    return probability(solved.x)


def balancing(x, d, w):
    """Propensities whose odds give controls the covariate means of the treated."""

    def odds(beta):
        return np.exp(x @ beta)

    solved = root(
        lambda beta: x.T @ (w * (d - (1 - d) * odds(beta))), np.zeros(x.shape[1]), tol=1e-13
    )
    assert np.abs(solved.fun).max() < 1e-9
    return odds(solved.x) / (1 + odds(solved.x))


def fitted(y, x, w):
    """Prediction of a weighted regression on rows of positive weight, for all rows."""
    half = np.sqrt(w[w > 0])
    return x @ np.linalg.lstsq(half[:, None] * x[w > 0], half * y[w > 0], rcond=None)[0]


def mean(values, weights):
    return (weights * values).sum() / weights.sum()


def changes_by_hand(change, d, x, w, method):
    """Sant'Anna and Zhao (2020), panel: their code's formulas, term by term."""
    if method == "reg":
        return mean(change, w * d) - mean(fitted(change, x, w * (1 - d)), w * d)
    improved = method == "dr_improved"
    p = balancing(x, d, w) if improved else propensity(x, d, w)
    odds = w * (1 - d) * p / (1 - p)
    rest = change
    if method != "ipw":
        rest = change - fitted(change, x, odds if improved else w * (1 - d))
    return mean(rest, w * d) - mean(rest, odds)


def records_by_hand(y, d, s, x, w, method):
    """Sant'Anna and Zhao (2020), repeated cross-sections: the locally efficient six terms."""
    after = {1: w * s, 0: w * (1 - s)}
    if method == "reg":
        gain = fitted(y, x, after[1] * (1 - d)) - fitted(y, x, after[0] * (1 - d))
        return mean(y, after[1] * d) - mean(y, after[0] * d) - mean(gain, w * d)
    improved = method == "dr_improved"
    p = balancing(x, d, w) if improved else propensity(x, d, w)
    odds = {period: v * (1 - d) * p / (1 - p) for period, v in after.items()}
    if method == "ipw":
        treated = mean(y, after[1] * d) - mean(y, after[0] * d)
        return treated - (mean(y, odds[1]) - mean(y, odds[0]))
    control = {
        period: fitted(y, x, odds[period] if improved else v * (1 - d))
        for period, v in after.items()
    }
    treated = {period: fitted(y, x, v * d) for period, v in after.items()}
    rest = y - (s * control[1] + (1 - s) * control[0])
    total = mean(rest, after[1] * d) - mean(rest, after[0] * d)
    total -= mean(rest, odds[1]) - mean(rest, odds[0])
    for period, sign in ((1, 1.0), (0, -1.0)):
        gap = treated[period] - control[period]
        total += sign * (mean(gap, w * d) - mean(gap, after[period] * d))
    return total


@pytest.mark.parametrize("recipe", [BALANCED, HOLES], ids=["balanced", "with gaps"])
@pytest.mark.parametrize("method", ["dr", "dr_improved", "ipw", "reg"])
@pytest.mark.parametrize("control", ["never", "not_yet"])
def test_cells_with_covariates_are_those_of_the_formulas(recipe, method, control):
    frame = recipe.frame(80)
    y, x, w, start = columns(frame)
    estimate = ek.did.callaway_santanna(
        recipe.panel(frame), control=control, method=method, covariates=["x"]
    )
    for k, (g, t) in enumerate(estimate.index.keys):
        b = base_of(g, t, y.columns, 0, "varying")
        controls = compared(start, g, t, b, control)
        towns = [i for i in y.index if (start[i] == g or i in controls)]
        towns = [i for i in towns if np.isfinite(y.loc[i, t] + y.loc[i, b])]
        theta = changes_by_hand(
            (y[t] - y[b])[towns].to_numpy(),
            (start[towns] == g).to_numpy(float),
            np.column_stack([np.ones(len(towns)), x.loc[towns, b]]),
            w[towns].to_numpy(),
            method,
        )
        assert abs(estimate.theta[k] - theta) < SOLVED


@pytest.mark.parametrize("method", ["dr", "dr_improved", "ipw", "reg"])
@pytest.mark.parametrize("control", ["never", "not_yet"])
def test_cells_from_records_are_those_of_the_formulas(method, control):
    recipe = Recipe(cohorts=COHORTS, weights="row", missing=0.15)
    frame = recipe.frame(80).assign(record=lambda d: np.arange(len(d)))
    panel = recipe.panel(frame, unit="record")
    estimate = ek.did.callaway_santanna(
        panel, control=control, method=method, covariates=["x"], unbalanced="records"
    )
    start = frame["start"].fillna(np.inf)
    for k, (g, t) in enumerate(estimate.index.keys):
        b = base_of(g, t, range(2000, 2006), 0, "varying")
        rows = frame[frame.index.isin(compared(start, g, t, b, control)) | (start == g)].query(
            "year == @t or year == @b"
        )
        theta = records_by_hand(
            rows["y"].to_numpy(),
            (rows["start"] == g).to_numpy(float),
            (rows["year"] == t).to_numpy(float),
            np.column_stack([np.ones(len(rows)), rows["x"]]),
            rows["weight"].to_numpy(),
            method,
        )
        assert abs(estimate.theta[k] - theta) < SOLVED
        assert estimate.counts[k].sum() == len(rows)


IMPROVED_GOLDEN = json.loads(FILE.read_text())["improved"]
# moderndid's balancing propensity stops where the equations are 2e-6 from zero (unit sums of 200).
STOPPED = 2e-9


@pytest.mark.parametrize("name", IMPROVED)
def test_improved_doubly_robust_effects_are_those_of_moderndid(name):
    """Errors too; from records moderndid, like R DRDID, drops what vanishes if both periods have
    one distribution of covariates: with that dropped, its errors are reached as well."""
    spec, wanted = IMPROVED[name], IMPROVED_GOLDEN[name]
    frame = two_periods(spec["records"])
    frame["start"] = frame["start"].astype(float).replace(0, np.nan)
    panel = ek.Panel.from_frame(
        frame, outcome="y", unit="row" if spec["records"] else "id", time="t", cohort="start",
        covariates=["x1", "x2"], weight="w" if spec["w"] else None, provenance="synthetic",
    )  # fmt: skip
    found = ek.did.callaway_santanna(
        panel, covariates=["x1", "x2"], method="dr_improved",
        unbalanced="records" if spec["records"] else "pairwise",
    )  # fmt: skip
    assert abs(found.theta[0] - wanted["att"]) < STOPPED
    error = np.sqrt(found.vcov()[0, 0])
    if not spec["records"]:
        assert abs(error - wanted["error"]) < STOPPED
        return
    assert abs(error / wanted["error"] - 1) < 0.02
    y, d, s = (frame[c].to_numpy(float) for c in ("y", "d", "t"))
    s, w = s - 2, frame["w"].to_numpy() if spec["w"] else np.ones(len(frame))
    x = np.column_stack([np.ones(len(frame)), frame[["x1", "x2"]]])
    p = balancing(x, d, w)
    psi = np.zeros(len(frame))
    for period, sign in ((s, 1.0), (1 - s, -1.0)):
        one, both, zero = w * d * period, w * d, w * (1 - d) * period * p / (1 - p)
        mu1, mu0 = fitted(y, x, one), fitted(y, x, zero)
        gain = mu1 - mu0 - mean(mu1 - mu0, both)
        for values, weight, side in ((y - mu1, one, 1), (gain, both, 1), (y - mu0, zero, -1)):
            psi += sign * side * weight / weight.sum() * values
    assert abs(np.sqrt(psi @ psi) - wanted["error"]) < STOPPED


def test_improved_estimates_ignore_trends_that_are_linear_in_the_covariates():
    frame = BALANCED.frame(80)
    moved = frame.assign(y=frame["y"] + 7 * frame["base"] * frame["year"])
    plain, other = (
        ek.did.callaway_santanna(BALANCED.panel(f), covariates=["base"], method="dr_improved")
        for f in (frame, moved)
    )
    np.testing.assert_allclose(other.theta, plain.theta, atol=SOLVED)
    np.testing.assert_allclose(other.psi, plain.psi, atol=SOLVED)


# moderndid 0.4.1, att_gt(est_method="reg", xformla="~ z") on the panel below, printed digits.
UNIVERSAL = {(3, 1): 0.22907807, (5, 1): 0.01074372, (5, 2): -1.00657024, (5, 3): -0.15418943}


def test_covariates_may_come_from_the_earlier_period_as_in_r_did():
    frame = nonlinear_frame().assign(start=lambda d: d["start"].astype(float).replace(0, np.nan))
    frame["z"] = (
        frame["x"] * frame["t"]
        + (frame["id"] * 7 % 11) / 11 * frame["t"] ** 2 / 5
        + ((frame["id"] * frame["t"]) % 5) / 5
    )
    frame["y"] = frame["count"] + frame["z"]
    panel = ek.Panel.from_frame(frame, outcome="y", unit="id", time="t", cohort="start",
                                covariates=["z"], provenance="synthetic")  # fmt: skip
    options = {"covariates": ["z"], "method": "reg"}
    earlier, base = (
        ek.did.callaway_santanna(panel, base="universal", covariates_from=source, **options)
        for source in ("earlier", "base")
    )
    for (g, t), wanted in UNIVERSAL.items():
        assert abs(earlier.select(cohort=g, time=t).theta[0] - wanted) < 1e-8
        assert abs(base.select(cohort=g, time=t).theta[0] - wanted) > 1e-3
    late = base.select(time=[5, 6])
    np.testing.assert_allclose(earlier.select(time=[5, 6]).theta, late.theta, atol=TWIN)
    one, two = (
        ek.did.callaway_santanna(panel, covariates_from=source, **options)
        for source in ("earlier", "base")
    )
    np.testing.assert_array_equal(one.theta, two.theta)  # a varying base is the earlier period


# --- Contributions ----------------------------------------------------------------------------


def derivatives(recipe, frame, run):
    """How theta moves with the log of each town's weight: what psi must be, to first order exact.

    A contribution is the derivative of the estimate in the unit's own weight.
    """
    step = 1e-4
    out = []
    for town in np.unique(frame["town"]):
        moved = []
        for sign in (1, -1):
            weight = frame["weight"] * np.where(frame["town"] == town, 1 + sign * step, 1.0)
            moved.append(run(recipe.panel(frame.assign(weight=weight))).theta)
        out.append((moved[0] - moved[1]) / (2 * step))
    return np.array(out)


RUNS = {
    "no covariates": {},
    "not yet treated": {"control": "not_yet", "anticipation": 1},
    "doubly robust": {"covariates": ["x"]},
    "weighted": {"covariates": ["x"], "method": "ipw", "control": "not_yet"},
    "regression": {"covariates": ["x"], "method": "reg", "base": "universal"},
    "records": {"unbalanced": "records"},
    "records, doubly robust": {"covariates": ["x"], "unbalanced": "records"},
    "records, weighted": {"covariates": ["x"], "method": "ipw", "unbalanced": "records"},
    "records, regression": {"covariates": ["x"], "method": "reg", "unbalanced": "records"},
    "improved": {"covariates": ["x"], "method": "dr_improved"},
    "records, improved": {"covariates": ["x"], "method": "dr_improved", "unbalanced": "records"},
}


@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS.keys())
@pytest.mark.parametrize("recipe", [BALANCED, HOLES], ids=["balanced", "with gaps"])
def test_a_contribution_is_the_derivative_in_the_weight_of_its_unit(recipe, options):
    frame = recipe.frame(32)

    def cells(panel):
        return ek.did.callaway_santanna(panel, **options)

    estimate = cells(recipe.panel(frame))
    expected = derivatives(recipe, frame, cells)
    np.testing.assert_allclose(estimate.psi, expected, atol=DERIVATIVE, rtol=DERIVATIVE)
    assert np.abs(estimate.psi.sum(axis=0)).max() < TWIN


@pytest.mark.parametrize("by", [(), "event", "cohort", "time"], ids=str)
@pytest.mark.parametrize("recipe", [BALANCED, HOLES], ids=["balanced", "with gaps"])
def test_the_contributions_of_averages_include_the_noise_of_their_weights(recipe, by):
    frame = recipe.frame(32)

    def average(panel):
        return ek.aggregate(ek.did.callaway_santanna(panel), by=by)

    expected = derivatives(recipe, frame, average)
    psi = average(recipe.panel(frame)).psi
    np.testing.assert_allclose(psi, expected, atol=DERIVATIVE, rtol=DERIVATIVE)


@pytest.mark.parametrize("control", ["never", "not_yet"])
def test_cohort_paths_changes_and_records_agree_on_a_balanced_panel(control):
    panel = BALANCED.panel()
    starts, cohorts = Starts.of(panel), Cohorts.of(panel)
    cells, _ = plan(starts, control, 0, "varying")
    paths = from_paths(cohorts, cells)
    changes = from_changes(panel, cells, (), "dr")
    records = from_records(panel, cells, (), "dr")
    for other in (changes, records):
        np.testing.assert_allclose(paths.theta, other.theta, rtol=0, atol=TWIN)
        np.testing.assert_allclose(paths.scores.psi(), other.scores.psi(), rtol=0, atol=TWIN)
    assert paths.counts.tolist() == changes.counts.tolist()
    assert (2 * paths.counts).tolist() == records.counts.tolist()


def test_a_constant_covariate_within_units_is_batched_without_a_trace():
    frame = BALANCED.frame(80)
    fixed = ek.did.callaway_santanna(BALANCED.panel(frame), covariates=["base"])
    nudged = frame.assign(base=frame["base"] + 1e-13 * frame["year"])
    single = ek.did.callaway_santanna(BALANCED.panel(nudged), covariates=["base"])
    np.testing.assert_allclose(fixed.theta, single.theta, atol=TWIN)
    np.testing.assert_allclose(fixed.psi, single.psi, atol=TWIN)


@pytest.mark.parametrize("unbalanced", ["pairwise", "records", "balanced"])
@pytest.mark.parametrize("recipe", [BALANCED, HOLES], ids=["balanced", "with gaps"])
def test_row_weights_reproduce_the_cells(recipe, unbalanced):
    frame = recipe.frame()
    panel = recipe.panel(frame)
    estimate = ek.did.callaway_santanna(panel, control="not_yet", unbalanced=unbalanced)
    np.testing.assert_allclose(estimate.weights.T @ panel.y, estimate.theta, atol=TWIN)
    event = ek.aggregate(estimate, by="event")
    np.testing.assert_allclose(event.weights.T @ panel.y, event.theta, atol=TWIN)


# --- Unbalanced panels ------------------------------------------------------------------------


def test_balanced_keeps_the_units_seen_in_every_period_and_counts_the_others():
    frame = HOLES.frame()
    full = frame.groupby("town")["year"].transform("size") == 6
    estimate = ek.did.callaway_santanna(HOLES.panel(frame), unbalanced="balanced")
    expected = ek.did.callaway_santanna(HOLES.panel(frame[full]))
    np.testing.assert_array_equal(estimate.theta, expected.theta)
    np.testing.assert_array_equal(estimate.psi, expected.psi)
    dropped = 40 - frame[full]["town"].nunique()
    assert f"{dropped} units dropped: not seen in every period" in estimate.meta.notes


@pytest.mark.parametrize("unbalanced", ["pairwise", "balanced"])
def test_on_a_balanced_panel_the_two_ways_with_units_are_one(unbalanced):
    panel = BALANCED.panel()
    estimate = ek.did.callaway_santanna(panel, unbalanced=unbalanced)
    np.testing.assert_array_equal(estimate.theta, ek.did.callaway_santanna(panel).theta)
    assert not [note for note in estimate.meta.notes if "dropped" in note]


def test_a_unit_seen_once_contributes_nothing():
    frame = HOLES.frame()
    once = frame.iloc[[0]].assign(town=999, y=1e6, district=999)
    more = ek.did.callaway_santanna(HOLES.panel(pd.concat([frame, once])))
    fewer = ek.did.callaway_santanna(HOLES.panel(frame))
    np.testing.assert_array_equal(more.theta, fewer.theta)
    assert not more.psi[-1].any()


def test_a_missing_year_leaves_the_other_years_as_they_are():
    frame = BALANCED.frame()
    gap = ek.did.callaway_santanna(BALANCED.panel(frame[frame["year"] != 2003]), base="universal")
    full = ek.did.callaway_santanna(BALANCED.panel(frame), base="universal")
    common = full.select(cohort=2002, time=[2000, 2002, 2004, 2005])
    np.testing.assert_allclose(gap.select(cohort=2002).theta, common.theta, atol=TWIN)
    # Cohort 2004 lost its base; the period before it takes the place.
    y, _, w, start = columns(frame)
    effect = [mean((y[2005] - y[2002])[start == g], w[start == g]) for g in (2004, np.inf)]
    assert abs(gap.select(cohort=2004, time=2005).theta[0] - (effect[0] - effect[1])) < TWIN


def test_weights_that_change_within_a_unit_are_refused_for_changes_and_taken_for_records():
    recipe = Recipe(cohorts=COHORTS, weights="row")
    with pytest.raises(IdentificationError, match=r"unit 0 changes from .* one weight per unit"):
        ek.did.callaway_santanna(recipe.panel())
    assert np.isfinite(ek.did.callaway_santanna(recipe.panel(), unbalanced="records").theta).all()


# --- Cells that fail --------------------------------------------------------------------------


def with_failure():
    """In 2001 all towns of cohort 2004 lie outside the others' x: its cell with that base fails."""
    frame = BALANCED.frame(80)
    frame.loc[(frame["start"] == 2004) & (frame["year"] == 2001), "x"] = 99.0
    return frame


def test_a_failed_cell_is_nan_with_its_reason_and_the_run_goes_on():
    estimate = ek.did.callaway_santanna(BALANCED.panel(with_failure()), covariates=["x"])
    failed = [
        key
        for key, value in zip(estimate.index.keys, estimate.theta, strict=True)
        if np.isnan(value)
    ]
    assert failed == [(2004, 2002)]
    reasons = [note for note in estimate.meta.notes if "not estimated" in note]
    assert len(reasons) == 1
    assert "cohort 2004 in 2002" in reasons[0]
    assert "separated by x" in reasons[0]
    assert np.isfinite(estimate.psi).all()
    sound = ek.did.callaway_santanna(BALANCED.panel(BALANCED.frame(80)), covariates=["x"])
    others = [at for at, key in enumerate(estimate.index.keys) if key != (2004, 2002)]
    np.testing.assert_array_equal(estimate.theta[others], sound.theta[others])


def test_a_failed_cell_has_no_number_in_the_table_and_spoils_no_other():
    estimate = ek.did.callaway_santanna(BALANCED.panel(with_failure()), covariates=["x"])
    table = ek.infer(estimate, band=True).table
    row = table.loc[(2004, 2002)]
    assert row[["estimate", "std_error", "p_value", "conf_low", "band_high"]].isna().all()
    assert table.drop(index=(2004, 2002)).notna().all().all()
    assert table["treated"].tolist() == [20] * 10
    with pytest.raises(IdentificationError, match=r"\(2004, 2002\) could not be estimated"):
        ek.wald(estimate)
    assert ek.wald(estimate.select(cohort=2002)).k == 5
    twice = 2 * estimate - estimate
    np.testing.assert_allclose(twice.theta, estimate.theta)
    kept = estimate.take([0, 1])
    np.testing.assert_array_equal(kept.theta, estimate.theta[:2])


def test_averages_leave_a_failed_cell_out_and_say_so():
    estimate = ek.did.callaway_santanna(BALANCED.panel(with_failure()), covariates=["x"])
    event = ek.aggregate(estimate, by="event")
    # Event time -2 of cohort 2004 failed, and cohort 2002 has none: no such average is left.
    assert [key[0] for key in event.index.keys] == [-3, -1, 0, 1, 2, 3]
    assert "left out of the averages, as not estimated: (2004, 2002)" in event.meta.notes
    overall = ek.aggregate(estimate)
    assert np.isfinite(overall.theta).all()
    assert not [note for note in overall.meta.notes if "left out" in note]


def test_when_every_cell_fails_the_reasons_are_the_error():
    frame = BALANCED.frame(80).assign(x=lambda d: 1.0 * d["start"].notna())
    with pytest.raises(IdentificationError, match=r"cohort 2002 .* x does not vary .* cohort 2004"):
        ek.did.callaway_santanna(BALANCED.panel(frame), covariates=["x"])


def test_records_seen_once_cannot_change_and_the_error_says_so():
    frame = BALANCED.frame().assign(town=lambda d: np.arange(len(d)))
    panel = BALANCED.panel(frame)
    with pytest.raises(IdentificationError, match=r"every unit is seen once.*records"):
        ek.did.callaway_santanna(panel)
    with pytest.raises(IdentificationError, match="no unit is seen in every period"):
        ek.did.callaway_santanna(panel, unbalanced="balanced")
    assert np.isfinite(ek.did.callaway_santanna(panel, unbalanced="records").theta).all()


# --- The edges --------------------------------------------------------------------------------


def test_the_always_treated_are_left_out_and_named():
    frame = BALANCED.frame()
    always = frame.assign(start=frame["start"].where(frame["town"] % 8 != 0, 2000.0))
    estimate = ek.did.callaway_santanna(BALANCED.panel(always), control="not_yet")
    without = ek.did.callaway_santanna(
        BALANCED.panel(always[always["start"] != 2000]), control="not_yet"
    )
    np.testing.assert_allclose(estimate.theta, without.theta, atol=TWIN)
    assert "cohort 2000 left out: no period before its treatment" in estimate.meta.notes


def test_without_a_never_treated_unit_the_periods_lost_are_named():
    frame = BALANCED.frame().dropna(subset=["start"])
    with pytest.raises(IdentificationError, match="no unit is never treated"):
        ek.did.callaway_santanna(BALANCED.panel(frame))
    estimate = ek.did.callaway_santanna(BALANCED.panel(frame), control="not_yet")
    assert max(time for _, time in estimate.index.keys) == 2003
    assert "cohort 2002: no untreated unit is left in 2004, 2005" in estimate.meta.notes


def test_a_cohort_of_one_is_estimated_and_counted():
    frame = BALANCED.frame()
    lone = frame[(frame["start"] != 2004) | (frame["town"] == 1)]
    estimate = ek.did.callaway_santanna(BALANCED.panel(lone))
    assert estimate.select(cohort=2004).counts[:, 0].tolist() == [1] * 5
    # The treated town is its own mean: only controls contribute.
    psi = estimate.select(cohort=2004).psi
    assert np.abs(psi[estimate.units == 1]).max() < TWIN


def test_text_ids_give_the_numbers_of_number_ids():
    frame = BALANCED.frame()
    text = frame.assign(town=[f"town {i}" for i in frame["town"]])
    a, b = (ek.did.callaway_santanna(BALANCED.panel(data)) for data in (frame, text))
    np.testing.assert_allclose(a.theta, b.theta, atol=TWIN)
    np.testing.assert_allclose(a.vcov(), b.vcov(), atol=TWIN)


WRONG = {
    "control": ({"control": "always"}, OptionError, "control='always'"),
    "method": ({"method": "ols"}, OptionError, "method='ols'"),
    "base": ({"base": "first"}, OptionError, "base='first'"),
    "unbalanced": ({"unbalanced": "drop"}, OptionError, "unbalanced='drop'"),
    "anticipation": ({"anticipation": -1}, OptionError, "anticipation=-1"),
    "covariate": ({"covariates": ["size"]}, PanelError, "no covariate 'size'"),
    "no base left": ({"anticipation": 9}, IdentificationError, "no period before its treatment"),
}


@pytest.mark.parametrize(("options", "error", "words"), WRONG.values(), ids=WRONG.keys())
def test_wrong_options_are_refused_by_name(options, error, words):
    with pytest.raises(error, match=words):
        ek.did.callaway_santanna(BALANCED.panel(), **options)
