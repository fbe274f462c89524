"""Power on real noise: it starts at the measured size and follows the formula."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

import evalkit as ek
from evalkit.core.errors import IdentificationError, OptionError
from evalkit.core.labels import Index
from evalkit.inference.power_curve import PowerCurve


def panel(n=80, treated=40, dose=False):
    rng = np.random.default_rng(5)
    frame = {"town": np.repeat(np.arange(n), 4), "year": np.tile([1, 2, 3, 4], n),
             "score": rng.normal(size=4 * n)}  # fmt: skip
    if dose:
        frame["dose"] = np.repeat(rng.normal(size=n), 4)
        return ek.Panel.from_frame(frame, outcome="score", unit="town", time="year", dose="dose",
                                   provenance="synthetic")  # fmt: skip
    frame["start"] = np.repeat([3.0] * treated + [np.nan] * (n - treated), 4)
    return ek.Panel.from_frame(frame, outcome="score", unit="town", time="year", cohort="start",
                               provenance="synthetic")  # fmt: skip


def test_without_effect_it_is_the_measured_size():
    curve = ek.power_curve(panel(), ek.did.two_way, effects=[0.3], draws=60, seed=4)
    size = ek.measured_size(panel(), ek.did.two_way, draws=60, seed=4)
    assert curve.effects.tolist() == [0.0, 0.3]
    assert curve.power[0] == pytest.approx(size.rate, abs=0)
    assert curve.method.startswith("CR1, 60 panels: 80 clusters drawn from 40 untreated ones")


def test_with_normal_noise_it_follows_the_formula():
    """A difference of means over two and two periods has variance (1/40 + 1/40)."""
    curve = ek.power_curve(panel(), ek.did.two_way, effects=[0.3, 0.6, 1.0], draws=400)
    pool = panel().y[panel().unit >= 40].var()
    formula = ndtr(curve.effects / np.sqrt(pool * 2 / 40) - 1.96)
    assert curve.power[1:, 0] == pytest.approx(formula[1:], abs=0.09)  # 4 Monte Carlo errors
    assert (np.diff(curve.power[:, 0]) >= 0).all()


def test_doses_are_dealt_out_again():
    def shape(p):
        return p.dose[p.unit] * (p.clock[p.time] >= 3)

    curve = ek.power_curve(
        panel(dose=True), lambda p: ek.did.dose_response(p, start=3), effects=[0.1, 1.0],
        shape=shape, draws=60,
    )  # fmt: skip
    assert curve.power[0, 0] < 0.2
    assert curve.power[2, 0] == 1
    assert "doses dealt out among 80 units" in curve.method


def test_another_test_may_be_asked():
    curve = ek.power_curve(
        panel(), ek.did.two_way, effects=[2.0], draws=5,
        test=lambda p: ek.infer(ek.did.two_way(p), vcov="CR3").p_value,
    )  # fmt: skip
    assert curve.power[1, 0] == 1
    assert curve.method.startswith("the test given")


CURVE = PowerCurve(
    np.array([0.0, 1.0, 2.0]), np.array([[0.05], [0.45], [0.95]]), np.zeros((3, 1)), 0.05,
    Index.flat("term", ["effect"]), "by hand", "synthetic",
)  # fmt: skip


def test_the_detectable_effect_lies_on_the_curve():
    assert CURVE.detectable(0.7) == pytest.approx([1.5])
    assert np.isnan(CURVE.detectable(0.99)).all()


def test_assurance_is_power_averaged_over_the_prior():
    assert CURVE.assurance(mean=1.5, sd=0) == pytest.approx([0.7])
    draws = np.abs(np.random.default_rng(1).normal(0.5, 0.8, 400_000))
    expected = np.interp(draws, CURVE.effects, CURVE.power[:, 0]).mean()
    assert CURVE.assurance(mean=0.5, sd=0.8) == pytest.approx([expected], abs=2e-3)


def test_the_words_and_the_table():
    assert list(CURVE.table.columns) == ["effect", "coordinate", "power", "monte_carlo_error"]
    assert "power of a test at 0.05 (synthetic)" in repr(CURVE)


WRONG = {
    "no effects": (panel(), {"effects": []}, OptionError, ["positive numbers"]),
    "an effect of zero": (panel(), {"effects": [0]}, OptionError, ["positive"]),
    "one draw": (panel(), {"draws": 1}, OptionError, ["draws=1"]),
    "a dose without a shape": (panel(dose=True), {}, OptionError, ["shape=lambda"]),
    "nobody left": (panel(treated=77), {}, IdentificationError, ["3 clusters are never treated"]),
    "nothing happens": (
        ek.Panel.from_frame({"i": [1, 1, 2, 2], "t": [1, 2, 1, 2], "y": [1.0, 2, 3, 4]},
                            outcome="y", unit="i", time="t", provenance="synthetic"),
        {}, IdentificationError, ["neither adoption dates nor doses"]),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_bad_input_says_what_to_do(wrong):
    made, options, kind, words = WRONG[wrong]
    with pytest.raises(kind) as refused:
        ek.power_curve(made, ek.did.two_way, **{"effects": [1.0], **options})
    for word in words:
        assert word in str(refused.value)


@pytest.mark.parametrize("options", [{"power": 1.2}, {"power": 0}])
def test_a_power_is_a_probability(options):
    with pytest.raises(OptionError, match="power="):
        CURVE.detectable(**options)


def test_a_prior_has_a_spread():
    with pytest.raises(OptionError, match="sd=-1"):
        CURVE.assurance(mean=0, sd=-1)
