"""Imputation against explicit dense weights, dense two-stage fits and numerical derivatives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core.adoption import Starts
from evalkit.core.errors import IdentificationError, OptionError
from evalkit.engines.cohorts import Cohorts
from evalkit.engines.imputed import Sample, impute
from panels import Recipe

TWIN = 1e-10  # the requirement on weights of order one
DENSE = 1e-9  # the same weights times outcomes of size 50
# Central differences with steps of 1e-4: truncation 1e-8, rounding 1e-12 / 1e-4.
DERIVATIVE = 1e-6

COHORTS = (2002, 2004, np.nan, np.nan)
RECIPES = {
    "balanced": Recipe(cohorts=COHORTS),
    "unit weights": Recipe(cohorts=COHORTS, weights="unit", clusters=True),
    "gaps": Recipe(cohorts=COHORTS, missing=0.15),
    "gaps and weights": Recipe(cohorts=COHORTS, missing=0.15, weights="row", clusters=True),
}
MODELS = {
    "plain": {},
    "covariates": {"covariates": ["x", "z"]},
    "trends": {"trends": True},
    "covariates and trends": {"covariates": ["x"], "trends": True},
}
each_recipe = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
each_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())


def dummies(values):
    return pd.get_dummies(values).to_numpy(float)


def design(frame, covariates=(), trends=False):
    """All dummies, covariates and unit trends: the untreated model, written out."""
    town = dummies(frame["town"])
    slopes = [town * (frame["year"].to_numpy() - 2000.0)[:, None]] if trends else []
    return np.hstack([town, dummies(frame["year"]), *slopes, frame[list(covariates)].to_numpy()])


def by_hand(frame, weighted, keys, **model):
    """Borusyak, Jaravel and Spiess: v on every row, theta = v'y, psi from v and residuals."""
    z = design(frame, **model)
    y = frame["y"].to_numpy()
    w = frame["weight"].to_numpy() if weighted else np.ones(len(frame))
    treated = (frame["year"] >= frame["start"]).to_numpy()
    z0, w0 = z[~treated], w[~treated]
    half = np.sqrt(w0)[:, None]
    own_rows = pd.Series(~treated).groupby(frame["town"].to_numpy()).transform("sum").to_numpy()
    enough = own_rows > model.get("trends", False)
    inverse = np.linalg.pinv(half * z0, rcond=1e-11)  # (Z0'W0Z0)^{-1} Z0'W0^{1/2}
    effect = y - z @ (inverse @ (half[:, 0] * y[~treated]))
    theta, v, psi = [], [], []
    for g, t in keys:
        cell = treated & enough & (frame["start"] == g).to_numpy() & (frame["year"] == t).to_numpy()
        share = np.where(cell, w, 0) / w[cell].sum()
        own = share.copy()
        own[~treated] = -half[:, 0] * (inverse.T @ (z.T @ share))
        theta.append(share @ effect)
        rest = np.where(treated, effect - theta[-1], effect)
        v.append(own)
        psi.append(pd.Series(own * rest).groupby(frame["town"].to_numpy()).sum().to_numpy())
    return np.array(theta), np.stack(v, axis=1), np.stack(psi, axis=1)


@each_recipe
@each_model
def test_imputation_is_the_explicit_weights_of_its_paper(recipe, model):
    frame = recipe.frame()
    estimate = ek.did.imputation(recipe.panel(frame), **model)
    keys = [(2002, t) for t in range(2002, 2006)] + [(2004, t) for t in (2004, 2005)]
    if not recipe.missing:
        assert list(estimate.index.keys) == keys
    theta, v, psi = by_hand(frame, recipe.weights, estimate.index.keys, **model)
    np.testing.assert_allclose(estimate.theta, theta, atol=DENSE)
    np.testing.assert_allclose(estimate.weights, v, atol=TWIN)
    np.testing.assert_allclose(estimate.psi, psi, atol=DENSE)
    np.testing.assert_allclose(
        estimate.weights.T @ frame["y"].to_numpy(), estimate.theta, atol=DENSE
    )
    assert np.abs(estimate.psi.sum(axis=0)).max() < DENSE


