"""Selection on what is not seen: printed examples, a population that has the unseen, and errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import evalkit as ek
from evalkit.core.errors import IdentificationError, OptionError, PanelError

MOMENTS = np.loadtxt(Path(__file__).parent / "goldens" / "oster.csv", delimiter=",", skiprows=1)
EXACT = 1e-8  # roots of a polynomial of second moments
PRINTED = 0.005  # two digits; delta at r2max 1 is printed to three
NEAR = 0.03  # a jackknife of 546 houses differs from first order by leverage


def with_covariance(covariance, n=546, seed=1):
    """Rows whose second moments are exactly these."""
    draws = np.random.default_rng(seed).normal(size=(n, len(covariance)))
    whitened = np.linalg.qr(draws - draws.mean(axis=0))[0] * np.sqrt(n - 1)
    return whitened @ np.linalg.cholesky(covariance).T


def section(rows, names):
    """A cross-section whose first column is the outcome."""
    frame = {"i": np.arange(len(rows)), "t": np.zeros(len(rows), int)}
    frame |= dict(zip(names, rows.T, strict=True))
    return ek.Panel.from_frame(
        frame, outcome=names[0], unit="i", time="t",
        covariates=names[1:], provenance="synthetic",
    )  # fmt: skip


HOUSES = section(with_covariance(MOMENTS), ["price", "lot", "bedrooms", "bathrooms", "driveway"])
ROOMS = ["bedrooms", "bathrooms", "driveway"]


def houses(panel=HOUSES, **options):
    return ek.oster(panel, on="lot", covariates=ROOMS, absorb=(), **options)


def test_the_printed_example_of_psacalc_and_robomit():
    found = houses(r2max=1.3 * 0.5316)
    assert found.theta[2] == pytest.approx(0.27, abs=PRINTED)
    assert found.theta[3] == pytest.approx(1.99, abs=PRINTED)
    assert houses(r2max=0.54).theta[3] == pytest.approx(3.83, abs=PRINTED)
    assert houses(r2max=1.0).theta[3] == pytest.approx(1.005, abs=PRINTED / 10)


def test_the_default_is_the_printed_rule():
    assert "0.5316 with them, 0.691 at most" in houses().meta.notes[0]


def population(omega, lam, unseen, delta, beta=0.6, noise=0.8):
    """Controls a, b; unseen u, uncorrelated with them; its covariance with x as delta says."""
    mix = np.array([[1.0, 0.4], [0.4, 2.0]])
    omega, lam = np.array(omega), np.array(lam)
    on_unseen = delta * (omega @ mix @ lam) / (omega @ mix @ omega)  # cov(x, u) / var(u)
    root = np.zeros((5, 5))  # a, b, u, v, e
    root[:2, :2], root[2:, 2:] = mix, np.diag([unseen, 1.0, noise])
    x = np.array([*lam, on_unseen, 1.0, 0.0])
    y = beta * x + np.array([*omega, 1.0, 0.0, 1.0])
    take = np.stack([y, x, np.eye(5)[0], np.eye(5)[1]])
    covariance = take @ root @ take.T
    panel = section(with_covariance(covariance), ["y", "x", "a", "b"])
    return panel, 1 - noise / covariance[0, 0]


@pytest.mark.parametrize("delta", [0.5, 1.0, 1.7, 3.0, -0.8])
def test_a_population_with_an_unseen_index_gives_its_effect(delta):
    panel, r2max = population([1.2, -0.3], [0.3, 0.1], 0.3, delta)
    options = {"on": "x", "covariates": ["a", "b"], "absorb": (), "r2max": r2max}
    found = ek.oster(panel, delta=delta, target=0.6, **options)
    assert found.theta[2] == pytest.approx(0.6, abs=EXACT)
    assert found.theta[3] == pytest.approx(delta, abs=EXACT)


def test_where_controls_select_the_other_way_the_effect_is_the_root_left_out():
    """The unseen turns the sign of the controls' own selection, which no data can show."""
    panel, r2max = population([0.7, -0.3], [0.5, 0.4], 1.1, 1.0)
    options = {"on": "x", "covariates": ["a", "b"], "absorb": (), "r2max": r2max}
    found = ek.oster(panel, target=0.6, **options)
    assert found.theta[2] != pytest.approx(0.6, abs=0.1)
    assert found.theta[3] == pytest.approx(1.0, abs=EXACT)
    assert "0.6" in found.meta.notes[-1].removeprefix("other roots: ").split(", ")


def test_a_delta_beyond_the_fold_has_no_answer():
    """Above about two, two roots have met and gone; the one that is left selects the other way."""
    with pytest.raises(IdentificationError, match="delta=3 no root"):
        houses(delta=3.0)


def test_the_delta_for_an_effect_gives_that_effect_back():
    delta = houses(target=0.1).theta[3]
    assert houses(delta=delta).theta[2] == pytest.approx(0.1, abs=EXACT)


def test_a_delta_of_zero_leaves_the_controlled_effect():
    found = houses(delta=0.0)
    assert found.theta[2] == pytest.approx(found.theta[1], abs=EXACT)


def test_one_control_has_no_spurious_root():
    """With one control a root makes its index vanish, exactly up to rounding; it is not taken."""
    for seed in range(8):
        rng = np.random.default_rng(seed)
        unseen, home, v, e = rng.normal(size=(4, 60))
        panel = section(np.stack([home + unseen + e, home + unseen + v, home], axis=1), list("yxh"))
        found = ek.oster(panel, on="x", covariates=["h"], absorb=(), delta=1.0)
        before, after, adjusted, _ = found.theta
        assert (before - after) * (after - adjusted) > 0


