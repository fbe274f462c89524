"""Records and sums give every metric the same answer, contributions included."""

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core.errors import IdentificationError, OptionError, PanelError, SummaryError

ROUNDING = 1e-11
SIDES = {"between": "group", "high": "urban", "low": "rural"}
CUTS = [45.0, 50.0, 55.0]


def pupils(seed=0, n=1200, weight=False):
    """Pupils of schools in two counties that use the same school ids."""
    rng = np.random.default_rng(seed)
    county, school = rng.integers(0, 2, n), rng.integers(0, 12, n)
    group = np.where(rng.uniform(size=n) < 0.4, "rural", "urban")
    mark = 50 + 4 * (group == "urban") + 3 * county + school % 5 + 8 * rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "pupil": np.arange(n),
            "county": np.array(["north", "south"])[county],
            "school": school,
            "site": [f"{'ns'[c]} / {s}" for c, s in zip(county, school, strict=True)],
            "time": rng.integers(2020, 2022, n),
            "group": group,
            "mark": np.round(np.clip(mark, 1, 99) * 2) / 2,
            "w": rng.integers(1, 4, n).astype(float) if weight else 1.0,
        }
    )
    frame["band"] = np.searchsorted(CUTS, frame["mark"], side="right")
    return frame


def panel(frame, outcome="mark", weight=None):
    return ek.Panel.from_frame(
        frame, outcome=outcome, unit="pupil", time="time", weight=weight, cluster="site",
        categories=["county", "school", "site", "group"], provenance="synthetic",
    )  # fmt: skip


def sums(frame, weight=None):
    return ek.summaries(
        frame, keys=["county", "school", "site", "time", "group"], score="mark", weight=weight,
        bands=CUTS, grid=0.5, provenance="synthetic",
    )  # fmt: skip


METRICS = {
    "gap": lambda d, **o: ek.gaps.gap(d, **SIDES, **o),
    "ratio": lambda d, **o: ek.gaps.gap(d, metric="log_ratio", **SIDES, **o),
    "variance ratio": lambda d, **o: ek.gaps.gap(d, metric="variance_ratio", **SIDES, **o),
    "standardised": lambda d, **o: ek.gaps.standardised_gap(d, **SIDES, **o),
    "standardised by all": lambda d, **o: ek.gaps.standardised_gap(d, scale="total", **SIDES, **o),
    "quantiles": lambda d, **o: ek.gaps.quantile_gap(d, **SIDES, **o),
    "ordinal": lambda d, **o: ek.gaps.ordinal_gap(d, **SIDES, **o),
    "split": lambda d, **o: ek.gaps.gap_split(d, within="site", **SIDES, **o),
    "sd": lambda d, **o: ek.gaps.spread(d, **o),
    "cv": lambda d, **o: ek.gaps.spread(d, metric="cv", **o),
    "Theil": lambda d, **o: ek.gaps.inequality(d, metric="theil_t", within="group", **o),
    "Gini": lambda d, **o: ek.gaps.inequality(d, metric="gini", **o),
}


# Sums do not know how weights vary within a score, which scales quantiles to whole pupils.
CASES = [(name, weight) for name in METRICS for weight in (None, "w")]
CASES.remove(("quantiles", "w"))


@pytest.mark.parametrize(("name", "weight"), CASES)
def test_sums_of_schools_give_what_their_pupils_give(name, weight):
    frame = pupils(weight=weight is not None)
    options = {"by": ["county", "time"], "unit": "site"}
    one = METRICS[name](panel(frame, weight=weight), **options)
    two = METRICS[name](sums(frame, weight), **options)
    assert one.index == two.index
    assert one.units.tolist() == two.units.tolist()
    np.testing.assert_allclose(one.theta, two.theta, rtol=ROUNDING)
    np.testing.assert_allclose(one.psi, two.psi, atol=ROUNDING)


def test_bands_counted_in_sums_are_the_bands_of_pupils():
    frame = pupils()
    options = {"by": ["county", "time"], "unit": "site"}
    one = ek.gaps.band_gap(panel(frame, "band"), **SIDES, **options)
    two = ek.gaps.band_gap(sums(frame), **SIDES, **options)
    np.testing.assert_allclose(one.theta, two.theta, rtol=ROUNDING)
    np.testing.assert_allclose(one.psi, two.psi, atol=ROUNDING)


