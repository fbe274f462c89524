"""Bounds under violations of parallel trends: slow twins, published numbers, another package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linprog, minimize
from scipy.special import ndtr

import evalkit as ek
from evalkit.core.errors import DoubtWarning, IdentificationError, OptionError
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.inference.honest import Study, folded, frontier, pieces
from panels import medicaid

TABLE = pd.read_csv(Path(__file__).parent / "goldens" / "sensitivity.csv")
# The peer walks a grid of variances to the shortest interval; ours may be shorter, by little.
WALK = 1e-5


def made(p, q, curve):
    """The studies of goldens/make_sensitivity.py."""
    t = np.r_[np.arange(-p, 0), np.arange(1, q + 1)]
    beta = 0.01 * curve * t**2 / p + 0.02 * np.sin(3 * t) + np.where(t > 0, 0.5, 0)
    same = np.sign(t)[:, None] == np.sign(t)
    walk = np.where(same, np.minimum(np.abs(t)[:, None], np.abs(t)), 0)
    return beta, 0.01 * (0.3 * walk + 0.5 + 0.5 * np.eye(p + q))


def event(beta, sigma, p, keys=None):
    """An estimate with these numbers: its contributions are a root of the covariance."""
    q = len(beta) - p
    keys = keys or [*range(-p - 1, -1), *range(q)]
    psi = np.repeat(np.linalg.cholesky(sigma).T, 16, axis=0) / 4
    units = np.arange(len(psi))
    meta = Meta("effect", "made by hand", "score", len(beta), "synthetic")
    return Estimate(beta, psi, units, units, Index.flat("event", keys), meta)


STUDIES = {
    "made 3 and 4": (*made(3, 4, 1.0), 3, np.full(4, 1 / 4)),
    "made 6 and 3": (*made(6, 3, -1.0), 6, np.array([0.5, -0.25, 1.0])),
    "made 1 and 2": (*made(1, 2, 1.0), 1, np.full(2, 1 / 2)),
    "made 10 and 10": (*made(10, 10, 0.5), 10, np.full(10, 1 / 10)),
}


def asked(case):
    """The event study and the weights of a case, with the covariance that goes with it."""
    if case.startswith("ehec"):
        weights = {0: 1.0} if case == "ehec first" else None
        return medicaid(), {"weights": weights, "vcov": "CR1S"}
    beta, sigma, p, share = STUDIES[case]
    return event(beta, sigma, p), {"weights": dict(enumerate(share)), "vcov": "CR0"}


# --- Another package, and R ------------------------------------------------------------------


@pytest.mark.parametrize("row", TABLE.to_dict("records"), ids=lambda r: f"{r['case']} {r['m']}")
def test_moderndid(row):
    estimate, options = asked(row["case"])
    if row["restriction"] == "smoothness":
        found = ek.sensitivity.smoothness(estimate, m=[row["m"]], few="show", **options)
        length, theirs = found.conf_high[0] - found.conf_low[0], row["conf_high"] - row["conf_low"]
        assert length <= theirs * (1 + 1e-6)
        assert found.conf_low[0] == pytest.approx(row["conf_low"], abs=WALK * theirs)
        assert found.conf_high[0] == pytest.approx(row["conf_high"], abs=WALK * theirs)
    else:
        found = ek.sensitivity.relative_magnitudes(estimate, m=[row["m"]], few="show", **options)
        assert found.conf_low[0] == pytest.approx(row["conf_low"], abs=2 * row["noise"])
        assert found.conf_high[0] == pytest.approx(row["conf_high"], abs=2 * row["noise"])


def test_the_exact_quantile_on_the_medicaid_expansion():
    """moderndid prints .025971 and .060715 without bends, where R's simulation has .02594."""
    found = ek.sensitivity.smoothness(medicaid(), m=[0], weights={0: 1.0}, vcov="CR1S")
    assert (found.conf_low[0], found.conf_high[0]) == pytest.approx((0.025971, 0.060715), abs=1e-6)


# --- Twins -----------------------------------------------------------------------------------


def rows_of(p, q, m, s, sign):
    """Inequalities ``A delta <= 0`` of one piece, those that periods after the reference enter."""
    total = p + q + 1
    steps = np.diff(np.eye(total), axis=0)
    largest = sign * steps[s]
    a = np.vstack([steps[p:] - m * largest, -steps[p:] - m * largest])
    return np.delete(a, p, axis=1)