@pytest.mark.parametrize("delta", [0.5, 1.0, 1.5])
def test_errors_are_those_of_the_jackknife(delta):
    made = houses(delta=delta, target=0.05)
    again = ek.jackknife(HOUSES, lambda p: houses(p, delta=delta, target=0.05))
    assert made.psi.sum(axis=0) == pytest.approx(np.zeros(4), abs=1e-10)
    assert ek.infer(made).std_error == pytest.approx(again.std_error, rel=NEAR)


def test_a_fixed_r2max_enters_the_error_as_known():
    made = houses(r2max=0.8)
    again = ek.jackknife(HOUSES, lambda p: houses(p, r2max=0.8))
    assert ek.infer(made).std_error == pytest.approx(again.std_error, rel=NEAR)


def test_in_a_panel_the_ends_are_the_two_way_estimates():
    rng = np.random.default_rng(3)
    town, year = np.repeat(np.arange(60), 6), np.tile(np.arange(6), 60)
    x = rng.normal(size=360) + 0.5 * (town < 30) * (year >= 3)
    base = rng.normal(size=60)[town]
    frame = {"town": town, "year": year, "start": np.where(town < 30, 3.0, np.nan), "x": x,
             "base": base, "y": x + 0.2 * base * year + rng.normal(size=360)}  # fmt: skip
    panel = ek.Panel.from_frame(frame, outcome="y", unit="town", time="year", cohort="start",
                                covariates=["x", "base"], provenance="synthetic")  # fmt: skip
    found = ek.oster(panel, covariates=["x"], by_time=["base"])
    short, long = ek.did.two_way(panel), ek.did.two_way(panel, covariates=["x"], by_time=["base"])
    assert found.theta[:2] == pytest.approx([short.theta[0], long.theta[0]], abs=1e-10)
    together = ek.stack({"short": short, "long": long})
    assert found.take([0, 1]).vcov() == pytest.approx(together.vcov(), abs=1e-10)
    assert ek.infer(found).standing.clusters.tolist() == [[30, 30]] * 4


WRONG = {
    "no controls": ({"covariates": []}, OptionError, ["covariates=[...]"]),
    "an unknown treatment": ({"on": "rooms"}, PanelError, ["no covariate 'rooms'"]),
    "treatment no name": ({"on": 3}, OptionError, ["on=3", "column name"]),
    "treatment as control": ({"on": "bedrooms"}, OptionError, ["on='bedrooms'", "controls"]),
    "r2max too low": ({"r2max": 0.4}, OptionError, ["r2max=0.4", "0.5316", "at most 1"]),
    "r2max too high": ({"r2max": 1.2}, OptionError, ["r2max=1.2"]),
    "delta no number": ({"delta": "one"}, OptionError, ["delta='one'"]),
    "target infinite": ({"target": np.inf}, OptionError, ["target=inf"]),
    "not adopted": ({"on": None}, IdentificationError, ["no unit is treated"]),
    "no sequence of effects": ({"absorb": None}, OptionError, ["absorb takes a sequence"]),
    "an effect that is no name": ({"absorb": [3]}, OptionError, ["absorb: 3 is no name"]),
    "a control twice": ({"covariates": ["bedrooms"] * 2}, OptionError, ["twice"]),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_bad_input_says_what_to_do(wrong):
    changes, kind, words = WRONG[wrong]
    given = {"on": "lot", "covariates": ROOMS, "absorb": (), **changes}
    with pytest.raises(kind) as refused:
        ek.oster(HOUSES, **given)
    for word in words:
        assert word in str(refused.value)


def test_controls_that_are_treatment_are_named():
    panel = section(
        np.stack([HOUSES.y, HOUSES.x[:, 0], 2 * HOUSES.x[:, 0]], axis=1), ["y", "x", "twice"]
    )
    with pytest.raises(IdentificationError, match="collinear"):
        ek.oster(panel, on="x", covariates=["twice"], absorb=())


def test_controls_that_explain_nothing_are_refused():
    clean = with_covariance(np.eye(3), 50)
    clean[:, 0] += clean[:, 1]
    with pytest.raises(IdentificationError, match="explain nothing"):
        ek.oster(section(clean, list("yxa")), on="x", covariates=["a"], absorb=())


OUTCOMES = {
    "constant": (lambda x: 0 * x[:, 0] + 0.1, "'y' has no variation left"),
    "wholly explained": (lambda x: x[:, 0] + x[:, 1], "explain 'y' wholly"),
}


@pytest.mark.parametrize(("made", "words"), OUTCOMES.values(), ids=OUTCOMES.keys())
def test_an_outcome_that_leaves_nothing_to_the_unseen_is_refused(made, words):
    x = HOUSES.x[:, :2]
    with pytest.raises(IdentificationError, match=words):
        ek.oster(section(np.column_stack([made(x), x]), ["y", "x", "z"]),
                 on="x", covariates=["z"], absorb=())  # fmt: skip


def test_the_level_of_the_outcome_moves_nothing():
    rows = np.column_stack([HOUSES.y + 1e9, HOUSES.x])
    assert houses(section(rows, ["price", *HOUSES.names])).theta == pytest.approx(
        houses().theta, rel=1e-5
    )
