"""Triple differences against another package, a twin without shared code, and known truth."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

import evalkit as ek
from evalkit.core.errors import CombinationError, IdentificationError, OptionError, PanelError
from golden_moderndid import FILE, TRIPLE, triple_frame

GOLDEN = json.loads(FILE.read_text())["triple"]
TOLERANCE = 1e-10  # both are closed forms after a logit iterated to rest
TWIN = 1e-6  # the twin minimises its likelihood with a general solver
X = ["x1", "x2"]


def panel_of(frame, **options):
    frame = frame.assign(start=frame["start"].astype(float).replace(0, np.nan))
    given = {"outcome": "y", "unit": "id", "time": "t", "cohort": "start", "covariates": X,
             "categories": ["eligible"], "provenance": "synthetic"}  # fmt: skip
    return ek.Panel.from_frame(frame, **{**given, **options})


def estimate(panel=None, **options):
    return ek.did.triple_difference(
        panel_of(triple_frame()) if panel is None else panel, eligible="eligible", **options
    )


def error(found):
    return np.sqrt(np.diag(found.vcov()))


@cache
def golden(name):
    spec = TRIPLE[name]
    panel = panel_of(triple_frame(), weight="w" if spec["w"] else None)
    found = estimate(panel, control=spec["control"], method=spec["method"], base=spec["base"],
                     covariates=X if spec["x"] else [])  # fmt: skip
    return found, GOLDEN[name]


@pytest.mark.parametrize("name", TRIPLE)
def test_effects_and_errors_are_those_of_moderndid(name):
    found, wanted = golden(name)
    found = found.select(side="difference")
    keys = list(zip(wanted["cohort"], wanted["time"], strict=True))
    assert [key[1:] for key in found.index.keys] == keys
    np.testing.assert_allclose(found.theta, wanted["att"], atol=TOLERANCE)
    np.testing.assert_allclose(error(found), wanted["error"], rtol=TOLERANCE)


@pytest.mark.parametrize("name", TRIPLE)
def test_averages_and_errors_are_those_of_moderndid(name):
    found, wanted = golden(name)
    simple = ek.aggregate(found).select(side="difference")
    np.testing.assert_allclose(simple.theta, wanted["simple"], atol=TOLERANCE)
    np.testing.assert_allclose(error(simple), wanted["simple_error"], rtol=TOLERANCE)
    event = ek.aggregate(found, by="event").select(side="difference", event=wanted["event"])
    at = [wanted["event"].index(e) for e in event.index.level("event")]
    np.testing.assert_allclose(event.theta, np.array(wanted["event_att"])[at], atol=TOLERANCE)
    np.testing.assert_allclose(error(event), np.array(wanted["event_error"])[at], rtol=TOLERANCE)


# --- A twin: explicit regressions of frames -----------------------------------------------------


def twin_did(change, treated, x):
    """Doubly robust difference-in-differences, by a general minimiser and lstsq."""
    x = np.column_stack([np.ones(len(x)), x])

    def loss(beta):
        return np.logaddexp(0, x @ beta).sum() - treated @ x @ beta

    odds = np.exp(x @ minimize(loss, np.zeros(x.shape[1]), tol=1e-12).x)
    no = treated == 0
    error = change - x @ np.linalg.lstsq(x[no], change[no], rcond=None)[0]
    return error[~no].mean() - np.average(error[no], weights=odds[no])


@pytest.mark.parametrize(("g", "t", "base"), [(3, 3, 2), (3, 5, 2), (5, 3, 2)])
def test_the_three_comparisons_of_the_paper_by_hand(g, t, base):
    wide = triple_frame().pivot_table(index="id", columns="t", values="y")
    units = triple_frame().query("t == 1").set_index("id")
    change = wide[t] - wide[base]
    target = (units["start"] == g) & (units["eligible"] == 1)
    did = {}
    for start, q in ((g, 0), (0, 1), (0, 0)):
        keep = target | ((units["start"] == start) & (units["eligible"] == q))
        did[start, q] = twin_did(
            change[keep].to_numpy(), target[keep].to_numpy(float), units.loc[keep, X].to_numpy()
        )
    found = estimate(covariates=X).select(cohort=g, time=t)
    wanted = [did[g, 0] + did[0, 1] - did[0, 0], did[0, 1], did[0, 0] - did[g, 0]]
    np.testing.assert_allclose(found.theta, wanted, atol=TWIN)


def test_without_covariates_it_is_the_triple_interaction_of_a_regression():
    frame = triple_frame().query("start in (0, 4) and t in (3, 5)")
    a, b, c = (frame["start"] == 4) * 1.0, frame["eligible"], (frame["t"] == 5) * 1.0
    design = np.column_stack([np.ones(len(frame)), a, b, c, a * b, a * c, b * c, a * b * c])
    slope = np.linalg.lstsq(design, frame["y"].to_numpy(), rcond=None)[0]
    found = estimate().select(cohort=4, time=5)
    np.testing.assert_allclose(
        found.theta, [slope[-1], slope[-1] + slope[5], slope[5]], atol=TOLERANCE
    )


def test_control_cohorts_are_averaged_with_least_variance():
    def mean_change(start, q, t, base):
        wide = frame[(frame["start"] == start) & (frame["eligible"] == q)]
        y = wide.pivot_table(index="id", columns="t", values="y")
        return (y[t] - y[base]).mean(), (y[t] - y[base]).var(ddof=0) / len(y)

    frame = triple_frame()
    gap, own = [], 0.0
    for start in (3, 4, 5, 0):
        (one, v1), (zero, v0) = (mean_change(start, q, 3, 2) for q in (1, 0))
        gap.append((one - zero, v1 + v0))
    (mine, own), others = gap[0], gap[1:]
    omega = np.diag([v for _, v in others]) + own
    weight = np.linalg.inv(omega).sum(axis=0)
    wanted = sum(w * (mine - m) for w, (m, _) in zip(weight, others, strict=True)) / weight.sum()
    found = estimate(control="not_yet").select(side="difference", cohort=3, time=3)
    np.testing.assert_allclose(found.theta, [wanted], atol=TOLERANCE)
    np.testing.assert_allclose(found.vcov(), [[1 / weight.sum()]], rtol=TOLERANCE)


def gaps():
    """One row in seven is not there."""
    frame = triple_frame()
    return frame[(frame["id"] // 2 + 3 * frame["t"]) % 7 > 0]


@pytest.mark.parametrize("covariates", [[], X])
@pytest.mark.parametrize(("g", "t", "base"), [(3, 3, 2), (5, 3, 2), (4, 5, 3)])
def test_with_gaps_each_comparison_uses_the_units_seen_in_both_of_its_periods(
    g, t, base, covariates
):
    wide = gaps().pivot_table(index="id", columns="t", values="y")
    units = triple_frame().query("t == 1").set_index("id").loc[wide.index]
    change = wide[t] - wide[base]
    target = (units["start"] == g) & (units["eligible"] == 1) & change.notna()
    did = {}
    for start, q in ((g, 0), (0, 1), (0, 0)):
        rival = (units["start"] == start) & (units["eligible"] == q) & change.notna()
        keep = target | rival
        x = units.loc[keep, covariates].to_numpy()
        did[start, q] = (
            twin_did(change[keep].to_numpy(), target[keep].to_numpy(float), x)
            if covariates
            else change[target].mean() - change[rival].mean()
        )
    found = estimate(panel_of(gaps()), covariates=covariates).select(cohort=g, time=t)
    wanted = [did[g, 0] + did[0, 1] - did[0, 0], did[0, 1], did[0, 0] - did[g, 0]]
    np.testing.assert_allclose(found.theta, wanted, atol=TWIN)


def test_a_gap_beside_the_comparison_changes_nothing():
    """Without the rows of period 1, every later comparison stays as it is."""
    later = estimate(panel_of(triple_frame().query("t > 1 or id > 50"))).select(time=[4, 5])
    whole = estimate().select(time=[4, 5])
    np.testing.assert_allclose(later.theta, whole.theta, atol=TOLERANCE)
    np.testing.assert_allclose(later.psi, whole.psi, atol=TOLERANCE)


# --- Laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("control", ["never", "not_yet"])
@pytest.mark.parametrize("covariates", [[], X])
def test_the_difference_is_exactly_what_is_between_the_levels(control, covariates):
    found = estimate(control=control, covariates=covariates)
    difference, one, zero = (
        found.select(side=side) for side in ("difference", "eligible", "ineligible")
    )
    np.testing.assert_allclose(difference.theta, one.theta - zero.theta, atol=1e-12)
    np.testing.assert_allclose(difference.psi, one.psi - zero.psi, atol=1e-14)


def test_the_eligible_level_is_the_plain_estimator_among_the_eligible():
    panel = panel_of(triple_frame())
    code = panel.category("eligible").codes
    alone = ek.did.callaway_santanna(panel.where(code == 1), covariates=X)
    np.testing.assert_allclose(
        estimate(panel, covariates=X).select(side="eligible").theta, alone.theta, atol=1e-12
    )


def test_swapping_who_is_eligible_swaps_the_sides_without_covariates():
    panel = panel_of(triple_frame())
    one = ek.did.triple_difference(panel, eligible="eligible")
    two = ek.did.triple_difference(panel, eligible="eligible", value=0)
    for side, other, sign in (("difference",) * 2 + (-1,), ("eligible", "ineligible", 1)):
        np.testing.assert_allclose(
            two.select(side=side).theta, sign * one.select(side=other).theta, atol=1e-12
        )


def test_trends_of_groups_and_of_eligibility_cancel():
    panel = panel_of(triple_frame())
    start = np.where(np.isfinite(panel.cohort), panel.cohort, 7.0)[panel.unit]
    q = panel.category("eligible").codes
    moved = panel.with_outcome(panel.y + panel.time**2 * (start + 3.0 * q))
    np.testing.assert_allclose(
        estimate(moved).select(side="difference").theta,
        estimate(panel).select(side="difference").theta,
        atol=1e-10,
    )


@pytest.mark.parametrize(
    ("options", "shrinks", "distance"),
    [
        ({}, 0.35, 0.02),
        ({"covariates": X, "method": "reg"}, 0.35, 0.05),
        ({"covariates": X, "method": "ipw"}, 0.35, 0.05),
        ({"covariates": X, "method": "dr"}, 0.35, 0.05),
        # psi takes the weights of the control cohorts as given: what that leaves out is as large as
        # the control cohorts disagree, in their standard errors, and need not shrink like 1/N.
        ({"control": "not_yet"}, 1.0, 0.15),
    ],
    ids=["plain", "reg", "ipw", "dr", "several controls"],
)
def test_contributions_agree_with_the_jackknife_at_the_stated_rate(options, shrinks, distance):
    distances = []
    for units in (240, 960):
        panel = panel_of(triple_frame(units))
        found = estimate(panel, **options)
        out = range(0, units, units // 80)
        changes = np.array(
            [found.theta - estimate(panel.where(panel.unit != i), **options).theta for i in out]
        )
        psi = found.psi[list(out)]
        distances.append(np.linalg.norm(changes - psi) / np.linalg.norm(psi))
    assert distances[1] < distance
    assert distances[1] < shrinks * distances[0]


def test_weights_reproduce_the_estimate_where_it_is_linear():
    panel = panel_of(triple_frame())
    found = estimate(panel)
    np.testing.assert_allclose(found.weights.T @ panel.y, found.theta, atol=1e-10)
    for bent in (estimate(panel, control="not_yet"), estimate(panel, covariates=X)):
        with pytest.raises(CombinationError, match="one linear map"):
            _ = bent.weights


def test_averages_never_mix_the_sides():
    found = estimate()
    assert ek.aggregate(found).index.levels == ("side",)
    assert ek.aggregate(found, by="event").index.levels == ("side", "event")
    alone = ek.aggregate(found.select(side="eligible"), by="cohort")
    together = ek.aggregate(found, by="cohort").select(side="eligible")
    np.testing.assert_array_equal(alone.theta, together.theta)


# --- Pooled naive differencing against known truth ----------------------------------------------

DRAWS = 60


def with_covariates(rng, units=1500):
    """Groups trend apart with x, which differs between the four cells; the effect is 1."""
    cell = rng.integers(0, 4, units)
    treated, q = cell // 2, cell % 2
    x = rng.normal(size=units) + np.array([0.0, 0.5, -0.5, 1.0])[cell]
    trend = x * (1.0 + q) + treated * (0.5 + x) + 0.3 * q
    return two_periods(rng, np.where(treated, 2.0, np.nan), q, x, trend + treated * q)


def two_periods(rng, start, q, x, change):
    units = len(q)
    base = rng.normal(size=units)
    return pd.concat([
        pd.DataFrame({"id": np.arange(units), "t": t, "start": start, "eligible": q, "x1": x,
                      "x2": 0.0, "y": base + (t == 2) * change + 0.3 * rng.normal(size=units)})
        for t in (1, 2)])  # fmt: skip


def staggered(rng, units=1500):
    """Cohorts trend apart, eligible and ineligible are spread unlike over them; the effect is 1."""
    q = rng.integers(0, 2, units)
    late = rng.uniform(size=units) < np.where(q == 1, 0.8, 0.2)
    treated = rng.uniform(size=units) < 0.3
    start = np.where(treated, 2.0, np.where(late, 3.0, np.nan))
    trend = np.where(treated, 0.5, np.where(late, 2.0, 0.0)) + 0.3 * q
    base = rng.normal(size=units)
    frames = []
    for t in (1, 2, 3):
        y = base + trend * (t - 1) + (t >= np.nan_to_num(start, nan=9.0)) * q
        frames.append(pd.DataFrame({"id": np.arange(units), "t": t, "start": start, "eligible": q,
                                    "x1": 0.0, "x2": 0.0,
                                    "y": y + 0.3 * rng.normal(size=units)}))  # fmt: skip
    return pd.concat(frames)


@pytest.mark.parametrize(
    ("made", "options"),
    [(with_covariates, {"covariates": ["x1"]}), (staggered, {"control": "not_yet"})],
    ids=["covariates", "staggering"],
)
def test_the_difference_of_two_estimates_is_biased_and_the_triple_difference_is_not(made, options):
    ours, naive, covered = [], [], 0
    for rng in np.random.default_rng(9).spawn(DRAWS):
        panel = panel_of(made(rng))
        found = estimate(panel, **options).select(side="difference", cohort=2, time=2)
        ours.append(found.theta[0])
        covered += abs(found.theta[0] - 1) < 1.96 * error(found)[0]
        code = panel.category("eligible").codes
        one, zero = (
            ek.did.callaway_santanna(panel.where(code == q), **options).select(cohort=2, time=2)
            for q in (1, 0)
        )
        naive.append(one.theta[0] - zero.theta[0])
    noise = np.std(ours) / np.sqrt(DRAWS)
    assert abs(np.mean(ours) - 1) < 3 * noise
    assert abs(np.mean(naive) - 1) > 0.3
    assert 0.85 <= covered / DRAWS <= 1.0  # three Monte Carlo errors around 0.95


# --- Bad input and thin groups ------------------------------------------------------------------


def changed(**columns):
    frame = triple_frame()
    for name, value in columns.items():
        frame[name] = value(frame)
    return panel_of(frame)


BAD = {
    "no such category": (lambda: ek.did.triple_difference(changed(), eligible="town"), PanelError,
                         "no category 'town'"),
    "unknown label": (lambda: estimate(value="town"), OptionError,
                      "no unit with the label 'town' .it has 0, 1."),
    "all eligible": (lambda: estimate(changed(eligible=lambda f: 1)), IdentificationError,
                     "every unit is eligible"),
    "eligibility changes": (
        lambda: estimate(changed(eligible=lambda f: (f["id"] == 7) & (f["t"] > 3))), OptionError,
        "unit 7 changes in 4"),
    "ineligible undated": (
        lambda: estimate(changed(start=lambda f: f["start"].where(f["eligible"] == 1, 0))),
        IdentificationError, "has no ineligible unit .the ineligible carry"),
    "controls all eligible": (
        lambda: estimate(changed(eligible=lambda f: f["eligible"].where(f["start"] > 0, 1))),
        IdentificationError, "the never-treated left out as control: no eligible or ineligible"),
    "none treated": (lambda: estimate(changed(start=lambda f: 0)), IdentificationError,
                     "no unit is treated"),
    "nobody left untreated": (lambda: estimate(changed(start=lambda f: 3)), IdentificationError,
                              "never treated"),
    "weights change": (
        lambda: estimate(panel_of(triple_frame().assign(w=lambda f: f["w"] + f["t"]), weight="w")),
        IdentificationError, "the weight of unit 0 changes from .* one weight per unit"),
    "unknown control": (lambda: estimate(control="all"), OptionError, "control='all'"),
    "anticipation": (lambda: estimate(anticipation=-1), OptionError, "must be at least 0"),
    "collinear": (
        lambda: estimate(changed(x2=lambda f: 2 * f["x1"]), covariates=X),
        IdentificationError, "the covariates are singular .*x1, x2"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_with_the_reason(name):
    run, kind, message = BAD[name]
    with pytest.raises(kind, match=message):
        run()


def test_eligibility_may_be_text_or_truth():
    text = panel_of(triple_frame().assign(eligible=lambda f: f["eligible"].map({1: "t", 0: "s"})))
    truth = panel_of(triple_frame().assign(eligible=lambda f: f["eligible"] == 1))
    wanted = estimate().theta
    np.testing.assert_array_equal(estimate(text, value="t").theta, wanted)
    np.testing.assert_array_equal(estimate(truth).theta, wanted)


def thin():
    """Cohort 5 keeps one eligible unit."""
    frame = triple_frame()
    mine = frame[(frame["start"] == 5) & (frame["eligible"] == 1)]["id"].unique()
    return panel_of(frame[~frame["id"].isin(mine[1:])])


def test_a_control_cohort_with_one_eligible_unit_does_not_take_all_the_weight():
    panel = thin()
    found = estimate(panel, control="not_yet")
    note = "cohort 5 left out as control: one eligible or ineligible unit"
    assert note in found.meta.notes
    start = panel.cohort[panel.unit]
    without = estimate(panel.where(start != 5), control="not_yet")
    np.testing.assert_allclose(
        found.select(cohort=3, time=3).theta, without.select(cohort=3, time=3).theta, atol=1e-12
    )


def test_a_comparison_that_fails_is_named_and_the_others_go_on():
    panel = panel_of(triple_frame())
    late = (panel.cohort == 5)[panel.unit]
    x = panel.x.copy()
    x[late, 0] = 1.0  # among cohort 5 the covariate is the intercept
    found = estimate(replace(panel, x=x), control="not_yet", covariates=X)
    assert any(
        note.startswith("cohort 3 in 2, 3, 4 not compared with cohort 5: x1 does not vary among")
        for note in found.meta.notes
    )
    assert np.isfinite(found.select(cohort=3).theta).all()
    assert np.isnan(found.select(cohort=5).theta).all()
    assert not found.select(cohort=5).psi.any()


def test_control_cohorts_that_are_copies_have_no_average():
    frame = triple_frame().query("start == 3 or start == 0")
    copy = frame[frame["start"] == 0].assign(start=5, id=lambda f: f["id"] + 10_000)
    flat = pd.concat([frame, copy]).assign(y=lambda f: np.where(f["start"] == 3, f["y"], 0.0))
    found = estimate(panel_of(flat), control="not_yet")
    assert np.isnan(found.select(cohort=3, time=3).theta).all()
    assert any("covariance of its control cohorts is singular" in n for n in found.meta.notes)