def program(y, x, sd):
    """Least ``eta`` with ``y - x d <= eta sd`` for some d, and the multipliers."""
    k = x.shape[1]
    cost = np.r_[1.0, np.zeros(k)]
    solved = linprog(cost, A_ub=-np.column_stack([sd, x]), b_ub=-y, bounds=(None, None))
    return solved.fun, -solved.ineqlin.marginals


def twin_rejects(theta, a, beta, sigma, p, share, crit, size):
    """The conditional test by linear programs, as the papers state it."""
    gamma = np.vstack([share, np.linalg.svd(share[None])[2][1:]])
    post = a[:, p:] @ np.linalg.inv(gamma)
    y, x, cov = a @ beta - post[:, 0] * theta, post[:, 1:], a @ sigma @ a.T
    sd = np.sqrt(np.diag(cov))
    eta, multipliers = program(y, x, sd)
    if eta > crit:
        return True
    variance = multipliers @ cov @ multipliers
    if variance < 1e-14:
        return eta > 1e-9
    b = cov @ multipliers / variance
    s = y - b * eta
    ends = []
    for direction in (1, -1):
        # The values v at which the same vertex stays optimal: s + b v - x d <= v sd for some d.
        solved = linprog(
            direction * np.r_[1.0, np.zeros(x.shape[1])],
            A_ub=np.column_stack([b - sd, -x]), b_ub=-s + 1e-11, bounds=(None, None),
        )  # fmt: skip
        ends.append(direction * solved.fun if solved.status == 0 else -direction * np.inf)
    low, high = ends[0], min(ends[1], crit)
    root = np.sqrt(variance)
    tail = (ndtr(-eta / root) - ndtr(-high / root)) / (ndtr(-low / root) - ndtr(-high / root))
    return bool(eta > 0 and tail < size)


@pytest.mark.parametrize("case", ["made 3 and 4", "made 6 and 3", "made 1 and 2"])
@pytest.mark.parametrize("m", [0.0, 0.5, 2.0])
def test_the_conditional_test_is_that_of_the_linear_programs(case, m):
    beta, sigma, p, share = STUDIES[case]
    q = len(share)
    found = pieces(Study(beta[:p], beta[p:], sigma, share), m, 0.05)
    size = (0.05 - 0.005) / (1 - 0.005)
    order = [(s, 1) for s in range(p)] + [(s, -1) for s in range(p)]
    compared = 0
    for piece, (s, sign) in enumerate(order):
        a = rows_of(p, q, m, s, sign)
        low, high = found.reach[piece]
        if low > high:
            low, high = beta[p:] @ share + np.array([-0.5, 0.5])
        theta = np.linspace(low - 0.01, high + 0.01, 23)
        ours = found.keep(piece, theta)
        twin = [twin_rejects(t, a, beta, sigma, p, share, found.crit[piece], size) for t in theta]
        assert np.array_equal(ours, ~np.array(twin)), (s, sign)
        compared += ours.sum()
    assert compared > 20


@pytest.mark.slow
def test_the_least_favourable_critical_value_is_the_quantile_of_the_program():
    beta, sigma, p, share = STUDIES["made 3 and 4"]
    found = pieces(Study(beta[:p], beta[p:], sigma, share), 0.5, 0.05)
    a = rows_of(p, len(share), 0.5, 1, 1)
    cov = a @ sigma @ a.T
    sd, root = np.sqrt(np.diag(cov)), a @ np.linalg.cholesky(sigma)
    gamma = np.vstack([share, np.linalg.svd(share[None])[2][1:]])
    x = (a[:, p:] @ np.linalg.inv(gamma))[:, 1:]
    rng = np.random.default_rng(3)
    etas = [program(root @ rng.normal(size=len(beta)), x, sd)[0] for _ in range(3000)]
    beyond = np.mean(np.array(etas) > found.crit[1])
    assert beyond == pytest.approx(0.005, abs=4 * np.sqrt(0.005 / 3000))
    # The same at a level where 3000 draws say more.
    half = pieces(Study(beta[:p], beta[p:], sigma, share), 0.5, 0.999)
    assert np.mean(np.array(etas) > half.crit[1]) == pytest.approx(0.0999, abs=0.022)


def test_the_ends_are_the_ends_of_what_a_fine_grid_keeps():
    beta, sigma, p, share = STUDIES["made 6 and 3"]
    found = pieces(Study(beta[:p], beta[p:], sigma, share), 1.0, 0.05)
    low, high = found.ends()
    grid = np.linspace(low - 0.2, high + 0.2, 4001)
    kept = np.any([found.keep(piece, grid) for piece in range(2 * p)], axis=0)
    step = grid[1] - grid[0]
    assert grid[kept].min() == pytest.approx(low, abs=step)
    assert grid[kept].max() == pytest.approx(high, abs=step)
    assert not found.keeps(low - 1e-6)
    assert found.keeps(low + 1e-6)


