"""Fixed effects of units and errors in variables: against dummies, R's eivreg and known truth."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core.errors import CombinationError, IdentificationError, OptionError, PanelError

DENSE = 1e-10  # a regression on dummies by another route


def frame(schools=12, seed=2, pupils=(4, 25)):
    rng = np.random.default_rng(seed)
    size = rng.integers(*pupils, schools)
    school = np.repeat(np.arange(schools), size)
    n = len(school)
    before = rng.normal(size=n) + 0.4 * rng.normal(size=schools)[school]
    poor = rng.integers(0, 2, n).astype(float)
    math = 0.7 * before - 0.3 * poor + 0.5 * rng.normal(size=schools)[school] + rng.normal(size=n)
    columns = {"school": school, "before": before, "poor": poor, "math": math}
    columns |= {"w": rng.uniform(0.5, 2, n), "class": 100 * school + np.arange(n) % 3}
    return pd.DataFrame(columns)


def panel_of(data, **options):
    given = {"score": "math", "prior": ["before"], "controls": ["poor"], "keys": ["school"],
             "provenance": "synthetic"}  # fmt: skip
    return ek.value_added.pupils(data, **{**given, **options})


def by_dummies(data, weight, centre):
    dummies = pd.get_dummies(data["school"]).to_numpy(float)
    x = np.column_stack([data[["poor", "before"]].to_numpy(), dummies])
    w = data["w"].to_numpy() if weight else np.ones(len(data))
    bread = np.linalg.inv(x.T @ (w[:, None] * x))
    beta = bread @ x.T @ (w * data["math"].to_numpy())
    scores = x * (w * (data["math"] - x @ beta).to_numpy())[:, None] @ bread
    pi = dummies.T @ w / w.sum() if centre == "pupils" else np.full(dummies.shape[1], 1 / 12)
    matrix = np.hstack([np.zeros((12, 2)), np.eye(12) - pi])
    return matrix @ beta, scores @ matrix.T


@pytest.mark.parametrize("centre", ["pupils", "units"])
@pytest.mark.parametrize("weight", [None, "w"])
def test_effects_and_contributions_are_those_of_a_regression_on_dummies(weight, centre):
    data = frame()
    made = ek.value_added.fixed(panel_of(data, weight=weight), effect="school", centre=centre)
    theta, psi = by_dummies(data, weight, centre)
    np.testing.assert_allclose(made.theta, theta, atol=DENSE)
    np.testing.assert_allclose(made.psi, psi, atol=DENSE)


def test_the_average_effect_of_pupils_is_zero():
    data = frame()
    made = ek.value_added.fixed(panel_of(data), effect="school")
    assert made.theta @ data["school"].value_counts(sort=False) == pytest.approx(0, abs=1e-9)


def test_many_units_hold_their_contributions_sparsely_with_the_same_numbers(monkeypatch):
    data = frame()
    dense = ek.value_added.fixed(panel_of(data), effect="school")
    monkeypatch.setattr(import_module("evalkit.value_added.fixed"), "DENSE", 0)
    sparse = ek.value_added.fixed(panel_of(data), effect="school")
    assert type(sparse.scores).__name__ == "Sparse"
    np.testing.assert_allclose(sparse.psi, dense.psi, atol=1e-14)
    np.testing.assert_allclose(ek.infer(sparse).vcov, ek.infer(dense).vcov, atol=1e-14)


def test_clusters_are_those_of_the_panel():
    data = frame()
    made = ek.value_added.fixed(panel_of(data, cluster="class"), effect="school")
    _, psi = by_dummies(data, None, "pupils")
    sums = pd.DataFrame(psi).groupby(data["class"].to_numpy()).sum().to_numpy()
    np.testing.assert_allclose(made.vcov(), sums.T @ sums, atol=DENSE)


def test_a_unit_of_one_row_is_left_out_and_named():
    data = pd.concat([frame(), frame().iloc[[0]].assign(school=99)])
    made = ek.value_added.fixed(panel_of(data), effect="school")
    assert (99,) not in made.index.keys
    assert any("1 units of school left out" in n and "99" in n for n in made.meta.notes)


def test_without_regressors_effects_are_differences_of_means():
    data = frame()
    made = ek.value_added.fixed(panel_of(data), effect="school", on=[])
    means = data.groupby("school")["math"].mean() - data["math"].mean()
    np.testing.assert_allclose(made.theta, means, atol=1e-12)


def test_leverages_of_too_many_units_are_refused(monkeypatch):
    monkeypatch.setattr(import_module("evalkit.value_added.fixed"), "LARGE", 10)
    made = ek.value_added.fixed(panel_of(frame()), effect="school")
    with pytest.raises(CombinationError, match="use CR1"):
        ek.infer(made, vcov="CR2")


# --- Errors in variables ------------------------------------------------------------------------

# eivreg of R eivtools 0.1-8 on score ~ intake + sex with reliability 0.8, printed in the brief.
SLOPE, NAIVE, ROBUST, CLUSTERED = "0.7388", "0.5906", "0.01606", "0.02882"


def agrees(value, printed):
    digits = len(printed.split(".")[1])
    assert abs(value - float(printed)) <= 0.5001 * 10**-digits


def exam(**options):
    return ek.value_added.pupils(
        ek.sources.exam_pupils(), score="score", prior=["intake"], controls=["sex"],
        keys=["school"], provenance="real", **options,
    )  # fmt: skip


def test_the_london_slope_and_its_errors_are_those_of_eivreg():
    reliability = {"intake": 0.8}
    naive = ek.value_added.errors_in_variables(exam()).select(term="intake")
    robust = ek.value_added.errors_in_variables(exam(), reliability=reliability)
    # Pupils of one school as one unit: a cluster of the same label.
    schools = ek.value_added.errors_in_variables(exam(cluster="school"), reliability=reliability)
    agrees(naive.theta[0], NAIVE)
    agrees(robust.select(term="intake").theta[0], SLOPE)
    agrees(ek.infer(robust).std_error[1], ROBUST)
    agrees(ek.infer(schools).std_error[1], CLUSTERED)


def test_an_exact_regressor_gives_least_squares():
    panel = panel_of(frame())
    exact = ek.value_added.errors_in_variables(panel, reliability={"before": 1.0}, within="school")
    plain = ek.did.regression(panel, on=["poor", "before"], absorb=("school",))
    np.testing.assert_allclose(exact.theta, plain.theta, atol=1e-12)
    np.testing.assert_allclose(exact.psi, plain.psi, atol=1e-12)


@pytest.mark.parametrize("within", [None, "school"])
def test_the_corrected_slope_is_the_true_one_where_least_squares_is_not(within):
    rng = np.random.default_rng(3)
    schools, n = 200, 20
    school = np.repeat(np.arange(schools), n)
    true = rng.normal(size=schools * n) + rng.normal(size=schools)[school]
    csem = rng.choice([0.5, 1.0], schools * n)
    data = pd.DataFrame({"school": school, "csem": csem,
                         "before": true + csem * rng.normal(size=schools * n),
                         "math": true + rng.normal(size=schools * n)})  # fmt: skip
    panel = ek.value_added.pupils(data, score="math", prior=["before"], controls=["csem"],
                                  keys=["school"], provenance="synthetic")  # fmt: skip
    known = ek.value_added.errors_in_variables(panel, csem={"before": "csem"}, within=within)
    share = 1 - (csem**2).mean() / data["before"].var()
    reliable = ek.value_added.errors_in_variables(
        panel, on=["before"], reliability={"before": share}, within=within
    )
    for made in (known, reliable):
        assert abs(made.theta[0] - 1) < 3 * ek.infer(made).std_error[0]
    naive = ek.value_added.errors_in_variables(panel, on=["before"], within=within)
    assert naive.theta[0] < 0.85


def test_effects_of_schools_use_the_corrected_slope():
    panel = panel_of(frame())
    options = {"reliability": {"before": 0.7}}
    made = ek.value_added.fixed(panel, effect="school", **options)
    slope = ek.value_added.errors_in_variables(panel, within="school", **options).theta
    data = frame()
    adjusted = data["math"] - data[["poor", "before"]].to_numpy() @ slope
    means = adjusted.groupby(data["school"]).mean() - adjusted.mean()
    np.testing.assert_allclose(made.theta, means, atol=1e-10)
    assert made.meta.method.endswith("errors in variables")


def test_a_reliability_too_low_for_the_controls_is_said_to_be_so():
    data = frame().assign(almost=lambda t: t["before"] + 0.1 * t["poor"])
    panel = panel_of(data, controls=["almost"])
    with pytest.raises(IdentificationError, match="not positive definite") as wrong:
        ek.value_added.errors_in_variables(panel, reliability={"before": 0.9})
    assert "before: 0.10 of its variance" in str(wrong.value)
    assert "regressors leave 0.00" in str(wrong.value)


def test_what_cannot_be_corrected_is_refused():
    panel = panel_of(frame().assign(csem=-1.0 * (np.arange(len(frame())) == 4)),
                     controls=["poor", "csem"])  # fmt: skip
    eiv = ek.value_added.errors_in_variables
    with pytest.raises(OptionError, match="lag"):
        eiv(panel, reliability={"lag": 0.8})
    with pytest.raises(OptionError, match=r"reliability of 'before' is 1\.2"):
        eiv(panel, reliability={"before": 1.2})
    with pytest.raises(OptionError, match="before"):
        eiv(panel, reliability={"before": 0.8}, csem={"before": "csem"})
    with pytest.raises(PanelError, match="'csem' holds standard errors"):
        eiv(panel, csem={"before": "csem"})
    with pytest.raises(OptionError, match="no regressor"):
        eiv(panel, on=[])
    alone = panel_of(frame().groupby("school").head(1))
    with pytest.raises(IdentificationError, match="0 units of 'school' have two rows"):
        ek.value_added.fixed(alone, effect="school")
    with pytest.raises(OptionError, match="centre"):
        ek.value_added.fixed(panel, effect="school", centre="none")
