"""Writes data/published/peers_did.csv: what other Python packages answer where R's answer is known.

Run in an environment of its own (Python 3.12) with moderndid 0.4.1, csdid 0.4.3, differences 0.3.0,
diff-diff 3.13.0, pyfixest 0.60.0, linearmodels 7.1, did-imputation 0.1.0, py2sdid 0.1.8,
etwfe 0.1.4 and synthdid-py 0.1.0: ``python tests/goldens/make_peers_did.py``. Every number is the
answer of a call, by default unless the case says otherwise; a call that fails leaves its message.
The 48 specifications are held against callaway_santanna.csv.
"""

from __future__ import annotations

import csv
import itertools
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

PUBLISHED = Path(__file__).parents[2] / "data" / "published"
HEAD = ("peer", "version", "case", "coordinate", "statistic", "value", "said")
Row = tuple[str, str, str, float]  # case, coordinate, statistic, value
SPECS = {
    "never": ("never", "dr", ""),
    "not yet": ("not_yet", "dr", ""),
    "never, population, dr": ("never", "dr", "lpop"),
    "not yet, population, dr": ("not_yet", "dr", "lpop"),
    "never, population, ipw": ("never", "ipw", "lpop"),
    "never, population, reg": ("never", "reg", "lpop"),
}
KNOWN = pd.read_csv(PUBLISHED / "did.csv", dtype=str)[["case", "coordinate", "statistic"]]
REFERENCE, CASES = set(KNOWN.itertuples(index=False, name=None)), set(KNOWN["case"])
KINDS = {"simple": "overall", "group": "cohorts", "dynamic": "events", "calendar": "years"}
Table = dict[tuple[str, str, str], float]  # by, coordinate, statistic -> value


def mpdta() -> pd.DataFrame:
    from moderndid import load_mpdta

    frame = pd.DataFrame(load_mpdta().to_dict(as_series=False))
    frame["g"] = frame["first.treat"].astype(float)
    frame["start"] = frame["g"].replace(0, np.nan)
    frame["d"] = (frame["year"] >= frame["start"]).astype(float)
    frame["state"] = frame["countyreal"] // 1000
    return frame


def put(out: Table, by: str, keys: Any, values: Any, errors: Any) -> None:
    for key, value, error in zip(keys, values, errors, strict=True):
        if np.isfinite(float(error)):
            out[by, str(key), "estimate"], out[by, str(key), "std_error"] = value, error


# --- Group-time effects and their averages, one function per package ------------------------------


def moderndid(frame: pd.DataFrame, control: str, method: str, x: str, base: str, early: int,
              **more: Any) -> Table:  # fmt: skip
    from moderndid import aggte, att_gt

    made = att_gt(
        data=frame, yname="lemp", tname="year", idname="countyreal", gname="g", boot=False,
        xformla=f"~ {x}" if x else None, est_method=method, base_period=base, anticipation=early,
        control_group={"never": "nevertreated", "not_yet": "notyettreated"}[control], cband=False,
        **more,
    )  # fmt: skip
    out: Table = {}
    cells = [f"{int(g)} {int(t)}" for g, t in zip(made.groups, made.times, strict=True)]
    put(out, "cells", cells, made.att_gt, made.se_gt)
    if made.wald_stat is not None:
        out["pretest", "joint", "statistic"] = float(made.wald_stat)
        out["pretest", "joint", "p_value"] = float(made.wald_pvalue)
    for kind, by in KINDS.items():
        a = aggte(made, type=kind, boot=False, cband=False)
        name = by if kind == "simple" else f"{by}, overall"
        put(out, name, ["average"], [a.overall_att], [a.overall_se])
        if kind != "simple":
            put(out, by, [int(k) for k in a.event_times], a.att_by_event, a.se_by_event)
    return out


def csdid(frame: pd.DataFrame, control: str, method: str, x: str, base: str, early: int,
          **more: Any) -> Table:  # fmt: skip
    from csdid.att_gt import ATTgt

    made = ATTgt(
        yname="lemp", tname="year", idname="countyreal", gname="g", data=frame.copy(),
        control_group=[{"never": "nevertreated", "not_yet": "notyettreated"}[control]],
        xformla=f"lemp ~ {x or 1}", anticipation=early, **more,
    ).fit(est_method=method, base_period=base, bstrap=False)  # fmt: skip
    out: Table = {}
    r = made.results
    put(out, "cells", [f"{int(g)} {int(t)}" for g, t in zip(r["group"], r["year"], strict=True)],
        r["att"], r["se"])  # fmt: skip
    out["pretest", "joint", "statistic"] = float(made.MP["W"])
    for kind, by in KINDS.items():
        a = made.aggte(typec=kind, bstrap=False, cband=False).atte
        name = by if kind == "simple" else f"{by}, overall"
        put(out, name, ["average"], [a["overall_att"]], np.atleast_1d(a["overall_se"]))
        if kind != "simple":
            errors = np.atleast_1d(np.asarray(a["se_egt"], float)).ravel()
            put(out, by, [int(k) for k in a["egt"]], a["att_egt"], errors)
    return out


