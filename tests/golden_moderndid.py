"""Panels and the numbers that moderndid 0.4.1 gives on them, in ``golden_moderndid.json``.

Run this file where moderndid is installed (Python 3.12) to make the numbers again. Only uniform
draws are used, so that the panels do not depend on a generator's way to a normal. moderndid's logit
stops when the deviance settles, which leaves 1e-8 in the errors; here it is iterated to rest.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

FILE = Path(__file__).with_suffix(".json")
PERIODS = 5


def triple_frame(units: int = 400) -> pd.DataFrame:
    """Cohorts 3, 4, 5 and never (0), eligibility and covariates that drive both, and weights."""
    rng = np.random.default_rng(2505)
    x1, x2 = rng.random(units) - 0.5, rng.random(units) - 0.5
    cohort = np.array([3, 4, 5, 0])[
        np.minimum((4 * (rng.random(units) + 0.2 * x1).clip(0, 0.999)).astype(int), 3)
    ]
    eligible = (rng.random(units) < 0.5 + 0.4 * x1 - 0.2 * x2).astype(int)
    weight = 0.5 + rng.random(units)
    start = np.where(cohort == 0, 9, cohort)
    rows = []
    for t in range(1, PERIODS + 1):
        treated = eligible * (t >= start)
        y = (
            3 * x1
            + t * (0.3 * eligible + 0.1 * start + x1 + 0.5 * x2**2)
            + treated * (1 + 0.5 * (t - start))
            + 2 * (rng.random(units) - 0.5)
        )
        rows.append(pd.DataFrame({"id": np.arange(units), "t": t, "y": y, "start": cohort,
                                  "eligible": eligible, "x1": x1, "x2": x2,
                                  "w": weight}))  # fmt: skip
    return pd.concat(rows, ignore_index=True)


def dose_frame(units: int = 300) -> pd.DataFrame:
    """Two periods, a third of the units without a dose, a curved response."""
    rng = np.random.default_rng(2107)
    dose = np.where(np.arange(units) % 3 == 0, 0.0, 0.1 + 2 * rng.random(units))
    base = rng.random(units)
    change = 0.4 + 1.5 * np.sqrt(dose) - 0.2 * dose**2 + (1 + dose) * (rng.random(units) - 0.5)
    return pd.concat(
        [
            pd.DataFrame({"id": np.arange(units), "t": t, "y": base + t * 0.2 + (t == 2) * change,
                          "dose": dose, "start": np.where(dose > 0, 2, 0)})
            for t in (1, 2)
        ],
        ignore_index=True,
    )  # fmt: skip


TRIPLE: dict[str, dict[str, Any]] = {
    f"{control} {method} {base}{' x' if x else ''}{' w' if w else ''}": {
        "control": control, "method": method, "base": base, "x": x, "w": w
    }
    for control in ("never", "not_yet")
    for method, base, x, w in (
        ("dr", "varying", False, False),
        ("dr", "varying", True, False),
        ("ipw", "varying", True, False),
        ("reg", "varying", True, False),
        ("dr", "universal", True, True),
    )
}  # fmt: skip

DOSE = {"cubic": {"degree": 3, "knots": 0}, "linear": {"degree": 1, "knots": 0},
        "spline": {"degree": 3, "knots": 2}, "broken line": {"degree": 1, "knots": 3}}  # fmt: skip
AT = [0.25, 0.5, 1.0, 1.5, 2.0]


def two_periods(records: bool) -> pd.DataFrame:
    """Cohort 3 against never in periods 2 and 3; as records, other units in each period."""
    frame = triple_frame().query("start in (0, 3) and t in (2, 3)")
    frame = frame[(frame["id"] + frame["t"]) % 3 > 0] if records else frame
    return frame.assign(row=np.arange(len(frame)), d=(frame["start"] > 0) * 1).reset_index(
        drop=True
    )


IMPROVED = {
    f"{'records' if records else 'panel'}{' w' if w else ''}": {"records": records, "w": w}
    for records in (False, True)
    for w in (False, True)
}


def improved(spec: dict[str, Any]) -> Any:
    import moderndid

    frame = two_periods(spec["records"])
    weight = frame["w"].to_numpy() if spec["w"] else None
    design = np.column_stack([np.ones(len(frame)), frame[["x1", "x2"]]])
    y, d, t = (frame[name].to_numpy(float) for name in ("y", "d", "t"))
    if spec["records"]:
        return moderndid.drdid_imp_local_rc(y, (t == 3) * 1, d, design, weight, influence_func=True)
    one, zero = t == 3, t == 2
    return moderndid.drdid_imp_panel(
        y[one], y[zero], d[zero], design[zero], None if weight is None else weight[zero],
        influence_func=True,
    )  # fmt: skip


def triple(frame: pd.DataFrame, spec: dict[str, Any]) -> tuple[Any, Any]:
    import moderndid

    result = moderndid.ddd(
        frame, yname="y", tname="t", idname="id", gname="start", pname="eligible",
        xformla="~ x1 + x2" if spec["x"] else None, est_method=spec["method"],
        control_group={"never": "nevertreated", "not_yet": "notyettreated"}[spec["control"]],
        base_period=spec["base"], weightsname="w" if spec["w"] else None,
    )  # fmt: skip
    return result, {
        kind: moderndid.agg_ddd(result, type=kind, boot=False, cband=False)
        for kind in ("simple", "eventstudy")
    }


def curve(frame: pd.DataFrame, spec: dict[str, Any]) -> Any:
    import moderndid

    return moderndid.cont_did(
        frame, yname="y", tname="t", idname="id", gname="start", dname="dose", dvals=AT,
        degree=spec["degree"], num_knots=spec["knots"], control_group="nevertreated", biters=10,
        random_state=1,
    )  # fmt: skip


def error(influence: Any) -> list[float]:
    """Standard errors from influence functions: root of their sum of squares, over n."""
    influence = np.asarray(influence, float)
    return (np.sqrt((influence**2).sum(axis=0)) / len(influence)).tolist()


def iterate_to_rest() -> None:
    """Let statsmodels' generalized linear models stop only when the coefficients do."""
    import statsmodels.api as sm

    fit = sm.GLM.fit
    sm.GLM.fit = lambda self, **_: fit(self, tol=1e-15, maxiter=60, tol_criterion="params")


