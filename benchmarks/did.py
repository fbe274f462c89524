"""Difference-in-differences: what is timed, and how each package is asked for it.

A call starts from a data frame and ends with numbers and their errors, as a notebook would have it.
What a package wants done to the frame beforehand (an index, dummies, another frame) is not timed.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
from harness import Numbers, Suite

import panels

X3 = ["x1", "x2", "x3"]
CS = ("cs", "cs_draws", "cs_clustered_draws", "cs_covariates", "cs_covariates_draws")
SIZES = [(500, 10), (3_000, 20), (100_000, 10)]
LARGEST = (1_000_000, 10)  # evalkit alone

suite = Suite("did", SIZES, LARGEST)
suite.task(
    "cs", "Callaway-Sant'Anna: all cells, event-time averages, analytic errors", aim=(5, 5, 10)
)
suite.task("cs_draws", "the same with a band from 999 draws, units as clusters", aim=(6, 6, 20))
suite.task("cs_clustered_draws", "the same with a band from 999 draws of clusters", aim=(6, 6, 20))
suite.task("cs_covariates", "Callaway-Sant'Anna, doubly robust, three covariates", aim=(8, 8, 8))
suite.task("cs_covariates_draws", "the same with a band from 999 draws", aim=(8, 8, 8))
suite.task("two_way", "static two-way fixed effects, clustered errors")
suite.task("event_study", "two-way event study, clustered errors", aim=(20, 20, 20))
suite.task("sun_abraham", "Sun-Abraham: saturated, event-time averages", aim=(20, 20, 20))
suite.task("extended_two_way", "extended two-way effects, event-time averages", aim=(20, 20, 20))
suite.task("imputation", "imputation: cells, event-time averages, errors", aim=(8, 20, 20))
suite.task(
    "synthetic",
    "synthetic difference-in-differences, 200 placebos",
    data=panels.block,
    aim=(10, 10, 10),
)


@contextlib.contextmanager
def quiet() -> Any:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


# --- evalkit ------------------------------------------------------------------------------------


def averaged(cells: Any, **options: Any) -> Numbers:
    """Cells and event-time averages, with errors without small-sample factor."""
    import evalkit as ek

    each = ek.infer(cells, vcov="CR0", few="show")
    events = ek.infer(ek.aggregate(cells, by="event"), vcov="CR0", few="show", **options)
    return {
        "cells": each.estimate,
        "cells_error": each.std_error,
        "events": events.estimate,
        "events_error": events.std_error,
    }


BAND = {"band": "multiplier", "draws": 999, "seed": 1}


@suite.by("evalkit", *CS)
def evalkit_cs(task: str, frame: Any) -> Numbers:
    import evalkit as ek

    x = X3 if "covariates" in task else []
    p = panels.panel(frame, covariates=x, cluster="cl" if "clustered" in task else None)
    cells = ek.did.callaway_santanna(p, covariates=x)
    return averaged(cells, **(BAND if task.endswith("draws") else {}))


@suite.by("evalkit", "two_way", "event_study")
def evalkit_regression(task: str, frame: Any) -> Numbers:
    import evalkit as ek

    made = ek.infer(getattr(ek.did, task)(panels.panel(frame)), vcov="CR1S", few="show")
    return {"coefficients": made.estimate, "coefficients_error": made.std_error}


@suite.by("evalkit", "sun_abraham", "extended_two_way", "imputation")
def evalkit_cells(task: str, frame: Any) -> Numbers:
    import evalkit as ek

    cells = getattr(ek.did, task)(panels.panel(frame))
    out = averaged(cells)
    if task != "sun_abraham":
        out["overall"] = ek.aggregate(cells).theta
    return out


@suite.by("evalkit", "synthetic")
def evalkit_synthetic(task: str, frame: Any) -> Numbers:
    import evalkit as ek

    made = ek.placebo(panels.panel(frame), ek.did.synthetic_did, seed=1, draws=200)
    return {"att": made.estimate.theta, "att_error": made.std_error}


# --- peers --------------------------------------------------------------------------------------


@suite.by(
    "moderndid", "cs", "cs_draws", "cs_clustered_draws", "cs_covariates", "cs_covariates_draws"
)
def moderndid_cs(task: str, frame: Any) -> Numbers:
    import moderndid as md

    x, boot = "covariates" in task, task.endswith("draws")
    cells = md.att_gt(
        frame, yname="y", tname="time", idname="id", gname="g", est_method="dr" if x else "reg",
        xformla="~" + "+".join(X3) if x else None, boot=boot, biters=999, random_state=1,
        clustervars=["cl"] if "clustered" in task else None, cband=boot,
    )  # fmt: skip
    events = md.aggte(cells, type="dynamic")
    out = {"cells": cells.att_gt, "events": events.att_by_event}
    errors = {"cells_error": cells.se_gt, "events_error": events.se_by_event}
    return out if boot else {**out, **errors}


@suite.by(
    "diff-diff", "cs", "cs_draws", "cs_clustered_draws", "cs_covariates", "cs_covariates_draws"
)
def diff_diff_cs(task: str, frame: Any) -> Numbers:
    import diff_diff as dd

    x, boot = X3 if "covariates" in task else None, task.endswith("draws")
    made = dd.CallawaySantAnna(
        estimation_method="dr" if x else "reg", n_bootstrap=999 if boot else 0, seed=1,
        cluster="cl" if "clustered" in task else None,
    ).fit(frame, "y", "id", "time", "g", covariates=x)  # fmt: skip
    made.aggregate("event_study")
    cells = made.group_time_effects.values()
    out = {"cells": [cell["effect"] for cell in cells]}
    return out if boot else {**out, "cells_error": [cell["se"] for cell in cells]}


@suite.by("csdid", *CS)
def csdid_cs(task: str, frame: Any) -> Numbers:
    from csdid.att_gt import ATTgt

    boot = task.endswith("draws")
    with quiet():
        made = ATTgt(
            yname="y", tname="time", idname="id", gname="g", data=frame,
            control_group=["nevertreated"], biters=999, cband=boot,
            xformla="y~" + "+".join(X3) if "covariates" in task else None,
            clustervar="cl" if "clustered" in task else None,
        ).fit(est_method="dr" if "covariates" in task else "reg", bstrap=boot)  # fmt: skip
        events = made.aggte("dynamic", bstrap=boot, biters=999, cband=boot)
    out = {"cells": made.results["att"], "events": events.atte["att_egt"]}
    errors = {"cells_error": made.results["se"], "events_error": np.ravel(events.atte["se_egt"])}
    return out if boot else {**out, **errors}


def indexed(frame: Any) -> Any:
    return frame.set_index(["id", "time"])[["y", "start", *X3]]


@suite.by("differences", "cs", "cs_draws", "cs_covariates", "cs_covariates_draws", before=indexed)
def differences_cs(task: str, frame: Any) -> Numbers:
    from differences import ATTgt

    x, draws = "covariates" in task, 999 if task.endswith("draws") else 0
    with quiet():
        made = ATTgt(frame, cohort_column="start").fit(
            "y~" + "+".join(X3) if x else "y", est_method="dr" if x else "reg",
            boot_iterations=draws, random_state=1, progress_bar=False,
        )  # fmt: skip
        made.aggregate("event", overall=True, boot_iterations=draws, random_state=1)
        cells = made.to_pandas()
    return {"cells": cells.iloc[:, 0]} | ({} if draws else {"cells_error": cells.iloc[:, 1]})


@suite.by("pyfixest", "two_way", "event_study")
def pyfixest_regression(task: str, frame: Any) -> Numbers:
    import pyfixest as pf

    # Its degrees of freedom follow the hash seed unless the cluster is a column of its own.
    right = "d" if task == "two_way" else "i(rel, ref=-1)"
    made = pf.feols(
        f"y ~ {right} | id + time", frame.assign(unit=frame["id"]), vcov={"CRV1": "unit"}
    )
    return {"coefficients": made.coef(), "coefficients_error": made.se()}


def dummies(frame: Any) -> Any:
    import pandas as pd

    rel = pd.get_dummies(frame["rel"], prefix="r", dtype=float).drop(columns="r_-1")
    return pd.concat([frame[["id", "time", "y", "d"]], rel], axis=1).set_index(["id", "time"])


@suite.by("linearmodels PanelOLS", "two_way", "event_study", before=dummies)
def linearmodels_panel(task: str, frame: Any) -> Numbers:
    from linearmodels.panel import PanelOLS

    x = frame[["d"]] if task == "two_way" else frame.drop(columns=["y", "d"])
    made = PanelOLS(frame["y"], x, entity_effects=True, time_effects=True).fit(
        cov_type="clustered", cluster_entity=True
    )
    return {"coefficients": made.params, "errors_shown": made.std_errors}


def categorical(frame: Any) -> Any:
    kinds = {"unit": frame["id"].astype("category"), "period": frame["time"].astype("category")}
    return frame.assign(**kinds)


@suite.by("linearmodels AbsorbingLS", "two_way", before=categorical)
def linearmodels_absorbing(task: str, frame: Any) -> Numbers:
    from linearmodels.iv.absorbing import AbsorbingLS

    made = AbsorbingLS(frame["y"], frame[["d"]], absorb=frame[["unit", "period"]]).fit(
        cov_type="clustered", clusters=frame["id"]
    )
    return {"coefficients": made.params, "errors_shown": made.std_errors}


@suite.by("pyfixest", "sun_abraham")
def pyfixest_saturated(task: str, frame: Any) -> Numbers:
    import pyfixest as pf

    made = pf.event_study(frame, "y", "id", "time", "g", estimator="saturated", cluster="id")
    made.aggregate()
    return {"cells": made.coef()}


@suite.by("diff-diff", "sun_abraham")
def diff_diff_sun_abraham(task: str, frame: Any) -> Numbers:
    import diff_diff as dd

    made = dd.SunAbraham().fit(frame, "y", "id", "time", "g")
    return {"events": [event["effect"] for event in made.event_study_effects.values()]}


@suite.by("moderndid", "extended_two_way")
def moderndid_etwfe(task: str, frame: Any) -> Numbers:
    import moderndid as md

    made = md.etwfe(frame, yname="y", tname="time", gname="g", idname="id", cgroup="notyet")
    events = md.emfx(made, type="event")
    return {"events": events.att_by_event}


@suite.by("diff-diff", "extended_two_way")
def diff_diff_etwfe(task: str, frame: Any) -> Numbers:
    import diff_diff as dd

    made = dd.WooldridgeDiD().fit(frame, "y", "id", "time", "g")
    return {"overall": made.overall_att}


@suite.by("etwfe", "extended_two_way")
def etwfe_etwfe(task: str, frame: Any) -> Numbers:
    import etwfe

    with quiet():
        made = etwfe.ETWFE(
            fml="y~1", tvar="time", gvar="g", data=frame, ivar="id", vcov={"CRV1": "id"}
        ).fit()
        events = made.emfx(type="event")
    return {"events": events.iloc[:, 1]}


@suite.by("diff-diff", "imputation")
def diff_diff_imputation(task: str, frame: Any) -> Numbers:
    import diff_diff as dd

    made = dd.ImputationDiD().fit(frame, "y", "id", "time", "g")
    made.aggregate("event_study")
    return {"overall": made.overall_att}


@suite.by("diff-diff two-stage", "imputation")
def diff_diff_two_stage(task: str, frame: Any) -> Numbers:
    import diff_diff as dd

    made = dd.TwoStageDiD().fit(frame, "y", "id", "time", "g")
    made.aggregate("event_study")
    return {"overall": made.overall_att}


@suite.by("pyfixest did2s", "imputation")
def pyfixest_two_stage(task: str, frame: Any) -> Numbers:
    import pyfixest as pf

    made = pf.did2s(frame, "y", "~0 | id + time", "~ i(d, ref=0)", "d", "id")
    pf.did2s(frame, "y", "~0 | id + time", "~ i(rel, ref=-1)", "d", "id")
    return {"overall": made.coef()}


def polars(frame: Any) -> Any:
    import polars as pl

    return pl.from_pandas(frame)


@suite.by("py2sdid", "imputation", before=polars)
def py2sdid_imputation(task: str, frame: Any) -> Numbers:
    import py2sdid

    with quiet():
        made = py2sdid.bjs_did(frame, "y", "id", "time", "g", verbose=False)
    return {"overall": made.att_avg}


@suite.by("py2sdid two-stage", "imputation", before=polars)
def py2sdid_two_stage(task: str, frame: Any) -> Numbers:
    import py2sdid

    with quiet():
        made = py2sdid.ts_did(frame, "y", "id", "time", "g", verbose=False)
    return {"overall": made.att_avg}


@suite.by("did-imputation", "imputation")
def did_imputation_imputation(task: str, frame: Any) -> Numbers:
    import did_imputation

    own = frame[["id", "time", "y", "start"]].copy()
    with quiet():
        made = did_imputation.did_imputation(own, "y", "id", "time", "start")
        did_imputation.did_imputation(own, "y", "id", "time", "start", allhorizons=True)
    return {"overall": list(made.estimates.values())[:1]}


@suite.by("diff-diff", "synthetic")
def diff_diff_synthetic(task: str, frame: Any) -> Numbers:
    import diff_diff as dd

    after = sorted(frame.loc[frame["post"] == 1, "time"].unique())
    made = dd.SyntheticDiD(variance_method="placebo", n_bootstrap=200, seed=1).fit(
        frame, "y", "treat", "id", "time", post_periods=after
    )
    return {"att": made.att}


@suite.by("synthdid-py", "synthetic")
def synthdid_synthetic(task: str, frame: Any) -> Numbers:
    import synthdid as sy

    matrices = sy.panel_matrices(frame, "id", "time", "y", "d")
    made = sy.synthdid_estimate(matrices.Y, matrices.N0, matrices.T0)
    sy.placebo_se(made, replications=200, random_state=1)
    return {"att": float(getattr(made, "estimate", made))}


@suite.by("sdid (200 bootstrap draws)", "synthetic")
def sdid_synthetic(task: str, frame: Any) -> Numbers:
    import sdid

    made = sdid.SyntheticDiffInDiff(frame, "y", "time", "id", "treat", "post")
    with quiet():
        att = made.fit()
        made.estimate_se(n_bootstrap=200, seed=1)
    return {"att": att}