def test_difference_rates_from_sums_are_those_of_pupils():
    frame = pupils()
    one = ek.gaps.difference_rate(panel(frame), school="site", by="county", **SIDES)
    two = ek.gaps.difference_rate(sums(frame), school="site", by="county", **SIDES)
    np.testing.assert_allclose(one.theta, two.theta, rtol=ROUNDING)
    np.testing.assert_allclose(one.psi, two.psi, atol=ROUNDING)


def test_school_ids_that_repeat_across_counties_are_told_apart_by_their_county():
    frame = pupils()
    nested = ek.gaps.gap(sums(frame), by=[], unit=["county", "school"], **SIDES)
    unique = ek.gaps.gap(sums(frame), by=[], unit="site", **SIDES)
    mixed = ek.gaps.gap(sums(frame), by=[], unit="school", **SIDES)
    np.testing.assert_allclose(nested.vcov(), unique.vcov(), rtol=ROUNDING)
    assert len(nested.units) == len(unique.units) == 2 * len(mixed.units)
    assert nested.units[0] == "north / 0"


def test_by_default_coordinates_are_the_keys_without_another_use():
    frame = pupils()
    made = ek.gaps.gap(sums(frame), unit=["county", "school", "site"], **SIDES)
    assert made.index.levels == ("time",)
    assert ek.gaps.gap(panel(frame), **SIDES).index.levels == ("time",)


@pytest.mark.parametrize("name", ["ordinal", "quantiles", "Gini"])
def test_pupils_of_counts_are_independent_unless_a_unit_is_named(name):
    """The error of counts is that of the same pupils as units of their own."""
    frame = pupils()
    alone = ek.Panel.from_frame(
        frame, outcome="mark", unit="pupil", time="time", categories=["county", "group"],
        provenance="synthetic",
    )  # fmt: skip
    one = METRICS[name](alone, by="county")
    two = METRICS[name](sums(frame).by("county", "group"), by="county")
    np.testing.assert_allclose(one.theta, two.theta, rtol=ROUNDING)
    np.testing.assert_allclose(one.vcov(), two.vcov(), atol=ROUNDING)


def test_many_counties_are_held_sparsely_with_the_same_numbers(monkeypatch):
    frame = pupils(n=3000).assign(county=lambda f: f["pupil"] % 40)
    frame["site"] = frame["county"] * 100 + frame["school"]
    made = {}
    for dense in (0, 1 << 30):
        monkeypatch.setattr("evalkit.core.sparse.DENSE", dense)
        d = ek.gaps.standardised_gap(panel(frame), by="county", unit="site", **SIDES)
        h = ek.gaps.hetop(panel(frame, "band"), group="county", by=[], unit="site")
        made[dense] = d, h.estimate, h.icc
    for thin, thick in zip(made[0], made[1 << 30], strict=True):
        assert type(thin.scores).__name__ == "Sparse"
        assert type(thick.scores).__name__ == "Scores"
        np.testing.assert_allclose(thin.psi, thick.psi, atol=ROUNDING)
        np.testing.assert_allclose(ek.infer(thin).vcov, ek.infer(thick).vcov, atol=ROUNDING)


def test_a_gap_of_counties_and_its_change_are_algebra():
    """County less county, and year less year, have the errors of the schools behind them."""
    made = ek.gaps.gap(panel(pupils()), by=["county", "time"], unit="site", **SIDES)
    north, south = made.select(county="north"), made.select(county="south")
    between = north.contrast([[-1, 1]], ["change"]) - south.contrast([[-1, 1]], ["change"])
    direct = made.contrast([[-1, 1, 1, -1]], ["change"])
    np.testing.assert_allclose(between.theta, direct.theta, rtol=ROUNDING)
    np.testing.assert_allclose(between.vcov(), direct.vcov(), rtol=ROUNDING)
    apart = [north.contrast([[-1, 1]], ["change"]), south.contrast([[-1, 1]], ["change"])]
    expected = sum(part.vcov()[0, 0] for part in apart)
    np.testing.assert_allclose(between.vcov()[0, 0], expected, rtol=ROUNDING)


def test_what_is_missing_is_said_with_the_remedy():
    frame = pupils()
    plain = ek.summaries(frame, keys=["county", "group"], score="mark", provenance="synthetic")
    with pytest.raises(OptionError, match="unit='school'"):
        ek.gaps.gap(plain, **SIDES)
    with pytest.raises(SummaryError, match="grid="):
        ek.gaps.ordinal_gap(plain, unit="county", **SIDES)
    with pytest.raises(SummaryError, match="bands="):
        ek.gaps.band_gap(plain, **SIDES)
    with pytest.raises(PanelError, match="no category 'sex'"):
        ek.gaps.gap(panel(frame), between="sex", high=1, low=0)
    with pytest.raises(OptionError, match="unit names class"):
        ek.gaps.gap(panel(frame), unit="class", **SIDES)
    with pytest.raises(OptionError, match="by names group"):
        ek.gaps.gap(panel(frame), by="group", **SIDES)
    with pytest.raises(OptionError, match="data is a DataFrame"):
        ek.gaps.gap(frame, **SIDES)


