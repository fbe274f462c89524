"""Inference and bands: what is timed, and how each package is asked for it.

The wild bootstrap tests a static two-way coefficient with 9,999 draws of signs, from a data frame.
A package without fixed effects is given outcome and treatment freed of them, which is not timed.
Sizes of the ordered probit are counties and pupils of each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from harness import Numbers, Suite

import panels

DRAWS, BANDS = 9_999, 5


def pupils(counties: int, each: int) -> Any:
    """Pupils of normal counties, of whom only the band is known."""
    import pandas as pd

    rng = np.random.default_rng(panels.SEED)
    county = np.repeat(np.arange(counties), each)
    mean, sd = 0.3 * rng.normal(size=counties), np.exp(0.1 * rng.normal(size=counties))
    y = mean[county] + sd[county] * rng.normal(size=len(county))
    band = np.searchsorted(np.array([-1.0, -0.3, 0.3, 1.0]), y)
    return pd.DataFrame(
        {"pupil": np.arange(len(y)), "year": 0, "band": band.astype(float), "county": county}
    )


suite = Suite("inference", [(500, 10), (3_000, 20)], (100_000, 10))
suite.task("wild", f"wild cluster bootstrap, {DRAWS:,} draws, null imposed", aim=(10, 10))
suite.task(
    "hetop",
    f"heteroskedastic ordered probit of 3,000 counties by {BANDS} bands",
    data=pupils,
    sizes=[(3_000, 100)],
)
RINGS = [15.0, 30.0]
suite.task("rings", "effects on the treated and on two rings around them", data=panels.placed)
suite.task("oster", "bounds for unseen selection, three controls", data=panels.placed)
suite.task("composition", "trimming bounds for who is tested", data=panels.placed)
suite.task("placebo_outcomes", "two outcomes at once, joint test", data=panels.placed)
suite.task("mean_reversion", "what a pick on the past returns by itself", data=panels.placed)
suite.task("joint", "joint test of an event study, CR2 and its degrees of freedom")


@suite.by("evalkit", "wild")
def evalkit_wild(task: str, frame: Any) -> Numbers:
    import evalkit as ek

    panel = panels.panel(frame, cluster="cl")
    made = ek.did.two_way(panel)
    found = ek.wild_bootstrap(made, draws=DRAWS, seed=1)
    assert 0 < found.p_value[0] <= 1
    return {"coefficient": made.theta}


@suite.by("evalkit", "hetop")
def evalkit_hetop(task: str, frame: Any) -> Numbers:
    import evalkit as ek

    panel = ek.Panel.from_frame(
        frame, outcome="band", unit="pupil", time="year", categories=["county"],
        provenance="synthetic",
    )  # fmt: skip
    return {"icc": ek.gaps.hetop(panel, group="county", by=[]).icc.theta}


@suite.by("evalkit", "rings")
def evalkit_rings(task: str, frame: Any) -> Numbers:
    import evalkit as ek

    panel = panels.panel(frame, covariates=["latitude", "longitude"])
    made = ek.spillover_rings(panel, ek.did.two_way, rings=RINGS)
    return {"effects": made.theta, "their errors": ek.infer(made, vcov="CR0").std_error}


def never_is_zero(frame: Any) -> Any:
    return frame.fillna({"start": 0.0})


@suite.by("diff-diff", "rings", before=never_is_zero)
def diff_diff_rings(task: str, frame: Any) -> Numbers:
    import diff_diff as dd

    made = dd.SpilloverDiD(
        rings=[0.0, *RINGS], d_bar=RINGS[-1], conley_coords=("latitude", "longitude"), cluster="id"
    ).fit(frame, outcome="y", unit="id", time="time", first_treat="start")
    return {"effects": [made.att, *made.spillover_effects["coef"]]}


@suite.by("evalkit", "oster")
def evalkit_oster(task: str, frame: Any) -> Numbers:
    import evalkit as ek

    x = ["x1", "x2", "x3"]
    return {"bounds": ek.oster(panels.panel(frame, covariates=x), by_time=x).theta}


@suite.by("evalkit", "composition")
def evalkit_composition(task: str, frame: Any) -> Numbers:
    import evalkit as ek

    panel = panels.panel(frame, covariates=["seen"])
    return {"bounds": ek.composition_bounds(panel, seen="seen").estimate.theta}


@suite.by("evalkit", "placebo_outcomes")
def evalkit_placebo_outcomes(task: str, frame: Any) -> Numbers:
    import evalkit as ek

    panel = panels.panel(frame, covariates=["other", "x1"])
    made = ek.placebo_outcomes(panel, ek.did.two_way, outcomes=["other"])
    return {"effects": made.theta, "p": ek.wald(made).p_value}


@suite.by("evalkit", "mean_reversion")
def evalkit_mean_reversion(task: str, frame: Any) -> Numbers:
    import evalkit as ek

    return {"parts": ek.mean_reversion(panels.panel(frame)).theta}


@suite.by("evalkit", "joint")
def evalkit_joint(task: str, frame: Any) -> Numbers:
    import evalkit as ek

    panel = panels.panel(frame, cluster="cl")
    before = ek.did.event_study(panel).select(event=lambda e: e < 0)
    return {"p": ek.wald(before, vcov="CR2", few="show").p_value}


@suite.by("pyfixest", "wild")
def pyfixest_wild(task: str, frame: Any) -> Numbers:
    import pyfixest as pf

    made = pf.feols("y ~ d | id + time", frame, vcov={"CRV1": "cl"})
    made.wildboottest(reps=DRAWS, cluster="cl", param="d", seed=1)
    return {"coefficient": made.coef()}


def freed(frame: Any) -> Any:
    """Outcome and treatment of a balanced panel less the means of unit and period."""
    out = frame[["cl"]].copy()
    for name in ("y", "d"):
        x = frame[name].to_numpy(float).reshape(frame["id"].nunique(), -1)
        left = x - x.mean(axis=0) - x.mean(axis=1, keepdims=True) + x.mean()
        out[name] = left.ravel()
    return out


@suite.by("wildboottest", "wild", before=freed)
def wildboottest_wild(task: str, frame: Any) -> Numbers:
    import statsmodels.api as sm
    from wildboottest.wildboottest import wildboottest

    model = sm.OLS(frame["y"], frame[["d"]])
    wildboottest(model, B=DRAWS, cluster=frame["cl"], param="d", seed=1, show=False, parallel=False)
    return {"coefficient": model.fit().params}
