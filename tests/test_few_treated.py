"""Measured sizes, and all defensible methods side by side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import evalkit as ek
from evalkit.core.errors import IdentificationError, OptionError
from evalkit.inference.size import Untreated
from panels import RECIPES


def panel(treated=2, towns=24, **changes):
    cohorts = (2003.0,) * treated + (np.nan,) * (towns - treated)
    made = replace(RECIPES["balanced"], cohorts=cohorts, **changes).panel(towns=towns)
    return replace(made, dose=None)


def cells(p):
    return ek.aggregate(ek.did.callaway_santanna(p))


def test_a_drawn_panel_has_untreated_paths_and_the_dates_of_the_treated():
    p = panel(3)
    urn = Untreated.of(p)
    drawn = urn.drawn(np.random.default_rng(0))
    assert drawn.n_units == p.n_units
    assert drawn.cohort.tolist() == [2003.0] * 3 + [np.inf] * 21
    paths = {tuple(path) for path in p.wide()[3:]}
    assert {tuple(path) for path in drawn.wide()} <= paths


def test_clusters_are_drawn_whole_and_get_the_dates_of_a_treated_cluster():
    recipe = RECIPES["clustered"]
    data = recipe.frame(60)
    data["start"] = np.where(data["district"] < 2, 2003.0 + data["district"], np.nan)
    p = recipe.panel(data)
    drawn = Untreated.of(p).drawn(np.random.default_rng(0))
    assert drawn.category("cluster").codes.max() + 1 == len(np.unique(p.cluster))
    for g in range(3):
        dates = np.unique(drawn.cohort[drawn.cluster == g])
        assert dates.tolist() == [[2003.0], [2004.0], [np.inf]][g]


def test_the_size_is_the_share_of_drawn_panels_that_the_test_rejects():
    p = panel(2)
    result = ek.measured_size(p, cells, vcov="CR0", draws=40, seed=3)
    source, urn, rejected = np.random.default_rng(3), Untreated.of(p), []
    for _ in range(40):
        drawn = urn.drawn(source.spawn(1)[0])
        rejected.append(ek.infer(cells(drawn), vcov="CR0", few="show").p_value[0] <= 0.05)
    assert result.rate[0] == np.mean(rejected)
    assert result.error[0] == pytest.approx(np.sqrt(result.rate[0] * (1 - result.rate[0]) / 40))
    assert "(seed 3)" in repr(result)
    assert "40 panels: 24 clusters drawn from 22 untreated ones, 2 of" in repr(result)


@pytest.mark.slow
def test_few_treated_clusters_show_a_size_far_above_what_the_test_says():
    wrong = ek.measured_size(panel(2), cells, draws=150).rate[0]
    right = ek.measured_size(panel(2), ek.did.two_way, vcov="CR3", draws=150).rate[0]
    assert wrong > 0.18
    assert right < 0.09


def test_placebo_laws_are_dealt_out_among_the_clusters_of_a_panel_without_treatment():
    recipe = RECIPES["clustered"]
    p = replace(recipe.panel(recipe.frame(40)), cohort=np.full(40, np.inf), dose=None)
    seen = []

    def spy(q):
        seen.append(q)
        return ek.did.two_way(q)

    result = ek.measured_size(p, spy, laws={2002: 3, 2004: 2}, draws=20)
    assert "5 placebo laws dealt out among 16 clusters" in repr(result)
    for q in seen:
        assert q.y.tobytes() == p.y.tobytes()
        dates = {c: set(q.cohort[q.cluster == c]) for c in np.unique(p.cluster)}
        assert all(len(date) == 1 for date in dates.values())
        held = sorted(min(date) for date in dates.values())
        assert held[:5] == [2002, 2002, 2002, 2004, 2004]
    assert len({q.cohort.tobytes() for q in seen}) > 10


def test_another_test_can_be_measured():
    p = panel(2)
    result = ek.measured_size(
        p, cells, test=lambda q: ek.conley_taber(q, cells, draws=199).p_value, draws=60
    )
    assert result.rate[0] < 0.17
    assert "the test given" in result.method


@pytest.mark.slow
def test_every_method_has_its_row_with_p_value_interval_and_size():
    result = ek.few_treated(panel(2), ek.did.two_way, draws=20)
    table = result.table.set_index("method")
    assert list(table.index) == [
        "t test, CR1", "t test, CR3", "wild bootstrap", "randomisation (complete)", "Conley-Taber",
        "Ferman-Pinto",
    ]  # fmt: skip
    assert table["p_value"].notna().all()
    assert table.loc["t test, CR1", "p_value"] < table.loc["t test, CR3", "p_value"]
    assert table["measured_size"].isna().tolist() == [False, False, False, True, False, False]
    assert "not so here" in table.loc["t test, CR1", "assumes"]
    assert "sizes at 0.05 from 20 panels" in repr(result)
    assert result.provenance == "synthetic"


def test_the_rows_are_what_the_methods_say_on_their_own():
    p = panel(2, towns=12)
    table = ek.few_treated(p, ek.did.two_way, draws=0).table.set_index("method")
    f = ek.did.two_way(p)
    for name, own in {
        "t test, CR3": ek.infer(f, vcov="CR3"),
        "wild bootstrap": ek.wild_bootstrap(f),
        "randomisation (complete)": ek.randomisation(p, ek.did.two_way, rule="complete"),
        "Conley-Taber": ek.conley_taber(p, ek.did.two_way),
        "Ferman-Pinto": ek.ferman_pinto(p, ek.did.two_way),
    }.items():
        assert table.loc[name, "p_value"] == own.p_value[0]
        assert table.loc[name, "conf_low"] == own.conf_low[0]
    assert table["measured_size"].isna().all()


def test_a_method_without_an_answer_says_why():
    alone = ek.few_treated(panel(1), ek.did.two_way, draws=0).table.set_index("method")
    assert "a cluster stands alone" in alone.loc["t test, CR3", "assumes"]
    p = panel(2)
    robust = ek.few_treated(
        p, lambda q: ek.did.callaway_santanna(q, covariates=["base"], method="reg"), draws=0
    )
    rows = robust.table.query("method == 'Conley-Taber'")
    assert rows["assumes"].str.contains("no row weights").all()
    assert (robust.table.query("method == 't test, jackknife'")["p_value"] > 0).any()


def test_each_coordinate_has_its_rows():
    result = ek.few_treated(panel(2), ek.did.callaway_santanna, draws=0)
    assert len(result.table) == 6 * 5
    assert list(result.table.columns[:3]) == ["cohort", "time", "method"]


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(IdentificationError, match="4 clusters are never treated"):
        ek.measured_size(panel(20), ek.did.two_way)
    untreated = panel(0)
    with pytest.raises(IdentificationError, match="no unit is treated"):
        ek.measured_size(untreated, lambda p: ek.did.regression(p, on=["x"]))
    with pytest.raises(IdentificationError, match="2 units are treated; placebo laws need"):
        ek.measured_size(panel(2), ek.did.two_way, laws={2003: 2})
    for laws in ({2003: 24}, {1999: 1}, {}, {2003: 0}):
        with pytest.raises(OptionError, match="laws="):
            ek.measured_size(panel(0), ek.did.two_way, laws=laws)
    with pytest.raises(OptionError, match="size=5"):
        ek.measured_size(panel(2), ek.did.two_way, size=5)
    with pytest.raises(OptionError, match="draws=-1"):
        ek.few_treated(panel(2), ek.did.two_way, draws=-1)
