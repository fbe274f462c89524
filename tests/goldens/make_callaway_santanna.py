"""Writes data/published/callaway_santanna.csv: group-time effects and averages by moderndid 0.4.1.

Run once in an environment of its own (Python 3.12): ``pip install moderndid==0.4.1``, then
``python tests/goldens/make_callaway_santanna.py``. moderndid was checked against R did 2.5.1 on
the 48 specifications of the case mpdta, to 5e-11. Data: its own copy of mpdta, and changed copies
of it, for which only cells and overall averages are kept.
"""

from __future__ import annotations

import csv
import itertools
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

HEAD = (
    "case", "control", "method", "covariates", "base", "anticipation",
    "by", "cohort", "time", "estimate", "std_error",
)  # fmt: skip
CONTROLS = {"never": "nevertreated", "not_yet": "notyettreated"}
AVERAGES = {"simple": "", "group": "cohort", "dynamic": "event", "calendar": "time"}


def mpdta() -> pd.DataFrame:
    from moderndid import load_mpdta

    frame = pd.DataFrame(load_mpdta().to_dict(as_series=False))
    frame["state"] = frame["countyreal"] // 1000
    frame["weight"] = 1 + (frame["countyreal"] % 7) / 4
    return frame


def changed(frame: pd.DataFrame) -> dict[str, tuple[pd.DataFrame, dict[str, object]]]:
    """The edge cases; every change is a rule, none a draw. The tests repeat the same rules."""
    county, year = frame["countyreal"], frame["year"]
    always = frame["first.treat"].where((frame["first.treat"] != 2004) | (county % 4 != 1), 2003)
    single = (frame["first.treat"] != 2006) | (county == county[frame["first.treat"] == 2006].min())
    holes = (county // 3 + 3 * year) % 11 > 0
    return {
        "weights": (frame, {"weightsname": "weight"}),
        "states": (frame, {"clustervars": ["state"]}),
        "no never": (frame[frame["first.treat"] > 0], {}),
        "always": (frame.assign(**{"first.treat": always}), {}),
        "gap": (frame[year != 2005], {}),
        "single": (frame[single], {}),
        "holes dropped": (frame[holes], {}),
        "holes as records": (frame[holes], {"allow_unbalanced_panel": True}),
        "records": (frame.assign(row=np.arange(len(frame))), {"panel": False, "idname": None}),
        "weighted records": (
            frame.assign(row=np.arange(len(frame))),
            {"panel": False, "idname": None, "weightsname": "weight"}),
    }  # fmt: skip


def run(frame, spec, extra):
    from moderndid import aggte, att_gt

    control, method, covariates, base, anticipation = spec
    options = {
        "yname": "lemp", "tname": "year", "idname": "countyreal", "gname": "first.treat",
        "xformla": f"~ {covariates}" if covariates else None, "est_method": method,
        "control_group": CONTROLS[control], "base_period": base, "anticipation": anticipation,
        "boot": False, "cband": False,
    }  # fmt: skip
    result = att_gt(data=frame, **{**options, **extra})
    cells = zip(result.groups, result.times, result.att_gt, result.se_gt, strict=True)
    yield from (("cell", int(g), int(t), a, s) for g, t, a, s in cells if np.isfinite(s))
    if not np.isfinite(result.att_gt).all():
        return
    for kind, by in AVERAGES.items():
        average = aggte(result, type=kind, boot=False, cband=False)
        yield (f"overall {by}".strip(), "", "", average.overall_att, average.overall_se)
        if by:
            both = zip(average.event_times, average.att_by_event, average.se_by_event, strict=True)
            yield from ((by, "", int(key), a, s) for key, a, s in both if np.isfinite(s))


def main() -> None:
    warnings.simplefilter("ignore")
    frame = mpdta()
    grid = list(
        itertools.product(
            CONTROLS, ("dr", "ipw", "reg"), ("", "lpop"), ("varying", "universal"), (0, 1)
        )
    )
    rows = [("mpdta", *spec, *line) for spec in grid for line in run(frame, spec, {})]
    for case, (table, extra) in changed(frame).items():
        controls = ("not_yet",) if case == "no never" else tuple(CONTROLS)
        for control, (covariates, method) in itertools.product(
            controls, (("", "dr"), ("lpop", "dr"), ("lpop", "reg"))
        ):
            spec = (control, method, covariates, "varying", 0)
            lines = run(table, spec, extra)
            rows += [(case, *spec, *line) for line in lines if line[0] not in AVERAGES.values()]
    with (Path(__file__).parents[2] / "data" / "published" / "callaway_santanna.csv").open(
        "w", newline=""
    ) as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(HEAD)
        for *head, estimate, error in rows:
            out.writerow([*head, f"{estimate:.11g}", f"{error:.11g}"])


if __name__ == "__main__":
    main()
