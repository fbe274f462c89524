"""The split of a gap against the regression with school effects, and the reference of the brief."""

import numpy as np
import pytest

import evalkit as ek
from evalkit.core.errors import IdentificationError, OptionError
from exam import GIRLS, LUNCH, exam, exam_frame, star

EXACT = 1e-9


def test_the_part_within_is_a_regression_with_school_effects_errors_included():
    frame = exam_frame().assign(girl=lambda f: (f["sex"] == "F") * 1.0)
    frame["w"] = np.random.default_rng(9).uniform(0.5, 2, len(frame))
    panel = exam(frame=frame, covariates=["girl"], weight="w")
    split = ek.gaps.gap_split(panel, within="school", **GIRLS).select(component="within")
    fit = ek.did.regression(panel, on=["girl"], absorb=("school",))
    np.testing.assert_allclose(split.theta, fit.theta, rtol=EXACT)
    np.testing.assert_allclose(split.psi, fit.psi, atol=1e-13)


def test_the_references_of_the_brief_are_found_again():
    """STAR: 23.27 points, of which 21.96 within schools."""
    found = ek.gaps.gap_split(star(), within="school", **LUNCH)
    np.testing.assert_allclose(found.theta[:2], [23.27, 21.96], atol=0.005)
    assert "99% of pupils are in schools with both groups" in found.meta.notes


def test_parts_add_up_and_the_total_is_the_gap():
    panel = exam()
    split = ek.gaps.gap_split(panel, within="school", **GIRLS)
    whole = ek.gaps.gap(panel, **GIRLS)
    rows = split.contrast([[1, 0, 0], [0, 1, 1]], ["total", "sum"])
    np.testing.assert_allclose(rows.theta, [whole.theta[0]] * 2, rtol=EXACT)
    np.testing.assert_allclose(rows.psi, np.repeat(whole.psi, 2, axis=1), atol=1e-15)


def test_the_error_is_that_of_leaving_schools_out():
    """To the leverage of a school: a few per cent."""
    panel = exam()
    made = ek.gaps.gap_split(panel, within="school", unit="school", **GIRLS)
    codes = panel.category("school").codes[panel.unit]
    changes = [
        made.theta - ek.gaps.gap_split(panel.where(codes != j), within="school", **GIRLS).theta
        for j in range(65)
    ]
    distance = np.linalg.norm(changes - made.psi, axis=0) / np.linalg.norm(changes, axis=0)
    assert (distance < 0.1).all()


def test_equal_mixing_leaves_nothing_between_schools():
    frame = {
        "i": range(8), "t": [0] * 8, "school": [1] * 4 + [2] * 4, "g": ["a", "b"] * 4,
        "y": [1.0, 3.0, 2.0, 4.0, 11.0, 13.0, 12.0, 14.0],
    }  # fmt: skip
    panel = ek.Panel.from_frame(
        frame, outcome="y", unit="i", time="t", categories=["g", "school"], provenance="synthetic"
    )
    found = ek.gaps.gap_split(panel, between="g", high="b", low="a", within="school")
    np.testing.assert_allclose(found.theta, [2, 2, 0], atol=EXACT)


def test_groups_that_never_share_a_school_are_refused():
    frame = exam_frame()
    single = exam(frame=frame[frame["school_sex"] != "mixed"])
    with pytest.raises(IdentificationError, match="no school has pupils of both groups"):
        ek.gaps.gap_split(single, within="school", **GIRLS)
    with pytest.raises(OptionError, match="within names no column"):
        ek.gaps.gap_split(exam(), within=[], **GIRLS)
