"""Power of a pre-test and the price of passing it: the published example, and a simulation."""

from __future__ import annotations

import numpy as np
import pytest

import evalkit as ek
from evalkit.core.errors import IdentificationError, OptionError
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Meta

# He and Wang (2017), figure 2C: estimates and covariance as stata-pretrends keeps them, to ten
# digits, and what its README (version 0.4.2) prints. The README's regression scales the covariance
# by one constant, another count of degrees of freedom, which its printed standard errors give.
BETA = np.array([0.0667031482, -0.0077017923, -0.0307690538, 0.084030658, 0.2424418181,
                 0.2198789865, 0.1910925359])  # fmt: skip
LOWER = """
.0089065712
.0044883136 .0059369169
.0014587025 .0027500791 .0030386248
.0012157689 .0013505858 .0009056166 .0039247409
.0020327645 .0014315459 .0006791299 .002596118  .008065897
.0013225015 .0012067792 .0010167636 .0017326149 .0058753751 .007881579
.0019617728 .0013847158 .0007090144 .0022345525 .0037414359 .0036507095 .0097884266
"""
SIGMA = np.zeros((7, 7))
SIGMA[np.tril_indices(7)] = [float(x) for x in LOWER.split()]
SIGMA += np.tril(SIGMA, -1).T
PRINTED_SE = np.array([0.0897108, 0.0732436, 0.0523996, 0.0595518, 0.0853721, 0.084391, 0.0940472])
SIGMA *= np.mean(PRINTED_SE**2 / np.diag(SIGMA))
PERIODS = [-4, -3, -2, 0, 1, 2, 3]
PRINTED = 5e-6  # the package's lattice and ours agree to five digits; it prints seven


def event(beta=BETA, sigma=SIGMA, periods=PERIODS):
    psi = np.repeat(np.linalg.cholesky(sigma).T, 16, axis=0) / 4
    units = np.arange(len(psi))
    meta = Meta("effect", "two-way effects", "registrations", len(psi), "real")
    return Estimate(beta, psi, units, units, Index.flat("event", periods), meta)


def test_the_readme_scales_the_covariance_by_one_constant():
    assert np.sqrt(np.diag(SIGMA)) == pytest.approx(PRINTED_SE, abs=1e-7)


def test_the_slope_and_the_statistics_that_the_package_prints():
    found = ek.pretrends(event(), power=0.5, vcov="CR0")
    assert found.slope == pytest.approx(0.0494932155202119, abs=PRINTED)
    assert found.power == pytest.approx(0.5, abs=1e-7)
    assert found.bayes_factor == pytest.approx(0.5690176868657252, abs=10 * PRINTED)
    assert found.likelihood_ratio == pytest.approx(0.1016996725963556, abs=10 * PRINTED)
    printed = [-0.087755, -0.052812, -0.0265324, 0.0617067, 0.1148959, 0.1611171, 0.2134771]
    assert found.conditional == pytest.approx(printed, abs=10 * PRINTED)


def test_a_violation_of_any_form():
    away = np.array(PERIODS) + 1
    curve = dict(zip(PERIODS, 0.024 * away**2, strict=True))
    found = ek.pretrends(event(), violation=curve, vcov="CR0")
    assert found.slope is None
    assert found.power == pytest.approx(0.7026124047271576, abs=10 * PRINTED)
    assert found.bayes_factor == pytest.approx(0.3384376031301103, abs=10 * PRINTED)
    assert found.likelihood_ratio == pytest.approx(0.3962795305253372, abs=10 * PRINTED)
    printed = [0.1157555, 0.0391983, 0.003749, 0.0089854, 0.0723966, 0.2000759, 0.3612036]
    assert found.conditional == pytest.approx(printed, abs=10 * PRINTED)


@pytest.mark.parametrize("before", [1, 2, 6])
def test_a_simulation_finds_the_same_power_and_means(before):
    k = before + 2
    t = np.array([*range(-before - 1, -1), 0, 1])
    sigma = 0.5 ** np.abs(t[:, None] - t) * np.sqrt(
        np.outer(np.arange(1, k + 1), np.arange(1, k + 1))
    )
    found = ek.pretrends(event(np.zeros(k), sigma, t.tolist()), violation=0.6, vcov="CR0")
    draws = np.random.default_rng(1).multivariate_normal(0.6 * (t + 1), sigma, size=400_000)
    crit = 1.959963984540054
    passed = (np.abs(draws[:, :before]) <= crit * np.sqrt(np.diag(sigma))[:before]).all(axis=1)
    assert found.power == pytest.approx(1 - passed.mean(), abs=4 * 0.5 / np.sqrt(len(draws)))
    noise = draws[passed].std(axis=0) / np.sqrt(passed.sum())
    assert np.all(np.abs(found.conditional - draws[passed].mean(axis=0)) < 4.5 * noise)


def test_one_period_has_the_power_of_a_z_test():
    from scipy.special import ndtr

    found = ek.pretrends(event(np.zeros(2), np.eye(2), [-2, 0]), violation=1.5, vcov="CR0")
    crit = 1.959963984540054
    assert found.power == pytest.approx(1 - (ndtr(crit + 1.5) - ndtr(-crit + 1.5)), abs=1e-12)


def test_a_steep_violation_is_always_found_and_the_mean_stays_finite():
    found = ek.pretrends(event(), violation=5.0, vcov="CR0")
    assert found.power == pytest.approx(1)
    assert np.isfinite(found.conditional).all()


def test_the_sign_of_the_violation_mirrors_the_means():
    up, down = (ek.pretrends(event(), violation=s, vcov="CR0") for s in (0.05, -0.05))
    assert up.power == pytest.approx(down.power, rel=1e-4)
    assert up.conditional == pytest.approx(-down.conditional, abs=1e-5)


def test_the_words_and_the_table():
    found = ek.pretrends(event(), vcov="CR0")
    assert found.power == pytest.approx(0.8, abs=1e-7)
    assert "a pre-test at 0.05 finds a slope of" in repr(found)
    assert list(found.table.columns) == ["violation", "if_passed"]
    assert found.provenance == "real"


WRONG = {
    "both": ({"power": 0.5, "violation": 1.0}, OptionError, ["not both"]),
    "a power below the size": ({"power": 0.05}, OptionError, ["power=0.05", "parallel"]),
    "a power of one": ({"power": 1.0}, OptionError, ["below 1"]),
    "a size": ({"size": 5}, OptionError, ["size=5"]),
    "some periods": ({"violation": {0: 1.0}}, OptionError, ["one value per period", "-4, -3, -2"]),
    "no number": ({"violation": float("nan")}, OptionError, ["must be finite"]),
    "no leads": ({"reference": -4}, IdentificationError, ["-4"]),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_bad_input_says_what_to_do(wrong):
    options, kind, words = WRONG[wrong]
    with pytest.raises(kind) as refused:
        ek.pretrends(event(), vcov="CR0", **options)
    for word in words:
        assert word in str(refused.value)