def differences(frame: pd.DataFrame, control: str, method: str, x: str, base: str, early: int,
                **more: Any) -> Table:  # fmt: skip
    from differences import ATTgt

    made = ATTgt(data=frame.drop(columns="g").set_index(["countyreal", "year"]),
                 cohort_column="start", base_period=base, anticipation=early)  # fmt: skip
    fitted = made.fit(
        f"lemp ~ {x}" if x else "lemp", progress_bar=False, **more,
        est_method={"dr": "dr", "reg": "reg", "ipw": "std_ipw-mle"}[method],
        control_group={"never": "never_treated", "not_yet": "not_yet_treated"}[control],
    )  # fmt: skip
    out: Table = {}
    cells = flat(fitted.to_pandas())
    put(out, "cells", [f"{int(k[0])} {int(k[-1])}" for k in cells.index], *cells.to_numpy().T)
    names = {"simple": "overall", "cohort": "cohorts", "event": "events", "time": "years"}
    for kind, by in names.items():
        table = flat(made.aggregate(kind))
        if kind == "simple":
            put(out, by, ["average"], *table.to_numpy().T)
            continue
        put(out, by, [int(k) for k in table.index], *table.to_numpy().T)
        put(out, f"{by}, overall", ["average"],
            *flat(made.aggregate(kind, overall=True)).to_numpy().T)  # fmt: skip
    return out


def flat(table: pd.DataFrame) -> pd.DataFrame:
    """Estimate and standard error of a table with columns of three levels."""
    return table[[c for c in table.columns if c[-1] in ("ATT", "std_error")]].astype(float)


def diff_diff(frame: pd.DataFrame, control: str, method: str, x: str, base: str, early: int,
              **more: Any) -> Table:  # fmt: skip
    import diff_diff as dd

    made = dd.CallawaySantAnna(
        estimation_method=method, base_period=base, anticipation=early, **more,
        control_group={"never": "never_treated", "not_yet": "not_yet_treated"}[control],
    ).fit(frame, outcome="lemp", unit="countyreal", time="year", first_treat="g",
          covariates=[x] if x else None, aggregate="all")  # fmt: skip
    out: Table = {}
    sides = {
        "cells": {f"{int(g)} {int(t)}": c for (g, t), c in made.group_time_effects.items()},
        "events": {int(e): c for e, c in made.event_study_effects.items()},
        "cohorts": {int(g): c for g, c in made.group_effects.items()},
        "overall": {"average": {"effect": made.overall_att, "se": made.overall_se}},
    }
    for by, found in sides.items():
        put(out, by, found, [c["effect"] for c in found.values()],
            [c["se"] for c in found.values()])  # fmt: skip
    return out


GROUP_TIME: dict[str, Callable[..., Table]] = {
    "moderndid": moderndid, "csdid": csdid, "differences": differences, "diff-diff": diff_diff,
}  # fmt: skip


def printed(peer: str) -> Iterator[Row]:
    """The six specifications whose numbers R printed."""
    for name, (control, method, x) in SPECS.items():
        for (by, key, statistic), value in GROUP_TIME[peer](
            mpdta(), control, method, x, "varying", 0
        ).items():
            yield f"{name}: {by}", key, statistic, value


