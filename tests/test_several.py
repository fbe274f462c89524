"""Several measures at once: one measure, dense twins, known truth, bundles, windows, refusals."""

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core.errors import IdentificationError, OptionError, PanelError

TWIN = 1e-10
UNITS, PERIODS = 60, 8
UNIT = np.arange(UNITS)
STARTS = pd.DataFrame(
    {
        "group": np.where(UNIT % 3 == 0, np.nan, 3.0 + UNIT % 4),
        "funding": np.where(UNIT % 5 < 2, np.nan, 2.0 + UNIT // 3 % 5),
    }
)


def frame(noise=1.0, both=0.0, seed=1):
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"u": np.repeat(UNIT, PERIODS), "t": np.tile(np.arange(PERIODS), UNITS)})
    on = {m: data["t"] >= STARTS[m].to_numpy()[data["u"]] for m in STARTS}
    effect = 2.0 * on["group"] + 3.0 * on["funding"] + both * (on["group"] & on["funding"])
    y = rng.normal(size=UNITS)[data["u"]] + 0.3 * data["t"] + effect
    return data.assign(y=y + noise * rng.normal(size=len(data)), w=rng.uniform(0.5, 2, len(data)))


def panel(data=None, **options):
    data = frame() if data is None else data
    return ek.Panel.from_frame(
        data, outcome="y", unit="u", time="t", provenance="synthetic", **options
    )


@pytest.mark.parametrize("weight", [None, "w"])
def test_one_measure_is_imputation(weight):
    data = frame().assign(g=lambda d: STARTS["group"].to_numpy()[d["u"]])
    one = ek.did.several_measures(panel(weight=weight), starts={"group": STARTS["group"]})
    plain = ek.did.imputation(panel(data, cohort="g", weight=weight), treated="sampled")
    other = ek.aggregate(plain, by="event")
    assert one.index.level("event") == other.index.level("event")
    np.testing.assert_allclose(one.theta, other.theta, rtol=0, atol=TWIN)
    np.testing.assert_allclose(one.psi, other.psi, rtol=0, atol=TWIN)


def test_a_regression_mixes_in_the_other_measure_and_imputation_does_not():
    """de Chaisemartin and D'Haultfoeuille (2023), theorem 1: in a two-way regression on two
    measures, the weights on effects of the other sum to zero and are not zero; so that effects of
    funding that grow enter the coefficient of groups."""
    p, data = panel(), frame()
    since = data["t"].to_numpy() - STARTS["funding"].to_numpy()[data["u"]]
    on = {m: data["t"].to_numpy() >= STARTS[m].to_numpy()[data["u"]] for m in STARTS}
    cells = (since[:, None] == np.arange(PERIODS)).astype(float)  # funding by event time
    both = ek.Panel.from_frame(
        data.assign(**{m: o.astype(float) for m, o in on.items()}),
        outcome="y", unit="u", time="t", covariates=list(on), provenance="synthetic",
    )  # fmt: skip
    mixed = ek.did.regression(both, on=list(on)).weights[:, 0] @ cells
    assert abs(mixed.sum()) < TWIN
    assert np.abs(mixed).max() > 0.01
    made = ek.did.several_measures(p, starts=STARTS)
    groups = [k for k, key in enumerate(made.index.keys) if key[0] == "group"]
    np.testing.assert_allclose(made.weights[:, groups].T @ cells, 0, rtol=0, atol=TWIN)


@pytest.mark.parametrize("by", ["measure", "event", "bundle"])
def test_effects_that_add_up_are_found_without_noise(by):
    found = ek.did.several_measures(panel(frame(noise=0)), starts=STARTS, by=by)
    parts = {"group": 2.0, "funding": 3.0}
    truth = [sum(parts[name] for name in key[0].split(" + ")) for key in found.index.keys]
    np.testing.assert_allclose(found.theta, truth, rtol=0, atol=TWIN)


def test_an_interaction_is_found_and_bundles_need_no_name_for_it():
    p = panel(frame(noise=0, both=-1.0))
    found = ek.did.several_measures(
        p, starts=STARTS, by="measure", interactions=[("group", "funding")]
    )
    np.testing.assert_allclose(found.theta, [2, 3, -1], rtol=0, atol=TWIN)
    bundles = ek.did.several_measures(p, starts=STARTS, by="bundle")
    named = dict(zip(bundles.index.level("bundle"), bundles.theta, strict=True))
    np.testing.assert_allclose(named["group + funding"], 4.0, rtol=0, atol=TWIN)


