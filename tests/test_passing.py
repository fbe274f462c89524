"""The probability of passing against a plain bootstrap and its own promises."""

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from counties import BOOKS, note_panel, panel, schools
from evalkit.core.errors import OptionError
from test_balance import coefficient


def passing(made, **changes):
    options = {"standard": "2017", "stage": "primary", "seed": 3, "draws": 400}
    return ek.pass_probability(made, **{**options, **changes})


def test_it_is_the_share_of_plain_bootstrap_samples_that_pass():
    """4,000 draws each: the Monte Carlo error of the difference is about .011."""
    made = note_panel()
    found = ek.pass_probability(made, standard=BOOKS, stage="primary", seed=1, draws=4000)
    rng = np.random.default_rng(99)
    x, w = made.column("books"), made.weight
    kept = 0
    for _ in range(4000):
        drawn = rng.integers(0, 5, 5)
        kept += coefficient(x[drawn], w[drawn]) <= 0.5
    assert found["probability"].iloc[0] == pytest.approx(kept / 4000, abs=0.035)
    assert found["mc_error"].iloc[0] == pytest.approx(0.0075, abs=0.001)


def test_all_together_pass_no_more_often_than_any_alone():
    found = passing(panel(schools()))
    for _, county in found.groupby(level=["county", "time"]):
        values = county["probability"].droplevel([0, 1])
        assert values["all"] <= values.drop("all").min()


def test_verdicts_are_those_of_the_coefficients():
    made = panel(schools())
    found = passing(made)
    held = ek.compliance(made, standard="2017", stage="primary")
    one = found.drop("all", level="indicator")
    assert (one["passes"].to_numpy() == held.indicators["passes"].to_numpy(bool)).all()
    everything = found.xs("all", level="indicator")["passes"]
    assert (everything.to_numpy() == held.counties["coefficients_pass"].to_numpy()).all()


def test_the_composite_alone_is_judged_in_2012():
    found = passing(panel(schools("2012"), "2012"), standard="2012")
    assert set(found.index.get_level_values("indicator")) == {"composite", "all"}


def test_neither_other_counties_nor_order_nor_labels_of_schools_move_a_draw():
    frame = schools()
    whole = passing(panel(frame))
    alone = passing(panel(frame[frame["county_code"] == "c2"]))
    assert whole.loc[["c2"]].equals(alone)
    shuffled = passing(panel(frame.sample(frac=1, random_state=1)))
    assert whole.equals(shuffled)
    renamed = passing(panel(frame.assign(school_id=lambda f: 999 - f["school_id"])))
    pd.testing.assert_frame_equal(whole, renamed, rtol=1e-12)  # sums in another order
    assert not whole.equals(passing(panel(frame), seed=4))


def test_the_tier_travels_and_nonsense_is_refused():
    assert passing(panel(schools())).attrs["provenance"] == "synthetic"
    with pytest.raises(OptionError, match="draws=1"):
        passing(panel(schools()), draws=1)
    with pytest.raises(OptionError, match="stage='senior'"):
        passing(panel(schools()), stage="senior")


def small(**changes):
    frame = {"school_id": range(5), "county_code": ["c"] * 5, "year": [2012] * 5,
             "pupils": [45, 37, 89, 76, 55], "books": [279, 137, 935, 160, 402]}  # fmt: skip
    frame = pd.DataFrame({**frame, **changes})
    return ek.standards.school_panel(frame, standard=BOOKS, provenance="documented", smallest=0)


def test_a_coefficient_that_is_undefined_neither_passes_nor_fails():
    made = small(books=[0] * 5)
    found = ek.pass_probability(made, standard=BOOKS, stage="primary", seed=1, draws=99)
    assert found["passes"].isna().all()
    assert found["probability"].isna().all()
    held = ek.compliance(made, standard=BOOKS, stage="primary")
    assert held.counties["passes"].isna().all()
    assert held.indicators["passes"].isna().all()


def test_a_county_of_one_school_has_no_probability():
    made = small(county_code=["c"] * 4 + ["d"])
    found = ek.pass_probability(made, standard=BOOKS, stage="primary", seed=1, draws=99)
    assert found.loc["d", "probability"].isna().all()
    assert found.loc["d", "passes"].all()
    assert found.loc["c", "probability"].notna().all()


def test_a_county_code_draws_alike_as_a_number_and_as_text():
    one, two = (
        ek.pass_probability(small(county_code=code), standard=BOOKS, stage="primary", seed=1)
        for code in ([1] * 5, ["1"] * 5)
    )
    assert one["probability"].tolist() == two["probability"].tolist()
