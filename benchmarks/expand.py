"""What it costs to write the county study's pupils, to sum them, and to estimate from the sums.

    python benchmarks/expand.py [--times 1 9] [--folder DIR]

DuckDB draws the pupils of `data/synthetic` from its table of school, year and grade, as many times
over as is asked, straight to Parquet; one pass turns them into sums by school, year and subject;
the gap between urban and village schools and the effect of county management follow from these.
Each step is a process of its own, run once; the pupils are deleted at the end. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
STORED = HERE.parent / "data" / "benchmarks" / "expand.csv"
STUDY = HERE.parent / "data" / "synthetic"
KEYS = ["county_code", "stratum", "school_id", "year", "subject"]
MEASURE = {"C13": "managed"}  # county management of teachers


def write(folder: Path, times: int) -> dict[str, Any]:
    """Pupils to Parquet."""
    import evalkit as ek

    files = ek.simulate.expand(ek.county_study(STUDY), folder / "pupils", times=times)
    return {"disk": round(sum(path.stat().st_size for path in files) / 1e6)}


def add(folder: Path, times: int) -> dict[str, Any]:
    """Pupils to sums."""
    import evalkit as ek

    sums = ek.summaries(
        folder / "pupils/*.parquet", keys=KEYS, score="score", prior=["prior_score"],
        provenance="synthetic", memory="1GB",
    )  # fmt: skip
    cells = ek.county_study(STUDY).table("school_cohort").groupby(KEYS[2:])["n_tested"].sum()
    found = sums.table.set_index(KEYS[2:])["n"].loc[cells.index]
    if (found.to_numpy() != times * cells.to_numpy()).any():
        raise SystemExit("the counts are not those of school_cohort")
    sums.to_parquet(folder / "sums.parquet")
    return {"disk": round((folder / "sums.parquet").stat().st_size / 1e6), "cells": len(sums)}


def estimate(folder: Path, times: int) -> dict[str, Any]:
    """Sums to a gap in each year and an effect."""
    import evalkit as ek
    from evalkit.data.county import gaps

    sums = ek.Summaries.from_parquet(folder / "sums.parquet").select(subject="math")
    gap = ek.gaps.gap(
        sums, by="year", between="stratum", high="urban", low="rural", unit="county_code"
    )
    study = ek.county_study(STUDY)
    _, latest = gaps.first_years(study, MEASURE)
    place = study.table("school").set_index("school_id")["county_code"]
    dates = zip(place.index, latest["managed"].reindex(place).to_numpy(float), strict=True)
    starts = {school: year if year == year else None for school, year in dates}
    panel = sums.panel(time="year", unit="school_id", cohort=starts)
    effect = ek.aggregate(ek.did.callaway_santanna(panel, control="not_yet", unbalanced="records"))
    return {"gap": round(float(gap.theta[-1]), 3), "effect": round(float(effect.theta[0]), 3)}


STEPS = {"write": write, "sum": add, "estimate": estimate}


def one(step: str, folder: Path, times: int) -> dict[str, Any]:
    """One step in this process, with its cost."""
    sys.path.insert(0, str(HERE))
    from summaries import peak, processor

    for name in ("evalkit.data.collapse", "evalkit.did", "evalkit.gaps", "pandas", "duckdb"):
        import_module(name)  # what is measured is the step, not Python's start
    cpu, wall = processor(), time.perf_counter()
    made = STEPS[step](folder, times)
    return {
        "seconds": round(time.perf_counter() - wall, 2),
        "processor": round(processor() - cpu, 2),
        "megabytes": round(peak()),
        "version": f"duckdb {sys.modules['duckdb'].__version__}",
        **made,
    }


def runs(times: int, folder: Path) -> list[dict[str, Any]]:
    """All steps, one after the other."""
    import evalkit as ek

    pupils = times * int(ek.county_study(STUDY).table("school_cohort")["n_tested"].sum())
    out = []
    for step in STEPS:
        command = [sys.executable, __file__, "--run", step, "--folder", str(folder)]
        command += ["--times", str(times)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{step} failed: {done.stderr[-2000:]}")
        measured = json.loads(done.stdout.splitlines()[-1])
        sys.stderr.write(f"{pupils:.1e} {step}: {measured}\n")
        machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}"
        out.append(
            {"pupils": pupils, "step": step, **measured}
            | {"machine": f"{machine}, Python {platform.python_version()}"}
            | {"date": date.today().isoformat(), "provenance": "synthetic"}
        )
    return out


def save(rows: list[dict[str, Any]], path: Path) -> None:
    """Put rows in place of those of their size and step; nothing, if the contract is broken."""
    import pandas as pd

    import evalkit as ek

    names = list(ek.contracts.EXPANSIONS.columns)
    old = [pd.read_csv(path)] if path.exists() else []
    table = pd.concat([*old, pd.DataFrame(rows)]).reindex(columns=names)
    table = table.drop_duplicates(["pupils", "step"], keep="last")
    table = table.sort_values("pupils", kind="stable", ignore_index=True)
    ek.load(table, ek.contracts.EXPANSIONS)
    table.to_csv(path, index=False, lineterminator="\n")


def main() -> None:
    read = argparse.ArgumentParser(description=__doc__)
    read.add_argument("--times", type=int, nargs="+", default=[1, 9])
    read.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "evalkit-expand")
    read.add_argument("--run", choices=[*STEPS], help="one step in this process, as JSON")
    asked = read.parse_args()
    if asked.run:
        sys.stdout.write(json.dumps(one(asked.run, asked.folder, asked.times[0])) + "\n")
        return
    for times in asked.times:
        shutil.rmtree(asked.folder, ignore_errors=True)
        asked.folder.mkdir(parents=True)
        save(runs(times, asked.folder), STORED)
    shutil.rmtree(asked.folder)


if __name__ == "__main__":
    main()
