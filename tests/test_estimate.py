"""The algebra of estimates: what can be put together, and what comes out."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

import evalkit as ek
from evalkit.core.errors import CombinationError, OptionError
from evalkit.core.estimate import Estimate, align
from evalkit.core.labels import Index
from evalkit.core.provenance import TIERS, combine
from made import META, estimate
from panels import RECIPES

EXACT = 1e-12

COVARIANCE = np.array([[2.0, 0.5], [0.5, 1.0]])


def ab(seed=0, groups=50, **options):
    return estimate([1.0, 3.0], COVARIANCE, groups, terms=["a", "b"], seed=seed, **options)


def on_units(units, seed=0, cluster=None):
    """One mean-zero coordinate on the given unit labels."""
    psi = np.random.default_rng(seed).normal(size=(len(units), 1))
    units = np.asarray(units)
    return Estimate(
        np.array([1.0]),
        psi - psi.mean(),
        units,
        units if cluster is None else np.asarray(cluster),
        Index.flat("term", ["m"]),
        META,
    )


def test_the_covariance_of_a_made_estimate_is_the_one_asked_for():
    np.testing.assert_allclose(ab().vcov(), COVARIANCE, rtol=EXACT)


def test_a_difference_counts_the_covariance():
    difference = ab().select(term="a") * 1.0
    other = ab().contrast([[0, 1]], difference.index)
    expected = 2.0 + 1.0 - 2 * 0.5
    np.testing.assert_allclose((difference - other).vcov(), [[expected]], rtol=EXACT)
    np.testing.assert_allclose((difference - other).theta, [-2.0])


def test_a_contrast_is_the_sandwich_of_the_covariance():
    matrix = np.array([[1, 0], [1, -1], [0.25, 0.75]])
    found = ab().contrast(matrix, ["a", "a - b", "mix"])
    np.testing.assert_allclose(found.vcov(), matrix @ COVARIANCE @ matrix.T, atol=EXACT)
    np.testing.assert_allclose(found.theta, matrix @ [1, 3])
    assert found.index.levels == ("contrast",)


def test_scaling_negating_and_dividing_agree():
    f = ab()
    for one, two in [(2 * f, f * 2), (f / 4, 0.25 * f), (-f, -1 * f), (f - f, 0 * f)]:
        np.testing.assert_allclose(one.theta, two.theta, rtol=EXACT)
        np.testing.assert_allclose(one.psi, two.psi, rtol=EXACT)


def test_sums_associate_and_commute():
    a, b, c = (ab(seed) for seed in range(3))
    np.testing.assert_allclose(((a + b) - c).psi, ((a - c) + b).psi, rtol=1e-9, atol=EXACT)
    np.testing.assert_allclose((a + b).theta, (b + a).theta)


def test_overlapping_samples_share_only_their_common_units():
    a = on_units([1, 2, 3, 4], seed=1)
    b = on_units([3, 4, 5, 6, 7], seed=2)
    units, _, (one, two) = align(a, b)
    assert units.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert not one[4:].any()
    assert not two[:2].any()
    covariance = (a.psi[2:, 0] * b.psi[:2, 0]).sum()
    expected = a.vcov() + b.vcov() - 2 * covariance
    np.testing.assert_allclose((a - b).vcov(), expected, rtol=EXACT)


def test_aligning_does_not_depend_on_the_order_of_the_estimates():
    a, b = on_units(["x", "y"]), on_units(["a", "y", "zz"])
    assert align(a, b)[0].tolist() == align(b, a)[0].tolist() == ["a", "x", "y", "zz"]


def test_text_ids_of_different_lengths_align():
    a, b = on_units(["town 1", "town 2"]), on_units(["town 10", "town 2"])
    assert align(a, b)[0].tolist() == ["town 1", "town 10", "town 2"]


def test_clusters_shared_across_samples_are_summed_across_them():
    a = on_units([1, 2], seed=1, cluster=["n", "s"])
    b = on_units([3, 4], seed=2, cluster=["n", "s"])
    score = np.array([a.psi[i, 0] + b.psi[i, 0] for i in range(2)])
    np.testing.assert_allclose((a + b).vcov(), [[(score**2).sum()]], rtol=EXACT)


def test_a_unit_in_two_clusters_is_refused_by_name():
    a = on_units([1, 2, 3], cluster=["n", "n", "s"])
    b = on_units([2, 3, 4], cluster=["n", "n", "s"])
    with pytest.raises(CombinationError, match="unit 3 is in cluster s in one estimate and in n"):
        _ = a + b


def test_number_and_text_ids_do_not_mix():
    with pytest.raises(CombinationError, match="different types"):
        _ = on_units([1, 2]) - on_units(["1", "2"])


def test_number_and_text_clusters_do_not_mix_silently():
    a = on_units([1, 2], cluster=[10, 20])
    b = on_units([3, 4], cluster=["10", "20"])
    with pytest.raises(CombinationError, match="cluster"):
        _ = a + b


def test_stacking_keeps_each_part_and_their_covariance():
    a, b = ab(0).select(term="a"), ab(0).select(term="b")
    both = ek.stack({"one": a, "two": b})
    assert both.index.levels == ("estimate", "term")
    assert both.index.keys == (("one", "a"), ("two", "b"))
    np.testing.assert_allclose(both.vcov(), COVARIANCE, rtol=EXACT)
    np.testing.assert_allclose(both.theta, [1, 3])


def test_stacking_then_contrasting_is_subtracting():
    a, b = ab(0).select(term="a"), ab(5, groups=30).select(term="a")
    stacked = ek.stack({"one": a, "two": b}).contrast([[1, -1]], ["difference"])
    np.testing.assert_allclose(stacked.vcov(), (a - b).vcov(), rtol=EXACT)


def test_a_stack_of_one_design_keeps_its_small_sample_corrections():
    panel = RECIPES["balanced"].panel()
    event = ek.did.event_study(panel)
    parts = {"early": event.select(event=-2), "late": event.select(event=[0, 1])}
    whole = ek.infer(ek.stack(parts), vcov="CR2")
    direct = ek.infer(event.select(event=[-2, 0, 1]), vcov="CR2")
    np.testing.assert_allclose(whole.vcov, direct.vcov, rtol=1e-9)


def test_a_stack_of_two_designs_has_none():
    panel = RECIPES["balanced"].panel()
    both = ek.stack({"one": ek.did.two_way(panel), "two": ek.did.two_way(panel, covariates=["x"])})
    with pytest.raises(CombinationError, match="one least-squares design"):
        ek.infer(both, vcov="CR2")
    assert np.isfinite(ek.infer(both).std_error).all()


def test_two_runs_of_the_same_design_subtract_to_the_change_of_outcome():
    panel = RECIPES["clustered"].panel()
    a = ek.did.two_way(panel)
    b = ek.did.two_way(panel.with_outcome(panel.column("money")))
    joint = ek.did.two_way(panel.with_outcome(panel.y - panel.column("money")))
    np.testing.assert_allclose((a - b).theta, joint.theta, rtol=1e-9)
    np.testing.assert_allclose((a - b).vcov(), joint.vcov(), rtol=1e-9)


def test_selecting_takes_a_value_a_collection_or_a_predicate():
    event = ek.did.event_study(RECIPES["balanced"].panel())
    assert event.select(event=0).index.keys == ((0,),)
    assert event.select(event=[0, 1]).index.keys == ((0,), (1,))
    assert event.select(event=range(0, 2)).index.keys == ((0,), (1,))
    assert event.select(event=lambda e: e < 0).index.keys == ((-3,), (-2,))
    np.testing.assert_array_equal(event.select(event=1).theta, event.theta[[3]])


def test_selecting_nothing_names_the_keys():
    with pytest.raises(OptionError, match=r"nothing matches .*\('a',\)"):
        ab().select(term="z")
    with pytest.raises(OptionError, match="no level 'year'; this index has term"):
        ab().select(year=3)


def test_a_selection_carries_its_row_weights():
    panel = RECIPES["balanced"].panel()
    event = ek.did.event_study(panel)
    chosen = event.select(event=[1, -2])
    np.testing.assert_allclose(chosen.weights.T @ panel.y, chosen.theta, atol=1e-9)
    average = event.contrast([[0, 0, 1 / 3, 1 / 3, 1 / 3]], ["average"])
    np.testing.assert_allclose(average.weights.T @ panel.y, average.theta, atol=1e-9)


def test_the_ratio_is_the_delta_rule():
    made = ab().ratio(("a",), ("b",), "a over b")
    gradient = np.array([1 / 3, -1 / 9])
    np.testing.assert_allclose(made.theta, [1 / 3])
    np.testing.assert_allclose(made.vcov(), [[gradient @ COVARIANCE @ gradient]], rtol=EXACT)
    assert made.meta.estimand == "a over b"


def test_a_ratio_over_exactly_zero_is_refused():
    with pytest.raises(CombinationError, match="exactly zero"):
        replace(ab(), theta=np.array([1.0, 0.0])).ratio(("a",), ("b",), "r")


def test_a_ratio_of_a_coordinate_that_does_not_exist_names_the_keys():
    with pytest.raises((OptionError, CombinationError), match="'c'"):
        ab().ratio(("a",), ("c",), "r")


def test_collapsing_keeps_inference_and_drops_units():
    f = ab(cluster=np.arange(50) // 4)
    small = f.collapse()
    assert len(small.units) == 13
    one, two = ek.infer(f), ek.infer(small)
    np.testing.assert_allclose(two.vcov, one.vcov, rtol=EXACT)
    assert one.n_clusters == two.n_clusters


def test_provenance_is_contagious():
    for tier in TIERS:
        assert combine("real", tier) == tier
        assert combine(tier, "synthetic") == "synthetic"
    real = ab(meta=replace(META, provenance="real"))
    documented = ab(meta=replace(META, provenance="documented"))
    assert (real + real).meta.provenance == "real"
    assert (real - documented).meta.provenance == "documented"
    assert ek.stack({"r": real, "s": ab()}).meta.provenance == "synthetic"


def test_a_difference_says_what_it_is_of():
    assert (ab() - ab()).meta.estimand == "difference in effect"
    other = ab(meta=replace(META, estimand="gap"))
    assert (ab() - other).meta.estimand == "effect minus gap"
    assert (ab() + other).meta.estimand == "effect plus gap"


@pytest.mark.parametrize(
    "change",
    [
        {"theta": np.zeros(3)},
        {"psi": np.zeros((50, 3))},
        {"units": np.arange(49)},
        {"cluster": np.arange(51)},
        {"index": Index.flat("term", ["a"])},
        {"psi": np.zeros(50)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_parts_of_different_sizes_are_refused(change):
    with pytest.raises(CombinationError):
        replace(ab(), **change)


def test_a_contrast_of_the_wrong_width_is_refused():
    with pytest.raises(CombinationError, match="a contrast of 2 coordinates"):
        ab().contrast([[1, 0, 0]], ["a"])


def test_a_contrast_with_too_few_names_is_refused():
    with pytest.raises((CombinationError, OptionError)):
        ab().contrast([[1, 0], [0, 1]], ["only one"])


def test_keys_of_an_index_differ():
    with pytest.raises(OptionError, match="repeated"):
        Index.flat("term", ["a", "a"])
    with pytest.raises(OptionError, match="one value per level"):
        Index(("a", "b"), ((1,),))


def test_an_estimate_cannot_be_changed():
    f = ab()
    with pytest.raises(FrozenInstanceError):
        f.theta = np.zeros(2)
    with pytest.raises(ValueError, match="read-only"):
        f.psi[0] = 0


def test_an_array_given_to_an_estimate_stays_the_givers_own():
    theta = np.array([1.0])
    f = on_units([1, 2, 3])
    g = replace(f, theta=theta)
    theta[0] = 99
    assert g.theta[0] == 1.0


def test_the_representation_says_what_it_is_and_not_how_sure():
    text = repr(ab())
    for words in ("effect", "score", "synthetic", "50 units", "50 clusters", "a: 1", "ek.infer"):
        assert words.replace("ek.", "") in text
    assert "se" not in text.split()


def test_a_long_estimate_is_shown_in_short():
    long = estimate(np.arange(20.0), np.eye(20), 50)
    assert "8 more" in repr(long)


def test_the_frame_of_an_estimate_has_its_index():
    frame = ab().to_frame()
    assert list(frame.index) == ["a", "b"]
    assert list(frame["estimate"]) == [1.0, 3.0]