def bends_of(p, q):
    """Second differences of a path that is zero at the reference."""
    return np.delete(np.diff(np.eye(p + q + 1), n=2, axis=0), p, axis=1)


def worst(a, bends, m):
    """Largest bias of a linear estimator in which linear violations cancel."""
    return m * np.abs(np.linalg.lstsq(bends.T, a, rcond=None)[0]).sum()


def test_the_worst_bias_is_that_of_a_linear_program_over_paths():
    a, bends = np.array([0.7, -0.2, 0.0, 0.5, 0.5]), bends_of(3, 2)
    a[2] = a[3:] @ [1, 2] - a[:2] @ [3, 2]
    solved = linprog(-a, A_ub=np.vstack([bends, -bends]), b_ub=np.full(8, 0.3), bounds=(None, None))
    assert worst(a, bends, 0.3) == pytest.approx(-solved.fun, rel=1e-9)


@pytest.mark.parametrize("case", ["made 3 and 4", "made 6 and 3", "made 1 and 2"])
@pytest.mark.parametrize("m", [0.001, 0.02, 0.3])
def test_no_linear_estimator_has_a_shorter_interval(case, m):
    beta, sigma, p, share = STUDIES[case]
    away, bends = np.arange(1, len(share) + 1), bends_of(p, len(share))
    path = frontier(Study(beta[:p], beta[p:], sigma, share))
    estimate, half, bias = path.shortest(m, 0.95)

    def length(free):
        v = np.zeros(p)
        v[: p - 1] = free
        v[-1] = share @ away - np.arange(p, 1, -1) @ v[:-1]  # linear violations cancel
        a = np.r_[v, share]
        sd = np.sqrt(a @ sigma @ a)
        return sd * folded(worst(a, bends, m) / sd, 0.95)

    best = length(np.zeros(p - 1))
    for start in range(4 if p > 1 else 0):
        at = np.random.default_rng(start).normal(size=p - 1) * 0.2
        options = {"xatol": 1e-9, "fatol": 1e-12, "maxfev": 900}
        best = min(best, minimize(length, at, method="Nelder-Mead", options=options).fun)
    assert half <= best * (1 + 1e-7)
    assert half == pytest.approx(best, rel=1e-3)  # Nelder-Mead stops near corners
    assert bias <= half
    assert np.isfinite(estimate)


@pytest.mark.parametrize("bias", [0, 0.1, 0.9, 1.1, 3, 40])
def test_the_folded_normal_quantile(bias):
    c = folded(bias, 0.95)
    assert ndtr(c - bias) - ndtr(-c - bias) == pytest.approx(0.95, abs=1e-12)


# --- What the bounds must do -----------------------------------------------------------------


def test_the_breakdown_value_is_where_the_interval_meets_zero():
    beta, sigma, p, _ = STUDIES["made 3 and 4"]
    e = event(beta, sigma / 20, p)
    for bound in (ek.sensitivity.relative_magnitudes, ek.sensitivity.smoothness):
        m = bound(e, m=[1], vcov="CR0", few="show").breakdown
        assert 0 < m < np.inf
        around = bound(e, m=[m * (1 - 1e-4), m * (1 + 1e-4)], vcov="CR0", few="show")
        assert around.conf_low[0] > 0 >= around.conf_low[1]


def test_a_null_result_breaks_down_at_zero_and_a_flat_past_never():
    beta, sigma, p, _ = STUDIES["made 3 and 4"]
    nothing = event(0 * beta, sigma, p)
    assert ek.sensitivity.relative_magnitudes(nothing, vcov="CR0", few="show").breakdown == 0
    assert ek.sensitivity.smoothness(nothing, m=[0], vcov="CR0", few="show").breakdown == 0


def test_scaling_the_outcome_scales_the_bounds_and_signs_mirror_them():
    beta, sigma, p, _ = STUDIES["made 6 and 3"]
    e = event(beta, sigma, p)
    one, ten, minus = (
        ek.sensitivity.relative_magnitudes(c * e, m=[1], vcov="CR0", few="show")
        for c in (1, 10, -1)
    )
    assert ten.conf_low[0] == pytest.approx(10 * one.conf_low[0], rel=1e-8)
    assert minus.conf_low[0] == pytest.approx(-one.conf_high[0], rel=1e-8)
    assert ten.breakdown == pytest.approx(one.breakdown, rel=1e-5)