def sweep(peer: str) -> Iterator[Row]:
    """Largest gaps from the stored numbers over 48 specifications, apart by kind and by option."""
    store = pd.read_csv(PUBLISHED / "callaway_santanna.csv", keep_default_na=False)
    store = store[store["case"] == "mpdta"]
    by = {"cell": "cells", "cohort": "cohorts", "event": "events", "time": "years",
          "overall": "overall", "overall cohort": "cohorts, overall",
          "overall event": "events, overall", "overall time": "years, overall"}  # fmt: skip
    gaps: dict[tuple[str, str], list[float]] = {}
    absent: dict[str, int] = {}
    for spec, rows in store.groupby(["control", "method", "covariates", "base", "anticipation"]):
        control, method, x, base, early = spec
        mine = GROUP_TIME[peer](mpdta(), control, method, x, base, int(early))
        for row in rows.itertuples():
            place = by[row.by]
            key = f"{row.cohort} {row.time}" if place == "cells" else str(row.time) or "average"
            found = mine.get((place, key, "estimate"))
            kind = "cells" if place == "cells" else "averages"
            if found is None:
                absent[kind] = absent.get(kind, 0) + 1
                continue
            option = f"anticipation {early}" + (", covariate" if x else "")
            error = mine[place, key, "std_error"]
            gaps.setdefault((f"{kind}, {option}", "gap"), []).append(abs(found - row.estimate))
            gaps.setdefault((f"{kind}, {option}", "gap of std_error"), []).append(
                abs(error - row.std_error)
            )
    for (place, what), found in gaps.items():
        yield "48 specifications", place, f"largest {what}", max(found)
        if what == "gap":
            yield "48 specifications", place, "compared", len(found)
    for kind, count in absent.items():
        yield "48 specifications", kind, "not offered", count


# --- The other estimators -------------------------------------------------------------------------


def regressions(peer: str) -> Iterator[Row]:
    frame = mpdta()
    if peer == "linearmodels":
        from linearmodels.panel import PanelOLS

        table = frame.set_index(["countyreal", "year"])
        model = PanelOLS(table["lemp"], table[["d"]], entity_effects=True, time_effects=True)
        plain = {"auto_df": False, "count_effects": False}
        for name, options in (("two-way", {}), ("two-way, effects not counted", plain)):
            made = model.fit(cov_type="clustered", cluster_entity=True, **options)
            yield name, "treated x post", "estimate", made.params.iloc[0]
            yield name, "treated x post", "std_error", made.std_errors.iloc[0]
        return
    import pyfixest as pf

    for name, vcov in (("two-way", {"CRV1": "countyreal"}), ("two-way, iid", "iid"),
                       ("two-way, HC1", "HC1")):  # fmt: skip
        made = pf.feols("lemp ~ d | countyreal + year", frame, vcov=vcov)
        if name == "two-way":
            yield name, "treated x post", "estimate", made.coef().iloc[0]
        yield name, "treated x post", "std_error", made.se().iloc[0]
    made = pf.event_study(frame, "lemp", "countyreal", "year", "g", estimator="saturated",
                          cluster="countyreal").aggregate(agg="period")  # fmt: skip
    for event, row in made.iterrows():
        yield "sun-abraham: events", str(int(event)), "estimate", float(row["Estimate"])
        yield "sun-abraham: events", str(int(event)), "std_error", float(row["Std. Error"])


def pyfixest_did2s() -> Iterator[Row]:
    import pyfixest as pf

    made = pf.event_study(mpdta(), "lemp", "countyreal", "year", "g", estimator="did2s",
                          cluster="countyreal").tidy()  # fmt: skip
    yield "two-stage: overall", "average", "estimate", float(made["Estimate"].iloc[0])


def diff_diff_others() -> Iterator[Row]:
    import diff_diff as dd
    import synthdid

    frame = mpdta()
    names = {"outcome": "lemp", "unit": "countyreal", "time": "year", "first_treat": "g"}
    made = {
        "sun-abraham": dd.SunAbraham().fit(frame, **names),
        "imputation": dd.ImputationDiD().fit(frame, **names, aggregate="event_study"),
        "two-stage": dd.TwoStageDiD().fit(frame, **names),
    }
    for name, one in made.items():
        yield f"{name}: overall", "average", "estimate", one.overall_att
        yield f"{name}: overall", "average", "std_error", one.overall_se
    for name in ("sun-abraham", "imputation"):
        for event, effect in made[name].event_study_effects.items():
            if np.isfinite(effect["se"]) and effect["se"] > 0:
                yield f"{name}: events", str(int(event)), "estimate", effect["effect"]
                yield f"{name}: events", str(int(event)), "std_error", effect["se"]
    parts = dd.BaconDecomposition().fit(frame, **names)
    for kind in ("earlier vs later", "later vs earlier", "treated vs never"):
        attribute = kind.replace(" ", "_")
        yield "bacon", kind, "estimate", getattr(parts, f"weighted_avg_{attribute}")
        yield "bacon, weights", kind, "value", getattr(parts, f"total_weight_{attribute}")
    weights = dd.twowayfeweights(
        frame, outcome="lemp", unit="countyreal", time="year", treatment="d"
    )
    yield "negative weights", "sigma", "value", weights.sigma_fe
    table = synthdid.load_california_prop99()
    fit = dd.SyntheticDiD(n_bootstrap=200, seed=12345).fit(
        table.assign(ever=table.groupby("State")["treated"].transform("max")),
        outcome="PacksPerCapita", treatment="ever", unit="State", time="Year",
        post_periods=list(range(1989, 2001)),
    )  # fmt: skip
    yield "synthetic DiD", "1989", "estimate", fit.att


