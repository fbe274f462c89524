"""Few treated clusters: what is withheld, what is said, and that it matters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import evalkit as ek
from evalkit.core.errors import DoubtWarning, OptionError
from panels import RECIPES


def panel(treated, towns=30, **changes):
    """A panel of which the first towns adopt in 2003."""
    cohorts = (2003.0,) * treated + (np.nan,) * (towns - treated)
    return replace(RECIPES["balanced"], cohorts=cohorts, **changes).panel(towns=towns)


@pytest.mark.parametrize("run", [ek.did.two_way, ek.did.callaway_santanna, ek.did.imputation])
@pytest.mark.parametrize("treated", [1, 3, 9, 21, 29])
def test_fewer_than_ten_on_a_side_withhold_p_and_interval(run, treated):
    with pytest.warns(DoubtWarning, match=f"{treated} treated clusters, against {30 - treated} un"):
        result = ek.infer(run(panel(treated)), band=treated in (9, 21))
    for name in ("p_value", "conf_low", "conf_high"):
        assert np.isnan(getattr(result, name)).all()
    assert result.withheld.all()
    assert np.isfinite(result.std_error).all()
    if result.band_low is not None:
        assert np.isnan(result.band_low).all()


@pytest.mark.parametrize("treated", [10, 15, 20])
def test_ten_on_each_side_withhold_nothing(treated):
    result = ek.infer(ek.did.two_way(panel(treated)))
    assert np.isfinite(result.p_value).all()
    assert result.withheld is None
    assert result.caution == ""
    assert "treated_clusters" not in result.table


def test_the_words_name_what_to_do_and_stand_in_the_result():
    with pytest.warns(DoubtWarning) as caught:
        result = ek.infer(ek.did.two_way(panel(3)))
    assert len(caught) == 1
    assert caught[0].filename == __file__
    said = str(caught[0].message)
    for words in ("3 treated clusters, against 27", "ek.few_treated", "CR3", "few='show'"):
        assert words in said
    assert said in repr(result)
    assert said in result._repr_html_().replace("&#x27;", "'")
    assert result.table[["treated_clusters", "control_clusters"]].to_numpy().tolist() == [[3, 27]]


def test_who_asks_to_see_them_sees_the_same_numbers_with_the_same_words_and_no_warning():
    f = ek.did.two_way(panel(3))
    shown = ek.infer(f, few="show")
    plain = ek.infer(replace(f, sides=None))
    assert shown.p_value.tobytes() == plain.p_value.tobytes()
    assert shown.conf_low.tobytes() == plain.conf_low.tobytes()
    assert "ek.few_treated" in repr(shown)


def test_only_the_coordinates_concerned_are_withheld():
    cohorts = (2002.0,) * 3 + (2004.0,) * 15 + (np.nan,) * 20
    cells = ek.did.callaway_santanna(replace(RECIPES["balanced"], cohorts=cohorts).panel(towns=38))
    with pytest.warns(DoubtWarning, match=r"^2002 2001, 2002 2002.*3 treated clusters"):
        result = ek.infer(cells)
    early = np.array([g == 2002 for g, _ in cells.index.keys])
    np.testing.assert_array_equal(np.isnan(result.p_value), early)
    assert np.isfinite(ek.infer(ek.aggregate(cells)).p_value).all()


def test_towns_of_few_districts_count_as_few_clusters():
    recipe = RECIPES["clustered"]
    frame = recipe.frame(80)
    frame["start"] = np.where(frame["district"] < 8, 2003.0, np.nan)
    f = ek.did.two_way(recipe.panel(frame))
    with pytest.warns(DoubtWarning, match="8 \\(that count like 5\\) treated clusters"):
        ek.infer(f)


def test_small_cohorts_that_are_taken_as_given_are_a_doubt_of_their_own():
    cohorts = tuple(np.repeat([2002.0 + c for c in range(8)], 2)) + (np.nan,) * 30
    p = replace(RECIPES["balanced"], cohorts=cohorts, periods=11).panel(towns=46)
    with pytest.warns(DoubtWarning, match="treated clusters, in cohorts of about 2, against"):
        ek.infer(ek.aggregate(ek.did.imputation(p)))
    assert np.isfinite(ek.infer(ek.aggregate(ek.did.callaway_santanna(p))).p_value).all()


@pytest.mark.parametrize("kind", ["CR2", "CR3"])
def test_corrections_with_their_own_degrees_of_freedom_are_given_from_two_treated_clusters(kind):
    result = ek.infer(ek.did.two_way(panel(2)), vcov=kind)
    assert np.isfinite(result.p_value).all()
    assert result.dof[0] < 3
    with pytest.warns(DoubtWarning, match="a single cluster identifies treated x post"):
        alone = ek.infer(ek.did.two_way(panel(1)), vcov=kind)
    assert np.isnan(alone.p_value).all()


def test_joint_tests_are_withheld_too():
    f = ek.did.event_study(panel(3))
    early = f.select(event=lambda e: e < -1)
    with pytest.warns(DoubtWarning, match="3 treated clusters"):
        assert np.isnan(ek.wald(early).p_value)
    assert 0 < ek.wald(early, few="show").p_value < 1


def test_a_comparison_of_estimators_passes_the_doubt_on():
    p = panel(3)
    both = {"cells": ek.did.callaway_santanna, "imputed": ek.did.imputation}
    with pytest.warns(DoubtWarning):
        result = ek.compare(p, both)
    assert np.isnan(result.together.p_value).all()
    shown = ek.compare(p, both, few="show")
    assert np.isfinite(shown.together.p_value).all()


def test_a_dose_that_varies_keeps_its_p_value():
    p = panel(3)
    result = ek.infer(ek.did.dose_response(p, start=2003))
    assert np.isfinite(result.p_value).all()
    assert result.standing.clusters.sum() == 30


def test_an_unknown_choice_is_refused():
    with pytest.raises(OptionError, match="few='hide' is not an option"):
        ek.infer(ek.did.two_way(panel(12)), few="hide")


@pytest.mark.slow
@pytest.mark.parametrize(("treated", "least"), [(1, 0.6), (2, 0.25), (3, 0.12), (5, 0.07)])
def test_what_is_withheld_would_have_been_wrong(treated, least):
    """The size of the normal-theory test of group-time effects; AR(1) errors, 30 counties."""
    p, rejected = panel(treated), []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        e = rng.normal(size=(30, 6))
        for t in range(1, 6):
            e[:, t] += 0.6 * e[:, t - 1]
        f = ek.aggregate(ek.did.callaway_santanna(p.with_outcome(e.ravel())))
        rejected.append(ek.infer(f, vcov="CR0", few="show").p_value[0] < 0.05)
    assert np.mean(rejected) > least


def dosed(units, towns=60):
    """A panel of which the first towns have a dose of one, from 2003 on."""
    rng = np.random.default_rng(3)
    town, year = np.repeat(np.arange(towns), 4), np.tile(np.arange(2001, 2005), towns)
    frame = {"town": town, "year": year, "score": rng.normal(size=4 * towns),
             "money": (town < units) * (year >= 2003) + 0.1 * rng.normal(size=4 * towns),
             "dose": (town < units).astype(float)}  # fmt: skip
    return ek.Panel.from_frame(
        frame, outcome="score", unit="town", time="year", dose="dose", covariates=["money"],
        provenance="synthetic",
    )  # fmt: skip


DOSES = {
    "event study": lambda p: ek.did.dose_event_study(p, reference=2002),
    "response": lambda p: ek.did.dose_response(p, start=2003),
}


@pytest.mark.parametrize("run", DOSES.values(), ids=DOSES)
def test_a_slope_that_few_doses_carry_is_withheld(run):
    with pytest.warns(DoubtWarning, match="3 treated clusters, against 57"):
        assert ek.infer(run(dosed(3))).withheld.all()
    assert ek.infer(run(dosed(20))).withheld is None


def test_a_pair_of_cohorts_with_few_units_is_withheld():
    cohorts = (2003.0, *(2004.0,) * 14, *(np.nan,) * 15)
    made = ek.did.bacon(replace(RECIPES["balanced"], cohorts=cohorts).panel(towns=30))
    result = ek.infer(made, few="show")
    few = [2003 in key for key in made.index.keys]
    assert 0 < sum(few) < len(few)
    assert (result.standing.equal.min(axis=1) < 10).tolist() == few
    with pytest.warns(DoubtWarning):
        assert ek.infer(made).withheld.tolist() == few
