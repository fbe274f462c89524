"""Options of the wrong type give one clear error, never a traceback from inside."""

from __future__ import annotations

import numpy as np
import pytest

import evalkit as ek
from evalkit.core.errors import IdentificationError, OptionError

RNG = np.random.default_rng(5)
STATUS = RNG.uniform(size=120)
FRAME = {
    "town": np.repeat(np.arange(30), 4), "year": np.tile([1, 2, 3, 4], 30),
    "y": np.exp(RNG.normal(size=120)), "start": np.repeat([3.0, np.nan, np.nan], 40),
    "z": STATUS, "lat": 30 + STATUS, "lon": 100 + STATUS, "s": STATUS,
    "group": np.repeat(["u", "r"], 60),
}  # fmt: skip


def panel(**changes):
    return ek.Panel.from_frame(
        {**FRAME, **changes}, outcome="y", unit="town", time="year", cohort="start",
        covariates=["z", "lat", "lon", "s"], categories=["group"], provenance="synthetic",
    )  # fmt: skip


PANEL = panel()
TWO = ek.did.two_way(PANEL)
D, G = ek.did, ek.gaps
SIDES = {"between": "group", "high": "u", "low": "r"}

WRONG = {
    "text for anticipation": (
        lambda: D.callaway_santanna(PANEL, anticipation="1"), "anticipation='1' must be a whole"),
    "half a period": (
        lambda: D.callaway_santanna(PANEL, anticipation=1.5), "anticipation=1.5 must be a whole"),
    "true for a number": (
        lambda: D.callaway_santanna(PANEL, anticipation=True), "anticipation=True must be a whole"),
    "minimum_controls": (lambda: D.imputation(PANEL, minimum_controls="1"), "minimum_controls='1'"),
    "leads": (lambda: D.imputation_pretrends(PANEL, leads=1.5), "leads=1.5 must be a whole"),
    "degree": (lambda: G.gradient(PANEL, along="z", degree=2.5), "degree=2.5 must be a whole"),
    "ridge infinite": (lambda: D.synthetic_control(PANEL, ridge=np.inf), "ridge=inf must be pos"),
    "ridge true": (lambda: D.synthetic_control(PANEL, ridge=True), "ridge=True must be a number"),
    "penalty": (lambda: D.synthetic_did(PANEL, penalty="a"), "penalty='a' must be a number"),
    "level": (lambda: ek.infer(TWO, level="a"), "level='a' must be a number"),
    "level NaN": (lambda: ek.infer(TWO, level=np.nan), "level=nan must lie between 0 and 1"),
    "no estimate": (lambda: ek.infer(3), "estimate is int; give an Estimate"),
    "no estimate to aggregate": (lambda: ek.aggregate(3), "estimate is int; give an Estimate"),
    "no estimate returned": (
        lambda: ek.randomisation(PANEL, lambda p: 1.0, rule="complete", draws=9),
        "what the estimator returns is float"),
    "no estimate compared": (
        lambda: ek.compare(PANEL, {"a": lambda p: 1.0, "b": D.two_way}), "what estimator a ret"),
    "draws": (lambda: ek.wild_bootstrap(TWO, draws=99.5), "draws=99.5 must be a whole"),
    "a negative seed": (lambda: ek.wild_bootstrap(TWO, draws=99, seed=-1), "seed=-1 must be at"),
    "no seed": (lambda: ek.wild_bootstrap(TWO, draws=99, seed=None), "seed=None must be a whole"),
    "bootstrap seed": (
        lambda: ek.bootstrap(PANEL, D.two_way, seed=1.5), "seed=1.5 must be a whole"),
    "horizon": (
        lambda: ek.monitor(TWO.relabel(type(TWO.index)(("time",), ((1,),))), limit=1, warn=1,
                           horizon=1.5), "horizon=1.5 must be a whole"),
    "warn": (
        lambda: ek.monitor(TWO.relabel(type(TWO.index)(("time",), ((1,),))), limit=1, warn="a"),
        "warn='a' must be one or several numbers"),
    "lags": (lambda: ek.driscoll_kraay(TWO, PANEL, lags=1.5), "lags=1.5 must be a whole"),
    "by as text": (lambda: ek.two_way_clusters(TWO, PANEL, by="unit"), "by takes a sequence"),
    "three partitions": (
        lambda: ek.two_way_clusters(TWO, PANEL, by=("unit", "time", "group")), "two partitions"),
    "cutoff": (
        lambda: ek.conley(TWO, PANEL, coordinates=("lat", "lon"), cutoff="a"), "cutoff='a' must"),
    "at as a number": (lambda: G.quantile_gap(PANEL, **SIDES, at=0.5), "at=0.5 must hold"),
    "by as a number": (lambda: G.gap(PANEL, **SIDES, by=3), "takes a sequence of names"),
    "several labels": (
        lambda: G.gap(PANEL, between="group", high=["u", "r"], low="r"), "high=.* several labels"),
    "an infinite cut": (
        lambda: G.hetop(panel(y=np.tile([1.0, 2, 3, 2], 30)), group="group", cuts=[0, np.inf]),
        "2 finite rising numbers"),
    "covariates as text": (
        lambda: D.callaway_santanna(PANEL, covariates="z"), r"covariates=\['z'\]"),
    "covariates of imputation": (
        lambda: D.imputation(PANEL, covariates="s"), r"covariates=\['s'\]"),
    "covariates of two_way": (lambda: D.two_way(PANEL, covariates="z"), r"covariates=\['z'\]"),
    "covariates of synthetic": (
        lambda: D.synthetic_did(PANEL, covariates="z"), r"covariates=\['z'\]"),
    "covariates twice": (lambda: D.two_way(PANEL, covariates=["z", "z"]), "names z twice"),
    "by_time as text": (lambda: D.two_way(PANEL, by_time="z"), r"by_time=\['z'\]"),
    "baseline as text": (lambda: D.extended_two_way(PANEL, baseline="z"), r"baseline=\['z'\]"),
    "baseline of a count": (
        lambda: D.extended_two_way(PANEL, family="poisson", baseline="z"), r"baseline=\['z'\]"),
    "on as text": (lambda: D.regression(PANEL, on="z"), r"on=\['z'\]"),
    "instruments as text": (
        lambda: D.regression(PANEL, on=["z"], endogenous=["z"], instruments="s"),
        r"instruments=\['s'\]"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_option_is_named(name):
    call, match = WRONG[name]
    with pytest.raises(OptionError, match=match):
        call()


def test_a_degree_that_the_ranks_cannot_carry_is_refused():
    with pytest.raises(IdentificationError, match="use a lower degree"):
        ek.gaps.gradient(PANEL, along="z", degree=29, by="time")


def test_signs_of_an_estimate_without_any_variation_are_refused():
    y = np.repeat(np.arange(30.0), 4) * 0 + 1
    with pytest.raises(IdentificationError, match="no cluster moves"):
        ek.wild_bootstrap(ek.did.two_way(panel(y=y)), draws=99)


@pytest.mark.parametrize("metric", ["ge2", "gini", "theil_t", "theil_l"])
def test_the_unit_of_the_outcome_moves_no_inequality_however_large(metric):
    one, two = (G.inequality(panel(y=FRAME["y"] * s), metric=metric, by=()) for s in (1.0, 1e200))
    np.testing.assert_allclose(one.theta, two.theta, rtol=1e-12)
    np.testing.assert_allclose(one.vcov(), two.vcov(), rtol=1e-10)
