"""A panel of counts and passes, and what two packages make of it (``golden_nonlinear.json``).

Run this file where diff-diff 3.13.0 and moderndid 0.4.1 are installed (Python 3.12) to make the
numbers again. Only uniform draws are used, so that the panel does not depend on a generator's way
to a Poisson. diff-diff gives cells with errors; moderndid, which takes covariates like Wooldridge,
averages by event time.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

FILE = Path(__file__).with_suffix(".json")
OUTCOMES = {"poisson": "count", "logit": "passed"}
ITEMS = 12


def frame(units: int = 300, periods: int = 6) -> pd.DataFrame:
    """Cohorts 3, 5 and never (0), a covariate that drives adoption, levels and trends."""
    rng = np.random.default_rng(2023)
    x = rng.random(units) - 0.5
    draw = (3 * (rng.random(units) + 0.2 * x).clip(0, 0.999)).astype(int)
    start = np.array([3, 5, 0])[np.minimum(draw, 2)]
    u = rng.random((units, periods, ITEMS))
    rows = []
    for t in range(1, periods + 1):
        on = (start > 0) & (t >= start)
        index = -0.6 + 0.8 * x + 0.12 * t + 0.2 * (start == 3) + 0.1 * t * x
        p = 1 / (1 + np.exp(-index - on * (0.3 + 0.1 * (t - start))))
        right = u[:, t - 1] < p[:, None]
        rows.append(pd.DataFrame({"id": np.arange(units), "t": t, "start": start, "x": x,
                                  "passed": right[:, 0] * 1.0,
                                  "count": right.sum(axis=1) * 1.0}))  # fmt: skip
    return pd.concat(rows, ignore_index=True)


def main() -> None:
    """Write the golden numbers."""
    import diff_diff
    import moderndid

    out: dict[str, Any] = {}
    ids = {"tname": "t", "gname": "start", "idname": "id"}
    for family, outcome in OUTCOMES.items():
        cells = diff_diff.WooldridgeDiD(method=family).fit(
            frame(), outcome=outcome, unit="id", time="t", first_treat="start"
        )
        event = {}
        for name, formula in (("none", None), ("x", "~ x")):
            fit = moderndid.etwfe(frame(), yname=outcome, family=family, xformla=formula, **ids)
            event[name] = np.asarray(moderndid.emfx(fit, type="event").att_by_event).tolist()
        found = cells.group_time_effects
        out[family] = {
            "cells": [[int(g), int(t)] for g, t in found],
            "att": [cell["att"] for cell in found.values()],
            "error": [cell["se"] for cell in found.values()],
            "event": event,
        }
    FILE.write_text(json.dumps(out) + "\n")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