def test_a_coordinate_without_answer_is_refused_or_left_empty_and_counted():
    frame = pupils()
    gone = frame[(frame["county"] == "north") | (frame["group"] == "urban")]
    with pytest.raises(IdentificationError, match="south") as refused:
        ek.gaps.gap(panel(gone), by="county", **SIDES)
    assert "undefined='nan'" in str(refused.value)
    made = ek.gaps.gap(panel(gone), by="county", undefined="nan", **SIDES)
    assert np.isnan(made.theta).tolist() == [False, True]
    assert "1 coordinates are empty (south)" in made.meta.notes[-1]
    found = ek.infer(made)
    assert np.isnan(found.std_error[1])
    assert np.isfinite(found.std_error[0])


SMOOTH = [name for name in METRICS if name != "quantiles"]


@pytest.mark.parametrize("name", SMOOTH)
def test_contributions_of_weighted_pupils_are_what_leaving_schools_out_does(name):
    """24 schools: a school's leverage is a few per cent; the last part of a split is small."""
    made = panel(pupils(weight=True, n=2400), weight="w")
    found = METRICS[name](made, by=[], unit="site")
    codes = made.category("site").codes[made.unit]
    changes = np.array([
        found.theta - METRICS[name](made.where(codes != j), by=[], unit="site").theta
        for j in range(len(found.units))
    ])  # fmt: skip
    distance = np.linalg.norm(changes - found.psi, axis=0) / np.linalg.norm(changes, axis=0)
    assert (distance[:2] < 0.12).all()


def test_a_group_in_one_cluster_has_no_error_that_can_be_seen():
    """Contributions of a whole group cancel in its cluster: the error would seem to be zero."""
    frame = pupils().assign(region=lambda f: np.where(f["site"] == "n / 0", "one", "rest"))
    made = ek.Panel.from_frame(
        frame, outcome="mark", unit="pupil", time="time", cluster="site",
        categories=["region", "county"], provenance="synthetic",
    )  # fmt: skip
    sides = {"between": "region", "high": "one", "low": "rest", "by": []}
    for metric in (ek.gaps.gap, ek.gaps.standardised_gap, ek.gaps.ordinal_gap):
        found = metric(made, **sides)
        assert np.isfinite(found.theta).all()
        assert np.isnan(ek.infer(found).std_error).all()
        assert "all in one cluster" in found.meta.notes[-1]


@pytest.mark.parametrize("shift", [0.0, 1e6, 1e7])
@pytest.mark.parametrize("metric", ["quantile", "gini"])
def test_scores_far_from_zero_stay_apart_in_a_histogram(shift, metric):
    frame = pupils(n=300).assign(mark=lambda d: d["mark"] + shift)
    made = ek.summaries(frame, keys=["group"], score="mark", grid=0.5, provenance="synthetic")
    whole = panel(frame).where(np.ones(len(frame), bool))
    if metric == "gini":
        one, two = (ek.gaps.inequality(x, metric="gini", by=()) for x in (made, whole))
    else:
        one = ek.gaps.quantile_gap(made, **SIDES, at=[0.5], by=())
        two = ek.gaps.quantile_gap(whole, **SIDES, at=[0.5], by=(), unit="unit")
    assert one.theta == pytest.approx(two.theta, abs=1e-9)
    assert len(one.units) == len(frame.groupby(["group", "mark"]))
    still = ek.summaries(
        frame.assign(mark=frame["mark"] - shift), keys=["group"], score="mark", grid=0.5,
        provenance="synthetic",
    )  # fmt: skip
    if metric == "quantile":
        same = ek.gaps.quantile_gap(still, **SIDES, at=[0.5], by=())
        np.testing.assert_allclose(one.vcov(), same.vcov(), rtol=1e-6)


def test_bands_withheld_by_a_release_are_named_where_they_are_needed():
    released = sums(pupils(n=400)).by("county", "group").release(floor=40)
    assert np.isnan(released.bands).any()
    with pytest.raises(SummaryError, match=r"bands of \d+ of 4 cells were withheld"):
        ek.gaps.band_gap(released, **SIDES)