def imputation(peer: str) -> Iterator[Row]:
    frame = mpdta()
    if peer == "did-imputation":
        from did_imputation import did_imputation

        made = did_imputation(frame, "lemp", "countyreal", "year", "start")
        yield "imputation: overall", "average", "estimate", float(made.estimates["tau_ate"])
        yield "imputation: overall", "average", "std_error", float(made.std_errors["tau_ate"])
        made = did_imputation(
            frame, "lemp", "countyreal", "year", "start", allhorizons=True, minn=0
        )
        for event in range(4):
            yield "imputation: events", str(event), "estimate", made.estimates[f"tau{event}"]
            yield "imputation: events", str(event), "std_error", made.std_errors[f"tau{event}"]
        return
    import polars as pl
    import py2sdid

    table = pl.from_pandas(frame[["countyreal", "year", "lemp", "g"]])
    for name, run in (("imputation", py2sdid.bjs_did), ("two-stage", py2sdid.ts_did)):
        made = run(table, "lemp", "countyreal", "year", "g", verbose=False)
        yield f"{name}: overall", "average", "estimate", float(made.att_avg)
        yield f"{name}: overall", "average", "std_error", float(made.att_avg_se)


def extended() -> Iterator[Row]:
    from etwfe import etwfe

    frame = mpdta().assign(first=lambda t: t["g"].astype(int))
    made = etwfe(fml="lemp ~ lpop", tvar="year", gvar="first", data=frame,
                 vcov={"CRV1": "countyreal"})  # fmt: skip
    for row in made.emfx(type="event").itertuples():
        yield "extended two-way, population: events", str(int(row.event)), "estimate", row.estimate
        yield "extended two-way, population: events", str(int(row.event)), "std_error", row[3]


def synthetic() -> Iterator[Row]:
    import synthdid

    made = synthdid.panel_matrices(synthdid.load_california_prop99())
    for name, run in (("synthetic DiD", synthdid.synthdid_estimate),
                      ("synthetic control", synthdid.sc_estimate),
                      ("DiD", synthdid.did_estimate)):  # fmt: skip
        yield name, "1989", "estimate", float(run(made.Y, made.N0, made.T0))


# --- Traps in the data ----------------------------------------------------------------------------


