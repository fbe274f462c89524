"""Several estimators on one panel: their differences, what each used, and the picture of both."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

mpl.use("Agg")

import evalkit as ek
from evalkit.core.errors import CombinationError, IdentificationError, OptionError
from panels import RECIPES

PANEL = RECIPES["staggered"].panel()


def overall(estimator, **options):
    return lambda panel: ek.aggregate(estimator(panel, **options))


def by_event(estimator, **options):
    return lambda panel: ek.aggregate(estimator(panel, **options), by="event").select(
        event=lambda e: e >= 0
    )


THREE = {
    "group-time": by_event(ek.did.callaway_santanna),
    "imputation": by_event(ek.did.imputation),
    "synthetic": by_event(ek.did.synthetic_did, by="period"),
}


def test_differences_have_the_error_of_the_joint_contributions():
    found = ek.compare(PANEL, THREE, vcov="CR0")
    made = {name: run(PANEL) for name, run in THREE.items()}
    assert found.together.keys == tuple((name, *key) for name in made for key in _keys(made))
    at = 0
    for one, other in (("group-time", "imputation"), ("group-time", "synthetic"),
                       ("imputation", "synthetic")):  # fmt: skip
        for key in _keys(made):
            a, b = (made[name].select(event=key[0]) for name in (one, other))
            score = (a.psi - b.psi)[:, 0]
            sums = [score[a.cluster == c].sum() for c in np.unique(a.cluster)]
            assert found.differences.keys[at] == (one, other, *key)
            assert abs(found.differences.estimate[at] - (a.theta - b.theta)[0]) < 1e-12
            assert abs(found.differences.std_error[at] - np.sqrt(np.square(sums).sum())) < 1e-12
            at += 1
    assert at == len(found.differences.keys)


def _keys(made):
    first, *others = made.values()
    return [key for key in first.index.keys if all(key in o.index.keys for o in others)]


def test_estimators_that_are_one_differ_by_exactly_zero():
    both = {"paths": ek.did.callaway_santanna,
            "records": lambda p: ek.did.callaway_santanna(p, unbalanced="records")}  # fmt: skip
    found = ek.compare(PANEL, both)
    assert not found.differences.estimate.any()
    assert not found.differences.std_error.any()


def test_a_sequence_takes_names_from_the_methods():
    found = ek.compare(PANEL, [ek.did.imputation, ek.did.extended_two_way])
    assert list(found.samples["estimator"]) == ["imputation", "extended two-way fixed effects"]
    with pytest.raises(OptionError, match="called by one name, among imputation; give a mapping"):
        ek.compare(PANEL, [ek.did.imputation, ek.did.imputation])


def test_the_samples_say_what_each_used_and_dropped_and_why():
    frame = RECIPES["staggered"].frame()
    gaps = frame[~((frame["town"] == 0) & (frame["year"] == 2005))]
    early = gaps.assign(start=gaps["start"].where(gaps["town"] != 4, 2000))
    panel = RECIPES["staggered"].panel(early)
    found = ek.compare(
        panel,
        {
            "pairwise": overall(ek.did.callaway_santanna),
            "complete": overall(ek.did.callaway_santanna, unbalanced="balanced"),
            "not linear": overall(ek.did.callaway_santanna, covariates=["base"]),
        },
        few="show",
    ).samples.set_index("estimator")
    assert len(panel.y) == 239
    # Town 4 is always treated: no comparison uses it. Town 0 has a gap.
    assert found["units"].to_dict() == {"pairwise": 39, "complete": 38, "not linear": 39}
    assert (found["units"] + found["units_dropped"] == 40).all()
    # Every cell after adoption uses the last year before it: 2000 and, for cohort 2004, 2002 go.
    rows = ek.aggregate(ek.did.callaway_santanna(panel)).weights
    assert found.loc["pairwise", "rows"] == (rows != 0).any(axis=1).sum()
    assert found.loc["complete", "rows"] == found.loc["pairwise", "rows"] - 4
    assert (found["rows"] + found["rows_dropped"] == 239).tolist()[:2] == [True, True]
    assert pd.isna(found.loc["not linear", "rows"])
    assert "1 units dropped: not seen in every period" in found.loc["complete", "notes"]
    assert "cohort 2000 left out: no period before its treatment" in found.loc["pairwise", "notes"]


def test_an_estimator_without_an_answer_is_named():
    def never(panel):
        raise IdentificationError("no answer")

    with pytest.raises(IdentificationError, match="estimator mute: no answer"):
        ek.compare(PANEL, {"imputation": ek.did.imputation, "mute": never})
    with pytest.raises(IdentificationError, match="estimator number 2: no answer"):
        ek.compare(PANEL, [ek.did.imputation, never])


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(OptionError, match="at least two"):
        ek.compare(PANEL, {"imputation": ek.did.imputation})
    with pytest.raises(CombinationError, match=r"index levels differ.*Aggregate"):
        ek.compare(PANEL, {"a": ek.did.imputation, "b": ek.did.two_way})
    with pytest.raises(CombinationError, match="no coordinate is common"):
        ek.compare(
            PANEL,
            {
                "early": lambda p: ek.did.imputation(p).select(cohort=2002),
                "late": lambda p: ek.did.imputation(p).select(cohort=2004),
            },
        )


# --- The picture ------------------------------------------------------------------------------


def test_several_coordinates_are_drawn_over_their_level_with_differences_from_the_first():
    found = ek.compare(PANEL, THREE)
    drawing = ek.figures.comparison(found, title="They agree", label="points")
    assert drawing.provenance == "synthetic"
    data = drawing.data
    assert list(dict.fromkeys(data["part"])) == ["estimate", "difference"]
    np.testing.assert_array_equal(
        data.loc[data["part"] == "estimate", "estimate"], found.together.estimate
    )
    below = data[data["part"] == "difference"]
    assert set(below["first"]) == {"group-time"}
    assert list(dict.fromkeys(below["series"])) == ["imputation", "synthetic"]
    above, under = drawing.figure.axes
    assert above.get_ylabel() == "points"
    assert under.get_ylabel() == "group-time\nminus the other"
    assert under.get_xlabel() == "event"
    assert len(above.collections) == 3
    assert len(under.collections) == 2


def test_one_coordinate_is_drawn_as_rows_with_all_pairs():
    runs = {
        "group-time": overall(ek.did.callaway_santanna),
        "imputation": overall(ek.did.imputation),
        "synthetic": overall(ek.did.synthetic_did),
    }
    drawing = ek.figures.comparison(ek.compare(PANEL, runs), title="One number", label="points")
    above, below = drawing.figure.axes
    assert [t.get_text() for t in above.get_yticklabels()] == list(runs)
    assert [t.get_text() for t in below.get_yticklabels()] == [
        "group-time minus imputation",
        "group-time minus synthetic",
        "imputation minus synthetic",
    ]
    assert below.get_xlabel() == "difference in points"
    assert len(drawing.data) == 6


def test_estimates_that_differ_do_not_become_equal_where_contributions_vanish():
    frame = pd.DataFrame(
        {"unit": [0] * 4 + [1] * 4, "time": [1, 2, 3, 4] * 2,
         "y": [1.0, 4, 2, 9, 1, 1, 3, 2], "g": [3.0] * 4 + [np.nan] * 4}
    )  # fmt: skip
    panel = ek.Panel.from_frame(
        frame, outcome="y", unit="unit", time="time", cohort="g", provenance="synthetic"
    )
    pair = {"a": ek.did.callaway_santanna, "b": ek.did.extended_two_way}
    found = ek.compare(panel, pair, few="show")
    one, two = (ek.aggregate(run(panel), by=("cohort", "time")).theta for run in pair.values())
    np.testing.assert_allclose(found.differences.estimate, one - two, atol=1e-12)
    assert np.abs(found.differences.estimate).max() > 0.1