@each_recipe
def test_towns_that_cannot_be_imputed_are_left_out_as_if_they_had_no_treated_row(recipe):
    frame = recipe.frame()
    first = frame["town"].isin([0, 4]) & (frame["year"] < 2002)
    lacking = frame[~first]
    estimate = ek.did.imputation(recipe.panel(lacking))
    assert "2 units not imputed (0, 4): fewer than 1 untreated observation of their own" in (
        estimate.meta.notes
    )
    without = lacking[~lacking["town"].isin([0, 4])]
    theta, _, psi = by_hand(without, recipe.weights, estimate.index.keys)
    np.testing.assert_allclose(estimate.theta, theta, atol=DENSE)
    kept = ~np.isin(estimate.units, [0, 4])
    np.testing.assert_allclose(estimate.psi[kept], psi, atol=DENSE)
    assert not estimate.psi[~kept].any()


@each_recipe
@each_model
def test_the_static_effect_is_that_of_two_stages(recipe, model):
    """Gardner: residualise on the untreated fit, regress on treatment."""
    frame = recipe.frame()
    estimate = ek.did.imputation(recipe.panel(frame), **model)
    z = design(frame, **model)
    w = frame["weight"].to_numpy() if recipe.weights else np.ones(len(frame))
    treated = (frame["year"] >= frame["start"]).to_numpy()
    half = np.sqrt(w)[:, None]
    beta = np.linalg.lstsq(
        (half * z)[~treated], half[~treated, 0] * frame["y"].to_numpy()[~treated], rcond=1e-11
    )[0]
    if not estimate.meta.notes:
        effect = np.average((frame["y"] - z @ beta)[treated], weights=w[treated])
        assert abs(ek.aggregate(estimate).theta[0] - effect) < DENSE


@pytest.mark.parametrize("trends", [False, True], ids=["levels", "trends"])
@pytest.mark.parametrize("weights", ["", "unit"])
def test_cohort_means_give_the_numbers_of_the_observations(trends, weights):
    recipe = Recipe(cohorts=(2000, *COHORTS), weights=weights)
    panel = recipe.panel()
    cohorts = Cohorts.of(panel)
    starts = Starts.of(panel)
    means = impute(Sample.of_cohorts(cohorts, starts, trends=trends), panel.clock, 1)
    rows = impute(Sample.of_rows(panel, (), trends=trends), panel.clock, 1)
    np.testing.assert_allclose(means.theta, rows.theta, atol=DENSE)
    np.testing.assert_allclose(means.mass, rows.mass, atol=DENSE)
    np.testing.assert_allclose(means.factored(cohorts).psi(), rows.scores().psi(), atol=DENSE)
    assert means.counts.tolist() == rows.counts.tolist()
    assert means.lost[1:] == rows.lost[1:]
    towns = ", ".join(str(5 * k) for k in range(5))
    assert f"8 units not imputed ({towns} and 3 more)" in rows.lost[0]
    assert "8 units not imputed (cohort 2000)" in means.lost[0]


@each_model
@pytest.mark.parametrize("name", ["unit weights", "gaps and weights"])
def test_a_contribution_is_the_derivative_in_the_weight_of_its_unit(name, model):
    recipe = RECIPES[name]
    frame = recipe.frame(24)
    step, expected = 1e-4, []
    for town in np.unique(frame["town"]):
        up, down = (
            ek.did.imputation(
                recipe.panel(
                    frame.assign(weight=frame["weight"] * np.where(frame["town"] == town, 1 + h, 1))
                ),
                **model,
            ).theta
            for h in (step, -step)
        )
        expected.append((up - down) / (2 * step))
    psi = ek.did.imputation(recipe.panel(frame), **model).psi
    np.testing.assert_allclose(psi, expected, atol=DERIVATIVE, rtol=DERIVATIVE)


