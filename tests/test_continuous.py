"""Curves over a dose against another package, a twin without splines, and known truth."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core.errors import IdentificationError, OptionError
from golden_moderndid import AT, DOSE, FILE, dose_frame

GOLDEN = json.loads(FILE.read_text())["dose"]
TOLERANCE = 1e-10  # two bases of one space, both solved by singular values


def panel_of(frame, **options):
    given = {"outcome": "y", "unit": "id", "time": "t", "dose": "dose", "provenance": "synthetic"}
    return ek.Panel.from_frame(frame, **{**given, **options})


def curve(panel=None, **options):
    options = {"start": 2, "at": AT, **options}
    return ek.did.dose_curve(panel_of(dose_frame()) if panel is None else panel, **options)


def error(found):
    return np.sqrt(np.diag(found.vcov()))


@pytest.mark.parametrize("name", DOSE)
def test_curves_averages_and_errors_are_those_of_moderndid(name):
    found = curve(**DOSE[name])
    np.testing.assert_allclose(found.theta, GOLDEN[name]["theta"], atol=TOLERANCE)
    np.testing.assert_allclose(error(found), GOLDEN[name]["error"], rtol=TOLERANCE)


# --- A twin: powers, truncated at the knots ------------------------------------------------------


def unequal():
    """Six uneven periods, unit weights, gaps: what the twin gets as changes of units."""
    rng = np.random.default_rng(3)
    towns = 90
    dose = np.where(np.arange(towns) % 3 == 0, 0.0, rng.uniform(0.2, 3, towns))
    frame = pd.DataFrame({"id": np.repeat(np.arange(towns), 6), "t": np.tile(np.arange(6), towns)})
    frame["dose"], frame["w"] = dose[frame["id"]], rng.uniform(0.5, 2, towns)[frame["id"]]
    frame["y"] = rng.normal(size=len(frame)) + (frame["t"] >= 2) * np.sin(frame["dose"])
    return frame[rng.uniform(size=len(frame)) > 0.1]


@pytest.mark.parametrize("knots", [[], [0.9], [0.8, 1.7, 2.4]])
@pytest.mark.parametrize("degree", [1, 2, 3])
def test_truncated_powers_by_weighted_least_squares_give_the_same_curve(degree, knots):
    frame = unequal()
    after = frame[frame["t"] >= 2].groupby("id")["y"].mean()
    change = (after - frame[frame["t"] < 2].groupby("id")["y"].mean()).dropna()
    unit = frame.groupby("id")[["dose", "w"]].first().loc[change.index]
    on = (unit["dose"] > 0).to_numpy()
    d, w, y = unit["dose"][on].to_numpy(), unit["w"][on].to_numpy(), change[on].to_numpy()

    def powers(x):
        x = np.asarray(x, float)[:, None]
        return np.hstack([x ** np.arange(degree + 1), np.maximum(x - np.array(knots), 0) ** degree])

    def slopes(x):
        x = np.asarray(x, float)[:, None]
        k = np.arange(degree + 1)
        cut = x - np.array(knots)
        bends = degree * np.maximum(cut, 0) ** (degree - 1) * (cut >= 0)
        return np.hstack([k * x ** np.maximum(k - 1, 0), bends])

    root = np.sqrt(w)
    beta = np.linalg.lstsq(powers(d) * root[:, None], y * root, rcond=None)[0]
    none = np.average(change[~on], weights=unit["w"][~on])
    wanted = [
        *(powers(AT) @ beta - none),
        *(slopes(AT) @ beta),
        np.average(y, weights=w) - none,
        np.average(slopes(d) @ beta, weights=w),
    ]
    found = curve(panel_of(frame, weight="w"), degree=degree, knots=knots)
    np.testing.assert_allclose(found.theta, wanted, atol=1e-8)


def test_the_levels_average_to_the_two_by_two():
    frame = dose_frame().assign(start=lambda f: f["start"].astype(float).replace(0, np.nan))
    panel = panel_of(frame, cohort="start")
    found, wanted = curve(panel).select(parameter="ATT", dose="average"), ek.did.two_by_two(panel)
    np.testing.assert_allclose(found.theta, wanted.theta, atol=1e-12)
    np.testing.assert_allclose(found.psi, wanted.psi, atol=1e-12)


def test_the_slopes_are_the_derivatives_of_the_levels():
    step = 1e-5
    found = curve(at=[1.0 - step, 1.0, 1.0 + step], knots=2)
    level = found.select(parameter="ATT", dose=lambda d: d != "average").theta
    slope = found.select(parameter="ACRT", dose=1).theta
    np.testing.assert_allclose((level[2] - level[0]) / (2 * step), slope, rtol=1e-6)


# --- Laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"degree": 2}, {"degree": 3, "knots": [0.8, 1.4]}])
def test_contributions_agree_with_the_jackknife_and_sum_to_zero(options):
    distance = []
    for units in (150, 600):
        panel = panel_of(dose_frame(units))
        given = {"at": [0.5, 1.0, 1.5], **options}
        found = curve(panel, **given)
        assert np.abs(found.psi.sum(axis=0)).max() < 1e-12
        out = range(0, units, units // 75)
        changes = np.array(
            [found.theta - curve(panel.where(panel.unit != i), **given).theta for i in out]
        )
        psi = found.psi[list(out)]
        distance.append(np.linalg.norm(changes - psi, axis=0) / np.linalg.norm(psi, axis=0))
    assert (distance[1] < 0.06).all()
    assert np.mean(distance[1] / distance[0]) < 0.4


def test_weights_reproduce_the_curve_for_any_outcome():
    panel = panel_of(unequal(), weight="w")
    found = curve(panel, knots=1)
    np.testing.assert_allclose(found.weights.T @ panel.y, found.theta, atol=1e-10)
    other = np.random.default_rng(1).normal(size=len(panel.y))
    moved = curve(panel.with_outcome(other), knots=1)
    np.testing.assert_allclose(found.weights.T @ other, moved.theta, atol=1e-10)


def test_the_scale_of_the_dose_scales_slopes_only():
    panel = panel_of(dose_frame())
    one = curve(panel, knots=2)
    hundred = curve(replace(panel, dose=100 * panel.dose), knots=2, at=[100 * d for d in AT])
    factor = np.repeat([1, 0.01, 1, 0.01], [5, 5, 1, 1])
    np.testing.assert_allclose(hundred.theta, factor * one.theta, rtol=1e-9)
    np.testing.assert_allclose(error(hundred), factor * error(one), rtol=1e-9)


def test_knots_asked_by_number_lie_at_quantiles_and_points_at_deciles():
    doses = dose_frame().query("t == 1 and dose > 0")["dose"]
    two = np.quantile(doses, [1 / 3, 2 / 3])
    np.testing.assert_array_equal(curve(knots=2).theta, curve(knots=list(two)).theta)
    points = curve(at=None).select(parameter="ATT").index.level("dose")[:-1]
    np.testing.assert_allclose(points, np.quantile(doses, np.arange(0.1, 1, 0.1)))


# --- Known truth --------------------------------------------------------------------------------


def drawn(rng, selection=0.0, units=400):
    """Effect d (1 + selection * own dose) + d^2 / 2 of dose d, and none of the others."""
    dose = np.where(rng.uniform(size=units) < 0.4, 0.0, rng.gamma(4, 0.25, units))
    effect = dose * (1 + selection * dose) + dose**2 / 2
    noise = (0.5 + dose) * rng.normal(size=units)
    change = 0.3 + effect + noise
    return panel_of(pd.concat([
        pd.DataFrame({"id": np.arange(units), "t": t, "dose": dose, "y": (t == 2) * change})
        for t in (1, 2)]))  # fmt: skip


def test_intervals_of_the_averages_cover_with_the_noise_of_the_doses():
    draws, truth = 400, np.array([1 + 0.625, 1 + 1.0])  # E d = 1, E d^2 = 1.25
    covered = np.zeros(2)
    for rng in np.random.default_rng(12).spawn(draws):
        found = curve(drawn(rng), at=[1.0], degree=2).select(dose="average")
        covered += np.abs(found.theta - truth) < 1.96 * error(found)
    assert (np.abs(covered / draws - 0.95) < 3 * np.sqrt(0.95 * 0.05 / draws)).all()


def test_units_that_gain_more_from_any_dose_bias_the_slope_and_not_the_level():
    draws = 200
    found = np.mean([
        curve(drawn(rng, selection=0.5), at=[1.0], degree=2).select(dose=1).theta
        for rng in np.random.default_rng(8).spawn(draws)], axis=0)  # fmt: skip
    level, response, bias = 1 + 0.5 + 0.5, 1 + 0.5 + 1.0, 0.5
    np.testing.assert_allclose(found, [level, response + bias], atol=0.05)


# --- Bad input ----------------------------------------------------------------------------------


def doses(change):
    frame = dose_frame()
    return panel_of(frame.assign(dose=change(frame)))


def weighed_by_row():
    frame = dose_frame().assign(w=np.arange(600) + 1.0)
    return panel_of(frame, weight="w")


BAD = {
    "no dose": (lambda: curve(panel_of(dose_frame(), dose=None)), IdentificationError,
                "the panel has no dose"),
    "negative": (lambda: curve(doses(lambda f: f["dose"] - 0.05)), IdentificationError,
                 r"unit 0 has the dose -0.05 \(100 units below zero\)"),
    "none untreated": (lambda: curve(doses(lambda f: f["dose"] + 0.1)), IdentificationError,
                       r"no untreated \(dose zero\) unit .* dose_response"),
    "none treated": (lambda: curve(doses(lambda f: 0.0)), IdentificationError,
                     "no treated .dose above zero. unit"),
    "few doses": (lambda: curve(doses(lambda f: f["dose"].round()), at=[1]), IdentificationError,
                  "2 distinct treated doses .* a curve of 4 coefficients; lower the degree"),
    "one dose": (lambda: curve(doses(lambda f: (f["dose"] > 0) * 2.0), degree=1),
                 IdentificationError, "every treated unit has the dose 2; a curve needs"),
    "a gap at a knot": (
        lambda: curve(doses(lambda f: f["dose"].where(f["dose"] < 0.6, 2.0)), at=[0.5],
                      knots=[0.8, 1.0, 1.2, 1.4, 1.6]),
        IdentificationError, "0, 0, 0, 0 and 1 more between the knots. do not determine"),
    "beyond the doses": (lambda: curve(at=[0.5, 9]), OptionError,
                         "at=9: the curve is known from dose 0.1"),
    "no points": (lambda: curve(at=[]), OptionError, "at=nothing"),
    "nan point": (lambda: curve(at=[np.nan]), OptionError, "at=nan"),
    "step": (lambda: curve(degree=0), OptionError, "degree=0 must be at least 1"),
    "negative knots": (lambda: curve(knots=-1), OptionError, "knots=-1"),
    "knot outside": (lambda: curve(knots=[0.5, 7.0]), OptionError, "knots at 0.5, 7 must differ"),
    "knot twice": (lambda: curve(knots=[0.5, 0.5]), OptionError, "must differ"),
    "no such period": (lambda: curve(start=7), IdentificationError, "7 is no period"),
    "nothing before": (lambda: curve(start=1), IdentificationError, "1 is the first period"),
    "weights by row": (lambda: curve(weighed_by_row()), OptionError, "weights change within"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_with_the_reason(name):
    run, kind, message = BAD[name]
    with pytest.raises(kind, match=message):
        run()


def test_units_seen_on_one_side_only_are_dropped_and_counted():
    frame = dose_frame()
    found = curve(panel_of(frame.drop(frame.index[:2])))
    assert "2 units dropped: not seen both before and after" in found.meta.notes
    np.testing.assert_allclose(
        found.theta, curve(panel_of(frame[frame["id"] > 1])).theta, atol=1e-12
    )


# --- The floor for small schools ----------------------------------------------------------------


def test_the_floor_pays_small_schools_as_if_they_were_larger():
    found = ek.floor_dose([50, 100, 150, 200, 300, 900], step=400, floor=300)
    np.testing.assert_allclose(found, [2400, 1200, 800, 600, 400, 400])


@pytest.mark.parametrize(
    ("enrolment", "options", "message"),
    [
        ([100, 0], {"step": 400, "floor": 300}, "row 2 holds 0"),
        ([np.nan], {"step": 400, "floor": 300}, "row 1 holds nan"),
        ([100], {"step": 400, "floor": 0}, "floor=0 must be finite, and floor positive"),
        ([100], {"step": np.inf, "floor": 300}, "step=inf"),
    ],
)
def test_a_floor_dose_refuses_what_is_no_enrolment(enrolment, options, message):
    with pytest.raises(OptionError, match=message):
        ek.floor_dose(enrolment, **options)
