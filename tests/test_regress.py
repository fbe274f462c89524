"""Least squares with absorbed effects against brute force: dense dummies, explicit refits, explicit
matrix formulas and linearmodels."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core.arrays import Groups
from evalkit.core.errors import (
    CombinationError,
    DoubtWarning,
    IdentificationError,
    OptionError,
)
from evalkit.engines.absorb import Absorber
from evalkit.engines.regress import least_squares

DENSE = 1e-10  # two backward-stable solutions of the same well-conditioned problem
REFIT = 1e-9  # a deleted cluster leaves designs with larger condition numbers


def rows(n=90, seed=0, *, gaps=True, weighted=True):
    """A frame with three crossed effects, two regressors, weights and clusters of towns."""
    rng = np.random.default_rng(seed)
    town, year = np.repeat(np.arange(n // 6), 6), np.tile(np.arange(6), n // 6)
    frame = pd.DataFrame({"town": town, "year": year})
    frame["district"] = np.minimum(town // 2, n // 6 // 2 - 2)
    frame["school_type"] = rng.integers(0, 4, n)
    frame["x1"] = rng.normal(size=n) + 0.3 * year
    frame["x2"] = rng.normal(size=n) + 0.1 * town
    frame["w"] = rng.uniform(0.3, 3, n) if weighted else 1.0
    frame["y"] = frame.x1 - 2 * frame.x2 + rng.normal(size=n) * (1 + frame.x1**2) + 0.2 * town
    return frame[rng.uniform(size=n) > 0.15].reset_index(drop=True) if gaps else frame


def panel(frame, cluster="district", **options):
    given = {
        "outcome": "y", "unit": "town", "time": "year", "weight": "w", "covariates": ["x1", "x2"],
        "categories": ["school_type"], "provenance": "synthetic",
    }  # fmt: skip
    return ek.Panel.from_frame(frame, cluster=cluster, **{**given, **options})


def dummies(frame, effects):
    """Every category of every effect, collinear ones included."""
    blocks = [
        pd.get_dummies(frame[list(effect)].astype(str).agg("-".join, axis=1)).to_numpy(float)
        for effect in ((e,) if isinstance(e, str) else e for e in effects)
    ]
    return np.hstack(blocks) if blocks else np.ones((len(frame), 1))


class Dense:
    """Weighted least squares on regressors and dummies, by pseudo-inverses, n x n and all."""

    def __init__(self, frame, effects, names=("x1", "x2"), outcome="y"):
        self.p = len(names)
        self.root = np.sqrt(frame.w.to_numpy())
        x = np.hstack([frame[list(names)].to_numpy(), dummies(frame, effects)])
        self.x = x * self.root[:, None]
        self.y = frame[outcome].to_numpy() * self.root
        self.bread = np.linalg.pinv(self.x.T @ self.x, rcond=1e-11, hermitian=True)
        self.beta = self.bread @ self.x.T @ self.y
        self.e = self.y - self.x @ self.beta
        self.keep = np.eye(len(x)) - self.x @ self.bread @ self.x.T

    def cr0(self, cluster):
        total = np.zeros_like(self.bread)
        for g in np.unique(cluster):
            score = self.x[cluster == g].T @ self.e[cluster == g]
            total += np.outer(score, score)
        return (self.bread @ total @ self.bread)[: self.p, : self.p]

    def root_inverse(self, mine):
        """(I - H)_gg to the power -1/2, by singular values."""
        u, s, _ = np.linalg.svd(self.keep[np.ix_(mine, mine)], hermitian=True)
        power = np.where(s > 1e-8, np.where(s > 1e-8, s, 1) ** -0.5, 0)
        return (u * power) @ u.T

    def cr2(self, cluster):
        total = np.zeros((self.p, self.p))
        for g in np.unique(cluster):
            mine = cluster == g
            score = (self.bread @ self.x[mine].T @ self.root_inverse(mine) @ self.e[mine])[: self.p]
            total += np.outer(score, score)
        return total

    def satterthwaite(self, cluster, combination, kind="CR2"):
        """The G x G matrix of Pustejovsky and Tipton (2018), entry by entry."""
        groups = [cluster == g for g in np.unique(cluster)]
        loading = self.bread[:, : self.p] @ combination
        a = []
        for mine in groups:
            b = self.root_inverse(mine)
            a.append((b if kind == "CR2" else b @ b) @ self.x[mine] @ loading)
        m = np.array(
            [
                [a[g] @ self.keep[np.ix_(groups[g], groups[h])] @ a[h] for h in range(len(groups))]
                for g in range(len(groups))
            ]
        )
        return np.trace(m) ** 2 / (m**2).sum()


def delete_one(frame, effects, cluster):
    """Sum over clusters of squared changes of the coefficients when the cluster is left out."""
    full = Dense(frame, effects).beta[:2]
    total = np.zeros((2, 2))
    for g in np.unique(cluster):
        change = full - Dense(frame[cluster != g], effects).beta[:2]
        total += np.outer(change, change)
    return total


EFFECTS = {
    "none": (),
    "one": ("town",),
    "time only": ("year",),
    "two": ("town", "year"),
    "three": ("town", "year", "school_type"),
    "interaction": ("town", ("school_type", "year")),
    "coarse": ("district", "year"),
    "nested": ("town", "district"),
    "nested, two": ("town", "district", "year"),
}
NAMES = {"town": "unit", "year": "time", "district": "cluster", "school_type": "school_type"}


def absorb(effects):
    """The same effects in the words of a panel."""
    return tuple(NAMES[e] if isinstance(e, str) else tuple(NAMES[n] for n in e) for e in effects)


FRAMES = {
    "balanced": rows(gaps=False, weighted=False),
    "weighted": rows(gaps=False),
    "unbalanced": rows(weighted=False),
    "weighted, unbalanced": rows(),
}


@pytest.fixture(params=EFFECTS.values(), ids=EFFECTS.keys())
def effects(request):
    return request.param


@pytest.fixture(params=FRAMES.values(), ids=FRAMES.keys())
def frame(request):
    return request.param


def close(a, b, tolerance):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max())


def test_coefficients_and_cr0_equal_those_with_dense_dummies(frame, effects):
    estimate = ek.did.regression(panel(frame), on=["x1", "x2"], absorb=absorb(effects))
    dense = Dense(frame, effects)
    close(estimate.theta, dense.beta[:2], DENSE)
    close(estimate.vcov(), dense.cr0(frame.district.to_numpy()), DENSE)


def test_clusters_of_single_units_give_the_same_as_dense_dummies(frame, effects):
    by_town = panel(frame, cluster=None, categories=["school_type", "district"])
    words = tuple("district" if word == "cluster" else word for word in absorb(effects))
    estimate = ek.did.regression(by_town, on=["x1", "x2"], absorb=words)
    close(estimate.vcov(), Dense(frame, effects).cr0(frame.town.to_numpy()), DENSE)


def disconnected(frame):
    """Two sets of towns that share no year."""
    early = frame.town % 2 == 0
    return frame[(early & (frame.year < 3)) | (~early & (frame.year >= 3))].reset_index(drop=True)


@pytest.mark.parametrize("kind", ["CR0", "CR2", "CR3"])
def test_disconnected_effects_are_absorbed_exactly(kind):
    frame = disconnected(rows(n=180, seed=4))
    effects, cluster = ("town", "year"), frame.town.to_numpy()
    estimate = ek.did.regression(panel(frame, cluster=None), on=["x1", "x2"])
    dense = Dense(frame, effects)
    close(estimate.theta, dense.beta[:2], DENSE)
    expected = {
        "CR0": lambda: dense.cr0(cluster),
        "CR2": lambda: dense.cr2(cluster),
        "CR3": lambda: delete_one(frame, effects, cluster),
    }[kind]()
    close(ek.infer(estimate, vcov=kind).vcov, expected, REFIT)


def test_the_rank_of_disconnected_effects_counts_every_component():
    frame = disconnected(rows(n=180, seed=4))
    groups = [Groups.of(frame[name].to_numpy()) for name in ("town", "year")]
    absorber = Absorber(groups, frame.w.to_numpy())
    assert absorber.rank == np.linalg.matrix_rank(dummies(frame, ("town", "year")))


def test_the_rank_of_effects_is_that_of_their_dummies(frame, effects):
    groups = [
        Groups.of(frame[[*((e,) if isinstance(e, str) else e)]].astype(str).agg("-".join, axis=1))
        for e in effects
    ] or [Groups(np.zeros(len(frame), np.intp), 1)]
    rank = Absorber(groups, frame.w.to_numpy()).rank
    assert rank == np.linalg.matrix_rank(dummies(frame, effects))


def test_residuals_are_orthogonal_to_every_effect_and_absorbing_twice_changes_nothing(frame):
    groups = [Groups.of(frame[name].to_numpy()) for name in ("town", "year", "school_type")]
    absorber = Absorber(groups, frame.w.to_numpy())
    z = frame[["x1", "x2", "y"]].to_numpy()
    once = absorber.residual(z)
    for group in groups:
        assert np.abs(group.sum(once * frame.w.to_numpy()[:, None])).max() < DENSE
    close(absorber.residual(once), once, DENSE)


def test_fitted_values_equal_those_with_dense_dummies(frame):
    effects = ("town", "year")
    dense = Dense(frame, effects)
    fit = least_squares(
        frame.y.to_numpy(),
        frame[["x1", "x2"]].to_numpy(),
        names=["x1", "x2"],
        effects=[Groups.of(frame[name].to_numpy()) for name in effects],
        weight=frame.w.to_numpy(),
        unit=Groups.of(frame.town.to_numpy()),
    )
    close(fit.residual * dense.root, dense.e, DENSE)


def test_cr3_is_the_delete_one_cluster_jackknife(frame, effects):
    estimate = ek.did.regression(panel(frame), on=["x1", "x2"], absorb=absorb(effects))
    expected = delete_one(frame, effects, frame.district.to_numpy())
    with pytest.warns(DoubtWarning):
        close(ek.infer(estimate, vcov="CR3").vcov, expected, REFIT)


def test_cr3_is_the_delete_one_unit_jackknife_when_units_are_clusters(frame):
    for effects in (("town", "year"), ("year",), ()):
        estimate = ek.did.regression(
            panel(frame, cluster=None), on=["x1", "x2"], absorb=absorb(effects)
        )
        expected = delete_one(frame, effects, frame.town.to_numpy())
        close(ek.infer(estimate, vcov="CR3").vcov, expected, REFIT)


def test_cr3_survives_a_cluster_that_takes_a_dummy_with_it():
    """Year 9 is seen in district 0 only: without that district the year is gone, not the fit."""
    frame = rows(n=180, seed=2)
    frame.loc[(frame.district == 0) & (frame.year == 5), "year"] = 9
    effects = ("town", "year")
    estimate = ek.did.regression(panel(frame), on=["x1", "x2"])
    expected = delete_one(frame, effects, frame.district.to_numpy())
    close(ek.infer(estimate, vcov="CR3").vcov, expected, REFIT)
    dense = Dense(frame, effects)
    close(ek.infer(estimate, vcov="CR2").vcov, dense.cr2(frame.district.to_numpy()), REFIT)


def test_cr2_is_the_explicit_formula(frame, effects):
    estimate = ek.did.regression(panel(frame), on=["x1", "x2"], absorb=absorb(effects))
    with pytest.warns(DoubtWarning):
        found = ek.infer(estimate, vcov="CR2").vcov
    close(found, Dense(frame, effects).cr2(frame.district.to_numpy()), REFIT)


@pytest.mark.parametrize("kind", ["CR2", "CR3"])
@pytest.mark.parametrize("combination", [(1, 0), (0, 1), (1, -2)])
def test_satterthwaite_degrees_are_the_explicit_g_by_g_formula(frame, effects, kind, combination):
    estimate = ek.did.regression(panel(frame), on=["x1", "x2"], absorb=absorb(effects))
    with pytest.warns(DoubtWarning):
        found = ek.infer(estimate.contrast([combination], ["c"]), vcov=kind).dof
    dense = Dense(frame, effects)
    expected = dense.satterthwaite(frame.district.to_numpy(), np.array(combination, float), kind)
    close(found, np.array([expected]), REFIT)


def test_cr2_is_unbiased_when_the_errors_are_independent():
    """With unit variances the mean of CR2 over errors is the true covariance: exact, no draws."""
    frame = rows(n=60, weighted=False)
    dense = Dense(frame, ("town", "year"))
    cluster = frame.district.to_numpy()
    mean = np.zeros((2, 2))
    for g in np.unique(cluster):
        mine = cluster == g
        a = (dense.bread @ dense.x[mine].T @ dense.root_inverse(mine))[:2]
        mean += a @ dense.keep[np.ix_(mine, mine)] @ a.T
    close(mean, dense.bread[:2, :2], REFIT)


REPRESENTATIONS = {
    "towns absorbed, years as columns": (("unit",), "year"),
    "years absorbed, towns as columns": (("time",), "town"),
}


@pytest.mark.parametrize("kind", ["CR2", "CR3"])
@pytest.mark.parametrize("shape", REPRESENTATIONS.values(), ids=REPRESENTATIONS.keys())
@pytest.mark.parametrize("cluster", ["district", None])
def test_effects_and_their_dummies_are_the_same_design(kind, shape, cluster):
    absorbed, explicit = shape
    frame = rows(n=120, seed=6)
    columns = pd.get_dummies(frame[explicit], prefix="d", drop_first=True).astype(float)
    wide = pd.concat([frame, columns], axis=1)
    given = panel(wide, cluster=cluster, covariates=["x1", "x2", *columns])
    one = ek.did.regression(given, on=["x1", "x2"])
    two = ek.did.regression(given, on=["x1", "x2", *columns], absorb=absorbed)
    close(two.theta[:2], one.theta, DENSE)
    two = two.select(term=["x1", "x2"])
    close(two.psi, one.psi, DENSE)
    a, b = (_infer(e, kind) for e in (one, two))
    close(b.vcov, a.vcov, REFIT)
    close(b.dof, a.dof, REFIT)


def _infer(estimate, kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoubtWarning)
        return ek.infer(estimate, vcov=kind)


@pytest.mark.parametrize("kind", ["CR1S", "CR2", "CR3"])
def test_scrambled_rows_give_the_same_errors(kind):
    frame = rows(n=180)
    one = ek.infer(ek.did.regression(panel(frame), on=["x1", "x2"]), vcov=kind)
    mixed = frame.sample(frac=1, random_state=1)
    two = ek.infer(ek.did.regression(panel(mixed), on=["x1", "x2"]), vcov=kind)
    assert one.vcov.tobytes() == two.vcov.tobytes()
    assert one.dof.tobytes() == two.dof.tobytes()


@pytest.mark.parametrize("kind", ["CR1", "CR1S", "CR2", "CR3"])
@pytest.mark.parametrize("factor", [1e-3, 1e4])
def test_weights_matter_only_up_to_scale(kind, factor):
    frame = rows(n=180)
    one = ek.infer(ek.did.regression(panel(frame), on=["x1", "x2"]), vcov=kind)
    heavier = panel(frame.assign(w=factor * frame.w))
    two = ek.infer(ek.did.regression(heavier, on=["x1", "x2"]), vcov=kind)
    close(two.vcov, one.vcov, DENSE)
    close(two.dof, one.dof, DENSE)


def test_errors_grow_from_cr0_to_cr3():
    estimate = ek.did.regression(panel(rows(n=180)), on=["x1", "x2"])
    errors = [ek.infer(estimate, vcov=kind).std_error for kind in ("CR0", "CR1", "CR2", "CR3")]
    assert (errors[0] < errors[1]).all()
    assert (errors[0] < errors[2]).all()
    assert (errors[2] < errors[3]).all()


# CR1S. The fixest formula is CR0 x G/(G-1) x (n-1)/(n-k), where k counts coefficients and effects,
# and all effects nested in the clusters count as one intercept.
PARAMETERS = {
    "none": 2 + 1,  # intercept
    "one": 2 + 1,  # towns nested in districts: one
    "time only": 2 + 6,
    "two": 2 + 1 + 5,  # one for the towns, years less one
    "three": 2 + 1 + 5 + 3,
    "coarse": 2 + 1 + 5,
    "nested": 2 + 1,  # a district is a sum of its towns
    "nested, two": 2 + 1 + 5,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_cr1s_is_the_formula_of_fixest(name):
    frame, effects = rows(n=180), EFFECTS[name]
    estimate = ek.did.regression(panel(frame), on=["x1", "x2"], absorb=absorb(effects))
    n, k, groups = len(frame), PARAMETERS[name], frame.district.nunique()
    expected = estimate.vcov() * groups / (groups - 1) * (n - 1) / (n - k)
    close(ek.infer(estimate, vcov="CR1S").vcov, expected, DENSE)


LM_EFFECTS = {
    "pooled": ((), {}),
    "unit": (("unit",), {"entity_effects": True}),
    "two-way": (("unit", "time"), {"entity_effects": True, "time_effects": True}),
}


@pytest.mark.parametrize("design", LM_EFFECTS.values(), ids=LM_EFFECTS.keys())
@pytest.mark.parametrize("weighted", [False, True])
def test_coefficients_and_cr1s_equal_those_of_linearmodels(design, weighted):
    """PanelOLS with both corrections is CR0 x G/(G-1) x (n-1)/n x n/(n-k'), where k' counts the
    columns given and, with count_effects, every effect. CR1S has the same form with its own k,
    so the two differ by (n-k')/(n-k) and by nothing else."""
    from linearmodels.panel import PanelOLS

    words, options = design
    frame = rows(n=180, weighted=weighted)
    indexed = frame.set_index(["town", "year"])
    x = indexed[["x1", "x2"]].assign(**({} if options else {"one": 1.0}))
    theirs = PanelOLS(indexed.y, x, weights=indexed.w if weighted else None, **options).fit(
        cov_type="clustered",
        clusters=indexed[["district"]],
        debiased=True,
        group_debias=True,
        auto_df=False,
        count_effects=False,
    )
    estimate = ek.did.regression(panel(frame), on=["x1", "x2"], absorb=words)
    close(estimate.theta, theirs.params[["x1", "x2"]].to_numpy(), DENSE)
    n = len(frame)
    k_theirs, k_ours = (
        x.shape[1],
        {"pooled": 3, "unit": 3, "two-way": 8}[
            next(name for name, d in LM_EFFECTS.items() if d is design)
        ],
    )
    factor = (n - k_theirs) / (n - k_ours)
    expected = theirs.cov.loc[["x1", "x2"], ["x1", "x2"]].to_numpy() * factor
    close(ek.infer(estimate, vcov="CR1S").vcov, expected, DENSE)


def instrumented(n=180, seed=0):
    frame = rows(n=n, seed=seed)
    rng = np.random.default_rng(seed + 100)
    frame["z1"], frame["z2"] = rng.normal(size=(2, len(frame)))
    shock = rng.normal(size=len(frame))
    frame["d"] = frame.z1 - 0.5 * frame.z2 + shock + 0.2 * frame.x1
    frame["y"] = frame.y + 2 * frame.d + 3 * shock
    return frame


def iv_panel(frame):
    return panel(frame, covariates=["x1", "x2", "z1", "z2", "d"])


@pytest.mark.parametrize("instruments", [["z1"], ["z1", "z2"]])
@pytest.mark.parametrize("order", [["d", "x1", "x2"], ["x1", "d", "x2"], ["x2", "x1", "d"]])
def test_two_stage_least_squares_equals_linearmodels_on_dummies(instruments, order):
    """IV2SLS without debiasing is CR0; with it, CR0 x G/(G-1) x (n-1)/(n-k'), k' = all columns."""
    from linearmodels.iv import IV2SLS

    frame = instrumented()
    effects = pd.get_dummies(frame[["town", "year"]].astype(str)).astype(float).iloc[:, 1:]
    exogenous = pd.concat([frame[["x1", "x2"]], effects, pd.Series(1.0, frame.index)], axis=1)
    exogenous = exogenous.drop(columns="year_0")
    exogenous.columns = [str(name) for name in exogenous]
    model = IV2SLS(frame.y, exogenous, frame[["d"]], frame[instruments], weights=frame.w)
    estimate = ek.did.regression(
        iv_panel(frame), on=order, endogenous=["d"], instruments=instruments
    )
    for debiased in (False, True):
        theirs = model.fit(cov_type="clustered", clusters=frame.district, debiased=debiased)
        close(estimate.theta, theirs.params[order].to_numpy(), DENSE)
        n, groups = len(frame), frame.district.nunique()
        k = exogenous.shape[1] + 1
        factor = groups / (groups - 1) * (n - 1) / (n - k) if debiased else 1.0
        close(estimate.vcov() * factor, theirs.cov.loc[order, order].to_numpy(), DENSE)


def test_two_stage_least_squares_by_cr1s_counts_nested_towns_once():
    frame = instrumented()
    estimate = ek.did.regression(
        iv_panel(frame), on=["d", "x1"], endogenous=["d"], instruments=["z1"]
    )
    n, groups = len(frame), frame.district.nunique()
    expected = estimate.vcov() * groups / (groups - 1) * (n - 1) / (n - (2 + 1 + 5))
    close(ek.infer(estimate, vcov="CR1S").vcov, expected, DENSE)


def test_an_exogenous_regressor_as_its_own_instrument_gives_least_squares():
    frame = instrumented()
    given = panel(frame.assign(copy=frame.d), covariates=["x1", "x2", "d", "copy"])
    two = ek.did.regression(given, on=["d", "x1"], endogenous=["d"], instruments=["copy"])
    one = ek.did.regression(given, on=["d", "x1"])
    close(two.theta, one.theta, DENSE)
    close(two.psi, one.psi, DENSE)


def test_dose_iv_is_two_stage_least_squares_with_one_instrument():
    frame = instrumented()
    frame["dose"] = frame.groupby("town")["x1"].transform("first")
    frame["dose_post"] = frame.dose * (frame.year >= 3)
    frame["d"] = frame.d + 2 * frame.dose_post
    frame["y"] = frame.y + 4 * frame.dose_post
    given = panel(frame, dose="dose", covariates=["d", "dose_post"])
    ratio = ek.did.dose_iv(given, exposure="d", start=3)
    two = ek.did.regression(given, on=["d"], endogenous=["d"], instruments=["dose_post"])
    close(ratio.theta[:1], two.theta, DENSE)
    close(ratio.psi[:, :1], two.psi, DENSE)


@pytest.mark.parametrize("kind", ["CR2", "CR3"])
def test_leverage_corrections_are_refused_for_instruments(kind):
    frame = instrumented()
    estimate = ek.did.regression(iv_panel(frame), on=["d"], endogenous=["d"], instruments=["z1"])
    with pytest.raises(CombinationError, match="instrument"):
        ek.infer(estimate, vcov=kind)


def test_too_few_instruments_are_refused():
    frame = instrumented()
    with pytest.raises(IdentificationError, match="at least as many instruments"):
        ek.did.regression(
            iv_panel(frame), on=["d", "x1"], endogenous=["d", "x1"], instruments=["z1"]
        )


def test_an_instrument_that_is_a_regressor_is_named():
    frame = instrumented()
    with pytest.raises(IdentificationError, match="x1"):
        ek.did.regression(
            iv_panel(frame), on=["d", "x1"], endogenous=["d"], instruments=["x1", "z1"]
        )


def test_too_many_categories_are_refused_before_memory_is_asked_for(monkeypatch):
    import evalkit.engines.absorb as absorb_module

    monkeypatch.setattr(absorb_module, "MOST", 3)
    with pytest.raises(OptionError, match="6 categories to absorb"):
        ek.did.regression(panel(rows()), on=["x1"])


def test_large_effects_do_not_cost_digits():
    """Effects a million times the noise: normal equations in one pass would lose six digits."""
    frame = rows(n=180)
    far = frame.assign(y=frame.y + 1e6 * frame.town - 1e6 * frame.year**2)
    near = ek.did.regression(panel(frame), on=["x1", "x2"])
    away = ek.did.regression(panel(far), on=["x1", "x2"])
    np.testing.assert_allclose(away.theta, near.theta, rtol=1e-8)


def test_an_effect_named_alone_in_a_tuple_is_the_effect_itself():
    given = panel(rows(n=180).assign(x2=lambda d: d.town**2.0))
    one = ek.did.regression(given, on=["x1"], by_time=["x2"])
    two = ek.did.regression(given, on=["x1"], absorb=(("unit",), "time"), by_time=["x2"])
    assert two.theta.tobytes() == one.theta.tobytes()


def test_an_effect_named_twice_is_absorbed_once():
    given = panel(rows(n=180))
    one = ek.did.regression(given, on=["x1", "x2"])
    two = ek.did.regression(given, on=["x1", "x2"], absorb=("unit", "time", "unit"))
    close(two.theta, one.theta, DENSE)
    for kind in ("CR1S", "CR2", "CR3"):
        close(ek.infer(two, vcov=kind).vcov, ek.infer(one, vcov=kind).vcov, REFIT)


@pytest.mark.parametrize("shift", [1e4, 1e8])
def test_a_regressor_far_from_zero_keeps_its_coefficient(shift):
    """Years as 2001 or incomes in cents: the level is absorbed, not mistaken for collinearity."""
    frame = rows(n=180)
    far = ek.did.regression(panel(frame.assign(x1=frame.x1 + shift)), on=["x1", "x2"])
    near = ek.did.regression(panel(frame), on=["x1", "x2"])
    np.testing.assert_allclose(far.theta, near.theta, rtol=1e-15 * shift * 100)
