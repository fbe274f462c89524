"""Readings of the difference rate against their formulas, R's lme4 and the jackknife."""

import numpy as np
import pytest

import evalkit as ek
from evalkit.core.errors import IdentificationError, OptionError
from exam import exam, exam_frame, golden, star, star_frame

EXACT = 1e-10
TOWNS = {"between": "location", "high": "suburb", "low": "rural"}


def by_hand(frame, score, school):
    """Every reading from its formula, with analysis of variance as textbooks write it."""
    by = frame.groupby(school)[score]
    n, mean, inside = by.size(), by.mean(), by.apply(lambda s: ((s - s.mean()) ** 2).sum())
    total, schools = n.sum(), len(n)
    mu = (n * mean).sum() / total
    msb = (n * (mean - mu) ** 2).sum() / (schools - 1)
    msw = inside.sum() / (total - schools)
    n0 = (total - (n**2).sum() / total) / (schools - 1)
    tau = (msb - msw) / n0
    means = (n * (mean - mu) ** 2).sum() / total
    true = means - msw * (schools - 1) / total
    reach = np.quantile(mean, 0.9) - np.quantile(mean, 0.1)
    return {
        "cv_means": np.sqrt(means) / mu,
        "cv_means_corrected": np.sqrt(true) / mu,
        "icc": tau / (tau + msw),
        "icc_raw": means / (means + inside.sum() / total),
        "range_ratio": reach / mu,
        "range_ratio_corrected": reach / mu * np.sqrt(true / means),
    }


def test_every_reading_is_its_formula():
    frame = star_frame()
    found = ek.gaps.difference_rate(star(), school="school", **TOWNS)
    expected = by_hand(frame, "math", "school")
    means = frame.groupby("location")["math"].mean()
    expected["gap_ratio"] = (means["suburb"] - means["rural"]) / means["suburb"]
    for (_, reading), value in zip(found.index.keys, found.theta, strict=True):
        assert value == pytest.approx(expected[reading], rel=EXACT), reading


def test_on_star_the_readings_disagree_about_the_limit():
    """The brief: coefficient .045, share of variance .199; the limit is .15."""
    frame = ek.sources.star_pupils()
    frame = frame[(frame["grade"] == 0) & frame["math"].notna()]
    panel = ek.Panel.from_frame(
        frame, outcome="math", unit="pupil", time="grade", categories=["school"], provenance="real"
    )
    found = ek.gaps.difference_rate(panel, school="school", readings=["cv_means", "icc"])
    np.testing.assert_allclose(found.theta, [0.045, 0.199], atol=5e-4)


def test_between_balanced_schools_the_share_is_that_of_lme4():
    """REML of lme4, to where its search stops."""
    frame = exam_frame()
    first = frame.groupby("school").cumcount()
    size = frame.groupby("school")["pupil"].transform("size")
    panel = exam(frame=frame[(size >= 40) & (first < 40)])
    found = ek.gaps.difference_rate(panel, school="school", readings=["icc"])
    assert len(found.units) == golden()["balanced_schools"]
    assert found.theta[0] == pytest.approx(golden()["balanced_icc"], abs=1e-6)


def test_contributions_are_those_of_leaving_schools_out():
    """Smooth readings to a few per cent; percentiles jump, and only their size is compared."""
    panel = star()
    found = ek.gaps.difference_rate(panel, school="school", **TOWNS)
    codes = panel.category("school").codes[panel.unit]
    changes = np.array([
        found.theta
        - ek.gaps.difference_rate(panel.where(codes != j), school="school", **TOWNS).theta
        for j in range(len(found.units))
    ])  # fmt: skip
    smooth = ["range" not in reading for _, reading in found.index.keys]
    distance = np.linalg.norm(changes - found.psi, axis=0) / np.linalg.norm(changes, axis=0)
    assert (distance[smooth] < 0.06).all()
    size = np.linalg.norm(changes, axis=0) / np.linalg.norm(found.psi, axis=0)
    assert ((size > 0.5) & (size < 2)).all()


