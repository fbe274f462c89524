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


@suite.by("evalkit", "wild")
def evalkit_wild(task: str, frame: Any) -> Numbers:
    import evalkit as ek

    panel = ek.Panel.from_frame(
        frame, outcome="y", unit="id", time="time", cohort="start", cluster="cl",
        provenance="synthetic",
    )  # fmt: skip
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
