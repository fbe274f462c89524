"""How long it takes from pupils to sums, and how much memory, on each engine and size.

    python benchmarks/summaries.py [--rows 1e6 1e7 1e8] [--times 3] [--folder DIR]

Every run is a process of its own, from Parquet files to the finished object: counts, means and
cross-products of three variables in 600,000 cells of school and year. `SQL by hand` is the same
GROUP BY on DuckDB without evalkit. Engines take turns; the least of the repetitions is kept, and
of processor seconds, since others may use the machine. Rows of other sizes and engines stay as they
are stored, each with its day and machine. Linux only: it reads /proc.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
STORED = HERE.parent / "data" / "benchmarks" / "summaries.csv"
MEMORY = "1GB"  # what DuckDB may use, by hand and in evalkit
LIMIT = 3600  # seconds that a run may take, on a machine that others use too
ONCE = ("Spark",)  # its start takes longer than all other runs together
ASK: dict[str, Any] = {
    "keys": ["school", "year"],
    "score": "score",
    "prior": ["prior"],
    "controls": ["poor"],
    "provenance": "synthetic",
}
COLUMNS = ["school", "year", "poor", "prior", "score"]
PACKAGE = {"SQL by hand": "duckdb", "Arrow": "pyarrow", "Spark": "pyspark"}  # else as the engine


def by_hand(folder: Path) -> Any:
    """The same counts and sums in SQL, as an analyst would write it."""
    import duckdb

    names = {"d": "poor::double", "x": "prior", "y": "score"}
    pairs = [(a, b) for at, a in enumerate(names) for b in list(names)[at:]]
    with duckdb.connect() as con:
        con.execute(f"set memory_limit = '{MEMORY}'; set preserve_insertion_order = false")
        return con.sql(f"""
            with pupil as (
                select *, score is not null and prior is not null and poor is not null complete
                from '{folder}/*.parquet'),
            whole as (
                select school, year, poor, prior, score,
                    {", ".join(f"case when complete then {x} end {n}" for n, x in names.items())}
                from pupil)
            select school, year, count(*), count(y),
                {", ".join(f"sum({name})" for name in names)},
                {", ".join(f"sum({a} * {b})" for a, b in pairs)},
                count(poor), count(prior), count(score)
            from whole group by all order by all""").to_arrow_table()


def duckdb_path(folder: Path) -> Any:
    import evalkit as ek

    return ek.summaries(folder / "*.parquet", **ASK, memory=MEMORY)


def polars(folder: Path) -> Any:
    import polars as pl

    import evalkit as ek

    return ek.summaries(pl.scan_parquet(folder / "*.parquet"), **ASK)


def pandas(folder: Path) -> Any:
    import pandas as pd

    import evalkit as ek

    return ek.summaries(pd.read_parquet(sorted(folder.glob("*.parquet")), columns=COLUMNS), **ASK)


def arrow(folder: Path) -> Any:
    import pyarrow.parquet as pq

    import evalkit as ek

    files = [str(path) for path in sorted(folder.glob("*.parquet"))]
    return ek.summaries(pq.read_table(files, columns=COLUMNS, partitioning=None), **ASK)


def spark(folder: Path) -> Any:
    """On a standalone cluster of two workers on this machine; starting it is not timed."""
    import evalkit as ek

    files = [str(path) for path in sorted(folder.glob("*.parquet"))]
    return ek.summaries(spark.session.read.parquet(*files), **ASK)  # type: ignore[attr-defined]


ENGINES: dict[str, Callable[[Path], Any]] = {
    "SQL by hand": by_hand,
    "DuckDB": duckdb_path,
    "Polars": polars,
    "Arrow": arrow,
    "pandas": pandas,
    "Spark": spark,
}


def measure(engine: str, folder: Path) -> dict[str, Any]:
    """One run in this process."""
    if engine == "Spark":
        sys.path.insert(0, str(HERE.parent / "tools"))
        from spark_cluster import cluster

        usual = {"memory": "3g", "java": "", "split": "128m"}  # Spark's own Java and splits
        with tempfile.TemporaryDirectory() as work, cluster(Path(work), **usual) as running:
            spark.session = running.session  # type: ignore[attr-defined]
            return timed(engine, folder)
    return timed(engine, folder)


def timed(engine: str, folder: Path) -> dict[str, Any]:
    for name in ("evalkit.data.collapse", "pandas", "pyarrow.parquet", "duckdb", "polars"):
        import_module(name)  # what is measured is the pass, not Python's start
    cpu, wall = processor(), time.perf_counter()
    made = ENGINES[engine](folder)
    out: dict[str, Any] = {"seconds": time.perf_counter() - wall, "processor": processor() - cpu}
    package = PACKAGE.get(engine, engine.lower())
    out |= {"megabytes": peak(), "version": f"{package} {sys.modules[package].__version__}"}
    if engine == "SQL by hand":
        return {**out, "cells": made.num_rows, "bits": ""}
    digest = hashlib.sha256()
    for part in (*made.labels, made.n, made.mean, made.cross, made.missing.counts):
        digest.update(part.tobytes())
    return {**out, "cells": len(made), "bits": digest.hexdigest()[:16]}


def tree() -> list[int]:
    """This process and its descendants: the Javas of Spark are some."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            parents[int(name)] = int(
                Path(f"/proc/{name}/stat").read_text().rsplit(")", 1)[1].split()[1]
            )
        except OSError:
            continue
    found, new = [os.getpid()], True
    while new:
        new = [pid for pid, parent in parents.items() if parent in found and pid not in found]
        found += new
    return found