def traps(peer: str) -> Iterator[tuple[str, Callable[[], Table]]]:
    """Changed tables and what is asked of them; the rules are those of the store."""
    frame = mpdta()
    county, year = frame["countyreal"], frame["year"]
    run = GROUP_TIME[peer]
    plain = ("never", "dr", "", "varying", 0)
    holes = frame[(county // 3 + 3 * year) % 11 > 0]
    moved = frame.copy()
    moved.loc[(county == county.iloc[0]) & (year == 2007), ["g", "start"]] = 2006.0
    text = frame.assign(countyreal="c" + county.astype(str))
    single = frame[(frame["g"] != 2006) | (county == county[frame["g"] == 2006].min())]
    by_state: dict[str, dict[str, Any]] = {
        "moderndid": {"clustervars": ["state"]}, "csdid": {"clustervar": "state"},
        "differences": {"cluster_var": "state"}, "diff-diff": {"cluster": "state"},
    }  # fmt: skip
    never = frame if peer == "differences" else frame.assign(g=frame["start"])
    yield "never-treated coded as missing", lambda: run(never, *plain)
    yield "clusters by state", lambda: run(frame, "never", "dr", "lpop", "varying", 0,
                                           **by_state[peer])  # fmt: skip
    yield "rows missing", lambda: run(holes, *plain)
    yield "a row twice", lambda: run(pd.concat([frame, frame.iloc[[7]]]), *plain)
    yield "two adoption dates in a unit", lambda: run(moved, *plain)
    yield "text identifiers", lambda: run(text, *plain)
    yield "one treated unit in a cohort", lambda: run(single, *plain)


def fell_in(peer: str) -> Iterator[tuple[str, str, str, float | str, str]]:
    for case, run in traps(peer):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                made = run()
            except Exception as error:
                yield case, "average", "estimate", "", f"refused: {said(error)}"
                continue
        about = [w for w in caught if issubclass(w.category, UserWarning | RuntimeWarning)]
        note = f"warned: {said(about[0].message)}" if about else "no warning"
        yield case, "average", "estimate", made["overall", "average", "estimate"], note
        yield case, "average", "std_error", made["overall", "average", "std_error"], note
        if case.startswith("one treated"):
            value = made.get(("cells", "2006 2006", "std_error"), float("nan"))
            yield case, "2006 2006", "std_error", "" if np.isnan(value) else value, note


def wanted(row: Row) -> bool:
    """What R's answer is known for, and what has a name of its own."""
    return row[:3] in REFERENCE or row[0] not in CASES


def said(message: object) -> str:
    return f"{type(message).__name__}: {' '.join(str(message).split())}"[:90]


# Answers that were noted before this script was written, and that nothing here repeats.
EARLIER = "noted earlier, not run again"
NOT_RUN = [
    ("R did", "2.5.1", "never-treated coded as missing", "average", "estimate", -0.0440,
     f"warned; {EARLIER}"),
    ("R did", "2.5.1", "never-treated coded as missing", "average", "std_error", 0.0207,
     f"warned; {EARLIER}"),
    ("R did", "2.5.1", "clusters by state", "average", "std_error", 0.016411055, EARLIER),
    ("R did", "2.5.1", "a row twice", "average", "estimate", "", f"refused; {EARLIER}"),
    ("R did", "2.5.1", "two adoption dates in a unit", "average", "estimate", "",
     f"refused; {EARLIER}"),
    ("R did", "2.5.1", "text identifiers", "average", "estimate", "", f"refused; {EARLIER}"),
    ("R didimputation", "0.5.0", "imputation: overall", "average", "estimate", -0.0337,
     f"with the default of fixest 0.14, which drops singletons; {EARLIER}"),
    ("moderndid", "0.4.1", "honest DiD, smoothness", "0", "conf_low", 0.025971, EARLIER),
    ("moderndid", "0.4.1", "honest DiD, smoothness", "0", "conf_high", 0.060715, EARLIER),
    ("moderndid", "0.4.1", "honest DiD, relative magnitudes", "2", "conf_low", -0.0007, EARLIER),
    ("moderndid", "0.4.1", "honest DiD, relative magnitudes", "2", "conf_high", 0.0879, EARLIER),
    ("diff-diff", "3.13.0", "honest DiD, relative magnitudes", "2", "conf_low", 0.0113, EARLIER),
    ("diff-diff", "3.13.0", "honest DiD, relative magnitudes", "2", "conf_high", 0.0816, EARLIER),
]  # fmt: skip

JOBS: list[tuple[str, Callable[[], Iterator[Row]]]] = [
    *((peer, lambda peer=peer: printed(peer)) for peer in GROUP_TIME),
    *((peer, lambda peer=peer: sweep(peer)) for peer in GROUP_TIME),
    *((peer, lambda peer=peer: regressions(peer)) for peer in ("linearmodels", "pyfixest")),
    ("pyfixest", pyfixest_did2s), ("diff-diff", diff_diff_others),
    *((peer, lambda peer=peer: imputation(peer)) for peer in ("did-imputation", "py2sdid")),
    ("etwfe", extended), ("synthdid-py", synthetic),
]  # fmt: skip


def main() -> None:
    warnings.simplefilter("ignore")
    rows: list[tuple[Any, ...]] = []
    for (peer, job), at in zip(JOBS, itertools.count()):
        print(at, peer, file=sys.stderr, flush=True)
        try:
            rows += [(peer, version(peer), *row, "") for row in job() if wanted(row)]
        except ValueError as error:
            if job is not pyfixest_did2s:
                raise
            rows.append((peer, version(peer), "two-stage: overall", "average", "estimate", "",
                         f"failed: {said(error)}"))  # fmt: skip
    for peer in GROUP_TIME:
        rows += [(peer, version(peer), *row) for row in fell_in(peer)]
    rows += NOT_RUN
    with (PUBLISHED / "peers_did.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(HEAD)
        for *head, value, words in rows:
            out.writerow([*head, value if value == "" else f"{float(value):.11g}", words])


if __name__ == "__main__":
    main()
