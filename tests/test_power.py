"""The minimum detectable effect against its formula, and against simulated power."""

import numpy as np
import pytest
from scipy import stats

import evalkit as ek
from evalkit.core.errors import OptionError
from made import estimate


@pytest.mark.parametrize("power", [0.5, 0.8, 0.9])
@pytest.mark.parametrize("size", [0.01, 0.05, 0.1])
def test_the_minimum_detectable_effect_is_the_sum_of_two_quantiles(power, size):
    groups = 24
    made = estimate([9.0, -1.0], np.diag([4.0, 0.25]), groups)
    t = stats.t(groups - 1)
    error = np.array([2.0, 0.5]) * np.sqrt(groups / (groups - 1))
    expected = (t.ppf(1 - size / 2) + t.ppf(power)) * error
    found = ek.minimum_detectable_effect(made, power=power, size=size)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_under_a_normal_reference_it_is_two_point_eight_standard_errors():
    found = ek.minimum_detectable_effect(estimate([0.0], [[1.0]]), vcov="CR0")
    assert found[0] == pytest.approx(stats.norm.ppf(0.975) + stats.norm.ppf(0.8), rel=1e-12)


def test_it_does_not_depend_on_the_estimate_itself():
    low, high = (estimate([theta], [[1.0]]) for theta in (0.0, 100.0))
    assert ek.minimum_detectable_effect(low) == ek.minimum_detectable_effect(high)


def test_an_effect_of_that_size_is_detected_as_often_as_it_says():
    found = ek.minimum_detectable_effect(estimate([0.0], [[1.0]]), vcov="CR0")[0]
    draws = found + np.random.default_rng(2).normal(size=40_000)
    detected = (np.abs(draws) > stats.norm.ppf(0.975)).mean()
    assert abs(detected - 0.8) < 0.008  # four Monte Carlo errors


@pytest.mark.parametrize("options", [{"power": 1.0}, {"power": 0.2}, {"size": 0}, {"size": 1.2}])
def test_impossible_powers_and_sizes_are_refused(options):
    with pytest.raises(OptionError, match="must lie in"):
        ek.minimum_detectable_effect(estimate([0.0], [[1.0]]), **options)