def dense(data, weight):
    """Both stages written out: explicit dummies, and contributions by stacked moments."""
    g = np.stack([STARTS[m].to_numpy()[data["u"]] for m in STARTS], axis=1)
    active = (data["t"].to_numpy()[:, None] >= g).astype(float)
    free = ~active.any(axis=1)
    unit, time, y = (data[name].to_numpy() for name in "uty")
    z = np.hstack([np.equal.outer(unit, UNIT), np.equal.outer(time, range(1, PERIODS))]) * 1.0
    w0 = weight * free
    bread = np.linalg.inv((z * w0[:, None]).T @ z)
    first = bread @ (z * w0[:, None]).T @ y
    effect, wd = y - z @ first, active * weight[:, None]
    beta = np.linalg.solve(wd.T @ active, wd.T @ effect)
    left = np.where(free, effect, effect - active @ beta)
    own = wd @ np.linalg.inv(wd.T @ active)
    v = np.where(free[:, None], -w0[:, None] * (z @ (bread @ (z.T @ own))), own)
    psi = np.stack([np.bincount(data["u"], v[:, k] * left) for k in range(v.shape[1])], axis=1)
    return beta, v, psi


@pytest.mark.parametrize("weight", [None, "w"])
def test_both_stages_written_out(weight):
    rng = np.random.default_rng(2)
    data = frame()
    data = data[rng.random(len(data)) > 0.1].reset_index(drop=True)
    free = (data["t"] < STARTS.min(axis=1).fillna(np.inf).to_numpy()[data["u"]]).groupby(data["u"])
    data = data[free.transform("any")].reset_index(drop=True)
    beta, v, psi = dense(data, data["w"].to_numpy() if weight else np.ones(len(data)))
    used = STARTS.loc[np.unique(data["u"])]
    found = ek.did.several_measures(panel(data, weight=weight), starts=used, by="measure")
    np.testing.assert_allclose(found.theta, beta, rtol=0, atol=TWIN)
    np.testing.assert_allclose(found.weights, v, rtol=0, atol=TWIN)
    np.testing.assert_allclose(found.psi, psi[np.unique(data["u"])], rtol=0, atol=TWIN)


def test_a_regression_on_several_measures_mixes_their_effects_and_this_does_not():
    data = frame(noise=0).assign(
        group=lambda d: (d["t"] >= STARTS["group"].to_numpy()[d["u"]]).astype(float),
        funding=lambda d: (d["t"] >= STARTS["funding"].to_numpy()[d["u"]]).astype(float),
    )
    since = data["t"] - STARTS["funding"].to_numpy()[data["u"]]
    data["y"] += np.where(data["funding"] > 0, since, 0)  # funding gains year by year
    p = panel(data, covariates=["group", "funding"])
    mixed = ek.did.regression(p, on=["group", "funding"]).theta[0]
    found = ek.did.several_measures(p, starts=STARTS)
    assert abs(mixed - 2.0) > 0.1
    np.testing.assert_allclose(found.select(measure="group").theta, 2.0, rtol=0, atol=TWIN)


def test_rows_inside_windows_are_left_out_and_counted():
    earliest = {"funding": STARTS["funding"] - 1}
    found = ek.did.several_measures(
        panel(frame(noise=0)), starts=STARTS, earliest=earliest, by="measure"
    )
    np.testing.assert_allclose(found.theta, [2, 3], rtol=0, atol=TWIN)
    inside = np.isfinite(STARTS["funding"]).sum()
    assert f"{inside} rows dropped: inside the adoption window of a measure" in found.meta.notes
    assert found.weights.shape[0] == UNITS * PERIODS


def test_windows_may_be_a_frame():
    earliest = {"funding": STARTS["funding"] - 1}
    found = ek.did.several_measures(
        panel(), starts=STARTS, earliest=pd.DataFrame(earliest), by="measure"
    )
    same = ek.did.several_measures(panel(), starts=STARTS, earliest=earliest, by="measure")
    np.testing.assert_array_equal(found.theta, same.theta)


def test_an_average_by_measure_is_over_observations():
    found = ek.did.several_measures(panel(), starts=STARTS)
    average = ek.aggregate(found, by="measure")
    data = frame()
    for name in STARTS:
        one = found.select(measure=name)
        event = data["t"] - data["u"].map(STARTS[name])
        many = event[event >= 0].value_counts()
        weights = np.array([many[e] for e in one.index.level("event")])
        expected = (weights * one.theta).sum() / weights.sum()
        np.testing.assert_allclose(average.select(measure=name).theta, expected, rtol=0, atol=TWIN)
        np.testing.assert_allclose(
            average.select(measure=name).psi, one.psi @ weights[:, None] / weights.sum(), atol=TWIN
        )


