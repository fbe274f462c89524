"""Extended two-way effects of counts and shares: two packages, a saturated GLM, known answers."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

import evalkit as ek
from evalkit.core.errors import IdentificationError, OptionError
from golden_nonlinear import FILE, OUTCOMES, frame

GOLDEN = json.loads(FILE.read_text())
# Both peers iterate until a likelihood settles, which leaves the coefficients 1e-8 from rest.
PEERS = 1e-7
TWIN = 1e-8  # statsmodels, iterated until its coefficients rest
families = pytest.mark.parametrize("family", OUTCOMES)


def panel_of(data, family="poisson", **options):
    data = data.assign(start=data["start"].astype(float).replace(0, np.nan))
    given = {"outcome": OUTCOMES[family], "unit": "id", "time": "t", "cohort": "start",
             "covariates": ["x"], "provenance": "synthetic"}  # fmt: skip
    return ek.Panel.from_frame(data, **{**given, **options})


def effects(data=None, family="poisson", baseline=(), **options):
    panel = panel_of(frame() if data is None else data, family, **options)
    return ek.did.extended_two_way(panel, family=family, baseline=baseline)


# --- Other packages ---------------------------------------------------------------------------


@families
def test_cells_and_errors_are_those_of_diff_diff(family):
    """Its errors carry the factor of regressions: rows 1800, coefficients 1 + 5 + 2 + 6."""
    found, wanted = effects(family=family), GOLDEN[family]
    assert [list(key) for key in found.index.keys] == wanted["cells"]
    np.testing.assert_allclose(found.theta, wanted["att"], atol=PEERS)
    factor = np.sqrt(1799 / (1800 - 14))
    errors = ek.infer(found, vcov="CR1").std_error * factor
    np.testing.assert_allclose(errors, wanted["error"], rtol=PEERS)


@families
@pytest.mark.parametrize("baseline", [[], ["x"]])
def test_averages_by_event_are_those_of_moderndid(family, baseline):
    found = ek.aggregate(effects(family=family, baseline=baseline), by="event")
    wanted = GOLDEN[family]["event"]["x" if baseline else "none"]
    np.testing.assert_allclose(found.theta, wanted, atol=PEERS)


# --- The saturated regression, written out ------------------------------------------------------


def twin(data, family, *, covariate, weight):
    """Saturated GLM on all rows; average partial effects and their contributions, in loops."""
    start = data["start"].replace(0, 99)
    cells = sorted({(g, t) for g, t in zip(start, data["t"], strict=True) if g <= t})
    base = {"one": np.ones(len(data))}
    base |= {f"g{g}": (start == g) * 1.0 for g in (3, 5)}
    base |= {f"t{t}": (data["t"] == t) * 1.0 for t in range(2, 7)}
    if covariate:
        base |= {f"x {name}": column * data["x"] for name, column in base.items()}
    own = {}
    for g, t in cells:
        own[g, t] = ((start == g) & (data["t"] == t)) * 1.0
        if covariate:
            own[g, t, "x"] = own[g, t] * data["x"]
    x1 = np.column_stack([*base.values(), *own.values()])
    x0 = np.column_stack([*base.values(), *(0.0 * column for column in own.values())])
    link = sm.families.Poisson() if family == "poisson" else sm.families.Binomial()
    w, y = data[weight].to_numpy(), data[OUTCOMES[family]].to_numpy()
    fit = sm.GLM(y, x1, family=link, var_weights=w).fit(
        tol=1e-14, maxiter=100, tol_criterion="params"
    )
    mean1, mean0 = (link.link.inverse(x @ fit.params) for x in (x1, x0))
    slope1, slope0 = (mean if family == "poisson" else mean * (1 - mean) for mean in (mean1, mean0))
    bread = np.linalg.inv((x1 * (w * slope1)[:, None]).T @ x1)
    units = np.unique(data["id"])
    score = np.array([(x1 * (w * (y - mean1))[:, None])[data["id"] == i].sum(axis=0)
                      for i in units]) @ bread  # fmt: skip
    theta, psi = [], []
    for g, t in cells:
        rows = own[g, t].to_numpy() > 0
        share = np.where(rows, w, 0.0) / w[rows].sum()
        effect = mean1 - mean0
        theta.append(share @ effect)
        gradient = (x1 * (share * slope1)[:, None]).sum(axis=0) - (
            x0 * (share * slope0)[:, None]
        ).sum(axis=0)
        sampled = share * (effect - theta[-1])
        psi.append(score @ gradient + [sampled[data["id"] == i].sum() for i in units])
    return cells, np.array(theta), np.array(psi).T


def shapes():
    """A weighted panel, and one with rows missing."""
    data = frame().assign(w=lambda d: 1 + (d["id"] % 5) / 4 + (d["t"] % 2) / 3)
    return {"weighted": data, "with gaps": data[(data["id"] // 3 + data["t"]) % 7 > 0]}


@families
@pytest.mark.parametrize("shape", ["weighted", "with gaps"])
@pytest.mark.parametrize("covariate", [False, True])
def test_effects_and_contributions_are_those_of_the_saturated_glm(family, shape, covariate):
    data = shapes()[shape].reset_index(drop=True)
    found = effects(data, family, ["x"] if covariate else [], weight="w")
    cells, theta, psi = twin(data, family, covariate=covariate, weight="w")
    assert found.index.keys == tuple(cells)
    np.testing.assert_allclose(found.theta, theta, atol=TWIN)
    np.testing.assert_allclose(found.psi, psi, atol=TWIN)


def test_a_two_by_two_of_counts_is_a_ratio_of_ratios():
    data = frame().query("start in (0, 5) and t in (4, 5)")
    mean = data.groupby(["start", "t"])["count"].mean()
    found = effects(data)
    wanted = mean[5, 5] - mean[5, 4] * mean[0, 5] / mean[0, 4]
    np.testing.assert_allclose(found.theta, [wanted], atol=1e-12)


def test_a_two_by_two_of_shares_moves_the_odds():
    data = frame().query("start in (0, 5) and t in (4, 5)")
    mean = data.groupby(["start", "t"])["passed"].mean()
    odds = mean / (1 - mean)
    expected = odds[5, 4] * odds[0, 5] / odds[0, 4]
    found = effects(data, "logit")
    np.testing.assert_allclose(found.theta, [mean[5, 5] - expected / (1 + expected)], atol=1e-12)


def test_pass_rates_between_zero_and_one_are_shares():
    """A school's rate weighted by its pupils is the pupils themselves."""
    data = frame().assign(school=lambda d: d["start"] * 100 + d["id"] % 10)
    rate = data.groupby(["school", "t", "start"], as_index=False).agg(
        passed=("passed", "mean"), pupils=("id", "size")
    )
    by_school = effects(rate, "logit", unit="school", covariates=[], weight="pupils")
    pupils = effects(data, "logit", covariates=[], cluster="school")
    np.testing.assert_allclose(by_school.theta, pupils.theta, atol=1e-12)
    np.testing.assert_allclose(by_school.vcov(), pupils.vcov(), atol=1e-12)


