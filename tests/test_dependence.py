"""Spatial, two-way and serial dependence against explicit double sums."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core.errors import CombinationError, DoubtWarning, IdentificationError, OptionError
from panels import RECIPES

ROUNDING = 1e-10


def placed(recipe="balanced", towns=40, **changes):
    """A panel whose towns have a latitude and a longitude, within some hundred km."""
    made = replace(RECIPES[recipe], **changes)
    frame = made.frame(towns)
    rng = np.random.default_rng(9)
    place = rng.uniform([28, 110], [31, 113], (towns, 2))
    frame["latitude"], frame["longitude"] = place[frame["town"]].T
    names = ["x", "z", "endogenous", "money", "base", "latitude", "longitude"]
    return made.panel(frame, covariates=names), place


def great_circle(one, two):
    """Haversine distance in km, by another formula than ours."""
    (a, b), (c, d) = np.radians(one), np.radians(two)
    h = np.sin((c - a) / 2) ** 2 + np.cos(a) * np.cos(c) * np.sin((d - b) / 2) ** 2
    return 2 * 6371.01 * np.arcsin(np.sqrt(h))


@pytest.mark.parametrize("kernel", ["uniform", "bartlett"])
@pytest.mark.parametrize("run", [ek.did.two_way, ek.did.event_study, ek.did.callaway_santanna])
def test_conley_is_the_double_sum_over_pairs(run, kernel):
    p, place = placed()
    f = run(p)
    psi, total = f.psi, np.zeros((len(f), len(f)))
    for i in range(40):
        for j in range(40):
            d = great_circle(place[i], place[j])
            k = (d <= 60) if kernel == "uniform" else max(0.0, 1 - d / 60)
            total += k * np.outer(psi[i], psi[j])
    result = ek.conley(f, p, cutoff=60, kernel=kernel)
    np.testing.assert_allclose(result.vcov, total, rtol=1e-8, atol=ROUNDING * np.abs(total).max())
    assert np.isinf(result.dof).all()
    assert result.vcov_kind == f"Conley, {kernel} kernel to 60 km"


def test_a_cutoff_that_reaches_nobody_leaves_units_and_one_that_reaches_all_leaves_nothing():
    p, _ = placed()
    f = ek.did.two_way(p)
    alone = ek.conley(f, p, cutoff=1e-6)
    np.testing.assert_allclose(alone.std_error, ek.infer(f, vcov="CR0").std_error, rtol=1e-12)
    with pytest.raises(IdentificationError, match="not positive for treated x post"):
        ek.conley(f, p, cutoff=30_000)  # contributions sum to zero


def test_neighbours_are_pairs_with_weight_one():
    p, _ = placed()
    f = ek.did.two_way(p)
    border = {0: [1, 2], 2: [3], 7: [7, 8]}
    psi = f.psi[:, 0]
    total = (psi**2).sum() + 2 * (psi[0] * psi[1] + psi[0] * psi[2] + psi[2] * psi[3]
                                  + psi[7] * psi[8])  # fmt: skip
    result = ek.conley(f, p, neighbours=border)
    np.testing.assert_allclose(result.vcov[0, 0], total, rtol=ROUNDING)
    assert result.vcov_kind == "Conley, neighbours"


def test_neighbours_of_a_cluster_are_the_cluster():
    p, _ = placed("clustered")
    f = ek.did.two_way(p)
    same = {u: p.units[p.cluster == c].tolist() for u, c in zip(p.units.tolist(), p.cluster,
                                                                strict=True)}  # fmt: skip
    result = ek.conley(f, p, neighbours=same)
    np.testing.assert_allclose(result.vcov, f.vcov(), rtol=ROUNDING)


def test_units_that_the_estimate_left_out_have_no_place_to_fill():
    p, _ = placed()
    f = ek.did.two_way(p.where(p.unit > 3))
    assert ek.conley(f, p, cutoff=60).std_error[0] > 0


@pytest.mark.parametrize("by", [("cluster", "county"), ("cluster", "group")])
def test_two_way_clusters_of_units_add_two_sums_and_take_off_the_third(by):
    p = RECIPES["staggered"].panel()
    f = ek.did.callaway_santanna(p)
    labels = [pd.Series(p.category(n).codes).groupby(p.unit).first().to_numpy() for n in by]
    total = np.zeros((len(f), len(f)))
    for keys, sign in ((labels[:1], 1), (labels[1:], 1), (labels, -1)):
        group = [tuple(column[i] for column in keys) for i in range(len(f.units))]
        size = len(set(group))
        for g in set(group):
            s = sum(f.psi[i] for i in range(len(group)) if group[i] == g)
            total += sign * size / (size - 1) * np.outer(s, s)
    try:
        result = ek.two_way_clusters(f, p, by=by, few="show")
    except IdentificationError:
        assert (np.diag(total) <= 0).any()
    else:
        np.testing.assert_allclose(result.vcov, total, rtol=1e-8, atol=1e-12)


def test_two_way_clusters_that_change_within_units_use_rows():
    p = RECIPES["unbalanced"].panel()
    f = ek.did.two_way(p)
    dummies = (p.unit[:, None] == np.arange(p.n_units), p.time[:, None] == np.arange(p.n_periods))
    design = np.column_stack([p.treated, *dummies])
    rows = f.weights[:, 0] * (p.y - design @ np.linalg.lstsq(design, p.y)[0])
    total = 0.0
    for codes, sign in ((p.unit, 1), (p.time, 1), (np.arange(len(p.y)), -1)):
        size = codes.max() + 1
        s = np.bincount(codes, rows)
        total += sign * size / (size - 1) * (s**2).sum()
    if total > 0:
        result = ek.two_way_clusters(f, p, by=("unit", "time"))
        np.testing.assert_allclose(result.vcov[0, 0], total, rtol=1e-9)
    with pytest.raises(CombinationError, match="contributions of rows need"):
        ek.two_way_clusters(ek.did.callaway_santanna(p), p, by=("unit", "time"))


def test_driscoll_kraay_is_the_double_sum_over_periods():
    p = replace(RECIPES["unbalanced"], periods=30).panel(towns=20)
    f = ek.did.regression(p, on=["x", "z"])
    rows = f.leverage.by_row()
    h = np.array([rows[p.time == t].sum(axis=0) for t in range(30)])
    total = sum(
        max(0.0, 1 - abs(s - t) / 4) * np.outer(h[s], h[t]) for s in range(30) for t in range(30)
    )
    result = ek.driscoll_kraay(f, p, lags=3)
    np.testing.assert_allclose(result.vcov, total * 30 / 29, rtol=1e-9)
    assert result.dof.tolist() == [29, 29]
    assert "3 lags, 30 periods" in ek.driscoll_kraay(f, p).method


def test_rows_left_out_contribute_nothing():
    p = replace(RECIPES["staggered"], cohorts=(2000, 2003, np.nan, np.nan)).panel()
    f = ek.did.extended_two_way(p)
    rows = f.leverage.by_row() @ f.combination
    assert len(rows) == len(p.y)
    by_unit = np.array([np.bincount(p.unit, column) for column in rows.T]).T
    kept = np.isin(p.units, f.units)
    assert not by_unit[~kept].any()
    np.testing.assert_allclose(by_unit[kept], f.psi, atol=1e-12)


def test_few_treated_clusters_are_withheld_here_too():
    cohorts = (2003.0,) * 3 + (np.nan,) * 37
    p, _ = placed(cohorts=cohorts)
    f = ek.did.two_way(p)
    with pytest.warns(DoubtWarning, match="3 treated clusters"):
        assert np.isnan(ek.conley(f, p, cutoff=60).p_value).all()
    assert ek.conley(f, p, cutoff=60, few="show").p_value[0] > 0


def test_what_cannot_be_is_refused():
    p, place = placed()
    f = ek.did.two_way(p)
    cases = [
        (lambda: ek.conley(f, p), OptionError, "cutoff=0.0 must be positive"),
        (lambda: ek.conley(f, p, cutoff=9, kernel="gauss"), OptionError, "kernel='gauss'"),
        (lambda: ek.conley(f, p, cutoff=9, coordinates=("longitude", "latitude")), OptionError,
         "'longitude' of unit 0 is .* between -90 and 90 degrees"),
        (lambda: ek.conley(f, p, cutoff=9, coordinates=("x", "longitude")), OptionError,
         "'x': unit 0 moves"),
        (lambda: ek.conley(f, p, neighbours={"zz": [1]}), OptionError, "neighbours names zz"),
        (lambda: ek.two_way_clusters(f, p, by=("unit", "unit")), OptionError, "twice"),
        (lambda: ek.driscoll_kraay(f, p, lags=6), OptionError, "lags=6 must lie between 0 and 5"),
        (lambda: ek.driscoll_kraay(f, p.where(p.time < 4)), OptionError, "give its own panel"),
        (lambda: ek.conley(f, p.where(p.unit > 3), cutoff=9), OptionError, "no unit 0"),
    ]  # fmt: skip
    for run, error, words in cases:
        with pytest.raises(error, match=words):
            run()
    assert len(place) == 40