def main() -> None:
    """Write the golden numbers."""
    iterate_to_rest()
    out: dict[str, Any] = {"triple": {}, "dose": {}, "improved": {}}
    for name, spec in IMPROVED.items():
        result = improved(spec)
        out["improved"][name] = {
            "att": float(result.att),
            "error": error(np.asarray(result.att_inf_func)[:, None])[0],
        }
    for name, spec in TRIPLE.items():
        result, aggregates = triple(triple_frame(), spec)
        times, cohorts = np.asarray(result.times), np.asarray(result.groups)
        # A universal base is compared with itself there; we leave that cell out.
        keep = (times != cohorts - 1) | (spec["base"] == "varying")
        out["triple"][name] = {
            "cohort": cohorts[keep].tolist(),
            "time": times[keep].tolist(),
            "att": np.asarray(result.att)[keep].tolist(),
            "error": error(np.asarray(result.inf_func_mat)[:, keep]),
            "simple": float(aggregates["simple"].overall_att),
            "simple_error": error(np.asarray(aggregates["simple"].inf_func_overall)),
            "event": np.asarray(aggregates["eventstudy"].egt).tolist(),
            "event_att": np.asarray(aggregates["eventstudy"].att_egt).tolist(),
            "event_error": error(aggregates["eventstudy"].inf_func),
        }
    for name, spec in DOSE.items():
        result = curve(dose_frame(), spec)
        out["dose"][name] = {
            "theta": [*result.att_d, *result.acrt_d, result.overall_att, result.overall_acrt],
            "error": [
                *error(result.att_d_inf_func),
                *error(result.acrt_d_inf_func),
                error(result.overall_att_inf_func),
                error(result.overall_acrt_inf_func),
            ],
        }
    FILE.write_text(json.dumps(out) + "\n")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
