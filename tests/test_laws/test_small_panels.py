"""The laws on small random panels: few units, gaps, ties, constant outcomes."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import evalkit as ek
from evalkit.core.errors import IdentificationError

ROUNDING = 1e-9  # panels this small can be nearly singular; outcomes are at most 100


@st.composite
def small_panels(draw):
    """Two to seven units, two to five periods, any rows missing, outcomes with ties."""
    units, periods = draw(st.integers(2, 7)), draw(st.integers(2, 5))
    cells = [(i, t) for i in range(units) for t in range(periods)]
    kept = draw(st.lists(st.sampled_from(cells), min_size=3, unique=True))
    adoption = draw(
        st.lists(st.one_of(st.none(), st.integers(1, periods - 1)), min_size=units, max_size=units)
    )
    seen = {t for _, t in kept}
    small = st.integers(-100, 100)
    frame = {
        "i": [i for i, _ in kept],
        "t": [t for _, t in kept],
        "y": [draw(small) for _ in kept],
        "x": [draw(small) for _ in kept],
        "w": [draw(st.integers(1, 4)) for _ in kept],
        "start": [adoption[i] for i, _ in kept],
    }
    assume(all(start is None or min(seen) <= start <= max(seen) for start in frame["start"]))
    return ek.Panel.from_frame(
        frame,
        outcome="y",
        unit="i",
        time="t",
        cohort="start",
        weight="w",
        covariates=["x"],
        provenance="synthetic",
    )


ESTIMATORS = {
    "regression": lambda p: ek.did.regression(p, on=["x"]),
    "pooled": lambda p: ek.did.regression(p, on=["x"], absorb=()),
    "two-way": lambda p: ek.did.two_way(p),
    "two-way with control": lambda p: ek.did.two_way(p, covariates=["x"]),
    "event study": lambda p: ek.did.event_study(p),
    "mean": lambda p: ek.gaps.spread(p, metric="mean"),
    "spread": lambda p: ek.gaps.spread(p, metric="sd"),
}


def _estimate(name, panel):
    """The estimate, or no example where the panel cannot answer."""
    try:
        return ESTIMATORS[name](panel)
    except IdentificationError:
        assume(False)


@pytest.mark.parametrize("name", ESTIMATORS)
@given(panel=small_panels())
def test_any_estimate_is_finite_and_its_contributions_sum_to_zero(name, panel):
    estimate = _estimate(name, panel)
    assert np.isfinite(estimate.theta).all()
    # The mean of a single unit has an error that cannot be seen: NaN, and nothing else may be.
    seen = estimate.psi[:, ~np.isnan(estimate.psi).any(axis=0)]
    alone = (np.bincount(panel.time, minlength=panel.n_periods) == 1).sum()
    assert seen.shape[1] == len(estimate) - (alone if name == "mean" else 0)
    assert np.abs(seen.sum(axis=0)).max(initial=0) <= ROUNDING * max(1, np.abs(seen).max(initial=0))


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name not in ("mean", "spread")])
@given(panel=small_panels())
def test_any_linear_estimate_is_its_weights_times_the_outcome(name, panel):
    estimate = _estimate(name, panel)
    scale = max(1.0, np.abs(estimate.weights).max() * 100)
    assert np.abs(estimate.weights.T @ panel.y - estimate.theta).max() <= ROUNDING * scale


@given(panel=small_panels(), shift=st.integers(-50, 50))
def test_any_two_way_estimate_ignores_unit_and_time_effects(panel, shift):
    estimate = _estimate("two-way", panel)
    effects = shift * (panel.unit.astype(float) ** 2 - panel.time)
    moved = _estimate("two-way", panel.with_outcome(panel.y + effects))
    assert np.abs(moved.theta - estimate.theta).max() <= ROUNDING * 1e4


@given(panel=small_panels(), scale=st.floats(0.01, 100))
def test_any_estimate_obeys_the_algebra(panel, scale):
    f = _estimate("pooled", panel)
    both = ek.stack({"one": f, "two": scale * f})
    assert np.allclose(both.vcov()[0, 0] * scale**2, both.vcov()[1, 1], rtol=1e-12)
    assert np.allclose((f - scale * f).theta, (1 - scale) * f.theta, rtol=1e-12, atol=1e-12)
