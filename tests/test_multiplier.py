"""Bands by multipliers: the generator, its keys, and what the draws converge to."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core.errors import IdentificationError, OptionError
from evalkit.inference.multiplier import multipliers
from evalkit.inference.philox import keys, philox, words
from made import estimate
from panels import RECIPES, Recipe

COVARIANCE = np.array([[1.0, 0.3, 0.0], [0.3, 2.0, -0.4], [0.0, -0.4, 0.5]])
KINDS = ("rademacher", "mammen", "webb")
MANY = {"band": "multiplier", "draws": 40_000, "seed": 3}
# Four Monte Carlo errors of the 95 per cent quantile of 40,000 draws, plus the shape of 2,000
# contributions, which is normal to a few thousandths.
MONTE_CARLO = 0.04


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), 0, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((0xFFFFFFFF,) * 4, 0xFFFFFFFFFFFFFFFF, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            0x299F31D0A4093822,
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_the_generator_gives_the_published_words(counter, key, expected):
    """Known answers of philox4x32-10 in the Random123 distribution, version 1.14."""
    found = philox(tuple(np.uint64([c]) for c in counter), key)
    assert " ".join(f"{int(word[0]):08x}" for word in found) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_multipliers_have_mean_zero_and_variance_one(kind):
    v = multipliers(keys(np.arange(2_000)), 5, 1_000, kind)
    assert abs(v.mean()) < 4 / np.sqrt(v.size)
    assert abs(v.var() - 1) < 4 * v.std() * 2 / np.sqrt(v.size)
    third = 1.0 if kind == "mammen" else 0.0
    assert abs((v**3).mean() - third) < 0.02
    assert len(np.unique(v)) == {"rademacher": 2, "mammen": 2, "webb": 6}[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_multipliers_of_a_cluster_depend_on_its_label_alone(kind):
    labels = np.array([3, 11, 4, 250])
    all_of_them = multipliers(keys(labels), 7, 100, kind)
    for row, label in zip(all_of_them, labels, strict=True):
        np.testing.assert_array_equal(multipliers(keys(np.array([label])), 7, 100, kind)[0], row)
    assert (multipliers(keys(labels), 8, 100, kind) != all_of_them).any()


def test_more_draws_begin_with_the_same_ones():
    key = keys(np.arange(5))
    for kind in KINDS:
        few, many = (multipliers(key, 7, draws, kind) for draws in (50, 333))
        np.testing.assert_array_equal(many[:, :50], few)


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["a", "b", "长沙"]),
        np.array([1.5, 2.5]),
        np.array(["2001-01-01", "2002-02-02"], "datetime64[s]"),
        np.array([-1, 0, 2**62]),
    ],
    ids=["text", "numbers", "dates", "integers"],
)
def test_every_kind_of_label_has_keys_of_its_own(labels):
    found = keys(labels)
    assert found.dtype == np.uint64
    assert len(np.unique(found)) == len(labels)
    np.testing.assert_array_equal(keys(labels[::-1]), found[::-1])


def test_words_may_be_asked_for_in_any_number():
    key = keys(np.arange(3))
    np.testing.assert_array_equal(words(key, 1, 9)[:, :5], words(key, 1, 5))


@pytest.mark.parametrize("kind", KINDS)
def test_with_many_clusters_the_band_is_that_of_the_joint_normal(kind):
    many = estimate([1.0, 2.0, 3.0], COVARIANCE, 2_000)
    normal = ek.infer(many, vcov="CR0", band=True).crit
    drawn = ek.infer(many, vcov="CR0", multiplier=kind, **MANY).crit
    assert abs(drawn - normal) < MONTE_CARLO


def test_one_coordinate_by_hand():
    one = estimate([0.5], [[2.0]], 30)
    v = multipliers(keys(np.arange(30)), 4, 999, "rademacher")
    t = np.sort(np.abs(v.T @ one.psi[:, 0]) / np.sqrt((one.psi**2).sum()))
    found = ek.infer(one, band="multiplier", seed=4)
    assert found.crit == pytest.approx(t[949], rel=1e-12)  # the 950th of 999
    np.testing.assert_allclose(found.band_high - 0.5, found.crit * found.std_error, rtol=1e-12)


@pytest.mark.parametrize("recipe", [RECIPES["staggered"], Recipe(cohorts=(2002, 2004, np.nan))])
def test_the_order_of_rows_and_of_a_collapse_cannot_move_the_band(recipe):
    frame = recipe.frame()
    event = ek.aggregate(ek.did.callaway_santanna(recipe.panel(frame)), by="event")
    shuffled = recipe.panel(frame.sample(frac=1, random_state=1))
    again = ek.aggregate(ek.did.callaway_santanna(shuffled), by="event")
    dense = ek.aggregate(ek.did.callaway_santanna(recipe.panel(frame)), by="event").collapse()
    first, second, third = (
        ek.infer(each, band="multiplier", seed=1) for each in (event, again, dense)
    )
    assert first.crit == second.crit
    assert first.crit == pytest.approx(third.crit, rel=1e-12)


def test_another_cluster_leaves_the_multipliers_of_the_others():
    recipe = RECIPES["clustered"]
    frame = recipe.frame()
    more = pd.concat([frame, recipe.frame(44)[lambda f: f["town"] >= 40]])
    key = [keys(np.unique(recipe.panel(f).cluster)) for f in (frame, more)]
    common = np.isin(key[1], key[0])
    np.testing.assert_array_equal(
        multipliers(key[0], 1, 99, "webb"), multipliers(key[1], 1, 99, "webb")[common]
    )


@pytest.mark.parametrize("kind", ["CR2", "CR3"])
def test_adjusted_contributions_are_multiplied_where_they_make_the_errors(kind):
    event = ek.did.event_study(RECIPES["clustered"].panel())
    result = ek.infer(event, vcov=kind, band="multiplier", seed=2)
    codes = np.unique(event.cluster, return_inverse=True)[1]
    s = event.leverage.adjusted(kind, codes)
    v = multipliers(keys(np.unique(event.cluster)), 2, 999, "rademacher")
    t = np.sort((np.abs(v.T @ s) / np.sqrt((s**2).sum(axis=0))).max(axis=1))
    assert result.crit == pytest.approx(t[949], rel=1e-10)


BAD = {
    "a negative seed": ({"band": "multiplier", "seed": -1}, "seed=-1 must be at least 0"),
    "too few draws": ({"band": "multiplier", "seed": 1, "draws": 9}, "draws=9 cannot show"),
    "an unknown multiplier": (
        {"band": "multiplier", "seed": 1, "multiplier": "normal"}, "'rademacher', 'mammen'"),
    "an unknown band": ({"band": "bootstrap"}, "band='bootstrap' is not an option"),
}  # fmt: skip


@pytest.mark.parametrize(("options", "message"), BAD.values(), ids=BAD.keys())
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        ek.infer(estimate([1.0], [[1.0]], 40), **options)


def test_a_seed_that_was_forgotten_is_one_and_printed():
    forgotten = ek.infer(estimate([1.0], [[1.0]], 40), band="multiplier")
    assert forgotten.crit == ek.infer(estimate([1.0], [[1.0]], 40), band="multiplier", seed=1).crit
    assert "from 999 rademacher draws (seed 1)" in repr(forgotten)


def test_a_band_without_any_error_is_refused():
    with pytest.raises(IdentificationError, match="every standard error is zero"):
        ek.infer(estimate([1.0], [[0.0]], 40), band="multiplier", seed=1)