def test_counts_are_treated_units_of_the_cell_and_untreated_units_of_the_period():
    frame = RECIPES["gaps"].frame()
    estimate = ek.did.imputation(RECIPES["gaps"].panel(frame))
    start = frame["start"].fillna(np.inf)
    for (g, t), (treated, controls) in zip(estimate.index.keys, estimate.counts, strict=True):
        assert treated == ((start == g) & (frame["year"] == t)).sum()
        assert controls == ((start > t) & (frame["year"] == t)).sum()


@each_recipe
def test_unit_trends_absorb_unit_trends(recipe):
    frame = recipe.frame()
    slope = np.random.default_rng(1).normal(size=40)
    tilted = frame.assign(y=frame["y"] + slope[frame["town"]] * frame["year"])
    one, two = (ek.did.imputation(recipe.panel(data), trends=True) for data in (frame, tilted))
    np.testing.assert_allclose(one.theta, two.theta, atol=1e-7)  # outcomes of size 5,000
    assert np.abs(ek.did.imputation(recipe.panel(tilted)).theta - one.theta).max() > 0.1


def test_a_covariate_times_a_constant_changes_nothing():
    recipe = RECIPES["gaps and weights"]
    frame = recipe.frame()
    moved = frame.assign(y=frame["y"] + 3 * frame["x"], x=frame["x"] * 1e6 + 7)
    one, two = (ek.did.imputation(recipe.panel(data), covariates=["x"]) for data in (frame, moved))
    np.testing.assert_allclose(one.theta, two.theta, atol=DENSE)
    np.testing.assert_allclose(one.psi, two.psi, atol=DENSE)


# --- Second stages ----------------------------------------------------------------------------


def second_stage(frame, weighted, x, **model):
    """Gardner's two stages written out: regress effects on ``x``, both stages in the influence."""
    z, y = design(frame, **model), frame["y"].to_numpy()
    w = frame["weight"].to_numpy() if weighted else np.ones(len(frame))
    treated = (frame["year"] >= frame["start"]).to_numpy()
    z0 = z * np.sqrt(w)[:, None] * ~treated[:, None]
    inverse = np.linalg.pinv(z0.T @ z0, rcond=1e-11)
    effect = y - z @ (inverse @ (z.T @ (w * y * ~treated)))
    x = np.where(treated[:, None], x, 0.0)
    bread = np.linalg.inv((x * w[:, None]).T @ x)
    beta = bread @ (x.T @ (w * effect))
    first = (z * (w * effect * ~treated)[:, None]) @ (inverse @ (z.T @ (x * w[:, None])))
    score = x * (w * (effect - x @ beta))[:, None] - first
    town = frame["town"].to_numpy()
    return beta, np.array([score[town == i].sum(axis=0) for i in np.unique(town)]) @ bread


@each_recipe
@pytest.mark.parametrize("model", [{}, {"covariates": ["x", "z"]}], ids=["plain", "covariates"])
def test_with_sampled_treated_units_averages_have_the_two_stage_errors(recipe, model):
    frame = recipe.frame()
    estimate = ek.did.imputation(recipe.panel(frame), treated="sampled", **model)
    given = ek.did.imputation(recipe.panel(frame), **model)
    np.testing.assert_array_equal(estimate.psi, given.psi)
    event = (frame["year"] - frame["start"]).to_numpy()
    for by, values in {"event": event, (): np.zeros(len(frame))}.items():
        average = ek.aggregate(estimate, by=by)
        keys = sorted(set(values[event >= 0]))
        x = np.stack([(values == key) * 1.0 for key in keys], axis=1)
        beta, psi = second_stage(frame, recipe.weights, x, **model)
        np.testing.assert_allclose(average.theta, beta, atol=DENSE)
        np.testing.assert_allclose(average.psi, psi, atol=DENSE)
        assert np.abs(ek.aggregate(given, by=by).psi - psi).max() > 1e-4