def test_the_notes_say_how_measures_overlap():
    notes = ek.did.several_measures(panel(), starts=STARTS, by="measure").meta.notes
    assert notes[-3].startswith("exposure: rank 2, condition number")
    assert notes[-2] == "group: 40 units, 140 observations, 70 of them under another measure"


def test_periods_may_be_text_and_dates_may_be_missing():
    data = frame(noise=0)
    text = data.assign(t=data["t"].map("year {}".format))
    starts = {
        m: {u: f"year {g:.0f}" for u, g in STARTS[m].items() if np.isfinite(g)} for m in STARTS
    }
    found = ek.did.several_measures(panel(text), starts=starts, by="measure")
    np.testing.assert_allclose(found.theta, [2, 3], rtol=0, atol=TWIN)


def several(starts, **options):
    return ek.did.several_measures(panel(), starts=starts, **options)


REFUSED = {
    "one calendar": (
        lambda: several({"a": STARTS["group"], "b": STARTS["group"]}, by="measure"),
        ["does not tell apart a, b", "40 of 40 units that adopt either adopt both at once",
         "by='bundle'"]),
    "one lag": (
        lambda: several({"a": STARTS["group"], "b": STARTS["group"] + 1}),
        ["does not tell apart a, b", "always 1 periods later for the other", "longest="]),
    "an unknown unit": (lambda: several({"a": {"zz": 3}}), ["no unit zz", "of the same type"]),
    "no measure": (lambda: several({}), ["names no measure"]),
    "nobody adopts": (lambda: several({"a": {}}), ["under any measure"]),
    "a measure that begins too late": (
        lambda: several({"a": STARTS["group"], "b": {0: 99}}), ["b: no observation under it"]),
    "a date that is no number": (
        lambda: several({"a": {1: "spring"}}), ["measure 'a', unit 1: 'spring' is no number"]),
    "a window that ends before it begins": (
        lambda: several({"a": {1: 3}}, earliest={"a": {1: 5}}), ["5 is after its start 3"]),
    "a window of no measure": (
        lambda: several({"a": {1: 3}}, earliest={"b": {1: 2}}), ["earliest names 'b'"]),
    "dates in a list": (lambda: several({"a": [3, 4]}), ["measure 'a', is list", "a mapping"]),
    "no dates at all": (lambda: several(None), ["starts is NoneType"]),
    "a unit twice": (
        lambda: several({"a": pd.Series([3, 4], index=[1, 1])}), ["measure 'a'", "stands twice"]),
    "a measure twice": (lambda: several({1: {1: 3}, "1": {1: 4}}), ["measure '1'", "twice"]),
    "no panel": (lambda: ek.did.several_measures({}, starts=STARTS), ["panel is dict"]),
    "an interaction with itself": (
        lambda: several(STARTS, interactions=[("group", "group")]), ["name two measures"]),
    "an unknown grouping": (lambda: several(STARTS, by="year"), ["by='year'", "'bundle'"]),
    "a negative horizon": (lambda: several(STARTS, longest=-1), ["longest=-1"]),
}  # fmt: skip


@pytest.mark.parametrize(("ask", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_answered_is_refused_with_its_remedy(ask, words):
    with pytest.raises((IdentificationError, OptionError, PanelError)) as refused:
        ask()
    for word in words:
        assert word in str(refused.value)


DATES = {
    "timestamps": lambda year: pd.Timestamp(year, 9, 1),
    "days": lambda year: pd.Timestamp(year, 9, 1).date(),
    "text": lambda year: f"{year}-09-01",
    "numpy's": lambda year: np.datetime64(f"{year}-09-01"),
}


@pytest.mark.parametrize("made", DATES.values(), ids=DATES.keys())
def test_periods_may_be_dates(made):
    data = frame(noise=0)
    data = data.assign(t=pd.to_datetime([f"{2000 + t}-09-01" for t in data["t"]]))
    starts = {
        m: {u: made(int(2000 + g)) for u, g in STARTS[m].items() if np.isfinite(g)} for m in STARTS
    }
    found = ek.did.several_measures(panel(data), starts=starts, by="measure")
    np.testing.assert_allclose(found.theta, [2, 3], rtol=0, atol=TWIN)


def test_the_missing_values_of_pandas_mean_never():
    given = pd.DataFrame(STARTS).replace(np.inf, np.nan).convert_dtypes()
    one, other = (ek.did.several_measures(panel(), starts=s) for s in (STARTS, given))
    np.testing.assert_array_equal(one.theta, other.theta)
