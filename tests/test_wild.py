"""The wild cluster bootstrap against a dense twin that fits every new outcome, and peers."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

import evalkit as ek
from evalkit.core.errors import CombinationError, IdentificationError, OptionError
from evalkit.inference.wild import WEBB, Source
from panels import RECIPES

ROUNDING = 1e-9  # t statistics of nearly exact fits lose some digits on both ways
BOTH = ("unit", "time")


def small(districts=6, recipe="clustered", **changes):
    """A panel of few districts, so that all sign changes can be made."""
    base = replace(RECIPES[recipe], **changes)
    frame = base.frame(60)
    frame["district"] = frame["town"] % districts if recipe == "balanced" else frame["district"]
    frame = frame[frame["district"] < districts]
    return replace(base, clusters=True).panel(frame)


def dense(panel, x, absorb):
    """Outcome, regressors and dummies as dense matrices, weighted by root weights."""
    columns = [x]
    for names in absorb:
        parts = [panel.category(n).codes for n in ([names] if isinstance(names, str) else names)]
        codes = np.unique(np.stack(parts), axis=1, return_inverse=True)[1].reshape(-1)
        columns.append((codes[:, None] == np.arange(codes.max() + 1)).astype(float))
    half = np.sqrt(panel.weight)[:, None]
    return half[:, 0] * panel.y, half * np.hstack(columns)


def clustered_t(y, d, j, null, cluster):
    """t statistic of coefficient ``j`` about ``null``, CR0, by pseudo-inverse."""
    inverse = np.linalg.pinv(d.T @ d, rcond=1e-11)
    beta = inverse @ d.T @ y
    e = y - d @ beta
    scores = np.array([(d[cluster == g].T @ e[cluster == g]) for g in np.unique(cluster)])
    error = np.sqrt(((scores @ inverse[:, j]) ** 2).sum())
    return (beta[j] - null) / error, error


def twin(panel, x, absorb, j, null, draws, part):
    """Fit under the null, multiply residuals by draws, fit again: statistics ``(B,)``."""
    y, d = dense(panel, x, absorb)
    others = np.delete(d, j, axis=1)
    moved = y - null * d[:, j]
    fitted = others @ np.linalg.lstsq(others, moved, rcond=1e-11)[0]
    residual = moved - fitted
    cluster = np.unique(panel.cluster, return_inverse=True)[1][panel.unit]
    return np.array(
        [
            clustered_t(fitted + null * d[:, j] + residual * v[part], d, j, null, cluster)[0]
            for v in draws
        ]
    )


COUNTY_YEAR = ("unit", ("county", "time"))
RUNS = {
    "two-way": lambda p, **options: ek.did.two_way(p, **options),
    "event study": lambda p, **options: ek.did.event_study(p, **options),
}


def design(panel, name):
    if name == "two-way":
        return panel.treated[:, None]
    event = panel.clock[panel.time] - panel.cohort[panel.unit]
    keys = [key[0] for key in ek.did.event_study(panel).index.keys]
    return np.stack([(event == e).astype(float) for e in keys], axis=1)


def codes_of(panel, part):
    """The part of each row."""
    if part == "row":
        return np.arange(len(panel.y))
    labels = panel.cluster if part == "cluster" else panel.units
    return np.unique(labels, return_inverse=True)[1][panel.unit]


def signs_of(parts, kind="rademacher", draws=40):
    """The draws that the bootstrap makes, as a matrix."""
    return np.vstack(list(Source(int(parts), draws, 3, kind).blocks(1)))


def agree(result, j, t, clusters):
    """Our statistics carry the factor G/(G-1) of CR1; theirs do not."""
    np.testing.assert_allclose(
        np.sort(np.abs(result.draws[:, j])),
        np.sort(np.abs(t)) * np.sqrt((clusters - 1) / clusters),
        rtol=ROUNDING,
        atol=ROUNDING,
    )


@pytest.mark.parametrize("recipe", ["balanced", "unbalanced", "weighted", "staggered"])
@pytest.mark.parametrize("name", RUNS)
def test_all_sign_changes_equal_the_dense_twin(recipe, name):
    like = RECIPES[recipe]
    panel = small(6, "balanced", missing=like.missing, weights=like.weights, cohorts=like.cohorts)
    result = ek.wild_bootstrap(RUNS[name](panel))
    signs = np.array(list(product([1.0, -1.0], repeat=6)))
    for j in range(min(len(result.estimate), 2)):
        x, part = design(panel, name), codes_of(panel, "cluster")
        t = twin(panel, x, BOTH, j, 0.0, signs, part)
        agree(result, j, t, 6)
        assert result.p_value[j] == (np.abs(t) >= np.abs(t[0]) * (1 - 1e-9)).mean()
    assert "all 64 sign changes of 6 clusters" in result.method


@pytest.mark.parametrize("kind", ["rademacher", "webb"])
@pytest.mark.parametrize("part", ["cluster", "unit", "row"])
@pytest.mark.parametrize("absorb", [("unit", "time"), COUNTY_YEAR, ("time",)])
def test_draws_by_cluster_unit_or_row_equal_the_dense_twin(kind, part, absorb):
    panel = small(16, missing=0.1)
    f = ek.did.two_way(panel, absorb=absorb)
    result = ek.wild_bootstrap(f, draws=40, seed=3, signs=kind, within=part)
    codes = codes_of(panel, part)
    signs = signs_of(codes.max() + 1, kind)
    agree(result, 0, twin(panel, design(panel, "two-way"), absorb, 0, 0.0, signs, codes), 16)


def test_units_that_are_clusters_need_no_parts():
    f = ek.did.two_way(RECIPES["unbalanced"].panel())
    one, two = (ek.wild_bootstrap(f, draws=99, within=part) for part in ("cluster", "unit"))
    np.testing.assert_allclose(one.draws, two.draws, rtol=ROUNDING)


@pytest.mark.parametrize("part", ["cluster", "row"])
def test_the_ends_of_the_interval_are_nulls_that_the_test_just_rejects(part):
    panel = small(16, missing=0.1)
    f = ek.did.two_way(panel)
    result = ek.wild_bootstrap(f, draws=199, seed=3, within=part)
    codes = codes_of(panel, part)
    signs = signs_of(codes.max() + 1, draws=199)
    x, cluster = design(panel, "two-way"), codes_of(panel, "cluster")
    y, d = dense(panel, x, BOTH)
    for end, inward in ((result.conf_low[0], 1), (result.conf_high[0], -1)):
        for step, standing in ((-1e-6, False), (1e-6, True)):
            null = end + step * inward
            t = twin(panel, x, BOTH, 0, null, signs, codes)
            own = clustered_t(y, d, 0, null, cluster)[0]
            p = (1 + (np.abs(t) >= abs(own)).sum()) / 200
            assert (p > 0.05 + 1e-9) == standing


def test_a_least_squares_design_on_some_rows_is_served():
    panel = small(16)
    result = ek.wild_bootstrap(ek.did.extended_two_way(panel), draws=99)
    assert np.isfinite(result.p_value).all()


def test_one_treated_cluster_makes_the_test_timid():
    """MacKinnon and Webb (2017): it hardly ever rejects, where the t test does most of the time."""
    cohorts = (2003.0,) + (np.nan,) * 19
    panel = replace(RECIPES["balanced"], cohorts=cohorts).panel(towns=20)
    rejected = np.zeros(2)
    for seed in range(60):
        y = np.random.default_rng(seed).normal(size=len(panel.y))
        f = ek.did.two_way(panel.with_outcome(y))
        wild = ek.wild_bootstrap(f, draws=199).p_value[0]
        rejected += [wild <= 0.05, ek.infer(f, few="show").p_value[0] <= 0.05]
    assert rejected[0] <= 3
    assert rejected[1] > 25


def test_the_seed_has_no_effect_where_every_sign_change_is_made():
    f = ek.did.two_way(small(6, "balanced"))
    one, two = (ek.wild_bootstrap(f, seed=seed) for seed in (1, 2))
    assert one.draws.tobytes() == two.draws.tobytes()
    assert one.smallest == 2 / 64


def test_more_draws_begin_with_the_same_ones_and_the_seed_decides():
    f = ek.did.two_way(RECIPES["balanced"].panel())
    few, more, other = (
        ek.wild_bootstrap(f, draws=draws, seed=seed) for draws, seed in ((50, 1), (90, 1), (50, 2))
    )
    np.testing.assert_allclose(few.draws, more.draws[:50], rtol=1e-12)
    assert not np.allclose(few.draws, other.draws)


def test_webb_draws_have_mean_zero_and_variance_one():
    assert sorted(WEBB) == pytest.approx([-np.sqrt(1.5), -1, -np.sqrt(0.5), np.sqrt(0.5), 1,
                                          np.sqrt(1.5)])  # fmt: skip
    assert (WEBB**2).mean() == pytest.approx(1)


def test_scaling_and_shifting_the_outcome_moves_nothing_but_the_scale():
    panel = RECIPES["clustered"].panel()
    one = ek.wild_bootstrap(ek.did.two_way(panel), draws=199)
    two = ek.wild_bootstrap(ek.did.two_way(panel.with_outcome(7 - 3 * panel.y)), draws=199)
    assert two.p_value == pytest.approx(one.p_value)
    assert two.conf_low == pytest.approx(-3 * one.conf_high, rel=1e-6)


def test_other_estimators_get_the_multiplier_bootstrap_of_their_contributions():
    f = ek.did.callaway_santanna(RECIPES["clustered"].panel())
    result = ek.wild_bootstrap(f, draws=99, seed=5)
    v = np.vstack(list(Source(f.n_clusters, 99, 5, "rademacher").blocks(1)))
    s = f.cluster_sums()
    g = len(s)
    for b in (0, 50):
        moved = v[b][:, None] * s
        error = np.sqrt(g / (g - 1) * ((moved - moved.mean(axis=0)) ** 2).sum(axis=0))
        np.testing.assert_allclose(result.draws[b], moved.sum(axis=0) / error, rtol=ROUNDING)
    assert result.method.startswith("multiplier bootstrap of contributions, null not imposed")
    inside = (result.conf_low <= 0) & (result.conf_high >= 0)
    np.testing.assert_array_equal(inside, result.p_value > 0.05)


def test_with_many_clusters_it_agrees_with_the_t_test():
    rng = np.random.default_rng(0)
    panel = replace(RECIPES["balanced"], seed=11).panel(towns=400)
    panel = panel.with_outcome(rng.normal(size=len(panel.y)))
    f = ek.did.two_way(panel)
    wild, usual = ek.wild_bootstrap(f), ek.infer(f)
    assert wild.p_value[0] == pytest.approx(usual.p_value[0], abs=0.015)
    assert wild.conf_low[0] == pytest.approx(usual.conf_low[0], abs=0.15 * usual.std_error[0])


def test_what_cannot_be_done_is_refused():
    panel = RECIPES["clustered"].panel()
    iv = ek.did.regression(panel, on=["endogenous"], instruments=["z"], endogenous=["endogenous"])
    with pytest.raises(CombinationError, match="not for instrumented"):
        ek.wild_bootstrap(iv)
    with pytest.raises(CombinationError, match="within='row' needs"):
        ek.wild_bootstrap(ek.did.callaway_santanna(panel), within="row")
    with pytest.raises(OptionError, match="draws=1"):
        ek.wild_bootstrap(ek.did.two_way(panel), draws=1)
    with pytest.raises(OptionError, match="signs='mammen' is not an option"):
        ek.wild_bootstrap(ek.did.two_way(panel), signs="mammen")
    alone = replace(RECIPES["clustered"]).panel(panel_of_one_district())
    with pytest.raises(IdentificationError, match="single cluster"):
        ek.wild_bootstrap(ek.did.two_way(alone))


def panel_of_one_district():
    return RECIPES["clustered"].frame(40).assign(district=1)