@each_recipe
@pytest.mark.parametrize("model", [{}, {"covariates": ["x"]}], ids=["plain", "covariate"])
def test_effects_are_projected_on_characteristics(recipe, model):
    frame = recipe.frame()
    panel = recipe.panel(frame)
    found = ek.did.imputation(panel, project=["base", "county"], **model)
    assert found.index.keys == (("constant",), ("base",), ("county = 1",), ("county = 2",))
    county = frame["county"].to_numpy()
    x = np.column_stack([np.ones(len(frame)), frame["base"], county == 1, county == 2])
    beta, psi = second_stage(frame, recipe.weights, x, **model)
    np.testing.assert_allclose(found.theta, beta, atol=DENSE)
    np.testing.assert_allclose(found.psi, psi, atol=DENSE)
    np.testing.assert_allclose(found.weights.T @ panel.y, found.theta, atol=DENSE)


def test_a_projection_on_a_constant_is_the_average_over_sampled_units():
    panel = RECIPES["gaps and weights"].panel()
    one = ek.did.imputation(panel, project=["group"]).select(term="constant")
    urban = panel.category("group")
    of = panel.where((urban.codes == 0) | (panel.treated == 0))
    # The first label's own average, with the fit on all untreated rows.
    average = ek.aggregate(ek.did.imputation(of, treated="sampled"))
    np.testing.assert_allclose(one.theta, average.theta, atol=DENSE)
    np.testing.assert_allclose(one.psi[np.isin(one.units, average.units)], average.psi, atol=DENSE)


def test_characteristics_that_are_collinear_or_unknown_are_named():
    panel = RECIPES["balanced"].panel()
    twice = RECIPES["balanced"].frame().assign(other=lambda d: 2 * d["base"] + 1)
    both = RECIPES["balanced"].panel(twice, covariates=["base", "other"])
    with pytest.raises(IdentificationError, match=r"collinear.*(base|other)"):
        ek.did.imputation(both, project=["base", "other"])
    with pytest.raises(ValueError, match="no category 'town'"):
        ek.did.imputation(panel, project=["town"])
    with pytest.raises(OptionError, match="project takes a sequence"):
        ek.did.imputation(panel, project="base")
    with pytest.raises(OptionError, match="treated='random' is not an option"):
        ek.did.imputation(panel, treated="random")


def test_a_treated_row_is_compared_with_the_weighted_mean_of_its_cell():
    """The code of Borusyak, Jaravel and Spiess weighs by the square of v there. That mean leaves
    the least squares, and contributions that do not sum to zero; without weights both are one.
    """
    recipe = RECIPES["gaps and weights"]
    frame = recipe.frame()
    found = ek.did.imputation(recipe.panel(frame))
    effect = frame["y"].to_numpy() - _untreated(frame)
    for k, (g, t) in enumerate(found.index.keys):
        cell = ((frame["start"] == g) & (frame["year"] == t)).to_numpy()
        v, tau = found.weights[cell, k], effect[cell]
        weighted, squared = v @ tau, np.average(tau, weights=v**2)
        assert abs(found.theta[k] - weighted) < DENSE
        assert abs(v @ (tau - weighted)) < DENSE
        assert abs(v @ (tau - squared)) > 1e-3
        smaller = (v**2) @ (tau - squared) ** 2
        assert smaller < (v**2) @ (tau - weighted) ** 2


def _untreated(frame):
    z, y, w = design(frame), frame["y"].to_numpy(), frame["weight"].to_numpy()
    free = ~(frame["year"] >= frame["start"]).to_numpy()
    half = np.sqrt(w[free])[:, None]
    return z @ np.linalg.lstsq(half * z[free], half[:, 0] * y[free], rcond=1e-11)[0]


# --- Pre-trends -------------------------------------------------------------------------------