def test_the_order_of_periods_and_the_name_of_the_reference_do_not_matter():
    beta, sigma, p, _ = STUDIES["made 6 and 3"]
    e = event(beta, sigma, p)
    years = event(beta, sigma, p, [*range(1990, 1996), 1997, 1998, 1999])
    found = ek.sensitivity.relative_magnitudes(e, m=[1], vcov="CR0", few="show")
    other = ek.sensitivity.relative_magnitudes(
        years.take([8, 3, 0, 1, 2, 5, 4, 7, 6]), m=[1], reference=1996, vcov="CR0", few="show"
    )
    assert other.conf_low[0] == pytest.approx(found.conf_low[0], rel=1e-9)


def test_few_treated_clusters_withhold_the_interval_and_say_so():
    rng = np.random.default_rng(1)
    rows = pd.DataFrame({"town": np.repeat(np.arange(30), 5), "year": np.tile(np.arange(5), 30),
                         "y": rng.normal(size=150)})  # fmt: skip
    rows["start"] = np.where(rows["town"] < 3, 3.0, np.nan)
    panel = ek.Panel.from_frame(rows, outcome="y", unit="town", time="year", cohort="start",
                                provenance="synthetic")  # fmt: skip
    study = ek.did.event_study(panel)
    with pytest.warns(DoubtWarning):
        found = ek.sensitivity.relative_magnitudes(study)
    assert np.isnan(found.conf_low).all()
    assert "withheld" in repr(found)


def varying():
    rng = np.random.default_rng(2)
    rows = pd.DataFrame({"town": np.repeat(np.arange(60), 6), "year": np.tile(np.arange(6), 60),
                         "y": rng.normal(size=360)})  # fmt: skip
    rows["start"] = np.where(rows["town"] < 30, 3.0, np.nan)
    return ek.Panel.from_frame(rows, outcome="y", unit="town", time="year", cohort="start",
                               provenance="synthetic")  # fmt: skip


def test_group_time_effects_with_a_universal_base_are_an_event_study():
    cells = ek.did.callaway_santanna(varying(), base="universal")
    index = [t - g for g, t in cells.index.keys]
    study = cells.relabel(Index.flat("event", index))
    twin = ek.did.event_study(varying())
    one, two = (ek.sensitivity.relative_magnitudes(e, m=[1], vcov="CR0") for e in (study, twin))
    assert one.conf_low[0] == pytest.approx(two.conf_low[0], rel=1e-6)


BETA, SIGMA, P, _ = STUDIES["made 3 and 4"]
WRONG = {
    "no leads": (lambda e: e.select(event=lambda t: t > -1), {}, IdentificationError,
                 ["before the reference -1", "leads"]),
    "no lags": (lambda e: e.select(event=lambda t: t < 0), {}, IdentificationError,
                ["after the reference"]),
    "a gap": (lambda e: e.take([0, 1, 3, 4]), {}, IdentificationError, ["equal steps", "-4, -3"]),
    "no bounds": (lambda e: e, {"m": []}, OptionError, ["zero or more"]),
    "a negative bound": (lambda e: e, {"m": [-1]}, OptionError, ["m=[-1]", "zero or more"]),
    "a level": (lambda e: e, {"level": 95}, OptionError, ["level=95", "0.95"]),
    "weights of nobody": (lambda e: e, {"weights": {9: 1.0}}, OptionError, ["{9: 1.0}", "0, 1"]),
    "a list of weights": (lambda e: e, {"weights": [1, 2]}, OptionError, ["{0: 1.0}"]),
    "two levels": (lambda e: ek.stack({"a": e}), {}, IdentificationError,
                   ["one coordinate per period", "aggregate"]),
    "singular": (lambda e: e.contrast(np.vstack([np.eye(7)[:6], np.eye(7)[5]]), e.index), {},
                 IdentificationError, ["singular", "select()"]),
    "a varying base": (
        lambda e: ek.aggregate(ek.did.callaway_santanna(varying())).relabel(
            Index.flat("event", [-1])), {}, IdentificationError, ['base="universal"']),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_bad_input_says_what_to_do(wrong):
    change, options, kind, words = WRONG[wrong]
    e = change(event(BETA, SIGMA, P))
    with pytest.raises(kind) as refused:
        ek.sensitivity.relative_magnitudes(e, **{"vcov": "CR0", "few": "show", **options})
    for word in words:
        assert word in str(refused.value)