def test_a_model_that_holds_is_recovered():
    """Expected counts in place of draws: effects are exact, whatever the other trends."""
    data = frame()
    on = (data["start"] > 0) & (data["t"] >= data["start"])
    index = 1 + 0.4 * (data["start"] == 3) + 0.3 * data["t"] + data["x"] * (1 + 0.1 * data["t"])
    effect = 2.0 * on * (1 + 0.5 * data["x"])
    found = effects(data.assign(count=np.exp(index) + effect), baseline=["x"])
    wanted = data.assign(effect=effect)[on].groupby(["start", "t"])["effect"].mean()
    np.testing.assert_allclose(found.theta, wanted, atol=1e-8)
    naive = ek.did.extended_two_way(panel_of(data.assign(count=np.exp(index) + effect)))
    assert np.abs(naive.theta - wanted).max() > 0.5


# --- Bounds and separation ----------------------------------------------------------------------


def test_a_cohort_without_an_untreated_count_is_nan_with_the_reason():
    data = frame()
    flat = data["count"].where((data["start"] != 5) | (data["t"] >= 5), 0)
    found = effects(data.assign(count=flat))
    assert np.isnan(found.select(cohort=5).theta).all()
    assert not found.select(cohort=5).psi.any()
    text = " ".join(found.meta.notes)
    assert "cohort 5: every untreated outcome is 0, a mean that the poisson model does not" in text
    assert "cohort 5 in 5 is NaN: the untreated outcomes do not determine its mean" in text
    without = effects(data[data["start"] != 5])
    np.testing.assert_allclose(found.select(cohort=3).theta, without.theta, atol=1e-10)
    assert "left out of the averages" in " ".join(ek.aggregate(found).meta.notes)


def test_a_period_in_which_everybody_untreated_passes_is_nan_with_the_reason():
    data = frame()
    treated = (data["start"] > 0) & (data["t"] >= data["start"])
    found = effects(
        data.assign(passed=data["passed"].where((data["t"] != 4) | treated, 1)), "logit"
    )
    assert np.isnan(found.select(time=4).theta).all()
    assert np.isfinite(found.select(time=[3, 5, 6]).theta).all()
    assert any("period 4: every untreated outcome is 1" in note for note in found.meta.notes)


def test_separated_outcomes_are_refused_and_named():
    data = frame()
    sign = (data["x"] > 0) * 1.0
    with pytest.raises(IdentificationError, match=r"does not settle.*separated.*cohort.*in"):
        effects(data.assign(passed=sign), "logit", ["x"])


def test_nothing_above_zero_is_refused():
    with pytest.raises(IdentificationError, match="no untreated outcome is left for the poisson"):
        effects(frame().assign(count=0.0))


@pytest.mark.parametrize(
    ("family", "value", "words"),
    [("poisson", -1.0, "zero or more"), ("logit", 1.5, "between 0 and 1")],
)
def test_outcomes_outside_the_family_are_refused_with_unit_and_period(family, value, words):
    data = frame()
    data.loc[(data["id"] == 7) & (data["t"] == 2), OUTCOMES[family]] = value
    with pytest.raises(OptionError, match=rf"{words}; unit 7 has {value:g} in 2 \(1 such rows"):
        effects(data, family)


def test_other_bad_options_are_refused():
    panel = panel_of(frame())
    with pytest.raises(OptionError, match="family='probit' is not an option"):
        ek.did.extended_two_way(panel, family="probit")
    with pytest.raises(OptionError, match="absorb= belongs to family='linear'"):
        ek.did.extended_two_way(panel, family="poisson", absorb=("unit",))
    moving = panel_of(frame().assign(x=lambda d: d["x"] * d["t"]))
    with pytest.raises(OptionError, match="changes within units"):
        ek.did.extended_two_way(moving, family="poisson", baseline=["x"])


def test_cohorts_and_periods_without_comparison_are_left_out_like_in_the_linear_model():
    data = frame().query("start > 0")
    found, linear = effects(data), ek.did.extended_two_way(panel_of(data))
    assert found.index == linear.index
    assert any("no untreated unit in 5, 6" in note for note in found.meta.notes)
    assert isinstance(ek.infer(found).table, pd.DataFrame)