@each_recipe
@pytest.mark.parametrize("covariates", [[], ["x"]], ids=["plain", "covariate"])
def test_pretrends_are_the_regression_on_untreated_rows_with_explicit_dummies(recipe, covariates):
    frame = recipe.frame()
    estimate = ek.did.imputation_pretrends(recipe.panel(frame), leads=2, covariates=covariates)
    assert estimate.index.keys == ((-2,), (-1,))
    free = frame[~(frame["year"] >= frame["start"])]
    leads = [(free["year"] - free["start"] == e).to_numpy(float) for e in (-2, -1)]
    x = np.column_stack([*leads, design(free, covariates)])
    w = free["weight"].to_numpy() if recipe.weights else np.ones(len(free))
    bread = np.linalg.pinv(x.T @ (w[:, None] * x), rcond=1e-12, hermitian=True)
    beta = bread @ (x.T @ (w * free["y"].to_numpy()))
    np.testing.assert_allclose(estimate.theta, beta[:2], atol=DENSE)
    rows = x * (w * (free["y"].to_numpy() - x @ beta))[:, None] @ bread[:, :2]
    psi = pd.DataFrame(rows).groupby(free["town"].to_numpy()).sum().to_numpy()
    np.testing.assert_allclose(estimate.psi, psi, atol=DENSE)


def test_pretrends_do_not_look_at_treated_observations():
    recipe = RECIPES["gaps"]
    frame = recipe.frame()
    spoiled = frame.assign(y=frame["y"].where(~(frame["year"] >= frame["start"]), 1e6))
    one, two = (ek.did.imputation_pretrends(recipe.panel(d), leads=2) for d in (frame, spoiled))
    np.testing.assert_array_equal(one.theta, two.theta)
    assert ek.wald(one).k == 2


def test_the_row_weights_of_pretrends_are_zero_on_treated_rows():
    panel = RECIPES["gaps and weights"].panel()
    estimate = ek.did.imputation_pretrends(panel, leads=2)
    np.testing.assert_allclose(estimate.weights.T @ panel.y, estimate.theta, atol=DENSE)
    assert not estimate.weights[panel.treated > 0].any()


def test_a_planted_lead_is_found():
    recipe = RECIPES["balanced"]
    frame = recipe.frame()
    planted = frame.assign(y=frame["y"] + 5 * (frame["year"] == frame["start"] - 1))
    one, two = (ek.did.imputation_pretrends(recipe.panel(d), leads=2) for d in (frame, planted))
    np.testing.assert_allclose(two.theta - one.theta, [0, 5], atol=DENSE)


def test_leads_that_cannot_be_tested_are_refused():
    panel = RECIPES["balanced"].panel()
    with pytest.raises(OptionError, match="leads=0"):
        ek.did.imputation_pretrends(panel, leads=0)
    with pytest.raises(IdentificationError, match="no unit is observed 5 periods before"):
        ek.did.imputation_pretrends(panel, leads=5)
    frame = RECIPES["balanced"].frame()
    one = frame[frame["start"] == 2002]
    with pytest.raises(IdentificationError, match=r"-1|-2"):
        ek.did.imputation_pretrends(RECIPES["balanced"].panel(one), leads=1)


# --- The edges --------------------------------------------------------------------------------


def test_the_always_treated_are_not_imputed_but_counted():
    frame = RECIPES["balanced"].frame()
    always = frame.assign(start=frame["start"].where(frame["town"] % 8 != 0, 2000.0))
    estimate = ek.did.imputation(RECIPES["balanced"].panel(always))
    without = ek.did.imputation(RECIPES["balanced"].panel(always[always["start"] != 2000]))
    assert estimate.index == without.index
    np.testing.assert_allclose(estimate.theta, without.theta, atol=DENSE)
    assert "5 units not imputed" in estimate.meta.notes[-1]


def test_periods_without_an_untreated_unit_are_named():
    frame = RECIPES["balanced"].frame().dropna(subset=["start"])
    estimate = ek.did.imputation(RECIPES["balanced"].panel(frame))
    assert estimate.index.keys == ((2002, 2002), (2002, 2003))
    assert "no untreated unit in 2004, 2005: cells left out" in estimate.meta.notes