def test_the_corrected_figures_do_not_grow_as_schools_shrink():
    """Four pupils of forty: the plug-in coefficient rises by noise, the corrected one does not."""
    rng = np.random.default_rng(10)
    n, schools = 40, 400
    school = np.repeat(np.arange(schools), n)
    mark = 70 + rng.normal(0, 4, schools)[school] + rng.normal(0, 10, schools * n)
    frame = {"i": np.arange(len(mark)), "t": 0 * school, "school": school, "mark": mark}
    panel = ek.Panel.from_frame(
        frame, outcome="mark", unit="i", time="t", categories=["school"], provenance="synthetic"
    )
    few = panel.where(np.arange(len(mark)) % n < 4)
    names = ["cv_means", "cv_means_corrected", "range_ratio", "range_ratio_corrected"]
    large, small = (
        dict(
            zip(
                names,
                ek.gaps.difference_rate(p, school="school", readings=names).theta,
                strict=True,
            )
        )
        for p in (panel, few)
    )
    assert small["cv_means"] > 1.4 * large["cv_means"]
    assert small["range_ratio"] > 1.4 * large["range_ratio"]
    for name in names[1::2]:
        assert small[name] == pytest.approx(large[name], rel=0.1)
    assert large["cv_means_corrected"] == pytest.approx(4 / 70, rel=0.1)


def test_schools_that_differ_by_noise_alone_have_an_empty_corrected_figure():
    frame = {"i": range(8), "t": [0] * 8, "school": [1, 1, 2, 2, 3, 3, 4, 4],
             "y": [60.0, 80.0, 61.0, 81.0, 59.0, 79.0, 60.0, 80.0]}  # fmt: skip
    panel = ek.Panel.from_frame(
        frame, outcome="y", unit="i", time="t", categories=["school"], provenance="synthetic"
    )
    found = ek.gaps.difference_rate(panel, school="school")
    values = dict(zip([k[1] for k in found.index.keys], found.theta, strict=True))
    assert values["icc"] < 0  # negative values are kept
    assert np.isnan(values["cv_means_corrected"])
    assert np.isnan(values["range_ratio_corrected"])
    assert "2 corrected figures are empty" in found.meta.notes[-1]


def test_means_of_schools_do_for_what_needs_no_pupils():
    frame = star_frame().groupby(["school", "grade"], as_index=False)["math"].agg(["mean", "size"])
    panel = ek.Panel.from_frame(
        frame, outcome="mean", unit="school", time="grade", weight="size", provenance="real"
    )
    readings = ["cv_means", "range_ratio"]
    one = ek.gaps.difference_rate(panel, school="unit", readings=readings)
    two = ek.gaps.difference_rate(star(), school="school", readings=readings)
    np.testing.assert_allclose(one.theta, two.theta, rtol=EXACT)
    np.testing.assert_allclose(one.psi, two.psi, atol=1e-13)
    with pytest.raises(IdentificationError, match="every school is a single row"):
        ek.gaps.difference_rate(panel, school="unit", readings=["icc"])


def test_what_has_no_meaning_is_refused_and_the_share_is_offered():
    with pytest.raises(IdentificationError, match=r"readings=\['icc'\]"):
        ek.gaps.difference_rate(exam(), school="school")
    assert ek.gaps.difference_rate(exam(), school="school", readings=["icc"]).theta[0] > 0
    one = star().where(star().category("school").codes == 3)
    with pytest.raises(IdentificationError, match="a single school"):
        ek.gaps.difference_rate(one, school="school", readings=["cv_means"])
    for wrong, why in (
        ({"readings": ["spread"]}, "readings='spread'"),
        ({"readings": "icc"}, "a list"),
        ({"readings": ["gap_ratio"]}, "between="),
        ({"readings": []}, "a list"),
    ):
        with pytest.raises(OptionError, match=why):
            ek.gaps.difference_rate(star(), school="school", **wrong)
    with pytest.raises(IdentificationError, match="no unit has location = 'moon'"):
        ek.gaps.difference_rate(
            star(), school="school", between="location", high="moon", low="rural"
        )
