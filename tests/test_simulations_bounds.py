"""The worlds of the study of bounds: what is called true is so in a large sample."""

from __future__ import annotations

import numpy as np
import pytest

import evalkit as ek
from simulations.bounds import FAR, NEAR, SIZE, SPILLED, Movers, Places, Unseen, adjusted

NOISE = 0.02  # of means over 400,000 pupils, whose errors have variance one
FEW = 0.03  # of an adjusted effect from as many


def rng():
    return np.random.default_rng(1)


@pytest.mark.parametrize("moved", [0.2, -0.2, 0.0])
@pytest.mark.parametrize("weakest", [True, False])
def test_the_ends_are_those_of_a_large_sample(moved, weakest):
    movers = Movers(moved, weakest=weakest)
    found = ek.composition_bounds(movers.draw(rng(), 400_000).data, seen="seen")
    assert (found.low, found.high) == pytest.approx(movers.ends(), abs=NOISE)


@pytest.mark.parametrize(("moved", "end"), [(0.2, 1), (-0.2, 0)])
def test_where_the_weakest_move_the_effect_is_an_end(moved, end):
    assert Movers(moved).ends()[end] == pytest.approx(SIZE, abs=1e-12)


@pytest.mark.parametrize("delta", [0.0, 1.0])
def test_delta_and_r2_are_those_at_which_the_adjustment_is_right(delta):
    world = Unseen(delta).draw(rng(), 400_000)
    for data, effect in ((world.data, SIZE), (world.null, 0.0)):
        assert adjusted()(data).theta[2] == pytest.approx(effect, abs=FEW)


def test_rings_hold_the_towns_that_gain():
    world = Places(SPILLED).draw(rng(), 500)
    gained = world.data.with_outcome(world.data.y - world.null.y)
    found = ek.spillover_rings(gained, ek.did.two_way, rings=[NEAR, FAR])
    assert found.theta == pytest.approx([SIZE, *SPILLED], abs=1e-9)