def stat(pid: int) -> list[str]:
    """The fields of a process after its name: state, parent, ..."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def processor() -> float:
    """Processor seconds of the tree."""
    ticks = 0
    for pid in tree():
        with suppress(OSError):
            ticks += sum(map(int, stat(pid)[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def peak() -> float:
    """Sum of the largest resident sizes in the tree, in megabytes."""
    total = 0
    for pid in tree():
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return total / 1024


def runs(rows: list[int], times: int, folder: Path, only: list[str]) -> list[dict[str, Any]]:
    """Least seconds and memory of each engine at each size, engines taking turns."""
    sys.path.insert(0, str(HERE))
    from pupils import make

    out = []
    for count in rows:
        made = make(count, folder / f"pupils-{count}")
        found: dict[str, list[dict[str, Any]]] = {engine: [] for engine in only}
        for turn in range(times):
            for engine in [engine for engine in only if turn == 0 or engine not in ONCE]:
                command = [sys.executable, __file__, "--run", engine, "--folder", str(made)]
                done = subprocess.run(
                    command,
                    capture_output=True,
                    text=True,
                    timeout=LIMIT,
                    check=False,
                    env={k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"},
                )
                lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
                if lines:
                    found[engine].append(json.loads(lines[-1]))
                    sys.stderr.write(f"{count:.0e} {engine}: {lines[-1]}\n")
                else:
                    sys.stderr.write(f"{count:.0e} {engine} failed: {done.stderr[-500:]}\n")
        for engine, measured in found.items():
            if measured:
                out.append(row(count, engine, measured))
    return out


def row(count: int, engine: str, measured: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "pupils": count,
        "engine": engine,
        "version": measured[0]["version"],
        "seconds": round(min(m["seconds"] for m in measured), 2),
        "processor": round(min(m["processor"] for m in measured), 2),
        "megabytes": round(min(m["megabytes"] for m in measured)),
        "cells": measured[0]["cells"],
        "repetitions": len(measured),
        "bits": measured[0]["bits"],
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}",
        "date": date.today().isoformat(),
        "provenance": "synthetic",
    }


def save(rows: list[dict[str, Any]], path: Path) -> None:
    """Put rows in place of those of their size and engine; nothing, if the contract is broken."""
    import pandas as pd

    import evalkit as ek

    new = pd.DataFrame(rows).astype("string").replace("", pd.NA)
    old = [pd.read_csv(path, dtype="string")] if path.exists() else []
    table = pd.concat([*old, new]).drop_duplicates(["pupils", "engine"], keep="last")
    place = table["pupils"].astype(int) * len(ENGINES) + table["engine"].map([*ENGINES].index)
    table = table.iloc[place.argsort()]
    ek.load(table, ek.contracts.PASSES)
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False, lineterminator="\n")


def main() -> None:
    read = argparse.ArgumentParser(description=__doc__)
    read.add_argument("--rows", type=float, nargs="+", default=[1e6, 1e7, 1e8])
    read.add_argument("--times", type=int, default=3)
    read.add_argument("--engines", nargs="+", default=[*ENGINES], choices=[*ENGINES])
    read.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "evalkit")
    read.add_argument("--run", choices=[*ENGINES], help="one run in this process, as JSON")
    asked = read.parse_args()
    if asked.run:
        sys.stdout.write(json.dumps(measure(asked.run, asked.folder)) + "\n")
        return
    rows = runs([int(count) for count in asked.rows], asked.times, asked.folder, asked.engines)
    save(rows, STORED)


if __name__ == "__main__":
    main()