def test_a_period_with_too_few_controls_is_left_out_when_asked():
    frame = RECIPES["balanced"].frame()
    few = frame[~(frame["start"].isna() & (frame["year"] == 2005) & (frame["town"] > 10))]
    panel = RECIPES["balanced"].panel(few)
    controls = ((few["year"] == 2005) & few["start"].isna()).sum()
    assert (2002, 2005) in ek.did.imputation(panel, minimum_controls=controls).index.keys
    strict = ek.did.imputation(panel, minimum_controls=controls + 1)
    assert 2005 not in strict.index.level("time")
    assert f"fewer than {controls + 1} untreated units in 2005: cells left out" in (
        strict.meta.notes
    )


def test_a_period_that_only_other_towns_connect_is_not_identified_and_named():
    """In 2005 the untreated are towns never seen before: nothing ties their level to the rest."""
    frame = RECIPES["balanced"].frame()
    known = frame[~(frame["start"].isna() & (frame["year"] == 2005))]
    strangers = frame[frame["start"].isna() & (frame["year"] == 2005)]
    strangers = strangers.assign(town=strangers["town"] + 1000)
    panel = RECIPES["balanced"].panel(pd.concat([known, strangers]))
    estimate = ek.did.imputation(panel)
    assert 2005 not in estimate.index.level("time")
    assert "the untreated do not identify 2005: cells left out" in estimate.meta.notes


def test_singletons_are_kept_and_change_nothing():
    recipe = RECIPES["gaps"]
    frame = recipe.frame()
    lone = frame.iloc[[3]].assign(town=999, start=np.nan, y=1e5)
    one, two = (ek.did.imputation(recipe.panel(data)) for data in (frame, pd.concat([frame, lone])))
    np.testing.assert_allclose(one.theta, two.theta, atol=1e-8)  # an outcome of 1e5
    assert np.abs(two.psi[-1]).max() < 1e-8


WRONG = {
    "a covariate without variation": (
        lambda p: ek.did.imputation(p, covariates=["base"]), IdentificationError,
        "base has no variation"),
    "an unknown covariate": (
        lambda p: ek.did.imputation(p, covariates=["size"]), ValueError, "no covariate 'size'"),
    "no controls asked for": (
        lambda p: ek.did.imputation(p, minimum_controls=0), OptionError, "minimum_controls=0"),
    "more controls than there are": (
        lambda p: ek.did.imputation(p, minimum_controls=99), IdentificationError,
        "no treated cell can be imputed: fewer than 99 untreated units in 2002"),
}  # fmt: skip


@pytest.mark.parametrize(("ask", "error", "words"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_imputed_is_refused_by_name(ask, error, words):
    with pytest.raises(error, match=words):
        ask(RECIPES["balanced"].panel())


def test_collinear_covariates_are_named():
    frame = RECIPES["gaps"].frame().assign(z=lambda d: 2 * d["x"])
    with pytest.raises(IdentificationError, match="collinear"):
        ek.did.imputation(RECIPES["gaps"].panel(frame), covariates=["x", "z"])


def test_unit_trends_need_two_untreated_years_of_a_unit():
    frame = RECIPES["balanced"].frame()
    early = frame.assign(start=frame["start"].where(frame["start"] != 2002, 2001))
    estimate = ek.did.imputation(RECIPES["balanced"].panel(early), trends=True)
    assert set(estimate.index.level("cohort")) == {2004}
    assert (
        "10 units not imputed (cohort 2001): fewer than 2 untreated observations of their own"
        in (estimate.meta.notes)
    )


def test_unit_trends_of_many_units_without_balance_are_refused():
    with pytest.raises(OptionError, match="at most 500"):
        ek.did.imputation(RECIPES["gaps"].panel(towns=600), trends=True)
    assert len(ek.did.imputation(RECIPES["balanced"].panel(towns=600), trends=True)) == 6
